"""Row groups too wide to be decoded side by side: some columns at a time, then all of a few rows.

While a row group is read batch by batch, every column holds a page and a piece of the file. Thousands of columns make
that a gigabyte, whatever the size of the batches: 4000 of 24,000 rows took 460 MB beside batches of 4 MB. A page cannot
be put away half read, so columns that do not fit are decoded in blocks, one after the other, each to its end.

What is decoded waits in memory, if a row group fits, or in a temporary file. That has no name, so nothing is left
behind however the process ends. ``TMPDIR`` says where it lies.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from fastxent.base.errors import OutputError
from fastxent.sources.pages.footer import ParquetFooter

__all__ = ["blocks_of", "in_blocks"]

#: What writers make of a page, before compression. Larger ones (a single page a column) are held whole all the same.
PAGE_BYTES = 1 << 20
#: A column may hold as much as three times its bytes: the page, the page as it is stored, the piece of the file.
HELD_TIMES = 3
#: Seconds after which whoever waits for rows is asked whether to go on.
PULSE = 0.2


class _Piece(NamedTuple):
    schema: Any
    offset: int
    length: int


def blocks_of(
    footer: ParquetFooter, group: int, columns: Sequence[str], memory: int, read_bytes: int
) -> list[list[str]]:
    """The columns of a row group in blocks, each of which may be decoded batch by batch within ``memory``.

    Args:
        footer: of the file.
        group: which row group.
        columns: the columns that are read, in their order.
        memory: bytes.
        read_bytes: the size of the pieces in which the file is read.
    """
    if len(columns) == 1 or HELD_TIMES * footer.group_bytes[group] <= memory:
        return [list(columns)]
    held = dict.fromkeys(columns, 0)
    for name in columns:
        for leaf in footer.leaves_of[name]:
            chunk = footer.chunk(group, leaf)
            page = min(chunk.stored_bytes, PAGE_BYTES)
            packed = 0 if chunk.codec == "UNCOMPRESSED" else min(chunk.size, PAGE_BYTES)
            held[name] += page + packed + min(chunk.size, read_bytes)
    blocks: list[list[str]] = [[]]
    room = memory
    for name in columns:
        if blocks[-1] and held[name] > room:
            blocks.append([])
            room = memory
        blocks[-1].append(name)
        room -= held[name]
    return blocks


def in_blocks(
    blocks: Sequence[Sequence[str]], read: Callable[[Sequence[str]], Iterator[Any]], *, held: bool = False
) -> Iterator[Any]:
    """Record batches of all columns. ``read`` gives those of a block, cut at the same rows for every block.

    What has been decoded waits in a temporary file, or (``held``) in memory, for the last block. Until then record
    batches without rows (and with some of the columns only) come now and then: a moment to stop.

    Raises:
        OutputError: the file cannot be written.
    """
    with _Store(held) as store:
        kept: list[list[Any]] = []
        pulse = time.monotonic()
        for block in blocks:
            kept.append([])
            for batch in read(block):
                kept[-1].append(store.put(batch))
                if time.monotonic() - pulse > PULSE:
                    yield batch.slice(0, 0)
                    pulse = time.monotonic()
        if len({len(pieces) for pieces in kept}) > 1:
            raise ValueError("the columns have different numbers of rows")
        store.flush()
        for parts in zip(*kept, strict=True):
            batches = [store.get(piece) for piece in parts]
            arrays = [column for batch in batches for column in batch.columns]
            yield pa.RecordBatch.from_arrays(arrays, [name for batch in batches for name in batch.schema.names])


class _Store:
    """Record batches in memory (``held``), or in a temporary file."""

    def __init__(self, held: bool) -> None:
        self._file = None if held else _new_file()

    def __enter__(self) -> _Store:
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def put(self, batch: Any) -> Any:
        if self._file is None:
            return batch
        plain = _without_dictionaries(batch)
        data = plain.serialize()
        try:
            offset = self._file.tell()
            self._file.write(data)
        except OSError as error:
            raise _full(error) from error
        return _Piece(plain.schema, offset, data.size)

    def get(self, piece: Any) -> Any:
        if self._file is None:
            return piece
        self._file.seek(piece.offset)
        return pa.ipc.read_record_batch(pa.py_buffer(self._file.read(piece.length)), piece.schema)

    def flush(self) -> None:
        try:
            if self._file is not None:
                self._file.flush()
        except OSError as error:
            raise _full(error) from error


def _without_dictionaries(batch: Any) -> Any:
    """A dictionary travels apart from its batch; here each batch stands alone."""
    if not any(pa.types.is_dictionary(kind) for kind in batch.schema.types):
        return batch
    arrays = [a.dictionary_decode() if pa.types.is_dictionary(a.type) else a for a in batch.columns]
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names)


def _new_file() -> Any:
    try:
        return tempfile.TemporaryFile(prefix="fastxent-")
    except OSError as error:
        raise _full(error) from error


def _full(error: OSError) -> OutputError:
    reason = error.strerror or str(error)
    return OutputError(
        f"a row group of many columns needs a temporary file, which cannot be written: {reason}; "
        "set TMPDIR to a folder with room, or allow more memory",
        path=tempfile.gettempdir(),
    )
