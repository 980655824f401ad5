"""Files that appear whole or not at all: written under a hidden name beside the target, synced, renamed.

The hidden name is the same for every run (``.NAME.partial``), so that what a killed run leaves behind is
reused by the next one and does not pile up. A lock on it keeps two runs from writing the same output.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fastxent.base.errors import FastxentError, OutputError, UsageError

__all__ = ["PendingFile", "check_place", "why_not_written", "write_atomically", "writing"]


class PendingFile:
    """A file under construction. ``partial`` is the path to write to until `commit` gives it its name.

    Args:
        path: where the file is to appear; a symbolic link is followed.
        overwrite: whether a file that is there already may be replaced.

    Raises:
        UsageError: there is a file already, or another run is writing it.
        OutputError: the folder is missing or cannot be written.
    """

    def __init__(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        self.path = os.fspath(path)
        self._overwrite = overwrite
        self._target = os.path.realpath(self.path)
        folder, name = os.path.split(self._target)
        if os.path.isdir(self._target):
            raise UsageError(f"{self.path}: is a directory; name a file in it")
        if not overwrite and os.path.lexists(self._target):
            raise self._exists()
        self.partial = os.path.join(folder, f".{name}.partial")
        with writing(self.path):
            self._lock = self._locked()

    def commit(self) -> None:
        """Bring everything to the disk, then give the file its name."""
        if not self._overwrite and os.path.lexists(self._target):
            self.abort()
            raise self._exists()
        try:
            with writing(self.path):
                os.fsync(self._lock)
                os.replace(self.partial, self._target)
        except BaseException:
            self.abort()
            raise
        self._release()
        with suppress(OSError):  # some file systems cannot sync a folder
            folder = os.open(os.path.dirname(self._target), os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def abort(self) -> None:
        """Remove what has been written; does nothing after `commit`."""
        if self._lock >= 0:
            with suppress(OSError):
                os.unlink(self.partial)
            self._release()

    def _release(self) -> None:
        lock, self._lock = self._lock, -1
        with suppress(OSError):
            os.close(lock)

    def _exists(self) -> UsageError:
        return UsageError(f"{self.path}: exists already; name another file, or pass overwrite=True (--overwrite)")

    def _locked(self) -> int:
        """Create the partial file, empty and locked; the lock ends with the process, however that ends."""
        while True:
            fd = os.open(self.partial, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o666)
            try:
                self._take_lock(fd)
                # Between open and lock another run may have renamed or removed the file.
                if os.path.samestat(os.fstat(fd), os.stat(self.partial)):
                    os.ftruncate(fd, 0)
                    return fd
            except FileNotFoundError:
                pass
            except BaseException:
                os.close(fd)
                raise
            os.close(fd)

    def _take_lock(self, fd: int) -> None:
        try:
            import fcntl
        except ImportError:  # Windows: no lock, the last one to finish wins
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"{self.path}: another run is writing it; wait for it or name another file") from None
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise


@contextmanager
def writing(path: str) -> Iterator[None]:
    """What the system says about writing becomes an `OutputError` that names the path."""
    try:
        yield
    except OSError as error:
        if isinstance(error, (FastxentError, BrokenPipeError)):
            raise
        raise OutputError(why_not_written(error), path=path) from error


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write a small file whole: ``path`` holds the old bytes or the new ones, never a part.

    A pipe or a device is written to, not replaced.

    Raises:
        OutputError: the file cannot be written.
    """
    target = os.path.realpath(path)
    if os.path.exists(target) and not os.path.isfile(target):
        with writing(os.fspath(path)), open(target, "wb") as file:
            file.write(data)
        return
    pending = PendingFile(path, overwrite=True)
    try:
        with writing(pending.path), open(pending.partial, "wb") as file:
            file.write(data)
            if os.path.exists(target):
                os.fchmod(file.fileno(), os.stat(target).st_mode & 0o777)
        pending.commit()
    finally:
        pending.abort()


def check_place(path: str | os.PathLike[str]) -> None:
    """Raise now what `write_atomically` would raise after hours of work: no folder, no permission, a directory."""
    target = os.path.realpath(path)
    if os.path.isdir(target):
        raise OutputError("cannot be written: it is a directory; name a file in it", path=os.fspath(path))
    if os.path.isfile(target) or not os.path.exists(target):
        PendingFile(path, overwrite=True).abort()


#: What to do about it, by the system's number of the error.
_REMEDY: dict[Any, str] = {
    errno.ENOSPC: "the disk is full; make room or write elsewhere",
    errno.EDQUOT: "the disk quota is used up; make room or write elsewhere",
    errno.EFBIG: "the file has reached the size that this process may write",
    errno.EACCES: "permission denied; write elsewhere or change the folder's permissions",
    errno.EPERM: "permission denied; write elsewhere or change the folder's permissions",
    errno.EROFS: "the file system is read-only; write elsewhere",
    errno.ENOENT: "the folder does not exist; make it first",
    errno.ENOTDIR: "a part of the path is not a folder",
}


def why_not_written(error: OSError) -> str:
    """What the system said, and what to do about it."""
    number = error.errno
    if number is None:  # pyarrow writes the number into the text
        import re

        found = re.search(r"\[errno (\d+)\]", str(error), re.IGNORECASE)
        number = int(found[1]) if found else None
    said = _REMEDY.get(number) or error.strerror or str(error).splitlines()[0]
    return f"cannot be written: {said}"
