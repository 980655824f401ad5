"""What the record batches of an Arrow IPC file take when they are unpacked: it is said before any is.

Messages are FlatBuffers (Arrow's Message.fbs). Each compressed buffer begins with how many bytes it unpacks to, -1 if
it is stored as it is. Of a file nothing but that is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import error, unpack_from
from typing import Any, NamedTuple

import pyarrow as pa

__all__ = ["Unpacked", "unpacked_sizes"]

#: Reads so many bytes from a place.
ReadAt = Callable[[int, int], bytes]
#: Kinds of messages.
_DICTIONARY, _BATCH = 2, 3
#: Times its size that a buffer can unpack to, of LZ4 frames and of Zstandard (blocks of 128 KiB in 4 bytes).
_MOST = (256, 1 << 16)


class Unpacked(NamedTuple):
    """A record batch: its rows, the bytes of each of its columns, and those of the largest dictionary of the file."""

    rows: int
    columns: dict[str, int]
    dictionary: int


def unpacked_sizes(read_at: ReadAt, size: int, schema: Any, *, mapped: bool) -> tuple[Unpacked, ...]:
    """Those of all record batches in their order, as what has to be held for each: of a stream, all of them.

    Nothing of a ``mapped`` file in which no buffer is compressed. ``read_at`` reads so many bytes from a place of the
    file, which has ``size`` bytes.
    """
    dictionary, compressed = 0, False
    batches: list[tuple[int, dict[str, int]]] = []
    is_file = read_at(6, 0) == b"ARROW1"
    try:
        for place, head in _of_file(read_at, size) if is_file else _of_stream(read_at, size):
            kind, rows, sizes, packed = _buffers(read_at, place, head, size)
            compressed |= packed
            if kind == _DICTIONARY:
                dictionary = max(dictionary, sum(sizes))
            elif kind == _BATCH:
                batches.append((rows, _by_column(sizes, schema)))
    except (error, IndexError) as cause:
        raise ValueError(f"a message that contradicts itself: {cause}") from cause
    if min((rows for rows, _ in batches), default=0) < 0:
        raise ValueError("a batch has fewer rows than none")
    if mapped and not compressed:
        return ()
    if not is_file:
        whole = {name: sum(columns[name] for _, columns in batches) for name in schema.names}
        batches = [(rows, whole) for rows, _ in batches]
    return tuple(Unpacked(rows, columns, dictionary) for rows, columns in batches)


def _of_stream(read_at: ReadAt, size: int) -> Iterator[tuple[int, int]]:
    """The places of the messages of a stream, and the bytes before their bodies."""
    at = 0
    while at + 8 <= size:
        begin, length = _begin(read_at, at)
        if length == 0:
            return
        data = read_at(length, at + begin)
        body = _field(data, _table(data, 0), 3)
        yield at, begin + length
        at += begin + length + (max(0, unpack_from("<q", data, body)[0]) if body else 0)


def _begin(read_at: ReadAt, at: int) -> tuple[int, int]:
    """The bytes before the FlatBuffer of a message, and the bytes of that; the oldest files have no mark."""
    mark, length = unpack_from("<ii", read_at(8, at))
    return (8, max(0, length)) if mark == -1 else (4, max(0, mark))


def _of_file(read_at: ReadAt, size: int) -> Iterator[tuple[int, int]]:
    """The places of the messages that the footer names (Arrow's File.fbs), first those of dictionaries."""
    end = size - 10
    length = unpack_from("<i", read_at(4, end))[0]
    footer = read_at(max(0, length), max(0, end - length))
    table = _table(footer, 0)
    for field in (2, 3):
        if place := _field(footer, table, field):
            vector = _table(footer, place)
            for i in range(unpack_from("<I", footer, vector)[0]):
                yield unpack_from("<qi", footer, vector + 4 + 24 * i)


def _buffers(read_at: ReadAt, at: int, head: int, whole_file: int) -> tuple[int, int, list[int], bool]:
    """The kind of a message, its rows, the bytes that its buffers take, and whether they are compressed."""
    begin, length = _begin(read_at, at)
    data = read_at(length, at + begin)
    message = _table(data, 0)
    kind = data[_field(data, message, 1)]
    if kind not in (_DICTIONARY, _BATCH):
        return kind, 0, [], False
    batch = _table(data, _field(data, message, 2))
    if kind == _DICTIONARY:
        batch = _table(data, _field(data, batch, 1))
    rows, packing, place = _field(data, batch, 0), _field(data, batch, 3), _field(data, batch, 2)
    codec = _field(data, _table(data, packing), 0) if packing else 0
    most = _MOST[bool(codec and data[codec])]
    vector, sizes = _table(data, place), []
    for i in range(unpack_from("<I", data, vector)[0] if place else 0):
        offset, size = unpack_from("<qq", data, vector + 4 + 16 * i)
        if not (0 <= size <= whole_file and 0 <= offset <= whole_file):
            raise ValueError("a buffer is said to be larger than the file")
        if packing and size >= 8:
            whole = unpack_from("<q", read_at(8, at + head + offset))[0]
            if whole > most * size:
                raise ValueError("a buffer is said to unpack to more than it can")
            size = size - 8 if whole < 0 else whole
        sizes.append(size)
    return kind, unpack_from("<q", data, rows)[0] if rows else 0, sizes, packing > 0


def _table(data: bytes, at: int) -> int:
    """Where the table begins that a place points to."""
    return at + int(unpack_from("<I", data, at)[0])


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field of a table is; 0 if it has none."""
    offsets = table - unpack_from("<i", data, table)[0]
    if 4 + 2 * number >= unpack_from("<H", data, offsets)[0]:
        return 0
    at = unpack_from("<H", data, offsets + 4 + 2 * number)[0]
    return table + int(at) if at else 0


def _by_column(sizes: list[int], schema: Any) -> dict[str, int]:
    """The bytes of every column; of all together where a type has other buffers in files than in memory."""
    counts = [len(pa.nulls(0, _storage(field.type)).buffers()) for field in schema]
    if sum(counts) != len(sizes):
        return dict.fromkeys(schema.names, sum(sizes))
    left = iter(sizes)
    return {name: sum(next(left) for _ in range(count)) for name, count in zip(schema.names, counts, strict=True)}


def _storage(kind: Any) -> Any:
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
