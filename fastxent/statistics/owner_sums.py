"""The integers of many groups: exact sums and extremes by group, tables of cells, and single rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import StateError
from fastxent.base.exact import LIMB_BITS, LIMBS, N_NAN, N_NEGINF, N_POSINF, SIZE, UNIT_EXPONENT, N
from fastxent.base.runs import run_starts
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import group_sums as kernels
from fastxent.kernels.sums.group_sums import LOW, WINDOW
from fastxent.statistics.record import Record, check_shape
from fastxent.statistics.row_keeper import RowKeeper
from fastxent.statistics.statistic import Statistic
from fastxent.statistics.sums import SCALES, TALLIED, Exact, Sums, scale_places, tallied_values
from fastxent.statistics.table import PLACES, Cells, Layout, Table

__all__ = ["GroupSums", "OrderedSums"]

_NEVER = np.iinfo(np.int64).max
#: Groups merged at a time, whose sums are copied some times over.
_AT_ONCE = 1 << 12
#: Owners that are read together, so that what is made of their cells stays in the second-level cache.
_OWNERS = 1 << 11
_SPECIAL = {N_NAN: np.nan, N_POSINF: np.inf, N_NEGINF: -np.inf}

Integers = NDArray[np.int64]


class GroupSums:
    """What groups, which are numbers, have.

    ``cells`` has a row a group: its rows, then a window of limbs of each exact sum, as `kernels.add_exact` writes them.
    Limbs and counters beyond that window, and sums of weights of another scale than 0, are in a table.
    ``extremes``: the bits of its least and its largest loss.
    """

    def __init__(self, tallied: tuple[str, ...], statistics: Iterable[Statistic]) -> None:
        self._tallied, self._statistics = tallied, tuple(statistics)
        self.powers = {name: TALLIED[name] for name in tallied}
        self.powers |= {name: power for each in self._statistics for name, power in each.sums().items()}
        self.names = tuple(self.powers)
        self.cells: Integers = np.zeros((16, 1 + len(self.names) * WINDOW), np.int64)
        self.extremes: Integers = np.tile(np.array([_NEVER, -1]), (16, 1))
        self.beyond = Table(Layout((0, LIMB_BITS)))
        tables = {name: (each, layout) for each in statistics for name, layout in each.layouts(alone=False).items()}
        self._placing = {name: each for name, (each, _) in sorted(tables.items())}
        self.tables = {name: Table(layout) for name, (_, layout) in sorted(tables.items())}
        self.keepers = {name: keeper for each in statistics for name, keeper in each.keepers().items()}

    @property
    def counts(self) -> Integers:
        """The rows of every group."""
        counts: Integers = self.cells[:, 0]
        return counts

    def empty(self) -> GroupSums:
        """Those of the same kind without rows."""
        return GroupSums(self._tallied, self._statistics)

    def make_room(self, groups: int) -> None:
        """For so many groups."""
        if groups > len(self.cells):
            more = max(groups, 2 * len(self.cells)) - len(self.cells)
            self.cells = np.concatenate([self.cells, np.zeros((more, self.cells.shape[1]), np.int64)])
            self.extremes = np.concatenate([self.extremes, np.tile(np.array([_NEVER, -1]), (more, 1))])
        for table in self.tables.values():
            table.make_room(groups)

    def absorb(self, record: Record, codes: NDArray[np.int32]) -> None:
        """Add the scored rows of a record, whose groups these are."""
        self._add_exact(record, codes)
        kernels.extremes(record.card, codes, self.extremes)
        for name, table in self.tables.items():
            for rows, places, cells in self._placing[name].place(name, record):
                table.add(codes if rows is None else codes[rows], places, cells)
        for keeper in self.keepers.values():
            keeper.absorb(record, codes)

    def _add_exact(self, record: Record, codes: NDArray[np.int32]) -> None:
        named = list(tallied_values(record, self._tallied))
        named += [pair for each in self._statistics for pair in each.values(record)]
        into = np.array([self.names.index(name) for name, _ in named])
        values = np.stack([numbers for _, numbers in named])
        beyond = np.zeros(values.shape, np.bool_)
        status, scales = record.card.status[: record.n], record.card.whole[sc.SCALE, : record.n]
        if not kernels.add_exact(values, into, codes, status, scales, self.cells, beyond):
            return
        which, rows = np.nonzero(beyond)
        keys, cells = np.empty(2 * len(rows), np.int64), np.zeros((2 * len(rows), 2), np.int64)
        sums = into[which] + len(self.names) * scale_places(record)[rows]
        kernels.split_beyond(values[which, rows], sums, keys, cells)
        self.beyond.add(np.repeat(codes[rows], 2), keys, cells)

    def settle(self) -> None:
        """Take in what was put off, so that what is kept does not depend on the order of the rows."""
        for keeper in self.keepers.values():
            keeper.settle()

    def merge(self, other: GroupSums, numbers: Integers) -> None:
        """Add the groups of the other, which have these numbers here; a negative number leaves a group out."""
        kept = np.flatnonzero(numbers >= 0)
        codes = numbers[kept]
        self.make_room(int(codes.max(initial=-1)) + 1)
        _carry(self.cells)
        for lo in range(0, len(kept), _AT_ONCE):
            here = slice(lo, lo + _AT_ONCE)
            present, sums = _put_together(_carry(other.cells[kept[here]]), codes[here])
            self.cells[present] += sums
        _carry(self.cells)
        np.minimum.at(self.extremes[:, 0], codes, other.extremes[kept, 0])
        np.maximum.at(self.extremes[:, 1], codes, other.extremes[kept, 1])
        self.beyond.merge(other.beyond, numbers)
        for name, table in self.tables.items():
            table.merge(other.tables[name], numbers)
        for name, keeper in self.keepers.items():
            keeper.merge(other.keepers[name], numbers)

    def regrouped(self, numbers: Integers, count: int) -> OrderedSums:
        """The sums of ``count`` groups to which these go by ``numbers``."""
        result = self.empty()
        result.merge(self, numbers)
        return OrderedSums(result, np.arange(count))

    def shift(self, offset: int, rows: int = 0, path: str | None = None) -> None:
        """See `Totals.shift`."""
        for keeper in self.keepers.values():
            keeper.shift(offset, rows, path)

    def places(self, order: Integers) -> Integers:
        """The place of every group in an order; -1 where it is not there."""
        places: Integers = np.full(len(self.cells), -1, np.int64)
        places[order] = np.arange(len(order))
        return places

    def state(self, order: Integers) -> tuple[dict[str, Any], list[Integers]]:
        """The canonical form of the groups in this order, which has all that have rows: a JSON value, and arrays."""
        numbers, values = self.places(order), {}
        arrays = [_carry(self.cells[order]), self.extremes[order], *self.beyond.state(numbers)[1]]
        for name, part in (self.tables | self.keepers).items():
            values[name], more = part.state(numbers)
            arrays += more
        return values, arrays

    def load(self, values: dict[str, Any], arrays: list[Integers], groups: int) -> None:
        """Take over what `state` gave of so many groups."""
        parts: dict[str, Table | RowKeeper] = self.tables | self.keepers
        if len(arrays) != 4 + 2 * len(parts) or set(values) != set(parts):
            raise StateError("groups hold other statistics than they say")
        self.cells = check_shape(arrays[0], (groups, self.cells.shape[1]))
        self.extremes = check_shape(arrays[1], (groups, 2))
        self.beyond.load(0, arrays[2:4], groups, signed=True)
        sums, limbs = np.divmod(arrays[2] & PLACES, SIZE)
        if (sums >= len(self.names) * len(SCALES)).any() or (limbs == N).any():
            raise StateError("groups have a sum that is not there")
        for i, (name, part) in enumerate(parts.items()):
            part.load(values[name], arrays[4 + 2 * i : 6 + 2 * i], groups)


class OrderedSums:
    """The sums of some groups in an order of their numbers; each of them has a row. See `Sums`."""

    def __init__(self, groups: GroupSums, order: Integers) -> None:
        self.groups, self.order = groups, order
        self._numbers = groups.places(order)
        self._tables: dict[str, Cells] = {}

    @property
    def counts(self) -> Integers:
        """See `Sums.counts`."""
        return self.groups.counts[self.order]

    @property
    def extremes(self) -> NDArray[np.float64]:
        """See `Sums.extremes`."""
        return self.extremes_of(0, len(self.order))

    def extremes_of(self, first: int, last: int) -> NDArray[np.float64]:
        """The extremes of the owners from ``first`` to ``last``."""
        return np.ascontiguousarray(self.groups.extremes[self.order[first:last]].T).view(np.float64)

    def exact(self, name: str) -> Exact | None:
        """See `Sums.exact`."""
        return self.exact_of(name, 0, len(self.order))

    def exact_of(self, name: str, first: int, last: int) -> Exact | None:
        """The exact sums of the owners from ``first`` to ``last``."""
        if name not in self.groups.names:
            return None
        names, beyond = self.groups.names, self._sorted("", self.groups.beyond).only(first, last)
        which = names.index(name)
        window = self.groups.cells[self.order[first:last], 1 + which * WINDOW : 1 + (which + 1) * WINDOW]
        sums, limbs = np.divmod(beyond.places, SIZE)
        parts: list[Exact | None] = []
        for scale in range(len(SCALES)):
            here = sums == which + scale * len(names)
            found = beyond.owners[here], limbs[here], beyond.columns[here]
            own = np.zeros_like(window) if scale else window
            parts.append(_total(own, *found) if not scale or found[0].size else None)
        return Exact.of_scales(parts, self.groups.powers[name])

    def _sorted(self, name: str, table: Table) -> Cells:
        if name not in self._tables:
            self._tables[name] = table.cells(self._numbers)
        return self._tables[name]

    def cells(self, name: str) -> Cells | None:
        """See `Sums.cells`."""
        return self.cells_of(name, 0, len(self.order))

    def cells_of(self, name: str, first: int, last: int) -> Cells | None:
        """The cells of the owners from ``first`` to ``last``."""
        table = self.groups.tables.get(name)
        if table is None:
            return None
        cells = self._sorted(name, table).only(first, last)
        return cells.joined() if table.layout.banded else cells

    def keeper(self, name: str) -> tuple[RowKeeper, Integers] | None:
        """See `Sums.keeper`."""
        keeper = self.groups.keepers.get(name)
        return None if keeper is None else (keeper, self._numbers)

    def blocks(self) -> Iterator[Sums]:
        """See `Sums.blocks`."""
        for first in range(0, len(self.order), _OWNERS):
            yield _Block(self, first, min(first + _OWNERS, len(self.order)))


@dataclass(frozen=True, slots=True)
class _Block:
    """Some owners that follow each other. See `Sums`."""

    sums: OrderedSums
    first: int
    last: int

    @property
    def counts(self) -> Integers:
        return self.sums.groups.counts[self.sums.order[self.first : self.last]]

    @property
    def extremes(self) -> NDArray[np.float64]:
        return self.sums.extremes_of(self.first, self.last)

    def exact(self, name: str) -> Exact | None:
        return self.sums.exact_of(name, self.first, self.last)

    def cells(self, name: str) -> Cells | None:
        return self.sums.cells_of(name, self.first, self.last)

    def keeper(self, name: str) -> tuple[RowKeeper, Integers] | None:
        return self.sums.keeper(name)

    def blocks(self) -> Iterator[Sums]:
        yield self


def _total(window: Integers, owners: Integers, limbs: Integers, columns: Integers) -> Exact:
    """The sums of owners from the window of each and the pairs of what lies beyond."""
    lowest = LOW if (limbs >= LOW).all() else 0
    total, place = np.zeros(len(window), object), WINDOW
    for k in reversed(range(WINDOW)):
        if (limb := window[:, k]).any():
            total, place = (total << LIMB_BITS * (place - k)) + limb, k
    total = total << LIMB_BITS * (LOW + place - lowest)
    special = np.zeros(len(window))
    for owner, limb, (high, low) in zip(owners.tolist(), limbs.tolist(), columns.tolist(), strict=True):
        if limb < LIMBS:
            total[owner] += ((high << LIMB_BITS) + low) << (LIMB_BITS * (limb - lowest))
        else:
            special[owner] += _SPECIAL[limb]
    return Exact(total, -UNIT_EXPONENT - LIMB_BITS * lowest, special)


def _carry(cells: Integers) -> Integers:
    """Bring the limbs of sums into their range, the last one signed; returns the same array."""
    windows = cells[:, 1:].reshape(len(cells), cells.shape[1] // WINDOW, WINDOW)
    for i in range(WINDOW - 1):
        carry = windows[..., i] >> LIMB_BITS
        windows[..., i] -= carry << LIMB_BITS
        windows[..., i + 1] += carry
    return cells


def _put_together(cells: Integers, codes: Integers) -> tuple[Integers, Integers]:
    """The codes, and the sums of the rows of each; limbs are summed by halves, so that 2^36 rows stay in range."""
    if not len(codes):
        return codes, cells
    order = np.argsort(codes, kind="stable")
    sorted_codes = codes[order]
    starts = run_starts(sorted_codes)
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
    return sorted_codes[starts], np.concatenate((counts, sums.reshape(len(starts), -1)), axis=1)
