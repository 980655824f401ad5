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
    fill,
    fma,
    halving_sum,
    lane_max,
    lane_min,
    load,
    load_first,
    load_scalar,
    look_up,
    maximum,
    narrow,
    numbers_like,
    put,
    select,
    splat,
    store,
    widen,
)
from fastxent.kernels.tiles import (
    PLACES_OF_POWERS,
    REMAINDERS,
    SQUARES,
    TERMS,
    Z_T,
    below,
    fetch_ahead,
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
# Rows of the scorecard that hold what sums lost, until they are finished; MARGIN may hold the sum of a row of
# log-probabilities, which are scored as logits are.
LOST, LOST_OF_SQUARES = sc.SCRATCH, sc.ENTROPY


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
        for lane in range(0, LANES, 8):
            total = splat(0.0, 8)
            square = total
            for place in range(lane, count, LANES):
                e = raised(scratch, place, powers)
                total = total + e
                if full:
                    square = fma(e, e, square)
            put(scratch + (TERMS + to + lane) * 8, total)
            if full:
                put(scratch + (SQUARES + to + lane) * 8, square)

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
def along(kind: str, label: str, full: bool) -> Any:
    """The row kernel with the lanes within a row, for many classes; ``full`` asks for more than the loss."""
    size = SIZE[kind]
    anchor_of = splitter(kind).anchor
    wait, leave_out, raise_lanes, _, _ = terms(kind, full)
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

    @kernel(variant=f"{kind}", inline="always")
    def order(row, count, t, before, after):
        """How many scores stand before the target's, the largest, and its place; t may lie outside.

        Without branches, since nobody can tell where the target is: a branch took longer than the row.
        """
        none = load_first(row, kind, 8, 0)
        greater = as_ones(none > none, none)
        number = numbers_like(greater)
        home = narrow(t, greater)
        top = none
        best = number
        whole = count // 8 * 8
        for j in range(0, whole, 8):
            z = load(row + j * size, kind, 8)
            greater = greater - as_ones(z > select(number < home, before, after), z)
            best = select(z > top, number, best)
            top = maximum(z, top)
            number = number + 8
        z = load_first(row + whole * size, kind, 8, count - whole)
        greater = greater - as_ones(z > select(number < home, before, after), z)
        best = select(z > top, number, best)
        top = maximum(z, top)
        largest = lane_max(top)
        best = select(top == largest, best, fill(SPAN, best))
        return halving_sum(greater), np.float64(largest), np.int64(lane_min(best))

    @kernel(variant=f"{kind}-{label}", inline="always")
    def read_targets(p, lo, i, stop, card):
        """Labels of rows, and their scores, and sums of nothing."""
        real, whole, status = card
        for r in range(i, stop):
            t, fate = read_label(p, lo + r, label)
            whole[sc.TARGET, r] = t
            status[r] = fate
            real[sc.P_TARGET, r] = load_scalar(p.scores + (lo + r) * p.stride + t * size, kind)
            real[sc.LOSS, r] = 0.0
            real[LOST, r] = 0.0
            if full:
                real[sc.BRIER, r] = 0.0
                real[LOST_OF_SQUARES, r] = 0.0
                real[sc.CONFIDENCE, r] = -INF
                whole[sc.RANK, r] = 0
                whole[sc.PREDICTED, r] = 0

    @kernel(variant=f"{kind}-{full}")
    def settle_spans(card, work, waiting):
        """Add the sums of spans that wait to those of their rows: many at a time, as each takes long to be known."""
        real = card.real
        for k in range(waiting):
            r = work.labels[k]
            span = halving_sum(fetch(work.lanes, TERMS + k * LANES, LANES))
            real[sc.LOSS, r], real[LOST, r] = add_exactly(real[sc.LOSS, r], real[LOST, r], span)
            if full:
                span = halving_sum(fetch(work.lanes, SQUARES + k * LANES, LANES))
                real[sc.BRIER, r], real[LOST_OF_SQUARES, r] = add_exactly(
                    real[sc.BRIER, r], real[LOST_OF_SQUARES, r], span
                )

    @kernel(variant=f"{kind}", inline="always")
    def order_span(row, first, count, t, z_t, card, r):
        real, whole, _ = card
        after = narrow(splat(z_t, 8), load_first(row, kind, 8, 0))
        ahead, highest, best = order(row + first * size, count, t - first, below(after), after)
        whole[sc.RANK, r] += ahead
        if highest > real[sc.CONFIDENCE, r]:
            real[sc.CONFIDENCE, r] = highest
            whole[sc.PREDICTED, r] = first + best

    @kernel(variant=f"{kind}", inline="always")
    def unpack(row, classes, scratch):
        for j in range(classes):
            scratch[j] = load_scalar(row + j * size, kind)

    @kernel(variant=f"{kind}-{label}-{full}")
    def rows(p, lo, n, card, work):
        real, whole, _ = card
        scratch, powers = work.lanes.ctypes.data, work.powers.ctypes.data
        waiting = 0
        for r in range(n):
            if r % TILE == 0:
                read_targets(p, lo, r, min(r + TILE, n), card)
            row = p.scores + (lo + r) * p.stride
            t = whole[sc.TARGET, r]
            z_t = real[sc.P_TARGET, r]
            for first in range(0, p.classes, SPAN):
                count = min(SPAN, p.classes - first)
                here = row + first * size
                fetch_ahead(here, count * size)
                # Two loops, since one has too many numbers under way for the processor to look ahead.
                split_row(here, count, z_t, scratch)
                if first <= t < first + count:
                    leave_out(scratch, t - first)
                raise_lanes(scratch, (count + 7) // 8 * 8, waiting * LANES, powers)
                work.labels[waiting] = r
                waiting += 1
                if waiting == TILE:
                    settle_spans(card, work, waiting)
                    waiting = 0
                if full:
                    order_span(row, first, count, t, z_t, card, r)
        settle_spans(card, work, waiting)
        rough = False
        for i in range(0, n, 8):
            z_t = fetch(real[sc.P_TARGET], i, 8)
            s = fetch(real[sc.LOSS], i, 8) + fetch(real[LOST], i, 8)
            store(real[sc.LOSS], i, s)
            if full:
                store(real[sc.BRIER], i, fetch(real[sc.BRIER], i, 8) + fetch(real[LOST_OF_SQUARES], i, 8))
                store(real[sc.CONFIDENCE], i, fetch(real[sc.CONFIDENCE], i, 8) - z_t)
            # NaN fails every comparison.
            fine = (s <= STEEP) & (z_t <= FARTHEST) & (z_t >= -FARTHEST)
            store(real[sc.SCRATCH], i, select(fine, splat(0.0, 8), splat(1.0, 8)))
            rough |= not all_lanes(fine)
        finish(real, whole, n)
        if rough:
            for i in range(n):
                if real[sc.SCRATCH, i] != 0.0:
                    unpack(p.scores + (lo + i) * p.stride, p.classes, work.row)
                    careful_row(work.row, p.classes, card, i)

    return rows


@cache
def across(kind: str, label: str, full: bool, columns: bool) -> Any:
    """The row kernel with one row a lane, for few classes, or (``columns``) for one array a class."""
    size = SIZE[kind]
    at, targets, transpose = tile_reader(kind, label, False, columns)
    wide = held_as(kind) == "float64"
    anchor_of = splitter(kind).anchor
    wait, _, _, raise_first, raise_more = terms(kind, full)
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
        for half in range(0, TILE, 8):
            z_t = fetch(work.lanes, Z_T + half, 8)
            t = fetch(work.labels, half, 8)
            home = widen(t) if wide else t
            top = load_first(table, kind, 8, 0)
            after = narrow(z_t, top)
            before = below(after)
            greater = as_ones(top > top, top)
            number = greater
            best = greater
            for j in range(classes):
                z = load(load_scalar(table + j * 8, "int64") + (row + half) * size, kind, 8)
                greater = greater - as_ones(z > select(number < home, before, after), z)
                best = select(z > top, number, best)
                top = maximum(z, top)
                number = number + 1
            store(card.real[sc.CONFIDENCE], i + half, widen(top) - z_t)
            store(card.whole[sc.RANK], i + half, narrow(greater, t))
            store(card.whole[sc.PREDICTED], i + half, narrow(best, t))

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
                raise_more(scratch, (last - first) * TILE, work.powers.ctypes.data)
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
