"""Sums by owner and place: dense while there are few of both, else in hash tables of bounded size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import StateError
from fastxent.kernels.sums import keyed_counts
from fastxent.statistics.record import check_shape

__all__ = ["PLACES", "PLACE_BITS", "Cells", "Layout", "Table", "most_keys", "put_in_one"]

#: A key is owner << PLACE_BITS | place.
PLACE_BITS = 46
PLACES = (1 << PLACE_BITS) - 1
#: Integers of a dense table (8 MB): beyond, most of it lies outside of the caches, and hash tables take less memory.
DENSE = 1 << 20
#: The same for all rows alone.
DENSE_ALONE = 1 << 22
_LEAST = 1 << 10
#: Rows that are added at a time, for whose keys (two a row) a hash table must have room beforehand.
_AT_ONCE = 1 << 12
_LEVELS = 64
#: Rows of another hash table that are looked at at a time.
_PIECE = 1 << 16

Integers = NDArray[np.int64]
#: Keys and cells of the level below -> those of a level, at most twice as many; negative keys are left out.
Raise = Callable[[Integers, Integers, int], tuple[Integers, Integers]]


def most_keys(size: int) -> int:
    """How many keys a hash table may have which is never to have more than so many rows."""
    return 3 * size // 4 - 2 * _AT_ONCE


class Cells(NamedTuple):
    """What a table holds, sorted by owner and place; after how many steps of putting places together."""

    owners: Integers
    places: Integers
    columns: Integers
    level: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What a table is made of.

    Attributes:
        bits: a number a column: 0, or for the low word of a pair with the column before it how many bits it has.
        places: how many places an owner has; 0 if they are too many to count.
        limit: keys that a table may have; with more, places are put together. 0 for no limit.
        raised: how rows of a level become rows of the next one.
        bits_at: the columns of a level above 0, where they are others than ``bits``.
    """

    bits: tuple[int, ...]
    places: int = 0
    limit: int = 0
    raised: Raise | None = None
    bits_at: Callable[[int], tuple[int, ...]] | None = None

    def columns(self, level: int) -> Integers:
        """The bits of every column of a level."""
        return np.array(self.bits if self.bits_at is None or not level else self.bits_at(level), np.int64)


class Table:
    """Sums of integer columns of those (owner, place) that occur.

    Where there would be more than the layout's limit, places are put together to the first level at which they fit. A
    part of the rows never has more keys than all of them, so that level, like the sums, depends on the rows alone and
    on neither their order nor how they were split.
    """

    def __init__(self, layout: Layout, owners: int = 1) -> None:
        self.layout = layout
        self._most = DENSE if owners > 1 or layout.limit else DENSE_ALONE
        self.level = 0
        self._bits = layout.columns(0)
        self._used = 0
        self._hash: Integers | None = None
        self._dense: Integers = np.zeros((0, layout.places, len(layout.bits)), np.int64)
        self.make_room(owners)

    def empty(self) -> Table:
        """Another table of the same layout, without rows."""
        return Table(self.layout)

    def make_room(self, owners: int) -> None:
        """For so many owners in all."""
        if self._hash is not None or owners <= len(self._dense) > 0:
            return
        _, places, width = self._dense.shape
        if not places or owners * places * width > self._most:
            keys, cells = self._filled()
            self._dense = self._dense[:0]
            self._rebuild(keys, cells)
            return
        owners = max(owners, min(2 * len(self._dense), self._most // (places * width)))
        grown = np.zeros((owners, places, width), np.int64)
        grown[: len(self._dense)] = self._dense
        self._dense = grown

    @property
    def dense(self) -> Integers | None:
        """The cells of the places of all owners, one after the other, where there is room for every place."""
        return None if self._hash is not None else self._dense.reshape(-1, self._dense.shape[2])

    def add(self, owners: NDArray[Any], places: Integers, cells: Integers) -> None:
        """Add rows, whose places are of level 0; negative places are left out."""
        self._add_cells(owners, places, cells, 0)

    def _add_cells(self, owners: NDArray[Any], places: Integers, cells: Integers, level: int) -> None:
        if (dense := self.dense) is not None:
            keyed_counts.add_by_place(owners, places, cells, self._bits, self._dense.shape[1], dense)
        else:
            self._add(np.where(places < 0, -1, owners.astype(np.int64) << PLACE_BITS | places), cells, level)

    def _add(self, keys: Integers, cells: Integers, level: int) -> None:
        """Add rows by their keys of a level to the hash table."""
        for lo in range(0, len(keys), _AT_ONCE):
            here, own = keys[lo : lo + _AT_ONCE], cells[lo : lo + _AT_ONCE]
            for above in range(level + 1, self.level + 1):
                here, own = self._raised(here, own, above)
            assert self._hash is not None
            if 4 * (self._used + len(here)) > 3 * len(self._hash):
                self._rebuild(*self._filled(), room=len(here))
            self._used += keyed_counts.add_by_key(here, own, self._bits, self._hash)
            while self.layout.limit and self._used > self.layout.limit:
                self._coarsen()

    def _raised(self, keys: Integers, cells: Integers, level: int) -> tuple[Integers, Integers]:
        assert self.layout.raised is not None
        return self.layout.raised(keys, cells, level)

    def _coarsen(self) -> None:
        keys, cells = self._filled()
        self._set_level(self.level + 1)
        assert self.level < _LEVELS, "the last level of a table has a few places an owner, for which there is room"
        self._new_hash(_size_for(len(keys) // 2))
        self._add(keys, cells, self.level - 1)

    def _set_level(self, level: int) -> None:
        self.level, self._bits, self._used = level, self.layout.columns(level), 0

    def _new_hash(self, size: int) -> None:
        self._hash = np.zeros((0, 0), np.int64)  # one less of that size, first
        self._hash = np.zeros((size, 1 + len(self._bits)), np.int64)
        self._hash[:, 0] = keyed_counts.FREE

    def _rebuild(self, keys: Integers, cells: Integers, room: int = 0) -> None:
        self._new_hash(_size_for(len(keys) + room))
        assert self._hash is not None
        self._used = keyed_counts.add_by_key(keys, cells, self._bits, self._hash)

    def _filled(self) -> tuple[Integers, Integers]:
        """Keys and cells of all that is there."""
        if self._hash is not None:
            return _filled(self._hash)
        owners, places = np.nonzero(self._dense.any(axis=2))
        return owners << PLACE_BITS | places, self._dense[owners, places]

    def merge(self, other: Table, numbers: Integers) -> None:
        """Add the other's sums; ``numbers`` are the numbers here of its owners, negative for one to leave out."""
        self.make_room(int(numbers.max(initial=-1)) + 1)
        if self._hash is None and other._hash is not None:
            keys, cells = self._filled()
            self._dense = self._dense[:0]
            self._rebuild(keys, cells)
        while self.level < other.level:
            self._coarsen()
        # Rows from all over the other table: side by side they would go to one part of this one, and crowd it.
        pieces = 1 if other._hash is None else -(-len(other._hash) // _PIECE)
        for first in range(pieces):
            keys, cells = other._filled() if other._hash is None else _filled(other._hash[first::pieces])
            owners, places = numbers[keys >> PLACE_BITS], keys & PLACES
            self._add_cells(owners, np.where(owners < 0, -1, places), cells, other.level)

    def cells(self, numbers: Integers) -> Cells:
        """All that is there, under ``numbers`` of the owners (by the numbers here), in the order of owner and place."""
        keys, cells = self._filled()
        some = cells.any(axis=1)
        if not some.all():
            keys, cells = keys[some], cells[some]
        owners, places, order = _in_order(numbers[keys >> PLACE_BITS], keys & PLACES)
        return Cells(owners, places, cells.take(order, axis=0), self.level)

    def state(self, numbers: Integers) -> tuple[int, list[Integers]]:
        """The canonical form: the level, keys and cells. Equal rows give equal states."""
        owners, places, columns, level = self.cells(numbers)
        return level, [owners << PLACE_BITS | places, columns]

    def load(self, level: Any, arrays: list[Integers], owners: int) -> None:
        """Take over what `state` gave of so many owners."""
        most = _LEVELS if self.layout.raised is not None else 1
        if not (isinstance(level, int) and 0 <= level < most):
            raise StateError(f"a table is of level {level!r}")
        self._set_level(level)
        keys, cells = check_shape(arrays[0], (-1,)), check_shape(arrays[1], (len(arrays[0]), len(self._bits)))
        if (keys[1:] <= keys[:-1]).any() or (keys.size and not 0 <= keys[0] <= keys[-1] < owners << PLACE_BITS):
            raise StateError("the keys of a table are out of order, or of groups that are not there")
        if self.layout.places and not level and keys.size and (keys & PLACES).max() >= self.layout.places:
            raise StateError("a table has a place that is not there")
        if self.layout.limit and len(keys) > self.layout.limit:
            raise StateError(f"a table has {len(keys):,} keys, and may have {self.layout.limit:,}")
        self._dense = self._dense[:0]
        self._rebuild(keys, cells)


def put_in_one(keys: Integers, cells: Integers, level: int) -> tuple[Integers, Integers]:
    """All places of an owner become one: what cannot be told is summed, so that it takes no room."""
    return np.where(keys < 0, -1, keys & ~np.int64(PLACES)), cells


def _filled(table: Integers) -> tuple[Integers, Integers]:
    """Keys and cells in the rows of a hash table that are taken."""
    taken = np.flatnonzero(table[:, 0] != keyed_counts.FREE)
    return table[taken, 0], np.ascontiguousarray(table[taken, 1:])


def _size_for(keys: int) -> int:
    """Rows of a hash table for so many keys: a power of two."""
    size = _LEAST
    while 4 * keys > 3 * size:
        size *= 2
    return size


def _in_order(owners: Integers, places: Integers) -> tuple[Integers, Integers, Integers]:
    """Pairs, no two the same, sorted by both, and where each of them was.

    Where a pair and its place fit a word, words are sorted, which takes a fifth of the time of ``np.argsort``.
    """
    own, whole = (int(values.max(initial=0)).bit_length() for values in (places, owners))
    at = len(owners).bit_length()
    if whole + own + at > 63:
        keys = owners << PLACE_BITS | places
        order = np.argsort(keys)
        return owners[order], places[order], order
    words = np.sort((owners << own | places) << at | np.arange(len(owners)))
    keys = words >> at
    return keys >> own, keys & ((1 << own) - 1), words & ((1 << at) - 1)
