"""64-bit hashes of the values of a column, the same on every machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.base.hashing import GOLDEN, mix
from fastxent.data.plain_column import plain_column, text_of
from fastxent.kernels.sums import records

__all__ = ["hash_values"]

_NULL = -(2**63)


def hash_values(column: Any, name: str) -> NDArray[np.int64]:
    """64-bit hashes of text, or of whole numbers (SplitMix64); the same on every machine."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = plain_column(column)
    if pa.types.is_dictionary(column.type):
        hashed = hash_values(column.dictionary, name)
        indices = np.asarray(pc.fill_null(pc.cast(column.indices, pa.int64()), -1))
        return np.where(indices < 0, _NULL, hashed[indices]) if len(hashed) else np.full(len(column), _NULL)
    kind = column.type
    nulls = np.asarray(column.is_null()) if column.null_count else None
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        values = np.asarray(pc.fill_null(column, False if pa.types.is_boolean(kind) else 0))
        wide = values.astype(np.int64 if values.dtype != np.uint64 else np.uint64).view(np.uint64)
        hashed = mix(wide + GOLDEN).view(np.int64)
    elif pa.types.is_nested(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        raise UsageError(f"cluster_by: column {name!r} is {kind}; name a column of ids: text or whole numbers")
    else:
        hashed = _hash_text(column, name)
    if nulls is not None:
        hashed[nulls] = _NULL
    return hashed


def _hash_text(column: Any, name: str) -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    text = pc.cast(column, pa.large_binary()) if is_bytes else text_of(column)
    if text is None:
        raise UsageError(f"cluster_by: column {name!r} is {kind}; name a column of ids: text or whole numbers")
    column = pc.cast(text, pa.large_binary())
    _, offsets, data = column.buffers()
    places = np.frombuffer(offsets, np.int64, len(column) + 1, 8 * column.offset)
    octets = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    out = np.empty(len(column), np.uint64)
    records.hash_bytes(places, octets, out)
    return out.view(np.int64)
