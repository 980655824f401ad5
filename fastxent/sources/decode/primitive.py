"""Flat Arrow arrays of numbers -> NumPy views of their buffers, with the nulls beside them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pyarrow as pa

from fastxent.base.errors import SourceError, UsageError
from fastxent.base.kinds import KINDS, PATTERNS, Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Numbers", "is_number", "numbers", "plain", "raw_numbers", "validity"]


class Numbers(NamedTuple):
    """Values, their kind, and which of them are there (None: all)."""

    values: NDArray[Any]
    kind: Kind
    valid: NDArray[np.bool_] | None


def plain(array: Any) -> Any:
    """``array`` as one array without dictionary, run ends or extension type around its values."""
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = array.chunk(0) if array.num_chunks else pa.array([], array.type)
    if isinstance(array, pa.ExtensionArray):
        return plain(array.storage)
    if isinstance(array, pa.DictionaryArray):
        return plain(array.dictionary_decode())
    if pa.types.is_run_end_encoded(array.type):
        import pyarrow.compute as pc

        return plain(pc.run_end_decode(array))
    return array


def validity(array: Any) -> NDArray[np.bool_] | None:
    """Which elements are not null, or None if all are there."""
    if array.null_count == 0:
        return None
    return np.asarray(array.is_valid().to_numpy(zero_copy_only=False), dtype=np.bool_)


def is_number(kind: Any) -> bool:
    """Whether an Arrow type holds plain numbers (nulls only count as well: there is nothing in it)."""
    tests = (pa.types.is_floating, pa.types.is_integer, pa.types.is_boolean, pa.types.is_decimal, pa.types.is_null)
    return any(test(kind) for test in tests)


def numbers(array: Any, dtype: str | None = None) -> Numbers:
    """A flat Arrow array -> its values. Floats are views of the buffer; the rest is converted to float64.

    ``dtype`` says what uint16 patterns are.
    """
    kind = array.type
    if pa.types.is_float16(kind) or (pa.types.is_uint16(kind) and dtype in PATTERNS):
        name: Kind = "bfloat16" if dtype == "bfloat16" and not pa.types.is_float16(kind) else "float16"
        return Numbers(_view(array, np.uint16), name, validity(array))
    if pa.types.is_float32(kind):
        return Numbers(_view(array, np.float32), "float32", validity(array))
    if pa.types.is_float64(kind):
        return Numbers(_view(array, np.float64), "float64", validity(array))
    if pa.types.is_null(kind):
        return Numbers(np.zeros(len(array)), "float64", np.zeros(len(array), np.bool_))
    if not is_number(kind):
        raise SourceError(f"holds {kind}, where numbers are needed")
    return numbers(array.cast(pa.int8() if pa.types.is_boolean(kind) else pa.float64(), safe=False).cast(pa.float64()))


def raw_numbers(data: Any, dtype: str | None, start: int, count: int) -> Numbers:
    """``count`` numbers of ``dtype`` in a buffer, from byte ``start``."""
    if dtype not in KINDS:
        raise UsageError(f"packed binary predictions need dtype={'|'.join(KINDS)}, got {dtype}")
    carrier = np.dtype(KINDS[dtype].carrier)
    values = np.frombuffer(data, carrier, count, start) if count else np.empty(0, carrier)
    return Numbers(values, cast(Kind, dtype), None)


def _view(array: Any, carrier: type[Any]) -> NDArray[Any]:
    data = array.buffers()[1]
    if len(array) == 0 or data is None:
        return np.empty(0, carrier)
    dtype = np.dtype(carrier)
    return np.frombuffer(data, dtype, len(array), array.offset * dtype.itemsize)
