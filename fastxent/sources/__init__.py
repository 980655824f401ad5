"""Sources: anything that holds predictions -> splits -> batches. Knows layouts, no losses.

`open_source` opens files by path, `open_arrays` takes arrays, tensors and frames. Nothing heavy is imported
before it is needed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from fastxent.errors import UsageError
from fastxent.sources.source import Selection, Source, Split, Task

__all__ = ["Selection", "Source", "Split", "Task", "open_arrays", "open_source"]


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
) -> Source:
    """A source over arrays in memory: NumPy, memory maps, torch, JAX, or objects that slice like arrays.

    Args:
        predictions: (n, C) scores of any float or integer type; (n,) for a binary task.
        target: (n,) class indices, binary targets or labels (with ``class_names``), or dense (n, C) targets.
        weight: (n,) sample weights.
        mask: (n, C) bool, which elements of a multilabel task count.
        task: what one row is.
        class_names: the classes in the order of the scores.
        dtype: what 16-bit patterns are ("float16", "bfloat16"), where the array does not say it.
        extra: arrays of n that ride along, by name (groups, clusters).
        path: name of the source, for messages.

    Raises:
        UsageError: shapes or types do not fit together.
    """
    from fastxent.sources.arrays import ArraySource

    return ArraySource(
        predictions, target, weight=weight, mask=mask, task=task, class_names=class_names, dtype=dtype, extra=extra,
        path=path,
    )  # fmt: skip


def open_source(
    data: Any, selection: Selection, *, memory: int | None = None, verify_checksums: bool = False
) -> Source:
    """A source over tables: Parquet files by path, list of paths, glob, directory or URI; ``.npy`` pairs.

    Args:
        data: where the rows are. For ``.npy`` predictions, ``selection.target`` is the path of the targets.
        selection: which columns are read, and as what.
        memory: bytes that one reader (thread) may hold, about. None: 128 MiB.
        verify_checksums: check page checksums of Parquet files that have them.

    Raises:
        SourceError: a file or column is missing or cannot be understood.
        UsageError: ``data`` is nothing that can be opened.
    """
    if isinstance(data, (str, os.PathLike)) and os.fspath(data).endswith(".npy"):
        return _open_npy(os.fspath(data), selection)
    if isinstance(data, (str, os.PathLike)) or _is_paths(data):
        return _open_files(data, selection, memory, verify_checksums)
    if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
        from fastxent.sources.arrow import open_table

        return open_table(data, selection)
    raise UsageError(f"data must be a path, a list of paths, or a table, got {type(data).__name__}")


def _open_files(data: Any, selection: Selection, memory: int | None, verify_checksums: bool) -> Source:
    from fastxent.sources.files import format_of, list_files

    files = list_files(data)
    formats = {format_of(file) for file in files}
    if len(formats) > 1:
        raise UsageError(f"the files are of several formats ({', '.join(sorted(formats))}); name those of one")
    if formats == {"arrow"}:
        from fastxent.sources.arrow import open_ipc

        return open_ipc(files, selection)
    from fastxent.sources.parquet import ParquetSource

    return ParquetSource(files, selection, memory=memory, verify_checksums=verify_checksums)


def _is_paths(data: Any) -> bool:
    return isinstance(data, (list, tuple)) and bool(data) and all(isinstance(p, (str, os.PathLike)) for p in data)


def _open_npy(path: str, selection: Selection) -> Source:
    from fastxent.sources.npy import open_npy

    def column(name: str | None) -> Any:
        return None if name is None else open_npy(name)

    return open_arrays(
        open_npy(path), column(selection.target), weight=column(selection.weight), mask=column(selection.mask),
        task=selection.task, class_names=selection.class_names, dtype=selection.dtype, path=path,
        extra={name: open_npy(name) for name in selection.extra},
    )  # fmt: skip
