"""Arrow IPC (Feather) files and streams in files, as record batches by number; local ones are mapped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fastxent.base.errors import SourceError
from fastxent.sources.dataset import retry
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.read_errors import DAMAGE, first_line

__all__ = ["Part", "ends_of", "read_ipc"]


@dataclass(frozen=True, slots=True)
class Part:
    """One file or table: its record batches, of which ``load(reading)`` gives the i-th with the columns asked for."""

    name: str
    schema: Any
    ends: tuple[int, ...]  #: number of the row after each batch
    load: Callable[[int, tuple[str, ...]], Any]

    @property
    def num_rows(self) -> int:
        """Rows of all batches."""
        return self.ends[-1] if self.ends else 0


def read_ipc(file: DataFile) -> Part:
    """An IPC file as a `Part`; each thread opens it for itself."""
    local = threading.local()
    remote = file.filesystem is not None

    def survey() -> tuple[bool, Any, tuple[int, ...]]:
        first = _open_ipc(file, None)
        narrow = not _is_mapped(file)
        return narrow, first.schema, ends_of(_rows(_open_ipc(file, tuple(first.schema.names[:1])) if narrow else first))

    try:
        narrow, schema, ends = retry.call(survey, remote)
    except DAMAGE as error:
        raise _damaged(file.name, error, remote=remote) from error

    def get(number: int, columns: tuple[str, ...], wanted: tuple[str, ...]) -> Any:
        if getattr(local, "columns", None) != wanted:
            local.reader, local.columns = _open_ipc(file, wanted or None), wanted
        batch = local.reader.get_batch(number).select(list(columns))
        batch.validate(full=True)
        return batch

    def load(number: int, columns: tuple[str, ...]) -> Any:
        wanted = columns if narrow else ()
        try:
            return retry.call(lambda: get(number, columns, wanted), remote, lambda: local.__dict__.clear())
        except DAMAGE as error:
            raise _damaged(file.name, error, number, remote=remote) from error

    return Part(file.name, schema, ends, load)


def _open_ipc(file: DataFile, columns: tuple[str, ...] | None) -> Any:
    data = pa.memory_map(file.location) if file.filesystem is None else file.open()
    opened = _reader(data, None)
    if columns is None or not columns:
        return opened
    wanted = [i for i, name in enumerate(opened.schema.names) if name in columns]
    data.seek(0)
    return _reader(data, pa.ipc.IpcReadOptions(included_fields=wanted, use_threads=False))


def _is_mapped(file: DataFile) -> bool:
    """Whether batches are views of the mapped file. If so no columns are chosen on reading: pyarrow copies them then.

    2M x 10 float32: 0.2 ms as views, 110 ms with ``included_fields``.
    """
    if file.filesystem is not None:
        return False
    data = pa.memory_map(file.location)
    whole = data.read_buffer()
    data.seek(0)
    reader = _reader(data, None)
    if reader.num_record_batches == 0:
        return False
    batch = reader.get_batch(0)
    buffers = [buffer for column in batch.columns for buffer in column.buffers() if buffer is not None and buffer.size]
    return all(whole.address <= buffer.address < whole.address + whole.size for buffer in buffers)


class _StreamFile:
    """An IPC stream in a file, with the same face as an IPC file: its batches (views of the map) in a list."""

    def __init__(self, reader: Any) -> None:
        self.schema, self._batches = reader.schema, list(reader)
        self.num_record_batches = len(self._batches)

    def get_batch(self, number: int) -> Any:
        return self._batches[number]


def _reader(data: Any, options: Any) -> Any:
    magic = data.read(6)
    data.seek(0)
    if magic == b"ARROW1":
        return pa.ipc.open_file(data, options=options)
    return _StreamFile(pa.ipc.open_stream(data, options=options))


def _damaged(path: str, error: BaseException, number: int | None = None, *, remote: bool) -> SourceError:
    if isinstance(error, SourceError):
        return error
    if retry.is_transient(error, remote):
        return SourceError(
            f"cannot be reached, after {retry.ATTEMPTS} attempts: {first_line(error)}", path=path, row_group=number
        )
    return SourceError(
        f"is not a readable Arrow file: {first_line(error)}. It is damaged, cut short or something else; "
        "write or copy it again",
        path=path, row_group=number,
    )  # fmt: skip


def _rows(reader: Any) -> Iterator[int]:
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number).num_rows


def ends_of(rows: Iterable[int]) -> tuple[int, ...]:
    """The number of the row after each of some batches."""
    total, ends = 0, []
    for count in rows:
        if count < 0:
            raise ValueError(f"a batch of {count} rows")
        total += count
        ends.append(total)
    return tuple(ends)
