"""Reading row groups of Parquet files: one open reader a thread, every error told with its place, retries.

A row group is read again from its start after the network failed, in a file opened anew; the rows that have been
handed out already are left away by their number, so none is lost and none comes twice.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from fastxent.base.errors import DataError, OutputError, SourceError
from fastxent.sources import table
from fastxent.sources.dataset import retry
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.parquet import wide_groups
from fastxent.sources.read_errors import DAMAGE, first_line

if TYPE_CHECKING:
    from fastxent.sources.filter import BoundFilter

__all__ = ["Planned", "RowGroups", "largest_row_group"]

#: Column chunks are read in pieces of this size, so that a giant row group is never held as a whole. 4M rows x 10
#: in one row group, batches of 4 MiB: the peak is 24 MB, 192 MB without pieces; pieces of 1 MiB are no faster and
#: each column holds one.
READ_BYTES = 64 << 10
#: Pieces that are worth a request each, for remote row groups that are too large to be fetched at once.
REMOTE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Planned:
    """What is remembered of a file: its row groups, its footer if that is small, and when it was changed last.

    ``rows`` are those in the file, ``kept`` those that the filter (if any) leaves.
    """

    file: DataFile
    reading: table.Reading
    first_id: int
    rows: tuple[int, ...]
    kept: tuple[int, ...]
    metadata: Any
    stamp: tuple[int, int] | None
    largest: int  #: bytes of the largest row group
    row_bytes: int = 0  #: of a row when it is decoded, if that is known
    filter: BoundFilter | None = None


class RowGroups:
    """Opens Parquet files and reads their row groups.

    Args:
        memory: bytes that one reader may hold, about.
        verify_checksums: check page checksums, in files that have them.
    """

    def __init__(self, memory: int, verify_checksums: bool) -> None:
        self._memory = memory
        self._checksums = verify_checksums
        self._local = threading.local()
        #: columns that are read as dictionaries
        self.dictionaries: list[str] = []

    def __getstate__(self) -> dict[str, Any]:
        """For workers elsewhere: without this process's open files."""
        return {name: value for name, value in self.__dict__.items() if name != "_local"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _local=threading.local())

    def footer(self, file: DataFile) -> tuple[Any, Any]:
        """The schema and the metadata of a file."""

        def read() -> tuple[Any, Any]:
            reader = self._open(file)
            found = reader.schema_arrow, reader.metadata
            reader.close()
            return found

        try:
            return retry.call(read, file.filesystem is not None)
        except DAMAGE as error:
            if retry.is_transient(error, file.filesystem is not None):
                raise _unreachable(file, error) from error
            raise SourceError(
                f"is not a readable Parquet file: {first_line(error)}. It is damaged, cut short or something else; "
                "write or copy it again",
                path=file.name,
            ) from error

    def probe(self, file: DataFile, metadata: Any, column: str, skip: bool = False) -> Iterator[Any]:
        """One column alone, in small batches: what the number of classes is found from. ``skip`` passes over damage."""
        for group in range(metadata.num_row_groups):
            try:
                yield from self.plain_batches(file, metadata, group, [column], 256)
            except SourceError:
                if not skip:
                    raise

    def plain_batches(self, file: DataFile, metadata: Any, group: int, columns: list[str], rows: int) -> Iterator[Any]:
        """`batches` of a file that nothing was planned of."""
        planned = Planned(
            file, None, 0, (), (), metadata, None, largest_row_group(metadata)  # type: ignore[arg-type]
        )  # fmt: skip
        return self.batches(planned, group, columns, rows)

    def batches(self, planned: Planned, group: int, columns: list[str], rows: int) -> Iterator[Any]:
        """Record batches of one row group; whatever goes wrong is told with path, row group and column.

        Those without rows are moments to stop, and lack columns.
        """
        done = 0
        attempts = retry.Attempts(planned.file.filesystem is not None)
        while True:
            try:
                for batch in _after(self._decoded(planned, rows, group, columns), done):
                    done += batch.num_rows
                    yield batch
                return
            except (DataError, OutputError):
                raise
            except DAMAGE as error:
                self._close()
                if not attempts.again(error):
                    raise self._blame(planned, group, columns, error, attempts) from error

    def _decoded(self, planned: Planned, rows: int, group: int, columns: list[str]) -> Iterator[Any]:
        """Record batches of ``rows`` rows, some columns first where they do not fit side by side."""
        reader = self._reader(planned)
        metadata = reader.metadata.row_group(group)

        def blocks_in(memory: int) -> list[list[str]]:
            return wide_groups.blocks_of(metadata, columns, memory, self._read_bytes(planned.file))

        blocks = blocks_in(self._memory // 2)
        if len(blocks) == 1:
            return _batches(reader, rows, group, columns)
        held = 0 < metadata.num_rows * planned.row_bytes <= self._memory // 4 * 3
        blocks = blocks_in(self._memory // 4) if held else blocks
        return wide_groups.in_blocks(blocks, lambda block: _batches(reader, rows, group, list(block)), held=held)

    def _read_bytes(self, file: DataFile) -> int:
        return READ_BYTES if file.filesystem is None else REMOTE_BYTES

    def _reader(self, planned: Planned) -> Any:
        """This thread's reader of the file; the last one is kept, unless it reads other columns as dictionaries."""
        wanted = planned.file.name, tuple(self.dictionaries)
        kept, reader = getattr(self._local, "reader", None) or (None, None)
        if kept != wanted:
            self._close()
            if planned.stamp is not None and planned.file.stamp() != planned.stamp:
                raise SourceError("has changed since reading began; start again", path=planned.file.name)
            reader = self._open(planned.file, planned.metadata, planned.largest)
            self._local.reader = (wanted, reader)
        return reader

    def _close(self) -> None:
        held = getattr(self._local, "reader", None)
        self._local.reader = None
        if held is not None:
            with suppress(Exception):
                held[1].close()

    def _open(self, file: DataFile, metadata: Any = None, largest: int = 0) -> Any:
        """A reader. Remote row groups are fetched at once if they are small beside the memory, else in pieces."""
        remote = file.filesystem is not None
        at_once = remote and largest <= self._memory // 2
        return pq.ParquetFile(
            file.open(),
            metadata=metadata,
            pre_buffer=at_once,
            buffer_size=0 if at_once else self._read_bytes(file),
            page_checksum_verification=self._checksums,
            read_dictionary=self.dictionaries or None,
        )

    def _blame(
        self, planned: Planned, group: int, columns: list[str], error: BaseException, attempts: retry.Attempts
    ) -> SourceError:
        """Find out by reading column by column which one is damaged."""
        file, guilty = planned.file, None
        if retry.is_transient(error, file.filesystem is not None):
            return _unreachable(file, error, group, attempts)
        with suppress(*DAMAGE):
            if planned.stamp is not None and file.stamp() != planned.stamp:
                return SourceError("has changed since reading began; start again", path=file.name)
        if len(columns) <= 64:
            for name in columns:
                try:
                    for _ in _batches(self._open(file, None, planned.largest), 4096, group, [name]):
                        pass
                except DAMAGE:
                    guilty = name
                    break
        return SourceError(
            f"cannot be decoded: {first_line(error)}. The file is damaged or cut short; write or copy it again",
            path=file.name, row_group=group, column=guilty,
        )  # fmt: skip


def largest_row_group(metadata: Any) -> int:
    """Bytes of the largest row group of a file."""
    return max((metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups)), default=0)


def _unreachable(
    file: DataFile, error: BaseException, group: int | None = None, attempts: retry.Attempts | None = None
) -> SourceError:
    tries = retry.ATTEMPTS if attempts is None else attempts.made
    message = f"cannot be reached, after {tries} attempts: {first_line(error)}"
    return SourceError(message, path=file.name, row_group=group)


def _after(batches: Iterator[Any], done: int) -> Iterator[Any]:
    """``batches`` without the first ``done`` rows."""
    for batch in batches:
        if batch.num_rows and done >= batch.num_rows:
            done -= batch.num_rows
            continue
        yield batch.slice(done) if done else batch
        done = 0 if batch.num_rows else done


def _batches(reader: Any, rows: int, group: int, columns: list[str]) -> Iterator[Any]:
    batches: Iterator[Any] = reader.iter_batches(
        batch_size=rows, row_groups=[group], columns=columns, use_threads=False
    )
    return batches
