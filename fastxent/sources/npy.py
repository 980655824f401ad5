"""``.npy`` files as memory-mapped arrays, read front to back.

The map is made here rather than by ``np.load(mmap_mode=...)``, which gives the kernel no hint and maps files
that are shorter than their header says (touching the missing part kills the process). Pickles are never read.
"""

from __future__ import annotations

import mmap
import os
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from fastxent.errors import SourceError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["forget", "map_bytes", "open_npy"]


class _Map(mmap.mmap):
    """A file that was mapped here, read-only, so that its pages may be given back at any time."""


def open_npy(path: str) -> NDArray[Any]:
    """The array in the ``.npy`` file at ``path``, as a read-only view of the mapped file.

    Raises:
        SourceError: the file is missing, damaged, cut short, or holds Python objects.
    """
    try:
        with open(path, "rb") as file:
            shape, fortran, dtype, offset = _header(file, path)
            size = os.fstat(file.fileno()).st_size
            count = _count(shape, path)
            if dtype.hasobject:
                raise SourceError("holds Python objects (a pickle), which are never loaded; save numbers", path=path)
            if size - offset < count * dtype.itemsize:
                raise SourceError(
                    f"the header promises {offset + count * dtype.itemsize:,} bytes (shape {shape}, {dtype}), "
                    f"the file has {size:,}: it is cut short; write or copy it again",
                    path=path,
                )
            if count == 0:
                return np.empty(shape, dtype)
            data = map_bytes(file)
    except OSError as error:
        raise SourceError(f"cannot be opened: {error.strerror or error}", path=path) from error
    flat = np.frombuffer(data, dtype=dtype, count=count, offset=offset)
    return flat.reshape(shape, order="F" if fortran else "C")


def map_bytes(file: IO[bytes]) -> mmap.mmap:
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


def _header(file: IO[bytes], path: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"unknown version {version}")
        shape, fortran, dtype = read(file)
    except Exception as error:  # NumPy parses the header with ast and tokenize, which raise many things
        raise SourceError(f"is not a readable .npy file: {error}", path=path) from error
    return shape, bool(fortran), dtype, file.tell()


def _count(shape: tuple[int, ...], path: str) -> int:
    count = 1
    for length in shape:
        if not isinstance(length, int) or length < 0:
            raise SourceError(f"the header gives an impossible shape {shape}", path=path)
        count *= length
    return count
