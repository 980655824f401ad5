"""Bins of calibration of many owners (groups, classes of groups) at once: exact sums in words, and what they say."""

from __future__ import annotations

from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent.base.runs import run_starts
from fastxent.statistics.statistic import FIXED_BITS

__all__ = ["Bins", "Numbers", "Parts", "floats_of_sums", "put_together", "sums_of", "words_of_pairs"]


#: Integers too large for one word each: words from the highest, which counts ones, downwards; lower ones that are not
#: there are 0. Each word but the highest has as many bits as the bins say.
Numbers = list[NDArray[np.int64]]


class Bins(NamedTuple):
    """Every (owner, bin) that has rows: both, the weight of its rows (of hits), and | hits - confidences |."""

    owners: NDArray[np.int64]
    numbers: NDArray[np.int64]
    weight: Numbers
    hits: Numbers
    gap: Numbers
    bits: int

    def only(self, which: NDArray[np.bool_]) -> Bins:
        """Some of the bins."""
        weight, hits, gap = ([word[which] for word in number] for number in (self.weight, self.hits, self.gap))
        return Bins(self.owners[which], self.numbers[which], weight, hits, gap, self.bits)

    def floats(self, numbers: Numbers) -> NDArray[np.float64]:
        """The numbers, rounded (but for that of words, once)."""
        return _floats(numbers, self.bits)

    def integers(self, numbers: Numbers) -> NDArray[Any]:
        """The numbers, or sums of some, as Python integers in units of the lowest word of a gap."""
        total = numbers[0].astype(object)
        for word in numbers[1:]:
            total = (total << self.bits) + word
        return total << self.bits * (len(self.gap) - len(numbers))


class Parts(NamedTuple):
    """Of every owner, in float64: weight, share of hits, and Murphy's parts of the mean squared error of its bins."""

    weight: NDArray[np.float64]
    share: NDArray[np.float64]
    reliability: NDArray[np.float64]
    resolution: NDArray[np.float64]
    uncertainty: NDArray[np.float64]

    @classmethod
    def of(
        cls, weight: NDArray[np.float64], hits: NDArray[np.float64], size: NDArray[np.float64], starts: NDArray[Any]
    ) -> Parts:
        """From weights, hits and gaps of bins, those of an owner from each start on."""
        total, positive = np.add.reduceat(weight, starts), np.add.reduceat(hits, starts)
        share = positive / total
        away = hits / weight - np.repeat(share, np.diff(np.append(starts, len(weight))))
        reliability = np.add.reduceat(size * (size / weight), starts) / total
        resolution = np.add.reduceat(weight * away * away, starts) / total
        return cls(total, share, reliability, resolution, share * (1.0 - share))


def put_together(owners: NDArray[np.int64], numbers: NDArray[np.int64], words: list[Numbers], bits: int) -> Bins:
    """Bins of cells, sorted by owner and number, whose weight, hits and confidence are ``words`` of so many bits."""
    starts = run_starts(owners, numbers)
    weight, hits, confidence = (sums_of(each, starts, bits) for each in words)
    return Bins(owners[starts], numbers[starts], weight, hits, _distance(hits, confidence, bits), bits)


def words_of_pairs(cells: NDArray[np.int64], columns: tuple[int, ...]) -> tuple[list[Numbers], int]:
    """The pairs at these columns as three words each, and the bits of a word: so few that sums stay in range."""
    half = FIXED_BITS // 2
    low = (1 << half) - 1
    return [[cells[:, i], cells[:, i + 1] >> half, cells[:, i + 1] & low] for i in columns], half


def sums_of(numbers: Numbers, starts: NDArray[np.int64], bits: int) -> Numbers:
    """Sums of numbers from each start on, with every word but the highest in its range again."""
    return _carried([np.add.reduceat(word, starts) if starts.size else word for word in numbers], bits)


def floats_of_sums(numbers: Numbers, starts: NDArray[np.int64], bits: int) -> NDArray[np.float64]:
    """Sums as `sums_of`, rounded."""
    return _floats(sums_of(numbers, starts, bits), bits)


def _floats(numbers: Numbers, bits: int) -> NDArray[np.float64]:
    found = np.zeros(len(numbers[0]))
    for i, word in reversed(list(enumerate(numbers))):
        found += word * 2.0 ** (-bits * i)
    return found


def _carried(numbers: Numbers, bits: int) -> Numbers:
    """The same numbers with every word but the highest in 0 <= word < 2^bits."""
    numbers = list(numbers)
    for i in range(len(numbers) - 1, 0, -1):
        carry = numbers[i] >> bits
        numbers[i] = numbers[i] - (carry << bits)
        numbers[i - 1] = numbers[i - 1] + carry
    return numbers


def _distance(a: Numbers, b: Numbers, bits: int) -> Numbers:
    """| a - b |."""
    nothing = np.zeros_like(a[0])
    words = _carried([x - y for x, y in zip_longest(a, b, fillvalue=nothing)], bits)
    below = words[0] < 0
    return _carried([np.where(below, -word, word) for word in words], bits)
