"""The integers of all groups: counts, exact sums and extremes by row, and what they keep by place."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent.base import exact
from fastxent.base.errors import StateError
from fastxent.base.exact import LIMB_BITS, LIMBS, N_NAN, N_NEGINF, N_POSINF, SIZE, UNIT_EXPONENT, N
from fastxent.base.runs import run_starts
from fastxent.kernels.sums import group_sums as kernels
from fastxent.kernels.sums.group_sums import LOW, WINDOW
from fastxent.statistics.groupparts import Part
from fastxent.statistics.sparse import SparseSums
from fastxent.statistics.statistic import check_shape

__all__ = ["GroupSums", "GroupTotals"]

_NEVER = np.iinfo(np.int64).max
#: Groups merged at a time, whose sums are copied some times over.
_AT_ONCE = 1 << 12


class _Beyond(SparseSums):
    """Limbs and counters that the window of a group does not hold; all that there are, never put together."""

    def __init__(self) -> None:
        super().__init__((0, LIMB_BITS), _NEVER)

    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """There is no coarser level."""
        raise AssertionError


class GroupTotals(NamedTuple):
    """Sums of groups: of what is finite as Python integers in units of 2^-bits, and NaN, an infinity, or else 0.0."""

    sums: list[NDArray[Any]]
    special: NDArray[np.float64]
    bits: int


class GroupSums:
    """Sums by group, which are numbers.

    ``cells`` has a row a group: its rows, then a window of limbs of each exact sum, as `kernels.add_exact` writes them;
    ``extremes`` the bits of its least and its largest loss. ``parts`` are kept by place, under their names.
    """

    def __init__(self, sums: int, parts: dict[str, Part], rows: int = 16) -> None:
        self.sums, self.parts = sums, parts
        self.cells: NDArray[np.int64] = np.zeros((rows, 1 + sums * WINDOW), np.int64)
        self.extremes: NDArray[np.int64] = np.tile(np.array([_NEVER, -1]), (rows, 1))
        self._beyond = _Beyond()

    @property
    def counts(self) -> NDArray[np.int64]:
        """The rows of every group."""
        found: NDArray[np.int64] = self.cells[:, 0]
        return found

    def make_room(self, groups: int) -> None:
        """For so many groups."""
        if groups > len(self.cells):
            more = max(groups, 2 * len(self.cells)) - len(self.cells)
            self.cells = np.concatenate([self.cells, np.zeros((more, self.cells.shape[1]), np.int64)])
            self.extremes = np.concatenate([self.extremes, np.tile(np.array([_NEVER, -1]), (more, 1))])

    def add(self, values: NDArray[np.float64], into: NDArray[np.int64], codes: NDArray[Any], status: Any) -> None:
        """Add ``values[v, i]`` to sum ``into[v]`` of group ``codes[i]`` of the rows that were scored."""
        beyond = np.zeros(values.shape, np.bool_)
        if not kernels.add_exact(values, into, codes, status, self.cells, beyond):
            return
        which, rows = np.nonzero(beyond)
        keys, cells = np.empty(2 * len(rows), np.int64), np.zeros((2 * len(rows), 2), np.int64)
        kernels.split_beyond(values[which, rows], into[which], keys, cells)
        self._beyond.add(np.repeat(codes[rows], 2), keys, cells)

    def merge(self, other: GroupSums, numbers: NDArray[np.int64]) -> None:
        """Add the groups of the other, which have these numbers here; a negative number leaves a group out."""
        kept = np.flatnonzero(numbers >= 0)
        codes = numbers[kept]
        self.make_room(int(codes.max(initial=-1)) + 1)
        _carry(self.cells)
        for lo in range(0, len(kept), _AT_ONCE):
            here = slice(lo, lo + _AT_ONCE)
            present, found = _put_together(_carry(other.cells[kept[here]]), codes[here])
            self.cells[present] += found
        _carry(self.cells)
        np.minimum.at(self.extremes[:, 0], codes, other.extremes[kept, 0])
        np.maximum.at(self.extremes[:, 1], codes, other.extremes[kept, 1])
        self._beyond.merge(other._beyond, numbers)
        for name, part in self.parts.items():
            part.merge(other.parts[name], numbers)

    def regrouped(self, numbers: NDArray[np.int64], count: int) -> GroupSums:
        """The sums of ``count`` groups to which these go by ``numbers``."""
        result = GroupSums(self.sums, {name: part.empty() for name, part in self.parts.items()}, count)
        result.merge(self, numbers)
        return result

    def exact_sums(self) -> NDArray[np.int64]:
        """All sums of group 0, the only one, as states of `fastxent.base.exact`."""
        found = exact.empty(self.sums)
        found[:, LOW : LOW + WINDOW] = self.cells[0, 1:].reshape(self.sums, WINDOW)
        _, places, cells = self._beyond.sorted(np.zeros(1, np.int64))
        which, limb = np.divmod(places, SIZE)
        top = limb == LIMBS - 1
        np.add.at(found, (which, limb), cells[:, 1] + np.where(top, cells[:, 0] << LIMB_BITS, 0))
        inner = limb < LIMBS - 1
        np.add.at(found, (which[inner], limb[inner] + 1), cells[inner, 0])
        found[:, N] = self.counts[0]
        return exact.canonical(found)

    def places(self, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place of every group in an order; -1 where it is not there."""
        found: NDArray[np.int64] = np.full(len(self.cells), -1, np.int64)
        found[order] = np.arange(len(order))
        return found

    def totals(self, which: range) -> GroupTotals:
        """Some of the sums, of all groups."""
        groups, places, cells = self._beyond.sorted(np.arange(len(self.cells)))
        sums, limb = np.divmod(places, SIZE)
        lowest = LOW if (limb >= LOW).all() else 0
        found, special = [], np.zeros((len(which), len(self.cells)))
        for s in which:
            total, place = np.zeros(len(self.cells), object), WINDOW
            for k in reversed(range(WINDOW)):
                if (limbs_here := self.cells[:, 1 + s * WINDOW + k]).any():
                    total, place = (total << LIMB_BITS * (place - k)) + limbs_here, k
            found.append(total << LIMB_BITS * (LOW + place - lowest))
        here = (sums >= which.start) & (sums < which.stop)
        beyond = (a[here].tolist() for a in (groups, sums - which.start, limb, cells))
        for group, i, place, (high, low) in zip(*beyond, strict=True):
            if place < LIMBS:
                found[i][group] += ((high << LIMB_BITS) + low) << (LIMB_BITS * (place - lowest))
            else:
                special[i, group] += {N_NAN: np.nan, N_POSINF: np.inf, N_NEGINF: -np.inf}[place]
        return GroupTotals(found, special, -UNIT_EXPONENT - LIMB_BITS * lowest)

    def state(self, order: NDArray[np.int64]) -> tuple[dict[str, int], list[NDArray[np.int64]]]:
        """See `fastxent.statistics.statistic.Statistic.state`; in this order, which has all groups with rows."""
        numbers = self.places(order)
        levels = {}
        arrays = [_carry(self.cells[order]), self.extremes[order], *self._beyond.state(numbers)[1]]
        for name, part in self.parts.items():
            levels[name], more = part.state(numbers)
            arrays += more
        return levels, arrays

    def load(self, levels: dict[str, int], arrays: list[NDArray[np.int64]], count: int) -> None:
        """Take over what `state` gave of so many groups."""
        if len(arrays) != 4 + 2 * len(self.parts) or set(levels) != set(self.parts):
            raise StateError("groups hold other statistics than they say")
        self.cells = check_shape(arrays[0], (count, self.cells.shape[1]))
        self.extremes = check_shape(arrays[1], (count, 2))
        self._beyond.load(0, arrays[2:4], count)
        for i, (name, part) in enumerate(self.parts.items()):
            part.load(levels[name], arrays[4 + 2 * i : 6 + 2 * i], count)


def _carry(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """Bring the limbs of sums into their range, the last one signed; returns the same array."""
    windows = cells[:, 1:].reshape(len(cells), cells.shape[1] // WINDOW, WINDOW)
    for i in range(WINDOW - 1):
        carry = windows[..., i] >> LIMB_BITS
        windows[..., i] -= carry << LIMB_BITS
        windows[..., i + 1] += carry
    return cells


def _put_together(cells: NDArray[np.int64], codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The codes, and the sums of the rows of each; limbs are summed by halves, so that 2^36 rows stay in range."""
    if not len(codes):
        return codes, cells
    order = np.argsort(codes, kind="stable")
    found = codes[order]
    starts = run_starts(found)
    half = LIMB_BITS // 2
    low, high = (np.add.reduceat(part[order], starts, axis=0) for part in (cells & ((1 << half) - 1), cells >> half))
    counts = low[:, :1] + (high[:, :1] << half)
    low, high = (part[:, 1:].reshape(len(starts), part.shape[1] // WINDOW, WINDOW) for part in (low, high))
    sums = np.zeros_like(low)
    carry: Any = 0
    for i in range(WINDOW):
        up = high[..., i] + ((low[..., i] + carry) >> half)
        rest = (low[..., i] + carry) & ((1 << half) - 1)
        carry = up >> half
        sums[..., i] = rest + (up << half if i == WINDOW - 1 else (up & ((1 << half) - 1)) << half)
    return found[starts], np.concatenate((counts, sums.reshape(len(starts), -1)), axis=1)
