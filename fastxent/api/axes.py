"""Arrays of more than two dimensions, as language models and segmentation have them: brought to rows of classes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.sources.arrays.array_files import beside
from fastxent.sources.arrays.npy import open_npy
from fastxent.sources.arrays.source import as_array, plain_array
from fastxent.sources.options import Inputs

__all__ = ["in_shape", "rows_of_axis"]

Shape = tuple[int, ...]


class _Rows:
    """An array whose classes lie along an axis, as a matrix: blocks are moved to rows when they are sliced."""

    def __init__(self, array: Any, axis: int) -> None:
        self._array, self._axis = array, axis
        shape = tuple(array.shape)
        self.classes, self.rest = shape[axis], shape[:axis] + shape[axis + 1 :]
        self.shape = (int(np.prod(self.rest)), self.classes)
        self.ndim, self.dtype = 2, array.dtype
        self._inner = int(np.prod(self.rest[1:]))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        lo, hi, _ = rows.indices(self.shape[0])
        if self._axis == 0:
            return np.ascontiguousarray(np.asarray(self._array).reshape(self.classes, -1)[:, lo:hi].T)
        first = lo // max(1, self._inner)
        block = np.moveaxis(np.asarray(self._array[first : -(-hi // max(1, self._inner))]), self._axis, -1)
        start = first * self._inner
        return block.reshape(-1, self.classes)[lo - start : hi - start]


def rows_of_axis(inputs: Inputs, extra: Any) -> tuple[Inputs, Any, Shape]:
    """Inputs and columns that ride along as rows, and the shape of what has one value a row.

    Raises:
        UsageError: there is no such axis, or shapes do not fit together.
    """
    form = next((name for name, value in inputs.forms.items() if value is not None), None)
    if form is None or inputs.data is not None or inputs.ready_made or inputs.task == "binary":
        raise UsageError("axis says along which axis of an array the classes (or labels) lie, and here are none")
    if inputs.by_name:
        inputs, extra = _mapped(inputs, form, extra)
    scores, kind = as_array(getattr(inputs, form), form)
    dimensions = len(scores.shape)
    if isinstance(inputs.axis, bool) or not isinstance(inputs.axis, int) or not -dimensions <= inputs.axis < dimensions:
        raise UsageError(f"axis: {form} have {dimensions} dimensions, there is no axis {inputs.axis!r} among them")
    axis = inputs.axis % dimensions
    rows = _Rows(scores, axis)
    full = tuple(scores.shape)
    target = plain_array(inputs.target, "target") if inputs.target is not None else None
    if target is not None:
        if tuple(target.shape) not in (rows.rest, full):
            raise UsageError(f"target must have shape {rows.rest} or {full} beside {form}, got {tuple(target.shape)}")
        target = _Rows(target, axis) if tuple(target.shape) == full else _raveled(target)
    mask = inputs.mask if inputs.mask is None else plain_array(inputs.mask, "mask")
    if mask is not None and tuple(mask.shape) != full:
        raise UsageError(f"mask must have shape {full} beside {form}, got {tuple(mask.shape)}")
    predictions: dict[str, Any] = {form: rows}
    inputs = replace(
        inputs, axis=None, target=target, mask=None if mask is None else _Rows(mask, axis), dtype=kind or inputs.dtype,
        weight=None if inputs.weight is None else _of_rows(inputs.weight, "weight", rows.rest), **predictions,
    )  # fmt: skip
    if isinstance(extra, Mapping):
        extra = {name: _of_rows(values, name, rows.rest) for name, values in extra.items()}
    return inputs, extra, rows.rest


def _mapped(inputs: Inputs, form: str, extra: Iterable[str]) -> tuple[Inputs, dict[str, Any]]:
    """The arrays that ``.npy`` files hold."""
    path = os.path.expanduser(os.fspath(getattr(inputs, form)))
    named = {name: getattr(inputs, name) for name in ("target", "weight", "mask")}
    found: dict[str, Any] = {
        name: open_npy(beside(path, os.fspath(other))) for name, other in named.items() if other is not None
    }
    return replace(inputs, **found | {form: open_npy(path)}), {name: open_npy(beside(path, name)) for name in extra}


def in_shape(values: NDArray[Any], rest: Shape, axis: int) -> NDArray[Any]:
    """Losses of rows in the shape that they had, or terms of rows with the classes along their axis."""
    if values.ndim == 1:
        return values.reshape(rest)
    return np.moveaxis(values.reshape(*rest, values.shape[1]), -1, axis)


def _of_rows(values: Any, name: str, rest: Shape) -> Any:
    """What rides along, one value a row: as it is, of the rows' shape, or one of each entry of the first axis."""
    array = plain_array(values, name)
    shape = tuple(array.shape)
    if shape == rest:
        return _raveled(array)
    if shape == rest[:1]:
        return np.repeat(np.asarray(array[:]), int(np.prod(rest[1:])))
    raise UsageError(f"{name} must have shape {rest} or {rest[:1]}, got {shape}")


def _raveled(array: Any) -> NDArray[Any]:
    return np.asarray(array[:]).reshape(-1)
