"""The integers of all groups: a row of sums each, their extremes, and what they keep by place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastxent.errors import StateError
from fastxent.kernels import groups as kernels
from fastxent.kernels.groups import Layout
from fastxent.statistics.groupparts import Part
from fastxent.statistics.statistic import FIXED_BITS, check_shape

__all__ = ["GroupSums"]

_NEVER = np.iinfo(np.int64).max


class GroupSums:
    """``cells`` and ``extremes`` as `fastxent.kernels.groups` writes them, ``parts`` by name; groups are numbers."""

    def __init__(self, layout: Layout, parts: dict[str, Part], rows: int = 16) -> None:
        self.layout, self.parts = layout, parts
        self.cells: NDArray[np.int64] = np.zeros((rows, layout.width), np.int64)
        self.extremes: NDArray[np.int64] = np.tile(np.array([_NEVER, -1]), (rows, 1))

    def make_room(self, groups: int) -> None:
        """For so many groups."""
        if groups > len(self.cells):
            more = GroupSums(self.layout, {}, max(groups, 2 * len(self.cells)) - len(self.cells))
            self.cells = np.concatenate([self.cells, more.cells])
            self.extremes = np.concatenate([self.extremes, more.extremes])

    def merge(self, other: GroupSums, numbers: NDArray[np.int64]) -> None:
        """Add the groups of the other, which have these numbers here; a negative number leaves an empty group out."""
        kept = np.flatnonzero(numbers >= 0)
        codes = numbers[kept]
        self.make_room(int(codes.max(initial=-1)) + 1)
        _put_together(self.cells, other.cells[kept], codes)
        np.minimum.at(self.extremes[:, 0], codes, other.extremes[kept, 0])
        np.maximum.at(self.extremes[:, 1], codes, other.extremes[kept, 1])
        for name, part in self.parts.items():
            part.merge(other.parts[name], numbers)

    def regrouped(self, numbers: NDArray[np.int64], count: int) -> GroupSums:
        """The sums of ``count`` groups to which these go by ``numbers``."""
        result = GroupSums(self.layout, {name: part.empty() for name, part in self.parts.items()}, count)
        result.merge(self, numbers)
        return result

    def state(self) -> tuple[dict[str, int], list[NDArray[np.int64]]]:
        """See `fastxent.statistics.statistic.Statistic.state`."""
        same = np.arange(len(self.cells))
        levels, arrays = {}, [self.cells, self.extremes]
        for name, part in self.parts.items():
            levels[name], more = part.state(same)
            arrays += more
        return levels, arrays

    def load(self, levels: dict[str, int], arrays: list[NDArray[np.int64]], count: int) -> None:
        """Take over what `state` gave of so many groups."""
        if len(arrays) != 2 + 2 * len(self.parts) or set(levels) != set(self.parts):
            raise StateError("groups hold other statistics than they say")
        self.cells = check_shape(arrays[0], (count, self.layout.width))
        self.extremes = check_shape(arrays[1], (count, 2))
        for i, (name, part) in enumerate(self.parts.items()):
            part.load(levels[name], arrays[2 + 2 * i : 4 + 2 * i], count)


def _put_together(into: NDArray[np.int64], cells: NDArray[np.int64], codes: NDArray[np.int64]) -> None:
    """Add rows of cells by code; low words go in by halves, so that up to 2^31 of them stay in range."""
    half = FIXED_BITS // 2
    mask = (1 << half) - 1
    np.add.at(into[:, : kernels.PAIRS], codes, cells[:, : kernels.PAIRS])
    for column in range(kernels.PAIRS, cells.shape[1], 2):
        low, high = into[:, column + 1] & mask, into[:, column + 1] >> half
        np.add.at(into[:, column], codes, cells[:, column])
        np.add.at(low, codes, cells[:, column + 1] & mask)
        np.add.at(high, codes, cells[:, column + 1] >> half)
        high += low >> half
        into[:, column] += high >> half
        into[:, column + 1] = ((high & mask) << half) + (low & mask)
