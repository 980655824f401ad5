"""The numbers of every row whose exact sums groups keep: those of all rows, in the same order, and some more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import tally
from fastxent.kernels.sums.products import lost_in_product
from fastxent.statistics.statistic import Record
from fastxent.statistics.temperature import GRID, losses_at
from fastxent.statistics.units import units_of

if TYPE_CHECKING:
    from fastxent.statistics.options import Measures

__all__ = ["GroupValues"]

Numbers = NDArray[np.float64]


class GroupValues:
    """Where each sum lies; -1 for those that there are not.

    The first ``tallied`` are rows of `fastxent.kernels.sums.tally.Tallies.sums`; ``reciprocal``: w / (1 + rank) with
    ``ranks`` the last rank; two from ``entropy`` and four from ``units`` on are those of the statistics of that name,
    and so are the last ones, from ``temperature`` on.
    """

    def __init__(self, spec: Spec, measures: Measures, ranks: int) -> None:
        self._weighted = spec.reads_weight
        self._last = ranks - 1
        self._unit_column = measures.units
        self.tallied = tally.SUMS if spec.reads_weight else 3 if measures.scores else 2
        at = self.tallied
        self.reciprocal, at = (at, at + 1) if ranks and spec.task == "multiclass" else (-1, at)
        self.entropy, at = (at, at + 2) if measures.entropy else (-1, at)
        self.units, at = (at, at + 4) if measures.units is not None else (-1, at)
        self.temperature, at = (at, at + len(GRID) + self._weighted) if measures.temperature else (-1, at)
        self.count = at

    def of_statistics(self) -> dict[str, slice]:
        """By name of a statistic, the sums that are all it has."""
        found = {
            "entropy": slice(self.entropy, self.entropy + 2),
            "units": slice(self.units, self.units + 4),
            "temperature": slice(self.temperature, self.count),
        }
        return {name: places for name, places in found.items() if places.start >= 0}

    def of(self, record: Record) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The numbers of the rows, and the sum that each row of them goes to."""
        n, real = record.n, record.card.real
        weight = real[sc.WEIGHT, :n] if self._weighted else np.ones(n)
        loss = real[sc.SCRATCH if self._weighted else sc.LOSS, :n]
        values = np.empty((self.count + (3 if self.units >= 0 else 0), n))
        into = np.minimum(np.arange(len(values)), self.count - 1)
        with np.errstate(all="ignore"):
            values[tally.LOSS] = real[sc.LOSS, :n]
            values[tally.SQUARE] = real[sc.LOSS, :n] ** 2
            if self.tallied > tally.BRIER:
                values[tally.BRIER] = real[sc.BRIER, :n]
            if self._weighted:
                values[tally.WEIGHT], values[tally.WEIGHTED_LOSS] = weight, loss
                values[tally.WEIGHT_SQUARE], values[tally.WEIGHTED_SQUARE] = weight * weight, loss * loss
                values[tally.CROSS] = loss * weight
                values[tally.WEIGHTED_BRIER] = real[sc.BRIER, :n] * weight
                values[tally.WEIGHTED_CORRECT] = np.where(record.card.whole[sc.RANK, :n] == 0, weight, 0.0)
            if self.reciprocal >= 0:
                values[self.reciprocal] = weight / (1.0 + np.minimum(record.card.whole[sc.RANK, :n], self._last))
            if self.entropy >= 0:
                values[self.entropy] = real[sc.ENTROPY, :n] * weight
                values[self.entropy + 1] = weight
        if self.temperature >= 0:
            values[self.temperature : self.temperature + len(GRID)] = losses_at(record, weighted=self._weighted)
            values[self.temperature + len(GRID) : self.count] = weight
        if self._unit_column is not None:
            self._units(record, self._unit_column, weight, loss, values, into)
        return values, into

    def _units(
        self, record: Record, column: str, weight: Numbers, loss: Numbers, values: Numbers, into: NDArray[np.int64]
    ) -> None:
        at, lost, scored = self.units, self.count - 1, record.scored
        loss = np.where(scored, loss, 0.0)
        units = units_of(record, column) * np.where(scored, weight, 0.0)
        values[at] = units
        for i, (x, y) in enumerate(((units, units), (loss, units), (loss, loss)), start=1):
            with np.errstate(all="ignore"):
                values[at + i], values[lost + i] = x * y, lost_in_product(x, y)
            into[lost + i] = at + i
