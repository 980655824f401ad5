r"""Differences of statistics of two models over the rows that both have scored, and how sure they are.

The statistics of either side (AUC, F1, MCC, ECE, ...) are gathered of the joined rows and read as an evaluation of
these reads them. A row that counts x of X changes the difference by x / X times :math:`g_A - g_B`, the difference of
its influences (`fastxent.statistics.influences`), so the error is
:math:`\sqrt{\frac{n}{n-1} \sum (x (g_A - g_B))^2} / X`, of rows or of the sums of clusters. What both models share
cancels, as in the paired difference of the losses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base import exact
from fastxent.comparison.cluster_sums import ClusterSums
from fastxent.comparison.differences import Difference, Paired, difference
from fastxent.data.batch import Batch, Matrix
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.statistics.influences import Influences
from fastxent.statistics.options import Measures, Readings
from fastxent.statistics.owner_sums import GroupSums, OrderedSums
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.registry import wanted_statistics
from fastxent.statistics.students_t import t_two_sided

__all__ = ["COLUMNS", "PairedStatistics", "RowScores", "Squares"]

#: What a side says of a row beside its loss: the target's class, the predicted one, and the confidence in this, or
#: with binary tasks the probability of class 1.
COLUMNS = ("label", "said", "confidence")
#: What is gathered of the rows.
_STATISTICS = ("classes", "balanced_accuracy", "mcc", "calibration", "ranking")

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RowScores:
    """What both sides say of joined rows (`COLUMNS`, and whether they are right), and what rows weigh, 1 without."""

    label: NDArray[np.int32]
    said: tuple[NDArray[np.int32], NDArray[np.int32]]
    confidence: tuple[Numbers, Numbers]
    right: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    weight: Numbers | None

    def records(self) -> tuple[Record, Record]:
        """Those of A and of B."""
        a, b = (self._record(side) for side in (0, 1))
        return a, b

    def _record(self, side: int) -> Record:
        n = len(self.label)
        card = sc.new_scorecard(n)
        card.real[sc.CONFIDENCE, :n] = card.real[sc.P_ONE, :n] = self.confidence[side]
        card.whole[sc.TARGET, :n], card.whole[sc.PREDICTED, :n] = self.label, self.said[side]
        card.whole[sc.RANK, :n] = ~self.right[side]
        if self.weight is not None:
            exponents = np.frexp(self.weight)[1]
            scale = np.clip(-(-(exponents - sc.SCALE_BITS // 2) // sc.SCALE_BITS), -sc.MOST_SCALE, sc.MOST_SCALE)
            card.whole[sc.SCALE, :n] = scale
            card.real[sc.WEIGHT, :n] = np.ldexp(self.weight, -sc.SCALE_BITS * scale)
        return Record(card, n, 0, _NO_BATCH)


_NO_BATCH = Batch(Matrix(np.zeros((0, 1)), "float64"), np.zeros(0, np.int64))


class PairedStatistics:
    """The statistics of owners of joined rows, which are numbered from 0, and their differences.

    All rows are gathered first; once what they say is `read`, `spread` says what each of them changes.
    """

    def __init__(self, spec: Spec, owners: int) -> None:
        self._spec, self._owners = spec, owners
        self._statistics = tuple(each for each in wanted_statistics(spec, Measures()) if each.name in _STATISTICS)
        tallied = ("loss", "weight", "weight_square") if spec.reads_weight else ("loss",)
        self._sums = [GroupSums(tallied, self._statistics) for _ in "ab"]
        for sums in self._sums:
            sums.make_room(owners)
        self._influences: list[Influences] = []
        self._floors: list[Numbers] = []

    def gather(self, rows: RowScores, owners: NDArray[np.int32]) -> None:
        """Add rows."""
        for sums, record in zip(self._sums, rows.records(), strict=True):
            sums.absorb(record, owners)

    def read(self) -> None:
        """Read the statistics, once all rows are there."""
        order = np.arange(self._owners)
        readings = [
            Reading(OrderedSums(sums, order), self._statistics, self._spec, Measures(), Readings())
            for sums in self._sums
        ]
        self._influences = [Influences(reading) for reading in readings]
        self._floors = [reading["ece_floor"] for reading in readings]

    def spread(self, rows: RowScores, owners: NDArray[np.int32]) -> Numbers:
        """The differences of the influences, times weights: a row a statistic."""
        a, b = (
            influences.of(record, owners.astype(np.int64))
            for influences, record in zip(self._influences, rows.records(), strict=True)
        )
        found = np.stack([a[name] - b[name] for name in a])
        return found if rows.weight is None else found * rows.weight

    @property
    def names(self) -> tuple[str, ...]:
        """The statistics, once they are read."""
        return self._influences[0].names

    def paired(self, owner: int, errors: Numbers, independent: int) -> dict[str, Paired]:
        """The statistics of an owner with the errors of their differences, of so many rows or clusters."""
        found = {}
        for name, error in zip(self.names, errors.tolist(), strict=True):
            a, b = (float(each.values[name][owner]) for each in self._influences)
            delta = difference(a - b, error, independent - 1)
            if name == "ece":
                delta = _biased(delta, *(float(floor[owner]) for floor in self._floors))
            found[name] = Paired(a, b, delta)
        return found


def _biased(delta: Difference, floor_a: float, floor_b: float) -> Difference:
    """The difference of calibration errors, each of which is too large by its floor at most, and at least by nothing.

    The interval is wider by the one on either side, and p is that of what is left beyond it.
    """
    if math.isnan(delta.ci_low) or math.isnan(floor_a + floor_b):
        return delta
    surely = max(delta.mean - floor_a, 0.0) if delta.mean > 0.0 else min(delta.mean + floor_b, 0.0)
    t = surely / delta.stderr if delta.stderr > 0.0 else math.copysign(math.inf, surely) if surely else 0.0
    ends = delta.ci_low - floor_a, delta.ci_high + floor_b
    return replace(delta, ci_low=ends[0], ci_high=ends[1], t=t, p_value=t_two_sided(t, delta.df) if t else 1.0)


class Squares:
    """Exact sums of the squares of one owner's differences, of rows or of sums of clusters; ``errors`` of the means."""

    def __init__(self, count: int, *, clustered: bool) -> None:
        self._squares, self._weight = exact.empty(count), exact.empty(1)
        self._clusters = [_Clusters(state) for state in self._squares] if clustered else None
        self._rows = 0

    def add(
        self, differences: Numbers, weight: Numbers | None, clusters: tuple[Integers, list[Any]] | None = None
    ) -> None:
        """Add rows, a column each, and the clusters they belong to (codes and values)."""
        from fastxent.kernels.sums.exact_sums import deposit, deposit_product

        n = differences.shape[1]
        self._rows += n
        deposit(np.ones(n) if weight is None else weight, n, self._weight[0])
        for i, values in enumerate(np.ascontiguousarray(differences)):
            if self._clusters is None or clusters is None:
                deposit_product(values, values, n, self._squares[i])
            else:
                self._clusters[i].add(clusters, values, None, np.zeros(n))

    def errors(self) -> tuple[Numbers, int]:
        """The standard errors, and how many rows or clusters they rest on."""
        count = self._rows
        if self._clusters is not None:
            for each in self._clusters:
                each.close()
            count = self._clusters[0].count
        weight = exact.rounded_sum(self._weight[0])
        squares = np.array([exact.rounded_sum(state) for state in self._squares])
        if count < 2 or not weight:
            return np.full(len(squares), math.nan), count
        return np.sqrt(squares * (count / (count - 1))) / weight, count


class _Clusters(ClusterSums):
    """The squares of the sums of clusters go into an exact sum."""

    def __init__(self, squares: Any) -> None:
        super().__init__()
        self._squares, self.count = squares, 0

    def record(self, y: Numbers, x: Numbers, hits: Numbers) -> None:
        """See `ClusterSums.record`."""
        from fastxent.kernels.sums.exact_sums import deposit_product

        deposit_product(y, y, len(y), self._squares)
        self.count += len(y)
