"""One row of consecutive numbers after the other, for kernels that look at a row more than once."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels.compile import kernel
from fastxent.kernels.problem import SIZE
from fastxent.kernels.simd import (
    LANES,
    first_lane,
    lane_max,
    load,
    load_first,
    maximum,
    narrow,
    widen,
)

__all__ = ["reader", "row_by_row"]


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

    @kernel(variant=f"{kind}-{lanes}")
    def peak(row, classes):
        groups = (classes + lanes - 1) // lanes
        top = load_first(row, kind, lanes, 0)
        for g in range(groups):
            top = maximum(raw(row, classes, g), top)
        largest = np.float64(lane_max(top))
        for g in range(groups):
            found = first_lane(raw(row, classes, g) == narrow(largest, top))
            if found < min(lanes, classes - g * lanes):
                return largest, g * lanes + found
        return largest, np.int64(0)

    return group, peak
