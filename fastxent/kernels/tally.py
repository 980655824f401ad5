"""Scorecards -> totals: counters, exact sums, histograms, per-class cells. Knows nothing of losses.

Everything in a tally is an integer, so tallies of any split of the rows add up to the same totals.
Rows that are not scored are counted by their status and enter nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent.kernels import scorecard as sc
from fastxent.kernels.compile import kernel
from fastxent.kernels.exactsum import deposit, deposit_square, deposit_weighted
from fastxent.kernels.simd import as_bits

__all__ = ["CELLS", "FIXED_ONE", "HISTOGRAM", "STATUSES", "SUMS", "UNEVEN", "Tallies", "absorb", "count_uneven", "settle"]

#: Room for status codes.
STATUSES = 16
#: The place in ``first`` of rows whose probabilities do not sum to 1; they are scored, so it is no status.
UNEVEN = 15
#: Rows of ``sums``.
LOSS, SQUARE, BRIER, WEIGHT, WEIGHTED_LOSS, WEIGHT_SQUARE, CROSS, WEIGHTED_SQUARE, WEIGHTED_CORRECT, WEIGHTED_BRIER = range(10)
SUMS = 10

#: The loss histogram is log-linear: 2^7 bins an octave over [2^-64, 2^20), so a bin is at most 2^-7 of
#: its value wide; cell 0 holds what is smaller, then the bins, then finite losses beyond, then +inf.
SHIFT = 52 - 7
LOWEST = (1023 - 64) << 7
BINS = 84 << 7
HISTOGRAM = BINS + 3

#: Calibration cells on [0, 1]: a multiple of 10, 12, 15, 16, 20, 25, 30, 50 and 100, the usual numbers of bins.
CELLS = 3600

#: Fixed point of per-cell sums: value = high + low / FIXED_ONE, 0 <= low < FIXED_ONE.
FIXED_ONE = 1 << 62
_FIXED_SCALE = float(1 << 62)
_LARGEST_FIXED = 2.0**52

# columns of ``classes``
SUPPORT, CORRECT, PREDICTED, LOSS_HIGH, LOSS_LOW, INFINITE = range(6)
# columns of ``calibration``
COUNT, HITS, CONF_HIGH, CONF_LOW = range(4)


class Tallies(NamedTuple):
    """Totals of any number of rows, all int64; an array without cells is not wanted.

    ``rows``: rows by status. ``first``: smallest row id by status. ``sums``: exact sums, see the row
    numbers above. ``histogram``: losses. ``extremes``: bits of the smallest and the largest loss.
    ``ranks``: rows by rank of the target, the last cell holds all greater ranks. ``calibration``:
    by confidence. ``classes``: by target class. ``confusion``: target by predicted class. ``uneven``:
    how many of the scored rows have probabilities that do not sum to 1.
    """

    rows: NDArray[np.int64]
    first: NDArray[np.int64]
    sums: NDArray[np.int64]
    histogram: NDArray[np.int64]
    extremes: NDArray[np.int64]
    ranks: NDArray[np.int64]
    calibration: NDArray[np.int64]
    classes: NDArray[np.int64]
    confusion: NDArray[np.int64]
    uneven: NDArray[np.int64]


@kernel()
def settle(card, n, fate, weight):
    """Merge in what the source knew (``fate``, statuses or empty) and check the weights (or empty).

    Rows that are not scored get neutral scores, so that sums need not look at the status. Returns
    True if all rows are scored.
    """
    real, whole, status = card
    for i in range(fate.size):
        if fate[i] != sc.SCORED:
            status[i] = fate[i]
    for i in range(weight.size):
        w = weight[i]
        if not (w >= 0.0 and w < np.inf) and status[i] == sc.SCORED:
            status[i] = sc.INVALID_WEIGHT
    seen = np.uint8(0)
    for i in range(n):
        seen |= status[i]
    if seen == 0:
        return True
    for i in range(n):
        if status[i] != sc.SCORED:
            for k in range(real.shape[0]):
                real[k, i] = 0.0
    return False


@kernel()
def count_uneven(card, n, first_id, slack, t):
    """Count the scored rows whose probabilities, their sum in MARGIN, differ from 1 by more than ``slack``."""
    mass = card.real[sc.MARGIN]
    for i in range(n):
        if not abs(mass[i] - 1.0) <= slack and card.status[i] == sc.SCORED:
            t.uneven[0] += 1
            t.first[UNEVEN] = min(t.first[UNEVEN], first_id + i)


@kernel(inline="always")
def _add_fixed(cells, row, high, low, value):
    """Add a non-negative value below 2^52 to a pair of fixed-point words."""
    whole = np.int64(value)
    cells[row, high] += whole
    cells[row, low] += np.int64((value - whole) * _FIXED_SCALE)
    if cells[row, low] >= FIXED_ONE:
        cells[row, low] -= FIXED_ONE
        cells[row, high] += 1


@kernel()
def _count_rows(card, n, first_id, all_scored, t):
    if all_scored:
        t.rows[sc.SCORED] += n
        return n
    scored = 0
    for i in range(n):
        s = card.status[i]
        t.rows[s] += 1
        t.first[s] = min(t.first[s], first_id + i)
        scored += s == sc.SCORED
    return scored


@kernel()
def _spread_losses(card, n, all_scored, t):
    loss = card.real[sc.LOSS]
    low = t.extremes[0]
    high = t.extremes[1]
    for i in range(n):
        if all_scored or card.status[i] == sc.SCORED:
            bits = as_bits(loss[i])
            low = min(low, bits)
            high = max(high, bits)
            cell = (bits >> SHIFT) - LOWEST + 1
            cell = max(cell, 0)
            if cell > BINS:
                cell = BINS + 1 + (loss[i] == np.inf)
            t.histogram[cell] += 1
    t.extremes[0] = low
    t.extremes[1] = high


@kernel()
def _rank(card, n, all_scored, t):
    last = t.ranks.size - 1
    for i in range(n):
        if all_scored or card.status[i] == sc.SCORED:
            t.ranks[min(np.int64(card.whole[sc.RANK, i]), last)] += 1


@kernel()
def _calibrate(card, n, all_scored, t):
    for i in range(n):
        if all_scored or card.status[i] == sc.SCORED:
            c = card.real[sc.CONFIDENCE, i]
            cell = min(np.int64(c * CELLS), CELLS - 1)
            t.calibration[cell, COUNT] += 1
            t.calibration[cell, HITS] += card.whole[sc.RANK, i] == 0
            _add_fixed(t.calibration, cell, CONF_HIGH, CONF_LOW, c)


@kernel()
def _by_class(card, n, all_scored, t):
    confused = t.confusion.size > 0
    for i in range(n):
        if all_scored or card.status[i] == sc.SCORED:
            k = card.whole[sc.TARGET, i]
            predicted = card.whole[sc.PREDICTED, i]
            t.classes[k, SUPPORT] += 1
            t.classes[k, CORRECT] += card.whole[sc.RANK, i] == 0
            t.classes[predicted, PREDICTED] += 1
            loss = card.real[sc.LOSS, i]
            if loss < _LARGEST_FIXED:
                _add_fixed(t.classes, k, LOSS_HIGH, LOSS_LOW, loss)
            else:
                t.classes[k, INFINITE] += 1
            if confused:
                t.confusion[k, predicted] += 1


@kernel()
def _weighted(card, n, t):
    """Sums with the row weights in WEIGHT; the weighted loss is in SCRATCH."""
    real = card.real
    weight = real[sc.WEIGHT]
    loss = real[sc.SCRATCH]
    deposit(weight, n, t.sums[WEIGHT])
    deposit(loss, n, t.sums[WEIGHTED_LOSS])
    deposit_square(weight, n, t.sums[WEIGHT_SQUARE])
    deposit_weighted(loss, weight, n, t.sums[CROSS])
    deposit_square(loss, n, t.sums[WEIGHTED_SQUARE])
    deposit_weighted(real[sc.BRIER], weight, n, t.sums[WEIGHTED_BRIER])
    for i in range(n):
        loss[i] = weight[i] if card.whole[sc.RANK, i] == 0 else 0.0
    deposit(loss, n, t.sums[WEIGHTED_CORRECT])


@kernel()
def absorb(card, n, first_id, all_scored, weighted, t):
    """Fold n settled rows, whose ids start at ``first_id``, into the tallies."""
    scored = _count_rows(card, n, first_id, all_scored, t)
    real = card.real
    if t.sums.shape[0] > LOSS:
        deposit(real[sc.LOSS], n, t.sums[LOSS])
        t.sums[LOSS, 42] += scored - n
    if t.sums.shape[0] > SQUARE:
        deposit_square(real[sc.LOSS], n, t.sums[SQUARE])
        t.sums[SQUARE, 42] += scored - n
    if t.sums.shape[0] > BRIER:
        deposit(real[sc.BRIER], n, t.sums[BRIER])
        t.sums[BRIER, 42] += scored - n
    if t.histogram.size > 0:
        _spread_losses(card, n, all_scored, t)
    if t.ranks.size > 0:
        _rank(card, n, all_scored, t)
    if t.calibration.size > 0:
        _calibrate(card, n, all_scored, t)
    if t.classes.size > 0:
        _by_class(card, n, all_scored, t)
    if weighted:
        _weighted(card, n, t)
