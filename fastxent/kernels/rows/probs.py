"""Probabilities or log-probabilities and a class index -> scores of a row.

1. The loss is -log(p_t), from the p_t that is stored, in float64. With ``normalize`` it is
   -log(p_t / sum p), taken as log(1 + q / p_t), q = sum over j != t of p_j: small p_j keep their
   relative accuracy in any float type, so a confident row's loss does too, while the p_t stored
   beside 1 has lost it (float32: 3e-8 absolute). A row of log-probabilities is normalized as logits are.
2. Every number of a row is looked at: NaN, and what is no probability, make the row invalid. A
   log-probability of a type narrower than float64 may exceed 0 by `SLACK`, as log-softmax in that type
   can; it counts as a loss of 0.
3. q has the association of `softmax`: class j in lane j mod 32 of block j div 256, lanes folded by
   halves, block sums added by TwoSum. The row sum q + p_t goes to MARGIN, whether it is used or not. The
   p_j of log-probabilities are those of `powers`.
4. ``clip`` (none below 0) bounds p_t to [clip, 1 - clip], after normalizing; the row is not
   normalized again. This is what scikit-learn does, and only the loss sees it.

`hard` has two loops for this, one row a lane for few classes or one array a class, and the lanes within
a row for many: the same bits for the same row.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import SIZE, TILE
from fastxent.kernels.functions.powers import splitter
from fastxent.kernels.functions.twofold import exp_less_one
from fastxent.kernels.functions.vecmath import exp, log, log1p
from fastxent.kernels.rows.row_sums import adder, power_adder, ranker, squarer
from fastxent.kernels.rows.softmax import SPAN, add_exactly, add_positives, terms
from fastxent.kernels.rows.softmax_across import fold_plainly
from fastxent.kernels.rows.softmax_along import along
from fastxent.kernels.rows.tiles import BEFORE, SQUARES, TERMS, Z_T, placer, read_label, tile_reader
from fastxent.kernels.vector.memory import fetch, load, load_first, load_scalar, store
from fastxent.kernels.vector.simd import (
    LANES,
    any_lane,
    first_lane,
    fma,
    maximum,
    minimum,
    narrow,
    select,
    splat,
    splat_i32,
    widen,
)

__all__ = ["SLACK", "bounded", "complement", "hard", "limits"]

#: What a log-probability of a narrow type may exceed 0 by: log-softmax in float32 rounds to a few 1e-7.
SLACK = 1e-6
#: Up to this many classes rows stand one a lane.
FEW = 64
INF = np.inf
# One more place in `Work.lanes`.
LOW = SQUARES + LANES * TILE


@kernel(inline="always")
def complement(loss):
    """1 - e^-loss for loss >= 0, right to 1 ulp however small."""
    return exp_less_one(loss * -1.0)[0] * -1.0


@kernel(inline="always")
def limits(clip):
    """The least and the greatest loss of a probability that is clipped to [clip, 1 - clip]; none if clip < 0."""
    return (-log(1.0 - clip), -log(clip)) if clip >= 0.0 else (0.0, INF)


@kernel(inline="always")
def bounded(loss, least, most):
    """The loss, not below ``least`` nor above ``most``; NaN stays."""
    return minimum(most, maximum(least, loss))


@cache
def finisher(form: str, full: bool) -> Any:
    """The kernel that makes scores of what `hard` reads from its rows."""
    logs = form == "log_probs"

    @kernel(variant=f"{form}-{full}")
    def finish(p, card, n):
        """p_t or its log (LOSS), q (SCRATCH), sum p_j^2, j != t (BRIER), greatest p or log (CONFIDENCE) -> scores."""
        real, whole, _ = card
        least, most = limits(p.clip)
        for i in range(0, n, TILE):
            p_t = fetch(real[sc.LOSS], i, TILE)
            q = fetch(real[sc.SCRATCH], i, TILE)
            share = splat(1.0, TILE)
            if logs:
                loss = maximum(0.0, p_t * -1.0)
                p_t = exp(p_t)
                mass = q + p_t
                if full:
                    wrong = complement(loss)
            else:
                loss = log(p_t) * -1.0
                mass = q + p_t
                wrong = p_t * -1.0 + 1.0
                if p.normalize:
                    ratio = q / p_t
                    # Beyond, p_t is next to nothing and log(1 + q / p_t) = log(q) - log(p_t).
                    loss = select(ratio < 1e300, log1p(ratio), loss + log(q))
                    share = mass
                    wrong = q / mass
                    p_t = p_t / mass
            store(real[sc.MARGIN], i, mass)
            store(real[sc.LOSS], i, bounded(loss, least, most) + 0.0)
            if full:
                top = fetch(real[sc.CONFIDENCE], i, TILE)
                if logs:
                    top = exp(top)
                store(real[sc.P_TARGET], i, p_t)
                first = fetch(whole[sc.RANK], i, TILE) == np.int32(0)
                store(real[sc.CONFIDENCE], i, select(first, p_t, top / share))
                store(real[sc.BRIER], i, fma(wrong, wrong, fetch(real[sc.BRIER], i, TILE) / share / share))

    return finish


@cache
def tiler(form: str, kind: str, full: bool) -> Any:
    """The kernel that reads TILE rows, one a lane."""
    size = SIZE[kind]
    logs = form == "log_probs"
    anchor_of = splitter(kind).anchor
    wait, _, _, raise_first, raise_more = terms(kind, full)

    @kernel(variant=f"{kind}-{full}", inline="always")
    def add_powers(table, first, last, work):
        """The terms of up to LANES classes, as `across` of `softmax` has them."""
        scratch, powers = work.lanes.ctypes.data, work.powers.ctypes.data
        anchor = anchor_of(splat(0.0, 8))
        none = load_first(table, kind, 8, 0)
        for half in range(0, TILE, 8):
            t = fetch(work.labels, half, 8)
            for j in range(first, last):
                x = load(load_scalar(table + j * 8, "int64") + half * size, kind, 8)
                wait(scratch, (j - first) * TILE + half, select(t == np.int32(j), none, x), anchor)
        if first % SPAN == 0:
            raise_first(scratch, (last - first) * TILE, powers)
        else:
            raise_more(scratch, (last - first) * TILE, powers)

    @kernel(variant=f"{form}-{kind}-{full}")
    def read_tile(table, classes, card, work, i):
        """The rows in the tile that ``table`` is of: q, sum of p_j^2, ranks, predicted; smallest score to LOW."""
        real, whole, _ = card
        lanes = work.lanes
        t = fetch(work.labels, 0, TILE)
        hole = load_first(table, kind, TILE, 0)
        after = narrow(fetch(lanes, Z_T, TILE), hole)
        before = narrow(fetch(lanes, BEFORE, TILE), hole)
        top = hole
        if not logs:
            hole = narrow(splat(0.0, TILE), hole)
        low = hole
        one = splat_i32(np.int32(1), TILE)
        best = splat_i32(np.int32(0), TILE)
        greater = best
        s = splat(0.0, TILE)
        s_lost = s
        q = s
        q_lost = s
        for first in range(0, classes, LANES):
            last = min(first + LANES, classes)
            if logs:
                add_powers(table, first, last, work)
            for j in range(first, last):
                x = load(load_scalar(table + j * 8, "int64"), kind, TILE)
                number = np.int32(j)
                if full:
                    greater = greater + select(x > select(t > number, before, after), one, one ^ one)
                    best = select(x > top, splat_i32(number, TILE), best)
                top = maximum(x, top)
                if not logs:
                    low = minimum(x, low)
                    e = widen(select(t == number, hole, x))
                    s, lost = add_positives(s, e)
                    s_lost = s_lost + lost
                    if full:
                        q = fma(e, e, q)
            if logs and (last % SPAN == 0 or last == classes):
                used = last - (last - 1) // SPAN * SPAN
                s, s_lost = add_exactly(s, s_lost, fold_plainly(lanes, TERMS, used))
                if full:
                    q, q_lost = add_exactly(q, q_lost, fold_plainly(lanes, SQUARES, used))
        store(real[sc.SCRATCH], i, s + s_lost)
        store(real[sc.CONFIDENCE], i, widen(top))
        store(lanes, LOW, widen(low))
        if full:
            store(real[sc.BRIER], i, q + q_lost)
            store(whole[sc.RANK], i, greater)
            store(whole[sc.PREDICTED], i, best)

    return read_tile


def bounds(form: str, kind: str) -> tuple[float, float]:
    """The least and the greatest number of a kind that is a probability, or the logarithm of one."""
    if form == "probs":
        return 0.0, 1.0
    return -INF, 0.0 if kind == "float64" else SLACK


@cache
def zero_ranker(kind: str) -> Any:
    """The kernel for the rank of a target with log 0: no threshold lies below that."""
    at = placer(kind, False)

    @kernel(variant=kind)
    def rank_of_zero(p, row, t):
        rank = 0
        for j in range(p.classes):
            rank += load_scalar(at(p, row, j), kind) > -INF or j < t
        return rank

    return rank_of_zero


@cache
def judge_of(form: str, kind: str) -> Any:
    """The kernel that checks a row: are its scores but the target's ``fit``, all of them 0 (``empty``).

    A row that is not fine gets no sum.
    """
    lowest, highest = bounds(form, kind)
    at = placer(kind, False)

    @kernel(variant=kind)
    def blame(p, row, fine):
        """Why a row cannot be scored."""
        for j in range(p.classes):
            x = load_scalar(at(p, row, j), kind)
            if x != x:
                return sc.NAN_PREDICTION
        return sc.ZERO_MASS if fine else sc.PROBABILITY_OUT_OF_RANGE

    @kernel(variant=f"{form}-{kind}", inline="always")
    def judge(p, row, card, i, fit, empty):
        real, _, status = card
        q, x_t = real[sc.SCRATCH, i], real[sc.LOSS, i]
        fine = fit and q == q and lowest <= x_t <= highest
        if not fine:
            real[sc.SCRATCH, i] = np.nan
        if (not fine or (p.normalize and empty and x_t == lowest)) and status[i] == sc.SCORED:
            status[i] = blame(p, row, fine)

    return judge


@cache
def locator(kind: str) -> Any:
    """The kernel for the first class with a score of this value."""
    size = SIZE[kind]

    @kernel(variant=kind, inline="always")
    def position(row, classes, value):
        like = narrow(value, load_first(row, kind, LANES, 0))
        for j in range(0, classes, LANES):
            count = min(LANES, classes - j)
            x = load_first(row + j * size, kind, LANES, count)
            lane = first_lane(x == like)
            if lane < count:
                return j + lane
        return 0

    return position


@cache
def row_reader(form: str, kind: str, full: bool) -> Any:
    """The kernel that reads a row whose label is in the scorecard, the lanes within it."""
    size = SIZE[kind]
    logs = form == "log_probs"
    lowest, highest = bounds(form, kind)
    add_up, add_squares, add_powers = adder(kind)[0], squarer(kind), power_adder(kind, full)
    order, position, rank_of_zero = ranker(kind), locator(kind), zero_ranker(kind)
    judge = judge_of(form, kind)

    @kernel(variant=f"{form}-{kind}-{full}", inline="always")
    def read_row(p, row, card, i, work):
        real, whole, _ = card
        place = p.scores + row * p.stride
        t = np.int64(whole[sc.TARGET, i])
        x_t = load_scalar(place + t * size, kind)
        if logs:
            q, squares, top = add_powers(place, p.classes, t, work.lanes, work.powers.ctypes.data)
            fit, empty = top <= highest, top == lowest
        else:
            squares = 0.0
            q, fit = add_up(place, p.classes, t, p.normalize)
            empty = q == 0.0
        real[sc.LOSS, i] = x_t
        real[sc.SCRATCH, i] = q
        if full:
            rank, top = order(place, p.classes, t, x_t)
            if logs and x_t == -INF:
                rank = rank_of_zero(p, row, t)
            real[sc.BRIER, i] = squares if logs else add_squares(place, p.classes, t)
            real[sc.CONFIDENCE, i] = top
            whole[sc.RANK, i] = rank
            whole[sc.PREDICTED, i] = t if rank == 0 else position(place, p.classes, top)
        judge(p, row, card, i, fit, empty)

    return read_row


@cache
def hard(form: str, kind: str, label: str, full: bool) -> Any:
    """The row kernel for ``form`` "probs" or "log_probs"; ``full`` asks for more than the loss and the row sum."""
    logs = form == "log_probs"
    lowest, highest = bounds(form, kind)
    read_row, read_tile, finish = row_reader(form, kind, full), tiler(form, kind, full), finisher(form, full)
    judge, rank_of_zero, as_logits = judge_of(form, kind), zero_ranker(kind), along(kind, label, full)
    targets, transpose = tile_reader(kind, label, full, False)

    @kernel(variant=f"{form}-{kind}-{label}-{full}")
    def long_rows(p, lo, n, card, work):
        for i in range(n):
            card.whole[sc.TARGET, i], card.status[i] = read_label(p, lo + i, label)
            read_row(p, lo + i, card, i, work)

    @kernel(variant=f"{form}-{kind}-{label}-{full}")
    def short_rows(p, lo, n, card, work):
        real, whole, _ = card
        for i in range(0, n, TILE):
            count = min(TILE, n - i)
            targets(p, lo + i, count, card, work, i)
            store(real[sc.LOSS], i, fetch(work.lanes, Z_T, TILE))
            transpose(p, lo + i, count, work.table[0])
            read_tile(work.table.ctypes.data, p.classes, card, work, i)
            if full and logs:
                for r in range(count):
                    if work.lanes[Z_T + r] == -INF:
                        whole[sc.RANK, i + r] = rank_of_zero(p, lo + i + r, work.labels[r])
            q = fetch(real[sc.SCRATCH], i, TILE)
            x_t = fetch(work.lanes, Z_T, TILE)
            top = fetch(real[sc.CONFIDENCE], i, TILE)
            bad = (q != q) | (fetch(work.lanes, LOW, TILE) < lowest) | (top > highest) | (x_t != x_t)
            if p.normalize or any_lane(bad):
                for r in range(count):
                    least, most = work.lanes[LOW + r], real[sc.CONFIDENCE, i + r]
                    judge(p, lo + i + r, card, i + r, least >= lowest and most <= highest, most == lowest)

    @kernel(variant=f"{form}-{kind}-{label}-{full}")
    def rows(p, lo, n, card, work):
        if p.classes <= FEW:
            short_rows(p, lo, n, card, work)
        else:
            long_rows(p, lo, n, card, work)
        finish(p, card, n)
        if logs and p.normalize:
            # The row sums (NaN where there are none) stay; the scores are those of logits.
            real, _, status = card
            as_logits(p, lo, n, card, work)
            least, most = limits(p.clip)
            for i in range(n):
                if status[i] == sc.ALL_MASKED:
                    status[i] = sc.ZERO_MASS
                elif status[i] == sc.INFINITE_LOGIT or (
                    status[i] == sc.SCORED and real[sc.MARGIN, i] != real[sc.MARGIN, i]
                ):
                    status[i] = sc.PROBABILITY_OUT_OF_RANGE
                real[sc.LOSS, i] = bounded(real[sc.LOSS, i], least, most)

    return rows
