"""Every class of every group against the rest: calibration and Brier score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.runs import run_starts
from fastxent.data.spec import Spec
from fastxent.kernels.sums import classwise as kernel
from fastxent.statistics.calibration import BrierParts
from fastxent.statistics.classwise import check_classes, pieces_of
from fastxent.statistics.groupbins import Parts, floats_of_sums, put_together, words_of_pairs
from fastxent.statistics.groupcells import BINS
from fastxent.statistics.groupparts import SparsePart
from fastxent.statistics.sparse import most_keys
from fastxent.statistics.statistic import FIXED_BITS, Record, add_pairs

if TYPE_CHECKING:
    from fastxent.kernels.sums.tally import Tallies
    from fastxent.statistics.sparse import most_keys
from fastxent.statistics.statistic import Statistic

__all__ = ["GroupedClasswise"]

#: Cells of a class by level; then nothing is told.
_WIDTHS = (kernel.CELLS, 60, 30, BINS)
#: Scores whose cells are made together (5 MB).
_PIECE = 1 << 16
_SQUARE = kernel.COLUMNS + kernel.SQUARE


class GroupedClasswise(SparsePart):
    """The cells of `fastxent.statistics.classwise` of every group, each with what its rows add to the Brier score."""

    #: Cells of classes of groups that there may be (at most 75 MB a thread).
    LIMIT = most_keys(1 << 20)

    def __init__(self, spec: Spec, classes: int) -> None:
        check_classes(spec, classes)
        self._spec, self._classes = spec, classes
        super().__init__((0, FIXED_BITS) * ((kernel.COLUMNS + kernel.CLASS_COLUMNS) // 2), self.LIMIT)

    def empty(self) -> GroupedClasswise:
        """See `Part.empty`."""
        return GroupedClasswise(self._spec, self._classes)

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """See `Part.absorb`."""
        for rows, inputs in pieces_of(record, self._spec, self._classes, _PIECE):
            scores = (rows.stop - rows.start) * self._classes
            places, cells = np.empty(scores, np.int64), np.zeros((scores, self.width), np.int64)
            kernel.places_of_classes(*inputs, places, cells)
            self.add(np.repeat(groups[rows], self._classes), places, cells)

    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """See `SparseSums.coarser`."""
        if level >= len(_WIDTHS):
            return np.zeros_like(places)
        before, now = _WIDTHS[level - 1 : level + 1]
        klass, cell = np.divmod(places, before)
        found: NDArray[np.int64] = klass * now + cell * now // before
        return found

    @property
    def widths(self) -> int:
        """Cells of a class; 0 if nothing is told."""
        return _WIDTHS[self.level] if self.level < len(_WIDTHS) else 0

    def note(self) -> str:
        """See `Part.note`."""
        if not self.widths:
            return "the calibration of each class is not told"
        return f"the calibration of each class is that of {self.widths} equal widths"

    def fill(self, tallies: Tallies, statistics: dict[str, Statistic]) -> dict[str, Any]:
        """See `Part.fill`: a width stands in the first of its cells."""
        if not self.widths:
            del statistics["classwise"]
            return {"classwise": 0}
        _, places, found = self.sorted(np.zeros(1, np.int64))
        klass, cell = np.divmod(places, self.widths)
        cells = np.zeros((self._classes, kernel.CELLS, kernel.COLUMNS), np.int64)
        cells[klass, cell * (kernel.CELLS // self.widths)] = found[:, : kernel.COLUMNS]
        sums = np.zeros((self._classes, kernel.CLASS_COLUMNS), np.int64)
        add_pairs(sums[:, kernel.SQUARE :], klass, found[:, _SQUARE:])
        statistics["classwise"].load(None, [cells, sums])
        return {"classwise": self.widths if self.level else None}

    def read(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], dict[str, Any]] | None:
        """Groups and classes, and of each ``share``, ``ece``, ``brier`` and its parts; None where they are not told.

        Over 15 equal bins. Every group has all classes, or (if too large weights are all it has) none.
        """
        if not self.widths:
            return None
        groups, places, cells = self.sorted(numbers)
        klass, cell = np.divmod(places, self.widths)
        some = (cells[:, kernel.WEIGHT] | cells[:, kernel.WEIGHT + 1]) > 0
        owners, cells, cell = (groups * self._classes + klass)[some], cells[some], cell[some]
        (squares, *words), bits = words_of_pairs(cells, (_SQUARE, kernel.WEIGHT, kernel.HITS, kernel.CONFIDENCE))
        bins = put_together(owners, cell * BINS // self.widths, words, bits)
        weight, size = bins.floats(bins.weight), bins.floats(bins.gap)
        starts = run_starts(bins.owners)
        if not starts.size:
            return bins.owners, bins.owners, dict.fromkeys(("share", "ece", "brier", *BrierParts.__slots__), weight)
        parts = Parts.of(weight, bins.floats(bins.hits), size, starts)
        brier = floats_of_sums(squares, run_starts(owners), bits) / parts.weight
        rest = brier - (parts.reliability - parts.resolution + parts.uncertainty)
        told = (parts.reliability, parts.resolution, parts.uncertainty, rest)
        columns = {"share": parts.share, "ece": np.add.reduceat(size, starts) / parts.weight, "brier": brier}
        columns |= zip(BrierParts.__slots__, told, strict=True)
        return *np.divmod(bins.owners[starts], self._classes), columns

    def means(self, numbers: NDArray[np.int64], count: int) -> dict[str, Any]:
        """Of every group the mean error over classes, and the parts of its Brier score; None where not told."""
        names = ("classwise_ece", *BrierParts.__slots__)
        if (found := self.read(numbers)) is None:
            return dict.fromkeys(names, [None] * count)
        groups, _, columns = found
        known = np.where(np.bincount(groups, minlength=count) > 0, 1.0, np.nan)
        sums = {name: np.bincount(groups, columns[name], count) * known for name in ("ece", *BrierParts.__slots__)}
        return {"classwise_ece": sums.pop("ece") / self._classes} | sums
