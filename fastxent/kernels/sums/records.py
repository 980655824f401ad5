"""Records of scored rows -> tables of integer sums: weighted by class and confidence, by score.

These are the statistics that a plain run does not ask for; each is compiled when it is first used. Sums are
fixed-point pairs (high, low) of the value high + low * 2^-62 with 0 <= low < 2^62: what a row adds is
rounded down to a multiple of 2^-62, so the sums of any split of the rows add up to the same totals.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.functions.hashing import mix
from fastxent.kernels.sums.tally import calibration_cell
from fastxent.kernels.vector.simd import as_bits

__all__ = [
    "LIMIT", "add_fixed", "hash_bytes", "score_places", "weigh",
]  # fmt: skip

_SCALE = float(1 << 62)
#: Larger numbers are not summed.
LIMIT = 2.0**40


@kernel(inline="always")
def add_fixed(cells: Any, row: int, column: int, value: float) -> None:
    """Add a number of magnitude below 2^40 to the pair at ``column``."""
    whole = np.floor(value)
    low = cells[row, column + 1] + np.int64((value - whole) * _SCALE)
    carry = low >> 62
    cells[row, column] += np.int64(whole) + carry
    cells[row, column + 1] = low - (carry << 62)


@kernel()
def weigh(card: Any, n: int, positive: bool, classes: int, ranks: Any, cells: Any, pairs: Any) -> None:
    """Add the rows of one owner to its tables of ranks, calibration cells and pairs of classes, by place.

    What the statistics place (see there for columns and places) and would add afterwards, in one pass. A table without
    rows is not wanted.
    """
    real = card.real
    for i in range(n):
        if card.status[i] != sc.SCORED:
            continue
        w = real[sc.WEIGHT, i]
        rank = np.int64(card.whole[sc.RANK, i])
        target = np.int64(card.whole[sc.TARGET, i])
        summed = w < LIMIT and real[sc.SCRATCH, i] < LIMIT
        if positive:
            c = real[sc.P_ONE, i]
            hit = target == 1
        else:
            c = real[sc.CONFIDENCE, i]
            hit = rank == 0
        place = min(rank, ranks.shape[0] - 1)
        ranks[place, 0] += 1
        if summed:
            add_fixed(ranks, place, 1, w)
        cell = calibration_cell(c)
        cells[cell, 0] += 1
        cells[cell, 1] += hit
        if w < LIMIT:
            add_fixed(cells, cell, 2, w)
            if hit:
                add_fixed(cells, cell, 4, w)
            add_fixed(cells, cell, 6, w * c)
        if pairs.shape[0] == 0:
            continue
        pair = 4 * (target * classes + np.int64(card.whole[sc.PREDICTED, i]))
        if not real[sc.LOSS, i] < LIMIT:
            pair += 1
        if not summed:
            pair += 2
        pairs[pair, 0] += 1
        if w < LIMIT:
            add_fixed(pairs, pair, 1, w)
        if summed:
            add_fixed(pairs, pair, 3, real[sc.SCRATCH, i])
            add_fixed(pairs, pair, 5, w * real[sc.CONFIDENCE, i])


@kernel(inline="always")
def _score_cell(x: float, fold: bool, bits: int, octaves: int) -> Any:
    """The cell of a score, and 1 if others that share it may differ from it; see `score_places`."""
    half = (octaves << bits) + 2
    top = 1023 + (-1 if fold else 16)
    lowest = (top - octaves) << bits
    if fold:
        above = x > 0.5
        size = 1.0 - x if above else x
    else:
        above = x > 0.0
        size = abs(x)
    pattern = as_bits(size)
    place = (pattern >> (52 - bits)) - lowest + 1
    inexact = np.int64(0)
    if size == 0.0:
        place = 0
    elif place < 1:
        place = 0
        inexact = np.int64(1)
    elif place > half - 2:
        place = half - 1
        inexact = np.int64(size != 0.5 or not fold)
    else:
        inexact = np.int64((pattern & ((1 << (52 - bits)) - 1)) != 0)
    # Of probabilities the small sizes lie outside, of other scores the large ones.
    if fold:
        cell = 2 * half - 1 - place if above else place
    else:
        cell = half + place if above else half - 1 - place
    return cell, inexact


@kernel()
def score_places(score: Any, truth: Any, fold: bool, bits: int, octaves: int, places: Any, shared: Any) -> None:
    """The cell of every score, times 2, plus its truth; -1 where that is neither 0 nor 1.

    Cells run from the lowest to the highest score. A score is placed by its sign and the leading bits of its magnitude,
    or (``fold``, for probabilities) by the leading bits of p or 1 - p, whichever is smaller: both keep the order of the
    scores. Each side has ``octaves`` octaves of 2^bits cells below its largest magnitude 2^top; smaller and larger
    magnitudes share the outer cells. ``shared`` says of every score whether it shares its cell with others that may
    differ.
    """
    for i in range(score.size):
        y = truth[i]
        cell, inexact = _score_cell(score[i], fold, bits, octaves)
        places[i] = 2 * cell + y if y <= 1 else -1
        shared[i] = inexact


@kernel()
def hash_bytes(offsets: Any, data: Any, out: Any) -> None:
    """64-bit FNV-1a of byte strings, finished as SplitMix64 does; strings are data[offsets[i] : offsets[i + 1]]."""
    for i in range(out.size):
        h = np.uint64(0xCBF29CE484222325)
        for j in range(offsets[i], offsets[i + 1]):
            h = (h ^ np.uint64(data[j])) * np.uint64(0x100000001B3)
        out[i] = mix(h)
