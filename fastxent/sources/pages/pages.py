"""The pages of a column chunk, one after the other, decompressed.

Every size that a page states is held against what is left of the chunk before it is used, and against what the footer
says the chunk unpacks to before memory is taken for it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from fastxent.kernels.parquet import hybrid
from fastxent.kernels.parquet import page_header as head
from fastxent.kernels.parquet.compiled import compiled
from fastxent.sources.pages.damage import Damage, Unusual
from fastxent.sources.pages.footer import DEPTH, Chunk

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Page", "read_pages"]

#: Bytes that are read to find a header, or behind a page, where the next header lies.
HEADER_BYTES = 4 << 10
LARGEST_HEADER = 16 << 20
_DATA, _, _DICTIONARY, _SECOND = range(4)
_OTHER_CODECS = {"SNAPPY": "snappy", "ZSTD": "zstd", "LZ4_RAW": "lz4_raw"}


class Page(NamedTuple):
    """A page: its header (see `fastxent.kernels.parquet.page_header`), levels of version 2, and the rest, unpacked."""

    header: list[int]
    levels: NDArray[np.uint8] | None
    body: NDArray[np.uint8]

    @property
    def is_dictionary(self) -> bool:
        """Whether it holds entries rather than values."""
        return self.header[head.KIND] == _DICTIONARY


class _Window:
    """A part of a file that is read piece by piece, each once where pages are large."""

    def __init__(self, read_at: Callable[[int, int], bytes], start: int, end: int) -> None:
        self._read_at, self._from, self.end = read_at, start, end
        self._bytes = np.empty(0, np.uint8)

    def get(self, place: int, count: int) -> NDArray[np.uint8]:
        """``count`` bytes from ``place``, or fewer at the end; more of them if they are there already."""
        count = min(count, self.end - place)
        offset = place - self._from
        if not 0 <= offset <= len(self._bytes) - count:
            data = self._read_at(count, place)
            if len(data) != count:
                raise Damage("the file ends within a page")
            self._bytes, self._from, offset = np.frombuffer(data, np.uint8), place, 0
        return self._bytes[offset:]

    def drop(self, place: int) -> None:
        """Let go of what lies before a place."""
        self._bytes, self._from = self._bytes[place - self._from :].copy(), place


def read_pages(
    read_at: Callable[[int, int], bytes], chunk: Chunk, most: int, *, checksums: bool = False, bodies: bool = True
) -> Iterator[Page]:
    """The pages of a chunk up to the last of its values.

    Args:
        read_at: reads so many bytes from a place of the file.
        chunk: where they are.
        most: bytes that a page may have when it is unpacked.
        checksums: check those that pages have.
        bodies: give what is in the pages; without it they are empty, and only the headers are read.

    Raises:
        Damage: the pages are not those that the footer speaks of.
        Unusual: the codec is none of those that are unpacked here, or a page is larger than ``most``.
    """
    if chunk.codec not in (*_OTHER_CODECS, "UNCOMPRESSED", "GZIP"):
        raise Unusual
    window = _Window(read_at, chunk.start, chunk.start + chunk.size)
    place, left, unpacked = chunk.start, chunk.values, 0
    header, stack = np.empty(head.HEADER_FIELDS, np.int64), np.empty((DEPTH, 2), np.int64)
    while left > 0:
        place = _read_header(window, place, header, stack)
        fields = header.tolist()
        kind, size = fields[head.KIND], fields[head.SIZE]
        unpacked += fields[head.STORED_SIZE]
        if size > window.end - place or unpacked > chunk.stored_bytes:
            raise Damage("a page is said to be larger than all of its column")
        known = kind in (_DATA, _SECOND, _DICTIONARY)
        if known and fields[head.COUNT] < 0:
            raise Damage("a page does not say how many values it has")
        if kind in (_DATA, _SECOND):
            left -= fields[head.COUNT]
            if left < 0:
                raise Damage("its pages have more values than its footer says")
        elif kind == _DICTIONARY and place > chunk.data_at:
            raise Damage("a dictionary is not in its place")
        if chunk.codec == "UNCOMPRESSED" and size != fields[head.STORED_SIZE]:
            raise Damage("a page without compression has two sizes")
        if known:  # others are skipped, as readers shall do
            if bodies and max(size, fields[head.STORED_SIZE]) > most:
                raise Unusual
            if bodies:
                page = _page(fields, window.get(place, size + HEADER_BYTES)[:size], chunk.codec, checksums)
                if chunk.codec != "UNCOMPRESSED":
                    window.drop(place + size)
                yield page
                del page
            else:
                yield Page(fields, None, np.empty(0, np.uint8))
        place += size


def _read_header(window: _Window, place: int, header: NDArray[np.int64], stack: NDArray[np.int64]) -> int:
    """Fills ``header``; the place after it."""
    read, tried = compiled(head.read_page_header), HEADER_BYTES
    while True:
        data = window.get(place, tried)
        size = int(read(data, 0, len(data), header, stack))
        if size > 0:
            return place + size
        if tried >= min(LARGEST_HEADER, window.end - place):
            raise Damage("a page begins with what is no header")
        tried *= 16


def _page(fields: list[int], stored: NDArray[np.uint8], codec: str, checksums: bool) -> Page:
    if checksums and fields[head.CHECKSUM] >= 0 and zlib.crc32(stored.data) != fields[head.CHECKSUM]:
        raise Damage("a page is not what was written: its checksum (CRC) differs")
    size = fields[head.STORED_SIZE]
    if fields[head.KIND] != _SECOND:
        return Page(fields, None, _unpacked(stored, size, codec))
    levels = fields[head.DEFINITION_BYTES] + fields[head.REPETITION_BYTES]
    if min(fields[head.DEFINITION_BYTES], fields[head.REPETITION_BYTES]) < 0 or levels > min(len(stored), size):
        raise Damage("a page is smaller than its levels")
    body = stored[levels:]
    if fields[head.IS_COMPRESSED] and codec != "UNCOMPRESSED" and len(body):
        body = _unpacked(body, size - levels, codec)
    elif len(body) != size - levels:
        raise Damage("a page without compression has two sizes")
    return Page(fields, stored[:levels], body)


def _unpacked(stored: NDArray[np.uint8], size: int, codec: str) -> NDArray[np.uint8]:
    """What a page holds, of which ``size`` bytes are promised, neither more nor fewer."""
    if codec == "UNCOMPRESSED":
        return stored
    try:
        if codec == "GZIP":
            unzip = zlib.decompressobj(47)
            data = unzip.decompress(stored.data, size + 1) + unzip.flush()
            if unzip.unused_data:
                raise Unusual
            whole = len(data) == size and unzip.eof
        else:
            # pyarrow says nothing if the data of these are fewer than promised, and leaves the rest as it was
            whole = codec == "ZSTD" or _promised(stored, codec) == size
            data = pa.decompress(stored, size, codec=_OTHER_CODECS[codec]) if whole and size else b""
            whole = whole and len(data) == size
    except MemoryError:  # pyarrow's is one of its own errors as well
        raise
    except (pa.ArrowException, OSError, zlib.error) as error:
        raise Damage(f"a page cannot be decompressed: {error}") from error
    if not whole:
        raise Damage("a page does not unpack to the bytes that it is said to have")
    return np.frombuffer(data, np.uint8)


def _promised(stored: NDArray[np.uint8], codec: str) -> int:
    """The bytes that data of Snappy or LZ4 unpack to."""
    if codec == "LZ4_RAW":
        return int(compiled(hybrid.lz4_size)(stored, 0, len(stored)))
    size = 0
    for step, byte in enumerate(stored[:5].tolist()):
        size |= (byte & 127) << 7 * step
        if byte < 128:
            return int(size)
    return -1
