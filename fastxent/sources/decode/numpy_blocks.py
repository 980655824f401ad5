"""NumPy blocks made fit for the kernels: native byte order, unit stride, known kinds of numbers.

A block that already is fit passes as a view; anything else is copied, block by block, never as a whole.
Everything handed out is read-only, so that kernels are compiled for one kind of array.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastxent.base.errors import UsageError
from fastxent.base.kinds import KINDS, PATTERNS, Kind
from fastxent.base.status import Status
from fastxent.data.batch import Columns, Matrix, Predictions
from fastxent.data.spec import Task
from fastxent.data.stored_labels import StoredLabels

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "as_dense_target", "as_mask", "as_predictions", "as_target", "as_weight", "check_number_dtype",
    "check_target_dtype", "frozen", "is_float16", "kind_of", "lookup_labels", "merge_status", "stored_matrix",
    "whole_numbers",
]  # fmt: skip

#: Above this many classes one view a column costs more than copying the block row by row.
MAX_COLUMN_VIEWS = 4096


def frozen(values: NDArray[Any]) -> NDArray[Any]:
    """A read-only view of ``values``."""
    view = values.view()
    view.flags.writeable = False
    return view


@cache
def kind_of(dtype: np.dtype[Any], named: str | None = None) -> Kind | None:
    """The kind of number in ``dtype``, or None if it has to be converted to float64.

    ``named`` says what 16-bit patterns are ("float16", "bfloat16"), where the dtype does not.
    """
    if named is not None and named not in KINDS:
        raise UsageError(f"dtype must be one of {', '.join(KINDS)}, got {named!r}")
    if dtype.name == "uint16" or dtype.str == "|V2":  # "|V2" is what np.save makes of bfloat16
        if named in PATTERNS:
            return cast(Kind, named)
        if dtype.str == "|V2":
            raise UsageError("predictions are raw 2-byte values; pass dtype='bfloat16' (or 'float16')")
    if dtype.name in KINDS:
        return cast(Kind, dtype.name)
    if dtype.kind not in "iub":
        raise UsageError(f"predictions must be numbers (float16, bfloat16, float32, float64 or integers), got {dtype}")
    return None


def as_predictions(block: NDArray[Any], dtype: str | None = None) -> Predictions:
    """(n, C) or (n,) scores of any numeric dtype and order -> `Matrix` or `Columns`, as views where possible."""
    if block.ndim == 1:
        block = block[:, None]
    kind = kind_of(block.dtype, dtype)
    block = _native(block) if kind else block.astype(np.float64)
    if kind in PATTERNS:
        block = block.view(np.uint16)  # which needs no unit stride, only an equal item size
    kind = kind or "float64"
    rows, width, item = block.shape[0], block.shape[1], block.itemsize
    if block.strides[1] == item or (width == 1 and block.strides[0] > 0):
        if width == 1 and block.strides[1] != item:
            block = np.lib.stride_tricks.as_strided(block, strides=(block.strides[0], item), writeable=False)
        if block.strides[0] >= width * item or rows <= 1:
            return Matrix(frozen(block), kind)
    if 1 < width <= MAX_COLUMN_VIEWS and rows > 1 and block.strides[0] == item:
        return Columns(frozen(block).T, kind)
    return Matrix(frozen(np.ascontiguousarray(block)), kind)


def check_target_dtype(dtype: np.dtype[Any]) -> None:
    """Raise `UsageError` unless targets of ``dtype`` can mean something: numbers, bool or text."""
    if dtype.kind not in "iubfOUST" and dtype.name != "bfloat16":
        raise UsageError(f"target must hold integers, bool, floats or text, got {dtype}")


def check_number_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Raise `UsageError` unless ``dtype`` is of real numbers: NumPy makes numbers of text and dates too."""
    if dtype.kind not in "iubf" and dtype.name != "bfloat16" and dtype != np.dtype(object):
        raise UsageError(f"{name} must hold numbers, got {dtype}")


def as_target(block: NDArray[Any]) -> NDArray[Any]:
    """1-D targets in native byte order and contiguous; 16-bit floats become float32."""
    return frozen(np.ascontiguousarray(_native(_widened(block))))


def as_dense_target(block: NDArray[Any]) -> NDArray[Any]:
    """(n, C) targets in native byte order, unit stride along the classes; 16-bit floats become float32."""
    block = _native(_widened(block))
    unit = block.shape[1] <= 1 or block.strides[1] == block.itemsize
    ahead = block.shape[0] <= 1 or block.strides[0] >= block.shape[1] * block.itemsize
    return frozen(block if unit and ahead and block.shape[1] > 1 else np.ascontiguousarray(block))


def as_weight(block: NDArray[Any]) -> NDArray[np.float64]:
    """Weights as contiguous float64; a view if they already are."""
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return frozen(np.ascontiguousarray(block, dtype=np.float64))


def as_mask(block: NDArray[Any]) -> NDArray[np.bool_]:
    """An element mask as contiguous bool; a view if it already is."""
    if block.dtype != np.bool_ and not ((block == 0) | (block == 1)).all():
        odd = block[(block != 0) & (block != 1)].ravel()[0]
        raise UsageError(f"mask must hold true and false (or 1 and 0), got {odd}; whole labels count or do not")
    return frozen(np.ascontiguousarray(block, dtype=np.bool_))


def whole_numbers(block: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.uint8] | None]:
    """Class indices that were stored as floats -> int64, and `Status.INVALID_TARGET` where they are none."""
    values = as_weight(block)
    bad = ~((np.trunc(values) == values) & (np.abs(values) < 2.0**63))
    labels = np.where(bad, 0.0, values).astype(np.int64)
    return frozen(labels), np.where(bad, np.uint8(Status.INVALID_TARGET), np.uint8(0)) if bad.any() else None


def lookup_labels(block: NDArray[Any], index: dict[str, int]) -> tuple[NDArray[np.int64], NDArray[np.uint8] | None]:
    """Labels that are text -> positions in the class names; None -> NULL_TARGET, others -> UNKNOWN_LABEL."""
    labels = np.zeros(block.shape[0], np.int64)
    status = np.zeros(block.shape[0], np.uint8)
    for row, value in enumerate(block.tolist()):
        if value is None or value != value:  # NaN is pandas' null
            status[row] = Status.NULL_TARGET
            continue
        label = index.get(value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value))
        if label is None:
            status[row] = Status.UNKNOWN_LABEL
        else:
            labels[row] = label
    return labels, status if status.any() else None


def stored_matrix(
    block: NDArray[Any], task: Task, labels: StoredLabels, mask: NDArray[np.bool_] | None = None
) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
    """The targets of several events a row, by the values that stand for no and yes.

    Raises:
        UsageError: the rows are distributions over classes.
    """
    if task != "multilabel":
        raise UsageError("labels: targets are distributions, of which every number is a share and no label")
    targets, status = labels.places(block)
    if status is None:
        return as_dense_target(targets), None
    if labels.ignored is not None:
        targets = np.where(status == Status.IGNORED, labels.ignored, targets)
    wrong = ((status > Status.IGNORED) & (True if mask is None else mask)).any(axis=1)
    return as_dense_target(targets), np.where(wrong, Status.INVALID_TARGET, 0).astype(np.uint8)


def merge_status(*parts: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
    """One status a row out of several: the first cause that is not 0 counts; None if there is none."""
    merged: NDArray[np.uint8] | None = None
    for part in parts:
        if part is not None and part.any():
            merged = part if merged is None else np.where(merged != 0, merged, part)
    return merged


def _native(block: NDArray[Any]) -> NDArray[Any]:
    if not block.dtype.isnative:
        return block.astype(block.dtype.newbyteorder("="))
    return block if block.flags.aligned else block.copy()


def _widened(block: NDArray[Any]) -> NDArray[Any]:
    if not is_float16(block.dtype):
        return block
    with np.errstate(invalid="ignore"):
        return block.astype(np.float32)


@cache
def is_float16(dtype: np.dtype[Any]) -> bool:
    """Whether numbers are floats of either 16-bit kind; remembered, as NumPy takes 10 us to name a dtype."""
    return dtype.name in PATTERNS
