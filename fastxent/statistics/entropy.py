"""The mean entropy of the predictions: how sure the model says it is, whatever the targets are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base import exact
from fastxent.base.errors import UsageError
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums.exact_sums import deposit, deposit_weighted
from fastxent.statistics.statistic import Record, Statistic, check_shape

__all__ = ["Entropy"]


class Entropy(Statistic):
    """The exact sum of the entropies, and of the weights where there are some."""

    def __init__(self, spec: Spec) -> None:
        if spec.task != "multiclass":
            raise UsageError(f"statistics 'entropy' applies to task 'multiclass', and this is {spec.task!r}")
        self._weighted = spec.reads_weight
        self._sums = exact.empty(2)

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        n, real = record.n, record.card.real
        if self._weighted:
            deposit_weighted(real[sc.ENTROPY, :n], real[sc.WEIGHT, :n], n, self._sums[0])
        else:
            deposit(real[sc.ENTROPY, :n], n, self._sums[0])
        deposit(real[sc.WEIGHT, :n], n, self._sums[1])
        self._sums[:, exact.N] += int(record.scored.sum()) - n

    def merge(self, other: Entropy) -> None:
        """See `Statistic.merge`."""
        self._sums = exact.merge(self._sums, other._sums)

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        return None, [exact.canonical(self._sums)]

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        self._sums = check_shape(arrays[0], self._sums.shape)

    def mean(self) -> float:
        """The (weighted) mean entropy in nats."""
        weight = exact.to_fraction(self._sums[1])
        return exact.rounded_mean(self._sums[0], weight) if weight else math.nan
