"""Rows by cells of their score, of any number of owners and labels, and what they say of ROC and precision curves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.exact import rounded_ratio
from fastxent.base.runs import run_starts, sum_of_runs
from fastxent.kernels.sums import tally
from fastxent.statistics.calibration_cells import cells_alone, lows_of_cells, words_of_cells
from fastxent.statistics.reading import Reading
from fastxent.statistics.table import Cells

__all__ = [
    "AREAS", "ENDS", "ScoreCells", "least_of_cells", "of_calibration", "of_scores", "ranks_of_cells",
    "ranks_of_thresholds",
]  # fmt: skip

#: The areas under curves, and what their names end with: the value, and the bounds of what exact scores would give.
AREAS, ENDS = ("auc", "average_precision"), ("", "_low", "_high")
#: Counts of which products of two fit a word.
_SMALL = 1 << 31

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ScoreCells:
    """The cells that have rows, sorted by key (owner * labels + label) and rising score.

    ``negative`` and ``positive`` are counts, or Python integers: weights in a unit of the owner. All scores of a cell
    are at least its number in ``thresholds``, and those of lower cells below it. ``mixed``: they may differ.
    """

    keys: Integers
    thresholds: Numbers
    negative: NDArray[Any]
    positive: NDArray[Any]
    mixed: NDArray[np.bool_]

    def only(self, key: int) -> ScoreCells:
        """Those of one key."""
        span = slice(*np.searchsorted(self.keys, (key, key + 1)).tolist())
        return ScoreCells(*(getattr(self, name)[span] for name in self.__slots__))

    def above(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Negatives and positives of every cell and those of higher score, of its key."""
        false, true = (_totals(side, self.keys) - _before(side, self.keys) for side in (self.negative, self.positive))
        return false, true

    def shares(self) -> tuple[Numbers, Numbers]:
        """Negatives and positives as shares of the rows (the weight) of their key."""
        total = _totals(self.negative + self.positive, self.keys)
        return rounded_ratio(self.negative, total), rounded_ratio(self.positive, total)

    def areas(self, keys: int) -> dict[str, Numbers]:
        """ROC AUC (ties count half) and average precision (a step for every cell), with bounds; NaN of one side alone.

        The bounds surely hold what exact scores would give, up to rounding in float64.
        """
        found = {name + end: np.full(keys, math.nan) for name in AREAS for end in ENDS}
        negative, positive = (_totals(side, self.keys) for side in (self.negative, self.positive))
        both = np.flatnonzero((negative > 0) & (positive > 0))
        if both.size:
            cells = ScoreCells(*(getattr(self, name)[both] for name in self.__slots__))
            own = cells.keys[run_starts(cells.keys)]
            for name, areas in (("auc", cells._roc()), ("average_precision", cells._precision())):
                for end, values in zip(ENDS, areas, strict=True):
                    found[name + end][own] = values
        return found

    def _roc(self) -> tuple[Numbers, Numbers, Numbers]:
        """Pairs of a negative and a positive that are in order, over all pairs."""
        starts, neg, pos = run_starts(self.keys), self.negative, self.positive
        twice = np.add.reduceat(pos * (2 * _before(neg, self.keys) + neg), starts)
        slack = np.add.reduceat(np.where(self.mixed, pos * neg, 0), starts)
        pairs = 2 * np.add.reduceat(neg, starts) * np.add.reduceat(pos, starts)
        return rounded_ratio(twice, pairs), rounded_ratio(twice - slack, pairs), rounded_ratio(twice + slack, pairs)

    def _precision(self) -> tuple[Numbers, Numbers, Numbers]:
        """Bounds of sum of (R_n - R_{n-1}) P_n over cells from the highest score down.

        Whatever the order within a cell, a positive's precision is at most that of all of the cell's positives before
        its negatives, and at least that of the positives one by one after its negatives. Its value takes the cell as a
        tie.
        """
        total = _totals(self.positive, self.keys)
        false, true = self.above()
        some = np.flatnonzero(self.positive > 0)
        keys, pos, neg, mixed = (side[some] for side in (self.keys, self.positive, self.negative, self.mixed))
        total, false, true = total[some], false[some], true[some]
        tie = rounded_ratio(pos * true, total * (true + false))
        best = np.where(mixed, rounded_ratio(pos * true, total * (true + (false - neg))), tie)
        here, wrong, before = (rounded_ratio(part, total) for part in (pos, false, true - pos))
        with np.errstate(invalid="ignore", divide="ignore"):
            # The integral of (before + x) / (before + x + wrong) over 0 <= x <= here.
            worst = np.where(wrong > 0.0, here - wrong * np.log1p(here / (before + wrong)), here)
        worst = np.where(mixed, worst, tie)
        starts = run_starts(keys)
        value, low, high = (sum_of_runs(terms, starts) for terms in (tie, worst, best))
        return value, np.minimum(low, value), np.maximum(high, value)


def _before(values: NDArray[Any], keys: Integers) -> NDArray[Any]:
    """What the cells before each cell of its key have."""
    before: NDArray[Any] = np.cumsum(values) - values
    starts = run_starts(keys)
    before -= np.repeat(before[starts], np.diff(np.append(starts, len(keys))))
    return before


def _totals(values: NDArray[Any], keys: Integers) -> NDArray[Any]:
    """What the key of each cell has."""
    starts = run_starts(keys)
    if not starts.size:
        return values
    return np.repeat(np.add.reduceat(values, starts), np.diff(np.append(starts, len(keys))))


def _sides(weights: NDArray[Any], negative: NDArray[Any], *, weighted: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    """Weights of all and of negatives as those of negatives and of positives, as words where products fit them."""
    if not weighted and int(weights.sum()) < _SMALL:
        weights, negative = weights.astype(np.int64), negative.astype(np.int64)
    return negative, weights - negative


def of_scores(cells: Cells, labels: int, edges: Numbers, *, weighted: bool) -> ScoreCells | None:
    """From the table of the statistic "ranking": places are label * stride + 2 * cell + truth; None beyond memory."""
    if cells.level:
        return None
    label, places = np.divmod(cells.places, 2 * len(edges))
    keys, cell, positive = cells.owners * labels + label, places >> 1, places & 1 == 1
    starts = run_starts(keys, cell)
    weights = cells.words(1).as_integers() if weighted else cells.columns[:, 1].astype(object)
    if not starts.size:
        return ScoreCells(keys, edges[:0], weights, weights, positive)
    total = np.add.reduceat(weights, starts)
    negative = np.add.reduceat(np.where(positive, 0, weights), starts)
    mixed = np.logical_or.reduceat(cells.columns[:, 0] > 0, starts)
    return ScoreCells(keys[starts], edges[cell[starts]], *_sides(total, negative, weighted=weighted), mixed)


def of_calibration(reading: Reading) -> ScoreCells | None:
    """From the cells of the calibration of binary rows, by the probability of class 1; None beyond memory.

    A number beside an edge of bins, which has a cell of its own, lies within the cell of its width.
    """
    cells = reading.sums.cells("calibration")
    if cells is None or cells.level:
        return None
    ranks = ranks_of_cells()[cells.places]
    joined = cells.at_places(ranks)
    order = np.lexsort((ranks, cells.owners))
    starts = run_starts(cells.owners[order], ranks[order])
    single = np.diff(np.append(starts, len(order))) == 1
    alone = cells_alone()[cells.places[order][starts]] & single & (reading.spec.form == "probs")
    weight, hits, _ = words_of_cells(joined, weighted=reading.weighted)
    total, positive = weight.as_integers(), hits.as_integers()
    negative, positive = _sides(total, total - positive, weighted=reading.weighted)
    return ScoreCells(joined.owners, least_of_cells()[joined.places], negative, positive, ~alone)


@cache
def ranks_of_cells() -> Integers:
    """The place of every cell of the calibration among those that are in the order of their numbers."""
    beside = np.searchsorted(least_of_cells(), lows_of_cells()[tally.ONE + 1 :], side="right") - 1
    return np.append(np.arange(tally.ONE + 1), beside)


def ranks_of_thresholds(thresholds: Numbers) -> Integers:
    """The first place of a cell with this least number; those after it that have the same hold nothing."""
    return np.searchsorted(least_of_cells(), thresholds)


@cache
def least_of_cells() -> Numbers:
    """The least number of every cell of the calibration but those beside edges."""
    least = lows_of_cells()[: tally.ONE + 1].copy()
    open_below = ~cells_alone()[: tally.ONE + 1]
    open_below[1 : tally.FIRST_EDGE] = False  # octaves near 0 have their lower ends
    least[open_below] = np.nextafter(least[open_below], 1.0)
    least[1] = 5e-324
    least[1 : tally.FIRST_EDGE] = np.minimum(least[1 : tally.FIRST_EDGE], least[tally.FIRST_EDGE])
    # Octaves of 1 - p near 1, in steps of 2^-53: the largest 1 - p below the octave's upper end.
    steps = np.ceil(np.append(lows_of_cells()[2 : tally.FIRST_EDGE], 2.0**-11) * 2.0**53) - 1.0
    tail = slice(tally.LAST_EDGE + 1, tally.ONE)
    least[tail] = np.maximum(1.0 - steps[::-1] * 2.0**-53, least[tally.LAST_EDGE + 1])
    return least
