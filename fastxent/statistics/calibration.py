"""Calibration: how confidence and accuracy agree over bins, and with binary tasks Murphy's parts of the Brier score."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.base.factorials import log_factorial
from fastxent.base.runs import run_starts
from fastxent.base.twofold import Twofold, sum_by_owner
from fastxent.data.spec import Spec
from fastxent.kernels.sums import group_sums as kernels
from fastxent.kernels.sums import tally
from fastxent.kernels.sums.records import FIXED_BITS
from fastxent.kernels.sums.tally import Tallies
from fastxent.statistics.accuracy import rows_behind
from fastxent.statistics.binnings import bins_of_cells, check_bins, edges_of_mass, even_edges
from fastxent.statistics.brier import BrierParts
from fastxent.statistics.calibration_cells import (
    WIDTHS,
    bases_of_cells,
    ends_of_cells,
    sorted_cells,
    widened,
    words_of_cells,
)
from fastxent.statistics.field import Field
from fastxent.statistics.laws import Law, summed, together
from fastxent.statistics.options import Binning, Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.spread import MOST_CELLS
from fastxent.statistics.statistic import Statistic, predicts_class
from fastxent.statistics.table import Cells, Layout
from fastxent.statistics.words import Words

__all__ = [
    "BinSums", "Bins", "Calibrated", "Calibration", "bin_sums", "brier_parts", "calibrate", "confidences_of",
    "murphy_parts",
]  # fmt: skip

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
    """Every (owner, bin) that has weight: where its cells begin, both, its weight and that of hits.

    ``gap`` is | hits - confidences |; of the weight of the bin, ``share`` is that of hits, ``confidence`` that of
    confidences and ``miss`` that of the gap.
    """

    starts: Integers
    owners: Integers
    numbers: Integers
    weight: Twofold
    hits: Twofold
    gap: Twofold
    share: Twofold
    confidence: Twofold
    miss: Twofold

    @classmethod
    def of(cls, owners: Integers, numbers: Integers, weight: Words, hits: Words, confidence: Words) -> Bins:
        """Cells, sorted by owner and bin, put together."""
        starts = run_starts(owners, numbers)
        weight, hits, confidence = (words.summed(starts) for words in (weight, hits, confidence))
        gap = abs(hits.as_numbers() - confidence.as_numbers())
        own = [words.beside(weight) for words in (weight, hits, confidence)]
        share, mean, miss = own[1] / own[0], own[2] / own[0], abs(own[1] - own[2]) / own[0]
        sums = weight.as_numbers(), hits.as_numbers()
        return cls(starts, owners[starts], numbers[starts], *sums, gap, share, mean, miss)


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
        limit, levels = 0 if alone else MOST_CELLS, len(WIDTHS)
        layout = Layout((0, 0, *pairs), tally.CELLS, limit, widened, banded=self._weighted, levels=levels)
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
        words = [rows * base[used] + offset for base, offset in zip(bases_of_cells(), offsets, strict=True)]
        return Cells(np.zeros(len(used), np.int64), used, np.stack((rows, hits, *words), axis=1), 0)

    def note(self, table: str, level: int) -> str:
        """See `Statistic.note`."""
        if level > len(WIDTHS):
            return "calibration is not told"
        areas = " and ROC AUC is not told" if self._binary else ""
        return f"calibration is that of {WIDTHS[min(level, len(WIDTHS)) - 1]} equal widths{areas}"

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
        bins = bins_of(reading)
        if bins is None:
            return dict.fromkeys(names, reading.unknown)
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
        if self._binary and "brier" in reading:
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
        if cells.level <= len(WIDTHS):
            weight, right, confidence = words_of_cells(cells, weighted=reading.weighted)
            total = summed(cells, weight, owners)
            yield "the weights by confidence are not those of all rows", total.equals(reading.total_weight)
            least, most = (edges[cells.places] for edges in ends_of_cells(cells.level))
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
    """Every (owner, bin) that has weight: its share of the owner's weight, mean confidence, gap and variances.

    ``gap`` is accuracy - confidence, ``noise`` the variance of a row's hit that its confidence implies, ``residual``
    that of hit - confidence.
    """

    owners: Integers
    numbers: Integers
    share: Numbers
    confidence: Numbers
    gap: Numbers
    noise: Numbers
    residual: Numbers


def bin_sums(reading: Reading) -> BinSums | None:
    """Of all owners over the bins that are asked for; None where cells cannot be put together to them."""
    bins = bins_of(reading)
    if bins is None:
        return None
    weight, hits, confidence = (words.nearest for words in _sorted_words(reading))
    some = weight > 0.0  # of weights far apart the lightest may be too small for numbers
    rate, p = (np.divide(each, weight, out=np.zeros_like(weight), where=some) for each in (hits, confidence))
    noise, square = (
        _in_bins(weight * each, bins) / bins.weight.high
        for each in (p * (1.0 - p), rate * (1.0 - p) ** 2 + (1.0 - rate) * p**2)
    )
    owner = run_starts(bins.owners)
    total = sum_by_owner(bins.weight, owner).high
    share = bins.weight.high / np.repeat(total, np.diff(np.append(owner, len(bins.owners))))
    gap = np.copysign(bins.miss.high, (bins.share - bins.confidence).high)
    heavy = share > 0.0
    parts = (share, bins.confidence.high, gap, noise, np.maximum(square - gap**2, 0.0))
    return BinSums(bins.owners[heavy], bins.numbers[heavy], *(each[heavy] for each in parts))


def _in_bins(values: Numbers, bins: Bins) -> Numbers:
    """Sums over the cells of every bin, in float64: of what is an estimate anyhow."""
    sums: Numbers = np.add.reduceat(values, bins.starts) if bins.starts.size else values
    return sums


def _floor(reading: Reading) -> Numbers:
    r"""The expected calibration error of a model whose confidences are true: what chance alone makes of these bins.

    Of rows of several probabilities the mean deviation of those of one (`_mean_deviation`) is scaled by the root of
    what that takes from the variance. Weighted rows count as Kish's effective number.
    """
    sums, floor = bin_sums(reading), reading.unknown
    if sums is None or not sums.owners.size:
        return floor
    rows = np.maximum(1.0, np.rint(sums.share * rows_behind(reading)[sums.owners]))
    p = np.clip(sums.confidence, 0.0, 1.0)
    even = p * (1.0 - p)
    spread = np.sqrt(np.divide(sums.noise, even, out=np.zeros_like(even), where=even > 0.0))
    starts = run_starts(sums.owners)
    terms = sums.share * _mean_deviation(rows, p) * np.minimum(spread, 1.0)
    floor[sums.owners[starts]] = np.add.reduceat(terms, starts)
    return floor


def _mean_deviation(n: Numbers, p: Numbers) -> Numbers:
    """The mean of | X / n - p | of binomial X: 2 (m + 1) / n C(n, m + 1) p^(m + 1) (1 - p)^(n - m), m = floor(n p).

    Source: De Moivre (1730).
    """
    m = np.floor(n * p)
    some = (p > 0.0) & (p < 1.0) & (m < n)
    n, p, m = n[some], p[some], m[some]
    choose = log_factorial(n) - log_factorial(m + 1.0) - log_factorial(n - m - 1.0)
    mean = np.zeros(len(some))
    mean[some] = 2.0 * (m + 1.0) / n * np.exp(choose + (m + 1.0) * np.log(p) + (n - m) * np.log1p(-p))
    return mean


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
    numbers = bins_of_cells(reading, bins, binning)
    if numbers is None:
        level = reading.sums.cells("calibration").level  # type: ignore[union-attr]
        widths = WIDTHS[level - 1] if level <= len(WIDTHS) else 0
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
    cells = sorted_cells(reading)
    words = words_of_cells(cells, weighted=reading.weighted)
    starts = run_starts(numbers)
    weight, hits, confidence = (each.summed(starts) for each in words)
    weights = weight.rounded(None if cells.exponents is None else cells.exponents[starts])
    rows = np.add.reduceat(cells.columns[:, 0], starts) if starts.size else starts
    means = {"confidence": confidence.over(weight), "accuracy": hits.over(weight)}
    place = {int(number): i for i, number in enumerate(numbers[starts])}
    lows, highs = edges_of_mass(cells, numbers, count) if binning == "equal_mass" else even_edges(count)
    for number in range(count + (count in place)):
        low, high = (lows[number], highs[number]) if number < count else (1.0, 1.0)
        at = place.get(number)
        row: dict[str, Any] = {"low": low, "high": high, "count": 0 if at is None else int(rows[at])}
        if reading.weighted:
            row["weight"] = 0.0 if at is None else float(weights[at])
        yield row | {name: None if at is None else float(values[at]) for name, values in means.items()}


def bins_of(reading: Reading) -> Bins | None:
    """The bins that are asked for, of all owners; None where cells cannot be put together to them."""
    bins: Bins | None = reading.once("bins", lambda: _read_bins(reading))
    return bins


def _read_bins(reading: Reading) -> Bins | None:
    numbers = bins_of_cells(reading, reading.options.bins, reading.options.binning)
    return None if numbers is None else Bins.of(sorted_cells(reading).owners, numbers, *_sorted_words(reading))


def _sorted_words(reading: Reading) -> tuple[Words, Words, Words]:
    return words_of_cells(sorted_cells(reading), weighted=reading.weighted)
