"""Arrow columns beside one another as a source: pyarrow arrays, polars series, frames with a column a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fastxent.base.errors import UsageError
from fastxent.data.spec import Task
from fastxent.data.stored_labels import StoredLabels
from fastxent.sources.arrays.source import plain_array
from fastxent.sources.arrow.source import open_table
from fastxent.sources.class_order import in_order, order_note
from fastxent.sources.dataset.reading import FRAME
from fastxent.sources.object_kinds import is_arrow, library
from fastxent.sources.source import Selection, Source

__all__ = ["open_columns"]


def open_columns(
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
    form: str = "logits",
) -> Source:
    """A source over one column of scores (or a frame, a column a class) and the columns that belong to it."""
    scores = _frame(predictions)
    values = {"<target>": target, "<weight>": weight, "<mask>": mask, **(extra or {})}
    beside = {name: _column(value, name) for name, value in values.items() if value is not None}
    for name, column in beside.items():
        if len(column) != len(scores):
            raise UsageError(f"{name.strip('<>')} has {len(column)} rows, the predictions have {len(scores)}")
    order = in_order(scores.column_names, "the frame has", known=class_names is not None or labels is not None)
    note = order_note("the frame", scores.column_names, order) if len(order) > 1 else None
    scores = scores.select(order)
    names = tuple(f"{FRAME}{name}".strip() for name in scores.column_names)
    table = pa.table(dict(zip(names, scores.columns, strict=True)) | beside)
    selection = Selection(
        names, None if target is None else "<target>", task, "<weight>" if weight is not None else None,
        "<mask>" if mask is not None else None, tuple(extra or ()),
        None if class_names is None else tuple(class_names), dtype, labels=labels, form=form,
    )  # fmt: skip
    source = open_table(table, selection, path)
    source.notes += (note,) if note else ()
    return source


def _frame(predictions: Any) -> Any:
    """The scores as a table: of one column without a name, or of the columns of a frame."""
    if not is_arrow(predictions):
        return pa.table({"": _column(predictions, "predictions")})
    column = _column(predictions, "predictions")
    if pa.types.is_struct(column.type) and hasattr(predictions, "columns"):
        return pa.Table.from_batches([pa.RecordBatch.from_struct_array(chunk) for chunk in column.chunks])
    return pa.table({"": column})


def _column(value: Any, name: str) -> Any:
    try:
        if library(value) == "pandas" and is_arrow(value):
            array = pa.array(value, from_pandas=True)
            return array if isinstance(array, pa.ChunkedArray) else pa.chunked_array([array])
        if is_arrow(value):
            return pa.chunked_array(value if hasattr(value, "__arrow_c_stream__") else [pa.array(value)])
        array = plain_array(value, name)
        if array.ndim == 2:
            flat = pa.array(np.ascontiguousarray(array).reshape(-1))
            return pa.chunked_array([pa.FixedSizeListArray.from_arrays(flat, array.shape[1])])
        return pa.chunked_array([pa.array(np.asarray(array))])
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UsageError(f"{name} cannot be read as an Arrow column: {error}") from error
