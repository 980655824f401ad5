"""The column of units: how many bytes, words or tokens a row stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import DataError, UsageError
from fastxent.data.plain_column import plain_column
from fastxent.statistics.record import Record

__all__ = ["units_of"]


def units_of(record: Record, column: str) -> NDArray[np.float64]:
    """The units of every row, 0 where it was not scored; raises DataError for what is no number of units."""
    units = _as_float((record.batch.extra or {})[column].slice(record.lo, record.n), column)
    scored = record.scored
    wrong = scored & ~((units >= 0.0) & (units < np.inf))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DataError(
            f"{record.batch.path}, row {record.batch.number_of(record.lo + row)} (from 0): column {column!r} "
            f"(units) is {units[row]}; units are numbers of at least 0"
        )
    return np.where(scored, units, 0.0)


def _as_float(column: Any, name: str) -> NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = plain_column(column)
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)):
        raise UsageError(f"units: column {name!r} is {column.type}; name a column of numbers")
    values: NDArray[np.float64] = np.asarray(pc.fill_null(pc.cast(column, pa.float64(), safe=False), float("nan")))
    return values
