"""Classes, ranks, calibration cells and confusion of rows that carry weights: sums of weights beside the counts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.data.spec import Spec
from fastxent.kernels.sums import records, tally
from fastxent.statistics.confused import FULL_CLASSES
from fastxent.statistics.statistic import Record, Statistic, carry, check_shape

__all__ = ["Weighed"]


class Weighed(Statistic):
    """``classes``, ``ranks``, ``cells`` and ``confusion`` hold what `fastxent.kernels.sums.records` writes there."""

    def __init__(self, spec: Spec, classes: int, ranks: int) -> None:
        self._positive = spec.task == "binary"
        self.classes: NDArray[np.int64] = np.zeros((classes, records.WEIGHED_CLASS_COLUMNS), np.int64)
        self.ranks: NDArray[np.int64] = np.zeros((ranks, 2), np.int64)
        self.cells: NDArray[np.int64] = np.zeros((tally.CELLS, 6), np.int64)
        side = classes if classes <= FULL_CLASSES else 0
        self.confusion: NDArray[np.int64] = np.zeros((side, side, 2), np.int64)

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        records.weigh_classes(record.card, record.n, self.classes, self.ranks)
        if self.confusion.size:
            records.weigh_confusion(record.card, record.n, self.confusion)
        records.weigh_cells(record.card, record.n, self.cells, self._positive)

    def merge(self, other: Weighed) -> None:
        """See `Statistic.merge`."""
        self.classes += other.classes
        self.ranks += other.ranks
        self.cells += other.cells
        self.confusion += other.confusion
        self._carry()

    def _carry(self) -> None:
        carry(self.classes, range(0, records.CLASS_LARGE, 2))
        carry(self.ranks, (0,))
        carry(self.cells, (0, 2, 4))
        carry(self.confusion, (0,))

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        self._carry()
        return None, [self.classes, self.ranks, self.cells, self.confusion]

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        classes, ranks, cells, confusion = arrays
        self.classes = check_shape(classes, self.classes.shape)
        self.ranks = check_shape(ranks, self.ranks.shape)
        self.cells = check_shape(cells, self.cells.shape)
        self.confusion = check_shape(confusion, self.confusion.shape)
