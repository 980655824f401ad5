"""Rows of groups by target and predicted class: confusion, and what is said class by class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent.kernels import groups as kernels
from fastxent.kernels import records, tally
from fastxent.spec import Spec
from fastxent.statistics.groupbins import starts_of
from fastxent.statistics.groupparts import MOST_KEYS, SparsePart
from fastxent.statistics.statistic import FIXED_BITS, Record

if TYPE_CHECKING:
    from fastxent.kernels.tally import Tallies
    from fastxent.statistics.statistic import Statistic

__all__ = ["Classes", "GroupedClasses"]


class Classes(NamedTuple):
    """Sums by group and class, float64: of every (group, class) that is a target or, where told, predicted.

    ``rows`` with it as target; weights of those rows (``support``), of the right ones, and of the rows that
    predict it; their losses and confidences. Losses are inf where one is too large to be summed.
    """

    groups: NDArray[np.int64]
    classes: NDArray[np.int64]
    rows: NDArray[np.int64]
    support: NDArray[np.float64]
    correct: NDArray[np.float64]
    predicted: NDArray[np.float64]
    loss: NDArray[np.float64]
    confidence: NDArray[np.float64]


class GroupedClasses(SparsePart):
    """Rows, losses and confidences by target and predicted class, of every group; see `kernels.cells_of_pairs`.

    Where there are too many pairs, by target class and whether it was predicted; and with too many of those, none.
    """

    LIMIT = MOST_KEYS

    def __init__(self, spec: Spec, classes: int) -> None:
        self._spec, self._classes = spec, classes
        low = FIXED_BITS if spec.reads_weight else tally.LOW_BITS
        super().__init__((0, *(0, low) * (3 if spec.reads_weight else 2)), self.LIMIT)

    def empty(self) -> GroupedClasses:
        """See `Part.empty`."""
        return GroupedClasses(self._spec, self._classes)

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """See `Part.absorb`."""
        n = record.n
        places, cells = np.empty(n, np.int64), np.zeros((n, self.width), np.int64)
        kernels.cells_of_pairs(record.card, n, self._spec.reads_weight, self._classes, places, cells)
        self.add(groups, places, cells)

    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """See `SparseSums.coarser`."""
        if level > 1:
            return np.zeros_like(places)
        target, predicted = np.divmod(places >> 2, self._classes)
        told: NDArray[np.int64] = (2 * target + (target == predicted)) << 2 | places & 3
        return told

    def _told(self, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Target, predicted class (-1 where not told), and whether they agree."""
        if not self.level:
            target, predicted = np.divmod(places >> 2, self._classes)
            return target, predicted, target == predicted
        target, hit = np.divmod(places >> 2, 2)
        return target, np.where(hit == 1, target, -1), hit == 1

    def note(self) -> str:
        """See `Part.note`."""
        if self.level == 1:
            return "confusion, precision, F1 and confidence by class are not told"
        return "nothing is told by class, nor are D2, F1 and balanced accuracy"

    def fill(self, tallies: Tallies, statistics: dict[str, Statistic]) -> dict[str, Any]:
        """See `Part.fill`; without pairs there is no confusion."""
        if self.level > 1:
            return {"classes": "none"}
        _, places, cells = self.sorted(np.zeros(1, np.int64))
        target, predicted, hit = self._told(places)
        into, count = tallies.classes, cells[:, 0]
        if self.level == 0 and tallies.confusion.size:
            np.add.at(tallies.confusion.reshape(-1), target * self._classes + predicted, count)
        else:
            np.add.at(into[:, tally.SUPPORT], target, count)
            np.add.at(into[:, tally.CORRECT], target[hit], count[hit])
        if self.level == 0 and not tallies.confusion.size:
            np.add.at(into[:, tally.PREDICTED], predicted, count)
        if "confused" in statistics:
            keys = target * self._classes + predicted
            wrong = ~hit & (self.level == 0)
            order, starts = _runs(keys[wrong])
            sums = np.add.reduceat(count[wrong][order], starts) if starts.size else count[:0]
            statistics["confused"].load(
                {"overflowed": self.level > 0}, [keys[wrong][order][starts], sums.reshape(-1, 1)]
            )
        np.add.at(into[:, tally.INFINITE], target, np.where(places & 1 == 1, count, 0))
        if not self._spec.reads_weight:
            np.add.at(into[:, tally.LOSS_MIDDLE], target, cells[:, 1])
            np.add.at(into[:, tally.LOSS_LOW], target, cells[:, 2])
            known = predicted >= 0
            np.add.at(into[:, tally.CONF_WHOLE], predicted[known], cells[known, 3])
            np.add.at(into[:, tally.CONF_LOW], predicted[known], cells[known, 4])
        else:
            self._weigh(statistics["weighed"], places, cells, target, predicted, hit)
        return {"classes": "hits" if self.level else "pairs"}

    def _weigh(self, weighed: Any, places: Any, cells: Any, target: Any, predicted: Any, hit: Any) -> None:
        """Fill `fastxent.statistics.weighed.Weighed`, place by place since low words must be carried."""
        for place, t, p, h, cell in zip(places, target, predicted, hit, cells, strict=True):
            if weighed.confusion.size and not self.level:
                _add(weighed.confusion[t, p], 0, cell[1:3])
            if place & 2:
                weighed.classes[t, records.CLASS_LARGE] += cell[0]
                continue
            _add(weighed.classes[t], records.CLASS_SUPPORT, cell[1:3])
            _add(weighed.classes[t], records.CLASS_LOSS, cell[3:5])
            if h:
                _add(weighed.classes[t], records.CLASS_CORRECT, cell[1:3])
            if p >= 0:
                _add(weighed.classes[p], records.CLASS_PREDICTED, cell[1:3])
                _add(weighed.classes[p], records.CLASS_CONF, cell[5:7])

    def by_class(self, numbers: NDArray[np.int64]) -> Classes | None:
        """The sums of every class of every group; None where there were too many to count."""
        if self.level > 1:
            return None
        groups, places, cells = self.sorted(numbers)
        target, predicted, hit = self._told(places)
        if self._spec.reads_weight:
            weight, loss, confidence = (cells[:, i] + cells[:, i + 1] * 2.0**-FIXED_BITS for i in (1, 3, 5))
            large = places & 2 != 0
            weight = np.where(large, 0.0, weight)
        else:
            weight = cells[:, 0].astype(np.float64)
            loss = cells[:, 1] * 2.0**-tally.MIDDLE_BITS + cells[:, 2] * 2.0 ** -(tally.MIDDLE_BITS + tally.LOW_BITS)
            confidence = cells[:, 3] + cells[:, 4] * 2.0**-tally.CONF_BITS
            large = places & 1 != 0
        loss = np.where(large, math.inf, loss)
        known = (predicted >= 0) & (self.level == 0)
        keys = np.concatenate((groups * self._classes + target, (groups * self._classes + predicted)[known]))
        order, starts = _runs(keys)
        n, rest = len(groups), int(known.sum())

        def summed(values: NDArray[Any], of_target: bool) -> NDArray[Any]:
            """By (group, class): of rows with it as target, or of rows that predict it."""
            nothing = np.zeros(rest if of_target else n, values.dtype)
            both = np.concatenate((values, nothing) if of_target else (nothing, values[known]))
            return np.add.reduceat(both[order], starts) if starts.size else both

        group, number = np.divmod(keys[order][starts], self._classes)
        return Classes(
            group, number, summed(cells[:, 0], True), summed(weight, True), summed(np.where(hit, weight, 0.0), True),
            summed(weight, False), summed(loss, True), summed(confidence, False),
        )  # fmt: skip

    def table(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], dict[str, NDArray[Any]]] | None:
        """Groups and, in rows by group and class, the columns of `fastxent.statistics.classes.class_table`, or None."""
        if (found := self.by_class(numbers)) is None:
            return None
        with np.errstate(invalid="ignore", divide="ignore"):
            precision, recall = found.correct / found.predicted, found.correct / found.support
            confidence = found.confidence / found.predicted
            columns: dict[str, NDArray[Any]] = {"class": found.classes, "support": found.rows}
            columns |= {"weight": found.support} if self._spec.reads_weight else {}
            columns |= {"loss": np.where(np.isinf(found.loss), math.inf, found.loss / found.support)}
            if self.level:
                return found.groups, columns | {"recall": recall}
            f1 = 2.0 * found.correct / (found.support + found.predicted)
            rest = {"precision": precision, "recall": recall, "f1": f1, "confidence": confidence}
            return found.groups, columns | rest | {"gap": confidence - precision}

    def means(self, numbers: NDArray[np.int64], count: int) -> dict[str, Any]:
        """Entropy of the target classes' shares, mean F1 and mean recall over classes, of every group.

        F1 over the classes that are a target or predicted, recall over those that are a target. None where there were
        too many to count.
        """
        nothing: list[float | None] = [None] * count
        if (found := self.by_class(numbers)) is None:
            return {"base": None, "f1_macro": nothing, "balanced_accuracy": nothing}
        groups, support, correct = found.groups, found.support, found.correct
        used = support > 0.0
        share = support[used] / np.bincount(groups, support, count)[groups[used]]
        terms = np.bincount(groups[used], -share * np.log(share), count)
        either = support + found.predicted > 0.0
        f1 = 2.0 * correct[either] / (support + found.predicted)[either]
        return {
            "base": np.where(np.bincount(groups[used], None, count) > 0, terms, math.nan),
            "f1_macro": nothing if self.level else _means(groups[either], f1, count),
            "balanced_accuracy": _means(groups[used], correct[used] / support[used], count),
        }


def _runs(keys: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
    """An order that sorts the keys, and where in it each of them begins."""
    order = slice(None) if (keys[1:] >= keys[:-1]).all() else np.argsort(keys, kind="stable")
    return order, starts_of(keys[order])


def _means(groups: NDArray[Any], values: NDArray[Any], count: int) -> NDArray[Any]:
    """The mean of the values of every group; NaN of none."""
    with np.errstate(invalid="ignore"):
        return np.bincount(groups, values, count) / np.bincount(groups, None, count)


def _add(row: NDArray[np.int64], column: int, pair: NDArray[np.int64]) -> None:
    """Add a pair to that at ``column``."""
    low = row[column + 1] + pair[1]
    row[column] += pair[0] + (low >> FIXED_BITS)
    row[column + 1] = low & ((1 << FIXED_BITS) - 1)
