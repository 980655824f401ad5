"""Loss per unit (byte, word, token) of a column that says how many units a row stands for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base import exact
from fastxent.base.errors import DataError, UsageError
from fastxent.base.log_unit import Unit
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums.exact_sums import deposit
from fastxent.kernels.sums.products import deposit_product
from fastxent.statistics.statistic import Record, Statistic, check_shape

__all__ = ["UnitStats", "Units", "units_of"]


@dataclass(frozen=True, slots=True)
class UnitStats:
    """Loss per unit of a column: total loss over total units, also in bits, and the perplexity of a unit.

    ``loss``, its ``stderr`` and ``ci95`` are in nats, or the unit that was asked for; ``bits`` and ``bits_ci95`` in
    bits. ``stderr`` is that of a ratio of two totals which both vary from row to row, by the delta method. With
    clusters it respects them, as that of the mean loss does.
    """

    column: str
    sum: float
    loss: float
    bits: float
    perplexity: float
    stderr: float
    ci95: tuple[float, float]
    bits_ci95: tuple[float, float]

    def to(self, unit: Unit) -> UnitStats:
        """In another unit than nats."""
        return unit.fields(self, ("loss", "stderr", "ci95"))


class Units(Statistic):
    r"""Exact sums of the units of the scored rows, and of the products that their spread takes.

    With y the (weighted) losses, x the (weighted) units and R = sum y / sum x, the standard error of R over n rows is
    :math:`\sqrt{\frac{n}{n - 1} \sum (y - R x)^2} / \sum x` (Cochran 1977, section 2.11: a ratio estimator).
    """

    def __init__(self, spec: Spec, column: str) -> None:
        self.column = column
        self._weighted = spec.reads_weight
        self._sums = exact.empty(4)

    @property
    def sum(self) -> exact.State:
        """The sum of the units."""
        found: exact.State = self._sums[0]
        return found

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`; raises DataError for units that are null, negative or not finite."""
        n = record.n
        units = units_of(record, self.column)
        scored = record.scored
        loss = np.where(scored, record.card.real[sc.SCRATCH if self._weighted else sc.LOSS, :n], 0.0)
        if self._weighted:
            units = units * np.where(scored, record.card.real[sc.WEIGHT, :n], 0.0)
        deposit(units, n, self._sums[0])
        for row, (x, y) in enumerate(((units, units), (loss, units), (loss, loss)), start=1):
            deposit_product(x, y, self._sums[row])
        self._sums[:, exact.N] += int(scored.sum()) - n

    def merge(self, other: Units) -> None:
        """See `Statistic.merge`."""
        self._sums = exact.merge(self._sums, other._sums)

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        return None, [exact.canonical(self._sums)]

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        self._sums = check_shape(arrays[0], self._sums.shape)

    def stderr(self, total_loss: exact.State) -> float:
        """The standard error of the loss per unit, rows being independent; ``total_loss`` sums what was absorbed."""
        n = int(self._sums[0, exact.N])
        x, y = exact.to_fraction(self.sum), exact.to_fraction(total_loss)
        if n < 2 or not x or not math.isfinite(exact.rounded_sum(self._sums[3])):
            return math.nan
        xx, xy, yy = map(exact.to_fraction, self._sums[1:])
        ratio = y / x
        spread = max(yy - 2 * ratio * xy + ratio * ratio * xx, Fraction(0))
        return math.sqrt(Fraction(n, n - 1) * spread / (x * x))


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

    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_null(column.type)):
        raise UsageError(f"units: column {name!r} is {column.type}; name a column of numbers")
    values: NDArray[np.float64] = np.asarray(pc.fill_null(pc.cast(column, pa.float64(), safe=False), float("nan")))
    return values
