"""Pages -> the values in them, where every value is there and every list has the same length."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastxent.kernels.parquet import hybrid
from fastxent.kernels.parquet import page_header as head
from fastxent.kernels.parquet.compiled import compiled
from fastxent.sources.pages.damage import Damage, Unusual
from fastxent.sources.pages.footer import ENCODINGS, Leaf
from fastxent.sources.pages.pages import Page
from fastxent.sources.pages.text_sizes import longest_entry, longest_of_deltas

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["CARRIERS", "DELTAS", "check_pages", "is_of_dictionary", "longest_row", "longest_text", "values_of"]

#: Types of numbers, and what their bit patterns travel as.
CARRIERS = {"FLOAT": "uint32", "DOUBLE": "uint64", "INT32": "uint32", "INT64": "uint64"}
_PLAIN, _DICTIONARY, _SPLIT = (ENCODINGS.index(name) for name in ("PLAIN", "RLE_DICTIONARY", "BYTE_STREAM_SPLIT"))
_OLD_DICTIONARY, _RLE = ENCODINGS.index("PLAIN_DICTIONARY"), ENCODINGS.index("RLE")
DELTAS = ENCODINGS.index("DELTA_BYTE_ARRAY")
_SIZES = {"INT32": 4, "FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT96": 12}


def values_of(pages: Iterable[Page], leaf: Leaf, length: int, most: int) -> Iterator[NDArray[Any]]:
    """The values of each page, as carriers, or as bytes where the leaf has no numbers; all is verified.

    Args:
        pages: of one chunk.
        leaf: what it is of.
        length: how many values a row has, where it is a list; 0 where it is none.
        most: bytes that the values of a page may have.

    Raises:
        Damage: the pages contradict themselves.
        Unusual: there are nulls, rows of other lengths or rare encodings, which say nothing of damage.
    """
    item = _SIZES.get(leaf.physical) or leaf.type_size
    carrier = np.dtype("uint16" if item == 2 else CARRIERS.get(leaf.physical, f"V{item}"))
    entries: NDArray[Any] | None = None
    place = 0
    for page in pages:
        count = page.header[head.COUNT]
        if page.is_dictionary:
            entries = _plain(page.body, count, carrier)
            continue
        body, place = _checked(page, leaf, length, place)
        encoding = page.header[head.ENCODING]
        if encoding == _PLAIN:
            yield _plain(body, count, carrier)
        elif encoding in (_DICTIONARY, _OLD_DICTIONARY) and carrier.kind == "u":
            if count * item > most:
                raise Unusual
            yield _taken(body, count, entries)
        elif encoding == _SPLIT:
            octets = _plain(body, count, carrier).view(np.uint8).reshape(item, count)
            yield np.ascontiguousarray(octets.T).reshape(-1).view(carrier)
        else:
            raise Unusual
    if place != 0:
        raise Damage("it ends within a row")


def _plain(body: NDArray[np.uint8], count: int, carrier: np.dtype[Any]) -> NDArray[Any]:
    if count < 0 or len(body) != count * carrier.itemsize:
        raise Damage(f"a page of {count:,} values of {carrier.itemsize} bytes has {len(body):,} bytes for them")
    return np.frombuffer(body.data, carrier, count)


def _taken(body: NDArray[np.uint8], count: int, entries: NDArray[Any] | None) -> NDArray[Any]:
    if entries is None:
        raise Damage("a page refers to a dictionary that is not there")
    out = np.empty(count, entries.dtype)
    if compiled(hybrid.take_entries)(body, 0, len(body), count, entries, out) != count:
        raise Damage("a page refers to entries that its dictionary has not")
    return out


def _checked(page: Page, leaf: Leaf, length: int, place: int) -> tuple[NDArray[np.uint8], int]:
    """What follows the levels of a page, which must be of full lists without nulls; and the place in a row after it."""
    repetitions, definitions, rest = _levels(page, leaf)
    count = page.header[head.COUNT]
    if definitions is not None:
        width = leaf.definitions.bit_length()
        tops, _ = compiled(hybrid.count_levels)(definitions, 0, len(definitions), width, count, leaf.definitions)
        if tops < 0:
            raise Damage("the levels of a page are not as many as its values")
        if tops != count:
            raise Unusual
    if repetitions is not None:
        if leaf.repetitions != 1 or length < 1:
            raise Unusual
        place = int(compiled(hybrid.walk_lists)(repetitions, 0, len(repetitions), count, length, place))
        if place == hybrid.MALFORMED:
            raise Damage("the levels of a page are not as many as its values")
        if place < 0:
            raise Unusual
    return rest, place


def _levels(page: Page, leaf: Leaf) -> tuple[NDArray[np.uint8] | None, NDArray[np.uint8] | None, NDArray[np.uint8]]:
    """Repetition levels, definition levels and the rest of a page; None where the schema needs no levels."""
    if page.levels is not None:
        cut = page.header[head.REPETITION_BYTES]
        parts = page.levels[:cut], page.levels[cut:]
        if (len(parts[0]) > 0) > (leaf.repetitions > 0) or (len(parts[1]) > 0) > (leaf.definitions > 0):
            raise Damage("a page has levels that the schema has not")
        return parts[0] if leaf.repetitions else None, parts[1] if leaf.definitions else None, page.body
    body = page.body
    found: list[NDArray[np.uint8] | None] = []
    for levels, encoding in (
        (leaf.repetitions, page.header[head.REPETITION_ENCODING]),
        (leaf.definitions, page.header[head.DEFINITION_ENCODING]),
    ):
        if levels == 0:
            found.append(None)
            continue
        if encoding != _RLE:
            raise Unusual
        size = int.from_bytes(body[:4].tobytes(), "little")
        if size > len(body) - 4:
            raise Damage("the levels of a page are larger than the page")
        found.append(body[4 : 4 + size])
        body = body[4 + size :]
    return found[0], found[1], body


def is_of_dictionary(encoding: int) -> bool:
    """Whether values of an encoding are places in a dictionary."""
    return encoding in (_DICTIONARY, _OLD_DICTIONARY)


def check_pages(pages: Iterable[Page], leaf: Leaf) -> None:
    """Look at the first page of values as far as it can be understood: levels, and values that use up their bytes.

    What a schema says wrongly of a column shows there.

    Raises:
        Damage: the bytes contradict themselves.
        Unusual: they cannot be understood here.
    """
    entries = 0
    for page in pages:
        count = page.header[head.COUNT]
        if page.is_dictionary:
            entries = count
            _check_values(page.body, count, leaf)
            continue
        repetitions, definitions, rest = _levels(page, leaf)
        walk = compiled(hybrid.count_levels)
        for levels, top in ((repetitions, leaf.repetitions), (definitions, leaf.definitions)):
            if levels is not None:
                count = int(walk(levels, 0, len(levels), top.bit_length(), page.header[head.COUNT], top)[0])
                if count < 0:
                    raise Damage("the levels of a page are not as many as its values")
        count = page.header[head.COUNT] if definitions is None else count
        if is_of_dictionary(page.header[head.ENCODING]):
            _taken_nothing(rest, count, entries)
        elif page.header[head.ENCODING] in (_PLAIN, _SPLIT):
            _check_values(rest, count, leaf)
        return


def longest_row(pages: Iterable[Page], leaf: Leaf) -> int:
    """The most values that a row of lists has.

    Raises:
        Damage: the levels are not as many as the values.
        Unusual: they cannot be understood here.
    """
    longest, length, walk = 0, np.int64(0), compiled(hybrid.longest_row)
    for page in pages:
        if page.is_dictionary:
            continue
        levels, _, _ = _levels(page, leaf)
        assert levels is not None
        found, length = walk(levels, 0, len(levels), leaf.repetitions.bit_length(), page.header[head.COUNT], length)
        if found < 0:
            raise Damage("the levels of a page are not as many as its values")
        longest = max(longest, int(found))
    return longest


def longest_text(pages: Iterable[Page], leaf: Leaf, *, deltas: bool) -> int:
    """The bytes of the longest text that pages of few bytes may hold: of a dictionary, or in ``deltas``.

    Raises:
        Damage: a page has fewer bytes than its texts.
        Unusual: the levels cannot be understood here.
    """
    longest = 0
    for page in pages:
        count = page.header[head.COUNT]
        if page.is_dictionary:
            longest = max(longest, longest_entry(page.body, count))
        elif not deltas:
            break
        elif page.header[head.ENCODING] == DELTAS:
            longest = max(longest, longest_of_deltas(_levels(page, leaf)[2], count))
    return longest


def _taken_nothing(body: NDArray[np.uint8], count: int, entries: int) -> None:
    """Raise `Damage` for places that a dictionary of so many entries has not."""
    some, none = np.broadcast_to(np.zeros(1, np.uint16), max(0, entries)), np.empty(0, np.uint16)
    take: Callable[..., Any] = compiled(hybrid.take_entries)
    if count and take(body, 0, len(body), count, some.copy(), none) != count:
        raise Damage("a page refers to entries that its dictionary has not")


def _check_values(body: NDArray[np.uint8], count: int, leaf: Leaf) -> None:
    """Raise `Damage` for PLAIN values that do not use up their bytes."""
    if leaf.physical == "BOOLEAN":
        size = (count + 7) // 8
    elif leaf.physical == "BYTE_ARRAY":
        size = int(compiled(hybrid.sized_end)(body, 0, len(body), count))
    else:
        size = count * (_SIZES.get(leaf.physical) or leaf.type_size)
    if size != len(body):
        raise Damage(f"a page of {count:,} values of {leaf.physical} has {len(body):,} bytes for them")
