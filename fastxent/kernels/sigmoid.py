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
from fastxent.kernels.powers import held_as
from fastxent.kernels.problem import SIZE, TILE
from fastxent.kernels.simd import (
    LANES,
    any_lane,
    as_bits,
    as_float,
    as_ones,
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
    prefetch,
    put,
    select,
    shift_right,
    splat,
    splat_i32,
    splat_i64,
    store,
    store_bytes,
    widen,
)
from fastxent.kernels.softmax import SPAN, add_exactly
from fastxent.kernels.softplus import softplus
from fastxent.kernels.tiles import AHEAD
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
    LN2_HIGH,
    LN2_LOW,
    _log_of,
    exp,
    log,
)

__all__ = ["Form", "binary", "multilabel"]

Form = Literal["logits", "probs", "log_probs"]

INF = np.inf
SIGN = -(2**63)
LN2 = float.fromhex("0x1.62e42fefa39efp-1")
TINY = 2.0**-1022

#: Rows that are taken at a time: their numbers between two loops stay in the first-level cache.
CHUNK = 256
# Places in `Work.lanes`: scores and targets that were not dense, this many at a time.
GATHERED = 4 * TILE
SCORES = 0
TARGETS = GATHERED
PLACES_OF_EIGHT = 2 * GATHERED


# --- formulas of one lane ----------------------------------------------------------------------------------


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
    return minimum(greatest_loss(eps), hard_probs(clipped(p, eps), p, y))


@kernel(inline="always")
def soft_clipped(p, c1, c0, eps):
    p = clipped(p, eps)
    w, lost = complement(p)
    most = greatest_loss(eps)
    return c1 * minimum(most, minus_log(p, fill(0.0, p))) + c0 * minimum(most, minus_log(w, lost))


# --- targets -----------------------------------------------------------------------------------------------


@cache
def _targets(kind: str, lanes: int) -> tuple[Any, Any, Any, Any]:
    """How targets of a kind are read.

    Lanes from an address, the same in the type they are stored in, their faults, and the lanes as float64.
    """
    hard = "float" not in kind

    @kernel(variant=f"{kind}-{lanes}", inline="always")
    def take(address):
        if hard:
            return load_whole(address, kind, lanes)
        return widen(load(address, kind, lanes))

    @kernel(variant=f"{kind}-{lanes}", inline="always")
    def take_stored(address):
        if hard:
            return load_whole(address, kind, lanes)
        return load(address, kind, lanes)

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

    return take, take_stored, faults, as_real


# --- rows --------------------------------------------------------------------------------------------------


@cache
def binary(form: Form, kind: str, target_kind: str, full: bool) -> Any:
    """The row kernel for one score a row; ``full`` asks for more than the loss.

    Integer targets are hard labels, 0 or 1; float targets are soft ones, in [0, 1]. Smoothing, ``pos_weight`` and,
    for probs, ``clip`` apply to the loss only. When full, BRIER is (p - y)^2 (once, not for both classes), MARGIN
    is the logit, TARGET is y >= 1/2 and P_TARGET the probability of that class.
    """
    hard_loss, soft_loss, chances, score_faults, middle = FORMS[form]
    take, _, target_faults, _ = _targets(target_kind, TILE)
    take_eight, take_stored, _, real_of = _targets(target_kind, 8)
    held = SIZE[held_as(kind)]
    near_line, of_places, _, chances_of = softplus(kind, 8)
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
    def plainly_hard(score, target, m):
        """Whether all scores are logits and all targets 0 or 1."""
        odd = as_ones(load(score, kind, 8) != load(score, kind, 8), load(score, kind, 8))
        for k in range(0, m, 8):
            z = load(score + k * size, kind, 8)
            y = take_stored(target + k * target_size)
            odd = odd | as_ones((z != z) | ((y != 0) & (y != 1)), z)
        return not any_lane(odd != 0)

    @kernel(variant=name)
    def split_rows(score, m, remainders, places):
        for k in range(0, m, 8):
            r, place = near_line(load(score + k * size, kind, 8))
            put(remainders + k * held, r)
            put(places + k * held, place)

    # Loops are short, so that the processor can look ahead.

    @kernel(variant=name)
    def lose_hard(p, score, target, card, work, i, m):
        """Losses of hard labels without weight and smoothing."""
        losses = card.real[sc.LOSS]
        if split:
            remainders = card.real[sc.MARGIN].ctypes.data + i * 8
            places = card.real[sc.SCRATCH].ctypes.data + i * 8
            split_rows(score, m, remainders, places)
            for k in range(0, m, 8):
                prefetch(score + k * size + AHEAD)
                prefetch(target + k * target_size + AHEAD)
                near = of_places(remainders + k * held, places + k * held, work.softplus.ctypes.data)
                z = load(score + k * size, kind, 8)
                store(losses, i + k, hard_loss(z, near, take_stored(target + k * target_size)))
            return
        for k in range(0, m, TILE):
            z = widen(load(score + k * size, kind, TILE))
            y = take(target + k * target_size)
            if clips and p.clip >= 0.0:
                store(losses, i + k, hard_clipped(z, y, p.clip))
            else:
                store(losses, i + k, hard_loss(z, z, y))

    @kernel(variant=name)
    def lose_soft(p, score, target, card, work, i, m):
        """Losses in general."""
        losses = card.real[sc.LOSS]
        w = p.pos_weight[0] if p.pos_weight.size > 0 else 1.0
        half = 0.5 * p.smoothing
        rest = 1.0 - p.smoothing
        remainders = card.real[sc.MARGIN].ctypes.data + i * 8
        places = card.real[sc.SCRATCH].ctypes.data + i * 8
        if split:
            split_rows(score, m, remainders, places)
        for k in range(0, m, 8):
            z = widen(load(score + k * size, kind, 8))
            c1, c0 = coefficients(real_of(take_eight(target + k * target_size), z), half, rest, w)
            if clips and p.clip >= 0.0:
                store(losses, i + k, soft_clipped(z, c1, c0, p.clip))
            elif split:
                near = of_places(remainders + k * held, places + k * held, work.softplus.ctypes.data)
                store(losses, i + k, soft_loss(z, near, c1, c0))
            else:
                store(losses, i + k, soft_loss(z, z, c1, c0))

    @kernel(variant=name)
    def describe(score, target, card, work, i, m):
        real, whole, _ = card
        scratch, table = work.lanes.ctypes.data + PLACES_OF_EIGHT * 8, work.softplus.ctypes.data
        for k in range(0, m, 8):
            stored = load(score + k * size, kind, 8)
            z = widen(stored)
            t = real_of(take_eight(target + k * target_size), z)
            small, large = z, z
            if split:
                small, large = chances_of(stored, scratch, table)
            e, u, margin = chances(z, small, large)
            true = t >= 0.5
            # p - y without cancellation: 1 - p is known as well as p.
            miss = select(e > 0.5, (t * -1.0 + 1.0) - u, t - e)
            store(real[sc.P_TARGET], i + k, select(true, e, u))
            store(real[sc.CONFIDENCE], i + k, maximum(e, u))
            store(real[sc.BRIER], i + k, miss * miss)
            store(real[sc.MARGIN], i + k, margin)
            one = splat_i32(np.int32(1), 8)
            none = splat_i32(np.int32(0), 8)
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
        plain = p.pos_weight.size == 0 and p.smoothing == 0.0
        dense = p.stride == size and p.target_stride == target_size
        i = 0
        while i < n:
            if dense and n - i >= TILE:
                m = min(CHUNK, (n - i) // TILE * TILE)
                score = p.scores + (lo + i) * size
                target = p.target + (lo + i) * target_size
            else:
                m = min(GATHERED, n - i)
                gather(p, lo + i, m, work.lanes)
                m = (m + TILE - 1) // TILE * TILE
                score = work.lanes.ctypes.data + SCORES * 8
                target = work.lanes.ctypes.data + TARGETS * 8
            if split and plain and not p.has_ignore and plainly_hard(score, target, m):
                for k in range(i, i + m):
                    card.status[k] = sc.SCORED
                lose_hard(p, score, target, card, work, i, m)
            else:
                screen(p, score, target, card.status, i, m)
                if hard and plain:
                    lose_hard(p, score, target, card, work, i, m)
                else:
                    lose_soft(p, score, target, card, work, i, m)
            if full:
                describe(score, target, card, work, i, m)
            i += m

    return rows


# Places in `Work.lanes` of the last labels of a row, of their weights and of their mask.
LAST_SCORES = 0
LAST_TARGETS = LANES
LAST_WEIGHTS = 2 * LANES
LAST_MASK = 3 * LANES
PLACES_OF_ROW = 4 * LANES
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
    take, _, target_faults, as_real = _targets(target_kind, LANES)
    _, _, near_of, chances_of = softplus(kind, LANES)
    hard = "float" not in target_kind
    bad_target = sc.INVALID_TARGET if not hard else sc.LABEL_OUT_OF_RANGE
    size = SIZE[kind]
    target_size = SIZE[target_kind]
    clips = form == "probs"
    logits = form == "logits"
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
    def losses(p, z, near, y, weights):
        if hard and p.pos_weight.size == 0 and p.smoothing == 0.0:
            if clips and p.clip >= 0.0:
                return hard_clipped(z, y, p.clip)
            return hard_loss(z, near, y)
        w = fill(1.0, z)
        if p.pos_weight.size > 0:
            w = load(weights, "float64", LANES)
        c1, c0 = coefficients(as_real(y, z), 0.5 * p.smoothing, 1.0 - p.smoothing, w)
        if clips and p.clip >= 0.0:
            return soft_clipped(z, c1, c0, p.clip)
        return soft_loss(z, near, c1, c0)

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
                    stored = load(score, kind, LANES)
                    z = widen(stored)
                    scratch = work.lanes.ctypes.data + PLACES_OF_ROW * 8
                    near = near_of(stored, scratch, work.softplus.ctypes.data) if logits else z
                    y = take(target)
                    counts = lane_numbers(LANES) < np.int32(count)
                    if masked:
                        counts = counts & (load_whole(mask, "uint8", LANES) != 0)
                    if p.has_ignore:
                        counts = counts & (y != p.ignore)
                    fate = fate_of(z, y, counts, fate)
                    zero = fill(0.0, z)
                    total = total + select(counts, losses(p, z, near, y, weights), zero)
                    step = splat_i64(COUNTED, LANES)
                    if full:
                        small, large = chances_of(stored, scratch, work.softplus.ctypes.data) if logits else (z, z)
                        e, u, _ = chances(z, small, large)
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
