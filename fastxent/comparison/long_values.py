"""Long ids, groups and clusters of a comparison: their beginnings, with a digest, stand for them in the join.

A join holds and sorts the ids of both sides: with texts of 10 kB it took fifty times the memory, and failed. Whole
values stay in the spool, where those that are shown are looked up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

__all__ = ["is_stand_in", "shortened", "whole_values"]

#: Bytes of the longest value that stands for itself; what stands for a longer one is longer than that.
LONGEST = 128


def shortened(column: Any) -> tuple[Any, Any]:
    """A column of text or bytes with stand-ins for its long values, and these in full in the rows where they begin.

    A dictionary is looked at entry by entry, and written out with the stand-ins only.
    """
    if pa.types.is_fixed_size_binary(column.type):
        column = column.cast(pa.binary())
    encoded = column
    if not pa.types.is_dictionary(column.type):
        encoded = pa.DictionaryArray.from_arrays(pa.array(np.arange(len(column), dtype=np.int64)), column)
    values, places = encoded.dictionary, encoded.indices
    long = pc.fill_null(pc.greater(pc.binary_length(values), LONGEST), False)
    if not pc.any(long).as_py():
        return column if encoded is not column else column.dictionary_decode(), pa.nulls(len(column), values.type)
    names = [_stand_in(value) for value in values.filter(long).to_pylist()]
    short = pc.replace_with_mask(values, long, pa.array(names, values.type)).take(places)
    codes = short.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
    begins = np.zeros(len(column), np.bool_)
    begins[np.unique(codes, return_index=True)[1]] = True
    begins &= pc.fill_null(long.take(places), False).to_numpy(zero_copy_only=False)
    return short, values.take(pc.if_else(pa.array(begins), places, pa.scalar(None, places.type)))


def is_stand_in(value: object) -> bool:
    """Whether a value stands for a longer one."""
    return isinstance(value, str | bytes) and len(value.encode() if isinstance(value, str) else value) > LONGEST


def whole_values(path: str, name: str, wanted: Collection[Any] | None) -> Iterator[tuple[Any, Any]]:
    """Stand-ins in a column of a spool, those that are wanted (None: all), and what they stand for."""
    whole = f"{name}_whole"
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            found = file.read_row_group(group, columns=[name, whole], use_threads=False).combine_chunks()
            found = found.filter(found[whole].is_valid())
            if wanted is not None:
                found = found.filter(pc.is_in(found[name], pa.array(list(wanted), found[name].type)))
            yield from zip(found[name].to_pylist(), found[whole].to_pylist(), strict=True)


def _stand_in(value: Any) -> Any:
    digest = sha256(value.encode() if isinstance(value, str) else value)
    return value[:LONGEST] + (digest.hexdigest() if isinstance(value, str) else digest.digest())
