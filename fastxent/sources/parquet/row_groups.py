"""Reading row groups of Parquet files: one reader a thread, every error with its place, retries.

A row group is read again from its start after the network failed, in a file opened anew; the rows that have been
handed out already are left away by their number, so none is lost and none comes twice.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow.parquet as pq

from fastxent.base.errors import FastxentError, SourceError, UnavailableError
from fastxent.sources.dataset import retry
from fastxent.sources.dataset.dataset import Dataset
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.dataset.footer import INT96, unreachable
from fastxent.sources.decode.pieces import TEXT_BYTES
from fastxent.sources.pages.damage import Damage, Unusual
from fastxent.sources.pages.footer import ParquetFooter
from fastxent.sources.pages.row_group import (
    VALUE_BYTES,
    Room,
    check_columns,
    fast_columns,
    read_columns,
    room_by_footer,
    side_by_side,
)
from fastxent.sources.parquet import wide_groups
from fastxent.sources.per_thread import PerThread
from fastxent.sources.read_errors import ALLOWANCE, LARGEST, check_damage, check_room, first_line

__all__ = ["ReadPlan", "RowGroups"]

#: Column chunks are read in pieces of this size, so that a giant row group is never held as a whole. 4M rows x 10
#: in one row group, batches of 4 MiB: the peak is 24 MB, 192 MB without pieces; pieces of 1 MiB are no faster and
#: each column holds one.
READ_BYTES = 64 << 10
#: Pieces that are worth a request each, for remote row groups that are too large to be fetched at once.
REMOTE_BYTES = 1 << 20
#: Columns up to which they are read from their pages: each takes 50 us a page, and pyarrow less.
FAST_COLUMNS = 24
#: Columns up to which pages are looked at before pyarrow reads them: 10 us a page.
CHECKED_COLUMNS = 64
#: Bytes of the texts of a batch that there are whatever the memory.
LEAST_TEXT = 64 << 10


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """How a file is read.

    Attributes:
        file: the file.
        columns: the columns that are read, in their order.
        rows: rows of a batch.
        largest: bytes of the largest row group.
        row_bytes: bytes of a decoded row, 0 if unknown.
        stamp: when the file was changed last; None does not look.
        fast: the columns that may be read from their pages, and how many values a row of lists has.
        loose: those of them whose values may lie at any address, for nothing but kernels looks at them.
        coded: the columns that are read as dictionaries.
    """

    file: DataFile
    columns: tuple[str, ...]
    rows: int
    largest: int
    row_bytes: int = 0
    stamp: tuple[int, int] | None = None
    fast: Mapping[str, int] = field(default_factory=dict)
    loose: tuple[str, ...] = ()
    coded: tuple[str, ...] = ()


class RowGroups:
    """Reads row groups of the files of a data set.

    Args:
        dataset: the files.
        memory: bytes that one reader may hold, about.
        most: bytes that a page or a row, which cannot be read in pieces, may take.
        verify_checksums: check page checksums, in files that have them.
    """

    def __init__(self, dataset: Dataset, memory: int, *, most: int = LARGEST, verify_checksums: bool = False) -> None:
        self.dataset = dataset
        self._memory, self._most = memory, most
        self._checksums = verify_checksums
        self._last = PerThread()
        #: columns that are read as dictionaries where they are stored so
        self.dictionaries: list[str] = []
        #: which way each row group of each file was read, "pages" or "pyarrow"
        self.ways: dict[tuple[str, int], str] = {}
        #: files in which pages were not plain
        self._unusual: set[str] = set()

    def probe(self, file: DataFile, column: str, *, skips: bool = False) -> Iterator[Any]:
        """One column alone, in small batches: what the number of classes is found from. It may pass over damage."""
        footer = self.dataset.footer(file)
        plan = ReadPlan(file, (column,), 256, footer.largest)
        for group in range(len(footer.rows)):
            try:
                yield from self.batches(plan, group)
            except SourceError as error:
                if not skips or isinstance(error, UnavailableError):
                    raise

    def fast_columns(self, file: DataFile, columns: Sequence[str], lists: Mapping[str, int]) -> dict[str, int]:
        """Those of the columns of a file that may be read from their pages; ``lists``: so many values a row."""
        footer = self.dataset.footer(file)
        if footer.parquet is None or file.is_remote or len(columns) > FAST_COLUMNS:
            return {}
        fast = fast_columns(footer.schema, footer.parquet, lists)
        return {name: fast[name] for name in columns if name in fast}

    def batches(self, plan: ReadPlan, group: int) -> Iterator[Any]:
        """Record batches of one row group; whatever goes wrong is told with path, row group and column.

        Those without rows are moments to stop, and lack columns.
        """
        done = 0
        attempts = retry.Attempts(plan.file.is_remote)
        while True:
            try:
                for batch in _after(self._decoded(plan, group), done):
                    done += batch.num_rows
                    yield batch
                return
            except FastxentError:
                raise
            except Exception as error:
                self._close(plan.file)
                if not attempts.again(error):
                    raise self._blame(plan, group, error, attempts) from error

    def _decoded(self, plan: ReadPlan, group: int) -> Iterator[Any]:
        """Record batches of all columns: from the pages where they are plain, else by pyarrow.

        What makes pages unusual may come late; pyarrow then starts anew, without the rows that there were.
        """
        done, place = 0, (plan.file.name, group)
        if plan.fast and plan.file.name not in self._unusual:
            self.ways[place] = "pages"
            try:
                for batch in self._by_pages(plan, group):
                    done += batch.num_rows
                    yield batch
                return
            except Unusual:
                self._unusual.add(plan.file.name)
        self.ways[place] = "pyarrow"
        yield from _after(self._by_pyarrow(plan, group), done)

    def _by_pages(self, plan: ReadPlan, group: int) -> Iterator[Any]:
        """Record batches of all columns, of which those that can be are decoded from their pages."""
        plan.file.check_unchanged(plan.stamp)
        footer = self.dataset.footer(plan.file)
        assert footer.parquet is not None
        streams = [
            read_columns(
                self.dataset.open_files.get(plan.file).read_at, footer.parquet, group, footer.schema, plan.fast,
                loose=plan.loose, rows=plan.rows, memory=self._memory // 2, checksums=self._checksums,
            )
        ]  # fmt: skip
        others = tuple(name for name in plan.columns if name not in plan.fast)
        if others:
            streams.append(self._by_pyarrow(replace(plan, columns=others), group))
        return side_by_side(streams)

    def _by_pyarrow(self, plan: ReadPlan, group: int) -> Iterator[Any]:
        """Record batches of all columns, some columns first where they do not fit side by side."""
        if self._last.key != self._key(plan):
            plan.file.check_unchanged(plan.stamp)
        footer = self.dataset.footer(plan.file).parquet
        assert footer is not None
        rooms = self._rooms(plan, group, footer)
        coded = tuple(name for name in self.dictionaries if name in rooms and rooms[name].coded)
        plan = replace(plan, rows=self._rows(plan, group, rooms, coded), coded=coded)
        reader = self._reader(plan)
        if len(plan.columns) == 1:
            return _batches(reader, plan.rows, group, plan.columns)

        def blocks_in(memory: int) -> list[list[str]]:
            return wide_groups.blocks_of(footer, group, plan.columns, memory, _read_bytes(plan.file))

        blocks = blocks_in(self._memory // 2)
        if len(blocks) == 1:
            return _batches(reader, plan.rows, group, plan.columns)
        held = 0 < footer.rows[group] * plan.row_bytes <= self._memory // 4 * 3
        blocks = blocks_in(self._memory // 4) if held else blocks
        return wide_groups.in_blocks(blocks, lambda block: _batches(reader, plan.rows, group, block), held=held)

    def _rooms(self, plan: ReadPlan, group: int, footer: ParquetFooter) -> dict[str, Room]:
        """What must be held of every column: local pages are looked at, others where the footer leaves a doubt."""
        half, most = self._memory // 2, max(self._most, ALLOWANCE)
        known: dict[str, Room | None] = {}
        if plan.file.is_remote or len(plan.columns) > CHECKED_COLUMNS:
            known = {name: room_by_footer(footer, group, name, most, half) for name in plan.columns}
        asked = [name for name in plan.columns if known.get(name) is None]
        read_at = self.dataset.open_files.get(plan.file).read_at
        looked = check_columns(read_at, footer, group, asked, max(half, ALLOWANCE))
        return {name: room for name, room in known.items() if room is not None} | looked

    def _rows(self, plan: ReadPlan, group: int, rooms: Mapping[str, Room], coded: Collection[str]) -> int:
        """Rows of a batch of which every one may be as long as the longest; texts are ``coded``, or written out.

        Raises:
            OutOfMemoryError: a page or a row takes more than a reader may hold.
        """
        for name, room in rooms.items():
            check_room("a page of it", room.page, self._most, plan.file.name, group, name)
            what = f"a row of {room.values:,} values"
            check_room(what, VALUE_BYTES * room.values, self._most, plan.file.name, group, name)
            if name not in coded:
                check_room("a text of it", room.text, self._most, plan.file.name, group, name)
        longest = VALUE_BYTES * max(room.values for room in rooms.values())
        texts = sum(room.text for name, room in rooms.items() if name not in coded)
        rows = min(
            self._memory // max(1, longest), max(LEAST_TEXT, min(TEXT_BYTES, self._memory // 8)) // max(1, texts)
        )
        return max(1, min(plan.rows, rows))

    def _reader(self, plan: ReadPlan) -> Any:
        """This thread's reader of the file; the last one is kept, unless it reads other columns as dictionaries."""
        key = self._key(plan)
        if self._last.key != key:
            self._last.clear()
            self._last.keep(key, self._open(plan.file, plan.largest, plan.coded))
        return self._last.value

    def _key(self, plan: ReadPlan) -> tuple[str, ...]:
        """What a reader that is kept is for."""
        return plan.file.name, *plan.coded

    def _close(self, file: DataFile) -> None:
        self._last.clear()
        self.dataset.open_files.drop(file)

    def _open(self, file: DataFile, largest: int, coded: Sequence[str] = (), *, known: bool = True) -> Any:
        """A reader. Remote row groups are fetched at once if they are small beside the memory, else in pieces."""
        at_once = file.is_remote and largest <= self._memory // 2
        return pq.ParquetFile(
            self.dataset.open_files.get(file),
            metadata=self.dataset.footer(file).metadata if known else None,
            pre_buffer=at_once,
            buffer_size=0 if at_once else _read_bytes(file),
            coerce_int96_timestamp_unit=INT96,
            page_checksum_verification=self._checksums,
            read_dictionary=list(coded) or None,
        )

    def _blame(self, plan: ReadPlan, group: int, error: BaseException, attempts: retry.Attempts) -> SourceError:
        """Find out by reading column by column which one is damaged."""
        file, guilty = plan.file, None
        if retry.is_transient(error, file.is_remote):
            return unreachable(file, error, group, attempts.made)
        try:
            file.check_unchanged(plan.stamp)
        except UnavailableError as changed:
            return changed
        except OSError:
            pass  # it cannot be asked any more
        check_damage(error, file.name, group)
        if isinstance(error, Damage):
            guilty = error.column
        elif len(plan.columns) <= 64:
            for name in plan.columns:
                try:
                    for _ in _batches(self._open(file, plan.largest, known=False), 4096, group, [name]):
                        pass
                except Exception as again:
                    check_damage(again, file.name, group, name)
                    guilty = name
                    break
        return SourceError(
            f"cannot be decoded: {first_line(error)}. The file is damaged or cut short; write or copy it again",
            path=file.name, row_group=group, column=guilty,
        )  # fmt: skip


def _read_bytes(file: DataFile) -> int:
    return REMOTE_BYTES if file.is_remote else READ_BYTES


def _after(batches: Iterator[Any], done: int) -> Iterator[Any]:
    """``batches`` without the first ``done`` rows."""
    for batch in batches:
        if batch.num_rows and done >= batch.num_rows:
            done -= batch.num_rows
            continue
        yield batch.slice(done) if done else batch
        done = 0 if batch.num_rows else done


def _batches(reader: Any, rows: int, group: int, columns: Sequence[str]) -> Iterator[Any]:
    batches: Iterator[Any] = reader.iter_batches(
        batch_size=rows, row_groups=[group], columns=list(columns), use_threads=False
    )
    return batches
