"""Probabilities of every class of every row -> cells of calibration, one class against the rest."""

from __future__ import annotations

from typing import Any

from fastxent.kernels import scorecard as sc
from fastxent.kernels.compile import kernel
from fastxent.kernels.records import add_fixed
from fastxent.kernels.vecmath import exp

__all__ = ["CELLS", "CLASS_COLUMNS", "COLUMNS", "CONFIDENCE", "HITS", "SQUARE", "WEIGHT", "by_class"]

#: Equal widths that [0, 1] is cut into; bins are made of whole ones.
CELLS = 120
# Pairs of a cell: weight of rows, weight of those whose target is the class, weight times probability.
WEIGHT, HITS, CONFIDENCE = 0, 2, 4
COLUMNS = 6
# Pairs of a class: weight times (p - y)^2.
SQUARE = 0
CLASS_COLUMNS = 2


@kernel()
def by_class(
    scores: Any, status: Any, target: Any, weight: Any, form: int, normalize: bool, p: Any, cells: Any, sums: Any
) -> None:
    """Add rows to the cells (class, cell, column) and the sums (class, column) of every class.

    ``form``: 0 for logits, 1 for probabilities, 2 for log-probabilities. Weights are below 2^40. ``p``: scratch of
    as many float64 as there are classes.
    """
    n, classes = scores.shape
    for i in range(n):
        if status[i] != sc.SCORED:
            continue
        w = weight[i]
        row = scores[i]
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
        for j in range(classes):
            share = min(p[j] / total, 1.0)
            gap = share - 1.0 if target[i] == j else share
            cell = min(int(share * CELLS), CELLS - 1)
            add_fixed(cells[j], cell, WEIGHT, w)
            if target[i] == j:
                add_fixed(cells[j], cell, HITS, w)
            add_fixed(cells[j], cell, CONFIDENCE, w * share)
            add_fixed(sums, j, SQUARE, w * (gap * gap))
