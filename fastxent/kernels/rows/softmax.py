"""Logits and a class index -> scores of a row: cross-entropy, rank, confidence, Brier.

1. The loss of a row is log(1 + S), S = sum over j != t of exp(z_j - z_t), in float64: one pass, no
   maximum, no cancellation, relative accuracy from 1e-300 to 340 nats. No difference is rounded: exponentials
   are those of `powers`, z_j and z_t being split apart.
2. S has one definition, which decides its bits. An exponential is T + T g, T of the table and g below 1/512, and both
   parts are summed apart, so only sums of T are rounded to any effect. The classes of a span (`span_of`) are folded by
   halves, a class that is not there being 0: two halvings are plain additions, the others keep what rounding lost
   (`add_positives`), and so do the sums of spans. What is left is the error of T, half a last place, and two roundings:
   equal terms, which round alike, could make more of it than 4 ulp of the loss.
3. Two files with a loop each follow that definition: `along` has the lanes within a row (many classes), `across`
   has them over rows (few classes, or one array a class). They give the same bits for the same row.
4. A row in which something is not finite, or where S or z_t is huge or S next to nothing, goes to `careful_row`,
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
from fastxent.kernels.functions.powers import FARTHEST, NOTHING, ORIGIN, grown, growth, held_as, rough_growth, splitter
from fastxent.kernels.functions.twofold import (
    add,
    exp_in_parts,
    log1p_in_parts,
    multiply_pairs,
    settled,
    times_exp,
)
from fastxent.kernels.functions.vecmath import exp, log, log1p_of_sum
from fastxent.kernels.rows.tiles import PLACES_OF_POWERS, REMAINDERS, SMALL_TERMS, SQUARES, TERMS
from fastxent.kernels.vector.memory import fetch, load, look_up, put, store, transpose_8x8
from fastxent.kernels.vector.simd import (
    LANES,
    all_lanes,
    fill,
    fma,
    halving_sum,
    lower,
    maximum,
    minimum,
    select,
    splat,
    upper,
    widen,
)

__all__ = [
    "ALONE", "FAINT", "SPAN", "add_exactly", "add_positives", "careful_row", "finisher", "finite", "fold_all",
    "fold_eight", "fold_spans", "fold_tile", "left_of", "span_of", "span_raiser", "terms",
]  # fmt: skip

#: Classes of one partial sum, where sums have lanes that add their terms one after the other.
SPAN = 256
#: A row whose S exceeds this (e^339.6, its square is finite) takes the careful way.
STEEP = 2.0**490
#: So does one whose S is below this: terms that are no normal numbers, which the table does not have, may count there.
FAINT = 2.0**-940
#: A target so far ahead of the next class costs nothing, however many there are: e^-800 e^54 is below 2^-1074.
ALONE = 800.0
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

    m = max over j != t of z_j, s = sum over j != t of exp(z_j - m), d = z_t - m, each in two parts:
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
    if m > -INF and z_t - m < ALONE:
        for j in range(classes):
            if j != t:
                d, d_lost = add(row[j], -m)
                e, e_lost = exp_in_parts(d, d_lost if d > -INF else 0.0)
                s, s_lost = add_exactly(s, s_lost + e_lost, e)
                q, q_lost = add_exactly(q, q_lost, e * e)
    d, d_lost = add(z_t, -m)
    s, s_lost = settled(s, s_lost)
    _finish_careful(d, d_lost, s, s_lost, q + q_lost, real, i)
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


@kernel()
def _finish_careful(d, d_lost, s, s_lost, q, real, i):
    """Fill the row from d = z_t - m, s = sum e_j, q = sum e_j^2, the sums without the target."""
    if s == 0.0:
        real[sc.LOSS, i] = 0.0
        real[sc.P_TARGET, i] = 1.0
        real[sc.CONFIDENCE, i] = 1.0
        real[sc.BRIER, i] = 0.0
        return
    if d >= 0.0:
        if d > 600.0:
            real[sc.LOSS, i] = times_exp(s, s_lost, d, d_lost)
        else:
            e, e_lost = exp_in_parts(-d, -d_lost)
            x, x_lost = multiply_pairs(s, s_lost, e, e_lost)
            value, lost = log1p_in_parts(x, x_lost)
            real[sc.LOSS, i] = value + lost
        e = exp(-d)
        p = 1.0 / (1.0 + s * e)
        real[sc.P_TARGET, i] = p
        real[sc.CONFIDENCE, i] = e * p
        real[sc.BRIER, i] = (s * e * p) * (s * e * p) + q * (e * p) * (e * p)
        return
    e = exp(d)
    # Of an infinite loss the parts are NaN.
    real[sc.LOSS, i] = -d + (log(s + e) - (d_lost if d > -INF else 0.0))
    p = 1.0 / (s + e)
    real[sc.P_TARGET, i] = e * p
    real[sc.CONFIDENCE, i] = p
    real[sc.BRIER, i] = (s * p) * (s * p) + q * p * p


@cache
def finisher(kind: str, full: bool) -> Any:
    """Compile ``finish(real, whole, n)``: sums of powers -> the scores of n rows.

    It finds S in LOSS, what that lost in SCRATCH, and Q in BRIER, all short of what the anchor's remainder takes away,
    z_t in P_TARGET, and max_j z_j - z_t in CONFIDENCE. It notes in SCRATCH which rows have to take the careful way, and
    returns whether there are some.
    """
    anchor_of = splitter(kind).anchor

    @kernel(variant=f"{held_as(kind)}-{full}")
    def finish(real, whole, n):
        rough = False
        for i in range(0, n, 8):
            z_t = fetch(real[sc.P_TARGET], i, 8)
            _, _, r = anchor_of(z_t)
            g = growth(r * -1.0)
            s = fetch(real[sc.LOSS], i, 8)
            total, lost = settled(s, fma(s, g, fetch(real[sc.SCRATCH], i, 8)))
            store(real[sc.LOSS], i, total)
            store(real[sc.ENTROPY], i, lost)
            # NaN fails every comparison.
            fine = (total <= STEEP) & (total >= FAINT) & (z_t <= FARTHEST) & (z_t >= -FARTHEST)
            store(real[sc.SCRATCH], i, select(fine, splat(0.0, 8), splat(1.0, 8)))
            rough |= not all_lanes(fine)
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
            store(real[sc.LOSS], i, log1p_of_sum(fetch(real[sc.LOSS], i, 8), fetch(real[sc.ENTROPY], i, 8)))
        return rough

    return finish


# --- sums of two parts -------------------------------------------------------------------------------------


@kernel(inline="always")
def span_of(classes):
    """The classes of a span: the next power of 2, from 8 to 128."""
    if classes > 64:
        return 128
    if classes > 32:
        return 64
    if classes > 16:
        return 32
    return 16 if classes > 8 else 8


@kernel(inline="always")
def left_of(span):
    """How many sums a row of a span leaves to be folded with others': a quarter of its places, but at most 8."""
    return min(span // 4, 8)


@kernel(inline="always")
def add_positives(a, b):
    """The sum a + b of positive numbers, and what rounding lost."""
    s = a + b
    return s, minimum(a, b) - (s - maximum(a, b))


@kernel(inline="always")
def finite(total, lost):
    """What a sum lost; an infinite one has lost nothing."""
    return 0.0 if total == INF else lost


@kernel(inline="always")
def halved(a, b):
    """Sums in two parts, lane by lane -> half as many."""
    s, lost = add_positives(lower(a), upper(a))
    return s, (lower(b) + upper(b)) + lost


@kernel(inline="always")
def fold_eight(a, b):
    """The sum of eight lanes in two parts each."""
    four, four_lost = halved(a, b)
    two, two_lost = halved(four, four_lost)
    one, one_lost = halved(two, two_lost)
    return halving_sum(one), halving_sum(one_lost)


@kernel(inline="always")
def fold_all(a, b):
    """The same of LANES lanes."""
    c, d = halved(a, b)
    e, f = halved(c, d)
    return fold_eight(e, f)


@kernel(inline="always")
def folded_columns(lanes, i, j):
    """The sum of two of the eight columns that `fold_spans` left, in two parts."""
    column, small = REMAINDERS, REMAINDERS + 64
    s, lost = add_positives(fetch(lanes, column + 8 * i, 8), fetch(lanes, column + 8 * j, 8))
    return s, (fetch(lanes, small + 8 * i, 8) + fetch(lanes, small + 8 * j, 8)) + lost


@kernel()
def fold_spans(lanes, place):
    """The sums of eight spans from a place on, LANES places each, in two parts: `fold_eight` of all at once."""
    at = lanes.ctypes.data
    transpose_8x8(at + REMAINDERS * 8, 64, at + (TERMS + place) * 8, LANES * 8, 8)
    transpose_8x8(at + (REMAINDERS + 64) * 8, 64, at + (SMALL_TERMS + place) * 8, LANES * 8, 8)
    a, a_lost = folded_columns(lanes, 0, 4)
    b, b_lost = folded_columns(lanes, 1, 5)
    c, c_lost = folded_columns(lanes, 2, 6)
    d, d_lost = folded_columns(lanes, 3, 7)
    e, lost = add_positives(a, c)
    e_lost = (a_lost + c_lost) + lost
    f, lost = add_positives(b, d)
    f_lost = (b_lost + d_lost) + lost
    s, lost = add_positives(e, f)
    return settled(s, (e_lost + f_lost) + lost)


@cache
def fold_tile(width: int) -> Any:
    """Compile ``fold(lanes, count)``: the same of ``count`` vectors of ``width`` numbers."""

    @kernel(variant=str(width))
    def fold(lanes, count):
        used = count
        half = LANES // 2
        while half > 0:
            for lane in range(used - half):
                place = lane * width
                other = place + half * width
                a, lost = add_positives(fetch(lanes, TERMS + place, width), fetch(lanes, TERMS + other, width))
                b = fetch(lanes, SMALL_TERMS + place, width) + fetch(lanes, SMALL_TERMS + other, width)
                store(lanes, TERMS + place, a)
                store(lanes, SMALL_TERMS + place, b + lost)
            used = min(used, half)
            half //= 2
        return settled(fetch(lanes, TERMS, width), fetch(lanes, SMALL_TERMS, width))

    return fold


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


@cache
def quads(kind: str, full: bool, width: int = 8) -> tuple[Any, ...]:
    """Kernels for the sum of one, two, three or four vectors of ``width`` terms that `terms` left in scratch.

    ``sum_of(scratch, place, step, powers)``, of the places ``place``, ``place + step`` and so on: the sum of the
    powers, of their products with e^r - 1, and (``full``) of the squares. These are two plain halvings of a span.
    """
    held = held_as(kind)
    size = SIZE[held]

    @kernel(variant=f"{held}-{width}", inline="always")
    def parts(scratch, place, powers):
        r = widen(load(scratch + REMAINDERS * 8 + place * size, held, width))
        return look_up(powers, scratch + PLACES_OF_POWERS * 8 + place * size, held, width), rough_growth(r)

    @kernel(variant=f"{held}-{full}-{width}", inline="always")
    def squared(t, g, total):
        if not full:
            return total
        e = fma(t, g, t)
        return fma(e, e, total)

    def of(count: int) -> Any:
        @kernel(variant=f"{held}-{full}-{width}-{count}", inline="always")
        def sum_of(scratch, place, step, powers):
            a, g = parts(scratch, place, powers)
            b = a * g
            q = squared(a, g, fill(0.0, a))
            if count > 1:
                c, g = parts(scratch, place + step, powers)
                b = fma(c, g, b)
                q = squared(c, g, q)
                if count > 2:
                    t, g = parts(scratch, place + 2 * step, powers)
                    b = fma(t, g, b)
                    q = squared(t, g, q)
                    a = a + t
                if count > 3:
                    t, g = parts(scratch, place + 3 * step, powers)
                    b = fma(t, g, b)
                    q = squared(t, g, q)
                    c = c + t
                a = a + c
            return a, b, q

        return sum_of

    return tuple(of(count) for count in (1, 2, 3, 4))


@cache
def span_raiser(kind: str, full: bool) -> Any:
    """Compile ``raise_span(scratch, count, quarter, left, to, powers)``: a span's terms, folded to ``left`` sums.

    ``count`` terms, a multiple of 8, wait in scratch; the sums (`left_of` the span) go to places from ``to`` on.
    """
    sum_of_one, sum_of_two, sum_of_three, sum_of_four = quads(kind, full)
    sum_of_pairs, sum_of_fours = quads(kind, full, 2)[3], quads(kind, full, 4)[3]

    @kernel(variant=f"{held_as(kind)}-{full}", forceinline=True)
    def sum_of(scratch, lane, count, quarter, powers):
        """What is there of the four terms of a lane."""
        if lane + 3 * quarter < count:
            return sum_of_four(scratch, lane, quarter, powers)
        if lane + 2 * quarter < count:
            return sum_of_three(scratch, lane, quarter, powers)
        if lane + quarter < count:
            return sum_of_two(scratch, lane, quarter, powers)
        if lane < count:
            return sum_of_one(scratch, lane, quarter, powers)
        return splat(0.0, 8), splat(0.0, 8), splat(0.0, 8)

    @kernel(inline="always")
    def added(a, b, q, other):
        total, lost = add_positives(a, other[0])
        return total, (b + other[1]) + lost, q + other[2]

    @kernel(variant=f"{held_as(kind)}-{full}", inline="always")
    def raise_many(scratch, count, quarter, left, to, powers):
        for lane in range(0, left, 8):
            a, b, q = sum_of(scratch, lane, count, quarter, powers)
            if left < quarter:
                half = quarter // 2
                a, b, q = added(a, b, q, sum_of(scratch, lane + half, count, quarter, powers))
                if left < half:
                    c, d, r = sum_of(scratch, lane + left, count, quarter, powers)
                    c, d, r = added(c, d, r, sum_of(scratch, lane + left + half, count, quarter, powers))
                    a, b, q = added(a, b, q, (c, d, r))
            place = scratch + (to + lane) * 8
            put(place + TERMS * 8, a)
            put(place + SMALL_TERMS * 8, b)
            if full:
                put(place + SQUARES * 8, q)

    @kernel(variant=f"{held_as(kind)}-{full}")
    def raise_few(scratch, quarter, to, powers):
        """Of up to 16 terms."""
        for lanes in (TERMS, SMALL_TERMS, SQUARES):
            put(scratch + (lanes + to) * 8, splat(0.0, 8))
        if quarter == 2:
            a, b, q = sum_of_pairs(scratch, 0, 2, powers)
            put(scratch + (TERMS + to) * 8, a)
            put(scratch + (SMALL_TERMS + to) * 8, b)
            put(scratch + (SQUARES + to) * 8, q)
        else:
            c, d, r = sum_of_fours(scratch, 0, 4, powers)
            put(scratch + (TERMS + to) * 8, c)
            put(scratch + (SMALL_TERMS + to) * 8, d)
            put(scratch + (SQUARES + to) * 8, r)

    @kernel(variant=f"{held_as(kind)}-{full}")
    def raise_span(scratch, count, quarter, left, to, powers):
        if quarter < 8:
            raise_few(scratch, quarter, to, powers)
        else:
            raise_many(scratch, count, quarter, left, to, powers)

    return raise_span
