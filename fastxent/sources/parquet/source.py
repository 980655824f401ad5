"""Parquet files as a source: the footers give a plan, row groups are decoded one at a time, batch by batch.

`pyarrow.dataset` is not used to read: its scanner reads ahead without a bound. Within a split the row groups are
decoded one after the other by the calling thread; threads run side by side on splits of their own, each with its own
reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastxent.base.errors import SourceError
from fastxent.data.batch import Batch
from fastxent.sources import table
from fastxent.sources.dataset.files import DataFile, partition_values
from fastxent.sources.decode.labels import is_text
from fastxent.sources.parquet.row_groups import Planned, RowGroups, largest_row_group
from fastxent.sources.same_schema import Footer, alike
from fastxent.sources.skipped import LeftOut, LeftOuts, OnError
from fastxent.sources.source import Selection, Source, Split

if TYPE_CHECKING:
    from fastxent.sources.filter import Filter

__all__ = ["ParquetSource"]

DEFAULT_MEMORY = 256 << 20
#: Decoded bytes that make a batch, unless the memory is short. Measured, 1M x 10 and 20k x 1000: 1 and 4 MiB are
#: equal, 16 MiB is slower by a tenth to a half (lists, packed bytes).
BATCH_BYTES = 4 << 20
#: Rows a batch of many columns has at least if memory allows: each costs 5 us a column, whatever its length
#: (20k x 1000 columns: 0.18 GB/s by 250 rows, 0.66 by 2000, 1.2 by 20,000; 400k x 100, whole evaluations: 0.30 s by
#: 2^14, 0.23 by 2^17).
WIDE_ROWS = 1 << 17
#: Decoded bytes that make a split, or fewer where there would be fewer than SPLITS; a larger row group is one by
#: itself. With 64 MiB throughout, files of 80 MB left one of two threads idle: 1.2 to 1.6 times slower.
SPLIT_BYTES = 64 << 20
LEAST_SPLIT_BYTES = 1 << 20
SPLITS = 64
#: Footers kept for the readers to come; beyond this they are parsed again.
FOOTER_BYTES = 64 << 20
#: Remote footers that are fetched side by side.
FETCHES = 16


class ParquetSource(Source):
    """One or more Parquet files, in the order of their paths.

    Args:
        files: the files, as `fastxent.sources.dataset.files.list_files` gives them.
        selection: which columns are read, and as what.
        memory: bytes that one reader may hold, about; batches get smaller where it is short.
        verify_checksums: check page checksums, in files that have them.
        filter: which rows are read; the others are as if they were not there.
        on_error: "skip" leaves out files and row groups that cannot be read (see `left_out`), whole.
        batch_bytes: decoded bytes a batch (None: from ``memory``).
        split_bytes: decoded bytes a split, at most.
    """

    batches_last = True

    def __init__(
        self,
        files: Sequence[DataFile],
        selection: Selection,
        *,
        memory: int | None = None,
        verify_checksums: bool = False,
        filter: Filter | None = None,
        on_error: OnError = "raise",
        batch_bytes: int | None = None,
        split_bytes: int = SPLIT_BYTES,
    ) -> None:
        self._selection = selection
        self._memory = memory or DEFAULT_MEMORY
        self._batch_bytes = batch_bytes
        self._groups = RowGroups(self._memory, verify_checksums)
        self._planned: dict[str, Planned] = {}
        self._splits: list[Split] = []
        self._left_out = LeftOuts(on_error)
        self.num_rows = 0
        self._plan(files, filter, split_bytes)

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """What could not be read, so far."""
        return self._left_out.found

    @property
    def stored(self) -> Mapping[str, int]:
        """How many rows each file holds, where there is a filter."""
        return {name: sum(planned.rows) for name, planned in self._planned.items() if planned.filter is not None}

    def splits(self) -> Sequence[Split]:
        """Runs of row groups of one file, of about as many bytes each."""
        return self._splits

    def read(self, split: Split) -> Iterator[Batch]:
        """The row groups of ``split``, as batches."""
        planned = self._planned[split.path]
        offset = split.first_row
        for group in range(split.lo, split.hi):
            if planned.kept[group]:
                read = self._read_whole if self._left_out.skips else self._read_group
                yield from read(planned, group, offset)
            offset += planned.kept[group]

    def _read_whole(self, planned: Planned, group: int, offset: int) -> Iterator[Batch]:
        """The batches of a row group, or none: nothing is handed out before all of it has been decoded.

        What is small beside the memory is held meanwhile, the rest decoded twice.
        """
        try:
            if planned.rows[group] * self._row_bytes <= self._memory // 4:
                batches: Iterator[Batch] = iter(list(self._read_group(planned, group, offset)))
            else:
                for batch in self._read_group(planned, group, offset):
                    yield table.nothing(planned.reading, path=batch.path)
                batches = self._read_group(planned, group, offset)
        except SourceError as error:
            self._left_out.add(error, planned.kept[group])
            return
        yield from batches

    def _read_group(self, planned: Planned, group: int, offset: int) -> Iterator[Batch]:
        path, end, row = planned.file.name, offset + planned.kept[group], 0
        before = sum(planned.rows[:group])
        columns = list(planned.reading.columns)
        if planned.filter is not None:
            columns = list(dict.fromkeys([*columns, *planned.filter.columns]))
        for batch in self._groups.batches(planned, group, columns, self._batch_rows(planned.reading)):
            numbers = None
            count = batch.num_rows
            if not count:
                yield table.nothing(planned.reading, path=path)
                continue
            if planned.filter is not None:
                batch, numbers = planned.filter.apply(batch, before + row)
            row += count
            if batch.num_rows:
                yield table.decode_batch(
                    planned.reading, batch, path=path, first_row=offset,
                    first_id=planned.first_id + offset, row_group=group, numbers=numbers,
                )  # fmt: skip
            offset += batch.num_rows
        if offset != end or row != planned.rows[group]:
            raise SourceError(
                f"the footer promises {planned.rows[group]} rows, {row} were found: "
                "the file is damaged; write or copy it again",
                path=path, row_group=group,
            )  # fmt: skip

    def _batch_rows(self, reading: table.Reading) -> int:
        """Rows that make a batch. A list column holds five times its decoded bytes while it is decoded."""
        if self._batch_bytes is not None:
            return max(1, self._batch_bytes // self._row_bytes)
        budget = max(64 << 10, min(BATCH_BYTES, self._memory // 8))
        if len(reading.columns) > 16:
            budget = max(budget, min(WIDE_ROWS * self._row_bytes, self._memory // 4))
        return max(1, min(budget // self._row_bytes, (2**31 - 1) // max(1, reading.num_classes)))

    def _plan(self, files: Sequence[DataFile], filter: Filter | None, split_bytes: int) -> None:
        footers = self._footers(files)
        self._schema = footers[0].schema
        first = footers[0].reading
        if is_text(self._schema.field(self._selection.target).type):
            self._groups.dictionaries = [self._selection.target]
        self.paths = tuple(footer.file.name for footer in footers)
        width, names = first.num_classes, first.class_names
        kept_bytes = 0
        for footer in footers:
            metadata, file = footer.metadata, footer.file
            rows = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
            kept_bytes += metadata.serialized_size
            self._row_bytes = table.row_bytes(footer.reading, self._schema)
            planned = Planned(
                file, footer.reading, self.num_rows, rows, rows, metadata if kept_bytes <= FOOTER_BYTES else None,
                file.stamp() if file.filesystem is None else file.listed, largest_row_group(metadata), self._row_bytes,
            )  # fmt: skip
            if filter is not None:
                planned = filter.count(planned, footer.schema, self._groups, self._left_out)
            self._planned[file.name] = planned
            self.num_rows += sum(planned.kept)
        total = sum(sum(planned.kept) * planned.row_bytes for planned in self._planned.values())
        share = min(split_bytes, max(LEAST_SPLIT_BYTES, total // SPLITS))
        for planned in self._planned.values():
            self._splits += _splits_of(planned, share, len(self._splits))
        self.num_classes, self.class_names = width, names
        self.dense_target = first.dense_target

    def _footers(self, files: Sequence[DataFile]) -> list[Footer]:
        """The footers of the files that can be read together, with the number of classes and their names."""
        constants = partition_values(files)
        found: list[Footer] = []
        for file, values, footer in zip(files, constants, self._fetched(files), strict=True):
            try:
                if isinstance(footer, SourceError):
                    raise footer
                reading = table.resolve(footer[0], self._selection, file.name, values)
                found.append(Footer(file, reading, *footer))
            except SourceError as error:
                error.path = file.name
                self._left_out.add(error, None if isinstance(footer, SourceError) else footer[1].num_rows)
                last = error
        if not found:
            raise last
        return alike(
            found, self._left_out,
            lambda f: self._groups.probe(f.file, f.metadata, f.reading.predictions[0], self._left_out.skips),
        )  # fmt: skip

    def _fetched(self, files: Sequence[DataFile]) -> Iterator[Any]:
        """Schema and metadata of each file, or the error; remote ones are fetched several at a time."""

        def fetch(file: DataFile) -> Any:
            try:
                return self._groups.footer(file)
            except SourceError as error:
                if not self._left_out.skips:
                    raise
                return error

        if len(files) == 1 or files[0].filesystem is None:
            yield from map(fetch, files)
            return
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(FETCHES) as pool:
            yield from pool.map(fetch, files)


def _splits_of(planned: Planned, split_bytes: int, next_id: int) -> Iterator[Split]:
    path, rows, row_bytes = planned.file.name, planned.kept, planned.row_bytes
    lo = first_row = 0
    held = 0
    for group, count in enumerate(rows):
        held += count
        last = group + 1 == len(rows)
        if held and (last or (held + rows[group + 1]) * row_bytes > split_bytes):
            first_id = planned.first_id + first_row
            yield Split(next_id, path, lo, group + 1, first_row, first_id, held, held * row_bytes)
            next_id, lo, first_row, held = next_id + 1, group + 1, first_row + held, 0
