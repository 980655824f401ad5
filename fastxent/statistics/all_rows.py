"""The integers of all rows: the tallies that kernels fill, and beside them what statistics gather of records."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base import exact
from fastxent.base.errors import StateError
from fastxent.base.status import Status
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import records, tally
from fastxent.kernels.sums.exact_sums import deposit
from fastxent.kernels.sums.tally import Tallies
from fastxent.statistics.record import Record, check_shape
from fastxent.statistics.row_keeper import RowKeeper
from fastxent.statistics.statistic import Statistic
from fastxent.statistics.sums import SCALES, TALLIED, Exact, Sums
from fastxent.statistics.table import Cells, Table

__all__ = ["AllRows"]

Integers = NDArray[np.int64]
_ONE = np.zeros(1, np.int64)
_NONE = np.zeros((0, 8), np.int64)
#: The tables that rows with weights have, where without weights tallies count.
_WEIGHED = ("ranks", "calibration", "pairs")


class AllRows:
    """What all rows have, as one owner. See `fastxent.statistics.sums.Sums`."""

    def __init__(self, tallies: Tallies, classes: int, statistics: tuple[Statistic, ...]) -> None:
        self.tallies, self._classes, self._statistics = tallies, classes, statistics
        self.powers = {name: power for each in statistics for name, power in each.sums().items()}
        weighted = len(tallies.sums) > tally.SUMS
        self._sums = exact.empty(len(SCALES) if weighted else 1, len(self.powers))
        tables = {name: (each, layout) for each in statistics for name, layout in each.layouts(alone=True).items()}
        self._placing = {name: each for name, (each, _) in sorted(tables.items())}
        self.tables = {name: Table(layout) for name, (_, layout) in sorted(tables.items())}
        self.keepers = {name: keeper for each in statistics for name, keeper in each.keepers().items()}
        self._owners = np.zeros(0, np.int32)

    @property
    def reads_records(self) -> bool:
        """Whether there is anything beside the tallies."""
        return bool(self.powers or self.tables or self.keepers)

    def absorb(self, record: Record) -> None:
        """Add the scored rows of a record, which the tallies hold already."""
        names = list(self.powers)
        for statistic in self._statistics:
            for name, values in statistic.values(record):
                _deposit(record, values, self._sums[:, names.index(name)])
        weighed = self._weigh(record)
        for name, table in self.tables.items():
            statistic, dense = self._placing[name], table.dense
            left = weighed.get(name)
            if left is None and dense is not None:
                left = statistic.fill(name, record, dense, self._band(record, table))
            if left is not None and not left.any():
                continue
            for rows, places, cells in statistic.place(name, record):
                if left is not None:
                    places = np.where(left[slice(None) if rows is None else rows], places, -1)
                table.add(self._zeros(len(places)), places, cells)
        for keeper in self.keepers.values():
            keeper.absorb(record, self._zeros(record.n))

    def _weigh(self, record: Record) -> dict[str, NDArray[np.bool_]]:
        """Fill the tables of weights in one pass, where they are dense; returns which rows are left of each."""
        tables = {name: self.tables[name].dense for name in _WEIGHED if name in self.tables}
        ranks, cells, pairs = (tables.get(name) for name in _WEIGHED)
        if ranks is None or cells is None:
            return {}
        names = [name for name, table in tables.items() if table is not None]
        bands = {self._band(record, self.tables[name]) for name in names}
        if len(bands) > 1:
            return {}
        left = np.zeros(record.n, np.bool_)
        records.weigh(
            record.card, record.n, self.tallies.positive, self._classes, bands.pop(), ranks, cells,
            _NONE if pairs is None else pairs, left,
        )  # fmt: skip
        return dict.fromkeys(names, left)

    def _band(self, record: Record, table: Table) -> int:
        """The band that is dense in a table, which the first row of all decides; -1 if it has none."""
        if table.layout.banded and table.band < 0:
            table.band = int(records.first_band(record.card, record.n))
        return table.band

    def _zeros(self, rows: int) -> NDArray[np.int32]:
        if rows > len(self._owners):
            self._owners = np.zeros(rows, np.int32)
        return self._owners[:rows]

    def merge(self, other: AllRows) -> None:
        """Add what the other has beside its tallies."""
        self._sums = exact.merge(self._sums, other._sums)
        for name, table in self.tables.items():
            table.merge(other.tables[name], _ONE)
        for name, keeper in self.keepers.items():
            keeper.merge(other.keepers[name], _ONE)

    def shift(self, offset: int, rows: int = 0, path: str | None = None) -> None:
        """See `Totals.shift`."""
        for keeper in self.keepers.values():
            keeper.shift(offset, rows, path)

    def state(self) -> tuple[dict[str, Any], list[Integers]]:
        """The canonical form of what is beside the tallies: a JSON value, and arrays."""
        sums = exact.canonical(self._sums)
        sums[..., exact.N] = 0  # how many numbers were added is not the number of rows
        values, arrays = {}, [sums]
        for name, part in (self.tables | self.keepers).items():
            values[name], more = part.state(_ONE)
            arrays += more
        return values, arrays

    def load(self, values: dict[str, Any], arrays: list[Integers]) -> None:
        """Take over what `state` gave."""
        parts: dict[str, Table | RowKeeper] = self.tables | self.keepers
        if len(arrays) != 1 + 2 * len(parts) or set(values) != set(parts):
            raise StateError("it holds other statistics than it says")
        self._sums = check_shape(arrays[0], self._sums.shape)
        for i, (name, part) in enumerate(parts.items()):
            part.load(values[name], arrays[1 + 2 * i : 3 + 2 * i], 1)

    @property
    def counts(self) -> Integers:
        """See `Sums.counts`."""
        return self.tallies.rows[Status.SCORED : Status.SCORED + 1]

    @property
    def extremes(self) -> NDArray[np.float64]:
        """See `Sums.extremes`."""
        if not self.counts[0]:
            return np.full((2, 1), math.nan)
        return self.tallies.extremes.view(np.float64).reshape(2, 1)

    def exact(self, name: str) -> Exact | None:
        """See `Sums.exact`."""
        sums = self.tallies.sums
        if name in self.powers:
            power, states = self.powers[name], self._sums[:, list(self.powers).index(name)]
        elif name in TALLIED and (at := list(TALLIED).index(name)) < len(sums):
            power = TALLIED[name]
            states = sums[at :: tally.WEIGHED] if power else sums[at : at + 1]
        else:
            return None
        parts = [Exact.of_state(state) if not i or state.any() else None for i, state in enumerate(states)]
        return Exact.of_scales(parts, power)

    def cells(self, name: str) -> Cells | None:
        """See `Sums.cells`."""
        if name in self.tables:
            table = self.tables[name]
            return table.cells(_ONE).joined() if table.layout.banded else table.cells(_ONE)
        tallied = (each.tallied(name, self.tallies) for each in self._statistics)
        return next((cells for cells in tallied if cells is not None), None)

    def keeper(self, name: str) -> tuple[RowKeeper, Integers] | None:
        """See `Sums.keeper`."""
        keeper = self.keepers.get(name)
        return None if keeper is None else (keeper, _ONE)

    def blocks(self) -> Iterator[Sums]:
        """See `Sums.blocks`."""
        yield self


def _deposit(record: Record, values: NDArray[np.float64], states: Integers) -> None:
    """Add numbers of the rows to the exact sum of each scale of the rows' weights."""
    scales = record.card.whole[sc.SCALE, : record.n]
    if not scales.any():
        deposit(np.ascontiguousarray(values), record.n, states[0])
        return
    for scale, state in zip(SCALES, states, strict=True):
        deposit(np.where(scales == scale, values, 0.0), record.n, state)
