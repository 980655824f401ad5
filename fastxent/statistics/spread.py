"""The spread of the losses: variance, extremes, quantiles and their histogram. Every row counts once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.base.exact import rounded_ratio
from fastxent.base.runs import run_starts
from fastxent.base.text import bracketed
from fastxent.data.spec import Spec
from fastxent.kernels.sums import keyed_counts, tally
from fastxent.kernels.sums.tally import Tallies
from fastxent.statistics.field import Field
from fastxent.statistics.laws import Law, between, together
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.statistic import Statistic
from fastxent.statistics.table import PLACES, Cells, Layout, most_keys

__all__ = [
    "QUANTILES", "Quantile", "Spread", "cells_of_histogram", "infinite_losses", "loss_histogram",
    "order_statistics", "quantile", "quantiles_of",
]  # fmt: skip

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
#: Those that are shown of groups.
_NARROW = ("q50", "q95")
#: Cells of losses that all groups together may have. A hundred thousand groups have room for 15 each.
MOST_CELLS = most_keys(1 << 21)

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile of the losses: the middle of its bin, and the bin, which surely holds it."""

    value: float
    low: float
    high: float


class Spread(Statistic):
    """Variance, standard deviation, extremes and quantiles, each with the cell that holds it.

    Losses are counted in 128 cells an octave. Where all groups together have too many, cells are put together to 64 an
    octave, 32, ..., and then octaves; quantiles are then not told.
    """

    name = "spread"

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        return cls() if measures.spread else None

    def layouts(self, *, alone: bool) -> dict[str, Layout]:
        """See `Statistic.layouts`."""
        return {} if alone else {"losses": Layout((0,), tally.HISTOGRAM, MOST_CELLS, _halved)}

    def place(self, name: str, record: Record) -> Iterator[tuple[Any, Integers, Integers]]:
        """See `Statistic.place`."""
        places = np.empty(record.n, np.int64)
        keyed_counts.loss_places(record.card, record.n, places)
        yield None, places, np.ones((record.n, 1), np.int64)

    def tallied(self, name: str, tallies: Tallies) -> Cells | None:
        """See `Statistic.tallied`."""
        if name != "losses" or not tallies.histogram.size:
            return None
        used = np.flatnonzero(tallies.histogram)
        return Cells(np.zeros(len(used), np.int64), used, tallies.histogram[used].reshape(-1, 1), 0)

    def note(self, table: str, level: int) -> str:
        """See `Statistic.note`."""
        return "quantiles of the loss are not told"

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        names = [(f"q{100 * q:02.0f}", "median" if q == 0.5 else f"{100 * q:g} % quantile") for q in QUANTILES]
        return (
            Field("variance", "variance", 2), Field("std", "standard deviation", 1),
            Field("min", "least loss", 1), Field("max", "largest loss", 1),
            *(Field(f"{name}{end}", f"{title}{what}", 1, narrow=f"{name}{end}" in _NARROW, bounded=not end)
              for name, title in names
              for end, what in (("", ""), ("_low", ", at least"), ("_high", ", at most"))),
        )  # fmt: skip

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        low, high = reading.sums.extremes
        variance = _variance(reading)
        values = {"variance": variance, "std": np.sqrt(variance), "min": low, "max": high}
        for q, ends in zip(QUANTILES, _quantiles(reading, QUANTILES), strict=True):
            values |= zip((f"q{100 * q:02.0f}{end}" for end in ("", "_low", "_high")), ends, strict=True)
        return values

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`: the cells hold the scored rows, the extremes, and the sum of the losses."""
        cells, (least, largest), n = _cells(reading), reading.sums.extremes, reading.owners
        counts, loss = cells.columns[:, 0], reading.exact("loss")
        yield "the losses by size do not add up to the scored rows", together(counts, cells.owners, n) == reading.counts
        low, high = cell_edges(cells.places, cells.level)
        starts = run_starts(cells.owners)
        owners, ends = cells.owners[starts], np.append(starts[1:], len(counts))[: len(starts)] - 1
        least, largest = least[owners], largest[owners]
        there = (0.0 <= least) & (low[starts] <= least) & (least <= high[starts])
        there &= (least <= largest) & (low[ends] <= largest) & (largest <= high[ends])
        yield "the least or the largest loss is in none of their cells", together(~there, owners, n) == 0
        finite = np.isfinite(low)
        below, above = (together((counts * edge)[finite], cells.owners[finite], n) for edge in (low, high))
        yield "the losses are not those of their cells", between(below, loss.finite.rounded, above)
        infinite = together(counts * (cells.places == tally.HISTOGRAM - 1), cells.owners, n) > 0
        yield "the infinite losses are not those of the sum", infinite == (loss.special != 0.0)

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`; the numbers are in that of the loss."""
        return {"loss_histogram": loss_histogram(reading, 1).to_pylist()} if _cells(reading).level <= 7 else {}

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """See `Statistic.headlines`."""
        shown = {0.05: "5 %", 0.25: "25 %", 0.5: "median", 0.75: "75 %", 0.95: "95 %", 0.99: "99 %"}
        values = quantiles_of(reading)
        yield (
            "loss quantiles",
            ", ".join(
                f"{name} {bracketed(values[q].value, values[q].low, values[q].high)}" for q, name in shown.items()
            ),
        )
        yield "loss range", f"{reading.number('min'):.4g} to {reading.number('max'):.4g}"


def _halved(keys: Integers, cells: Integers, level: int) -> tuple[Integers, Integers]:
    """Two cells become one; cell 0 and those beyond the bins stay."""
    places = keys & PLACES
    inner = (keys >= 0) & (places >= 1) & (places <= tally.BINS)
    return np.where(inner, keys - places + 1 + ((places - 1) >> 1), keys), cells


def _variance(reading: Reading) -> Numbers:
    """Unbiased variances of the row losses; NaN below two rows."""
    loss, square, n = reading.exact("loss"), reading.exact("square"), reading.counts
    if reading.invalid:
        return reading.unknown
    bits, count = max(loss.bits, square.bits), n.astype(object)
    total, squares = loss.at(bits), square.at(bits)
    above = np.maximum(((count * squares) << bits) - total * total, 0)
    variance = rounded_ratio(above, count * (count - 1) << 2 * bits)
    known = np.where(np.isinf(square.special), math.inf, variance)
    return np.where((n > 1) & loss.is_finite, known, math.nan)


def _cells(reading: Reading) -> Cells:
    cells = reading.sums.cells("losses")
    assert cells is not None
    return cells


def _quantiles(reading: Reading, qs: tuple[float, ...]) -> list[tuple[Numbers, Numbers, Numbers]]:
    """For each q, of every owner the middle and the edges of the smallest cell that q n rows do not exceed.

    The edges are met by the extremes.
    """
    edges = order_statistics(reading, [np.ceil(q * reading.counts) for q in qs])
    with np.errstate(invalid="ignore"):
        return [(np.where(left == right, left, 0.5 * (left + right)), left, right) for left, right in edges]


def order_statistics(reading: Reading, ranks: Sequence[Numbers]) -> list[tuple[Numbers, Numbers]]:
    """For each array of ranks (from 1, a rank an owner) the ends of the cells that hold the losses of these ranks.

    The edges are met by the extremes. Ranks beyond the rows are those of the first and the last.
    """
    cells = _cells(reading)
    if not cells.owners.size or cells.level:
        return [(reading.unknown, reading.unknown) for _ in ranks]
    low, high = reading.sums.extremes
    counts = cells.columns[:, 0].cumsum()
    starts = run_starts(cells.owners)
    before = counts[starts] - cells.columns[starts, 0]
    rows = counts[np.append(starts[1:], len(counts)) - 1] - before
    edges = []
    for rank in ranks:
        target = before + np.clip(rank, 1, rows).astype(np.int64)
        left, right = cell_edges(cells.places[np.searchsorted(counts, target)])
        edges.append((np.maximum(left, low), np.minimum(right, high)))
    return edges


def quantile(reading: Reading, q: float) -> Quantile:
    """Any quantile of the losses of the only owner, with the bin that surely holds it."""
    return Quantile(*(reading.unit.of(float(edge[0])) for edge in _quantiles(reading, (q,))[0]))


def quantiles_of(reading: Reading) -> dict[float, Quantile]:
    """The usual quantiles of the losses of the only owner."""
    names = {q: f"q{100 * q:02.0f}" for q in QUANTILES}
    return {q: Quantile(*(reading.number(name + end) for end in ("", "_low", "_high"))) for q, name in names.items()}


def infinite_losses(reading: Reading) -> int:
    """How many rows of the only owner have an infinite loss."""
    cells = _cells(reading)
    return int(cells.columns[cells.places == tally.HISTOGRAM - 1, 0].sum())


def cell_edges(cells: Any, level: int = 0) -> tuple[Any, Any]:
    """Lower and upper edges of cells of the histogram; each bin stands for 2^level that begin with it."""
    cells = np.asarray(cells, np.int64)
    inner = np.clip(cells - 1, 0, tally.BINS)
    end = np.minimum(inner + (1 << level), np.where(inner < tally.BINS, tally.BINS, tally.BINS + 1))
    low, high = (((at + tally.LOWEST) << tally.SHIFT).view(np.float64) for at in (inner, end))
    low = np.where(cells == 0, 0.0, np.where(cells > tally.BINS + 1, math.inf, low))
    return low, np.where(cells == 0, 2.0**-64, np.where(cells > tally.BINS, math.inf, high))


def loss_histogram(reading: Reading, per_octave: int) -> Any:
    """Losses of the only owner as an Arrow table: low, high, count; empty bins at either end are left out."""
    import pyarrow as pa

    _check_per_octave(per_octave, _cells(reading).level)
    counts = cells_of_histogram(reading)
    wide = 128 // per_octave
    every = np.arange(tally.HISTOGRAM)
    inner = (every >= 1) & (every <= tally.BINS)
    number = np.where(inner, 1 + (every - 1) // wide, np.where(every == 0, 0, tally.BINS // wide + every - tally.BINS))
    starts = run_starts(number)
    sums = np.add.reduceat(counts, starts)
    low = cell_edges(every[starts])[0]
    high = np.concatenate((low[1:], [math.inf]))
    used = np.flatnonzero(sums)
    span = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0)
    return reading.unit.columns(pa.table({"low": low[span], "high": high[span], "count": sums[span]}), ("low", "high"))


def cells_of_histogram(reading: Reading) -> Integers:
    """The rows of the only owner in every cell of the histogram; cells put together stand where their first does."""
    cells, counts = _cells(reading), np.zeros(tally.HISTOGRAM, np.int64)
    inner = (cells.places >= 1) & (cells.places <= tally.BINS)
    counts[np.where(inner, 1 + ((cells.places - 1) << cells.level), cells.places)] = cells.columns[:, 0]
    return counts


def _check_per_octave(per_octave: int, level: int) -> None:
    if per_octave not in (1, 2, 4, 8, 16, 32, 64, 128):
        raise UsageError(f"per_octave: expected a power of two up to 128, got {per_octave!r}")
    most = 128 >> level
    if per_octave > most:
        few = f"at most {most} bins an octave" if most else f"one bin for {2**level // 128} octaves"
        raise UsageError(
            f"so many groups share memory that each keeps {few} of its losses; "
            "evaluate the rows of the group alone with filter="
        )
