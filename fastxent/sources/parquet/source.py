"""Parquet files as a source: the footers give a plan, row groups are decoded one at a time, batch by batch.

`pyarrow.dataset` is not used to read: its scanner reads ahead without a bound. Within a split the row groups are
decoded one after the other by the calling thread; threads run side by side on splits of their own, each with its own
reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

from fastxent.base.errors import SourceError
from fastxent.data.batch import Batch
from fastxent.sources.dataset.dataset import Dataset
from fastxent.sources.dataset.footer import Footer
from fastxent.sources.dataset.members import Member, find_members
from fastxent.sources.dataset.reading import Reading, decode_batch, nothing, row_bytes
from fastxent.sources.decode.labels import is_text
from fastxent.sources.decode.pieces import text_pieces
from fastxent.sources.filter import BoundFilter, Filter
from fastxent.sources.parquet.kept_rows import count_kept
from fastxent.sources.parquet.row_groups import ReadPlan, RowGroups
from fastxent.sources.read_errors import LARGEST
from fastxent.sources.skipped import LeftOuts, OnError
from fastxent.sources.source import Selection, Source, Split

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
#: What a stored byte of a list takes where each element becomes a row, about: the number, its place and its row.
ELEMENT_BYTES = 8


@dataclass(frozen=True, slots=True)
class FilePlan:
    """What is read of a file.

    Attributes:
        read: how its row groups are read.
        reading: what becomes of the columns.
        first_id: the number of its first row within the data set.
        starts: the number of the first row of each row group in the file, and of the end.
        kept: how many rows of each row group the filter (if any) leaves.
        filter: which rows are read.
    """

    read: ReadPlan
    reading: Reading
    first_id: int
    starts: tuple[int, ...]
    kept: tuple[int, ...]
    filter: BoundFilter | None = None


class ParquetSource(Source):
    """One or more Parquet files, in the order of their paths.

    It is a plan, which pickles; in another process files are opened, and their footers read, where a split is read.
    Splits are runs of row groups of one file, of about as many bytes each.

    Args:
        dataset: the files.
        selection: which columns are read, and as what.
        memory: bytes that one reader may hold, about; batches get smaller where it is short.
        verify_checksums: check page checksums, in files that have them.
        filter: which rows are read; the others are as if they were not there.
        on_error: "skip" leaves out files and row groups that cannot be read (see `left_out`), whole.
        batch_bytes: decoded bytes a batch (None: from ``memory``).
        split_bytes: decoded bytes a split, at most.
    """

    batches_last = travels = True

    def __init__(
        self,
        dataset: Dataset,
        selection: Selection,
        *,
        memory: int | None = None,
        verify_checksums: bool = False,
        filter: Filter | None = None,
        on_error: OnError = "raise",
        batch_bytes: int | None = None,
        split_bytes: int = SPLIT_BYTES,
    ) -> None:
        self._memory = memory or DEFAULT_MEMORY
        self._batch_bytes = batch_bytes
        self._groups = RowGroups(dataset, self._memory, most=memory or LARGEST, verify_checksums=verify_checksums)
        self._left_out = LeftOuts(on_error)
        self._files: dict[str, FilePlan] = {}
        self.num_rows = 0
        self._plan(find_members(dataset, selection, self._left_out, self._probe), filter)
        self._splits = self._cut(split_bytes)

    @property
    def ways(self) -> Mapping[tuple[str, int], str]:
        """Which way row groups were read in this process."""
        return self._groups.ways

    def read(self, split: Split) -> Iterator[Batch]:
        """The row groups of ``split``, as batches."""
        file = self._files[split.path]
        offset = split.first_row
        for group in range(split.lo, split.hi):
            if file.kept[group]:
                read = self._read_whole if self._left_out.skips else self._read_group
                yield from read(file, group, offset)
            offset += file.kept[group]

    def _read_whole(self, file: FilePlan, group: int, offset: int) -> Iterator[Batch]:
        """The batches of a row group, or none: nothing is handed out before all of it has been decoded.

        What is small beside the memory is held meanwhile, the rest decoded twice.
        """
        try:
            if (file.starts[group + 1] - file.starts[group]) * file.read.row_bytes <= self._memory // 4:
                batches: Iterator[Batch] = iter(list(self._read_group(file, group, offset)))
            else:
                for batch in self._read_group(file, group, offset):
                    yield nothing(file.reading, path=batch.path)
                batches = self._read_group(file, group, offset)
        except SourceError as error:
            self._left_out.add(error, file.kept[group])
            return
        yield from batches

    def _read_group(self, file: FilePlan, group: int, offset: int) -> Iterator[Batch]:
        path, end, row = file.read.file.name, offset + file.kept[group], file.starts[group]
        for batch in self._groups.batches(file.read, group):
            numbers = None
            count = batch.num_rows
            if not count:
                yield nothing(file.reading, path=path)
                continue
            if file.filter is not None:
                batch, numbers = file.filter.apply(batch, row)
            row += count
            for lo, piece in text_pieces(batch, max(64 << 10, min(BATCH_BYTES, self._memory // 8))):
                yield decode_batch(
                    file.reading, piece, path=path, first_row=offset + lo, first_id=file.first_id + offset + lo,
                    row_group=group, numbers=None if numbers is None else numbers[lo : lo + piece.num_rows],
                )  # fmt: skip
            offset += batch.num_rows
        if offset != end or row != file.starts[group + 1]:
            promised, there = file.starts[group + 1] - file.starts[group], row - file.starts[group]
            raise SourceError(
                f"the footer promises {promised} rows, {there} were found: "
                "the file is damaged; write or copy it again",
                path=path, row_group=group,
            )  # fmt: skip

    def _probe(self, member: Member) -> Iterator[Any]:
        return self._groups.probe(member.file, member.reading.predictions[0], skips=self._left_out.skips)

    def _batch_rows(self, reading: Reading, row_bytes: int) -> int:
        """Rows that make a batch. A list column holds five times its decoded bytes while it is decoded."""
        if self._batch_bytes is not None:
            return max(1, self._batch_bytes // row_bytes)
        budget = max(64 << 10, min(BATCH_BYTES, self._memory // 8))
        if len(reading.columns) > 16:
            budget = max(budget, min(WIDE_ROWS * row_bytes, self._memory // 4))
        return max(1, min(budget // row_bytes, (2**31 - 1) // max(1, reading.num_classes)))

    def _plan(self, members: Sequence[Member], filter: Filter | None) -> None:
        first = members[0].reading
        self.files = tuple(member.file for member in members)
        self.paths = tuple(file.name for file in self.files)
        self.num_classes, self.class_names, self.dense_target = first.num_classes, first.class_names, first.dense_target
        self.notes, self.score_names, self.counts_from_one = first.notes, first.score_names, first.counts_from_one
        schema = members[0].footer.schema
        self.flattens = first.flattens
        target = first.selection.target
        if target is not None and target in first.columns and is_text(schema.field(target).type):
            self._groups.dictionaries = [target]
        if filter is not None:
            self.stored = {member.file.name: member.footer.num_rows for member in members}
        width = row_bytes(first, schema)
        bound = [
            None if filter is None else filter.bind(each.schema, of.constants, file.name) for file, each, of in members
        ]
        beside = (*first.selection.extra, *(() if bound[0] is None else bound[0].columns))
        texts = [name for name in beside if name in schema.names and is_text(schema.field(name).type)]
        if texts:  # as dictionaries: a text that is stored once is held once
            self._groups.dictionaries = [*dict.fromkeys([*self._groups.dictionaries, *texts])]
            width += max(_text_bytes(member.footer) for member in members)
        if first.flattens:
            width += ELEMENT_BYTES * max(_text_bytes(member.footer) for member in members)
        rows = self._batch_rows(first, width)
        for (file, footer, reading), rows_kept in zip(members, bound, strict=True):
            read = ReadPlan(file, reading.columns, rows, footer.largest, width, file.planned_stamp)
            plan = FilePlan(read, reading, self.num_rows, tuple(accumulate(footer.rows, initial=0)), footer.rows)
            if rows_kept is not None:
                read = replace(read, columns=tuple(dict.fromkeys([*read.columns, *rows_kept.columns])))
                kept = count_kept(rows_kept, read, footer, self._groups, self._left_out)
                plan = replace(plan, read=read, filter=rows_kept, kept=kept)
            fast = self._groups.fast_columns(file, plan.read.columns, _lists(reading, plan.filter))
            loose = reading.predictions if filter is None else ()
            plan = replace(plan, read=replace(plan.read, fast=fast, loose=loose))
            self._files[file.name] = plan
            self.num_rows += sum(plan.kept)

    def _cut(self, split_bytes: int) -> list[Split]:
        total = sum(sum(file.kept) * file.read.row_bytes for file in self._files.values())
        share = min(split_bytes, max(LEAST_SPLIT_BYTES, total // SPLITS))
        splits: list[Split] = []
        for file in self._files.values():
            splits += _splits_of(file, share, len(splits))
        return splits


def _lists(reading: Reading, filter: BoundFilter | None) -> dict[str, int]:
    """Columns of lists that nobody sees but who decodes scores and targets, and the length that rows should have."""
    selection = reading.selection
    seen = {*selection.extra, *(() if filter is None else filter.columns)}
    names = () if selection.is_topk or reading.flattens else (*reading.predictions[:1], selection.target)
    return {name: max(1, reading.num_classes) for name in names if name is not None and name not in seen}


def _text_bytes(footer: Footer) -> int:
    """At most how many bytes of a row are stored, where those of its texts are not known."""
    stored = () if footer.parquet is None else zip(footer.parquet.group_bytes, footer.rows, strict=True)
    return max((nbytes // rows for nbytes, rows in stored if rows), default=0)


def _splits_of(file: FilePlan, split_bytes: int, next_id: int) -> Iterator[Split]:
    path, rows, row_bytes = file.read.file.name, file.kept, file.read.row_bytes
    lo = first_row = 0
    held = 0
    for group, count in enumerate(rows):
        held += count
        last = group + 1 == len(rows)
        if held and (last or (held + rows[group + 1]) * row_bytes > split_bytes):
            first_id = file.first_id + first_row
            yield Split(next_id, path, lo, group + 1, first_row, first_id, held, held * row_bytes)
            next_id, lo, first_row, held = next_id + 1, group + 1, first_row + held, 0
