"""Reading what groups keep: every statistic of all groups at once, as columns of one table."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fastxent.base.log_unit import BITS
from fastxent.data.spec import Spec
from fastxent.kernels.sums import tally
from fastxent.statistics.calibration import BrierParts
from fastxent.statistics.groupbins import Parts
from fastxent.statistics.groupcells import GroupedCalibration
from fastxent.statistics.groupclasses import GroupedClasses
from fastxent.statistics.groupclasswise import GroupedClasswise
from fastxent.statistics.groupclusters import GroupedClusters
from fastxent.statistics.groupparts import GroupedLosses, GroupedRanks
from fastxent.statistics.groupscores import GroupedScores
from fastxent.statistics.loss import Z95, safe_exp
from fastxent.statistics.shares import effective_rows, wilsons
from fastxent.statistics.statistic import FIXED_BITS, predicts_class
from fastxent.statistics.temperature import GRID, best_of

if TYPE_CHECKING:
    from fastxent.statistics.groupsums import GroupSums
    from fastxent.statistics.groupvalues import GroupValues

__all__ = ["IN_NATS", "QUANTILES", "TOP_K", "group_columns"]

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
TOP_K = (3, 5, 10)
#: The columns that are in the unit of losses; "bits" are bits whatever it is, and a "variance" is in its square.
IN_NATS = (
    "loss", "sum", "stderr", "ci_low", "ci_high", "std", "min", "max", "loss_per_unit", "stderr_per_unit", "entropy",
    "temperature_loss", "temperature_gain",
    *(f"q{100 * q:02.0f}{end}" for q in QUANTILES for end in ("", "_low", "_high")),
)  # fmt: skip

#: Integers below are float64 numbers, whose quotient is rounded once.
_EXACT = 1 << 53

Columns = dict[str, Any]
Integers = NDArray[Any]


def group_columns(sums: GroupSums, values: GroupValues, spec: Spec, order: NDArray[np.int64]) -> Columns:
    """The statistics of groups, of which each has a row, in an order of their numbers.

    They are named, and mean, what those of all rows do.
    """
    read = _Reader(sums, values, spec, order)
    found = read.counts() | read.losses() | read.spread() | read.units() | read.entropy()
    found |= read.temperature(found["loss"])
    if predicts_class(spec):
        found |= read.classes(found["loss"]) | read.accuracy()
    found |= read.brier()
    if "cells" in sums.parts:
        found |= read.calibration()
    return found | read.classwise() | read.ranking()


class _Reader:
    """Exact sums as Python integers in units of 2^-bits, and whether (``special`` is 0) they are all there is."""

    def __init__(self, sums: GroupSums, values: GroupValues, spec: Spec, order: NDArray[np.int64]) -> None:
        self._parts, self._extremes = sums.parts, sums.extremes[order]
        self._values, self._spec, self._groups, self._weighted = values, spec, len(order), spec.reads_weight
        self._count = sums.counts[order].astype(object)
        self._all, self._order = sums, order
        found = sums.totals(range(values.temperature if values.temperature >= 0 else values.count))
        self._sums, self._special, self._bits = [s[order] for s in found.sums], found.special[:, order], found.bits
        self._total = self._sums[tally.WEIGHT] if self._weighted else self._count << self._bits
        self._loss = tally.WEIGHTED_LOSS if self._weighted else tally.LOSS
        self._numbers = sums.places(order)
        clusters = cast(GroupedClusters | None, sums.parts.get("clusters"))
        self._clusters: NDArray[np.int64] | None = None
        self._errors: dict[str, NDArray[np.float64]] = {}
        if clusters is not None:
            self._clusters, self._errors = clusters.read(self._numbers, self._groups)

    def _mean(self, which: int, whole: Integers | None = None) -> NDArray[np.float64]:
        return _ratio(self._sums[which], self._total if whole is None else whole, self._special[which])

    def counts(self) -> Columns:
        """Rows, their weight, and the clusters they are in."""
        found: Columns = {"count": self._count.astype(np.int64)}
        if self._weighted:
            found["weight"] = _ratio(self._total, np.full(self._groups, 1 << self._bits, object))
        return found | ({} if self._clusters is None else {"clusters": self._clusters})

    def losses(self) -> Columns:
        """The mean with its error and interval, and what it is the same as."""
        loss = self._mean(self._loss)
        stderr = self._errors["loss"] if "loss" in self._errors else self._stderr()
        one = np.full(self._groups, 1 << self._bits, object)
        with np.errstate(invalid="ignore"):
            return {
                "loss": loss,
                "sum": _ratio(self._sums[self._loss], one, self._special[self._loss]),
                "stderr": stderr,
                "ci_low": loss - Z95 * stderr,
                "ci_high": loss + Z95 * stderr,
                "perplexity": list(map(safe_exp, loss.tolist())),
                "bits": BITS.of(loss),
            }

    @cached_property
    def _variance(self) -> NDArray[np.float64]:
        n, total, square = self._count, self._sums[tally.LOSS], self._sums[tally.SQUARE]
        above = np.maximum(((n * square) << self._bits) - total * total, 0)
        found = _ratio(above, n * (n - 1) << 2 * self._bits)
        many = (self._count > 1) & (self._special[tally.LOSS] == 0.0)
        return np.where(many, np.where(np.isinf(self._special[tally.SQUARE]), math.inf, found), math.nan)

    def _stderr(self) -> NDArray[np.float64]:
        variance = self._variance
        if not self._weighted:
            return np.sqrt(variance / self._count.astype(np.float64))
        n, w, (y, ww, wy, yy) = self._count, self._total, (
            self._sums[i] for i in (self._loss, tally.WEIGHT_SQUARE, tally.CROSS, tally.WEIGHTED_SQUARE)
        )  # fmt: skip
        above = np.maximum(n * (w * w * yy - 2 * y * w * wy + y * y * ww), 0)
        fine = np.isfinite(variance) & np.isfinite(self._special[tally.WEIGHTED_SQUARE])
        squares = _ratio(above << self._bits, (n - 1) * w**4)
        return np.where(fine, np.sqrt(squares), np.where(np.isinf(variance), math.inf, math.nan))

    def spread(self) -> Columns:
        """Variance, deviation, extremes and quantiles with their cells; every row counts once."""
        low, high = np.ascontiguousarray(self._extremes.T).view(np.float64)
        variance = self._variance
        found: Columns = {"variance": variance, "std": np.sqrt(variance), "min": low, "max": high}
        histograms = cast(GroupedLosses, self._parts["losses"])
        for q, ends in zip(QUANTILES, histograms.quantiles(QUANTILES, self._numbers, low, high), strict=True):
            name = f"q{100 * q:02.0f}"
            found |= zip((name, f"{name}_low", f"{name}_high"), ends, strict=True)
        return found

    def units(self) -> Columns:
        """The loss by unit with its standard error, where it was asked for."""
        at = self._values.units
        if at < 0:
            return {}
        one = np.full(self._groups, 1 << self._bits, object)
        each = self._mean(self._loss, self._sums[at])
        return {
            "units": _ratio(self._sums[at], one, self._special[at]),
            "loss_per_unit": each,
            "bits_per_unit": BITS.of(each),
            "stderr_per_unit": self._errors["unit"] if "unit" in self._errors else self._stderr_per_unit(),
        }

    def _stderr_per_unit(self) -> NDArray[np.float64]:
        n, y = self._count, self._sums[self._loss]
        x, xx, xy, yy = (self._sums[self._values.units + i] for i in range(4))
        above = np.maximum(n * (x * x * yy - 2 * x * y * xy + y * y * xx), 0)
        special = self._special[self._values.units + 3]
        squares = _ratio(above << self._bits, (n - 1) * x**4, np.where(np.isfinite(special), 0.0, math.nan))
        return np.sqrt(squares)

    def entropy(self) -> Columns:
        """The mean entropy of the predictions, where it was asked for."""
        at = self._values.entropy
        return {} if at < 0 else {"entropy": self._mean(at, self._sums[at + 1])}

    def temperature(self, loss: NDArray[np.float64]) -> Columns:
        """The best temperature and its loss, if they were asked for; read one by one, for Python integers are large."""
        at = self._values.temperature
        if at < 0:
            return {}
        losses = np.empty((len(GRID), self._groups))
        for i in range(len(GRID)):
            (sums,), special, _ = self._all.totals(range(at + i, at + i + 1))
            losses[i] = _ratio(sums[self._order], self._total, special[0, self._order])
        best = best_of(losses)
        least = losses[best, np.arange(self._groups)]
        return {
            "temperature_best": np.array(GRID)[best],
            "temperature_loss": least,
            "temperature_gain": loss - least,
        }

    def classes(self, loss: NDArray[np.float64]) -> Columns:
        """Normalized entropy and D2, and means over classes."""
        found = cast(GroupedClasses, self._parts["classes"]).means(self._numbers, self._groups)
        base, spec = found.pop("base"), self._spec
        plain = spec.definition.is_log_loss and not spec.soft
        if plain and spec.label_smoothing == 0.0 and spec.pos_weight is None:
            if base is None:
                relative = d2 = [None] * self._groups
            else:
                relative = np.divide(loss, base, out=np.full(self._groups, math.nan), where=base > 0.0)
                d2 = 1.0 - relative
            found = {"normalized_entropy": relative, "d2": d2} | found
        return dict(found)

    def accuracy(self) -> Columns:
        """Accuracy with its interval, top-k accuracies, mean reciprocal rank."""
        ranks = cast(GroupedRanks, self._parts["ranks"])
        ks = [k for k in (1, *TOP_K) if k == 1 or (k < self._spec.num_classes and self._spec.task == "multiclass")]
        first, whole = ranks.of_first(self._numbers, self._groups, ks)
        whole = self._if_all(whole, FIXED_BITS)
        shares = _ratio(first[1], whole)
        low, high = wilsons(shares, self._effective(shares))
        found: Columns = {"accuracy": shares, "accuracy_low": low, "accuracy_high": high}
        found |= {f"top{k}": _ratio(first[k], whole) for k in ks[1:]}
        return found | ({"mrr": self._mean(self._values.reciprocal)} if self._values.reciprocal >= 0 else {})

    def _if_all(self, weight: Integers, bits: int, here: Any = slice(None)) -> Integers:
        """Weights in units of 2^-bits; 0 in groups where some were too large to be among them."""
        if not self._weighted:
            return weight
        spare = self._count[here] << (self._bits - FIXED_BITS)
        return np.where(self._total[here] - (weight << (self._bits - bits)) <= spare, weight, 0)

    def _effective(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """The rows that an interval of a share rests on."""
        rows = self._count.astype(np.float64)
        if self._weighted:
            squares = self._sums[tally.WEIGHT_SQUARE]
            rows = np.nan_to_num(_ratio(self._total * self._total, squares << self._bits), nan=0.0, posinf=math.inf)
        if self._clusters is None:
            return rows
        each = (shares.tolist(), self._errors["accuracy"].tolist(), rows.tolist(), self._clusters.tolist())
        return np.array(list(map(effective_rows, *each)), np.float64)

    def brier(self) -> Columns:
        """The Brier score."""
        if self._values.tallied <= tally.BRIER or not self._spec.definition.predicts_class:
            return {}
        return {"brier": self._mean(tally.WEIGHTED_BRIER if self._weighted else tally.BRIER)}

    def calibration(self) -> Columns:
        """Calibration errors over 15 equal bins; binary: over them the parts of the Brier score too."""
        bins = cast(GroupedCalibration, self._parts["cells"]).bins(self._numbers)
        weight = bins.floats(bins.weight)
        if not (used := weight > 0.0).all():
            bins, weight = bins.only(used), weight[used]
        groups, gap = bins.owners, bins.gap
        hits, size = bins.floats(bins.hits), bins.floats(gap)
        starts = np.searchsorted(groups, np.arange(self._groups))
        some = np.diff(np.append(starts, len(groups))) > 0

        def summed(values: NDArray[Any], method: Any = np.add) -> NDArray[Any]:
            """Of every group that has a bin."""
            return method.reduceat(values, starts[some]) if some.any() else values[:0]

        def spread(values: Any) -> NDArray[np.float64]:
            found = np.full(self._groups, math.nan)
            found[some] = values * known
            return found

        totals = self._if_all(bins.integers(list(map(summed, bins.weight))), bins.bits * (len(gap) - 1), some)
        known = np.where(totals > 0, 1.0, math.nan).astype(np.float64)
        ratio = size / weight
        largest = np.repeat(summed(ratio, np.maximum), np.diff(np.append(starts[some], len(groups))))
        at = np.flatnonzero(ratio == largest)
        at = at[np.unique(groups[at], return_index=True)[1]]
        found = {
            "ece": spread(_ratio(bins.integers(list(map(summed, gap))), totals)),
            "mce": spread(
                _ratio(bins.integers([word[at] for word in gap]), bins.integers([word[at] for word in bins.weight]))
            ),
            "rmsce": spread(np.sqrt(summed(size * ratio) / summed(weight))),
        }
        if self._spec.task == "binary":
            parts = Parts.of(weight, hits, size, starts[some])
            score = self._mean(tally.WEIGHTED_BRIER if self._weighted else tally.BRIER)[some]
            rest = score - (parts.reliability - parts.resolution + parts.uncertainty)
            told = (parts.reliability, parts.resolution, parts.uncertainty, rest)
            found |= {name: spread(part) for name, part in zip(BrierParts.__slots__, told, strict=True)}
        return dict(found)

    def classwise(self) -> Columns:
        """The mean calibration error of classes, and the parts of the Brier score, where they were asked for."""
        part = cast(GroupedClasswise | None, self._parts.get("classwise"))
        return {} if part is None else part.means(self._numbers, self._groups)

    def ranking(self) -> Columns:
        """ROC AUC and average precision with their bounds, where they were asked for; multilabel: means over labels."""
        scores = cast(GroupedScores | None, self._parts.get("scores"))
        if scores is None:
            return {}
        names = [f"{name}{end}" for name in ("auc", "average_precision") for end in ("", "_low", "_high")]
        if (read := scores.read(self._numbers, self._groups)) is None:
            return dict.fromkeys(names, [None] * self._groups)
        found: dict[str, list[float]] = {}
        for labels in read:
            for name in ("auc", "average_precision"):
                areas = [getattr(label, name) for label in labels]
                for end, of in (("", "value"), ("_low", "low"), ("_high", "high")):
                    found.setdefault(name + end, []).append(float(np.mean([getattr(area, of) for area in areas])))
        return dict(found)


def _ratio(part: Integers, whole: Integers, special: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Quotients, each rounded once; NaN over nothing, and what is special instead of what it is added to."""
    if part.dtype == whole.dtype == np.int64 and max(part.max(initial=0), whole.max(initial=0)) < _EXACT:
        found = np.full(len(part), math.nan)
        np.divide(part, whole, out=found, where=whole != 0)
    else:
        pairs = zip(part.tolist(), whole.tolist(), strict=True)
        found = np.array([a / b if b else math.nan for a, b in pairs], np.float64)
    if special is not None:
        found += special
    return found
