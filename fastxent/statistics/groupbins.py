"""Bins of calibration of many owners (groups, classes of groups) at once: exact sums in words, and what they say."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent.statistics.statistic import FIXED_BITS

__all__ = ["Bins", "Parts", "put_together", "starts_of", "sums_of", "words_of_pairs"]


class Bins(NamedTuple):
    """Every (owner, bin) that has rows: both, the weight of its rows (of hits), and | hits - confidences |, in words.

    A number has words from the highest, which counts ones, to the lowest; each of the others has ``bits`` bits.
    """

    owners: NDArray[np.int64]
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


def put_together(
    owners: NDArray[np.int64], numbers: NDArray[np.int64], words: list[NDArray[np.int64]], bits: int
) -> Bins:
    """Bins of cells, sorted by owner and number, whose weight, hits and confidence are ``words`` of so many bits."""
    starts = starts_of(owners, numbers)
    weight, hits, confidence = (sums_of(each, starts, bits) for each in words)
    return Bins(owners[starts], numbers[starts], weight, hits, _absolute(hits - confidence, bits), bits)


def starts_of(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """Where in arrays of the same length, in which equal things stand together, each of them begins."""
    n = len(keys[0])
    new = np.zeros(max(n - 1, 0), np.bool_)
    for key in keys:
        new |= key[1:] != key[:-1]
    return np.flatnonzero(np.concatenate((np.ones(min(n, 1), np.bool_), new)))


def words_of_pairs(cells: NDArray[np.int64], columns: tuple[int, ...]) -> tuple[list[NDArray[np.int64]], int]:
    """The pairs at these columns as three words each, and the bits of a word: so few that sums stay in range."""
    half = FIXED_BITS // 2
    low = (1 << half) - 1
    found = [np.column_stack((cells[:, i], cells[:, i + 1] >> half, cells[:, i + 1] & low)) for i in columns]
    return found, half


def sums_of(words: NDArray[np.int64], starts: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Sums of numbers from each start on, with every word but the highest in its range again."""
    return _carried(np.add.reduceat(words, starts, axis=0) if starts.size else words, bits)


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
