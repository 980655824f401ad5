"""Loss per unit (byte, word, token) of a column that says how many units a row stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent import exact
from fastxent.errors import DataError, UsageError
from fastxent.kernels import scorecard as sc
from fastxent.kernels.exactsum import deposit, deposit_weighted
from fastxent.spec import Spec
from fastxent.statistics.statistic import Record, Statistic, check_shape

__all__ = ["Units"]


class Units(Statistic):
    """The exact sum of the units of the scored rows, weighted where the rows are."""

    def __init__(self, spec: Spec, column: str) -> None:
        self.column = column
        self._weighted = spec.reads_weight
        self.sum = exact.empty()

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`; raises DataError for units that are null, negative or not finite."""
        n = record.n
        units = _as_float((record.batch.extra or {})[self.column].slice(record.lo, n), self.column)
        scored = record.scored
        wrong = scored & ~((units >= 0.0) & (units < np.inf))
        if wrong.any():
            row = int(np.argmax(wrong))
            raise DataError(
                f"{record.batch.path}, row {record.batch.first_row + record.lo + row} (from 0): column {self.column!r} "
                f"(units) is {units[row]}; units are numbers of at least 0"
            )
        units = np.where(scored, units, 0.0)
        if self._weighted:
            deposit_weighted(units, record.card.real[sc.WEIGHT, :n], n, self.sum)
        else:
            deposit(units, n, self.sum)
        self.sum[exact.N] += int(scored.sum()) - n

    def merge(self, other: Units) -> None:
        """See `Statistic.merge`."""
        self.sum = exact.merge(self.sum, other.sum)

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        return None, [exact.canonical(self.sum)]

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        self.sum = check_shape(arrays[0], (exact.SIZE,))


def _as_float(column: Any, name: str) -> NDArray[np.float64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)):
        raise UsageError(f"units: column {name!r} is {column.type}; name a column of numbers")
    values: NDArray[np.float64] = np.asarray(pc.fill_null(pc.cast(column, pa.float64(), safe=False), float("nan")))
    return values
