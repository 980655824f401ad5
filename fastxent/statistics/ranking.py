"""How well scores rank positives above negatives: ROC AUC, average precision, thresholds. Binary and multilabel."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.base.kinds import as_floats
from fastxent.data.batch import Columns
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import records
from fastxent.statistics.statistic import Record, Statistic, carry, check_shape

__all__ = [
    "OCTAVES", "Area", "Histograms", "LabelRanking", "bits_of", "half_of", "rank_scores", "scores_of", "truths_of",
]  # fmt: skip

OCTAVES = 40
#: Labels whose cells are kept (1 GB a thread).
MOST_LABELS = 100_000
#: Probabilities at which thresholds are shown.
SHOWN = (0.001, 0.01, *(k / 20 for k in range(1, 20)), 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Area:
    """A number and the interval that surely holds what exact scores would give (up to rounding in float64)."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class LabelRanking:
    """One label: ROC AUC (ties count half) and average precision (a step for every distinct score)."""

    auc: Area
    average_precision: Area


class Histograms(Statistic):
    """A histogram of the scores of every label, positives and negatives apart, as fine as memory allows.

    Cells have 2^-10 of a score's size (of 1 - p for probabilities near 1) with up to 8 labels, and are wider with more.
    Scores whose leading bits say all (float16 and bfloat16 logits) are told apart exactly, and the bounds then close.
    Of one group ``level`` says that 2^level cells are put together in the first of them.
    """

    def __init__(self, spec: Spec) -> None:
        if spec.num_classes > MOST_LABELS:
            raise UsageError(
                f"statistics 'ranking' applies up to {MOST_LABELS:,} labels, and there are {spec.num_classes:,}"
            )
        self._spec = spec
        self._labels = spec.num_classes
        self._weighted = spec.reads_weight
        self._fold = spec.form == "probs"
        self._form = spec.form
        self.level = 0
        self.bits = bits_of(self._labels)
        self._half = half_of(self.bits)
        self.cells: NDArray[np.int64] = np.zeros((self._labels, 2 * self._half, 4), np.int64)
        self.counts: NDArray[np.int64] = np.zeros(
            (self._labels, 2), np.int64
        )  # scores that share a cell; weights too large

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        rows = slice(record.lo, record.lo + record.n)
        scored = record.scored
        weight = record.card.real[sc.WEIGHT, : record.n] if self._weighted else np.zeros(0)
        large = weight >= 2.0**40 if self._weighted else None
        for label in range(self._labels):
            truth = np.where(scored, truths_of(record, label, self._spec), np.uint8(2)).astype(np.uint8)
            if large is not None and large.any():
                self.counts[label, 1] += int((large & (truth < 2)).sum())
                truth[large] = 2
            scores = scores_of(record.batch.predictions, rows, label)
            self.counts[label, 0] += records.by_score(
                scores, truth, weight, self._fold, self.bits, OCTAVES, self.cells[label]
            )

    def merge(self, other: Histograms) -> None:
        """See `Statistic.merge`."""
        self.cells += other.cells
        self.counts += other.counts
        self._carry()

    def _carry(self) -> None:
        if self._weighted:
            carry(self.cells, (0, 2))

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        self._carry()
        return None, [self.cells, self.counts]

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        cells, counts = arrays
        self.cells = check_shape(cells, self.cells.shape)
        self.counts = check_shape(counts, self.counts.shape)

    def _filled(self, label: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
        """Negatives and positives (Python integers: counts, or weights times 2^62) of the cells that have any."""
        cells = self.cells[label]
        used = np.flatnonzero(cells.any(axis=1))
        some = cells[used].astype(object)
        if not self._weighted:
            return some[:, 0], some[:, 2], used
        return (some[:, 0] << 62) + some[:, 1], (some[:, 2] << 62) + some[:, 3], used

    def read(self, label: int) -> LabelRanking:
        """The statistics of one label; NaN without positives or without negatives."""
        neg, pos, _ = self._filled(label)
        if self.counts[label, 1]:
            neg, pos = neg[:0], pos[:0]
        return rank_scores(neg, pos, exact=not self.counts[label, 0])

    def table(self, names: Sequence[str]) -> Any:
        """An Arrow table with a row a label: its name, then auc and average_precision with their bounds."""
        import pyarrow as pa

        found = [self.read(label) for label in range(self._labels)]
        columns: dict[str, Any] = {"label": list(names)}
        for name in ("auc", "average_precision"):
            areas = [getattr(row, name) for row in found]
            columns |= {
                name: [area.value for area in areas],
                f"{name}_low": [area.low for area in areas],
                f"{name}_high": [area.high for area in areas],
            }
        return pa.table(columns)

    def thresholds(self, label: int) -> Any:
        """Counts and rates of predicting "positive" for scores of at least ``threshold``, as an Arrow table.

        Thresholds are cell edges, the nearest ones to usual probabilities, so every count is exact.
        """
        import pyarrow as pa

        neg, pos, used = self._filled(label)
        edges = self._edges()
        total_neg, total_pos = int(neg.sum()), int(pos.sum())
        rows = []
        for p in SHOWN:
            score = {"probs": p, "log_probs": math.log(p), "logits": math.log(p / (1.0 - p))}[self._form]
            cell = int(np.argmin(np.abs(edges[:: 1 << self.level] - score))) << self.level
            first = int(np.searchsorted(used, cell))
            fp, tp = int(neg[first:].sum()), int(pos[first:].sum())
            rows.append(
                {
                    "probability": p,
                    "threshold": float(edges[cell]),
                    "predicted": _share(tp + fp, total_pos + total_neg),
                    "precision": _share(tp, tp + fp),
                    "recall": _share(tp, total_pos),
                    "fpr": _share(fp, total_neg),
                    "f1": _share(2 * tp, total_pos + tp + fp),
                }
            )
        return pa.Table.from_pylist(rows)

    def _edges(self) -> NDArray[np.float64]:
        """The least score of every cell."""
        half, top = self._half, 1023 + (-1 if self._fold else 16)
        lowest = (top - OCTAVES) << self.bits
        sizes = ((np.arange(half - 1, dtype=np.int64) + lowest) << (52 - self.bits)).view(
            np.float64
        )  # of places 1, ...
        if self._fold:
            above = np.nextafter(1.0 - sizes[::-1], 1.0)
            return np.concatenate(([0.0], sizes, above[:1], above))  # nothing falls between 1/2 and what follows it
        return np.concatenate(([-math.inf], np.nextafter(-sizes[::-1], math.inf), [5e-324], sizes))


def bits_of(labels: int) -> int:
    """Leading bits of a score that say its cell, with so many labels."""
    return max(2, 10 - max(0, math.ceil(math.log2(labels / 8))))


def half_of(bits: int) -> int:
    """Cells of scores on either side."""
    return (OCTAVES << bits) + 2


def truths_of(record: Record, label: int, spec: Spec) -> NDArray[Any]:
    """1 and 0 for positive and negative rows of a label, 2 where it does not count."""
    if spec.task == "binary":
        return record.card.whole[sc.TARGET, : record.n]
    rows = slice(record.lo, record.lo + record.n)
    target = record.batch.target[rows, label]
    truth = (target >= 0.5).astype(np.uint8)
    if spec.ignore_index is not None:
        truth[target == spec.ignore_index] = 2
    if record.batch.mask is not None:
        truth[~record.batch.mask[rows, label].astype(np.bool_)] = 2
    return truth


def rank_scores(neg: NDArray[Any], pos: NDArray[Any], *, exact: bool) -> LabelRanking:
    """From Python integers of negatives and positives in cells of rising score; NaN without either.

    ``exact``: scores that share a cell are equal.
    """
    total_neg, total_pos = int(neg.sum()), int(pos.sum())
    if not total_neg or not total_pos:
        nothing = Area(math.nan, math.nan, math.nan)
        return LabelRanking(nothing, nothing)
    below = np.cumsum(neg) - neg
    twice = int((pos * (2 * below + neg)).sum())
    slack = 0 if exact else int((pos * neg).sum())
    pairs = 2 * total_neg * total_pos
    auc = Area(twice / pairs, (twice - slack) / pairs, (twice + slack) / pairs)
    return LabelRanking(auc, _average_precision(neg[::-1], pos[::-1], total_pos, exact))


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def scores_of(predictions: Any, rows: slice, label: int) -> NDArray[np.float64]:
    """The scores of a label as float64 numbers; no conversion of any kind rounds."""
    column = predictions.columns[label][rows] if isinstance(predictions, Columns) else predictions.values[rows, label]
    return np.ascontiguousarray(as_floats(column, predictions.kind), np.float64)


def _average_precision(neg: NDArray[Any], pos: NDArray[Any], total: int, exact: bool) -> Area:
    """Bounds of sum of (R_n - R_{n-1}) P_n over cells from the highest score down.

    Whatever the order within a cell, a positive's precision is at most that of all of the cell's positives before its
    negatives, and at least that of the positives one by one after its negatives. Its value takes the cell as a tie.
    """
    scale = float(total)
    n, p = np.array([float(v) for v in neg]) / scale, np.array([float(v) for v in pos]) / scale
    true, false = np.cumsum(p), np.cumsum(n)
    with np.errstate(invalid="ignore", divide="ignore"):
        tie = np.where(p > 0.0, p * (true / (true + false)), 0.0)
        before = true - p
        best = np.where(p > 0.0, p * (true / (true + (false - n))), 0.0)
        # The integral of (before + x) / (before + x + false) over 0 <= x <= p.
        worst = np.where(p > 0.0, p - false * np.log1p(p / (before + false)), 0.0)
        worst = np.where((p > 0.0) & (before + false == 0.0), p, worst)
    value = float(tie.sum())
    if exact:
        return Area(value, value, value)
    return Area(value, min(float(worst.sum()), value), max(float(best.sum()), value))
