"""Poly-1 cross-entropy: L + epsilon (1 - p), the first term of the cross-entropy's series in 1 - p weighed anew.

1. With L = -log p and epsilon of at least 0 both terms are positive, and 1 - p = -expm1(-L) has no more than the
   relative error that L has. Leng et al. (2022) define it for one label.
2. Of epsilon from -1 to 0 it is (1 + epsilon) (1 - p) + (L - (1 - p)), where nothing cancels either once the second
   term is made by `excess`; but that has twice the relative error that L has.
3. Targets that are distributions: sum a_c (-log p_c + epsilon (1 - p_c)), see `class_costs`.
"""

from __future__ import annotations

from functools import cache
from math import factorial
from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import TILE
from fastxent.kernels.functions.twofold import add, exp_less_one
from fastxent.kernels.rows import class_costs
from fastxent.kernels.rows.class_costs import Change, missing
from fastxent.kernels.vector.memory import fetch, store
from fastxent.kernels.vector.simd import fill, fma, halving_sum, lane_numbers, minimum, select, splat

__all__ = ["of_classes", "poly1"]

INF = np.inf
# The place of epsilon in `Problem.parameters`.
EPSILON = 0
#: Below this loss `excess` is summed from its series, whose terms after the last one here are below 2^-58 of it.
NEAR = 0.5
SERIES = tuple((-1.0) ** k / factorial(k) for k in range(2, 17))


@kernel(inline="always")
def excess(loss):
    """The number L - (1 - e^-L): below NEAR by L^2 (1/2 - L/6 + L^2/24 - ...)."""
    x = minimum(NEAR, loss)
    series = fill(SERIES[-1], x)
    for k in range(len(SERIES) - 2, -1, -1):
        series = fma(series, x, SERIES[k])
    less, lost = exp_less_one(loss * -1.0)
    rest, more = add(loss, less)
    rest = rest + select(loss < INF, more + lost, fill(0.0, loss))
    return select(loss < NEAR, loss * loss * series, rest)


@kernel()
def raised(p, loss, wrong, wrong_lost):
    """The cost of a class -> L + epsilon (1 - p)."""
    epsilon = p.parameters[EPSILON]
    if epsilon >= 0.0:
        return fma(wrong, epsilon, loss)
    return fma(wrong, 1.0 + epsilon, excess(loss))


@kernel()
def poly1(p, lo, n, card, work):
    """Cross-entropy losses of labels in LOSS -> Poly-1 losses."""
    loss = card.real[sc.LOSS]
    for i in range(0, n, TILE):
        plain = fetch(loss, i, TILE)
        wrong, lost = missing(plain, fill(0.0, plain))
        store(loss, i, raised(p, plain, wrong, lost))


@kernel()
def of_one(p, row, y, plain, scratch):
    """The Poly-1 loss of a label whose cross-entropy is ``plain``."""
    loss = splat(plain, 8)
    wrong, lost = missing(loss, splat(0.0, 8))
    return halving_sum(select(lane_numbers(8) == np.int32(0), raised(p, loss, wrong, lost), splat(0.0, 8)))


POLY1 = Change("poly1", raised, lambda form, kind: of_one)


@cache
def of_classes(form: str, kind: str, target: str, dense: bool, full: bool, few: bool = False) -> Any:
    """The row kernel for the Poly-1 loss of distributions (``dense``) or smoothed labels of kind ``target``."""
    return class_costs.of_classes(POLY1, form, kind, target, dense, full, few)
