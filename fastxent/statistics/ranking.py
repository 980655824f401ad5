"""How well scores rank positives above negatives: ROC AUC, average precision, curves, thresholds, F1 of labels."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.base.exact import rounded_ratio
from fastxent.base.kinds import as_floats
from fastxent.base.runs import run_starts, sum_of_runs
from fastxent.base.text import bracketed
from fastxent.data.batch import Columns
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import classwise, records
from fastxent.kernels.sums.records import FIXED_BITS
from fastxent.statistics.curves import PrecisionRecallCurve, RocCurve, threshold_table
from fastxent.statistics.field import Field
from fastxent.statistics.laws import Law, summed, together
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.score_cells import AREAS, ENDS, ScoreCells, least_of_cells, of_calibration, of_scores
from fastxent.statistics.spread import MOST_CELLS
from fastxent.statistics.statistic import Statistic, predicts_class
from fastxent.statistics.sums import Exact
from fastxent.statistics.table import Layout, put_in_one
from fastxent.statistics.values import FORMS, pieces_of

__all__ = ["Ranking", "ranking_of"]

OCTAVES = 40
#: Labels whose cells are kept (1 GB a thread).
MOST_LABELS = 100_000

Integers = NDArray[np.int64]

_TITLES = {"auc": "ROC AUC", "average_precision": "average precision"}
_WHAT = {"": "", "_low": ", at least", "_high": ", at most"}


class Ranking(Statistic):
    """Rows by their score, positives and negatives apart, for every label; of several classes each against the rest.

    Binary rows are ranked by the cells of the calibration, which are there anyway: 3600 widths of the probability, and
    octaves near 0 and 1. On request ("ranking") there is a histogram of the stored scores, as fine as memory allows:
    cells have 2^-10 of a score's size (of 1 - p for probabilities near 1) with up to 8 labels, and are wider with more.
    Scores whose leading bits say all (float16 and bfloat16 logits) are told apart exactly, and the bounds then close.
    A place is label * stride + 2 * cell + truth.
    Columns: how many scores share their cell with others that may differ, and the count, or the pair of the weight.
    """

    name = "ranking"

    def __init__(self, spec: Spec, *, gathers: bool) -> None:
        self._spec, self._labels, self._gathers = spec, spec.num_classes, gathers
        self._weighted = spec.reads_weight
        self._fold = spec.form == "probs" or spec.task == "multiclass"
        self._bits_of_cell = bits_of(self._labels)
        self._stride = 4 * half_of(self._bits_of_cell)

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        if not measures.ranking:
            calibrated = measures.scores and predicts_class(spec) and spec.task == "binary"
            return cls(spec, gathers=False) if calibrated else None
        if spec.task == "multiclass" and (not predicts_class(spec) or spec.soft or spec.clip is not None):
            raise UsageError("statistics 'ranking' of several classes applies to labels as targets, without clip")
        if spec.num_classes > MOST_LABELS:
            raise UsageError(
                f"statistics 'ranking' applies up to {MOST_LABELS:,} labels, and there are {spec.num_classes:,}"
            )
        return cls(spec, gathers=True)

    def layouts(self, *, alone: bool) -> dict[str, Layout]:
        """See `Statistic.layouts`."""
        if not self._gathers:
            return {}
        bits = (0, 0, FIXED_BITS) if self._weighted else (0, 0)
        places = self._labels * self._stride
        return {"scores": Layout(bits, places, 0 if alone else MOST_CELLS, put_in_one, banded=self._weighted)}

    def place(self, name: str, record: Record) -> Iterator[tuple[Any, Integers, Integers]]:
        """See `Statistic.place`: the rows by label."""
        if self._spec.task == "multiclass":
            yield from self._place_classes(record)
            return
        n, rows = record.n, slice(record.lo, record.lo + record.n)
        for label in range(self._labels):
            truth = np.where(record.scored, truths_of(record, label, self._spec), np.uint8(2)).astype(np.uint8)
            scores = scores_of(record.batch.predictions, rows, label)
            places, shared = np.empty(n, np.int64), np.empty(n, np.int64)
            records.score_places(scores, truth, self._fold, self._bits_of_cell, OCTAVES, places, shared)
            places = np.where(places < 0, -1, label * self._stride + places)
            if self._weighted:
                records.put_bands(record.card, n, places)
            cells = self._cells_of(record)
            cells[:, 0] = shared
            yield None, places, cells

    def _place_classes(self, record: Record) -> Iterator[tuple[Any, Integers, Integers]]:
        """The rows by class, each of which is ranked by its probability against the others."""
        bands, weights = np.zeros(record.n, np.int64), self._cells_of(record)
        if self._weighted:
            records.put_bands(record.card, record.n, bands)
        for rows, scores in pieces_of(record, self._labels):
            places, shared = np.empty((2, *scores.shape), np.int64)
            card = record.card.status[rows], record.card.whole[sc.TARGET, rows]
            shape = FORMS[self._spec.form], self._spec.normalize, self._bits_of_cell, OCTAVES, self._stride
            classwise.ranks_of_classes(scores, *card, *shape, np.empty(self._labels), places, shared)
            places = places.reshape(-1)
            each = np.repeat(np.arange(rows.start, rows.stop), self._labels)
            if self._weighted:
                places = np.where(places < 0, -1, places << records.BAND_BITS | bands[each])
            cells = weights[each]
            cells[:, 0] = shared.reshape(-1)
            yield each, places, cells

    def _cells_of(self, record: Record) -> Integers:
        """What rows add but for the first column: a row each, or its weight."""
        cells = np.zeros((record.n, 3 if self._weighted else 2), np.int64)
        if self._weighted:
            records.put_numbers(record.card, record.n, record.card.real[sc.WEIGHT], records.QUANTUM, 2, cells, 1)
        else:
            cells[:, 1] = 1
        return cells

    def note(self, table: str, level: int) -> str:
        """See `Statistic.note`."""
        return "ROC AUC and average precision are not told"

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`: each label has scores of the rows, of all of them where none is masked."""
        cells = reading.sums.cells("scores")
        if cells is None or cells.level:
            return
        owners = cells.owners * self._labels + cells.places // self._stride
        shared, counts, many = cells.columns[:, 0], cells.columns[:, 1], reading.owners * self._labels
        weight = reading.total_weight
        every = Exact(np.repeat(weight.integers, self._labels), weight.bits, np.repeat(weight.special, self._labels))
        if self._weighted:
            total = summed(replace(cells, owners=owners), cells.words(1, records.QUANTUM), many)
            most = self._labels * reading.counts
            yield "more scores share a cell than there are", together(shared, cells.owners, reading.owners) <= most
        else:
            total = Exact.of_counts(together(counts, owners, many).astype(np.int64))
            yield (
                "more scores share a cell than are in it",
                together(shared > counts, cells.owners, reading.owners) == 0,
            )
        fine = total.at_most(every) if self._spec.task == "multilabel" else total.equals(every)
        yield "the scores of a label are not those of the scored rows", np.all(fine.reshape(-1, self._labels), axis=1)

    @property
    def labels(self) -> int:
        """How many labels, or classes, are ranked."""
        return self._labels

    @property
    def _kinds(self) -> tuple[str, ...]:
        """Means over labels: plain, and by the weight of their positives."""
        return ("",) if self._labels == 1 else ("", "_weighted")

    @property
    def _f1s(self) -> tuple[str, ...]:
        """F1 of labels: of log-probabilities, cells do not end at 1/2."""
        several = self._spec.task == "multilabel" and self._spec.form != "log_probs"
        return ("f1_macro", "f1_weighted", "f1_micro") if several else ()

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        areas = [
            Field(
                f"{name}{kind}{end}", f"{_TITLES[name]}{', by support' * bool(kind)}{_WHAT[end]}",
                narrow=f"{name}{kind}{end}" == "auc", bounded=not end,
            )
            for name in AREAS for kind in self._kinds for end in ENDS
        ]  # fmt: skip
        return (*areas, *(Field(name, f"{name.removeprefix('f1_')} F1", share=True) for name in self._f1s))

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`: of several labels means over those that have positives and negatives."""
        cells, count = self.cells(reading), self._labels
        values = {field.name: reading.unknown for field in self.fields(reading)}
        if cells is None:
            return values
        areas = cells.areas(reading.owners * count)
        if count == 1:
            return areas
        positive = _sum_by_key(cells.positive, cells.keys, reading.owners * count)
        known = np.flatnonzero(~np.isnan(areas["auc"]))
        owners, weights = known // count, positive[known]
        for name in AREAS:
            for end in ENDS:
                own = areas[name + end][known]
                values[name + end] = _mean(own, None, owners, reading.owners)
                values[f"{name}_weighted{end}"] = _mean(own, weights, owners, reading.owners)
        if self._f1s:
            values |= self._f1(cells, reading.owners)
        return values

    def _f1(self, cells: ScoreCells, owners: int) -> dict[str, NDArray[np.float64]]:
        """Means of F1 over labels that are there or predicted, and that of all labels at once."""
        right, predicted, support, _ = self._decisions(cells, owners)
        used = np.flatnonzero(predicted + support > 0)
        by_label, owner = rounded_ratio(2 * right[used], (predicted + support)[used]), used // self._labels
        above, below = (part.reshape(owners, self._labels).sum(axis=1) for part in (2 * right, predicted + support))
        means = _mean(by_label, None, owner, owners), _mean(by_label, support[used], owner, owners)
        return {"f1_macro": means[0], "f1_weighted": means[1], "f1_micro": rounded_ratio(above, below)}

    def _decisions(self, cells: ScoreCells, owners: int) -> list[NDArray[Any]]:
        """Where a label is predicted if its probability is above 1/2: right ones, predicted, positives, all; by key."""
        said = cells.thresholds > (0.5 if self._fold else 0.0)
        both = cells.positive + cells.negative
        sides = np.where(said, cells.positive, 0), np.where(said, both, 0), cells.positive, both
        return [_sum_by_key(side, cells.keys, owners * self._labels) for side in sides]

    def cells(self, reading: Reading) -> ScoreCells | None:
        """The cells of all owners and labels; None where there were too many to say."""
        found: ScoreCells | None = reading.once("score cells", lambda: self._read_cells(reading))
        return found

    def _read_cells(self, reading: Reading) -> ScoreCells | None:
        if not self._gathers:
            return of_calibration(reading)
        cells = reading.sums.cells("scores")
        assert cells is not None
        return of_scores(cells, self._labels, self._edges(), weighted=self._weighted)

    def table(self, reading: Reading, names: Sequence[str]) -> Any:
        """An Arrow table with a row a label of the only owner: its name, its areas with their bounds.

        Of multilabel tasks support (with weights share), precision, recall and F1 as well.
        """
        import pyarrow as pa

        cells = self.cells(reading)
        if cells is None:
            columns = dict.fromkeys((name + end for name in AREAS for end in ENDS), np.full(self._labels, math.nan))
            return pa.table({"label": list(names)} | columns)
        columns = cells.areas(self._labels)
        if self._f1s:
            right, predicted, support, rows = self._decisions(cells, 1)
            columns |= (
                {"share": rounded_ratio(support, rows)} if self._weighted else {"support": support.astype(np.int64)}
            )
            columns |= {"precision": rounded_ratio(right, predicted), "recall": rounded_ratio(right, support)}
            columns["f1"] = rounded_ratio(2 * right, predicted + support)
        return pa.table({"label": list(names)} | columns)

    def label_cells(self, reading: Reading, label: int) -> ScoreCells:
        """The cells of a label of the only owner; raises UsageError where there were too many to say."""
        if (cells := self.cells(reading)) is None:
            raise UsageError(
                "so many groups share memory that their scores were not kept; "
                "evaluate the rows of the group alone with filter="
            )
        return cells.only(label)

    def roc_curve(self, reading: Reading, label: int) -> RocCurve:
        """The ROC curve of a label of the only owner."""
        return RocCurve.of(self.label_cells(reading, label), self.scale)

    def pr_curve(self, reading: Reading, label: int) -> PrecisionRecallCurve:
        """The precision-recall curve of a label of the only owner."""
        return PrecisionRecallCurve.of(self.label_cells(reading, label), self.scale)

    def thresholds(self, reading: Reading, label: int) -> Any:
        """Counts and rates of predicting "positive" for scores of at least ``threshold``, as an Arrow table."""
        edges = self._edges() if self._gathers else least_of_cells()
        return threshold_table(self.label_cells(reading, label), edges, self.scale)

    @property
    def scale(self) -> str:
        """What thresholds are: "probs", "logits" or "log_probs"."""
        return "probs" if self._fold or not self._gathers else self._spec.form

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`; labels and thresholds are tables."""
        section: dict[str, Any] = {
            name + kind: {word: reading.number(f"{name}{kind}{end}") for word, end in zip(_BOUNDS, ENDS, strict=True)}
            for name in AREAS for kind in self._kinds
        }  # fmt: skip
        return section | {name: reading.number(name) for name in self._f1s}

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """See `Statistic.headlines`."""
        over = (
            "" if self._labels == 1 else ", mean over " + ("labels" if self._spec.task == "multilabel" else "classes")
        )
        for title, name in (("ROC AUC", "auc"), ("avg. precision", "average_precision")):
            value, low, high = (reading.number(name + end) for end in ENDS)
            if math.isnan(value):
                yield title, "–  (needs rows of both kinds)"
                continue
            between = "" if low == high else f"binned scores: surely {low:.6g} to {high:.6g}"
            facts = "; ".join(each for each in (between, over) if each)
            yield title, bracketed(value, low, high) + (f"  ({facts})" if facts else "")
        if self._f1s:
            yield "F1", ", ".join(f"{name.removeprefix('f1_')} {reading.number(name):.4f}" for name in self._f1s)

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


_BOUNDS = ("value", "low", "high")


def ranking_of(reading: Reading) -> Ranking | None:
    """The statistic, where there is one."""
    ranking = reading.statistics.get("ranking")
    return ranking if isinstance(ranking, Ranking) else None


def _sum_by_key(values: NDArray[Any], keys: Integers, count: int) -> NDArray[Any]:
    """The sums of the values of every key."""
    sums, starts = np.zeros(count, values.dtype), run_starts(keys)
    if starts.size:
        sums[keys[starts]] = np.add.reduceat(values, starts)
    return sums


def _mean(values: NDArray[np.float64], weights: NDArray[Any] | None, owners: Integers, count: int) -> Any:
    """The mean of the values of every owner, by weight; NaN over nothing."""
    means, starts = np.full(count, math.nan), run_starts(owners)
    if not starts.size:
        return means
    if weights is None:
        means[owners[starts]] = sum_of_runs(values, starts) / np.diff(np.append(starts, len(owners)))
        return means
    total = np.add.reduceat(weights, starts)
    shares = rounded_ratio(weights, np.repeat(total, np.diff(np.append(starts, len(owners)))))
    means[owners[starts]] = np.where(total > 0, sum_of_runs(np.nan_to_num(shares) * values, starts), math.nan)
    return means


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


def scores_of(predictions: Any, rows: slice, label: int) -> NDArray[np.float64]:
    """The scores of a label as float64 numbers; no conversion of any kind rounds."""
    column = predictions.columns[label][rows] if isinstance(predictions, Columns) else predictions.values[rows, label]
    return np.ascontiguousarray(as_floats(column, predictions.kind), np.float64)
