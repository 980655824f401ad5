"""Row groups decoded from their pages: the columns whose values are all there, side by side, as record batches.

Values lie where the page was unpacked and are not moved, unless rows cross from page to page.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fastxent.kernels.parquet import page_header as head
from fastxent.sources.pages.damage import Damage, Unusual
from fastxent.sources.pages.footer import Chunk, Leaf, ParquetFooter
from fastxent.sources.pages.pages import read_pages
from fastxent.sources.pages.values import (
    DELTAS,
    check_pages,
    is_of_dictionary,
    longest_row,
    longest_text,
    values_of,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "VALUE_BYTES", "Fast", "Room", "check_columns", "fast_columns", "read_columns", "room_by_footer", "side_by_side",
]  # fmt: skip

#: Bytes of a batch above which it ends with a page, so that nothing is moved. 4M x 10, 400k x 100, 40k x 1000.
WHOLE_BYTES = 1 << 18
#: A column that has fewer bytes a row than the largest, by this factor, is moved without regard.
SMALL = 4
#: What an entry of a dictionary takes beside its bytes.
ENTRY_BYTES = 16
#: What a value in a list takes while pyarrow decodes it: five times its decoded bytes.
VALUE_BYTES = 40
#: What texts take, times their bytes in the file, that pyarrow gathers as a dictionary.
CODED_TIMES = 3

#: Columns that are read from their pages: how many values a row has, 0 for one that is no list.
Fast = Mapping[str, int]


def fast_columns(schema: Any, footer: ParquetFooter, lists: Mapping[str, int]) -> dict[str, int]:
    """Those of the columns of a schema whose type can be decoded from pages; ``lists`` are rows of so many values."""
    found = {}
    for field in schema:
        leaves = footer.leaves_of.get(field.name, ())
        if len(leaves) != 1:
            continue
        leaf = footer.leaves[leaves[0]]
        kind = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
        if leaf.repetitions == 0 and _matches(kind, leaf):
            found[field.name] = 0
        elif field.name in lists and leaf.repetitions == 1 and _is_plain_list(kind) and _matches(kind.value_type, leaf):
            found[field.name] = lists[field.name]
    return found


def _is_plain_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _matches(kind: Any, leaf: Leaf) -> bool:
    """Whether values are stored as they lie in memory."""
    if leaf.physical == "FIXED_LEN_BYTE_ARRAY":
        return bool(pa.types.is_float16(kind) or kind == pa.binary(leaf.type_size))
    plain = {"FLOAT": pa.float32(), "DOUBLE": pa.float64(), "INT32": pa.int32(), "INT64": pa.int64()}
    return bool(plain.get(leaf.physical) == kind)


class _Column:
    """The values of a column, to be taken from the front."""

    def __init__(self, name: str, kind: Any, length: int, spans: Iterator[NDArray[Any]], *, aligned: bool) -> None:
        self.name, self._spans, self._aligned = name, spans, aligned
        self._length = length
        self.width = max(1, length)
        self._kind = kind
        self._held: list[NDArray[Any]] = []
        self._values = 0
        self._item = 0

    def available(self) -> int:
        """Rows that can be taken without moving any."""
        while not self._held or len(self._held[0]) < self.width:
            if not self._more():
                return 0
            if len(self._held) > 1:
                self._held = [np.concatenate(self._held)]
        return len(self._held[0]) // self.width

    @property
    def row_bytes(self) -> int:
        """Bytes of a row; known once a page has been read."""
        return self._item * self.width

    def take(self, rows: int) -> Any:
        """The next rows, as an Arrow array."""
        wanted = rows * self.width
        while self._values < wanted:
            if not self._more():
                raise Damage("it has fewer values than rows are promised", column=self.name)
        self._values -= wanted
        parts = []
        while wanted:
            first = self._held[0]
            parts.append(first[:wanted])
            wanted -= len(parts[-1])
            if len(parts[-1]) == len(first):
                del self._held[0]
            else:
                self._held[0] = first[len(parts[-1]) :]
        return self._as_arrow(parts[0] if len(parts) == 1 else np.concatenate(parts), rows)

    def _more(self) -> bool:
        try:
            span = next(self._spans, None)
        except Damage as error:
            raise Damage(str(error), column=self.name) from error
        if span is None:
            return False
        if len(span):
            self._held.append(span)
            self._values += len(span)
            self._item = span.itemsize
        return True

    def _as_arrow(self, values: NDArray[Any], rows: int) -> Any:
        if self._aligned and not values.flags.aligned:
            values = values.copy()
        buffer = pa.py_buffer(values)
        if not self._length:
            return pa.Array.from_buffers(self._kind, rows, [None, buffer])
        inner = pa.Array.from_buffers(self._kind, len(values), [None, buffer])
        return pa.FixedSizeListArray.from_arrays(inner, self._length)


def read_columns(
    read_at: Callable[[int, int], bytes], footer: ParquetFooter, group: int, schema: Any, fast: Fast, *,
    loose: Collection[str], rows: int, memory: int, checksums: bool = False,
) -> Iterator[Any]:  # fmt: skip
    """Record batches of the columns ``fast`` of a row group. Lists become lists of fixed size, all else keeps its type.

    Args:
        read_at: reads so many bytes from a place of the file.
        footer: of the file.
        group: which row group.
        schema: of the file, in Arrow's types.
        fast: the columns (see `fast_columns`).
        loose: columns whose values may lie at any address.
        rows: how many a batch has at most.
        memory: bytes that pages may take.
        checksums: check those that pages have.

    Raises:
        Damage: the pages contradict themselves, or the footer.
        Unusual: these columns are not read here.
    """
    most = memory // len(fast)
    columns = []
    for name, length in fast.items():
        leaf = footer.leaves_of[name][0]
        chunk = _chunk_of(footer, group, leaf)
        kind = schema.field(name).type
        kind = kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind
        pages = read_pages(read_at, chunk, most, checksums=checksums)
        spans = values_of(pages, footer.leaves[leaf], length, most)
        columns.append(_Column(name, kind.value_type if length else kind, length, spans, aligned=name not in loose))
    left = footer.rows[group]
    while left:
        count = min(rows, left)
        there = [column.available() for column in columns]
        sizes = [column.row_bytes for column in columns]
        whole = min(rows for rows, size in zip(there, sizes, strict=True) if SMALL * size >= max(sizes))
        if whole * sum(sizes) >= WHOLE_BYTES:
            count = min(count, whole)
        yield pa.RecordBatch.from_arrays([column.take(count) for column in columns], list(fast))
        left -= count
    for column in columns:
        if column.available():
            raise Damage("it has more values than rows are promised", column=column.name)


class Room(NamedTuple):
    """What must be held of a column at once.

    Attributes:
        page: bytes of its largest page.
        values: values of its longest row of lists; 0 where all values of the column fit.
        text: bytes that a row takes, of text or bytes: at most, where pages of few bytes stand for many, else by the
            page that has most.
        coded: whether all its values are places in a dictionary, so that a text may be held once for many rows.
    """

    page: int = 0
    values: int = 0
    text: int = 0
    coded: bool = False


def check_columns(
    read_at: Callable[[int, int], bytes], footer: ParquetFooter, group: int, names: Sequence[str], most: int
) -> dict[str, Room]:
    """Look at columns that pyarrow will read: headers of all their pages, and the first page of each.

    Returns what must be held of each of them at once. ``most``: bytes that are held to look at them.

    Raises:
        Damage: they contradict themselves, or the footer.
    """
    rooms = {}
    for name in names:
        leaves = footer.leaves_of[name]
        found = []
        for leaf in leaves:
            try:
                found.append(_room_of(read_at, _chunk_of(footer, group, leaf), footer.leaves[leaf], most))
            except Unusual:
                found.append(Room())
            except Damage as error:
                raise Damage(str(error), column=".".join(footer.leaves[leaf].path)) from error
        page, values, texts, _ = zip(*found, strict=True) if found else ((0,), (0,), (0,), ())
        rooms[name] = Room(max(page), max(values), sum(texts), len(found) == 1 and found[0].coded)
    return rooms


def room_by_footer(footer: ParquetFooter, group: int, name: str, most: int, text: int) -> Room | None:
    """What must be held of a column, if its footer rules out more than ``most`` bytes, or ``text`` for its texts."""
    coded = False
    for leaf, chunk in ((footer.leaves[leaf], footer.chunk(group, leaf)) for leaf in footer.leaves_of[name]):
        if chunk.stored_bytes > most or (leaf.repetitions and VALUE_BYTES * chunk.values > most):
            return None
        if leaf.physical not in ("BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"):
            continue
        coded = any(encoding.endswith("DICTIONARY") for encoding in chunk.encodings)
        expands = coded or "DELTA_BYTE_ARRAY" in chunk.encodings
        once = (
            coded and len(leaf.path) == 1 and leaf.physical == "BYTE_ARRAY" and CODED_TIMES * chunk.stored_bytes <= text
        )
        if expands and not once and chunk.stored_bytes * chunk.values > text:
            return None
    return Room(coded=coded)


def _room_of(read_at: Callable[[int, int], bytes], chunk: Chunk, leaf: Leaf, most: int) -> Room:
    """What must be held of a column chunk at once."""
    page = values = text = 0
    encodings = set()
    for each in read_pages(read_at, chunk, most, bodies=False):
        count, size = each.header[head.COUNT], each.header[head.STORED_SIZE]
        page = max(page, each.header[head.SIZE], size + ENTRY_BYTES * count * each.is_dictionary)
        if not each.is_dictionary:
            encodings.add(each.header[head.ENCODING])
            text = max(text, -(-size // max(1, count)))
    coded = bool(encodings) and all(map(is_of_dictionary, encodings))
    if leaf.physical != "BYTE_ARRAY":
        text = leaf.type_size if leaf.physical == "FIXED_LEN_BYTE_ARRAY" else 0
    if page <= most:
        check_pages(read_pages(read_at, chunk, most), leaf)
        if leaf.physical == "BYTE_ARRAY" and (len(leaf.path) > 1 or not coded):
            deltas = DELTAS in encodings
            text = max(text, longest_text(read_pages(read_at, chunk, most), leaf, deltas=deltas))
        if leaf.repetitions and max(VALUE_BYTES, text) * chunk.values > most:
            values = longest_row(read_pages(read_at, chunk, most), leaf)
    return Room(page, values, text * max(1, values), coded and len(leaf.path) == 1)


def _chunk_of(footer: ParquetFooter, group: int, leaf: int) -> Chunk:
    if footer.is_encrypted(group, leaf):
        raise Unusual
    return footer.chunk(group, leaf)


def side_by_side(streams: Sequence[Iterator[Any]]) -> Iterator[Any]:
    """Record batches of the same rows as batches of all their columns; those without rows are passed on as they are.

    Raises:
        Damage: one stream has more rows than another.
    """
    held: list[Any] = [None] * len(streams)
    while True:
        for number, stream in enumerate(streams):
            while held[number] is None or held[number].num_rows == 0:
                held[number] = next(stream, None)
                if held[number] is None:
                    break
                if held[number].num_rows == 0:
                    yield held[number]
        if all(batch is None for batch in held):
            return
        if any(batch is None for batch in held):
            raise Damage("the columns have different numbers of rows")
        rows = min(batch.num_rows for batch in held)
        parts = [batch.slice(0, rows) for batch in held]
        held = [batch.slice(rows) for batch in held]
        columns = [column for part in parts for column in part.columns]
        yield pa.RecordBatch.from_arrays(columns, [name for part in parts for name in part.schema.names])
