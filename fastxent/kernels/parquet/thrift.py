"""Thrift's compact protocol, in which Parquet writes footers and page headers.

These are plain functions, which run as they are and in compiled code (`fastxent.kernels.parquet.compiled`).
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "BINARY", "I16", "I32", "I64", "LIST", "STRUCT", "field", "listed", "number", "skip", "span", "varint",
]  # fmt: skip

I16, I32, I64, BINARY, LIST, STRUCT = 4, 5, 6, 8, 9, 12
_TRUE, _FALSE, _BYTE, _DOUBLE, _SET, _UUID = 1, 2, 3, 7, 10, 13
#: A bool in a list takes a byte, that of a field none.
_LISTED_BOOL = 16


def varint(data, at, end):
    """An unsigned number of 7 bits a byte, as the 64 bits of an int64, and the place after it."""
    value = np.int64(0)
    for step in range(10):
        if at < 0 or at >= end:
            return np.int64(0), np.int64(-1)
        byte = np.int64(data[at])
        at += 1
        value |= (byte & 127) << (7 * step)
        if byte < 128:
            return value, np.int64(at)
    return np.int64(0), np.int64(-1)


def number(data, at, end, kind, expected):
    """A signed number of the kind that is expected (I16, I32, I64), and the place after it."""
    if kind != expected:
        return np.int64(0), np.int64(-1)
    value, at = varint(data, at, end)
    return ((value >> 1) & np.int64(0x7FFFFFFFFFFFFFFF)) ^ -(value & 1), at


def span(data, at, end):
    """The size of a string or of the elements of a list, which cannot be more than the bytes left; and the place."""
    size, at = varint(data, at, end)
    if at < 0 or size < 0 or size > end - at:
        return np.int64(0), np.int64(-1)
    return size, at


def field(data, at, end, last):
    """The head of a field of a struct: its kind (0 at the end of the struct, -1 for none), its id, the place after."""
    if at < 0 or at >= end:
        return np.int64(-1), np.int64(0), np.int64(-1)
    byte = np.int64(data[at])
    kind, delta = byte & 15, byte >> 4
    if kind == 0:
        return np.int64(0) if delta == 0 else np.int64(-1), np.int64(0), np.int64(at + 1)
    if delta:
        return kind, np.int64(last + delta), np.int64(at + 1)
    value, after = number(data, at + 1, end, I16, I16)
    return kind if after > 0 else np.int64(-1), value, after


def listed(data, at, end):
    """The head of a list: the kind of its elements, how many, and the place of the first (-1 for none)."""
    if at < 0 or at >= end:
        return np.int64(0), np.int64(0), np.int64(-1)
    byte = np.int64(data[at])
    kind, size = byte & 15, byte >> 4
    at = np.int64(at + 1)
    if size == 15:
        size, at = span(data, at, end)
    if at < 0 or size > end - at:
        return np.int64(0), np.int64(0), np.int64(-1)
    return _LISTED_BOOL if kind in (_TRUE, _FALSE) else kind, size, at


def _scalar_end(data, at, end, kind):
    """The place after a value that holds no others; -1 if there is no such kind."""
    if kind in (_TRUE, _FALSE):
        return np.int64(at)
    if kind in (_BYTE, _LISTED_BOOL):
        return np.int64(at + 1)
    if kind in (I16, I32, I64):
        return varint(data, at, end)[1]
    if kind == _DOUBLE:
        return np.int64(at + 8)
    if kind == _UUID:
        return np.int64(at + 16)
    if kind == BINARY:
        size, at = span(data, at, end)
        return np.int64(-1) if at < 0 else at + size
    return np.int64(-1)


def skip(data, at, end, kind, stack):
    """The place after a value of any kind; ``stack`` is (depth, 2) int64 to work in. Maps do not occur in Parquet."""
    open_ones = 0  # structs (0) and lists (kind of elements, how many are left) that the place is in
    while True:
        if kind in (STRUCT, LIST, _SET):
            if open_ones == len(stack):
                return np.int64(-1)
            inner, left = np.int64(0), np.int64(0)
            if kind != STRUCT:
                inner, left, at = listed(data, at, end)
                if inner == 0:
                    return np.int64(-1)
            stack[open_ones, 0], stack[open_ones, 1] = inner, left
            open_ones += 1
        else:
            at = _scalar_end(data, at, end, kind)
        if at < 0 or at > end:
            return np.int64(-1)
        while True:
            if open_ones == 0:
                return np.int64(at)
            inner, left = stack[open_ones - 1, 0], stack[open_ones - 1, 1]
            if inner == 0:
                kind, _, at = field(data, at, end, 0)
                if kind > 0:
                    break
                if kind < 0:
                    return np.int64(-1)
            elif left > 0:
                stack[open_ones - 1, 1] = left - 1
                kind = inner
                break
            open_ones -= 1
