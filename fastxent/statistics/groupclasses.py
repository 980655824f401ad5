"""Rows of groups by target and predicted class: confusion, and what is said class by class."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent.base.runs import run_starts
from fastxent.data.spec import Spec
from fastxent.kernels.sums import group_sums as kernels
from fastxent.kernels.sums import records, tally
from fastxent.statistics.groupparts import MOST_KEYS, SparsePart
from fastxent.statistics.sparse import PLACE_BITS, PLACES
from fastxent.statistics.statistic import FIXED_BITS, Record, add_pairs

if TYPE_CHECKING:
    from fastxent.kernels.sums.tally import Tallies
    from fastxent.statistics.statistic import Statistic

__all__ = ["Classes", "GroupedClasses"]

#: The levels after that of pairs.
_BY_CLASS, _TARGETS, _NOTHING = 1, 2, 3
#: Flags of a place, see `kernels.cells_of_pairs`.
_INFINITE, _LARGE = 1, 2


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

    Where there are too many pairs, by class: of the rows with it as target, of those that predict it, and of both.
    Where that is too many, of the rows with it as target alone; and with too many of those, nothing.
    """

    LIMIT = MOST_KEYS

    def __init__(self, spec: Spec, classes: int) -> None:
        self._spec, self._classes = spec, classes
        # A column, or a pair: what a row weighs. A pair of its loss, and one of its confidence.
        self._weight = (0, FIXED_BITS) if spec.reads_weight else ()
        low = FIXED_BITS if spec.reads_weight else tally.LOW_BITS
        super().__init__((0, *self._weight, 0, low, 0, low), self.LIMIT)

    def bits_at(self, level: int) -> tuple[int, ...]:
        """See `SparseSums.bits_at`: by class what the right rows weigh, and those that predict it, as well."""
        return self._first_bits + 2 * (self._weight or (0,)) * (level > 0)

    @property
    def _weights(self) -> slice:
        """The columns that say what rows weigh."""
        return slice(1, 3) if self._weight else slice(0, 1)

    @property
    def _confidence(self) -> slice:
        return slice(len(self._first_bits) - 2, len(self._first_bits))

    @property
    def _hits(self) -> slice:
        """The columns that say what right rows weigh; behind them come those of rows that predict the class."""
        return slice(len(self._first_bits), len(self._first_bits) + (len(self._weight) or 1))

    @property
    def _predictions(self) -> slice:
        return slice(self._hits.stop, 2 * self._hits.stop - self._hits.start)

    def empty(self) -> GroupedClasses:
        """See `Part.empty`."""
        return GroupedClasses(self._spec, self._classes)

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """See `Part.absorb`."""
        n = record.n
        places, cells = np.empty(n, np.int64), np.zeros((n, len(self._first_bits)), np.int64)
        kernels.cells_of_pairs(record.card, n, self._spec.reads_weight, self._classes, places, cells)
        self.add(groups, places, cells)

    def coarser(self, places: NDArray[np.int64], level: int) -> NDArray[np.int64]:
        """See `SparseSums.coarser`; at the first two levels classes stay apart, see `raised`."""
        return places if level < _NOTHING else np.zeros_like(places)

    def raised(
        self, keys: NDArray[np.int64], cells: NDArray[np.int64], level: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """See `SparseSums.raised`."""
        if level == _BY_CLASS:
            return self._by_class(keys, cells)
        if level == _TARGETS:
            cells = cells.copy()
            cells[:, self._confidence] = cells[:, self._predictions] = 0
            return np.where(cells[:, 0] > 0, keys, -1), cells
        return super().raised(keys, cells, level)

    def _by_class(self, keys: NDArray[np.int64], cells: NDArray[np.int64]) -> tuple[Any, Any]:
        """Rows of pairs as rows of their targets, then of the classes that were predicted instead."""
        pairs, flags = np.divmod(np.where(keys < 0, 0, keys & PLACES), 4)
        target, predicted = np.divmod(pairs, self._classes)
        hit = (target == predicted)[:, np.newaxis]
        nothing = np.zeros((len(keys), len(self.bits_at(_BY_CLASS))), np.int64)
        own, other = nothing, nothing.copy()
        own[:, : len(self._first_bits)] = cells
        # What is too large to be summed by class is among its targets only.
        weight = np.where((flags & _LARGE)[:, np.newaxis] > 0, 0, cells[:, self._weights])
        own[:, self._hits] = own[:, self._predictions] = np.where(hit, weight, 0)
        own[:, self._confidence] = np.where(hit, cells[:, self._confidence], 0)
        other[:, self._predictions], other[:, self._confidence] = weight, cells[:, self._confidence]
        groups = keys & ~np.int64(PLACES)
        both = np.concatenate((groups | target << 2 | flags, groups | predicted << 2))
        left_out = np.concatenate((keys < 0, (keys < 0) | hit[:, 0] | (flags & _LARGE > 0)))
        return np.where(left_out, -1, both), np.concatenate((own, other))

    def note(self) -> str:
        """See `Part.note`."""
        if self.level == _BY_CLASS:
            return "the confusion of classes is not told"
        if self.level == _TARGETS:
            return "confusion, precision, F1 and confidence by class are not told"
        return "nothing is told by class, nor are D2, F1 and balanced accuracy"

    def fill(self, tallies: Tallies, statistics: dict[str, Statistic]) -> dict[str, Any]:
        """See `Part.fill`; without pairs there is no confusion."""
        if self.level >= _NOTHING:
            return {"classes": "none"}
        _, places, cells = self.sorted(np.zeros(1, np.int64))
        if self.level == 0:
            self._fill_pairs(places, cells, tallies, statistics)
            keys, cells = self._by_class(places, cells)
            places, cells = keys[keys >= 0], cells[keys >= 0]
        elif "confused" in statistics:
            statistics["confused"].load({"overflowed": True}, [np.zeros(0, np.int64), np.zeros((0, 1), np.int64)])
        classes, flags = np.divmod(places, 4)
        into, counts = tallies.classes, cells[:, 0]
        if self.level:
            np.add.at(into[:, tally.SUPPORT], classes, counts)
        if self.level and not self._spec.reads_weight:
            np.add.at(into[:, tally.CORRECT], classes, cells[:, self._hits.start])
            np.add.at(into[:, tally.PREDICTED], classes, cells[:, self._predictions.start])
        np.add.at(into[:, tally.INFINITE], classes, np.where(flags & _INFINITE > 0, counts, 0))
        if self._spec.reads_weight:
            self._weigh(statistics["weighed"], classes, flags, cells)
        else:
            np.add.at(into[:, tally.LOSS_MIDDLE], classes, cells[:, 1])
            np.add.at(into[:, tally.LOSS_LOW], classes, cells[:, 2])
            np.add.at(into[:, tally.CONF_WHOLE], classes, cells[:, 3])
            np.add.at(into[:, tally.CONF_LOW], classes, cells[:, 4])
        return {"classes": ("pairs", "classes", "targets")[self.level]}

    def _fill_pairs(self, places: Any, cells: Any, tallies: Tallies, statistics: dict[str, Statistic]) -> None:
        """The confusion, as a matrix or as pairs, and its weights."""
        pairs, counts = places >> 2, cells[:, 0]
        target, predicted = np.divmod(pairs, self._classes)
        if tallies.confusion.size:
            np.add.at(tallies.confusion.reshape(-1), pairs, counts)
        else:
            hit = target == predicted
            columns = ((tally.SUPPORT, target, counts), (tally.PREDICTED, predicted, counts))
            for column, classes, values in (*columns, (tally.CORRECT, target[hit], counts[hit])):
                np.add.at(tallies.classes[:, column], classes, values)
        if "confused" in statistics:
            wrong = target != predicted
            order, starts = _runs(pairs[wrong])
            found = counts[wrong][order]
            sums = np.add.reduceat(found, starts) if starts.size else found
            statistics["confused"].load({"overflowed": False}, [pairs[wrong][order][starts], sums.reshape(-1, 1)])
        weighed: Any = statistics.get("weighed")
        if weighed is not None and weighed.confusion.size:
            add_pairs(weighed.confusion.reshape(-1, 2), pairs, cells[:, self._weights])

    def _weigh(self, weighed: Any, classes: Any, flags: Any, cells: Any) -> None:
        """Fill the classes of `fastxent.statistics.weighed.Weighed`."""
        large = flags & _LARGE > 0
        np.add.at(weighed.classes[:, records.CLASS_LARGE], classes[large], cells[large, 0])
        classes, cells = classes[~large], cells[~large]
        for column, part in (
            (records.CLASS_SUPPORT, self._weights),
            (records.CLASS_LOSS, slice(3, 5)),
            (records.CLASS_CORRECT, self._hits),
            (records.CLASS_PREDICTED, self._predictions),
            (records.CLASS_CONF, self._confidence),
        ):
            add_pairs(weighed.classes[:, column : column + 2], classes, cells[:, part])

    def by_class(self, numbers: NDArray[np.int64]) -> Classes | None:
        """The sums of every class of every group; None where there were too many to count."""
        if self.level >= _NOTHING:
            return None
        groups, places, cells = self.sorted(numbers)
        if self.level == 0:
            keys, cells = self._by_class(groups << PLACE_BITS | places, cells)
            order = np.argsort(keys, kind="stable")
            order = order[np.searchsorted(keys[order], 0) :]
            keys, cells = keys[order], cells[order]
            groups, places = keys >> PLACE_BITS, keys & PLACES
        starts = run_starts(groups, places >> 2)

        def summed(values: NDArray[Any]) -> NDArray[Any]:
            return np.add.reduceat(values, starts) if starts.size else values

        weighted = self._spec.reads_weight
        large = places & (_LARGE if weighted else _INFINITE) > 0
        bits = (0, FIXED_BITS) if weighted else (tally.MIDDLE_BITS, tally.LOW_BITS)
        loss = _float(cells[:, self._confidence.start - 2 : self._confidence.start], *bits)
        confidence = _float(cells[:, self._confidence], *((0, FIXED_BITS) if weighted else (0, tally.CONF_BITS)))
        support = np.where(large & weighted, 0.0, _float(cells[:, self._weights]))
        correct, predicted = (_float(cells[:, part]) for part in (self._hits, self._predictions))
        loss = np.where(large, math.inf, loss)
        columns = (cells[:, 0], support, correct, predicted, loss, confidence)
        return Classes(groups[starts], places[starts] >> 2, *map(summed, columns))

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
            if self.level >= _TARGETS:
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
            "f1_macro": nothing if self.level >= _TARGETS else _means(groups[either], f1, count),
            "balanced_accuracy": _means(groups[used], correct[used] / support[used], count),
        }


def _runs(keys: NDArray[np.int64]) -> tuple[Any, NDArray[np.int64]]:
    """An order that sorts the keys, and where in it each of them begins."""
    order = slice(None) if (keys[1:] >= keys[:-1]).all() else np.argsort(keys, kind="stable")
    return order, run_starts(keys[order])


def _means(groups: NDArray[Any], values: NDArray[Any], count: int) -> NDArray[Any]:
    """The mean of the values of every group; NaN of none."""
    with np.errstate(invalid="ignore"):
        return np.bincount(groups, values, count) / np.bincount(groups, None, count)


def _float(words: NDArray[np.int64], high: int = 0, low: int = FIXED_BITS) -> NDArray[np.float64]:
    """A column of whole numbers, or pairs in units of 2^-high and of 2^-(high + low)."""
    found = np.ldexp(words[:, 0].astype(np.float64), -high)
    if words.shape[1] > 1:
        found += np.ldexp(words[:, 1].astype(np.float64), -(high + low))
    return found
