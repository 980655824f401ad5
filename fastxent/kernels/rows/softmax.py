"""Logits and a class index -> scores of a row: cross-entropy, rank, confidence, Brier.

1. The loss of a row is log(1 + S), S = sum over j != t of exp(z_j - z_t), in float64: one pass, no
   maximum, no cancellation, relative accuracy from 1e-300 to 340 nats. No difference is rounded: exponentials
   are those of `powers`, z_j and z_t being split apart.
2. S has one definition, which decides its bits: class j belongs to lane j mod 32 of block j div 256;
   a lane adds its terms in order; the 32 lanes of a block are folded by halves;
   block sums are added in order by TwoSum. A lane without a class adds 0.
3. Two files with a loop each follow that definition: `along` has the lanes within a row (many classes), `across`
   has them over rows (few classes, or one array a class). They give the same bits for the same row.
4. A row in which something is not finite, or where S or z_t is huge, goes to `careful_row`,
   which shifts by the maximum, and says what is wrong with rows that cannot be scored. Which way a
   row takes depends on its own numbers only.

The rank of the target is its position in the stable descending order of the scores: the number of
greater scores, and of equal ones to its left. It is 0 just when the target is the first maximum,
which is the predicted class.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import SIZE
from fastxent.kernels.functions.powers import NOTHING, ORIGIN, grown, growth, held_as, splitter
from fastxent.kernels.functions.vecmath import exp, log, log1p
from fastxent.kernels.rows.tiles import PLACES_OF_POWERS, REMAINDERS, SQUARES, TERMS
from fastxent.kernels.vector.memory import fetch, load, look_up, put, store
from fastxent.kernels.vector.simd import LANES, fma, select, splat, widen

__all__ = ["SPAN", "STEEP", "add_exactly", "careful_row", "finisher", "terms"]

#: Classes of one partial sum: 8 terms a lane, so that no term meets more than a few roundings.
SPAN = 256
#: A row whose S exceeds this (e^339.6, its square is finite) takes the careful way.
STEEP = 2.0**490
INF = np.inf


@kernel(inline="always")
def add_exactly(total, lost, term):
    """TwoSum: total + term, and what rounding lost added to ``lost`` (Knuth; Moller 1965)."""
    s = total + term
    b = s - total
    return s, lost + ((total - (s - b)) + (term - b))


@kernel()
def careful_row(row, classes, card, i):
    """Score row i, whose scores are in float64 scratch, by the excluded-maximum form, or say why it cannot be scored.

    m = max over j != t of z_j, s = sum over j != t of exp(z_j - m), d = z_t - m:
    L = log1p(s e^-d) for d >= 0, else -d + log(s + e^d).
    """
    real, whole, status = card
    fault = _fault(row, classes)
    if fault != sc.SCORED:
        # Nothing of such a row is used; still it is the same whichever loop came by.
        for score in range(real.shape[0]):
            real[score, i] = 0.0
        whole[sc.RANK, i] = 0
        whole[sc.PREDICTED, i] = 0
        if status[i] == sc.SCORED:
            status[i] = fault
        return
    t = whole[sc.TARGET, i]
    z_t = row[t]
    m = -INF
    best = -1
    rank = 0
    for j in range(classes):
        if j != t:
            if row[j] > m or best < 0:
                m = row[j]
                best = j
            rank += row[j] > z_t or (row[j] == z_t and j < t)
    whole[sc.RANK, i] = rank
    whole[sc.PREDICTED, i] = t if rank == 0 else best
    s = 0.0
    s_lost = 0.0
    q = 0.0
    q_lost = 0.0
    if m > -INF:
        for j in range(classes):
            if j != t:
                e = exp(row[j] - m)
                s, s_lost = add_exactly(s, s_lost, e)
                q, q_lost = add_exactly(q, q_lost, e * e)
    s += s_lost
    q += q_lost
    _finish_careful(z_t - m, s, q, real, i)
    if rank == 0:
        real[sc.CONFIDENCE, i] = real[sc.P_TARGET, i]


@kernel()
def _fault(row, classes):
    """Why a row of logits has no softmax, or SCORED."""
    top = -INF
    for j in range(classes):
        if row[j] != row[j]:
            return sc.NAN_PREDICTION
        top = max(top, row[j])
    if top == INF:
        return sc.INFINITE_LOGIT
    return sc.ALL_MASKED if top == -INF else sc.SCORED


@kernel(inline="always")
def _finish_careful(d, s, q, real, i):
    """Fill the row from d = z_t - m, s = sum e_j, q = sum e_j^2, the sums without the target."""
    if s == 0.0:
        real[sc.LOSS, i] = 0.0
        real[sc.P_TARGET, i] = 1.0
        real[sc.CONFIDENCE, i] = 1.0
        real[sc.BRIER, i] = 0.0
        return
    if d >= 0.0:
        e = exp(-d)
        real[sc.LOSS, i] = log1p(s * e)
        p = 1.0 / (1.0 + s * e)
        real[sc.P_TARGET, i] = p
        real[sc.CONFIDENCE, i] = e * p
        real[sc.BRIER, i] = (s * e * p) * (s * e * p) + q * (e * p) * (e * p)
        return
    e = exp(d)
    real[sc.LOSS, i] = -d + log(s + e)
    p = 1.0 / (s + e)
    real[sc.P_TARGET, i] = e * p
    real[sc.CONFIDENCE, i] = p
    real[sc.BRIER, i] = (s * p) * (s * p) + q * p * p


@cache
def finisher(kind: str, full: bool) -> Any:
    """Compile ``finish(real, whole, n)``: sums of powers -> the scores of n rows.

    It finds S in LOSS and Q in BRIER, both short of what the anchor's remainder takes away, z_t in P_TARGET, and
    max_j z_j - z_t in CONFIDENCE.
    """
    anchor_of = splitter(kind).anchor

    @kernel(variant=f"{held_as(kind)}-{full}")
    def finish(real, whole, n):
        for i in range(0, n, 8):
            _, _, r = anchor_of(fetch(real[sc.P_TARGET], i, 8))
            g = growth(r * -1.0)
            s = fetch(real[sc.LOSS], i, 8)
            store(real[sc.LOSS], i, fma(s, g, s))
            if full:
                q = fetch(real[sc.BRIER], i, 8)
                q = fma(q, g, q)
                store(real[sc.BRIER], i, fma(q, g, q))
        if full:
            for i in range(0, n, 8):
                s = fetch(real[sc.LOSS], i, 8)
                p = splat(1.0, 8) / (s + 1.0)
                store(real[sc.P_TARGET], i, p)
                # A target that is the first maximum has rank 0 and its own probability as confidence.
                top = exp(fetch(real[sc.CONFIDENCE], i, 8)) * p
                store(real[sc.CONFIDENCE], i, select(fetch(whole[sc.RANK], i, 8) == np.int32(0), p, top))
                wrong = s * p
                store(real[sc.BRIER], i, fma(wrong, wrong, fetch(real[sc.BRIER], i, 8) * (p * p)))
        for i in range(0, n, 8):
            store(real[sc.LOSS], i, log1p(fetch(real[sc.LOSS], i, 8)))

    return finish


class Terms(NamedTuple):
    """Kernels between the two loops of a sum of exponentials: what `split` left waits in scratch, place by place."""

    wait: Any
    leave_out: Any
    raise_lanes: Any
    raise_first: Any
    raise_more: Any


@cache
def terms(kind: str, full: bool) -> Terms:
    """Terms of scores of a kind, with their squares (``full``) or without."""
    held = held_as(kind)
    size = SIZE[held]
    split = splitter(kind).split
    nothing = (np.float64 if held == "float64" else np.float32)(ORIGIN[held] + NOTHING)

    @kernel(variant=held, inline="always")
    def wait(scratch, place, x, anchor):
        """Leave eight scores at a place."""
        r, power = split(x, anchor)
        put(scratch + REMAINDERS * 8 + place * size, r)
        put(scratch + PLACES_OF_POWERS * 8 + place * size, power)

    @kernel(variant=held, inline="always")
    def leave_out(scratch, place):
        """Make 0 the exponential at a place."""
        put(scratch + PLACES_OF_POWERS * 8 + place * size, nothing)

    @kernel(variant=held, inline="always")
    def raised(scratch, place, powers):
        """The exponentials of the eight that wait at a place."""
        r = widen(load(scratch + REMAINDERS * 8 + place * size, held, 8))
        return grown(r, look_up(powers, scratch + PLACES_OF_POWERS * 8 + place * size, held, 8))

    @kernel(variant=f"{held}-{full}")
    def raise_lanes(scratch, count, to, powers):
        """Sums of the terms at places below ``count``, a multiple of 8, by lanes, place mod LANES; ``to``: where."""
        for lane in range(0, LANES, 16):
            total = splat(0.0, 8)
            other, square, other_square = total, total, total
            place = lane
            while place + 8 < count:
                e = raised(scratch, place, powers)
                total = total + e
                if full:
                    square = fma(e, e, square)
                e = raised(scratch, place + 8, powers)
                other = other + e
                if full:
                    other_square = fma(e, e, other_square)
                place += LANES
            if place < count:
                e = raised(scratch, place, powers)
                total = total + e
                if full:
                    square = fma(e, e, square)
            put(scratch + (TERMS + to + lane) * 8, total)
            put(scratch + (TERMS + to + lane + 8) * 8, other)
            if full:
                put(scratch + (SQUARES + to + lane) * 8, square)
                put(scratch + (SQUARES + to + lane + 8) * 8, other_square)

    @kernel(variant=f"{held}-{full}")
    def raise_more(scratch, count, powers):
        """Add the terms at places below ``count``, a multiple of 8, to the sums of the lanes with these numbers."""
        for place in range(0, count, 8):
            e = raised(scratch, place, powers)
            total = scratch + (TERMS + place) * 8
            put(total, load(total, "float64", 8) + e)
            if full:
                square = scratch + (SQUARES + place) * 8
                put(square, fma(e, e, load(square, "float64", 8)))

    @kernel(variant=f"{held}-{full}")
    def raise_first(scratch, count, powers):
        """The same, as the first terms of their lanes."""
        for place in range(0, count, 8):
            e = raised(scratch, place, powers)
            put(scratch + (TERMS + place) * 8, e)
            if full:
                put(scratch + (SQUARES + place) * 8, e * e)

    return Terms(wait, leave_out, raise_lanes, raise_first, raise_more)
