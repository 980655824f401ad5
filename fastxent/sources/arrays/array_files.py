"""Files of arrays as sources: ``.npy`` side by side, or ``.npz`` and ``.safetensors`` with all arrays in one."""

from __future__ import annotations

import os
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from fastxent.base.errors import SourceError, UsageError
from fastxent.sources.arrays.npy import open_npy, open_npz
from fastxent.sources.arrays.safetensors import open_safetensors
from fastxent.sources.arrays.source import ArraySource
from fastxent.sources.source import Selection, Source

__all__ = ["open_array_file"]


def open_array_file(path: str, selection: Selection) -> Source:
    """A source over the arrays in ``path``.

    For ``.npy`` the file holds the predictions, and ``selection.target``, ``weight``, ``mask`` and ``extra`` are
    paths of further ``.npy`` files (from the working directory, or else from beside the predictions). For ``.npz``
    and ``.safetensors`` all of them, the one name in ``selection.predictions`` too, name arrays in the file.
    """
    if path.endswith(".npy"):
        return _source(path, selection, open_npy(path), None, lambda name: open_npy(_beside(path, name)))
    if len(selection.predictions) != 1:
        raise UsageError(f"predictions must name one array in {path}, got {', '.join(selection.predictions) or 'none'}")
    name = selection.predictions[0]
    if path.endswith(".npz"):
        return _source(path, selection, open_npz(path, name), None, lambda name: open_npz(path, name))
    tensors = open_safetensors(path)

    def named(name: str) -> tuple[Any, str]:
        if name not in tensors:
            close = get_close_matches(name, tensors, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            shown = ", ".join(list(tensors)[:20])
            raise SourceError(f"there is no such tensor.{hint} The tensors are: {shown}", path=path, column=name)
        return tensors[name]

    scores, kind = named(name)
    return _source(path, selection, scores, "bfloat16" if kind == "BF16" else None, lambda name: _target(*named(name)))


def _source(path: str, selection: Selection, scores: Any, dtype: str | None, find: Callable[[str], Any]) -> Source:
    def optional(name: str | None) -> Any:
        return None if name is None else find(name)

    return ArraySource(
        scores, find(selection.target), weight=optional(selection.weight), mask=optional(selection.mask),
        task=selection.task, class_names=selection.class_names, dtype=dtype or selection.dtype, path=path,
        extra={name: find(name) for name in selection.extra},
    )  # fmt: skip


def _beside(path: str, name: str) -> str:
    beside = os.path.join(os.path.dirname(path), name)
    return beside if not os.path.exists(name) and os.path.exists(beside) else name


def _target(array: Any, kind: str) -> Any:
    if kind == "BF16":
        raise UsageError("only predictions may be bfloat16; store targets, weights and masks in another type")
    return array
