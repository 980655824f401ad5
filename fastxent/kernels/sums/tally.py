"""Scorecards -> totals: counters, exact sums, histograms, per-class cells. Knows nothing of losses.

Everything in a tally is an integer, so tallies of any split of the rows add up to the same totals.
Rows that are not scored are counted by their status and enter nothing else.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums.exact_sums import deposit, deposit_product, deposit_weighted
from fastxent.kernels.vector.memory import fetch, load_scalar, store
from fastxent.kernels.vector.simd import (
    any_lane,
    as_bits,
    as_float,
    as_ones,
    fill,
    floor,
    maximum,
    minimum,
    narrow,
    shift_left,
    shift_right,
    splat_i64,
)

__all__ = [
    "CELLS", "HISTOGRAM", "LATE", "STATUSES", "SUMS", "UNEVEN", "WIDTHS", "Tallies",
    "absorber", "count_uneven", "settle",
]  # fmt: skip

#: Room for status codes.
STATUSES = 16
#: The place in ``first`` of rows whose probabilities do not sum to 1; they are scored, so it is no status.
UNEVEN = 15
#: Rows of ``sums``.
LOSS, SQUARE, BRIER, WEIGHT, WEIGHTED_LOSS, WEIGHT_SQUARE, CROSS, WEIGHTED_SQUARE, WEIGHTED_CORRECT = range(9)
WEIGHTED_BRIER = 9
SUMS = 10
#: Sums of weighted rows have as many rows again for every other scale of the weight than 0, from the lowest on.
WEIGHED = SUMS - WEIGHT
SCALES = tuple(scale for scale in range(-sc.MOST_SCALE, sc.MOST_SCALE + 1) if scale)

#: The loss histogram is log-linear: 2^7 bins an octave over [2^-64, 2^20), so a bin is at most 2^-7 of
#: its value wide; cell 0 holds what is smaller, then the bins, then finite losses beyond, then +inf.
SHIFT = 52 - 7
LOWEST = (1023 - 64) << 7
BINS = 84 << 7
HISTOGRAM = BINS + 3

#: Calibration cells have these edges k / WIDTHS: a multiple of 10, 12, 15, 16, 20, 25, 30, 50 and 100, the usual
#: numbers of bins. A number that is an edge has a cell of its own, so that bins can be closed on either side. The first
#: and the last width are cut by octaves of c and 1 - c (8 cells each), so that equal-mass bins can tell them apart:
#: 0 | TAIL cells of (0, e_1) | e_1 | (e_1, e_2) | e_2 | ... | e_3599 | TAIL cells of (e_3599, 1) | 1.
#: Libraries round their edges each in its own way, in float32 too. After those cells come the numbers beside every edge
#: that such edges can be: the float32 nearest to it and the one below and above that, then its neighbours in float64.
WIDTHS = 3600
TAIL = 42 * 8
_TAIL_SHIFT = 52 - 3
_TAIL_LOWEST = (1023 - 53) << 3
FIRST_EDGE = 1 + TAIL
LAST_EDGE = FIRST_EDGE + 2 * (WIDTHS - 2)
ONE = LAST_EDGE + TAIL + 1
BESIDE = 5
CELLS = ONE + 1 + BESIDE * (WIDTHS - 1)

#: Rows after which words that are carried late must be carried (`fastxent.totals.totals` does it).
LATE = 1 << 20

# columns of ``classes``; a sum of losses is WHOLE + MIDDLE * 2^-20 + LOW * 2^-62, one of confidences HIGH + LOW * 2^-42
SUPPORT, CORRECT, PREDICTED, INFINITE, LOSS_WHOLE, LOSS_MIDDLE, LOSS_LOW, CONF_WHOLE, CONF_LOW = range(9)
CLASS_COLUMNS = 9
MIDDLE_BITS, LOW_BITS, CONF_BITS = 20, 42, 42
# columns of ``calibration``; a sum of offsets from the cell's base is WHOLE + LOW * 2^-54
MISSES, HITS, OFFSET_WHOLE, OFFSET_LOW = range(4)
CALIBRATION_COLUMNS = 4
OFFSET_BITS = 54

#: The place of cell 0 of the quick way, which has two cells, of four columns each, from one k to the next: 8 k + this.
_FIRST_PLACE = np.uint64((FIRST_EDGE - 1) * CALIBRATION_COLUMNS)
#: The cell of a place in the table: that of its first column.
_CELL = ~np.uint64(CALIBRATION_COLUMNS - 1)
#: The sign bit, which places have that were not found.
ODD = -(2**63)

#: Bases of offsets are multiples of this: k * WIDTH, without a division.
WIDTH = 1.0 / WIDTHS
_NEAR = 2.0**-11  # more than one and a half steps of float32 below 1
_FLOAT32_BITS = 29  # that float32 has less
# Of the histogram, for the upper halves of losses as int32, of which a vector holds twice as many.
_SHIFT, _BELOW = SHIFT - 32, np.int32(LOWEST - 1)
_FIRST_CELL, _LAST_CELL, _INF_BITS = np.int32(0), np.int32(BINS + 1), np.int32(0x7FF << 20)

# Adding this rounds a number below 2^51 to an integer, and leaves that in the low bits.
_ROUND = 1.5 * 2.0**52
_ROUND_BITS = (0x433 << 52) + (1 << 51)
_EARLY_BITS = (1023 + 22) << 52
# Rows of a scorecard that are scratch of the tallies: words of integers, kept as the bits of float64.
_WORDS, _MORE_WORDS = sc.MARGIN, sc.ENTROPY

_MIDDLE = 2.0**MIDDLE_BITS
_LOW = 2.0 ** (MIDDLE_BITS + LOW_BITS)
_CONF = 2.0**CONF_BITS
_OFFSET = 2.0**OFFSET_BITS
_EARLY = 2.0**22  # losses below it need no column of their own for whole numbers
_LARGEST_WHOLE = 2.0**40


class Tallies(NamedTuple):
    """Totals of any number of rows, all int64; an array without cells is not wanted.

    ``rows``: rows by status. ``first``: smallest row id by status of what is not scored.
    ``sums``: exact sums, see the row
    numbers above. ``histogram``: losses. ``extremes``: bits of the smallest and the largest loss.
    ``ranks``: rows by rank of the target, the last cell holds all greater ranks. ``calibration``:
    by confidence and whether it was right; with ``positive`` by the probability of class 1 and whether that is the
    target. ``classes``: losses by target class, confidences by predicted class, and the counts that the confusion
    does not say. ``confusion``: target by predicted class.
    ``uneven``: how many of the scored rows have probabilities that do not sum to 1.
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
    positive: bool


@kernel()
def _any_set(status: Any, n: int) -> bool:
    """Whether one of the first n bytes is not 0: eight at a time, which the compiler does not find by itself."""
    address = status.ctypes.data
    seen = 0
    for i in range(0, n - 7, 8):
        seen |= load_scalar(address + i, "int64")
    for i in range(n - n % 8, n):
        seen |= status[i]
    return seen != 0


@kernel()
def settle(card: Any, n: int, fate: Any, weight: Any) -> bool:
    """Merge in what the source knew (``fate``, statuses or empty) and check the weights (or empty).

    Rows that are not scored get neutral scores, so that sums need not look at the status. Returns
    True if all rows are scored.
    """
    real, _, status = card
    for i in range(fate.size):
        if fate[i] != sc.SCORED:
            status[i] = fate[i]
    for i in range(weight.size):
        w = weight[i]
        if not (w >= 0.0 and w < np.inf) and status[i] == sc.SCORED:
            status[i] = sc.INVALID_WEIGHT
    if not _any_set(status, n):
        return True
    for i in range(n):
        if status[i] != sc.SCORED:
            for k in range(real.shape[0]):
                real[k, i] = 0.0
    return False


@kernel()
def count_uneven(card: Any, n: int, first_id: int, slack: float, t: Any) -> None:
    """Count the scored rows whose probabilities, their sum in MARGIN, differ from 1 by more than ``slack``."""
    mass = card.real[sc.MARGIN]
    for i in range(n):
        if not abs(mass[i] - 1.0) <= slack and card.status[i] == sc.SCORED:
            t.uneven[0] += 1
            t.first[UNEVEN] = min(t.first[UNEVEN], first_id + i)


@kernel()
def _beside(c: float, edge: float) -> Any:
    """Which of the numbers `BESIDE` an edge c is, or -1."""
    step = as_bits(c) - as_bits(edge)
    if abs(step) == 1:
        return 3 + (step > 0)
    if as_bits(c) & ((1 << _FLOAT32_BITS) - 1) == 0:
        nearest = (as_bits(edge) + (1 << (_FLOAT32_BITS - 1))) >> _FLOAT32_BITS
        step = (as_bits(c) >> _FLOAT32_BITS) - nearest
        if abs(step) <= 1:
            return step + 1
    return -1


@kernel()
def calibration_cell(c: float) -> Any:
    """The calibration cell of a number in [0, 1]."""
    if c <= 0.0:
        return 0
    if c >= 1.0:
        return ONE
    scaled = c * WIDTHS
    k = np.int64(scaled)
    if k > WIDTHS - 1:
        k = np.int64(WIDTHS - 1)
    near = np.int64(scaled + 0.5)
    if abs(scaled - near) < _NEAR and 0 < near < WIDTHS:
        edge = near / WIDTHS
        if c == edge:
            return FIRST_EDGE + 2 * (near - 1)
        which = np.int64(_beside(c, edge))
        if which >= 0:
            return ONE + 1 + BESIDE * (near - 1) + which
        k = near - 1 if c < edge else near
    if k == 0:
        return 1 + max((as_bits(c) >> _TAIL_SHIFT) - _TAIL_LOWEST, 0)
    if k == WIDTHS - 1:
        return LAST_EDGE + TAIL - max((as_bits(1.0 - c) >> _TAIL_SHIFT) - _TAIL_LOWEST, 0)
    return FIRST_EDGE + 2 * k - 1


@kernel(inline="always")
def base_of(cell: int) -> float:
    """What offsets of a cell count from: near its lower edge, and exact as a float64."""
    if cell < FIRST_EDGE:
        return 0.0
    if cell > ONE:
        return (1 + (cell - ONE - 1) // BESIDE) * WIDTH
    if cell >= LAST_EDGE:
        return (WIDTHS - 1) * WIDTH if cell < ONE else 1.0
    return (1 + ((cell - FIRST_EDGE) >> 1)) * WIDTH


@kernel()
def _count_rows(card: Any, n: int, first_id: int, all_scored: bool, t: Any) -> int:
    if all_scored:
        t.rows[sc.SCORED] += n
        return n
    scored = 0
    for i in range(n):
        s = card.status[i]
        t.rows[s] += 1
        if s == sc.SCORED:
            scored += 1
        else:
            t.first[s] = min(t.first[s], first_id + i)
    return scored


@kernel()
def _spread_losses(card: Any, n: int, all_scored: bool, t: Any) -> None:
    # Loops without a scatter first: those are vectorised. One loop for all took 5.0 ns a row instead of 1.9 (AVX-512).
    loss = card.real[sc.LOSS]
    cells = card.whole[sc.CELL]
    low = t.extremes[0]
    high = t.extremes[1]
    for i in range(0, n, 8):
        upper = narrow(shift_right(as_bits(fetch(loss, i, 8)), 32), fetch(cells, i, 8))
        cell = minimum(_LAST_CELL, maximum(_FIRST_CELL, shift_right(upper, _SHIFT) - _BELOW))
        store(cells, i, cell - as_ones(upper >= _INF_BITS, upper))
    for i in range(n):
        if all_scored or card.status[i] == sc.SCORED:
            low = min(low, as_bits(loss[i]))
            high = max(high, as_bits(loss[i]))
    for i in range(n):
        if all_scored or card.status[i] == sc.SCORED:
            t.histogram[np.uint64(cells[i])] += 1
    t.extremes[0] = low
    t.extremes[1] = high


@kernel()
def _rank(card: Any, n: int, all_scored: bool, t: Any) -> None:
    last = np.int32(t.ranks.size - 1)
    for i in range(n):
        if all_scored or card.status[i] == sc.SCORED:
            t.ranks[np.uint64(min(card.whole[sc.RANK, i], last))] += 1


@kernel(inline="always")
def _whole_part(x: Any) -> Any:
    """The whole part of lanes in [0, 2^51), as float64 and as int64."""
    whole = floor(x)
    return whole, as_bits(whole + _ROUND) - _ROUND_BITS


@kernel()
def _calibrate(card: Any, n: int, all_scored: bool, t: Any) -> None:
    c = card.real[sc.P_ONE if t.positive else sc.CONFIDENCE]
    words = card.real[_WORDS]
    places = card.real[_MORE_WORDS]
    # Eight at a time where multiplication cannot round across an edge; what `base_of` says there is k * WIDTH.
    odd = splat_i64(0, 8)
    for i in range(0, n, 8):
        confidence = fetch(c, i, 8)
        scaled = confidence * WIDTHS
        k, whole = _whole_part(scaled)
        fraction = scaled - k
        # Their signs, which take fewer instructions than comparisons.
        outside = as_bits(scaled - 1.0) | as_bits(fill(WIDTHS - 1.0, scaled) - scaled)
        outside = outside | as_bits(fraction - _NEAR) | as_bits(fill(1.0 - _NEAR, scaled) - fraction)
        odd = odd | outside
        if t.positive:
            hit = as_ones(fetch(card.whole[sc.TARGET], i, 8) == 1, whole)
        else:
            hit = as_ones(fetch(card.whole[sc.RANK], i, 8) == 0, whole)
        store(places, i, as_float((shift_left(whole, 3) - hit) | (outside & ODD)))
        store(words, i, as_float(_whole_part((confidence - k * WIDTH) * _OFFSET)[1]))
    if any_lane(odd < 0):
        _mend_odd_places(card, c, n, t.positive)
    # Tables are read as one row, whose places were found above.
    row = np.uint64(0)
    for i in range(n):
        if all_scored or card.status[i] == sc.SCORED:
            place = np.uint64(as_bits(places[i])) + _FIRST_PLACE
            t.calibration[row, place] += 1
            t.calibration[row, (place & _CELL) + np.uint64(OFFSET_LOW)] += as_bits(words[i])


@kernel()
def _mend_odd_places(card: Any, c: Any, n: int, positive: bool) -> None:
    """Find places and words of the numbers that the quick way left."""
    places, words = card.real[_MORE_WORDS], card.real[_WORDS]
    for first in range(0, n, 8):
        if not any_lane(as_bits(fetch(places, first, 8)) < 0):
            continue
        for i in range(first, min(first + 8, n)):
            if as_bits(places[i]) < 0:
                cell = np.int64(calibration_cell(c[i]))
                hit = card.whole[sc.TARGET, i] == 1 if positive else card.whole[sc.RANK, i] == 0
                places[i] = as_float(cell * CALIBRATION_COLUMNS + np.int64(hit) - np.int64(_FIRST_PLACE))
                words[i] = as_float(np.int64((c[i] - base_of(cell)) * _OFFSET))


@kernel()
def _cut_losses(card: Any, n: int) -> bool:
    """Losses in the words of ``classes``, MIDDLE in _WORDS and LOW in _MORE_WORDS; False if one is too large."""
    loss = card.real[sc.LOSS]
    seen = 0
    for i in range(n):
        seen |= (_EARLY_BITS - 1) - as_bits(loss[i])
    if seen < 0:
        return False
    for i in range(0, n, 8):
        x = fetch(loss, i, 8)
        middle, word = _whole_part(x * _MIDDLE)
        store(card.real[_WORDS], i, as_float(word))
        store(card.real[_MORE_WORDS], i, as_float(_whole_part((x - middle * (1.0 / _MIDDLE)) * _LOW)[1]))
    return True


@kernel()
def _cut_confidences(card: Any, n: int) -> None:
    """Confidences in the word LOW of ``classes``, to SCRATCH."""
    for i in range(0, n, 8):
        confidence = fetch(card.real[sc.CONFIDENCE], i, 8)
        store(card.real[sc.SCRATCH], i, as_float(_whole_part(confidence * _CONF)[1]))


@kernel()
def _two_classes(card: Any, n: int, t: Any) -> None:
    """`_by_class` for a binary block that is scored throughout and cut."""
    real, whole, _ = card
    middle = np.int64(0)
    middle_1 = np.int64(0)
    low = np.int64(0)
    low_1 = np.int64(0)
    conf = np.int64(0)
    conf_1 = np.int64(0)
    truths = 0
    claims = 0
    both = 0
    for i in range(n):
        truths += whole[sc.TARGET, i]
        claims += whole[sc.PREDICTED, i]
        both += whole[sc.TARGET, i] & whole[sc.PREDICTED, i]
    for i in range(n):
        m = as_bits(real[_WORDS, i])
        r = as_bits(real[_MORE_WORDS, i])
        c = as_bits(real[sc.SCRATCH, i])
        true = -np.int64(whole[sc.TARGET, i])
        claimed = -np.int64(whole[sc.PREDICTED, i])
        middle += m
        middle_1 += m & true
        low += r
        low_1 += r & true
        conf += c
        conf_1 += c & claimed
    t.classes[0, LOSS_MIDDLE] += middle - middle_1
    t.classes[1, LOSS_MIDDLE] += middle_1
    t.classes[0, LOSS_LOW] += low - low_1
    t.classes[1, LOSS_LOW] += low_1
    t.classes[0, CONF_LOW] += conf - conf_1
    t.classes[1, CONF_LOW] += conf_1
    t.confusion[0, 0] += n - truths - claims + both
    t.confusion[0, 1] += claims - both
    t.confusion[1, 0] += truths - both
    t.confusion[1, 1] += both


@kernel()
def _large_loss(loss: float, of_class: Any) -> None:
    """Add any loss to the words of a class."""
    if loss < _EARLY:
        middle = np.int64(loss * _MIDDLE)
        of_class[LOSS_MIDDLE] += middle
        of_class[LOSS_LOW] += np.int64((loss - middle * (1.0 / _MIDDLE)) * _LOW)
    elif loss < _LARGEST_WHOLE:
        whole = np.int64(loss)
        of_class[LOSS_WHOLE] += whole
        of_class[LOSS_LOW] += np.int64((loss - whole) * (1 << LOW_BITS)) << MIDDLE_BITS
    else:
        of_class[INFINITE] += 1


@kernel()
def _by_class(card: Any, n: int, all_scored: bool, t: Any) -> None:
    cut = _cut_losses(card, n)
    _cut_confidences(card, n)
    if t.positive and all_scored and cut:
        _two_classes(card, n, t)
        return
    confused = t.confusion.size > 0
    for i in range(n):
        if all_scored or card.status[i] == sc.SCORED:
            k = np.uint64(card.whole[sc.TARGET, i])
            predicted = np.uint64(card.whole[sc.PREDICTED, i])
            if confused:
                t.confusion[k, predicted] += 1
            else:
                t.classes[k, SUPPORT] += 1
                t.classes[k, CORRECT] += card.whole[sc.RANK, i] == 0
                t.classes[predicted, PREDICTED] += 1
            t.classes[predicted, CONF_LOW] += as_bits(card.real[sc.SCRATCH, i])
            if cut:
                t.classes[k, LOSS_MIDDLE] += as_bits(card.real[_WORDS, i])
                t.classes[k, LOSS_LOW] += as_bits(card.real[_MORE_WORDS, i])
            else:
                _large_loss(card.real[sc.LOSS, i], t.classes[k])


@kernel()
def _weighted(card: Any, n: int, t: Any) -> None:
    """Sums with the row weights in WEIGHT; the weighted loss is in SCRATCH."""
    real, scales = card.real, card.whole[sc.SCALE]
    apart = 0
    for i in range(n):
        apart |= scales[i]
    if apart == 0:
        _of_scale(card, n, real[sc.WEIGHT], real[sc.SCRATCH], t.sums[WEIGHT:SUMS])
        return
    weight, loss = real[_WORDS], real[_MORE_WORDS]
    for scale in range(-sc.MOST_SCALE, sc.MOST_SCALE + 1):
        for i in range(n):
            here = scales[i] == scale
            weight[i] = real[sc.WEIGHT, i] if here else 0.0
            loss[i] = real[sc.SCRATCH, i] if here else 0.0
        first = WEIGHT + WEIGHED * (0 if scale == 0 else scale + sc.MOST_SCALE + (scale < 0))
        _of_scale(card, n, weight, loss, t.sums[first : first + WEIGHED])


@kernel()
def _of_scale(card: Any, n: int, weight: Any, loss: Any, sums: Any) -> None:
    """Sums of rows whose weights are of one scale; uses up the losses."""
    deposit(weight, n, sums[WEIGHT - WEIGHT])
    deposit(loss, n, sums[WEIGHTED_LOSS - WEIGHT])
    deposit_product(weight, weight, n, sums[WEIGHT_SQUARE - WEIGHT])
    deposit_product(loss, weight, n, sums[CROSS - WEIGHT])
    deposit_product(loss, loss, n, sums[WEIGHTED_SQUARE - WEIGHT])
    deposit_weighted(card.real[sc.BRIER], weight, n, sums[WEIGHTED_BRIER - WEIGHT])
    for i in range(n):
        loss[i] = weight[i] if card.whole[sc.RANK, i] == 0 else 0.0
    deposit(loss, n, sums[WEIGHTED_CORRECT - WEIGHT])
    for k in range(WEIGHED):
        sums[k, 42] -= n  # how many numbers were added is not the number of rows


@cache
def absorber(weighted: bool) -> Any:
    """Compile ``absorb(card, n, first_id, all_scored, t)``: what is not asked for is not even compiled."""

    @kernel(variant=str(weighted))
    def absorb(card: Any, n: int, first_id: int, all_scored: bool, t: Any) -> None:
        """Fold n settled rows, whose ids start at ``first_id``, into the tallies."""
        scored = _count_rows(card, n, first_id, all_scored, t)
        real = card.real
        if weighted:
            _weighted(card, n, t)  # before what uses SCRATCH
        if t.sums.shape[0] > LOSS:
            deposit(real[sc.LOSS], n, t.sums[LOSS])
            t.sums[LOSS, 42] += scored - n
        if t.sums.shape[0] > SQUARE:
            deposit_product(real[sc.LOSS], real[sc.LOSS], n, t.sums[SQUARE])
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

    return absorb
