"""Arrow columns -> targets, weights and masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fastxent.base.errors import SourceError, UsageError
from fastxent.base.kinds import as_floats
from fastxent.base.status import Status
from fastxent.data.batch import Matrix
from fastxent.data.spec import Task
from fastxent.data.stored_labels import StoredLabels
from fastxent.sources.decode import numpy_blocks
from fastxent.sources.decode.layout import decode_matrix
from fastxent.sources.decode.primitive import is_number, numbers, plain, validity
from fastxent.sources.decode.runs import is_binary, is_list

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["decode_mask", "decode_target", "decode_weight", "is_text"]

_Decoded = tuple["NDArray[Any]", "NDArray[np.uint8] | None"]


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is text, in any of its forms, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def decode_target(
    array: Any,
    task: Task,
    num_classes: int,
    class_names: tuple[str, ...] | None,
    labels: StoredLabels | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> _Decoded:
    """A target column -> targets as `Batch` wants them, and the status of rows that have none.

    Labels where the ``mask`` is false may be null.
    """
    if pa.types.is_run_end_encoded(array.type):
        array = plain(array)
    if is_text(array.type) or is_binary(array.type):
        return _named(array, class_names if labels is None else labels.names)
    array = plain(array)
    if is_list(array.type):
        return _dense(array, num_classes, task, labels, mask)
    if not is_number(array.type):
        raise SourceError(f"holds {array.type}; targets are integers, bool, floats, text or lists of numbers")
    if labels is not None:
        return _stored(array, labels)
    return _flat(array, task)


def decode_weight(array: Any) -> _Decoded:
    """A weight column -> float64; a null becomes NaN and `Status.INVALID_WEIGHT`. Partitions are text such as 0.5."""
    if is_text(array.type):
        array = _numbers_of_text(array)
    part = numbers(plain(array))
    values = numpy_blocks.as_weight(as_floats(part.values, part.kind))
    if part.valid is None:
        return values, None
    status = np.where(part.valid, 0, Status.INVALID_WEIGHT).astype(np.uint8)
    return numpy_blocks.as_weight(np.where(part.valid, values, np.nan)), status


def _numbers_of_text(array: Any) -> Any:
    try:
        return array.cast(pa.float64())
    except pa.ArrowInvalid:
        raise SourceError(f"holds text ({array[0].as_py()!r}, ...); weights are numbers") from None


def decode_mask(array: Any, num_classes: int) -> _Decoded:
    """A column of lists of bool -> an (n, C) mask, and the status of rows whose mask is null or ragged."""
    array = plain(array)
    if not is_list(array.type):
        raise SourceError(f"holds {array.type}; a mask is a list of bool, one for each label")
    decoded = decode_matrix(array, num_classes)
    assert isinstance(decoded.predictions, Matrix)
    values = as_floats(decoded.predictions.values, decoded.predictions.kind)
    if decoded.status is not None:
        values = np.where(decoded.status[:, None] != 0, 0, values)
    try:
        return numpy_blocks.as_mask(values), decoded.status
    except UsageError as error:
        raise SourceError(str(error)) from None


def _flat(array: Any, task: Task) -> _Decoded:
    valid = validity(array)
    status = None if valid is None else np.where(valid, 0, Status.NULL_TARGET).astype(np.uint8)
    kind = array.type
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        if pa.types.is_boolean(kind):
            array = array.cast(pa.uint8())
        carrier = np.dtype(array.type.to_pandas_dtype())
        data = array.buffers()[1]
        if data is None or len(array) == 0:
            return np.zeros(len(array), carrier), status
        values = np.frombuffer(data, carrier, len(array), array.offset * carrier.itemsize)
        return (values.view(np.bool_) if pa.types.is_boolean(kind) else values), status
    part = numbers(array)
    floats = as_floats(part.values, part.kind)
    if task != "multiclass":
        return numpy_blocks.as_target(floats), status
    if valid is not None:
        floats = np.where(valid, floats, 0)
    labels, doubtful = numpy_blocks.whole_numbers(floats)
    return labels, numpy_blocks.merge_status(status, doubtful)


def _stored(array: Any, labels: StoredLabels) -> _Decoded:
    """Numbers that stand for classes."""
    values, status = _flat(array, "binary")
    targets, unknown = labels.places(values)
    return numpy_blocks.frozen(targets), numpy_blocks.merge_status(status, unknown)


def _dense(
    array: Any, num_classes: int, task: Task, labels: StoredLabels | None, mask: NDArray[np.bool_] | None
) -> _Decoded:
    decoded = decode_matrix(array, num_classes, counts=mask)
    assert isinstance(decoded.predictions, Matrix)
    values = as_floats(decoded.predictions.values, decoded.predictions.kind)
    status = _as_target_status(decoded.status)
    if labels is None:
        return numpy_blocks.as_dense_target(values), status
    targets, unknown = numpy_blocks.stored_matrix(values, task, labels, mask)
    return targets, numpy_blocks.merge_status(status, unknown)


def _as_target_status(status: NDArray[np.uint8] | None) -> NDArray[np.uint8] | None:
    if status is None:
        return None
    renamed = np.array(status)
    renamed[status == Status.NULL_PREDICTION] = Status.NULL_TARGET
    renamed[status == Status.RAGGED_ROW] = Status.INVALID_TARGET
    return renamed


def _named(array: Any, class_names: tuple[str, ...] | None) -> _Decoded:
    """Text is looked up once for each distinct label, not for each row."""
    if class_names is None:
        raise UsageError("the target holds labels that are text; pass class_names in the order of the scores")
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if not pa.types.is_dictionary(array.type):
        import pyarrow.compute as pc

        array = pc.dictionary_encode(array.cast(pa.large_binary()))
    index = {name: i for i, name in enumerate(class_names)}
    words = [*array.dictionary.cast(pa.large_binary()).to_pylist(), None]  # bytes: not all that is stored is UTF-8
    known = np.array([-2 if word is None else index.get(word.decode("utf-8", "replace"), -1) for word in words])
    codes = array.indices.cast(pa.int64())
    labels = known[codes.fill_null(len(known) - 1).to_numpy(zero_copy_only=False)]
    status = np.where(labels >= 0, 0, np.where(labels == -1, Status.UNKNOWN_LABEL, Status.NULL_TARGET)).astype(np.uint8)
    return (labels, None) if not status.any() else (np.maximum(labels, 0), status)
