"""``.npy`` files, and ``.npz`` members stored without compression, as memory-mapped arrays read front to back.

The map is made here rather than by ``np.load(mmap_mode=...)``, which gives the kernel no hint and does not map
``.npz``. Sizes are compared with the header first: touching a part of a map that the file does not have kills the
process. (A file that is cut while it is read still does.) Pickles are never read.
"""

from __future__ import annotations

import mmap
import os
import zipfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from fastxent.base.errors import SourceError
from fastxent.sources.dataset.files import check_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["forget", "map_file", "open_npy", "open_npz"]


class _Map(mmap.mmap):
    """A file that was mapped here, read-only, so that its pages may be given back at any time."""


def open_npy(path: str) -> NDArray[Any]:
    """The array in the ``.npy`` file at ``path``, as a read-only view of the mapped file.

    Raises:
        SourceError: the file is missing, damaged, cut short, or holds Python objects.
    """
    check_regular(path)
    try:
        with open(path, "rb") as file:
            return _mapped(file, path, os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise SourceError(f"cannot be opened: {error.strerror or error}", path=path) from error


def open_npz(path: str, name: str) -> NDArray[Any]:
    """The array ``name`` in the ``.npz`` archive at ``path``, as a read-only view of the mapped file.

    Raises:
        SourceError: as `open_npy`; also if there is no such array, or if it is compressed.
    """
    check_regular(path)
    try:
        with open(path, "rb") as file:
            start, size = _member(file, path, name)
            file.seek(start)
            return _mapped(file, path, start + size)
    except (OSError, zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"is not a readable .npz archive: {error}", path=path) from error


def map_file(file: IO[bytes]) -> mmap.mmap:
    """The whole file, mapped read-only, with the hint that it will be read in order."""
    data = _Map(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_SEQUENTIAL"):
        data.madvise(mmap.MADV_SEQUENTIAL)
    return data


def forget(rows: NDArray[Any]) -> None:
    """Give back the memory of rows that have been read from a mapped file; they stay in the system's page cache.

    Without this the resident set of a process grows to the size of the file. Other arrays are left alone.
    """
    owner: Any = rows
    while isinstance(owner, np.ndarray):
        owner = owner.base
    owner = owner.obj if isinstance(owner, memoryview) else owner
    if isinstance(owner, _Map) and hasattr(mmap, "MADV_DONTNEED") and rows.flags.c_contiguous and rows.nbytes:
        start = rows.ctypes.data - np.frombuffer(owner, np.uint8).ctypes.data
        before = start % mmap.PAGESIZE
        owner.madvise(mmap.MADV_DONTNEED, start - before, before + rows.nbytes)


def _mapped(file: IO[bytes], path: str, end: int) -> NDArray[Any]:
    """The array whose ``.npy`` header starts where ``file`` stands, and whose data must end before byte ``end``."""
    shape, fortran, dtype = _header(file, path)
    offset, count = file.tell(), _count(shape, path)
    if dtype.hasobject:
        raise SourceError("holds Python objects (a pickle), which are never loaded; save numbers", path=path)
    if end - offset < count * dtype.itemsize:
        raise SourceError(
            f"the header promises {count * dtype.itemsize:,} bytes of data (shape {shape}, {dtype}), "
            f"the file has {max(0, end - offset):,}: it is cut short; write or copy it again",
            path=path,
        )
    if count == 0:
        return np.empty(shape, dtype)
    flat = np.frombuffer(map_file(file), dtype=dtype, count=count, offset=offset)
    return flat.reshape(shape, order="F" if fortran else "C")


def _header(file: IO[bytes], path: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    try:
        version = np.lib.format.read_magic(file)
        if version not in readers:
            raise ValueError(f"unknown version {version}")
        shape, fortran, dtype = readers[version](file)
    except Exception as error:  # NumPy parses the header with ast and tokenize, which raise many things
        raise SourceError(f"is not a readable .npy file: {error}", path=path) from error
    return shape, bool(fortran), dtype


def _count(shape: tuple[int, ...], path: str) -> int:
    count = 1
    for length in shape:
        if not isinstance(length, int) or length < 0:
            raise SourceError(f"the header gives an impossible shape {shape}", path=path)
        count *= length
    return count


def _member(file: IO[bytes], path: str, name: str) -> tuple[int, int]:
    """Where the data of an archive's member starts, and how long it is."""
    with zipfile.ZipFile(file) as archive:
        names = [member.removesuffix(".npy") for member in archive.namelist()]
        if name not in names:
            raise SourceError(
                f"there is no such array; the arrays are: {', '.join(names[:20])}", path=path, column=name
            )
        info = archive.infolist()[names.index(name)]
    if info.compress_type != zipfile.ZIP_STORED:
        raise SourceError(
            "is compressed, so it cannot be read in bounded memory; write it by np.savez (not savez_compressed) or "
            "np.save",
            path=path, column=name,
        )  # fmt: skip
    file.seek(info.header_offset)
    head = file.read(30)  # the lengths of name and extra field may differ from those in the directory
    if len(head) < 30 or head[:4] != b"PK\x03\x04":
        raise SourceError("the archive's directory points to no member; write or copy it again", path=path, column=name)
    start = info.header_offset + 30 + int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
    return start, min(info.file_size, max(0, os.fstat(file.fileno()).st_size - start))
