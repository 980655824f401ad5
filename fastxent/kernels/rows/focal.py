"""Focal loss: each part of a cross-entropy, faded by (1 - p)^gamma, p the probability of what it costs.

1. With L = -log p a part is (1 - p)^g L = (-expm1(-L))^g L, accurate for confident rows, where 1 - p as a
   difference is not. Lin et al. (2017) define it for one label; the factor alpha belongs to the weights.
2. Targets that are distributions: sum a_c (1 - p_c)^g (-log p_c), with a_c as in `soft`. A one-hot row is the
   label, to the last bit.
3. Events (binary and multilabel): (1 - p_t)^g times the cross-entropy of the event, with 1 - p_t = y' (1 - p) +
   (1 - y') p, y' the smoothed target: for 0 and 1 the definition, between them that of optax and torchvision.

Each of these runs after the row kernel of the cross-entropy, which knows which rows can be scored. (1 - p)^g has 1 + g
times the error that L has, so 1 - p is made anew, in two parts; of labels only where it matters, see `steep`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import SIZE, TILE
from fastxent.kernels.functions.softplus import softplus
from fastxent.kernels.functions.twofold import (
    add,
    divide_pairs,
    exp_in_parts,
    exp_less_one,
    multiply,
    power,
)
from fastxent.kernels.rows import class_costs
from fastxent.kernels.rows.class_costs import Change, costs, missing
from fastxent.kernels.rows.one_row import row_by_row
from fastxent.kernels.rows.sigmoid import FORMS, Form, clipped, coefficients, soft_clipped
from fastxent.kernels.rows.softmax import add_positives, finite, fold_all
from fastxent.kernels.vector.memory import fetch, load_scalar, store
from fastxent.kernels.vector.simd import (
    LANES,
    fill,
    fma,
    halving_sum,
    lane_numbers,
    maximum,
    minimum,
    select,
    splat,
)

__all__ = ["focal", "of_classes", "of_events", "of_labels"]

# The place of gamma in `Problem.parameters`.
GAMMA = 0
# Places in `Work.lanes` of the numbers of a block of events, and of their places in a table.
SCORES, TARGETS, WEIGHTS, COUNTS, PLACES = (LANES * k for k in range(5))


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
        wrong, wrong_lost = missing(plain, fill(0.0, plain))
        store(loss, i, faded(plain, wrong, wrong_lost, p.parameters[GAMMA]))


@kernel(inline="always")
def steep(loss, gamma):
    """Whether a last place of the loss makes too much of its focal loss.

    That is one and an eighth of it, gamma L > (e^L - 1) / 8, or one where the loss itself may be off by more than two.
    """
    return loss < 1.0 or 8.0 * gamma * loss > exp_less_one(minimum(700.0, loss))[0]


@kernel(inline="always")
def faded_part(p, loss, wrong, wrong_lost):
    """`faded` by the problem's gamma."""
    return faded(loss, wrong, wrong_lost, p.parameters[GAMMA])


@cache
def of_label(form: str, kind: str) -> Any:
    """The kernel for the focal loss of a row with label y, whose cross-entropy is ``plain``."""
    size = SIZE[kind]
    prepare, cost = costs(form, kind)

    @kernel(variant=f"{form}-{kind}")
    def of_one(p, row, y, plain, scratch):
        loss = splat(plain, 8)
        if steep(plain, p.parameters[GAMMA]) or form == "probs":
            known = prepare(p, row, scratch)
            x = splat(np.float64(load_scalar(row + y * size, kind)), 8)
            loss, wrong, wrong_lost = cost(known, x, np.int32(0 if y == known[1] else -1))
        else:
            wrong, wrong_lost = missing(loss, splat(0.0, 8))
        one = faded(loss, wrong, wrong_lost, p.parameters[GAMMA])
        return halving_sum(select(lane_numbers(8) == np.int32(0), one, splat(0.0, 8)))

    return of_one


@cache
def of_labels(form: str, kind: str) -> Any:
    """The step after the cross-entropy of labels that makes it focal; `focal` is enough where that is exact."""
    of_one = of_label(form, kind)

    @kernel(variant=f"{form}-{kind}", inline="always")
    def settle(p, row, address, card, i, work):
        if card.status[i] == sc.SCORED:
            loss = card.real[sc.LOSS]
            loss[i] = of_one(p, address, np.int64(card.whole[sc.TARGET, i]), loss[i], work.lanes)

    return row_by_row(settle, f"focal-labels-{form}-{kind}")


FOCAL = Change("focal", faded_part, of_label)


@cache
def of_classes(form: str, kind: str, target: str, dense: bool, full: bool, few: bool = False) -> Any:
    """The row kernel for the focal loss of distributions (``dense``) or smoothed labels of kind ``target``."""
    return class_costs.of_classes(FOCAL, form, kind, target, dense, full, few)


@cache
def of_events(form: Form, kind: str, target: str, task: str, masked: bool) -> Any:
    """The step after `binary` or `multilabel` that makes their losses focal."""
    soft_loss = FORMS[form].soft
    size, target_size = SIZE[kind], SIZE[target]
    near_of = softplus("float64", LANES).at_once
    logits = form == "logits"
    clips = form == "probs"
    variant = f"{form}-{kind}-{target}-{task}-{masked}"

    @kernel(variant=variant)
    def chances(p, z):
        """1 - p and p, in two parts each."""
        none = fill(0.0, z)
        if logits:
            e, e_lost = exp_in_parts(minimum(0.0, maximum(z, z * -1.0) * -1.0), none)
            both, lost = add(splat(1.0, LANES), e)
            less, less_lost = divide_pairs(e, e_lost, both, lost + e_lost)
            more, more_lost = divide_pairs(splat(1.0, LANES), none, both, lost + e_lost)
            up = z > 0.0
            return (
                select(up, less, more), select(up, less_lost, more_lost),
                select(up, more, less), select(up, more_lost, less_lost),
            )  # fmt: skip
        if clips:
            if p.clip >= 0.0:
                z = clipped(z, p.clip)
            not_p, lost = add(splat(1.0, LANES), z * -1.0)
            return not_p, lost, z, none
        z = minimum(0.0, z)
        not_p, lost = missing(z * -1.0, none)
        its_p, its_p_lost = exp_in_parts(z, none)
        return not_p, lost, its_p, its_p_lost

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
        not_p, not_p_lost, its_p, its_p_lost = chances(p, z)
        one, one_lost = multiply(a1, not_p)
        two, two_lost = multiply(a0, its_p)
        wrong, lost = add(one, two)
        lost = fma(a1, not_p_lost, fma(a0, its_p_lost, lost + (one_lost + two_lost)))
        return faded(loss, wrong, lost, p.parameters[GAMMA])

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
        """The mean, or the sum, over the labels that count."""
        for i in range(n):
            if card.status[i] != sc.SCORED:
                continue
            total, lost = splat(0.0, LANES), splat(0.0, LANES)
            counted = 0.0
            for first in range(0, p.classes, LANES):
                count = min(LANES, p.classes - first)
                for lane in range(LANES):
                    put(p, lo + i, first + min(lane, count - 1), lane, work.lanes)
                    if lane >= count:
                        work.lanes[COUNTS + lane] = 0.0
                counts = fetch(work.lanes, COUNTS, LANES)
                total, more = add_positives(total, select(counts == 1.0, losses(p, work), splat(0.0, LANES)))
                lost = lost + more
                counted += halving_sum(counts)
            s, s_lost = fold_all(total, lost)
            over = 1.0 if p.summed else counted
            mean = s / over
            card.real[sc.LOSS, i] = mean + finite(s, (fma(mean * -1.0, over, s) + s_lost) / over)

    return events if task == "binary" else labels
