"""Standard input as a file of text that is opened several times: its beginning is kept until it is read for good."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from fastxent.base.errors import SourceError, UsageError
from fastxent.sources.dataset.dataset import Dataset
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.read_errors import first_line

__all__ = ["open_standard_input"]

#: What standard input is called in messages.
NAME = "<stdin>"


def open_standard_input(data: Any, format: str | None) -> Any:
    """What comes from standard input ("-"), as a data set of text or a stream of Arrow.

    Raises:
        UsageError: the format is not said, or the data are something else.
        SourceError: it is no stream of Arrow.
    """
    if not isinstance(data, str) or data != "-":
        raise UsageError("format says what standard input holds, and data is not '-'; files are told by their endings")
    if format is None:
        raise UsageError("-: say what standard input holds: format='csv', 'tsv', 'jsonl' or 'arrow' (--format)")
    if format != "arrow":
        return Dataset([StandardInput(NAME, f"{NAME}.{format}", None)])
    try:
        return pa.ipc.open_stream(_stream())
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(f"cannot be read as a stream of Arrow: {first_line(error)}", path=NAME) from error


def _stream() -> Any:
    """The bytes of standard input."""
    if sys.stdin is None:
        raise UsageError("-: there is no standard input")
    return sys.stdin.buffer


@dataclass(frozen=True, slots=True)
class StandardInput(DataFile):
    """Text from a pipe; ``location`` ends in the format."""

    kept: _Kept = field(default_factory=lambda: _Kept(_stream()))

    def open(self) -> Any:
        """See `DataFile.open`: each time from the beginning, as long as `read_on` has not been called."""
        return pa.PythonFile(io.BufferedReader(_Reader(self.kept)), mode="r")

    def read_on(self) -> None:
        """See `DataFile.read_on`."""
        self.kept.keeps = False


class _Kept:
    """What has been read of a stream, if it is to be read again."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.head = bytearray()
        self.keeps = True


class _Reader(io.RawIOBase):
    """The kept bytes, then the stream."""

    def __init__(self, kept: _Kept) -> None:
        self._kept, self._at = kept, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        kept = self._kept
        if self._at < len(kept.head):
            piece = bytes(kept.head[self._at : self._at + len(buffer)])
        else:
            piece = kept.stream.read(len(buffer))
            if kept.keeps:
                kept.head += piece
        self._at += len(piece)
        if not kept.keeps and self._at >= len(kept.head):
            kept.head, self._at = bytearray(), 0
        buffer[: len(piece)] = piece
        return len(piece)
