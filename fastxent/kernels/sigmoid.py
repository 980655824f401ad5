"""One score an event -> binary cross-entropy: logits, probabilities or log-probabilities of the positive class.

1. An event is true with probability p = 1 / (1 + e^-z). Its loss is c1 softplus(-z) + c0 softplus(z) with
   c1 = w y' and c0 = 1 - y', where y' = y (1 - a) + a / 2 is the smoothed target and w the positive weight.
   As softplus(x) = max(x, 0) + log1p(e^-|x|), that is (c0 + c1) log1p(e^-|z|) + (c0 or c1) |z|: terms that
   are never negative, so nothing cancels, and a confident event keeps its relative accuracy down to 1e-300.
2. From probabilities: c1 (-log p) + c0 (-log(1 - p)), where 1 - p comes with the part that its rounding lost.
   From log-probabilities 1 - p is an expm1 near 1 and a log1p far from it (Maechler 2012).
3. A weight of exactly 0 silences an infinite loss. Infinite logits are fine: the wrong side costs +inf.
4. Everything is elementwise: one event a lane, so the bits of a row depend on its own numbers only. Hard
   labels take a shorter way, which is the same arithmetic with c0 and c1 in {0, 1}, to the bit.

A tie, p = 1/2, predicts class 0, the first maximum.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import numpy as np

from fastxent.kernels import scorecard as sc
from fastxent.kernels.compile import kernel
from fastxent.kernels.problem import SIZE, TILE
from fastxent.kernels.simd import (
    any_lane,
    as_bits,
    as_float,
    as_ones,
    fetch,
    fill,
    fma,
    load,
    load_scalar,
    load_whole,
    maximum,
    minimum,
    select,
    shift_left,
    splat_i32,
    splat_i64,
    store,
    store_bytes,
    widen,
)
from fastxent.kernels.vecmath import (
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
    EXP_LOW,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    ROUND,
    _log_of,
)

__all__ = ["Form", "binary"]

Form = Literal["logits", "probs", "log_probs"]

INF = np.inf
SIGN = -(2**63)
LN2 = float.fromhex("0x1.62e42fefa39efp-1")
TINY = 2.0**-1022

# Places in `Work.lanes`: a tile of scores, a tile of targets, and the sums of weights of a block.
SCORES = 0
TARGETS = TILE
SUMS = 2 * TILE

# log(1 + x) = h + h^3 (Q0 + Q1 h^2 + ...), h = x / (1 + x / 2), on 0 <= x <= 1; relative error 2.4e-18.
Q0 = float.fromhex("0x1.5555555555535p-4")
Q1 = float.fromhex("0x1.99999999a06c3p-7")
Q2 = float.fromhex("0x1.2492492091054p-9")
Q3 = float.fromhex("0x1.c71c741a0bbafp-12")
Q4 = float.fromhex("0x1.745cb4591db61p-14")
Q5 = float.fromhex("0x1.3b1dd3b6b706fp-16")
Q6 = float.fromhex("0x1.10682e709207fp-18")
Q7 = float.fromhex("0x1.efd1924ed1198p-21")
Q8 = float.fromhex("0x1.55cf4761e4e83p-23")
Q9 = float.fromhex("0x1.5c5c2ec3e70b8p-24")


# --- formulas of one lane ----------------------------------------------------------------------------------


@kernel(inline="always")
def log1p_unit(x):
    """log(1 + x) for 0 <= x <= 1: one division, no table, no exponent to take apart."""
    h = x / fma(x, 0.5, fill(1.0, x))
    v = h * h
    w = v * v
    # Even and odd powers apart: half the latency of Horner's rule, which is what bounds this loop.
    even = fma(w, Q8, Q6)
    odd = fma(w, Q9, Q7)
    even = fma(even, w, Q4)
    odd = fma(odd, w, Q5)
    even = fma(even, w, Q2)
    odd = fma(odd, w, Q3)
    even = fma(even, w, Q0)
    odd = fma(odd, w, Q1)
    return fma(h * v, fma(odd, v, even), h)


@kernel(inline="always")
def exp_of_minus(a):
    """e^-|a|, the polynomial of `vecmath.exp` with even and odd powers apart."""
    x = maximum(EXP_LOW, as_float(as_bits(a) | SIGN))
    t = fma(x, LOG2_E, ROUND)
    k = t - ROUND
    r = fma(k, -LN2_HIGH, x)
    r = fma(k, -LN2_LOW, r)
    w = r * r
    even = fma(w, C10, C8)
    odd = fma(w, C11, C9)
    even = fma(even, w, C6)
    odd = fma(odd, w, C7)
    even = fma(even, w, C4)
    odd = fma(odd, w, C5)
    even = fma(even, w, C2)
    odd = fma(odd, w, C3)
    p = fma(w, fma(odd, r, even), r)
    scale = as_float(shift_left(as_bits(t), 52))
    return fma(p, scale, scale)


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
    e = exp_of_minus(lp)
    near = lp > -LN2
    w, lost = complement(e)
    u = expm1_near(maximum(-LN2, lp)) * -1.0
    return select(near, u, w), select(near, fill(0.0, lp), lost), e


@kernel(inline="always")
def silent(coefficient, loss):
    """coefficient * loss, and 0 where the coefficient is 0, however large the loss."""
    return select(coefficient == 0.0, coefficient, coefficient * loss)


@kernel(inline="always")
def coefficients(y, half, rest, w):
    """Weights of -log p and of -log(1 - p), from a target, half the smoothing, 1 - smoothing and the positive weight."""
    return fma(y, rest, fill(half, y)) * w, fma(y * -1.0 + 1.0, rest, fill(half, y))


@kernel(inline="always")
def cost_of_side(z, y):
    """max(a, 0), a = z for y = 0 and -z for y = 1; NaN stays."""
    return maximum(0.0, as_float(as_bits(z) ^ shift_left(y, 63)))


@kernel(inline="always")
def cost_of_away(z, c1, c0):
    """c0 max(z, 0) + c1 max(-z, 0)."""
    return silent(select(z > 0.0, c0, c1), as_float(as_bits(z) & ~SIGN))


@kernel(inline="always")
def hard_logits(z, y):
    return cost_of_side(z, y) + log1p_unit(exp_of_minus(z))


@kernel(inline="always")
def soft_logits(z, c1, c0):
    return cost_of_away(z, c1, c0) + log1p_unit(exp_of_minus(z)) * (c0 + c1)


@kernel(inline="always")
def chances_logits(z):
    """P(positive), P(negative), both to full relative accuracy, and the logit."""
    x = exp_of_minus(z)
    large = fill(1.0, z) / (x + 1.0)
    small = x * large
    return select(z > 0.0, large, small), select(z > 0.0, small, large), z


@kernel(inline="always")
def hard_probs(p, y):
    w, lost = complement(p)
    true = y == 1
    return minus_log(select(true, p, w), select(true, fill(0.0, p), lost))


@kernel(inline="always")
def soft_probs(p, c1, c0):
    w, lost = complement(p)
    return silent(c1, minus_log(p, fill(0.0, p))) + silent(c0, minus_log(w, lost))


@kernel(inline="always")
def chances_probs(p):
    w, lost = complement(p)
    return p, w, minus_log(w, lost) - minus_log(p, fill(0.0, p))


@kernel(inline="always")
def hard_log_probs(lp, y):
    w, lost, _ = complement_of_log(lp)
    return select(y == 1, lp * -1.0 + 0.0, minus_log(w, lost))


@kernel(inline="always")
def soft_log_probs(lp, c1, c0):
    w, lost, _ = complement_of_log(lp)
    return silent(c1, lp * -1.0 + 0.0) + silent(c0, minus_log(w, lost))


@kernel(inline="always")
def chances_log_probs(lp):
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


#: form -> (loss of hard labels, loss of soft labels, chances, faults, score of p = 1/2)
FORMS: dict[str, tuple[Any, Any, Any, Any, float]] = {
    "logits": (hard_logits, soft_logits, chances_logits, faults_logits, 0.0),
    "probs": (hard_probs, soft_probs, chances_probs, faults_probs, 0.5),
    "log_probs": (hard_log_probs, soft_log_probs, chances_log_probs, faults_log_probs, -LN2),
}


@kernel(inline="always")
def clipped(p, eps):
    return minimum(1.0 - eps, maximum(eps, p))


# --- targets -----------------------------------------------------------------------------------------------


@cache
def _targets(kind: str) -> tuple[Any, Any, Any, Any, Any]:
    """How targets of a kind are read: lanes, one from its address, one from scratch, faults, lanes as float64."""
    hard = "float" not in kind

    @kernel(variant=kind, inline="always")
    def take(address):
        if hard:
            return load_whole(address, kind, TILE)
        return widen(load(address, kind, TILE))

    @kernel(variant=kind, inline="always")
    def keep(lanes, place, address):
        if hard:
            lanes[place] = as_float(load_scalar(address, kind))
        else:
            lanes[place] = load_scalar(address, kind)

    @kernel(variant=kind, inline="always")
    def again(lanes, place):
        if hard:
            return as_bits(fetch(lanes, place, TILE))
        return fetch(lanes, place, TILE)

    @kernel(variant=kind, inline="always")
    def faults(y):
        if hard:
            return y & -2
        return as_ones((y >= 0.0) & (y <= 1.0), y) + 1

    @kernel(variant=kind, inline="always")
    def as_real(y, like):
        if hard:
            return select(y == 1, fill(1.0, like), fill(0.0, like))
        return y

    return take, keep, again, faults, as_real


# --- rows --------------------------------------------------------------------------------------------------


@cache
def binary(form: Form, kind: str, target_kind: str, full: bool) -> Any:
    """The row kernel for one score a row; ``full`` asks for more than the loss.

    Integer targets are hard labels, 0 or 1; float targets are soft ones, in [0, 1]. Smoothing, ``pos_weight`` and,
    for probs, ``clip`` apply to the loss only. When full, BRIER is (p - y)^2 (once, not for both classes), MARGIN
    is the logit, TARGET is y >= 1/2 and P_TARGET the probability of that class.
    """
    hard_loss, soft_loss, chances, score_faults, middle = FORMS[form]
    take, keep, again, target_faults, as_real = _targets(target_kind)
    hard = "float" not in target_kind
    bad_target = sc.INVALID_TARGET if not hard else sc.LABEL_OUT_OF_RANGE
    size = SIZE[kind]
    target_size = SIZE[target_kind]
    clips = form == "probs"
    split = form == "logits"
    name = f"{form}-{kind}-{target_kind}-{full}"

    @kernel(variant=name, inline="always")
    def describe(z, y, card, i):
        real, whole, _ = card
        e, u, margin = chances(z)
        t = as_real(y, z)
        true = t >= 0.5
        one = splat_i32(np.int32(1), TILE)
        none = splat_i32(np.int32(0), TILE)
        store(real[sc.P_TARGET], i, select(true, e, u))
        store(real[sc.CONFIDENCE], i, maximum(e, u))
        # p - y without cancellation: 1 - p is known as well as p.
        miss = select(e > 0.5, (t * -1.0 + 1.0) - u, t - e)
        store(real[sc.BRIER], i, miss * miss)
        store(real[sc.MARGIN], i, margin)
        target = select(true, one, none)
        predicted = select(z > middle, one, none)
        store(whole[sc.TARGET], i, target)
        store(whole[sc.PREDICTED], i, predicted)
        store(whole[sc.RANK], i, target ^ predicted)

    @kernel(variant=name, inline="always")
    def fates(p, z, y):
        """Status bytes of lanes in which something may be wrong; a word on the target comes before one on the score."""
        fate = select(z != z, splat_i64(sc.NAN_PREDICTION, TILE), splat_i64(sc.PROBABILITY_OUT_OF_RANGE, TILE))
        fate = select(score_faults(z) == 0, splat_i64(sc.SCORED, TILE), fate)
        fate = select(target_faults(y) == 0, fate, splat_i64(bad_target, TILE))
        if p.has_ignore:
            fate = select(y == p.ignore, splat_i64(sc.IGNORED, TILE), fate)
        return fate

    @kernel(variant=name)
    def rows(p, lo, n, card, work):
        real, whole, status = card
        dense = p.stride == size and p.target_stride == target_size
        weighted = p.pos_weight.size > 0
        w = p.pos_weight[0] if weighted else 1.0
        half = 0.5 * p.smoothing
        rest = 1.0 - p.smoothing
        plain = hard and not weighted and p.smoothing == 0.0
        for i in range(0, n, TILE):
            score = p.scores + (lo + i) * p.stride
            target = p.target + (lo + i) * p.target_stride
            if dense and i + TILE <= n:
                z = widen(load(score, kind, TILE))
                y = take(target)
            else:
                for r in range(TILE):
                    row = min(r, n - i - 1)
                    work.lanes[SCORES + r] = load_scalar(score + row * p.stride, kind)
                    keep(work.lanes, TARGETS + r, target + row * p.target_stride)
                z = fetch(work.lanes, SCORES, TILE)
                y = again(work.lanes, TARGETS)
            odd = score_faults(z) | target_faults(y)
            if p.has_ignore:
                odd = odd | as_ones(y == p.ignore, z)
            if split:
                # Every target's loss is its weights' sum times log1p(x), plus what the side away from it costs.
                store(real[sc.SCRATCH], i, exp_of_minus(z))
                if plain:
                    store(real[sc.LOSS], i, cost_of_side(z, y))
                else:
                    c1, c0 = coefficients(as_real(y, z), half, rest, w)
                    store(real[sc.LOSS], i, cost_of_away(z, c1, c0))
                    if weighted:
                        store(work.lanes, SUMS + i, c0 + c1)
            else:
                s = z
                if clips and p.clip >= 0.0:
                    s = clipped(z, p.clip)
                if plain:
                    store(real[sc.LOSS], i, hard_loss(s, y))
                else:
                    c1, c0 = coefficients(as_real(y, z), half, rest, w)
                    store(real[sc.LOSS], i, soft_loss(s, c1, c0))
            if full:
                describe(z, y, card, i)
            if any_lane(odd != 0):
                store_bytes(status, i, fates(p, z, y))
            else:
                store_bytes(status, i, splat_i64(sc.SCORED, TILE))
        if split:
            for i in range(0, n, TILE):
                near = log1p_unit(fetch(real[sc.SCRATCH], i, TILE))
                if weighted:
                    near = near * fetch(work.lanes, SUMS + i, TILE)
                store(real[sc.LOSS], i, fetch(real[sc.LOSS], i, TILE) + near)

    return rows
