"""The loop of `softmax` with one row a lane, for few classes, or for one array a class."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import SIZE, TILE
from fastxent.kernels.functions.powers import held_as, splitter
from fastxent.kernels.rows.softmax import (
    add_exactly,
    careful_row,
    finisher,
    fold_tile,
    left_of,
    span_of,
    span_raiser,
    terms,
)
from fastxent.kernels.rows.tiles import SQUARES, Z_T, below, placer, tile_reader
from fastxent.kernels.vector.memory import fetch, load, load_first, load_scalar, store
from fastxent.kernels.vector.simd import LANES, as_ones, maximum, narrow, select, splat, widen

__all__ = ["across", "fold_plainly"]


@cache
def across(kind: str, label: str, full: bool, columns: bool) -> Any:
    """The row kernel with one row a lane, for few classes, or (``columns``) for one array a class."""
    size = SIZE[kind]
    targets, transpose = tile_reader(kind, label, False, columns)
    at = placer(kind, columns)
    wide = held_as(kind) == "float64"
    anchor_of = splitter(kind).anchor
    wait = terms(kind, full).wait
    raise_span, fold = span_raiser(kind, full), fold_tile(TILE)
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
        spread = span_of(classes)
        quarter, left = spread // 4, left_of(spread)
        for first in range(0, classes, spread):
            last = min(first + spread, classes)
            used = min(left, last - first)
            split_tile(table, row, first, last, work.labels, scratch)
            raise_span(scratch, (last - first) * TILE, quarter * TILE, left * TILE, 0, work.powers.ctypes.data)
            span, lost = fold(lanes, used)
            s, s_lost = add_exactly(s, s_lost, span)
            s_lost = s_lost + lost
            if full:
                q, q_lost = add_exactly(q, q_lost, fold_plainly(lanes, SQUARES, used))
        store(card.real[sc.LOSS], i, s)
        store(card.real[sc.SCRATCH], i, s_lost)
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
        for i in range(0, n, TILE):
            count = min(TILE, n - i)
            targets(p, lo + i, count, card, work, i)
            table, row = p.scores, lo + i
            if not columns or count < TILE:
                transpose(p, lo + i, count, work.table[0])
                table, row = work.table.ctypes.data, 0
            score_tile(table, row, p.classes, card, work, i)
            store(real[sc.P_TARGET], i, fetch(work.lanes, Z_T, TILE))
        if finish(real, card.whole, n):
            for i in range(n):
                if real[sc.SCRATCH, i] != 0.0:
                    unpack(p, lo + i, work.row)
                    careful_row(work.row, p.classes, card, i)

    return rows


@kernel(inline="always")
def fold_plainly(lanes, start, terms):
    """The halving sum over up to LANES vectors of TILE; lanes without a term add nothing."""
    used = min(terms, LANES)
    half = LANES // 2
    while half > 0:
        for lane in range(used - half):
            place = start + lane * TILE
            store(lanes, place, fetch(lanes, place, TILE) + fetch(lanes, place + half * TILE, TILE))
        used = min(used, half)
        half //= 2
    return fetch(lanes, start, TILE)
