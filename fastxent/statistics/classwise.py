"""Every class against the rest: its calibration, its Brier score, and Murphy's parts of the score of all classes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.base.runs import run_starts, sum_of_runs
from fastxent.base.twofold import sum_by_owner
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import classwise as kernel
from fastxent.kernels.sums.records import CENTRE, FIXED_BITS, STEP
from fastxent.statistics.brier import BrierParts
from fastxent.statistics.calibration import Bins, murphy_parts
from fastxent.statistics.calibration_cells import BINS
from fastxent.statistics.field import Field
from fastxent.statistics.laws import Law, between, summed, together
from fastxent.statistics.options import Measures, Readings
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.statistic import Statistic, predicts_class
from fastxent.statistics.sums import Exact
from fastxent.statistics.table import PLACES, Layout, most_keys
from fastxent.statistics.values import FORMS, pieces_of

__all__ = ["MOST_CLASSES", "Classwise", "check_bins", "class_table"]

#: Classes whose cells are kept (77 MB a thread).
MOST_CLASSES = 10_000
#: Cells of classes of groups that there may be (at most 75 MB a thread).
MOST_CELLS = most_keys(1 << 20)
#: Cells of a class by level; then nothing is told.
_WIDTHS = (kernel.CELLS, 60, 30, BINS)
_SQUARE = kernel.COLUMNS + kernel.SQUARE
#: The exponent of a weight of 1 in its band.
_OF_ONE = CENTRE // STEP * STEP - CENTRE
#: What rounding down may take from a mean.
_ROUNDED = 1e-12

Integers = NDArray[np.int64]


class Classwise(Statistic):
    """For every class cells of equal width over its probability: weight, weight of hits, weight times probability.

    Beside them what their rows add to the Brier score: weight times (p - y)^2, with y = 1 where the class is the
    target. Over all classes that adds up to the multiclass Brier score, and so do the parts to those of it.
    ``classwise_ece`` is the mean over classes of the calibration error of each against the rest (Kull et al. 2019).
    """

    name = "classwise"

    def __init__(self, spec: Spec) -> None:
        self._spec, self._classes = spec, spec.num_classes

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        if not measures.classwise:
            return None
        if not predicts_class(spec) or spec.soft or spec.task != "multiclass" or spec.clip is not None:
            raise UsageError(
                "statistics 'classwise' applies to task 'multiclass' with labels as targets, without clip; "
                "for a binary task brier_parts and calibration say it already"
            )
        if spec.num_classes > MOST_CLASSES:
            raise UsageError(
                f"statistics 'classwise' applies up to {MOST_CLASSES:,} classes, and there are {spec.num_classes:,}"
            )
        return cls(spec)

    def layouts(self, *, alone: bool) -> dict[str, Layout]:
        """See `Statistic.layouts`."""
        bits = (0, FIXED_BITS) * ((kernel.COLUMNS + kernel.CLASS_COLUMNS) // 2)
        places, limit, banded = self._classes * kernel.CELLS, 0 if alone else MOST_CELLS, self._spec.reads_weight
        return {"classwise": Layout(bits, places, limit, _widened, banded=banded, levels=len(_WIDTHS))}

    def _pieces(self, record: Record) -> Iterator[tuple[slice, tuple[Any, ...]]]:
        """Rows of a record, for a few thousand scores at a time, with what kernels read of them."""
        n, card = record.n, record.card
        weight = card.real[sc.WEIGHT, :n] if self._spec.reads_weight else np.ones(n)
        how = FORMS[self._spec.form], self._spec.normalize, np.empty(self._classes)
        for rows, scores in pieces_of(record, self._classes):
            along = card.status[rows], card.whole[sc.TARGET, rows], weight[rows], card.whole[sc.SCALE, rows]
            yield rows, (scores, *along, *how)

    def place(self, name: str, record: Record) -> Iterator[tuple[Any, Integers, Integers]]:
        """See `Statistic.place`: rows by class."""
        for rows, inputs in self._pieces(record):
            places = np.empty(inputs[0].size, np.int64)
            cells = np.zeros((places.size, kernel.COLUMNS + kernel.CLASS_COLUMNS), np.int64)
            kernel.places_of_classes(*inputs, self._spec.reads_weight, places, cells)
            yield np.repeat(np.arange(rows.start, rows.stop), self._classes), places, cells

    def fill(self, name: str, record: Record, table: Integers, band: int) -> NDArray[np.bool_]:
        """See `Statistic.fill`."""
        left = np.zeros(record.n, np.bool_)
        for rows, inputs in self._pieces(record):
            kernel.add_classes(*inputs, band, table, left[rows])
        return left

    def note(self, table: str, level: int) -> str:
        """See `Statistic.note`."""
        if level >= len(_WIDTHS):
            return "the calibration of each class is not told"
        return f"the calibration of each class is that of {_WIDTHS[level]} equal widths"

    def check(self, options: Readings) -> None:
        """See `Statistic.check`."""
        if options.bins is not None:
            check_bins(options.bins)

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        return (
            Field("classwise_ece", "classwise calibration error"),
            *(Field(name, name) for name in BrierParts.__slots__),
        )

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`: the mean error over classes, and the parts of the Brier score, summed over them."""
        values = {name: reading.unknown for name in ("classwise_ece", *BrierParts.__slots__)}
        if (found := self.by_class(reading)) is None:
            return values
        owners, _, columns = found
        starts = run_starts(owners)
        for name, source in zip(values, ("ece", *BrierParts.__slots__), strict=True):
            values[name][owners[starts]] = sum_of_runs(columns[source], starts)
        values["classwise_ece"] /= self._classes
        return values

    def by_class(self, reading: Reading) -> tuple[Integers, Integers, dict[str, Any]] | None:
        """Owners and classes, and of each ``share``, ``ece``, ``brier`` and its parts; None where they are not told.

        Every owner has all classes, or (if too large weights are all it has) none.
        """
        cells, count = reading.sums.cells("classwise"), reading.options.bins or BINS
        check_bins(count)
        if cells is None or cells.level >= len(_WIDTHS) or _WIDTHS[cells.level] % count:
            return None
        klass, cell = np.divmod(cells.places, _WIDTHS[cells.level])
        weight, hits, confidence, square = (
            cells.words(i, FIXED_BITS) for i in (kernel.WEIGHT, kernel.HITS, kernel.CONFIDENCE, _SQUARE)
        )
        owners = cells.owners * self._classes + klass
        bins = Bins.of(owners, cell * count // _WIDTHS[cells.level], weight, hits, confidence)
        starts = run_starts(bins.owners)
        total = sum_by_owner(bins.weight, starts)
        present = bins.owners[starts]
        squares = square.summed(run_starts(owners))[np.isin(owners[run_starts(owners)], present)].as_numbers()
        brier = squares / total
        columns = {
            "share": (sum_by_owner(bins.hits, starts) / total).high,
            "ece": (sum_by_owner(bins.gap, starts) / total).high,
            "brier": brier.high,
        }
        columns |= {name: part.high for name, part in murphy_parts(bins, starts, brier).items()}
        return *np.divmod(present, self._classes), columns

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`: every class has all rows, whose probabilities lie in their cells."""
        cells = reading.sums.cells("classwise")
        if cells is None or cells.level >= len(_WIDTHS):
            return
        width, count = _WIDTHS[cells.level], reading.owners * self._classes
        klass, cell = np.divmod(cells.places, width)
        each = replace(cells, owners=cells.owners * self._classes + np.minimum(klass, self._classes - 1))
        if each.exponents is None:  # without weights all rows have that of 1, in its band
            each = replace(each, exponents=np.full(len(klass), _OF_ONE))
        weight, hits, confidence, square = (
            cells.words(i, FIXED_BITS) for i in (kernel.WEIGHT, kernel.HITS, kernel.CONFIDENCE, _SQUARE)
        )
        total = reading.total_weight
        whole = Exact(np.repeat(total.integers, self._classes), total.bits, np.repeat(total.special, self._classes))
        own = summed(each, weight, count).equals(whole).reshape(-1, self._classes)
        yield "a class has other rows than all have", own.all(axis=1) & (klass.max(initial=0) < self._classes)
        low, high = cell / width - _ROUNDED, (cell + 1) / width + _ROUNDED
        share, right = confidence.over(weight), hits.over(weight)
        least = right * np.maximum(1.0 - high, 0.0) ** 2 + (1.0 - right) * np.maximum(low, 0.0) ** 2
        most = right * (1.0 - low) ** 2 + (1.0 - right) * high**2
        fine = weight.at_least(hits) & (low <= share) & (share <= high) & between(least, square.over(weight), most)
        yield "the probabilities of a class are not in their cells", together(~fine, cells.owners, reading.owners) == 0
        if "brier" in reading:
            squares = summed(replace(cells, exponents=each.exponents), square, reading.owners).rounded
            score, rounding = reading["brier"] * total.rounded, _ROUNDED * total.rounded
            near = between(squares - rounding, score, squares + rounding)
            yield "the classes do not add up to the Brier score", near | (reading.counts == 0)

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`; the classes are a table."""
        parts = {name: reading.number(name) for name in BrierParts.__slots__}
        return {"brier_parts": parts, "classwise_ece": reading.number("classwise_ece")}

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """See `Statistic.headlines`."""
        parts = {name: reading.number(name) for name in BrierParts.__slots__}
        yield (
            "Brier parts",
            f"reliability {parts['reliability']:.4g} - resolution {parts['resolution']:.4g} + uncertainty"
            f" {parts['uncertainty']:.4g} + residual {parts['residual']:.2g}",
        )


def check_bins(bins: int) -> None:
    """Raise UsageError for a number of bins that cells of a class cannot be put together to."""
    if bins < 1 or kernel.CELLS % bins:
        raise UsageError(f"bins: statistics 'classwise' takes a divisor of {kernel.CELLS}, got {bins}")


def class_table(reading: Reading, names: tuple[str, ...]) -> tuple[Integers, Any] | None:
    """Owners, and in rows by owner and class a table: class, share, ece, brier and its parts; None where not told."""
    import pyarrow as pa

    statistic = reading.statistics.get("classwise")
    with np.errstate(invalid="ignore", divide="ignore"):
        found = statistic.by_class(reading) if isinstance(statistic, Classwise) else None
    if found is None:
        return None
    owners, classes, columns = found
    return owners, pa.table({"class": pa.array(names, pa.string()).take(pa.array(classes))} | columns)


def _widened(keys: Integers, cells: Integers, level: int) -> tuple[Integers, Integers]:
    """Cells of a class become wider; in the end all classes are one place."""
    places = np.where(keys < 0, 0, keys & PLACES)
    if level >= len(_WIDTHS):
        places = np.zeros_like(places)
    else:
        before, now = _WIDTHS[level - 1 : level + 1]
        klass, cell = np.divmod(places, before)
        places = klass * now + cell * now // before
    return np.where(keys < 0, -1, keys & ~np.int64(PLACES) | places), cells
