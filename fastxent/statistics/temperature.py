"""The loss of logits divided by a temperature, over a grid of temperatures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.data.batch import Batch, Matrix
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.statistics.field import Field
from fastxent.statistics.laws import Law, between
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.statistic import Statistic
from fastxent.statistics.values import values_of

__all__ = ["GRID", "Temperature", "TemperatureStats", "best_of", "losses_at"]

#: A quarter to 4 in steps of the fourth root of 2.
GRID = tuple(2.0 ** (k / 4) for k in range(-8, 9))
_SUMS = tuple(f"temperature_{place}" for place in range(len(GRID)))


@dataclass(frozen=True, slots=True)
class TemperatureStats:
    """Losses of logits divided by temperatures: ``table`` (temperature, loss), the best of them, and what it gains."""

    best: float
    loss: float
    gain: float
    table: Any


class Temperature(Statistic):
    """The mean loss at every temperature of a grid, from exact sums; the best temperature and what it would gain."""

    name = "temperature"

    def __init__(self, spec: Spec) -> None:
        self._weighted = spec.reads_weight

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        if not measures.temperature:
            return None
        if spec.form != "logits" or not spec.definition.is_log_loss:
            raise UsageError(
                f"temperature applies to the cross_entropy of logits, and this is {spec.loss} of {spec.form}"
            )
        return cls(spec)

    def sums(self) -> dict[str, int]:
        """See `Statistic.sums`."""
        return dict.fromkeys(_SUMS, 1)

    def values(self, record: Record) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """See `Statistic.values`."""
        return zip(_SUMS, losses_at(record, weighted=self._weighted), strict=True)

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        return (
            Field("temperature_best", "best temperature"), Field("temperature_loss", "its loss", 1),
            Field("temperature_gain", "what it would gain", 1),
        )  # fmt: skip

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        losses = _losses(reading)
        best = best_of(losses)
        least = losses[best, np.arange(reading.owners)]
        gain = reading.nats("loss") - least
        return {"temperature_best": np.array(GRID)[best], "temperature_loss": least, "temperature_gain": gain}

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`: losses at 1 are those of the run, and they are convex in 1 / temperature."""
        sums = list(map(reading.exact, _SUMS))
        for temperature, each in zip(GRID, sums, strict=True):
            below = np.array(each.integers < 0, np.bool_) | (each.special == -np.inf)
            yield f"the losses at temperature {temperature:g} add up to less than 0", ~below
        same = sums[GRID.index(1.0)].equals(reading.exact("weighted_loss" if self._weighted else "loss"))
        yield "the losses at temperature 1 are not those of the run", same | (reading.counts == 0)
        losses, at = np.array([each.rounded for each in sums]), 1.0 / np.array(GRID)[:, np.newaxis]
        with np.errstate(invalid="ignore"):
            share = (at[1:-1] - at[2:]) / (at[:-2] - at[2:])
            chord = share * losses[:-2] + (1.0 - share) * losses[2:]
        fine = between(np.nan, losses[1:-1], chord)
        yield "the losses at temperatures are not those of any logits", (fine | ~np.isfinite(chord)).all(axis=0)

    def stats(self, reading: Reading) -> TemperatureStats:
        """The losses of the only owner at other temperatures."""
        import pyarrow as pa

        table = pa.table({"temperature": list(GRID), "loss": _losses(reading)[:, 0]})
        best, loss, gain = (reading.number(f"temperature_{name}") for name in ("best", "loss", "gain"))
        return TemperatureStats(best, loss, gain, reading.unit.columns(table, ("loss",)))

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`."""
        stats = self.stats(reading)
        values = {"best": stats.best, "loss": stats.loss, "gain": stats.gain, "table": stats.table.to_pylist()}
        return {"temperature": values}

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """See `Statistic.headlines`."""
        best, loss, gain = (reading.number(f"temperature_{name}") for name in ("best", "loss", "gain"))
        yield "temperature", f"{best:.4g} would give {loss:.6g} ({-gain:+.3g})"


def _losses(reading: Reading) -> NDArray[np.float64]:
    """The mean loss at every temperature of the grid (first axis) of every owner."""
    return np.array([reading.exact(name).over(reading.total_weight) for name in _SUMS])


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
