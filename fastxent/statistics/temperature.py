"""The loss of logits divided by a temperature, over a grid of temperatures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent import exact
from fastxent.batch import Batch, Columns, Matrix
from fastxent.errors import UsageError
from fastxent.kernels import tally
from fastxent.spec import Spec
from fastxent.statistics.statistic import Record, Statistic, check_shape

__all__ = ["GRID", "Temperature"]

#: A quarter to 4 in steps of the fourth root of 2.
GRID = tuple(2.0 ** (k / 4) for k in range(-8, 9))


class Temperature(Statistic):
    """Exact sums of the losses at every temperature of the grid: each record is scored again, in float64, for each."""

    def __init__(self, spec: Spec, grid: tuple[float, ...] = GRID) -> None:
        if spec.form != "logits":
            raise UsageError(f"temperature applies to logits, and these are {spec.form}")
        self.grid = grid
        self._spec = spec
        self._runs: list[Any] = []
        self._rows = [tally.WEIGHTED_LOSS, tally.WEIGHT] if spec.reads_weight else [tally.LOSS]
        self._sums = exact.empty(len(grid), len(self._rows))

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        from fastxent.scores import Scorer
        from fastxent.totals import Measures, Totals

        if not self._runs:
            self._scorer = Scorer(self._spec, full=False)
            self._runs = [Totals(self._spec, Measures(spread=False, scores=False)) for _ in self.grid]
        batch, logits = _in_float64(record.batch, slice(record.lo, record.lo + record.n))
        for totals, temperature in zip(self._runs, self.grid, strict=True):
            self._scorer.score(replace(batch, predictions=Matrix(logits / temperature, "float64")), totals)

    def _collect(self) -> Any:
        for i, totals in enumerate(self._runs):
            self._sums[i] = exact.merge(self._sums[i], totals.tallies.sums[self._rows])
        self._runs = []
        return self._sums

    def merge(self, other: Temperature) -> None:
        """See `Statistic.merge`."""
        self._sums = exact.merge(self._collect(), other._collect())

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        return None, [exact.canonical(self._collect())]

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        self._sums = check_shape(arrays[0], self._sums.shape)

    def losses(self) -> list[float]:
        """The mean loss at every temperature of the grid."""
        sums = self._collect()
        if not self._spec.reads_weight:
            return [exact.rounded_mean(row[0]) for row in sums]
        weights = [exact.to_fraction(row[1]) for row in sums]
        return [
            exact.rounded_mean(row[0], weight) if weight else float("nan")
            for row, weight in zip(sums, weights, strict=True)
        ]


def _in_float64(batch: Batch, rows: slice) -> tuple[Batch, NDArray[np.float64]]:
    predictions = batch.predictions
    if isinstance(predictions, Columns):
        values = np.stack([column[rows] for column in predictions.columns], axis=1)
    else:
        values = predictions.values[rows]
    if predictions.kind == "float16":
        values = values.view(np.float16)
    elif predictions.kind == "bfloat16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    piece = replace(
        batch,
        predictions=Matrix(np.zeros((0, values.shape[1])), "float64"),
        target=batch.target[rows],
        weight=None if batch.weight is None else batch.weight[rows],
        status=None if batch.status is None else batch.status[rows],
        mask=None if batch.mask is None else batch.mask[rows],
        extra=None,
    )
    return piece, values.astype(np.float64)
