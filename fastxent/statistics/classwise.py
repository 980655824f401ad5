"""Every class against the rest: its calibration, its Brier score, and Murphy's parts of the score of all classes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import classwise as kernel
from fastxent.statistics.calibration import BrierParts
from fastxent.statistics.statistic import FIXED_BITS, Record, Statistic, carry, check_shape, predicts_class
from fastxent.statistics.values import values_of

__all__ = ["MOST_CLASSES", "ClassCalibration", "Classwise", "check_bins", "check_classes", "pieces_of"]

#: Classes whose cells are kept (58 MB a thread).
MOST_CLASSES = 10_000
#: Scores that are looked at together.
PIECE = 1 << 18
_FORMS = {"logits": 0, "probs": 1, "log_probs": 2}


@dataclass(frozen=True, slots=True)
class ClassCalibration:
    """One class against the rest: share of rows with it as target, mean |probability - share| over bins, Brier parts.

    ``brier`` is the mean of (p - y)^2, with y = 1 where the class is the target; over all classes it adds up to the
    multiclass Brier score, and so do the parts to those of it.
    """

    share: float
    ece: float
    brier: float
    parts: BrierParts


def check_bins(bins: int) -> None:
    """Raise UsageError for a number of bins that cells of a class cannot be put together to."""
    if bins < 1 or kernel.CELLS % bins:
        raise UsageError(f"bins: statistics 'classwise' takes a divisor of {kernel.CELLS}, got {bins}")


def check_classes(spec: Spec, classes: int) -> None:
    """Raise UsageError where classes cannot be looked at one against the rest."""
    if not predicts_class(spec) or spec.soft or spec.task != "multiclass" or spec.clip is not None:
        raise UsageError(
            "statistics 'classwise' applies to task 'multiclass' with labels as targets, without clip; "
            "for a binary task brier_parts and calibration say it already"
        )
    if classes > MOST_CLASSES:
        raise UsageError(f"statistics 'classwise' applies up to {MOST_CLASSES:,} classes, and there are {classes:,}")


def pieces_of(record: Record, spec: Spec, classes: int, scores: int) -> Iterator[tuple[slice, tuple[Any, ...]]]:
    """Rows of a record, about so many scores at a time, with what `fastxent.kernels.sums.classwise` reads of them."""
    n, card = record.n, record.card
    step = max(1, scores // classes)
    weight = card.real[sc.WEIGHT, :n] if spec.reads_weight else np.ones(n)
    status = np.where(weight < 2.0**40, card.status[:n], np.uint8(sc.INVALID_WEIGHT)).astype(np.uint8)
    scratch = np.empty(classes)
    for lo in range(0, n, step):
        here = slice(lo, min(lo + step, n))
        values = values_of(record.batch, slice(record.lo + lo, record.lo + here.stop))
        target = card.whole[sc.TARGET, here]
        yield here, (values, status[here], target, weight[here], _FORMS[spec.form], spec.normalize, scratch)


class Classwise(Statistic):
    """For every class cells of equal width over its probability: weight, weight of hits, weight times probability."""

    def __init__(self, spec: Spec, classes: int) -> None:
        check_classes(spec, classes)
        self._spec = spec
        self._cells: NDArray[np.int64] = np.zeros((classes, kernel.CELLS, kernel.COLUMNS), np.int64)
        self._sums: NDArray[np.int64] = np.zeros((classes, kernel.CLASS_COLUMNS), np.int64)

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        for _, inputs in pieces_of(record, self._spec, len(self._sums), PIECE):
            kernel.by_class(*inputs, self._cells, self._sums)

    def merge(self, other: Classwise) -> None:
        """See `Statistic.merge`."""
        self._cells += other._cells
        self._sums += other._sums
        carry(self._cells, range(0, kernel.COLUMNS, 2))
        carry(self._sums, range(0, kernel.CLASS_COLUMNS, 2))

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        return None, [self._cells, self._sums]

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        cells, sums = arrays
        self._cells, self._sums = check_shape(cells, self._cells.shape), check_shape(sums, self._sums.shape)

    def read(self, bins: int) -> list[ClassCalibration]:
        """Every class over bins of equal width, [a, b) but for the last."""
        check_bins(bins)
        shape = (len(self._sums), bins, kernel.CELLS // bins)
        weight, hits, confidence = (
            ((self._cells[..., i].astype(object) << FIXED_BITS) + self._cells[..., i + 1]).reshape(shape).sum(axis=2)
            for i in (kernel.WEIGHT, kernel.HITS, kernel.CONFIDENCE)
        )
        squares = (self._sums[:, kernel.SQUARE].astype(object) << FIXED_BITS) + self._sums[:, kernel.SQUARE + 1]
        return [_calibrated(*each) for each in zip(weight, hits, confidence, squares, strict=True)]


def _calibrated(weight: Any, hits: Any, confidence: Any, square: int) -> ClassCalibration:
    """One class, from integers that share a unit."""
    total = int(weight.sum())
    if not total:
        return ClassCalibration(math.nan, math.nan, math.nan, BrierParts(*[math.nan] * 4))
    share, brier = Fraction(int(hits.sum()), total), Fraction(int(square), total)
    reliability = resolution = gaps = Fraction(0)
    for w, y, p in zip(weight, hits, confidence, strict=True):
        if w:
            gaps += Fraction(abs(p - y), total)
            reliability += Fraction((p - y) ** 2, w * total)
            resolution += Fraction(w, total) * (Fraction(y, w) - share) ** 2
    uncertainty = share * (1 - share)
    rest = brier - (reliability - resolution + uncertainty)
    parts = BrierParts(*map(float, (reliability, resolution, uncertainty, rest)))
    return ClassCalibration(float(share), float(gaps), float(brier), parts)
