"""Clusters of rows that are not independent: standard errors that respect them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.runs import run_starts
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums.records import BAND_BITS, FIXED_BITS, QUANTUM, put_bands, put_numbers
from fastxent.statistics.field import Field
from fastxent.statistics.hashing import hash_values
from fastxent.statistics.intervals import cluster_errors
from fastxent.statistics.laws import Law, summed, together
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import OncePerBatch, Record
from fastxent.statistics.statistic import Statistic, predicts_class
from fastxent.statistics.table import PLACES, Cells, Layout, most_keys, put_in_one
from fastxent.statistics.unit_column import units_of
from fastxent.statistics.words import Words

__all__ = ["BUCKETS", "MAX_CLUSTERS", "ClusterStats", "Clusters"]

#: Up to this many clusters an owner has a sum for each; more share buckets.
MAX_CLUSTERS = 100_000
BUCKETS = 4096
#: Clusters of all groups together (at most 96 MiB a thread, 120 with units); with more, errors are not told.
MOST_CLUSTERS = most_keys(1 << 20)
#: Ranks of the target whose shares have an error: among all rows, and in groups.
RANKS, GROUP_RANKS = 10, 1
#: Bits of a low word without weights.
_LOW = 40
#: Bits of the largest numbers that are summed; rows with larger ones are counted.
_SIZE = 92
#: What a row adds is rounded down to a multiple of 2^-q (times the power of two that is in its weight): of losses q is
#: 70, of units, since rows have more of them than nats, 60.
_LOSS_QUANTUM, _UNIT_QUANTUM = 70, 60
#: What rounding down may take from the loss or the units of a row.
_ROUNDED = 1e-12

Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClusterStats:
    """What the standard error rests on: how many clusters, or (not ``exact``) buckets of clusters."""

    column: str
    count: int
    exact: bool


class Clusters(Statistic):
    r"""Weight and loss of every cluster, by 46 bits (39 with weights) of the 64-bit hash of its id.

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
        banded, most = self._weighted, MAX_CLUSTERS * (4 if self._weighted else 1)
        if alone:
            return {"clusters": Layout(self._bits(alone=True), 0, most, _in_buckets, banded=banded)}
        return {"group_clusters": Layout(self._bits(alone=False), 0, MOST_CLUSTERS, put_in_one, banded=banded)}

    def _bits(self, *, alone: bool) -> tuple[int, ...]:
        """The weight, the loss, rows whose loss is too large, the weight by rank; and units, and rows with too many."""
        small, large = ((0, FIXED_BITS), (0, FIXED_BITS, FIXED_BITS)) if self._weighted else ((0,), (0, _LOW))
        ranks = small * self._ranks(alone=alone)
        return (*small, *large, 0, *ranks, *(() if self._units is None else (*large, 0)))

    @property
    def _loss(self) -> int:
        """The first column of the loss; rows whose loss is too large, and ranks, follow."""
        return 2 if self._weighted else 1

    @property
    def _large(self) -> int:
        return self._loss + (3 if self._weighted else 2)

    def place(self, name: str, record: Record) -> Iterator[tuple[Any, Integers, Integers]]:
        """See `Statistic.place`."""
        n, real, alone = record.n, record.card.real[:, : record.n], name == "clusters"
        hashes = self._hashes.of(record, lambda extra: hash_values(extra[self.column], self.column))
        places = np.where(record.scored, hashes & (PLACES >> BAND_BITS if self._weighted else PLACES), -1)
        cells = np.zeros((n, len(self._bits(alone=alone))), np.int64)
        if self._weighted:
            put_bands(record.card, n, places)
            put_numbers(record.card, n, real[sc.WEIGHT], QUANTUM, 2, cells, 0)
        else:
            cells[:, 0] = 1
        rank = record.card.whole[sc.RANK, :n]
        rows = np.flatnonzero(rank < self._ranks(alone=alone))
        for i in range(self._loss):
            cells[rows, self._large + 1 + self._loss * rank[rows] + i] = cells[rows, i]
        loss = real[sc.SCRATCH if self._weighted else sc.LOSS]
        self._add(record, loss, _LOSS_QUANTUM, cells, self._loss)
        if self._units is not None:
            units = units_of(record, self._units)
            units = units * real[sc.WEIGHT] if self._weighted else units
            self._add(record, units, _UNIT_QUANTUM, cells, self._of_units(cells))
        yield None, places, cells

    def _add(self, record: Record, values: NDArray[np.float64], quantum: int, cells: Integers, column: int) -> None:
        """Add (weighted) numbers to their columns, or 1 to the one behind where they are too large."""
        limit = 2.0 ** (_SIZE - quantum)
        if not self._weighted:
            small = values < limit
            scaled = np.where(small, values, 0.0) * 2.0 ** (quantum - _LOW)
            cells[:, column] = scaled.astype(np.int64)
            cells[:, column + 1] = ((scaled - cells[:, column]) * 2.0**_LOW).astype(np.int64)
            cells[:, column + 2] = ~small
            return
        small = values < limit * record.card.real[sc.WEIGHT, : record.n]
        put_numbers(record.card, record.n, np.where(small, values, 0.0), quantum, 3, cells, column)
        cells[:, column + 3] = ~small

    def _of_units(self, cells: Integers) -> int:
        """The first column of units."""
        return int(cells.shape[1]) - (0 if self._units is None else 4 if self._weighted else 3)

    def note(self, table: str, level: int) -> str:
        """See `Statistic.note`."""
        return "errors that respect clusters are not told"

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`; the errors are fields of what they are errors of."""
        return (Field("clusters", "clusters", kind=int, narrow=True),)

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        cells = reading.once("clusters", lambda: self._cells(reading))
        counts = reading.unknown if cells is None else np.bincount(cells.owners, minlength=reading.owners)
        return {"clusters": counts}

    def error(self, reading: Reading, of: str) -> NDArray[np.float64]:
        """The errors of the mean "loss", of the loss per "unit", or of the share of the first k ranks ("top1", ...).

        NaN for ranks that are not told apart, and where something is too large to be summed.
        """
        error: NDArray[np.float64] = reading.once(f"clusters.{of}", lambda: self._error(reading, of))
        return error

    def _error(self, reading: Reading, of: str) -> NDArray[np.float64]:
        cells = reading.once("clusters", lambda: self._cells(reading))
        values = reading.unknown
        if cells is None or not cells.owners.size:
            return values
        units = self._of_units(cells.columns)
        weight, loss = cells.words(0, QUANTUM if self._weighted else 0), cells.words(self._loss, _LOSS_QUANTUM)
        above, below, beyond = [loss], weight, [self._large]
        if of == "unit":
            below, beyond = cells.words(units, _UNIT_QUANTUM), [self._large, cells.columns.shape[1] - 1]
        elif of != "loss":
            first, ranks = self._large + 1, int(of.removeprefix("top"))
            if first + self._loss * ranks > units:
                return values
            quantum = QUANTUM if self._weighted else 0
            above, beyond = [cells.words(first + self._loss * rank, quantum) for rank in range(ranks)], []
        starts = run_starts(cells.owners)
        wrong = np.logical_or.reduceat(cells.columns[:, beyond].any(axis=1), starts)
        y = np.sum([words.as_integers() for words in above], axis=0)
        errors = np.ldexp(cluster_errors(below.as_integers(), y, starts), above[0].lowest - below.lowest)
        values[cells.owners[starts]] = np.where(wrong, math.nan, errors)
        return values

    def _cells(self, reading: Reading) -> Cells | None:
        """The clusters of every owner, or its buckets if it has too many; None where all groups had too many."""
        alone = reading.sums.cells("clusters")
        cells = alone or reading.sums.cells("group_clusters")
        assert cells is not None
        if alone is None and cells.level:
            return None
        many = np.bincount(cells.owners, minlength=reading.owners)[cells.owners] > MAX_CLUSTERS
        return cells.at_places(np.where(many, cells.places & (BUCKETS - 1), cells.places)) if many.any() else cells

    def stats(self, reading: Reading) -> ClusterStats | None:
        """What the error of the only owner rests on; None where that is not known."""
        cells = reading.sums.cells("clusters") or reading.sums.cells("group_clusters")
        count = reading.number("clusters")
        if count is None:
            return None
        return ClusterStats(self.column, count, cells is not None and len(cells.places) == count and not cells.level)

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`: clusters hold all rows, and their losses and ranks."""
        cells = reading.once("clusters", lambda: self._cells(reading))
        if cells is None or cells.level > 1:
            return
        if cells.level:
            yield (
                "a bucket of clusters is not there",
                together(cells.places >= BUCKETS, cells.owners, reading.owners) == 0,
            )
        of = functools.partial(together, owners=cells.owners, count=reading.owners)
        quantum = QUANTUM if self._weighted else 0
        weight, loss = cells.words(0, quantum), cells.words(self._loss, _LOSS_QUANTUM)
        total = summed(cells, weight, reading.owners)
        yield "the clusters do not add up to all rows", total.equals(reading.total_weight)
        yield "a cluster has no rows", of(~weight.positive) == 0
        yield from self._laws_of_sums(reading, cells, loss, self._large, "weighted_loss" if self._weighted else "loss")
        if self._units is not None:
            units = self._of_units(cells.columns)
            last = cells.columns.shape[1] - 1
            yield from self._laws_of_sums(reading, cells, cells.words(units, _UNIT_QUANTUM), last, "units")
        ranks = reading.sums.cells("ranks")
        for rank in range(self._ranks(alone=reading.sums.cells("clusters") is not None)):
            words = cells.words(self._large + 1 + self._loss * rank, quantum)
            yield f"more of a cluster has rank {rank} than there is", of(~weight.at_least(words)) == 0
            if ranks is not None and ranks.level <= 1:
                own = ranks.words(1, QUANTUM) if self._weighted else Words.of_counts(ranks.columns[:, 0])
                there = summed(ranks, own.where(ranks.places == rank), reading.owners)
                yield (
                    f"the clusters' rows of rank {rank} are not all",
                    summed(cells, words, reading.owners).equals(there),
                )

    def _laws_of_sums(self, reading: Reading, cells: Cells, words: Words, large: int, name: str) -> Iterator[Law]:
        """Losses or units of clusters are parts of all, each rounded down a little; ``large``: rows left out."""
        left_out = together(cells.columns[:, large], cells.owners, reading.owners)
        yield f"clusters leave out more rows than there are ({name})", left_out <= reading.counts
        whole, part = reading.exact(name).rounded, summed(cells, words, reading.owners).rounded
        rounding = _ROUNDED * reading.total_weight.rounded
        above = part <= whole * (1.0 + _ROUNDED) + rounding
        below = (left_out > 0) | (part >= whole * (1.0 - _ROUNDED) - rounding)
        shared = reading.spec.class_weight is not None  # smoothing gives shares to rows of classes without weight
        yield f"the clusters' sums ({name}) do not add up to that of all rows", above & (below | shared)

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`; clusters are in that of the loss."""
        return {}


def _in_buckets(keys: Integers, cells: Integers, level: int) -> tuple[Integers, Integers]:
    return np.where(keys < 0, -1, keys & (~np.int64(PLACES) | (BUCKETS - 1))), cells
