"""Sums by group and place in bounded memory: what has too many cells to give every group all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import StateError
from fastxent.kernels.sums import keyed_counts
from fastxent.statistics.statistic import check_shape

__all__ = ["PLACES", "PLACE_BITS", "SparseSums", "most_keys"]

#: A key is group << PLACE_BITS | place.
PLACE_BITS = 46
PLACES = (1 << PLACE_BITS) - 1
_LEAST = 1 << 10
#: Rows that are added at a time, for whose keys (two a row) a table must have room beforehand.
_AT_ONCE = 1 << 12
_LEVELS = 64
#: Rows of another table that are looked at at a time.
_PIECE = 1 << 16


def most_keys(size: int) -> int:
    """How many keys a table may have which is never to have more than so many rows."""
    return 3 * size // 4 - 2 * _AT_ONCE


class SparseSums(ABC):
    """Sums of integer columns of those (group, place) that occur, ``limit`` of them at most.

    Where there would be more, places are put together (`coarser`) to the first level at which they fit. A part of the
    rows never has more keys than all of them, so that level, like the sums, depends on the rows alone and on neither
    their order nor how they were split. ``bits`` has a number a column: 0, or for the low word of a pair, with the
    column before it, how many bits it has.
    """

    def __init__(self, bits: tuple[int, ...], limit: int) -> None:
        self.limit, self._first_bits = limit, bits
        self._set_level(0)
        self._new_table(_LEAST)

    @abstractmethod
    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """Places of the level below -> those of ``level``, which is 1 at least; at the last few are left."""

    def _new_table(self, size: int) -> None:
        self._table: NDArray[np.int64] = np.zeros((0, 0), np.int64)  # one less of that size, first
        self._table = np.zeros((size, 1 + self.width), np.int64)
        self._table[:, 0] = keyed_counts.FREE

    def add(self, groups: NDArray[Any], places: NDArray[np.int64], cells: NDArray[np.int64]) -> None:
        """Add rows, whose places are of level 0; negative places are left out."""
        self._add(np.where(places < 0, -1, groups.astype(np.int64) << PLACE_BITS | places), cells, 0)

    def _add(self, keys: NDArray[np.int64], cells: NDArray[np.int64], level: int) -> None:
        """Add rows by their keys of a level."""
        for lo in range(0, len(keys), _AT_ONCE):
            here, own = keys[lo : lo + _AT_ONCE], cells[lo : lo + _AT_ONCE]
            for above in range(level + 1, self.level + 1):
                here, own = self.raised(here, own, above)
            if 4 * (self._used + len(here)) > 3 * len(self._table):
                self._rebuild(*_filled(self._table), room=len(here))
            self._used += keyed_counts.add_by_key(here, own, self._bits, self._table)
            while self._used > self.limit:
                self._coarsen()

    def raised(
        self, keys: NDArray[np.int64], cells: NDArray[np.int64], level: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the level below as rows, twice as many at most, of ``level``; negative keys are left out."""
        places = self.coarser(np.where(keys < 0, 0, keys & PLACES), level)
        return np.where(keys < 0, -1, keys & ~np.int64(PLACES) | places), cells

    def bits_at(self, level: int) -> tuple[int, ...]:
        """The columns of a level, as ``bits``."""
        return self._first_bits

    def _coarsen(self) -> None:
        keys, cells = _filled(self._table)
        self._set_level(self.level + 1)
        assert self.level < _LEVELS, "the last level of a table has a few places a group, for which there is room"
        self._new_table(_size_for(len(keys) // 2))
        self._add(keys, cells, self.level - 1)

    def _set_level(self, level: int) -> None:
        self.level, self._bits = level, np.array(self.bits_at(level), np.int64)
        self.width, self._used = len(self._bits), 0

    def _rebuild(self, keys: NDArray[np.int64], cells: NDArray[np.int64], room: int = 0) -> None:
        self._new_table(_size_for(len(keys) + room))
        self._used = keyed_counts.add_by_key(keys, cells, self._bits, self._table)

    def merge(self, other: SparseSums, numbers: NDArray[np.int64]) -> None:
        """Add the other's sums; ``numbers`` are the numbers here of its groups."""
        while self.level < other.level:
            self._coarsen()
        # Rows from all over the other table: side by side they would go to one part of this one, and crowd it.
        pieces = -(-len(other._table) // _PIECE)
        for first in range(pieces):
            keys, cells = _filled(other._table[first::pieces])
            self._add(numbers[keys >> PLACE_BITS] << PLACE_BITS | keys & PLACES, cells, other.level)

    def sorted(self, numbers: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Groups (``numbers`` of them, by the numbers here), places and sums, in the order of both."""
        taken = np.flatnonzero(self._table[:, 0] != keyed_counts.FREE)
        keys = self._table[taken, 0]
        groups, places, order = _in_order(numbers[keys >> PLACE_BITS], keys & PLACES)
        return groups, places, self._table.take(taken[order], axis=0)[:, 1:]

    def state(self, numbers: NDArray[np.int64]) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `fastxent.statistics.statistic.Statistic.state`."""
        groups, places, cells = self.sorted(numbers)
        return self.level, [groups << PLACE_BITS | places, cells]

    def load(self, level: Any, arrays: list[NDArray[np.int64]], groups: int) -> None:
        """Take over what `state` gave of so many groups."""
        if not (isinstance(level, int) and 0 <= level < _LEVELS):
            raise StateError(f"a table is of level {level!r}")
        self._set_level(level)
        keys, cells = check_shape(arrays[0], (-1,)), check_shape(arrays[1], (len(arrays[0]), self.width))
        if (keys[1:] <= keys[:-1]).any() or (keys.size and not 0 <= keys[0] <= keys[-1] < groups << PLACE_BITS):
            raise StateError("the keys of a table are out of order, or of groups that are not there")
        if len(keys) > self.limit:
            raise StateError(f"a table has {len(keys):,} keys, and may have {self.limit:,}")
        self._rebuild(keys, cells)


def _filled(table: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keys and cells in the rows of a table that are taken."""
    taken = np.flatnonzero(table[:, 0] != keyed_counts.FREE)
    return table[taken, 0], np.ascontiguousarray(table[taken, 1:])


def _size_for(keys: int) -> int:
    """Rows of a table for so many keys: a power of two."""
    size = _LEAST
    while 4 * keys > 3 * size:
        size *= 2
    return size


def _in_order(
    groups: NDArray[np.int64], places: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pairs, no two the same, sorted by both, and where each of them was.

    Where a pair and its place fit a word, words are sorted, which takes a fifth of the time of ``np.argsort``.
    """
    own, whole = (int(values.max(initial=0)).bit_length() for values in (places, groups))
    at = len(groups).bit_length()
    if whole + own + at > 63:
        keys = groups << PLACE_BITS | places
        order = np.argsort(keys)
        return groups[order], places[order], order
    words = np.sort((groups << own | places) << at | np.arange(len(groups)))
    keys = words >> at
    return keys >> own, keys & ((1 << own) - 1), words & ((1 << at) - 1)
