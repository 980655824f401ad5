"""Histograms of the scores of groups, for ROC AUC, average precision and thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import records
from fastxent.kernels.sums.records import LIMIT
from fastxent.statistics.groupparts import MOST_KEYS, SparsePart
from fastxent.statistics.ranking import OCTAVES, LabelRanking, bits_of, half_of, rank_scores, scores_of, truths_of
from fastxent.statistics.statistic import FIXED_BITS, Record, fixed_words

if TYPE_CHECKING:
    from fastxent.kernels.sums.tally import Tallies
    from fastxent.statistics.statistic import Statistic

__all__ = ["GroupedScores"]

#: A place is label << _LABEL | cell << 1 | truth. Scores with too large a weight are counted by label after all labels.
_CELLS = 17
_LABEL = _CELLS + 1


class GroupedScores(SparsePart):
    """Histograms of the scores of every label, positives apart: as in `fastxent.statistics.ranking`, or coarser.

    Columns: how many scores share their cell with others that may differ, and the count, or the pair of the weight.
    """

    LIMIT = MOST_KEYS

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._bits_of_cell = bits_of(spec.num_classes)
        super().__init__((0, 0, FIXED_BITS) if spec.reads_weight else (0, 0), self.LIMIT)

    def empty(self) -> GroupedScores:
        """See `Part.empty`."""
        return GroupedScores(self._spec)

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """See `Part.absorb`."""
        n, rows = record.n, slice(record.lo, record.lo + record.n)
        fold = self._spec.form == "probs"
        weight = record.card.real[sc.WEIGHT, :n] if self._spec.reads_weight else np.ones(n)
        heavy = ~(weight < LIMIT)
        for label in range(self._spec.num_classes):
            truth = np.where(record.scored, truths_of(record, label, self._spec), np.uint8(2)).astype(np.uint8)
            scores = scores_of(record.batch.predictions, rows, label)
            places, cells = np.empty(n, np.int64), np.zeros((n, self.width), np.int64)
            records.score_places(scores, truth, fold, self._bits_of_cell, OCTAVES, places, cells[:, 0])
            cells[:, 1] = 1
            if self._spec.reads_weight:
                cells[:, 1], cells[:, 2] = fixed_words(np.where(heavy, 0.0, weight))
                cells[heavy] = [1, 0, 0]
            labels = np.where(heavy, label + self._spec.num_classes, label)
            self.add(groups, np.where(places < 0, -1, labels << _LABEL | places), cells)

    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """See `SparseSums.coarser`: neighbors share a cell, so scores stay in order. In the end nothing is told."""
        if level > _CELLS:
            return np.zeros_like(places)
        halved: NDArray[np.int64] = (places >> 2) << 1 | (places & 1)
        return halved

    def _split(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Labels, cells and truths."""
        bits = _LABEL - self.level
        return places >> bits, (places & ((1 << bits) - 1)) >> 1, places & 1

    def note(self) -> str:
        """See `Part.note`."""
        return "ROC AUC and average precision are not told" if self.level > _CELLS else "bounds of ROC AUC are wider"

    def fill(self, tallies: Tallies, statistics: dict[str, Statistic]) -> dict[str, Any]:
        """See `Part.fill`: a cell stands where the first of its cells does."""
        if self.level > _CELLS:
            del statistics["ranking"]
            return {"scores": self.level}
        _, places, cells = self.sorted(np.zeros(1, np.int64))
        label, cell, truth = self._split(places)
        labels = self._spec.num_classes
        fine = label < labels
        into = np.zeros((labels, 2 * half_of(self._bits_of_cell), 4), np.int64)
        counts = np.zeros((labels, 2), np.int64)
        np.add.at(counts.reshape(-1), np.where(fine, 2 * label, 2 * (label - labels) + 1), cells[:, 0])
        for column in range(1, self.width):
            into[label[fine], cell[fine] << self.level, 2 * truth[fine] + column - 1] = cells[fine, column]
        if self.level:
            counts[:, 0] = np.maximum(counts[:, 0], 1)
        found: Any = statistics["ranking"]
        found.load(None, [into, counts])
        found.level = self.level
        return {"scores": self.level}

    def read(self, numbers: NDArray[np.int64], count: int) -> list[list[LabelRanking]] | None:
        """The ranking of every label of every group, with bounds; None where there were too many scores to say."""
        if self.level > _CELLS:
            return None
        groups, places, cells = self.sorted(numbers)
        sums = cells[:, 1].astype(object)
        sums = (sums << FIXED_BITS) + cells[:, 2] if self._spec.reads_weight else sums
        label, cell, truth = self._split(places)
        labels, positive = self._spec.num_classes, truth == 1
        heavy = {(g, k - labels) for g, k in zip(groups.tolist(), label.tolist(), strict=True) if k >= labels}
        edges = np.searchsorted(groups * 2 * labels + label, np.arange(2 * count * labels + 1)).tolist()
        found = []
        for group in range(count):
            each = []
            for k in range(labels):
                lo, hi = edges[2 * labels * group + k : 2 * labels * group + k + 2]
                if (group, k) in heavy:
                    hi = lo
                own, at = np.unique(cell[lo:hi], return_inverse=True)
                neg, pos = np.zeros((2, len(own)), object)
                for side, here in ((neg, ~positive[lo:hi]), (pos, positive[lo:hi])):
                    side[at[here]] = sums[lo:hi][here]
                each.append(rank_scores(neg, pos, exact=self.level == 0 and not cells[lo:hi, 0].any()))
            found.append(each)
        return found
