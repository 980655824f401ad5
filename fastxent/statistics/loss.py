"""The mean loss: its standard error and interval, and what it is the same as."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.log_unit import BITS
from fastxent.base.text import printable
from fastxent.data.spec import Spec
from fastxent.statistics.clusters import Clusters, ClusterStats
from fastxent.statistics.field import Field
from fastxent.statistics.intervals import mean_intervals, ratio_error
from fastxent.statistics.laws import Law, amount, moments
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.spread import Quantile, infinite_losses, quantiles_of
from fastxent.statistics.statistic import Statistic
from fastxent.statistics.sums import Exact

__all__ = ["Loss", "LossStats", "error_text", "independent", "loss_stats", "safe_exp"]

#: The exact sums of weights x, weighted losses y, and their products.
_WEIGHTED = ("weight", "weighted_loss", "weight_square", "cross", "weighted_square")


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


class Loss(Statistic):
    """Mean loss, sum, standard error with interval, perplexity, bits."""

    name = "loss"

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        return cls()

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        error = (
            Field("stderr", "standard error", 1, narrow=True),
            Field("ci_low", "95 % from", 1), Field("ci_high", "95 % to", 1),
        )  # fmt: skip
        return (
            Field("loss", "loss", 1, narrow=True), Field("sum", "total loss", 1),
            *(error if "spread" in reading.statistics else ()),
            Field("perplexity", "perplexity"), Field("bits", "bits"),
        )  # fmt: skip

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        loss = reading.total_loss.over(reading.total_weight)
        values = {
            "loss": loss,
            "sum": reading.total_loss.rounded,
            "perplexity": np.array(list(map(safe_exp, loss.tolist()))),
            "bits": BITS.of(loss),
        }
        if "variance" in reading:
            error = _standard_error(reading)
            low, high = mean_intervals(loss, error, independent(reading))
            values |= {"stderr": error, "ci_low": low, "ci_high": high}
        return values

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`: sums of losses, their squares, and with weights those of both."""
        names = ("loss", "square", "weighted_loss", "cross", "weighted_square")
        for name in filter(reading.has_exact, names):
            yield f"the sum of the losses ({name}) is below 0 or no number", amount(reading.exact(name))
        low, high = reading.sums.extremes if "spread" in reading.statistics else np.full((2, reading.owners), np.nan)
        count, loss = Exact.of_counts(reading.counts), reading.exact("loss")
        mean = loss.over(count)
        outside = "the mean loss is not between the least and the largest"
        yield outside, (reading.counts == 0) | np.isnan(low) | ((low <= mean) & (mean <= high))
        infinite = "there are infinite losses, and the largest is finite, or the other way round"
        yield infinite, np.isnan(high) | (np.isinf(high) == np.isinf(loss.special))
        if reading.has_exact("square"):
            square = reading.exact("square")
            yield (
                "the squares of the losses are not those of such losses",
                moments(count, loss, count, loss, square, low, high),
            )
        if reading.weighted:
            # Rows of a class without weight, which are not scored, may have a share of the loss by smoothing.
            shared = reading.spec.class_weight is not None and (reading.spec.soft or reading.spec.label_smoothing > 0.0)
            low, high = (np.full_like(ends, np.nan) if shared else ends for ends in (low, high))
            x, y, xx, xy, yy = map(reading.exact, _WEIGHTED)
            yield (
                "the weighted losses are not those of such losses and weights",
                moments(x, y, xx, xy, yy, low, high) | shared,
            )

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`."""
        stats = loss_stats(reading)
        if stats is None:
            return {"loss": {"mean": reading.number("loss")}, "perplexity": reading.number("perplexity")}
        names = ("mean", "sum", "variance", "std", "stderr", "min", "max", "infinite")
        values: dict[str, Any] = {name: getattr(stats, name) for name in names}
        values |= {"bits": reading.number("bits"), "ci95": list(stats.ci95)}
        values["quantiles"] = {f"{q:g}": each.value for q, each in stats.quantiles.items()}
        values["quantile_bounds"] = {f"{q:g}": [each.low, each.high] for q, each in stats.quantiles.items()}
        values |= {} if stats.clusters is None else {"clusters": asdict(stats.clusters)}
        return {"loss": values, "perplexity": reading.number("perplexity")}

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """See `Statistic.headlines`."""
        error = reading.number("stderr") if "stderr" in reading else math.nan
        bits = f"  ({reading.number('bits'):.6g} bits)" if str(reading.unit) != "bits" and error == error else ""
        yield "loss", f"{reading.number('loss'):.6g}{error_text(error)} {reading.unit}{bits}"
        if (clusters := _clusters(reading)) is not None and "stderr" in reading:
            what = "clusters" if clusters.exact else "buckets of clusters"
            yield "error from", f"{clusters.count:,} {what} of {printable(clusters.column)}"
        yield "perplexity", f"{reading.number('perplexity'):.6g}"


def _standard_error(reading: Reading) -> NDArray[np.float64]:
    """The standard error of the (weighted) mean loss."""
    if reading.invalid:
        return reading.unknown
    if isinstance(clusters := reading.statistics.get("clusters"), Clusters):
        return clusters.error(reading, "loss")
    variance = reading.nats("variance")
    if reading.weighted:
        x, y, xx, xy, yy = map(reading.exact, _WEIGHTED)
    else:
        x, y, yy = reading.total_weight, reading.exact("loss"), reading.exact("square")
        xx, xy = x, y
    error = ratio_error(reading.counts, x, y, xx, xy, yy)
    return np.where(np.isfinite(variance), error, variance)


def independent(reading: Reading) -> NDArray[Any]:
    """How many independent parts the standard error of every owner rests on: its clusters, or its rows."""
    clusters = isinstance(reading.statistics.get("clusters"), Clusters)
    return reading.of("clusters")["clusters"] if clusters else reading.counts


def loss_stats(reading: Reading) -> LossStats | None:
    """The distribution of the losses of the only owner; None where it was not gathered."""
    if "variance" not in reading:
        return None
    names = ("loss", "sum", "variance", "std", "stderr", "ci_low", "ci_high", "min", "max")
    mean, total, variance, std, stderr, low, high, least, largest = map(reading.number, names)
    return LossStats(
        mean, total, variance, std, stderr, (low, high), least, largest, quantiles_of(reading), _clusters(reading),
        infinite_losses(reading),
    )  # fmt: skip


def _clusters(reading: Reading) -> ClusterStats | None:
    clusters = reading.statistics.get("clusters")
    return clusters.stats(reading) if isinstance(clusters, Clusters) else None


def error_text(stderr: float) -> str:
    """A standard error behind its number, if there is one."""
    return "" if math.isnan(stderr) else f" ± {stderr:.2g}"


def safe_exp(value: float) -> float:
    """Exp, infinite where it overflows."""
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
