"""Evaluation: what totals say of the rows. Floating point appears here, once, rounded from exact integers."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fastxent.base.errors import UsageError
from fastxent.base.log_unit import Unit
from fastxent.base.status import Status
from fastxent.base.text import bracketed
from fastxent.data.spec import NUMERICS_VERSION
from fastxent.losses.base import READY
from fastxent.results.as_json import evaluation_dict, json_text
from fastxent.results.class_report import class_report
from fastxent.results.doubts import doubts_of_rows
from fastxent.results.headlines import ROWS, headlines, html_table, summary_lines
from fastxent.results.worst_group import WorstGroup, worst_group, worst_of
from fastxent.statistics import calibration, classes, classwise, sampling, spread
from fastxent.statistics.accuracy import rows_behind, top_k_interval, top_ks
from fastxent.statistics.brier import BrierParts, scaled
from fastxent.statistics.calibration import Calibration
from fastxent.statistics.curves import PrecisionRecallCurve, RocCurve
from fastxent.statistics.field import Field
from fastxent.statistics.intervals import wilson
from fastxent.statistics.kept_rows import LABEL_ERRORS, rows_table
from fastxent.statistics.loss import LossStats, loss_stats
from fastxent.statistics.options import Binning, Readings
from fastxent.statistics.ranking import Ranking, ranking_of
from fastxent.statistics.reading import Reading
from fastxent.statistics.spread import Quantile
from fastxent.statistics.temperature import Temperature, TemperatureStats
from fastxent.statistics.units import Units, UnitStats
from fastxent.totals.totals import Totals

if TYPE_CHECKING:
    from fastxent.results.gates import Gate
    from fastxent.sources.skipped import LeftOut

__all__ = ["Evaluation"]

#: Confused pairs that are shown.
PAIRS = 20


@dataclass(eq=False)
class Evaluation:
    """The result of an evaluation.

    Means and sums are those of the exact numbers, rounded once. Losses and entropies are in nats, or logarithms to
    ``base``: then what is rounded once is divided by log(base). Statistics that were not gathered are None here and
    absent from `to_dict`. Tables (``per_class``, ``groups``, ``worst``, ``calibration.table``) are
    `pyarrow.Table` objects: ``.to_pandas()``, or ``polars.from_arrow``. Every number of `fields` is an attribute too.

    Attributes:
        totals: the integers that everything is read from.
        run: facts about the run: seconds, bytes, threads, paths.
        warnings: what a reader should know.
        bins: bins of the calibration; None for what the binning takes by default (15).
        binning: how confidence is cut into bins, see `calibrate`.
        top_ks: the k of top-k accuracies; None for the usual ones.
        base: unit of losses and entropies: None for nats, 2 for bits, 10 for bans. Totals do not know it.
        topk: whether rows stored some of the classes only.
        only: values of columns, where this is the evaluation of a group (see `group`).
        doubts: those of the warnings that something else was meant (`fastxent.DoubtWarning`).
    """

    totals: Totals
    run: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    bins: int | None = None
    binning: Binning = "equal_width"
    top_ks: Sequence[int] | None = None
    left_out: list[LeftOut] = field(default_factory=list)
    base: float | None = None
    topk: bool = False
    only: Mapping[str, Any] | None = None
    doubts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._options = Readings(
            None if self.top_ks is None else tuple(self.top_ks), self.bins, self.binning, self.base
        )
        self.unit = Unit(self.base)
        if self.only is not None:
            self._reading = self.totals.group_reading(self.only, self._options)
            return
        self._reading = self.totals.reading(self._options)
        tallies, rows = self.totals.tallies, f"{self.num_rows:,} rows"
        self.doubts += doubts_of_rows(self.totals, self._reading, topk=self.topk)
        self.warnings += self.doubts
        if tallies.histogram.size and (infinite := int(tallies.histogram[-1])):
            self.warnings.append(
                f"the loss of {infinite:,} of {rows} is infinite: their target has no probability; clip bounds it"
            )
        if self.totals.groups is not None and (notes := self.totals.groups.notes()):
            self.warnings.append(
                f"so many groups share memory that {'; '.join(notes)} of each of them; "
                "evaluate the rows of a group alone with filter="
            )
        if self.topk:
            unseen = 0 if self.confusion is None else int(self.confusion[-1].sum())
            self.warnings.append(
                f"top-k predictions: the target of {unseen:,} of {rows} is not stored (they got an even share of the "
                "mass that is missing); Brier score, confusion and statistics by class mean nothing here"
            )

    def __eq__(self, other: object) -> bool:
        """Whether they say the same: equal totals, read in the same way. Facts about the run do not count."""
        if not isinstance(other, Evaluation):
            return NotImplemented
        alike = (self._options, self.only, self.topk) == (other._options, other.only, other.topk)
        return alike and self.totals == other.totals

    __hash__ = None  # type: ignore[assignment]

    @property
    def reading(self) -> Reading:
        """The statistics, and the sums that they are read from."""
        return self._reading

    @cached_property
    def fields(self) -> dict[str, float | int]:
        """Every number that there is of these rows, by the name that it has as a column of `groups`."""
        return {name: self._reading.number(name) for name in self._reading.fields}

    def __getattr__(self, name: str) -> Any:
        reading = self.__dict__.get("_reading")
        if reading is None or name.startswith("_") or name not in reading:
            form = "" if reading is None else reading.spec.form
            why = f"; {form} were scored, which say nothing of predictions" if form in READY else ""
            close = get_close_matches(name, () if reading is None else _public(dir(self)), 3) if not why else []
            why = f"; did you mean {', '.join(close)}?" if close else why
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}{why}")
        return reading.number(name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._reading.fields})

    def _number(self, name: str) -> Any:
        """A field, or None where it was not gathered."""
        return self._reading.number(name) if name in self._reading else None

    # Rows

    @property
    def num_rows(self) -> int:
        """Rows that were scored and weigh something: those that statistics are of."""
        return int(self._reading.counts[0])

    @property
    def rows(self) -> dict[str, Any]:
        """Rows read, scored, ignored, invalid by cause; if there are some, ``zero_weight`` and ``uneven``.

        Rows of weight 0 are valid and in no statistic; probabilities of uneven rows, which are scored, do not sum to 1.

        Rows that were not scored are counted among all rows only, not in groups.
        """
        if self.only is not None:
            return {"read": self.num_rows, "scored": self.num_rows, "ignored": 0, "invalid": {}}
        counts = self.totals.tallies.rows
        some = {"zero_weight": int(counts[Status.ZERO_WEIGHT]), "uneven": self.uneven}
        return {
            "read": int(counts.sum()),
            "scored": self.num_rows,
            "ignored": int(counts[Status.IGNORED]),
            "invalid": {status.name.lower(): n for status, n in self.totals.invalid_counts().items()},
        } | {name: n for name, n in some.items() if n}

    @property
    def uneven(self) -> int:
        """Scored rows whose probabilities do not sum to 1, within the root of their type's machine epsilon."""
        return 0 if self.only is not None else int(self.totals.tallies.uneven[0])

    @property
    def first_invalid(self) -> dict[str, int]:
        """The number (from 0, over the whole source) of the first row of every cause of invalidity."""
        if self.only is not None:
            return {}
        return {status.name.lower(): row for status, row in self.totals.first_invalid().items()}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes (labels of a multilabel task): those of the spec, else their numbers."""
        spec = self.totals.spec
        return spec.class_names or tuple(map(str, range(2 if spec.task == "binary" else spec.num_classes)))

    # The loss

    @property
    def loss(self) -> float:
        """Mean cross-entropy of the scored rows."""
        return float(self._reading.number("loss"))

    @property
    def perplexity(self) -> float:
        """Exp of the mean loss in nats."""
        return float(self._reading.number("perplexity"))

    @property
    def bits(self) -> float:
        """The mean loss in bits, whatever the base."""
        return float(self._reading.number("bits"))

    @cached_property
    def loss_stats(self) -> LossStats | None:
        """Spread, extremes and quantiles of the row losses."""
        return loss_stats(self._reading)

    def quantile(self, q: float) -> Quantile:
        """Any quantile of the row losses, with the bin that surely holds it; every row counts once."""
        self._need_spread("quantiles were")
        if not 0.0 <= q <= 1.0:
            raise UsageError(f"q: expected a number in [0, 1], got {q!r}")
        return spread.quantile(self._reading, q)

    def loss_histogram(self, per_octave: int = 1) -> Any:
        """Rows by loss, as a table (low, high, count): 1, 2, 4, ..., 128 bins for every doubling of the loss."""
        self._need_spread("the histogram was")
        return spread.loss_histogram(self._reading, per_octave)

    def _need_spread(self, what: str) -> None:
        if "variance" not in self._reading:
            raise UsageError(f"{what} not gathered (spread=False)")

    @property
    def units(self) -> UnitStats | None:
        """Loss, bits and perplexity per unit, with the standard error; with clusters it respects them."""
        units = self._reading.statistics.get("units")
        return units.stats(self._reading) if isinstance(units, Units) else None

    @property
    def normalized_entropy(self) -> float | None:
        """Mean loss over the entropy of the classes' shares: below 1 is better than always predicting the shares."""
        value: float | None = self._number("normalized_entropy")
        return value

    @property
    def d2(self) -> float | None:
        """1 - `normalized_entropy`, the D2 log-loss score of scikit-learn."""
        value: float | None = self._number("d2")
        return value

    @property
    def entropy(self) -> float | None:
        """Mean entropy of the predictions; the logarithm of the number of classes is the largest there is."""
        value: float | None = self._number("entropy")
        return value

    @cached_property
    def temperature(self) -> TemperatureStats | None:
        """Losses at other temperatures."""
        temperature = self._reading.statistics.get("temperature")
        return temperature.stats(self._reading) if isinstance(temperature, Temperature) else None

    # Predictions

    @property
    def accuracy(self) -> float | None:
        """Share of rows whose predicted class (the first maximum) is the target; weighted with weights."""
        value: float | None = self._number("accuracy")
        return value

    @property
    def top_k(self) -> dict[int, float]:
        """Accuracy of the first k classes, for the usual k below the number of classes."""
        if "accuracy" not in self._reading or self.totals.spec.task != "multiclass":
            return {}
        return {k: self._reading.number("accuracy" if k == 1 else f"top{k}") for k in top_ks(self._reading)}

    def interval(self, what: str | float) -> tuple[float, float]:
        """The 95 % interval of sampling of a statistic by its name, or the Wilson interval of a share of the rows.

        It says in which range the statistic of all such rows lies, and not how scores were binned. Rows are taken for
        independent, weighted ones for Kish's effective number of rows (the errors are those of the infinitesimal
        jackknife; of AUC DeLong's, over n - 1 of all rows). Those of "loss" and "accuracy" respect clusters.

        Args:
            what: a name of `intervals`, or a share.

        Raises:
            UsageError: there is no such interval.

        Examples:
            >>> import fastxent as fx
            >>> ev = fx.evaluate(probs=[0.1, 0.4, 0.35, 0.8, 0.2, 0.9], target=[0, 0, 1, 1, 0, 1], task="binary")
            >>> low, high = ev.interval("auc")
            >>> f"{ev.auc:.3f}, 95 %: {low:.2f} to {high:.2f}"
            '0.889, 95 %: 0.33 to 0.99'
        """
        if not isinstance(what, str):
            return wilson(what, float(rows_behind(self._reading)[0]))
        found = sampling.interval(self._reading, self._need_interval(what))
        return (math.nan, math.nan) if found is None else (float(found[0][0]), float(found[1][0]))

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % intervals of sampling (see `interval`) of all numbers that have one and can be told."""
        found = sampling.intervals_of(self._reading)
        return {name: (float(low[0]), float(high[0])) for name, (low, high) in found.items()}

    def _need_interval(self, name: str) -> str:
        if name not in sampling.INTERVALS or name not in self._reading:
            told = ", ".join(each for each in sampling.INTERVALS if each in self._reading)
            raise UsageError(f"interval: expected one of {told}, or a share; got {name!r}")
        if name not in ("loss", "accuracy") and "clusters" in self._reading.statistics:
            raise UsageError(
                f"interval: that of {name} takes rows for independent, which rows of a cluster are not; those of loss "
                "and accuracy respect clusters"
            )
        return name

    def top_k_interval(self, k: int = 1) -> tuple[float, float]:
        """The Wilson interval (95 %) of a top-k accuracy.

        With clusters it is that of the number of independent rows which would give the share its cluster-robust
        standard error; NaN for k above 10 (in groups above 1), since clusters keep no more ranks.
        """
        if "accuracy" not in self._reading:
            raise UsageError("top_k_interval: there is no accuracy, since no predicted classes were counted")
        reading = self._reading if k in top_ks(self._reading) else self._reading.with_options(top_k=(k,))
        return top_k_interval(reading, k, reading.number("accuracy" if k == 1 else f"top{k}"))

    @property
    def mrr(self) -> float | None:
        """Mean of 1 / (1 + rank of the target); ranks of 4096 and more count as 4096."""
        value: float | None = self._number("mrr")
        return value

    @property
    def brier(self) -> float | None:
        """Mean squared distance between probabilities and target (summed over classes; binary: (p - y)^2)."""
        value: float | None = self._number("brier")
        return value

    @property
    def brier_scaled(self) -> float | None:
        """The Brier score on [0, 1]: half the sum over classes; of binary and multilabel tasks `brier` itself."""
        return None if self.brier is None else scaled(self.brier, self.totals.spec)

    @property
    def brier_parts(self) -> BrierParts | None:
        """Reliability, resolution, uncertainty and residual of the Brier score.

        Binary: over the bins of the calibration. Multiclass: the sums over classes, each against the rest, over equal
        bins of its probability (statistics "classwise").
        """
        return calibration.brier_parts(self._reading)

    @cached_property
    def calibration(self) -> Calibration | None:
        """Calibration errors and the reliability table, over 15 equal bins unless asked otherwise."""
        return self.calibrate(self.bins, self.binning) if "ece" in self._reading else None

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
        return calibration.calibrate(self._reading, bins, binning)

    # Ranks of scores

    @property
    def auc(self) -> float | None:
        """Area under the ROC curve; of several labels (classes, each against the rest) the mean over them.

        Binary tasks have it from the cells of the calibration, others with ``statistics="ranking"``, which also makes
        `auc_bounds` narrower.
        """
        value: float | None = self._number("auc")
        return value

    @property
    def auc_bounds(self) -> tuple[float, float] | None:
        """What surely holds the AUC of the exact scores; says nothing about other rows."""
        return (self.auc_low, self.auc_high) if "auc" in self._reading else None

    @property
    def average_precision(self) -> float | None:
        """Average precision; of several labels the mean over them (mAP)."""
        value: float | None = self._number("average_precision")
        return value

    @property
    def average_precision_bounds(self) -> tuple[float, float] | None:
        """What surely holds the average precision of the exact scores."""
        found = "average_precision" in self._reading
        return (self.average_precision_low, self.average_precision_high) if found else None

    @property
    def ranking(self) -> Any:
        """A table with a row a label: auc and average_precision, each with bounds that surely hold the exact value."""
        ranking = ranking_of(self._reading)
        return None if ranking is None else ranking.table(self._reading, self._label_names)

    def roc_curve(self, label: int | str = 0) -> RocCurve:
        """The ROC curve, as points at the edges of cells of the scores, each of them exact.

        Args:
            label: of several labels, or classes, which: its number or its name.

        Raises:
            UsageError: there is no such label, or scores were not gathered.

        Examples:
            >>> import fastxent as fx
            >>> ev = fx.evaluate(probs=[0.1, 0.4, 0.35, 0.8], target=[0, 0, 1, 1], task="binary")
            >>> fpr, tpr, thresholds = ev.roc_curve()
            >>> fpr.tolist(), tpr.tolist(), ev.auc
            ([0.0, 0.0, 0.5, 0.5, 1.0], [0.0, 0.5, 0.5, 1.0, 1.0], 0.75)
        """
        return self._need_ranking("roc_curve").roc_curve(self._reading, self._label_number(label))

    def pr_curve(self, label: int | str = 0) -> PrecisionRecallCurve:
        """The precision-recall curve, as points at the edges of cells of the scores, each of them exact.

        Args:
            label: of several labels, or classes, which: its number or its name.

        Raises:
            UsageError: there is no such label, or scores were not gathered.

        Examples:
            >>> import fastxent as fx
            >>> ev = fx.evaluate(probs=[0.1, 0.4, 0.35, 0.8], target=[0, 0, 1, 1], task="binary")
            >>> precision, recall, thresholds = ev.pr_curve()
            >>> recall.tolist(), round(ev.average_precision, 4)
            ([1.0, 1.0, 0.5, 0.5, 0.0], 0.8333)
        """
        return self._need_ranking("pr_curve").pr_curve(self._reading, self._label_number(label))

    def thresholds(self, label: int | str = 0) -> Any:
        """A table of precision, recall, false-positive rate and F1 at thresholds of the score; None if not gathered."""
        ranking = ranking_of(self._reading)
        return None if ranking is None else ranking.thresholds(self._reading, self._label_number(label))

    @property
    def _label_names(self) -> tuple[str, ...]:
        """What scores are of: the positive class of a binary task, all classes or labels of others."""
        return self.class_names[1:] if self.totals.spec.task == "binary" else self.class_names

    def _label_number(self, label: int | str) -> int:
        names = self._label_names
        if isinstance(label, str) and label in names:
            return names.index(label)
        if isinstance(label, int) and 0 <= label < len(names):
            return label
        some = ", ".join(names[:PAIRS]) + (", ..." if len(names) > PAIRS else "")
        raise UsageError(f"label: expected a number below {len(names):,} or a name ({some}), got {label!r}")

    def _need_ranking(self, what: str) -> Ranking:
        if (ranking := ranking_of(self._reading)) is None:
            raise UsageError(f'{what}: scores were not gathered; pass statistics="ranking"')
        return ranking

    # Classes

    @property
    def per_class(self) -> Any:
        """A table with a row a class: support, loss, precision, recall, f1, confidence when predicted, and its gap."""
        found = classes.per_class(self._reading, self.class_names, every=True)
        return None if found is None else found[1]

    @property
    def confusion(self) -> np.ndarray[Any, np.dtype[np.int64]] | None:
        """Rows by target class (first axis) and predicted class; None where it was not gathered. Never weighted."""
        return classes.confusion_matrix(self._reading)

    @property
    def weighted_confusion(self) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """Weight of the rows by target class and predicted class; None without weights, or where not gathered."""
        return classes.confusion_matrix(self._reading, weighted=True)

    @property
    def confused(self) -> Any:
        """A table of the most confused pairs: target, predicted, count, and with weights up to 1000 classes the weight.

        None if there were too many to count (2^20).
        """
        return classes.confused_pairs(self._reading, self.class_names, PAIRS)

    @property
    def classwise(self) -> Any:
        """A table with a row a class against the rest: share, ece, brier and its parts (statistics "classwise")."""
        found = classwise.class_table(self._reading, self.class_names)
        return None if found is None else found[1]

    @property
    def classwise_ece(self) -> float | None:
        """Mean over classes of the calibration error of each against the rest (Kull et al. 2019)."""
        value: float | None = self._number("classwise_ece")
        return value

    # Groups

    def group(self, *values: Any, **named: Any) -> Evaluation:
        """The evaluation of the rows of one group: everything that there is of all rows, from the same pass.

        Its numbers are those of an evaluation of these rows alone, in the unit of this one. Where so many groups share
        memory that cells were put together, what these cannot answer is NaN or None (`warnings` says so). Rows that
        were not scored are counted among all rows only.

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
        columns = self._group_columns()
        if not columns:
            raise UsageError("group: nothing was grouped; pass group_by=")
        if values and len(values) != len(columns):
            names = ", ".join(columns)
            raise UsageError(f"group: expected {len(columns)} values ({names}), got {len(values)}; or name the columns")
        wanted = dict(zip(columns, values, strict=False)) | named
        run = {"group": wanted} | {name: value for name, value in self.run.items() if name == "paths"}
        readings: dict[str, Any] = {name: getattr(self, name) for name in ("bins", "binning", "top_ks", "base", "topk")}
        return Evaluation(self.totals, run=run, only=wanted, **readings)

    def _group_columns(self) -> tuple[str, ...]:
        return () if self.only is not None else self.totals.measures.group_by

    @cached_property
    def _groups(self) -> Any:
        """The values of groups, and what they say; None where nothing was grouped."""
        return self.totals.group_readings(self._options) if self._group_columns() else None

    @cached_property
    def groups(self) -> Any:
        """A table with a row a group: its values, then every number of `fields` of its rows.

        What was not gathered has no column. All there is of one of them says `group`.
        """
        if self._groups is None:
            return None
        keys, reading = self._groups
        return keys.beside(reading.columns())

    def group_intervals(self, name: str) -> Any:
        """A table with a row a group: its values, count, the statistic of this name, and its `interval` (low, high).

        Raises:
            UsageError: nothing was grouped, or there is no such interval.
        """
        import pyarrow as pa

        if self._groups is None:
            raise UsageError("group_intervals: nothing was grouped; pass group_by=")
        keys, reading = self._groups
        blocks = [sampling.interval(block, self._need_interval(name)) for block in reading.blocks()]
        told = [(np.full(1, math.nan), np.full(1, math.nan)) if each is None else each for each in blocks]
        low, high = (pa.array(np.concatenate(ends)) for ends in zip(*told, strict=True))
        columns = reading.columns(("count", name))
        return keys.beside({"count": columns["count"], name: columns[name], "low": low, "high": high})

    def worst_group(self, statistic: str = "loss", *, least: int = 30) -> WorstGroup | None:
        """The group in which a statistic is worst, with an interval adjusted for having looked at all groups.

        Args:
            statistic: a number of `fields`: the highest loss, quantile or calibration error, the lowest of others.
            least: groups of fewer rows are not looked at.

        Returns:
            A `WorstGroup` (``values``, ``rows``, ``value``, ``low``, ``high``, ``looked_at``, ``stands_out``), or None
            where no group has so many rows.

        Raises:
            UsageError: nothing was grouped, or there is no such statistic.
        """
        if self._groups is None:
            raise UsageError("worst_group: nothing was grouped; pass group_by=")
        keys, reading = self._groups
        if statistic not in reading:
            raise UsageError(f"worst_group: expected one of {', '.join(reading.fields)}; got {statistic!r}")
        if (found := worst_of(reading, statistic, least)) is None:
            return None
        values = keys.values(found[0])
        group = self.totals.group_reading(values, self._options)
        return worst_group(self._reading, group, values, statistic, found[1])

    @cached_property
    def margins(self) -> dict[str, Any] | None:
        """Where several columns are crossed: for each of them a table as `groups`, of its values alone."""
        columns = self._group_columns()
        if len(columns) < 2:
            return None
        found = {column: self.totals.group_readings(self._options, column) for column in columns}
        return {column: keys.beside(reading.columns()) for column, (keys, reading) in found.items()}

    def narrow_groups(self) -> dict[str, Any]:
        """What is shown of groups where there is no room for all columns: tables by the columns they are by.

        Numbers that cells bound have as many digits as their bounds allow.
        """
        if self._groups is None:
            return {}
        tables = {**(self.margins or {}), ", ".join(self._group_columns()): self.groups}
        return {by: _narrow(table, list(self._groups[1].fields.values())) for by, table in tables.items()}

    @property
    def group_per_class(self) -> Any:
        """A table with a row for every class of every group that has it as target or predicts it.

        The values of the group, then what `per_class` says of its rows. None where there were too many classes of
        groups to count (`warnings` says so).
        """
        return self._beside_groups(lambda reading: classes.per_class(reading, self.class_names, every=False))

    @property
    def group_classwise(self) -> Any:
        """A table with a row for every class of every group: the values of the group, then as `classwise`.

        None where there were too many classes of groups (`warnings` says so). Groups without weight are left out.
        """
        return self._beside_groups(lambda reading: classwise.class_table(reading, self.class_names))

    def _beside_groups(self, read: Any) -> Any:
        """A table that is read of all groups, with owners, behind the values of these."""
        if self._groups is None:
            return None
        keys, reading = self._groups
        found = read(reading)
        if found is None:
            return None
        owners, table = found
        return keys.beside({name: table[name] for name in table.column_names}, owners)

    # Single rows

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
        tables: dict[str, Any] = {
            by: table for name, by in LABEL_ERRORS.items() if (table := self._rows_of(name)) is not None
        }
        return tables or None

    @property
    def group_worst(self) -> Any:
        """A table as `worst` of every group: its values, then its rows of highest loss.

        All groups together keep 200,000 rows. Where that is fewer than asked for, each keeps half of them, a quarter,
        ... (`warnings` says so).
        """
        return self._rows_of_groups("worst")

    @property
    def group_worst_per_class(self) -> Any:
        """A table as `group_worst`: the rows of highest loss of every true class of every group."""
        return self._rows_of_groups("worst_per_class")

    @property
    def group_label_errors(self) -> dict[str, Any] | None:
        """Tables as `label_errors`, of every group as in `group_worst`."""
        tables: dict[str, Any] = {
            by: table for name, by in LABEL_ERRORS.items() if (table := self._rows_of_groups(name)) is not None
        }
        return tables or None

    def _label_errors(self, rows_of: Callable[[str], Any]) -> dict[str, Any] | None:
        tables = ((by, rows_of(name)) for name, by in LABEL_ERRORS.items())
        return {by: table for by, table in tables if table is not None} or None

    def _rows_of(self, name: str) -> Any:
        found = rows_table(self._reading, name, self._names_of_targets)
        return None if found is None else found[1]

    def _rows_of_groups(self, name: str) -> Any:
        return self._beside_groups(lambda reading: rows_table(reading, name, self._names_of_targets))

    @property
    def _names_of_targets(self) -> tuple[str, ...] | None:
        spec = self.totals.spec
        return None if spec.task == "multilabel" else spec.class_names

    # Other forms

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values under stable names; statistics that were not gathered are absent."""
        measures = self.totals.measures if self.only is None else self.totals.measures.of_group
        facts = {
            "first_invalid": self.first_invalid,
            "left_out": [left.to_dict() for left in self.left_out],
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "warnings": self.warnings,
            "run": {**self.run, "numerics_version": NUMERICS_VERSION},
        }
        return evaluation_dict(self._reading, measures.to_dict(), self.rows, self._tables(), facts)

    def _tables(self) -> dict[str, Any]:
        """All tables and matrices, by name."""
        names = (
            "confusion", "weighted_confusion", "per_class", "classwise", "confused", "groups", "worst",
            "worst_per_class", "ranking", "group_per_class", "group_classwise", "group_worst", "group_worst_per_class",
            "group_label_errors", "label_errors",
        )  # fmt: skip
        tables = {name: getattr(self, name) for name in names}
        tables["margins"] = [row for table in (self.margins or {}).values() for row in table.to_pylist()]
        ranking = ranking_of(self._reading) if self.totals.spec.task == "binary" else None
        told = ranking is not None and ranking.cells(self._reading) is not None
        return tables | {"thresholds": self.thresholds() if told else None}

    def class_report(self) -> str:
        """Precision, recall, F1, support and loss of every class, and their means, as text.

        As scikit-learn's ``classification_report``: what nothing speaks of counts as 0 in plain means ("macro avg") and
        in those by support ("weighted avg"). Losses are means of the rows of a class. Of labels those that are
        predicted above a probability of 1/2 (``statistics="ranking"``).

        Raises:
            UsageError: predicted classes were not counted.
        """
        labels = self.totals.spec.task == "multilabel"
        return class_report(self.ranking if labels else self.per_class, self.accuracy, labels=labels)

    def to_json(self, *, indent: int | None = 2) -> str:
        """`to_dict` as JSON text; floats read back to the same bits, NaN and infinities as strings."""
        return json_text(self.to_dict(), indent=indent)

    def to_html(
        self, path: str | os.PathLike[str] | None = None, *, gates: Iterable[str | Gate] = (), baseline: Any = None
    ) -> str:
        """A report as one HTML page that needs nothing else; written to ``path`` if one is given. Extra ``report``.

        It begins with a verdict. ``gates`` are conditions under which the model may not ship, such as "loss > 0.35", as
        ``--fail-if`` takes them; ``baseline`` is a state file of an earlier run, what has changed since which is said.
        """
        from fastxent.report.write import write_report

        return write_report(self, path, gates, baseline)

    def plot(self, name: str, ax: Any = None) -> Any:
        """A picture of the report, drawn by Matplotlib (extra ``plot``).

        Args:
            name: "loss", "reliability", "scores", "roc", "pr", "thresholds", "temperature", "groups",
                "trend", "group_classes", "classes", "labels", "confusion" or "label_errors".
            ax: the ``matplotlib.axes.Axes`` to draw on; by default those of a new figure of pyplot.

        Returns:
            The ``Axes``.

        Raises:
            UsageError: there is no such picture, or nothing was gathered that it would show (the message says what
                there is).

        Examples:
            >>> import fastxent as fx
            >>> import matplotlib; matplotlib.use("agg")
            >>> ev = fx.evaluate(logits=[[2.0, 0.0], [0.0, 2.0]], target=[0, 0])
            >>> ev.plot("confusion").get_title()
            'Which classes are taken for which?'
        """
        from fastxent.report.write import plot

        return plot(self, name, ax)

    def headlines(self) -> list[tuple[str, str]]:
        """Name and value of the headline numbers, as lines of text."""
        lines = list(headlines(self.rows, self._reading, self.run, self.intervals))
        worst = self.worst_group() if self._group_columns() else None
        return lines if worst is None else [*lines, ("worst group", str(worst))]

    def shown_tables(self) -> Iterator[tuple[str, Any, int]]:
        """Title, the first rows and the number of all rows of the tables that were asked for."""
        columns = ", ".join(self._group_columns())
        tables: dict[str, Any] = {f"by {name}": table for name, table in self.narrow_groups().items()}
        tables |= {"highest losses": self.worst}
        tables |= {f"highest losses by {columns}": self.group_worst}
        tables |= {"highest losses of each class": self.worst_per_class}
        for by, table in (self.label_errors or {}).items():
            tables[f"perhaps labeled wrong, by {by.replace('_', ' ')}"] = table
        groups = [f"by {name}" for name in self.narrow_groups()]
        for title, table in tables.items():
            if table is not None:
                first = _worst_first(table) if title in groups and table.num_rows > 1 else table
                more = ", highest loss first" if title in groups and table.num_rows > ROWS else ""
                yield f"{title}{more}", first.slice(0, ROWS), table.num_rows

    def __repr__(self) -> str:
        parts = [f"loss={self.loss:.6g}"]
        if self.accuracy is not None:
            parts.append(f"accuracy={self.accuracy:.6g}")
        return f"Evaluation({', '.join(parts)}, rows={self.num_rows:,})"

    def __str__(self) -> str:
        """The summary that the shell prints, as wide as the terminal."""
        width = shutil.get_terminal_size().columns
        return "\n".join(name + value for name, value in summary_lines(self.headlines(), width))

    def _repr_html_(self) -> str:
        """The verdict of the report and the summary as HTML tables, for notebooks."""
        from fastxent.report.write import verdict

        return html_table(verdict(self), self.headlines(), self.shown_tables())


def _worst_first(groups: Any) -> Any:
    """A narrow table of groups by falling loss; groups without one come last."""
    at = len(groups.column_names) - 1 - groups.column_names[::-1].index("loss")
    loss = groups.column(at).to_numpy()
    return groups.take(np.argsort(np.where(np.isnan(loss), math.inf, -loss), kind="stable"))


def _narrow(groups: Any, fields: list[Field]) -> Any:
    """Of a table whose last columns are fields those that are narrow, and the ones before."""
    import pyarrow as pa

    first = groups.num_columns - len(fields)
    kept = [(groups.column_names[i], groups.column(i)) for i in range(first)]
    for i, each in enumerate(fields, start=first):
        if not each.narrow:
            continue
        column = groups.column(i)
        if each.bounded:
            ends = (groups.column(i + step).to_pylist() for step in range(3))
            column = pa.array([float(bracketed(*found)) for found in zip(*ends, strict=True)], pa.float64())
        kept.append((each.name, column))
    names, columns = zip(*kept, strict=True)
    return pa.table(list(columns), names=list(names))


def _public(names: Iterable[str]) -> list[str]:
    return [name for name in names if not name.startswith("_")]
