"""What groups keep beside their rows of sums: their losses, scores and clusters, by place (see `SparseSums`)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.kernels import counters, records, tally
from fastxent.kernels import scorecard as sc
from fastxent.spec import Spec
from fastxent.statistics.clusters import hash_values, ratio_error
from fastxent.statistics.loss import cell_edges
from fastxent.statistics.ranking import OCTAVES, LabelRanking, rank_scores, scores_of
from fastxent.statistics.sparse import PLACE_BITS, SparseSums
from fastxent.statistics.statistic import FixedSum, OncePerBatch, Record

Edges = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

__all__ = ["GroupedClasses", "GroupedClusters", "GroupedLosses", "GroupedScores", "Part"]


class Part(SparseSums):
    """Sums by group and place that absorb records."""

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """Add the scored rows of a record, whose groups these are."""
        raise NotImplementedError

    def empty(self) -> Part:
        """One of the same kind without rows."""
        raise NotImplementedError


class GroupedLosses(Part):
    """Histograms of the losses: 128 cells an octave, as those of all rows, or half of them, a quarter, ...

    The levels after 7 put octaves together; at the last a group has one cell between the outer ones.
    """

    #: Cells that all groups together may fill (at most 64 MiB a thread).
    LIMIT = 1 << 21

    def __init__(self) -> None:
        super().__init__(1, self.LIMIT)

    def empty(self) -> GroupedLosses:
        """See `Part.empty`."""
        return GroupedLosses()

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """See `Part.absorb`."""
        places = np.empty(record.n, np.int64)
        counters.loss_places(record.card, record.n, places)
        self.add(groups, places, np.ones((record.n, 1), np.int64))

    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """See `SparseSums.coarser`; cell 0 and those beyond the bins stay."""
        inner = (places >= 1) & (places <= tally.BINS)
        return np.where(inner, 1 + ((places - 1) >> 1), places)

    def quantiles(
        self, qs: Sequence[float], numbers: NDArray[np.int64], low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> list[Edges]:
        """For each q, of every group the middle and the edges of the smallest cell that q n rows do not exceed.

        ``numbers`` orders the groups, each of which has a row; ``low`` and ``high`` are their extremes.
        """
        groups, places, cells = self.sorted(numbers)
        if not groups.size:
            return [(low, low, high) for _ in qs]
        counts = cells[:, 0].cumsum()
        starts = np.flatnonzero(np.concatenate(([True], groups[1:] != groups[:-1])))
        before = counts[starts] - cells[starts, 0]
        rows = counts[np.concatenate((starts[1:], [len(groups)])) - 1] - before
        found = []
        for q in qs:
            wanted = before + np.maximum(1, np.ceil(q * rows).astype(np.int64))
            left, right = self._edges(places[np.searchsorted(counts, wanted)])
            left, right = np.maximum(left, low), np.minimum(right, high)
            with np.errstate(invalid="ignore"):
                found.append((np.where(left == right, left, 0.5 * (left + right)), left, right))
        return found

    def _edges(self, places: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        inner = (places >= 1) & (places <= tally.BINS)
        first = np.where(inner, 1 + ((places - 1) << self.level), places)
        last = np.where(inner, np.minimum(first + (1 << self.level) - 1, tally.BINS), places)
        return cell_edges(first)[0], cell_edges(last)[1]


class GroupedScores(Part):
    """Histograms of the scores of a binary task, positives apart: as in `fastxent.statistics.ranking`, or coarser."""

    #: Cells that all groups together may fill (at most 128 MiB a thread with weights).
    LIMIT = 1 << 21
    BITS = 10

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        super().__init__(3, self.LIMIT, (0,) if spec.reads_weight else ())

    def empty(self) -> GroupedScores:
        """See `Part.empty`."""
        return GroupedScores(self._spec)

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """See `Part.absorb`; weights of 2^20 and more are left out (and known to `fastxent.kernels.groups`)."""
        n, weighted = record.n, self._spec.reads_weight
        weight = record.card.real[sc.WEIGHT, :n] if weighted else np.ones(n)
        known = record.scored & (weight < 2.0**20)
        truth = np.where(known, record.card.whole[sc.TARGET, :n], 2).astype(np.uint8)
        scores = scores_of(record.batch.predictions, slice(record.lo, record.lo + n), 0)
        places, cells = np.empty(n, np.int64), np.zeros((n, 3), np.int64)
        fold = self._spec.form == "probs"
        records.score_places(scores, truth, fold, self.BITS, OCTAVES, places, cells[:, 2])
        if weighted:
            cells[:, 0], cells[:, 1] = FixedSum.split(np.where(known, weight, 0.0))
        else:
            cells[:, 0] = 1
        self.add(groups, places, cells)

    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """See `SparseSums.coarser`: neighbors share a cell, so the order of scores stays."""
        halved: NDArray[np.int64] = (places >> 2) << 1 | (places & 1)
        return halved

    def read(self, numbers: NDArray[np.int64], count: int) -> list[LabelRanking]:
        """The ranking of every group, with bounds."""
        groups, places, cells = self.sorted(numbers)
        edges = np.searchsorted(groups, np.arange(count + 1))
        sums = cells[:, 0].astype(object)
        sums = (sums << 40) + cells[:, 1] if self._spec.reads_weight else sums
        found = []
        for lo, hi in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            own, at = np.unique(places[lo:hi] >> 1, return_inverse=True)
            neg, pos = np.zeros((2, len(own)), object)
            positive = (places[lo:hi] & 1).astype(np.bool_)
            neg[at[~positive]], pos[at[positive]] = sums[lo:hi][~positive], sums[lo:hi][positive]
            found.append(rank_scores(neg, pos, exact=self.level == 0 and not cells[lo:hi, 2].any()))
        return found


class GroupedClasses(Part):
    """Weights by target and predicted class, of every group.

    Where there are too many pairs, by target class and whether it was predicted; and with too many of those, none.
    """

    #: Pairs of classes that all groups together may have (at most 96 MiB a thread).
    LIMIT = 1 << 21

    def __init__(self, spec: Spec, classes: int) -> None:
        self._spec, self._classes = spec, classes
        super().__init__(2, self.LIMIT, (0,) if spec.reads_weight else ())

    def empty(self) -> GroupedClasses:
        """See `Part.empty`."""
        return GroupedClasses(self._spec, self._classes)

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """See `Part.absorb`; weights of 2^20 and more as in `GroupedScores`."""
        n, whole = record.n, record.card.whole
        weight = record.card.real[sc.WEIGHT, :n] if self._spec.reads_weight else np.ones(n)
        known = record.scored & (weight < 2.0**20)
        pairs = whole[sc.TARGET, :n].astype(np.int64) * self._classes + whole[sc.PREDICTED, :n]
        cells = np.zeros((n, 2), np.int64)
        if self._spec.reads_weight:
            cells[:, 0], cells[:, 1] = FixedSum.split(np.where(known, weight, 0.0))
        else:
            cells[:, 0] = 1
        self.add(groups, np.where(known, pairs, -1), cells)

    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """See `SparseSums.coarser`."""
        if level > 1:
            return np.zeros_like(places)
        target, predicted = np.divmod(places, self._classes)
        told: NDArray[np.int64] = 2 * target + (target == predicted)
        return told

    def read(self, numbers: NDArray[np.int64], count: int) -> dict[str, Any]:
        """Entropy of the target classes' shares, mean F1 and mean recall over classes, of every group.

        F1 over the classes that are a target or predicted, recall over those that are a target. None where there were
        too many to count.
        """
        nothing: list[float | None] = [None] * count
        if self.level > 1:
            return dict.fromkeys(("base", "f1_macro", "balanced_accuracy"), nothing)
        groups, places, cells = self.sorted(numbers)
        sums = cells[:, 0] * 2.0**-30 + cells[:, 1] * 2.0**-70 if self._spec.reads_weight else cells[:, 0] + 0.0
        groups, places, sums = groups[sums > 0.0], places[sums > 0.0], sums[sums > 0.0]
        target, predicted = np.divmod(places, 2 if self.level else self._classes)
        hits = np.where(predicted == (1 if self.level else target), sums, 0.0)
        of, (support, right) = _by_class(groups, target, sums, hits)
        share = support / np.bincount(groups, sums, count)[of]
        entropy = np.bincount(of, -share * np.log(share), count)
        found: dict[str, Any] = {
            "base": np.where(np.bincount(of, None, count) > 0, entropy, math.nan),
            "f1_macro": nothing,
            "balanced_accuracy": _means(of, right / support, count),
        }
        if not self.level:
            both, classes = np.concatenate((groups, groups)), np.concatenate((target, predicted))
            of, (weight, right) = _by_class(both, classes, np.tile(sums, 2), np.concatenate((hits, hits)))
            found["f1_macro"] = _means(of, right / weight, count)
        return found


def _by_class(groups: NDArray[Any], classes: NDArray[Any], *sums: NDArray[Any]) -> tuple[NDArray[Any], list[Any]]:
    """Sums of all rows of a class of a group, and that group."""
    order = np.lexsort((classes, groups))
    groups, classes = groups[order], classes[order]
    new = (groups[1:] != groups[:-1]) | (classes[1:] != classes[:-1])
    starts = np.flatnonzero(np.concatenate((np.ones(min(len(groups), 1), np.bool_), new)))
    return groups[starts], [np.add.reduceat(each[order], starts) if starts.size else each for each in sums]


def _means(groups: NDArray[Any], values: NDArray[Any], count: int) -> NDArray[Any]:
    """The mean of the values of every group; NaN of none."""
    with np.errstate(invalid="ignore"):
        return np.bincount(groups, values, count) / np.bincount(groups, None, count)


class GroupedClusters(Part):
    """Weight, loss and hits of the clusters of every group, by 46 bits of the hash of their id.

    With too many, clusters share 4096 buckets in every group, or 2048, ..., down to 2: the same estimate of the error,
    only noisier.
    """

    #: Clusters of groups, or buckets, that there may be (at most 160 MiB a thread).
    LIMIT = 1 << 20
    _BUCKET_BITS = 12
    WEIGHT, LOSS, HITS, LARGE, HEAVY = 0, 2, 4, 6, 7

    def __init__(self, spec: Spec, column: str) -> None:
        self._spec, self._column = spec, column
        self._hashes = OncePerBatch(lambda extra: hash_values(extra[column], column))
        super().__init__(8, self.LIMIT, (self.WEIGHT, self.LOSS, self.HITS))

    def empty(self) -> GroupedClusters:
        """See `Part.empty`."""
        return GroupedClusters(self._spec, self._column)

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """See `Part.absorb`."""
        n, real, weighted = record.n, record.card.real, self._spec.reads_weight
        hashes = self._hashes.of(record).view(np.uint64) >> np.uint64(64 - PLACE_BITS)
        places = np.where(record.scored, hashes.astype(np.int64), -1)
        weight = real[sc.WEIGHT, :n] if weighted else np.ones(n)
        loss = real[sc.SCRATCH, :n] if weighted else real[sc.LOSS, :n]
        light = weight < 2.0**22
        small = light & (loss < 2.0**22)
        hit = light & (record.card.whole[sc.RANK, :n] == 0)
        cells = np.zeros((n, self.width), np.int64)
        for column, values in (
            (self.WEIGHT, np.where(light, weight, 0.0)),
            (self.LOSS, np.where(small, loss, 0.0)),
            (self.HITS, np.where(hit, weight, 0.0)),
        ):
            cells[:, column], cells[:, column + 1] = FixedSum.split(values)
        cells[:, self.LARGE], cells[:, self.HEAVY] = ~small, ~light
        self.add(groups, places, cells)

    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """See `SparseSums.coarser`."""
        kept: NDArray[np.int64] = places & ((1 << max(1, self._BUCKET_BITS + 1 - level)) - 1)
        return kept

    def read(self, numbers: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], list[float], list[float]]:
        """Of every group the clusters, and the standard errors of its mean loss and of its accuracy."""
        groups, _, cells = self.sorted(numbers)
        edges = np.searchsorted(groups, np.arange(count + 1))
        weight, loss, hits = (
            (cells[:, at].astype(object) << 40) + cells[:, at + 1] for at in (self.WEIGHT, self.LOSS, self.HITS)
        )
        errors: tuple[list[float], list[float]] = ([], [])
        for lo, hi in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            for found, y, beyond in zip(errors, (loss, hits), (self.LARGE, self.HEAVY), strict=True):
                good = not cells[lo:hi, beyond].any()
                found.append(ratio_error(weight[lo:hi], y[lo:hi]) if good else math.nan)
        return np.diff(edges), *errors
