"""Where an output is to appear: a path of this machine, or a URI of an object store, where nothing can be renamed."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fastxent.base.atomic_files import PendingFile, writing
from fastxent.base.errors import UsageError

__all__ = ["PendingObject", "Place", "is_uri", "pending", "shown"]


def is_uri(path: str) -> bool:
    """Whether a path names a file system of its own."""
    return "://" in path


def shown(path: str) -> str:
    """A path as messages name it: a URI without passwords and options."""
    if not is_uri(path):
        return path
    from fastxent.sources.dataset.remote import shown_uri

    return shown_uri(path)


@dataclass(frozen=True, slots=True)
class Place:
    """A file or folder of a file system.

    Attributes:
        name: what it is called in messages, without passwords and options.
        location: where it is in its file system.
        filesystem: which that is; None: the local one.
    """

    name: str
    location: str
    filesystem: Any = None

    @classmethod
    def of(cls, path: str) -> Place:
        """The place that a path or a URI means."""
        if not is_uri(path):
            return cls(path, path)
        from fastxent.sources.dataset.remote import filesystem_of

        filesystem, location = filesystem_of(path, shown(path))
        return cls(shown(path), location, filesystem)

    def exists(self) -> bool:
        """Whether something is there, if it is only a link to nowhere."""
        return os.path.lexists(self.location) if self.filesystem is None else self._type().value > 0

    def is_folder(self) -> bool:
        """Whether a folder is there."""
        return os.path.isdir(self.location) if self.filesystem is None else self._type().value == 3

    def make_folder(self) -> None:
        """Make the folder that it is in; object stores have none."""
        if self.filesystem is None:
            with writing(self.name):
                os.makedirs(os.path.dirname(self.location) or ".", exist_ok=True)

    def open(self) -> Any:
        """The open file, for reading."""
        import pyarrow as pa

        return pa.OSFile(self.location) if self.filesystem is None else self.filesystem.open_input_file(self.location)

    def remove(self) -> None:
        """Remove the file, if there is one."""
        with writing(self.name):
            if self.exists():
                os.unlink(self.location) if self.filesystem is None else self.filesystem.delete_file(self.location)

    def write(self, data: bytes) -> None:
        """Write a small file, whole or not at all."""
        file = self.pending(overwrite=True)
        try:
            with writing(self.name), open(file.partial, "wb") as partial:
                partial.write(data)
            file.commit()
        finally:
            file.abort()

    def pending(self, *, overwrite: bool) -> PendingFile | PendingObject:
        """A file under construction that is to appear here."""
        if self.filesystem is None:
            return PendingFile(self.location, overwrite=overwrite)
        return PendingObject(self, overwrite=overwrite)

    def _type(self) -> Any:
        from fastxent.sources.dataset import retry

        return retry.call(lambda: self.filesystem.get_file_info(self.location), remote=True).type


def pending(path: str, *, overwrite: bool) -> PendingFile | PendingObject:
    """A file under construction that is to appear at a path or a URI."""
    return Place.of(path).pending(overwrite=overwrite)


class PendingObject:
    """A `PendingFile` for an object store: written to a file here, then put there in one piece, whole or not at all.

    Of two runs that write the same, the later one wins.
    """

    def __init__(self, place: Place, *, overwrite: bool) -> None:
        self.path, self._place, self._overwrite = place.name, place, overwrite
        self._check()
        with writing(self.path):
            handle, self.partial = tempfile.mkstemp(prefix="fastxent-")
            os.close(handle)

    def commit(self) -> None:
        """Bring everything to the store."""
        from fastxent.sources.dataset import retry

        try:
            self._check()
            with writing(self.path):
                retry.call(self._put, remote=True)
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove what has been written here."""
        with suppress(OSError):
            os.unlink(self.partial)

    def _put(self) -> None:
        """One write of all bytes: a stream that is left in the middle would be closed, and so be there in part."""
        import pyarrow as pa

        data = pa.memory_map(self.partial).read_buffer() if os.path.getsize(self.partial) else b""
        with self._place.filesystem.open_output_stream(self._place.location, compression=None) as stream:
            stream.write(data)

    def _check(self) -> None:
        if not self._overwrite and self._place.exists():
            raise UsageError(f"{self.path}: exists already; name another file, or pass overwrite=True (--overwrite)")
