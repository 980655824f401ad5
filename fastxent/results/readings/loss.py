"""Reading totals: what they say of the losses."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

from fastxent.base.errors import UsageError
from fastxent.base.log_unit import BITS
from fastxent.results.readings.base import Readings
from fastxent.statistics import classes as by_class
from fastxent.statistics import loss as losses
from fastxent.statistics.loss import LossStats, Quantile, safe_exp
from fastxent.statistics.temperature import TemperatureStats
from fastxent.statistics.units import UnitStats

__all__ = ["LossReadings"]


class LossReadings(Readings):
    """The loss: its mean, spread, quantiles, and what it is the same as."""

    @property
    def loss(self) -> float:
        """Mean cross-entropy of the scored rows."""
        loss: float = self.unit.of(self._nats)
        return loss

    @property
    def perplexity(self) -> float:
        """Exp of the mean loss in nats."""
        return safe_exp(self._nats)

    @property
    def bits(self) -> float:
        """The mean loss in bits, whatever the base."""
        bits: float = BITS.of(self._nats)
        return bits

    @property
    def loss_stats(self) -> LossStats | None:
        """Spread, extremes and quantiles of the row losses."""
        return self._loss_stats

    @cached_property
    def _loss_stats(self) -> LossStats | None:
        clusters: Any = self.totals.statistics.get("clusters")
        return losses.loss_stats(self.totals, clusters).to(self.unit) if self.totals.measures.spread else None

    def quantile(self, q: float) -> Quantile:
        """Any quantile of the row losses, with the bin that surely holds it; every row counts once."""
        if not self.totals.measures.spread:
            raise UsageError("quantiles were not gathered (spread=False)")
        if not 0.0 <= q <= 1.0:
            raise UsageError(f"q: expected a number in [0, 1], got {q!r}")
        extremes = losses.extremes(self.totals)
        return losses.quantile(self.totals.tallies, q, *extremes, self.totals.coarse.losses).to(self.unit)

    def loss_histogram(self, per_octave: int = 1) -> Any:
        """Rows by loss, as a table (low, high, count): 1, 2, 4, ..., 128 bins for every doubling of the loss."""
        if not self.totals.measures.spread:
            raise UsageError("the histogram was not gathered (spread=False)")
        if per_octave not in (1, 2, 4, 8, 16, 32, 64, 128):
            raise UsageError(f"per_octave: expected a power of two up to 128, got {per_octave!r}")
        self.totals.coarse.check_histogram(per_octave)
        return self.unit.columns(losses.histogram_table(self.totals.tallies, per_octave), ("low", "high"))

    @property
    def units(self) -> UnitStats | None:
        """Loss, bits and perplexity per unit, with the standard error; with clusters it respects them."""
        units: Any = self.totals.statistics.get("units")
        clusters: Any = self.totals.statistics.get("clusters")
        return None if units is None else losses.unit_stats(self.totals, units, clusters).to(self.unit)

    @property
    def normalized_entropy(self) -> float | None:
        """Mean loss over the entropy of the classes' shares: below 1 is better than always predicting the shares."""
        spec = self.totals.spec
        if (
            not self._by_class
            or not spec.definition.is_log_loss
            or spec.soft
            or spec.label_smoothing > 0.0
            or spec.pos_weight is not None
        ):
            return None
        base = by_class.base_entropy(self._sums.support)
        return self._nats / base if base > 0.0 else math.nan

    @property
    def d2(self) -> float | None:
        """1 - `normalized_entropy`, the D2 log-loss score of scikit-learn."""
        return None if (entropy := self.normalized_entropy) is None else 1.0 - entropy

    @property
    def entropy(self) -> float | None:
        """Mean entropy of the predictions; the logarithm of the number of classes is the largest there is."""
        statistic: Any = self.totals.statistics.get("entropy")
        return None if statistic is None else self.unit.of(statistic.mean())

    @property
    def temperature(self) -> TemperatureStats | None:
        """Losses at other temperatures."""
        statistic: Any = self.totals.statistics.get("temperature")
        return None if statistic is None else statistic.read(self._nats).to(self.unit)
