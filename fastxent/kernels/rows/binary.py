"""One score a row -> binary cross-entropy: the row kernel of the formulas in `sigmoid`."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import SIZE, TILE
from fastxent.kernels.rows.event_targets import are_hard, targets
from fastxent.kernels.rows.plain_events import CHUNK, plain
from fastxent.kernels.rows.sigmoid import FORMS, Form, coefficients, hard_clipped, soft_clipped
from fastxent.kernels.vector.memory import load, move, store, store_bytes
from fastxent.kernels.vector.simd import any_lane, maximum, select, splat_i32, splat_i64, widen

__all__ = ["binary"]

# Places in `Work.lanes`: scores and targets that were not dense, this many at a time, and what `plain` splits.
GATHERED = 4 * TILE
SCORES = 0
TARGETS = GATHERED
SPLIT = 2 * GATHERED


@kernel(inline="always")
def pass_all(status, i, m):
    for k in range(i, i + m, TILE):
        store_bytes(status, k, splat_i64(sc.SCORED, TILE))


@cache
def screener(form: Form, kind: str, target_kind: str) -> Any:
    """The kernel for the status of m rows from i on; a word on the target comes before one on the score."""
    take, target_faults, _, bad_target = targets(target_kind, TILE)
    score_faults = FORMS[form].faults
    size, target_size = SIZE[kind], SIZE[target_kind]

    @kernel(variant=f"{form}-{kind}-{target_kind}")
    def screen(p, score, target, status, i, m):
        odd = splat_i64(0, TILE)
        for k in range(0, m, TILE):
            odd = odd | score_faults(widen(load(score + k * size, kind, TILE)))
            odd = odd | target_faults(take(target + k * target_size))
        if not (p.has_ignore or any_lane(odd != 0)):
            pass_all(status, i, m)
            return
        for k in range(0, m, TILE):
            z = widen(load(score + k * size, kind, TILE))
            y = take(target + k * target_size)
            fate = select(z != z, splat_i64(sc.NAN_PREDICTION, TILE), splat_i64(sc.PROBABILITY_OUT_OF_RANGE, TILE))
            fate = select(score_faults(z) == 0, splat_i64(sc.SCORED, TILE), fate)
            fate = select(target_faults(y) == 0, fate, splat_i64(bad_target, TILE))
            if p.has_ignore:
                fate = select(y == p.ignore, splat_i64(sc.IGNORED, TILE), fate)
            store_bytes(status, i + k, fate)

    return screen


# What follows takes from scratch what `plain` split.


@cache
def label_loser(form: Form, kind: str, target_kind: str) -> Any:
    """The kernel for the losses of hard labels without weight and smoothing."""
    hard_loss = FORMS[form].hard
    near_of = plain(kind, target_kind).near
    take, take_eight = targets(target_kind, TILE).take, targets(target_kind, 8).take
    size, target_size = SIZE[kind], SIZE[target_kind]
    clips, logits = form == "probs", form == "logits"

    @kernel(variant=f"{form}-{kind}-{target_kind}")
    def lose_hard(p, score, target, card, scratch, table, i, m):
        losses = card.real[sc.LOSS]
        if logits:
            for k in range(0, m, 8):
                z = load(score + k * size, kind, 8)
                near = near_of(scratch, k, table)
                store(losses, i + k, hard_loss(z, near, take_eight(target + k * target_size)))
            return
        for k in range(0, m, TILE):
            z = widen(load(score + k * size, kind, TILE))
            y = take(target + k * target_size)
            if clips and p.clip >= 0.0:
                store(losses, i + k, hard_clipped(z, y, p.clip))
            else:
                store(losses, i + k, hard_loss(z, z, y))

    return lose_hard


@cache
def loser(form: Form, kind: str, target_kind: str) -> Any:
    """The kernel for losses in general."""
    soft_loss = FORMS[form].soft
    near_of = plain(kind, target_kind).near
    take, _, real_of, _ = targets(target_kind, 8)
    size, target_size = SIZE[kind], SIZE[target_kind]
    clips, logits = form == "probs", form == "logits"

    @kernel(variant=f"{form}-{kind}-{target_kind}")
    def lose_soft(p, score, target, card, scratch, table, i, m):
        losses = card.real[sc.LOSS]
        w = p.pos_weight[0] if p.pos_weight.size > 0 else 1.0
        half = 0.5 * p.smoothing
        rest = 1.0 - p.smoothing
        for k in range(0, m, 8):
            z = widen(load(score + k * size, kind, 8))
            c1, c0 = coefficients(real_of(take(target + k * target_size), z), half, rest, w)
            if clips and p.clip >= 0.0:
                store(losses, i + k, soft_clipped(z, c1, c0, p.clip))
            elif logits:
                store(losses, i + k, soft_loss(z, near_of(scratch, k, table), c1, c0))
            else:
                store(losses, i + k, soft_loss(z, z, c1, c0))

    return lose_soft


@cache
def describer(form: Form, kind: str, target_kind: str) -> Any:
    """The kernel for all scores but the loss."""
    _, _, chances, _, middle = FORMS[form]
    chances_of = plain(kind, target_kind).chances
    take, _, real_of, _ = targets(target_kind, 8)
    size, target_size = SIZE[kind], SIZE[target_kind]
    logits = form == "logits"

    @kernel(variant=f"{form}-{kind}-{target_kind}")
    def describe(score, target, card, scratch, table, i, m):
        real, whole, _ = card
        for k in range(0, m, 8):
            z = widen(load(score + k * size, kind, 8))
            t = real_of(take(target + k * target_size), z)
            small, large = z, z
            if logits:
                small, large = chances_of(scratch, k, table)
            e, u, margin = chances(z, small, large)
            true = t >= 0.5
            # p - y without cancellation: 1 - p is known as well as p.
            miss = select(e > 0.5, (t * -1.0 + 1.0) - u, t - e)
            store(real[sc.P_TARGET], i + k, select(true, e, u))
            store(real[sc.CONFIDENCE], i + k, maximum(e, u))
            store(real[sc.P_ONE], i + k, e)
            store(real[sc.BRIER], i + k, miss * miss)
            store(real[sc.MARGIN], i + k, margin)
            one = splat_i32(np.int32(1), 8)
            none = splat_i32(np.int32(0), 8)
            label = select(true, one, none)
            predicted = select(z > middle, one, none)
            store(whole[sc.TARGET], i + k, label)
            store(whole[sc.PREDICTED], i + k, predicted)
            store(whole[sc.RANK], i + k, label ^ predicted)

    return describe


@cache
def copier(kind: str, target_kind: str) -> Any:
    """The kernel that copies ``count`` rows into scratch, the last one until the tile is full."""
    size, target_size = SIZE[kind], SIZE[target_kind]

    @kernel(variant=f"{kind}-{target_kind}")
    def copy(p, row, count, lanes):
        at = lanes.ctypes.data
        for r in range((count + TILE - 1) // TILE * TILE):
            source = row + min(r, count - 1)
            move(at + SCORES * 8 + r * size, p.scores + source * p.stride, size)
            move(at + TARGETS * 8 + r * target_size, p.target + source * p.target_stride, target_size)

    return copy


@cache
def binary(form: Form, kind: str, target_kind: str, full: bool) -> Any:
    """The row kernel for one score a row; ``full`` asks for more than the loss.

    Integer targets are hard labels, 0 or 1; float targets are soft ones, in [0, 1]. Smoothing, ``pos_weight`` and,
    for probs, ``clip`` apply to the loss only. When full, BRIER is (p - y)^2 (once, not for both classes), MARGIN
    is the logit, TARGET is y >= 1/2, P_TARGET the probability of that class and P_ONE that of class 1.
    """
    split, lose, _, _ = plain(kind, target_kind)
    kinds = form, kind, target_kind
    screen, lose_hard, lose_soft, describe = (make(*kinds) for make in (screener, label_loser, loser, describer))
    copy = copier(kind, target_kind)
    hard, logits = are_hard(target_kind), form == "logits"
    size, target_size = SIZE[kind], SIZE[target_kind]

    @kernel(variant=f"{form}-{kind}-{target_kind}-{full}")
    def rows(p, lo, n, card, work):
        unweighted = p.pos_weight.size == 0 and p.smoothing == 0.0
        dense = p.stride == size and p.target_stride == target_size
        scratch, table = work.lanes.ctypes.data + SPLIT * 8, work.softplus.ctypes.data
        losses = card.real[sc.LOSS].ctypes.data
        i = 0
        while i < n:
            if dense and n - i >= TILE:
                m = min(CHUNK, (n - i) // TILE * TILE)
                score = p.scores + (lo + i) * size
                target = p.target + (lo + i) * target_size
            else:
                m = min(GATHERED, n - i)
                copy(p, lo + i, m, work.lanes)
                m = (m + TILE - 1) // TILE * TILE
                score = work.lanes.ctypes.data + SCORES * 8
                target = work.lanes.ctypes.data + TARGETS * 8
            fine = logits and split(score, target, m, scratch)
            if fine and not (p.has_ignore and (p.ignore == 0 or p.ignore == 1)):
                pass_all(card.status, i, m)
            else:
                screen(p, score, target, card.status, i, m)
            if logits and fine and unweighted:
                lose(scratch, m, table, losses + i * 8)
            elif hard and unweighted:
                lose_hard(p, score, target, card, scratch, table, i, m)
            else:
                lose_soft(p, score, target, card, scratch, table, i, m)
            if full:
                describe(score, target, card, scratch, table, i, m)
            i += m

    return rows
