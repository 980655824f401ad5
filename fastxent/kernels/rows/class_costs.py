"""What the classes of a row cost, -log p_c and 1 - p_c in two parts, and losses that change each of these costs.

A loss of distributions is sum a_c f(-log p_c, 1 - p_c), with a_c as in `soft_targets` and f a `Change`. A one-hot row
is the label, to the last bit.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import SIZE, Problem
from fastxent.kernels.functions.twofold import (
    add,
    divide_pairs,
    exp_in_parts,
    exp_less_one,
    log1p_in_parts,
    multiply,
    settled,
    sum_of_lanes,
    times_exp,
)
from fastxent.kernels.functions.vecmath import log
from fastxent.kernels.rows.one_row import reader, row_by_row, runner_up
from fastxent.kernels.rows.probs import bounded, limits
from fastxent.kernels.rows.row_sums import close, two_sums
from fastxent.kernels.rows.soft_targets import examiner, sharer, smoothed, soft
from fastxent.kernels.rows.softmax import ALONE, FAINT, add_exactly
from fastxent.kernels.vector.memory import load, load_first, load_scalar
from fastxent.kernels.vector.simd import (
    fma,
    lane_numbers,
    maximum,
    minimum,
    select,
    splat,
    widen,
)

__all__ = ["Change", "costs", "missing", "of_classes"]

INF = np.inf


class Change(NamedTuple):
    """What a loss makes of the cost of a class.

    ``part(p, loss, wrong, wrong_lost)`` changes the cost ``loss``, -log p_c, where ``wrong`` + ``wrong_lost`` is
    1 - p_c. ``of_label(form, kind)`` makes the kernel ``of_one(p, row, y, plain, scratch)`` for the row at the address
    ``row``, whose label y has the cross-entropy ``plain``.
    """

    name: str
    part: Any
    of_label: Any


@kernel()
def missing(loss, loss_lost):
    """1 - e^-L of a loss in two parts, and what rounding lost."""
    less, lost = exp_less_one(loss * -1.0)
    return settled(less * -1.0, fma(less + 1.0, loss_lost, lost * -1.0))


class Costs(NamedTuple):
    """Kernels for what classes of a row cost.

    ``prepare(p, row, scratch)`` is what ``cost(known, x, home)`` needs to know of a row: of eight scores the costs
    -log p_c, and 1 - p_c in two parts. ``home``: the place of the row's first maximum among the eight, if it is there.
    """

    prepare: Any
    cost: Any


@cache
def costs(form: str, kind: str) -> Costs:
    """The costs of classes: the sum of a row is of two parts, and the first maximum is left out of it."""
    group, peak = reader(kind, 8)
    next_to = runner_up(kind)
    variant = f"{form}-{kind}"

    @kernel(variant=variant)
    def rest_of(row, classes, k, top, scratch):
        """Of the classes but k: the sum of e^(z_j - top) or of p_j, settled."""
        total = splat(0.0, 8)
        lost = total
        for g in range((classes + 7) // 8):
            number = lane_numbers(8)
            vacant = (number == np.int32(k - g * 8)) | (number >= np.int32(classes - g * 8))
            x = group(row, classes, g)
            if form == "probs":
                e = select(vacant, splat(0.0, 8), x)
            else:
                d, d_lost = add(select(vacant, splat(-INF, 8), x), -top)
                e, e_lost = exp_in_parts(d, d_lost)
                lost = lost + e_lost
            total, lost = add_exactly(total, lost, e)
        total, lost = sum_of_lanes(total, lost, scratch)
        return settled(total, lost)

    @kernel(variant=variant)
    def faint_rest_of(row, classes, k, top, scratch):
        """The same of classes that are far away, whose exponentials are no normal numbers."""
        next_ = next_to(row, classes, k)
        d, d_lost = add(top, -next_)
        # NaN, of two infinite ones, is no distance either.
        if not d < ALONE:
            return 0.0
        rest, lost = rest_of(row, classes, k, next_, scratch)
        return times_exp(rest, lost, d, d_lost)

    @kernel(variant=variant)
    def prepare(p, row, scratch):
        """(logits, k, top, cost of k and its 1 - p in two parts each, sum of p in two parts, clip, its limits)."""
        logits = form == "logits" or (form == "log_probs" and p.normalize)
        least, most = (0.0, INF) if logits else limits(p.clip)
        clip = -1.0 if logits else p.clip
        top, k = peak(row, p.classes)
        near = far = (0.0, 0.0)
        mass = (1.0, 0.0)
        if logits or (form == "probs" and p.normalize):
            rest, lost = rest_of(row, p.classes, k, top, scratch)
            if form != "probs" and rest < FAINT:
                rest, lost = faint_rest_of(row, p.classes, k, top, scratch), 0.0
            scale = 1.0 if logits else top
            sum_, more = add(scale, rest)
            far = divide_pairs(rest, lost, sum_, more + lost)
            ratio, more_of_ratio = divide_pairs(rest, lost, scale, 0.0)
            near = log1p_in_parts(ratio, more_of_ratio)
            if not logits:
                mass = (sum_, more + lost)
        else:
            k = np.int64(-1)
        return logits, k, top, near, far, mass, clip, least, most

    # Not inlined by Numba, which takes 20 seconds for it; LLVM does it all the same.
    @kernel(variant=variant)
    def cost(known, x, home):
        logits, _, top, near, far, mass, clip, least, most = known
        at = lane_numbers(8) == home
        none = splat(0.0, 8)
        if form == "probs":
            share, lost = divide_pairs(x, none, splat(mass[0], 8), splat(mass[1], 8))
            loss = log(share) * -1.0 - select(x > 0.0, lost / share, none)
            loss = select(at, splat(near[0], 8), loss + 0.0)
            wrong, wrong_lost = add(splat(1.0, 8), share * -1.0)
            wrong, wrong_lost = settled(wrong, wrong_lost - lost)
            wrong, wrong_lost = select(at, splat(far[0], 8), wrong), select(at, splat(far[1], 8), wrong_lost)
            if clip >= 0.0:
                inside = minimum(1.0 - clip, maximum(clip, wrong))
                wrong, wrong_lost = inside, select(inside == wrong, wrong_lost, none)
            return bounded(loss, least, most), wrong, wrong_lost
        if logits:
            loss, lost = add(splat(top, 8), x * -1.0)
            loss, more = add(loss, near[0])
            # Of an infinite loss the parts are NaN.
            loss, lost = settled(loss, select(loss < INF, lost + more + near[1], none))
            loss, lost = select(at, splat(near[0], 8), loss), select(at, splat(near[1], 8), lost)
            wrong, wrong_lost = missing(loss, select(loss < INF, lost, none))
            return loss, wrong, wrong_lost
        loss = bounded(maximum(0.0, x * -1.0), least, most)
        wrong, wrong_lost = missing(loss, none)
        return loss, wrong, wrong_lost

    return Costs(prepare, cost)


@kernel(inline="always")
def unweighted(p):
    """The problem without class weights."""
    return Problem(
        p.scores, p.stride, p.classes, p.target, p.target_stride, p.mask, p.mask_stride, p.has_ignore, p.ignore,
        p.smoothing, p.clip, p.normalize, p.parameters, p.class_weight[:0], p.pos_weight,
        p.summed,
    )  # fmt: skip


@cache
def of_classes(change: Change, form: str, kind: str, target: str, dense: bool, full: bool, few: bool = False) -> Any:
    """The row kernel for the changed cost of `soft` (``dense``) or `smoothed` targets of kind ``target``."""
    size, target_size = SIZE[kind], SIZE[target]
    wide = target if "float" in target else "float64"
    score = (soft if dense else smoothed)(form, kind, target, full, few)
    prepare, cost = costs(form, kind)
    changed, of_one = change.part, change.of_label(form, kind)
    shares = sharer(wide if dense else "")
    examine = examiner(wide, False)
    variant = f"{change.name}-{form}-{kind}-{target}-{dense}-{full}-{few}"

    @kernel(variant=variant, inline="always")
    def part(inputs, j, count):
        """What eight classes cost."""
        p, row, place, y, known = inputs
        a, a_lost = shares(p, place, y, j, count)
        z = row + j * size
        x = widen(load(z, kind, 8) if count == 8 else load_first(z, kind, 8, count))
        loss, wrong, wrong_lost = cost(known, x, np.int32(known[1] - j))
        none = splat(0.0, 8)
        cost_now = select(a > 0.0, changed(p, loss, wrong, wrong_lost), none)
        total, lost = multiply(a, cost_now)
        return total, fma(a_lost, cost_now, lost), none, none

    sums = two_sums(part, variant)

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
            known = prepare(p, address, work.lanes)
            total, lost = sums((p, address, place, y, known), p.classes)[0]
            real[sc.LOSS, i] = close(total, lost)
            return
        loss = of_one(p, address, np.int64(y), real[sc.LOSS, i], work.lanes)
        if p.class_weight.size > 0:
            w = p.class_weight[y]
            loss = 0.0 if w == 0.0 else w * loss
        real[sc.LOSS, i] = loss

    settle_rows = row_by_row(settle, variant)

    @kernel(variant=variant)
    def rows(p, lo, n, card, work):
        # The mean over labels divides by their weights, and that over distributions by their number.
        score(unweighted(p) if dense else p, lo, n, card, work)
        settle_rows(p, lo, n, card, work)

    return rows
