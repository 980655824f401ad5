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
from fastxent.kernels.functions.powers import FARTHEST, splitter
from fastxent.kernels.rows.softmax import SPAN, STEEP, add_exactly, careful_row, finisher, terms
from fastxent.kernels.rows.tiles import AHEAD, LINE, SQUARES, TERMS, below, label_tiles, read_label
from fastxent.kernels.vector.memory import fetch, load, load_first, load_scalar, prefetch, store
from fastxent.kernels.vector.simd import (
    LANES,
    all_lanes,
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
# Rows of the scorecard that hold what sums lost, until they are finished; MARGIN may hold the sum of a row of
# log-probabilities, which are scored as logits are.
LOST, LOST_OF_SQUARES = sc.SCRATCH, sc.ENTROPY


@cache
def row_splitter(kind: str) -> Any:
    """The kernel that leaves ``count`` classes in scratch, and then none until they are a multiple of 8."""
    size = SIZE[kind]
    in_line = LINE // size
    anchor_of = splitter(kind).anchor
    wait = terms(kind, False).wait

    @kernel(variant=kind)
    def split_row(row, count, z_t, scratch):
        anchor = anchor_of(splat(z_t, 8))
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
    """The kernel for the rank of the target among up to SPAN classes from ``first`` on, and for the largest of them."""
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
        best = select(top == largest, best, fill(SPAN, best))
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

    @kernel(variant=f"{full}")
    def settle_spans(card, work, waiting):
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

    return settle_spans


@cache
def row_closer(full: bool) -> Any:
    """The kernel that closes the sums of rows and notes rough ones in SCRATCH; it returns whether there are some."""

    @kernel(variant=f"{full}", inline="always")
    def close_rows(real, n):
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
        return rough

    return close_rows


@cache
def along(kind: str, label: str, full: bool) -> Any:
    """The row kernel with the lanes within a row, for many classes; ``full`` asks for more than the loss."""
    size = SIZE[kind]
    leave_out, raise_lanes = terms(kind, full)[1:3]
    split_row, order_span, settle_spans = row_splitter(kind), orderer(kind), span_settler(full)
    read_targets, close_rows, finish = target_reader(kind, label, full), row_closer(full), finisher(kind, full)

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
                place = row + first * size
                # Two loops, since one has too many numbers under way for the processor to look ahead.
                split_row(place, count, z_t, scratch)
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
        rough = close_rows(real, n)
        finish(real, whole, n)
        if rough:
            for i in range(n):
                if real[sc.SCRATCH, i] != 0.0:
                    unpack(p.scores + (lo + i) * p.stride, p.classes, work.row)
                    careful_row(work.row, p.classes, card, i)

    return rows
