"""What groups keep beside their exact sums; by place in hash tables (see `SparseSums`): losses and ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.runs import run_starts
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import group_sums as kernels
from fastxent.kernels.sums import keyed_counts, tally
from fastxent.kernels.sums.records import LIMIT
from fastxent.statistics.loss import cell_edges
from fastxent.statistics.sparse import SparseSums, most_keys
from fastxent.statistics.statistic import FIXED_BITS, Record, fixed_words

if TYPE_CHECKING:
    from fastxent.kernels.sums.tally import Tallies
    from fastxent.statistics.statistic import Statistic

Edges = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

__all__ = ["MOST_KEYS", "GroupedLosses", "GroupedRanks", "Part", "SparsePart"]

#: Keys that all groups together may have in a table. A hundred thousand groups have room for 15 cells each.
MOST_KEYS = most_keys(1 << 21)


class Part(ABC):
    """What groups, which are numbers, keep of one kind: it absorbs records, and becomes that of one group's totals.

    With more than all groups together may have, each keeps less; how much less depends on the rows alone.
    """

    #: by how many steps less is kept than there would be room for with fewer rows
    level: int

    @abstractmethod
    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """Add the scored rows of a record, whose groups these are."""

    def settle(self) -> None:  # noqa: B027  (most do at once)
        """Take in what was put off, so that the level is that of all rows."""

    @abstractmethod
    def merge(self, other: Any, numbers: NDArray[np.int64]) -> None:
        """Add the other's; ``numbers`` are the numbers here of its groups, negative for one to leave out."""

    def shift(self, offset: int) -> None:  # noqa: B027  (most know no single rows)
        """See `fastxent.statistics.statistic.Statistic.shift`."""

    @abstractmethod
    def state(self, numbers: NDArray[np.int64]) -> tuple[Any, list[NDArray[np.int64]]]:
        """A JSON value and two arrays, as `Statistic.state`; groups are called by ``numbers``."""

    @abstractmethod
    def load(self, value: Any, arrays: list[NDArray[np.int64]], groups: int) -> None:
        """Take over what `state` gave of so many groups."""

    @abstractmethod
    def empty(self) -> Part:
        """One of the same kind without rows."""

    @abstractmethod
    def note(self) -> str:
        """What groups do not say, or less exactly, at a level above 0."""

    @abstractmethod
    def fill(self, tallies: Tallies, statistics: dict[str, Statistic]) -> dict[str, Any]:
        """Put what is kept of group 0, the only one, where totals have it; returns fields of `Coarse`."""


class SparsePart(SparseSums, Part):
    """Sums by group and place."""


class GroupedLosses(SparsePart):
    """Histograms of the losses: 128 cells an octave, as those of all rows, or half of them, a quarter, ...

    The levels after 7 put octaves together; at the last a group has one cell between the outer ones.
    """

    LIMIT = MOST_KEYS

    def __init__(self) -> None:
        super().__init__((0,), self.LIMIT)

    def empty(self) -> GroupedLosses:
        """See `Part.empty`."""
        return GroupedLosses()

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """See `Part.absorb`."""
        places = np.empty(record.n, np.int64)
        keyed_counts.loss_places(record.card, record.n, places)
        self.add(groups, places, np.ones((record.n, 1), np.int64))

    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """See `SparseSums.coarser`; cell 0 and those beyond the bins stay."""
        inner = (places >= 1) & (places <= tally.BINS)
        return np.where(inner, 1 + ((places - 1) >> 1), places)

    def note(self) -> str:
        """See `Part.note`."""
        most = 128 >> self.level
        return f"quantiles are those of {f'{most} bins an octave' if most else f'bins of {2**self.level >> 7} octaves'}"

    def fill(self, tallies: Tallies, statistics: dict[str, Statistic]) -> dict[str, Any]:
        """See `Part.fill`: a cell stands where the first of its cells does."""
        _, places, cells = self.sorted(np.zeros(1, np.int64))
        if tallies.histogram.size:
            tallies.histogram[self._first(places)] = cells[:, 0]
        return {"losses": self.level}

    def quantiles(
        self, qs: Sequence[float], numbers: NDArray[np.int64], low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> list[Edges]:
        """For each q, of every group the middle and the edges of the smallest cell that q n rows do not exceed.

        ``numbers`` says the places of groups, each of which has a row; ``low`` and ``high`` are their extremes.
        """
        groups, places, cells = self.sorted(numbers)
        if not groups.size:
            return [(low, low, high) for _ in qs]
        counts = cells[:, 0].cumsum()
        starts = run_starts(groups)
        before = counts[starts] - cells[starts, 0]
        rows = counts[np.concatenate((starts[1:], [len(groups)])) - 1] - before
        found = []
        for q in qs:
            wanted = before + np.maximum(1, np.ceil(q * rows).astype(np.int64))
            cell = self._first(places[np.searchsorted(counts, wanted)])
            left, right = cell_edges(cell, self.level)
            left, right = np.maximum(left, low), np.minimum(right, high)
            with np.errstate(invalid="ignore"):
                found.append((np.where(left == right, left, 0.5 * (left + right)), left, right))
        return found

    def _first(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        inner = (places >= 1) & (places <= tally.BINS)
        return np.where(inner, 1 + ((places - 1) << self.level), places)


class GroupedRanks(SparsePart):
    """Rows, and with weights their weight, by rank of the target; with too many, ranks from the tenth on are one."""

    LIMIT = MOST_KEYS

    def __init__(self, spec: Spec, ranks: int) -> None:
        self._spec, self._ranks = spec, ranks
        super().__init__((0, 0, FIXED_BITS) if spec.reads_weight else (0,), self.LIMIT)

    def empty(self) -> GroupedRanks:
        """See `Part.empty`."""
        return GroupedRanks(self._spec, self._ranks)

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """See `Part.absorb`; weights and losses of 2^40 and more are left out, as in `Weighed`."""
        n, card = record.n, record.card
        places = np.minimum(card.whole[sc.RANK, :n].astype(np.int64), self._ranks - 1)
        cells = np.zeros((n, self.width), np.int64)
        cells[:, 0] = 1
        if self._spec.reads_weight:
            weight = card.real[sc.WEIGHT, :n]
            known = (weight < LIMIT) & (card.real[sc.SCRATCH, :n] < LIMIT)
            cells[:, 1], cells[:, 2] = fixed_words(np.where(known, weight, 0.0))
        self.add(groups, np.where(record.scored, places, -1), cells)

    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """See `SparseSums.coarser`."""
        return np.minimum(places, kernels.RANKS)

    def note(self) -> str:
        """See `Part.note`."""
        return f"ranks of the target from {kernels.RANKS} on are not told apart"

    def fill(self, tallies: Tallies, statistics: dict[str, Statistic]) -> dict[str, Any]:
        """See `Part.fill`."""
        _, places, cells = self.sorted(np.zeros(1, np.int64))
        if tallies.ranks.size:  # the confusion of two classes says it already
            tallies.ranks[places] = cells[:, 0]
        if "weighed" in statistics:
            weighed: Any = statistics["weighed"]
            weighed.ranks[places] = cells[:, 1:]
        return {"ranks": kernels.RANKS if self.level else None}

    def of_first(
        self, numbers: NDArray[np.int64], count: int, ks: Sequence[int]
    ) -> tuple[dict[int, NDArray[Any]], NDArray[Any]]:
        """What the rows of the first k ranks of every group weigh, for each k, and those of all ranks: Python integers.

        Every group has a row.
        """
        groups, places, cells = self.sorted(numbers)
        starts = np.searchsorted(groups, np.arange(count))
        half = FIXED_BITS // 2
        words = [cells[:, 0]]
        if self._spec.reads_weight:
            words = [cells[:, 1], cells[:, 2] >> half, cells[:, 2] & ((1 << half) - 1)]

        def weigh(here: NDArray[np.bool_]) -> NDArray[Any]:
            total = np.zeros(count, object)
            for word in words:
                total = (total << half) + np.add.reduceat(np.where(here, word, 0), starts)
            return total

        return {k: weigh(places < k) for k in ks}, weigh(places >= 0)
