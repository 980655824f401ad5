"""Calibration: how confidence and accuracy agree over bins, and with binary tasks Murphy's parts of the Brier score."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.base.runs import run_starts, sum_of_runs
from fastxent.base.twofold import Twofold, sum_by_owner
from fastxent.data.spec import Spec
from fastxent.kernels.sums import group_sums as kernels
from fastxent.kernels.sums import records, tally
from fastxent.kernels.sums.records import FIXED_BITS
from fastxent.kernels.sums.tally import Tallies
from fastxent.statistics.accuracy import rows_behind
from fastxent.statistics.brier import BrierParts
from fastxent.statistics.field import Field
from fastxent.statistics.laws import Law, summed, together
from fastxent.statistics.options import Binning, Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.spread import MOST_CELLS
from fastxent.statistics.statistic import Statistic, predicts_class
from fastxent.statistics.table import PLACES, Cells, Layout
from fastxent.statistics.words import Words

__all__ = [
    "BinSums", "Bins", "Calibrated", "Calibration", "bin_sums", "brier_parts", "calibrate", "cells_alone", "check_bins",
    "confidences_of",
    "lows_of_cells", "murphy_parts", "words_of_cells",
]  # fmt: skip

#: How many bins each library takes by default.
DEFAULT_BINS: dict[str, int] = {"torchmetrics": 15, "sklearn": 5, "netcal": 10}
#: Bins of ours by default.
BINS = 15
#: Equal widths of [0, 1] that groups keep where all together have too many cells. Up to the last but one, what is
#: exactly 1 is kept apart.
_WIDTHS = (720, 60, BINS)
#: What rounding down may take from the mean confidence of a cell.
_ROUNDED = 1e-12
_MEANS = ("confidence", "accuracy")

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]


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


@dataclass(frozen=True, slots=True)
class Bins:
    """Every (owner, bin) that has weight: both, its weight and that of hits, and | hits - confidences |.

    ``share`` is that of hits in the weight of the bin, ``miss`` that of the gap.
    """

    owners: Integers
    numbers: Integers
    weight: Twofold
    hits: Twofold
    gap: Twofold
    share: Twofold
    miss: Twofold

    @classmethod
    def of(cls, owners: Integers, numbers: Integers, weight: Words, hits: Words, confidence: Words) -> Bins:
        """Cells, sorted by owner and bin, put together."""
        starts = run_starts(owners, numbers)
        weight, hits, confidence = (words.summed(starts) for words in (weight, hits, confidence))
        gap = abs(hits.as_numbers() - confidence.as_numbers())
        own = [words.beside(weight) for words in (weight, hits, confidence)]
        share, miss = own[1] / own[0], abs(own[1] - own[2]) / own[0]
        return cls(owners[starts], numbers[starts], weight.as_numbers(), hits.as_numbers(), gap, share, miss)


class Calibrated(Statistic):
    """Rows by confidence: how many, their weight and that of hits, and the sum of weight times confidence, by cell.

    Binary tasks take the probability of class 1 for the confidence, and rows of class 1 for hits. Cells are those of
    `fastxent.kernels.sums.tally`; where groups have too many, 720, 60 or 15 equal widths of [0, 1].
    """

    name = "calibration"

    def __init__(self, spec: Spec) -> None:
        self._weighted, self._binary = spec.reads_weight, spec.task == "binary"

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        return cls(spec) if measures.scores and predicts_class(spec) else None

    def layouts(self, *, alone: bool) -> dict[str, Layout]:
        """See `Statistic.layouts`.

        Columns are rows, hits, and the pair of the confidence; with weights instead of that pairs of the weight and of
        that of hits, and three of weight times confidence.
        """
        if alone and not self._weighted:
            return {}
        pairs = ((0, FIXED_BITS) * 3 + (FIXED_BITS,)) if self._weighted else (0, kernels.CONFIDENCE_BITS)
        limit, levels = 0 if alone else MOST_CELLS, len(_WIDTHS)
        layout = Layout((0, 0, *pairs), tally.CELLS, limit, _widened, banded=self._weighted, levels=levels)
        return {"calibration": layout}

    def place(self, name: str, record: Record) -> Iterator[tuple[Any, Integers, Integers]]:
        """See `Statistic.place`."""
        n = record.n
        places, cells = np.empty(n, np.int64), np.zeros((n, 9 if self._weighted else 4), np.int64)
        kernels.calibration_places(record.card, n, self._weighted, self._binary, places, cells)
        yield None, places, cells

    def tallied(self, name: str, tallies: Tallies) -> Cells | None:
        """See `Statistic.tallied`: confidences are bases of cells and offsets from them, in words of 16 bits."""
        if name != "calibration" or self._weighted or not tallies.calibration.size:
            return None
        used = np.flatnonzero(tallies.calibration.any(axis=1))
        misses, hits, whole, low = tallies.calibration[used].T
        rows = misses + hits
        offsets = (whole, low >> 38, (low >> 22) & 0xFFFF, (low >> 6) & 0xFFFF, (low & 63) << 10)
        words = [rows * base[used] + offset for base, offset in zip(_bases(), offsets, strict=True)]
        return Cells(np.zeros(len(used), np.int64), used, np.stack((rows, hits, *words), axis=1), 0)

    def note(self, table: str, level: int) -> str:
        """See `Statistic.note`."""
        if level > len(_WIDTHS):
            return "calibration is not told"
        areas = " and ROC AUC is not told" if self._binary else ""
        return f"calibration is that of {_WIDTHS[min(level, len(_WIDTHS)) - 1]} equal widths{areas}"

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        errors = (
            Field("ece", "expected calibration error", narrow=True), Field("mce", "maximum calibration error"),
            Field("rmsce", "root mean squared calibration error"), Field("ace", "average calibration error"),
            Field("ece_floor", "expected calibration error of a calibrated model"),
        )  # fmt: skip
        return (*errors, *(Field(name, name) for name in BrierParts.__slots__)) if self._binary else errors

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        names = [field.name for field in self.fields(reading)]
        numbers = _bin_numbers(reading, reading.options.bins, reading.options.binning)
        if numbers is None:
            return dict.fromkeys(names, reading.unknown)
        bins = _bins(reading, numbers)
        values = dict(zip(names, (reading.unknown for _ in names), strict=True))
        starts = run_starts(bins.owners)
        owners = bins.owners[starts]
        if not owners.size:
            return values
        total = sum_by_owner(bins.weight, starts)
        counts = np.diff(np.append(starts, len(bins.owners)))
        values["ece"][owners] = sum_by_owner(bins.gap, starts).over(total)
        values["mce"][owners] = np.maximum.reduceat(bins.miss.high, starts)
        values["rmsce"][owners] = np.sqrt((sum_by_owner(bins.gap * bins.miss, starts) / total).high)
        values["ace"][owners] = (sum_by_owner(bins.miss, starts) / Twofold.of(counts)).high
        values["ece_floor"] = _floor(reading)
        if self._binary:
            score = Twofold.of(reading["brier"][owners])
            for name, part in murphy_parts(bins, starts, score).items():
                values[name][owners] = part.high
        return values

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`: the cells hold all rows, whose confidences lie in their cells."""
        cells, owners = reading.sums.cells("calibration"), reading.owners
        assert cells is not None
        rows, hits = cells.columns[:, 0], cells.columns[:, 1]
        yield "the rows by confidence are not the scored ones", together(rows, cells.owners, owners) == reading.counts
        each = [(0 <= hits) & (hits <= rows)]
        if cells.level <= len(_WIDTHS):
            weight, right, confidence = words_of_cells(cells, weighted=reading.weighted)
            total = summed(cells, weight, owners)
            yield "the weights by confidence are not those of all rows", total.equals(reading.total_weight)
            least, most = (edges[cells.places] for edges in _ends(cells.level))
            mean = confidence.over(weight)
            each += [weight.at_least(right), (least - _ROUNDED <= mean) & (mean <= most + _ROUNDED)]
            if reading.weighted:
                each += [right.positive == (hits > 0), right.at_least(weight) | (hits < rows)]
        wrong = together(~np.logical_and.reduce(each), cells.owners, owners)
        yield "the hits or confidences of a cell are not those of its rows", wrong == 0

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`."""
        calibration = calibrate(reading, reading.options.bins, reading.options.binning)
        errors = {name: getattr(calibration, name) for name in ("binning", "ece", "mce", "rmsce", "ace")}
        errors["ece_floor"] = reading.number("ece_floor")
        section: dict[str, Any] = {"calibration": errors | {"bins": [list(row) for row in calibration.bins]}}
        parts = brier_parts(reading)
        return section | ({"brier_parts": asdict(parts)} if parts is not None else {})

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """See `Statistic.headlines`."""
        if (parts := brier_parts(reading)) is not None:
            yield (
                "Brier parts",
                f"reliability {parts.reliability:.4g} - resolution {parts.resolution:.4g} + uncertainty"
                f" {parts.uncertainty:.4g} + residual {parts.residual:.2g}",
            )
        calibration = calibrate(reading, reading.options.bins, reading.options.binning)
        binning = f", {calibration.binning}" if calibration.binning != "equal_width" else ""
        bins = f"{len(calibration.rows)} bins{binning}"
        floor = f"ECE of a calibrated model {reading.number('ece_floor'):.2g}"
        yield "calibration", f"ECE {calibration.ece:.4g}, MCE {calibration.mce:.4g}  ({bins}; {floor})"


@dataclass(frozen=True, slots=True)
class BinSums:
    """Every (owner, bin) that has weight: its share of the owner's weight, mean confidence, | gap | and variances.

    ``noise`` is the variance of a row's hit that its confidence implies, ``residual`` that of hit - confidence.
    """

    owners: Integers
    share: Numbers
    confidence: Numbers
    gap: Numbers
    noise: Numbers
    residual: Numbers


def bin_sums(reading: Reading) -> BinSums | None:
    """Of all owners over the bins that are asked for; None where cells cannot be put together to them."""
    numbers = _bin_numbers(reading, reading.options.bins, reading.options.binning)
    if numbers is None:
        return None
    cells = _cells(reading)
    weight, hits, confidence = words_of_cells(cells, weighted=reading.weighted)
    rate, p = hits.over(weight), confidence.over(weight)
    starts = run_starts(cells.owners, numbers)
    total = weight.by_owner(cells.owners, reading.owners)[cells.owners]
    share = weight.over(total)
    sums = [
        sum_of_runs(share * each, starts)
        for each in (np.ones_like(p), p, rate - p, p * (1.0 - p), rate * (1.0 - p) ** 2 + (1.0 - rate) * p**2)
    ]
    heavy = sums[0] > 0.0  # a bin's share may be too small for a number
    owners, sums = cells.owners[starts][heavy], [each[heavy] for each in sums]
    size = sums[0]
    mean, gap, noise, square = (each / size for each in sums[1:])
    return BinSums(owners, size, mean, np.abs(gap), noise, np.maximum(square - gap**2, 0.0))


def _floor(reading: Reading) -> Numbers:
    r"""The expected calibration error of a model whose confidences are true: what chance alone makes of these bins.

    The mean of | hits - n p | of n rows of probability p is 2 (m + 1) C(n, m + 1) p^(m + 1) (1 - p)^(n - m), with m the
    whole part of n p (De Moivre 1730); of rows of several probabilities it is scaled by the root of what that takes
    from the variance. Weighted rows count as Kish's effective number.
    """
    sums, floor = bin_sums(reading), reading.unknown
    if sums is None or not sums.owners.size:
        return floor
    rows = np.maximum(1.0, np.rint(sums.share * rows_behind(reading)[sums.owners]))
    p = np.clip(sums.confidence, 0.0, 1.0)
    mean = np.array([_mean_deviation(int(n), q) for n, q in zip(rows.tolist(), p.tolist(), strict=True)])
    even = p * (1.0 - p)
    spread = np.sqrt(np.divide(sums.noise, even, out=np.zeros_like(even), where=even > 0.0))
    starts = run_starts(sums.owners)
    floor[sums.owners[starts]] = sum_of_runs(sums.share * mean * np.minimum(spread, 1.0), starts)
    return floor


def _mean_deviation(n: int, p: float) -> float:
    """The mean of | X / n - p | of a binomial X."""
    m = int(n * p)
    if not 0.0 < p < 1.0 or m >= n:
        return 0.0
    choose = math.lgamma(n + 1) - math.lgamma(m + 2) - math.lgamma(n - m)
    return 2.0 * (m + 1) / n * math.exp(choose + (m + 1) * math.log(p) + (n - m) * math.log1p(-p))


def confidences_of(reading: Reading) -> Numbers:
    """The sums, by weight, of the confidences in the predicted classes; of two classes the larger probability."""
    cells = reading.sums.cells("calibration")
    assert cells is not None
    weight, _, confidence = (
        summed(replace(cells, owners=np.arange(len(cells.owners))), words, len(cells.owners)).rounded
        for words in words_of_cells(cells, weighted=reading.weighted)
    )
    if reading.spec.task == "binary":  # 1/2 is an edge of cells
        confidence = np.maximum(confidence, weight - confidence)
    return together(confidence, cells.owners, reading.owners)


def murphy_parts(bins: Bins, starts: Integers, score: Twofold) -> dict[str, Twofold]:
    """Murphy's parts of the scores of owners, whose bins are those from each start on.

    Reliability sum_b w_b (p_b - y_b)^2 / W, resolution sum_b w_b (y_b - y)^2 / W, uncertainty y (1 - y), with w_b the
    weight of a bin, p_b and y_b its mean confidence and share of hits, W and y those of all (Murphy 1973).
    """
    owner = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(bins.owners))))
    total = sum_by_owner(bins.weight, starts)
    share = sum_by_owner(bins.hits, starts) / total
    away = bins.share - share[owner]
    reliability = sum_by_owner(bins.gap * bins.miss, starts) / total
    resolution = sum_by_owner(bins.weight * away * away, starts) / total
    uncertainty = share * (Twofold.of(np.ones(len(starts))) - share)
    residual = score - (reliability - resolution + uncertainty)
    return dict(zip(BrierParts.__slots__, (reliability, resolution, uncertainty, residual), strict=True))


def brier_parts(reading: Reading) -> BrierParts | None:
    """The parts of the Brier score of the only owner; None where there are none."""
    if "reliability" not in reading:
        return None
    return BrierParts(*(reading.number(name) for name in BrierParts.__slots__))


def calibrate(reading: Reading, bins: int | None, binning: Binning) -> Calibration:
    """Calibration errors and the reliability table of the only owner over any bins.

    Raises:
        UsageError: calibration was not gathered, or its cells cannot be put together to such bins.
    """
    if reading.sums.cells("calibration") is None:
        raise UsageError("calibration was not gathered (scores=False, or task 'multilabel')")
    count = check_bins(bins, binning)
    numbers = _bin_numbers(reading, bins, binning)
    if numbers is None:
        level = reading.sums.cells("calibration").level  # type: ignore[union-attr]
        widths = _WIDTHS[level - 1] if level <= len(_WIDTHS) else 0
        raise UsageError(
            f"so many groups share memory that each keeps {widths or 'no'} equal widths of its calibration, which do "
            f"not make {count} bins of binning {binning!r}; "
            + f"take a divisor of {widths} with 'equal_width', or " * bool(widths)
            + "evaluate the rows of the group alone with filter="
        )
    other = reading.with_options(bins=bins, binning=binning)
    ece, mce, rmsce, ace = (other.number(name) for name in ("ece", "mce", "rmsce", "ace"))
    return Calibration(ece, mce, rmsce, ace, binning, tuple(_rows(reading, numbers, count, binning)))


def _rows(reading: Reading, numbers: Integers, count: int, binning: Binning) -> Iterator[dict[str, Any]]:
    """The reliability table of the only owner, a row a bin."""
    cells = _cells(reading)
    words = words_of_cells(cells, weighted=reading.weighted)
    starts = run_starts(numbers)
    weight, hits, confidence = (each.summed(starts) for each in words)
    weights = weight.rounded(None if cells.exponents is None else cells.exponents[starts])
    rows = np.add.reduceat(cells.columns[:, 0], starts) if starts.size else starts
    means = {"confidence": confidence.over(weight), "accuracy": hits.over(weight)}
    place = {int(number): i for i, number in enumerate(numbers[starts])}
    lows, highs = _bounds(cells, numbers, count) if binning == "equal_mass" else _even(count)
    for number in range(count + (count in place)):
        low, high = (lows[number], highs[number]) if number < count else (1.0, 1.0)
        at = place.get(number)
        row: dict[str, Any] = {"low": low, "high": high, "count": 0 if at is None else int(rows[at])}
        if reading.weighted:
            row["weight"] = 0.0 if at is None else float(weights[at])
        yield row | {name: None if at is None else float(values[at]) for name, values in means.items()}


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
def _ends(level: int) -> tuple[Numbers, Numbers]:
    """The least and the largest number that cells of a level hold."""
    if level:
        edges = np.arange(_WIDTHS[level - 1] + 2) / _WIDTHS[level - 1]
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
def _order() -> Integers:
    """The place of every cell among all by its number, in the tails by where it begins."""
    order = np.empty(tally.CELLS, np.int64)
    order[np.lexsort((lows_of_cells(), _numbers()))] = np.arange(tally.CELLS)
    return order


@cache
def _numbers() -> Numbers:
    """A number of every cell that is in the cell's bin, whatever the library's edges are."""
    width = np.clip(np.floor(lows_of_cells() * tally.WIDTHS + 1e-9), 0, tally.WIDTHS - 1)
    return np.where(cells_alone(), lows_of_cells(), (width + 0.5) / tally.WIDTHS)


@cache
def _bases() -> tuple[Integers, ...]:
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


def _widened(keys: Integers, cells: Integers, level: int) -> tuple[Integers, Integers]:
    """Cells become equal widths; the place after the widths is that of exactly 1."""
    places, last = np.where(keys < 0, 0, keys & PLACES), len(_WIDTHS)
    if level == 1:
        places = _widths(_numbers(), _WIDTHS[0])[places]
    elif level <= last:
        before, now = _WIDTHS[level - 2 : level]
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


def _cells(reading: Reading) -> Cells:
    """The cells in the order of their owners and of the numbers that they hold."""
    cells = reading.sums.cells("calibration")
    assert cells is not None
    if cells.level or not (cells.places > tally.ONE).any():
        return cells
    order = _order()
    cells = cells.at_places(order[cells.places])
    return replace(cells, places=np.argsort(order)[cells.places])


def _bins(reading: Reading, numbers: Integers) -> Bins:
    cells = _cells(reading)
    return Bins.of(cells.owners, numbers, *words_of_cells(cells, weighted=reading.weighted))


def _bin_numbers(reading: Reading, bins: int | None, binning: Binning) -> Integers | None:
    """The bin of every cell; None if cells have been put together to others than make such bins."""
    cells = _cells(reading)
    count = check_bins(bins, binning)
    if cells.level:
        if cells.level > len(_WIDTHS):
            return None
        widths, one_apart = _WIDTHS[cells.level - 1], cells.level < len(_WIDTHS)
        if widths % count or binning in ("sklearn", "equal_mass") or (binning == "torchmetrics" and not one_apart):
            return None
        numbers = np.minimum((np.arange(widths + 1) + 0.5) / widths, 1.0)
    elif binning == "equal_mass":
        return _equal_mass(cells, count, weighted=reading.weighted)
    else:
        numbers = _numbers()
    return _BINS_OF[binning](numbers, count)[cells.places]


def _widths(numbers: Numbers, count: int) -> Integers:
    """Bins closed below, 1 apart from them."""
    return np.searchsorted(np.arange(1, count + 1) / count, numbers, side="right")


def _equal_width(numbers: Numbers, count: int) -> Integers:
    """Bins closed below, the last one above too."""
    return np.minimum(_widths(numbers, count), count - 1)


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


def _even(bins: int) -> tuple[list[float], list[float]]:
    return [i / bins for i in range(bins)], [(i + 1) / bins for i in range(bins)]


def _bounds(cells: Cells, numbers: Integers, bins: int) -> tuple[list[float], list[float]]:
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
    bins = DEFAULT_BINS.get(binning, 15) if bins is None else bins
    if not 1 <= bins <= tally.WIDTHS:
        raise UsageError(f"bins: expected a number from 1 to {tally.WIDTHS}, got {bins}")
    if binning != "equal_mass" and tally.WIDTHS % bins:
        raise UsageError(f"bins: expected a divisor of {tally.WIDTHS}, got {bins}")
    return bins
