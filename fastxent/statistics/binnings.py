"""Binnings of confidences: equal widths, equal mass, and the rules of libraries; the bin of every cell."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.base.runs import run_starts
from fastxent.kernels.sums import tally
from fastxent.statistics.calibration_cells import (
    BINS,
    WIDTHS,
    lows_of_cells,
    numbers_of_cells,
    sorted_cells,
    widths_of,
    words_of_cells,
)
from fastxent.statistics.options import Binning
from fastxent.statistics.reading import Reading
from fastxent.statistics.table import Cells

__all__ = ["bins_by_cell", "bins_of_cells", "check_bins", "edges_of_mass", "even_edges"]

#: How many bins each library takes by default.
DEFAULT_BINS: dict[str, int] = {"torchmetrics": 15, "sklearn": 5, "netcal": 10}

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]


def bins_of_cells(reading: Reading, bins: int | None, binning: Binning) -> Integers | None:
    """The bin of every cell; None if cells have been put together to others than make such bins."""
    cells = sorted_cells(reading)
    count = check_bins(bins, binning)
    if cells.level:
        if cells.level > len(WIDTHS):
            return None
        widths, one_apart = WIDTHS[cells.level - 1], cells.level < len(WIDTHS)
        if widths % count or binning in ("sklearn", "equal_mass") or (binning == "torchmetrics" and not one_apart):
            return None
        numbers = np.minimum((np.arange(widths + 1) + 0.5) / widths, 1.0)
    elif binning == "equal_mass":
        return _equal_mass(cells, count, weighted=reading.weighted)
    else:
        numbers = numbers_of_cells()
    return _BINS_OF[binning](numbers, count)[cells.places]


def bins_by_cell(bins: int | None, binning: Binning) -> Integers:
    """The bin of every cell that there is, of bins that do not depend on the rows."""
    return _BINS_OF[binning](numbers_of_cells(), check_bins(bins, binning))


def _equal_width(numbers: Numbers, count: int) -> Integers:
    """Bins closed below, the last one above too."""
    return np.minimum(widths_of(numbers, count), count - 1)


def _sklearn(numbers: Numbers, count: int) -> Integers:
    """Bins as `sklearn.calibration.calibration_curve` has them: closed above, and the first one below too."""
    return np.searchsorted(np.linspace(0.0, 1.0, count + 1)[1:-1], numbers)


def _torchmetrics(numbers: Numbers, count: int) -> Integers:
    """Bins as torchmetrics' calibration errors have them: closed below, 1 apart from them.

    Its edges are those of ``torch.linspace``, in the precision of the predictions.
    """
    single = np.searchsorted(_torch_edges(count, np.float32), numbers, side="right")
    double = np.searchsorted(_torch_edges(count, np.float64), numbers, side="right")
    return np.where(numbers == numbers.astype(np.float32), single, double)


def _torch_edges(count: int, kind: type[np.floating[Any]]) -> Numbers:
    """The upper edges of ``torch.linspace(0, 1, count + 1)``: from both ends, products and differences rounded once."""
    step, half = Fraction(float(kind(1) / kind(count))), (count + 1) // 2
    exact = [i * step if i < half else 1 - (count - i) * step for i in range(1, count + 1)]
    return np.array([float(edge) for edge in exact]).astype(kind).astype(np.float64)


_BINS_OF: dict[str, Callable[[Numbers, int], Integers]] = {
    "equal_width": _equal_width, "netcal": _equal_width, "sklearn": _sklearn, "torchmetrics": _torchmetrics,
}  # fmt: skip


def _equal_mass(cells: Cells, bins: int, *, weighted: bool) -> Integers:
    """The bin of every cell by the weight of its owner's cells before it."""
    weight = words_of_cells(cells, weighted=weighted)[0].as_integers()
    starts = run_starts(cells.owners)
    if not starts.size:
        return cells.places
    lengths = np.diff(np.append(starts, len(weight)))
    before = np.cumsum(weight) - weight
    before = before - np.repeat(before[starts], lengths)
    total = np.repeat(np.add.reduceat(weight, starts), lengths)
    pairs = zip(before.tolist(), total.tolist(), strict=True)
    return np.array([min(b * bins // all_, bins - 1) if all_ else 0 for b, all_ in pairs], np.int64)


def even_edges(bins: int) -> tuple[list[float], list[float]]:
    """The lower and the upper edges of bins of equal width."""
    return [i / bins for i in range(bins)], [(i + 1) / bins for i in range(bins)]


def edges_of_mass(cells: Cells, numbers: Integers, bins: int) -> tuple[list[float], list[float]]:
    """Edges of equal-mass bins: of the first cell with rows, and the next bin's first."""
    edges = lows_of_cells()
    lows = [math.nan] * bins
    for cell, number in zip(cells.places[::-1].tolist(), numbers[::-1].tolist(), strict=True):
        lows[number] = float(edges[cell])
    if numbers.size:
        lows[numbers[0]] = 0.0
    highs, high = [math.nan] * bins, 1.0
    for i in reversed(range(bins)):
        if not math.isnan(lows[i]):
            highs[i], high = high, lows[i]
    return lows, highs


def check_bins(bins: int | None, binning: Binning) -> int:
    """The number of bins that is meant; raises UsageError for what cannot be."""
    if binning not in get_args(Binning):
        raise UsageError(f"binning: expected one of {', '.join(map(repr, get_args(Binning)))}, got {binning!r}")
    bins = DEFAULT_BINS.get(binning, BINS) if bins is None else bins
    if not 1 <= bins <= tally.WIDTHS:
        raise UsageError(f"bins: expected a number from 1 to {tally.WIDTHS}, got {bins}")
    if binning != "equal_mass" and tally.WIDTHS % bins:
        raise UsageError(f"bins: expected a divisor of {tally.WIDTHS}, got {bins}")
    return bins
