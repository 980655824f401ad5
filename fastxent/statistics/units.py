"""Loss per unit (byte, word, token) of a column that says how many units a row stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.log_unit import BITS
from fastxent.base.text import printable
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums.products import products_of
from fastxent.statistics.clusters import Clusters
from fastxent.statistics.field import Field
from fastxent.statistics.intervals import mean_intervals, ratio_error
from fastxent.statistics.laws import Law, amount
from fastxent.statistics.loss import error_text, independent, safe_exp
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.statistic import Statistic
from fastxent.statistics.unit_column import units_of

__all__ = ["UnitStats", "Units"]

#: The exact sums: units, and the products of units x and losses y that the error takes.
_SUMS = {"units": 1, "units_xx": 2, "units_xy": 2, "units_yy": 2}
_PRODUCTS = tuple(_SUMS)[1:]
#: What sums of rounded products may be apart.
_SLACK = 1e-9


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


class Units(Statistic):
    r"""Loss per unit: the ratio of two totals, with its error.

    With y the (weighted) losses, x the (weighted) units and R = sum y / sum x, the standard error of R over n rows is
    :math:`\sqrt{\frac{n}{n - 1} \sum (y - R x)^2} / \sum x` (Cochran 1977, section 2.11: a ratio estimator).
    """

    name = "units"

    def __init__(self, spec: Spec, column: str) -> None:
        self.column = column
        self._weighted = spec.reads_weight

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        return None if measures.units is None else cls(spec, measures.units)

    def sums(self) -> dict[str, int]:
        """See `Statistic.sums`."""
        return _SUMS

    def values(self, record: Record) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """See `Statistic.values`; raises DataError for units that are null, negative or not finite."""
        units, real = units_of(record, self.column), record.card.real[:, : record.n]
        loss = np.where(record.scored, real[sc.SCRATCH if self._weighted else sc.LOSS], 0.0)
        if self._weighted:
            units = units * np.where(record.scored, real[sc.WEIGHT], 0.0)
        yield "units", units
        for name, (x, y) in zip(_PRODUCTS, ((units, units), (loss, units), (loss, loss)), strict=True):
            yield from ((name, part) for part in products_of(x, y))

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        return (
            Field("units", "units"), Field("loss_per_unit", "loss per unit", 1),
            Field("bits_per_unit", "bits per unit", narrow=True), Field("stderr_per_unit", "its standard error", 1),
        )  # fmt: skip

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        units = reading.exact("units")
        each = reading.total_loss.over(units)
        total_loss = reading.exact("weighted_loss" if reading.weighted else "loss")
        if reading.invalid:
            error = reading.unknown
        elif isinstance(clusters := reading.statistics.get("clusters"), Clusters):
            error = clusters.error(reading, "unit")
        else:
            products = map(reading.exact, _PRODUCTS)
            error = ratio_error(reading.counts, units, total_loss, *products)
        return {
            "units": units.rounded, "loss_per_unit": each, "bits_per_unit": BITS.of(each), "stderr_per_unit": error,
        }  # fmt: skip

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`: sums of units and losses, and of their products, which may overflow."""
        units, (xx, xy, yy) = reading.exact("units"), map(reading.exact, _PRODUCTS)
        yield "the units are below 0 or not finite", amount(units) & units.is_finite
        for name, sums in zip(_PRODUCTS, (xx, xy, yy), strict=True):  # 0 units of an infinite loss are NaN
            yield f"the products of units and losses ({name}) are below 0", amount(sums) | np.isnan(sums.special)
        square = reading.exact("weighted_square" if self._weighted else "square").rounded
        x, a, b, c = units.rounded, xx.rounded, xy.rounded, yy.rounded
        with np.errstate(all="ignore"):
            fine = (x * x <= reading.counts * a * (1.0 + _SLACK)) & (b <= np.sqrt(a) * np.sqrt(c) * (1.0 + _SLACK))
            same = (np.abs(c - square) <= _SLACK * square) | (c == square)
        yield "the products of units and losses are not those of any", (fine & same) | ~np.isfinite(a + b + c)

    def stats(self, reading: Reading) -> UnitStats:
        """The loss per unit of the only owner."""
        names = ("units", "loss_per_unit", "bits_per_unit", "stderr_per_unit")
        total, loss, bits, error = map(reading.number, names)
        nats, nats_error = (reading.nats(name) for name in ("loss_per_unit", "stderr_per_unit"))
        low, high = mean_intervals(nats, nats_error, independent(reading))
        ci95 = (float(low[0]), float(high[0]))
        perplexity = safe_exp(float(nats[0]))
        return UnitStats(self.column, total, loss, bits, perplexity, error, reading.unit.of(ci95), BITS.of(ci95))

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`."""
        values = asdict(self.stats(reading))
        return {"units": {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}}

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """See `Statistic.headlines`."""
        units = self.stats(reading)
        bits = f"{units.bits:.6g} bits, " if str(reading.unit) != "bits" else ""
        yield (
            f"per {printable(self.column)}",
            f"{units.loss:.6g}{error_text(units.stderr)} {reading.unit}, {bits}"
            f"perplexity {units.perplexity:.6g}  ({units.sum:,.15g} units)",
        )
