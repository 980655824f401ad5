"""The joined pairs, read as sums: of all rows, by group, in clusters, with weights, under flipped signs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import DataError
from fastxent.base.text import group_name
from fastxent.comparison.cluster_sums import ClusterSums
from fastxent.comparison.differences import Outcome, Pairing, PairSums, runs
from fastxent.comparison.long_values import is_stand_in
from fastxent.comparison.paired_statistics import PairedStatistics, RowScores, Squares
from fastxent.comparison.pairing import Pairs, exact_values, short_name
from fastxent.comparison.sign_flip import sign_flip_test
from fastxent.data.spec import Spec
from fastxent.statistics.groups import MAX_GROUPS
from fastxent.statistics.statistic import predicts_class

__all__ = ["Joined", "has_classes"]

#: The clusters of rows: codes, and the values that these stand for.
Clusters = tuple[NDArray[np.int64], list[Any]]


class Joined:
    """The joined pairs as sums: of all rows, by group, in clusters, with weights."""

    def __init__(self, pairs: Pairs, groups: tuple[str, ...], clusters: tuple[str, ...], spec: Spec) -> None:
        self.pairs, self.groups = pairs, groups
        self._cluster_by = clusters[0] if clusters else None
        self._cluster = f"c{len(groups)}" if clusters else None
        self._weighted, self._classes, self._scores = spec.reads_weight, has_classes(spec), predicts_class(spec)
        self._spec = spec

    @cached_property
    def _power(self) -> int:
        """The power of two that is in the largest weight: without it no product of weights is too large or small."""
        return math.frexp(self.pairs.largest_weight())[1]

    def sums(self) -> PairSums:
        """Empty ones."""
        power = self._power if self._weighted else None
        return PairSums(clustered=self._cluster is not None, power=power, classes=self._classes)

    def _pairing(self, batch: Any) -> Pairing:
        la, lb = (np.array(batch[name]) for name in ("la", "lb"))
        ca, cb = (batch[name].to_numpy(zero_copy_only=False) for name in ("ca", "cb"))
        names = ("s", "x") if self._weighted else ()
        return Pairing(la, lb, ca, cb, *(np.ldexp(np.array(batch[name]), -self._power) for name in names))

    def _clusters(self, batch: Any) -> Clusters | None:
        if self._cluster is None:
            return None
        codes, values = _codes(batch[self._cluster])
        if (codes < 0).any():
            raise DataError(f"cluster_by: column {self._cluster_by!r} has nulls; every row needs a cluster")
        return codes, values

    def _names(self, batch: Any, group: str | None) -> tuple[NDArray[np.int64], list[str]]:
        """The groups of rows as numbers, and their names, the last of them that of null; without a column one."""
        if group is None:
            return np.zeros(len(batch), np.int64), [""]
        codes, values = _codes(batch[group])
        if any(map(is_stand_in, values)):
            whole = self.pairs.whole_groups(group, self.groups[int(group[1:])])
            values = [whole.get(value, value) for value in values]
        return codes, [group_name(value) for value in (*values, None)]

    def _group_runs(self, batch: Any, group: str | None) -> Iterator[tuple[str, int, int]]:
        """The groups of a batch that is sorted by them, and where their rows begin and end."""
        codes, names = self._names(batch, group)
        for lo, hi in runs(codes):
            yield names[codes[lo]], lo, hi

    def _owners(self, batch: Any, group: str | None, numbers: dict[str, int]) -> NDArray[np.int32]:
        """The number of the group of every row of a batch; without a column there is one."""
        codes, names = self._names(batch, group)
        return np.array([0 if group is None else numbers.get(name, -1) for name in names], np.int32)[codes]

    def outcomes(self, group: str | None = None) -> Iterator[tuple[str, Outcome]]:
        """The outcome of each value of the group column, or the one of all rows; pairs come sorted by it."""
        sums: PairSums | None = None
        here = ""
        for batch in self.pairs.stream([c for c in (group, self._cluster) if c is not None], weighted=self._weighted):
            pairing, clusters = self._pairing(batch), self._clusters(batch)
            for value, lo, hi in self._group_runs(batch, group):
                if sums is None or value != here:
                    if sums is not None:
                        yield here, sums.outcome()
                    sums, here = self.sums(), value
                sums.add(pairing.cut(lo, hi), None if clusters is None else (clusters[0][lo:hi], clusters[1]))
        if sums is not None:
            yield here, sums.outcome()

    def with_statistics(self, outcomes: dict[str, Outcome], group: str | None = None) -> dict[str, Outcome]:
        """The outcomes of all rows, or of the values of a group column, with the differences of other statistics."""
        if not self._scores or not outcomes or len(outcomes) > MAX_GROUPS:
            return outcomes
        numbers = {value: number for number, value in enumerate(outcomes)}
        statistics = PairedStatistics(self._spec, len(numbers))
        for batch in self._scored((), [] if group is None else [group]):
            statistics.gather(self._row_scores(batch), self._owners(batch, group, numbers))
        statistics.read()
        order = [c for c in (group, self._cluster) if c is not None]
        parts = itertools.groupby(self._spread(statistics, order, group, numbers), key=itemgetter(0))
        found = dict(outcomes)
        for value, pieces in parts:
            squares = Squares(len(statistics.names), clustered=self._cluster is not None)
            for _, differences, weight, clusters in pieces:
                squares.add(differences, weight, clusters)
            paired = statistics.paired(numbers[value], *squares.errors())
            found[value] = replace(outcomes[value], statistics=paired)
        return found

    def _spread(
        self, statistics: PairedStatistics, order: list[str], group: str | None, numbers: dict[str, int]
    ) -> Iterator[tuple[str, NDArray[np.float64], NDArray[np.float64] | None, Clusters | None]]:
        """Of every group in turn: differences of influences, weights and clusters of rows."""
        for batch in self._scored(order, []):
            rows, clusters = self._row_scores(batch), self._clusters(batch)
            differences = statistics.spread(rows, self._owners(batch, group, numbers))
            for value, lo, hi in self._group_runs(batch, group):
                yield (
                    value, differences[:, lo:hi], None if rows.weight is None else rows.weight[lo:hi],
                    None if clusters is None else (clusters[0][lo:hi], clusters[1]),
                )  # fmt: skip

    def _scored(self, order: Sequence[str], beside: Sequence[str]) -> Iterator[Any]:
        return self.pairs.stream(order, weighted=self._weighted, scores=True, beside=beside)

    def _row_scores(self, batch: Any) -> RowScores:
        label = np.array(batch[short_name("label", "a")])
        said, confidence = (_of_both(batch, name) for name in ("said", "confidence"))
        a, b = (batch[name].to_numpy(zero_copy_only=False) for name in ("ca", "cb"))
        weight = np.ldexp(np.array(batch["x"]), -self._power) if self._weighted else None
        return RowScores(label, said, confidence, (a, b), weight)

    def permuted(
        self, outcomes: dict[str, Outcome], permutations: int, seed: int, group: str | None = None
    ) -> dict[str, Outcome]:
        """The outcomes of all rows, or of the values of a group column, with their sign-flip tests."""
        nothing = sign_flip_test((), 0, permutations, seed)
        tested = {value: replace(outcome, permutation=nothing) for value, outcome in outcomes.items()}
        for value, parts in itertools.groupby(self._differences(group), key=itemgetter(0)):
            outcome = outcomes[value]
            count = outcome.rows if outcome.clusters is None else outcome.clusters
            test = sign_flip_test((y for _, y in parts), count, permutations, seed)
            tested[value] = replace(outcome, permutation=test)
        return tested

    def _differences(self, group: str | None = None) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """Of every group in turn the differences of rows in the order of their ids, or of clusters."""
        collected = _Collected()
        here: str | None = None
        order = self.pairs.keys if self._cluster is None else [self._cluster]
        for batch in self.pairs.stream([*([] if group is None else [group]), *order], weighted=self._weighted):
            y, clusters = self._pairing(batch).y, self._clusters(batch)
            for value, lo, hi in self._group_runs(batch, group):
                if clusters is None:
                    yield value, y[lo:hi]
                    continue
                if here is not None and value != here:
                    collected.close()
                    yield here, collected.take()
                here = value
                collected.add((clusters[0][lo:hi], clusters[1]), y[lo:hi], None, np.zeros(hi - lo))
                yield value, collected.take()
        if here is not None:
            collected.close()
            yield here, collected.take()


def has_classes(spec: Spec) -> bool:
    """Whether a row is right or wrong: it has a predicted class, or (multilabel) all of its labels."""
    return predicts_class(spec) or spec.task == "multilabel"


class _Collected(ClusterSums):
    """The sums of clusters as they come."""

    def __init__(self) -> None:
        super().__init__()
        self._sums: list[NDArray[np.float64]] = []

    def record(self, y: NDArray[np.float64], x: NDArray[np.float64], hits: NDArray[np.float64]) -> None:
        """See `ClusterSums.record`."""
        self._sums.append(y)

    def take(self) -> NDArray[np.float64]:
        """Those that have come since."""
        found, self._sums = np.concatenate([np.zeros(0), *self._sums]), []
        return found


def _of_both(batch: Any, name: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """What both sides say of the rows."""
    return np.array(batch[short_name(name, "a")]), np.array(batch[short_name(name, "b")])


def _codes(column: Any) -> tuple[NDArray[np.int64], list[Any]]:
    """A column as numbers, -1 for null, and the values they stand for."""
    encoded = column.dictionary_encode()
    codes = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes, exact_values(encoded.dictionary)
