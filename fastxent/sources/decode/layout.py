"""Arrow columns -> predictions: every layout in which tables hold several scores a row.

A layout is brought to one description, `fastxent.sources.decode.runs.Runs`: flat values, and for each row where its run
starts and how long it is. Runs that follow one another at a constant distance are a view of the values; anything
else (nulls, ragged rows, list views in disorder) is gathered into a new array no larger than the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fastxent.base.errors import SourceError
from fastxent.base.kinds import as_floats, item_bytes
from fastxent.base.status import Status
from fastxent.data.batch import Columns, Matrix, Predictions
from fastxent.sources.decode.numpy_blocks import frozen
from fastxent.sources.decode.primitive import Numbers, is_number, numbers, plain, raw_numbers
from fastxent.sources.decode.runs import Runs, is_vector, runs_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Decoded", "decode_matrix", "decode_predictions", "to_float64"]

#: Rows gathered at a time when runs are irregular: bounds the index array.
GATHER_ELEMENTS = 1 << 18
#: Scores in a column each above which one tile is cheaper to hand on than that many views.
MAX_COLUMN_VIEWS = 4096


class Decoded(NamedTuple):
    """Predictions and the status of rows that have none, if any."""

    predictions: Predictions
    status: NDArray[np.uint8] | None


def decode_predictions(
    columns: Sequence[Any], num_classes: int, dtype: str | None = None, counts: NDArray[np.bool_] | None = None
) -> Decoded:
    """The columns of one batch that hold the scores -> predictions of ``num_classes`` and the status.

    Args:
        columns: one array with all scores of a row (list, packed binary, struct, tensor, vector), or one a class.
        num_classes: how many scores a row must have.
        dtype: kind of number in packed binary and uint16 columns.
        counts: which scores are looked at (a mask); others may be null.
    """
    views = _plain_floats(columns) if len(columns) > 1 else None
    if views is not None and len(views) == num_classes <= MAX_COLUMN_VIEWS:
        return Decoded(Columns(views, "float32" if views[0].itemsize == 4 else "float64"), None)
    arrays = [plain(column) for column in columns]
    if len(arrays) == 1 and pa.types.is_struct(arrays[0].type) and not is_vector(arrays[0].type):
        # nulls are passed on
        return _from_columns([plain(child) for child in arrays[0].flatten()], num_classes, dtype, counts)
    if len(arrays) == 1 and not is_number(arrays[0].type):
        return decode_matrix(arrays[0], num_classes, dtype, counts)
    return _from_columns(arrays, num_classes, dtype, counts)


def decode_matrix(
    array: Any, num_classes: int, dtype: str | None = None, counts: NDArray[np.bool_] | None = None
) -> Decoded:
    """One column of lists, packed bytes or vectors -> an (n, num_classes) `Matrix`, and the status."""
    array = plain(array)
    regular = _regular(array, num_classes, dtype)
    if regular is not None:
        return regular
    runs = runs_of(array, dtype)
    view = _constant_stride(runs, num_classes)
    if view is not None:
        return Decoded(Matrix(view, runs.flat.kind), None)
    return _gather(runs, num_classes, counts)


def _plain_floats(columns: Sequence[Any]) -> tuple[NDArray[Any], ...] | None:
    """The common case of one column a class, with as little as possible done for each of thousands of columns."""
    kind = columns[0].type
    if kind not in (pa.float32(), pa.float64()):
        return None
    if any(column.null_count or column.type != kind for column in columns):
        return None
    return tuple(column.to_numpy() for column in columns)


def _from_columns(
    arrays: Sequence[Any], num_classes: int, dtype: str | None, counts: NDArray[np.bool_] | None
) -> Decoded:
    if len(arrays) != num_classes:
        raise SourceError(f"there are {len(arrays)} columns of scores, {num_classes} classes are expected")
    parts = [numbers(array, dtype) for array in arrays]
    status = None
    for place, part in enumerate(parts):
        if part.valid is not None:
            status = np.zeros(len(part.values), np.uint8) if status is None else status
            status[~part.valid & (True if counts is None else counts[:, place])] = Status.NULL_PREDICTION
    parts = _same_kind(parts)
    columns = tuple(part.values for part in parts)
    if len(columns) == 1:
        return Decoded(Matrix(frozen(columns[0].reshape(-1, 1)), parts[0].kind), status)
    if len(columns) > MAX_COLUMN_VIEWS:
        return Decoded(Matrix(frozen(np.stack(columns, axis=1)), parts[0].kind), status)
    return Decoded(Columns(columns, parts[0].kind), status)


def _same_kind(parts: list[Numbers]) -> list[Numbers]:
    kinds = {part.kind for part in parts}
    if len(kinds) == 1:
        return parts
    return [part if part.kind == "float64" else Numbers(to_float64(part), "float64", part.valid) for part in parts]


def to_float64(part: Numbers) -> NDArray[np.float64]:
    """The numbers as float64; none of the kinds loses anything."""
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return np.array(as_floats(part.values, part.kind), np.float64)


def _regular(array: Any, num_classes: int, dtype: str | None) -> Decoded | None:
    """The common case, without looking at each row: no nulls, and all rows of one length by type or offsets."""
    kind, rows, test = array.type, len(array), pa.types
    if array.null_count or rows == 0:
        return None
    if test.is_fixed_size_binary(kind) and kind.byte_width == num_classes * item_bytes(dtype, 0):
        part = raw_numbers(array.buffers()[1], dtype, array.offset * kind.byte_width, rows * num_classes)
    elif test.is_fixed_size_list(kind) and kind.list_size == num_classes:
        part = numbers(plain(array.values.slice(array.offset * num_classes, rows * num_classes)), dtype)
    elif test.is_list(kind) or test.is_large_list(kind):
        offsets = np.asarray(array.offsets)
        first = int(offsets[0])
        if int(offsets[-1]) - first != rows * num_classes or (np.diff(offsets) != num_classes).any():
            return None
        part = numbers(plain(array.values.slice(first, rows * num_classes)), dtype)
    else:
        return None
    if part.valid is not None:
        return None
    return Decoded(Matrix(frozen(part.values.reshape(rows, num_classes)), part.kind), None)


def _constant_stride(runs: Runs, num_classes: int) -> NDArray[Any] | None:
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
    return frozen(runs.flat.values[first : first + rows * num_classes].reshape(rows, num_classes))


def _gather(runs: Runs, num_classes: int, counts: NDArray[np.bool_] | None) -> Decoded:
    """Rows of the right length into a new array; the others get a status (and zeros), if any of them ``counts``."""
    rows = len(runs.starts)
    status = np.where(runs.lengths == num_classes, 0, Status.RAGGED_ROW).astype(np.uint8)
    if runs.valid is not None:
        status[~runs.valid] = Status.NULL_PREDICTION
        if counts is not None:
            status[~runs.valid & ~counts.any(axis=1)] = 0
    out = np.zeros((rows, num_classes), runs.flat.values.dtype)
    good = np.flatnonzero((status == 0) & (runs.lengths == num_classes))
    step = max(1, GATHER_ELEMENTS // num_classes)
    for lo in range(0, len(good), step):
        part = good[lo : lo + step]
        where = runs.starts[part][:, None] + np.arange(num_classes)
        out[part] = runs.flat.values[where]
        if runs.flat.valid is not None:
            valid = runs.flat.valid[where]
            status[part[~(valid if counts is None else valid | ~counts[part]).all(axis=1)]] = Status.NULL_PREDICTION
    return Decoded(Matrix(frozen(out), runs.flat.kind), status if status.any() else None)
