"""One row of consecutive numbers after the other, for kernels that look at a row more than once."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract.problem import SIZE
from fastxent.kernels.rows.tiles import fetch_ahead
from fastxent.kernels.vector.memory import load, load_first, load_scalar
from fastxent.kernels.vector.simd import (
    LANES,
    as_ones,
    fill,
    lane_max,
    lane_min,
    maximum,
    numbers_like,
    select,
    widen,
)

__all__ = ["reader", "row_by_row", "runner_up"]


@cache
def row_by_row(settle: Any, name: str) -> Any:
    """The row kernel that calls ``settle(p, row, address, card, i, work)`` for every row.

    ``address`` is that of the row's scores; ``name`` names ``settle`` and all that it was made from.
    """

    @kernel(variant=name, inline="always")
    def rows(p, lo, n, card, work):
        for i in range(n):
            settle(p, lo + i, p.scores + (lo + i) * p.stride, card, i, work)

    return rows


@cache
def reader(kind: str, lanes: int = LANES) -> Any:
    """Kernels on one row of consecutive numbers: (group, peak).

    ``group(row, classes, g)``: classes ``lanes`` g ... of it in float64, -inf beyond the last one.
    ``peak(row, classes)``: the largest number and the first class that has it.
    """
    size = SIZE[kind]

    @kernel(variant=f"{kind}-{lanes}", inline="always")
    def raw(row, classes, g):
        place = row + g * (lanes * size)
        if (g + 1) * lanes <= classes:
            return load(place, kind, lanes)
        return load_first(place, kind, lanes, classes - g * lanes)

    @kernel(variant=f"{kind}-{lanes}", inline="always")
    def group(row, classes, g):
        return widen(raw(row, classes, g))

    @kernel(variant=kind)
    def peak(row, classes):
        fetch_ahead(row, classes * size)
        top = load_first(row, kind, 8, 0)
        number = numbers_like(as_ones(top > top, top))
        best = number
        even = classes // 8 * 8
        for j in range(0, even, 8):
            x = load(row + j * size, kind, 8)
            best = select(x > top, number, best)
            top = maximum(x, top)
            number = number + 8
        x = load_first(row + even * size, kind, 8, classes - even)
        best = select(x > top, number, best)
        top = maximum(x, top)
        largest = lane_max(top)
        return np.float64(largest), np.int64(lane_min(select(top == largest, best, fill(classes, best))))

    return group, peak


@cache
def runner_up(kind: str) -> Any:
    """The kernel for the largest number of a row but that of class k."""
    size = SIZE[kind]

    @kernel(variant=kind)
    def next_to(row, classes, k):
        top = -np.inf
        for j in range(classes):
            if j != k:
                top = max(top, load_scalar(row + j * size, kind))
        return top

    return next_to
