"""Parquet files as a source: the footers give a plan, row groups are decoded one at a time, batch by batch.

`pyarrow.dataset` is not used: its scanner reads ahead without a bound. Within a split the row groups are decoded
one after the other by the calling thread; threads run side by side on splits of their own, each with its own reader.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from fastxent.batch import Batch
from fastxent.errors import DataError, SourceError
from fastxent.sources import table
from fastxent.sources.damage import DAMAGE, first_line
from fastxent.sources.files import DataFile, partition_values
from fastxent.sources.labels import is_text
from fastxent.sources.source import Selection, Source, Split

__all__ = ["ParquetSource"]

DEFAULT_MEMORY = 128 << 20
#: Decoded bytes that make a batch, unless the memory is short. Measured, 1M x 10 and 20k x 1000: 1 and 4 MiB are
#: equal, 16 MiB is slower by a tenth to a half (lists, packed bytes).
BATCH_BYTES = 4 << 20
#: Rows a batch of many columns has at least if memory allows: each costs 5 us a column, whatever its length
#: (20k x 1000 columns: 0.18 GB/s by 250 rows, 0.66 by 2000, 1.2 by 20,000).
WIDE_ROWS = 16384
#: Decoded bytes that make a split; a larger row group is a split of its own.
SPLIT_BYTES = 64 << 20
#: Column chunks are read in pieces of this size, so that a giant row group is never held as a whole. 4M rows x 10
#: in one row group, batches of 4 MiB: the peak is 24 MB, 192 MB without pieces; pieces of 1 MiB are no faster and
#: each column holds one.
READ_BYTES = 64 << 10
#: Footers kept for the readers to come; beyond this they are parsed again.
FOOTER_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class _Planned:
    """What is remembered of a file: its row groups, its footer if that is small, and when it was changed last."""

    file: DataFile
    reading: table.Reading
    first_id: int
    rows: tuple[int, ...]
    metadata: Any
    stamp: tuple[int, int] | None


class ParquetSource(Source):
    """One or more Parquet files, in the order of their paths.

    Args:
        files: the files, as `fastxent.sources.files.list_files` gives them.
        selection: which columns are read, and as what.
        memory: bytes that one reader may hold, about; batches get smaller where it is short.
        verify_checksums: check page checksums, in files that have them.
        batch_bytes: decoded bytes a batch (None: from ``memory``).
        split_bytes: decoded bytes a split.
    """

    def __init__(
        self,
        files: Sequence[DataFile],
        selection: Selection,
        *,
        memory: int | None = None,
        verify_checksums: bool = False,
        batch_bytes: int | None = None,
        split_bytes: int = SPLIT_BYTES,
    ) -> None:
        self._selection = selection
        self._checksums = verify_checksums
        self._memory = memory or DEFAULT_MEMORY
        self._batch_bytes = batch_bytes
        self._local = threading.local()
        self._planned: dict[str, _Planned] = {}
        self._splits: list[Split] = []
        self._dictionary = False
        self.num_rows = 0
        self.paths = tuple(file.name for file in files)
        self._plan(files, split_bytes)

    def __getstate__(self) -> dict[str, Any]:
        """For workers elsewhere: the plan, without this process's open files."""
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _local=threading.local())

    def splits(self) -> Sequence[Split]:
        """Runs of row groups of one file, of about ``split_bytes`` each."""
        return self._splits

    def read(self, split: Split) -> Iterator[Batch]:
        """The row groups of ``split``, as batches."""
        planned = self._planned[split.path]
        offset = split.first_row
        for group in range(split.lo, split.hi):
            yield from self._read_group(planned, group, offset)
            offset += planned.rows[group]

    def _read_group(self, planned: _Planned, group: int, offset: int) -> Iterator[Batch]:
        path, end = planned.file.name, offset + planned.rows[group]
        batches = self._decoded(planned, group)
        for batch in batches:
            yield table.decode_batch(
                planned.reading, batch, path=path, first_row=offset,
                first_id=planned.first_id + offset, row_group=group,
            )  # fmt: skip
            offset += batch.num_rows
        if offset != end:
            raise SourceError(
                f"the footer promises {planned.rows[group]} rows, {planned.rows[group] - end + offset} were found: "
                "the file is damaged; write or copy it again",
                path=path, row_group=group,
            )  # fmt: skip

    def _decoded(self, planned: _Planned, group: int) -> Iterator[Any]:
        """Record batches of one row group; whatever goes wrong is told with path, row group and column."""
        columns = list(planned.reading.columns)
        try:
            yield from _batches(self._reader(planned), self._batch_rows(planned.reading), group, columns)
        except DataError:
            raise
        except DAMAGE as error:
            self._local.reader = None
            raise self._blame(planned, group, error) from error

    def _batch_rows(self, reading: table.Reading) -> int:
        """Rows that make a batch. A list column holds five times its decoded bytes while it is decoded."""
        if self._batch_bytes is not None:
            return max(1, self._batch_bytes // self._row_bytes)
        budget = max(64 << 10, min(BATCH_BYTES, self._memory // 8))
        if len(reading.columns) > 16:
            budget = max(budget, min(WIDE_ROWS * self._row_bytes, self._memory // 4))
        return max(1, min(budget // self._row_bytes, (2**31 - 1) // max(1, reading.num_classes)))

    def _reader(self, planned: _Planned) -> Any:
        """This thread's reader of the file; the last one is kept."""
        path, reader = getattr(self._local, "reader", None) or (None, None)
        if path != planned.file.name:
            self._close()
            if planned.file.stamp() != planned.stamp:
                raise SourceError("has changed since reading began; start again", path=planned.file.name)
            reader = self._open(planned.file, planned.metadata)
            self._local.reader = (planned.file.name, reader)
        return reader

    def _close(self) -> None:
        held = getattr(self._local, "reader", None)
        self._local.reader = None
        if held is not None:
            with suppress(Exception):
                held[1].close()

    def _open(self, file: DataFile, metadata: Any = None) -> Any:
        return pq.ParquetFile(
            file.open(),
            metadata=metadata,
            pre_buffer=file.filesystem is not None,
            buffer_size=READ_BYTES if file.filesystem is None else 0,
            page_checksum_verification=self._checksums,
            read_dictionary=[self._selection.target] if self._dictionary else None,
        )

    def _blame(self, planned: _Planned, group: int, error: BaseException) -> SourceError:
        """Find out by reading column by column which one is damaged."""
        guilty = None
        if planned.file.stamp() != planned.stamp:
            return SourceError("has changed since reading began; start again", path=planned.file.name)
        if len(planned.reading.columns) <= 64:
            for name in planned.reading.columns:
                try:
                    for _ in _batches(self._open(planned.file), 4096, group, [name]):
                        pass
                except DAMAGE:
                    guilty = name
                    break
        return SourceError(
            f"cannot be decoded: {first_line(error)}. The file is damaged or cut short; write or copy it again",
            path=planned.file.name, row_group=group, column=guilty,
        )  # fmt: skip

    def _plan(self, files: Sequence[DataFile], split_bytes: int) -> None:
        constants = partition_values(files)
        kept = 0
        first: table.Reading | None = None
        opened = []
        for file, values in zip(files, constants, strict=True):
            schema, metadata = self._footer(file)
            reading = table.resolve(schema, self._selection, file.name, values)
            if first is None:
                first, self._schema = reading, schema
                self._dictionary = is_text(schema.field(self._selection.target).type)
            else:
                table.check_same(first, reading, self.paths[0], file.name)
            opened.append((file, reading, metadata))
        assert first is not None
        readings = [reading for _, reading, _ in opened]
        width, names = table.agree(readings, self.paths, lambda i: self._probe(*opened[i]))
        for file, reading, metadata in opened:
            rows = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
            reading = table.with_width(table.with_names(reading, names), width, file.name)
            kept += metadata.serialized_size
            held = metadata if kept <= FOOTER_BYTES else None
            self._planned[file.name] = _Planned(file, reading, self.num_rows, rows, held, file.stamp())
            self._row_bytes = table.row_bytes(reading, self._schema)
            self._splits += _splits_of(file.name, rows, self.num_rows, self._row_bytes, split_bytes, len(self._splits))
            self.num_rows += sum(rows)
        self.num_classes, self.class_names = width, names
        self.dense_target = first.dense_target

    def _footer(self, file: DataFile) -> tuple[Any, Any]:
        try:
            reader = self._open(file)
            schema, metadata = reader.schema_arrow, reader.metadata
            reader.close()
        except DAMAGE as error:
            raise SourceError(
                f"is not a readable Parquet file: {first_line(error)}. It is damaged, cut short or something else; "
                "write or copy it again",
                path=file.name,
            ) from error
        return schema, metadata

    def _probe(self, file: DataFile, reading: table.Reading, metadata: Any) -> Iterator[Any]:
        """The first column of scores alone, in small batches: what the number of classes is found from."""
        group = 0
        try:
            reader = self._open(file, metadata)
            for group in range(metadata.num_row_groups):
                yield from _batches(reader, 256, group, [reading.predictions[0]])
        except DataError:
            raise
        except DAMAGE as error:
            raise SourceError(
                f"cannot be decoded: {first_line(error)}. The file is damaged or cut short; write or copy it again",
                path=file.name, row_group=group, column=reading.predictions[0],
            ) from error  # fmt: skip


def _splits_of(
    path: str, rows: tuple[int, ...], first_id: int, row_bytes: int, split_bytes: int, next_id: int
) -> Iterator[Split]:
    lo = first_row = 0
    held = 0
    for group, count in enumerate(rows):
        held += count
        last = group + 1 == len(rows)
        if held and (last or (held + rows[group + 1]) * row_bytes > split_bytes):
            yield Split(next_id, path, lo, group + 1, first_row, first_id + first_row, held, held * row_bytes)
            next_id, lo, first_row, held = next_id + 1, group + 1, first_row + held, 0


def _batches(reader: Any, rows: int, group: int, columns: list[str]) -> Iterator[Any]:
    batches: Iterator[Any] = reader.iter_batches(
        batch_size=rows, row_groups=[group], columns=columns, use_threads=False
    )
    return batches
