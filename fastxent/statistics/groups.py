"""Statistics by the values of one column, or of several crossed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.errors import StateError, UsageError
from fastxent.kernels import records
from fastxent.spec import Spec
from fastxent.statistics.statistic import FIXED_BITS, Record, Statistic, carry, check_shape, predicts_class

__all__ = ["MAX_GROUPS", "Groups"]

MAX_GROUPS = 100_000

Value = str | int | float | bool | None
#: Values with the rank of their type before them, so that keys sort, null last, and 1 is not True.
Key = tuple[tuple[int, Any], ...]

_TYPES: dict[type, int] = {bool: 0, int: 1, float: 2, str: 3, type(None): 4}
_FLOAT = 2


def _ranked(value: Value) -> tuple[int, Any]:
    return _TYPES[type(value)], 0 if value is None else value


class Groups(Statistic):
    """Counts and sums of every combination of values of ``columns``; see `fastxent.kernels.records.by_group`."""

    def __init__(self, spec: Spec, columns: tuple[str, ...]) -> None:
        self.columns = columns
        self.weighted = spec.reads_weight
        self._has_classes = predicts_class(spec)
        self._has_scores = spec.loss not in ("entropy", "kl_divergence")
        self._positive = spec.task == "binary"
        self._width = records.WEIGHTED_COLUMNS if self.weighted else records.PLAIN_COLUMNS
        self._index: dict[Key, int] = {}
        self._cells: NDArray[np.int64] = np.zeros((16, self._width), np.int64)
        self._batch: Any = None
        self._codes: NDArray[np.int32] = np.zeros(0, np.int32)

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        if record.batch is not self._batch:
            self._codes = self._encode(record.batch.extra or {})
            self._batch = record.batch
        codes = self._codes[record.lo : record.lo + record.n]
        records.by_group(record.card, record.n, codes, self._cells, self.weighted, self._positive)
        if record.lo + record.n >= record.batch.num_rows:
            self._batch = None

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
            if number >= len(self._cells):
                self._cells = np.concatenate([self._cells, np.zeros_like(self._cells)])
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
        if numbers.size:
            self._cells[numbers] += other._cells[: len(numbers)]
            carry(self._cells, range(records.LOSS, self._width, 2))

    @property
    def items(self) -> list[tuple[Key, NDArray[np.int64]]]:
        """The groups that have a scored row, in canonical order, with their cells."""
        rows = ((key, self._cells[self._index[key]]) for key in sorted(self._index))
        return [(key, cells) for key, cells in rows if cells[records.COUNT]]

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        carry(self._cells, range(records.LOSS, self._width, 2))
        items = self.items
        keys = [[[rank, value.hex() if rank == _FLOAT else value] for rank, value in key] for key, _ in items]
        cells = np.array([cells for _, cells in items], np.int64).reshape(len(items), self._width)
        return keys, [cells]

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        self._index = {}
        for key in value:
            found = tuple((rank, float.fromhex(v) if rank == _FLOAT else v) for rank, v in key)
            if len(found) != len(self.columns) or any(
                _TYPES.get(type(v)) != r for r, v in found if r != _TYPES[type(None)]
            ):
                raise StateError("a group has another number of values than there are columns, or one of another type")
            self._index[found] = len(self._index)
        self._check(len(self._index))
        if len(self._index) != len(value):
            raise StateError("a group occurs twice")
        cells = check_shape(arrays[0], (len(value), self._width))
        self._cells = cells if len(cells) else np.zeros((16, self._width), np.int64)

    def table(self) -> Any:
        """The groups as an Arrow table: the columns, then count, loss, stderr, accuracy, brier and ece."""
        return self._table(self.columns, self.items)

    def margins(self) -> dict[str, Any]:
        """For every column a table as `table` of its values alone, over those of the other columns."""
        items = self.items
        cells = np.array([cells for _, cells in items], np.int64).reshape(len(items), self._width)
        found = {}
        for i, name in enumerate(self.columns):
            keys = sorted({(key[i],) for key, _ in items})
            places = {key: place for place, key in enumerate(keys)}
            codes = np.array([places[(key[i],)] for key, _ in items], np.int64)
            found[name] = self._table((name,), list(zip(keys, _put_together(cells, codes, len(keys)), strict=True)))
        return found

    def _table(self, columns: tuple[str, ...], items: list[tuple[Key, NDArray[np.int64]]]) -> Any:
        import pyarrow as pa

        result: dict[str, Any] = {
            name: _column([None if key[i][0] == _TYPES[type(None)] else key[i][1] for key, _ in items])
            for i, name in enumerate(columns)
        }
        values = _statistics(np.array([cells for _, cells in items]).reshape(len(items), self._width), self.weighted)
        names = ["count", *(["weight"] if self.weighted else []), "loss", "stderr", "accuracy", "brier", "ece"]
        for name in names:
            if (name in ("accuracy", "ece") and not self._has_classes) or (name == "brier" and not self._has_scores):
                continue
            shown = name if name not in columns else f"{name}_"
            kind = pa.int64() if name == "count" else pa.float64()
            result[shown] = pa.array(values[name], kind)
        return pa.table(result)


def _put_together(cells: NDArray[np.int64], codes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Sums of rows of cells by code; low words go in by halves, so that up to 2^31 of them stay in range."""
    result = np.zeros((count, cells.shape[1]), np.int64)
    np.add.at(result, codes, cells)
    half = FIXED_BITS // 2
    for column in range(records.LOSS, cells.shape[1], 2):
        low, high = np.zeros((2, count), np.int64)
        np.add.at(low, codes, cells[:, column + 1] & ((1 << half) - 1))
        np.add.at(high, codes, cells[:, column + 1] >> half)
        high += low >> half
        result[:, column] += high >> half
        result[:, column + 1] = ((high & ((1 << half) - 1)) << half) + (low & ((1 << half) - 1))
    return result


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


def _statistics(cells: NDArray[np.int64], weighted: bool) -> dict[str, list[float]]:
    """The statistics of all groups, each rounded once from its sums, which are integers in units of 2^-62."""

    def pair(column: int) -> Any:
        return (cells[:, column].astype(object) << FIXED_BITS) + cells[:, column + 1]

    count = cells[:, records.COUNT].astype(object)
    total = pair(records.WEIGHT) if weighted else count << FIXED_BITS
    loss, square = pair(records.LOSS), pair(records.SQUARE)
    if weighted:
        ww, wy = pair(records.WEIGHT_SQUARE), pair(records.CROSS)
        above = count * (total * total * square - 2 * loss * total * wy + loss * loss * ww) << FIXED_BITS
        below = total**4 * (count - 1)
    else:
        above = (count * square << FIXED_BITS) - loss * loss
        below = total * total * (count - 1)
    gaps = sum(abs(pair(records.GAPS + 2 * b)) for b in range(records.GROUP_BINS))
    fine = (total > 0) & (cells[:, records.LARGE] == 0)

    def ratio(part: Any, whole: Any) -> list[float]:
        return [a / b if good and b else math.nan for a, b, good in zip(part, whole, fine, strict=True)]

    means = ratio(loss, total)
    return {
        "count": count.tolist(),
        "weight": [value / (1 << FIXED_BITS) for value in total],
        "loss": [math.inf if large else mean for mean, large in zip(means, cells[:, records.LARGE], strict=True)],
        "stderr": list(map(math.sqrt, ratio(np.maximum(above, 0), below))),
        "accuracy": ratio(pair(records.HITS), total),
        "brier": ratio(pair(records.BRIER), total),
        "ece": ratio(gaps, total),
    }
