"""Entropy of predictions.

From logits, m = max z, k its first place, e_j = exp(z_j - m), s = sum over j != k of e_j:
H = log1p(s) + (sum over j != k of e_j (m - z_j)) / (1 + s). Nothing cancels, so an entropy of 1e-14
is right to the last digits, where - sum p log p has lost them. From probabilities it is
- sum p_j log p_j of the numbers stored, or normalized: there p_k enters as log1p(q / p_k).
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.functions.twofold import (
    add,
    divide_pairs,
    exp_in_parts,
    log1p_in_parts,
    multiply,
    multiply_pairs,
    times_exp,
)
from fastxent.kernels.functions.vecmath import exp, log, log1p
from fastxent.kernels.rows.one_row import reader, row_by_row, runner_up
from fastxent.kernels.rows.probs import SLACK
from fastxent.kernels.rows.softmax import ALONE, FAINT, add_positives, fold_eight
from fastxent.kernels.vector.simd import first_lane, lane_numbers, select, splat

__all__ = ["as_loss", "clear", "entropy"]

INF = np.inf
#: Terms of stored probabilities are taken so many times, that none of them is a subnormal number.
SCALE = 2.0**200


@cache
def entropy(form: str, kind: str) -> Any:
    """The row kernel for the entropy of the predictions (nats), to ENTROPY; it needs no target and leaves other scores.

    Runs alone, on a clean scorecard, or after another kernel: it looks at rows whose status is SCORED,
    and marks those without an entropy. ``form`` is "logits", "probs" or "log_probs".
    """
    group, peak = reader(kind, 8)
    next_to = runner_up(kind)
    highest = 1.0 if form == "probs" else (SLACK if kind != "float64" else 0.0)
    variant = f"{form}-{kind}"

    @kernel(variant=variant)
    def shifted(row, classes, level, top, k):
        """Of the classes but k: sum e_j and sum e_j (top - z_j), e_j = exp(z_j - level), each in two parts."""
        none = splat(0.0, 8)
        total, lost, cross, cross_lost = none, none, none, none
        for g in range((classes + 7) // 8):
            is_top = lane_numbers(8) == np.int32(k - g * 8)
            x = select(is_top, splat(-INF, 8), group(row, classes, g))
            d, d_lost = add(x, -level)
            e, e_lost = exp_in_parts(d, d_lost)
            total, more = add_positives(total, e)
            lost = lost + (e_lost + more)
            cost, cost_lost = add(x * -1.0, top)
            y, y_lost = multiply_pairs(e, e_lost, cost, cost_lost)
            cross, more = add_positives(cross, select(e == 0.0, e, y))
            cross_lost = cross_lost + select(e == 0.0, e, y_lost + more)
        return fold_eight(total, lost), fold_eight(cross, cross_lost)

    @kernel(variant=variant)
    def faint(row, classes, top, k):
        """The entropy where the other classes are so far away that it is sum e_j (1 + top - z_j), to the last bit."""
        next_ = next_to(row, classes, k)
        d, d_lost = add(top, -next_)
        if not d < ALONE:
            return 0.0
        s, c = shifted(row, classes, next_, top, k)
        value, lost = add(c[0], s[0])
        return times_exp(value, lost + (s[1] + c[1]), d, d_lost)

    @kernel(variant=variant)
    def of_logits(row, classes, top, k):
        s, c = shifted(row, classes, top, top, k)
        if s[0] < FAINT:
            return faint(row, classes, top, k)
        mass, lost = add(1.0, s[0])
        near, near_lost = log1p_in_parts(s[0], s[1])
        share, share_lost = divide_pairs(c[0], c[1], mass, lost + s[1])
        value, lost = add(near, share)
        return value + (lost + (near_lost + share_lost))

    @kernel(variant=variant)
    def summed(row, classes, k, mass):
        """Of the classes but k: sum p_j and sum - p_j log(p_j / mass), p_j as stored, both times 2^200."""
        none = splat(0.0, 8)
        total, lost, cross, cross_lost = none, none, none, none
        for g in range((classes + 7) // 8):
            number = lane_numbers(8)
            vacant = (number == np.int32(k - g * 8)) | (number >= np.int32(classes - g * 8))
            x = group(row, classes, g)
            if form == "probs":
                p = select(vacant, none, x)
                cost = log(p / mass) * -1.0
                e, e_lost = p * SCALE, none
                y, y_lost = multiply(e, cost)
            else:
                cost = select(vacant, splat(INF, 8), x * -1.0)
                # By halves, since p_j may be no normal number where p_j log p_j is.
                half, half_lost = exp_in_parts(cost * -0.5, none)
                scaled, scaled_lost = half * SCALE, half_lost * SCALE
                e, e_lost = multiply_pairs(scaled, scaled_lost, half, half_lost)
                y, y_lost = multiply_pairs(cost, none, e, e_lost)
            total, more = add_positives(total, e)
            lost = lost + (e_lost + more)
            nothing = e == 0.0
            cross, more = add_positives(cross, select(nothing, e, y))
            cross_lost = cross_lost + select(nothing, e, y_lost + more)
        return fold_eight(total, lost), fold_eight(cross, cross_lost)

    @kernel(variant=variant)
    def fault_of(row, classes, logits, top):
        """Why a row has no entropy, or SCORED."""
        low = False
        for g in range((classes + 7) // 8):
            x = group(row, classes, g)
            if first_lane(x != x) < 8:
                return sc.NAN_PREDICTION
            outside = (x < 0.0) & (lane_numbers(8) < np.int32(classes - g * 8))
            low = low or first_lane(outside) < 8
        if form == "logits":
            return sc.INFINITE_LOGIT if top == INF else (sc.ALL_MASKED if top == -INF else sc.SCORED)
        if top > highest or (form == "probs" and low):
            return sc.PROBABILITY_OUT_OF_RANGE
        return sc.ZERO_MASS if logits and top == -INF else sc.SCORED

    @kernel(variant=variant)
    def entropy_of(p, row, card, i):
        logits = form == "logits" or (form == "log_probs" and p.normalize)
        top, k = peak(row, p.classes)
        fault = fault_of(row, p.classes, logits, top)
        value = 0.0
        if fault == sc.SCORED:
            if logits:
                value = of_logits(row, p.classes, top, k)
            elif form == "probs" and p.normalize:
                s, _ = summed(row, p.classes, k, 1.0)
                rest = (s[0] + s[1]) / SCALE
                mass = rest + top
                if mass == 0.0:
                    fault = sc.ZERO_MASS
                else:
                    _, c = summed(row, p.classes, k, mass)
                    value = (c[0] + c[1]) / SCALE / mass + top / mass * log1p(rest / top)
            else:
                _, c = summed(row, p.classes, k, 1.0)
                # What the greatest adds; its logarithm is 0 and more for a row of -inf.
                own = top * -log(top) if form == "probs" else exp(top) * max(0.0, -top)
                value = (c[0] + c[1]) / SCALE + (0.0 if top == (0.0 if form == "probs" else -INF) else own)
        card.real[sc.ENTROPY, i] = value + 0.0
        if fault != sc.SCORED:
            card.status[i] = fault

    @kernel(variant=variant, inline="always")
    def settle(p, row, address, card, i, work):
        if card.status[i] == sc.SCORED:
            entropy_of(p, address, card, i)

    return row_by_row(settle, f"entropy-{variant}")


@kernel()
def clear(p, lo, n, card, work):
    """A clean scorecard, for row kernels that look at the status before they score."""
    for i in range(n):
        card.status[i] = sc.SCORED
        card.whole[sc.TARGET, i] = 0
        card.whole[sc.RANK, i] = 0
        card.real[sc.LOSS, i] = 0.0


@kernel()
def as_loss(p, lo, n, card, work):
    """The entropy of the rows as their loss."""
    for i in range(n):
        card.real[sc.LOSS, i] = card.real[sc.ENTROPY, i]
