"""Clusters of rows of groups."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.statistics import clusters
from fastxent.statistics.clusters import UNIT_SCALE, hash_values, ratio_errors
from fastxent.statistics.groupparts import SparsePart
from fastxent.statistics.sparse import PLACE_BITS, most_keys
from fastxent.statistics.statistic import FixedSum, OncePerBatch, Record
from fastxent.statistics.units import units_of

if TYPE_CHECKING:
    from fastxent.kernels.sums.tally import Tallies
    from fastxent.statistics.statistic import Statistic

__all__ = ["GroupedClusters"]

_LOW = 40


class GroupedClusters(SparsePart):
    """Weight, loss, hits and units of the clusters of every group, by 46 bits of the hash of their id.

    With too many, clusters share 4096 buckets in every group, or 2048, ..., down to 2: the same estimate of the error,
    only noisier.
    """

    #: Clusters of groups, or buckets, that there may be (at most 96 MiB a thread, 120 with units).
    LIMIT = most_keys(1 << 20)
    _BUCKET_BITS = 12
    WEIGHT, LOSS, HITS, LARGE, HEAVY, UNITS, MANY = 0, 2, 4, 6, 7, 8, 10

    def __init__(self, spec: Spec, column: str, units: str | None) -> None:
        self._spec, self._column, self._units = spec, column, units
        self._hashes = OncePerBatch()
        super().__init__((*(0, _LOW) * 3, 0, 0, *(() if units is None else (0, _LOW, 0))), self.LIMIT)

    def empty(self) -> GroupedClusters:
        """See `Part.empty`."""
        return GroupedClusters(self._spec, self._column, self._units)

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """See `Part.absorb`."""
        n, real, weighted = record.n, record.card.real, self._spec.reads_weight
        hashes = self._hashes.of(record, self._hash).view(np.uint64) >> np.uint64(64 - PLACE_BITS)
        places = np.where(record.scored, hashes.astype(np.int64), -1)
        weight = real[sc.WEIGHT, :n] if weighted else np.ones(n)
        loss = real[sc.SCRATCH, :n] if weighted else real[sc.LOSS, :n]
        light = weight < 2.0**22
        small = loss < 2.0**22
        hit = light & (record.card.whole[sc.RANK, :n] == 0)
        cells = np.zeros((n, self.width), np.int64)
        for column, values in (
            (self.WEIGHT, np.where(light, weight, 0.0)),
            (self.LOSS, np.where(small, loss, 0.0)),
            (self.HITS, np.where(hit, weight, 0.0)),
        ):
            cells[:, column], cells[:, column + 1] = FixedSum.split(values)
        cells[:, self.LARGE], cells[:, self.HEAVY] = ~small, ~light
        if self._units is not None:
            units = units_of(record, self._units) * weight * UNIT_SCALE
            few = units < 2.0**22
            cells[:, self.UNITS], cells[:, self.UNITS + 1] = FixedSum.split(np.where(few, units, 0.0))
            cells[:, self.MANY] = ~few
        self.add(groups, places, cells)

    def _hash(self, extra: dict[str, Any]) -> NDArray[np.int64]:
        return hash_values(extra[self._column], self._column)

    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """See `SparseSums.coarser`."""
        kept: NDArray[np.int64] = places & ((1 << max(1, self._BUCKET_BITS + 1 - level)) - 1)
        return kept

    def note(self) -> str:
        """See `Part.note`."""
        return f"clusters share {1 << max(1, self._BUCKET_BITS + 1 - self.level)} buckets"

    def fill(self, tallies: Tallies, statistics: dict[str, Statistic]) -> dict[str, Any]:
        """See `Part.fill`; of ranks only the first is told."""
        _, places, cells = self.sorted(np.zeros(1, np.int64))
        found = clusters.Clusters(self._spec, self._column, self._units, told=1)
        into = np.zeros((len(cells), found.width), np.int64)
        into[:, clusters.WEIGHT : clusters.LOSS + 2] = cells[:, self.WEIGHT : self.HITS]
        into[:, [clusters.LARGE, clusters.HEAVY]] = cells[:, [self.LARGE, self.HEAVY]]
        if found.told:
            into[:, clusters.RANKS : clusters.RANKS + 2] = cells[:, self.HITS : self.HITS + 2]
        if self._units is not None:
            into[:, -3:] = cells[:, self.UNITS :]
        found.load({"overflowed": self.level > 0}, [places, into])
        statistics["clusters"] = found
        return {}

    def read(self, numbers: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], dict[str, NDArray[np.float64]]]:
        """Of every group (each has a row) the clusters, and the errors of "loss", "accuracy" and loss per "unit"."""
        groups, _, cells = self.sorted(numbers)
        edges = np.searchsorted(groups, np.arange(count + 1))
        pairs = (cells[:, at].astype(object) << _LOW for at in (self.WEIGHT, self.LOSS, self.HITS))
        weight, loss, hits = (high + cells[:, at + 1] for high, at in zip(pairs, (0, 2, 4), strict=True))
        wanted = {"loss": (loss, weight, (self.LARGE, self.HEAVY)), "accuracy": (hits, weight, (self.HEAVY,))}
        if self._units is not None:
            units = (cells[:, self.UNITS].astype(object) << _LOW) + cells[:, self.UNITS + 1]
            wanted["unit"] = (loss, units, (self.LARGE, self.HEAVY, self.MANY))
        scale = {"unit": UNIT_SCALE}
        errors = {}
        for name, (y, x, beyond) in wanted.items():
            wrong = np.logical_or.reduceat(cells[:, beyond].any(axis=1), edges[:-1])
            errors[name] = np.where(wrong, math.nan, ratio_errors(x, y, edges[:-1]) * scale.get(name, 1.0))
        return np.diff(edges), errors
