"""Where the rows of one output go, in order: a Parquet file, a file of text, or a table in memory.

Files appear whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from fastxent.base.atomic_files import writing
from fastxent.base.errors import SourceError, UsageError
from fastxent.engine.row_files.columns import RowColumns
from fastxent.engine.row_files.record import RECORD_KEY
from fastxent.sources.read_errors import first_line
from fastxent.storage.layout import leaves
from fastxent.storage.output_paths import TEXT_ENDINGS
from fastxent.storage.parquet_writer import PendingParquet
from fastxent.storage.place import pending, shown

__all__ = ["RowSink", "RowTable", "writer_of"]

#: A row group is written when it has this many rows, or this many bytes (kept columns may be wide).
RESULT_GROUP_ROWS = 1 << 20
RESULT_GROUP_BYTES = 128 << 20
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)


class RowSink:
    """Takes record batches of rows; the first one says the types of the kept columns.

    Args:
        columns: the columns of the rows.
    """

    def __init__(self, columns: RowColumns) -> None:
        self._columns = columns
        self._schema: Any = None

    def write(self, piece: Any, source: str) -> None:
        """Add a record batch of rows that were read from ``source``."""
        if self._schema is None:
            self._begin_with(piece.schema)
        with _naming(source):
            self._add(piece if piece.schema.equals(self._schema) else self._cast(piece, source))

    def finish(self, record: Mapping[str, Any], inputs: Sequence[str]) -> None:
        """There are no more rows, and what was made of them is whole.

        Without rows the types of kept columns are those of the first of the ``inputs``.
        """
        if self._schema is None:
            kept = _kept_types(inputs, self._columns.keep)
            self._begin_with(pa.schema([pa.field(name, kept.get(name, pa.null())) for name in self._columns.keep]))
        with _naming(inputs[0] if inputs else None):
            self._end(record)

    def abort(self) -> None:
        """Leave nothing behind; does nothing after `finish`."""

    def _begin_with(self, schema: Any) -> None:
        self._schema = pa.schema([*map(schema.field, self._columns.keep), *self._columns.fields])
        self._begin()

    def _begin(self) -> None:
        """The schema is known."""

    def _add(self, piece: Any) -> None:
        """Take a record batch of the schema."""
        raise NotImplementedError

    def _end(self, record: Mapping[str, Any]) -> None:
        """All rows are there."""

    def _cast(self, piece: Any, source: str) -> Any:
        """Files of one data set may hold a kept column as other types; those of the first one count."""
        columns = []
        for field in self._schema:
            column = piece.column(field.name)
            try:
                columns.append(column if column.type.equals(field.type) else column.cast(field.type))
            except (pa.ArrowException, ValueError) as error:
                raise SourceError(
                    f"holds {column.type} that cannot be kept as {field.type}, the type in the files before it; "
                    "write the files alike or leave the column out",
                    path=source,
                    column=field.name,
                ) from error
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)


class RowTable(RowSink):
    """All rows as an Arrow table, which is ``table`` in the end."""

    def __init__(self, columns: RowColumns) -> None:
        super().__init__(columns)
        self._pieces: list[Any] = []
        self.table: Any = None

    def _add(self, piece: Any) -> None:
        self._pieces.append(piece)

    def _end(self, record: Mapping[str, Any]) -> None:
        self.table = pa.Table.from_batches(self._pieces, self._schema)


class _ParquetRows(RowSink):
    """One Parquet file, which says of itself what it was made from; record batches are gathered into row groups."""

    def __init__(self, path: str, columns: RowColumns, overwrite: bool) -> None:
        super().__init__(columns)
        self._file = PendingParquet(
            path, overwrite=overwrite, group_bytes=RESULT_GROUP_BYTES, group_rows=RESULT_GROUP_ROWS
        )

    def abort(self) -> None:
        self._file.abort()

    def _begin(self) -> None:
        kept = self._schema.field
        _check_kept(self._schema, self._columns.keep, pq.write_table, "Parquet")
        text = [name for name in self._columns.keep if _is_string(kept(name).type)]
        # Losses and probabilities hardly compress: trying costs a tenth of the time and saves a hundredth.
        codec = {
            leaf: "NONE" if field in self._columns.fields and pa.types.is_float64(field.type) else "SNAPPY"
            for field in self._schema
            for leaf in leaves(field.name, field.type)
        }
        self._file.begin(self._schema, compression=codec, use_dictionary=[*text, *self._columns.encoded])

    def _add(self, piece: Any) -> None:
        self._file.write(piece)

    def _end(self, record: Mapping[str, Any]) -> None:
        self._file.finish({RECORD_KEY.decode(): json.dumps(record)})


class _TextRows(RowSink):
    """One file of text with a header, its values separated by a sign; numbers are written so that they come back."""

    def __init__(self, path: str, columns: RowColumns, overwrite: bool) -> None:
        super().__init__(columns)
        self._path = shown(path)
        self._stream: Any = None
        self._text: Any = None
        self._file = pending(path, overwrite=overwrite)

    def abort(self) -> None:
        with suppress(Exception):
            self._close()
        self._file.abort()

    def _begin(self) -> None:
        for name in self._columns.keep:
            kind = self._schema.field(name).type
            stored = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
            if pa.types.is_nested(stored) or any(is_bytes(stored) for is_bytes in _BYTES):
                raise UsageError(f"keep: column {name!r} ({kind}) cannot be written as text; write a .parquet file")
        _check_kept(self._schema, self._columns.keep, pyarrow.csv.write_csv, "text")
        ending = next(each for each in TEXT_ENDINGS if self._path.lower().endswith(each))
        codec = {".gz": "gzip", ".zst": "zstd"}.get(ending[4:])
        with writing(self._path):
            self._stream = pa.output_stream(self._file.partial, compression=codec)
            options = pyarrow.csv.WriteOptions(delimiter=TEXT_ENDINGS[ending])
            self._text = pyarrow.csv.CSVWriter(self._stream, self._schema, write_options=options)

    def _add(self, piece: Any) -> None:
        with writing(self._path):
            self._text.write(piece)

    def _end(self, record: Mapping[str, Any]) -> None:
        with writing(self._path):
            self._close()
        self._file.commit()

    def _close(self) -> None:
        text, stream, self._text, self._stream = self._text, self._stream, None, None
        if text is not None:
            text.close()
        if stream is not None:
            stream.close()


@contextmanager
def _naming(source: str | None) -> Iterator[None]:
    """Say of kept values that cannot be written where they come from."""
    try:
        yield
    except pa.ArrowInvalid as error:
        message = f"kept values cannot be written: {first_line(error)}; leave their column out of keep"
        raise SourceError(message, path=source) from error


def _check_kept(schema: Any, names: Sequence[str], write: Callable[[Any, Any], object], what: str) -> None:
    """Raise UsageError for kept columns of types that cannot be written as ``what``."""
    for field in map(schema.field, names):
        try:
            write(pa.Table.from_arrays([pa.nulls(1, field.type)], schema=pa.schema([field])), pa.BufferOutputStream())
        except pa.ArrowException as error:
            if isinstance(error, MemoryError):
                raise
            said = f"({field.type}) cannot be written as {what}: {first_line(error)}; leave it out"
            raise UsageError(f"keep: column {field.name!r} {said}") from error


def writer_of(path: str, columns: RowColumns, overwrite: bool) -> RowSink:
    """The writer of a file of rows, by the ending of its name; raises UsageError where nothing here writes it."""
    kind = _TextRows if shown(path).lower().endswith(tuple(TEXT_ENDINGS)) else _ParquetRows
    return kind(path, columns, overwrite)


def _is_string(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _kept_types(inputs: Sequence[str], keep: Sequence[str]) -> dict[str, Any]:
    """The types of kept columns, for an output without rows."""
    if not keep or not inputs:
        return {}
    try:
        schema = pq.read_schema(inputs[0])
    except (OSError, pa.ArrowException):
        return {}
    kinds = {name: schema.field(name).type for name in keep if name in schema.names}
    return {name: kind.value_type if pa.types.is_dictionary(kind) else kind for name, kind in kinds.items()}
