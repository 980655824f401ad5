"""Rows of independent labels -> the mean of their binary losses, or the sum.

The sum over a row is of two parts: label j belongs to lane j mod 8, a lane adds its losses in order, lanes are folded
by halves, and nothing is lost (`add_positives`). A label that does not count, and a lane without one, adds 0.

Two ways follow that definition. Where rows lie one after the other and only losses are wanted, their events are one
stream to `plain`, many short rows at a time, which is then summed row by row. Else, and where some event is not
plain, a row goes block by block, eight labels at a time.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import SIZE
from fastxent.kernels.rows.event_targets import are_hard, targets
from fastxent.kernels.rows.plain_events import CHUNK, ROOM, plain
from fastxent.kernels.rows.sigmoid import FORMS, Form, coefficients, hard_clipped, soft_clipped
from fastxent.kernels.rows.softmax import SPAN, add_exactly, add_positives, finite, fold_eight
from fastxent.kernels.vector.memory import fetch, load, load_whole, move, put, store
from fastxent.kernels.vector.simd import (
    LANES,
    any_lane,
    fill,
    fma,
    halving_sum,
    lane_numbers,
    maximum,
    select,
    shift_right,
    splat,
    splat_i64,
    widen,
)

__all__ = ["multilabel"]

# Places in `Work.lanes`: what `plain` splits, losses of a stream, sums of the lanes (of numbers, then of counters),
# and labels that were gathered.
SPLIT = 0
LOSSES = SPLIT + ROOM
LOSS, SQUARE, TOP, OWN, TALLY = (LOSSES + CHUNK + LANES * (k + 1) for k in range(5))
LOST = LOSS + 8
SCORES, TARGETS, WEIGHTS, MASK = (TALLY + LANES + (SPAN + 8) * k for k in range(4))
# Counters in one int64 lane, folded once a block of SPAN labels.
COUNTED = 1
WRONG = 1 << 16
CLAIMED = 1 << 32
TRUE = 1 << 48


@kernel(inline="always")
def add_losses(losses, count, s, lost):
    """Add the losses at an address to sums of eight lanes in two parts."""
    even = count // 8 * 8
    for j in range(0, even, 8):
        s, more = add_positives(s, load(losses + j * 8, "float64", 8))
        lost = lost + more
    if even < count:
        counts = widen(lane_numbers(8)) < count - even
        s, more = add_positives(s, select(counts, load(losses + even * 8, "float64", 8), splat(0.0, 8)))
        lost = lost + more
    return s, lost


@kernel(inline="always")
def mean_of(s, lost, count):
    """The mean of ``count`` losses (their sum: of 1), rounded once, from the sums of their lanes."""
    total, rest = fold_eight(s, lost)
    mean = total / count
    return mean + finite(total, (fma(mean * -1.0, count, total) + rest) / count)


@cache
def plain_rows(kind: str, target_kind: str) -> Any:
    """Kernels for rows of plain events: (of short rows, of one row of more than CHUNK labels)."""
    split, lose, _, _ = plain(kind, target_kind)
    size, target_size = SIZE[kind], SIZE[target_kind]

    @kernel(variant=f"{kind}-{target_kind}")
    def short_rows(p, lo, i, k, card, work):
        """Score k rows, at most CHUNK labels together, of plain events; False, and nothing done, if some are not."""
        at = work.lanes.ctypes.data
        labels = k * p.classes
        score, target = p.scores + (lo + i) * p.stride, p.target + (lo + i) * p.target_stride
        if not split(score, target, (labels + 7) // 8 * 8, at + SPLIT * 8):
            return False
        lose(at + SPLIT * 8, (labels + 7) // 8 * 8, work.softplus.ctypes.data, at + LOSSES * 8)
        over = 1 if p.summed else p.classes
        for r in range(k):
            losses = at + (LOSSES + r * p.classes) * 8
            s, lost = add_losses(losses, p.classes, splat(0.0, 8), splat(0.0, 8))
            card.real[sc.LOSS, i + r] = mean_of(s, lost, over)
            card.status[i + r] = sc.SCORED
        return True

    @kernel(variant=f"{kind}-{target_kind}")
    def long_row(p, lo, i, card, work):
        """The same for one row of more labels."""
        at = work.lanes.ctypes.data
        score, target = p.scores + (lo + i) * p.stride, p.target + (lo + i) * p.target_stride
        s, lost = splat(0.0, 8), splat(0.0, 8)
        for first in range(0, p.classes, SPAN):
            count = min(SPAN, p.classes - first)
            labels = (count + 7) // 8 * 8
            if not split(score + first * size, target + first * target_size, labels, at + SPLIT * 8):
                return False
            lose(at + SPLIT * 8, labels, work.softplus.ctypes.data, at + LOSSES * 8)
            s, lost = add_losses(at + LOSSES * 8, count, s, lost)
        card.real[sc.LOSS, i] = mean_of(s, lost, 1 if p.summed else p.classes)
        card.status[i] = sc.SCORED
        return True

    return short_rows, long_row


class Labels(NamedTuple):
    """Kernels for where labels of a row lie and which count.

    ``places(p, row, first)`` are the addresses of scores, targets, weights and mask from a label on, and
    ``gather(p, row, first, count, lanes)`` those of a copy in scratch, the last label until they are a multiple of 8.
    ``counting(p, y, mask, live)``: which of eight labels count, if the first ``live`` of them are labels.
    """

    places: Any
    gather: Any
    counting: Any


@cache
def labels_of(kind: str, target_kind: str, masked: bool) -> Labels:
    """How labels of these kinds are read."""
    size, target_size = SIZE[kind], SIZE[target_kind]
    name = f"{kind}-{target_kind}-{masked}"

    @kernel(variant=name)
    def gather(p, row, first, count, lanes):
        at = lanes.ctypes.data
        for place in range((count + 7) // 8 * 8):
            j = first + min(place, count - 1)
            move(at + SCORES * 8 + place * size, p.scores + row * p.stride + j * size, size)
            target = p.target + row * p.target_stride + j * target_size
            move(at + TARGETS * 8 + place * target_size, target, target_size)
            if p.pos_weight.size > 0:
                lanes[WEIGHTS + place] = p.pos_weight[j]
            if masked:
                move(at + MASK * 8 + place, p.mask + row * p.mask_stride + j, 1)
        return at + SCORES * 8, at + TARGETS * 8, at + WEIGHTS * 8, at + MASK * 8

    @kernel(variant=name, inline="always")
    def places(p, row, first):
        return (
            p.scores + row * p.stride + first * size,
            p.target + row * p.target_stride + first * target_size,
            p.pos_weight.ctypes.data + first * 8,
            p.mask + row * p.mask_stride + first,
        )

    @kernel(variant=name, inline="always")
    def counting(p, y, mask, live):
        counts = widen(lane_numbers(8)) < live
        if masked:
            counts = counts & (load_whole(mask, "uint8", 8) != 0)
        if p.has_ignore:
            counts = counts & (y != p.ignore)
        return counts

    return Labels(places, gather, counting)


@cache
def label_loss(form: Form, target_kind: str) -> Any:
    """The kernel for the losses of eight labels."""
    hard_loss, soft_loss, _, _, _ = FORMS[form]
    as_real = targets(target_kind, 8).as_real
    hard, clips = are_hard(target_kind), form == "probs"

    @kernel(variant=f"{form}-{target_kind}", inline="always")
    def losses(p, z, near, y, weights):
        if hard and p.pos_weight.size == 0 and p.smoothing == 0.0:
            if clips and p.clip >= 0.0:
                return hard_clipped(z, y, p.clip)
            return hard_loss(z, near, y)
        w = fill(1.0, z)
        if p.pos_weight.size > 0:
            w = load(weights, "float64", 8)
        c1, c0 = coefficients(as_real(y, z), 0.5 * p.smoothing, 1.0 - p.smoothing, w)
        if clips and p.clip >= 0.0:
            return soft_clipped(z, c1, c0, p.clip)
        return soft_loss(z, near, c1, c0)

    return losses


@cache
def score_adder(form: Form, target_kind: str) -> Any:
    """The kernel that adds all but the loss of eight labels to the sums of their lanes; it returns what to count."""
    _, _, chances, _, middle = FORMS[form]
    as_real = targets(target_kind, 8).as_real

    @kernel(variant=f"{form}-{target_kind}", inline="always")
    def add_scores(z, y, small, large, counts, at):
        zero = fill(0.0, z)
        e, u, _ = chances(z, small, large)
        t = as_real(y, z)
        miss = select(counts, select(e > 0.5, (t * -1.0 + 1.0) - u, t - e), zero)
        put(at + SQUARE * 8, fma(miss, miss, load(at + SQUARE * 8, "float64", 8)))
        put(at + TOP * 8, load(at + TOP * 8, "float64", 8) + select(counts, maximum(e, u), zero))
        put(at + OWN * 8, load(at + OWN * 8, "float64", 8) + select(counts, select(t >= 0.5, e, u), zero))
        nothing = splat_i64(0, 8)
        claims = select(z > middle, splat_i64(CLAIMED + WRONG, 8), nothing)
        truth = select(t >= 0.5, splat_i64(TRUE + WRONG, 8), nothing)
        # Both: the two marks of WRONG cancel.
        return claims ^ truth

    return add_scores


@cache
def block_adder(form: Form, kind: str, target_kind: str, full: bool, masked: bool) -> Any:
    """The kernel for the sums of the lanes over a block of a row, in scratch; it returns whether a label is faulty."""
    split, _, near_of, chances_of = plain(kind, target_kind)
    take, target_faults, _, _ = targets(target_kind, 8)
    score_faults = FORMS[form].faults
    places, gather, counting = labels_of(kind, target_kind, masked)
    losses, add_scores = label_loss(form, target_kind), score_adder(form, target_kind)
    size, target_size = SIZE[kind], SIZE[target_kind]
    logits = form == "logits"
    name = f"{form}-{kind}-{target_kind}-{full}-{masked}"

    @kernel(variant=name)
    def add_labels(p, at_labels, place, count, work):
        """Add ``count`` labels to the sums of the lanes from ``place`` on; whether some of them are faulty."""
        score, target, weights, mask = at_labels
        at, table = work.lanes.ctypes.data, work.softplus.ctypes.data
        if logits:
            split(score, target, (count + 7) // 8 * 8, at + SPLIT * 8)
        odd = splat_i64(0, 8)
        for k in range(0, count, 8):
            z = widen(load(score + k * size, kind, 8))
            y = take(target + k * target_size)
            near = near_of(at + SPLIT * 8, k, table) if logits else z
            counts = counting(p, y, mask + k, count - k)
            odd = odd | select(counts, score_faults(z) | target_faults(y), splat_i64(0, 8))
            lane = at + ((place + k) & (LANES - 1)) * 8
            loss = select(counts, losses(p, z, near, y, weights + k * 8), fill(0.0, z))
            s, lost = add_positives(load(at + LOSS * 8, "float64", 8), loss)
            put(at + LOSS * 8, s)
            put(at + LOST * 8, load(at + LOST * 8, "float64", 8) + lost)
            step = splat_i64(COUNTED, 8)
            if full:
                small, large = chances_of(at + SPLIT * 8, k, table) if logits else (z, z)
                step = step + add_scores(z, y, small, large, counts, lane)
            tally = load_whole(lane + TALLY * 8, "int64", 8)
            put(lane + TALLY * 8, tally + select(counts, step, splat_i64(0, 8)))
        return any_lane(odd != 0)

    @kernel(variant=f"{full}")
    def clear(at):
        put(at + TALLY * 8, splat_i64(0, LANES))
        if full:
            put(at + SQUARE * 8, splat(0.0, LANES))
            put(at + TOP * 8, splat(0.0, LANES))
            put(at + OWN * 8, splat(0.0, LANES))

    @kernel(variant=name)
    def add_block(p, row, first, count, work):
        clear(work.lanes.ctypes.data)
        even = count // 8 * 8
        odd = add_labels(p, places(p, row, first), 0, even, work)
        if even < count:
            odd |= add_labels(p, gather(p, row, first + even, count - even, work.lanes), even, count - even, work)
        return odd

    return add_block


@cache
def fault_finder(kind: str, target_kind: str, masked: bool) -> Any:
    """The kernel for what is wrong with a row of which some label is faulty: first targets, then NaN."""
    take, target_faults, _, bad_target = targets(target_kind, 8)
    _, gather, counting = labels_of(kind, target_kind, masked)

    @kernel(variant=f"{kind}-{target_kind}-{masked}")
    def fate_of(p, row, work):
        fate = sc.PROBABILITY_OUT_OF_RANGE
        for first in range(0, p.classes, 8):
            count = min(8, p.classes - first)
            score, target, _, mask = gather(p, row, first, count, work.lanes)
            z = widen(load(score, kind, 8))
            y = take(target)
            counts = counting(p, y, mask, count)
            if any_lane(counts & (target_faults(y) != 0)):
                return bad_target
            if any_lane(counts & (z != z)):
                fate = sc.NAN_PREDICTION
        return fate

    return fate_of


@cache
def row_scorer(form: Form, kind: str, target_kind: str, full: bool, masked: bool) -> Any:
    """The kernel that scores any row."""
    add_block = block_adder(form, kind, target_kind, full, masked)
    fate_of = fault_finder(kind, target_kind, masked)

    @kernel(variant=f"{form}-{kind}-{target_kind}-{full}-{masked}")
    def any_row(p, row, i, card, work):
        real, whole, status = card
        lanes = work.lanes
        odd = False
        counted = wrong = claimed = true = 0
        store(lanes, LOSS, splat(0.0, 16))
        brier = sure = right = 0.0
        brier_lost = sure_lost = right_lost = 0.0
        for first in range(0, p.classes, SPAN):
            odd |= add_block(p, row, first, min(SPAN, p.classes - first), work)
            counters = halving_sum(load_whole(lanes.ctypes.data + TALLY * 8, "int64", LANES))
            counted += counters & 0xFFFF
            if full:
                wrong += shift_right(counters, 16) & 0xFFFF
                claimed += shift_right(counters, 32) & 0xFFFF
                true += shift_right(counters, 48)
                brier, brier_lost = add_exactly(brier, brier_lost, halving_sum(fetch(lanes, SQUARE, LANES)))
                sure, sure_lost = add_exactly(sure, sure_lost, halving_sum(fetch(lanes, TOP, LANES)))
                right, right_lost = add_exactly(right, right_lost, halving_sum(fetch(lanes, OWN, LANES)))
        status[i] = fate_of(p, row, work) if odd else sc.SCORED if counted > 0 else sc.IGNORED
        real[sc.LOSS, i] = mean_of(fetch(lanes, LOSS, 8), fetch(lanes, LOST, 8), 1 if p.summed else counted)
        if full:
            real[sc.P_TARGET, i] = (right + right_lost) / counted
            real[sc.CONFIDENCE, i] = (sure + sure_lost) / counted
            real[sc.BRIER, i] = (brier + brier_lost) / counted
            real[sc.MARGIN, i] = 0.0
            whole[sc.TARGET, i] = true
            whole[sc.PREDICTED, i] = claimed
            whole[sc.RANK, i] = wrong

    return any_row


@cache
def multilabel(form: Form, kind: str, target_kind: str, full: bool, masked: bool = False) -> Any:
    """The row kernel for rows of independent labels; see `binary`.

    Targets are dense, of unit stride. A label counts if its mask holds (``masked``) and its target is not
    ``ignore``; a row in which none counts is ignored. ``pos_weight`` has one element a label, or none. When full,
    P_TARGET, CONFIDENCE and BRIER are means, RANK is the number of wrong labels, PREDICTED that of
    labels predicted, TARGET that of true ones, and MARGIN is 0.
    """
    short_rows, long_row = plain_rows(kind, target_kind)
    any_row = row_scorer(form, kind, target_kind, full, masked)
    size, target_size = SIZE[kind], SIZE[target_kind]
    streams = form == "logits" and not (full or masked)

    @kernel(variant=f"{form}-{kind}-{target_kind}-{full}-{masked}")
    def rows(p, lo, n, card, work):
        dense = p.stride == p.classes * size and p.target_stride == p.classes * target_size
        ignores = p.has_ignore and (p.ignore == 0 or p.ignore == 1)
        quick = streams and dense and not ignores and p.pos_weight.size == 0 and p.smoothing == 0.0
        i = 0
        while i < n:
            # `plain` reads whole eights, and not beyond the last row.
            whole = (n - i) * p.classes // 8 * 8 // p.classes
            k = min(whole, max(CHUNK // p.classes, 1)) if quick else 0
            done = False
            if streams and k > 0:
                done = short_rows(p, lo, i, k, card, work) if p.classes <= CHUNK else long_row(p, lo, i, card, work)
            k = max(k, 1)
            if not done:
                for r in range(k):
                    any_row(p, lo + i + r, i + r, card, work)
            i += k

    return rows
