"""Reading the distribution of the row losses off the tallies."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from fastxent.base import exact
from fastxent.base.log_unit import BITS, Unit
from fastxent.base.runs import run_starts
from fastxent.base.status import Status
from fastxent.engine.invalid_rows import invalid_counts
from fastxent.kernels.sums import tally
from fastxent.kernels.sums.tally import Tallies
from fastxent.statistics.units import Units, UnitStats

if TYPE_CHECKING:
    from fastxent.statistics.clusters import Clusters
    from fastxent.totals.totals import Totals

__all__ = [
    "QUANTILES", "Z95", "ClusterStats", "LossStats", "Quantile", "cell_edges", "histogram_table", "loss_stats",
    "mean_loss", "sum_of_losses", "unit_stats",
]  # fmt: skip

#: Half-width of a central 95 % interval of the normal distribution, in standard errors.
Z95 = 1.959963984540054
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def poisoned(totals: Totals) -> bool:
    """Whether invalid rows make every mean NaN."""
    return totals.spec.on_invalid == "propagate" and bool(invalid_counts(totals))


def sum_of_losses(totals: Totals) -> float:
    """The correctly rounded sum of the (weighted) row losses; NaN if invalid rows propagate."""
    if poisoned(totals):
        return math.nan
    row = tally.WEIGHTED_LOSS if totals.spec.reads_weight else tally.LOSS
    return exact.rounded_sum(totals.tallies.sums[row])


def mean_loss(totals: Totals) -> float:
    """The mean row loss, rounded once; with weights the weighted sum over the sum of weights; NaN of nothing."""
    if poisoned(totals):
        return math.nan
    sums = totals.tallies.sums
    if totals.spec.reads_weight:
        weight = exact.to_fraction(sums[tally.WEIGHT])
        return exact.rounded_mean(sums[tally.WEIGHTED_LOSS], weight) if weight else math.nan
    return exact.rounded_mean(sums[tally.LOSS])


def num_scored(totals: Totals) -> int:
    """Rows that were scored."""
    return int(totals.tallies.rows[Status.SCORED])


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile of the losses: the middle of its bin, and the bin, which surely holds it."""

    value: float
    low: float
    high: float

    def to(self, unit: Unit) -> Quantile:
        """In another unit than nats."""
        return Quantile(unit.of(self.value), unit.of(self.low), unit.of(self.high))


@dataclass(frozen=True, slots=True)
class ClusterStats:
    """What the standard error rests on: how many clusters, or (not ``exact``) buckets of clusters."""

    column: str
    count: int
    exact: bool


@dataclass(frozen=True, slots=True)
class LossStats:
    """The distribution of the row losses, in nats or the unit that was asked for.

    ``variance`` (unbiased), its root ``std`` and ``stderr`` are NaN below two rows. With weights mean, sum and standard
    error are weighted; the rest counts every row once. With ``clusters`` the standard error and the interval are the
    cluster-robust ones, else they take rows for independent. ``infinite`` rows gave their target no probability.
    """

    mean: float
    sum: float
    variance: float
    std: float
    stderr: float
    ci95: tuple[float, float]
    min: float
    max: float
    quantiles: dict[float, Quantile]
    clusters: ClusterStats | None = None
    infinite: int = 0

    def to(self, unit: Unit) -> LossStats:
        """In another unit than nats."""
        found = unit.fields(self, ("mean", "sum", "variance", "std", "stderr", "ci95", "min", "max"))
        quantiles = {q: quantile.to(unit) for q, quantile in self.quantiles.items()}
        return replace(found, variance=unit.of(found.variance), quantiles=quantiles)


def safe_exp(value: float) -> float:
    """Exp, infinite where it overflows."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def loss_stats(totals: Totals, clusters: Clusters | None) -> LossStats:
    """Read the spread, the extremes and the quantiles, in nats."""
    tallies = totals.tallies
    mean = mean_loss(totals)
    variance, stderr = _spread(totals)
    found = None
    if clusters is not None:
        stderr = math.nan if poisoned(totals) else clusters.stderr()
        found = ClusterStats(clusters.column, clusters.count, clusters.exact)
    low, high = extremes(totals)
    return LossStats(
        mean=mean,
        sum=sum_of_losses(totals),
        variance=variance,
        std=math.sqrt(variance),
        stderr=stderr,
        ci95=(mean - Z95 * stderr, mean + Z95 * stderr),
        min=low,
        max=high,
        quantiles={q: quantile(tallies, q, low, high, totals.coarse.losses) for q in QUANTILES},
        clusters=found,
        infinite=int(tallies.histogram[-1]),
    )


def extremes(totals: Totals) -> tuple[float, float]:
    """The smallest and the largest row loss."""
    if not num_scored(totals):
        return math.nan, math.nan
    low, high = totals.tallies.extremes.view(np.float64).tolist()
    return low, high


def unit_stats(totals: Totals, units: Units, clusters: Clusters | None) -> UnitStats:
    """Read the loss per unit, in nats."""
    sums = totals.tallies.sums[tally.WEIGHTED_LOSS if totals.spec.reads_weight else tally.LOSS]
    count = exact.to_fraction(units.sum)
    loss = stderr = math.nan
    if count and not poisoned(totals):
        loss = exact.rounded_mean(sums, count)
        stderr = units.stderr(sums) if clusters is None else clusters.stderr_per_unit()
    ci95 = (loss - Z95 * stderr, loss + Z95 * stderr)
    return UnitStats(units.column, float(count), loss, BITS.of(loss), safe_exp(loss), stderr, ci95, BITS.of(ci95))


def _spread(totals: Totals) -> tuple[float, float]:
    """Unbiased variance of the row losses, and the standard error of their (weighted) mean."""
    sums, n = totals.tallies.sums, num_scored(totals)
    if poisoned(totals):
        return math.nan, math.nan
    moments = exact.moments(sums[tally.LOSS], sums[tally.SQUARE])
    if not totals.spec.reads_weight or not math.isfinite(moments.variance):
        return moments.variance, math.sqrt(moments.variance / n) if n else math.nan
    if not math.isfinite(exact.rounded_sum(sums[tally.WEIGHTED_SQUARE])):
        return moments.variance, math.nan
    w, y, ww, wy, yy = (
        exact.to_fraction(sums[row])
        for row in (tally.WEIGHT, tally.WEIGHTED_LOSS, tally.WEIGHT_SQUARE, tally.CROSS, tally.WEIGHTED_SQUARE)
    )
    if not w or n < 2:
        return moments.variance, math.nan
    # Ratio estimator: sum of (y_i - mu w_i)^2, with mu = Y / W.
    squares = max((w * w * yy - 2 * y * w * wy + y * y * ww) / (w * w), Fraction(0))
    return moments.variance, math.sqrt(float(Fraction(n, n - 1) * squares / (w * w)))


def cell_edges(cells: Any, level: int = 0) -> tuple[Any, Any]:
    """Lower and upper edges of cells of the histogram; each bin stands for 2^level that begin with it."""
    cells = np.asarray(cells, np.int64)
    inner = np.clip(cells - 1, 0, tally.BINS)
    end = np.minimum(inner + (1 << level), np.where(inner < tally.BINS, tally.BINS, tally.BINS + 1))
    low, high = (((at + tally.LOWEST) << tally.SHIFT).view(np.float64) for at in (inner, end))
    low = np.where(cells == 0, 0.0, np.where(cells > tally.BINS + 1, math.inf, low))
    return low, np.where(cells == 0, 2.0**-64, np.where(cells > tally.BINS, math.inf, high))


def quantile(tallies: Tallies, q: float, low: float, high: float, level: int = 0) -> Quantile:
    """The smallest bin (of 2^level cells) that q n rows do not exceed; its edges are met by the extremes."""
    counts = np.cumsum(tallies.histogram)
    n = int(counts[-1])
    if n == 0:
        return Quantile(math.nan, math.nan, math.nan)
    cell = int(np.searchsorted(counts, max(1, math.ceil(q * n))))
    left, right = (float(edge) for edge in cell_edges(cell, level))
    left, right = max(left, low), min(right, high)
    return Quantile(left if left == right else 0.5 * (left + right), left, right)


def histogram_table(tallies: Tallies, per_octave: int) -> Any:
    """Rows by loss, as an Arrow table: low, high, count; empty bins at either end are left out."""
    import pyarrow as pa

    wide = 128 // per_octave
    cells = np.arange(tally.HISTOGRAM)
    inner = (cells >= 1) & (cells <= tally.BINS)
    number = np.where(inner, 1 + (cells - 1) // wide, np.where(cells == 0, 0, tally.BINS // wide + cells - tally.BINS))
    counts = np.zeros(int(number[-1]) + 1, np.int64)
    np.add.at(counts, number, tallies.histogram)
    starts = run_starts(number)
    low = cell_edges(cells[starts])[0]
    high = np.concatenate((low[1:], [math.inf]))
    used = np.flatnonzero(counts)
    span = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0)
    return pa.table({"low": low[span], "high": high[span], "count": counts[span]})
