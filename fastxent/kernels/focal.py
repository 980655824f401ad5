"""Focal loss: each part of a cross-entropy, faded by (1 - p)^gamma, p the probability of what it costs.

1. With L = -log p a part is (1 - p)^g L = (-expm1(-L))^g L, accurate for confident rows, where 1 - p as a
   difference is not. Lin et al. (2017) define it for one label; the factor alpha belongs to the weights.
2. Targets that are distributions: sum a_c (1 - p_c)^g (-log p_c), with a_c as in `soft`. A one-hot row is the
   label, to the last bit.
3. Events (binary and multilabel): (1 - p_t)^g times the cross-entropy of the event, with 1 - p_t = y' (1 - p) +
   (1 - y') p, y' the smoothed target: for 0 and 1 the definition, between them that of optax and torchvision.

Each of these runs after the row kernel of the cross-entropy, which knows which rows can be scored.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels import scorecard as sc
from fastxent.kernels.compile import kernel
from fastxent.kernels.onerow import reader, row_by_row
from fastxent.kernels.problem import SIZE, TILE, Problem
from fastxent.kernels.rowsums import close, two_sums
from fastxent.kernels.sigmoid import FORMS, Form, coefficients, hard_clipped, soft_clipped
from fastxent.kernels.simd import (
    LANES,
    fetch,
    fill,
    fma,
    halving_sum,
    lane_numbers,
    load,
    load_first,
    load_scalar,
    maximum,
    select,
    splat,
    splat_i64,
    store,
    widen,
)
from fastxent.kernels.simplex import bounded, limits
from fastxent.kernels.soft import examiner, remainder, sharer, smoothed, soft
from fastxent.kernels.softmax import SPAN, add_exactly
from fastxent.kernels.softplus import softplus
from fastxent.kernels.twofold import add, exp_less_one, multiply, power
from fastxent.kernels.vecmath import log, log1p

__all__ = ["focal", "of_classes", "of_events"]

INF = np.inf
# Places in `Work.lanes` of the numbers of a block of events, and of their places in a table.
SCORES, TARGETS, WEIGHTS, COUNTS, PLACES = (LANES * k for k in range(5))


@kernel()
def missing(loss):
    """1 - e^-loss, and what rounding lost."""
    less, lost = exp_less_one(loss * -1.0)
    return less * -1.0, lost * -1.0


@kernel()
def faded(loss, wrong, wrong_lost, gamma):
    """wrong^gamma times the loss; 0 if that is 0."""
    times = int(min(gamma, 64.0))
    factor = fill(1.0, wrong)
    lost = fill(0.0, wrong)
    for _ in range(times):
        product, more = multiply(factor, wrong)
        lost = fma(factor, wrong_lost, fma(lost, wrong, more))
        factor = product
    factor = factor + lost
    if gamma > times:
        factor = factor * power(wrong, gamma - times)
    return select(loss == 0.0, loss, factor * loss)


@kernel()
def focal(p, lo, n, card, work):
    """Cross-entropy losses of labels in LOSS -> focal losses."""
    loss = card.real[sc.LOSS]
    for i in range(0, n, TILE):
        plain = fetch(loss, i, TILE)
        wrong, wrong_lost = missing(plain)
        store(loss, i, faded(plain, wrong, wrong_lost, p.gamma))


@kernel(inline="always")
def unweighted(p):
    """The problem without class weights."""
    return Problem(
        p.scores, p.stride, p.classes, p.target, p.target_stride, p.mask, p.mask_stride, p.has_ignore, p.ignore,
        p.smoothing, p.clip, p.normalize, p.gamma, p.class_weight[:0], p.pos_weight,
    )  # fmt: skip


@cache
def of_classes(form: str, kind: str, target: str, dense: bool, full: bool, few: bool = False) -> Any:
    """The row kernel for the focal loss of `soft` (``dense``) or `smoothed` targets of kind ``target``."""
    size, target_size = SIZE[kind], SIZE[target]
    wide = target if "float" in target else "float64"
    score = (soft if dense else smoothed)(form, kind, target, full, few)
    _, peak = reader(kind)
    rest_of = remainder(kind)
    shares = sharer(wide if dense else "")
    examine = examiner(wide)
    variant = f"{form}-{kind}-{target}-{dense}-{full}-{few}"

    @kernel(variant=variant, inline="always")
    def cost(x, logits, top, mass, near, here):
        """-log p_c of the classes of a group; at place ``here`` (or nowhere) it is known."""
        number = lane_numbers(8)
        if form == "probs":
            return select(number == here, fill(near, x), log(x / mass) * -1.0 + 0.0)
        if logits:
            return select(number == here, fill(near, x), (x * -1.0 + top) + near)
        return maximum(0.0, x * -1.0)

    @kernel(variant=variant, inline="always")
    def part(given, j, count, total, nothing):
        """Add what eight classes cost."""
        p, row, place, y, logits, top, mass, near, k, least, most = given
        a = shares(p, place, y, j, count)
        z = row + j * size
        x = widen(load(z, kind, 8) if count == 8 else load_first(z, kind, 8, count))
        loss = bounded(cost(x, logits, top, mass, near, np.int32(k - j)), least, most)
        wrong, wrong_lost = missing(loss)
        fading = faded(loss, wrong, wrong_lost, p.gamma)
        return fma(a, select(a > 0.0, fading, splat(0.0, 8)), total), nothing

    sums = two_sums(part, f"focal-{variant}")

    @kernel(variant=variant)
    def loss_of(p, row, place, y):
        """The focal loss of a row that can be scored."""
        logits = form == "logits" or (form == "log_probs" and p.normalize)
        top, k = peak(row, p.classes)
        least, most = (0.0, INF) if logits else limits(p.clip)
        mass = 1.0
        near = 0.0
        if logits:
            near = log1p(rest_of(row, p.classes, k, top, True))
        elif form == "probs" and p.normalize:
            rest = rest_of(row, p.classes, k, 0.0, False)
            mass = rest + top
            near = log1p(rest / top)
        else:
            k = -1
        return sums((p, row, place, y, logits, top, mass, near, k, least, most), p.classes)[0]

    @kernel(variant=variant, inline="always")
    def settle(p, row, address, card, i, work):
        real, whole, status = card
        if status[i] != sc.SCORED:
            return
        place = 0
        sharp = False
        y = whole[sc.TARGET, i]
        if dense:
            place = p.target + row * p.target_stride
            if target != wide:
                for j in range(p.classes):
                    work.row[j] = load_scalar(place + j * target_size, target)
                place = work.row.ctypes.data
            _, one_hot, _ = examine(place, p.classes)
            sharp = one_hot and p.smoothing == 0.0
        if not sharp:
            real[sc.LOSS, i] = loss_of(p, address, place, y)
            return
        plain = splat(real[sc.LOSS, i], LANES)
        wrong, wrong_lost = missing(plain)
        loss = halving_sum(
            select(lane_numbers(LANES) == np.int32(0), faded(plain, wrong, wrong_lost, p.gamma), splat(0.0, LANES))
        )
        if p.class_weight.size > 0:
            w = p.class_weight[y]
            loss = 0.0 if w == 0.0 else w * loss
        real[sc.LOSS, i] = loss

    settle_rows = row_by_row(settle, f"focal-{variant}")

    @kernel(variant=variant)
    def rows(p, lo, n, card, work):
        # The mean over labels divides by their weights, and that over distributions by their number.
        score(unweighted(p) if dense else p, lo, n, card, work)
        settle_rows(p, lo, n, card, work)

    return rows


@cache
def of_events(form: Form, kind: str, target: str, task: str, masked: bool) -> Any:
    """The step after `binary` or `multilabel` that makes their losses focal."""
    hard_loss, soft_loss, _, _, _ = FORMS[form]
    size, target_size = SIZE[kind], SIZE[target]
    near_of = softplus("float64", LANES).at_once
    logits = form == "logits"
    clips = form == "probs"
    variant = f"{form}-{kind}-{target}-{task}-{masked}"

    @kernel(variant=variant, inline="always")
    def cost(p, z, near, y):
        """The loss if the event happens (y = 1), or does not."""
        if clips and p.clip >= 0.0:
            return hard_clipped(z, y, p.clip)
        return hard_loss(z, near, y)

    @kernel(variant=variant, inline="always")
    def losses(p, work):
        """Focal losses of the events in the lanes."""
        lanes = work.lanes
        z, y, w = fetch(lanes, SCORES, LANES), fetch(lanes, TARGETS, LANES), fetch(lanes, WEIGHTS, LANES)
        near = near_of(z, lanes.ctypes.data + PLACES * 8, work.softplus.ctypes.data) if logits else z
        half, rest = 0.5 * p.smoothing, 1.0 - p.smoothing
        a1, a0 = coefficients(y, half, rest, fill(1.0, y))
        if clips and p.clip >= 0.0:
            loss = soft_clipped(z, a1 * w, a0, p.clip)
        else:
            loss = soft_loss(z, near, a1 * w, a0)
        not_p, not_p_lost = missing(cost(p, z, near, splat_i64(1, LANES)))
        its_p, its_p_lost = missing(cost(p, z, near, splat_i64(0, LANES)))
        one, one_lost = multiply(a1, not_p)
        two, two_lost = multiply(a0, its_p)
        wrong, lost = add(one, two)
        lost = fma(a1, not_p_lost, fma(a0, its_p_lost, lost + (one_lost + two_lost)))
        return faded(loss, wrong, lost, p.gamma)

    @kernel(variant=variant, inline="always")
    def put(p, row, j, lane, lanes):
        """One event into the lanes."""
        score = p.scores + row * p.stride + j * size
        y = load_scalar(p.target + row * p.target_stride + j * target_size, target)
        counts = not (p.has_ignore and y == p.ignore)
        if masked:
            counts = counts and load_scalar(p.mask + row * p.mask_stride + j, "uint8") != 0
        # Whatever stands where none counts, the arithmetic is to be that of a possible event.
        lanes[SCORES + lane] = load_scalar(score, kind) if counts else 0.5
        lanes[TARGETS + lane] = y if counts else 0.0
        lanes[WEIGHTS + lane] = p.pos_weight[j] if p.pos_weight.size > 0 else 1.0
        lanes[COUNTS + lane] = 1.0 if counts else 0.0

    @kernel(variant=variant)
    def events(p, lo, n, card, work):
        """One event a row."""
        loss = card.real[sc.LOSS]
        for i in range(0, n, LANES):
            count = min(LANES, n - i)
            for lane in range(LANES):
                put(p, lo + i + min(lane, count - 1), 0, lane, work.lanes)
            store(loss, i, losses(p, work))

    @kernel(variant=variant)
    def labels(p, lo, n, card, work):
        """The mean over the labels that count."""
        for i in range(n):
            if card.status[i] != sc.SCORED:
                continue
            s = 0.0
            s_lost = 0.0
            counted = 0.0
            for block in range(0, p.classes, SPAN):
                total = splat(0.0, LANES)
                for first in range(block, min(block + SPAN, p.classes), LANES):
                    count = min(LANES, p.classes - first)
                    for lane in range(LANES):
                        put(p, lo + i, first + min(lane, count - 1), lane, work.lanes)
                        if lane >= count:
                            work.lanes[COUNTS + lane] = 0.0
                    counts = fetch(work.lanes, COUNTS, LANES)
                    total = total + select(counts == 1.0, losses(p, work), splat(0.0, LANES))
                    counted += halving_sum(counts)
                s, s_lost = add_exactly(s, s_lost, halving_sum(total))
            card.real[sc.LOSS, i] = close(s, s_lost) / counted

    return events if task == "binary" else labels
