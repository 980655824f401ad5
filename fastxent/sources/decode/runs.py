"""Columns of lists, packed bytes and vectors -> runs: flat values, and where in them each row lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fastxent.base.errors import SourceError
from fastxent.base.kinds import KINDS, item_bytes
from fastxent.sources.decode.primitive import Numbers, numbers, plain, raw_numbers, validity

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Runs", "extents", "is_binary", "is_list", "is_vector", "row_lengths", "runs_of"]


class Runs(NamedTuple):
    """Flat values; for each row where its run starts, how long it is (-1: no whole number), whether it is there."""

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


def row_lengths(array: Any, dtype: str | None = None) -> NDArray[np.int64]:
    """How many scores each row that is not null has; used to find the number of classes."""
    array = plain(array)
    if is_vector(array.type):
        sizes = _vector_sizes(array)
    else:
        _, sizes, _ = extents(array)
        if is_binary(array.type):
            sizes = sizes // item_bytes(dtype, 1)
    valid = validity(array)
    return sizes if valid is None else sizes[valid]


def runs_of(array: Any, dtype: str | None) -> Runs:
    """The runs of a list, packed or vector column; ``dtype`` is the kind of number in bytes and uint16."""
    if is_vector(array.type):
        return _vector_runs(array)
    if is_list(array.type):
        return _list_runs(array, dtype)
    if is_binary(array.type):
        return _binary_runs(array, dtype)
    raise _no_scores(array.type)


def _no_scores(kind: Any) -> SourceError:
    return SourceError(f"holds {kind}; scores are lists, packed binary, structs of numbers, or one column a class")


def _list_runs(array: Any, dtype: str | None) -> Runs:
    """Only the part of the child that the rows point into is looked at: ``array`` may be a slice of a large one."""
    starts, lengths, child = extents(array)
    used = lengths > 0
    lo = int(starts[used].min()) if used.any() else 0
    hi = int((starts + lengths)[used].max()) if used.any() else 0
    return Runs(numbers(plain(child.slice(lo, hi - lo)), dtype), starts - lo, lengths, validity(array))


def extents(array: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], Any]:
    """Starts and lengths of the rows of a list or binary array, and what they point into.

    Raises:
        SourceError: it is neither.
    """
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
        return extents(array.cast(pa.large_binary()))
    if not is_binary(kind):
        raise _no_scores(kind)
    wide = np.dtype(np.int64 if test.is_large_binary(kind) else np.int32)
    _, ends, data = array.buffers()
    if rows == 0 or ends is None:
        return np.empty(0, np.int64), np.empty(0, np.int64), data
    offsets = np.frombuffer(ends, wide, rows + 1, array.offset * wide.itemsize).astype(np.int64)
    return offsets[:-1], np.diff(offsets), data


def _binary_runs(array: Any, dtype: str | None) -> Runs:
    starts, lengths, data = extents(array)
    item = item_bytes(dtype, 1)
    lengths = np.where(lengths % item == 0, lengths // item, -1)  # bytes left over: no number of classes fits
    base = int(starts[0]) if len(starts) else 0
    size = 0 if data is None else int(data.size)
    flat = raw_numbers(data, dtype, base, max(0, size - base) // item)
    if len(starts) and ((starts - base) % item).any():
        return _realigned(array, starts, lengths, data, dtype)
    return Runs(flat, (starts - base) // item, lengths, validity(array))


def _realigned(array: Any, starts: Any, lengths: Any, data: Any, dtype: str | None) -> Runs:
    """Rows that start between two numbers (after a row with bytes left over) are moved together."""
    item = KINDS[dtype or ""].size
    valid = validity(array)
    kept = np.where((lengths < 0) | (False if valid is None else ~valid), 0, lengths)
    moved = np.concatenate([[0], np.cumsum(kept)])
    octets = np.frombuffer(data, np.uint8)
    out = np.empty(int(moved[-1]) * item, np.uint8)
    for start, lo, count in zip(starts.tolist(), moved.tolist(), kept.tolist(), strict=False):
        out[lo * item : (lo + count) * item] = octets[start : start + count * item]
    return Runs(raw_numbers(out, dtype, 0, int(moved[-1])), moved[:-1], np.where(kept == 0, lengths, kept), valid)


def _vector_sizes(array: Any) -> NDArray[np.int64]:
    form = array.field("type").fill_null(1).to_numpy(zero_copy_only=False)
    size = array.field("size").fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    _, lengths, _ = extents(array.field("values"))
    return np.where(form == 0, size, lengths)


def _vector_runs(array: Any) -> Runs:
    """Spark's vectors: dense ones hold their values, sparse ones (type 0) are scattered into zeros."""
    flat, starts, lengths, _ = _list_runs(array.field("values"), None)
    valid = validity(array)
    form = array.field("type").fill_null(1).to_numpy(zero_copy_only=False)
    if not (form == 0).any():
        return Runs(flat, starts, lengths, valid)
    sizes = _vector_sizes(array)
    return _scatter(array, Runs(flat, starts, lengths, valid), form == 0, sizes)


def _scatter(array: Any, runs: Runs, sparse: NDArray[np.bool_], sizes: NDArray[np.int64]) -> Runs:
    places, counts, child = extents(array.field("indices"))
    indices = numbers(plain(child)).values.astype(np.int64)
    lengths = sizes if runs.valid is None else np.where(runs.valid, sizes, 0)
    if (lengths > 1 << 24).any() or lengths.sum() > 1 << 28:
        raise SourceError("sparse vectors of this size cannot be scored as dense predictions")
    starts = np.concatenate([[0], np.cumsum(lengths)])[:-1]
    out = np.zeros(int(lengths.sum()), runs.flat.values.dtype)
    lengths = lengths.copy()
    for row in np.flatnonzero(lengths):
        lo, length = int(runs.starts[row]), int(runs.lengths[row])
        values, at = runs.flat.values[lo : lo + length], int(starts[row])
        if not sparse[row]:
            out[at : at + length] = values
            continue
        where = indices[places[row] : places[row] + counts[row]]
        if len(where) != length or (where < 0).any() or (where >= lengths[row]).any():
            lengths[row] = -1
            continue
        out[at + where] = values
    return Runs(Numbers(out, runs.flat.kind, None), starts, lengths, runs.valid)
