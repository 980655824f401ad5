"""Sources: anything that holds predictions -> splits -> batches. Knows layouts, no losses.

`open_source` opens files by path, `open_arrays` takes arrays, tensors and frames. Nothing heavy is imported
before it is needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastxent.base.errors import UsageError
from fastxent.data.spec import Task
from fastxent.data.stored_labels import StoredLabels
from fastxent.sources.flattened import FlattenedSource
from fastxent.sources.object_kinds import is_array_file, is_arrow, is_paths, is_spark, is_table, library
from fastxent.sources.skipped import LeftOut, OnError
from fastxent.sources.source import Selection, Source, Split

if TYPE_CHECKING:
    from fastxent.sources.dataset.description import Description
    from fastxent.sources.filter import Filter

__all__ = [
    "LeftOut", "OnError", "Selection", "Source", "Split", "describe", "open_arrays", "open_source",
]  # fmt: skip


def open_arrays(
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
    """A source over arrays in memory: NumPy, memory maps, torch, JAX, or objects that slice like arrays.

    Args:
        predictions: (n, C) scores of any float or integer type; (n,) for a binary task. Also an Arrow column of
            lists or packed bytes, or a frame with a column a class (pyarrow, polars, pandas).
        target: (n,) class indices, binary targets or labels (with ``class_names``), or dense (n, C) targets.
        weight: (n,) sample weights.
        mask: (n, C) bool, which elements of a multilabel task count.
        task: what one row is.
        class_names: the classes in the order of the scores.
        dtype: what 16-bit patterns are ("float16", "bfloat16"), where the array does not say it.
        extra: arrays of n that ride along, by name (groups, clusters).
        path: name of the source, for messages.
        labels: which class each value of the target means, where these are no class indices.
        form: what the predictions are; of losses that are ready-made the target is None.

    Raises:
        UsageError: shapes or types do not fit together.
    """
    if is_arrow(predictions) or is_arrow(target):
        from fastxent.sources.arrow.columns import open_columns

        source = open_columns(
            predictions, target, weight=weight, mask=mask, task=task, class_names=class_names, dtype=dtype, extra=extra,
            path=path, labels=labels, form=form,
        )  # fmt: skip
        return FlattenedSource(source) if source.flattens else source
    from fastxent.sources.arrays.source import ArraySource

    return ArraySource(
        predictions, target, weight=weight, mask=mask, task=task, class_names=class_names, dtype=dtype, extra=extra,
        path=path, labels=labels,
    )  # fmt: skip


def open_source(
    data: Any,
    selection: Selection,
    *,
    memory: int | None = None,
    verify_checksums: bool = False,
    filter: Any = None,
    on_error: OnError = "raise",
) -> Source:
    """A source over files or tables.

    Args:
        data: Parquet or Arrow files by path, list of paths, glob, directory or URI, or as a `Dataset`; a ``.npy`` file
            of predictions (``selection.target`` is then the path of the targets); a ``.npz`` or ``.safetensors``
            file (names of arrays stand for columns); or a table, frame or stream with the Arrow C interface
            (pyarrow, polars, pandas, DuckDB), or a DataFrame of Spark.
        selection: which columns are read, and as what.
        memory: bytes that one reader (thread) may hold, about. None: 256 MiB.
        verify_checksums: check page checksums of Parquet files that have them.
        filter: which rows are read, such as ``"country == 'DE' and year >= 2024"`` (the grammar is that of
            `fastxent.sources.filter_text`) or a pyarrow expression; hive partitions count as columns.
        on_error: "skip" leaves out files, row groups and record batches that cannot be read, whole; what was left out
            is in `Source.left_out`.

    Raises:
        SourceError: a file or column is missing or cannot be understood.
        UsageError: ``data`` is nothing that can be opened.
    """
    if on_error not in ("raise", "skip"):
        raise UsageError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
    if is_array_file(data):
        from fastxent.sources.arrays.array_files import ArrayFileSource

        path = os.fspath(data)
        if filter is not None:
            raise UsageError("filter needs columns; files of arrays have none: slice them, or write Parquet")
        if "://" in path:
            raise UsageError(f"{path}: files of arrays are mapped, so they must be local; copy it first")
        return ArrayFileSource(os.path.expanduser(path), selection)
    from fastxent.sources.filter import Filter

    rows = None if filter is None else Filter(filter)
    source = _open_columns(data, selection, rows, memory, verify_checksums, on_error)
    return FlattenedSource(source) if source.flattens else source


def _open_columns(
    data: Any, selection: Selection, rows: Filter | None, memory: int | None, verify_checksums: bool, on_error: OnError
) -> Source:
    """A source over files or tables of columns."""
    from fastxent.sources.dataset.dataset import Dataset, find_dataset

    if is_spark(data):
        from fastxent.sources.arrow.spark import open_spark

        return open_spark(data, selection, rows)
    if is_table(data):
        from fastxent.sources.arrow.source import open_table

        return open_table(data, selection, filter=rows)
    if not is_paths(data) and not isinstance(data, Dataset):
        raise UsageError(f"data must be a path, a list of paths, or a table, got {type(data).__name__}")
    dataset = find_dataset(data)
    if dataset.format == "arrow":
        from fastxent.sources.arrow.source import open_ipc

        return open_ipc(dataset, selection, rows, on_error, memory)
    if dataset.format == "text":
        from fastxent.sources.text.source import TextSource

        return TextSource(dataset, selection, rows, on_error)
    from fastxent.sources.parquet.source import ParquetSource

    return ParquetSource(
        dataset, selection, memory=memory, verify_checksums=verify_checksums, filter=rows, on_error=on_error
    )


def describe(data: Any) -> Description:
    """What ``data`` holds, from footers alone: columns, rows, candidates for predictions and target, advice.

    Args:
        data: files as for `open_source`, or a table or frame in memory.

    Raises:
        SourceError: a file is missing or damaged.
        UsageError: ``data`` has no columns to describe.
    """
    if is_array_file(data):
        raise UsageError(f"{os.fspath(data)} holds arrays, not columns; name its files in place of columns")
    from fastxent.sources.dataset.dataset import Dataset, find_dataset
    from fastxent.sources.dataset.description import describe_files, describe_schema

    if is_paths(data) or isinstance(data, Dataset):
        return describe_files(find_dataset(data))
    import pyarrow as pa

    rows = next((int(getattr(data, name)) for name in ("num_rows", "height") if hasattr(data, name)), -1)
    if hasattr(data, "__arrow_c_schema__"):
        schema = pa.schema(data)
    elif library(data) == "pandas":
        schema, rows = pa.Schema.from_pandas(data, preserve_index=False), len(data)
    elif hasattr(data, "schema") and isinstance(data.schema, pa.Schema):
        schema = data.schema
    elif hasattr(data, "head") and hasattr(data, "__arrow_c_stream__"):
        schema = pa.table(data.head(0)).schema
    else:
        raise UsageError(f"data must be a path, a list of paths, or a table, got {type(data).__name__}")
    return describe_schema(schema, ("<table>",), "table", rows, 1)
