"""Values of columns -> the groups of rows: what was looked up once is an array from then on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import StateError, UsageError
from fastxent.data.plain_column import plain_column, text_of
from fastxent.statistics.group_bins import bin_name, binned

__all__ = ["Encoder", "Key", "column_of", "order_of", "plain", "ranked", "read_key", "value_of", "written_key"]

Value = str | int | float | bool | None
#: Values with the rank of their type before them, so that keys sort, null last, and 1 is not True.
Key = tuple[tuple[int, Any], ...]

_TYPES: dict[type, int] = {bool: 0, int: 1, float: 2, str: 3, type(None): 4}
_FLOAT, _NULL = 2, 4


class Encoder:
    """Groups of the rows of batches, by the values of ``columns``."""

    def __init__(self, columns: tuple[str, ...], edges: Mapping[str, Any]) -> None:
        self._columns = [_Values(name, edges.get(name)) for name in columns]
        self._pairs = [_Pairs() for _ in columns[1:]]
        self._groups: NDArray[np.int32] = np.zeros(0, np.int32)

    def codes(self, extra: dict[str, Any], number: Callable[[Key], int]) -> NDArray[np.int32]:
        """The group of every row; ``number`` is asked for that of keys which have not occurred yet."""
        found = [column.codes(extra[column.name]) for column in self._columns]
        codes = found[0]
        for pairs, more in zip(self._pairs, found[1:], strict=True):
            codes = pairs.codes(codes, more)
        used = np.zeros(int(codes.max(initial=-1)) + 1, np.bool_)
        used[codes] = True
        if len(used) > len(self._groups):
            grown = np.full(max(len(used), 2 * len(self._groups)), -1, np.int32)
            grown[: len(self._groups)] = self._groups
            self._groups = grown
        for code in np.flatnonzero(used & (self._groups[: len(used)] < 0)).tolist():
            self._groups[code] = number(self._key(code))
        return self._groups[codes]

    def _key(self, code: int) -> Key:
        values = []
        for column, pairs in zip(self._columns[:0:-1], self._pairs[::-1], strict=True):
            code, value = pairs.parts(code)
            values.append(column.values[value])
        return (self._columns[0].values[code], *values[::-1])


class _Values:
    """The distinct values of one column, numbered as they come."""

    def __init__(self, name: str, edges: Any) -> None:
        self.name, self._edges = name, edges
        self.values: list[tuple[int, Any]] = []
        self._numbers: dict[tuple[int, Any], int] = {}
        #: by Arrow type: values that were looked up, and their numbers
        self._known: dict[str, tuple[Any, NDArray[np.int64]]] = {}

    def codes(self, column: Any) -> NDArray[np.int64]:
        """The number of the value of every row."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._edges is not None:
            column = binned(column, self.name, self._edges)
        values, places = _factorize(column, self.name)
        if len(values) > len(places):  # of a large dictionary only what occurs is looked at
            present, places = np.unique(places, return_inverse=True)
            values = values.take(pa.array(present))
        known, numbers = self._known.get(str(values.type), (values[:0], np.zeros(0, np.int64)))
        at = pc.index_in(values, value_set=known)
        if at.null_count:
            more = values.filter(at.is_null())
            numbers = np.concatenate((numbers, [self._number(ranked(plain(value))) for value in more.to_pylist()]))
            known = pa.concat_arrays([known, more])
            self._known[str(values.type)] = known, numbers
            at = pc.index_in(values, value_set=known)
        found: NDArray[np.int64] = numbers[np.asarray(at)][places]
        return found

    def _number(self, value: tuple[int, Any]) -> int:
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


class _Pairs:
    """Pairs of numbers, numbered as they come."""

    def __init__(self) -> None:
        self._sorted: NDArray[np.int64] = np.zeros(0, np.int64)
        self._numbers: NDArray[np.int64] = np.zeros(0, np.int64)
        self._parts: list[int] = []

    def codes(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of the pair of every row."""
        present, places = np.unique(first << 31 | second, return_inverse=True)
        new = present[~np.isin(present, self._sorted, assume_unique=True)]
        if new.size:
            both = np.concatenate((self._sorted, new))
            numbers = np.concatenate((self._numbers, len(self._parts) + np.arange(len(new))))
            order = np.argsort(both)
            self._sorted, self._numbers = both[order], numbers[order]
            self._parts += new.tolist()
        found: NDArray[np.int64] = self._numbers[np.searchsorted(self._sorted, present)][places]
        return found

    def parts(self, number: int) -> tuple[int, int]:
        """The pair with this number."""
        return self._parts[number] >> 31, self._parts[number] & ((1 << 31) - 1)


def _factorize(column: Any, name: str) -> tuple[Any, NDArray[np.int64]]:
    """An Arrow array of distinct values (some may not occur, or be equal), and the place of every row's in it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = plain_column(column)
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not pa.types.is_dictionary(column.type) and text_of(column[:0]) is not None:
        try:
            column = column.dictionary_encode(null_encoding="encode")
        except pa.ArrowNotImplementedError:  # short decimals, say
            column = text_of(column).dictionary_encode(null_encoding="encode")
    values = None
    if pa.types.is_dictionary(column.type):
        values = column.dictionary if _is_plain(kind) else text_of(column.dictionary)
    if values is None:
        raise UsageError(f"group_by: column {name!r} is {kind}; group by text, whole numbers, bool, numbers or dates")
    indices = column.indices
    if indices.null_count:
        values = pa.concat_arrays([values, pa.nulls(1, values.type)])
        indices = pc.fill_null(pc.cast(indices, pa.int64()), len(values) - 1)
    return values, np.asarray(indices).astype(np.int64)


def _is_plain(kind: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
        or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    )  # fmt: skip


def plain(value: Any) -> Value:
    """A value as one of those that groups have."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def ranked(value: Value) -> tuple[int, Any]:
    """A value as part of a key."""
    return _TYPES[type(value)], 0 if value is None else value


def value_of(part: tuple[int, Any]) -> Value:
    """The value that is a part of a key."""
    return None if part[0] == _NULL else part[1]


def order_of(keys: list[Key]) -> list[int]:
    """The places of the keys in their order; columns of one type are compared without it, in a fifth of the time."""
    by: list[Any] = keys
    columns = range(len(keys[0]) if keys else 0)
    if all(len({key[i][0] for key in keys}) == 1 for i in columns):
        values = [[key[i][1] for key in keys] for i in columns]
        by = values[0] if len(values) == 1 else list(zip(*values, strict=True))
    return sorted(range(len(keys)), key=by.__getitem__)


def written_key(key: Key) -> list[Any]:
    """A key as a JSON value."""
    return [[rank, value.hex() if rank == _FLOAT else value] for rank, value in key]


def read_key(written: Any) -> Key:
    """The inverse of `written_key`; raises StateError (or ValueError, TypeError, ...) for what is none."""
    key = tuple((rank, float.fromhex(v) if rank == _FLOAT else v) for rank, v in written)
    if any(_TYPES.get(type(v)) != rank for rank, v in key if rank != _NULL):
        raise StateError("a group has a value of another type than it says")
    return key


def column_of(keys: list[Key], place: int, edges: Any = None) -> Any:
    """The values at a place of keys as an Arrow array; of bins between ``edges`` their names."""
    import pyarrow as pa

    values: list[Value] = [None if key[place][0] == _NULL else key[place][1] for key in keys]
    if edges is not None:
        values = [bin_name(value, edges) if isinstance(value, float) else value for value in values]
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1 or (kinds == {int} and any(v is not None and not -(2**63) <= v < 2**63 for v in values)):  # type: ignore[operator]
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    kind = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}.get(next(iter(kinds), str), pa.string())
    return pa.array(values, kind)
