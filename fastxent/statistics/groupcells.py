"""Calibration cells of groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent.kernels import groups as kernels
from fastxent.kernels import tally
from fastxent.spec import Spec
from fastxent.statistics.calibration import UNIT, cell_bases, cells_of_widths, widths_of_cells
from fastxent.statistics.groupparts import MOST_KEYS, Part
from fastxent.statistics.statistic import FIXED_BITS, Record

if TYPE_CHECKING:
    from fastxent.kernels.tally import Tallies
    from fastxent.statistics.statistic import Statistic

__all__ = ["BINS", "Bins", "GroupedCalibration"]

#: Bins of the calibration errors in the table of groups; those of the last level.
BINS = 15
#: Equal widths from the first level on. Up to the last but one, what is exactly 1 is kept apart.
_WIDTHS = (720, 60, BINS)


class Bins(NamedTuple):
    """Every (group, bin) that has rows: both, the weight of its rows (of hits), and | hits - confidences |, in words.

    A number has words from the highest, which counts ones, to the lowest; each of the others has ``bits`` bits.
    """

    groups: NDArray[np.int64]
    numbers: NDArray[np.int64]
    weight: NDArray[np.int64]
    hits: NDArray[np.int64]
    gap: NDArray[np.int64]
    bits: int

    def floats(self, words: NDArray[np.int64]) -> NDArray[np.float64]:
        """The numbers, rounded (but for that of words, once)."""
        scale = 2.0 ** (-self.bits * np.arange(words.shape[1]))
        found: NDArray[np.float64] = (words * scale)[:, ::-1].sum(axis=1)
        return found

    def integers(self, words: NDArray[np.int64]) -> NDArray[Any]:
        """The numbers, or sums of some, as Python integers in units of the lowest word."""
        total = words[:, 0].astype(object)
        for i in range(1, words.shape[1]):
            total = (total << self.bits) + words[:, i]
        return total


class GroupedCalibration(Part):
    """The calibration cells of all rows (`fastxent.kernels.tally`), or 720, 60 or 15 equal widths of [0, 1].

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
        found = where[places]
        new = (groups[1:] != groups[:-1]) | (found[1:] != found[:-1])
        starts = np.flatnonzero(np.concatenate((np.ones(min(len(groups), 1), np.bool_), new)))
        words, bits = _words(cells, self._spec.reads_weight)
        sums = [np.add.reduceat(each, starts, axis=0) if starts.size else each for each in words]
        weight, hits, confidence = (_carried(each, bits) for each in sums)
        return Bins(groups[starts], found[starts], weight, hits, _absolute(hits - confidence, bits), bits)


def _words(cells: NDArray[np.int64], weighted: bool) -> tuple[list[NDArray[np.int64]], int]:
    """Words of the weight, the hits and the confidence, and their bits: so few that sums stay in range."""
    if not weighted:
        nothing = np.zeros((len(cells), 2), np.int64)
        whole = [np.column_stack((cells[:, i], nothing)) for i in (0, 1)]
        return [*whole, np.column_stack((nothing[:, 0], cells[:, 2:]))], kernels.CONFIDENCE_BITS
    half = FIXED_BITS // 2
    low = (1 << half) - 1
    words = [np.column_stack((cells[:, i], cells[:, i + 1] >> half, cells[:, i + 1] & low)) for i in (2, 4, 6)]
    return words, half


def _carried(words: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """The same numbers with every word but the highest in 0 <= word < 2^bits."""
    words = words.copy()
    for i in range(words.shape[1] - 1, 0, -1):
        carry = words[:, i] >> bits
        words[:, i] -= carry << bits
        words[:, i - 1] += carry
    return words


def _absolute(words: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    words = _carried(words, bits)
    return _carried(np.where(words[:, :1] < 0, -words, words), bits)
