"""Sums over one row of consecutive scores, the lanes within the row.

Those that a loss is made of are of two parts (`two_sums`). Others, which only have to be near, have class j in lane
j mod 32 of span j div 256, lanes folded by halves, spans added by TwoSum.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract.problem import SIZE
from fastxent.kernels.functions.powers import splitter
from fastxent.kernels.rows.softmax import SPAN, add_exactly, add_positives, finite, fold_eight, terms
from fastxent.kernels.rows.tiles import SQUARES, TERMS, fetch_ahead, just_below
from fastxent.kernels.vector.memory import fetch, load, load_first
from fastxent.kernels.vector.simd import (
    LANES,
    any_lane,
    as_ones,
    halving_sum,
    lane_max,
    lane_numbers,
    maximum,
    minimum,
    narrow,
    select,
    splat,
    splat_i32,
    widen,
)

__all__ = ["adder", "close", "power_adder", "ranker", "squarer", "two_sums"]

INF = np.inf


@cache
def eights(kind: str) -> Any:
    """Kernels that load eight probabilities from class j on, 0 for the target and beyond the last: (whole, last)."""
    size = SIZE[kind]

    @kernel(variant=kind, inline="always")
    def whole(row, j, home):
        """Of a row that has eight more; ``home`` says in all lanes where the target stands, from j on."""
        x = load(row + j * size, kind, 8)
        return select(lane_numbers(8) == home, narrow(splat(0.0, 8), x), x)

    @kernel(variant=kind, inline="always")
    def last(row, j, count, home):
        """Of a row with ``count`` classes."""
        left = min(count - j, 8)
        x = load_first(row + j * size, kind, 8, left)
        number = lane_numbers(8)
        return select((number == home) | (number >= np.int32(left)), narrow(splat(0.0, 8), x), x)

    return whole, last


@cache
def adder(kind: str) -> Any:
    """Kernels for the sum of a row of probabilities but class t: with whether all are in [0, 1], and alone, exactly."""
    size = SIZE[kind]
    whole, last = eights(kind)

    @kernel(variant=kind, inline="always")
    def of_span(row, count, t, low, top):
        """The sum of up to SPAN classes; the extremes of the lanes."""
        a = splat(0.0, 8)
        b = a
        c = a
        d = a
        home = splat_i32(np.int32(t), 8)
        even = count // LANES * LANES
        for j in range(0, even, LANES):
            w = whole(row, j, home)
            x = whole(row, j + 8, home - np.int32(8))
            y = whole(row, j + 16, home - np.int32(16))
            z = whole(row, j + 24, home - np.int32(24))
            a = a + widen(w)
            b = b + widen(x)
            c = c + widen(y)
            d = d + widen(z)
            low = minimum(z, minimum(y, minimum(x, minimum(w, low))))
            top = maximum(z, maximum(y, maximum(x, maximum(w, top))))
            home = home - np.int32(LANES)
        # In registers too: through memory, the end of a row waits for what was stored.
        if even < count:
            w = last(row, even, count, home)
            a = a + widen(w)
            low, top = minimum(w, low), maximum(w, top)
        if even + 8 < count:
            x = last(row, even + 8, count, home - np.int32(8))
            b = b + widen(x)
            low, top = minimum(x, low), maximum(x, top)
        if even + 16 < count:
            y = last(row, even + 16, count, home - np.int32(16))
            c = c + widen(y)
            low, top = minimum(y, low), maximum(y, top)
        if even + 24 < count:
            z = last(row, even + 24, count, home - np.int32(24))
            d = d + widen(z)
            low, top = minimum(z, low), maximum(z, top)
        return halving_sum((a + c) + (b + d)), low, top

    @kernel(variant=kind)
    def exactly(inputs, j, count):
        row, t = inputs
        home = splat_i32(np.int32(t - j), 8)
        none = splat(0.0, 8)
        return widen(whole(row, j, home) if count == 8 else last(row, j, j + count, home)), none, none, none

    sums = two_sums(exactly, f"probabilities-{kind}")

    @kernel(variant=kind)
    def add_others(row, classes, t):
        """The sum of a row but class t, with what it lost."""
        s, s_lost = sums((row, t), classes)[0]
        return s + s_lost

    @kernel(variant=kind, inline="always")
    def add_up(row, classes, t, normalize):
        zero = narrow(splat(0.0, 8), load_first(row, kind, 8, 0))
        count = min(SPAN, classes)
        fetch_ahead(row, count * size)
        s, low, top = of_span(row, count, t, zero, zero)
        s_lost = 0.0
        for first in range(SPAN, classes, SPAN):
            start = row + first * size
            count = min(SPAN, classes - first)
            fetch_ahead(start, count * size)
            total, low, top = of_span(start, count, t - first, low, top)
            s, s_lost = add_exactly(s, s_lost, total)
        s += s_lost
        # NaN is in the sum.
        fit = not any_lane((low < 0.0) | (top > 1.0))
        if normalize and fit and s == s:
            s = add_others(row, classes, t)
        return s, fit

    return add_up, add_others


@cache
def two_sums(terms: Any, name: str) -> Any:
    """Compile ``sums(inputs, classes)``: two sums over the classes of a row, in one pass, each in two parts.

    ``terms(inputs, j, count)`` are the terms of the eight classes from j on, of which ``count`` exist: x, what rounding
    it lost, y and what rounding that lost; x and y are not negative. ``inputs`` is a tuple of what it needs. ``name``
    names it with everything it was made from.
    """

    @kernel(variant=name)
    def sums(inputs, classes):
        none = splat(0.0, 8)
        s, s_lost = none, none
        r, r_lost = none, none
        even = classes // 8 * 8
        for j in range(0, even, 8):
            x, x_lost, y, y_lost = terms(inputs, j, 8)
            s, lost = add_positives(s, x)
            s_lost = s_lost + (lost + x_lost)
            r, lost = add_positives(r, y)
            r_lost = r_lost + (lost + y_lost)
        if even < classes:
            x, x_lost, y, y_lost = terms(inputs, even, classes - even)
            s, lost = add_positives(s, x)
            s_lost = s_lost + (lost + x_lost)
            r, lost = add_positives(r, y)
            r_lost = r_lost + (lost + y_lost)
        x, x_lost = fold_eight(s, s_lost)
        y, y_lost = fold_eight(r, r_lost)
        return (x, finite(x, x_lost)), (y, finite(y, y_lost))

    return sums


@kernel(inline="always")
def add_span(first, total, lost, term):
    """Add the sum of the span that starts at class ``first``; the only one of a short row waits for no TwoSum."""
    return (term, 0.0) if first == 0 else add_exactly(total, lost, term)


@kernel(inline="always")
def close(total, lost):
    """The sum from its two parts; an infinite one has lost nothing."""
    return total if total == INF else total + lost


@cache
def squarer(kind: str) -> Any:
    """The kernel for the sum of the squares of a row of probabilities but class t."""
    whole, last = eights(kind)

    @kernel(variant=kind, inline="always")
    def square(inputs, j, count):
        row, t = inputs
        home = splat_i32(np.int32(t - j), 8)
        e = widen(whole(row, j, home) if count == 8 else last(row, j, j + count, home))
        none = splat(0.0, 8)
        return e * e, none, none, none

    sums = two_sums(square, f"squares-{kind}")

    @kernel(variant=kind)
    def add_squares(row, classes, t):
        return sums((row, t), classes)[0][0]

    return add_squares


@cache
def power_adder(kind: str, full: bool) -> Any:
    """The kernel for sum e^x_j, j != t, of a row, sum e^2x_j if ``full``, and max x_j."""
    size = SIZE[kind]
    anchor_of = splitter(kind).anchor
    wait, leave_out, raise_lanes, _, _ = terms(kind, full)

    @kernel(variant=f"{kind}-{full}")
    def add_powers(row, classes, t, lanes, powers):
        scratch = lanes.ctypes.data
        anchor = anchor_of(splat(0.0, 8))
        top = load_first(row, kind, 8, 0)
        s = 0.0
        s_lost = 0.0
        q = 0.0
        q_lost = 0.0
        for first in range(0, classes, SPAN):
            start = row + first * size
            count = min(SPAN, classes - first)
            fetch_ahead(start, count * size)
            for j in range(0, count, 8):
                x = load_first(start + j * size, kind, 8, min(count - j, 8))
                top = maximum(x, top)
                wait(scratch, j, x, anchor)
            if first <= t < first + count:
                leave_out(scratch, t - first)
            raise_lanes(scratch, (count + 7) // 8 * 8, 0, powers)
            s, s_lost = add_span(first, s, s_lost, halving_sum(fetch(lanes, TERMS, LANES)))
            if full:
                q, q_lost = add_span(first, q, q_lost, halving_sum(fetch(lanes, SQUARES, LANES)))
        return s + s_lost, q + q_lost, np.float64(lane_max(top))

    return add_powers


@cache
def ranker(kind: str) -> Any:
    """The kernel for how many scores stand before the target's, in stable descending order, and the largest one."""
    size = SIZE[kind]

    @kernel(variant=kind)
    def order(row, classes, t, x_t):
        top = load_first(row, kind, 8, 0)
        before = narrow(splat(just_below(x_t, top), 8), top)
        after = narrow(splat(x_t, 8), top)
        greater = as_ones(top > top, top)
        target = splat_i32(np.int32(t), 8)
        number = lane_numbers(8)
        for j in range(0, classes, 8):
            x = load_first(row + j * size, kind, 8, min(classes - j, 8))
            # Equal scores to the left of the target stand before it.
            greater = greater - as_ones(x > select(number < target, before, after), x)
            top = maximum(x, top)
            number = number + np.int32(8)
        return halving_sum(greater), np.float64(lane_max(top))

    return order
