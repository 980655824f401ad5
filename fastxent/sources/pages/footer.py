"""Footers of Parquet files, parsed and checked on their own: whatever they say twice must agree.

pyarrow parses them as well, and is asked for the schema. It believes what it reads, though: of a row group whose number
of rows has one flipped bit it returns fewer rows and no error, and what it throws at some damage ends the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from operator import or_
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastxent.kernels.parquet import footer as table
from fastxent.kernels.parquet.compiled import footer_reader
from fastxent.sources.pages.checksum import check_footer_checksum
from fastxent.sources.pages.damage import Damage

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CODECS", "ENCODINGS", "TAIL_BYTES", "Chunk", "Leaf", "ParquetFooter", "footer_bytes", "parse_footer"]

#: What is read of the end of a file at once; larger footers take a second read.
TAIL_BYTES = 64 << 10
MAGIC = b"PAR1"
#: Structs and lists within one another in a footer; parquet.thrift has nine.
DEPTH = 64
CODECS = ("UNCOMPRESSED", "SNAPPY", "GZIP", "LZO", "BROTLI", "LZ4", "ZSTD", "LZ4_RAW")
ENCODINGS = (
    "PLAIN", "", "PLAIN_DICTIONARY", "RLE", "BIT_PACKED", "DELTA_BINARY_PACKED", "DELTA_LENGTH_BYTE_ARRAY",
    "DELTA_BYTE_ARRAY", "RLE_DICTIONARY", "BYTE_STREAM_SPLIT",
)  # fmt: skip
TYPES = ("BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY")
_FIXED = TYPES.index("FIXED_LEN_BYTE_ARRAY")
#: Logical types by their number -> the converted types that may stand beside them (integers and decimals: see below).
_CONVERTED = {1: (0,), 2: (1, 2), 3: (3,), 4: (4,), 5: (5,), 6: (6,), 7: (7, 8), 8: (9, 10), 12: (19,), 13: (20,)}
_DECIMAL, _INTEGER = 5, 10


class Leaf(NamedTuple):
    """A column of numbers or bytes in the schema: its path, type, and the levels of nulls and lists above it."""

    path: tuple[str, ...]
    physical: str
    type_size: int
    definitions: int
    repetitions: int


class Chunk(NamedTuple):
    """A column chunk: where its pages lie, and how they are stored.

    ``data_at`` is behind a dictionary page; ``nulls`` is -1 where the statistics do not tell.
    """

    codec: str
    values: int
    start: int
    size: int
    stored_bytes: int
    data_at: int
    encodings: tuple[str, ...]
    nulls: int


@dataclass(frozen=True)
class ParquetFooter:
    """What a footer says.

    Attributes:
        data: its bytes.
        start: where it begins in the file.
        leaves: the columns.
        rows: of each row group.
        group_bytes: bytes of each row group, before compression.
        chunks: (row groups, leaves, fields) int64; `chunk` reads it.
    """

    data: bytes
    start: int
    leaves: tuple[Leaf, ...]
    rows: tuple[int, ...]
    group_bytes: tuple[int, ...]
    chunks: NDArray[np.int64]

    @cached_property
    def leaves_of(self) -> dict[str, list[int]]:
        """The numbers of the leaves below each column of the schema."""
        found: dict[str, list[int]] = {}
        for number, leaf in enumerate(self.leaves):
            found.setdefault(leaf.path[0], []).append(number)
        return found

    def is_encrypted(self, group: int, leaf: int) -> bool:
        """Whether nothing is known of a column chunk."""
        return bool(self.chunks[group, leaf, table.DOUBTS] & table.ENCRYPTED)

    def chunk(self, group: int, leaf: int) -> Chunk:
        """One column chunk."""
        row = self.chunks[group, leaf].tolist()
        codec, bits = row[table.CODEC], row[table.ENCODINGS]
        named = tuple(name for i, name in enumerate(ENCODINGS) if bits >> i & 1)
        return Chunk(
            CODECS[codec], row[table.VALUES], _start(row[table.DATA_AT], row[table.DICTIONARY_AT]),
            row[table.COMPRESSED], row[table.STORED_BYTES], row[table.DATA_AT], named,
            row[table.NULLS],
        )  # fmt: skip


def footer_bytes(read_at: Any, size: int) -> bytes | None:
    """The bytes of the footer of a file of ``size`` bytes; None if it does not end as a Parquet file does.

    ``read_at(count, place)`` reads from the file.

    Raises:
        Damage: the footer does not fit into the file.
    """
    tail = bytes(read_at(min(size, TAIL_BYTES), max(0, size - TAIL_BYTES)))
    if len(tail) < 12 or tail[-4:] != MAGIC:
        return None
    length = int.from_bytes(tail[-8:-4], "little")
    if length > size - 12:
        raise Damage(f"the footer is said to have {length:,} bytes, in a file of {size:,}")
    if length > len(tail) - 8:
        tail = bytes(read_at(length + 8, size - length - 8))
    return tail[len(tail) - 8 - length : len(tail) - 8]


def parse_footer(data: bytes, size: int) -> ParquetFooter:
    """A footer of a file of ``size`` bytes, checked.

    Raises:
        Damage: it cannot be parsed, or contradicts itself.
    """
    octets = np.frombuffer(data, np.uint8)
    # A schema element takes 5 bytes or more, a row group 7, a chunk 20; memory that is not written to is not taken.
    elements = np.empty((min(table.count_elements(octets), len(data) // 5), table.ELEMENT_FIELDS), np.int64)
    groups = np.empty((len(data) // 7, table.GROUP_FIELDS), np.int64)
    chunks = np.empty((len(data) // 20, table.CHUNK_FIELDS), np.int64)
    numbers = np.zeros(table.NUMBERS, np.int64)
    end = footer_reader(len(data))(octets, elements, groups, chunks, numbers, np.empty((DEPTH, 2), np.int64))
    if end < 0 or (end != len(data) and not numbers[table.SEALED]):
        raise Damage("its footer cannot be parsed")
    check_footer_checksum(data, size)
    places = elements[: numbers[table.LEAVES], table.COLUMN].tolist()
    elements = elements[: numbers[table.ELEMENTS]].copy()
    groups = groups[: numbers[table.GROUPS]].copy()
    start = size - 8 - len(data)
    footer = ParquetFooter(
        data, start, tuple(_leaf(data, elements, place) for place in places),
        tuple(groups[:, table.GROUP_ROWS].tolist()), tuple(groups[:, table.GROUP_BYTES].tolist()),
        chunks[: numbers[table.CHUNKS]].reshape(len(groups), len(places), table.CHUNK_FIELDS).copy(),
    )  # fmt: skip
    _check_schema(elements, footer)
    _check_rows(footer, int(numbers[table.ROWS]))
    _check_chunks(footer, elements[places, table.PHYSICAL])
    return footer


def _leaf(data: bytes, elements: NDArray[np.int64], place: int) -> Leaf:
    element = elements[place].tolist()
    names = []
    while place > 0:
        at, size = elements[place, [table.NAME_AT, table.NAME_SIZE]].tolist()
        names.append(data[at : at + size].decode("utf-8", "replace"))
        place = int(elements[place, table.PARENT])
    kind = element[table.PHYSICAL]
    physical = TYPES[kind] if kind < len(TYPES) else f"type {kind}"
    return Leaf(
        tuple(reversed(names)), physical, element[table.TYPE_SIZE], element[table.DEFINITIONS],
        element[table.REPETITIONS],
    )  # fmt: skip


def _start(data_at: Any, dictionary_at: Any) -> Any:
    """Where a chunk begins: with the dictionary, if it has one. Some writers say 0 if it has none."""
    return np.where((dictionary_at > 0) & (dictionary_at < data_at), dictionary_at, data_at)[()]


def _check_schema(elements: NDArray[np.int64], footer: ParquetFooter) -> None:
    """Raise `Damage` where the two ways of saying what a type means differ, or a size is missing."""
    for leaf in footer.leaves:
        if leaf.physical not in TYPES or (leaf.physical == TYPES[_FIXED] and not 0 < leaf.type_size <= 1 << 31):
            raise Damage(f"there is no type {leaf.physical} of {leaf.type_size} bytes", column=".".join(leaf.path))
    both = np.flatnonzero((elements[:, table.LOGICAL] >= 0) & (elements[:, table.CONVERTED] >= 0))
    for place in both.tolist():
        element = elements[place].tolist()
        logical, converted = element[table.LOGICAL], element[table.CONVERTED]
        a, b = element[table.LOGICAL_A], element[table.LOGICAL_B]
        if logical == _INTEGER:
            fits = a in (8, 16, 32, 64) and converted == (15 if b else 11) + (8, 16, 32, 64).index(a)
        else:
            fits = converted in _CONVERTED.get(logical, range(22))
        if logical == _DECIMAL:
            fits = fits and (a, b) == (max(0, element[table.SCALE]), element[table.PRECISION])
        if not fits:
            at = element[table.NAME_AT]
            name = footer.data[at : at + element[table.NAME_SIZE]].decode("utf-8", "replace")
            raise Damage("its schema says two things of what the numbers are", column=name)


def _check_rows(footer: ParquetFooter, promised: int) -> None:
    """Raise `Damage` unless the file, its row groups and the values of columns without lists agree on the rows."""
    if min(footer.rows, default=0) < 0 or sum(footer.rows) != promised:
        raise Damage(f"its footer promises {promised:,} rows, and {sum(footer.rows):,} in its row groups")
    rows = np.array(footer.rows, np.int64)[:, None]
    nested = np.array([leaf.repetitions > 0 for leaf in footer.leaves], np.bool_)
    values = footer.chunks[:, :, table.VALUES]
    wrong = np.where(nested, values < rows, values != rows) & ~_is_encrypted(footer.chunks)
    for group, leaf in np.argwhere(wrong)[:1].tolist() if wrong.any() else ():
        raise _damage(footer, group, leaf, f"has {values[group, leaf]:,} values for {footer.rows[group]:,} rows")


def _check_chunks(footer: ParquetFooter, types: NDArray[np.int64]) -> None:
    """Raise `Damage` for a chunk that is not the schema's, or whose pages cannot be where it says."""
    chunks = footer.chunks
    readable = ~_is_encrypted(chunks)
    starts = _start(chunks[:, :, table.DATA_AT], chunks[:, :, table.DICTIONARY_AT])
    sizes, doubts, codecs = (chunks[:, :, place] for place in (table.COMPRESSED, table.DOUBTS, table.CODEC))
    outside = (starts < 4) | (sizes < 0) | (sizes > footer.start) | (starts > footer.start - np.maximum(sizes, 0))
    faults = (
        (doubts & table.OTHER_PATH != 0, "is said to be of another column"),
        (doubts & table.IN_OTHER_FILE != 0, "is said to lie in another file"),
        (doubts & table.OTHER_HISTOGRAM != 0, "counts levels that the schema has not"),
        (chunks[:, :, table.PHYSICAL] != types, "has another type than in the schema"),
        ((codecs < 0) | (codecs >= len(CODECS)), "has an unknown codec"),
        (chunks[:, :, table.STORED_BYTES] < 0, "has a negative size"),
        (outside & (chunks[:, :, table.VALUES] > 0), "does not lie within the file"),
    )
    for wrong, what in faults if (reduce(or_, (wrong for wrong, _ in faults)) & readable).any() else ():
        for group, leaf in np.argwhere(wrong & readable)[:1].tolist():
            raise _damage(footer, group, leaf, f"its data {what}")
    lies = np.flatnonzero(readable & (chunks[:, :, table.VALUES] > 0))
    order = lies[np.argsort(starts.ravel()[lies], kind="stable")]
    ends = (starts + sizes).ravel()[order]
    for place in np.flatnonzero(starts.ravel()[order][1:] < ends[:-1])[:1]:
        group, leaf = divmod(int(order[place + 1]), len(footer.leaves))
        raise _damage(footer, group, leaf, "its data overlap with those of another column")


def _is_encrypted(chunks: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.asarray(chunks[:, :, table.DOUBTS] & table.ENCRYPTED != 0)


def _damage(footer: ParquetFooter, group: int, leaf: int, message: str) -> Damage:
    return Damage(message, row_group=group, column=".".join(footer.leaves[leaf].path))
