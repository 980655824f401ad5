"""One row of consecutive numbers after the other, for kernels that look at a row more than once."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from fastxent.kernels.compile import kernel
from fastxent.kernels.problem import SIZE, TILE
from fastxent.kernels.simd import (
    LANES,
    first_lane,
    lane_max,
    load,
    load_first,
    load_scalar,
    maximum,
    move,
    narrow,
    widen,
)

__all__ = ["reader", "row_by_row"]


@cache
def gatherer(kind: str) -> Any:
    """The kernel that copies ``count`` rows of one array a class into consecutive rows at ``place``."""
    size = SIZE[kind]

    @kernel(variant=kind)
    def gather(p, row, count, place):
        for j in range(p.classes):
            source = load_scalar(p.scores + j * 8, "int64") + row * size
            for r in range(count):
                move(place + (r * p.classes + j) * size, source + r * size, size)

    return gather


@cache
def row_by_row(settle: Any, kind: str, columns: bool, name: str) -> Any:
    """The row kernel that calls ``settle(p, row, address, card, i, work)`` for every row.

    ``address`` is that of the row's scores, of kind ``kind``; ``name`` names ``settle`` and all that it was made from.
    """
    size = SIZE[kind]
    gather = gatherer(kind)

    @kernel(variant=f"{name}-{columns}", inline="always")
    def rows(p, lo, n, card, work):
        if columns:
            for i in range(0, n, TILE):
                count = min(TILE, n - i)
                gather(p, lo + i, count, work.table[0])
                for r in range(count):
                    settle(p, lo + i + r, work.table[0] + r * p.classes * size, card, i + r, work)
        else:
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
