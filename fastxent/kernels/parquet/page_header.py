"""Headers of pages (``PageHeader`` of parquet.thrift) -> a row of numbers."""

from __future__ import annotations

import numpy as np

from fastxent.kernels.parquet.thrift import I32, STRUCT, field, number, skip

__all__ = [
    "CHECKSUM", "COUNT", "DEFINITION_BYTES", "DEFINITION_ENCODING", "ENCODING", "HEADER_FIELDS", "IS_COMPRESSED",
    "KIND", "NULLS", "REPETITION_BYTES", "REPETITION_ENCODING", "ROWS", "SIZE", "STORED_SIZE", "read_page_header",
]  # fmt: skip

#: Which kind of page, bytes when unpacked, bytes in the file, checksum (-1 for none, else 32 bits).
KIND, STORED_SIZE, SIZE, CHECKSUM = range(4)
#: Values, their encoding, the encodings of levels; of version 2 nulls, rows, bytes of levels, whether it is compressed.
COUNT, ENCODING, DEFINITION_ENCODING, REPETITION_ENCODING, NULLS, ROWS = range(4, 10)
DEFINITION_BYTES, REPETITION_BYTES, IS_COMPRESSED = range(10, 13)
HEADER_FIELDS = 13


def _data(data, at, end, header, stack):
    """``DataPageHeader`` or ``DictionaryPageHeader``."""
    last = np.int64(0)
    while True:
        kind, last, at = field(data, at, end, last)
        if kind <= 0:
            return at if kind == 0 else np.int64(-1)
        if 0 < last < 5 and kind == I32:
            header[COUNT + last - 1], at = number(data, at, end, kind, I32)
        else:
            at = skip(data, at, end, kind, stack)
        if at < 0:
            return np.int64(-1)


def _second(data, at, end, header, stack):
    """``DataPageHeaderV2``."""
    last = np.int64(0)
    header[IS_COMPRESSED] = 1
    while True:
        kind, last, at = field(data, at, end, last)
        if kind <= 0:
            return at if kind == 0 else np.int64(-1)
        if last == 7 and kind in (1, 2):
            header[IS_COMPRESSED] = np.int64(kind == 1)
        elif 0 < last < 7 and kind == I32:
            value, at = number(data, at, end, kind, I32)
            if last == 1 or last == 4:
                header[COUNT if last == 1 else ENCODING] = value
            elif last < 4:
                header[NULLS + last - 2] = value
            else:
                header[DEFINITION_BYTES + last - 5] = value
        else:
            at = skip(data, at, end, kind, stack)
        if at < 0:
            return np.int64(-1)


def read_page_header(data, at, end, header, stack):
    """Fills a row of `HEADER_FIELDS`; returns the place after the header, -1 if none ends before ``end``."""
    header[:] = -1
    last, at = np.int64(0), np.int64(at)
    while True:
        kind, last, at = field(data, at, end, last)
        if kind < 0:
            return np.int64(-1)
        if kind == 0:
            return at if min(header[KIND], header[STORED_SIZE], header[SIZE]) >= 0 else np.int64(-1)
        if last == 5 or last == 7:
            at = _data(data, at, end, header, stack) if kind == STRUCT else np.int64(-1)
        elif last == 8:
            at = _second(data, at, end, header, stack) if kind == STRUCT else np.int64(-1)
        elif 0 < last < 5:
            header[last - 1], at = number(data, at, end, kind, I32)
            if last == 4:
                header[CHECKSUM] &= np.int64(0xFFFFFFFF)
        else:
            at = skip(data, at, end, kind, stack)
        if at < 0:
            return np.int64(-1)
