"""The temporary folder of a comparison; one that a killed process left behind goes when the next comparison starts."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

__all__ = ["spool_folder"]

PREFIX = "fastxent-compare-"
LOCK = "lock"


@contextmanager
def spool_folder() -> Iterator[str]:
    """An empty folder in ``TMPDIR``, removed on the way out. A lock in it shows that its process lives."""
    _remove_left_behind(tempfile.gettempdir())
    folder = tempfile.mkdtemp(prefix=PREFIX)
    try:
        with open(os.path.join(folder, f"{LOCK}.new"), "wb") as lock:
            _take(lock)
            os.rename(lock.name, os.path.join(folder, LOCK))  # nobody looks at one that is not taken yet
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_left_behind(where: str) -> None:
    with suppress(OSError):
        for entry in os.scandir(where):
            if entry.name.startswith(PREFIX) and entry.is_dir(follow_symlinks=False):
                with suppress(OSError), open(os.path.join(entry.path, LOCK), "r+b") as lock:
                    if _take(lock):
                        shutil.rmtree(entry.path, ignore_errors=True)


def _take(lock: IO[bytes]) -> bool:
    """Whether the lock, which ends with its process, could be taken."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
