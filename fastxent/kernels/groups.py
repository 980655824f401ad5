"""Records of scored rows -> the sums of their groups, one row of cells a group.

Sums are fixed-point pairs as in `fastxent.kernels.records`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastxent.kernels import scorecard as sc
from fastxent.kernels.compile import kernel
from fastxent.kernels.records import LIMIT, add_fixed
from fastxent.kernels.simd import as_bits
from fastxent.kernels.tally import FIRST_EDGE, LAST_EDGE, WIDTHS, calibration_cell, probability_of_one

__all__ = [
    "BINS", "COUNT", "HEAVY", "LARGE", "LOSS", "MANY", "PAIRS", "RANKS", "SQUARE", "Layout", "by_group", "layout_of",
]  # fmt: skip

#: Bins of a group's calibration error.
BINS = 15
#: Ranks of the target that are told apart.
RANKS = 10

# Counts: rows; those whose loss, whose weight, whose number of units is too large to be summed. From PAIRS on, pairs.
COUNT, LARGE, HEAVY, MANY = range(4)
PAIRS = 4
LOSS, SQUARE = PAIRS, PAIRS + 2


class Layout(NamedTuple):
    """Where sums lie that not every group has; -1 for those that there are not.

    ``brier``: w times the Brier score. ``gaps``: for each of 15 equal bins of the confidence the sum of
    w (hit - confidence), ``bins``: that of w.
    ``ranks``: w by rank of the target, for as many ranks as ``told`` says; ``reciprocal``: w / (1 + rank).
    ``weight``: w, w^2, w^2 loss, and, without weights, loss and loss^2. ``entropy`` and ``units``: w times either.
    """

    brier: int
    gaps: int
    bins: int
    ranks: int
    told: int
    reciprocal: int
    weight: int
    entropy: int
    units: int
    width: int


def layout_of(*, brier: bool, ranks: int, weighted: bool, entropy: bool, units: bool) -> Layout:
    """The layout with so many ranks (0: no predicted class), and what else there is."""
    at = SQUARE + 2

    def take(pairs: int) -> int:
        nonlocal at
        at += 2 * pairs
        return at - 2 * pairs if pairs else -1

    return Layout(
        brier=take(int(brier)),
        gaps=take(BINS if ranks else 0),
        bins=take(BINS if ranks else 0),
        ranks=take(ranks),
        told=ranks,
        reciprocal=take(min(ranks, 1)),
        weight=take(5 if weighted else 0),
        entropy=take(int(entropy)),
        units=take(int(units)),
        width=at,
    )


@kernel(inline="always")
def _bin(c: float) -> Any:
    """The bin of a number in [0, 1], whose edges are compared exactly: [a, b), the last one closed."""
    cell = calibration_cell(c)
    if cell < FIRST_EDGE:
        return 0
    if cell > LAST_EDGE:
        return BINS - 1
    return (1 + ((cell - FIRST_EDGE) >> 1)) // (WIDTHS // BINS)


@kernel()
def by_group(
    card: Any, n: int, codes: Any, units: Any, layout: Any, cells: Any, extremes: Any, weighted: bool, positive: bool
) -> None:
    """Add n rows to the cells of their groups (``codes``); ``extremes``: bits of the least and the largest loss."""
    real = card.real
    for i in range(n):
        if card.status[i] != sc.SCORED:
            continue
        g = codes[i]
        cells[g, COUNT] += 1
        bits = as_bits(real[sc.LOSS, i])
        extremes[g, 0] = min(extremes[g, 0], bits)
        extremes[g, 1] = max(extremes[g, 1], bits)
        w = real[sc.WEIGHT, i] if weighted else 1.0
        if not w * w < LIMIT:
            cells[g, HEAVY] += 1
            continue
        _add_loss(card, i, w, layout, cells, g, weighted)
        if layout.brier >= 0:
            add_fixed(cells, g, layout.brier, w * real[sc.BRIER, i])
        if weighted:
            add_fixed(cells, g, layout.weight, w)
            add_fixed(cells, g, layout.weight + 2, w * w)
        if layout.told > 0:
            _add_prediction(card, i, w, layout, cells, g, positive)
        if layout.entropy >= 0:
            add_fixed(cells, g, layout.entropy, w * real[sc.ENTROPY, i])
        if layout.units >= 0:
            if w * units[i] < LIMIT:
                add_fixed(cells, g, layout.units, w * units[i])
            else:
                cells[g, MANY] += 1


@kernel()
def _add_loss(card: Any, i: int, w: float, layout: Any, cells: Any, g: int, weighted: bool) -> None:
    plain = card.real[sc.LOSS, i]
    loss = card.real[sc.SCRATCH, i] if weighted else plain
    if not (loss * loss < LIMIT and plain * plain < LIMIT):
        cells[g, LARGE] += 1
        return
    add_fixed(cells, g, LOSS, loss)
    add_fixed(cells, g, SQUARE, loss * loss)
    if weighted:
        add_fixed(cells, g, layout.weight + 4, w * loss)
        add_fixed(cells, g, layout.weight + 6, plain)
        add_fixed(cells, g, layout.weight + 8, plain * plain)


@kernel()
def _add_prediction(card: Any, i: int, w: float, layout: Any, cells: Any, g: int, positive: bool) -> None:
    rank = np.int64(card.whole[sc.RANK, i])
    if rank < layout.told:
        add_fixed(cells, g, layout.ranks + 2 * rank, w)
    add_fixed(cells, g, layout.reciprocal, w / (1.0 + rank))
    if positive:
        c = probability_of_one(card, i)
        hit = np.float64(card.whole[sc.TARGET, i])
    else:
        c = card.real[sc.CONFIDENCE, i]
        hit = np.float64(rank == 0)
    number = _bin(c)
    add_fixed(cells, g, layout.gaps + 2 * number, w * (hit - c))
    add_fixed(cells, g, layout.bins + 2 * number, w)
