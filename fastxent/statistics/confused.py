"""The most confused pairs of classes, where a full confusion matrix would be too large."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.statistics.statistic import KeyedSums, Record, Statistic

__all__ = ["FULL_CLASSES", "MAX_PAIRS", "ConfusedPairs", "most_confused"]

#: Confusion is counted as a full matrix up to this many classes (8 MB of counters a thread).
FULL_CLASSES = 1000
#: Distinct (target, predicted) pairs that are counted; with more, nothing is said.
MAX_PAIRS = 1 << 20


class ConfusedPairs(Statistic):
    """Rows by target and predicted class, of the rows in which they differ."""

    def __init__(self, spec: Spec) -> None:
        self._classes = spec.num_classes
        self._sums = KeyedSums(1, MAX_PAIRS)

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        whole = record.card.whole[:, : record.n]
        wrong = record.scored & (whole[sc.RANK] > 0)
        pairs = whole[sc.TARGET, wrong].astype(np.int64) * self._classes + whole[sc.PREDICTED, wrong]
        self._sums.add(pairs, np.ones((pairs.size, 1), np.int64))

    def merge(self, other: ConfusedPairs) -> None:
        """See `Statistic.merge`."""
        self._sums.merge(other._sums)

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        return self._sums.state()

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        self._sums.load(value, arrays)

    def pairs(self) -> list[tuple[int, int, int]] | None:
        """(target, predicted, rows), most frequent first, ties by class; None if there were too many to count."""
        self._sums.settle()
        if self._sums.overflowed:
            return None
        counts = self._sums.cells[:, 0]
        order = np.lexsort((self._sums.keys, -counts))
        found = zip(self._sums.keys[order].tolist(), counts[order].tolist(), strict=True)
        return [(key // self._classes, key % self._classes, count) for key, count in found]


def most_confused(confusion: NDArray[np.int64], most: int) -> list[tuple[int, int, int]]:
    """The same of a full matrix, up to ``most``."""
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    flat = wrong.ravel()
    used = np.flatnonzero(flat)
    order = used[np.lexsort((used, -flat[used]))][:most]
    return [(int(i) // len(wrong), int(i) % len(wrong), int(flat[i])) for i in order]
