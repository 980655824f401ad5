"""Arrow data as a source: IPC (Feather) files, tables and frames in memory, and streams.

Record batches that are in memory, or in a mapped file without compression, are handed on as views. Anything
that speaks the Arrow C interface is understood without its library being imported: pyarrow, polars, pandas, DuckDB.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import accumulate, chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fastxent.base.errors import SourceError, UnavailableError, UsageError
from fastxent.data.batch import Batch
from fastxent.sources.dataset.dataset import Dataset
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.dataset.ipc import IpcReader
from fastxent.sources.dataset.ipc_messages import Unpacked
from fastxent.sources.dataset.members import Member, find_members
from fastxent.sources.dataset.reading import Reading, decode_batch, resolve, row_bytes, settle
from fastxent.sources.decode.pieces import TEXT_BYTES, text_pieces
from fastxent.sources.filter import BoundFilter, Filter, rows_at
from fastxent.sources.object_kinds import is_lazy, library
from fastxent.sources.per_thread import PerThread, Shared
from fastxent.sources.read_errors import LARGEST, check_damage, check_room, first_line
from fastxent.sources.skipped import LeftOuts, OnError
from fastxent.sources.source import Selection, Source, Split

__all__ = ["ArrowSource", "StreamSource", "guarded", "open_ipc", "open_table"]

SPLIT_BYTES = 8 << 20
#: Column with the numbers of the rows that a filter has kept.
NUMBERS = "\0numbers"


@dataclass(frozen=True)
class Part(ABC):
    """One file or table, as record batches by number."""

    name: str
    schema: Any
    ends: tuple[int, ...]  #: number of the row after each batch

    @property
    def num_rows(self) -> int:
        """Rows of all batches."""
        return self.ends[-1] if self.ends else 0

    @abstractmethod
    def load(self, number: int, columns: tuple[str, ...]) -> Any:
        """A record batch with the columns asked for, or more."""


@dataclass(frozen=True)
class _Table(Part):
    """A table in memory."""

    batches: Sequence[Any]

    def load(self, number: int, columns: tuple[str, ...]) -> Any:
        return self.batches[number]


@dataclass(frozen=True)
class _IpcFile(Part):
    """An Arrow file."""

    file: DataFile
    stamp: tuple[int, int] | None
    views: bool
    reader: IpcReader
    unpacked: tuple[Unpacked, ...] = ()
    most: int = LARGEST

    def load(self, number: int, columns: tuple[str, ...]) -> Any:
        if self.unpacked:
            self._check_room(number, columns)
        return self.reader.batch(self.file, number, columns, views=self.views, stamp=self.stamp)

    def _check_room(self, number: int, columns: tuple[str, ...]) -> None:
        """Raise OutOfMemoryError for a record batch that takes more than a reader may hold."""
        _, sizes, dictionary = self.unpacked[number]
        held = {name: sizes.get(name, 0) for name in columns}
        column = max(columns, key=held.__getitem__, default=None)
        what = "the columns of its record batch, of which this is the largest,"
        if dictionary > max(held.values(), default=0):
            encoded = (name for name in columns if pa.types.is_dictionary(self.schema.field(name).type))
            column, what = next(encoded, None), "its dictionary"
        check_room(what, dictionary + sum(held.values()), self.most, self.name, number, column)


@dataclass(frozen=True)
class _Filtered(Part):
    """The rows of a part that a filter keeps, with a column of their numbers."""

    part: Part
    filter: BoundFilter

    def load(self, number: int, columns: tuple[str, ...]) -> Any:
        batch = self.part.load(number, tuple(dict.fromkeys([*columns, *self.filter.columns])))
        return _Chosen(batch, self.filter.chosen(batch), _start(self.part.ends, number))


@dataclass(frozen=True)
class _Chosen:
    """The rows of a batch that were chosen, of which no more are copied than are asked for."""

    batch: Any
    rows: NDArray[Any]
    first: int

    def slice(self, lo: int, count: int) -> Any:
        """Some of them, as a record batch."""
        rows = self.rows[lo : lo + count]
        kept = rows_at(self.batch, rows)
        numbers = pa.array(rows.astype(np.int64) + self.first)
        return pa.RecordBatch.from_arrays([*kept.columns, numbers], [*kept.schema.names, NUMBERS])


class ArrowSource(Source):
    """Record batches that can be fetched by number, cut into ranges of rows.

    Splits are cut where record batches end, and within batches that are larger than a split.

    Args:
        parts: the files or tables, in order, and how each is read.
        filter: which rows are read.
        left_out: where it is noted what cannot be read; or raised.
        split_bytes: decoded bytes a split, which is one batch or more.
    """

    def __init__(
        self,
        parts: Sequence[tuple[Part, Reading]],
        filter: Filter | None = None,
        left_out: LeftOuts | None = None,
        split_bytes: int = SPLIT_BYTES,
    ) -> None:
        self._last, self._unpacked = PerThread(), Shared()
        self._left_out = left_out or LeftOuts("raise")
        self.paths = tuple(part.name for part, _ in parts)
        self.reading = first = parts[0][1]  #: how the first part is read
        self.num_classes, self.class_names, self.dense_target = first.num_classes, first.class_names, first.dense_target
        self.notes, self.score_names, self.counts_from_one = first.notes, first.score_names, first.counts_from_one
        self.flattens = first.flattens
        self.files = tuple(part.file for part, _ in parts if isinstance(part, _IpcFile))
        self.travels = len(self.files) == len(parts)
        self._parts: dict[str, tuple[Part, Reading, int]] = {}
        self._splits: list[Split] = []
        self.num_rows = 0
        self.stored = {} if filter is None else {part.name: part.num_rows for part, _ in parts}
        for part, reading in parts:
            if filter is not None:
                part = _filtered(part, filter.bind(part.schema, reading.constants, part.name), self._left_out)
            self._add(part, reading, split_bytes)

    def read(self, split: Split) -> Iterator[Batch]:
        """The record batches, or the piece of one, that ``split`` covers."""
        part, reading, first_id = self._parts[split.path]
        row = split.lo
        while row < split.hi:
            number = bisect_right(part.ends, row)
            base = _start(part.ends, number)
            stop = min(split.hi, part.ends[number])
            try:
                batch = self._load(part, number, reading.columns).slice(row - base, stop - row)
                if self._left_out.skips:  # whole or not at all
                    for _ in self._decoded(batch, part.name, reading, row, first_id + row, number):
                        pass
            except SourceError as error:
                self._left_out.add(error, stop - row, first_row=row)
            else:
                yield from self._decoded(batch, part.name, reading, row, first_id + row, number)
            row = stop

    def _decoded(self, batch: Any, path: str, reading: Reading, row: int, row_id: int, number: int) -> Iterator[Batch]:
        """A record batch, or the piece of one, as batches whose texts fit."""
        for lo, piece in text_pieces(batch, TEXT_BYTES):
            numbers = piece.column(NUMBERS).to_numpy() if NUMBERS in piece.schema.names else None
            yield decode_batch(
                reading, piece, path=path, first_row=row + lo, first_id=row_id + lo, row_group=number, numbers=numbers
            )

    def _load(self, part: Part, number: int, columns: tuple[str, ...]) -> Any:
        """A record batch, which is kept: a large one is read in several splits, by several threads."""
        key = part.name, number
        if self._last.key != key:
            self._last.clear()
            self._last.keep(key, self._unpacked.get(key, lambda: part.load(number, columns)))
        return self._last.value.value

    def _add(self, part: Part, reading: Reading, split_bytes: int) -> None:
        width = row_bytes(reading, part.schema)
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
        batches: the record batches.
        reading: how they are read.
        filter: which rows are read.
        path: name of the source, for messages.
    """

    def __init__(
        self, batches: Iterable[Any], reading: Reading, filter: BoundFilter | None = None, path: str = "<stream>"
    ) -> None:
        self.reading, self.filter = reading, filter
        self.paths = (path,)
        self.num_rows = -1
        self._batches: Iterable[Any] | None = batches
        self.num_classes, self.class_names = reading.num_classes, reading.class_names
        self.dense_target, self.flattens = reading.dense_target, reading.flattens
        self.notes, self.score_names, self.counts_from_one = reading.notes, reading.score_names, reading.counts_from_one
        self._splits = [Split(0, path, 0, 1, 0, 0, -1, -1)]

    def read(self, split: Split) -> Iterator[Batch]:
        """All record batches; a second time there is nothing left to read, which is an error."""
        if self._batches is None:
            raise UsageError("the stream has been read already; make a new one, or pass a table")
        batches, self._batches = self._batches, None
        row = passed = 0
        step = max(1, SPLIT_BYTES // row_bytes(self.reading, None))
        for batch in guarded(batches, self.paths[0]):
            for lo in range(0, batch.num_rows, step):
                piece, numbers = batch.slice(lo, step), None
                passed += piece.num_rows
                if self.filter is not None:
                    self.stored = {split.path: passed}
                    piece, numbers = self.filter.apply(piece, passed - piece.num_rows)
                for first, part in text_pieces(piece, TEXT_BYTES):
                    own = None if numbers is None else numbers[first : first + part.num_rows]
                    yield decode_batch(self.reading, part, path=split.path, first_row=row, first_id=row, numbers=own)
                    row += part.num_rows


def open_stream(reader: Any, selection: Selection, filter: Filter | None) -> StreamSource:
    """A source over a `pyarrow.RecordBatchReader`, of which so much is read that the number of classes is known."""
    batches, seen = iter(reader), []

    def peek() -> Iterator[Any]:
        for batch in guarded(batches, "<stream>"):
            seen.append(batch)
            yield batch

    reading = settle(resolve(reader.schema, selection, "<stream>"), peek(), "<stream>")
    bound = None if filter is None else filter.bind(reader.schema, {}, "<stream>")
    return StreamSource(chain(seen, batches), reading, bound)


def open_ipc(
    dataset: Dataset,
    selection: Selection,
    filter: Filter | None = None,
    on_error: OnError = "raise",
    memory: int | None = None,
) -> Source:
    """A source over Arrow IPC or Feather files; local ones are memory-mapped. ``memory``: what a reader may hold."""
    left_out = LeftOuts(on_error)
    reader = IpcReader(dataset.open_files)

    def part_of(member: Member) -> Part:
        file, footer, _ = member
        ends = tuple(accumulate(footer.rows))
        stamp = file.planned_stamp
        return _IpcFile(
            file.name, footer.schema, ends, file, stamp, footer.views, reader, footer.unpacked, memory or LARGEST
        )

    def probe(member: Member) -> Iterator[Any]:
        part = part_of(member)
        for number in range(len(part.ends)):
            try:
                yield part.load(number, member.reading.columns)
            except SourceError as error:
                if not left_out.skips or isinstance(error, UnavailableError):
                    raise

    members = find_members(dataset, selection, left_out, probe)
    return ArrowSource([(part_of(member), member.reading) for member in members], filter, left_out)


def open_table(data: Any, selection: Selection, path: str = "<table>", filter: Filter | None = None) -> Source:
    """A source over anything with the Arrow C interface: tables and frames as they lie in memory, or a stream."""
    if is_lazy(data):
        data = _from_lazy(data)
    elif library(data) == "pandas":
        data = _from_pandas(data, selection, path, whole=filter is not None)
    elif hasattr(data, "__arrow_c_array__") and not isinstance(data, pa.RecordBatch):
        data = pa.record_batch(data)
    stream = not any(hasattr(data, name) for name in ("num_rows", "height"))
    try:
        if isinstance(data, pa.RecordBatch):
            data = pa.Table.from_batches([data])
        reader = pa.RecordBatchReader.from_stream(data)
        if stream:
            return open_stream(reader, selection, filter)
        batches = list(reader)
    except Exception as error:
        check_damage(error, path)
        raise SourceError(f"cannot be read as Arrow data: {first_line(error)}", path=path) from error
    part = _Table(path, reader.schema, tuple(accumulate(batch.num_rows for batch in batches)), batches)
    return ArrowSource([(part, settle(resolve(part.schema, selection, path), batches, path))], filter)


def _from_lazy(query: Any) -> Any:
    """A query of polars as a stream, which is run while it is read and never held as a whole."""
    if not hasattr(query, "collect_batches"):
        raise UsageError("this polars cannot run a LazyFrame as a stream; take a newer one, or give query.collect()")
    schema = pa.table(query.head(0).collect()).schema
    frames = query.collect_batches(maintain_order=True, engine="streaming")
    batches = (batch for frame in frames for batch in pa.table(frame).cast(schema).to_batches())
    return pa.RecordBatchReader.from_batches(schema, batches)


def _start(ends: tuple[int, ...], number: int) -> int:
    return ends[number - 1] if number else 0


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


def _filtered(part: Part, filter: BoundFilter, left_out: LeftOuts) -> Part:
    """The rows of a part that the filter keeps."""
    if filter.keeps_all:
        return part
    counts = [0] * len(part.ends)
    for number, end in enumerate(part.ends if filter.columns else ()):
        try:
            if end > _start(part.ends, number):
                counts[number] = filter.count(part.load(number, filter.columns))
        except SourceError as error:
            left_out.add(error, None)
    return _Filtered(part.name, part.schema, tuple(accumulate(counts)), part, filter)


def guarded(batches: Iterable[Any], path: str) -> Iterator[Any]:
    """The record batches of a stream; raises SourceError where it breaks."""
    try:
        for batch in batches:  # noqa: UP028 -- with `yield from`, abandoning this generator closes the reader
            yield batch
    except Exception as error:
        check_damage(error, path)
        raise SourceError(f"the stream broke: {first_line(error)}", path=path) from error


def _from_pandas(frame: Any, selection: Selection, path: str, *, whole: bool) -> Any:
    """The columns that are read (numbers without a copy, objects with one), or the ``whole`` frame."""
    if twice := [str(name) for name, count in Counter(map(str, frame.columns)).items() if count > 1]:
        raise SourceError("occurs more than once in the frame; rename one of them", path=path, column=twice[0])
    names = [*selection.predictions, selection.target, selection.weight, selection.mask, *selection.extra]
    matches = {p: [n for n in frame.columns if str(n) == p or fnmatchcase(str(n), p)] for p in names if p is not None}
    for name in frame.index.names:
        if name in matches and not matches[name]:
            message = "is the index of the frame, not a column; pass frame.reset_index()"
            raise SourceError(message, path=path, column=str(name))
    keep = set().union(*matches.values())
    complete = all(matches.values())  # if not, the message needs the names of all columns
    part = frame if whole else frame[[name for name in frame.columns if name in keep]] if complete else frame.head(0)
    try:
        return pa.Table.from_pandas(part, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SourceError(f"the frame cannot be read as Arrow data: {first_line(error)}", path=path) from error
