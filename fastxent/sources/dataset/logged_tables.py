"""Directories of Delta and Iceberg tables: the files of their present version, as their own readers tell them."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from fastxent.base.errors import SourceError
from fastxent.sources.dataset.files import DataFile, partitions_of

__all__ = ["logged_files"]


def logged_files(path: str) -> list[DataFile] | None:
    """The files of the table that a local directory is; None if it is none, or its reader is not installed.

    Raises:
        SourceError: the reader says that files alone are not the rows (deletion vectors, renamed columns, ...).
    """
    try:
        if os.path.isdir(os.path.join(path, "_delta_log")):
            return _of_delta(path)
        if metadata := _newest_metadata(os.path.join(path, "metadata")):
            return _of_iceberg(path, metadata)
    except ImportError:
        pass
    return None


def _of_delta(path: str) -> list[DataFile]:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        table = DeltaTable(path)
        table.to_pyarrow_dataset()  # refuses what files alone do not say
    except DeltaError as error:
        raise SourceError(f"cannot be read as the files of a Delta table: {error}", path=path) from error
    files = [_file(uri) for uri in table.file_uris()]
    columns = set(table.metadata().partition_columns)
    for file in files:
        if columns - {name for name, _ in file.partitions}:
            message = "the path does not tell the partitions of the Delta table; give the table as Arrow"
            raise SourceError(message, path=file.name)
    return _some(files, path)


def _of_iceberg(path: str, metadata: str) -> list[DataFile]:
    from pyiceberg.table import StaticTable

    try:
        table = StaticTable.from_metadata(metadata)
        tasks = list(table.scan().plan_files())
    except (ValueError, KeyError, OSError, NotImplementedError) as error:
        raise SourceError(f"cannot be read as an Iceberg table: {error}", path=path) from error
    if len(table.schemas()) > 1 or any(task.delete_files for task in tasks):
        what = "columns were changed" if len(table.schemas()) > 1 else "rows were deleted"
        raise SourceError(
            f"is an Iceberg table in which {what}, which its files do not show; give it as Arrow: scan().to_arrow()",
            path=path,
        )
    return _some([_file(task.file.file_path) for task in tasks], path)


def _newest_metadata(folder: str) -> str | None:
    """The file of the greatest number among the metadata of an Iceberg table."""
    if not os.path.isdir(folder):
        return None
    found = [(match, name) for name in os.listdir(folder) if (match := re.match(r"v?(\d+).*\.metadata\.json$", name))]
    if not found:
        return None
    return os.path.join(folder, max(found, key=lambda each: int(each[0][1]))[1])


def _file(uri: str) -> DataFile:
    path = unquote(urlsplit(uri).path) if uri.startswith("file:") else uri
    return DataFile(path, path, None, partitions_of(path))


def _some(files: list[DataFile], path: str) -> list[DataFile]:
    if not files:
        raise SourceError("the table has no files: it is empty", path=path)
    return files
