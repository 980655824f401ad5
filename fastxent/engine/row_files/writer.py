"""A Parquet file of per-row results under construction: it appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fastxent.base.atomic_files import PendingFile, writing
from fastxent.base.errors import SourceError
from fastxent.engine.row_files.columns import RowColumns
from fastxent.engine.row_files.record import RECORD_KEY
from fastxent.storage.layout import leaves

__all__ = ["RowWriter"]

#: A row group is written when it has this many rows, or this many bytes (kept columns may be wide).
GROUP_ROWS = 1 << 20
GROUP_BYTES = 128 << 20


class RowWriter:
    """One Parquet file; record batches are gathered into row groups.

    Args:
        path: where the file is to appear.
        columns: the columns of the rows.
        overwrite: whether a file that is there may be replaced.
    """

    def __init__(self, path: str, columns: RowColumns, overwrite: bool) -> None:
        self.path = path
        self._columns = columns
        self._file = PendingFile(path, overwrite=overwrite)
        self._parquet: Any = None
        self._schema: Any = None
        self._waiting: list[Any] = []
        self._waiting_rows = self._waiting_bytes = 0

    def write(self, piece: Any, source: str) -> None:
        """Add a record batch of rows that were read from ``source``."""
        if self._parquet is None:
            self._open(piece.schema)
        if not piece.schema.equals(self._schema):
            piece = self._cast(piece, source)
        while piece.num_rows:
            part = piece.slice(0, GROUP_ROWS - self._waiting_rows)
            piece = piece.slice(part.num_rows)
            self._waiting.append(part)
            self._waiting_rows += part.num_rows
            self._waiting_bytes += part.nbytes
            if self._waiting_rows >= GROUP_ROWS or self._waiting_bytes >= GROUP_BYTES:
                self._flush()

    def finish(self, record: Mapping[str, Any], inputs: Sequence[str]) -> None:
        """Write what waits and the record, and give the file its name.

        Without rows the types of kept columns are those of the first of the ``inputs``.
        """
        try:
            if self._parquet is None:
                kept = _kept_types(inputs, self._columns.keep)
                fields = [pa.field(name, kept.get(name, pa.null())) for name in self._columns.keep]
                self._open(pa.schema([*fields, *self._columns.fields]))
            self._flush()
            with writing(self.path):
                self._parquet.add_key_value_metadata({RECORD_KEY.decode(): json.dumps(record)})
                self._parquet.close()
        except BaseException:
            self.abort()
            raise
        self._file.commit()

    def abort(self) -> None:
        """Leave nothing behind."""
        if self._parquet is not None:
            with suppress(Exception):
                self._parquet.close()
        self._file.abort()

    def _open(self, schema: Any) -> None:
        kept = [schema.field(name) for name in self._columns.keep]
        self._schema = pa.schema([*kept, *self._columns.fields])
        text = [field.name for field in kept if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
        # Losses and probabilities hardly compress: trying costs a tenth of the time and saves a hundredth.
        codec = {
            leaf: "NONE" if field in self._columns.fields and pa.types.is_float64(field.type) else "SNAPPY"
            for field in self._schema
            for leaf in leaves(field.name, field.type)
        }
        with writing(self.path):
            self._parquet = pq.ParquetWriter(
                self._file.partial,
                self._schema,
                compression=codec,
                use_dictionary=[*text, *self._columns.encoded],
                write_page_checksum=True,
            )

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

    def _flush(self) -> None:
        if self._waiting_rows:
            with writing(self.path):
                self._parquet.write_table(pa.Table.from_batches(self._waiting, self._schema), row_group_size=GROUP_ROWS)
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0


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
