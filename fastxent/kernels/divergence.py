"""Entropy of predictions, Kullback-Leibler divergence between two matrices, focal loss.

1. Entropy from logits, m = max z, k its first place, e_j = exp(z_j - m), s = sum over j != k of e_j:
   H = log1p(s) + (sum over j != k of e_j (m - z_j)) / (1 + s). Nothing cancels, so an entropy of 1e-14
   is right to the last digits, where - sum p log p has lost them. From probabilities it is
   - sum p_j log p_j of the numbers stored, or normalized: there p_k enters as log1p(q / p_k).
2. KL(t || p) is the sum of t log(t / p) - t + p (`scipy.special.kl_div`), each term at least 0, which
   for rows that sum to 1 is sum t log(t / p) without its cancellation. Near t = p a term is summed from
   its series in x = (t - p) / p, or between rows of logits in d = log(t / p).
3. Focal loss (Lin et al. 2017) from the loss L itself: p_t = e^-L, so (1 - p_t)^g L = complement(L)^g L,
   accurate for confident rows, where 1 - p_t as a difference is not.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels import scorecard as sc
from fastxent.kernels.compile import kernel
from fastxent.kernels.problem import SIZE, TILE
from fastxent.kernels.simd import (
    LANES,
    fetch,
    first_lane,
    fma,
    halving_sum,
    lane_numbers,
    maximum,
    select,
    splat,
    store,
)
from fastxent.kernels.simplex import SLACK, complement
from fastxent.kernels.soft import close, gatherer, reader
from fastxent.kernels.softmax import SPAN, add_exactly
from fastxent.kernels.vecmath import exp, log, log1p

__all__ = ["as_loss", "clear", "entropy", "focal", "kl"]

INF = np.inf
#: Below this |x| (or |d|) a term of the divergence is summed from its series.
NEAR = 0.1


@kernel(inline="always")
def near_ratio(x):
    """(1 + x) log(1 + x) - x for |x| < NEAR: sum over k >= 2 of (-x)^k / (k (k - 1)); 16 terms leave 1e-17 of it."""
    s = fma(x, -1.0 / 272.0, 1.0 / 240.0)
    s = fma(s, x, -1.0 / 210.0)
    s = fma(s, x, 1.0 / 182.0)
    s = fma(s, x, -1.0 / 156.0)
    s = fma(s, x, 1.0 / 132.0)
    s = fma(s, x, -1.0 / 110.0)
    s = fma(s, x, 1.0 / 90.0)
    s = fma(s, x, -1.0 / 72.0)
    s = fma(s, x, 1.0 / 56.0)
    s = fma(s, x, -1.0 / 42.0)
    s = fma(s, x, 1.0 / 30.0)
    s = fma(s, x, -1.0 / 20.0)
    s = fma(s, x, 1.0 / 12.0)
    s = fma(s, x, -1.0 / 6.0)
    s = fma(s, x, 1.0 / 2.0)
    return s * x * x


@kernel(inline="always")
def near_log(d):
    """1 + d e^d - e^d for |d| < NEAR: sum over k >= 2 of (k - 1) d^k / k!; 10 terms leave 1e-17 of it."""
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
def near(x):
    """Where |x| < NEAR."""
    return (x < NEAR) & (x > -NEAR)


@cache
def entropy(form: str, kind: str, columns: bool) -> Any:
    """The row kernel for the entropy of the predictions (nats), to ENTROPY; it needs no target and leaves other scores.

    Runs alone, on a clean scorecard, or after another kernel: it looks at rows whose status is SCORED,
    and marks those without an entropy. ``form`` is "logits", "probs" or "log_probs".
    """
    size = SIZE[kind]
    group, peak = reader(kind)
    gather = gatherer(kind)
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
                x = select(here, splat(-INF, LANES), group(row, classes, g)) - top
                e = exp(x)
                total = total + e
                cross = cross + select(e == 0.0, e, e * (x * -1.0))
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
                cross = cross + select(e == 0.0, e, e * (cost * -1.0))
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

    @kernel(variant=f"{form}-{kind}-{columns}")
    def rows(p, lo, n, card, work):
        if columns:
            for i in range(0, n, TILE):
                count = min(TILE, n - i)
                gather(p, lo + i, count, work.table[0])
                for r in range(count):
                    if card.status[i + r] == sc.SCORED:
                        entropy_of(p, work.table[0] + r * p.classes * size, card, i + r)
        else:
            for i in range(n):
                if card.status[i] == sc.SCORED:
                    entropy_of(p, p.scores + (lo + i) * p.stride, card, i)

    return rows


@kernel()
def focal(p, lo, n, card, work):
    """Cross-entropy losses in LOSS -> focal losses (1 - e^-L)^gamma L; a factor alpha belongs to the class weights."""
    loss = card.real[sc.LOSS]
    g = p.gamma
    whole = g == np.floor(g) and 0.0 <= g <= 8.0
    for i in range(0, n, TILE):
        plain = fetch(loss, i, TILE)
        wrong = complement(plain)
        factor = splat(1.0, TILE)
        if whole:
            for _ in range(int(g)):
                factor = factor * wrong
        else:
            factor = exp(log(wrong) * g)
        store(loss, i, select(plain == 0.0, plain, factor * plain))


@cache
def kl(form: str, kind: str, target: str, columns: bool) -> Any:
    """The row kernel for KL(target || prediction), to LOSS; the targets are a matrix of kind ``target``.

    ``form`` "probs": both are probabilities; with ``normalize`` each row is divided by its sum, else
    rows that do not sum to 1 give the generalized divergence. "logits": both are logits (or log-probabilities).
    """
    size = SIZE[kind]
    group, peak = reader(kind)
    targets, target_peak = reader(target)
    gather = gatherer(kind)
    logits = form == "logits"
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
                    if logits:
                        e = exp(select(vacant, splat(-INF, LANES), x - top))
                    else:
                        e = select(vacant, splat(0.0, LANES), x)
                        fit = fit and first_lane(e < 0.0) == LANES
                    total = total + e
                s, s_lost = add_exactly(s, s_lost, halving_sum(total))
            s += s_lost
            fit = fit and s == s and (abs(top) < INF if logits else 0.0 <= top <= 1.0)
            return s, fit

        return mass_of

    mass_of = summer(group, kind)
    target_mass_of = summer(targets, target)

    @kernel(variant=variant, inline="always")
    def term(w, z, w_top, z_top, w_mass, z_mass, shift):
        """What one class adds."""
        if logits:
            q = exp(z - z_top) / z_mass
            t = exp(w - w_top) / w_mass
            d = (w - z) - shift
            value = select(near(d), q * near_log(d), t * d - t + q)
            impossible = z == -INF
        else:
            q = z / z_mass
            t = w / w_mass
            x = t - q
            smaller = select(t < q, t, q)
            ratio = select(x < 0.0, x * -1.0, x) / smaller
            size = select(ratio < 1e300, log1p(ratio), log(t) - log(q))
            size = select(x < 0.0, size * -1.0, size)
            value = select(near(x / q), q * near_ratio(x / q), t * size - x)
            impossible = q == 0.0
        value = select(impossible, splat(INF, LANES), maximum(0.0, value))
        return select(t == 0.0, q, value)

    @kernel(variant=variant)
    def blame(row, classes, top):
        """Why a row of predictions cannot be compared."""
        for g in range((classes + LANES - 1) // LANES):
            x = group(row, classes, g)
            if first_lane(x != x) < LANES:
                return sc.NAN_PREDICTION
        if logits:
            return sc.INFINITE_LOGIT if top == INF else sc.ALL_MASKED
        return sc.PROBABILITY_OUT_OF_RANGE

    @kernel(variant=variant)
    def divergence(row, place, classes, normalize):
        """The divergence of one row and its status."""
        z_top, z_k = peak(row, classes)
        w_top, w_k = target_peak(place, classes)
        z_mass, fit = mass_of(row, classes, z_top, z_k)
        if not fit:
            return np.nan, blame(row, classes, z_top)
        w_mass, fit = target_mass_of(place, classes, w_top, w_k)
        if not fit:
            return np.nan, sc.INVALID_TARGET
        shift = 0.0
        if logits:
            shift = (w_top - z_top) + (log1p(w_mass) - log1p(z_mass))
            w_mass += 1.0
            z_mass += 1.0
        elif normalize:
            w_mass += w_top
            z_mass += z_top
            if w_mass == 0.0 or z_mass == 0.0:
                return np.nan, sc.ZERO_MASS if z_mass == 0.0 else sc.INVALID_TARGET
        else:
            w_mass = 1.0
            z_mass = 1.0
        groups = (classes + LANES - 1) // LANES
        s = 0.0
        s_lost = 0.0
        for first in range(0, groups, SPAN // LANES):
            total = splat(0.0, LANES)
            for g in range(first, min(first + SPAN // LANES, groups)):
                z = group(row, classes, g)
                w = targets(place, classes, g)
                value = term(w, z, w_top, z_top, w_mass, z_mass, shift)
                inside = lane_numbers(LANES) < np.int32(classes - g * LANES)
                total = total + select(inside, value, splat(0.0, LANES))
            s, s_lost = add_exactly(s, s_lost, halving_sum(total))
        return close(s, s_lost), sc.SCORED

    @kernel(variant=f"{variant}-{columns}")
    def rows(p, lo, n, card, work):
        loss = card.real[sc.LOSS]
        for i in range(0, n, TILE):
            count = min(TILE, n - i)
            if columns:
                gather(p, lo + i, count, work.table[0])
            for r in range(count):
                row = work.table[0] + r * p.classes * size if columns else p.scores + (lo + i + r) * p.stride
                place = p.target + (lo + i + r) * p.target_stride
                loss[i + r], card.status[i + r] = divergence(row, place, p.classes, p.normalize)
                card.real[sc.WEIGHT, i + r] = 1.0

    return rows


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
