"""Statistics by the values of one column, or of several crossed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastxent.errors import StateError, UsageError
from fastxent.kernels import groups as kernels
from fastxent.spec import Spec
from fastxent.statistics import groupparts as parts
from fastxent.statistics.clusters import ranks_told
from fastxent.statistics.groupsums import GroupSums
from fastxent.statistics.grouptable import group_columns
from fastxent.statistics.statistic import OncePerBatch, Record, Statistic
from fastxent.statistics.units import units_of

if TYPE_CHECKING:
    from fastxent.totals import Measures

__all__ = ["MAX_GROUPS", "Groups"]

MAX_GROUPS = 100_000

Value = str | int | float | bool | None
#: Values with the rank of their type before them, so that keys sort, null last, and 1 is not True.
Key = tuple[tuple[int, Any], ...]

_TYPES: dict[type, int] = {bool: 0, int: 1, float: 2, str: 3, type(None): 4}
_FLOAT = 2
_NO_UNITS = np.zeros(0)


def _ranked(value: Value) -> tuple[int, Any]:
    return _TYPES[type(value)], 0 if value is None else value


class Groups(Statistic):
    """The sums of every combination of values of ``columns``, and what each keeps by place.

    A group has up to 1 kB of sums; what all of them keep by place is bounded, see `fastxent.statistics.groupparts`.
    """

    def __init__(self, spec: Spec, measures: Measures, classes: int) -> None:
        self.columns = measures.group_by
        self._spec, self._measures, self._classes = spec, measures, classes
        self._positive = spec.task == "binary"
        layout = kernels.layout_of(
            brier=spec.loss not in ("entropy", "kl_divergence"),
            ranks=ranks_told(spec),
            weighted=spec.reads_weight,
            entropy=measures.entropy,
            units=measures.units is not None,
        )
        self._sums = GroupSums(layout, self._new_parts())
        self._index: dict[Key, int] = {}
        self._codes = OncePerBatch(self._encode)

    def _new_parts(self) -> dict[str, parts.Part]:
        found: dict[str, parts.Part] = {"losses": parts.GroupedLosses()}
        if ranks_told(self._spec):
            found["classes"] = parts.GroupedClasses(self._spec, self._classes)
        if self._measures.cluster_by is not None:
            found["clusters"] = parts.GroupedClusters(self._spec, self._measures.cluster_by)
        if self._measures.ranking and self._positive:
            found["scores"] = parts.GroupedScores(self._spec)
        return dict(sorted(found.items()))

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        codes, sums = self._codes.of(record), self._sums
        units = _NO_UNITS if self._measures.units is None else units_of(record, self._measures.units)
        weighted = self._spec.reads_weight
        kernels.by_group(
            record.card, record.n, codes, units, sums.layout, sums.cells, sums.extremes, weighted, self._positive
        )
        for part in sums.parts.values():
            part.absorb(record, codes)

    def _encode(self, extra: dict[str, Any]) -> NDArray[np.int32]:
        """The group of every row of a batch."""
        codes: NDArray[np.int64] | None = None
        keys: list[Key] = [()]
        for name in self.columns:
            values, places = _factorize(extra[name], name)
            if codes is None:
                codes, keys = places, [(_ranked(value),) for value in values]
                continue
            present, codes = np.unique(codes * len(values) + places, return_inverse=True)
            keys = [(*keys[int(p) // len(values)], _ranked(values[int(p) % len(values)])) for p in present]
        assert codes is not None
        used = np.zeros(len(keys), np.bool_)
        used[codes] = True
        numbers = np.array([self._number(key) if u else 0 for key, u in zip(keys, used, strict=True)], np.int32)
        return numbers[codes]

    def _number(self, key: Key) -> int:
        number = self._index.get(key)
        if number is None:
            number = self._index[key] = len(self._index)
            self._check(number + 1)
            self._sums.make_room(number + 1)
        return number

    def _check(self, count: int) -> None:
        if count > MAX_GROUPS:
            names = ", ".join(map(repr, self.columns))
            what = f"column {names} has" if len(self.columns) == 1 else f"columns {names} have together"
            raise UsageError(
                f"group_by: {what} more than {MAX_GROUPS:,} values; group by something coarser, or pass the column as "
                "cluster_by if it is there for standard errors"
            )

    def merge(self, other: Groups) -> None:
        """See `Statistic.merge`."""
        numbers = np.array([self._number(key) for key in other._index], np.int64)
        self._sums.merge(other._sums, numbers)

    def _ordered(self) -> tuple[list[Key], GroupSums]:
        """The groups that have a scored row, in canonical order, with their sums."""
        counts = self._sums.cells[:, kernels.COUNT]
        keys = sorted(key for key, number in self._index.items() if counts[number])
        numbers = np.full(len(self._index), -1, np.int64)
        numbers[[self._index[key] for key in keys]] = np.arange(len(keys))
        return keys, self._sums.regrouped(numbers, len(keys))

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        keys, sums = self._ordered()
        plain = [[[rank, value.hex() if rank == _FLOAT else value] for rank, value in key] for key in keys]
        levels, arrays = sums.state()
        return {"keys": plain, "levels": levels}, arrays

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        keys, levels = value["keys"], value["levels"]
        self._index = {}
        for key in keys:
            found = tuple((rank, float.fromhex(v) if rank == _FLOAT else v) for rank, v in key)
            if len(found) != len(self.columns) or any(
                _TYPES.get(type(v)) != r for r, v in found if r != _TYPES[type(None)]
            ):
                raise StateError("a group has another number of values than there are columns, or one of another type")
            self._index[found] = len(self._index)
        self._check(len(self._index))
        if len(self._index) != len(keys):
            raise StateError("a group occurs twice")
        self._sums.load(levels, arrays, len(keys))

    def table(self) -> Any:
        """The groups as an Arrow table: the columns, then `fastxent.statistics.grouptable.group_columns`."""
        return self._table(self.columns, *self._ordered())

    def margins(self) -> dict[str, Any]:
        """For every column a table as `table` of its values alone, over those of the other columns."""
        keys, sums = self._ordered()
        found = {}
        for i, name in enumerate(self.columns):
            own: list[Key] = sorted({(key[i],) for key in keys})
            places = {key: place for place, key in enumerate(own)}
            numbers = np.array([places[(key[i],)] for key in keys], np.int64)
            found[name] = self._table((name,), own, sums.regrouped(numbers, len(own)))
        return found

    def _table(self, columns: tuple[str, ...], keys: list[Key], sums: GroupSums) -> Any:
        import pyarrow as pa

        result: dict[str, Any] = {
            name: _column([None if key[i][0] == _TYPES[type(None)] else key[i][1] for key in keys])
            for i, name in enumerate(columns)
        }
        for name, values in group_columns(sums, self._spec, len(keys)).items():
            kind = pa.int64() if name in ("count", "clusters") else pa.float64()
            result[name if name not in columns else f"{name}_"] = pa.array(values, kind)
        return pa.table(result)


def _factorize(column: Any, name: str) -> tuple[list[Value], NDArray[np.int64]]:
    """Distinct values (some may be equal, or not occur) and the place of every row's among them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise UsageError(f"group_by: column {name!r} is {kind}; group by text, whole numbers, bool, numbers or dates")
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode(null_encoding="encode")
    values = column.dictionary if _is_plain(kind) else pc.cast(column.dictionary, pa.string())
    found = [_plain(value) for value in values.to_pylist()]
    indices = column.indices
    if indices.null_count:
        found.append(None)
        indices = pc.fill_null(pc.cast(indices, pa.int64()), len(found) - 1)
    return found, np.asarray(indices).astype(np.int64)


def _is_plain(kind: Any) -> bool:
    import pyarrow as pa

    return bool(
        pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)
        or pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )  # fmt: skip


def _plain(value: Any) -> Value:
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else value + 0.0
    if value is None or isinstance(value, bool | int | str):
        return value
    return str(value)


def _column(values: list[Value]) -> Any:
    import pyarrow as pa

    kinds = {type(value) for value in values if value is not None}
    if len(kinds) > 1 or (kinds == {int} and any(v is not None and not -(2**63) <= v < 2**63 for v in values)):  # type: ignore[operator]
        return pa.array([None if value is None else str(value) for value in values], pa.string())
    kind = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}.get(next(iter(kinds), str), pa.string())
    return pa.array(values, kind)
