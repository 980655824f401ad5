"""A Parquet file of per-row results under construction: it appears whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fastxent.base.errors import SourceError
from fastxent.engine.row_files.columns import RowColumns
from fastxent.engine.row_files.record import RECORD_KEY
from fastxent.storage.layout import leaves
from fastxent.storage.parquet_writer import PendingParquet

__all__ = ["RowWriter"]

#: A row group is written when it has this many rows, or this many bytes (kept columns may be wide).
RESULT_GROUP_ROWS = 1 << 20
RESULT_GROUP_BYTES = 128 << 20


class RowWriter:
    """One Parquet file; record batches are gathered into row groups.

    Args:
        path: where the file is to appear.
        columns: the columns of the rows.
        overwrite: whether a file that is there may be replaced.
    """

    def __init__(self, path: str, columns: RowColumns, overwrite: bool) -> None:
        self._columns = columns
        self._file = PendingParquet(
            path, overwrite=overwrite, group_bytes=RESULT_GROUP_BYTES, group_rows=RESULT_GROUP_ROWS
        )

    def write(self, piece: Any, source: str) -> None:
        """Add a record batch of rows that were read from ``source``."""
        if self._file.schema is None:
            self._begin(piece.schema)
        self._file.write(piece if piece.schema.equals(self._file.schema) else self._cast(piece, source))

    def finish(self, record: Mapping[str, Any], inputs: Sequence[str]) -> None:
        """Write what waits and the record, and give the file its name.

        Without rows the types of kept columns are those of the first of the ``inputs``.
        """
        if self._file.schema is None:
            kept = _kept_types(inputs, self._columns.keep)
            fields = [pa.field(name, kept.get(name, pa.null())) for name in self._columns.keep]
            self._begin(pa.schema([*fields, *self._columns.fields]))
        self._file.finish({RECORD_KEY.decode(): json.dumps(record)})

    def abort(self) -> None:
        """Leave nothing behind; does nothing after `finish`."""
        self._file.abort()

    def _begin(self, schema: Any) -> None:
        kept = [schema.field(name) for name in self._columns.keep]
        schema = pa.schema([*kept, *self._columns.fields])
        text = [field.name for field in kept if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
        # Losses and probabilities hardly compress: trying costs a tenth of the time and saves a hundredth.
        codec = {
            leaf: "NONE" if field in self._columns.fields and pa.types.is_float64(field.type) else "SNAPPY"
            for field in schema
            for leaf in leaves(field.name, field.type)
        }
        self._file.begin(schema, compression=codec, use_dictionary=[*text, *self._columns.encoded])

    def _cast(self, piece: Any, source: str) -> Any:
        """Files of one data set may hold a kept column as other types; those of the first one count."""
        columns = []
        for field in self._file.schema:
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
        return pa.RecordBatch.from_arrays(columns, schema=self._file.schema)


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
