"""Calibration cells of groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastxent.data.spec import Spec
from fastxent.kernels.sums import group_sums as kernels
from fastxent.kernels.sums import tally
from fastxent.statistics.calibration import UNIT, cell_bases, cells_of_widths, widths_of_cells
from fastxent.statistics.groupbins import Bins, Numbers, put_together, words_of_pairs
from fastxent.statistics.groupparts import MOST_KEYS, SparsePart
from fastxent.statistics.statistic import FIXED_BITS, Record

if TYPE_CHECKING:
    from fastxent.kernels.sums.tally import Tallies
    from fastxent.statistics.statistic import Statistic

__all__ = ["BINS", "GroupedCalibration"]

#: Bins of the calibration errors in the table of groups; those of the last level.
BINS = 15
#: Equal widths from the first level on. Up to the last but one, what is exactly 1 is kept apart.
_WIDTHS = (720, 60, BINS)


class GroupedCalibration(SparsePart):
    """The calibration cells of all rows (`fastxent.kernels.sums.tally`), or 720, 60 or 15 equal widths of [0, 1].

    Columns are rows, hits, and the pair of the confidence; with weights instead of that pairs of the weight, of that of
    hits, and of weight times confidence.
    """

    LIMIT = MOST_KEYS

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        pairs = (0, FIXED_BITS) * 3 if spec.reads_weight else (0, kernels.CONFIDENCE_BITS)
        super().__init__((0, 0, *pairs), self.LIMIT)

    def empty(self) -> GroupedCalibration:
        """See `Part.empty`."""
        return GroupedCalibration(self._spec)

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """See `Part.absorb`."""
        n, weighted = record.n, self._spec.reads_weight
        places, cells = np.empty(n, np.int64), np.zeros((n, self.width), np.int64)
        kernels.calibration_places(record.card, n, weighted, self._spec.task == "binary", places, cells)
        self.add(groups, places, cells)

    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """See `SparseSums.coarser`; the place after the widths is that of exactly 1."""
        if level == 1:
            return widths_of_cells(_WIDTHS[0])[places]
        last = len(_WIDTHS)
        if level > last:
            return places
        before, now = _WIDTHS[level - 2 : level]
        return np.where(places == before, now if level < last else now - 1, places * now // before)

    @property
    def _fields(self) -> dict[str, Any]:
        if not self.level:
            return {}
        level = min(self.level, len(_WIDTHS))
        return {"widths": _WIDTHS[level - 1], "edge": level < len(_WIDTHS)}

    def note(self) -> str:
        """See `Part.note`."""
        return f"calibration is that of {self._fields['widths']} equal widths"

    def fill(self, tallies: Tallies, statistics: dict[str, Statistic]) -> dict[str, Any]:
        """See `Part.fill`: a width stands in one of its cells."""
        _, places, cells = self.sorted(np.zeros(1, np.int64))
        if self.level:
            places = cells_of_widths(self._fields["widths"])[places]
        into = tallies.calibration
        into[places, tally.MISSES], into[places, tally.HITS] = cells[:, 0] - cells[:, 1], cells[:, 1]
        if self._spec.reads_weight:
            weighed: Any = statistics["weighed"]
            weighed.cells[places] = cells[:, 2:]
            return self._fields
        bases = cell_bases()
        for place, count, high, low in zip(places.tolist(), *cells[:, [0, 2, 3]].T.tolist(), strict=True):
            # What of a confidence lies below 2^-54 of a base that other cells had is cut off.
            offset = (((high << kernels.CONFIDENCE_BITS) + low) - count * bases[place]) >> (UNIT - tally.OFFSET_BITS)
            into[place, tally.OFFSET_WHOLE] = offset >> tally.OFFSET_BITS
            into[place, tally.OFFSET_LOW] = offset & ((1 << tally.OFFSET_BITS) - 1)
        return self._fields

    def bins(self, numbers: NDArray[np.int64]) -> Bins:
        """The cells of every group put together to 15 bins of equal width, [a, b) but for the last."""
        groups, places, cells = self.sorted(numbers)
        where = widths_of_cells(BINS) if not self.level else np.arange(self._fields["widths"] + 1)
        if self.level:
            where = np.minimum(where * BINS // self._fields["widths"], BINS - 1)
        else:
            where = np.minimum(where, BINS - 1)
        return put_together(groups, where[places], *_words(cells, self._spec.reads_weight))


def _words(cells: NDArray[np.int64], weighted: bool) -> tuple[list[Numbers], int]:
    """Words of the weight, the hits and the confidence, and their bits: so few that sums stay in range."""
    if weighted:
        return words_of_pairs(cells, (2, 4, 6))
    whole, hits, high, low = (np.ascontiguousarray(column) for column in cells.T)
    return [[whole], [hits], [np.zeros_like(high), high, low]], kernels.CONFIDENCE_BITS
