"""Logits and a class index -> scores of a row: cross-entropy, rank, confidence, Brier.

1. The loss of a row is log(1 + S), S = sum over j != t of exp(z_j - z_t), in float64: one pass, no
   maximum, no cancellation, relative accuracy from 1e-300 to 340 nats.
2. S has one definition, which decides its bits: class j belongs to lane j mod 32 of block j div 256;
   a lane adds its terms in order; the 32 lanes of a block are folded by halves;
   block sums are added in order by TwoSum. A lane without a class adds 0.
3. Two loops follow that definition: `along` has the lanes within a row (many classes), `across` has
   them over rows (few classes, or one array a class). They give the same bits for the same row.
4. A row in which something is not finite, or where S or z_t is huge, goes to `careful_row`,
   which shifts by the maximum, and says what is wrong with rows that cannot be scored. Which way a
   row takes depends on its own numbers only.

The rank of the target is its position in the stable descending order of the scores: the number of
greater scores, and of equal ones to its left. It is 0 just when the target is the first maximum,
which is the predicted class.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels import scorecard as sc
from fastxent.kernels.compile import kernel
from fastxent.kernels.problem import SIZE, TILE
from fastxent.kernels.simd import (
    LANES,
    as_ones,
    fetch,
    first_lane,
    fma,
    halving_sum,
    lane_max,
    load,
    load_first,
    load_scalar,
    maximum,
    minimum,
    narrow,
    put,
    select,
    splat,
    splat_i32,
    store,
    widen,
)
from fastxent.kernels.tiles import (
    BEFORE,
    POWERS,
    REDUCED,
    SQUARES,
    TERMS,
    Z_T,
    fetch_ahead,
    just_below,
    read_label,
    tile_reader,
)
from fastxent.kernels.twofold import subtract
from fastxent.kernels.vecmath import EXP_HIGH, EXP_LOW, ROUND, exp, log, log1p, raised, reduce

__all__ = ["across", "along"]

#: Classes of one partial sum: 8 terms a lane, so that no term meets more than a few roundings.
SPAN = 256
#: A row whose S exceeds this (e^339.6, its square is finite) takes the careful way.
STEEP = 2.0**490
#: So does a row whose target's logit is larger than this: z_t + EXP_LOW, rounded to float32, must stay
#: where the scale of e^x is exactly 0.
MODERATE = 2.0**19
#: A power as `reduce` leaves it whose `raised` is 0 whatever r.
NOTHING = ROUND - 1023.0
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


@kernel()
def finish(real, whole, n, full):
    """S (in LOSS), Q (in BRIER) and max_j z_j - z_t (in CONFIDENCE) of n rows -> their scores."""
    for i in range(0, n, TILE):
        s = fetch(real[sc.LOSS], i, TILE)
        store(real[sc.LOSS], i, log1p(s))
        if full:
            p = splat(1.0, TILE) / (s + 1.0)
            store(real[sc.P_TARGET], i, p)
            # A target that is the first maximum has rank 0 and its own probability as confidence.
            top = exp(fetch(real[sc.CONFIDENCE], i, TILE)) * p
            store(real[sc.CONFIDENCE], i, select(fetch(whole[sc.RANK], i, TILE) == np.int32(0), p, top))
            wrong = s * p
            store(real[sc.BRIER], i, fma(wrong, wrong, fetch(real[sc.BRIER], i, TILE) * (p * p)))


# Scratch is passed as an address: an array that is passed to a function costs two atomic additions.


@kernel()
def raise_row(scratch, count):
    """Add what `reduce` left of ``count`` classes, a multiple of 8, to the sums of their lanes."""
    for j in range(0, count, 8):
        total = scratch + (TERMS + j % LANES) * 8
        put(total, load(total, "float64", 8) + waiting(scratch, j))


@kernel()
def raise_row_and_squares(scratch, count):
    """The same, and their squares."""
    for j in range(0, count, 8):
        total = scratch + (TERMS + j % LANES) * 8
        square = scratch + (SQUARES + j % LANES) * 8
        e = waiting(scratch, j)
        put(total, load(total, "float64", 8) + e)
        put(square, fma(e, e, load(square, "float64", 8)))


@kernel(inline="always")
def waiting(scratch, j):
    """The terms of eight classes that `reduce` left at place j."""
    r = load(scratch + (REDUCED + j) * 8, "float64", 8)
    return raised(r, load(scratch + (POWERS + j) * 8, "float64", 8))


@cache
def shifter(kind: str) -> Any:
    """`reduce` of z - z_t for scores of a kind, z held between ``low`` and ``high``."""

    @kernel(variant=kind, inline="always")
    def narrow_shifted(z, z_t, low, high):
        return reduce(widen(minimum(high, maximum(low, z))) - z_t)

    @kernel(variant=kind, inline="always")
    def wide_shifted(z, z_t, low, high):
        # The difference of float64 numbers is rounded, by up to 32 ulp of its exponential: r takes back what that lost.
        d, lost = subtract(minimum(high, maximum(low, z)), z_t)
        r, power = reduce(d)
        return r + lost, power

    return wide_shifted if kind == "float64" else narrow_shifted


@cache
def along(kind: str, label: str, full: bool) -> Any:
    """The row kernel with the lanes within a row, for many classes; ``full`` asks for more than the loss."""
    size = SIZE[kind]
    shifted = shifter(kind)
    raise_terms = raise_row_and_squares if full else raise_row

    @kernel(variant=kind)
    def reduce_row(row, count, z_t, scratch):
        """`reduce` of z_j - z_t for ``count`` classes, and log 0 until they are a multiple of 8."""
        low = narrow(z_t + EXP_LOW, load_first(row, kind, 1, 0))
        high = narrow(z_t + EXP_HIGH, load_first(row, kind, 1, 0))
        even = count // 8 * 8
        for j in range(0, even, 8):
            z = load(row + j * size, kind, 8)
            r, power = shifted(z, z_t, low, high)
            put(scratch + (REDUCED + j) * 8, r)
            put(scratch + (POWERS + j) * 8, power)
        if even < count:
            z = load_first(row + even * size, kind, 8, count - even)
            r, power = shifted(z, z_t, low, high)
            put(scratch + (REDUCED + even) * 8, r)
            put(scratch + (POWERS + even) * 8, power)

    @kernel(variant=f"{kind}-{full}", inline="always")
    def sums(row, classes, t, z_t, lanes):
        """S and Q: the terms of the classes other than t, and their squares."""
        scratch = lanes.ctypes.data
        s = 0.0
        s_lost = 0.0
        q = 0.0
        q_lost = 0.0
        for first in range(0, classes, SPAN):
            count = min(SPAN, classes - first)
            here = row + first * size
            fetch_ahead(here, count * size)
            # Two loops, since one has too many numbers under way for the processor to look ahead: on AVX2 1.3 ns a
            # class instead of 0.95.
            reduce_row(here, count, z_t, scratch)
            if first <= t < first + count:
                lanes[POWERS + t - first] = NOTHING
            store(lanes, TERMS, splat(0.0, LANES))
            if full:
                store(lanes, SQUARES, splat(0.0, LANES))
            raise_terms(scratch, (count + 7) // 8 * 8)
            s, s_lost = add_exactly(s, s_lost, halving_sum(fetch(lanes, TERMS, LANES)))
            if full:
                q, q_lost = add_exactly(q, q_lost, halving_sum(fetch(lanes, SQUARES, LANES)))
        return s + s_lost, q + q_lost

    @kernel(variant=f"{kind}", inline="always")
    def order(row, classes, t, z_t):
        """The target's rank, and the largest score."""
        home = t // LANES
        whole_groups = classes // LANES
        none = load_first(row, kind, LANES, 0)
        top = none
        greater = as_ones(none > none, none)
        after = narrow(z_t, none)
        # Equal scores to the left of the target stand before it.
        before = just_below(z_t, load_first(row, kind, 8, 0))
        for g in range(min(home, whole_groups)):
            z = load(row + g * (LANES * size), kind, LANES)
            greater = greater - as_ones(z > before, z)
            top = maximum(z, top)
        for g in range(home, whole_groups):
            z = load(row + g * (LANES * size), kind, LANES)
            greater = greater - as_ones(z > after, z)
            top = maximum(z, top)
        if classes > whole_groups * LANES:
            z = load_first(row + whole_groups * (LANES * size), kind, LANES, classes - whole_groups * LANES)
            greater = greater - as_ones(z > after, z)
            top = maximum(z, top)
        z = load_first(row + home * (LANES * size), kind, LANES, t - home * LANES)
        greater = greater - as_ones(z == after, z)
        return halving_sum(greater), np.float64(lane_max(top))

    @kernel(variant=f"{kind}", inline="always")
    def position(row, classes, value):
        """The first class with this score (there is one)."""
        wanted = narrow(value, load_first(row, kind, LANES, 0))
        for j in range(0, classes, LANES):
            z = load_first(row + j * size, kind, LANES, min(LANES, classes - j))
            found = first_lane(z == wanted)
            if found < LANES:
                return j + found
        return 0

    @kernel(variant=f"{kind}", inline="always")
    def unpack(row, classes, scratch):
        for j in range(classes):
            scratch[j] = load_scalar(row + j * size, kind)

    @kernel(variant=f"{kind}-{label}-{full}")
    def rows(p, lo, n, card, work):
        real, whole, status = card
        rough = 0
        for i in range(n):
            row = p.scores + (lo + i) * p.stride
            t, fate = read_label(p, lo + i, label)
            z_t = load_scalar(row + t * size, kind)
            s, q = sums(row, p.classes, t, z_t, work.lanes)
            # NaN fails every comparison; z_t = +inf or -inf is not moderate.
            fine = s <= STEEP and abs(z_t) <= MODERATE
            rough += not fine
            real[sc.SCRATCH, i] = 0.0 if fine else 1.0
            real[sc.LOSS, i] = s
            whole[sc.TARGET, i] = t
            status[i] = fate
            if full:
                rank, top = order(row, p.classes, t, z_t)
                real[sc.BRIER, i] = q
                whole[sc.RANK, i] = rank
                whole[sc.PREDICTED, i] = t if rank == 0 else position(row, p.classes, top)
                real[sc.CONFIDENCE, i] = top - z_t
        finish(real, whole, n, full)
        if rough > 0:
            for i in range(n):
                if real[sc.SCRATCH, i] != 0.0:
                    unpack(p.scores + (lo + i) * p.stride, p.classes, work.row)
                    careful_row(work.row, p.classes, card, i)

    return rows


@cache
def across(kind: str, label: str, full: bool, columns: bool) -> Any:
    """The row kernel with one row a lane, for few classes, or (``columns``) for one array a class."""
    size = SIZE[kind]
    at, targets, transpose = tile_reader(kind, label, full, columns)
    shifted = shifter(kind)

    @kernel(variant=f"{kind}")
    def reduce_tile(table, row, first, last, labels, scratch):
        """`reduce` of z_j - z_t, class by class; that of the target is log 0."""
        for half in range(0, TILE, 8):
            z_t = load(scratch + (Z_T + half) * 8, "float64", 8)
            t = fetch(labels, half, 8)
            none = load_first(table, kind, 8, 0)
            low = narrow(z_t + EXP_LOW, none)
            high = narrow(z_t + EXP_HIGH, none)
            for j in range(first, last):
                z = load(load_scalar(table + j * 8, "int64") + (row + half) * size, kind, 8)
                z = select(t == np.int32(j), none, z)
                r, power = shifted(z, z_t, low, high)
                place = (j - first) * TILE + half
                put(scratch + (REDUCED + place) * 8, r)
                put(scratch + (POWERS + place) * 8, power)

    @kernel(variant=f"{full}")
    def raise_tile(scratch, terms, fresh):
        """What `reduce_tile` left of ``terms`` numbers: to the sums of their lanes, or as their first terms."""
        for k in range(0, terms, 8):
            total = scratch + (TERMS + k) * 8
            square = scratch + (SQUARES + k) * 8
            e = waiting(scratch, k)
            if fresh:
                put(total, e)
                if full:
                    put(square, e * e)
            else:
                put(total, load(total, "float64", 8) + e)
                if full:
                    put(square, fma(e, e, load(square, "float64", 8)))

    @kernel(variant=f"{kind}", inline="always")
    def order_tile(table, row, classes, card, work, i):
        """Rank, predicted class and max z_j - z_t."""
        lanes = work.lanes
        t = fetch(work.labels, 0, TILE)
        none = load_first(table, kind, TILE, 0)
        after = narrow(fetch(lanes, Z_T, TILE), none)
        before = narrow(fetch(lanes, BEFORE, TILE), none)
        top = none
        best = splat_i32(np.int32(0), TILE)
        greater = best
        one = splat_i32(np.int32(1), TILE)
        for j in range(classes):
            z = load(load_scalar(table + j * 8, "int64") + row * size, kind, TILE)
            number = np.int32(j)
            # Lanes of 32 bits stay so: a mask of float64 lanes is not mixed with one of int32 lanes.
            ahead = z > select(t > number, before, after)
            greater = greater + select(ahead, one, one ^ one)
            best = select(z > top, splat_i32(number, TILE), best)
            top = maximum(z, top)
        store(card.real[sc.CONFIDENCE], i, widen(top) - fetch(lanes, Z_T, TILE))
        store(card.whole[sc.RANK], i, greater)
        store(card.whole[sc.PREDICTED], i, best)

    @kernel(variant=f"{kind}-{full}", inline="always")
    def score_tile(table, row, classes, card, work, i):
        """S, Q and what comes from the order, of TILE rows from ``row`` on of the arrays in ``table``."""
        lanes = work.lanes
        scratch = lanes.ctypes.data
        s = splat(0.0, TILE)
        s_lost = s
        q = s
        q_lost = s
        for first in range(0, classes, LANES):
            last = min(first + LANES, classes)
            reduce_tile(table, row, first, last, work.labels, scratch)
            raise_tile(scratch, (last - first) * TILE, first % SPAN == 0)
            if last % SPAN == 0 or last == classes:
                terms = last - (last - 1) // SPAN * SPAN
                s, s_lost = add_exactly(s, s_lost, fold(lanes, TERMS, terms))
                if full:
                    q, q_lost = add_exactly(q, q_lost, fold(lanes, SQUARES, terms))
        store(card.real[sc.LOSS], i, s + s_lost)
        if full:
            store(card.real[sc.BRIER], i, q + q_lost)
            order_tile(table, row, classes, card, work, i)

    @kernel(variant=f"{kind}-{columns}", inline="always")
    def unpack(p, row, scratch):
        for j in range(p.classes):
            scratch[j] = load_scalar(at(p, row, j), kind)

    @kernel(variant=f"{kind}-{label}-{full}-{columns}")
    def rows(p, lo, n, card, work):
        real = card.real
        rough = 0
        for i in range(0, n, TILE):
            count = min(TILE, n - i)
            targets(p, lo + i, count, card, work, i)
            table, row = p.scores, lo + i
            if not columns or count < TILE:
                transpose(p, lo + i, count, work.table[0])
                table, row = work.table.ctypes.data, 0
            score_tile(table, row, p.classes, card, work, i)
            for r in range(i, i + count):
                fine = real[sc.LOSS, r] <= STEEP and abs(work.lanes[Z_T + r - i]) <= MODERATE
                real[sc.SCRATCH, r] = 0.0 if fine else 1.0
                rough += not fine
        finish(real, card.whole, n, full)
        if rough > 0:
            for i in range(n):
                if real[sc.SCRATCH, i] != 0.0:
                    unpack(p, lo + i, work.row)
                    careful_row(work.row, p.classes, card, i)

    return rows


@kernel(inline="always")
def fold(lanes, start, terms):
    """The halving sum over up to LANES vectors of TILE; lanes without a term add nothing."""
    used = min(terms, LANES)
    half = LANES // 2
    while half > 0:
        for lane in range(used - half):
            here = start + lane * TILE
            store(lanes, here, fetch(lanes, here, TILE) + fetch(lanes, here + half * TILE, TILE))
        used = min(used, half)
        half //= 2
    return fetch(lanes, start, TILE)
