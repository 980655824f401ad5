"""The cells of confidences that calibration and curves are made of: what numbers they hold, their order, their sums."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from fastxent.kernels.sums import records, tally
from fastxent.statistics.reading import Reading
from fastxent.statistics.table import PLACES, Cells
from fastxent.statistics.words import Words

__all__ = [
    "BINS", "WIDTHS", "bases_of_cells", "cells_alone", "ends_of_cells", "lows_of_cells", "numbers_of_cells",
    "order_of_cells", "sorted_cells", "widened", "widths_of", "words_of_cells",
]  # fmt: skip

#: Bins of ours by default.
BINS = 15
#: Equal widths of [0, 1] that groups keep where all together have too many cells. Up to the last but one, what is
#: exactly 1 is kept apart.
WIDTHS = (720, 60, BINS)

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]


@cache
def lows_of_cells() -> Numbers:
    """The least number of every cell: the number itself, or the edge above which a cell begins."""
    edges = np.arange(tally.WIDTHS + 1) / tally.WIDTHS
    octaves = ((np.arange(tally.TAIL, dtype=np.int64) + ((1023 - 53) << 3)) << (52 - 3)).view(np.float64)
    inner = edges[1:-1]
    nearest = inner.astype(np.float32)
    beside = [np.nextafter(nearest, np.float32(0)), nearest, np.nextafter(nearest, np.float32(1))]
    beside += [np.nextafter(inner, 0.0), np.nextafter(inner, 1.0)]
    tail = np.append(edges[-2], 1.0 - octaves[1:][::-1])
    return np.concatenate(
        ([0.0], octaves, np.repeat(inner, 2)[:-1], tail, [1.0], np.stack(beside, axis=1).astype(np.float64).ravel())
    )


@cache
def ends_of_cells(level: int) -> tuple[Numbers, Numbers]:
    """The least and the largest number that cells of a level hold."""
    if level:
        edges = np.arange(WIDTHS[level - 1] + 2) / WIDTHS[level - 1]
        return np.minimum(edges[:-1], 1.0), np.minimum(edges[1:], 1.0)
    in_order = lows_of_cells()[: tally.ONE + 1]
    following = np.append(in_order, 1.0)[np.searchsorted(in_order, lows_of_cells(), side="right")]
    lows = np.where(np.arange(tally.CELLS) == 1, 0.0, lows_of_cells())
    return lows, np.where(cells_alone(), lows, following)


@cache
def cells_alone() -> NDArray[np.bool_]:
    """Which cells hold one number."""
    alone = np.ones(tally.CELLS, np.bool_)
    alone[1 : tally.FIRST_EDGE] = alone[tally.FIRST_EDGE + 1 : tally.LAST_EDGE : 2] = False
    alone[tally.LAST_EDGE + 1 : tally.ONE] = False
    return alone


@cache
def order_of_cells() -> Integers:
    """The place of every cell among all by its number, in the tails by where it begins."""
    order = np.empty(tally.CELLS, np.int64)
    order[np.lexsort((lows_of_cells(), numbers_of_cells()))] = np.arange(tally.CELLS)
    return order


@cache
def numbers_of_cells() -> Numbers:
    """A number of every cell that is in the cell's bin, whatever the library's edges are."""
    width = np.clip(np.floor(lows_of_cells() * tally.WIDTHS + 1e-9), 0, tally.WIDTHS - 1)
    return np.where(cells_alone(), lows_of_cells(), (width + 0.5) / tally.WIDTHS)


@cache
def bases_of_cells() -> tuple[Integers, ...]:
    """The bases of the cells (`fastxent.kernels.sums.tally.base_of`), whose bits end at 2^-64, in words of 16 bits."""
    inner = np.arange(1, tally.WIDTHS)
    k = np.concatenate((np.zeros(tally.FIRST_EDGE), np.repeat(inner, 2)[:-1], np.full(tally.TAIL + 1, inner[-1])))
    rest = np.append(k, np.repeat(inner, tally.BESIDE)) * tally.WIDTH
    rest[tally.ONE] = 1.0
    words = []
    for _ in range(5):
        whole = np.floor(rest)
        words.append(whole.astype(np.int64))
        rest = (rest - whole) * 2.0**16
    return tuple(words)


def widened(keys: Integers, cells: Integers, level: int) -> tuple[Integers, Integers]:
    """Cells become equal widths; the place after the widths is that of exactly 1."""
    places, last = np.where(keys < 0, 0, keys & PLACES), len(WIDTHS)
    if level == 1:
        places = widths_of(numbers_of_cells(), WIDTHS[0])[places]
    elif level <= last:
        before, now = WIDTHS[level - 2 : level]
        places = np.where(places == before, now if level < last else now - 1, places * now // before)
    return np.where(keys < 0, -1, keys & ~np.int64(PLACES) | places), cells


def words_of_cells(cells: Cells, *, weighted: bool) -> tuple[Words, Words, Words]:
    """The weight, that of hits, and weight times confidence of every cell."""
    columns = cells.columns
    if weighted:
        return cells.words(2, records.QUANTUM), cells.words(4, records.QUANTUM), cells.words(6, 64)
    if columns.shape[1] == 4:  # pairs of groups
        confidence = cells.words(2, 64)
    else:
        confidence = Words(tuple(columns[:, 2:].T), 16).carried()
    return Words.of_counts(columns[:, 0]), Words.of_counts(columns[:, 1]), confidence


def sorted_cells(reading: Reading) -> Cells:
    """The cells in the order of their owners and of the numbers that they hold."""
    cells: Cells = reading.once("sorted cells", lambda: _in_order(reading))
    return cells


def _in_order(reading: Reading) -> Cells:
    cells = reading.sums.cells("calibration")
    assert cells is not None
    if cells.level or not (cells.places > tally.ONE).any():
        return cells
    order = order_of_cells()
    cells = cells.at_places(order[cells.places])
    return replace(cells, places=np.argsort(order)[cells.places])


def widths_of(numbers: Numbers, count: int) -> Integers:
    """Bins closed below, 1 apart from them."""
    return np.searchsorted(np.arange(1, count + 1) / count, numbers, side="right")
