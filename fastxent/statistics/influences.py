r"""What a single row changes in statistics of its owner: their gradients by shares, row by row.

A statistic of shares changes by the gradient at a row's place when the row weighs a little more, so two models that
score the same rows differ, by and large, as the sum of the differences of these over rows does. That is what the error
of a paired difference is made of (the infinitesimal jackknife; of the AUC DeLong's covariance).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import group_sums as kernels
from fastxent.statistics.binnings import bins_by_cell
from fastxent.statistics.calibration import bin_sums
from fastxent.statistics.classes import class_sums
from fastxent.statistics.ranking import ranking_of
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.sampling import GRADIENTS, Confusion, area_gradients
from fastxent.statistics.score_cells import AREAS, least_of_cells, ranks_of_cells, ranks_of_thresholds

__all__ = ["INFLUENCED", "Influences"]

#: Statistics whose influences are known, in the order in which they are shown.
INFLUENCED = (*AREAS, *GRADIENTS, "ece")

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _ByClass:
    """Shares of every (owner, class): of the target, predicted, both; their keys are owner * classes + class."""

    keys: Integers
    classes: int
    support: Numbers
    said: Numbers
    both: Numbers


class Influences:
    """Of the rows of all owners of a reading, which says the statistics; ``names`` are those that it tells."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self.values = {name: reading[name] for name in INFLUENCED if name in reading}
        self._classes = _by_class(reading)
        self._areas = _areas(reading, self.values)
        self._gaps = _signs_of_bins(reading)

    @property
    def names(self) -> tuple[str, ...]:
        """The statistics, in the order in which they are shown."""
        return tuple(self.values)

    def of(self, record: Record, owners: Integers) -> dict[str, Numbers]:
        """The influence of every row of a record; NaN where a statistic of its owner is not told."""
        with np.errstate(invalid="ignore", divide="ignore"):
            cells = _cells_of(record, binary=self._reading.spec.task == "binary")
            found = {name: np.full(record.n, math.nan) for name in self.names}
            found |= self._of_classes(record, owners)
            found |= self._of_areas(record, owners, cells)
            if self._gaps is not None:
                found["ece"] = self._of_calibration(record, owners, cells)
        return {name: found[name] for name in self.names}

    def _of_classes(self, record: Record, owners: Integers) -> dict[str, Numbers]:
        if (sums := self._classes) is None:
            return {}
        whole = record.card.whole[:, : record.n].astype(np.int64)
        target, predicted = (
            np.minimum(np.searchsorted(sums.keys, owners * sums.classes + whole[row]), len(sums.keys) - 1)
            for row in (sc.TARGET, sc.PREDICTED)
        )
        right = whole[sc.TARGET] == whole[sc.PREDICTED]
        owner_of, number = np.divmod(sums.keys, sums.classes)
        rows = Confusion(owners, target, predicted, right, owner_of, number, sums.support, sums.said, sums.both)
        return {name: GRADIENTS[name](rows, self.values[name]) for name in self.names if name in GRADIENTS}

    def _of_areas(self, record: Record, owners: Integers, cells: Integers) -> dict[str, Numbers]:
        if not self._areas:
            return {}
        keys, gradients = self._areas
        ranks = ranks_of_thresholds(least_of_cells()[ranks_of_cells()[cells]])
        at = np.minimum(np.searchsorted(keys, owners * len(least_of_cells()) + ranks), len(keys) - 1)
        positive = record.card.whole[sc.TARGET, : record.n] == 1
        return {name: np.where(positive, sides[1][at], sides[0][at]) for name, sides in gradients.items()}

    def _of_calibration(self, record: Record, owners: Integers, cells: Integers) -> Numbers:
        r"""Of :math:`\sum_b | \sum_{i \in b} s_i (h_i - c_i) |`: h - c with the sign of the bin, less the whole."""
        assert self._gaps is not None
        options, card = self._reading.options, record.card
        bins = bins_by_cell(options.bins, options.binning)[cells]
        if self._reading.spec.task == "binary":
            gap = (card.whole[sc.TARGET, : record.n] == 1) - card.real[sc.P_ONE, : record.n]
        else:
            gap = (card.whole[sc.RANK, : record.n] == 0) - card.real[sc.CONFIDENCE, : record.n]
        influence: Numbers = self._gaps[owners, bins] * gap - self.values["ece"][owners]
        return influence


def _by_class(reading: Reading) -> _ByClass | None:
    sums = class_sums(reading)
    if sums is None or not sums.predictions or not len(sums.owners):
        return None
    classes = 2 if reading.spec.task == "binary" else reading.spec.num_classes
    total = sums.support.by_owner(sums.owners, reading.owners)[sums.owners]
    shares = (words.over(total) for words in (sums.support, sums.predicted, sums.correct))
    return _ByClass(sums.owners * classes + sums.classes, classes, *shares)


def _areas(reading: Reading, values: dict[str, Numbers]) -> tuple[Integers, dict[str, tuple[Numbers, ...]]] | None:
    """Keys of the cells of scores (owner * cells + rank), and of each area what negatives and positives change."""
    ranking = ranking_of(reading)
    cells = None if ranking is None or ranking.labels > 1 else ranking.cells(reading)
    if cells is None or not len(cells.keys):
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        gradients = {name: area_gradients(cells, name, values[name]) for name in AREAS}
    return cells.keys * len(least_of_cells()) + ranks_of_thresholds(cells.thresholds), gradients


def _signs_of_bins(reading: Reading) -> Numbers | None:
    """Whether accuracy exceeds confidence in a bin of an owner: 1, -1, or 0 where they are the same."""
    sums = bin_sums(reading)
    if sums is None:
        return None
    found = np.zeros((reading.owners, int(bins_by_cell(reading.options.bins, reading.options.binning).max()) + 1))
    found[sums.owners, sums.numbers] = np.sign(sums.gap)
    return found


def _cells_of(record: Record, *, binary: bool) -> Integers:
    """The cell of the calibration of every row."""
    places, cells = np.empty(record.n, np.int64), np.zeros((record.n, 4), np.int64)
    kernels.calibration_places(record.card, record.n, False, binary, places, cells)
    return places
