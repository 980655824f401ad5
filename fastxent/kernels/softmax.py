"""Logits and a class index -> scores of a row: cross-entropy, rank, confidence, Brier.

1. The loss of a row is log(1 + S), S = sum over j != t of exp(z_j - z_t), in float64: one pass, no
   maximum, no cancellation, relative accuracy from 1e-300 to 340 nats.
2. S has one definition, which decides its bits: class j belongs to lane j mod 32 of block j div 256;
   a lane adds its terms in order, each by one fma; the 32 lanes of a block are folded by halves;
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
    as_bits,
    as_float,
    as_ones,
    fetch,
    first_lane,
    fma,
    halving_sum,
    lane_max,
    lane_numbers,
    load,
    load_first,
    load_scalar,
    maximum,
    minimum,
    move,
    narrow,
    select,
    splat,
    splat_i32,
    store,
    widen,
)
from fastxent.kernels.vecmath import EXP_HIGH, EXP_LOW, exp, log, log1p, reduced_exp

__all__ = ["across", "along"]

#: Classes of one partial sum: 8 terms a lane, so that no term meets more than a few roundings.
SPAN = 256
#: A row whose S exceeds this (e^339.6, its square is finite) takes the careful way.
STEEP = 2.0**490
#: So does a row whose target's logit is larger than this: z_t + EXP_LOW, rounded to float32, must stay
#: where the scale of e^x is exactly 0.
MODERATE = 2.0**19
INF = np.inf


@kernel(inline="always")
def below(x):
    """The next smaller number of x's own type (float64 here; float32 lanes use `below32`)."""
    bits = as_bits(x + 0.0)
    if bits > 0:
        return as_float(bits - 1)
    if bits == 0:
        return -5e-324
    return as_float(bits + 1)


@kernel(inline="always")
def below32(x):
    """The next smaller float32 of a float64 that holds a float32 value, as float64."""
    return np.float64(_below32(np.float32(x)))


@kernel(inline="always")
def _below32(x):
    bits = as_bits(np.float32(x + np.float32(0.0)))
    if bits > 0:
        return as_float(np.int32(bits - 1))
    if bits == 0:
        return np.float32(-1e-45)
    return as_float(np.int32(bits + 1))


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


@kernel(inline="always")
def read_label(p, index, kind):
    """The label and its status; an ignored or impossible label comes back as class 0."""
    t = load_scalar(p.target + index * p.target_stride, kind)
    if p.has_ignore and t == p.ignore:
        return np.int64(0), sc.IGNORED
    if t < 0 or t >= p.classes:
        return np.int64(0), sc.LABEL_OUT_OF_RANGE
    return t, sc.SCORED


@cache
def along(kind: str, label: str, full: bool) -> Any:
    """The row kernel with the lanes within a row, for many classes; ``full`` asks for more than the loss."""
    size = SIZE[kind]
    narrow_kind = kind != "float64"

    @kernel(variant=f"{kind}-{full}", inline="always")
    def add_terms(z, z_t, low, high, lanes, start, count):
        """Add exp(z - z_t), and its square, to ``count`` lanes; below ``low`` a term is exactly 0."""
        p, scale = reduced_exp(widen(minimum(high, maximum(low, z))) - z_t)
        store(lanes, start, fma(p, scale, fetch(lanes, start, count)))
        if full:
            e = p * scale
            store(lanes, LANES + start, fma(e, e, fetch(lanes, LANES + start, count)))

    @kernel(variant=f"{kind}-{full}", inline="always")
    def sums(row, classes, t, z_t, lanes):
        """S and Q: the terms of the classes other than t, and their squares."""
        home = t // LANES
        groups = (classes + LANES - 1) // LANES
        whole_groups = classes // LANES
        none = load_first(row, kind, 1, 0)
        low = narrow(z_t + EXP_LOW, none)
        high = narrow(z_t + EXP_HIGH, none)
        s = 0.0
        s_lost = 0.0
        q = 0.0
        q_lost = 0.0
        for first in range(0, groups, SPAN // LANES):
            last = min(first + SPAN // LANES, groups)
            store(lanes, 0, splat(0.0, LANES))
            store(lanes, LANES, splat(0.0, LANES))
            for half in range(2):
                if half == 0:
                    lo, hi, edge = first, min(last, home, whole_groups), home
                else:
                    lo, hi, edge = max(first, home + 1), min(last, whole_groups), groups - 1
                    if edge == home or whole_groups == groups:
                        edge = -1
                # 16 lanes at a time and running sums in memory: with 32, or with sums in registers, AVX2 has
                # too few registers and spills (3.3 GB/s against 4.6).
                for g in range(2 * lo, 2 * hi):
                    z = load(row + g * (16 * size), kind, 16)
                    add_terms(z, z_t, low, high, lanes, (g & 1) * 16, 16)
                if first <= edge < last:
                    # The group of the target, or the end of the row: no more lanes than there are classes.
                    count = min(LANES, classes - edge * LANES)
                    for start in range(0, count, 8):
                        z = load_first(row + (edge * LANES + start) * size, kind, 8, min(8, count - start))
                        here = lane_numbers(8) == np.int32(t - edge * LANES - start)
                        z = select(here, load_first(row, kind, 8, 0), z)
                        add_terms(z, z_t, low, high, lanes, start, 8)
            s, s_lost = add_exactly(s, s_lost, halving_sum(fetch(lanes, 0, LANES)))
            if full:
                q, q_lost = add_exactly(q, q_lost, halving_sum(fetch(lanes, LANES, LANES)))
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
        before = narrow(below32(z_t) if narrow_kind else below(z_t), none)
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
    narrow_kind = kind != "float64"

    @kernel(variant=f"{kind}-{full}")
    def score_tile(table, row, classes, card, work, i):
        """S, Q, rank, predicted class and max z_j - z_t of TILE rows from ``row`` on of the arrays in ``table``."""
        real, whole, _ = card
        lanes = work.lanes
        z_t = fetch(lanes, Z_T, TILE)
        t = fetch(work.labels, 0, TILE)
        none = load_first(table, kind, TILE, 0)
        after = narrow(z_t, none)
        before = narrow(fetch(lanes, BEFORE, TILE), none)
        low = narrow(z_t + EXP_LOW, none)
        high = narrow(z_t + EXP_HIGH, none)
        top = none
        best = splat_i32(np.int32(0), TILE)
        greater = best
        s = splat(0.0, TILE)
        s_lost = s
        q = s
        q_lost = s
        for first in range(0, classes, SPAN):
            last = min(first + SPAN, classes)
            for j in range(first, last):
                z = load(load_scalar(table + j * 8, "int64") + row * size, kind, TILE)
                number = np.int32(j)
                p, scale = reduced_exp(widen(minimum(high, maximum(low, select(t == number, none, z)))) - z_t)
                place = (j % LANES) * TILE
                if full:
                    e = p * scale
                    # Lanes of 32 bits stay so: a mask of float64 lanes is not mixed with one of int32 lanes.
                    ahead = z > select(t > number, before, after)
                    greater = greater + select(ahead, splat_i32(np.int32(1), TILE), splat_i32(np.int32(0), TILE))
                    best = select(z > top, splat_i32(number, TILE), best)
                    top = maximum(z, top)
                if j - first < LANES:
                    store(lanes, TERMS + place, p * scale)
                    if full:
                        store(lanes, SQUARES + place, e * e)
                else:
                    store(lanes, TERMS + place, fma(p, scale, fetch(lanes, TERMS + place, TILE)))
                    if full:
                        store(lanes, SQUARES + place, fma(e, e, fetch(lanes, SQUARES + place, TILE)))
            s, s_lost = add_exactly(s, s_lost, fold(lanes, TERMS, last - first))
            if full:
                q, q_lost = add_exactly(q, q_lost, fold(lanes, SQUARES, last - first))
        store(real[sc.LOSS], i, s + s_lost)
        if full:
            store(real[sc.CONFIDENCE], i, widen(top) - z_t)
            store(real[sc.BRIER], i, q + q_lost)
            store(whole[sc.RANK], i, greater)
            store(whole[sc.PREDICTED], i, best)

    @kernel(variant=f"{kind}-{columns}", inline="always")
    def at(p, row, j):
        """The address of one score."""
        if columns:
            return load_scalar(p.scores + j * 8, "int64") + row * size
        return p.scores + row * p.stride + j * size

    @kernel(variant=f"{kind}-{columns}", inline="always")
    def transpose(p, row, count, tile):
        """Copy ``count`` rows class by class; the last one fills up the tile."""
        for r in range(TILE):
            source = row + min(r, count - 1)
            for j in range(p.classes):
                move(tile + (j * TILE + r) * size, at(p, source, j), size)

    @kernel(variant=f"{kind}-{columns}", inline="always")
    def unpack(p, row, scratch):
        for j in range(p.classes):
            scratch[j] = load_scalar(at(p, row, j), kind)

    @kernel(variant=f"{kind}-{label}-{full}-{columns}")
    def rows(p, lo, n, card, work):
        real, whole, status = card
        rough = 0
        for i in range(0, n, TILE):
            count = min(TILE, n - i)
            for r in range(TILE):
                index = lo + i + min(r, count - 1)
                t, fate = read_label(p, index, label)
                z = load_scalar(at(p, index, t), kind)
                work.labels[r] = t
                work.lanes[Z_T + r] = z
                work.lanes[BEFORE + r] = below32(z) if narrow_kind else below(z)
                whole[sc.TARGET, i + r] = t
                status[i + r] = fate
            if columns and count == TILE:
                score_tile(p.scores, lo + i, p.classes, card, work, i)
            else:
                transpose(p, lo + i, count, work.table[0])
                score_tile(work.table.ctypes.data, 0, p.classes, card, work, i)
            for r in range(i, i + count):
                fine = real[sc.LOSS, r] <= STEEP and abs(work.lanes[Z_T + r - i]) <= MODERATE
                real[sc.SCRATCH, r] = 0.0 if fine else 1.0
                rough += not fine
        finish(real, whole, n, full)
        if rough > 0:
            for i in range(n):
                if real[sc.SCRATCH, i] != 0.0:
                    unpack(p, lo + i, work.row)
                    careful_row(work.row, p.classes, card, i)

    return rows


# Places in `Work.lanes`.
Z_T = 0
BEFORE = TILE
TERMS = 2 * TILE
SQUARES = TERMS + LANES * TILE


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
