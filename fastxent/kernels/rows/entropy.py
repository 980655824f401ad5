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
from fastxent.kernels.functions.twofold import exp_of_difference
from fastxent.kernels.functions.vecmath import exp, log, log1p
from fastxent.kernels.rows.one_row import reader, row_by_row
from fastxent.kernels.rows.probs import SLACK
from fastxent.kernels.rows.softmax import SPAN, add_exactly
from fastxent.kernels.vector.simd import LANES, first_lane, fma, halving_sum, lane_numbers, select, splat

__all__ = ["as_loss", "clear", "entropy"]

INF = np.inf


@cache
def entropy(form: str, kind: str) -> Any:
    """The row kernel for the entropy of the predictions (nats), to ENTROPY; it needs no target and leaves other scores.

    Runs alone, on a clean scorecard, or after another kernel: it looks at rows whose status is SCORED,
    and marks those without an entropy. ``form`` is "logits", "probs" or "log_probs".
    """
    group, peak = reader(kind)
    highest = 1.0 if form == "probs" else (SLACK if kind != "float64" else 0.0)
    variant = f"{form}-{kind}"

    @kernel(variant=variant)
    def shifted(row, classes, top, k):
        """Of the classes but k: sum e_j and sum e_j (top - z_j), e_j = exp(z_j - top)."""
        groups = (classes + LANES - 1) // LANES
        s = 0.0
        s_lost = 0.0
        c = 0.0
        c_lost = 0.0
        for first in range(0, groups, SPAN // LANES):
            total = splat(0.0, LANES)
            cross = splat(0.0, LANES)
            for g in range(first, min(first + SPAN // LANES, groups)):
                is_top = lane_numbers(LANES) == np.int32(k - g * LANES)
                x = select(is_top, splat(-INF, LANES), group(row, classes, g))
                e = exp_of_difference(x, top)
                total = total + e
                cross = fma(e, select(e == 0.0, e, x * -1.0 + top), cross)
            s, s_lost = add_exactly(s, s_lost, halving_sum(total))
            c, c_lost = add_exactly(c, c_lost, halving_sum(cross))
        return s + s_lost, c + c_lost

    @kernel(variant=variant)
    def summed(row, classes, k, mass):
        """Of the classes but k: sum p_j and sum - p_j log(p_j / mass), p_j as stored."""
        groups = (classes + LANES - 1) // LANES
        s = 0.0
        s_lost = 0.0
        c = 0.0
        c_lost = 0.0
        for first in range(0, groups, SPAN // LANES):
            total = splat(0.0, LANES)
            cross = splat(0.0, LANES)
            for g in range(first, min(first + SPAN // LANES, groups)):
                number = lane_numbers(LANES)
                vacant = (number == np.int32(k - g * LANES)) | (number >= np.int32(classes - g * LANES))
                x = group(row, classes, g)
                if form == "probs":
                    e = select(vacant, splat(0.0, LANES), x)
                    cost = log(e / mass)
                else:
                    cost = select(vacant, splat(-INF, LANES), x)
                    e = exp(cost)
                total = total + e
                cross = fma(e, select(e == 0.0, e, cost * -1.0), cross)
            s, s_lost = add_exactly(s, s_lost, halving_sum(total))
            c, c_lost = add_exactly(c, c_lost, halving_sum(cross))
        return s + s_lost, c + c_lost

    @kernel(variant=variant)
    def fault_of(row, classes, logits, top):
        """Why a row has no entropy, or SCORED."""
        low = False
        for g in range((classes + LANES - 1) // LANES):
            x = group(row, classes, g)
            if first_lane(x != x) < LANES:
                return sc.NAN_PREDICTION
            outside = (x < 0.0) & (lane_numbers(LANES) < np.int32(classes - g * LANES))
            low = low or first_lane(outside) < LANES
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
                s, c = shifted(row, p.classes, top, k)
                value = log1p(s) + c / (1.0 + s)
            else:
                s, c = summed(row, p.classes, k, 1.0)
                if form == "log_probs":
                    value = 0.0 if top == -INF else c + exp(top) * max(0.0, -top)
                elif p.normalize:
                    mass = s + top
                    if mass == 0.0:
                        fault = sc.ZERO_MASS
                    else:
                        _, c = summed(row, p.classes, k, mass)
                        value = c / mass + top / mass * log1p(s / top)
                else:
                    value = 0.0 if top == 0.0 else c + top * -log(top)
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
