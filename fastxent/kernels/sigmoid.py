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

5. The loss of a row of labels is the mean over those that count. Its sum is defined as in `softmax`: label j belongs
   to lane j mod 32 of block j div 256, lanes are folded by halves, blocks added by TwoSum.

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
    LANES,
    any_lane,
    as_bits,
    as_float,
    as_ones,
    fetch,
    fill,
    fma,
    halving_sum,
    lane_numbers,
    load,
    load_scalar,
    load_whole,
    maximum,
    minimum,
    move,
    select,
    shift_left,
    shift_right,
    splat,
    splat_i32,
    splat_i64,
    store,
    store_bytes,
    widen,
)
from fastxent.kernels.softmax import SPAN, add_exactly
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
    _log_of,
    log,
    raised,
    reduce,
)

__all__ = ["Form", "binary", "multilabel"]

Form = Literal["logits", "probs", "log_probs"]

INF = np.inf
SIGN = -(2**63)
LN2 = float.fromhex("0x1.62e42fefa39efp-1")
TINY = 2.0**-1022

# Places in `Work.lanes`: scores and targets that were not dense, this many at a time, and the weights of a block.
GATHERED = 4 * TILE
SCORES = 0
TARGETS = GATHERED
SUMS = 2 * GATHERED

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
def minus_magnitude(a):
    """-|a|, not below where the exponential is 0."""
    return maximum(EXP_LOW, as_float(as_bits(a) | SIGN))


@kernel(inline="always")
def exp_of_minus(a):
    """e^-|a|."""
    r, power = reduce(minus_magnitude(a))
    return raised(r, power)


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
    """Their product, and 0 where the coefficient is 0, however large the loss."""
    return select(coefficient == 0.0, coefficient, coefficient * loss)


@kernel(inline="always")
def coefficients(y, half, rest, w):
    """Weights of -log p and of -log(1 - p): y' w and 1 - y', where y' = y rest + half."""
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


# Probabilities clipped to [eps, 1 - eps]. Below half an ulp of 1, 1 - eps is 1: then the bound on the loss clips.


@kernel(inline="always")
def clipped(p, eps):
    return minimum(1.0 - eps, maximum(eps, p))


@kernel(inline="always")
def greatest_loss(eps):
    return -log(eps) if 1.0 - eps == 1.0 else INF


@kernel(inline="always")
def hard_clipped(p, y, eps):
    return minimum(greatest_loss(eps), hard_probs(clipped(p, eps), y))


@kernel(inline="always")
def soft_clipped(p, c1, c0, eps):
    p = clipped(p, eps)
    w, lost = complement(p)
    most = greatest_loss(eps)
    return c1 * minimum(most, minus_log(p, fill(0.0, p))) + c0 * minimum(most, minus_log(w, lost))


# --- targets -----------------------------------------------------------------------------------------------


@cache
def _targets(kind: str, lanes: int) -> tuple[Any, Any, Any]:
    """How targets of a kind are read: lanes from an address, their faults, and the lanes as float64."""
    hard = "float" not in kind

    @kernel(variant=f"{kind}-{lanes}", inline="always")
    def take(address):
        if hard:
            return load_whole(address, kind, lanes)
        return widen(load(address, kind, lanes))

    @kernel(variant=f"{kind}-{lanes}", inline="always")
    def faults(y):
        if hard:
            return y & -2
        return as_ones((y >= 0.0) & (y <= 1.0), y) + 1

    @kernel(variant=f"{kind}-{lanes}", inline="always")
    def as_real(y, like):
        if hard:
            return select(y == 1, fill(1.0, like), fill(0.0, like))
        return y

    return take, faults, as_real


# --- rows --------------------------------------------------------------------------------------------------


@cache
def binary(form: Form, kind: str, target_kind: str, full: bool) -> Any:
    """The row kernel for one score a row; ``full`` asks for more than the loss.

    Integer targets are hard labels, 0 or 1; float targets are soft ones, in [0, 1]. Smoothing, ``pos_weight`` and,
    for probs, ``clip`` apply to the loss only. When full, BRIER is (p - y)^2 (once, not for both classes), MARGIN
    is the logit, TARGET is y >= 1/2 and P_TARGET the probability of that class.
    """
    hard_loss, soft_loss, chances, score_faults, middle = FORMS[form]
    take, target_faults, as_real = _targets(target_kind, TILE)
    hard = "float" not in target_kind
    bad_target = sc.INVALID_TARGET if not hard else sc.LABEL_OUT_OF_RANGE
    size = SIZE[kind]
    target_size = SIZE[target_kind]
    clips = form == "probs"
    split = form == "logits"
    name = f"{form}-{kind}-{target_kind}-{full}"

    @kernel(variant=name)
    def screen(p, score, target, status, i, m):
        """Status bytes; a word on the target comes before one on the score."""
        odd = splat_i64(0, TILE)
        for k in range(0, m, TILE):
            odd = odd | score_faults(widen(load(score + k * size, kind, TILE)))
            odd = odd | target_faults(take(target + k * target_size))
        if not (p.has_ignore or any_lane(odd != 0)):
            for k in range(i, i + m):
                status[k] = sc.SCORED
            return
        for k in range(0, m, TILE):
            z = widen(load(score + k * size, kind, TILE))
            y = take(target + k * target_size)
            fate = select(z != z, splat_i64(sc.NAN_PREDICTION, TILE), splat_i64(sc.PROBABILITY_OUT_OF_RANGE, TILE))
            fate = select(score_faults(z) == 0, splat_i64(sc.SCORED, TILE), fate)
            fate = select(target_faults(y) == 0, fate, splat_i64(bad_target, TILE))
            if p.has_ignore:
                fate = select(y == p.ignore, splat_i64(sc.IGNORED, TILE), fate)
            store_bytes(status, i + k, fate)

    @kernel(variant=name)
    def lose_hard(p, score, target, real, i, m):
        """Losses of hard labels without weight and smoothing."""
        for k in range(0, m, TILE):
            z = widen(load(score + k * size, kind, TILE))
            y = take(target + k * target_size)
            if split:
                r, power = reduce(minus_magnitude(z))
                store(real[sc.SCRATCH], i + k, r)
                store(real[sc.MARGIN], i + k, power)
                store(real[sc.LOSS], i + k, cost_of_side(z, y))
            elif clips and p.clip >= 0.0:
                store(real[sc.LOSS], i + k, hard_clipped(z, y, p.clip))
            else:
                store(real[sc.LOSS], i + k, hard_loss(z, y))
        if split:
            # Short loops, whose numbers the processor can look ahead of: on AVX2 1.0 ns for the exponential, not 1.4.
            for k in range(i, i + m, TILE):
                store(real[sc.SCRATCH], k, raised(fetch(real[sc.SCRATCH], k, TILE), fetch(real[sc.MARGIN], k, TILE)))
            for k in range(i, i + m, TILE):
                near = log1p_unit(fetch(real[sc.SCRATCH], k, TILE))
                store(real[sc.LOSS], k, fetch(real[sc.LOSS], k, TILE) + near)

    @kernel(variant=name)
    def lose_soft(p, score, target, real, sums, i, m):
        """Losses in general."""
        weighted = p.pos_weight.size > 0
        w = p.pos_weight[0] if weighted else 1.0
        half = 0.5 * p.smoothing
        rest = 1.0 - p.smoothing
        for k in range(0, m, TILE):
            z = widen(load(score + k * size, kind, TILE))
            c1, c0 = coefficients(as_real(take(target + k * target_size), z), half, rest, w)
            if split:
                store(real[sc.SCRATCH], i + k, exp_of_minus(z))
                store(real[sc.LOSS], i + k, cost_of_away(z, c1, c0))
                if weighted:
                    store(sums, SUMS + k, c0 + c1)
            elif clips and p.clip >= 0.0:
                store(real[sc.LOSS], i + k, soft_clipped(z, c1, c0, p.clip))
            else:
                store(real[sc.LOSS], i + k, soft_loss(z, c1, c0))
        if split:
            for k in range(0, m, TILE):
                near = log1p_unit(fetch(real[sc.SCRATCH], i + k, TILE))
                if weighted:
                    near = near * fetch(sums, SUMS + k, TILE)
                store(real[sc.LOSS], i + k, fetch(real[sc.LOSS], i + k, TILE) + near)

    @kernel(variant=name)
    def describe(score, target, card, i, m):
        real, whole, _ = card
        for k in range(0, m, TILE):
            z = widen(load(score + k * size, kind, TILE))
            t = as_real(take(target + k * target_size), z)
            e, u, margin = chances(z)
            true = t >= 0.5
            # p - y without cancellation: 1 - p is known as well as p.
            miss = select(e > 0.5, (t * -1.0 + 1.0) - u, t - e)
            store(real[sc.P_TARGET], i + k, select(true, e, u))
            store(real[sc.CONFIDENCE], i + k, maximum(e, u))
            store(real[sc.BRIER], i + k, miss * miss)
            store(real[sc.MARGIN], i + k, margin)
            one = splat_i32(np.int32(1), TILE)
            none = splat_i32(np.int32(0), TILE)
            label = select(true, one, none)
            predicted = select(z > middle, one, none)
            store(whole[sc.TARGET], i + k, label)
            store(whole[sc.PREDICTED], i + k, predicted)
            store(whole[sc.RANK], i + k, label ^ predicted)

    @kernel(variant=name)
    def gather(p, row, count, lanes):
        """Copy ``count`` rows into scratch, the last one until the tile is full."""
        at = lanes.ctypes.data
        for r in range((count + TILE - 1) // TILE * TILE):
            source = row + min(r, count - 1)
            move(at + SCORES * 8 + r * size, p.scores + source * p.stride, size)
            move(at + TARGETS * 8 + r * target_size, p.target + source * p.target_stride, target_size)

    @kernel(variant=name)
    def rows(p, lo, n, card, work):
        plain = hard and p.pos_weight.size == 0 and p.smoothing == 0.0
        dense = p.stride == size and p.target_stride == target_size
        i = 0
        while i < n:
            if dense and n - i >= TILE:
                m = (n - i) // TILE * TILE
                score = p.scores + (lo + i) * size
                target = p.target + (lo + i) * target_size
            else:
                m = min(GATHERED, n - i)
                gather(p, lo + i, m, work.lanes)
                m = (m + TILE - 1) // TILE * TILE
                score = work.lanes.ctypes.data + SCORES * 8
                target = work.lanes.ctypes.data + TARGETS * 8
            screen(p, score, target, card.status, i, m)
            if plain:
                lose_hard(p, score, target, card.real, i, m)
            else:
                lose_soft(p, score, target, card.real, work.lanes, i, m)
            if full:
                describe(score, target, card, i, m)
            i += m

    return rows


# Places in `Work.lanes` of the last labels of a row, of their weights and of their mask.
LAST_SCORES = 0
LAST_TARGETS = LANES
LAST_WEIGHTS = 2 * LANES
LAST_MASK = 3 * LANES
# Counters in one int64 lane, folded once a block of SPAN labels.
COUNTED = 1
WRONG = 1 << 16
CLAIMED = 1 << 32
TRUE = 1 << 48


@cache
def multilabel(form: Form, kind: str, target_kind: str, full: bool, masked: bool = False, columns: bool = False) -> Any:
    """The row kernel for rows of independent labels: the mean of their binary losses; see `binary`.

    Targets are dense, of unit stride. A label counts if its mask holds (``masked``) and its target is not
    ``ignore``; a row in which none counts is ignored. ``pos_weight`` has one element a label, or none. When full,
    P_TARGET, CONFIDENCE and BRIER are means, RANK is the number of wrong labels, PREDICTED that of
    labels predicted, TARGET that of true ones, and MARGIN is 0.
    """
    hard_loss, soft_loss, chances, score_faults, middle = FORMS[form]
    take, target_faults, as_real = _targets(target_kind, LANES)
    hard = "float" not in target_kind
    bad_target = sc.INVALID_TARGET if not hard else sc.LABEL_OUT_OF_RANGE
    size = SIZE[kind]
    target_size = SIZE[target_kind]
    clips = form == "probs"
    name = f"{form}-{kind}-{target_kind}-{full}-{masked}-{columns}"

    @kernel(variant=name)
    def gather(p, row, first, count, lanes):
        """Copy ``count`` labels of a row into scratch, the last one until the lanes are full."""
        at = lanes.ctypes.data
        for lane in range(LANES):
            j = first + min(lane, count - 1)
            if columns:
                source = load_scalar(p.scores + j * 8, "int64") + row * size
            else:
                source = p.scores + row * p.stride + j * size
            move(at + LAST_SCORES * 8 + lane * size, source, size)
            target = p.target + row * p.target_stride + j * target_size
            move(at + LAST_TARGETS * 8 + lane * target_size, target, target_size)
            if p.pos_weight.size > 0:
                lanes[LAST_WEIGHTS + lane] = p.pos_weight[j]
            if masked:
                move(at + LAST_MASK * 8 + lane, p.mask + row * p.mask_stride + j, 1)

    @kernel(variant=name, inline="always")
    def places(p, row, first, count, lanes):
        """Addresses of the next labels' scores, targets, weights and mask."""
        if columns or count < LANES:
            gather(p, row, first, count, lanes)
            at = lanes.ctypes.data
            return at + LAST_SCORES * 8, at + LAST_TARGETS * 8, at + LAST_WEIGHTS * 8, at + LAST_MASK * 8
        return (
            p.scores + row * p.stride + first * size,
            p.target + row * p.target_stride + first * target_size,
            p.pos_weight.ctypes.data + first * 8,
            p.mask + row * p.mask_stride + first,
        )

    @kernel(variant=name, inline="always")
    def losses(p, z, y, weights):
        if hard and p.pos_weight.size == 0 and p.smoothing == 0.0:
            if clips and p.clip >= 0.0:
                return hard_clipped(z, y, p.clip)
            return hard_loss(z, y)
        w = fill(1.0, z)
        if p.pos_weight.size > 0:
            w = load(weights, "float64", LANES)
        c1, c0 = coefficients(as_real(y, z), 0.5 * p.smoothing, 1.0 - p.smoothing, w)
        if clips and p.clip >= 0.0:
            return soft_clipped(z, c1, c0, p.clip)
        return soft_loss(z, c1, c0)

    @kernel(variant=name, inline="always")
    def fate_of(z, y, counts, fate):
        """What is wrong with these labels, if it outranks what was wrong before: first targets, then NaN."""
        if any_lane(counts & (target_faults(y) != 0)) or fate == bad_target:
            return bad_target
        if any_lane(counts & (z != z)) or fate == sc.NAN_PREDICTION:
            return sc.NAN_PREDICTION
        if any_lane(counts & (score_faults(z) != 0)):
            return sc.PROBABILITY_OUT_OF_RANGE
        return fate

    @kernel(variant=name)
    def rows(p, lo, n, card, work):
        real, whole, status = card
        for i in range(n):
            fate = sc.SCORED
            counted = wrong = claimed = true = 0
            loss = brier = sure = right = 0.0
            loss_lost = brier_lost = sure_lost = right_lost = 0.0
            for block in range(0, p.classes, SPAN):
                total = splat(0.0, LANES)
                squares = total
                tops = total
                owns = total
                tally = splat_i64(0, LANES)
                for first in range(block, min(block + SPAN, p.classes), LANES):
                    count = min(LANES, p.classes - first)
                    score, target, weights, mask = places(p, lo + i, first, count, work.lanes)
                    z = widen(load(score, kind, LANES))
                    y = take(target)
                    counts = lane_numbers(LANES) < np.int32(count)
                    if masked:
                        counts = counts & (load_whole(mask, "uint8", LANES) != 0)
                    if p.has_ignore:
                        counts = counts & (y != p.ignore)
                    fate = fate_of(z, y, counts, fate)
                    zero = fill(0.0, z)
                    total = total + select(counts, losses(p, z, y, weights), zero)
                    step = splat_i64(COUNTED, LANES)
                    if full:
                        e, u, _ = chances(z)
                        t = as_real(y, z)
                        miss = select(e > 0.5, (t * -1.0 + 1.0) - u, t - e)
                        squares = fma(select(counts, miss, zero), miss, squares)
                        tops = tops + select(counts, maximum(e, u), zero)
                        owns = owns + select(counts, select(t >= 0.5, e, u), zero)
                        nothing = splat_i64(0, LANES)
                        said = select(z > middle, splat_i64(CLAIMED + WRONG, LANES), nothing)
                        told = select(t >= 0.5, splat_i64(TRUE + WRONG, LANES), nothing)
                        # Both: the two marks of WRONG cancel.
                        step = step + (said ^ told)
                    tally = tally + select(counts, step, splat_i64(0, LANES))
                loss, loss_lost = add_exactly(loss, loss_lost, halving_sum(total))
                seen = halving_sum(tally)
                counted += seen & 0xFFFF
                if full:
                    wrong += shift_right(seen, 16) & 0xFFFF
                    claimed += shift_right(seen, 32) & 0xFFFF
                    true += shift_right(seen, 48)
                    brier, brier_lost = add_exactly(brier, brier_lost, halving_sum(squares))
                    sure, sure_lost = add_exactly(sure, sure_lost, halving_sum(tops))
                    right, right_lost = add_exactly(right, right_lost, halving_sum(owns))
            if counted == 0 and fate == sc.SCORED:
                fate = sc.IGNORED
            status[i] = fate
            # An infinite loss stays one: what TwoSum says was lost is then NaN.
            real[sc.LOSS, i] = (loss if loss == INF else loss + loss_lost) / counted
            if full:
                real[sc.P_TARGET, i] = (right + right_lost) / counted
                real[sc.CONFIDENCE, i] = (sure + sure_lost) / counted
                real[sc.BRIER, i] = (brier + brier_lost) / counted
                real[sc.MARGIN, i] = 0.0
                whole[sc.TARGET, i] = true
                whole[sc.PREDICTED, i] = claimed
                whole[sc.RANK, i] = wrong

    return rows
