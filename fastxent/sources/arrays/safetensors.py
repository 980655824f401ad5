"""``.safetensors`` files as memory-mapped arrays.

The format: 8 bytes with the length of a JSON header, the header {name: {dtype, shape, data_offsets}}, then the
numbers, little-endian. Nothing in the header is believed before it is checked against the size of the file.
"""

from __future__ import annotations

import json
import math
import os
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from fastxent.base.errors import SourceError
from fastxent.sources.arrays.npy import map_file
from fastxent.sources.dataset.files import check_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["open_safetensors"]

#: The limit of the format's own reader.
MAX_HEADER = 100_000_000
#: BOOL is read as bytes, since a damaged file may hold others than 0 and 1. BF16 travels as its bits.
DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "u1",
}  # fmt: skip


def open_safetensors(path: str) -> dict[str, tuple[NDArray[Any], str]]:
    """The tensors in the file at ``path``: for each name a read-only view of the mapped file and its safetensors dtype.

    Raises:
        SourceError: the file is missing, damaged or cut short.
    """
    check_regular(path)
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            header, start = _header(file, size, path)
            tensors = {name: _checked(name, entry, size - start, path) for name, entry in header.items()}
            data = map_file(file) if any(count for _, _, _, count in tensors.values()) else b""
    except OSError as error:
        raise SourceError(f"cannot be opened: {error.strerror or error}", path=path) from error
    return {
        name: (_array(data, DTYPES[kind], shape, start + offset, count), kind)
        for name, (kind, shape, offset, count) in tensors.items()
    }


def _array(data: Any, dtype: str, shape: tuple[int, ...], offset: int, count: int) -> NDArray[Any]:
    if count == 0:
        return np.empty(shape, dtype)
    return np.frombuffer(data, dtype, count, offset).reshape(shape)


def _header(file: IO[bytes], size: int, path: str) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, MAX_HEADER):
        raise SourceError(
            f"is no safetensors file, or cut short: the header would be {length:,} bytes, the file has {size:,}",
            path=path,
        )
    try:
        header = json.loads(file.read(length))
    except (ValueError, RecursionError) as error:
        raise SourceError(f"the safetensors header cannot be read: {error}", path=path) from error
    if not isinstance(header, dict):
        raise SourceError("the safetensors header is no JSON object", path=path)
    header.pop("__metadata__", None)
    return header, 8 + length


def _checked(name: str, entry: Any, room: int, path: str) -> tuple[str, tuple[int, ...], int, int]:
    """dtype, shape, offset and number of elements of one tensor."""
    try:
        kind, shape, (begin, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
        known = kind in DTYPES
    except (TypeError, KeyError, ValueError) as error:
        raise SourceError(f"the header's entry {entry!r:.200} is incomplete", path=path, column=name) from error
    if not known:
        raise SourceError(f"holds {kind!r:.40}; understood are {', '.join(DTYPES)}", path=path, column=name)
    if not all(type(number) is int and 0 <= number < 2**63 for number in (*shape, begin, end)) or len(shape) > 8:
        raise SourceError(f"the header gives an impossible shape or place: {entry!r:.200}", path=path, column=name)
    count = math.prod(shape)
    if end - begin != count * np.dtype(DTYPES[kind]).itemsize or end > room:
        raise SourceError(
            f"the header promises bytes {begin:,} to {end:,} for shape {shape} of {kind}, the file holds {room:,} "
            "bytes of data: it is damaged or cut short; write or copy it again",
            path=path, column=name,
        )  # fmt: skip
    return kind, shape, begin, count
