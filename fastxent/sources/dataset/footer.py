"""What a file says of itself at its end: schema, and the rows of each row group or record batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow.parquet as pq

from fastxent.base.errors import SourceError, UnavailableError
from fastxent.sources.dataset import retry
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.dataset.open_files import OpenFiles
from fastxent.sources.read_errors import check_damage, first_line

__all__ = ["Footer", "read_parquet_footer", "unreachable"]


@dataclass(frozen=True)
class Footer:
    """The footer of a file.

    Attributes:
        schema: the Arrow schema.
        rows: rows of each row group (Parquet) or record batch (Arrow).
        metadata: of Parquet, `pyarrow.parquet.FileMetaData`: the chunks of every row group, their codecs and sizes.
        views: of Arrow, whether record batches are views of the mapped file.
    """

    schema: Any
    rows: tuple[int, ...]
    metadata: Any = None
    views: bool = False

    @property
    def num_rows(self) -> int:
        """Rows of the file."""
        return sum(self.rows)

    @cached_property
    def largest(self) -> int:
        """Bytes of the largest row group."""
        groups: Iterable[Any] = map(self.metadata.row_group, range(len(self.rows)))
        return max((group.total_byte_size for group in groups), default=0)


def read_parquet_footer(file: DataFile, files: OpenFiles) -> Footer:
    """The footer of a Parquet file.

    Raises:
        SourceError: it cannot be reached, or is damaged.
    """

    def read() -> Footer:
        reader = pq.ParquetFile(files.get(file), pre_buffer=False)
        metadata = reader.metadata
        rows = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
        return Footer(reader.schema_arrow, rows, metadata)

    try:
        return retry.call(read, file.is_remote, lambda: files.drop(file))
    except Exception as error:
        files.drop(file)
        if retry.is_transient(error, file.is_remote):
            raise unreachable(file, error) from error
        check_damage(error, file.name)
        raise SourceError(
            f"is not a readable Parquet file: {first_line(error)}. It is damaged, cut short or something else; "
            "write or copy it again",
            path=file.name,
        ) from error


def unreachable(
    file: DataFile, error: BaseException, group: int | None = None, attempts: int = retry.ATTEMPTS
) -> UnavailableError:
    """The error for a file that the network keeps away."""
    message = f"cannot be reached, after {attempts} attempts: {first_line(error)}"
    return UnavailableError(message, path=file.name, row_group=group)
