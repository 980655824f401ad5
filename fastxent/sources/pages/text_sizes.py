"""How long the texts in pages are, before any is decoded: a page of few bytes may stand for many long ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastxent.sources.pages.damage import Damage

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["longest_entry", "longest_of_deltas"]


def longest_entry(body: NDArray[np.uint8], count: int) -> int:
    """Bytes of the longest of ``count`` texts that are stored PLAIN: four bytes of length, then the text."""
    data, at, longest = body.tobytes(), 0, 0
    for _ in range(count):
        size = int.from_bytes(data[at : at + 4], "little")
        longest, at = max(longest, size), at + 4 + size
        if at > len(data):
            raise Damage("a page of texts is longer than its bytes")
    return longest


def longest_of_deltas(body: NDArray[np.uint8], count: int) -> int:
    """Bytes of the longest of ``count`` texts in DELTA_BYTE_ARRAY: what it shares with the one before, and the rest."""
    try:
        shared, end = _lengths(body, count)
        rest, _ = _lengths(body[end:], count)
    except (IndexError, OverflowError):
        raise Damage("a page of texts is longer than its bytes") from None
    return int((shared + rest).max(initial=0))


def _lengths(body: NDArray[np.uint8], most: int) -> tuple[NDArray[np.int64], int]:
    """Up to ``most`` numbers in DELTA_BINARY_PACKED at the beginning of ``body``, and where they end."""
    data, at = body.tobytes(), 0

    def varint() -> int:
        nonlocal at
        found, shift = 0, 0
        while True:
            byte, at = data[at], at + 1
            found, shift = found | (byte & 127) << shift, shift + 7
            if byte < 128:
                return found & (1 << 64) - 1

    def signed() -> int:
        found = varint()
        return found >> 1 ^ -(found & 1)

    block, parts, count, first = varint(), varint(), varint(), signed()
    size = block // max(1, parts)
    if count > most or size % 8 or not size or size > 1 << 16:
        raise Damage("the lengths of texts do not fit their page")
    deltas, left = [np.array([first], np.int64)], count - 1
    while left > 0:
        least = signed()
        widths = data[at : at + parts]
        at += parts
        for width in widths:
            if left <= 0:
                break
            packed = np.frombuffer(data[at : at + width * size // 8], np.uint8)
            if width > 32 or len(packed) < width * size // 8:
                raise Damage("the lengths of texts do not fit their page")
            bits = np.unpackbits(packed, bitorder="little").reshape(size, width).astype(np.int64)
            deltas.append(least + bits @ (np.int64(1) << np.arange(width)))
            at, left = at + len(packed), left - size
        if len(widths) < parts:
            raise Damage("the lengths of texts do not fit their page")
    return np.cumsum(np.concatenate(deltas))[:count], at
