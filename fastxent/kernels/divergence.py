"""Entropy of predictions, and Kullback-Leibler divergence between two matrices.

1. Entropy from logits, m = max z, k its first place, e_j = exp(z_j - m), s = sum over j != k of e_j:
   H = log1p(s) + (sum over j != k of e_j (m - z_j)) / (1 + s). Nothing cancels, so an entropy of 1e-14
   is right to the last digits, where - sum p log p has lost them. From probabilities it is
   - sum p_j log p_j of the numbers stored, or normalized: there p_k enters as log1p(q / p_k).
2. KL(t || p) is the sum of t log(t / p) - t + p (`scipy.special.kl_div`), each term at least 0, which
   for rows that sum to 1 is sum t log(t / p) without its cancellation. A term has its relative accuracy
   however near t is to p: see `from_ratio`, and for rows of logits `from_log`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels import scorecard as sc
from fastxent.kernels.compile import kernel
from fastxent.kernels.onerow import reader, row_by_row
from fastxent.kernels.problem import SIZE
from fastxent.kernels.simd import (
    LANES,
    fill,
    first_lane,
    fma,
    halving_sum,
    lane_numbers,
    load_scalar,
    minimum,
    select,
    splat,
)
from fastxent.kernels.simplex import SLACK
from fastxent.kernels.softmax import SPAN, add_exactly
from fastxent.kernels.twofold import (
    add,
    binary_exponent,
    exp_less_one,
    exp_of_difference,
    multiply,
    subtract,
)
from fastxent.kernels.vecmath import L0, L1, L2, L3, L4, L5, L6, LN2_HIGH, LN2_LOW, exp, log, log1p

__all__ = ["as_loss", "clear", "entropy", "kl"]

INF = np.inf
#: Below this |log(t / p)| a term of the divergence between logits is summed from its series.
NEAR = 0.1


@kernel(inline="always")
def near_log(d):
    """e^d d - e^d + 1 for |d| < NEAR: sum over k >= 2 of (k - 1) d^k / k!."""
    s = fma(d, 10.0 / 39916800.0, 9.0 / 3628800.0)
    s = fma(s, d, 8.0 / 362880.0)
    s = fma(s, d, 7.0 / 40320.0)
    s = fma(s, d, 6.0 / 5040.0)
    s = fma(s, d, 5.0 / 720.0)
    s = fma(s, d, 4.0 / 120.0)
    s = fma(s, d, 3.0 / 24.0)
    s = fma(s, d, 2.0 / 6.0)
    s = fma(s, d, 1.0 / 2.0)
    return s * d * d


@kernel(inline="always")
def from_log(d, q, t):
    """The term t d - t + q, given d = log(t / q); and t - q."""
    e, e_lost = exp_less_one(minimum(2.0, d))
    a, a_lost = subtract(d, e)
    b, b_lost = multiply(d, e)
    c, c_lost = add(a, b)
    unit = c + (c_lost + (fma(d, e_lost, b_lost) + (a_lost - e_lost)))
    unit = select((d < NEAR) & (d > -NEAR), near_log(d), unit)
    far = d > 2.0
    return select(far, fma(t, d - 1.0, q), q * unit), select(far, t - q, q * e)


@kernel(inline="always")
def from_ratio(t, t_lost, q, q_lost):
    """The term t log(t / q) - t + q of numbers in two parts, which are 0 or from 2^-800 to 2^600; and t - q.

    With t / q = 2^k (1 + s) / (1 - s), log(t / q) = k ln 2 + 2 s + s^3 R. For k = 0 that is s (t - q) + t s^3 R,
    in which next to nothing cancels; else the difference is taken in two parts.
    """
    none = fill(0.0, t)
    huge = t > q * 2.0**900
    raised = select(huge, q * 2.0**600, q)
    ratio = t / raised
    k, down = binary_exponent(ratio)
    level = t * down
    level_lost = t_lost * down
    raised_lost = select(huge, none, q_lost)
    x, x_lost = add(level - raised, level_lost - raised_lost)
    both, both_lost = add(level, raised)
    both_lost = both_lost + (level_lost + raised_lost)
    s = x / both
    s_lost = fma(s * -1.0, both_lost, fma(s * -1.0, both, x) + x_lost) / both
    z = s * s
    p = fma(z, L6, L5)
    p = fma(p, z, L4)
    p = fma(p, z, L3)
    p = fma(p, z, L2)
    p = fma(p, z, L1)
    p = fma(p, z, L0)
    cube = s * z * p
    near = fma(s, x, t * cube)
    k = k + select(huge, none + 600.0, none)
    log, log_lost = add(k * LN2_HIGH, s * 2.0)
    log_lost = log_lost + fma(k, LN2_LOW, fma(s_lost, 2.0, cube))
    a, a_lost = multiply(t, log)
    d, d_lost = subtract(t, q)
    d_lost = d_lost + (t_lost - q_lost)
    c, c_lost = subtract(a, d)
    value = c + (c_lost + (fma(t, log_lost, a_lost) - d_lost))
    value = select(k == 0.0, near, value)
    value = select(q == 0.0, none + INF, value)
    return select(ratio > 2.0**-1000, value, q), d + d_lost


@kernel(inline="always")
def unit_of(mass):
    """Of the sum of a row of probabilities: its significand, and two factors whose product is 2^400 over the rest."""
    lift = 1.0 if mass > 2.0**-900 else 2.0**200
    _, down = binary_exponent(mass * lift)
    return mass * lift * down, lift * 2.0**300, down * 2.0**100


@cache
def entropy(form: str, kind: str, columns: bool) -> Any:
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
                here = lane_numbers(LANES) == np.int32(k - g * LANES)
                x = select(here, splat(-INF, LANES), group(row, classes, g))
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

    return row_by_row(settle, kind, columns, f"entropy-{variant}")


@cache
def kl(form: str, kind: str, target: str, columns: bool) -> Any:
    """The row kernel for KL(target || prediction), to LOSS; the targets are a matrix of kind ``target``.

    ``form`` "probs": both are probabilities; with ``normalize`` each row is divided by its sum, else
    rows that do not sum to 1 give the generalized divergence. "log_probs": the same of their logarithms, of which
    rows are normalized as logits are. "logits": both are logits.
    """
    target_size = SIZE[target]
    group, peak = reader(kind)
    wide = target if "float" in target else "float64"
    targets, target_peak = reader(wide)
    logs = form != "probs"
    highest, target_highest = (
        INF if form == "logits" else SLACK if name != "float64" else 0.0 for name in (kind, wide)
    )
    variant = f"{form}-{kind}-{target}"

    def summer(read: Any, name: str) -> Any:
        @kernel(variant=f"{form}-{name}")
        def mass_of(row, classes, top, k):
            """The sum over j != k of p_j or exp(z_j - top), and whether all numbers are fit for it."""
            groups = (classes + LANES - 1) // LANES
            s = 0.0
            s_lost = 0.0
            fit = True
            for first in range(0, groups, SPAN // LANES):
                total = splat(0.0, LANES)
                for g in range(first, min(first + SPAN // LANES, groups)):
                    number = lane_numbers(LANES)
                    vacant = (number == np.int32(k - g * LANES)) | (number >= np.int32(classes - g * LANES))
                    x = read(row, classes, g)
                    if logs:
                        e = exp_of_difference(select(vacant, splat(-INF, LANES), x), top)
                    else:
                        e = select(vacant, splat(0.0, LANES), x)
                        fit = fit and first_lane(e < 0.0) == LANES
                    total = total + e
                s, s_lost = add_exactly(s, s_lost, halving_sum(total))
            s += s_lost
            fit = fit and s == s and (abs(top) < INF if logs else 0.0 <= top <= 1.0)
            return s, fit

        return mass_of

    mass_of = summer(group, kind)
    target_mass_of = summer(targets, wide)

    @kernel(variant=variant, inline="always")
    def of_logits(w, z, w_top, z_top, w_share, log_ratio):
        """What one class adds, and t - q; in units in which q is e^(z - z_top)."""
        q = exp_of_difference(z, z_top)
        t = exp_of_difference(w, w_top) * w_share
        between, between_lost = add(splat(w_top, LANES), -z_top)
        d, lost = subtract(w, z)
        d, more = subtract(d, between)
        d = (d - log_ratio) + (lost + more - between_lost)
        value, gap = from_log(d, q, t)
        value = select(z == -INF, splat(INF, LANES), value)
        none = t == 0.0
        return select(none, q, value), select(none, q * -1.0, gap)

    @kernel(variant=variant, inline="always")
    def of_probs(w, z, w_unit, z_unit):
        """What one class adds, and t - q; times 2^400 and the two levels."""
        w_level, w_up, w_down = w_unit
        z_level, z_up, z_down = z_unit
        t, t_lost = multiply(w * w_up * w_down, z_level)
        q, q_lost = multiply(z * z_up * z_down, w_level)
        return from_ratio(t, t_lost, q, q_lost)

    @kernel(variant=variant)
    def blame(row, classes, top):
        """Why a row of predictions cannot be compared."""
        for g in range((classes + LANES - 1) // LANES):
            x = group(row, classes, g)
            if first_lane(x != x) < LANES:
                return sc.NAN_PREDICTION
        if form == "logits":
            return sc.INFINITE_LOGIT if top == INF else sc.ALL_MASKED
        return sc.ZERO_MASS if logs and top == -INF else sc.PROBABILITY_OUT_OF_RANGE

    @kernel(variant=variant)
    def divergence(row, place, classes, normalize):
        """The divergence of one row and its status."""
        z_top, z_k = peak(row, classes)
        w_top, w_k = target_peak(place, classes)
        stored = form == "log_probs" and not normalize
        z_level, w_level = (0.0, 0.0) if stored else (z_top, w_top)
        z_mass, fit = mass_of(row, classes, z_level, z_k)
        if not fit or (logs and z_top > highest):
            return np.nan, blame(row, classes, z_top)
        w_mass, fit = target_mass_of(place, classes, w_level, w_k)
        if not fit or (logs and w_top > target_highest):
            return np.nan, sc.INVALID_TARGET
        log_ratio = 0.0
        w_unit = z_unit = (1.0, 2.0**400, 1.0)
        unit = 2.0**400
        if logs:
            w_mass = 1.0 if stored else w_mass + 1.0
            z_mass = 1.0 if stored else z_mass + 1.0
            log_ratio = log(w_mass / z_mass)
            unit = z_mass
        elif normalize:
            w_mass += w_top
            z_mass += z_top
            if w_mass == 0.0 or z_mass == 0.0:
                return np.nan, sc.ZERO_MASS if z_mass == 0.0 else sc.INVALID_TARGET
            w_unit, z_unit = unit_of(w_mass), unit_of(z_mass)
            unit = w_unit[0] * z_unit[0] * 2.0**400
        groups = (classes + LANES - 1) // LANES
        s = 0.0
        s_lost = 0.0
        excess = 0.0
        excess_lost = 0.0
        for first in range(0, groups, SPAN // LANES):
            total = splat(0.0, LANES)
            gaps = total
            for g in range(first, min(first + SPAN // LANES, groups)):
                z = group(row, classes, g)
                w = targets(place, classes, g)
                if logs:
                    value, gap = of_logits(w, z, w_level, z_level, z_mass / w_mass, log_ratio)
                else:
                    value, gap = of_probs(w, z, w_unit, z_unit)
                inside = lane_numbers(LANES) < np.int32(classes - g * LANES)
                total = total + select(inside, value, splat(0.0, LANES))
                gaps = gaps + select(inside, gap, splat(0.0, LANES))
            s, s_lost = add_exactly(s, s_lost, halving_sum(total))
            excess, excess_lost = add_exactly(excess, excess_lost, halving_sum(gaps))
        if s == INF:
            return INF, sc.SCORED
        value = (s + s_lost) / unit
        if form == "logits" or normalize:
            # The masses are rounded, so that sum t / sum q = 1 + e: the divergence is value / (1 + e) - e + log(1 + e).
            e = (excess + excess_lost) / unit
            value = max(0.0, value / (1.0 + e) - 0.5 * e * e)
        return value, sc.SCORED

    @kernel(variant=variant, inline="always")
    def settle(p, row, address, card, i, work):
        place = p.target + row * p.target_stride
        if target != wide:
            for j in range(p.classes):
                work.row[j] = load_scalar(place + j * target_size, target)
            place = work.row.ctypes.data
        card.real[sc.LOSS, i], card.status[i] = divergence(address, place, p.classes, p.normalize)
        card.real[sc.WEIGHT, i] = 1.0

    return row_by_row(settle, kind, columns, f"kl-{variant}")


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
