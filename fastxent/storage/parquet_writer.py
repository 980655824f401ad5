"""Parquet files under construction, and the settings that make scores fast to read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fastxent.base.atomic_files import writing
from fastxent.sources.pages.checksum import BLANK, CHECKSUM_KEY, checksum_of
from fastxent.storage.layout import Storage, leaves
from fastxent.storage.output_paths import refuse_other_formats
from fastxent.storage.place import pending, shown

__all__ = ["GROUP_BYTES", "PendingParquet", "score_settings"]

#: Decoded bytes of a row group. Measured at 16 and 64 MB: the same for packed bytes, 64 is faster where each of
#: many columns has a chunk of its own; and it is the size of a split.
GROUP_BYTES = 64 << 20


class PendingParquet:
    """A Parquet file that appears whole or not at all; record batches are gathered into row groups.

    It holds a checksum of its footer (`fastxent.sources.pages.checksum`).

    Args:
        path: where the file is to appear.
        overwrite: whether a file that is there may be replaced.
        group_bytes: decoded bytes that make a row group; by default `GROUP_BYTES`.
        group_rows: rows that a row group has at most.

    Raises:
        UsageError: there is a file already, another run is writing it, or its name promises another format.
        OutputError: the file cannot be written (of all methods).
    """

    def __init__(
        self, path: str, *, overwrite: bool, group_bytes: int | None = None, group_rows: int = 1 << 62
    ) -> None:
        refuse_other_formats(path)
        self.path = shown(path)
        self.schema: Any = None
        self.is_open = True
        self._group_bytes = group_bytes or GROUP_BYTES
        self._group_rows = group_rows
        self._parquet: Any = None
        self._waiting: list[Any] = []
        self._waiting_rows = self._waiting_bytes = 0
        self._file = pending(path, overwrite=overwrite)

    def begin(self, schema: Any, **settings: Any) -> None:
        """Say what is written; ``settings`` are those of `pyarrow.parquet.ParquetWriter`."""
        self.schema = schema
        with writing(self.path):
            self._parquet = pq.ParquetWriter(self._file.partial, schema, write_page_checksum=True, **settings)

    def write(self, batch: Any) -> None:
        """Append a record batch of the schema."""
        while batch.num_rows:
            part = batch.slice(0, self._group_rows - self._waiting_rows)
            batch = batch.slice(part.num_rows)
            self._waiting.append(part)
            self._waiting_rows += part.num_rows
            self._waiting_bytes += part.nbytes
            if self._waiting_rows >= self._group_rows or self._waiting_bytes >= self._group_bytes:
                self._write_group()

    def finish(self, metadata: Mapping[str, str] | None = None) -> None:
        """Write what waits, add ``metadata``, and give the file its name."""
        self._write_group()
        try:
            with writing(self.path):
                self._parquet.add_key_value_metadata({**(metadata or {}), CHECKSUM_KEY: BLANK})
                self._parquet.close()
                _enter_checksum(self._file.partial)
        except BaseException:
            self.abort()
            raise
        self.is_open = False
        self._file.commit()

    def abort(self) -> None:
        """Leave nothing behind; does nothing after `finish`."""
        if self.is_open:
            self.is_open = False
            if self._parquet is not None:
                with suppress(Exception):
                    self._parquet.close()
            self._file.abort()

    def _write_group(self) -> None:
        waiting, rows = self._waiting, self._waiting_rows
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
        if rows:
            try:
                with writing(self.path):
                    self._parquet.write_table(pa.Table.from_batches(waiting, self.schema), row_group_size=rows)
            except BaseException:
                self.abort()
                raise


def _enter_checksum(path: str) -> None:
    """Put the checksum of the footer into the footer, where a blank was left for it."""
    with open(path, "r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size - 8)
        length = int.from_bytes(file.read(4), "little")
        file.seek(size - 8 - length)
        made = checksum_of(file.read(length), size)
        assert made is not None
        value, place = made
        file.seek(size - 8 - length + place)
        file.write(value)


def score_settings(schema: Any, storage: Storage, codecs: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Settings of a writer of scores, which hardly compress; ``codecs`` are those of the other columns, by name."""
    others = [name for name in schema.names if name not in storage.names]
    codec = {
        leaf: "NONE" if name in storage.names else (codecs or {}).get(name, "ZSTD")
        for name in schema.names
        for leaf in leaves(name, schema.field(name).type)
    }
    return {
        "compression": codec,
        "use_dictionary": [name for name in others if _is_text(schema.field(name).type)],
        "write_statistics": [leaf for name in others for leaf in leaves(name, schema.field(name).type)],
    }


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))
