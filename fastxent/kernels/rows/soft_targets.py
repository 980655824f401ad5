"""Targets that are a distribution over the classes: soft labels, label smoothing, class weights inside the sum.

1. The loss of a row is - sum a_c log p_c, a_c = w_c (t_c (1 - e) + e / C), with class weights w and
   smoothing e. torch.nn.CrossEntropyLoss defines it so, for class probabilities and for indices.
2. From logits, with m = max z, A = sum a_c and l = log1p(sum over j != argmax of exp(z_j - m)):
   L = A l + sum a_c (m - z_c). All terms are at least 0, so none cancels. A class with a_c = 0 adds 0,
   also where z_c is -inf or p_c is 0 (which otherwise make the loss +inf).
3. A one-hot target without smoothing is an integer label, to the last bit: such rows get the loss of
   `softmax` or `simplex`, times w_c. So are rank, confidence and what else is asked of every row,
   for the class with the greatest target; only the Brier score looks at all targets, unsmoothed.
4. The row's own weight for the denominator of a mean goes to WEIGHT: w_y for a label y, 1 for a
   distribution, as in torch.
5. A row that is one-hot at ``ignore`` is ignored, as its label is, with or without smoothing.

The parts a_c, their products with costs and all sums are numbers in two parts. l is the loss of the first maximum as
label, by the kernels for labels, a block of rows before any of them is looked at further.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import SIZE, Problem
from fastxent.kernels.functions.twofold import add, multiply
from fastxent.kernels.functions.vecmath import exp, log, log1p
from fastxent.kernels.rows.one_row import reader, row_by_row
from fastxent.kernels.rows.probs import bounded, hard, limits
from fastxent.kernels.rows.row_sums import adder, two_sums
from fastxent.kernels.rows.softmax_across import across
from fastxent.kernels.rows.softmax_along import along
from fastxent.kernels.rows.tiles import fetch_ahead, read_label
from fastxent.kernels.vector.memory import load, load_first, load_scalar
from fastxent.kernels.vector.simd import (
    any_lane,
    as_bits,
    as_ones,
    fill,
    fma,
    halving_sum,
    lane_max,
    lane_min,
    lane_numbers,
    maximum,
    minimum,
    select,
    splat,
    splat_i32,
    widen,
)

__all__ = ["examiner", "sharer", "smoothed", "soft", "weigh"]

INF = np.inf


@kernel()
def weigh(card, class_weight, n):
    """Losses of integer labels -> w_y L, and w_y to WEIGHT; a weight of 0 makes any loss 0."""
    real, whole, _ = card
    for i in range(n):
        w = class_weight[whole[sc.TARGET, i]]
        real[sc.WEIGHT, i] = w
        real[sc.LOSS, i] = 0.0 if w == 0.0 else w * real[sc.LOSS, i]


@kernel()
def weigh_rows(p, lo, n, card, work):
    """`weigh` with the problem's own class weights, as a step after a row kernel."""
    weigh(card, p.class_weight, n)


@kernel(inline="always")
def relabel(p, target, stride):
    """The problem with int32 labels at ``target``, all of them valid."""
    return Problem(
        p.scores, p.stride, p.classes, target, stride, p.mask, p.mask_stride, False, p.ignore,
        p.smoothing, p.clip, p.normalize, p.parameters, p.class_weight, p.pos_weight, p.summed,
    )  # fmt: skip


@cache
def sharer(target: str) -> Any:
    """The kernel for a_c of eight classes: of dense targets of kind ``target``, or ("") of a label."""
    dense = target != ""
    size = SIZE[target] if dense else 0

    @kernel(variant=target, inline="always")
    def plain(place, y, j, count):
        if dense:
            return widen(
                load(place + j * size, target, 8) if count == 8 else load_first(place + j * size, target, 8, count)
            )
        return select(lane_numbers(8) == np.int32(y - j), splat(1.0, 8), splat(0.0, 8))

    @kernel(variant=target, inline="always")
    def shares(p, place, y, j, count):
        """a_c of the classes from j on, 0 from ``count`` of them on, in two parts."""
        a = plain(place, y, j, count)
        lost = splat(0.0, 8)
        if p.smoothing > 0.0:
            rest, share = 1.0 - p.smoothing, p.smoothing / p.classes
            rest_lost, share_lost = (1.0 - rest) - p.smoothing, fma(-share, p.classes, p.smoothing) / p.classes
            lost = fma(a, rest_lost, splat(share_lost, 8))
            a, more = multiply(a, rest)
            a, most = add(a, share)
            lost = lost + (more + most)
        if p.class_weight.size > 0:
            w = load_first(p.class_weight.ctypes.data + j * 8, "float64", 8, count)
            lost = lost * w
            a, more = multiply(a, w)
            lost = lost + more
        if count < 8:
            inside = lane_numbers(8) < np.int32(count)
            return select(inside, a, splat(0.0, 8)), select(inside, lost, splat(0.0, 8))
        return a, lost

    return shares


@cache
def plain_products(kind: str, target: str) -> Any:
    """The kernel for sum t_c and sum t_c (m - z_c) of logits and targets as they are; NaN where 0 met -inf."""
    size, target_size = SIZE[kind], SIZE[target]

    @kernel(variant=f"{kind}-{target}", inline="always")
    def products(inputs, j, count):
        row, place, top = inputs
        z, t = row + j * size, place + j * target_size
        none = splat(0.0, 8)
        if count == 8:
            a = widen(load(t, target, 8))
            y, lost = multiply(a, splat(top, 8) - widen(load(z, kind, 8)))
            return a, none, y, lost
        vacant = lane_numbers(8) >= np.int32(count)
        a = select(vacant, none, widen(load_first(t, target, 8, count)))
        y, lost = multiply(a, select(vacant, none, splat(top, 8) - widen(load_first(z, kind, 8, count))))
        return a, none, y, lost

    return two_sums(products, f"plain-{kind}-{target}")


@kernel(inline="always")
def together(weight, loss, level):
    """The loss A l + sum a_c (m - z_c), of A and the sum in two parts each."""
    least, lost = multiply(weight[0], level)
    s, more = add(loss[0], least)
    return s if s == INF else s + (more + (lost + fma(weight[1], level, loss[1])))


@cache
def softener(form: str, kind: str, target: str) -> Any:
    """The kernel that scores one row against a distribution: dense targets of kind ``target``, or ("") a label.

    It replaces the loss, and returns the shift and the scale of the row's probabilities: see `brier_of`. The row can
    be scored; of a row of logits, `between` says what its first maximum is and what that costs.
    """
    size = SIZE[kind]
    _, peak = reader(kind)
    shares = sharer(target)
    without = adder(kind)[1]
    variant = f"{form}-{kind}-{target}"

    @kernel(variant=variant, inline="always")
    def distance(x, logits, top, mass, near, home):
        """What a class costs: m - z_c, or -log p_c; at place ``home`` (or nowhere) -log p_c is known."""
        if form == "logits":
            return x * -1.0 + top
        if form == "log_probs":
            return maximum(0.0, x * -1.0 + (top if logits else 0.0))
        far = log(x / mass) * -1.0 + 0.0
        return select(lane_numbers(8) == home, splat(near, 8), far)

    @kernel(variant=variant, inline="always")
    def cross(inputs, j, count):
        """The parts a_c of eight classes, and a_c times what the class costs."""
        p, row, place, y, logits, top, mass, near, k, least, most = inputs
        a, a_lost = shares(p, place, y, j, count)
        z = row + j * size
        x = widen(load(z, kind, 8) if count == 8 else load_first(z, kind, 8, count))
        d = distance(x, logits, top, mass, near, np.int32(k - j))
        if form != "logits":
            d = bounded(d, least, most)
        d = select(a > 0.0, d, splat(0.0, 8))
        cost, lost = multiply(a, d)
        return a, a_lost, cost, fma(a_lost, d, lost)

    crossed = two_sums(cross, f"soft-{variant}")
    plain = form == "logits" and target != ""
    plainly_crossed: Any = plain_products(kind, target) if plain else None

    @kernel(variant=variant, inline="always")
    def soften(p, row, place, y, card, i, work):
        real = card.real
        logits = form == "logits" or (form == "log_probs" and p.normalize)
        top = 0.0
        mass = 1.0
        near = 0.0
        k = -1
        if logits:
            top = work.between[TOP, i]
            if plain and p.smoothing == 0.0 and p.class_weight.size == 0:
                weight, loss = plainly_crossed((row, place, top), p.classes)
                if loss[0] == loss[0]:  # the same bits as below; half of the time
                    real[sc.LOSS, i] = together(weight, loss, work.between[LEVEL, i])
                    return top, real[sc.CONFIDENCE, i]
        elif form == "probs" and p.normalize:
            most_likely, k = peak(row, p.classes)
            rest = without(row, p.classes, k)
            mass = rest + most_likely
            near = log1p(rest / most_likely)
        least, most = (0.0, INF) if logits else limits(p.clip)
        weight, loss = crossed((p, row, place, y, logits, top, mass, near, k, least, most), p.classes)
        real[sc.LOSS, i] = together(weight, loss, work.between[LEVEL, i] if logits else 0.0)
        return top, real[sc.CONFIDENCE, i] if logits else mass

    return soften


@cache
def brier_of(form: str, kind: str, target: str) -> Any:
    """The kernel for sum (p_c - t_c)^2 of one row, p_c = exp(z_c - top) scale, or p_c / scale."""
    size, target_size = SIZE[kind], SIZE[target]

    @kernel(variant=f"{form}-{kind}-{target}", inline="always")
    def square(inputs, j, count):
        row, place, top, scale = inputs
        z, t = row + j * size, place + j * target_size
        # Both are -inf beyond the last class.
        x = widen(load(z, kind, 8) if count == 8 else load_first(z, kind, 8, count))
        y = widen(load(t, target, 8) if count == 8 else load_first(t, target, 8, count))
        share = maximum(0.0, x) / scale if form == "probs" else exp(x - top) * scale
        wrong = share - maximum(0.0, y)
        none = splat(0.0, 8)
        return wrong * wrong, none, none, none

    sums = two_sums(square, f"brier-{form}-{kind}-{target}")

    @kernel(variant=f"{form}-{kind}-{target}")
    def brier(row, place, classes, top, scale):
        return sums((row, place, top, scale), classes)[0][0]

    return brier


@cache
def examiner(kind: str, full: bool) -> Any:
    """The kernel that looks at one row of targets: (are they targets, is the row one-hot, first greatest).

    Unless ``full``, the last is sought only where the greatest target is 1, as in one-hot rows, else it is 0.
    """
    size = SIZE[kind]
    one = np.int64(0x3FF0000000000000) if kind == "float64" else np.int32(0x3F800000)

    # Eight targets, as integers, which from 0 up are ordered as they are; 0 beyond the last.

    @kernel(variant=kind, inline="always")
    def bits(place, j):
        return as_bits(load(place + j * size, kind, 8) + 0.0)

    @kernel(variant=kind, inline="always")
    def last_bits(place, j, count):
        t = load_first(place + j * size, kind, 8, count)
        return as_bits(select(lane_numbers(8) < np.int32(count), t + 0.0, fill(0.0, t)))

    @kernel(variant=kind)
    def locate(place, classes, greatest):
        """The first class with the greatest target, and whether no other is positive."""
        even = classes // 8 * 8
        t = last_bits(place, even, classes - even)
        positive = as_ones(t > 0, t)
        number = lane_numbers(8)
        nowhere = splat_i32(np.int32(classes), 8)
        first = select(t == greatest, number + np.int32(even), nowhere)
        for j in range(0, even, 8):
            t = bits(place, j)
            positive = positive + as_ones(t > 0, t)
            first = minimum(first, select(t == greatest, number, nowhere))
            number = number + np.int32(8)
        return np.int64(lane_min(first)), halving_sum(positive) == -1

    @kernel(variant=f"{kind}-{full}")
    def examine(place, classes):
        fetch_ahead(place, classes * size)
        low = last_bits(place, 0, 0)
        top = low
        even = classes // 8 * 8
        for j in range(0, even, 8):
            t = bits(place, j)
            top = maximum(t, top)
            low = minimum(t, low)
        t = last_bits(place, even, classes - even)
        top = maximum(t, top)
        low = minimum(t, low)
        # NaN, as an integer, is above 1, or below 0.
        if any_lane((low < 0) | (top > one)):
            return False, False, 0
        greatest = lane_max(top)
        if not full and greatest != one:
            return True, False, 0
        first, alone = locate(place, classes, greatest)
        return True, greatest == one and alone, first

    return examine


# What `soft` notes of a row in WEIGHT until it is done.
MIXED, SHARP, WRONG, SKIPPED = 1.0, 2.0, 3.0, 4.0
# Rows of `Work.between`: the largest logit of a row, and the loss of its class.
TOP, LEVEL = 0, 1


@cache
def soft(form: str, kind: str, target: str, full: bool, few: bool = False) -> Any:
    """The row kernel for dense targets of kind ``target``, C numbers a row, beside each other.

    ``form`` is "logits", "probs" or "log_probs". Targets lie in [0, 1] and need not sum to 1; a row of
    zeros costs 0. NaN and anything else is an invalid target.
    """
    return _rows(form, kind, target, True, full, few)


@cache
def smoothed(form: str, kind: str, label: str, full: bool, few: bool = False) -> Any:
    """The row kernel for integer labels with label smoothing, class weights, or both.

    L = (1 - e) w_y L_y + (e / C) sum w_c L_c, the form of torch.nn.CrossEntropyLoss; its mean divides
    the sum by that of WEIGHT.
    """
    return _rows(form, kind, label, False, full, few)


@cache
def hard_logits(kind: str, full: bool, few: bool) -> Any:
    """The row kernel of logits and int32 labels: for ``few`` classes with one row a lane."""
    return across(kind, "int32", full, False) if few else along(kind, "int32", full)


@cache
def _rows(form: str, kind: str, target: str, dense: bool, full: bool, few: bool) -> Any:
    target_size = SIZE[target]
    wide = target if "float" in target else "float64"
    score = hard_logits(kind, full, few) if form == "logits" else hard(form, kind, "int32", full)
    level = hard_logits(kind, False, few)
    _, peak = reader(kind)
    soften = softener(form, kind, wide if dense else "")
    brier = brier_of(form, kind, wide)
    examine = examiner(wide, full or form != "logits")
    variant = f"{form}-{kind}-{target}-{dense}-{full}-{few}"

    @kernel(variant=variant, inline="always")
    def place_of(p, row, work):
        """The address of a row of targets as floating point."""
        place = p.target + row * p.target_stride
        if target == wide:
            return place
        for j in range(p.classes):
            work.row[j] = load_scalar(place + j * target_size, target)
        return work.row.ctypes.data

    @kernel(variant=variant)
    def prepare(p, lo, n, card, work):
        """Labels to TARGET, notes or weights to WEIGHT; returns how many rows are sharp."""
        real, whole, _ = card
        sharp = 0
        for i in range(n):
            if dense:
                good, one_hot, t = examine(place_of(p, lo + i, work), p.classes)
                whole[sc.TARGET, i] = t if good else 0
                note = SHARP if one_hot and p.smoothing == 0.0 else MIXED
                if one_hot and p.has_ignore and t == p.ignore:
                    note = SKIPPED
                real[sc.WEIGHT, i] = note if good else WRONG
                sharp += note == SHARP
            else:
                t, _ = read_label(p, lo + i, target)
                whole[sc.TARGET, i] = t
                real[sc.WEIGHT, i] = p.class_weight[t] if p.class_weight.size > 0 else 1.0
                sharp += p.smoothing == 0.0
        return sharp

    @kernel(variant=variant, inline="always")
    def settle(p, row, address, card, i, work):
        """The fate of a row that has its hard scores, and its soft loss."""
        real, whole, status = card
        y = whole[sc.TARGET, i]
        if dense:
            note = real[sc.WEIGHT, i]
            real[sc.WEIGHT, i] = 1.0
            fate = sc.INVALID_TARGET if note == WRONG else sc.IGNORED if note == SKIPPED else sc.SCORED
            sharp = note == SHARP
        else:
            _, fate = read_label(p, row, target)
            sharp = p.smoothing == 0.0
        if fate != sc.SCORED:
            status[i] = fate
        elif status[i] == sc.SCORED:
            if not sharp:
                place = place_of(p, row, work) if dense else 0
                top, scale = soften(p, address, place, y, card, i, work)
                if full and dense:
                    real[sc.BRIER, i] = brier(address, place, p.classes, top, scale)
            elif p.class_weight.size > 0:
                w = p.class_weight[y]
                real[sc.LOSS, i] = 0.0 if w == 0.0 else w * real[sc.LOSS, i]

    settle_rows = row_by_row(settle, variant)

    @kernel(variant=variant)
    def find_levels(p, lo, n, card, work):
        """The largest logit of each row, and the loss of its class, to `between`; rows without one get their status."""
        real, whole, _ = card
        for i in range(n):
            work.between[TOP, i], k = peak(p.scores + (lo + i) * p.stride, p.classes)
            whole[sc.PREDICTED, i] = k
            whole[sc.CELL, i] = whole[sc.TARGET, i]
        level(relabel(p, whole[sc.PREDICTED].ctypes.data - lo * 4, 4), lo, n, card, work)
        for i in range(n):
            work.between[LEVEL, i] = real[sc.LOSS, i]
            whole[sc.TARGET, i] = whole[sc.CELL, i]

    @kernel(variant=variant)
    def rows(p, lo, n, card, work):
        whole = card.whole
        sharp = prepare(p, lo, n, card, work)
        if form != "probs" and sharp < n and (form == "logits" or p.normalize):
            find_levels(p, lo, n, card, work)
        if sharp > 0 or full or form != "logits":
            score(relabel(p, whole[sc.TARGET].ctypes.data - lo * 4, 4), lo, n, card, work)
        settle_rows(p, lo, n, card, work)

    return rows
