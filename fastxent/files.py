"""Writing a file so that nobody ever sees half of it."""

from __future__ import annotations

import contextlib
import os
import tempfile

from fastxent.errors import OutputError

__all__ = ["write_atomically"]


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write ``data`` beside ``path`` and rename it over: ``path`` holds the old bytes or the new ones, never a part.

    Raises:
        OutputError: the file cannot be written.
    """
    path = os.path.realpath(path)  # through a symbolic link, which stays
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe or /dev/null is written to, not replaced
        _write_through(path, data)
        return
    temporary = None
    try:
        mode = os.stat(path).st_mode & 0o777 if os.path.exists(path) else 0o666 & ~_umask()
        handle, temporary = tempfile.mkstemp(prefix=f".{os.path.basename(path)}.", dir=os.path.dirname(path) or ".")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", path=path) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)


def _write_through(path: str, data: bytes) -> None:
    try:
        with open(path, "wb") as file:
            file.write(data)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror}", path=path) from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
