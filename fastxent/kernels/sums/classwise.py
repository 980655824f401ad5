"""Probabilities of every class of every row -> cells of calibration and of ranks, one class against the rest."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.functions.vecmath import exp
from fastxent.kernels.sums.records import BAND_BITS, FIXED_BITS, add_fixed, band_of, score_cell, significand

__all__ = [
    "CELLS",
    "CLASS_COLUMNS",
    "COLUMNS",
    "CONFIDENCE",
    "HITS",
    "SQUARE",
    "WEIGHT",
    "add_classes",
    "cell_of",
    "places_of_classes",
    "ranks_of_classes",
]

#: Equal widths that [0, 1] is cut into; bins are made of whole ones.
CELLS = 120
# Pairs of a cell: weight of rows, weight of those whose target is the class, weight times probability.
WEIGHT, HITS, CONFIDENCE = 0, 2, 4
COLUMNS = 6
# Pairs of a class: weight times (p - y)^2.
SQUARE = 0
CLASS_COLUMNS = 2


@kernel(inline="always")
def _powers(row: Any, form: int, normalize: bool, p: Any) -> float:
    """Probabilities of the classes of a row, times what is returned, into ``p``."""
    classes = row.size
    total = 1.0
    if form == 1:
        for j in range(classes):
            p[j] = row[j]
    else:
        top = 0.0
        if form == 0:
            top = row[0]
            for j in range(classes):
                top = max(top, row[j])
        for j in range(classes):
            p[j] = exp(row[j] - top)
    if form == 0 or normalize:
        total = 0.0
        for j in range(classes):
            total += p[j]
    return total


@kernel(inline="always")
def cell_of(share: float) -> Any:
    """The width of [0, 1] that holds a probability: an edge belongs to the width above it."""
    k = np.int64(share * CELLS)
    if share < k / CELLS:  # the product was rounded up to an edge
        k -= 1
    return min(k, np.int64(CELLS - 1))


@kernel(inline="always")
def _add(cells: Any, at: int, w: float, share: float, gap: float, hit: bool, shift: int) -> None:
    add_fixed(cells, at, WEIGHT, 2, w, FIXED_BITS, shift)
    if hit:
        add_fixed(cells, at, HITS, 2, w, FIXED_BITS, shift)
    add_fixed(cells, at, CONFIDENCE, 2, w * share, FIXED_BITS, shift)
    add_fixed(cells, at, COLUMNS + SQUARE, 2, w * (gap * gap), FIXED_BITS, shift)


@kernel()
def add_classes(
    scores: Any,
    status: Any,
    target: Any,
    weight: Any,
    scale: Any,
    form: int,
    normalize: bool,
    p: Any,
    band: int,
    table: Any,
    left: Any,
) -> None:
    """Add rows to the row class * `CELLS` + cell of the table of every class, as `places_of_classes` places them.

    With a ``band`` that is not negative only rows of that; ``left`` says which are of others.
    """
    n, classes = scores.shape
    for i in range(n):
        left[i] = False
        if status[i] != sc.SCORED:
            continue
        own, shift = band_of(weight[i], scale[i])
        if band >= 0 and own != band:
            left[i] = True
            continue
        w = significand(weight[i])
        total = _powers(scores[i], form, normalize, p)
        for j in range(classes):
            share = min(p[j] / total, 1.0)
            gap = share - 1.0 if target[i] == j else share
            at = j * CELLS + cell_of(share)
            _add(table, at, w, share, gap, target[i] == j, shift)


@kernel()
def places_of_classes(
    scores: Any,
    status: Any,
    target: Any,
    weight: Any,
    scale: Any,
    form: int,
    normalize: bool,
    p: Any,
    banded: bool,
    places: Any,
    cells: Any,
) -> None:
    """Of every class of every row the place class * `CELLS` + cell, and the columns of a cell, then those of a class.

    ``form``: 0 for logits, 1 for probabilities, 2 for log-probabilities. ``p``: scratch of as many float64 as there are
    classes. ``banded``: places have the band of the weight (see `fastxent.kernels.sums.records`).
    ``places`` (rows * classes,); ``cells`` (rows * classes, columns) are zeros.
    """
    n, classes = scores.shape
    for i in range(n):
        if status[i] != sc.SCORED:
            places[i * classes : (i + 1) * classes] = -1
            continue
        band, shift = band_of(weight[i], scale[i])
        w = significand(weight[i])
        total = _powers(scores[i], form, normalize, p)
        for j in range(classes):
            share = min(p[j] / total, 1.0)
            gap = share - 1.0 if target[i] == j else share
            at = i * classes + j
            place = j * CELLS + cell_of(share)
            places[at] = place << BAND_BITS | band if banded else place
            _add(cells, at, w, share, gap, target[i] == j, shift)


@kernel()
def ranks_of_classes(
    scores: Any,
    status: Any,
    target: Any,
    form: int,
    normalize: bool,
    bits: int,
    octaves: int,
    stride: int,
    p: Any,
    places: Any,
    shared: Any,
) -> None:
    """Of every class of every row the place class * stride + 2 * cell + (1 where the class is the target).

    ``bits``, ``octaves``, ``shared``: see `fastxent.kernels.sums.records.score_places`, with ``fold``.
    ``places`` and ``shared`` (rows, classes).
    """
    n, classes = scores.shape
    for i in range(n):
        if status[i] != sc.SCORED:
            places[i] = -1
            continue
        total = _powers(scores[i], form, normalize, p)
        for j in range(classes):
            cell, inexact = score_cell(p[j] / total, True, bits, octaves)
            places[i, j] = j * stride + 2 * cell + (target[i] == j)
            shared[i, j] = inexact
