"""What is said class by class, from rows by target and predicted class: their number, weight, losses and confidence."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.runs import run_starts, sum_of_runs
from fastxent.base.twofold import sum_by_owner
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import group_sums as kernels
from fastxent.kernels.sums import records, tally
from fastxent.kernels.sums.records import FIXED_BITS
from fastxent.kernels.sums.tally import Tallies
from fastxent.statistics.calibration import confidences_of
from fastxent.statistics.field import Field
from fastxent.statistics.laws import Law, between, summed, together
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.spread import MOST_CELLS
from fastxent.statistics.statistic import Statistic, predicts_class
from fastxent.statistics.sums import Exact
from fastxent.statistics.table import PLACES, Cells, Layout, put_in_one
from fastxent.statistics.words import Words

__all__ = ["FULL_CLASSES", "ByClass", "Classes", "class_sums", "confused_pairs", "confusion_matrix", "per_class"]

#: Confusion is counted as a full matrix up to this many classes (8 MB of counters a thread).
FULL_CLASSES = 1000
#: Distinct pairs of target and another predicted class that are counted; with more, nothing is said.
MAX_PAIRS = 1 << 20

#: The levels of the table of pairs: pairs, classes (targets and predictions apart), targets, nothing.
_PAIRS, _BY_CLASS, _TARGETS, _NOTHING = range(4)
#: Classes up to which pairs have a place beside the band of a weight.
MOST_WEIGHTED = 1 << 19

#: What rounding down may take from the loss or the confidence of a row.
_ROUNDED = 1e-11

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ByClass:
    """Sums of every (owner, class) that is a target or, where it is told, predicted; sorted by both.

    ``rows`` with it as target; weights of those rows (``support``), of the right ones, and of the rows that predict it;
    their losses, by target, and confidences, by predicted class. ``beyond``: a loss is too large to be summed.
    ``predictions``: whether predicted classes are told. ``exponents``: those of `Cells`.
    """

    owners: Integers
    classes: Integers
    rows: Integers
    support: Words
    correct: Words
    predicted: Words
    losses: Words
    confidences: Words
    beyond: NDArray[np.bool_]
    predictions: bool
    exponents: Integers | None

    @property
    def loss(self) -> Numbers:
        """The mean loss of the target's rows."""
        return self.losses.over(self.support)

    @property
    def confidence(self) -> Numbers:
        """The mean confidence of the rows predicting the class."""
        return self.confidences.over(self.predicted)

    @property
    def recall(self) -> Numbers:
        """The share of the target's rows that is right."""
        return self.correct.over(self.support)

    @property
    def precision(self) -> Numbers:
        """The share of the rows predicting the class that is right."""
        return self.correct.over(self.predicted)

    @property
    def f1(self) -> Numbers:
        """The harmonic mean of precision and recall."""
        return (self.correct + self.correct).over(self.support + self.predicted)


class Classes(Statistic):
    """Counts, weights, losses and confidences by target and predicted class, and means over classes.

    Where groups have too many pairs of classes, they are told by class: of the rows with it as target, of those that
    predict it, and of both. Where that is too many, of the rows with it as target alone; then nothing.
    """

    name = "classes"

    def __init__(self, spec: Spec) -> None:
        self._spec, self._weighted = spec, spec.reads_weight
        self._classes = 2 if spec.task == "binary" else spec.num_classes

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        many = spec.reads_weight and spec.num_classes > MOST_WEIGHTED
        return cls(spec) if measures.scores and predicts_class(spec) and not many else None

    # A column of rows; with weights the pair of what they weigh; columns of the loss, and a pair of the confidence.

    @property
    def _bits(self) -> tuple[int, ...]:
        if self._weighted:
            return (0, 0, FIXED_BITS, 0, FIXED_BITS, FIXED_BITS, 0, FIXED_BITS)
        return (0, 0, tally.LOW_BITS, 0, tally.LOW_BITS)

    @property
    def _weight(self) -> slice:
        """The columns that say what rows weigh."""
        return slice(1, 3) if self._weighted else slice(0, 1)

    @property
    def _confidence(self) -> slice:
        return slice(len(self._bits) - 2, len(self._bits))

    @property
    def _hits(self) -> slice:
        """By class, the columns that say what right rows weigh; behind them come those of rows that predict it."""
        return slice(len(self._bits), len(self._bits) + (2 if self._weighted else 1))

    @property
    def _predictions(self) -> slice:
        return slice(self._hits.stop, 2 * self._hits.stop - self._hits.start)

    def _bits_at(self, level: int) -> tuple[int, ...]:
        """By class what the right rows weigh, and those that predict it, as well."""
        return self._bits + 2 * ((0, FIXED_BITS) if self._weighted else (0,))

    def layouts(self, *, alone: bool) -> dict[str, Layout]:
        """See `Statistic.layouts`.

        Without weights tallies count all rows by class, and their confusion up to `FULL_CLASSES`; beyond, rows whose
        predicted class is wrong are counted here.
        """
        if alone and not self._weighted:
            return {"confused": Layout((0,), 0, MAX_PAIRS, put_in_one)} if self._classes > FULL_CLASSES else {}
        places = 2 * self._classes**2
        limit = 0 if alone and self._classes <= FULL_CLASSES else MOST_CELLS
        banded = self._weighted
        return {"pairs": Layout(self._bits, places, limit, self._raised, self._bits_at, banded, levels=_NOTHING)}

    def place(self, name: str, record: Record) -> Iterator[tuple[Any, Integers, Integers]]:
        """See `Statistic.place`."""
        n = record.n
        if name == "confused":
            whole = record.card.whole[:, :n]
            pairs = whole[sc.TARGET].astype(np.int64) * self._classes + whole[sc.PREDICTED]
            yield None, np.where(record.scored & (whole[sc.RANK] > 0), pairs, -1), np.ones((n, 1), np.int64)
            return
        places, cells = np.empty(n, np.int64), np.zeros((n, len(self._bits)), np.int64)
        kernels.cells_of_pairs(record.card, n, self._weighted, self._classes, places, cells)
        yield None, places, cells

    def _raised(self, keys: Integers, cells: Integers, level: int) -> tuple[Integers, Integers]:
        """See `Layout.raised`."""
        if level == _BY_CLASS:
            return self._by_class(keys, cells)
        if level == _TARGETS:
            cells = cells.copy()
            cells[:, self._confidence] = cells[:, self._predictions] = 0
            return np.where(cells[:, 0] > 0, keys, -1), cells
        return put_in_one(keys, cells, level)

    def _by_class(self, keys: Integers, cells: Integers) -> tuple[Integers, Integers]:
        """Rows of pairs as two each: of their target, and if it is another one of their predicted class."""
        pairs, flag = (keys & PLACES) >> 1, keys & 1
        target, predicted = np.divmod(pairs, self._classes)
        hit = (target == predicted)[:, np.newaxis]
        own, other = np.zeros((2, len(cells), len(self._bits_at(_BY_CLASS))), np.int64)
        own[:, : len(self._bits)] = cells
        weight = cells[:, self._weight]
        own[:, self._hits] = own[:, self._predictions] = np.where(hit, weight, 0)
        own[:, self._confidence] = np.where(hit, cells[:, self._confidence], 0)
        other[:, self._predictions], other[:, self._confidence] = weight, cells[:, self._confidence]
        owners = keys & ~np.int64(PLACES)
        both = np.concatenate((owners | target << 1 | flag, owners | predicted << 1))
        left_out = np.concatenate((keys < 0, (keys < 0) | hit[:, 0]))
        return np.where(left_out, -1, both), np.concatenate((own, other))

    def tallied(self, name: str, tallies: Tallies) -> Cells | None:
        """See `Statistic.tallied`: all rows by class, as if pairs had been put together, and up to 1000 the pairs."""
        if self._weighted or not tallies.classes.size:
            return None
        if name == "confusion" and tallies.confusion.size:
            pairs = np.flatnonzero(tallies.confusion)
            return Cells(np.zeros_like(pairs), pairs, tallies.confusion.reshape(-1, 1)[pairs], _PAIRS)
        if name != "by_class":
            return None
        classes, confusion = tallies.classes, tallies.confusion
        if confusion.size:
            support, correct, predicted = confusion.sum(axis=1), confusion.diagonal(), confusion.sum(axis=0)
        else:
            support, correct, predicted = (classes[:, i] for i in (tally.SUPPORT, tally.CORRECT, tally.PREDICTED))
        cells = np.zeros((len(classes), len(self._bits_at(_BY_CLASS))), np.int64)
        cells[:, 0], cells[:, self._hits.start], cells[:, self._predictions.start] = support, correct, predicted
        cells[:, 1] = (classes[:, tally.LOSS_WHOLE] << tally.MIDDLE_BITS) + classes[:, tally.LOSS_MIDDLE]
        cells[:, 2] = classes[:, tally.LOSS_LOW]
        cells[:, 3], cells[:, 4] = classes[:, tally.CONF_WHOLE], classes[:, tally.CONF_LOW]
        infinite = (classes[:, tally.INFINITE] > 0).astype(np.int64)
        used, bits = np.flatnonzero(cells.any(axis=1)), self._bits_at(_BY_CLASS)
        return Cells(np.zeros(len(used), np.int64), (used << 1) | infinite[used], cells[used], _BY_CLASS, bits)

    def note(self, table: str, level: int) -> str:
        """See `Statistic.note`."""
        if level == _BY_CLASS:
            return "the confusion of classes is not told"
        if level == _TARGETS:
            return "confusion, precision, F1 and confidence by class are not told"
        return "nothing is told by class, nor are D2, F1 and balanced accuracy"

    def by_class(self, reading: Reading) -> ByClass | None:
        """The sums of every class of every owner; None where there were too many to count."""
        sums: ByClass | None = reading.once("by_class", lambda: self._read_classes(reading))
        return sums

    def _read_classes(self, reading: Reading) -> ByClass | None:
        cells = reading.sums.cells("by_class") or reading.sums.cells("pairs")
        if cells is None or cells.level >= _NOTHING:
            return None
        if cells.level == _PAIRS:
            cells = cells.raised(self._by_class, self._bits_at(_BY_CLASS))
        starts = run_starts(cells.owners, cells.places >> 1)
        infinite = cells.places & 1
        beyond = np.maximum.reduceat(infinite, starts) if starts.size else infinite
        cells = cells.at_places(cells.places >> 1)
        quantum = records.QUANTUM if self._weighted else tally.CONF_BITS
        return ByClass(
            owners=cells.owners,
            classes=cells.places,
            rows=cells.columns[:, 0],
            support=self._weights(cells, self._weight),
            correct=self._weights(cells, self._hits),
            predicted=self._weights(cells, self._predictions),
            losses=cells.words(self._weight.stop, tally.MIDDLE_BITS + tally.LOW_BITS),
            confidences=cells.words(self._confidence.start, quantum),
            beyond=beyond > 0,
            predictions=cells.level < _TARGETS,
            exponents=cells.exponents,
        )

    def _weights(self, cells: Cells, part: slice) -> Words:
        if not self._weighted:
            return Words.of_counts(cells.columns[:, part.start])
        return cells.words(part.start, records.QUANTUM)

    def pairs(self, reading: Reading) -> tuple[Integers, Integers, Integers, Numbers | None] | None:
        """Owners, pairs (target * classes + predicted), rows and weights; None where they are not told.

        Beyond `FULL_CLASSES` only of rows whose predicted class is wrong, and of at most `MAX_PAIRS` an owner.
        """
        cells = reading.sums.cells("pairs") or reading.sums.cells("confused") or reading.sums.cells("confusion")
        if cells is None or cells.level:
            return None
        if reading.sums.cells("pairs") is not None:
            cells = cells.at_places(cells.places >> 1)
        owners, pairs, rows = cells.owners, cells.places, cells.columns[:, 0]
        weights = self._weights(cells, self._weight).rounded(cells.exponents) if self._weighted else None
        if self._classes > FULL_CLASSES:
            wrong = pairs // self._classes != pairs % self._classes
            owners, pairs, rows = owners[wrong], pairs[wrong], rows[wrong]
            weights = None if weights is None else weights[wrong]
            if np.bincount(owners, minlength=1).max(initial=0) > MAX_PAIRS:
                return None
        return owners, pairs, rows, weights

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        if not self._spec.is_plain:
            return ()
        return (Field("normalized_entropy", "normalized entropy"), Field("d2", "D2", narrow=True))

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`: the mean loss over the entropy of the target classes' shares, and 1 - that.

        Below 1 is better than always predicting the shares. D2 is the D2 log-loss score of scikit-learn.
        """
        classes = self.by_class(reading)
        if classes is None:
            return dict.fromkeys(("normalized_entropy", "d2"), reading.unknown)
        base = _base_entropy(classes, reading.owners)
        relative = np.where(base > 0.0, reading.nats("loss") / base, math.nan)
        return {"normalized_entropy": relative, "d2": 1.0 - relative}

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`: classes hold all rows, as targets and as predictions, their losses and confidences."""
        classes = self.by_class(reading)
        if classes is None:
            return
        cells = Cells(classes.owners, classes.classes, classes.rows[:, np.newaxis], 0, exponents=classes.exponents)
        of = functools.partial(together, owners=classes.owners, count=reading.owners)
        support, correct, predicted, loss, confidence = (
            summed(cells, words, reading.owners)
            for words in (classes.support, classes.correct, classes.predicted, classes.losses, classes.confidences)
        )
        weight, total = reading.total_weight, reading.exact("weighted_loss" if self._weighted else "loss")
        yield "the rows of the classes are not the scored ones", of(classes.rows) == reading.counts
        yield "the weights of the classes are not those of all rows", support.equals(weight)
        yield "more rows of a class are right than there are", of(~classes.support.at_least(classes.correct)) == 0
        if classes.predictions:
            yield "the rows by predicted class are not the scored ones", predicted.equals(weight)
            low = ~classes.predicted.at_least(classes.correct)
            yield "more rows that predict a class are right than there are", of(low) == 0
            fine = classes.confidence <= 1.0 + _ROUNDED
            yield "a class has a mean confidence above 1", of(~(fine | ~classes.predicted.positive)) == 0
        yield from self._laws_of_losses(reading, classes, loss, total)
        yield from self._laws_of_hits(reading, cells, classes, correct, confidence)

    def _laws_of_losses(self, reading: Reading, classes: ByClass, loss: Exact, total: Exact) -> Iterator[Law]:
        """Losses of classes are parts of all losses, each rounded down a little."""
        of = functools.partial(together, owners=classes.owners, count=reading.owners)
        beyond = of(classes.beyond & (classes.rows > 0)) > 0
        if "spread" in reading.statistics:
            low, high = reading.sums.extremes
            yield (
                "losses of a class are too large to be summed, and none is, or the other way round",
                ((beyond == (high >= records.LIMIT)) | np.isnan(high)),
            )
            if reading.spec.class_weight is None:
                here = ~classes.beyond & (classes.rows > 0)
                mean = np.where(here, classes.loss, low[classes.owners])
                inside = between(low[classes.owners] - _ROUNDED, mean, high[classes.owners])
                yield "the mean loss of a class is not between the least and the largest", of(~inside) == 0
        if self._weighted:
            slack = 1e-9 * total.rounded + _ROUNDED * reading.total_weight.rounded
            apart = total.rounded - loss.rounded
            near = (-slack <= apart) & (apart <= slack) | ~np.isfinite(apart)
        else:  # each is rounded down to a multiple of 2^-42
            near = loss.at_most(total) & total.finite.at_most(loss.plus(Exact.of_counts(reading.counts).scaled(-42)))
        # Smoothing gives a share of the loss to rows of classes without weight, which are in none.
        yield (
            "the losses of the classes do not add up to the sum",
            near | beyond | (reading.spec.class_weight is not None),
        )

    def _laws_of_hits(
        self, reading: Reading, cells: Cells, classes: ByClass, correct: Exact, confidence: Exact
    ) -> Iterator[Law]:
        """Ranks and calibration say of all rows what classes say of parts."""
        right = reading.exact("weighted_correct") if self._weighted else _first_ranks(reading)
        if right is not None and (classes.predictions or self._weighted is False):
            yield "the right rows of the classes are not those of rank 0", correct.equals(right)
        found = reading.sums.cells("calibration")
        if found is None or found.level > 1:
            return
        if classes.predictions and not found.level:
            whole, weight = confidences_of(reading), reading.total_weight.rounded
            near = np.abs(whole - confidence.rounded) <= _ROUNDED * weight
            yield "the confidences of the classes are not those of the calibration", near | np.isinf(weight)
        hits = Exact.of_counts(together(found.columns[:, 1], found.owners, reading.owners).astype(np.int64))
        if self._spec.task == "binary":
            ones = Exact.of_counts(
                together(classes.rows * (classes.classes == 1), classes.owners, reading.owners).astype(np.int64)
            )
            yield "the rows of class 1 are not those of the calibration", hits.equals(ones)
        elif not self._weighted:
            yield "the right rows of the classes are not those of the calibration", hits.equals(correct)

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`."""
        names = ("normalized_entropy", "d2")
        return {name: reading.number(name) for name in names if name in reading}

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """See `Statistic.headlines`."""
        if "d2" in reading and not math.isnan(d2 := reading.number("d2")):
            yield "D2", f"{d2:.4f}  (normalized entropy {1.0 - d2:.4f})"


def _first_ranks(reading: Reading) -> Exact | None:
    """How many rows have their target first, where ranks say it."""
    cells = reading.sums.cells("ranks")
    if cells is None or cells.level > 1:
        return None
    first = np.zeros(reading.owners, np.int64)
    here = cells.places == 0
    first[cells.owners[here]] = cells.columns[here, 0]
    return Exact.of_counts(first)


def _base_entropy(classes: ByClass, owners: int) -> Numbers:
    """Entropy, in nats, of the shares of the target classes: the loss of always predicting them. NaN without weight."""
    support = classes.support.as_numbers()
    used = support.high > 0.0
    support, owner = support[used], classes.owners[used]
    starts = run_starts(owner)
    entropy = np.full(owners, math.nan)
    if starts.size:
        lengths = np.diff(np.append(starts, len(owner)))
        total = sum_by_owner(support, starts)
        shares = support.over(total[np.repeat(np.arange(len(starts)), lengths)]).tolist()
        entropy[owner[starts]] = -sum_of_runs(np.array([p * math.log(p) for p in shares]), starts)
    return entropy


def _with_every_class(classes: ByClass, count: int) -> ByClass:
    """The sums of the only owner, with 0 for classes that are no target and not predicted."""
    at = np.full(count, len(classes.classes))
    at[classes.classes] = np.arange(len(classes.classes))

    def filled(values: Any) -> Any:
        if values is None:
            return None
        if isinstance(values, Words):
            return Words(tuple(map(filled, values.words)), values.bits, values.unit)
        return np.append(values, np.zeros(1, values.dtype))[at]

    names = ("owners", "rows", "support", "correct", "predicted", "losses", "confidences", "beyond", "exponents")
    sums = {name: filled(getattr(classes, name)) for name in names}
    return ByClass(classes=np.arange(count), predictions=classes.predictions, **sums)


def class_sums(reading: Reading) -> ByClass | None:
    """The sums of every class of every owner, for other statistics; None where there are none."""
    classes = reading.statistics.get("classes")
    return classes.by_class(reading) if isinstance(classes, Classes) else None


def per_class(reading: Reading, names: tuple[str, ...], *, every: bool) -> tuple[Integers, Any] | None:
    """Owners, and in rows by owner and class an Arrow table; None where it is not told.

    Columns: class, support, (weight,) loss, precision, recall, f1, confidence, gap. ``support`` counts rows; the rest
    is weighted with weights. ``confidence`` is the mean confidence of the rows that predict the class, ``gap`` what it
    exceeds their precision by. What nothing speaks of is NaN. With ``every`` the only owner has a row for every class.
    """
    import pyarrow as pa

    classes = class_sums(reading)
    if classes is None:
        return None
    if every:
        classes = _with_every_class(classes, len(names))
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = classes.precision
        confidence = classes.confidence
        loss = np.where(classes.rows == 0, math.nan, classes.loss)
        columns: dict[str, NDArray[Any]] = {"support": classes.rows}
        columns |= {"weight": classes.support.rounded(classes.exponents)} if reading.weighted else {}
        columns["loss"] = reading.unit.of(np.where(classes.beyond & (classes.rows > 0), math.inf, loss))
        columns["recall"] = classes.recall
        if classes.predictions:
            columns |= {"precision": precision, "f1": classes.f1}
            columns |= {"confidence": confidence, "gap": confidence - precision}
    order = ("support", "weight", "loss", "precision", "recall", "f1", "confidence", "gap")
    class_names = pa.array(names, pa.string()).take(pa.array(classes.classes))
    table = pa.table({"class": class_names} | {name: columns[name] for name in order if name in columns})
    return classes.owners, table


def confusion_matrix(reading: Reading, *, weighted: bool = False) -> NDArray[Any] | None:
    """Rows (or their weight) by target and predicted class of the only owner; None where it was not counted."""
    statistic = reading.statistics.get("classes")
    classes = 2 if reading.spec.task == "binary" else reading.spec.num_classes
    if not isinstance(statistic, Classes) or classes > FULL_CLASSES or (found := statistic.pairs(reading)) is None:
        return None
    _, pairs, rows, weights = found
    if weighted and weights is None:
        return None
    matrix = np.zeros(classes * classes, np.float64 if weighted else np.int64)
    matrix[pairs] = weights if weighted and weights is not None else rows
    return matrix.reshape(classes, classes)


def confused_pairs(reading: Reading, names: tuple[str, ...], most: int) -> Any:
    """The most confused pairs of the only owner as an Arrow table: target, predicted, count, (weight,); or None."""
    import pyarrow as pa

    statistic = reading.statistics.get("classes")
    if not isinstance(statistic, Classes) or (found := statistic.pairs(reading)) is None:
        return None
    _, pairs, rows, weights = found
    target, predicted = np.divmod(pairs, len(names))
    wrong = np.flatnonzero(target != predicted)
    order = wrong[np.lexsort((pairs[wrong], -rows[wrong]))][:most]
    text = pa.array(names, pa.string())
    columns = {"target": text.take(pa.array(target[order])), "predicted": text.take(pa.array(predicted[order]))}
    columns["count"] = pa.array(rows[order], pa.int64())
    if weights is not None and len(names) <= FULL_CLASSES:
        columns["weight"] = pa.array(weights[order], pa.float64())
    return pa.table(columns)
