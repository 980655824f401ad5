"""How well scores rank positives above negatives: ROC AUC, average precision, thresholds. Binary and multilabel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.base.kinds import as_floats
from fastxent.data.batch import Columns
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import records
from fastxent.kernels.sums.records import FIXED_BITS
from fastxent.statistics.field import Field
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.spread import MOST_CELLS
from fastxent.statistics.statistic import Statistic
from fastxent.statistics.table import Cells, Layout, put_in_one

__all__ = ["Area", "LabelRanking", "Ranking", "area_of", "rank_scores"]

OCTAVES = 40
#: Labels whose cells are kept (1 GB a thread).
MOST_LABELS = 100_000
#: Probabilities at which thresholds are shown.
SHOWN = (0.001, 0.01, *(k / 20 for k in range(1, 20)), 0.99, 0.999)


Integers = NDArray[np.int64]


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


class Ranking(Statistic):
    """A histogram of the scores of every label, positives and negatives apart, as fine as memory allows.

    Cells have 2^-10 of a score's size (of 1 - p for probabilities near 1) with up to 8 labels, and are wider with more.
    Scores whose leading bits say all (float16 and bfloat16 logits) are told apart exactly, and the bounds then close.
    A place is label * stride + 2 * cell + truth.
    Columns: how many scores share their cell with others that may differ, and the count, or the pair of the weight.
    """

    name = "ranking"

    def __init__(self, spec: Spec) -> None:
        self._spec, self._labels = spec, spec.num_classes
        self._weighted = spec.reads_weight
        self._fold = spec.form == "probs"
        self._bits_of_cell = bits_of(self._labels)
        self._stride = 4 * half_of(self._bits_of_cell)

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        if not measures.ranking:
            return None
        if spec.task == "multiclass":
            raise UsageError("statistics 'ranking' applies to tasks 'binary' and 'multilabel'")
        if spec.num_classes > MOST_LABELS:
            raise UsageError(
                f"statistics 'ranking' applies up to {MOST_LABELS:,} labels, and there are {spec.num_classes:,}"
            )
        return cls(spec)

    def layouts(self, *, alone: bool) -> dict[str, Layout]:
        """See `Statistic.layouts`."""
        bits = (0, 0, FIXED_BITS) if self._weighted else (0, 0)
        places = self._labels * self._stride
        return {"scores": Layout(bits, places, 0 if alone else MOST_CELLS, put_in_one, banded=self._weighted)}

    def place(self, name: str, record: Record) -> Iterator[tuple[Any, Integers, Integers]]:
        """See `Statistic.place`: the rows by label."""
        n, rows = record.n, slice(record.lo, record.lo + record.n)
        for label in range(self._labels):
            truth = np.where(record.scored, truths_of(record, label, self._spec), np.uint8(2)).astype(np.uint8)
            scores = scores_of(record.batch.predictions, rows, label)
            places, cells = np.empty(n, np.int64), np.zeros((n, 3 if self._weighted else 2), np.int64)
            records.score_places(scores, truth, self._fold, self._bits_of_cell, OCTAVES, places, cells[:, 0])
            places = np.where(places < 0, -1, label * self._stride + places)
            if self._weighted:
                records.put_numbers(record.card, n, record.card.real[sc.WEIGHT], records.QUANTUM, 2, cells, 1)
                records.put_bands(record.card, n, places)
            else:
                cells[:, 1] = 1
            yield None, places, cells

    def note(self, table: str, level: int) -> str:
        """See `Statistic.note`."""
        return "ROC AUC and average precision are not told"

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        names = (("auc", "ROC AUC"), ("average_precision", "average precision"))
        ends = (("", ""), ("_low", ", at least"), ("_high", ", at most"))
        return tuple(Field(f"{name}{end}", f"{title}{what}") for name, title in names for end, what in ends)

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`: of several labels the means."""
        values = {field.name: reading.unknown for field in self.fields(reading)}
        for owner, labels in enumerate(self.labels(reading)):
            for name in ("auc", "average_precision"):
                areas = [getattr(label, name) for label in labels]
                for end, of in (("", "value"), ("_low", "low"), ("_high", "high")):
                    values[name + end][owner] = math.fsum(getattr(area, of) for area in areas) / len(areas)
        return values

    def labels(self, reading: Reading) -> Iterator[list[LabelRanking]]:
        """The ranking of every label of every owner; NaN where there were too many scores to say."""
        cells = self._cells(reading)
        for owner in range(reading.owners):
            yield [self._of_label(cells, owner, label) for label in range(self._labels)]

    def _of_label(self, cells: _Scores, owner: int, label: int) -> LabelRanking:
        neg, pos, _ = cells.filled(owner, label)
        return rank_scores(neg, pos, exact=not cells.shared(owner, label))

    def _cells(self, reading: Reading) -> _Scores:
        cells = reading.sums.cells("scores")
        assert cells is not None
        return _Scores(cells, reading.owners, self._labels, self._stride)

    def table(self, reading: Reading, names: Sequence[str]) -> Any:
        """An Arrow table with a row a label of the only owner: its name, then its areas with their bounds."""
        import pyarrow as pa

        labels = next(self.labels(reading))
        columns: dict[str, Any] = {"label": list(names)}
        for name in ("auc", "average_precision"):
            areas = [getattr(row, name) for row in labels]
            columns |= {
                name: [area.value for area in areas],
                f"{name}_low": [area.low for area in areas],
                f"{name}_high": [area.high for area in areas],
            }
        return pa.table(columns)

    def thresholds(self, reading: Reading, label: int) -> Any:
        """Counts and rates of predicting "positive" for scores of at least ``threshold``, as an Arrow table.

        Thresholds are cell edges, the nearest ones to usual probabilities, so every count is exact.
        """
        import pyarrow as pa

        neg, pos, used = self._cells(reading).filled(0, label)
        edges = self._edges()
        total_neg, total_pos = int(neg.sum()), int(pos.sum())
        rows = []
        for p in SHOWN:
            score = {"probs": p, "log_probs": math.log(p), "logits": math.log(p / (1.0 - p))}[self._spec.form]
            cell = int(np.argmin(np.abs(edges - score)))
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

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`; labels and thresholds are tables."""
        names = ("auc", "average_precision")
        return {name: asdict(area_of(reading, name)) for name in names}

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """See `Statistic.headlines`."""
        for title, name in (("ROC AUC", "auc"), ("avg. precision", "average_precision")):
            area = area_of(reading, name)
            slack = max(area.high - area.value, area.value - area.low)
            yield title, f"{area.value:.6f}" + (f"  (±{slack:.1g})" if slack else "")

    def _edges(self) -> NDArray[np.float64]:
        """The least score of every cell."""
        half, top = half_of(self._bits_of_cell), 1023 + (-1 if self._fold else 16)
        lowest = (top - OCTAVES) << self._bits_of_cell
        places = np.arange(half - 1, dtype=np.int64) + lowest  # 1, ...
        sizes = (places << (52 - self._bits_of_cell)).view(np.float64)
        if self._fold:
            above = np.nextafter(1.0 - sizes[::-1], 1.0)
            return np.concatenate(([0.0], sizes, above[:1], above))  # nothing falls between 1/2 and what follows it
        return np.concatenate(([-math.inf], np.nextafter(-sizes[::-1], math.inf), [5e-324], sizes))


class _Scores:
    """The cells of scores by owner and label."""

    def __init__(self, cells: Cells, owners: int, labels: int, stride: int) -> None:
        self._labels = labels
        label, places = np.divmod(cells.places, stride)
        self._cell, self._positive = places >> 1, places & 1 == 1
        self._shared = cells.columns[:, 0]
        self._weights = cells.words(1).as_integers()
        self._known = cells.level == 0
        keys = cells.owners * labels + label
        self._edges = np.searchsorted(keys, np.arange(owners * labels + 1)).tolist()

    def _span(self, owner: int, label: int) -> slice:
        """The cells of a label of an owner."""
        at = self._labels * owner + label
        return slice(self._edges[at], self._edges[at + 1]) if self._known else slice(0)

    def filled(self, owner: int, label: int) -> tuple[NDArray[Any], NDArray[Any], Integers]:
        """Negatives and positives (Python integers: counts, or weights in some unit) of the cells that have any."""
        span = self._span(owner, label)
        own, at = np.unique(self._cell[span], return_inverse=True)
        neg, pos = np.zeros((2, len(own)), object)
        positive, weights = self._positive[span], self._weights[span]
        for side, here in ((neg, ~positive), (pos, positive)):
            side[at[here]] = weights[here]
        return neg, pos, own

    def shared(self, owner: int, label: int) -> bool:
        """Whether scores share a cell with others that may differ."""
        return bool(self._shared[self._span(owner, label)].any())


def area_of(reading: Reading, name: str) -> Area:
    """An area of the only owner with its bounds."""
    return Area(*(reading.number(f"{name}{end}") for end in ("", "_low", "_high")))


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
    n, p = (np.array([v / total for v in side], np.float64) for side in (neg, pos))
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
