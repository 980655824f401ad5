"""A data set: files that are listed once, opened once, and whose footers are read once, for everybody who asks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from fastxent.base.errors import SourceError, UnavailableError, UsageError
from fastxent.sources.dataset import retry
from fastxent.sources.dataset.files import DataFile, expand_local, format_by_name, partition_values
from fastxent.sources.dataset.footer import Footer, read_parquet_footer
from fastxent.sources.dataset.ipc import read_ipc_footer
from fastxent.sources.dataset.logged_tables import logged_files
from fastxent.sources.dataset.open_files import OpenFiles
from fastxent.sources.dataset.text import read_text_footer
from fastxent.sources.read_errors import check_damage, first_line

__all__ = ["Dataset", "find_dataset", "list_files"]

#: Bytes of footers that are kept; beyond this they are parsed again where they are needed.
FOOTER_BYTES = 64 << 20
#: Remote footers that are fetched side by side.
FETCHES = 16

_ARRAYS = "numpy.savez('{stem}.npz', **{{name: numpy.asarray(array) for name, array in"
_PICKLE = "python -c \"import pandas; pandas.read_pickle('{name}').to_parquet('{stem}.parquet')\""
_TENSORS = f"python -c \"import numpy, torch; {_ARRAYS} torch.load('{{name}}').items()}}}})\""
_HDF5 = f"python -c \"import numpy, h5py; {_ARRAYS} h5py.File('{{name}}').items()}}}})\""
#: Ending of files that are not read -> the line that makes one that is.
_CONVERSIONS = {
    ".pkl": _PICKLE, ".pickle": _PICKLE, ".pt": _TENSORS, ".pth": _TENSORS, ".h5": _HDF5, ".hdf5": _HDF5,
}  # fmt: skip


class Dataset:
    """Files of one format, in the order of their paths.

    It pickles as the list of files: elsewhere they are opened, and their footers read, when they are needed.
    """

    def __init__(self, files: Sequence[DataFile]) -> None:
        self.files = tuple(files)
        self.open_files = OpenFiles()
        self._footers: dict[str, Footer] = {}
        self._footer_bytes = 0

    def __reduce__(self) -> tuple[type[Dataset], tuple[tuple[DataFile, ...]]]:
        """For another process: the files."""
        return Dataset, (self.files,)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the files, for messages."""
        return tuple(file.name for file in self.files)

    @cached_property
    def format(self) -> str:
        """The format of all files, "parquet", "arrow" or "text": by their endings, else by their first bytes.

        Raises:
            SourceError: a file is of neither.
            UsageError: the files are of several formats.
        """
        formats = {format_by_name(file) or self._format_by_content(file) for file in self.files}
        if len(formats) > 1:
            raise UsageError(f"the files are of several formats ({', '.join(sorted(formats))}); name those of one")
        return formats.pop()

    @cached_property
    def partitions(self) -> list[dict[str, Any]]:
        """For each file the columns that its path holds (hive partitions)."""
        return partition_values(self.files)

    def footer(self, file: DataFile) -> Footer:
        """The footer of one of the files.

        Raises:
            SourceError: it cannot be read.
        """
        footer = self._footers.get(file.name)
        if footer is None:
            if self.format == "text":
                footer = read_text_footer(file)
            else:
                read = read_parquet_footer if self.format == "parquet" else read_ipc_footer
                footer = read(file, self.open_files)
            self._footer_bytes += 0 if footer.parquet is None else len(footer.parquet.data)
            if self._footer_bytes <= FOOTER_BYTES:
                self._footers[file.name] = footer
        return footer

    def footers(self, *, skips: bool = False) -> Iterator[tuple[DataFile, Mapping[str, Any], Footer | SourceError]]:
        """Every file with its partitions and its footer, or (if it ``skips``) the error; remote ones side by side."""

        def fetch(file: DataFile) -> Footer | SourceError:
            try:
                return self.footer(file)
            except SourceError as error:
                if not skips or isinstance(error, UnavailableError):
                    raise
                return error

        if len(self.files) > 1 and self.files[0].is_remote:
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(FETCHES) as pool:
                yield from zip(self.files, self.partitions, pool.map(fetch, self.files), strict=True)
        else:
            yield from zip(self.files, self.partitions, map(fetch, self.files), strict=True)

    def first_readable(self, *, skips: bool = False) -> tuple[DataFile, Footer]:
        """The first file with its footer; of those that can be read, if it ``skips``.

        Raises:
            SourceError: there is none.
        """
        for file in self.files:
            try:
                return file, self.footer(file)
            except SourceError as error:
                if not skips or isinstance(error, UnavailableError):
                    raise
                last = error
        raise last

    def _format_by_content(self, file: DataFile) -> str:
        ending = os.path.splitext(file.location)[1].lower()
        if ending in _CONVERSIONS:
            name = os.path.basename(file.location)
            line = _CONVERSIONS[ending].format(name=name, stem=name[: -len(ending)])
            raise SourceError(f"is a {ending} file, which is not read here; convert it: {line}", path=file.name)

        def read() -> bytes:
            return bytes(self.open_files.get(file).read_at(8, 0))

        try:
            magic = retry.call(read, file.is_remote, lambda: self.open_files.drop(file))
        except Exception as error:
            check_damage(error, file.name)
            raise SourceError(f"cannot be opened: {first_line(error)}", path=file.name) from error
        if magic[:4] == b"PAR1":
            return "parquet"
        if magic[:6] == b"ARROW1":
            self.open_files.drop(file)  # it will be mapped
            return "arrow"
        raise SourceError(
            f"is neither Parquet nor Arrow: it ends in {ending or 'nothing'} and starts with {magic!r}", path=file.name
        )


def find_dataset(data: Any) -> Dataset:
    """The data set that a path, a list of paths, a glob, a directory or a URI means; or that was found already."""
    return data if isinstance(data, Dataset) else Dataset(list_files(data))


def list_files(paths: Any) -> list[DataFile]:
    """The files that ``paths`` means, sorted by path: a file, directory, glob, URI, or a list of these.

    Raises:
        SourceError: there is nothing at a path, or no table file in a directory.
    """
    several = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    files = {file.name: file for path in several for file in _expand(os.fspath(path))}
    if not files:
        raise UsageError("no paths were given")
    return [files[name] for name in sorted(files)]


def _expand(path: str) -> list[DataFile]:
    if "://" not in path:
        path = os.path.expanduser(path)
        return logged_files(path) or expand_local(path)
    if path.startswith("file://") and (files := logged_files(path.removeprefix("file://"))):
        return files
    from fastxent.sources.dataset.remote import expand_uri

    return expand_uri(path)
