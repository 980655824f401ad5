"""From the integers of groups to the columns of their table."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from fastxent.kernels import groups as kernels
from fastxent.spec import Spec
from fastxent.statistics.groupparts import GroupedClasses, GroupedClusters, GroupedLosses, GroupedScores
from fastxent.statistics.groupsums import GroupSums
from fastxent.statistics.loss import Z95, safe_exp
from fastxent.statistics.shares import effective_rows, wilson
from fastxent.statistics.statistic import FIXED_BITS
from fastxent.unit import BITS

__all__ = ["IN_NATS", "QUANTILES", "TOP_K", "group_columns"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TOP_K = (3, 5, 10)
#: The columns that are in the unit of losses; "bits" are bits whatever it is, and a "variance" is in its square.
IN_NATS = (
    "loss", "sum", "stderr", "ci_low", "ci_high", "std", "min", "max", "loss_per_unit", "stderr_per_unit", "entropy",
    *(f"q{100 * q:02.0f}{end}" for q in QUANTILES for end in ("", "_low", "_high")),
)  # fmt: skip

Columns = dict[str, Any]


def group_columns(sums: GroupSums, spec: Spec, count: int) -> Columns:
    """The statistics of ``count`` groups, each rounded once; they are named, and mean, what those of all rows do.

    Sums are in the order of the groups, which each have a row.
    """
    read = _Reader(sums, spec, count)
    found = read.counts() | read.losses() | read.spread() | read.units()
    if "classes" in sums.parts:
        found |= read.classes(found["loss"]) | read.accuracy()
    found |= read.brier()
    if sums.layout.told:
        found |= read.calibration()
    return found | read.ranking()


class _Reader:
    """Sums as Python integers, in units of 2^-62."""

    def __init__(self, sums: GroupSums, spec: Spec, count: int) -> None:
        self._sums, self._spec, self._groups = sums, spec, count
        self._layout, self._cells, self._weighted = sums.layout, sums.cells, spec.reads_weight
        self._count = self._cells[:, kernels.COUNT].astype(object)
        self._total = self._pair(self._layout.weight) if self._weighted else self._count << FIXED_BITS
        self._light = self._cells[:, kernels.HEAVY] == 0
        self._small = self._light & (self._cells[:, kernels.LARGE] == 0)
        self._numbers = np.arange(count)
        clusters = cast(GroupedClusters | None, sums.parts.get("clusters"))
        self._clusters = None if clusters is None else clusters.read(self._numbers, count)

    def _pair(self, column: int) -> NDArray[Any]:
        return (self._cells[:, column].astype(object) << FIXED_BITS) + self._cells[:, column + 1]

    def _mean(self, column: int) -> list[float]:
        return _ratio(self._pair(column), self._total, self._light)

    def counts(self) -> Columns:
        """Rows, their weight, and the clusters they are in."""
        found: Columns = {"count": self._count.tolist()}
        if self._weighted:
            found["weight"] = [value / (1 << FIXED_BITS) for value in self._total]
        return found | ({} if self._clusters is None else {"clusters": self._clusters[0]})

    def losses(self) -> Columns:
        """The mean with its error and interval, and what it is the same as."""
        means = _ratio(self._pair(kernels.LOSS), self._total, self._small)
        loss = [math.inf if light and not small else mean
                for mean, light, small in zip(means, self._light, self._small, strict=True)]  # fmt: skip
        stderr = self._stderr() if self._clusters is None else self._clusters[1]
        both = list(zip(loss, stderr, strict=True))
        return {
            "loss": loss,
            "stderr": stderr,
            "ci_low": [mean - Z95 * error for mean, error in both],
            "ci_high": [mean + Z95 * error for mean, error in both],
            "perplexity": list(map(safe_exp, loss)),
            "bits": list(map(BITS.of, loss)),
        }

    def _stderr(self) -> list[float]:
        n, total, loss, square = self._count, self._total, self._pair(kernels.LOSS), self._pair(kernels.SQUARE)
        if self._weighted:
            ww, wy = self._pair(self._layout.weight + 2), self._pair(self._layout.weight + 4)
            above = n * (total * total * square - 2 * loss * total * wy + loss * loss * ww) << FIXED_BITS
            return _roots(above, total**4 * (n - 1), self._small)
        return _roots((n * square << FIXED_BITS) - loss * loss, total * total * (n - 1), self._small)

    def spread(self) -> Columns:
        """Deviation, extremes and quantiles with their cells; every row counts once."""
        at = self._layout.weight + 6 if self._weighted else kernels.LOSS
        loss, square, n = self._pair(at), self._pair(at + 2), self._count
        variance = (n * square << FIXED_BITS) - loss * loss, n * (n - 1) << 2 * FIXED_BITS
        low, high = np.ascontiguousarray(self._sums.extremes.T).view(np.float64)
        found: Columns = {"std": _roots(*variance, self._small), "min": low, "max": high}
        histograms = cast(GroupedLosses, self._sums.parts["losses"])
        for q, ends in zip(QUANTILES, histograms.quantiles(QUANTILES, self._numbers, low, high), strict=True):
            name = f"q{100 * q:02.0f}"
            found |= zip((name, f"{name}_low", f"{name}_high"), ends, strict=True)
        return found

    def units(self) -> Columns:
        """The loss by unit, and the mean entropy, where they were asked for."""
        found: Columns = {}
        if self._layout.units >= 0:
            fine = self._small & (self._cells[:, kernels.MANY] == 0)
            units = self._pair(self._layout.units)
            found["units"] = [v / (1 << FIXED_BITS) if good else math.nan for v, good in zip(units, fine, strict=True)]
            found["loss_per_unit"] = each = _ratio(self._pair(kernels.LOSS), units, fine)
            found["bits_per_unit"] = list(map(BITS.of, each))
        return found | ({"entropy": self._mean(self._layout.entropy)} if self._layout.entropy >= 0 else {})

    def classes(self, loss: Sequence[float]) -> Columns:
        """D2, and means over classes."""
        found = cast(GroupedClasses, self._sums.parts["classes"]).read(self._numbers, self._groups)
        base, spec = found.pop("base"), self._spec
        plain = spec.loss == "cross_entropy" and not spec.soft
        if plain and spec.label_smoothing == 0.0 and spec.pos_weight is None:
            found = {"d2": [_d2(mean, entropy) for mean, entropy in zip(loss, base, strict=True)]} | found
        return dict(found)

    def accuracy(self) -> Columns:
        """Accuracy with its interval, top-k accuracies, mean reciprocal rank."""
        layout = self._layout
        ranks = [self._pair(layout.ranks + 2 * rank) for rank in range(layout.told)]
        shares = _ratio(ranks[0], self._total, self._light)
        intervals = [wilson(share, rows) for share, rows in zip(shares, self._effective(shares), strict=True)]
        found: Columns = {
            "accuracy": shares,
            "accuracy_low": [low for low, _ in intervals],
            "accuracy_high": [high for _, high in intervals],
        }
        if self._spec.task == "multiclass":
            found |= {
                f"top{k}": _ratio(sum(ranks[1:k], ranks[0]), self._total, self._light)
                for k in TOP_K if k < self._spec.num_classes
            }  # fmt: skip
            found["mrr"] = self._mean(layout.reciprocal)
        return found

    def _effective(self, shares: list[float]) -> list[float]:
        """The rows that an interval of a share rests on."""
        rows = list(map(float, self._count))
        if self._weighted:
            squares = self._pair(self._layout.weight + 2) << FIXED_BITS
            rows = _ratio(self._total * self._total, squares, self._light)
        if self._clusters is None:
            return rows
        clusters, _, errors = self._clusters
        return list(map(effective_rows, shares, errors, rows, clusters.tolist()))

    def brier(self) -> Columns:
        """The Brier score."""
        return {"brier": self._mean(self._layout.brier)} if self._layout.brier >= 0 else {}

    def calibration(self) -> Columns:
        """Calibration errors over 15 equal bins."""
        found: dict[str, list[float]] = {"ece": [], "mce": [], "rmsce": []}
        gaps, bins = ([self._pair(at + 2 * b) for b in range(kernels.BINS)]
                      for at in (self._layout.gaps, self._layout.bins))  # fmt: skip
        for group, (total, light) in enumerate(zip(self._total, self._light, strict=True)):
            used = [(abs(gap[group]), weight[group]) for gap, weight in zip(gaps, bins, strict=True) if weight[group]]
            good = light and total > 0
            found["ece"].append(sum(gap for gap, _ in used) / total if good else math.nan)
            found["mce"].append(max(gap / weight for gap, weight in used) if good else math.nan)
            squares = math.fsum(gap * gap / weight for gap, weight in used) if good else math.nan
            found["rmsce"].append(math.sqrt(squares / total) if good else math.nan)
        return dict(found)

    def ranking(self) -> Columns:
        """ROC AUC and average precision with their bounds, where they were asked for."""
        scores = cast(GroupedScores | None, self._sums.parts.get("scores"))
        if scores is None:
            return {}
        found: dict[str, list[float]] = {}
        for ranking, light in zip(scores.read(self._numbers, self._groups), self._light, strict=True):
            for name in ("auc", "average_precision"):
                area = getattr(ranking, name)
                for end, value in (("", area.value), ("_low", area.low), ("_high", area.high)):
                    found.setdefault(name + end, []).append(value if light else math.nan)
        return dict(found)


def _ratio(part: Any, whole: Any, fine: Any) -> list[float]:
    return [a / b if good and b else math.nan for a, b, good in zip(part, whole, fine, strict=True)]


def _roots(part: Any, whole: Any, fine: Any) -> list[float]:
    return [math.sqrt(value) for value in _ratio(np.maximum(part, 0), whole, fine)]


def _d2(loss: float, base: float | None) -> float | None:
    if base is None:
        return None
    return 1.0 - loss / base if base > 0.0 else math.nan
