"""What the record batches of a mapped Arrow IPC file take when they are unpacked: it is said before any is.

Messages are FlatBuffers (Arrow's Message.fbs), which pyarrow has verified. Each compressed buffer begins with how many
bytes it unpacks to, -1 if it is stored as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import error, unpack_from
from typing import Any, NamedTuple

import pyarrow as pa

__all__ = ["Unpacked", "unpacked_sizes"]

_DICTIONARY, _BATCH = "dictionary", "record batch"


class Unpacked(NamedTuple):
    """A record batch: its rows, the bytes of each of its columns, and those of the largest dictionary of the file."""

    rows: int
    columns: dict[str, int]
    dictionary: int


def unpacked_sizes(mapped: Any, schema: Any) -> tuple[Unpacked, ...]:
    """Those of all record batches in their order, as what has to be held for each: of a stream, all of them.

    Nothing where no buffer is compressed.
    """
    dictionary, compressed = 0, False
    batches: list[tuple[int, dict[str, int]]] = []
    try:
        messages = list(_messages(mapped))
    except (EOFError, error) as cause:
        raise ValueError(f"a message that contradicts itself: {cause}") from cause
    for kind, rows, sizes, packed in messages:
        compressed |= packed
        if kind == _DICTIONARY:
            dictionary = max(dictionary, sum(sizes))
        else:
            batches.append((rows, _by_column(sizes, schema)))
    if not compressed:
        return ()
    if not _is_file(mapped):
        whole = {name: sum(columns[name] for _, columns in batches) for name in schema.names}
        batches = [(rows, whole) for rows, _ in batches]
    return tuple(Unpacked(rows, columns, dictionary) for rows, columns in batches)


def _is_file(mapped: Any) -> bool:
    return bool(mapped[:6].to_pybytes() == b"ARROW1")


def _messages(mapped: Any) -> Iterator[tuple[str, int, list[int], bool]]:
    """The kind of every message with data, its rows, the bytes of its buffers, and whether they are compressed."""
    for message in _of_file(mapped) if _is_file(mapped) else _of_stream(mapped):
        if message.type in (_DICTIONARY, _BATCH):
            yield message.type, *_buffers(message.metadata.to_pybytes(), message.body, message.type)


def _of_stream(mapped: Any) -> Iterator[Any]:
    source = pa.BufferReader(mapped)
    while True:
        try:
            yield pa.ipc.read_message(source)
        except EOFError:
            return


def _of_file(mapped: Any) -> Iterator[Any]:
    """The messages that the footer names (Arrow's File.fbs), first those of dictionaries."""
    end = mapped.size - 10
    footer = mapped[end - unpack_from("<i", mapped, end)[0] : end].to_pybytes()
    table = _table(footer, 0)
    for field in (2, 3):
        if place := _field(footer, table, field):
            vector = _table(footer, place)
            for i in range(unpack_from("<I", footer, vector)[0]):
                at, head, body = unpack_from("<qixxxxq", footer, vector + 4 + 24 * i)
                yield pa.ipc.read_message(mapped[at : at + head + body])


def _buffers(data: bytes, body: Any, kind: str) -> tuple[int, list[int], bool]:
    """The rows of a message, the bytes that its buffers take, and whether they are compressed."""
    batch = _table(data, _field(data, _table(data, 0), 2))
    if kind == _DICTIONARY:
        batch = _table(data, _field(data, batch, 1))
    rows, packed, vector = _field(data, batch, 0), _field(data, batch, 3) > 0, _field(data, batch, 2)
    vector += unpack_from("<I", data, vector)[0]
    sizes = []
    for i in range(unpack_from("<I", data, vector)[0]):
        offset, size = unpack_from("<qq", data, vector + 4 + 16 * i)
        if packed and size >= 8:
            whole = unpack_from("<q", body, offset)[0]
            size = size - 8 if whole < 0 else whole
        sizes.append(size)
    return unpack_from("<q", data, rows)[0] if rows else 0, sizes, packed


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
