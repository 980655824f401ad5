"""Logits and a class index -> scores of a row: cross-entropy, rank, confidence, Brier.

1. The loss of a row is log(1 + S), S = sum over j != t of exp(z_j - z_t), in float64: one pass, no
   maximum, no cancellation, relative accuracy from 1e-300 to 340 nats. No difference is rounded: exponentials
   are those of `powers`, z_j and z_t being split apart.
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
from typing import Any, NamedTuple

import numpy as np

from fastxent.kernels import scorecard as sc
from fastxent.kernels.compile import kernel
from fastxent.kernels.powers import FARTHEST, NOTHING, ORIGIN, grown, growth, held_as, splitter
from fastxent.kernels.problem import SIZE, TILE
from fastxent.kernels.simd import (
    LANES,
    all_lanes,
    as_ones,
    fetch,
    first_lane,
    fma,
    halving_sum,
    lane_max,
    load,
    load_first,
    load_scalar,
    look_up,
    maximum,
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
    PLACES_OF_POWERS,
    REMAINDERS,
    SQUARES,
    TERMS,
    Z_T,
    fetch_ahead,
    just_below,
    read_label,
    tile_reader,
)
from fastxent.kernels.vecmath import exp, log, log1p

__all__ = ["across", "along"]

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
    raise_to_sums: Any
    raise_first: Any


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
    def raise_to_sums(scratch, count, powers, mask):
        """Add the terms at places below ``count``, a multiple of 8, to the sums of their lanes, place & mask."""
        for place in range(0, count, 8):
            e = raised(scratch, place, powers)
            total = scratch + (TERMS + (place & mask)) * 8
            put(total, load(total, "float64", 8) + e)
            if full:
                square = scratch + (SQUARES + (place & mask)) * 8
                put(square, fma(e, e, load(square, "float64", 8)))

    @kernel(variant=f"{held}-{full}")
    def raise_first(scratch, count, powers):
        """The same, as the first terms of their lanes."""
        for place in range(0, count, 8):
            e = raised(scratch, place, powers)
            put(scratch + (TERMS + place) * 8, e)
            if full:
                put(scratch + (SQUARES + place) * 8, e * e)

    return Terms(wait, leave_out, raise_to_sums, raise_first)


@cache
def along(kind: str, label: str, full: bool) -> Any:
    """The row kernel with the lanes within a row, for many classes; ``full`` asks for more than the loss."""
    size = SIZE[kind]
    anchor_of = splitter(kind).anchor
    wait, leave_out, raise_to_sums, _ = terms(kind, full)
    finish = finisher(kind, full)

    @kernel(variant=kind)
    def split_row(row, count, z_t, scratch):
        """Leave ``count`` classes in scratch, and classes without a power until they are a multiple of 8."""
        anchor = anchor_of(splat(z_t, 8))
        even = count // 8 * 8
        for j in range(0, even, 8):
            wait(scratch, j, load(row + j * size, kind, 8), anchor)
        if even < count:
            wait(scratch, even, load_first(row + even * size, kind, 8, count - even), anchor)

    @kernel(variant=f"{kind}")
    def order(row, count, t, before, after):
        """How many scores stand before the target's, and the largest; t counts from here and may lie outside."""
        home = min(max(t, 0), count) // LANES
        whole_groups = count // LANES
        top = load_first(row, kind, LANES, 0)
        greater = as_ones(top > top, top)
        # Equal scores to the left of the target stand before it.
        for g in range(home):
            z = load(row + g * (LANES * size), kind, LANES)
            greater = greater - as_ones(z > before, z)
            top = maximum(z, top)
        for g in range(home, whole_groups):
            z = load(row + g * (LANES * size), kind, LANES)
            greater = greater - as_ones(z > after, z)
            top = maximum(z, top)
        if count > whole_groups * LANES:
            z = load_first(row + whole_groups * (LANES * size), kind, LANES, count - whole_groups * LANES)
            greater = greater - as_ones(z > (before if t >= count else after), z)
            top = maximum(z, top)
        if 0 <= t < count:
            z = load_first(row + home * (LANES * size), kind, LANES, t - home * LANES)
            greater = greater - as_ones(z == after, z)
        return halving_sum(greater), np.float64(lane_max(top))

    @kernel(variant=f"{kind}-{full}", inline="always")
    def read(row, classes, t, z_t, lanes, powers):
        """S e^r and Q e^2r (r is that of the anchor), the target's rank, the largest score and where its span starts.

        S and Q are the terms of the classes other than t, and their squares.
        """
        scratch = lanes.ctypes.data
        s = 0.0
        s_lost = 0.0
        q = 0.0
        q_lost = 0.0
        rank = 0
        top = -INF
        home = 0
        eight = load_first(row, kind, 8, 0)
        before = just_below(z_t, eight)
        after = narrow(z_t, eight)
        for first in range(0, classes, SPAN):
            count = min(SPAN, classes - first)
            here = row + first * size
            fetch_ahead(here, count * size)
            # Two loops, since one has too many numbers under way for the processor to look ahead.
            split_row(here, count, z_t, scratch)
            if first <= t < first + count:
                leave_out(scratch, t - first)
            store(lanes, TERMS, splat(0.0, LANES))
            if full:
                store(lanes, SQUARES, splat(0.0, LANES))
            raise_to_sums(scratch, (count + 7) // 8 * 8, powers, LANES - 1)
            s, s_lost = add_exactly(s, s_lost, halving_sum(fetch(lanes, TERMS, LANES)))
            if full:
                q, q_lost = add_exactly(q, q_lost, halving_sum(fetch(lanes, SQUARES, LANES)))
                ahead, highest = order(here, count, t - first, before, after)
                rank += ahead
                if highest > top:
                    top = highest
                    home = first
        return s + s_lost, q + q_lost, rank, top, home

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
            s, q, rank, top, home = read(row, p.classes, t, z_t, work.lanes, work.powers.ctypes.data)
            # NaN fails every comparison.
            fine = s <= STEEP and abs(z_t) <= FARTHEST
            rough += not fine
            real[sc.SCRATCH, i] = 0.0 if fine else 1.0
            real[sc.LOSS, i] = s
            real[sc.P_TARGET, i] = z_t
            whole[sc.TARGET, i] = t
            status[i] = fate
            if full:
                real[sc.BRIER, i] = q
                whole[sc.RANK, i] = rank
                whole[sc.PREDICTED, i] = t if rank == 0 else home + position(row + home * size, p.classes - home, top)
                real[sc.CONFIDENCE, i] = top - z_t
        finish(real, whole, n)
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
    anchor_of = splitter(kind).anchor
    wait, _, raise_to_sums, raise_first = terms(kind, full)
    finish = finisher(kind, full)

    @kernel(variant=f"{kind}")
    def split_tile(table, row, first, last, labels, scratch):
        """Leave classes in scratch, one after the other; the target as one without a power."""
        for half in range(0, TILE, 8):
            anchor = anchor_of(load(scratch + (Z_T + half) * 8, "float64", 8))
            t = fetch(labels, half, 8)
            none = load_first(table, kind, 8, 0)
            for j in range(first, last):
                z = load(load_scalar(table + j * 8, "int64") + (row + half) * size, kind, 8)
                wait(scratch, (j - first) * TILE + half, select(t == np.int32(j), none, z), anchor)

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
            split_tile(table, row, first, last, work.labels, scratch)
            if first % SPAN == 0:
                raise_first(scratch, (last - first) * TILE, work.powers.ctypes.data)
            else:
                raise_to_sums(scratch, (last - first) * TILE, work.powers.ctypes.data, LANES * TILE - 1)
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
        rough = False
        for i in range(0, n, TILE):
            count = min(TILE, n - i)
            targets(p, lo + i, count, card, work, i)
            table, row = p.scores, lo + i
            if not columns or count < TILE:
                transpose(p, lo + i, count, work.table[0])
                table, row = work.table.ctypes.data, 0
            score_tile(table, row, p.classes, card, work, i)
            z_t = fetch(work.lanes, Z_T, TILE)
            store(real[sc.P_TARGET], i, z_t)
            # NaN fails every comparison.
            fine = (fetch(real[sc.LOSS], i, TILE) <= STEEP) & (z_t <= FARTHEST) & (z_t >= -FARTHEST)
            store(real[sc.SCRATCH], i, select(fine, splat(0.0, TILE), splat(1.0, TILE)))
            rough |= not all_lanes(fine)
        finish(real, card.whole, n)
        if rough:
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
