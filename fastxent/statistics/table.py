"""Sums by owner and place: dense while there are few of both, else in hash tables of bounded size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import StateError
from fastxent.base.runs import run_starts
from fastxent.kernels.sums import keyed_counts
from fastxent.kernels.sums.records import BAND_BITS, BANDS, CENTRE, STEP
from fastxent.statistics.record import check_shape
from fastxent.statistics.words import Words

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
#: What all cells of a column together are below, so that their sums do not overflow.
_LARGEST = 2.0**62
#: Rows of another hash table that are looked at at a time.
_PIECE = 1 << 16

Integers = NDArray[np.int64]
#: Keys and cells of the level below -> those of a level, at most twice as many; negative keys are left out.
Raise = Callable[[Integers, Integers, int], tuple[Integers, Integers]]


def most_keys(size: int) -> int:
    """How many keys a hash table may have which is never to have more than so many rows."""
    return 3 * size // 4 - 2 * _AT_ONCE


@dataclass(frozen=True, slots=True)
class Cells:
    """What a table holds, sorted by owner and place; after how many steps of putting places together.

    Of a banded table, once they are `joined`, every owner and place has one row; ``apart`` has the rows of the single
    bands, how many bands each is below the highest of its owner, and where those of each place begin.

    Attributes:
        bits: see `Layout`.
        exponents: of a banded table, the power of two that numbers with the usual quantum are to be multiplied by.
    """

    owners: Integers
    places: Integers
    columns: Integers
    level: int
    bits: tuple[int, ...] = ()
    exponents: Integers | None = None
    apart: tuple[Integers, Integers, Integers] | None = None

    def only(self, first: int, last: int) -> Cells:
        """Those of the owners from ``first`` to ``last``, which are numbered from 0."""
        lo, hi = np.searchsorted(self.owners, (first, last)).tolist()
        return Cells(self.owners[lo:hi] - first, self.places[lo:hi], self.columns[lo:hi], self.level, self.bits)

    def joined(self) -> Cells:
        """Cells of a banded table by owner and place, their bands put together when numbers are asked for."""
        bands, places = self.places & (BANDS - 1), self.places >> BAND_BITS
        firsts = run_starts(self.owners)
        if not firsts.size:
            return Cells(self.owners, places, self.columns, self.level, self.bits, self.owners)
        lengths = np.diff(np.append(firsts, len(self.owners)))
        highest = np.repeat(np.maximum.reduceat(bands, firsts), lengths)
        return self._put_together(places, highest - bands, highest * STEP - CENTRE)

    def at_places(self, places: Integers) -> Cells:
        """The same numbers at other places, of which several may be equal."""
        owners, _, rows, below, exponents, lengths = self._rows()
        cells = Cells(owners, np.repeat(places, lengths), rows, self.level, self.bits)
        return cells._put_together(cells.places, below, exponents)

    def raised(self, raised: Callable[[Integers, Integers], tuple[Integers, Integers]], bits: tuple[int, ...]) -> Cells:
        """What rows become (see `Raise`), which have columns of these bits."""
        owners, places, rows, below, exponents, _ = self._rows()
        keys, columns = raised(owners << PLACE_BITS | places, rows)
        some = np.flatnonzero(keys >= 0)
        each = some % max(1, len(rows))
        cells = Cells(keys[some] >> PLACE_BITS, keys[some] & PLACES, columns[some], self.level, bits)
        return cells._put_together(cells.places, below[each], None if exponents is None else exponents[each])

    def _rows(self) -> tuple[Integers, Integers, Integers, Integers, Integers | None, Integers]:
        """Owners, places, columns, bands below the highest and exponents of single rows; how many each place has."""
        if self.apart is None:
            ones = np.ones_like(self.places)
            return self.owners, self.places, self.columns, ones - 1, self.exponents, ones
        rows, below, starts = self.apart
        lengths = np.diff(np.append(starts, len(rows)))
        owners, places = np.repeat(self.owners, lengths), np.repeat(self.places, lengths)
        exponents = None if self.exponents is None else np.repeat(self.exponents, lengths)
        return owners, places, rows, below, exponents, lengths

    def _put_together(self, places: Integers, below: Integers, exponents: Integers | None) -> Cells:
        owners, columns = self.owners, self.columns
        keys = owners << PLACE_BITS | places
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            owners, places, columns, below = owners[order], places[order], columns[order], below[order]
            exponents = None if exponents is None else exponents[order]
        starts = run_starts(owners, places)
        if len(starts) == len(places) and not below.any():
            return Cells(owners, places, columns, self.level, self.bits, exponents)
        counts, apart = np.add.reduceat(columns, starts, axis=0), (columns, below, starts)
        exponents = None if exponents is None else exponents[starts]
        return Cells(owners[starts], places[starts], counts, self.level, self.bits, exponents, apart)

    def words(self, column: int, quantum: int = 0) -> Words:
        """The numbers whose highest column this is: whole multiples of 2^-quantum."""
        rows = self.columns if self.apart is None else self.apart[0]
        words, column = [rows[:, column]], column + 1
        while column < len(self.bits) and self.bits[column]:
            half = self.bits[column] // 2
            words += [rows[:, column] >> half, rows[:, column] & ((1 << half) - 1)]
            quantum -= 2 * half
            column += 1
        half = half if len(words) > 1 else STEP
        if self.apart is None:
            return Words(tuple(words), half, quantum)
        _, below, starts = self.apart
        wide = np.zeros((len(words) + int(below.max(initial=0)), len(rows)), np.int64)
        for i, word in enumerate(words):
            wide[below + i, np.arange(len(rows))] = word
        return Words(tuple(wide), half, quantum).summed(starts)


@dataclass(frozen=True, slots=True)
class Layout:
    """What a table is made of.

    Attributes:
        bits: a number a column: how many bits it has if it is a lower one of a number that begins before it, else 0.
        places: how many places an owner has; 0 if they are too many to count.
        limit: keys that a table may have; with more, places are put together. 0 for no limit.
        raised: how rows of a level become rows of the next one.
        bits_at: the columns of a level above 0, where they are others than ``bits``.
        banded: whether places are followed by `BAND_BITS` bits with the band of the row's weight.
        levels: of a banded table, up to which level anything is told: beyond, bands would be too many.
    """

    bits: tuple[int, ...]
    places: int = 0
    limit: int = 0
    raised: Raise | None = None
    bits_at: Callable[[int], tuple[int, ...]] | None = None
    banded: bool = False
    levels: int = 1

    def columns(self, level: int) -> tuple[int, ...]:
        """The bits of every column of a level."""
        return self.bits if self.bits_at is None or not level else self.bits_at(level)


class Table:
    """Sums of integer columns of those (owner, place) that occur.

    Where there would be more than the layout's limit, places are put together to the first level at which they fit. A
    part of the rows never has more keys than all of them, so that level, like the sums, depends on the rows alone and
    on neither their order nor how they were split.

    Of a banded table one band is dense, the first that is met; rows of others are in the hash table.
    """

    def __init__(self, layout: Layout, owners: int = 1) -> None:
        self.layout = layout
        self._most = DENSE if owners > 1 or layout.limit else DENSE_ALONE
        self._set_level(0)
        self._hash: Integers | None = None
        self._dense: Integers | None = np.zeros((0, layout.places, len(layout.bits)), np.int64)
        #: the band that is dense, once there is one
        self.band = -1
        self.make_room(owners)

    def empty(self) -> Table:
        """Another table of the same layout, without rows."""
        return Table(self.layout)

    def make_room(self, owners: int) -> None:
        """For so many owners in all."""
        if self._dense is None or owners <= len(self._dense) > 0:
            return
        _, places, width = self._dense.shape
        if not places or owners * places * width > self._most:
            self._give_up_dense()
            return
        owners = max(owners, min(2 * len(self._dense), self._most // (places * width)))
        grown = np.zeros((owners, places, width), np.int64)
        grown[: len(self._dense)] = self._dense
        self._dense = grown
        self._check_limit()

    def _check_limit(self) -> None:
        """Give up what is dense before all of it could be more keys than the limit."""
        if self.layout.limit and self._dense is not None and self._used:
            owners, places, _ = self._dense.shape
            if self._used + owners * places > self.layout.limit:
                self._give_up_dense()

    def _give_up_dense(self) -> None:
        if self._dense is not None:
            keys, cells = self._dense_cells()
            self._dense = None
            self._add(keys, cells, 0)

    @property
    def dense(self) -> Integers | None:
        """The cells of the places of all owners, one after the other, where there is room for every place."""
        return None if self._dense is None else self._dense.reshape(-1, self._dense.shape[2])

    def add(self, owners: NDArray[Any], places: Integers, cells: Integers) -> None:
        """Add rows, whose places are of level 0; negative places are left out."""
        self._add_cells(owners, places, cells, 0)

    def _add_cells(self, owners: NDArray[Any], places: Integers, cells: Integers, level: int) -> None:
        if (dense := self.dense) is not None and self._dense is not None:
            own = places
            if self.layout.banded:
                some = np.flatnonzero(places >= 0)
                if self.band < 0 and some.size:
                    self.band = int(places[some[0]]) & (BANDS - 1)
                here = places & (BANDS - 1) == self.band
                own = np.where(here, places >> BAND_BITS, -1)
                rest = np.flatnonzero(~here & (places >= 0))
                owners_left, places, left = owners[rest], places[rest], cells[rest]
            keyed_counts.add_by_place(owners, own, cells, self._bits, self._dense.shape[1], dense)
            if not self.layout.banded or not rest.size:
                return
            owners, cells = owners_left, left
        self._add(np.where(places < 0, -1, owners.astype(np.int64) << PLACE_BITS | places), cells, level)

    def _add(self, keys: Integers, cells: Integers, level: int) -> None:
        """Add rows by their keys of a level to the hash table."""
        if self._hash is None:
            self._new_hash(_LEAST)
        for lo in range(0, len(keys), _AT_ONCE):
            here, own = keys[lo : lo + _AT_ONCE], cells[lo : lo + _AT_ONCE]
            for above in range(level + 1, self.level + 1):
                here, own = self._raised(here, own, above)
            assert self._hash is not None
            if 4 * (self._used + len(here)) > 3 * len(self._hash):
                self._rebuild(*_filled(self._hash), room=len(here))
            self._used += keyed_counts.add_by_key(here, own, self._bits, self._hash)
            self._check_limit()
            while self.layout.limit and self._used > self.layout.limit:
                self._coarsen()

    def _raised(self, keys: Integers, cells: Integers, level: int) -> tuple[Integers, Integers]:
        assert self.layout.raised is not None
        if not self.layout.banded:
            return self.layout.raised(keys, cells, level)
        if level > self.layout.levels:
            return put_in_one(keys, np.zeros_like(cells), level)
        bands = keys & (BANDS - 1)
        places = (keys & ~np.int64(PLACES)) | (keys & PLACES) >> BAND_BITS
        keys, cells = self.layout.raised(np.where(keys < 0, -1, places), cells, level)
        places = (keys & ~np.int64(PLACES)) | (keys & PLACES) << BAND_BITS | np.tile(bands, len(keys) // len(bands))
        return np.where(keys < 0, -1, places), cells

    def _coarsen(self) -> None:
        assert self._dense is None
        assert self._hash is not None
        keys, cells = _filled(self._hash)
        self._set_level(self.level + 1)
        assert self.level < _LEVELS, "the last level of a table has a few places an owner, for which there is room"
        self._new_hash(_size_for(len(keys) // 2))
        self._add(keys, cells, self.level - 1)

    def _set_level(self, level: int) -> None:
        self.level, self._used = level, 0
        self._bits = np.array(self.layout.columns(level), np.int64)

    def _new_hash(self, size: int) -> None:
        self._hash = np.zeros((0, 0), np.int64)  # one less of that size, first
        self._hash = np.zeros((size, 1 + len(self._bits)), np.int64)
        self._hash[:, 0] = keyed_counts.FREE

    def _rebuild(self, keys: Integers, cells: Integers, room: int = 0) -> None:
        self._new_hash(_size_for(len(keys) + room))
        assert self._hash is not None
        self._used = keyed_counts.add_by_key(keys, cells, self._bits, self._hash)

    def _dense_cells(self) -> tuple[Integers, Integers]:
        """Keys and cells of what is dense."""
        assert self._dense is not None
        owners, places = np.nonzero(self._dense.any(axis=2))
        cells = self._dense[owners, places]
        if self.layout.banded:
            places = places << BAND_BITS | max(self.band, 0)
        return owners << PLACE_BITS | places, cells

    def _pieces(self) -> Iterator[tuple[Integers, Integers]]:
        """Keys and cells of all that is there.

        Of the hash table rows from all over it: side by side they would go to one part of another one, and crowd it.
        """
        if self._dense is not None:
            yield self._dense_cells()
        if self._hash is not None:
            pieces = max(1, -(-len(self._hash) // _PIECE))
            yield from (_filled(self._hash[first::pieces]) for first in range(pieces))

    def merge(self, other: Table, numbers: Integers) -> None:
        """Add the other's sums; ``numbers`` are the numbers here of its owners, negative for one to leave out."""
        self.make_room(int(numbers.max(initial=-1)) + 1)
        if (other._dense is None and not self.layout.banded) or other.level:
            self._give_up_dense()
        while self.level < other.level:
            self._coarsen()
        for keys, cells in other._pieces():
            owners, places = numbers[keys >> PLACE_BITS], keys & PLACES
            self._add_cells(owners, np.where(owners < 0, -1, places), cells, other.level)

    def cells(self, numbers: Integers) -> Cells:
        """All that is there, under ``numbers`` of the owners (by the numbers here), in the order of owner and place."""
        parts = list(self._pieces())
        keys, cells = parts[0] if len(parts) == 1 else map(np.concatenate, zip(*parts, strict=True))
        some = cells.any(axis=1)
        if not some.all():
            keys, cells = keys[some], cells[some]
        owners, places, order = _in_order(numbers[keys >> PLACE_BITS], keys & PLACES)
        return Cells(owners, places, cells.take(order, axis=0), self.level, self.layout.columns(self.level))

    def state(self, numbers: Integers) -> tuple[int, list[Integers]]:
        """The canonical form: the level, keys and cells. Equal rows give equal states."""
        cells = self.cells(numbers)
        return cells.level, [cells.owners << PLACE_BITS | cells.places, cells.columns]

    def load(self, level: Any, arrays: list[Integers], owners: int, *, signed: bool = False) -> None:
        """Take over what `state` gave of so many owners."""
        most = _LEVELS if self.layout.raised is not None else 1
        if not (isinstance(level, int) and 0 <= level < most):
            raise StateError(f"a table is of level {level!r}")
        self._set_level(level)
        keys, cells = check_shape(arrays[0], (-1,)), check_shape(arrays[1], (len(arrays[0]), len(self._bits)))
        if (keys[1:] <= keys[:-1]).any() or (keys.size and not 0 <= keys[0] <= keys[-1] < owners << PLACE_BITS):
            raise StateError("the keys of a table are out of order, or of groups that are not there")
        most_places = self.layout.places << (BAND_BITS if self.layout.banded else 0)
        if most_places and keys.size and (keys & PLACES).max() >= most_places:
            raise StateError("a table has a place that is not there")
        if self.layout.limit and len(keys) > self.layout.limit:
            raise StateError(f"a table has {len(keys):,} keys, and may have {self.layout.limit:,}")
        high = cells[:, self._bits == 0].astype(np.float64)
        if (cells.min(initial=0) < 0 and not signed) or (np.abs(high).sum(axis=0) >= _LARGEST).any():
            raise StateError("a table has a cell that is below 0 or too large")
        self._dense = None
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
