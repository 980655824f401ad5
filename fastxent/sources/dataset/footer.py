"""What a file says of itself at its end: schema, and the rows of each row group or record batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fastxent.base.errors import SourceError, UnavailableError
from fastxent.sources.dataset import retry
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.dataset.ipc_messages import Unpacked
from fastxent.sources.dataset.open_files import OpenFiles
from fastxent.sources.pages.damage import Damage
from fastxent.sources.pages.footer import MAGIC, ParquetFooter, footer_bytes, parse_footer
from fastxent.sources.read_errors import check_damage, first_line

__all__ = ["INT96", "Footer", "read_parquet_footer", "unreachable"]


#: What INT96 timestamps are read as: nanoseconds wrap around outside 1677 to 2262, and 9999-12-31 stands for "never".
INT96 = "us"


@dataclass(frozen=True)
class Footer:
    """The footer of a file.

    Attributes:
        schema: the Arrow schema.
        rows: rows of each row group (Parquet) or record batch (Arrow).
        parquet: of Parquet, what is stored where: the chunks of every row group, their codecs and sizes.
        metadata: the same as a `pyarrow.parquet.FileMetaData`, for pyarrow's readers.
        views: of Arrow, whether record batches are views of the mapped file.
        unpacked: of Arrow that is mapped and compressed, what each record batch takes.
    """

    schema: Any
    rows: tuple[int, ...]
    parquet: ParquetFooter | None = None
    metadata: Any = None
    views: bool = False
    unpacked: tuple[Unpacked, ...] = ()

    @property
    def num_rows(self) -> int:
        """Rows of the file."""
        return sum(self.rows)

    @property
    def largest(self) -> int:
        """Bytes of the largest row group."""
        return max(self.parquet.group_bytes, default=0) if self.parquet is not None else 0


def read_parquet_footer(file: DataFile, files: OpenFiles) -> Footer:
    """The footer of a Parquet file, checked.

    Raises:
        SourceError: it cannot be reached, or is damaged.
    """

    def read() -> Footer:
        opened = files.get(file)
        size = opened.size()
        data = footer_bytes(opened.read_at, size)
        if data is None:  # it is encrypted, or something else, which pyarrow tells
            raise Damage(f"it does not end as Parquet files do ({pq.ParquetFile(opened, pre_buffer=False).metadata})")
        parquet = parse_footer(data, size)
        framed = b"".join((MAGIC, data, len(data).to_bytes(4, "little"), MAGIC))
        reader = pq.ParquetFile(pa.BufferReader(framed), pre_buffer=False, coerce_int96_timestamp_unit=INT96)
        return Footer(reader.schema_arrow, parquet.rows, parquet, reader.metadata)

    try:
        return retry.call(read, file.is_remote, lambda: files.drop(file))
    except Exception as error:
        files.drop(file)
        if retry.is_transient(error, file.is_remote):
            raise unreachable(file, error) from error
        check_damage(error, file.name)
        group, column = (error.row_group, error.column) if isinstance(error, Damage) else (None, None)
        raise SourceError(
            f"is not a readable Parquet file: {first_line(error)}. It is damaged, cut short or something else; "
            "write or copy it again",
            path=file.name, row_group=group, column=column,
        ) from error  # fmt: skip


def unreachable(
    file: DataFile, error: BaseException, group: int | None = None, attempts: int = retry.ATTEMPTS
) -> UnavailableError:
    """The error for a file that the network keeps away."""
    message = f"cannot be reached, after {attempts} attempts: {first_line(error)}"
    return UnavailableError(message, path=file.name, row_group=group)
