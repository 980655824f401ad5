"""Reading calibration cells: bins, calibration errors, the decomposition of the Brier score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.kernels.sums import tally
from fastxent.statistics.options import Binning

__all__ = [
    "BrierParts",
    "Calibration",
    "Cells",
    "calibrate",
    "cell_bases",
    "cells_of_widths",
    "check_bins",
    "decompose",
    "plain_cells",
    "weighed_cells",
    "widths_of_cells",
]

#: How many bins each library takes by default.
DEFAULT_BINS: dict[str, int] = {"torchmetrics": 15, "sklearn": 5, "netcal": 10}

#: Sums are integers in units of 2^-UNIT: the base of every cell (`tally.base_of`) is a multiple of it.
UNIT = 64


@dataclass(frozen=True, slots=True)
class Cells:
    """For every calibration cell: rows, their weight, the weight of hits, and the sum of weight times confidence."""

    count: NDArray[np.int64]
    weight: NDArray[Any]
    hits: NDArray[Any]
    confidence: NDArray[Any]

    def unknown(self) -> Cells:
        """The same rows, of which nothing but their number is known."""
        return Cells(self.count, *(np.zeros_like(values) for values in (self.weight, self.hits, self.confidence)))


@dataclass(frozen=True, slots=True)
class Calibration:
    """How confidence and accuracy agree over bins.

    ``ece`` is the mean of ``|accuracy - confidence|`` over bins, by weight, ``mce`` the largest, ``rmsce`` the root of
    the mean square, ``ace`` the mean in which every bin that has rows counts the same. ``table`` has a row a bin: low,
    high, count, confidence and accuracy (their means; null in empty bins), and with weights the weight. For binary
    tasks confidence is the probability of class 1 and accuracy the share of class 1.
    """

    ece: float
    mce: float
    rmsce: float
    ace: float
    binning: str
    rows: tuple[dict[str, Any], ...]

    @property
    def table(self) -> Any:
        """The bins as an Arrow table."""
        import pyarrow as pa

        kinds = [(name, pa.int64() if name == "count" else pa.float64()) for name in self.rows[0]]
        return pa.Table.from_pylist(list(self.rows), schema=pa.schema(kinds))

    @property
    def bins(self) -> tuple[tuple[float, float, int, float, float], ...]:
        """Low edge, high edge, rows, mean confidence and accuracy (NaN in empty bins) of every bin."""
        return tuple(
            (row["low"], row["high"], row["count"], *(math.nan if row[k] is None else row[k] for k in _MEANS))
            for row in self.rows
        )


_MEANS = ("confidence", "accuracy")


@dataclass(frozen=True, slots=True)
class BrierParts:
    """Murphy's parts: score = reliability - resolution + uncertainty + residual.

    The residual is what binning leaves over: spread of the probabilities within bins (Stephenson et al. 2008).
    """

    reliability: float
    resolution: float
    uncertainty: float
    residual: float


def _lower_edges() -> NDArray[np.float64]:
    """The lower edge of every cell, for cells in (e_3599, 1) that of their width."""
    widths, _ = _places()
    edges: NDArray[np.float64] = widths / tally.WIDTHS
    return edges


def _places() -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """For every cell the number k of its lower edge k / 3600, and whether it holds that edge alone."""
    k = np.zeros(tally.CELLS, np.int64)
    edge = np.zeros(tally.CELLS, np.bool_)
    inner = np.arange(tally.LAST_EDGE - tally.FIRST_EDGE + 1)
    k[tally.FIRST_EDGE : tally.LAST_EDGE + 1] = 1 + (inner >> 1)
    edge[tally.FIRST_EDGE : tally.LAST_EDGE + 1] = inner % 2 == 0
    k[tally.LAST_EDGE + 1 :] = tally.WIDTHS - 1
    k[-1], edge[0], edge[-1] = tally.WIDTHS, True, True
    return k, edge


def widths_of_cells(widths: int) -> NDArray[np.int64]:
    """For every cell its place among so many equal widths, [a, b); ``widths`` for the cell of exactly 1."""
    return _places()[0] * widths // tally.WIDTHS


def cells_of_widths(widths: int) -> NDArray[np.int64]:
    """The inverse: for every place the cell inside a width that begins where it does."""
    k = np.arange(widths + 1) * tally.WIDTHS // widths
    return np.where(k == 0, 1, np.where(k == tally.WIDTHS, tally.CELLS - 1, tally.FIRST_EDGE + 2 * k - 1))


@cache
def cell_bases() -> NDArray[Any]:
    """The bases of the cells (`fastxent.kernels.sums.tally.base_of`), Python integers in units of 2^-64."""
    k, _ = _places()
    bases = np.where(k == tally.WIDTHS, 1.0, k * tally.WIDTH)
    return np.array([int(math.ldexp(base, UNIT)) for base in bases.tolist()], object)  # exact


def plain_cells(cells: NDArray[np.int64]) -> Cells:
    """Cells of rows without weights."""
    count = cells[:, tally.MISSES] + cells[:, tally.HITS]
    edges = cell_bases()
    offsets = (cells[:, tally.OFFSET_WHOLE].astype(object) << UNIT) + (
        cells[:, tally.OFFSET_LOW].astype(object) << (UNIT - tally.OFFSET_BITS)
    )
    weight = count.astype(object) << UNIT
    return Cells(count, weight, cells[:, tally.HITS].astype(object) << UNIT, count.astype(object) * edges + offsets)


def weighed_cells(cells: NDArray[np.int64], counts: NDArray[np.int64]) -> Cells:
    """Cells with the sums of `fastxent.kernels.sums.records.weigh_cells`, beside the counts of `plain_cells`."""
    w, hits, confidence = (
        (cells[:, i].astype(object) << UNIT) + (cells[:, i + 1].astype(object) << 2) for i in (0, 2, 4)
    )
    return Cells(counts[:, tally.MISSES] + counts[:, tally.HITS], w, hits, confidence)


def _bin_numbers(cells: Cells, binning: Binning, bins: int) -> NDArray[np.int64]:
    k, edge = _places()
    if binning == "equal_mass":
        total = int(cells.weight.sum())
        before = np.cumsum(cells.weight) - cells.weight
        return np.array([min(int(b) * bins // total, bins - 1) if total else 0 for b in before], np.int64)
    numbers = k * bins // tally.WIDTHS
    if binning == "sklearn":
        numbers -= edge & (k * bins % tally.WIDTHS == 0)
    return np.clip(numbers, 0, bins if binning == "torchmetrics" else bins - 1)


def check_bins(bins: int | None, binning: Binning) -> int:
    """The number of bins that is meant; raises UsageError for what cannot be."""
    if binning not in get_args(Binning):
        raise UsageError(f"binning: expected one of {', '.join(map(repr, get_args(Binning)))}, got {binning!r}")
    bins = DEFAULT_BINS.get(binning, 15) if bins is None else bins
    if not 1 <= bins <= tally.WIDTHS:
        raise UsageError(f"bins: expected a number from 1 to {tally.WIDTHS}, got {bins}")
    if binning != "equal_mass" and tally.WIDTHS % bins:
        raise UsageError(f"bins: expected a divisor of {tally.WIDTHS}, got {bins}")
    return bins


def calibrate(
    cells: Cells, bins: int | None = None, binning: Binning = "equal_width", *, weighted: bool
) -> Calibration:
    """Group cells into bins; see `fastxent.results.evaluation.Evaluation.calibrate`."""
    bins = check_bins(bins, binning)
    numbers = _bin_numbers(cells, binning, bins)
    grouped = _grouped(cells, numbers, bins + (binning == "torchmetrics"))
    lows, highs = _bounds(cells, numbers, bins) if binning == "equal_mass" else _even(bins)
    gaps, rows = [], []
    for i, (count, weight, hits, confidence) in enumerate(zip(*grouped, strict=True)):
        if i < bins or count:
            low, high = (lows[i], highs[i]) if i < bins else (1.0, 1.0)
            row = {"low": low, "high": high, "count": int(count)} | ({"weight": weight / 2**UNIT} if weighted else {})
            means = (confidence / weight, hits / weight) if weight else (None, None)
            rows.append(row | dict(zip(_MEANS, means, strict=True)))
        if weight:
            gaps.append((weight, abs(confidence - hits)))
    total = sum(weight for weight, _ in gaps)
    return Calibration(
        ece=sum(gap for _, gap in gaps) / total if total else math.nan,
        mce=max((gap / weight for weight, gap in gaps), default=math.nan),
        rmsce=math.sqrt(sum(Fraction(gap * gap, weight) for weight, gap in gaps) / total) if total else math.nan,
        ace=float(sum(Fraction(gap, weight) for weight, gap in gaps) / len(gaps)) if gaps else math.nan,
        binning=binning,
        rows=tuple(rows),
    )


def _grouped(cells: Cells, numbers: NDArray[np.int64], bins: int) -> list[list[int]]:
    used = np.flatnonzero(cells.count)
    result = []
    for values in (cells.count, cells.weight, cells.hits, cells.confidence):
        sums = [0] * bins
        for number, value in zip(numbers[used].tolist(), values[used].tolist(), strict=True):
            sums[number] += value
        result.append(sums)
    return result


def _even(bins: int) -> tuple[list[float], list[float]]:
    return [i / bins for i in range(bins)], [(i + 1) / bins for i in range(bins)]


def _bounds(cells: Cells, numbers: NDArray[np.int64], bins: int) -> tuple[list[float], list[float]]:
    """Edges of equal-mass bins: of the first cell with rows, and the next bin's first."""
    edges = _fine_edges()
    used = np.flatnonzero(cells.count)
    lows = [math.nan] * bins
    for cell in used[::-1]:
        lows[numbers[cell]] = float(edges[cell])
    if used.size:
        lows[numbers[used[0]]] = 0.0
    highs, high = [math.nan] * bins, 1.0
    for i in reversed(range(bins)):
        if not math.isnan(lows[i]):
            highs[i], high = high, lows[i]
    return lows, highs


def _fine_edges() -> NDArray[np.float64]:
    """The lower edge of every cell, in the tails by octaves."""
    edges = _lower_edges().copy()
    octaves = (np.arange(tally.TAIL, dtype=np.int64) + ((1023 - 53) << 3)) << (52 - 3)
    sizes = octaves.view(np.float64)
    edges[1 : 1 + tally.TAIL] = sizes
    edges[tally.LAST_EDGE + 2 : -1] = 1.0 - sizes[1:][::-1]
    return edges


def decompose(cells: Cells, score: float, bins: int, binning: Binning) -> BrierParts:
    """The parts of the Brier score of a binary task, over the bins of its calibration."""
    numbers = _bin_numbers(cells, binning, bins)
    grouped = _grouped(cells, numbers, bins + (binning == "torchmetrics"))
    total, positives = sum(grouped[1]), sum(grouped[2])
    if not total:
        return BrierParts(math.nan, math.nan, math.nan, math.nan)
    base = Fraction(positives, total)
    reliability = resolution = Fraction(0)
    for _, weight, hits, confidence in zip(*grouped, strict=True):
        if weight:
            reliability += Fraction((confidence - hits) ** 2, weight * total)
            resolution += Fraction(weight, total) * (Fraction(hits, weight) - base) ** 2
    uncertainty = base * (1 - base)
    rest = Fraction(score) - (reliability - resolution + uncertainty) if math.isfinite(score) else math.nan
    return BrierParts(float(reliability), float(resolution), float(uncertainty), float(rest))
