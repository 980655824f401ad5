"""The footer of a Parquet file (``FileMetaData`` of parquet.thrift) -> tables of numbers.

What is kept of each schema element, row group and column chunk is a row of int64, with -1 for what is not said; names
are places in the bytes. All that a reader depends on must be there and of its kind; the rest is passed over.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastxent.kernels.parquet.thrift import (
    BINARY,
    I32,
    I64,
    LIST,
    STRUCT,
    field,
    listed,
    number,
    skip,
    span,
)  # fmt: skip

__all__ = [
    "CHILDREN", "CHUNKS", "CHUNK_FIELDS", "CODEC", "COLUMN", "COMPRESSED", "CONVERTED", "DATA_AT", "DEFINITIONS",
    "DICTIONARY_AT", "DOUBTS", "ELEMENTS", "ELEMENT_FIELDS", "ENCODINGS", "ENCRYPTED", "GROUPS", "GROUP_BYTES",
    "GROUP_CHUNKS", "GROUP_FIELDS", "GROUP_ROWS", "IN_OTHER_FILE", "LOGICAL", "LOGICAL_A", "LOGICAL_B", "NAME_AT",
    "NAME_SIZE", "NULLS", "NUMBERS", "OTHER_HISTOGRAM", "OTHER_PATH", "PARENT", "PHYSICAL", "PRECISION", "REPETITION",
    "REPETITIONS", "ROWS", "SCALE", "SEALED", "STORED_BYTES", "TYPE_SIZE", "VALUES",
    "count_elements", "read_footer",
]  # fmt: skip

#: Fields of a schema element. LOGICAL_A and LOGICAL_B: bits and sign of integers, scale and precision of decimals.
PHYSICAL, TYPE_SIZE, REPETITION, CHILDREN, CONVERTED, LOGICAL, LOGICAL_A, LOGICAL_B = range(8)
SCALE, PRECISION, NAME_AT, NAME_SIZE, PARENT, DEPTH, DEFINITIONS, REPETITIONS, COLUMN, LEFT = range(8, 18)
ELEMENT_FIELDS = 18
#: Fields of a row group.
GROUP_ROWS, GROUP_BYTES, GROUP_CHUNKS = range(3)
GROUP_FIELDS = 3
#: Fields of a column chunk; ENCODINGS has a bit for each. Its physical type is at `PHYSICAL` too.
CODEC, VALUES, STORED_BYTES, COMPRESSED, DATA_AT, DICTIONARY_AT, ENCODINGS, NULLS, DOUBTS = range(1, 10)
CHUNK_FIELDS = 10
#: Bits of DOUBTS.
OTHER_PATH, IN_OTHER_FILE, ENCRYPTED, OTHER_HISTOGRAM = 1, 2, 4, 8
#: What is counted: schema elements, row groups, chunks, rows of the file; whether the footer is signed.
ELEMENTS, GROUPS, CHUNKS, ROWS, SEALED, LEAVES = range(6)
NUMBERS = 6


def _logical(data, at, end, element, stack):
    """``LogicalType``: which one, and of integers and decimals what they say."""
    kind, which, at = field(data, at, end, 0)
    if kind != STRUCT:
        return np.int64(-1)
    element[LOGICAL] = which
    last = np.int64(0)
    while which in (5, 10):
        kind, last, at = field(data, at, end, last)
        if kind <= 0:
            break
        if which == 10 and last == 1 and kind == 3 and at < end:
            element[LOGICAL_A] = np.int64(data[at])
            at += 1
        elif which == 10 and last == 2 and kind in (1, 2):
            element[LOGICAL_B] = np.int64(kind == 1)
        elif which == 5 and last in (1, 2):
            element[LOGICAL_A + last - 1], at = number(data, at, end, kind, I32)
        else:
            at = skip(data, at, end, kind, stack)
        if at < 0:
            return np.int64(-1)
    if which not in (5, 10):
        at = skip(data, at, end, STRUCT, stack)
    if at < 0 or kind < 0:
        return np.int64(-1)
    kind, _, at = field(data, at, end, which)
    return at if kind == 0 else np.int64(-1)


def _element(data, at, end, element, stack):
    """``SchemaElement``."""
    last = np.int64(0)
    while True:
        kind, last, at = field(data, at, end, last)
        if kind < 0:
            return np.int64(-1)
        if kind == 0:
            return at if element[NAME_AT] >= 0 else np.int64(-1)
        if last == 4:
            if kind != BINARY:
                return np.int64(-1)
            element[NAME_SIZE], at = span(data, at, end)
            element[NAME_AT] = at
            at += element[NAME_SIZE] if at >= 0 else 0
        elif last == 10:
            at = _logical(data, at, end, element, stack) if kind == STRUCT else np.int64(-1)
        elif last in (1, 2, 3, 5, 6, 7, 8):
            value, at = number(data, at, end, kind, I32)
            if last <= 3:
                element[PHYSICAL + last - 1] = value
            elif last <= 6:
                element[CHILDREN + last - 5] = value
            else:
                element[SCALE + last - 7] = value
        else:
            at = skip(data, at, end, kind, stack)
        if at < 0:
            return np.int64(-1)


def _schema(data, at, end, elements, numbers, stack):
    """The list of schema elements, each below its parent, with the levels of lists and nulls it stands under."""
    kind, count, at = listed(data, at, end)
    if at < 0 or kind != STRUCT or count < 1 or count > len(elements) or numbers[ELEMENTS]:
        return np.int64(-1)
    parent, leaves = np.int64(-1), np.int64(0)
    for i in range(count):
        element = elements[i]
        element[:] = -1
        at = _element(data, at, end, element, stack)
        if at < 0:
            return np.int64(-1)
        while parent >= 0 and elements[parent, LEFT] == 0:
            parent = elements[parent, PARENT]
        element[PARENT] = parent
        element[DEPTH] = element[DEFINITIONS] = element[REPETITIONS] = 0
        if i > 0:
            repetition = element[REPETITION]
            if parent < 0 or repetition < 0 or repetition > 2:
                return np.int64(-1)
            elements[parent, LEFT] -= 1
            element[DEPTH] = elements[parent, DEPTH] + 1
            element[DEFINITIONS] = elements[parent, DEFINITIONS] + (repetition != 0)
            element[REPETITIONS] = elements[parent, REPETITIONS] + (repetition == 2)
        if element[PHYSICAL] < 0:
            if element[CHILDREN] < (i > 0):
                return np.int64(-1)
            element[LEFT] = element[CHILDREN]
            parent = np.int64(i)
        elif element[CHILDREN] > 0 or i == 0:
            return np.int64(-1)
        else:
            elements[leaves, COLUMN] = i  # the element of each leaf, in order
            leaves += 1
    while parent >= 0:
        if elements[parent, LEFT]:
            return np.int64(-1)
        parent = elements[parent, PARENT]
    numbers[ELEMENTS], numbers[LEAVES] = count, leaves
    return at


def _path(data, at, end, elements, leaf):
    """``path_in_schema``: the place after it, and whether it is that of the leaf."""
    kind, count, at = listed(data, at, end)
    if at < 0 or (kind != BINARY and count > 0):
        return np.int64(-1), False
    same = elements[leaf, DEPTH] == count
    for depth in range(count):
        size, at = span(data, at, end)
        if at < 0:
            return np.int64(-1), False
        if same:
            above = leaf
            for _ in range(count - depth - 1):
                above = elements[above, PARENT]
            same = elements[above, NAME_SIZE] == size
            name = elements[above, NAME_AT]
            for i in range(size if same else 0):
                same = same and data[at + i] == data[name + i]
        at += size
    return at, same


def _encodings(data, at, end):
    """A list of encodings, as bits."""
    kind, count, at = listed(data, at, end)
    if at < 0 or (kind != I32 and count > 0):
        return np.int64(0), np.int64(-1)
    bits = np.int64(0)
    for _ in range(count):
        value, at = number(data, at, end, I32, I32)
        if at < 0:
            return np.int64(0), np.int64(-1)
        bits |= np.int64(1) << min(max(value, 0), 62)
    return bits, at


def _size_statistics(data, at, end, repetitions, definitions, stack):
    """``SizeStatistics``: the place after it, and whether its histograms have a bin for each level."""
    last, fits = np.int64(0), True
    while True:
        kind, last, at = field(data, at, end, last)
        if kind <= 0:
            return at if kind == 0 else np.int64(-1), fits
        if last in (2, 3) and kind == LIST:
            _, count, _ = listed(data, at, end)
            fits = fits and count in (0, 1 + (repetitions if last == 2 else definitions))
        at = skip(data, at, end, kind, stack)
        if at < 0:
            return np.int64(-1), False


def _statistics(data, at, end, chunk, stack):
    """``Statistics``, of which the number of nulls is kept."""
    last = np.int64(0)
    while True:
        kind, last, at = field(data, at, end, last)
        if kind <= 0:
            return at if kind == 0 else np.int64(-1)
        if last == 3:
            chunk[NULLS], at = number(data, at, end, kind, I64)
        else:
            at = skip(data, at, end, kind, stack)
        if at < 0:
            return np.int64(-1)


def _chunk_metadata(data, at, end, elements, leaf, chunk, stack):
    """``ColumnMetaData``."""
    last, seen = np.int64(0), np.int64(0)
    while True:
        kind, last, at = field(data, at, end, last)
        if kind < 0:
            return np.int64(-1)
        if kind == 0:
            return at if seen & 0b1011111110 == 0b1011111110 else np.int64(-1)
        if 0 < last < 12:
            seen |= np.int64(1) << last
        if last in (1, 4):
            chunk[PHYSICAL if last == 1 else CODEC], at = number(data, at, end, kind, I32)
        elif last in (5, 6, 7):
            chunk[VALUES + last - 5], at = number(data, at, end, kind, I64)
        elif last in (9, 11):
            chunk[DATA_AT if last == 9 else DICTIONARY_AT], at = number(data, at, end, kind, I64)
        elif last == 2:
            chunk[ENCODINGS], at = _encodings(data, at, end) if kind == LIST else (np.int64(0), np.int64(-1))
        elif last == 3:
            at, same = _path(data, at, end, elements, leaf) if kind == LIST else (np.int64(-1), False)
            chunk[DOUBTS] |= 0 if same else OTHER_PATH
        elif last == 12 and kind == STRUCT:
            at = _statistics(data, at, end, chunk, stack)
        elif last == 16 and kind == STRUCT:
            levels = elements[leaf, REPETITIONS], elements[leaf, DEFINITIONS]
            at, fits = _size_statistics(data, at, end, levels[0], levels[1], stack)
            chunk[DOUBTS] |= 0 if fits else OTHER_HISTOGRAM
        else:
            at = skip(data, at, end, kind, stack)
        if at < 0:
            return np.int64(-1)


def _chunk(data, at, end, elements, leaf, chunk, stack):
    """``ColumnChunk``."""
    chunk[:] = -1
    chunk[DOUBTS] = 0
    last, known = np.int64(0), False
    while True:
        kind, last, at = field(data, at, end, last)
        if kind < 0:
            return np.int64(-1)
        if kind == 0:
            return at if known or chunk[DOUBTS] & ENCRYPTED else np.int64(-1)
        if last == 3:
            known = True
            at = _chunk_metadata(data, at, end, elements, leaf, chunk, stack) if kind == STRUCT else np.int64(-1)
        else:
            chunk[DOUBTS] |= IN_OTHER_FILE if last == 1 else ENCRYPTED if last in (8, 9) else 0
            at = skip(data, at, end, kind, stack)
        if at < 0:
            return np.int64(-1)


def _group(data, at, end, elements, group, chunks, numbers, stack):
    """``RowGroup``: a chunk for each leaf, in their order."""
    last, seen = np.int64(0), np.int64(0)
    group[:] = 0
    while True:
        kind, last, at = field(data, at, end, last)
        if kind < 0:
            return np.int64(-1)
        if kind == 0:
            return at if seen == 0b1110 else np.int64(-1)
        if 0 < last < 4:
            seen |= np.int64(1) << last
        if last == 1:
            inner, count, at = listed(data, at, end) if kind == LIST else (np.int64(0), np.int64(0), np.int64(-1))
            if at < 0 or count != numbers[LEAVES] or (inner != STRUCT and count > 0):
                return np.int64(-1)
            group[GROUP_CHUNKS] = count
            for leaf in range(count):
                if numbers[CHUNKS] >= len(chunks):
                    return np.int64(-1)
                at = _chunk(data, at, end, elements, elements[leaf, COLUMN], chunks[numbers[CHUNKS]], stack)
                if at < 0:
                    return np.int64(-1)
                numbers[CHUNKS] += 1
        elif last in (2, 3):
            group[GROUP_BYTES if last == 2 else GROUP_ROWS], at = number(data, at, end, kind, I64)
        else:
            at = skip(data, at, end, kind, stack)
        if at < 0:
            return np.int64(-1)


def _groups(data, at, end, elements, groups, chunks, numbers, stack):
    """The list of row groups."""
    kind, count, at = listed(data, at, end)
    if at < 0 or count > len(groups) or (kind != STRUCT and count > 0) or numbers[GROUPS]:
        return np.int64(-1)
    for i in range(count):
        at = _group(data, at, end, elements, groups[i], chunks, numbers, stack)
        if at < 0:
            return np.int64(-1)
    numbers[GROUPS] = count
    return at


def count_elements(data: Any) -> Any:
    """How many schema elements a footer says it has; 0 where it says nothing of the kind."""
    end = np.int64(len(data))
    kind, last, at = field(data, 0, end, 0)
    if kind == I32 and last == 1:
        _, at = number(data, at, end, kind, I32)
        kind, last, at = field(data, at, end, last)
    return listed(data, at, end)[1] if kind == LIST and last == 2 else np.int64(0)


def read_footer(data, elements, groups, chunks, numbers, stack):
    """``FileMetaData``: fills the tables and `NUMBERS` counts; returns the place after it, -1 if it cannot be parsed.

    ``data`` are the bytes of the footer alone, ``stack`` is (depth, 2) int64. Elements at ``COLUMN`` list the leaves.
    """
    end = np.int64(len(data))
    numbers[:] = 0
    at, last, seen = np.int64(0), np.int64(0), np.int64(0)
    while True:
        kind, last, at = field(data, at, end, last)
        if kind < 0:
            return np.int64(-1)
        if kind == 0:
            return at if seen == 0b11110 else np.int64(-1)
        if 0 < last < 5:
            seen |= np.int64(1) << last
        if last == 1:
            _, at = number(data, at, end, kind, I32)
        elif last == 2:
            at = _schema(data, at, end, elements, numbers, stack) if kind == LIST else np.int64(-1)
        elif last == 3:
            numbers[ROWS], at = number(data, at, end, kind, I64)
        elif last == 4:
            known = kind == LIST and numbers[ELEMENTS] > 0
            at = _groups(data, at, end, elements, groups, chunks, numbers, stack) if known else np.int64(-1)
        else:
            numbers[SEALED] |= last == 8
            at = skip(data, at, end, kind, stack)
        if at < 0:
            return np.int64(-1)
