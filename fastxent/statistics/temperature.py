"""The loss of logits divided by a temperature, over a grid of temperatures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base import exact
from fastxent.base.errors import UsageError
from fastxent.base.log_unit import Unit
from fastxent.data.batch import Batch, Matrix
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums.exact_sums import deposit
from fastxent.statistics.statistic import Record, Statistic, check_shape
from fastxent.statistics.values import values_of

__all__ = ["GRID", "Temperature", "TemperatureStats", "best_of", "losses_at"]

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
    """Exact sums of the losses at every temperature of the grid, and of the weights where there are some."""

    def __init__(self, spec: Spec) -> None:
        if spec.form != "logits" or not spec.definition.is_log_loss:
            raise UsageError(
                f"temperature applies to the cross_entropy of logits, and this is {spec.loss} of {spec.form}"
            )
        self._spec = spec
        self._sums = exact.empty(len(GRID) + spec.reads_weight)

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        losses = losses_at(record, weighted=self._spec.reads_weight)
        for values, state in zip((*losses, record.card.real[sc.WEIGHT]), self._sums, strict=False):
            deposit(values, record.n, state)
        self._sums[:, exact.N] += int(record.scored.sum()) - record.n

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
        weight = exact.to_fraction(self._sums[-1]) if self._spec.reads_weight else None
        return [exact.rounded_mean(state, weight) for state in self._sums[: len(GRID)]]

    def read(self, loss: float) -> TemperatureStats:
        """The losses as a table and the best of them, beside the ``loss`` there is."""
        import pyarrow as pa

        found = self.losses()
        best = int(best_of(np.array(found)))
        table = pa.table({"temperature": list(GRID), "loss": found})
        return TemperatureStats(GRID[best], found[best], loss - found[best], table)


def best_of(losses: NDArray[np.float64]) -> NDArray[np.int64]:
    """The places on the grid, the first axis, of the least losses: the first of equal ones, NaN only if all are."""
    found: NDArray[np.int64] = np.lexsort((losses, np.isnan(losses)), axis=0)[0]
    return found


def losses_at(record: Record, *, weighted: bool) -> NDArray[np.float64]:
    """Losses, times their weights if there are any, of the rows of a record at every temperature: (grid, rows).

    The rows are scored again, in float64, for each; once for all statistics that ask. A row that was not scored has 0.
    One that was, but cannot be at some temperature, since its logits are too large for a float64 then, has NaN there.
    """
    name = "losses_at_temperatures"
    if name not in record.found:
        record.found[name] = _scored_again(record, sc.SCRATCH if weighted else sc.LOSS)
    return record.found[name]


def _scored_again(record: Record, which: int) -> NDArray[np.float64]:
    assert record.scores_of is not None
    n, rows, scored = record.n, slice(record.lo, record.lo + record.n), record.scored
    counts = scored & (record.card.real[sc.WEIGHT, :n] > 0.0)
    batch, logits = _piece(record.batch, rows), values_of(record.batch, rows)
    found = np.empty((len(GRID), n))
    for losses, temperature in zip(found, GRID, strict=True):
        with np.errstate(over="ignore"):
            divided = logits / temperature
        card = record.scores_of(replace(batch, predictions=Matrix(divided, "float64")))
        losses[:] = np.where(scored, card.real[which, :n], 0.0)
        losses[counts & (card.status[:n] != sc.SCORED)] = np.nan
    return found


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
