"""Where outputs go: one file, or a folder with a file for every input at the input's place, here or behind a URI."""

from __future__ import annotations

import fnmatch
import glob
import os
import posixpath
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from fastxent.base.errors import UsageError
from fastxent.storage.place import Place, is_uri, shown

__all__ = ["TEXT_ENDINGS", "inside", "is_folder", "is_path", "outputs_of", "refuse_inputs", "refuse_other_formats"]

_PACKED = ("", ".gz", ".zst")
#: Ending of a name -> the separator of the text that it promises.
TEXT_ENDINGS = {f".csv{packed}": "," for packed in _PACKED} | {f".tsv{packed}": "\t" for packed in _PACKED}
#: Endings that promise what is not written here.
_OTHER_ENDINGS = (
    ".arrow", ".arrows", ".avro", ".db", ".duckdb", ".feather", ".gz", ".h5", ".hdf5", ".html", ".ipc", ".json",
    ".jsonl", ".ndjson", ".npy", ".npz", ".orc", ".pickle", ".pkl", ".pt", ".safetensors", ".txt", ".xlsx", ".zip",
    ".zst",
)  # fmt: skip


def is_path(value: Any) -> bool:
    """Whether a value is a path."""
    return isinstance(value, (str, os.PathLike))


def is_folder(out: str) -> bool:
    """Whether an output is a folder, with a file in it for every input: it is there, or its name ends in a slash."""
    return shown(out).endswith(("/", os.sep)) or Place.of(out).is_folder()


def refuse_inputs(out: str, data: Any, paths: Sequence[Any]) -> None:
    """No output may replace an input, nor lie where the next run would read it as one."""
    if is_uri(out):
        _refuse_objects(shown(out), data, paths)
        return
    for path in map(os.fspath, paths):
        if os.path.exists(out) and os.path.exists(path) and not os.path.isdir(out) and os.path.samefile(out, path):
            raise UsageError(f"{out}: is an input; name another file for the output")
    where = os.path.realpath(out)
    paths = [data] if is_path(data) else list(data) if isinstance(data, (list, tuple)) else []
    for path in map(os.fspath, filter(is_path, paths)):
        inside = os.path.isdir(path) and (where + os.sep).startswith(os.path.realpath(path) + os.sep)
        pattern = os.path.join(os.path.realpath(os.path.dirname(path) or "."), os.path.basename(path))
        if inside or (glob.has_magic(path) and not is_folder(out) and fnmatch.fnmatchcase(where, pattern)):
            raise UsageError(f"{out}: lies among the inputs ({path}), so the next run would read it; write elsewhere")


def _refuse_objects(out: str, data: Any, paths: Sequence[Any]) -> None:
    """`refuse_inputs` of an object store."""
    if out in (shown(os.fspath(path)) for path in paths):
        raise UsageError(f"{out}: is an input; name another file for the output")
    given = [data] if is_path(data) else list(data) if isinstance(data, (list, tuple)) else []
    for path in (shown(os.fspath(each)) for each in given if is_path(each)):
        if out.startswith(f"{path.rstrip('/')}/") or (glob.has_magic(path) and fnmatch.fnmatchcase(out, path)):
            raise UsageError(f"{out}: lies among the inputs ({path}), so the next run would read it; write elsewhere")


def refuse_other_formats(path: str) -> None:
    """Raises UsageError if a file of Parquet would have a name that promises something else."""
    path = shown(path)
    ending = next((each for each in (*TEXT_ENDINGS, *_OTHER_ENDINGS) if path.lower().endswith(each)), None)
    if ending is not None:
        raise UsageError(f"{path}: what is written here is Parquet, and the name says {ending}; name a .parquet file")


def outputs_of(paths: Sequence[str], data: Any, out: str) -> dict[str, str]:
    """Input -> output: the same path below ``out`` as below the directory given, or below the one all inputs share."""
    if is_path(data) and os.path.isdir(os.path.expanduser(os.fspath(data))):
        root = os.path.expanduser(os.fspath(data))
    else:
        folders = [
            posixpath.dirname(path) if "://" in path else os.path.dirname(os.path.abspath(path)) for path in paths
        ]
        root = os.path.commonpath(folders) if "://" not in paths[0] else _common_folder(folders)
    outputs = {}
    for path in paths:
        relative = path[len(root) :].lstrip("/") if "://" in path else os.path.relpath(path, root)
        outputs[path] = inside(out, os.path.splitext(relative)[0] + ".parquet")
    inputs = set(map(_canonical, paths))
    for output in outputs.values():
        if _canonical(output) in inputs:
            raise UsageError(f"{shown(output)}: is an input; name another directory for the outputs")
    return outputs


def inside(folder: str, name: str) -> str:
    """The path of a file in a folder; the options of a URI stay behind it."""
    if not is_uri(folder):
        return os.path.join(folder, name)
    parts = urlsplit(folder)
    return urlunsplit(parts._replace(path=posixpath.join(parts.path, name)))


def _canonical(path: str) -> str:
    return shown(path) if is_uri(path) else os.path.realpath(path)


def _common_folder(folders: Sequence[str]) -> str:
    """The longest beginning that all share, in whole parts (`os.path.commonpath` would take a slash out of "://")."""
    parts = [folder.split("/") for folder in folders]
    same = [names[0] for names in zip(*parts, strict=False) if len(set(names)) == 1]
    return "/".join(parts[0][: len(same)])
