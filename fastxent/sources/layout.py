"""Arrow columns -> predictions: every layout in which tables hold several scores a row.

A layout is brought to one description, `_Runs`: flat values, and for each row where its run starts and how long
it is. Runs that follow one another at a constant distance are a view of the values; anything else (nulls,
ragged rows, list views in disorder) is gathered into a new array no larger than the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fastxent.batch import Columns, Matrix, Predictions
from fastxent.errors import SourceError
from fastxent.sources.primitive import ITEM_BYTES, Numbers, is_number, numbers, plain, raw_numbers, validity
from fastxent.status import Status

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Decoded", "decode_matrix", "decode_predictions", "is_binary", "is_list", "is_vector", "row_lengths"]

#: Rows gathered at a time when runs are irregular: bounds the index array.
GATHER_ELEMENTS = 1 << 18
#: Scores in a column each above which one tile is cheaper to hand on than that many views.
MAX_COLUMN_VIEWS = 4096


class Decoded(NamedTuple):
    """Predictions and the status of rows that have none, if any."""

    predictions: Predictions
    status: NDArray[np.uint8] | None


class _Runs(NamedTuple):
    flat: Numbers
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    valid: NDArray[np.bool_] | None


def is_list(kind: Any) -> bool:
    """Whether an Arrow type is a list of any kind."""
    test = pa.types
    return bool(
        test.is_list(kind)
        or test.is_large_list(kind)
        or test.is_fixed_size_list(kind)
        or test.is_list_view(kind)
        or test.is_large_list_view(kind)
    )


def is_binary(kind: Any) -> bool:
    """Whether an Arrow type is raw bytes of any kind."""
    test = pa.types
    return bool(
        test.is_binary(kind)
        or test.is_large_binary(kind)
        or test.is_fixed_size_binary(kind)
        or test.is_binary_view(kind)
    )


def is_vector(kind: Any) -> bool:
    """Whether an Arrow type is Spark ML's vector: a struct of type, size, indices, values."""
    return bool(pa.types.is_struct(kind)) and {kind.field(i).name for i in range(kind.num_fields)} == {
        "type", "size", "indices", "values",
    }  # fmt: skip


def decode_predictions(columns: Sequence[Any], num_classes: int, dtype: str | None = None) -> Decoded:
    """The columns of one batch that hold the scores -> predictions of ``num_classes`` and the status.

    Args:
        columns: one array with all scores of a row (list, packed binary, struct, tensor, vector), or one a class.
        num_classes: how many scores a row must have.
        dtype: kind of number in packed binary and uint16 columns.
    """
    arrays = [plain(column) for column in columns]
    if len(arrays) == 1 and pa.types.is_struct(arrays[0].type) and not is_vector(arrays[0].type):
        return _from_struct(arrays[0], num_classes, dtype)
    if len(arrays) == 1 and not is_number(arrays[0].type):
        return decode_matrix(arrays[0], num_classes, dtype)
    return _from_columns(arrays, num_classes, dtype)


def decode_matrix(array: Any, num_classes: int, dtype: str | None = None) -> Decoded:
    """One column of lists, packed bytes or vectors -> an (n, num_classes) `Matrix`, and the status."""
    array = plain(array)
    runs = _runs(array, dtype)
    view = _constant_stride(runs, num_classes)
    if view is not None:
        return Decoded(Matrix(view, runs.flat.kind), None)
    return _gather(runs, num_classes)


def row_lengths(array: Any, dtype: str | None = None) -> NDArray[np.int64]:
    """How many scores each row that is not null has; used to find the number of classes."""
    array = plain(array)
    if is_vector(array.type):
        sizes = _vector_sizes(array)
    else:
        _, sizes, _ = _extents(array)
        if is_binary(array.type):
            sizes = sizes // ITEM_BYTES.get(dtype or "", 1)
    valid = validity(array)
    return sizes if valid is None else sizes[valid]


def _from_columns(arrays: Sequence[Any], num_classes: int, dtype: str | None) -> Decoded:
    if len(arrays) != num_classes:
        raise SourceError(f"there are {len(arrays)} columns of scores, {num_classes} classes are expected")
    parts = [numbers(array, dtype) for array in arrays]
    status = None
    for part in parts:
        if part.valid is not None:
            status = np.zeros(len(part.values), np.uint8) if status is None else status
            status[~part.valid] = Status.NULL_PREDICTION
    parts = _same_kind(parts)
    columns = tuple(part.values for part in parts)
    if len(columns) == 1:
        return Decoded(Matrix(_read_only(columns[0].reshape(-1, 1)), parts[0].kind), status)
    if len(columns) > MAX_COLUMN_VIEWS:
        return Decoded(Matrix(_read_only(np.stack(columns, axis=1)), parts[0].kind), status)
    return Decoded(Columns(columns, parts[0].kind), status)


def _from_struct(array: Any, num_classes: int, dtype: str | None) -> Decoded:
    return _from_columns([plain(child) for child in array.flatten()], num_classes, dtype)  # nulls are passed on


def _same_kind(parts: list[Numbers]) -> list[Numbers]:
    kinds = {part.kind for part in parts}
    if len(kinds) == 1:
        return parts
    return [part if part.kind == "float64" else Numbers(_to_float64(part), "float64", part.valid) for part in parts]


def _to_float64(part: Numbers) -> NDArray[np.float64]:
    if part.kind == "float16":
        return part.values.view(np.float16).astype(np.float64)
    if part.kind == "bfloat16":
        return (part.values.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    return part.values.astype(np.float64)


def _runs(array: Any, dtype: str | None) -> _Runs:
    if is_vector(array.type):
        return _vector_runs(array)
    if is_list(array.type):
        return _list_runs(array, dtype)
    if is_binary(array.type):
        return _binary_runs(array, dtype)
    raise SourceError(f"holds {array.type}; scores are lists, packed binary, structs of numbers, or one column a class")


def _list_runs(array: Any, dtype: str | None) -> _Runs:
    """Only the part of the child that the rows point into is looked at: ``array`` may be a slice of a large one."""
    starts, lengths, child = _extents(array)
    used = lengths > 0
    lo = int(starts[used].min()) if used.any() else 0
    hi = int((starts + lengths)[used].max()) if used.any() else 0
    return _Runs(numbers(plain(child.slice(lo, hi - lo)), dtype), starts - lo, lengths, validity(array))


def _extents(array: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], Any]:
    """Starts and lengths of the rows of a list or binary array, and what they point into."""
    kind, rows, test = array.type, len(array), pa.types
    if test.is_fixed_size_list(kind):
        starts = (np.arange(rows, dtype=np.int64) + array.offset) * kind.list_size
        return starts, np.full(rows, kind.list_size, np.int64), array.values
    if test.is_fixed_size_binary(kind):
        starts = (np.arange(rows, dtype=np.int64) + array.offset) * kind.byte_width
        return starts, np.full(rows, kind.byte_width, np.int64), array.buffers()[1]
    if test.is_list_view(kind) or test.is_large_list_view(kind):
        offsets = np.asarray(array.offsets).astype(np.int64)
        return offsets, np.asarray(array.sizes).astype(np.int64), array.values
    if test.is_list(kind) or test.is_large_list(kind):
        offsets = np.asarray(array.offsets).astype(np.int64)
        return offsets[:-1], np.diff(offsets), array.values
    if test.is_binary_view(kind):
        return _extents(array.cast(pa.large_binary()))
    wide = np.dtype(np.int64 if test.is_large_binary(kind) else np.int32)
    _, ends, data = array.buffers()
    if rows == 0 or ends is None:
        return np.empty(0, np.int64), np.empty(0, np.int64), data
    offsets = np.frombuffer(ends, wide, rows + 1, array.offset * wide.itemsize).astype(np.int64)
    return offsets[:-1], np.diff(offsets), data


def _binary_runs(array: Any, dtype: str | None) -> _Runs:
    starts, lengths, data = _extents(array)
    item = ITEM_BYTES.get(dtype or "", 1)
    lengths = np.where(lengths % item == 0, lengths // item, -1)  # bytes left over: no number of classes fits
    base = int(starts[0]) if len(starts) else 0
    size = 0 if data is None else int(data.size)
    flat = raw_numbers(data, dtype, base, max(0, size - base) // item)
    if len(starts) and ((starts - base) % item).any():
        return _realigned(array, starts, lengths, data, dtype)
    return _Runs(flat, (starts - base) // item, lengths, validity(array))


def _realigned(array: Any, starts: Any, lengths: Any, data: Any, dtype: str | None) -> _Runs:
    """Rows that start between two numbers (after a row with bytes left over) are moved together."""
    item = ITEM_BYTES[dtype or ""]
    valid = validity(array)
    kept = np.where((lengths < 0) | (False if valid is None else ~valid), 0, lengths)
    moved = np.concatenate([[0], np.cumsum(kept)])
    octets = np.frombuffer(data, np.uint8)
    out = np.empty(int(moved[-1]) * item, np.uint8)
    for start, lo, count in zip(starts.tolist(), moved.tolist(), kept.tolist(), strict=False):
        out[lo * item : (lo + count) * item] = octets[start : start + count * item]
    return _Runs(raw_numbers(out, dtype, 0, int(moved[-1])), moved[:-1], np.where(kept == 0, lengths, kept), valid)


def _vector_sizes(array: Any) -> NDArray[np.int64]:
    form = array.field("type").fill_null(1).to_numpy(zero_copy_only=False)
    size = array.field("size").fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    _, lengths, _ = _extents(array.field("values"))
    return np.where(form == 0, size, lengths)


def _vector_runs(array: Any) -> _Runs:
    """Spark's vectors: dense ones hold their values, sparse ones (type 0) are scattered into zeros."""
    flat, starts, lengths, _ = _list_runs(array.field("values"), None)
    valid = validity(array)
    form = array.field("type").fill_null(1).to_numpy(zero_copy_only=False)
    if not (form == 0).any():
        return _Runs(flat, starts, lengths, valid)
    sizes = _vector_sizes(array)
    return _scatter(array, _Runs(flat, starts, lengths, valid), form == 0, sizes)


def _scatter(array: Any, runs: _Runs, sparse: NDArray[np.bool_], sizes: NDArray[np.int64]) -> _Runs:
    places, counts, child = _extents(array.field("indices"))
    indices = numbers(plain(child)).values.astype(np.int64)
    wanted = sizes if runs.valid is None else np.where(runs.valid, sizes, 0)
    if (wanted > 1 << 24).any() or wanted.sum() > 1 << 28:
        raise SourceError("sparse vectors of this size cannot be scored as dense predictions")
    starts = np.concatenate([[0], np.cumsum(wanted)])[:-1]
    out = np.zeros(int(wanted.sum()), runs.flat.values.dtype)
    wanted = wanted.copy()
    for row in np.flatnonzero(wanted):
        lo, length = int(runs.starts[row]), int(runs.lengths[row])
        values, at = runs.flat.values[lo : lo + length], int(starts[row])
        if not sparse[row]:
            out[at : at + length] = values
            continue
        where = indices[places[row] : places[row] + counts[row]]
        if len(where) != length or (where < 0).any() or (where >= wanted[row]).any():
            wanted[row] = -1
            continue
        out[at + where] = values
    return _Runs(Numbers(out, runs.flat.kind, None), starts, wanted, runs.valid)


def _constant_stride(runs: _Runs, num_classes: int) -> NDArray[Any] | None:
    rows = len(runs.starts)
    if runs.valid is not None or runs.flat.valid is not None:
        return None
    if rows == 0:
        return runs.flat.values[:0].reshape(0, num_classes)
    first, last = int(runs.starts[0]), int(runs.starts[-1])
    if not (runs.lengths == num_classes).all() or last - first != (rows - 1) * num_classes:
        return None
    if not (np.diff(runs.starts) == num_classes).all():
        return None
    return _read_only(runs.flat.values[first : first + rows * num_classes].reshape(rows, num_classes))


def _gather(runs: _Runs, num_classes: int) -> Decoded:
    """Rows of the right length into a new array; the others get a status (and zeros)."""
    rows = len(runs.starts)
    status = np.where(runs.lengths == num_classes, 0, Status.RAGGED_ROW).astype(np.uint8)
    if runs.valid is not None:
        status[~runs.valid] = Status.NULL_PREDICTION
    out = np.zeros((rows, num_classes), runs.flat.values.dtype)
    good = np.flatnonzero(status == 0)
    step = max(1, GATHER_ELEMENTS // num_classes)
    for lo in range(0, len(good), step):
        part = good[lo : lo + step]
        where = runs.starts[part][:, None] + np.arange(num_classes)
        out[part] = runs.flat.values[where]
        if runs.flat.valid is not None:
            status[part[~runs.flat.valid[where].all(axis=1)]] = Status.NULL_PREDICTION
    return Decoded(Matrix(_read_only(out), runs.flat.kind), status if status.any() else None)


def _read_only(values: NDArray[Any]) -> NDArray[Any]:
    view = values.view()
    view.flags.writeable = False
    return view
