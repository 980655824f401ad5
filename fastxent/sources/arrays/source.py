"""Arrays in memory, or anything that slices like one, as a source.

Whatever is not fit for the kernels as it stands (byte order, strides, integers) is converted block by block
while it is read; an array is never copied as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fastxent.base.errors import UsageError
from fastxent.base.kinds import as_floats
from fastxent.data.batch import Batch
from fastxent.data.plain_column import check_values
from fastxent.data.spec import Task
from fastxent.data.stored_labels import StoredLabels
from fastxent.sources.arrays.npy import forget
from fastxent.sources.class_order import check_integer_labels, counts_from_one, in_order, order_note
from fastxent.sources.decode import numpy_blocks
from fastxent.sources.object_kinds import is_arrow, library
from fastxent.sources.source import ONE_SCORE, Source, Split, check_mask

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ArraySource", "as_array", "plain_array"]

#: Splits are this large, or smaller where there would be fewer than SPLITS. A split costs about 0.1 ms beside its rows,
#: under the interpreter's lock: an eighth of the time at 4 MiB, AVX2, two threads; by 1 MiB, 80 MB of rows of 100
#: classes took 23 to 26 ms instead of 14 to 18.
SPLIT_BYTES = 16 << 20
LEAST_SPLIT_BYTES = 4 << 20
SPLITS = 64


def as_array(value: Any, name: str) -> tuple[Any, str | None]:
    """``value`` as a NumPy array, without a copy where that is possible, and what its 16-bit patterns are.

    Understood: NumPy, ``__array__``, ``__dlpack__`` (torch, JAX, ...) and nested sequences. Objects with
    ``shape``, ``dtype`` and ``obj[a:b]`` but no buffer of their own (zarr, h5py) are handed back as they are.
    """
    if isinstance(value, np.ma.MaskedArray):
        return _unmasked(value, name), None
    if isinstance(value, np.ndarray):
        return value, None
    if library(value) == "torch":
        return _from_torch(value, name)
    if library(value) in ("zarr", "h5py"):
        return value, None
    try:
        if not hasattr(value, "__array__"):
            if hasattr(value, "__dlpack__"):
                return np.from_dlpack(value), None
            if all(hasattr(value, attribute) for attribute in ("shape", "dtype", "__getitem__")):
                return value, None
        return np.asarray(value), None
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        raise UsageError(f"{name} cannot be read as an array: {error}") from error


def _unmasked(values: np.ma.MaskedArray[Any, Any], name: str) -> NDArray[Any]:
    """The data of a masked array that masks nothing: what is below a mask must not be taken for a value."""
    hidden = int(np.count_nonzero(np.ma.getmaskarray(values)))
    if hidden:
        raise UsageError(
            f"{name} is a masked array with {hidden:,} masked elements, which no row can be scored by; fill them "
            "(a target by ignore_index), or leave their rows out"
        )
    return np.ma.getdata(values)


def _from_torch(tensor: Any, name: str) -> tuple[NDArray[Any], str | None]:
    if tensor.device.type != "cpu":
        raise UsageError(f"{name} is on device {tensor.device}; move it to memory first: tensor.cpu()")
    tensor = tensor.detach()
    if str(tensor.dtype) == "torch.bfloat16":
        import torch  # it is there: the tensor is one of its

        return tensor.view(torch.int16).numpy().view(np.uint16), "bfloat16"
    try:
        return tensor.numpy(), None
    except (TypeError, RuntimeError) as error:  # sparse layouts, float8, lazily negated tensors
        kind = f"{str(tensor.dtype).removeprefix('torch.')}, layout {str(tensor.layout).removeprefix('torch.')}"
        raise UsageError(f"{name} is a tensor ({kind}) that NumPy cannot look at: {error}") from error


def _riding_along(values: Any, name: str) -> Any:
    """A column that rides along: an Arrow one as it is, with its type and its nulls, anything else as an array."""
    if not is_arrow(values):
        return plain_array(values, name)
    import pyarrow as pa

    if isinstance(values, pa.ChunkedArray):
        return values
    if hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values)
    return pa.chunked_array([pa.array(values, from_pandas=True)])


def _arrow_rows(values: Any, name: str, lo: int, hi: int) -> Any:
    import pyarrow as pa

    try:
        if isinstance(values, pa.ChunkedArray):
            column = values.slice(lo, hi - lo).combine_chunks()
        else:
            column = pa.array(np.asarray(values[lo:hi]))
        check_values(column, name)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, UnicodeError) as error:
        from fastxent.sources.read_errors import first_line

        raise UsageError(f"{name}: the array cannot be read as an Arrow column: {first_line(error)}") from error
    return column


def plain_array(value: Any, name: str) -> Any:
    """`as_array` of what is no prediction: torch's bfloat16, which NumPy cannot name, is widened where it is read."""
    array, patterns = as_array(value, name)
    return array if patterns is None else _Widened(array)


class _Widened:
    """bfloat16 patterns as the float32 numbers they are, converted where they are sliced."""

    dtype = np.dtype(np.float32)

    def __init__(self, patterns: NDArray[np.uint16]) -> None:
        self._patterns = patterns
        self.shape = patterns.shape
        self.ndim = patterns.ndim

    def __len__(self) -> int:
        return len(self._patterns)

    def __getitem__(self, rows: Any) -> NDArray[np.float32]:
        values: NDArray[np.float32] = as_floats(self._patterns[rows], "bfloat16")
        return values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)


class ArraySource(Source):
    """Predictions and targets that are arrays: NumPy, memory maps, tensors, or sliceable objects.

    The arguments are those of `fastxent.sources.open.open_arrays`. Splits are ranges of rows of about ``split_bytes``
    of predictions each; by default what the size of all asks for.
    """

    def __init__(
        self,
        predictions: Any,
        target: Any,
        *,
        weight: Any = None,
        mask: Any = None,
        task: Task = "multiclass",
        class_names: Sequence[str] | None = None,
        dtype: str | None = None,
        extra: Mapping[str, Any] | None = None,
        path: str = "<array>",
        labels: StoredLabels | None = None,
        split_bytes: int | None = None,
    ) -> None:
        own = None
        if library(predictions) == "pandas" and hasattr(predictions, "columns"):
            predictions, own = self._ordered(predictions, known=class_names is not None or labels is not None)
        self._predictions, kind = as_array(predictions, "predictions")
        self._dtype = kind or dtype
        absent = np.broadcast_to(np.uint8(0), len(self._predictions)) if target is None else target
        self._target = plain_array(absent, "target")
        self._weight = None if weight is None else plain_array(weight, "weight")
        self._mask = None if mask is None else plain_array(mask, "mask")
        self._extra = {name: _riding_along(values, name) for name, values in (extra or {}).items()}
        self._task: Task = task
        check_mask(mask, task)
        self._labels = labels
        self._of_columns = class_names is None
        self.class_names = own if class_names is None else tuple(class_names)
        self.paths = (path,)
        self._path = path
        self.num_rows, self.num_classes = self._check_predictions(given_target=target is not None)
        self._check_rest()
        self.dense_target = task != "binary" and len(self._target.shape) == 2
        self._splits = self._plan(split_bytes)

    def _ordered(self, frame: Any, *, known: bool) -> tuple[Any, tuple[str, ...] | None]:
        """A frame with its columns in the order of the classes, and their names where they have some."""
        names = list(map(str, frame.columns))
        order = in_order(names, "the frame has", known=known) if len(names) > 1 else [0]
        if len(names) > 1 and (note := order_note("the frame", names, order)):
            self.notes = (note,)
        if order != list(range(len(names))):
            frame = frame.iloc[:, order]
        ordered = self.score_names = tuple(names[place] for place in order)
        plain = len(names) == 1 or ordered == tuple(map(str, range(len(names))))
        return frame, None if plain else ordered

    def read(self, split: Split) -> Iterator[Batch]:
        """The rows of ``split`` as one batch."""
        lo, hi = split.lo, split.hi
        target, status = self._read_target(lo, hi)
        extra = None
        if self._extra:
            extra = {name: _arrow_rows(values, name, lo, hi) for name, values in self._extra.items()}
        yield Batch(
            predictions=numpy_blocks.as_predictions(np.asarray(self._predictions[lo:hi]), self._dtype),
            target=target,
            weight=None if self._weight is None else numpy_blocks.as_weight(np.asarray(self._weight[lo:hi])),
            status=status,
            mask=None if self._mask is None else numpy_blocks.as_mask(np.asarray(self._mask[lo:hi])),
            extra=extra,
            path=self._path,
            first_row=split.first_row,
            first_id=split.first_id,
        )
        for rows in (self._predictions[lo:hi], self._target[lo:hi]):
            if isinstance(rows, np.ndarray):
                forget(rows)

    def _plan(self, split_bytes: int | None) -> list[Split]:
        width = self.num_classes * np.dtype(self._predictions.dtype).itemsize
        if split_bytes is None:
            split_bytes = min(max(self.num_rows * width // SPLITS, LEAST_SPLIT_BYTES), SPLIT_BYTES)
        step = max(1, split_bytes // max(1, width))
        return [
            Split(i, self._path, lo, hi := min(lo + step, self.num_rows), lo, lo, hi - lo, (hi - lo) * width)
            for i, lo in enumerate(range(0, self.num_rows, step))
        ]

    def _check_predictions(self, *, given_target: bool) -> tuple[int, int]:
        shape = tuple(self._predictions.shape)
        numpy_blocks.kind_of(np.dtype(self._predictions.dtype), self._dtype)
        if self._task == "binary":
            if len(shape) == 1 or (len(shape) == 2 and shape[1] == 1):
                return int(shape[0]), 1
            if not given_target:
                raise UsageError(f"losses must have shape (n,), one a row, got {shape}")
            hint = (
                "; two columns are two classes (task='multiclass'), or pass the second column"
                if shape[1:] == (2,)
                else ""
            )
            raise UsageError(f"predictions of a binary task must have shape (n,), got {shape}{hint}")
        if len(shape) != 2:
            hint = f"; {ONE_SCORE}" if len(shape) == 1 else "; say by axis= where the classes are" if shape[2:] else ""
            raise UsageError(f"predictions must have shape (n, classes), got {shape}{hint}")
        if shape[1] == 0:
            raise UsageError(f"predictions have no classes: their shape is {shape}")
        return int(shape[0]), int(shape[1])

    def _check_rest(self) -> None:
        rows, full = (self.num_rows,), (self.num_rows, self.num_classes)
        shape = tuple(self._target.shape)
        if self._task == "binary" and shape == (self.num_rows, 1):
            shape = rows
        shapes = {"multiclass": (rows, full), "binary": (rows,), "multilabel": (full,)}[self._task]
        if shape not in shapes:
            raise UsageError(f"target must have shape {' or '.join(map(str, shapes))} beside predictions, got {shape}")
        for name, array, expected in [("weight", self._weight, rows), ("mask", self._mask, full)]:
            if array is not None and tuple(array.shape) != expected:
                raise UsageError(f"{name} must have shape {expected}, got {tuple(array.shape)}")
        for name, array in self._extra.items():
            if len(array) != self.num_rows:
                raise UsageError(f"{name} must have {self.num_rows} rows like the predictions, got {len(array)}")
        names = self.class_names
        if names is not None and len(names) != max(self.num_classes, 2 if self._task == "binary" else 1):
            raise UsageError(f"class_names has {len(names)} names, the predictions have {self.num_classes} classes")
        if self._labels is not None:
            self._labels.check_count(self.num_classes, self._task)
        text = _is_text(np.dtype(self._target.dtype))
        if self._labels is None and not text and len(shape) == 1 and self._task != "multilabel":
            check_integer_labels(names, of_columns=self._of_columns)
            self.counts_from_one = bool(self.score_names) and counts_from_one(self.score_names)
        if text and names is None and self._labels is None:
            what = "Python objects" if np.dtype(self._target.dtype).kind == "O" else "labels that are text"
            raise UsageError(
                f"target holds {what}; pass class_names (or labels) in the order of the scores, or class indices as "
                "integers"
            )
        numpy_blocks.check_target_dtype(np.dtype(self._target.dtype))
        for name, array in [("weight", self._weight), ("mask", self._mask)]:
            if array is not None:
                numpy_blocks.check_number_dtype(np.dtype(array.dtype), name)

    def _read_target(self, lo: int, hi: int) -> tuple[NDArray[Any], NDArray[np.uint8] | None]:
        block = np.asarray(self._target[lo:hi])
        if self._task == "binary" and block.ndim == 2:
            block = block[:, 0]
        if _is_text(block.dtype):
            names = self._labels.names if self._labels is not None else self.class_names or ()
            return numpy_blocks.lookup_labels(block, {name: i for i, name in enumerate(names)})
        if self._labels is not None:
            if block.ndim == 2:
                mask = None if self._mask is None else numpy_blocks.as_mask(np.asarray(self._mask[lo:hi]))
                return numpy_blocks.stored_matrix(block, self._task, self._labels, mask)
            targets, status = self._labels.places(block)
            return numpy_blocks.frozen(targets), status
        if block.ndim == 2:
            return numpy_blocks.as_dense_target(block), None
        if self._task == "multiclass" and (block.dtype.kind == "f" or numpy_blocks.is_float16(block.dtype)):
            return numpy_blocks.whole_numbers(block)
        return numpy_blocks.as_target(block), None


def _is_text(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "OUST"
