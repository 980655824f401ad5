"""The binary cross-entropy of one event, by its logit or the probability or log-probability of the positive class.

1. An event is true with probability p = 1 / (1 + e^-z). Its loss is c1 softplus(-z) + c0 softplus(z) with
   c1 = w y' and c0 = 1 - y', where y' = y (1 - a) + a / 2 is the smoothed target and w the positive weight.
   As softplus(x) = max(x, 0) + log1p(e^-|x|), that is (c0 + c1) log1p(e^-|z|) + (c0 or c1) |z|: terms that
   are never negative, so nothing cancels, and a confident event keeps its relative accuracy down to 1e-300.
2. From probabilities: c1 (-log p) + c0 (-log(1 - p)), where 1 - p comes with the part that its rounding lost.
   From log-probabilities 1 - p is an expm1 near 1 and a log1p far from it (Maechler 2012).
3. A weight of exactly 0 silences an infinite loss. Infinite logits are fine: the wrong side costs +inf.
4. Everything is elementwise: one event a lane, so the bits of an event depend on its own numbers only. Hard
   labels take a shorter way, which is the same arithmetic with c0 and c1 in {0, 1}, to the bit.

A tie, p = 1/2, predicts class 0, the first maximum.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.functions.vecmath import (
    C2,
    C3,
    C4,
    C5,
    C6,
    C7,
    C8,
    C9,
    C10,
    C11,
    LN2_HIGH,
    LN2_LOW,
    _log_of,
    exp,
    log,
)
from fastxent.kernels.vector.simd import as_bits, as_float, as_ones, fill, fma, maximum, minimum, select, widen

__all__ = ["FORMS", "Form", "coefficients", "hard_clipped", "soft_clipped"]

Form = Literal["logits", "probs", "log_probs"]

INF = np.inf
SIGN = -(2**63)
LN2 = float.fromhex("0x1.62e42fefa39efp-1")
TINY = 2.0**-1022


@kernel(inline="always")
def expm1_near(x):
    """e^x - 1 for -ln 2 <= x <= 0."""
    halved = x < -0.34657359027997264
    r = select(halved, (x + LN2_HIGH) + LN2_LOW, x)
    p = fma(r, C11, C10)
    p = fma(p, r, C9)
    p = fma(p, r, C8)
    p = fma(p, r, C7)
    p = fma(p, r, C6)
    p = fma(p, r, C5)
    p = fma(p, r, C4)
    p = fma(p, r, C3)
    p = fma(p, r, C2)
    p = fma(p, r, 1.0)
    e = p * r
    return select(halved, fma(e, 0.5, -0.5), e)


@kernel(inline="always")
def minus_log(w, correction):
    """-log(w + c) for 0 <= w <= 1, where c is what w rounded away and ``correction`` is c / w."""
    tiny = w < TINY
    value = _log_of(select(tiny, w * 18014398509481984.0, w), correction)
    value = select(tiny, value + -37.42994775023705, value)
    # Adding 0 makes -0 a plain 0.
    return select(w == 0.0, fill(INF, w), value * -1.0 + 0.0)


@kernel(inline="always")
def complement(p):
    """1 - p for 0 <= p <= 1, and the part that rounding lost, relative to it."""
    w = p * -1.0 + 1.0
    lost = (w * -1.0 + 1.0) - p
    # 2 - w for 1 / w: they differ where w is far from 1, and there the logarithm is large.
    return w, lost * (w * -1.0 + 2.0)


@kernel(inline="always")
def complement_of_log(lp):
    """1 - e^lp for lp <= 0, and the part that rounding lost, relative to it; and e^lp."""
    e = exp(minimum(0.0, lp))
    near = lp > -LN2
    w, lost = complement(e)
    u = expm1_near(maximum(-LN2, lp)) * -1.0
    return select(near, u, w), select(near, fill(0.0, lp), lost), e


@kernel(inline="always")
def silent(coefficient, loss):
    """Their product, and 0 where the coefficient is 0, however large the loss."""
    return select(coefficient == 0.0, coefficient, coefficient * loss)


@kernel(inline="always")
def coefficients(y, half, rest, w):
    """Weights of -log p and of -log(1 - p): y' w and 1 - y', where y' = y rest + half."""
    return fma(y, rest, fill(half, y)) * w, fma(y * -1.0 + 1.0, rest, fill(half, y))


@kernel(inline="always")
def cost_of_side(z, y):
    """max(a, 0), a = z for y = 0 and -z for y = 1; NaN stays."""
    return maximum(0.0, select(y == 1, z * -1.0, z))


@kernel(inline="always")
def cost_of_away(z, c1, c0):
    """c0 max(z, 0) + c1 max(-z, 0)."""
    return silent(select(z > 0.0, c0, c1), as_float(as_bits(z) & ~SIGN))


# What a form needs of a score z comes along: of a logit log(1 + e^-|z|), or the chances of the rarer and of the other
# side; nothing else needs anything.


@kernel(inline="always")
def hard_logits(z, near, y):
    return widen(cost_of_side(z, y)) + near


@kernel(inline="always")
def soft_logits(z, near, c1, c0):
    return cost_of_away(z, c1, c0) + near * (c0 + c1)


@kernel(inline="always")
def chances_logits(z, small, large):
    """P(positive), P(negative), both to full relative accuracy, and the logit."""
    return select(z > 0.0, large, small), select(z > 0.0, small, large), z


@kernel(inline="always")
def hard_probs(p, near, y):
    w, lost = complement(p)
    true = y == 1
    return minus_log(select(true, p, w), select(true, fill(0.0, p), lost))


@kernel(inline="always")
def soft_probs(p, near, c1, c0):
    w, lost = complement(p)
    return silent(c1, minus_log(p, fill(0.0, p))) + silent(c0, minus_log(w, lost))


@kernel(inline="always")
def chances_probs(p, small, large):
    w, lost = complement(p)
    return p, w, minus_log(w, lost) - minus_log(p, fill(0.0, p))


@kernel(inline="always")
def hard_log_probs(lp, near, y):
    w, lost, _ = complement_of_log(lp)
    return select(y == 1, lp * -1.0 + 0.0, minus_log(w, lost))


@kernel(inline="always")
def soft_log_probs(lp, near, c1, c0):
    w, lost, _ = complement_of_log(lp)
    return silent(c1, lp * -1.0 + 0.0) + silent(c0, minus_log(w, lost))


@kernel(inline="always")
def chances_log_probs(lp, small, large):
    w, lost, e = complement_of_log(lp)
    return e, w, lp + minus_log(w, lost)


# What can be wrong with a score: 0 in the lanes where nothing is.


@kernel(inline="always")
def faults_logits(z):
    return as_ones(z != z, z)


@kernel(inline="always")
def faults_probs(p):
    return as_ones((p >= 0.0) & (p <= 1.0), p) + 1


@kernel(inline="always")
def faults_log_probs(lp):
    return as_ones(lp <= 0.0, lp) + 1


class Formulas(NamedTuple):
    """What a form says of events: losses of labels and of numbers between 0 and 1, chances, faults, and p = 1/2."""

    hard: Any
    soft: Any
    chances: Any
    faults: Any
    middle: float


FORMS: dict[str, Formulas] = {
    "logits": Formulas(hard_logits, soft_logits, chances_logits, faults_logits, 0.0),
    "probs": Formulas(hard_probs, soft_probs, chances_probs, faults_probs, 0.5),
    "log_probs": Formulas(hard_log_probs, soft_log_probs, chances_log_probs, faults_log_probs, -LN2),
}


# Probabilities clipped to [eps, 1 - eps]. Below half an ulp of 1, 1 - eps is 1: then the bound on the loss clips.


@kernel(inline="always")
def clipped(p, eps):
    return minimum(1.0 - eps, maximum(eps, p))


@kernel(inline="always")
def greatest_loss(eps):
    return -log(eps) if 1.0 - eps == 1.0 else INF


@kernel(inline="always")
def hard_clipped(p, y, eps):
    """The loss of a hard label y with p clipped."""
    return minimum(greatest_loss(eps), hard_probs(clipped(p, eps), p, y))


@kernel(inline="always")
def soft_clipped(p, c1, c0, eps):
    """The loss of coefficients c1 and c0 with p clipped."""
    p = clipped(p, eps)
    w, lost = complement(p)
    most = greatest_loss(eps)
    return c1 * minimum(most, minus_log(p, fill(0.0, p))) + c0 * minimum(most, minus_log(w, lost))
