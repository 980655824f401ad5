"""The loss of logits divided by a temperature, over a grid of temperatures."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent import exact
from fastxent.batch import Batch, Matrix
from fastxent.errors import UsageError
from fastxent.kernels import tally
from fastxent.spec import Spec
from fastxent.statistics.statistic import Record, Statistic, check_shape
from fastxent.statistics.values import values_of
from fastxent.unit import Unit

__all__ = ["GRID", "Temperature", "TemperatureStats"]

#: A quarter to 4 in steps of the fourth root of 2.
GRID = tuple(2.0 ** (k / 4) for k in range(-8, 9))


@dataclass(frozen=True, slots=True)
class TemperatureStats:
    """Losses of logits divided by temperatures: ``table`` (temperature, loss), the best of them, and what it gains."""

    best: float
    loss: float
    gain: float
    table: Any

    def to(self, unit: Unit) -> TemperatureStats:
        """In another unit than nats."""
        return replace(unit.fields(self, ("loss", "gain")), table=unit.columns(self.table, ("loss",)))


class Temperature(Statistic):
    """Exact sums of the losses at every temperature of the grid: each record is scored again, in float64, for each."""

    def __init__(self, spec: Spec, grid: tuple[float, ...] = GRID) -> None:
        if spec.form != "logits" or spec.loss != "cross_entropy":
            raise UsageError(
                f"temperature applies to the cross_entropy of logits, and this is {spec.loss} of {spec.form}"
            )
        self.grid = grid
        self._spec = spec
        self._rows = [tally.WEIGHTED_LOSS, tally.WEIGHT] if spec.reads_weight else [tally.LOSS]
        self._sums = exact.empty(len(grid), len(self._rows))

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        assert record.sums_of is not None
        rows = slice(record.lo, record.lo + record.n)
        batch, logits = _piece(record.batch, rows), values_of(record.batch, rows)
        for i, temperature in enumerate(self.grid):
            sums = record.sums_of(replace(batch, predictions=Matrix(logits / temperature, "float64")))
            self._sums[i] = exact.merge(self._sums[i], sums[self._rows])

    def merge(self, other: Temperature) -> None:
        """See `Statistic.merge`."""
        self._sums = exact.merge(self._sums, other._sums)

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        return None, [exact.canonical(self._sums)]

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        self._sums = check_shape(arrays[0], self._sums.shape)

    def losses(self) -> list[float]:
        """The mean loss at every temperature of the grid."""
        sums = self._sums
        if not self._spec.reads_weight:
            return [exact.rounded_mean(row[0]) for row in sums]
        weights = [exact.to_fraction(row[1]) for row in sums]
        return [
            exact.rounded_mean(row[0], weight) if weight else float("nan")
            for row, weight in zip(sums, weights, strict=True)
        ]

    def read(self, loss: float) -> TemperatureStats:
        """The losses as a table and the best of them, beside the ``loss`` there is."""
        import pyarrow as pa

        found = self.losses()
        best = min(range(len(found)), key=lambda i: (math.isnan(found[i]), found[i]))
        table = pa.table({"temperature": list(self.grid), "loss": found})
        return TemperatureStats(self.grid[best], found[best], loss - found[best], table)


def _piece(batch: Batch, rows: slice) -> Batch:
    """Some rows of a batch, without their predictions."""
    return replace(
        batch,
        predictions=Matrix(np.zeros((0, batch.predictions.num_classes)), "float64"),
        target=batch.target[rows],
        weight=None if batch.weight is None else batch.weight[rows],
        status=None if batch.status is None else batch.status[rows],
        mask=None if batch.mask is None else batch.mask[rows],
        extra=None,
    )
