"""Accuracy, top-k accuracies and the mean reciprocal rank: what the ranks of the targets say."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.base.exact import rounded_ratio
from fastxent.base.runs import run_starts
from fastxent.base.twofold import Twofold, sum_by_owner
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import records
from fastxent.kernels.sums.records import FIXED_BITS
from fastxent.kernels.sums.tally import Tallies
from fastxent.statistics.clusters import Clusters
from fastxent.statistics.field import Field
from fastxent.statistics.intervals import effective_rows, wilson_intervals
from fastxent.statistics.laws import Law, amount, summed, together
from fastxent.statistics.options import Measures, Readings
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.spread import MOST_CELLS
from fastxent.statistics.statistic import Statistic, predicts_class
from fastxent.statistics.sums import Exact
from fastxent.statistics.table import PLACES, Cells, Layout
from fastxent.statistics.words import Words

__all__ = ["MOST_RANKS", "TOP_K", "Accuracy", "check_top_k", "rows_behind", "top_k_interval", "top_ks"]

TOP_K = (1, 3, 5, 10)
#: Ranks counted one by one; greater ones share the last place.
MOST_RANKS = 4096
#: Ranks that groups tell apart where all together have too many.
FEW_RANKS = 10

Numbers = NDArray[np.float64]
Integers = NDArray[np.int64]


class Accuracy(Statistic):
    """Shares of rows, or of their weight, whose target is among the first k classes; mean of 1 / (1 + rank)."""

    name = "accuracy"

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._weighted = spec.reads_weight
        classes = 2 if spec.task == "binary" else spec.num_classes
        self._ranks = min(classes, MOST_RANKS) + 1

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        return cls(spec) if measures.scores else None

    def layouts(self, *, alone: bool) -> dict[str, Layout]:
        """See `Statistic.layouts`; without weights tallies count the ranks of all rows."""
        if alone and not self._weighted:
            return {}
        bits = (0, 0, FIXED_BITS) if self._weighted else (0,)
        limit = 0 if alone else MOST_CELLS
        return {"ranks": Layout(bits, self._ranks, limit, _first_few, banded=self._weighted)}

    def place(self, name: str, record: Record) -> Iterator[tuple[Any, Integers, Integers]]:
        """See `Statistic.place`."""
        n, card = record.n, record.card
        places = np.minimum(card.whole[sc.RANK, :n].astype(np.int64), self._ranks - 1)
        places = np.where(record.scored, places, -1)
        cells = np.zeros((n, 3 if self._weighted else 1), np.int64)
        cells[:, 0] = 1
        if self._weighted:
            records.put_numbers(card, n, card.real[sc.WEIGHT], records.QUANTUM, 2, cells, 1)
            records.put_bands(card, n, places)
        yield None, places, cells

    def tallied(self, name: str, tallies: Tallies) -> Cells | None:
        """See `Statistic.tallied`; the confusion of two classes says how many are right."""
        if name != "ranks" or self._weighted:
            return None
        ranks = tallies.ranks
        if not ranks.size:
            right = int(tallies.confusion.trace())
            ranks = np.array([right, int(tallies.confusion.sum()) - right])
        used = np.flatnonzero(ranks)
        return Cells(np.zeros(len(used), np.int64), used, ranks[used].reshape(-1, 1), 0)

    def note(self, table: str, level: int) -> str:
        """See `Statistic.note`."""
        if level > 1:
            return "ranks of the target are not told"
        return f"ranks of the target from {FEW_RANKS} on are not told apart"

    def check(self, options: Readings) -> None:
        """See `Statistic.check`."""
        if options.top_k is not None and self._spec.task == "multiclass":
            check_top_k(tuple(options.top_k), self._spec.num_classes)

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        interval = (Field("accuracy_low", "95 % from", share=True), Field("accuracy_high", "95 % to", share=True))
        top = [Field(f"top{k}", f"top-{k} accuracy", share=True) for k in top_ks(reading) if k > 1]
        mrr = [Field("mrr", "mean reciprocal rank")] if self._spec.task == "multiclass" else []
        return (
            Field("accuracy", "accuracy", share=True, narrow=True),
            *(interval if predicts_class(self._spec) else ()),
            *top,
            *mrr,
        )

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        cells = _cells(reading)
        words = cells.words(1) if self._weighted else Words.of_counts(cells.columns[:, 0])
        total = words.by_owner(cells.owners, reading.owners)

        def share(k: int) -> Numbers:
            first = words.where(cells.places < k).by_owner(cells.owners, reading.owners)
            shares = rounded_ratio(first.as_integers(), total.as_integers())
            return np.where(k <= _told(cells, self._ranks), shares, math.nan)

        values = {f"top{k}": share(k) for k in top_ks(reading)}
        values["accuracy"] = values.pop("top1")
        if predicts_class(self._spec):
            low, high = _interval(reading, values["accuracy"], 1)
            values |= {"accuracy_low": low, "accuracy_high": high}
        if self._spec.task == "multiclass":
            values["mrr"] = np.where(cells.level == 0, _mean_reciprocal(cells, words, total), math.nan)
        return values

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`: the ranks hold all rows, and with weights all of the weight."""
        cells, owners = _cells(reading), reading.owners
        rows = together(cells.columns[:, 0], cells.owners, owners)
        yield "the ranks of the target do not add up to the scored rows", rows == reading.counts
        if self._weighted:
            words, right = cells.words(1, records.QUANTUM), reading.exact("weighted_correct")
            total, first = (summed(cells, each, owners) for each in (words, words.where(cells.places == 0)))
            yield "the weights by rank do not add up to that of all rows", total.equals(reading.total_weight)
            yield "the weight at rank 0 is not that of the right rows", first.equals(right) | (cells.level > 1)
            yield "the right rows weigh more than all", amount(right) & right.at_most(reading.total_weight)

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`."""
        shares = {k: reading.number("accuracy" if k == 1 else f"top{k}") for k in top_ks(reading)}
        section: dict[str, Any] = {f"top{k}": share for k, share in shares.items()}
        section["ci95"] = {f"top{k}": list(top_k_interval(reading, k, share)) for k, share in shares.items()}
        return {"accuracy": section} | ({"mrr": reading.number("mrr")} if "mrr" in reading else {})

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """See `Statistic.headlines`."""
        accuracy = reading.number("accuracy")
        low, high = top_k_interval(reading, 1, accuracy)
        top = [f"top-{k} {reading.number(f'top{k}'):.4%}" for k in top_ks(reading) if k > 1]
        yield "accuracy", f"{accuracy:.4%}  ({'; '.join([f'95 %: {low:.2%} to {high:.2%}', *top])})"


def top_ks(reading: Reading) -> Sequence[int]:
    """The k of top-k accuracies, 1 among them."""
    spec, wanted = reading.spec, reading.options.top_k
    if spec.task != "multiclass":
        return (1,)
    if wanted is None:
        return tuple(k for k in TOP_K if k == 1 or k < spec.num_classes)
    check_top_k(tuple(wanted), spec.num_classes)
    return sorted({1, *wanted})


def check_top_k(wanted: Sequence[int], classes: int) -> None:
    """Raise UsageError for ranks that are not told apart."""
    most = min(classes, MOST_RANKS)
    for k in wanted:
        if not 1 <= k <= most:
            raise UsageError(f"top_k: expected numbers from 1 to {most}, got {k}")


def _cells(reading: Reading) -> Cells:
    cells = reading.sums.cells("ranks")
    assert cells is not None
    return cells


def _told(cells: Cells, ranks: int) -> int:
    """Up to which k the first k ranks are told from the others."""
    return ranks if not cells.level else FEW_RANKS if cells.level == 1 else 0


def _first_few(keys: Integers, cells: Integers, level: int) -> tuple[Integers, Integers]:
    places = np.minimum(keys & PLACES, FEW_RANKS)
    return np.where(keys < 0, -1, keys & ~np.int64(PLACES) | places), cells


def _mean_reciprocal(cells: Cells, words: Words, total: Words) -> Numbers:
    """The means of 1 / (1 + rank); ranks of 4096 and more count as 4096."""
    means = np.full(len(total.words[0]), math.nan)
    starts = run_starts(cells.owners)
    terms = words.as_numbers() / Twofold.of(cells.places + 1)
    owners = cells.owners[starts]
    means[owners] = (sum_by_owner(terms, starts) / total[owners].as_numbers()).high
    return means


def rows_behind(reading: Reading) -> Numbers:
    """The rows that an interval of a share rests on; with weights Kish's effective number."""
    if not reading.weighted:
        return reading.counts.astype(np.float64)
    weight, squares = reading.exact("weight"), reading.exact("weight_square")
    square = Exact(weight.integers * weight.integers, 2 * weight.bits, weight.special)
    return np.nan_to_num(square.over(squares), nan=0.0, posinf=math.inf)


def _interval(reading: Reading, shares: Numbers, k: int) -> tuple[Numbers, Numbers]:
    """The Wilson intervals (95 %) of the shares of the first k ranks; with clusters they respect these."""
    rows = rows_behind(reading)
    if isinstance(clusters := reading.statistics.get("clusters"), Clusters):
        error = clusters.error(reading, f"top{k}")
        rows = effective_rows(shares, error, rows, reading.of("clusters")["clusters"])
    return wilson_intervals(shares, rows)


def top_k_interval(reading: Reading, k: int, share: float) -> tuple[float, float]:
    """The Wilson interval (95 %) of a share of the first k ranks of the only owner."""
    low, high = _interval(reading, np.array([share]), k)
    return float(low[0]), float(high[0])
