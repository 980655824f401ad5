"""Reading what is counted by class: supports, precision and recall, losses, confusion, the entropy of the base rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastxent.kernels.sums import records, tally
from fastxent.statistics.statistic import fixed, read_fixed

if TYPE_CHECKING:
    from fastxent.kernels.sums.tally import Tallies
    from fastxent.statistics.weighed import Weighed

__all__ = ["ByClass", "base_entropy", "class_table", "rank_weights", "read_classes", "weigh_classes", "weight_matrix"]

Number = int | Fraction


@dataclass(frozen=True, slots=True)
class ByClass:
    """Sums by class: weights of rows with it as target, of the right ones, of rows predicting it; losses, confidences.

    Losses are by target class, None where one is too large to be summed; confidences are by predicted class.
    """

    support: list[Number]
    correct: list[Number]
    predicted: list[Number]
    loss: list[Fraction | None]
    confidence: list[Fraction]


def read_classes(tallies: Tallies) -> ByClass:
    """Counts and sums without weights."""
    classes, confusion = tallies.classes, tallies.confusion
    if confusion.size:
        support, correct, predicted = confusion.sum(axis=1), confusion.diagonal(), confusion.sum(axis=0)
    else:
        support, correct, predicted = (classes[:, i] for i in (tally.SUPPORT, tally.CORRECT, tally.PREDICTED))
    shift = tally.MIDDLE_BITS + tally.LOW_BITS
    words = classes.astype(object)
    loss = (
        (words[:, tally.LOSS_WHOLE] << shift)
        + (words[:, tally.LOSS_MIDDLE] << tally.LOW_BITS)
        + words[:, tally.LOSS_LOW]
    )
    confidence = (words[:, tally.CONF_WHOLE] << tally.CONF_BITS) + words[:, tally.CONF_LOW]
    return ByClass(
        support=support.tolist(),
        correct=correct.tolist(),
        predicted=predicted.tolist(),
        loss=[
            None if beyond else Fraction(v, 1 << shift)
            for v, beyond in zip(loss, classes[:, tally.INFINITE], strict=True)
        ],
        confidence=[Fraction(v, 1 << tally.CONF_BITS) for v in confidence],
    )


def weigh_classes(weighed: Weighed) -> ByClass:
    """The same with weights."""
    cells = weighed.classes
    columns = (records.CLASS_SUPPORT, records.CLASS_CORRECT, records.CLASS_PREDICTED)
    support, correct, predicted = (read_fixed(cells, column) for column in columns)
    loss, confidence = read_fixed(cells, records.CLASS_LOSS), read_fixed(cells, records.CLASS_CONF)
    large = cells[:, records.CLASS_LARGE]
    return ByClass(
        list(support), list(correct), list(predicted),
        [None if beyond else value for value, beyond in zip(loss, large, strict=True)], confidence,
    )  # fmt: skip


def _ratio(part: Number, whole: Number) -> float:
    return float(Fraction(part) / Fraction(whole)) if whole else math.nan


def class_table(names: tuple[str, ...], counts: ByClass, sums: ByClass, *, weighted: bool) -> Any:
    """An Arrow table with a row a class: class, support, loss, precision, recall, f1, confidence, gap.

    ``support`` counts rows; the rest is weighted with weights, whose sum is ``weight``. ``confidence`` is the mean
    confidence of the rows that predict the class, ``gap`` what it exceeds their precision by. What nothing speaks of
    is NaN.
    """
    import pyarrow as pa

    columns: dict[str, list[Any]] = {"class": list(names), "support": counts.support}
    if weighted:
        columns["weight"] = [float(value) for value in sums.support]
    columns["loss"] = [
        math.nan if not count else math.inf if loss is None else _ratio(loss, weight)
        for count, loss, weight in zip(counts.support, sums.loss, sums.support, strict=True)
    ]
    precision = [_ratio(c, p) for c, p in zip(sums.correct, sums.predicted, strict=True)]
    confidence = [_ratio(c, p) for c, p in zip(sums.confidence, sums.predicted, strict=True)]
    columns["precision"] = precision
    columns["recall"] = [_ratio(c, s) for c, s in zip(sums.correct, sums.support, strict=True)]
    columns["f1"] = [
        _ratio(2 * Fraction(c), Fraction(s) + p)
        for c, s, p in zip(sums.correct, sums.support, sums.predicted, strict=True)
    ]
    columns["confidence"] = confidence
    columns["gap"] = [c - p for c, p in zip(confidence, precision, strict=True)]
    kinds = {"class": pa.string(), "support": pa.int64()}
    return pa.table({name: pa.array(values, kinds.get(name, pa.float64())) for name, values in columns.items()})


def base_entropy(support: list[Number]) -> float:
    """Entropy, in nats, of the shares of the classes: the loss of always predicting them."""
    total = sum(map(Fraction, support), Fraction(0))
    shares = [float(value / total) for value in support if value] if total else []
    return -math.fsum(p * math.log(p) for p in shares) if shares else math.nan


def rank_weights(ranks: NDArray[np.int64]) -> list[Fraction]:
    """The weight of the rows by rank of the target."""
    return [fixed(row, 0) for row in ranks]


def weight_matrix(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """The sums of weights of `fastxent.kernels.sums.records.weigh_confusion`, each rounded once."""
    found = np.zeros(confusion.shape[:2])
    used = np.nonzero(confusion.any(axis=2))
    found[used] = [float(value) for value in read_fixed(confusion[used], 0)]
    return found
