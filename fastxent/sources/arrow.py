"""Arrow data as a source: IPC (Feather) files, tables and frames in memory, and streams.

Record batches that are in memory, or in a mapped file without compression, are handed on as views. Anything
that speaks the Arrow C interface is understood without its library being imported: pyarrow, polars, pandas, DuckDB.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import chain
from typing import Any

import pyarrow as pa

from fastxent.batch import Batch
from fastxent.errors import DataError, SourceError, UsageError
from fastxent.sources import table
from fastxent.sources.damage import DAMAGE, first_line
from fastxent.sources.files import DataFile, partition_values
from fastxent.sources.protocols import library
from fastxent.sources.source import Selection, Source, Split

__all__ = ["ArrowSource", "StreamSource", "open_ipc", "open_table", "read_ipc"]

SPLIT_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """One file or table: its record batches, of which ``load(reading)`` gives the i-th with the columns asked for."""

    name: str
    schema: Any
    ends: tuple[int, ...]  #: number of the row after each batch
    load: Callable[[int, tuple[str, ...]], Any]

    @property
    def num_rows(self) -> int:
        return self.ends[-1] if self.ends else 0


class ArrowSource(Source):
    """Record batches that can be fetched by number, cut into ranges of rows.

    Args:
        parts: the files or tables, in order.
        selection: which columns are read, and as what.
        constants: for each part the columns that its path holds (hive partitions).
        split_bytes: decoded bytes a split, which is one batch or more.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        selection: Selection,
        constants: Sequence[dict[str, Any]] | None = None,
        split_bytes: int = SPLIT_BYTES,
    ) -> None:
        self._local = threading.local()
        self.paths = tuple(part.name for part in parts)
        values = constants or [{} for _ in parts]
        readings = [
            table.resolve(part.schema, selection, part.name, each) for part, each in zip(parts, values, strict=True)
        ]
        for part, reading in zip(parts, readings, strict=True):
            table.check_same(readings[0], reading, self.paths[0], part.name)
        self.num_classes, self.class_names = table.agree(
            readings, self.paths, lambda i: _batches(parts[i], readings[i])
        )
        self.dense_target = readings[0].dense_target
        self._parts: dict[str, tuple[Part, table.Reading, int]] = {}
        self._splits: list[Split] = []
        self.num_rows = 0
        for part, reading in zip(parts, readings, strict=True):
            self._add(part, reading, split_bytes)

    def splits(self) -> Sequence[Split]:
        """Ranges of rows, cut where record batches end, and within batches that are larger than a split."""
        return self._splits

    def read(self, split: Split) -> Iterator[Batch]:
        """The record batches, or the piece of one, that ``split`` covers."""
        part, reading, first_id = self._parts[split.path]
        row = split.lo
        while row < split.hi:
            number = bisect_right(part.ends, row)
            base = part.ends[number - 1] if number else 0
            stop = min(split.hi, part.ends[number])
            batch = self._load(part, number, reading.columns).slice(row - base, stop - row)
            yield table.decode_batch(
                reading, batch, path=part.name, first_row=row, first_id=first_id + row, row_group=number
            )
            row = stop

    def _load(self, part: Part, number: int, columns: tuple[str, ...]) -> Any:
        """A record batch; this thread's last one is kept, since a large one is read in several splits."""
        key, batch = getattr(self._local, "batch", ((None, None), None))
        if key != (part.name, number):
            self._local.batch = ((None, None), None)
            batch = part.load(number, columns)
            self._local.batch = ((part.name, number), batch)
        return batch

    def _add(self, part: Part, reading: table.Reading, split_bytes: int) -> None:
        reading = table.with_width(table.with_names(reading, self.class_names), self.num_classes, part.name)
        width = table.row_bytes(reading, part.schema)
        step = max(1, split_bytes // width)
        self._parts[part.name] = (part, reading, self.num_rows)
        lo = 0
        for hi in _cuts(part.ends, step):
            first_id = self.num_rows + lo
            self._splits.append(Split(len(self._splits), part.name, lo, hi, lo, first_id, hi - lo, (hi - lo) * width))
            lo = hi
        self.num_rows += part.num_rows


class StreamSource(Source):
    """A stream that can be read once: one split, of a number of rows that nobody knows beforehand (-1).

    Args:
        reader: a `pyarrow.RecordBatchReader`.
        selection: which columns are read, and as what.
    """

    def __init__(self, reader: Any, selection: Selection) -> None:
        self.paths = ("<stream>",)
        self.num_rows = -1
        reading = table.resolve(reader.schema, selection, self.paths[0])
        self._seen: list[Any] = []
        self._rest: Iterator[Any] | None = iter(reader)
        self.num_classes, self.class_names = table.agree([reading], self.paths, lambda _: self._peek())
        self.dense_target = reading.dense_target
        self._reading = table.with_width(reading, self.num_classes, self.paths[0])

    def splits(self) -> Sequence[Split]:
        """The one split there is."""
        return [Split(0, self.paths[0], 0, 1, 0, 0, -1, -1)]

    def read(self, split: Split) -> Iterator[Batch]:
        """All record batches; a second time there is nothing left to read, which is an error."""
        if self._rest is None:
            raise UsageError("the stream has been read already; make a new one, or pass a table")
        seen, rest = self._seen, self._rest
        self._seen, self._rest = [], None
        row = 0
        step = max(1, SPLIT_BYTES // table.row_bytes(self._reading, None))
        for batch in chain(seen, _guarded(rest, self.paths[0])):
            for lo in range(0, batch.num_rows, step):
                piece = batch.slice(lo, step)
                yield table.decode_batch(self._reading, piece, path=split.path, first_row=row, first_id=row)
                row += piece.num_rows

    def _peek(self) -> Iterator[Any]:
        for batch in _guarded(self._rest or (), self.paths[0]):
            self._seen.append(batch)
            yield batch


def open_ipc(files: Sequence[DataFile], selection: Selection) -> Source:
    """A source over Arrow IPC or Feather files; local ones are memory-mapped."""
    return ArrowSource([read_ipc(file) for file in files], selection, partition_values(files))


def open_table(data: Any, selection: Selection, path: str = "<table>") -> Source:
    """A source over anything with the Arrow C interface: tables and frames as they lie in memory, or a stream."""
    if library(data) == "pandas":
        data = _from_pandas(data, selection)
    elif hasattr(data, "__arrow_c_array__") and not isinstance(data, pa.RecordBatch):
        data = pa.record_batch(data)
    stream = not any(hasattr(data, name) for name in ("num_rows", "height"))
    try:
        if isinstance(data, pa.RecordBatch):
            data = pa.Table.from_batches([data])
        reader = pa.RecordBatchReader.from_stream(data)
        if stream:
            return StreamSource(reader, selection)
        batches = list(reader)
    except DAMAGE as error:
        if isinstance(error, (DataError, UsageError)):
            raise
        raise SourceError(f"cannot be read as Arrow data: {first_line(error)}", path=path) from error
    return ArrowSource(
        [Part(path, reader.schema, _ends(b.num_rows for b in batches), lambda i, _: batches[i])], selection
    )


def read_ipc(file: DataFile) -> Part:
    """An IPC file as a `Part`; each thread opens it for itself."""
    local = threading.local()
    try:
        first = _open_ipc(file, None)
        narrow = not _is_mapped(file)
        schema = first.schema
        ends = _ends(_rows(_open_ipc(file, tuple(schema.names[:1])) if narrow else first))
    except DAMAGE as error:
        raise _damaged(file.name, error) from error

    def load(number: int, columns: tuple[str, ...]) -> Any:
        wanted = columns if narrow else ()
        try:
            if getattr(local, "columns", None) != wanted:
                local.reader, local.columns = _open_ipc(file, wanted or None), wanted
            batch = local.reader.get_batch(number).select(list(columns))
            batch.validate(full=True)
        except DAMAGE as error:
            raise _damaged(file.name, error, number) from error
        return batch

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


def _damaged(path: str, error: BaseException, number: int | None = None) -> SourceError:
    if isinstance(error, SourceError):
        return error
    return SourceError(
        f"is not a readable Arrow file: {first_line(error)}. It is damaged, cut short or something else; "
        "write or copy it again",
        path=path, row_group=number,
    )  # fmt: skip


def _rows(reader: Any) -> Iterator[int]:
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number).num_rows


def _ends(rows: Iterable[int]) -> tuple[int, ...]:
    total, ends = 0, []
    for count in rows:
        if count < 0:
            raise ValueError(f"a batch of {count} rows")
        total += count
        ends.append(total)
    return tuple(ends)


def _cuts(ends: tuple[int, ...], step: int) -> Iterator[int]:
    """Where splits end: after the batch with which ``step`` rows are reached, and within longer batches."""
    lo = 0
    for number, end in enumerate(ends):
        while end - lo > step:
            lo += step
            yield lo
        following = ends[number + 1] if number + 1 < len(ends) else None
        if end > lo and (following is None or following - lo > step):
            lo = end
            yield lo


def _batches(part: Part, reading: table.Reading) -> Iterator[Any]:
    for number in range(len(part.ends)):
        yield part.load(number, reading.columns)


def _guarded(batches: Iterable[Any], path: str) -> Iterator[Any]:
    try:
        for batch in batches:  # noqa: UP028 -- with `yield from`, abandoning this generator closes the reader
            yield batch
    except DAMAGE as error:
        if isinstance(error, DataError):
            raise
        raise SourceError(f"the stream broke: {first_line(error)}", path=path) from error


def _from_pandas(frame: Any, selection: Selection) -> Any:
    """Only the columns that are read are converted (numbers without a copy, objects with one)."""
    named = [*selection.predictions, selection.target, selection.weight, selection.mask, *selection.extra]
    found = {p: [n for n in frame.columns if n == p or fnmatchcase(str(n), p)] for p in named if p is not None}
    keep = set().union(*found.values())
    complete = all(found.values())  # if not, the names of all columns are wanted for the message
    part = frame[[name for name in frame.columns if name in keep]] if complete else frame.head(0)
    return pa.Table.from_pandas(part, preserve_index=False)
