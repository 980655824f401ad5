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
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.source import Selection

__all__ = ["ArrayFileSource", "beside"]

#: path -> its `DataFile.stamp`
Stamps = dict[str, tuple[int, int] | None]


class ArrayFileSource(ArraySource):
    """A source over the arrays in ``path``; it pickles as the names of the files, which are mapped anew elsewhere.

    For ``.npy`` the file holds the predictions, and ``selection.target``, ``weight``, ``mask`` and ``extra`` are
    paths of further ``.npy`` files (from the working directory, or else from beside the predictions). For ``.npz``
    and ``.safetensors`` all of them, the one name in ``selection.predictions`` too, name arrays in the file.
    """

    travels = True

    def __init__(self, path: str, selection: Selection, stamps: Stamps | None = None) -> None:
        self._selection = selection
        self._stamps: Stamps = {}
        predictions, kind, find = self._arrays(path, selection)

        def optional(name: str | None) -> Any:
            return None if name is None else find(name)

        super().__init__(
            predictions, optional(selection.target), weight=optional(selection.weight), mask=optional(selection.mask),
            task=selection.task, class_names=selection.class_names, dtype=kind or selection.dtype, path=path,
            labels=selection.labels, extra={name: find(name) for name in selection.extra},
        )  # fmt: skip
        self.files = (DataFile(path, path, None),)
        for name, stamp in (stamps or {}).items():
            DataFile(name, name, None).check_unchanged(stamp)

    def stamps(self) -> Stamps:
        """Those of all files, targets and what rides along too."""
        return self._stamps

    def __reduce__(self) -> tuple[type[ArrayFileSource], tuple[Any, ...]]:
        """For another process: what is read, and what the files were like."""
        return ArrayFileSource, (self._path, self._selection, self._stamps)

    def _arrays(self, path: str, selection: Selection) -> tuple[Any, str | None, Callable[[str], Any]]:
        """The predictions, their kind where the file says it, and how the other arrays are found by name."""
        if path.endswith(".npy"):
            return self._npy(path), None, lambda name: self._npy(beside(path, name))
        if len(selection.predictions) != 1:
            names = ", ".join(selection.predictions) or "none"
            raise UsageError(f"predictions must name one array in {path}, got {names}")
        name = selection.predictions[0]
        if path.endswith(".npz"):
            predictions = open_npz(path, name)
            self._stamp(path)
            return predictions, None, lambda name: open_npz(path, name)
        tensors = open_safetensors(path)
        self._stamp(path)
        array, kind = _tensor(tensors, name, path)
        return array, "bfloat16" if kind == "BF16" else None, lambda name: _target(*_tensor(tensors, name, path))

    def _npy(self, path: str) -> Any:
        array = open_npy(path)
        self._stamp(path)
        return array

    def _stamp(self, path: str) -> None:
        self._stamps[path] = DataFile(path, path, None).stamp()


def _tensor(tensors: dict[str, Any], name: str, path: str) -> Any:
    if name not in tensors:
        close = get_close_matches(name, tensors, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        shown = ", ".join(list(tensors)[:20])
        raise SourceError(f"there is no such tensor.{hint} The tensors are: {shown}", path=path, column=name)
    return tensors[name]


def beside(path: str, name: str) -> str:
    """A file from the working directory, or else from beside another."""
    beside = os.path.join(os.path.dirname(path), name)
    return beside if not os.path.exists(name) and os.path.exists(beside) else name


def _target(array: Any, kind: str) -> Any:
    if kind == "BF16":
        raise UsageError("only predictions may be bfloat16; store targets, weights and masks in another type")
    return array
