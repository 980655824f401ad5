"""A file of a data set: where it lies, its format, its hive partitions; and the files that a local path means."""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from fastxent.base.errors import SourceError, UnavailableError

__all__ = [
    "TABLE_SUFFIXES", "TEXT_SUFFIXES", "DataFile", "check_no_log", "check_regular", "expand_local", "format_by_name",
    "is_table_name", "partition_values", "partitions_of", "stamp_of",
]  # fmt: skip

#: What a directory is searched for. Files with other endings (_SUCCESS, .crc, README) are left alone.
PARQUET_SUFFIXES = (".parquet", ".parq", ".pq")
ARROW_SUFFIXES = (".arrow", ".feather", ".ipc", ".arrows")
TABLE_SUFFIXES = PARQUET_SUFFIXES + ARROW_SUFFIXES
#: What tells a table with a log -> what kind it is, and how its files are found.
_LOGS = {r"/_delta_log/": "a Delta", r"/metadata/[^/]*\.metadata\.json": "an Iceberg", r"/\.hoodie/": "a Hudi"}
_WAYS = {
    "a Delta": "pip install 'fastxent[delta]' reads its directory; or deltalake.DeltaTable(path).file_uris()",
    "an Iceberg": "pip install 'fastxent[iceberg]' reads its directory; or pyiceberg: table.scan().to_arrow()",
    "a Hudi": "hudi: HudiTable(path).read_snapshot()",
}
#: Text lies in directories for many reasons (notes, logs): it is looked for where there are no other tables.
TEXT_SUFFIXES = tuple(
    f"{kind}{packed}" for kind in (".csv", ".tsv", ".jsonl", ".ndjson") for packed in ("", ".gz", ".zst")
)
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file: the name for messages, where it lies, and the partitions its path tells (all text)."""

    name: str
    location: str
    filesystem: Any  #: None: the local one
    partitions: tuple[tuple[str, str], ...] = ()
    listed: tuple[int, int] | None = None  #: the `stamp` that a remote file had when it was listed

    @property
    def is_remote(self) -> bool:
        """Whether the file lies behind a network."""
        return self.filesystem is not None

    def open(self) -> Any:
        """The open file, as pyarrow reads it: from several places at a time."""
        import pyarrow as pa

        if self.filesystem is not None:
            return self.filesystem.open_input_file(self.location)
        check_regular(self.location)
        return pa.OSFile(self.location)

    def read_on(self) -> None:
        """Nobody will open it again: what can be read but once need not be kept."""

    def map(self) -> Any:
        """A buffer that a local file is mapped to."""
        import pyarrow as pa

        check_regular(self.location)
        return pa.memory_map(self.location).read_buffer()

    @property
    def planned_stamp(self) -> tuple[int, int] | None:
        """The stamp to plan with: that of the listing, which costs no further request, or the one it has now."""
        return self.listed if self.is_remote else self.stamp()

    def stamp(self) -> tuple[int, int] | None:
        """Size and time of the last change, to notice that the file changes; None if it is gone."""
        if self.filesystem is not None:
            return stamp_of(self.filesystem, self.filesystem.get_file_info(self.location))
        try:
            status = os.stat(self.location)
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def check_unchanged(self, stamp: tuple[int, int] | None) -> None:
        """Raise `UnavailableError` if the file no longer has the ``stamp``, if any, that reading was planned with."""
        now = stamp and self.stamp()
        if stamp is not None and now is None:
            raise UnavailableError("cannot be seen here, or is gone since reading began", path=self.name)
        if now != stamp:
            raise UnavailableError("has changed since reading began; start again", path=self.name)


def check_regular(path: str) -> None:
    """Raise `UnavailableError` for a pipe, a socket or a device: opening one waits for whoever writes into it."""
    with suppress(OSError):  # what is not there is told by whoever opens it
        if not stat.S_ISREG(os.stat(path).st_mode):
            message = "is a pipe, a device or the like, which cannot be read from several places; copy it into a file"
            raise UnavailableError(message, path=path)


def stamp_of(filesystem: Any, info: Any) -> tuple[int, int] | None:
    """The stamp in a pyarrow ``FileInfo``, to the second: listings and single requests differ in what is below."""
    if info.size is None:
        return None
    native = type(filesystem).__name__ != "PyFileSystem"  # what fsspec gives as time may differ from call to call
    return info.size, int(info.mtime.timestamp()) if native and info.mtime is not None else 0


def format_by_name(file: DataFile) -> str | None:
    """The format that the ending of a file's name tells, "parquet", "arrow" or "text"."""
    name = file.location.lower()
    suffixes = {"parquet": PARQUET_SUFFIXES, "arrow": ARROW_SUFFIXES, "text": TEXT_SUFFIXES}
    return next((kind for kind, endings in suffixes.items() if name.endswith(endings)), None)


def partition_values(files: Iterable[DataFile]) -> list[dict[str, Any]]:
    """The partition columns of each file: integers where every file's value is one, text otherwise, None for null."""
    tables = [dict(file.partitions) for file in files]
    keys = sorted({key for table in tables for key in table})
    whole = {key for key in keys if all(_is_whole(table.get(key, _NULL_PARTITION)) for table in tables)}
    return [{key: _value(table.get(key, _NULL_PARTITION), key in whole) for key in keys} for table in tables]


def _is_whole(text: str) -> bool:
    if text == _NULL_PARTITION:
        return True
    return text.isascii() and text.removeprefix("-").isdigit() and len(text) < 18 and str(int(text)) == text


def _value(text: str, whole: bool) -> int | str | None:
    if text == _NULL_PARTITION:
        return None
    return int(text) if whole else text


def expand_local(path: str) -> list[DataFile]:
    """The files that a path of the local file system means: a file, a directory or a glob."""
    if os.path.isdir(path):
        return _in_directory(path)
    if os.path.exists(path):
        return [_local(path)]
    if glob.has_magic(path):
        matches = [match for match in sorted(glob.glob(path, recursive=True)) if not _hidden(match, path)]
        if matches:
            for folder in {os.path.dirname(match) for match in matches if os.path.isfile(match)}:
                _refuse_logged(folder)
            return [file for match in matches for file in expand_local(match)]
        raise SourceError("no file matches this pattern", path=path)
    raise SourceError(f"there is no such file or directory{_nearby(path)}", path=path)


def _local(path: str) -> DataFile:
    return DataFile(path, path, None, partitions_of(path))


def _in_directory(root: str) -> list[DataFile]:
    _refuse_logged(root)
    paths, texts = [], []
    for folder, folders, names in os.walk(root):
        inner = [f"{name}/" for name in folders]
        if "metadata" in folders:
            inner += [f"metadata/{name}" for name in os.listdir(os.path.join(folder, "metadata"))]
        check_no_log(inner, folder)
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        paths += [os.path.join(folder, name) for name in names if is_table_name(name)]
        texts += [os.path.join(folder, name) for name in names if is_table_name(name, TEXT_SUFFIXES)]
    paths = paths or texts
    if not paths:
        endings = ", ".join((*TABLE_SUFFIXES, ".csv", ".tsv", ".jsonl"))
        raise SourceError(f"the directory holds no files ending in {endings}", path=root)
    return [_local(path) for path in sorted(paths)]


def check_no_log(paths: Iterable[str], shown: str) -> None:
    """Raise `SourceError` if paths, folders with a slash behind, show that a log says which files hold rows.

    Files that a Delta, Iceberg or Hudi table has removed stay where they are for days.
    """
    for path in paths:
        found = next((name for pattern, name in _LOGS.items() if re.search(pattern, f"/{path}")), None)
        if found is not None:
            raise SourceError(
                f"is {found} table: its log says which of the files count, and some may have been removed; give the "
                f"files of the version you mean, or the table as Arrow ({_WAYS[found]})",
                path=shown,
            )


def _refuse_logged(folder: str) -> None:
    """Raise `SourceError` if a folder lies in a table with a log."""
    folder = os.path.abspath(folder)
    while True:
        inner = [f"{name}/" for name in ("_delta_log", ".hoodie") if os.path.isdir(os.path.join(folder, name))]
        if os.path.isdir(metadata := os.path.join(folder, "metadata")):
            inner += [f"metadata/{name}" for name in os.listdir(metadata)]
        check_no_log(inner, folder)
        if folder == os.path.dirname(folder):
            return
        folder = os.path.dirname(folder)


def is_table_name(name: str, suffixes: tuple[str, ...] = TABLE_SUFFIXES) -> bool:
    """Whether a file of this name is looked at in a directory."""
    return name.lower().endswith(suffixes) and not name.startswith((".", "_"))


def _hidden(path: str, pattern: str) -> bool:
    name = os.path.basename(path.rstrip(os.sep))
    return name.startswith((".", "_")) and not os.path.basename(pattern).startswith((".", "_"))


def partitions_of(path: str) -> tuple[tuple[str, str], ...]:
    """The hive partitions (``key=value`` directories) in a path."""
    parts = os.path.dirname(path).replace(os.sep, "/").split("/")
    pairs = [part.partition("=") for part in parts if "=" in part]
    return tuple((unquote(key), unquote(value)) for key, _, value in pairs if key)


def _nearby(path: str) -> str:
    from difflib import get_close_matches

    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        return ""
    close = get_close_matches(os.path.basename(path), os.listdir(folder), n=1, cutoff=0.7)
    return f"; did you mean {os.path.join(os.path.dirname(path), close[0])}?" if close else ""
