"""Files behind a URI (``s3://``, ``gs://``, ``abfs://``, ``hf://``, ...): one file, a directory, or a glob."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from fastxent.base.errors import SourceError, UsageError
from fastxent.sources.dataset import retry
from fastxent.sources.dataset.files import (
    TABLE_SUFFIXES,
    DataFile,
    check_no_log,
    expand_local,
    is_table_name,
    partitions_of,
    stamp_of,
)
from fastxent.sources.read_errors import first_line

__all__ = ["expand_uri", "filesystem_of", "shown_uri"]

#: Seconds that Google's client tries on its own before it gives up; its default is a quarter of an hour.
GOOGLE_SECONDS = 30


def expand_uri(uri: str) -> list[DataFile]:
    """The files that a URI means. ``*``, ``**`` and ``[...]`` make it a glob (``?`` starts the options, as in any URI).

    Raises:
        SourceError: nothing is there, or it cannot be reached.
        UsageError: the URI is of a kind that is not understood.
    """
    parts = urlsplit(uri)
    base, pattern = _cut(parts.path)
    shown = shown_uri(uri)
    filesystem, location = filesystem_of(urlunsplit(parts._replace(path=base)), shown)
    scheme = parts.scheme + "://"
    if filesystem is None:
        return expand_local(location if pattern is None else f"{location.rstrip('/')}/{pattern}")
    try:
        return retry.call(lambda: _listed(filesystem, location, pattern, scheme, shown), remote=True)
    except SourceError:
        raise
    except Exception as error:  # clients behind fsspec raise what they like
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        raise SourceError(f"cannot be reached: {first_line(error)}{notes}", path=shown) from error


def shown_uri(uri: str) -> str:
    """A URI without passwords and options."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def filesystem_of(uri: str, shown: str) -> tuple[Any, str]:
    """The file system that a URI names, None for the local one, and where the file lies in it.

    Raises:
        SourceError: it cannot be reached.
        UsageError: the URI is of a kind that is not understood.
    """
    import pyarrow as pa
    from pyarrow import fs

    parts = urlsplit(uri)
    uri = urlunsplit(parts._replace(path=quote(parts.path, safe="/%=:+,@!$&'()~")))

    if uri.startswith(("gs://", "gcs://")) and "retry_limit_seconds=" not in uri:
        uri += ("&" if "?" in uri else "?") + f"retry_limit_seconds={GOOGLE_SECONDS}"
    try:
        filesystem, location = fs.FileSystem.from_uri(uri)
    except ImportError as error:
        raise UsageError(f"{shown}: a package is missing to read this: {error}") from error
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"cannot be reached: {first_line(error)}", path=shown) from error
    return (None if isinstance(filesystem, fs.LocalFileSystem) else filesystem), location


def _listed(filesystem: Any, location: str, pattern: str | None, scheme: str, shown: str) -> list[DataFile]:
    from pyarrow import fs

    if pattern is not None:
        infos = filesystem.get_file_info(fs.FileSelector(location, recursive="/" in pattern or "**" in pattern))
        _check_no_log(infos, location, shown)
        matches = _matcher(location, pattern)
        chosen = [info for info in infos if matches(info.path) and _visible(info.path[len(location) :], pattern)]
        files = [info for info in chosen if info.type == fs.FileType.File]
        for folder in (info for info in chosen if info.type == fs.FileType.Directory):
            files += [info for info in _below(filesystem, folder.path, shown) if is_table_name(info.base_name)]
        files = list({info.path: info for info in files}.values())
        if not files:
            raise SourceError("no file matches this pattern", path=shown)
    else:
        info = filesystem.get_file_info(location)
        if info.type == fs.FileType.File:
            name, stamp = scheme + location.lstrip("/"), stamp_of(filesystem, info)
            return [DataFile(name, location, filesystem, partitions_of(location), stamp)]
        if info.type == fs.FileType.NotFound:
            raise SourceError("there is no such file or directory", path=shown)
        files = [info for info in _below(filesystem, location, shown) if is_table_name(info.base_name)]
        if not files:
            raise SourceError(f"the directory holds no files ending in {', '.join(TABLE_SUFFIXES)}", path=shown)
    return [
        DataFile(scheme + info.path.lstrip("/"), info.path, filesystem, partitions_of(info.path),
                 stamp_of(filesystem, info))
        for info in sorted(files, key=lambda info: info.path)
    ]  # fmt: skip


def _check_no_log(infos: Any, location: str, shown: str) -> None:
    from pyarrow import fs

    prefix = len(location.rstrip("/"))
    check_no_log((info.path[prefix:] + "/" * (info.type == fs.FileType.Directory) for info in infos), shown)


def _below(filesystem: Any, location: str, shown: str) -> list[Any]:
    """All files below a directory, except in hidden directories."""
    from pyarrow import fs

    prefix = len(location.rstrip("/")) + 1
    infos = filesystem.get_file_info(fs.FileSelector(location, recursive=True))
    _check_no_log(infos, location, shown)
    return [
        info
        for info in infos
        if info.type == fs.FileType.File
        and not any(part.startswith((".", "_")) for part in info.path[prefix:].split("/")[:-1])
    ]


def _cut(path: str) -> tuple[str, str | None]:
    """A path as the directory above the first wildcard, and the rest."""
    parts = path.split("/")
    for number, part in enumerate(parts):
        if "*" in part or "[" in part:
            return "/".join(parts[:number]), "/".join(parts[number:])
    return path, None


def _matcher(location: str, pattern: str) -> Any:
    """The glob as a test of whole paths: ``*`` stays within a directory, ``**`` is any number of them."""
    text, at = "", 0
    while at < len(pattern):
        rest = pattern[at:]
        if rest.startswith("**/"):
            text, at = text + "(?:.*/)?", at + 3
        elif rest.startswith("**"):
            text, at = text + ".*", at + 2
        elif rest[0] == "*":
            text, at = text + "[^/]*", at + 1
        elif rest[0] == "[" and (match := re.match(r"\[(!?)(\]?[^\]/]*)\]", rest)):
            inside = match[2].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            text, at = text + f"[{'^' if match[1] else ''}{inside}]", at + match.end()
        else:
            text, at = text + re.escape(rest[0]), at + 1
    whole = re.compile(re.escape(location.rstrip("/")) + "/" + text, re.DOTALL)
    return lambda path: whole.fullmatch(path.rstrip("/")) is not None


def _visible(path: str, pattern: str) -> bool:
    """Whether nothing on the way is hidden, unless the pattern asks for hidden things."""
    hidden = (".", "_")
    asked = any(part.startswith(hidden) for part in pattern.split("/"))
    return asked or not any(part.startswith(hidden) for part in path.split("/"))
