"""Groups: the rows with the same value of a column, or with the same values of several that are crossed."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import compress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import StateError, UsageError
from fastxent.statistics.group_bins import bottom_of
from fastxent.statistics.group_keys import (
    Encoder,
    Key,
    column_of,
    order_of,
    plain,
    ranked,
    read_key,
    value_of,
    written_key,
)
from fastxent.statistics.owner_sums import GroupSums, OrderedSums
from fastxent.statistics.record import OncePerBatch, Record
from fastxent.statistics.row_keeper import free_name
from fastxent.statistics.statistic import Statistic

__all__ = ["MAX_GROUPS", "Groups"]

MAX_GROUPS = 100_000
#: Characters of the values of all groups: 100,000 of 160 each. A thread holds them about four times.
MAX_TEXT = 16 << 20

Integers = NDArray[np.int64]


class Groups:
    """Every combination of values of ``columns``, as number of its sums."""

    def __init__(
        self,
        columns: tuple[str, ...],
        edges: Mapping[str, Any],
        tallied: tuple[str, ...],
        statistics: tuple[Statistic, ...],
    ) -> None:
        self.columns, self._edges = columns, edges
        self._statistics = statistics
        self._sums = GroupSums(tallied, statistics)
        self._index: dict[Key, int] = {}
        self._text = 0  # characters of the keys
        self._encoder, self._codes = Encoder(columns, edges), OncePerBatch()

    def absorb(self, record: Record) -> None:
        """Add the scored rows of a record."""
        self._sums.absorb(record, self._codes.of(record, lambda extra: self._encoder.codes(extra, self._number)))

    def _number(self, key: Key) -> int:
        number = self._index.get(key)
        if number is None:
            number = self._index[key] = len(self._index)
            self._text += _characters(key)
            self._check()
            self._sums.make_room(number + 1)
        return number

    def _check(self) -> None:
        names = ", ".join(map(repr, self.columns))
        what = f"column {names} has" if len(self.columns) == 1 else f"columns {names} have together"
        if len(self._index) > MAX_GROUPS:
            raise UsageError(
                f"group_by: {what} more than {MAX_GROUPS:,} values; group by something coarser, or pass the column as "
                "cluster_by if it is there for standard errors"
            )
        if self._text > MAX_TEXT:
            raise UsageError(
                f"group_by: {what} {len(self._index):,} values of more than {MAX_TEXT:,} characters together, which "
                "no memory= (--memory) allows; group by something shorter, such as an id of the text"
            )

    def merge(self, other: Groups) -> None:
        """Add the other's rows."""
        numbers = np.array([self._number(key) for key in other._index], np.int64)
        self._sums.merge(other._sums, numbers)

    def shift(self, offset: int, rows: int = 0, path: str | None = None) -> None:
        """See `Totals.shift`."""
        self._sums.shift(offset, rows, path)

    def _ordered(self) -> tuple[list[Key], Integers]:
        """The groups that have a scored row, in canonical order, and their numbers."""
        numbers = np.fromiter(self._index.values(), np.int64, len(self._index))
        here = self._sums.counts[numbers] > 0
        keys = list(compress(self._index, here.tolist()))
        order = order_of(keys)
        return [keys[i] for i in order], numbers[here][order]

    def state(self) -> tuple[Any, list[Integers]]:
        """The canonical form: a JSON value, and arrays of integers. Equal rows give equal states."""
        keys, order = self._ordered()
        parts, arrays = self._sums.state(order)
        return {"keys": list(map(written_key, keys)), "parts": parts}, arrays

    def load(self, value: Any, arrays: list[Integers]) -> None:
        """Take over what `state` gave; raises StateError (or ValueError, TypeError, ...) if it cannot be."""
        keys = list(map(read_key, value["keys"]))
        if any(len(key) != len(self.columns) for key in keys):
            raise StateError("a group has another number of values than there are columns")
        self._index = {key: number for number, key in enumerate(keys)}
        self._text = sum(map(_characters, keys))
        self._check()
        if len(self._index) != len(keys):
            raise StateError("a group occurs twice")
        self._sums.load(value["parts"], arrays, len(keys))

    def sums(self) -> tuple[Keys, OrderedSums]:
        """The groups in canonical order, and their sums."""
        keys, order = self._ordered()
        self._sums.settle()
        return Keys(self.columns, keys, self._edges), OrderedSums(self._sums, order)

    def only(self, wanted: Mapping[str, Any]) -> OrderedSums:
        """The sums of the groups with these values of columns, as those of one owner.

        Raises:
            UsageError: there are no such groups.
        """
        places = {self._place(name): ranked(plain(self._bin(name, value))) for name, value in wanted.items()}
        counts = self._sums.counts
        here = [
            number
            for key, number in self._index.items()
            if counts[number] and all(key[at] == value for at, value in places.items())
        ]
        if not here:
            told = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
            raise UsageError(f"group: no scored row has {told}")
        numbers = np.full(len(self._sums.cells), -1, np.int64)
        numbers[here] = 0
        return self._sums.regrouped(numbers, 1)

    def _bin(self, name: str, value: Any) -> Any:
        return bottom_of(value, self._edges[name]) if name in self._edges else value

    def _place(self, name: str) -> int:
        if name not in self.columns:
            raise UsageError(f"group: {name!r} is not among the columns of group_by: {', '.join(self.columns)}")
        return self.columns.index(name)

    def margin(self, column: str) -> tuple[Keys, OrderedSums]:
        """The groups by one of the columns alone, over those of the other columns, and their sums."""
        keys, order = self._ordered()
        at = self.columns.index(column)
        own: list[Key] = sorted({(key[at],) for key in keys})
        places = {key: place for place, key in enumerate(own)}
        numbers = np.full(len(self._sums.cells), -1, np.int64)
        numbers[order] = [places[(key[at],)] for key in keys]
        return Keys((column,), own, self._edges), self._sums.regrouped(numbers, len(own))

    def together(self) -> OrderedSums:
        """The sums of all groups as those of one owner; of none without a scored row."""
        numbers = np.where(self._sums.counts > 0, 0, -1)
        return self._sums.regrouped(numbers, int((numbers == 0).any()))

    def notes(self) -> list[str]:
        """What groups say less of, since there are so many."""
        self._sums.settle()
        parts = sorted((self._sums.tables | self._sums.keepers).items())
        owner = {
            name: each
            for each in self._statistics
            for name in (*each.layouts(alone=False), *each.keepers())
        }  # fmt: skip
        return [owner[name].note(name, part.level) for name, part in parts if part.level]


def _characters(key: Key) -> int:
    """Characters of the texts of a key."""
    return sum(len(value) for _, value in key if isinstance(value, str))


class Keys:
    """The values that groups have of columns, in the order of the groups."""

    def __init__(self, columns: tuple[str, ...], keys: list[Key], edges: Mapping[str, Any]) -> None:
        self.columns, self._keys, self._edges = columns, keys, edges

    def values(self, place: int) -> dict[str, Any]:
        """The values of the group at a place, by column."""
        return dict(zip(self.columns, map(value_of, self._keys[place]), strict=True))

    def beside(self, columns: Mapping[str, Any], owners: Integers | None = None) -> Any:
        """An Arrow table of the values of groups (by their places; None for all) and other columns beside them."""
        import pyarrow as pa

        table = {name: column_of(self._keys, i, self._edges.get(name)) for i, name in enumerate(self.columns)}
        if owners is not None:
            table = {name: values.take(pa.array(owners)) for name, values in table.items()}
        for name, values in columns.items():
            table[free_name(name, table)] = values
        return pa.table(table)
