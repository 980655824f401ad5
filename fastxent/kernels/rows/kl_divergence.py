"""Kullback-Leibler divergence between two matrices.

KL(t || p) is the sum of t log(t / p) - t + p (`scipy.special.kl_div`), each term at least 0, which
for rows that sum to 1 is sum t log(t / p) without its cancellation. A term has its relative accuracy
however near t is to p: see `from_ratio`, and for rows of logits `from_log`.

Terms, sums and the sums of a row's probabilities are numbers in two parts each, so the divergence is rounded when it
is done. Of logits the two sums have errors all the same, for exponentials do; what they do to log(t / p) comes
out as the sum of t - p, which should be 0, and is taken back: see `between_logs`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import SIZE
from fastxent.kernels.functions.twofold import (
    add,
    binary_exponent,
    divide_pairs,
    exp_in_parts,
    exp_less_one,
    log_of_ratio,
    multiply,
    multiply_pairs,
    settled,
    subtract,
    sum_of_lanes,
)
from fastxent.kernels.functions.vecmath import L0, L1, L2, L3, L4, L5, L6, LN2_HIGH, LN2_LOW
from fastxent.kernels.rows.one_row import reader, row_by_row
from fastxent.kernels.rows.probs import SLACK
from fastxent.kernels.rows.softmax import add_exactly
from fastxent.kernels.vector.memory import load_scalar
from fastxent.kernels.vector.simd import any_lane, fill, first_lane, fma, lane_numbers, minimum, select, splat

__all__ = ["kl"]

INF = np.inf
#: Classes side by side: so many that what a term needs stays in registers.
LANES = 8
#: Below this |log(t / p)| a term of the divergence between logits is summed from its series.
NEAR = 0.4
#: A divergence of logits below this is summed again, in units in which exponentials down to e^-773 are not 0.
SMALL = 2.0**-900
#: How often at most a row of logits is summed: each time its errors are those of the last time, times 2^-50.
TIMES = 4


@kernel(inline="always")
def near_log(d):
    """e^d d - e^d + 1 for |d| < NEAR, in two parts: d^2 / 2 + sum over k >= 3 of (k - 1) d^k / k!."""
    s = fma(d, 14.0 / 1307674368000.0, 13.0 / 87178291200.0)
    s = fma(s, d, 12.0 / 6227020800.0)
    s = fma(s, d, 11.0 / 479001600.0)
    s = fma(s, d, 10.0 / 39916800.0)
    s = fma(s, d, 9.0 / 3628800.0)
    s = fma(s, d, 8.0 / 362880.0)
    s = fma(s, d, 7.0 / 40320.0)
    s = fma(s, d, 6.0 / 5040.0)
    s = fma(s, d, 5.0 / 720.0)
    s = fma(s, d, 4.0 / 120.0)
    s = fma(s, d, 3.0 / 24.0)
    s = fma(s, d, 2.0 / 6.0)
    square, lost = multiply(d, d)
    return square * 0.5, fma(square * d, s, lost * 0.5)


@kernel(inline="always")
def from_log(d, d_lost, q, q_lost):
    """The term t d - t + q, given d = log(t / q) <= 2, and t - q; each in two parts, as what they are made from."""
    e, e_lost = exp_less_one(minimum(2.0, d))
    a, a_lost = subtract(d, e)
    b, b_lost = multiply(d, e)
    c, c_lost = add(a, b)
    c_lost = c_lost + (fma(d, e_lost, b_lost) + (a_lost - e_lost))
    close, close_lost = near_log(d)
    near = (d < NEAR) & (d > -NEAR)
    # The derivative is d e^d.
    f_lost = fma(fma(d, e, d), d_lost, select(near, close_lost, c_lost))
    f, f_lost = settled(select(near, close, c), f_lost)
    value, value_lost = multiply_pairs(q, q_lost, f, f_lost)
    gap, gap_lost = multiply_pairs(q, q_lost, e, e_lost + fma(e, d_lost, d_lost))
    return value, value_lost, gap, gap_lost


@kernel(inline="always")
def from_share(d, d_lost, q, q_lost, t, t_lost):
    """The same given t as well, for d > 2."""
    less, lost = add(d, -1.0)
    p, p_lost = multiply_pairs(t, t_lost, less, lost + d_lost)
    value, value_lost = add(p, q)
    gap, gap_lost = subtract(t, q)
    return value, value_lost + (p_lost + q_lost), gap, gap_lost + (t_lost - q_lost)


@kernel(inline="always")
def from_ratio(t, t_lost, q, q_lost):
    """The term t log(t / q) - t + q, in two parts, of numbers in two parts, which are 0 or from 2^-800 to 2^600.

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
    s, s_lost = divide_pairs(x, x_lost, both, both_lost)
    z = s * s
    p = fma(z, L6, L5)
    p = fma(p, z, L4)
    p = fma(p, z, L3)
    p = fma(p, z, L2)
    p = fma(p, z, L1)
    p = fma(p, z, L0)
    cube = s * z * p
    near, near_lost = multiply_pairs(s, s_lost, x, x_lost)
    near_lost = fma(t, cube, near_lost)
    k = k + select(huge, none + 600.0, none)
    log, log_lost = add(k * LN2_HIGH, s * 2.0)
    log_lost = log_lost + fma(k, LN2_LOW, fma(s_lost, 2.0, cube))
    a, a_lost = multiply(t, log)
    d, d_lost = subtract(t, q)
    d_lost = d_lost + (t_lost - q_lost)
    c, c_lost = subtract(a, d)
    c_lost = c_lost + ((fma(t, log_lost, a_lost) + t_lost * log) - d_lost)
    value, lost = settled(select(k == 0.0, near, c), select(k == 0.0, near_lost, c_lost))
    value = select(q == 0.0, none + INF, value)
    some = ratio > 2.0**-1000
    return select(some, value, q), select(some, lost, q_lost)


@kernel(inline="always")
def unit_of(mass, lost):
    """Of the sum of a row of probabilities: its significand, and two factors whose product is 2^400 over the rest."""
    lift = 1.0 if mass > 2.0**-900 else 2.0**200
    _, down = binary_exponent(mass * lift)
    return mass * lift * down, lost * lift * down, lift * 2.0**300, down * 2.0**100


@cache
def mass_of(kind: str, form: str) -> Any:
    """The kernel for the sum of a row, in two parts: of e^(z_j - level), or of the p_j; and whether it is one."""
    group, _ = reader(kind, LANES)
    logs = form != "probs"

    @kernel(variant=f"{kind}-{form}")
    def mass(row, classes, level, top, scratch):
        total = splat(0.0, LANES)
        lost = total
        fit = abs(level) < INF if logs else 0.0 <= top <= 1.0
        for g in range((classes + LANES - 1) // LANES):
            x = group(row, classes, g)
            if logs:
                d, d_lost = add(x, -level)
                e, e_lost = exp_in_parts(d, d_lost)
                lost = lost + e_lost
            else:
                e = select(lane_numbers(LANES) < np.int32(classes - g * LANES), x, splat(0.0, LANES))
                fit = fit and not any_lane(e < 0.0)
            total, lost = add_exactly(total, lost, e)
        s, rest = sum_of_lanes(total, lost, scratch)
        return s, rest, fit and s == s

    return mass


@cache
def between_logs(kind: str, wide: str, form: str) -> Any:
    """The kernel for the divergence of two rows of logits, or of logarithms of probabilities."""
    group, _ = reader(kind, LANES)
    targets, _ = reader(wide, LANES)
    variant = f"{kind}-{wide}"

    @kernel(variant=variant)
    def term(w, z, levels, ratio, share):
        """What one class adds, and t - q, in two parts each; in units in which q is e^(z - its level)."""
        w_level, z_level, between, between_lost = levels
        d, d_lost = add(z, -z_level)
        q, q_lost = exp_in_parts(d, d_lost)
        d, lost = subtract(w, z)
        d, more = subtract(d, between)
        d, most = subtract(d, ratio[0])
        # Of -inf the parts are NaN.
        lost = select(d > -INF, (lost + more) + (most - (between_lost + ratio[1])), fill(0.0, d))
        high, low = settled(d, lost)
        lost = select(d > -INF, low, lost)
        value, value_lost, gap, gap_lost = from_log(high, lost, q, q_lost)
        far = high > 2.0
        if any_lane(far):
            d, d_lost = add(w, -w_level)
            t, t_lost = exp_in_parts(d, d_lost)
            t, t_lost = multiply_pairs(t, t_lost, share[0], share[1])
            v, v_lost, x, x_lost = from_share(high, lost, q, q_lost, t, t_lost)
            value, value_lost = select(far, v, value), select(far, v_lost, value_lost)
            gap, gap_lost = select(far, x, gap), select(far, x_lost, gap_lost)
        value = select(z == -INF, fill(INF, z), value)
        none = w == -INF
        value, value_lost = select(none, q, value), select(none, q_lost, value_lost)
        return value, value_lost, select(none, q * -1.0, gap), select(none, q_lost * -1.0, gap_lost)

    @kernel(variant=variant)
    def sums(row, place, classes, levels, ratio, share, scratch):
        """The sums of the terms and of t - q, in two parts each."""
        total = splat(0.0, LANES)
        lost = total
        gaps = total
        gaps_lost = total
        none = total
        for g in range((classes + LANES - 1) // LANES):
            value, value_lost, gap, gap_lost = term(
                targets(place, classes, g), group(row, classes, g), levels, ratio, share
            )
            inside = lane_numbers(LANES) < np.int32(classes - g * LANES)
            total, lost = add_exactly(total, lost + select(inside, value_lost, none), select(inside, value, none))
            gaps, gaps_lost = add_exactly(gaps, gaps_lost + select(inside, gap_lost, none), select(inside, gap, none))
        s, s_lost = sum_of_lanes(total, lost, scratch)
        excess, excess_lost = sum_of_lanes(gaps, gaps_lost, scratch)
        return s, s_lost, excess + excess_lost

    @kernel(variant=variant)
    def divergence(row, place, classes, levels, z_mass, w_mass, stored, scratch):
        """The divergence, of masses in two parts.

        The logarithm of their ratio is not quite right, so that sum t / sum q = 1 + e. The divergence
        is value / (1 + e) - e + log(1 + e); where e is not small beside its root, the logarithm is mended.
        """
        ratio = (0.0, 0.0)
        if not stored:
            ratio = log_of_ratio(w_mass[0], w_mass[1], z_mass[0], z_mass[1])
        share = divide_pairs(z_mass[0], z_mass[1], w_mass[0], w_mass[1])
        value = 0.0
        for _ in range(TIMES):
            s, lost, excess = sums(row, place, classes, levels, ratio, share, scratch)
            if s == INF:
                return INF
            value, lost = divide_pairs(s, lost, z_mass[0], z_mass[1])
            if stored:
                return value + lost
            e = excess / z_mass[0]
            value += lost - fma(e, value, 0.5 * e * e)
            if e * e <= value * 2.0**-20:
                break
            ratio = add(ratio[0], ratio[1] + e)
        return max(0.0, value)

    return divergence


@cache
def between_probs(kind: str, wide: str) -> Any:
    """The kernel for the divergence of two rows of probabilities, of significands and factors of `unit_of`."""
    group, _ = reader(kind, LANES)
    targets, _ = reader(wide, LANES)

    @kernel(variant=f"{kind}-{wide}")
    def divergence(row, place, classes, z_unit, w_unit, scratch):
        w_level, w_lost, w_up, w_down = w_unit
        z_level, z_lost, z_up, z_down = z_unit
        total = splat(0.0, LANES)
        lost = total
        none = total
        for g in range((classes + LANES - 1) // LANES):
            t = targets(place, classes, g) * w_up * w_down
            q = group(row, classes, g) * z_up * z_down
            t, t_lost = multiply_pairs(t, none, splat(z_level, LANES), splat(z_lost, LANES))
            q, q_lost = multiply_pairs(q, none, splat(w_level, LANES), splat(w_lost, LANES))
            # Times 2^400 and the two levels.
            value, value_lost = from_ratio(t, t_lost, q, q_lost)
            inside = lane_numbers(LANES) < np.int32(classes - g * LANES)
            total, lost = add_exactly(total, lost + select(inside, value_lost, none), select(inside, value, none))
        s, rest = sum_of_lanes(total, lost, scratch)
        if s == INF:
            return INF
        unit, unit_lost = multiply_pairs(w_level, w_lost, z_level, z_lost)
        value, rest = divide_pairs(s, rest, unit, unit_lost)
        return (value + rest) * 2.0**-400

    return divergence


@cache
def kl(form: str, kind: str, target: str) -> Any:
    """The row kernel for KL(target || prediction), to LOSS; the targets are a matrix of kind ``target``.

    ``form`` "probs": both are probabilities; with ``normalize`` each row is divided by its sum, else
    rows that do not sum to 1 give the generalized divergence. "log_probs": the same of their logarithms, of which
    rows are normalized as logits are. "logits": both are logits.
    """
    target_size = SIZE[target]
    wide = target if "float" in target else "float64"
    group, peak = reader(kind, LANES)
    _, target_peak = reader(wide, LANES)
    logs = form != "probs"
    highest, target_highest = (
        INF if form == "logits" else SLACK if name != "float64" else 0.0 for name in (kind, wide)
    )
    mass, target_mass = mass_of(kind, form), mass_of(wide, form)
    of_logs, of_probs = between_logs(kind, wide, form), between_probs(kind, wide)
    variant = f"{form}-{kind}-{target}"

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
    def at_levels(row, place, classes, its_levels, tops, stored, scratch):
        """The divergence of rows of logarithms and its status, in units in which e^(a row's level) is 1."""
        z_level, w_level = its_levels
        z_top, w_top = tops
        z_mass, z_lost, fit = mass(row, classes, z_level, z_top, scratch)
        if not fit or z_top > highest:
            return np.nan, blame(row, classes, z_top)
        w_mass, w_lost, fit = target_mass(place, classes, w_level, w_top, scratch)
        if not fit or w_top > target_highest:
            return np.nan, sc.INVALID_TARGET
        if stored:
            z_mass, z_lost = exp_in_parts(-z_level, 0.0)
            w_mass, w_lost = z_mass, z_lost
        between, between_lost = subtract(w_level, z_level)
        levels = (w_level, z_level, between, between_lost)
        return of_logs(row, place, classes, levels, (z_mass, z_lost), (w_mass, w_lost), stored, scratch), sc.SCORED

    @kernel(variant=variant)
    def divergence(row, place, classes, normalize, scratch):
        """The divergence of one row and its status."""
        z_top, _ = peak(row, classes)
        w_top, _ = target_peak(place, classes)
        if logs:
            stored = form == "log_probs" and not normalize
            z_level, w_level = (0.0, 0.0) if stored else (z_top, w_top)
            tops = (z_top, w_top)
            value, status = 0.0, sc.SCORED
            for lower in (0.0, 64.0):
                levels = z_level - lower, w_level - lower
                value, status = at_levels(row, place, classes, levels, tops, stored, scratch)
                if not value < SMALL:
                    break
            return value, status
        z_mass, z_lost, fit = mass(row, classes, 0.0, z_top, scratch)
        if not fit:
            return np.nan, blame(row, classes, z_top)
        w_mass, w_lost, fit = target_mass(place, classes, 0.0, w_top, scratch)
        if not fit:
            return np.nan, sc.INVALID_TARGET
        z_unit = w_unit = (1.0, 0.0, 2.0**400, 1.0)
        if normalize:
            if w_mass == 0.0 or z_mass == 0.0:
                return np.nan, sc.ZERO_MASS if z_mass == 0.0 else sc.INVALID_TARGET
            z_unit, w_unit = unit_of(z_mass, z_lost), unit_of(w_mass, w_lost)
        return of_probs(row, place, classes, z_unit, w_unit, scratch), sc.SCORED

    @kernel(variant=variant, inline="always")
    def settle(p, row, address, card, i, work):
        place = p.target + row * p.target_stride
        if target != wide:
            for j in range(p.classes):
                work.row[j] = load_scalar(place + j * target_size, target)
            place = work.row.ctypes.data
        card.real[sc.LOSS, i], card.status[i] = divergence(address, place, p.classes, p.normalize, work.lanes)
        card.real[sc.WEIGHT, i] = 1.0

    return row_by_row(settle, f"kl-{variant}")
