"""Evaluation: the statistics that totals say. Floating point appears here, once, rounded from exact integers."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fastxent import exact
from fastxent.errors import UsageError
from fastxent.faults import first_invalid, invalid_counts
from fastxent.kernels import tally
from fastxent.spec import Spec
from fastxent.statistics import calibration as calibrating
from fastxent.statistics import classes as by_class
from fastxent.statistics import classwise
from fastxent.statistics import loss as losses
from fastxent.statistics.calibration import Binning, BrierParts, Calibration
from fastxent.statistics.confused import most_confused
from fastxent.statistics.grouptable import IN_NATS
from fastxent.statistics.loss import (
    QUANTILES,
    Z95,
    ClusterStats,
    LossStats,
    Quantile,
    mean_loss,
    safe_exp,
    sum_of_losses,
)
from fastxent.statistics.ranking import Area
from fastxent.statistics.shares import effective_rows, wilson
from fastxent.statistics.statistic import FIXED_BITS, fixed
from fastxent.statistics.temperature import TemperatureStats
from fastxent.statistics.units import UnitStats
from fastxent.status import EXPLANATION, Status
from fastxent.totals import RANKS, Measures, Totals
from fastxent.unit import BITS, Unit

if TYPE_CHECKING:
    from fastxent.sources.leftout import LeftOut

__all__ = [
    "QUANTILES", "TOP_K", "Z95", "Area", "BrierParts", "Calibration", "ClusterStats", "Evaluation",
    "LossStats", "Quantile", "TemperatureStats", "UnitStats", "check_readings", "mean_loss", "sum_of_losses", "wilson",
]  # fmt: skip

TOP_K = (1, 3, 5, 10)
#: Confused pairs that are shown.
PAIRS = 20


@dataclass
class Evaluation:
    """The result of an evaluation.

    Means and sums are those of the exact numbers, rounded once. Losses and entropies are in nats, or logarithms to
    ``base``: then what is rounded once is divided by log(base). Statistics that were not gathered are None here and
    absent from `to_dict`. Tables (``per_class``, ``groups``, ``worst``, ``calibration.table``) are
    `pyarrow.Table` objects: ``.to_pandas()``, or ``polars.from_arrow``.

    Attributes:
        totals: the integers that everything is read from.
        run: facts about the run: seconds, bytes, threads, paths.
        warnings: what a reader should know.
        bins: bins of the calibration; None for what the binning takes by default (15).
        binning: how confidence is cut into bins, see `calibrate`.
        top_ks: the k of top-k accuracies; None for the usual ones.
        base: unit of losses and entropies: None for nats, 2 for bits, 10 for bans. Totals do not know it.
    """

    totals: Totals
    run: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    bins: int | None = None
    binning: Binning = "equal_width"
    top_ks: Sequence[int] | None = None
    left_out: list[LeftOut] = field(default_factory=list)
    base: float | None = None

    def __post_init__(self) -> None:
        self.unit = Unit(self.base)
        tallies, rows = self.totals.tallies, f"{self.num_rows:,} rows"
        first = int(tallies.first[tally.UNEVEN])
        if self.uneven and not self.totals.spec.normalize:
            self.warnings.append(
                f"the probabilities of {self.uneven:,} of {rows} do not sum to 1 (first: row {first:,}); "
                "they are scored as they are, and normalize divides them by their sum"
            )
        if tallies.histogram.size and (infinite := int(tallies.histogram[-1])):
            self.warnings.append(
                f"the loss of {infinite:,} of {rows} is infinite: their target has no probability; clip bounds it"
            )
        groups: Any = self.totals.statistics.get("groups")
        if groups is not None and (notes := groups.notes()):
            self.warnings.append(f"so many groups share memory that of each of them {'; '.join(notes)}")

    # --- the loss

    @property
    def loss(self) -> float:
        """Mean cross-entropy of the scored rows."""
        loss: float = self.unit.of(self._nats)
        return loss

    @cached_property
    def _nats(self) -> float:
        return mean_loss(self.totals)

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
            or spec.loss != "cross_entropy"
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

    # --- predictions

    @property
    def num_rows(self) -> int:
        """Rows that were scored."""
        return losses.num_scored(self.totals)

    @property
    def _has_scores(self) -> bool:
        return self.totals.measures.scores

    @property
    def _by_class(self) -> bool:
        return bool(self.totals.tallies.classes.size)

    @property
    def _weighed(self) -> Any:
        return self.totals.statistics.get("weighed")

    @cached_property
    def _counts(self) -> by_class.ByClass:
        self.totals.settle()
        return by_class.read_classes(self.totals.tallies)

    @cached_property
    def _sums(self) -> by_class.ByClass:
        return self._counts if self._weighed is None else by_class.weigh_classes(self._weighed)

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
        return None if statistic is None else statistic.read(self.bins or 15)

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

    # --- classes, groups, rows

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes (labels of a multilabel task): those of the spec, else their numbers."""
        spec = self.totals.spec
        return spec.class_names or tuple(map(str, range(2 if spec.task == "binary" else spec.num_classes)))

    @property
    def per_class(self) -> Any:
        """A table with a row a class: support, loss, precision, recall, f1, confidence when predicted, and its gap."""
        if not self._by_class:
            return None
        table = by_class.class_table(self.class_names, self._counts, self._sums, weighted=self._weighed is not None)
        table = self.unit.columns(table, ("loss",))
        if self.totals.coarse.classes != "hits":
            return table
        return table.drop_columns(["precision", "f1", "confidence", "gap"])  # they need to know what was predicted

    @property
    def confusion(self) -> np.ndarray[Any, np.dtype[np.int64]] | None:
        """Rows by target class (first axis) and predicted class; None where it was not gathered. Never weighted."""
        return self.totals.tallies.confusion if self.totals.tallies.confusion.size else None

    @property
    def weighted_confusion(self) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """Weight of the rows by target class and predicted class; None without weights, or where not gathered."""
        if self._weighed is None or not self._weighed.confusion.size:
            return None
        return by_class.weight_matrix(self._weighed.confusion)

    @property
    def confused(self) -> Any:
        """A table of the most confused pairs: target, predicted, count, and with weights up to 1000 classes the weight.

        None if there were too many to count (2^20).
        """
        import pyarrow as pa

        pairs = self._confused_pairs()
        if pairs is None:
            return None
        names = self.class_names
        columns = {
            "target": pa.array([names[t] for t, _, _ in pairs], pa.string()),
            "predicted": pa.array([names[p] for _, p, _ in pairs], pa.string()),
            "count": pa.array([count for _, _, count in pairs], pa.int64()),
        }
        if self._weighed is not None and self._weighed.confusion.size:
            found = [float(fixed(self._weighed.confusion[t, p], 0)) for t, p, _ in pairs]
            columns["weight"] = pa.array(found, pa.float64())
        return pa.table(columns)

    def _confused_pairs(self) -> list[tuple[int, int, int]] | None:
        statistic: Any = self.totals.statistics.get("confused")
        if statistic is not None:
            found = statistic.pairs()
            return None if found is None else found[:PAIRS]
        return None if self.confusion is None else most_confused(self.confusion, PAIRS)

    @property
    def groups(self) -> Any:
        """A table with a row a group: its values, then its statistics, under the names that those of all rows have.

        ``count``, ``weight``, ``clusters``; ``loss``, ``sum``, ``stderr``, ``ci_low``, ``ci_high``, ``perplexity``,
        ``bits``; ``variance``, ``std``, ``min``, ``max`` and quantiles ``q01``, ``q05``, ``q25``, ``q50``, ``q75``,
        ``q95``, ``q99``, each with the bounds of its cell (``q50_low``, ``q50_high``); ``units``, ``loss_per_unit``,
        ``bits_per_unit``, ``stderr_per_unit``; ``entropy``; ``temperature_best``, ``temperature_loss``,
        ``temperature_gain``; ``normalized_entropy``, ``d2``, ``f1_macro``, ``balanced_accuracy``; ``accuracy``,
        ``accuracy_low``, ``accuracy_high``, ``top3``, ``top5``, ``top10``, ``mrr``; ``brier``; ``ece``, ``mce``,
        ``rmsce`` and, binary, ``reliability``, ``resolution``, ``uncertainty``, ``residual`` (15 equal bins); ``auc``
        and ``average_precision`` with bounds. What was not gathered has no column. All there is of one of them says
        `group`.
        """
        return self._groups

    @cached_property
    def _groups(self) -> Any:
        statistic: Any = self.totals.statistics.get("groups")
        return None if statistic is None else self._converted(statistic.table(), len(statistic.columns))

    def _converted(self, groups: Any, columns: int) -> Any:
        """A table of groups, after so many columns that they are grouped by, in the unit of the losses."""
        for names in ((*IN_NATS, "variance"), ("variance",)):
            groups = self.unit.columns(groups, {*names, *(f"{name}_" for name in names)}, columns)
        return groups

    @property
    def group_per_class(self) -> Any:
        """A table with a row for every class of every group that has it as target or predicts it.

        The values of the group, then what `per_class` says of its rows. None where there were too many classes of
        groups to count (`warnings` says so).
        """
        statistic: Any = self.totals.statistics.get("groups")
        found = None if statistic is None else statistic.per_class(self.class_names)
        return None if found is None else self._converted(found, len(statistic.columns))

    def group(self, *values: Any, **named: Any) -> Evaluation:
        """The evaluation of the rows of one group: everything that there is of all rows, from the same pass.

        Its numbers are those of an evaluation of these rows alone, in the unit of this one. Only where so many groups
        share memory that cells were put together are its quantiles, bins and classes coarser (``totals.coarse``; what
        cannot be read then raises or is None). Rows that were not scored, worst rows, label errors and statistics
        "classwise" are kept of all rows only.

        Args:
            values: one for every column of ``group_by``, in their order; None for the group without a value.
            named: by column instead; a column that is left out may have any value.

        Raises:
            UsageError: nothing was grouped, or no row has these values.

        Examples:
            >>> import fastxent as fx
            >>> logits, country = [[2.0, 0.0], [0.0, 2.0]], ["DE", "FR"]
            >>> ev = fx.evaluate(logits=logits, target=[0, 0], group_by={"country": country})
            >>> ev.group("DE").accuracy, ev.group(country="FR").confusion.tolist()
            (1.0, [[0, 1], [0, 0]])
        """
        columns = self.totals.measures.group_by
        if not columns:
            raise UsageError("group: nothing was grouped; pass group_by=")
        if values and len(values) != len(columns):
            names = ", ".join(columns)
            raise UsageError(f"group: expected {len(columns)} values ({names}), got {len(values)}; or name the columns")
        wanted = dict(zip(columns, values, strict=False)) | named
        run = {"group": wanted} | {name: value for name, value in self.run.items() if name == "paths"}
        readings: dict[str, Any] = {name: getattr(self, name) for name in ("bins", "binning", "top_ks", "base")}
        return Evaluation(self.totals.of_group(wanted), run=run, **readings)

    @property
    def margins(self) -> dict[str, Any] | None:
        """Where several columns are crossed: for each of them a table as `groups`, of its values alone."""
        return self._margins

    @cached_property
    def _margins(self) -> dict[str, Any] | None:
        statistic: Any = self.totals.statistics.get("groups")
        if statistic is None or len(statistic.columns) < 2:
            return None
        return {name: self._converted(table, 1) for name, table in statistic.margins().items()}

    @property
    def worst(self) -> Any:
        """A table of the rows of highest loss: path, row (from 0 in it), loss, target, predicted, kept columns."""
        return self._rows_of("worst")

    @property
    def worst_per_class(self) -> Any:
        """A table as `worst`: the rows of highest loss of every true class, class by class."""
        return self._rows_of("worst_per_class")

    @property
    def label_errors(self) -> dict[str, Any] | None:
        """Tables of the rows likeliest to be labeled wrong, by "self_confidence" and by "normalized_margin"."""
        found: dict[str, Any] = self.totals.statistics
        names = ("label_errors_confidence", "label_errors_margin")
        return {found[name].by: self._rows_of(name) for name in names} if names[0] in found else None

    def _rows_of(self, name: str) -> Any:
        """The table of single rows that a statistic keeps; its own columns come before the kept ones."""
        statistic: Any = self.totals.statistics.get(name)
        if statistic is None:
            return None
        spec = self.totals.spec
        table = statistic.table(None if spec.task == "multilabel" else spec.class_names)
        return self.unit.columns(table, ("loss",))

    # --- ranking

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

    # --- the account

    @property
    def rows(self) -> dict[str, Any]:
        """Rows read, scored, ignored, invalid by cause, and uneven: scored, but their probabilities do not sum to 1."""
        counts = self.totals.tallies.rows
        return {
            "read": int(counts.sum()),
            "scored": self.num_rows,
            "ignored": int(counts[Status.IGNORED]),
            "invalid": {status.name.lower(): n for status, n in invalid_counts(self.totals).items()},
        } | ({"uneven": self.uneven} if self.uneven else {})

    @property
    def uneven(self) -> int:
        """Scored rows whose probabilities do not sum to 1, within the root of their type's machine epsilon."""
        return int(self.totals.tallies.uneven[0])

    @property
    def first_invalid(self) -> dict[str, int]:
        """The number (from 0, over the whole source) of the first row of every cause of invalidity."""
        return {status.name.lower(): row for status, row in first_invalid(self.totals).items()}

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values under stable names; statistics that were not gathered are absent."""
        from fastxent.document import evaluation_dict

        return evaluation_dict(self)

    def to_json(self, *, indent: int | None = 2) -> str:
        """`to_dict` as JSON text; floats read back to the same bits, NaN and infinities as strings."""
        from fastxent.document import json_text

        return json_text(self.to_dict(), indent=indent)

    def to_html(self, path: str | os.PathLike[str] | None = None) -> str:
        """A report as one HTML page that needs nothing else; written to ``path`` if one is given. Extra ``report``."""
        from fastxent.report import write_report

        histogram = self.totals.tallies.histogram
        return write_report(self.to_dict(), path, confusion=self.confusion, histogram=histogram, unit=self.unit)

    def __repr__(self) -> str:
        parts = [f"loss={self.loss:.6g}"]
        if self.accuracy is not None:
            parts.append(f"accuracy={self.accuracy:.6g}")
        return f"Evaluation({', '.join(parts)}, rows={self.num_rows:,})"

    def _repr_html_(self) -> str:
        """The summary as an HTML table, for notebooks."""
        from fastxent.summary import html_table

        return html_table(self)


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


def describe_invalid(status: Status) -> str:
    """What is wrong with rows of this status, in words."""
    return EXPLANATION[status][0]
