"""Reading totals: what they say of the predictions as a whole."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np

from fastxent.base import exact
from fastxent.base.errors import UsageError
from fastxent.data.spec import Spec
from fastxent.kernels.sums import tally
from fastxent.results.readings.base import Readings
from fastxent.statistics import calibration as calibrating
from fastxent.statistics import classes as by_class
from fastxent.statistics import classwise
from fastxent.statistics.calibration import BrierParts, Calibration
from fastxent.statistics.options import Binning, Measures
from fastxent.statistics.ranking import Area
from fastxent.statistics.shares import effective_rows, wilson
from fastxent.statistics.statistic import FIXED_BITS
from fastxent.totals.totals import RANKS

__all__ = ["TOP_K", "PredictionReadings", "check_readings"]

TOP_K = (1, 3, 5, 10)


class PredictionReadings(Readings):
    """Accuracy, Brier score, calibration, ranking."""

    @property
    def accuracy(self) -> float | None:
        """Share of rows whose predicted class (the first maximum) is the target; weighted with weights."""
        return None if not self._has_scores else self._top(1)

    @cached_property
    def _ranks(self) -> list[Any]:
        """The weight of the rows by rank of the target."""
        if self._weighed is not None:
            found = by_class.rank_weights(self._weighed.ranks)
            return found if self._is_all(sum(found)) else []
        if self.totals.tallies.ranks.size:
            return list(self.totals.tallies.ranks.tolist())
        hits = sum(map(int, self._counts.correct))
        return [hits, self.num_rows - hits]

    def _top(self, k: int) -> float:
        total = sum(self._ranks)
        return float(Fraction(sum(self._ranks[:k])) / Fraction(total)) if total else math.nan

    @property
    def top_k(self) -> dict[int, float]:
        """Accuracy of the first k classes, for the usual k below the number of classes."""
        classes = self.totals.spec.num_classes
        if not self._has_scores or self.totals.spec.task != "multiclass":
            return {}
        if self.top_ks is None:
            return {k: self._top(k) for k in TOP_K if k == 1 or k < classes}
        _check_top_k(self.top_ks, classes)
        self.totals.coarse.check_rank(max(self.top_ks, default=1))
        return {k: self._top(k) for k in sorted({1, *self.top_ks})}

    def interval(self, share: float) -> tuple[float, float]:
        """The Wilson interval (95 %) of a share of the rows; with weights for Kish's effective number of rows.

        Rows are taken for independent; `top_k_interval` respects clusters.
        """
        return wilson(share, self._effective_rows)

    @cached_property
    def _effective_rows(self) -> float:
        if not self.totals.spec.reads_weight:
            return float(self.num_rows)
        sums = self.totals.tallies.sums
        weight, squares = (exact.to_fraction(sums[row]) for row in (tally.WEIGHT, tally.WEIGHT_SQUARE))
        return float(weight * weight / squares) if squares else 0.0

    def top_k_interval(self, k: int = 1) -> tuple[float, float]:
        """The Wilson interval (95 %) of a top-k accuracy.

        With clusters it is that of the number of independent rows which would give the share its cluster-robust
        standard error; NaN for k above 10, since clusters keep no more ranks.
        """
        self.totals.coarse.check_rank(k)
        share = self._top(k)
        clusters: Any = self.totals.statistics.get("clusters")
        if clusters is None:
            return self.interval(share)
        return wilson(share, effective_rows(share, clusters.stderr_of_top(k), self._effective_rows, clusters.count))

    @property
    def mrr(self) -> float | None:
        """Mean of 1 / (1 + rank of the target); ranks of 4096 and more count as 4096."""
        if not self._has_scores or self.totals.spec.task != "multiclass":
            return None
        total = sum(self._ranks)
        if (told := self.totals.coarse.reciprocal) is not None:
            return float(told / total) if total else math.nan
        return float(sum(Fraction(w) / (i + 1) for i, w in enumerate(self._ranks) if w) / total) if total else math.nan

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
    def brier_scaled(self) -> float | None:
        """The Brier score on [0, 1]: half the sum over classes; of binary and multilabel tasks `brier` itself."""
        return self.brier if self.brier is None or self.totals.spec.task != "multiclass" else self.brier / 2.0

    @property
    def brier_parts(self) -> BrierParts | None:
        """Reliability, resolution, uncertainty and residual of the Brier score.

        Binary: over the bins of the calibration. Multiclass: the sums over classes, each against the rest, over equal
        bins of its probability (statistics "classwise").
        """
        if self._classwise is not None:
            parts = [each.parts for each in self._classwise]
            return BrierParts(*(math.fsum(getattr(p, name) for p in parts) for name in BrierParts.__slots__))
        if self.totals.spec.task != "binary" or self.brier is None:
            return None
        return calibrating.decompose(self._cells, self.brier, self.bins or self._default_bins, self.binning)

    @cached_property
    def _classwise(self) -> list[Any] | None:
        statistic: Any = self.totals.statistics.get("classwise")
        if statistic is None:
            return None
        bins = self.bins or 15
        self.totals.coarse.check_classwise(bins)
        return list(statistic.read(bins))

    @property
    def classwise(self) -> Any:
        """A table with a row a class against the rest: share, ece, brier and its parts (statistics "classwise")."""
        if (found := self._classwise) is None:
            return None
        import pyarrow as pa

        rows = [
            {"class": name, "share": each.share, "ece": each.ece, "brier": each.brier} | asdict(each.parts)
            for name, each in zip(self.class_names, found, strict=True)
        ]
        return pa.Table.from_pylist(rows)

    @property
    def classwise_ece(self) -> float | None:
        """Mean over classes of the calibration error of each against the rest (Kull et al. 2019)."""
        found = self._classwise
        return None if found is None else math.fsum(each.ece for each in found) / len(found)

    @property
    def _default_bins(self) -> int:
        return calibrating.DEFAULT_BINS.get(self.binning, 15)

    @cached_property
    def _cells(self) -> calibrating.Cells:
        self.totals.settle()
        cells = self.totals.tallies.calibration
        if self._weighed is None:
            return calibrating.plain_cells(cells)
        found = calibrating.weighed_cells(self._weighed.cells, cells)
        return found if self._is_all(Fraction(int(found.weight.sum()), 1 << calibrating.UNIT)) else found.unknown()

    def _is_all(self, weight: Fraction | int) -> bool:
        """Whether a sum of weights, each cut off below 2^-62, is that of all rows: too large ones are in no sum."""
        lost = exact.to_fraction(self.totals.tallies.sums[tally.WEIGHT]) - weight
        return lost <= Fraction(self.num_rows, 1 << FIXED_BITS)

    @property
    def calibration(self) -> Calibration | None:
        """Calibration errors and the reliability table, over 15 equal bins unless asked otherwise."""
        return self._calibration

    @cached_property
    def _calibration(self) -> Calibration | None:
        return self.calibrate(self.bins, self.binning) if self.totals.tallies.calibration.size else None

    def calibrate(self, bins: int | None = None, binning: Binning = "equal_width") -> Calibration:
        """Calibration over other bins.

        Binary tasks compare the probability of class 1 with how often class 1 is the target, others the largest
        probability with how often it is right. Edges are compared exactly.

        Args:
            bins: how many; a divisor of 3600 unless ``binning`` is "equal_mass". None: 15, or the library's default.
            binning: "equal_width": [a, b), the last bin closed. "equal_mass": as equal in rows as cells of 1/3600 (and
                finer near 0 and 1) allow. "torchmetrics": equal widths, and a bin of its own for exactly 1. "sklearn":
                (a, b], the first bin closed (``calibration_curve``). "netcal": as equal_width, 10 bins.

        Raises:
            UsageError: ``bins`` does not divide 3600, or calibration was not gathered.
        """
        if not self.totals.tallies.calibration.size:
            raise UsageError("calibration was not gathered (scores=False, or task 'multilabel')")
        self.totals.coarse.check_calibration(calibrating.check_bins(bins, binning), binning)
        return calibrating.calibrate(self._cells, bins, binning, weighted=self._weighed is not None)

    @property
    def ranking(self) -> Any:
        """A table with a row a label: auc and average_precision, each with bounds that surely hold the exact value."""
        statistic: Any = self.totals.statistics.get("ranking")
        if statistic is None:
            return None
        return statistic.table(self.class_names[1:] if self.totals.spec.task == "binary" else self.class_names)

    def _mean_area(self, name: str) -> Area | None:
        if (table := self.ranking) is None:
            return None
        return Area(*(float(np.mean(table[column].to_numpy())) for column in (name, f"{name}_low", f"{name}_high")))

    @property
    def auc(self) -> Area | None:
        """Area under the ROC curve, and its bounds; multilabel: the mean over labels."""
        return self._mean_area("auc")

    @property
    def average_precision(self) -> Area | None:
        """Average precision, and its bounds; multilabel: the mean over labels."""
        return self._mean_area("average_precision")

    def thresholds(self, label: int = 0) -> Any:
        """A table of precision, recall, false-positive rate and F1 at thresholds of the score; None if not gathered."""
        statistic: Any = self.totals.statistics.get("ranking")
        return None if statistic is None else statistic.thresholds(label)


def check_readings(
    spec: Spec, measures: Measures, bins: int | None, binning: Binning, top_ks: Sequence[int] | None
) -> None:
    """Raise UsageError for what could not be read off the totals, before they are gathered."""
    calibrating.check_bins(bins, binning)
    if measures.classwise and bins is not None:
        classwise.check_bins(bins)
    if top_ks is not None and measures.scores and spec.task == "multiclass":
        _check_top_k(top_ks, spec.num_classes)


def _check_top_k(top_ks: Sequence[int], classes: int) -> None:
    most = min(classes, RANKS)
    for k in top_ks:
        if not 1 <= k <= most:
            raise UsageError(f"top_k: expected numbers from 1 to {most}, got {k}")
