"""Evaluation: the statistics that totals say. Floating point appears here, once, rounded from exact integers."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np

from fastxent import exact
from fastxent.faults import first_invalid, invalid_counts
from fastxent.kernels import tally
from fastxent.kernels.tally import Tallies
from fastxent.sources.leftout import LeftOut
from fastxent.spec import NUMERICS_VERSION
from fastxent.status import EXPLANATION, Status
from fastxent.totals import Totals

__all__ = ["SCHEMA", "Calibration", "ClassStats", "Evaluation", "LossStats", "Quantile", "mean_loss", "sum_of_losses"]

SCHEMA = "fastxent.evaluation/1"

#: Half-width of a central 95 % interval of the normal distribution, in standard errors.
Z95 = 1.959963984540054
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TOP_K = (1, 3, 5, 10)


def _poisoned(totals: Totals) -> bool:
    """Whether invalid rows make every mean NaN."""
    return totals.spec.on_invalid == "propagate" and bool(invalid_counts(totals))


def sum_of_losses(totals: Totals) -> float:
    """The correctly rounded sum of the (weighted) row losses; NaN if invalid rows propagate."""
    if _poisoned(totals):
        return math.nan
    row = tally.WEIGHTED_LOSS if totals.spec.reads_weight else tally.LOSS
    return exact.rounded_sum(totals.tallies.sums[row])


def mean_loss(totals: Totals) -> float:
    """The mean row loss, rounded once; with weights the weighted sum over the sum of weights; NaN of nothing."""
    if _poisoned(totals):
        return math.nan
    sums = totals.tallies.sums
    if totals.spec.reads_weight:
        weight = exact.to_fraction(sums[tally.WEIGHT])
        return exact.rounded_mean(sums[tally.WEIGHTED_LOSS], weight) if weight else math.nan
    return exact.rounded_mean(sums[tally.LOSS])


def _scored(totals: Totals) -> int:
    return int(totals.tallies.rows[Status.SCORED])


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile of the losses: the middle of its bin, and the bin, which surely holds it."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LossStats:
    """The distribution of the row losses, in nats. ``std`` and ``stderr`` are NaN below two rows."""

    mean: float
    sum: float
    std: float
    stderr: float
    ci95: tuple[float, float]
    min: float
    max: float
    quantiles: dict[float, Quantile]


@dataclass(frozen=True, slots=True)
class Calibration:
    """How confidence and accuracy agree, over equal-width bins of the confidence.

    ``bins`` rows are (low edge, high edge, rows, mean confidence, accuracy); a confidence on an edge
    belongs to the bin above, 1 to the last bin. Empty bins have NaN means.
    """

    ece: float
    mce: float
    rmsce: float
    bins: tuple[tuple[float, float, int, float, float], ...]


@dataclass(frozen=True, slots=True)
class ClassStats:
    """One class: rows that have it as target, their mean loss, and precision, recall and F1 of predicting it."""

    name: str
    support: int
    mean_loss: float
    precision: float
    recall: float
    f1: float


@dataclass(slots=True)
class Evaluation:
    """The result of an evaluation.

    Means and sums are those of the exact numbers, rounded once. ``loss`` is in nats. Statistics that
    were not gathered are None here and absent from `to_dict`.
    """

    totals: Totals
    run: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """Mean cross-entropy of the scored rows."""
        return mean_loss(self.totals)

    @property
    def perplexity(self) -> float:
        """Exp of the mean loss."""
        try:
            return math.exp(self.loss)
        except OverflowError:
            return math.inf

    @property
    def num_rows(self) -> int:
        """Rows that were scored."""
        return _scored(self.totals)

    @property
    def accuracy(self) -> float | None:
        """Share of rows whose predicted class (the first maximum) is the target; weighted with weights."""
        return None if not self._has_scores else self._top(1)

    @property
    def _has_scores(self) -> bool:
        return self.totals.measures.scores

    def _top(self, k: int) -> float:
        totals = self.totals
        if self.num_rows == 0:
            return math.nan
        if k == 1 and totals.spec.reads_weight:
            weight = exact.to_fraction(totals.tallies.sums[tally.WEIGHT])
            hits = exact.to_fraction(totals.tallies.sums[tally.WEIGHTED_CORRECT])
            return float(hits / weight) if weight else math.nan
        return int(totals.tallies.ranks[:k].sum()) / self.num_rows

    @property
    def top_k(self) -> dict[int, float]:
        """Accuracy of the first k classes, for the usual k below the number of classes."""
        if not self._has_scores or self.totals.spec.task != "multiclass":
            return {}
        return {k: self._top(k) for k in TOP_K if k == 1 or k < self.totals.spec.num_classes}

    @property
    def brier(self) -> float | None:
        """Mean squared distance between probabilities and target (summed over classes; binary: (p - y)^2)."""
        if not self._has_scores:
            return None
        sums = self.totals.tallies.sums
        if self.totals.spec.reads_weight:
            weight = exact.to_fraction(sums[tally.WEIGHT])
            return exact.rounded_mean(sums[tally.WEIGHTED_BRIER], weight) if weight else math.nan
        return exact.rounded_mean(sums[tally.BRIER])

    @property
    def loss_stats(self) -> LossStats | None:
        """Spread, extremes and quantiles of the row losses."""
        tallies = self.totals.tallies
        if not self.totals.measures.spread:
            return None
        mean = self.loss
        variance, stderr = _spread(self.totals)
        low, high = (float(np.int64(bits).view(np.float64)) if self.num_rows else math.nan for bits in tallies.extremes)
        return LossStats(
            mean=mean,
            sum=sum_of_losses(self.totals),
            std=math.sqrt(variance),
            stderr=stderr,
            ci95=(mean - Z95 * stderr, mean + Z95 * stderr),
            min=low,
            max=high,
            quantiles={q: _quantile(tallies, q, low, high) for q in QUANTILES},
        )

    @property
    def calibration(self) -> Calibration | None:
        """Expected, maximum and root-mean-square calibration error over 15 equal bins."""
        return self.calibrate(15) if self.totals.tallies.calibration.size else None

    def calibrate(self, bins: int) -> Calibration:
        """Calibration over another number of equal bins, which must divide 3600.

        Raises:
            ValueError: ``bins`` does not divide the number of cells.
        """
        cells = self.totals.tallies.calibration
        if bins < 1 or tally.CELLS % bins:
            raise ValueError(f"bins: expected a divisor of {tally.CELLS}, got {bins}")
        grouped = cells.reshape(bins, -1, 4).astype(object).sum(axis=1)
        rows = []
        gaps: list[tuple[int, Fraction]] = []
        for i, (count, hits, high, low) in enumerate(grouped):
            confidence = Fraction(int(high)) + Fraction(int(low), tally.FIXED_ONE)
            gaps.append((int(count), abs(confidence - int(hits))))
            means = (float(confidence / int(count)), int(hits) / int(count)) if count else (math.nan, math.nan)
            rows.append((i / bins, (i + 1) / bins, int(count), *means))
        n = self.num_rows
        filled = [(count, gap) for count, gap in gaps if count]
        return Calibration(
            ece=float(sum((gap for _, gap in filled), Fraction(0)) / n) if n else math.nan,
            mce=float(max((gap / count for count, gap in filled), default=Fraction(0))) if n else math.nan,
            rmsce=math.sqrt(sum((gap * gap / count for count, gap in filled), Fraction(0)) / n) if n else math.nan,
            bins=tuple(rows),
        )

    @property
    def per_class(self) -> tuple[ClassStats, ...] | None:
        """Support, mean loss, precision, recall and F1 of every class."""
        classes = self.totals.tallies.classes
        if not classes.size:
            return None
        names = self.totals.spec.class_names or tuple(map(str, range(len(classes))))
        return tuple(_class_stats(name, row) for name, row in zip(names, classes, strict=True))

    @property
    def confusion(self) -> np.ndarray[Any, np.dtype[np.int64]] | None:
        """Rows by target class (first axis) and predicted class; None where it was not gathered."""
        return self.totals.tallies.confusion if self.totals.tallies.confusion.size else None

    @property
    def rows(self) -> dict[str, Any]:
        """Rows read, scored, ignored, and invalid by cause."""
        counts = self.totals.tallies.rows
        return {
            "read": int(counts.sum()),
            "scored": self.num_rows,
            "ignored": int(counts[Status.IGNORED]),
            "invalid": {status.name.lower(): n for status, n in invalid_counts(self.totals).items()},
        }

    @property
    def first_invalid(self) -> dict[str, int]:
        """The number (from 0, over the whole source) of the first row of every cause of invalidity."""
        return {status.name.lower(): row for status, row in first_invalid(self.totals).items()}

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values under stable names; statistics that were not gathered are absent."""
        spec = {"num_classes": self.totals.spec.num_classes, "task": self.totals.spec.task} | self.totals.spec.to_dict()
        result: dict[str, Any] = {"schema": SCHEMA, "spec": spec, "rows": self.rows}
        stats = self.loss_stats
        result["loss"] = {"mean": self.loss} if stats is None else _loss_dict(stats)
        if self.totals.spec.reads_weight:
            result["weight_sum"] = exact.rounded_sum(self.totals.tallies.sums[tally.WEIGHT])
        result["perplexity"] = self.perplexity
        if self.accuracy is not None:
            result["accuracy"] = {f"top{k}": value for k, value in (self.top_k or {1: self.accuracy}).items()}
            result["brier"] = self.brier
        if (calibration := self.calibration) is not None:
            result["calibration"] = {
                "ece": calibration.ece,
                "mce": calibration.mce,
                "rmsce": calibration.rmsce,
                "bins": [list(row) for row in calibration.bins],
            }
        if (per_class := self.per_class) is not None:
            result["per_class"] = [
                {name: getattr(row, name) for name in ClassStats.__dataclass_fields__} for row in per_class
            ]
        if self.first_invalid:
            result["first_invalid"] = self.first_invalid
        if self.left_out:
            result["left_out"] = [left.to_dict() for left in self.left_out]
        return result | {"warnings": self.warnings, "run": {**self.run, "numerics_version": NUMERICS_VERSION}}

    def to_json(self, *, indent: int | None = 2) -> str:
        """`to_dict` as JSON text; floats read back to the same bits, NaN and infinities as strings."""
        return json.dumps(_finite(self.to_dict()), indent=indent, allow_nan=False, ensure_ascii=False)

    def __repr__(self) -> str:
        parts = [f"loss={self.loss:.6g}"]
        if self.accuracy is not None:
            parts.append(f"accuracy={self.accuracy:.6g}")
        return f"Evaluation({', '.join(parts)}, rows={self.num_rows:,})"


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities: they become the strings "NaN", "Infinity" and "-Infinity"."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value


def _loss_dict(stats: LossStats) -> dict[str, Any]:
    return {
        "mean": stats.mean,
        "sum": stats.sum,
        "std": stats.std,
        "stderr": stats.stderr,
        "ci95": list(stats.ci95),
        "min": stats.min,
        "max": stats.max,
        "quantiles": {f"{q:g}": quantile.value for q, quantile in stats.quantiles.items()},
    }


def _spread(totals: Totals) -> tuple[float, float]:
    """Unbiased variance of the row losses, and the standard error of their (weighted) mean."""
    sums, n = totals.tallies.sums, _scored(totals)
    if _poisoned(totals):
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


def _quantile(tallies: Tallies, q: float, low: float, high: float) -> Quantile:
    """The smallest bin that q n rows do not exceed; its edges are met by the extremes."""
    counts = np.cumsum(tallies.histogram)
    n = int(counts[-1])
    if n == 0:
        return Quantile(math.nan, math.nan, math.nan)
    cell = int(np.searchsorted(counts, max(1, math.ceil(q * n))))
    if cell == 0:
        left, right = 0.0, 2.0**-64
    elif cell > tally.BINS:
        left, right = (2.0**20, math.inf) if cell == tally.BINS + 1 else (math.inf, math.inf)
    else:
        edges = (np.arange(2, dtype=np.int64) + (cell - 1 + tally.LOWEST)) << tally.SHIFT
        left, right = (float(edge) for edge in edges.view(np.float64))
    left, right = max(left, low), min(right, high)
    return Quantile(left if left == right else 0.5 * (left + right), left, right)


def _class_stats(name: str, row: Any) -> ClassStats:
    support, correct, predicted, high, low, infinite = (int(value) for value in row)
    total = Fraction(high) + Fraction(low, tally.FIXED_ONE)
    recall = correct / support if support else math.nan
    precision = correct / predicted if predicted else math.nan
    return ClassStats(
        name=name,
        support=support,
        mean_loss=math.nan if not support else math.inf if infinite else float(total / support),
        precision=precision,
        recall=recall,
        f1=2 * correct / (support + predicted) if support + predicted else math.nan,
    )


def describe_invalid(status: Status) -> str:
    """What is wrong with rows of this status, in words."""
    return EXPLANATION[status][0]
