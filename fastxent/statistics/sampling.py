r"""Intervals that mean sampling error: in which range a statistic of all such rows lies, read off the cells of these.

A statistic f of shares of cells changes by its gradient g when a row is added to a cell, so its variance over samples
of n independent rows is :math:`\sum_c s_c g_c^2 / (n - 1)` with s_c the share of a cell: the infinitesimal jackknife
(Jaeckel 1972; Efron 1982), which a Poisson bootstrap of the cells comes to with ever more replicates, without drawing
any. Of the AUC it is DeLong's, divided by n - 1 of all rows and not of each side. Weighted rows count as Kish's
effective number. Intervals are made on the scale of logits, so that they stay within the range; where the error is 0
and says nothing (all is right), they are Wilson's.
Nothing of this respects clusters, so there is none with them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastxent.base.runs import run_starts
from fastxent.statistics import spread
from fastxent.statistics.accuracy import rows_behind
from fastxent.statistics.calibration import bin_sums
from fastxent.statistics.classes import FULL_CLASSES, Classes, class_sums
from fastxent.statistics.intervals import wilson_intervals
from fastxent.statistics.ranking import ranking_of
from fastxent.statistics.reading import Reading
from fastxent.statistics.score_cells import AREAS, ScoreCells
from fastxent.statistics.students_t import Z95

__all__ = ["GRADIENTS", "INTERVALS", "Confusion", "area_gradients", "interval", "intervals_of", "standard_error"]

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]
#: A statistic of every owner, and its standard error.
Estimate = tuple[Numbers, Numbers]
#: Of negatives and of positives.
Sides = tuple[Numbers, ...]


def interval(reading: Reading, name: str, z: float = Z95) -> tuple[Numbers, Numbers] | None:
    """The 95 % interval of a field of every owner; NaN where it cannot be told, None where there is none.

    ``z``: half the width, in standard errors, of another one.
    """
    if name not in reading:
        return None
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        if name in ("loss", "accuracy"):
            low, high = {"loss": ("ci_low", "ci_high"), "accuracy": ("accuracy_low", "accuracy_high")}[name]
            return _stretched(reading, name, (low, high), z / Z95) if low in reading else None
        if "clusters" in reading.statistics:
            return None
        if name in _QUANTILES:
            return _quantile(reading, _QUANTILES[name], z)
        if name == "ece":
            return _calibration_error(reading, z)
        if (estimate := _estimate(reading, name)) is None:
            return None
        return _within(*estimate, rows_behind(reading), -1.0 if name == "mcc" else 0.0, z)


def standard_error(reading: Reading, name: str) -> Numbers | None:
    """The standard error of a field of every owner, of those that have a gradient; None where there is none."""
    if name not in reading or "clusters" in reading.statistics:
        return None
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        estimate = _estimate(reading, name)
    return None if estimate is None else estimate[1]


def intervals_of(reading: Reading) -> dict[str, tuple[Numbers, Numbers]]:
    """The intervals of all fields that have one."""
    found = {name: interval(reading, name) for name in INTERVALS}
    return {name: ends for name, ends in found.items() if ends is not None and not np.isnan(ends[0]).all()}


def _stretched(reading: Reading, name: str, ends: tuple[str, str], factor: float) -> tuple[Numbers, Numbers]:
    """An interval that there is, so many times as far from its number on either side, within the range."""
    value, most = reading[name], math.inf if name == "loss" else 1.0
    low, high = (value + factor * (reading[end] - value) if factor != 1.0 else reading[end] for end in ends)
    return np.maximum(low, 0.0), np.minimum(high, most)


def _within(value: Numbers, error: Numbers, rows: Numbers, least: float, z: float = Z95) -> tuple[Numbers, Numbers]:
    """Intervals of numbers from ``least`` to 1."""
    x, e = (value - least) / (1.0 - least), error / (1.0 - least)
    logit, width = np.log(x / (1.0 - x)), z * e / (x * (1.0 - x))
    ends = (1.0 / (1.0 + np.exp(-(logit + side * width))) for side in (-1.0, 1.0))
    flat = (e == 0.0) | (x <= 0.0) | (x >= 1.0)
    low, high = (
        least + (1.0 - least) * np.where(flat, wilson, end)
        for wilson, end in zip(wilson_intervals(np.clip(x, 0.0, 1.0), rows * (Z95 / z) ** 2), ends, strict=True)
    )
    told = ~np.isnan(value) & ~np.isnan(error)
    return np.where(told, low, math.nan), np.where(told, high, math.nan)


def _error(owners: Integers, share: Numbers, gradient: Numbers, rows: Numbers) -> Numbers:
    """The standard errors of statistics whose gradients are those of shares of cells."""
    squares = _sums(owners, share * gradient * gradient, minlength=len(rows))
    return np.sqrt(squares / np.maximum(rows - 1.0, 0.0))


def _estimate(reading: Reading, name: str) -> Estimate | None:
    if name in AREAS:
        ranking = ranking_of(reading)
        return None if ranking is None else _area(reading, name)
    gradient = GRADIENTS.get(name)
    found = _confusion(reading)
    if gradient is None or found is None:
        return None
    share, confusion = found
    values = reading[name]
    return values, _error(confusion.owners, share, gradient(confusion, values), rows_behind(reading))


def _sums(owners: Integers, values: Numbers, minlength: int) -> Numbers:
    """The sums of the values of every owner."""
    return np.bincount(owners, values, minlength).astype(np.float64)


# Of targets and predicted classes


@dataclass(frozen=True, slots=True)
class Confusion:
    """Pairs of classes, or rows, of owners; of each (owner, class) the share that is target, predicted, and both.

    ``target`` and ``predicted`` are places of the classes of pairs among these.
    """

    owners: Integers
    target: Integers
    predicted: Integers
    right: NDArray[np.bool_]
    owner_of: Integers
    number: Integers
    support: Numbers
    said: Numbers
    both: Numbers

    @property
    def recall(self) -> Numbers:
        """Of every class."""
        return self.both / self.support

    @property
    def f1(self) -> Numbers:
        """Of every class that is a target or predicted."""
        return 2.0 * self.both / (self.support + self.said)

    def total(self, values: Numbers) -> Numbers:
        """The sums over classes, for every pair."""
        return _sums(self.owner_of, values, minlength=int(self.owners.max(initial=0)) + 1)[self.owners]


Gradient = Callable[[Confusion, Numbers], Numbers]


def _confusion(reading: Reading) -> tuple[Numbers, Confusion] | None:
    """The shares of pairs of all owners, and the pairs; None where they were too many to be counted."""
    found: tuple[Numbers, Confusion] | None = reading.once("shares of pairs", lambda: _read_confusion(reading))
    return found


def _read_confusion(reading: Reading) -> tuple[Numbers, Confusion] | None:
    statistic = reading.statistics.get("classes")
    if not isinstance(statistic, Classes) or (found := statistic.pairs(reading)) is None:
        return None
    classes = 2 if reading.spec.task == "binary" else reading.spec.num_classes
    owners, pairs, rows, weights = found
    share = rows.astype(np.float64) if weights is None else weights
    if classes > FULL_CLASSES:  # pairs are of rows that are wrong
        sums = class_sums(reading)
        if sums is None:
            return None
        owners = np.concatenate((owners, sums.owners))
        pairs = np.concatenate((pairs, sums.classes * (classes + 1)))
        share = np.concatenate((share, sums.correct.rounded(sums.exponents)))
    some = np.flatnonzero(share > 0.0)
    order = some[np.argsort(owners[some], kind="stable")]
    owners, pairs, share = owners[order], pairs[order], share[order]
    share = share / _sums(owners, share, minlength=reading.owners)[owners]
    target, predicted = np.divmod(pairs, classes)
    both_keys = np.concatenate((owners * classes + target, owners * classes + predicted))
    keys, places = np.unique(both_keys, return_inverse=True)
    first, second = places[: len(owners)], places[len(owners) :]
    support, said, both = (
        _sums(at, share * here, minlength=len(keys))
        for at, here in ((first, 1.0), (second, 1.0), (first, target == predicted))
    )
    right = target == predicted
    return share, Confusion(owners, first, second, right, keys // classes, keys % classes, support, said, both)


def _balanced(c: Confusion, value: Numbers) -> Numbers:
    used = np.where(c.support > 0.0, 1.0, 0.0)
    return (c.right - c.recall[c.target]) / c.support[c.target] / c.total(used)


def _macro(c: Confusion, value: Numbers) -> Numbers:
    size = c.support + c.said
    wrong, right = c.f1 / size, 2.0 * (1.0 - c.f1) / size
    gradient = np.where(c.right, right[c.target], -wrong[c.target] - wrong[c.predicted])
    return gradient / c.total(np.ones_like(size))


def _weighted(c: Confusion, value: Numbers) -> Numbers:
    size = c.support + c.said
    wrong, right = (c.support * part / size for part in (c.f1, 2.0 * (1.0 - c.f1)))
    gradient = np.where(c.right, right[c.target], -wrong[c.target] - wrong[c.predicted])
    return gradient + c.f1[c.target] - value[c.owners]


def _micro(c: Confusion, value: Numbers) -> Numbers:
    return c.right - value[c.owners]


def _matthews(c: Confusion, value: Numbers) -> Numbers:
    targets, said = (1.0 - c.total(each * each) for each in (c.support, c.said))
    right = c.total(c.both)
    above = c.right + right - c.said[c.target] - c.support[c.predicted]
    own = value[c.owners]
    gradient = above / np.sqrt(targets * said)
    gradient -= own * ((1.0 - c.support[c.target]) / targets + (1.0 - c.said[c.predicted]) / said)
    return np.where(targets * said > 0.0, gradient, math.nan)


def _of_class_1(rate: Callable[[Confusion], tuple[Numbers, Numbers, Numbers]]) -> Gradient:
    """The gradient of a rate over the rows that count for it, of the class 1 of binary rows."""

    def gradient(c: Confusion, value: Numbers) -> Numbers:
        hit, counts, sizes = rate(c)
        return (hit - value[c.owners] * counts) / c.total(np.where(c.number == 1, sizes, 0.0))

    return gradient


def _truth(c: Confusion) -> tuple[Numbers, Numbers]:
    """Whether class 1 is the target, and predicted, of every pair."""
    return (c.number[c.target] == 1).astype(np.float64), (c.number[c.predicted] == 1).astype(np.float64)


def _recall(c: Confusion) -> tuple[Numbers, Numbers, Numbers]:
    target, predicted = _truth(c)
    return target * predicted, target, c.support


def _precision(c: Confusion) -> tuple[Numbers, Numbers, Numbers]:
    target, predicted = _truth(c)
    return target * predicted, predicted, c.said


def _f1(c: Confusion) -> tuple[Numbers, Numbers, Numbers]:
    target, predicted = _truth(c)
    return 2.0 * target * predicted, target + predicted, c.support + c.said


#: Of statistics of targets and predicted classes: what one more row of each pair changes, by their values.
GRADIENTS: dict[str, Gradient] = {
    "balanced_accuracy": _balanced, "f1_macro": _macro, "f1_weighted": _weighted, "f1_micro": _micro,
    "precision": _of_class_1(_precision), "recall": _of_class_1(_recall), "f1": _of_class_1(_f1), "mcc": _matthews,
}  # fmt: skip


# Of scores


def _area(reading: Reading, name: str) -> Estimate | None:
    """Of one label; of several the rows are the same, and cells do not say which goes with which."""
    ranking = ranking_of(reading)
    cells = None if ranking is None or ranking.labels > 1 else ranking.cells(reading)
    if cells is None:
        return None
    value = reading[name]
    squares = (
        _sums(cells.keys, np.nan_to_num(share * g * g), minlength=reading.owners)
        for share, g in zip(cells.shares(), area_gradients(cells, name, value), strict=True)
    )
    return value, np.sqrt(sum(squares) / np.maximum(rows_behind(reading) - 1.0, 0.0))


def area_gradients(cells: ScoreCells, name: str, value: Numbers) -> Sides:
    """What one more negative, and positive, of every cell changes in an area, whose values by owner these are."""
    owners, shares = cells.keys, cells.shares()
    sizes = tuple(_sums(owners, side, minlength=len(value))[owners] for side in shares)
    return (_roc if name == "auc" else _steps)(owners, shares, sizes, value[owners])


def _below(values: Numbers, keys: Integers) -> Numbers:
    """The sums of the cells before each one of its key."""
    before = np.cumsum(values) - values
    starts = run_starts(keys)
    return before - np.repeat(before[starts], np.diff(np.append(starts, len(keys))))


def _roc(owners: Integers, shares: Sides, sizes: Sides, value: Numbers) -> Sides:
    """DeLong's components, as gradients of shares: of a negative, and of a positive."""
    below = [(_below(share, owners) + 0.5 * share) / size for share, size in zip(shares, sizes, strict=True)]
    return (1.0 - below[1] - value) / sizes[0], (below[0] - value) / sizes[1]


def _steps(owners: Integers, shares: Sides, sizes: Sides, value: Numbers) -> Sides:
    """Of the average precision: a row changes its own step, and the precision of all steps at and below its score."""
    false, true = (size - _below(share, owners) for share, size in zip(shares, sizes, strict=True))
    both, step = true + false, shares[1] / sizes[1]
    gained, lost = (
        np.nan_to_num(_below(part, owners) + part) for part in (step * false / both**2, -step * true / both**2)
    )
    return lost, (true / both - value) / sizes[1] + gained


# Of bins

_QUANTILES = {f"q{100 * q:02.0f}": q for q in spread.QUANTILES}


def _quantile(reading: Reading, q: float, z: float) -> tuple[Numbers, Numbers]:
    """Order statistics whose ranks are as far from q n as the number of rows below it varies; every row counts once.

    Ends are those of cells. Infinite where there are too few rows to tell.
    """
    n = reading.counts.astype(np.float64)
    half = z * np.sqrt(n * q * (1.0 - q))
    ranks = np.floor(n * q - half), np.ceil(n * q + half) + 1.0
    edges = spread.order_statistics(reading, ranks)
    low = np.where(ranks[0] < 1.0, 0.0, edges[0][0])
    high = np.where(ranks[1] > n, math.inf, edges[1][1])
    told = ~np.isnan(reading[f"q{100 * q:02.0f}"])
    ends = (reading.unit.of(np.where(told, end, math.nan)) for end in (low, high))
    return next(ends), next(ends)


def _calibration_error(reading: Reading, z: float) -> tuple[Numbers, Numbers] | None:
    r"""Of the calibration error over these bins, which is biased upward: | gap | of a bin has its noise as well.

    Its expectation exceeds the error by 0 at least and by that of a calibrated model (`ece_floor`) at most. So the
    interval goes from the value less that floor and :math:`z s` to the value and :math:`z s`: 95 % or more.
    """
    sums = bin_sums(reading)
    if sums is None:
        return None
    value, floor = reading["ece"], reading["ece_floor"]
    rows, owners = rows_behind(reading), sums.owners
    noise = np.maximum(sums.noise, sums.residual) * sums.share
    between = _sums(owners, sums.share * sums.gap**2, minlength=reading.owners) - value**2
    variance = _sums(owners, noise, minlength=reading.owners) + np.maximum(between, 0.0)
    half = z * np.sqrt(variance / np.maximum(rows - 1.0, 0.0))
    return np.maximum(0.0, value - floor - half), np.minimum(1.0, value + half)


#: Fields that may have an interval, in the order in which they are shown.
INTERVALS = ("loss", "accuracy", *GRADIENTS, *AREAS, "ece", *_QUANTILES)
