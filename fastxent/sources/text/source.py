"""CSV, TSV and JSON lines as a source: all files one after the other, in bounded memory.

Where a row begins is known only to who has read what is before it, so there is one split, whose batches are scored by
all threads.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from fastxent.base.errors import SourceError, UsageError
from fastxent.data.batch import Batch
from fastxent.sources.dataset.dataset import Dataset
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.dataset.reading import Reading, decode_batch, nothing, resolve, row_bytes, settle
from fastxent.sources.dataset.standard_input import StandardInput
from fastxent.sources.dataset.text import text_batches, with_floats
from fastxent.sources.filter import BoundFilter, Filter
from fastxent.sources.skipped import LeftOuts, OnError
from fastxent.sources.source import Selection, Source, Split

__all__ = ["TextSource"]

SPLIT_BYTES = 8 << 20


class TextSource(Source):
    """Files of text in the order of their paths; the first one says the types of all.

    Args:
        dataset: the files.
        selection: which columns are read, and as what.
        filter: which rows are read.
        on_error: "skip" leaves out files that cannot be parsed to their end, whole: each is parsed once beforehand.
    """

    batches_last = travels = True

    def __init__(
        self, dataset: Dataset, selection: Selection, filter: Filter | None = None, on_error: OnError = "raise"
    ) -> None:
        self._left_out = LeftOuts(on_error)
        if self._left_out.skips and any(isinstance(file, StandardInput) for file in dataset.files):
            raise UsageError("on_error='skip' parses text twice, and standard input is read once; write it to a file")
        first, _ = dataset.first_readable(skips=self._left_out.skips)
        constants = dataset.partitions[dataset.files.index(first)]
        self.paths = dataset.names
        self.files = dataset.files if len(dataset.files) == 1 else ()
        self.num_rows = -1
        others = {selection.target, selection.mask, selection.ids, *selection.extra} - set(selection.predictions)
        numbers = [*selection.predictions, *([] if selection.weight is None else [selection.weight])]
        schema = with_floats(dataset.footer(first).schema, numbers, others)
        reading = resolve(schema, selection, first.name, constants)
        bound = None if filter is None else filter.bind(schema, constants, first.name)
        self._columns = tuple(dict.fromkeys([*reading.columns, *(bound.columns if bound else ())]))
        self._columns = tuple(name for name in self._columns if name in schema.names)
        self._kinds = {name: schema.field(name).type for name in self._columns}
        reading = settle(reading, text_batches(first, self._columns, self._kinds), first.name)
        self.num_classes, self.class_names = reading.num_classes, reading.class_names
        self.dense_target, self.notes, self.flattens = reading.dense_target, reading.notes, reading.flattens
        self._step = max(1, SPLIT_BYTES // row_bytes(reading, None))
        self._read: list[tuple[DataFile, Reading, BoundFilter | None]] = [
            (
                file, replace(reading, constants=own),
                None if filter is None else filter.bind(schema, own, file.name),
            )
            for file, own in zip(dataset.files, dataset.partitions, strict=True)
        ]  # fmt: skip
        nbytes = sum((file.planned_stamp or (0, 0))[0] for file in dataset.files)
        self._splits = [Split(0, first.name, 0, 1, 0, 0, -1, nbytes)]

    def check_travels(self) -> None:
        """Raise `UsageError` for standard input, which is this process's own."""
        if any(isinstance(file, StandardInput) for file, *_ in self._read):
            raise UsageError(f"{self.paths[0]}: standard input is read by this process alone; write it to a file")

    def stamps(self) -> Mapping[str, tuple[int, int] | None]:
        """See `Source.stamps`."""
        return {file.name: file.planned_stamp for file, *_ in self._read}

    def read(self, split: Split) -> Iterator[Batch]:
        """The rows of all files."""
        number = 0
        stored: dict[str, int] = {}
        for file, reading, bound in self._read:
            if self._left_out.skips:
                yield from self._parse(file, reading)
                if any(each.path == file.name for each in self.left_out):
                    continue
            row = stored[file.name] = 0
            file.read_on()
            for batch in text_batches(file, self._columns, self._kinds):
                for lo in range(0, batch.num_rows, self._step):
                    piece, numbers = batch.slice(lo, self._step), None
                    passed, stored[file.name] = stored[file.name], stored[file.name] + piece.num_rows
                    if bound is not None:
                        self.stored = dict(stored)
                        piece, numbers = bound.apply(piece, passed)
                    yield decode_batch(reading, piece, path=file.name, first_row=row, first_id=number, numbers=numbers)
                    row += piece.num_rows
                    number += piece.num_rows

    def _parse(self, file: DataFile, reading: Reading) -> Iterator[Batch]:
        """Moments to stop, while a file is parsed to see whether it can be; if not, it is left out."""
        try:
            for _ in text_batches(file, self._columns, self._kinds):
                yield nothing(reading, path=file.name)
        except SourceError as error:
            self._left_out.add(error, None)
