"""Records of scored rows -> tables of integer sums: by group, weighted by class and confidence, by score.

These are the statistics that a plain run does not ask for; each is compiled when it is first used. Sums are
fixed-point pairs (high, low) of the value high + low * 2^-62 with 0 <= low < 2^62: what a row adds is
rounded down to a multiple of 2^-62, so the sums of any split of the rows add up to the same totals.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastxent.kernels import scorecard as sc
from fastxent.kernels.compile import kernel
from fastxent.kernels.simd import as_bits
from fastxent.kernels.tally import calibration_cell, probability_of_one

__all__ = [
    "BRIER", "COUNT", "GAPS", "GROUP_BINS", "HITS", "LARGE", "LOSS", "SQUARE", "by_group", "by_score", "hash_bytes",
    "weigh_cells", "weigh_classes", "weigh_confusion",
]  # fmt: skip

FIXED_ONE = 1 << 62
_SCALE = float(1 << 62)
_LIMIT = 2.0**40

#: Bins of a group's calibration error.
GROUP_BINS = 15

# Columns of a group's cells. With weights the sums are weighted, and five more follow the gaps.
COUNT, LARGE, LOSS, SQUARE, HITS, BRIER = 0, 1, 2, 4, 6, 8
GAPS = 10
WEIGHT, WEIGHT_SQUARE, CROSS = (GAPS + 2 * GROUP_BINS + 2 * i for i in range(3))
PLAIN_COLUMNS = WEIGHT
WEIGHTED_COLUMNS = CROSS + 2


@kernel(inline="always")
def add_fixed(cells: Any, row: int, column: int, value: float) -> None:
    """Add a number of magnitude below 2^40 to the pair at ``column``."""
    whole = np.floor(value)
    low = cells[row, column + 1] + np.int64((value - whole) * _SCALE)
    carry = low >> 62
    cells[row, column] += np.int64(whole) + carry
    cells[row, column + 1] = low - (carry << 62)


@kernel()
def by_group(card: Any, n: int, codes: Any, cells: Any, weighted: bool, positive: bool) -> None:
    """Add n rows to the cells of their groups.

    COUNT rows, LARGE rows whose loss is too large to be summed, and sums of loss, loss^2, hits and Brier terms; GAPS
    are, for each of 15 equal bins of the confidence, the sum of hit - confidence. Weighted: the sums of w x,
    (w loss)^2, w, w^2, and w^2 loss.
    """
    real = card.real
    for i in range(n):
        if card.status[i] != sc.SCORED:
            continue
        g = codes[i]
        cells[g, COUNT] += 1
        w = 1.0
        loss = real[sc.LOSS, i]
        if weighted:
            w = real[sc.WEIGHT, i]
            loss = real[sc.SCRATCH, i]
        if positive:
            c = probability_of_one(card, i)
            hit = np.float64(card.whole[sc.TARGET, i])
        else:
            c = real[sc.CONFIDENCE, i]
            hit = np.float64(card.whole[sc.RANK, i] == 0)
        if loss * loss < _LIMIT and w * w < _LIMIT:
            add_fixed(cells, g, LOSS, loss)
            add_fixed(cells, g, SQUARE, loss * loss)
            add_fixed(cells, g, HITS, w if card.whole[sc.RANK, i] == 0 else 0.0)
            add_fixed(cells, g, BRIER, w * real[sc.BRIER, i])
            bin_number = min(int(c * GROUP_BINS), GROUP_BINS - 1)
            add_fixed(cells, g, GAPS + 2 * bin_number, w * (hit - c))
            if weighted:
                add_fixed(cells, g, WEIGHT, w)
                add_fixed(cells, g, WEIGHT_SQUARE, w * w)
                add_fixed(cells, g, CROSS, w * loss)
        else:
            cells[g, LARGE] += 1


# columns of `weigh_classes`
CLASS_SUPPORT, CLASS_CORRECT, CLASS_PREDICTED, CLASS_LOSS, CLASS_CONF, CLASS_LARGE = 0, 2, 4, 6, 8, 10
WEIGHED_CLASS_COLUMNS = 11


@kernel()
def weigh_classes(card: Any, n: int, classes: Any, ranks: Any) -> None:
    """Weights and losses by target class, weights and confidences by predicted class, weights by rank."""
    real = card.real
    last = ranks.shape[0] - 1
    for i in range(n):
        if card.status[i] != sc.SCORED:
            continue
        w = real[sc.WEIGHT, i]
        k = card.whole[sc.TARGET, i]
        predicted = card.whole[sc.PREDICTED, i]
        if not (w < _LIMIT and real[sc.SCRATCH, i] < _LIMIT):
            classes[k, CLASS_LARGE] += 1
            continue
        add_fixed(classes, k, CLASS_SUPPORT, w)
        if card.whole[sc.RANK, i] == 0:
            add_fixed(classes, k, CLASS_CORRECT, w)
        add_fixed(classes, k, CLASS_LOSS, real[sc.SCRATCH, i])
        add_fixed(classes, predicted, CLASS_PREDICTED, w)
        add_fixed(classes, predicted, CLASS_CONF, w * real[sc.CONFIDENCE, i])
        add_fixed(ranks, min(np.int64(card.whole[sc.RANK, i]), last), 0, w)


@kernel()
def weigh_confusion(card: Any, n: int, confusion: Any) -> None:
    """Weights by target class (first axis) and predicted class (second)."""
    for i in range(n):
        w = card.real[sc.WEIGHT, i]
        if card.status[i] == sc.SCORED and w < _LIMIT:
            add_fixed(confusion[card.whole[sc.TARGET, i]], card.whole[sc.PREDICTED, i], 0, w)


@kernel()
def weigh_cells(card: Any, n: int, cells: Any, positive: bool) -> None:
    """Calibration cells with weights: sums of w, of w for hits, and of w times the confidence."""
    for i in range(n):
        w = card.real[sc.WEIGHT, i]
        if card.status[i] != sc.SCORED or not w < _LIMIT:
            continue
        if positive:
            c = probability_of_one(card, i)
            hit = card.whole[sc.TARGET, i] == 1
        else:
            c = card.real[sc.CONFIDENCE, i]
            hit = card.whole[sc.RANK, i] == 0
        cell = calibration_cell(c)
        add_fixed(cells, cell, 0, w)
        if hit:
            add_fixed(cells, cell, 2, w)
        add_fixed(cells, cell, 4, w * c)


@kernel()
def by_score(score: Any, truth: Any, weight: Any, fold: bool, bits: int, octaves: int, cells: Any) -> int:
    """Histogram of scores by truth (0, 1; anything else is left out); cells run from the lowest to the highest score.

    A score is placed by its sign and the leading bits of its magnitude, or (``fold``, for probabilities) by the leading
    bits of p or 1 - p, whichever is smaller: both keep the order of the scores. Each side has ``octaves`` octaves of
    2^bits cells below its largest magnitude 2^top; smaller and larger magnitudes share the outer cells. Columns: the
    pair of negatives, the pair of positives; without weights the counts. Returns how many scores share their cell
    with others that may differ.
    """
    half = (octaves << bits) + 2
    top = 1023 + (-1 if fold else 16)
    lowest = (top - octaves) << bits
    mask = (1 << (52 - bits)) - 1
    inexact = 0
    for i in range(score.size):
        y = truth[i]
        if y > 1:
            continue
        x = score[i]
        if fold:
            above = x > 0.5
            size = 1.0 - x if above else x
        else:
            above = x > 0.0
            size = abs(x)
        pattern = as_bits(size)
        place = (pattern >> (52 - bits)) - lowest + 1
        if size == 0.0:
            place = 0
        elif place < 1:
            place = 0
            inexact += 1
        elif place > half - 2:
            place = half - 1
            inexact += size != 0.5 or not fold
        else:
            inexact += (pattern & mask) != 0
        # Of probabilities the small sizes lie outside, of other scores the large ones.
        if fold:
            cell = 2 * half - 1 - place if above else place
        else:
            cell = half + place if above else half - 1 - place
        if weight.size > 0:
            add_fixed(cells, cell, 2 * y, weight[i])
        else:
            cells[cell, 2 * y] += 1
    return inexact


@kernel()
def hash_bytes(offsets: Any, data: Any, out: Any) -> None:
    """64-bit FNV-1a of byte strings, finished as SplitMix64 does; strings are data[offsets[i] : offsets[i + 1]]."""
    for i in range(out.size):
        h = np.uint64(0xCBF29CE484222325)
        for j in range(offsets[i], offsets[i + 1]):
            h = (h ^ np.uint64(data[j])) * np.uint64(0x100000001B3)
        h = (h ^ (h >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        h = (h ^ (h >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        out[i] = h ^ (h >> np.uint64(31))
