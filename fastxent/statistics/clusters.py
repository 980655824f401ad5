"""Clusters of rows that are not independent: standard errors that respect them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.runs import run_starts
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.statistics.field import Field
from fastxent.statistics.hashing import hash_values
from fastxent.statistics.intervals import cluster_errors
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import OncePerBatch, Record
from fastxent.statistics.statistic import Statistic, predicts_class
from fastxent.statistics.table import PLACES, Cells, Layout, Table, most_keys, put_in_one
from fastxent.statistics.unit_column import units_of

__all__ = ["BUCKETS", "MAX_CLUSTERS", "ClusterStats", "Clusters"]

#: Up to this many clusters an owner has a sum for each; more share buckets.
MAX_CLUSTERS = 100_000
BUCKETS = 4096
#: Clusters of all groups together (at most 96 MiB a thread, 120 with units); with more, errors are not told.
MOST_CLUSTERS = most_keys(1 << 20)
#: Ranks of the target whose shares have an error: among all rows, and in groups.
RANKS, GROUP_RANKS = 10, 1
#: Bits of the low word of a pair; the high word counts 2^-30.
_LOW, _HIGH = 40, 30
#: Larger numbers are not summed, but counted.
_LIMIT = 2.0**22
#: Units are summed in these, since rows have more of them than nats.
_UNIT_SCALE = 2.0**-10
# Columns: pairs of the weight and the loss, rows whose loss and whose weight is too large to be summed. Then follow
# pairs of the weight by rank of the target, and, with a column of units, a pair and rows with too many units.
_WEIGHT, _LOSS, _LARGE, _HEAVY, _RANKS = 0, 2, 4, 5, 6

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClusterStats:
    """What the standard error rests on: how many clusters, or (not ``exact``) buckets of clusters."""

    column: str
    count: int
    exact: bool


class Clusters(Statistic):
    r"""Weight and loss of every cluster, by 46 bits of the 64-bit hash of its id.

    With :math:`e_g = \sum_{i \in g} w_i (L_i - \mu)` over G clusters, the standard error of the mean is
    :math:`\sqrt{\frac{G}{G - 1} \sum_g e_g^2} / W`, the cluster-robust ("sandwich") error of statsmodels. Beyond
    `MAX_CLUSTERS` clusters whole clusters are put together in `BUCKETS` buckets by their hash and the formula runs over
    buckets: still valid, since buckets are independent of each other too, only a little noisier.
    Null ids form one cluster.
    """

    name = "clusters"

    def __init__(self, spec: Spec, column: str, units: str | None) -> None:
        self.column, self._units = column, units
        self._weighted = spec.reads_weight
        self._classes = 2 if spec.task == "binary" else spec.num_classes
        self._ranked = predicts_class(spec)
        self._hashes = OncePerBatch()

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        return None if measures.cluster_by is None else cls(spec, measures.cluster_by, measures.units)

    def _ranks(self, *, alone: bool) -> int:
        """Ranks whose shares have an error."""
        if not self._ranked:
            return 0
        return min(RANKS if alone else GROUP_RANKS, self._classes - (self._classes == 2))

    def layouts(self, *, alone: bool) -> dict[str, Layout]:
        """See `Statistic.layouts`."""
        if alone:
            return {"clusters": Layout(self._bits(alone=True), 0, MAX_CLUSTERS, _in_buckets)}
        return {"group_clusters": Layout(self._bits(alone=False), 0, MOST_CLUSTERS, put_in_one)}

    def _bits(self, *, alone: bool) -> tuple[int, ...]:
        pairs = (0, _LOW) * self._ranks(alone=alone)
        return (0, _LOW, 0, _LOW, 0, 0, *pairs, *(() if self._units is None else (0, _LOW, 0)))

    def place(self, name: str, record: Record) -> Iterator[tuple[Any, Integers, Integers]]:
        """See `Statistic.place`."""
        n, real = record.n, record.card.real
        hashes = self._hashes.of(record, lambda extra: hash_values(extra[self.column], self.column))
        places = np.where(record.scored, hashes & PLACES, -1)
        weight = real[sc.WEIGHT, :n] if self._weighted else np.ones(n)
        loss = real[sc.SCRATCH, :n] if self._weighted else real[sc.LOSS, :n]
        light, small = weight < _LIMIT, loss < _LIMIT
        ranks = self._ranks(alone=name == "clusters")
        cells = np.zeros((n, _RANKS + 2 * ranks + (0 if self._units is None else 3)), np.int64)
        whole = cells[:, _WEIGHT], cells[:, _WEIGHT + 1] = _pair(np.where(light, weight, 0.0))
        cells[:, _LOSS], cells[:, _LOSS + 1] = _pair(np.where(small, loss, 0.0))
        cells[:, _LARGE], cells[:, _HEAVY] = ~small, ~light
        rank = record.card.whole[sc.RANK, :n]
        rows = np.flatnonzero(rank < ranks)
        for i, column in enumerate(whole):
            cells[rows, _RANKS + 2 * rank[rows] + i] = column[rows]
        if self._units is not None:
            units = units_of(record, self._units) * weight * _UNIT_SCALE
            few = units < _LIMIT
            cells[:, -3], cells[:, -2] = _pair(np.where(few, units, 0.0))
            cells[:, -1] = ~few
        yield None, places, cells

    def note(self, table: str, level: int) -> str:
        """See `Statistic.note`."""
        return "errors that respect clusters are not told"

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`; the errors are fields of what they are errors of."""
        return (Field("clusters", "clusters", kind=int),)

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        cells, _ = reading.once("clusters", lambda: self._cells(reading))
        counts = reading.unknown if cells is None else np.bincount(cells.owners, minlength=reading.owners)
        return {"clusters": counts}

    def error(self, reading: Reading, of: str) -> NDArray[np.float64]:
        """The errors of the mean "loss", of the loss per "unit", or of the share of the first k ranks ("top1", ...).

        NaN for ranks that are not told apart, and where something is too large to be summed.
        """
        error: NDArray[np.float64] = reading.once(f"clusters.{of}", lambda: self._error(reading, of))
        return error

    def _error(self, reading: Reading, of: str) -> NDArray[np.float64]:
        cells, width = reading.once("clusters", lambda: self._cells(reading))
        above: tuple[int, ...]
        beyond: tuple[int, ...]
        if of == "loss":
            above, below, beyond, scale = (_LOSS,), _WEIGHT, (_LARGE, _HEAVY), 1.0
        elif of == "unit":
            above, below, beyond, scale = (_LOSS,), width, (_LARGE, _HEAVY, width + 2), _UNIT_SCALE
        else:
            above = tuple(range(_RANKS, _RANKS + 2 * int(of.removeprefix("top")), 2))
            below, beyond, scale = _WEIGHT, (_HEAVY,), 1.0
        values = reading.unknown
        if cells is None or above[-1] >= width or not cells.owners.size:
            return values
        starts = run_starts(cells.owners)
        y = np.sum([_joined(cells.columns, column) for column in above], axis=0)
        wrong = np.logical_or.reduceat(cells.columns[:, beyond].any(axis=1), starts)
        errors = cluster_errors(_joined(cells.columns, below), y, starts) * scale
        values[cells.owners[starts]] = np.where(wrong, math.nan, errors)
        return values

    def _cells(self, reading: Reading) -> tuple[Cells | None, int]:
        """The clusters of every owner, or its buckets if it has too many; and where the columns of units begin.

        None where all groups together had too many.
        """
        alone = reading.sums.cells("clusters")
        cells = alone or reading.sums.cells("group_clusters")
        assert cells is not None
        width = cells.columns.shape[1] - (0 if self._units is None else 3)
        if alone is None and cells.level:
            return None, width
        many = np.bincount(cells.owners, minlength=reading.owners)[cells.owners] > MAX_CLUSTERS
        if many.any():
            table = Table(Layout(tuple(self._bits(alone=False))), reading.owners)
            table.add(cells.owners, np.where(many, cells.places & (BUCKETS - 1), cells.places), cells.columns)
            cells = table.cells(np.arange(reading.owners))
        return cells, width

    def stats(self, reading: Reading) -> ClusterStats | None:
        """What the error of the only owner rests on; None where that is not known."""
        cells = reading.sums.cells("clusters") or reading.sums.cells("group_clusters")
        count = reading.number("clusters")
        if count is None:
            return None
        return ClusterStats(self.column, count, cells is not None and len(cells.places) == count and not cells.level)

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`; clusters are in that of the loss."""
        return {}


def _in_buckets(keys: Integers, cells: Integers, level: int) -> tuple[Integers, Integers]:
    return np.where(keys < 0, -1, keys & (~np.int64(PLACES) | (BUCKETS - 1))), cells


def _pair(values: NDArray[np.float64]) -> tuple[Integers, Integers]:
    """Numbers -> pairs in units of 2^-30 and 2^-70; what lies below is cut off."""
    scaled = values * 2.0**_HIGH
    high = scaled.astype(np.int64)
    return high, ((scaled - high) * 2.0**_LOW).astype(np.int64)


def _joined(cells: Integers, column: int) -> NDArray[Any]:
    """A pair as Python integers, in units of 2^-70."""
    return (cells[:, column].astype(object) << _LOW) + cells[:, column + 1]
