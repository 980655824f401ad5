"""Record batches in pieces whose texts fit: a text that is stored once may stand in many rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

__all__ = ["TEXT_BYTES", "text_pieces"]

#: Bytes of the texts of a batch, where they are written out.
TEXT_BYTES = 4 << 20

_PLAIN = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
_VIEWS = (pa.types.is_string_view, pa.types.is_binary_view)


def text_pieces(batch: Any, budget: int) -> Iterator[tuple[int, Any]]:
    """A batch in pieces, with their first rows, whose texts take ``budget`` bytes where they are written out.

    A piece has one row at least, and dictionaries of what occurs in it.
    """
    sizes = {
        name: size
        for name, size in zip(batch.schema.names, map(_sizes, batch.columns), strict=True)
        if size is not None
    }
    total = np.cumsum(np.sum([*sizes.values()], axis=0)) if sizes else np.zeros(1, np.int64)
    if total[-1:].sum() <= budget:
        yield 0, batch
        return
    lo = 0
    while lo < batch.num_rows:
        before = total[lo - 1] if lo else 0
        hi = max(lo + 1, int(np.searchsorted(total, before + budget, side="right")))
        piece = batch.slice(lo, hi - lo)
        columns = [_compact(piece[name]) if name in sizes else piece[name] for name in piece.schema.names]
        yield lo, pa.RecordBatch.from_arrays(columns, schema=batch.schema)
        lo = hi


def _sizes(column: Any) -> NDArray[np.int64] | None:
    """The bytes of the text of every row; None for a column of something else."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _sizes(column.storage)
    if pa.types.is_dictionary(kind):
        sizes = _sizes(column.dictionary)
        return None if sizes is None else np.append(sizes, 0)[_places(column, len(sizes))]
    if pa.types.is_run_end_encoded(kind):
        sizes = _sizes(column.values)
        if sizes is None:
            return None
        runs = pa.RunEndEncodedArray.from_arrays(column.run_ends, pa.array(sizes))
        return np.asarray(pc.run_end_decode(runs.slice(column.offset, len(column))))
    if any(is_plain(kind) for is_plain in _PLAIN):
        return np.asarray(pc.binary_length(column).fill_null(0)).astype(np.int64)
    if any(is_view(kind) for is_view in _VIEWS) and len(column):
        views = np.frombuffer(column.buffers()[1], np.int32).reshape(-1, 4)[column.offset :][: len(column)]
        return np.where(np.asarray(column.is_valid()), views[:, 0], 0).astype(np.int64)
    return None


def _compact(column: Any) -> Any:
    """A column whose dictionary, if it has one, holds what occurs."""
    if not pa.types.is_dictionary(column.type):
        return column
    used, places = np.unique(_places(column, -1), return_inverse=True)
    nulls = used[0] < 0
    indices = pa.array(places - nulls, mask=places < nulls).cast(column.type.index_type)
    values = column.dictionary.take(pa.array(used[int(nulls) :]))
    return pa.DictionaryArray.from_arrays(indices, values, ordered=column.type.ordered)


def _places(column: Any, null: int) -> NDArray[np.int64]:
    """The place of every row's entry in the dictionary, or ``null``."""
    return np.asarray(column.indices.cast(pa.int64()).fill_null(null))
