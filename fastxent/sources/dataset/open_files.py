"""Files that are open: each once in this process, whichever thread reads it."""

from __future__ import annotations

import threading
from typing import Any

from fastxent.sources.dataset.files import DataFile

__all__ = ["OpenFiles"]

#: Files that stay open, the first ones; others are opened by whoever reads them. Systems allow a process 256 or more.
MOST_OPEN = 100


class OpenFiles:
    """Opens files when they are first asked for.

    pyarrow reads a file at any place from several threads at a time. What fsspec opens it reads under a lock, so
    there each thread has a file of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: dict[tuple[str, int], Any] = {}

    def __reduce__(self) -> tuple[type[OpenFiles], tuple[()]]:
        """For another process: nothing is open there."""
        return OpenFiles, ()

    def get(self, file: DataFile, *, mapped: bool = False) -> Any:
        """The open file, or the buffer that it is mapped to; of one file always the same of the two."""
        alone = type(file.filesystem).__name__ == "PyFileSystem"
        key = file.name, threading.get_ident() if alone else 0
        opened = self._files.get(key)
        if opened is None:
            opened = file.map() if mapped else file.open()
            with self._lock:
                if len(self._files) < MOST_OPEN or key in self._files:
                    opened = self._files.setdefault(key, opened)
        return opened

    def drop(self, file: DataFile) -> None:
        """Let go of a file, so that it is opened anew the next time."""
        with self._lock:
            for key in [key for key in self._files if key[0] == file.name]:
                del self._files[key]
