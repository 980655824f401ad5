"""The loop of `softmax` with the lanes within a row, for many classes.

The sums of spans, of several rows too, wait to be folded together, and labels are read a tile at a time: one by one,
nothing else can be done until they are known, a quarter of the time of a row of 100 classes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import SIZE, TILE
from fastxent.kernels.functions.powers import splitter
from fastxent.kernels.rows.softmax import (
    add_exactly,
    careful_row,
    finisher,
    fold_spans,
    left_of,
    span_of,
    span_raiser,
    terms,
)
from fastxent.kernels.rows.tiles import (
    AHEAD,
    LINE,
    SQUARES,
    Z_T,
    below,
    label_tiles,
    read_label,
)
from fastxent.kernels.vector.memory import fetch, load, load_first, load_scalar, prefetch, store
from fastxent.kernels.vector.simd import (
    LANES,
    as_ones,
    fill,
    halving_sum,
    lane_max,
    lane_min,
    maximum,
    narrow,
    numbers_like,
    select,
    splat,
)

__all__ = ["along"]

INF = np.inf
# A place in `Work.lanes`, of the sums of eight spans.
SPANS = Z_T
#: Classes that are put in order at a time.
MOST = 256
# Rows of the scorecard that hold what sums lost, until they are finished; MARGIN may hold the sum of a row of
# log-probabilities, which are scored as logits are.
LOST, LOST_OF_SQUARES = sc.SCRATCH, sc.ENTROPY


@cache
def row_splitter(kind: str) -> Any:
    """The kernel that leaves ``count`` classes in scratch, and then none until they are a multiple of 8."""
    size = SIZE[kind]
    in_line = LINE // size
    wait = terms(kind, False).wait

    @kernel(variant=kind)
    def split_row(row, count, anchor, scratch):
        lines = count // in_line * in_line
        even = count // 8 * 8
        for j in range(0, lines, in_line):
            prefetch(row + (AHEAD + j * size))
            for k in range(j, j + in_line, 8):
                wait(scratch, k, load(row + k * size, kind, 8), anchor)
        if lines < count:
            prefetch(row + (AHEAD + lines * size))
        for j in range(lines, even, 8):
            wait(scratch, j, load(row + j * size, kind, 8), anchor)
        if even < count:
            wait(scratch, even, load_first(row + even * size, kind, 8, count - even), anchor)

    return split_row


@cache
def orderer(kind: str) -> Any:
    """The kernel for the rank of the target among up to MOST classes from ``first`` on, and for the largest of them."""
    size = SIZE[kind]

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
        best = select(top == largest, best, fill(MOST, best))
        return halving_sum(greater), np.float64(largest), np.int64(lane_min(best))

    @kernel(variant=f"{kind}", inline="always")
    def order_span(row, first, count, t, z_t, card, r):
        real, whole, _ = card
        after = narrow(splat(z_t, 8), load_first(row, kind, 8, 0))
        ahead, highest, best = order(row + first * size, count, t - first, below(after), after)
        whole[sc.RANK, r] += ahead
        if highest > real[sc.CONFIDENCE, r]:
            real[sc.CONFIDENCE, r] = highest
            whole[sc.PREDICTED, r] = first + best

    return order_span


@cache
def target_reader(kind: str, label: str, full: bool) -> Any:
    """The kernel for labels of rows i to stop, for their scores, and for sums of nothing."""
    size = SIZE[kind]
    read_labels = label_tiles(label)

    @kernel(variant=f"{kind}-{label}-{full}", inline="always")
    def read_targets(p, lo, i, stop, card):
        real, whole, status = card
        if stop - i < TILE or not read_labels(p, lo + i, card, i):
            for r in range(i, stop):
                whole[sc.TARGET, r], status[r] = read_label(p, lo + r, label)
        for r in range(i, stop):
            z_t = load_scalar(p.scores + (lo + r) * p.stride + whole[sc.TARGET, r] * size, kind)
            real[sc.P_TARGET, r] = z_t
        for r in range(i, stop):
            real[sc.LOSS, r] = 0.0
        for r in range(i, stop):
            real[LOST, r] = 0.0
        if full:
            for r in range(i, stop):
                real[sc.BRIER, r] = 0.0
                real[LOST_OF_SQUARES, r] = 0.0
                real[sc.CONFIDENCE, r] = -INF
                whole[sc.RANK, r] = 0
                whole[sc.PREDICTED, r] = 0

    return read_targets


@cache
def span_settler(full: bool) -> Any:
    """The kernel that adds sums of spans that wait to those of their rows: many at once, since each takes long."""

    @kernel(variant=f"{full}", inline="always")
    def settle_squares(card, work, k, r):
        real = card.real
        span = halving_sum(fetch(work.lanes, SQUARES + k * LANES, 8))
        real[sc.BRIER, r], real[LOST_OF_SQUARES, r] = add_exactly(real[sc.BRIER, r], real[LOST_OF_SQUARES, r], span)

    @kernel(variant=f"{full}")
    def settle_spans(card, work, waiting, alone):
        """``alone``: every row has one span, and those of eight rows in a row wait here."""
        real, lanes = card.real, work.lanes
        for first in range(0, waiting, 8):
            spans, lost = fold_spans(lanes, first * LANES)
            if alone:
                store(real[sc.LOSS], work.labels[first], spans)
                store(real[LOST], work.labels[first], lost)
            else:
                store(lanes, SPANS, spans)
                store(lanes, SPANS + 8, lost)
                for k in range(first, min(first + 8, waiting)):
                    r = work.labels[k]
                    total, more = add_exactly(real[sc.LOSS, r], real[LOST, r], lanes[SPANS + k - first])
                    real[sc.LOSS, r], real[LOST, r] = total, more + lanes[SPANS + 8 + k - first]
        if full:
            for k in range(waiting):
                settle_squares(card, work, k, work.labels[k])

    return settle_spans


@kernel(inline="always")
def close_rows(real, n):
    """Close the sums of squares, and tell max z_j - z_t of the rows."""
    for i in range(0, n, 8):
        store(real[sc.BRIER], i, fetch(real[sc.BRIER], i, 8) + fetch(real[LOST_OF_SQUARES], i, 8))
        store(real[sc.CONFIDENCE], i, fetch(real[sc.CONFIDENCE], i, 8) - fetch(real[sc.P_TARGET], i, 8))


@cache
def along(kind: str, label: str, full: bool) -> Any:
    """The row kernel with the lanes within a row, for many classes; ``full`` asks for more than the loss."""
    size = SIZE[kind]
    anchor_of = splitter(kind).anchor
    leave_out, raise_span = terms(kind, full).leave_out, span_raiser(kind, full)
    split_row, order_span, settle_spans = row_splitter(kind), orderer(kind), span_settler(full)
    read_targets, finish = target_reader(kind, label, full), finisher(kind, full)

    @kernel(variant=f"{kind}", inline="always")
    def unpack(row, classes, scratch):
        for j in range(classes):
            scratch[j] = load_scalar(row + j * size, kind)

    @kernel(variant=f"{kind}-{label}-{full}")
    def rows(p, lo, n, card, work):
        real, whole, _ = card
        scratch, powers = work.lanes.ctypes.data, work.powers.ctypes.data
        span = span_of(p.classes)
        quarter, left = span // 4, left_of(span)
        waiting = 0
        for r in range(n):
            if r % TILE == 0:
                read_targets(p, lo, r, min(r + TILE, n), card)
            row = p.scores + (lo + r) * p.stride
            t = whole[sc.TARGET, r]
            z_t = real[sc.P_TARGET, r]
            anchor = anchor_of(splat(z_t, 8))
            for first in range(0, p.classes, span):
                count = min(span, p.classes - first)
                place = row + first * size
                # Two loops, since one has too many numbers under way for the processor to look ahead.
                split_row(place, count, anchor, scratch)
                if first <= t < first + count:
                    leave_out(scratch, t - first)
                raise_span(scratch, (count + 7) // 8 * 8, quarter, left, waiting * LANES, powers)
                work.labels[waiting] = r
                waiting += 1
                if waiting == TILE:
                    settle_spans(card, work, waiting, p.classes <= span)
                    waiting = 0
            if full:
                for first in range(0, p.classes, MOST):
                    order_span(row, first, min(MOST, p.classes - first), t, z_t, card, r)
        settle_spans(card, work, waiting, p.classes <= span)
        if full:
            close_rows(real, n)
        if finish(real, whole, n):
            for i in range(n):
                if real[sc.SCRATCH, i] != 0.0:
                    unpack(p.scores + (lo + i) * p.stride, p.classes, work.row)
                    careful_row(work.row, p.classes, card, i)

    return rows
