"""Rows whose targets lie in a table of their own, which is looked up by id."""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastxent.base.errors import DataError, OutOfMemoryError, SourceError, UsageError
from fastxent.base.text import printable
from fastxent.data.batch import Batch
from fastxent.data.plain_column import plain_column, text_of
from fastxent.data.spec import Task
from fastxent.data.stored_labels import StoredLabels
from fastxent.sources.dataset.dataset import find_dataset
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.dataset.reading import missing_column
from fastxent.sources.dataset.text import text_batches
from fastxent.sources.decode import numpy_blocks
from fastxent.sources.decode.labels import decode_target
from fastxent.sources.decode.runs import is_list
from fastxent.sources.object_kinds import is_lazy, is_paths
from fastxent.sources.skipped import LeftOut
from fastxent.sources.source import Source, Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LabeledSource", "Labels", "label_column"]

#: Ids that a message names.
SHOWN = 5
#: Bytes that targets and their ids may take where nobody says it.
HELD = 2 << 30
#: Bytes a row that its place takes beside what is stored.
PLACE = 16


class Labels:
    """The targets of a table by id, held in memory: ids in their order, and which row of the table each is of.

    Args:
        data: a path, or several, of Parquet, Arrow or text, or a table.
        on: the columns of ids.
        target: the column of targets.
        memory: bytes that they may take; with more they are refused.
    """

    def __init__(self, data: Any, on: tuple[str, ...], target: str, memory: int | None = None) -> None:
        self.name, self.target = str(data) if is_paths(data) else "<labels>", target
        table = _columns(data, (*on, target), self.name, HELD if memory is None else memory)
        self.targets = table.column(target).combine_chunks()
        self.on = on
        places = [_codes(table.column(name), name, self.name) for name in on]
        self._known = [np.unique(codes) for codes in places]
        if math.prod(len(values) + 1 for values in self._known) >= 2**63:
            raise UsageError(f"on: {' and '.join(on)} have too many values together; pair by one column")
        codes = self._joined(places)[0]
        self._order = np.argsort(codes, kind="stable")
        self._codes = codes[self._order]
        held = pa.record_batch({"": self.targets})
        parts = (self._codes.tobytes(), self._order.tobytes(), *map(np.ndarray.tobytes, self._known), held.serialize())
        self.digest = hashlib.sha256(b"".join(map(bytes, parts))).hexdigest()
        twice = np.flatnonzero(self._codes[1:] == self._codes[:-1])
        if len(twice):
            shown = ", ".join(_shown(table, on, int(self._order[place])) for place in twice[:SHOWN])
            raise DataError(f"{self.name}: {len(twice):,} ids occur more than once ({shown})")

    def _joined(self, places: list[NDArray[Any]]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """One number for the ids of each row, and whether all of them are known."""
        joined = np.zeros(len(places[0]), np.int64)
        known = np.ones(len(places[0]), np.bool_)
        for codes, values in zip(places, self._known, strict=True):
            if values.dtype.kind != codes.dtype.kind:
                raise DataError(f"{self.name}: the ids are text on one side and numbers on the other; write them alike")
            at = np.minimum(np.searchsorted(values, codes), max(0, len(values) - 1))
            known &= (values[at] == codes) if len(values) else False
            joined = joined * (len(values) + 1) + at
        return joined, known

    def places_of(self, columns: Sequence[Any], path: str) -> NDArray[np.int64]:
        """The row of the table that each row of ids means, -1 where there is none."""
        codes, known = self._joined([_codes(each, name, path) for each, name in zip(columns, self.on, strict=True)])
        if not len(self._codes):
            return np.full(len(codes), -1)
        at = np.minimum(np.searchsorted(self._codes, codes), len(self._codes) - 1)
        return np.where(known & (self._codes[at] == codes), self._order[at], -1)


def label_column(data: Any, on: tuple[str, ...]) -> str:
    """The one column of a table of targets that is no id; raises UsageError if there are several."""
    if isinstance(data, Labels):
        return data.target
    names = [name for name in _schema(data).names if name not in on]
    if len(names) != 1:
        where = data if is_paths(data) else "the table"
        raise UsageError(f"target: name the column of {where} with the targets, of {', '.join(names) or 'none'}")
    return str(names[0])


class LabeledSource(Source):
    """A source without targets, and a table of them.

    A row without a target there is one whose target is null. A target is for one row: two rows of one id are an error.
    """

    def __init__(self, rows: Source, labels: Labels, task: Task, stored: StoredLabels | None) -> None:
        self._rows, self._labels, self._task, self._stored = rows, labels, task, stored
        self.num_classes, self.num_rows, self.class_names = rows.num_classes, rows.num_rows, rows.class_names
        self.score_names, self.paths, self.files, self.stored = rows.score_names, rows.paths, rows.files, rows.stored
        self.dense_target, self.digest = is_list(labels.targets.type), labels.digest
        self.batches_last = rows.batches_last
        self._used = np.zeros(len(labels.targets), np.bool_)
        self._lock = threading.Lock()
        self._splits = rows.splits()

    def check_travels(self) -> None:
        """Raise `UsageError`: the targets are in the memory of this process."""
        raise UsageError(f"{self._labels.name}: targets of a file of their own are looked up by this process alone")

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Source.notes`; how many targets are of no row."""
        idle = int(len(self._used) - np.count_nonzero(self._used))
        own = (f"{self._labels.name}: {idle:,} of {len(self._used):,} targets are of no row that was read",)
        return (*self._rows.notes, *(own if idle else ()))

    @notes.setter
    def notes(self, notes: tuple[str, ...]) -> None:
        self._rows.notes = notes

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """See `Source.left_out`."""
        return self._rows.left_out

    @property
    def ways(self) -> Mapping[tuple[str, int], str]:
        """See `Source.ways`."""
        return self._rows.ways

    def stamps(self) -> Mapping[str, tuple[int, int] | None]:
        """See `Source.stamps`."""
        return self._rows.stamps()

    def read(self, split: Split) -> Iterator[Batch]:
        """The batches with their targets."""
        for batch in self._rows.read(split):
            yield self._with_targets(batch) if batch.num_rows else batch

    def _with_targets(self, batch: Batch) -> Batch:
        labels, extra = self._labels, batch.extra or {}
        places = labels.places_of([extra[name] for name in labels.on], batch.path)
        self._use(places, batch)
        column = labels.targets.take(pa.array(places, mask=places < 0))
        try:
            target, doubtful = decode_target(
                column, self._task, self.num_classes, self.class_names, self._stored, batch.mask
            )
        except DataError as error:
            raise SourceError(str(error), path=labels.name) from error
        return replace(batch, target=target, status=numpy_blocks.merge_status(batch.status, doubtful))

    def _use(self, places: NDArray[np.int64], batch: Batch) -> None:
        """Note which targets are used; raises DataError for one that was used before."""
        here = places[places >= 0]
        with self._lock:
            found, counts = np.unique(here, return_counts=True)
            again = found[(counts > 1) | self._used[found]]
            self._used[found] = True
        if len(again):
            row = int(np.flatnonzero(places == again[0])[-1])
            extra = batch.extra or {}
            shown = ", ".join(printable(extra[name][row]) for name in self._labels.on)
            what = " and ".join(self._labels.on)
            raise DataError(f"{batch.path}, row {batch.number_of(row)} (from 0): {what} {shown} occurs more than once")


def _schema(data: Any) -> Any:
    if is_paths(data):
        return find_dataset(data).first_readable()[1].schema
    return pa.table(data.head(0).collect()).schema if is_lazy(data) else pa.table(data).schema


def _columns(data: Any, names: tuple[str, ...], shown: str, memory: int) -> Any:
    """Some columns of files or of a table, as a table; raises OutOfMemoryError where they take more than ``memory``."""
    schema = _schema(data)
    for name in names:
        if name not in schema.names:
            raise missing_column(schema, name, shown)
    if not is_paths(data):
        pieces = iter([pa.table(data.collect() if is_lazy(data) else data).select(list(names))])
    else:
        dataset = find_dataset(data)
        pieces = (piece for file in dataset.files for piece in _of_file(file, dataset.format, names, schema))
    held, taken = [pa.table(schema.empty_table().select(list(names)))], 0
    for piece in pieces:
        taken += piece.nbytes + PLACE * piece.num_rows
        if taken > memory:
            raise OutOfMemoryError(
                f"the ids and targets take more than the {memory >> 20:,} MiB that memory= allows",
                path=shown,
                cure="give more, or join them to the predictions once, as DuckDB does: COPY (SELECT * FROM "
                f"'predictions.parquet' JOIN 'labels.parquet' USING ({', '.join(names[:-1])})) TO 'joined.parquet'",
            )
        held.append(piece)
    return pa.concat_tables(held, promote_options="permissive")


def _of_file(file: DataFile, format: str, names: tuple[str, ...], schema: Any) -> Iterator[Any]:
    """Some columns of a file, piece by piece."""
    if format == "text":
        kinds = {name: schema.field(name).type for name in names}
        as_table = pa.schema(list(kinds.items()))
        yield from (pa.Table.from_batches([batch], as_table) for batch in text_batches(file, names, kinds))
    elif format == "parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(file.open()) as opened:
            yield from (pa.Table.from_batches([batch]) for batch in opened.iter_batches(columns=list(names)))
    else:
        import pyarrow.feather

        yield pyarrow.feather.read_table(file.open(), columns=list(names))


def _codes(column: Any, name: str, path: str) -> NDArray[Any]:
    """Ids as numbers, or as bytes of text."""
    column = plain_column(column)
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    if column.null_count:
        raise DataError(f"{path}, column {name!r}: {column.null_count} ids are null; a row without an id has no target")
    if pa.types.is_integer(column.type):
        try:
            return np.asarray(column.cast(pa.int64()))
        except pa.ArrowInvalid:
            raise DataError(f"{path}, column {name!r}: an id is above 2^63 - 1; write such ids as text") from None
    text = None if pa.types.is_floating(column.type) else text_of(column)
    if text is None:
        raise UsageError(
            f"on: column {name!r} of {path} holds {column.type}; ids are integers, text, dates or the like"
        )
    if pc.any(pc.match_substring(text, "\0")).as_py():
        raise DataError(f"{path}, column {name!r}: an id holds a zero byte")
    return np.asarray(text.cast(pa.large_binary())).astype(np.bytes_) if len(text) else np.zeros(0, "S1")


def _shown(table: Any, on: tuple[str, ...], row: int) -> str:
    return " and ".join(f"{name} {printable(table.column(name)[row])}" for name in on)
