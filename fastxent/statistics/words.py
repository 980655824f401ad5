"""Integers too large for one word, of many owners at once: exact sums by owner, and what they are as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.runs import run_starts
from fastxent.base.twofold import Twofold

__all__ = ["Words"]

Word = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Words:
    """Numbers as words from the highest, which counts 2^-unit, downwards; each lower one 2^-bits of the one before.

    Every word but the highest is in 0 <= word < 2^bits once it is `carried`. Words have so few bits that sums of 2^31
    of them stay in range.
    """

    words: tuple[Word, ...]
    bits: int = 31
    unit: int = 0

    @classmethod
    def of_counts(cls, counts: Word) -> Words:
        """Whole numbers."""
        return cls((counts,))

    @classmethod
    def of_pair(cls, high: Word, low: Word, bits: int, unit: int = 0) -> Words:
        """Pairs (high + low * 2^-bits) * 2^-unit, for an even number of bits: the low word is cut in halves."""
        half = bits // 2
        return cls((high, low >> half, low & ((1 << half) - 1)), half, unit)

    def __getitem__(self, which: Any) -> Words:
        return Words(tuple(word[which] for word in self.words), self.bits, self.unit)

    def __sub__(self, other: Words) -> Words:
        """Differences of numbers of which one at least has one word, or both words of so many bits."""
        bits = self.bits if len(self.words) > 1 else other.bits
        nothing = np.zeros_like(self.words[0])
        pairs = zip_longest(self.words, other.words, fillvalue=nothing)
        return Words(tuple(a - b for a, b in pairs), bits).carried()

    def __add__(self, other: Words) -> Words:
        return self - Words(tuple(-word for word in other.words), other.bits)

    def __abs__(self) -> Words:
        below = self.words[0] < 0
        return Words(tuple(np.where(below, -word, word) for word in self.words), self.bits, self.unit).carried()

    def carried(self) -> Words:
        """The same numbers with every word but the highest in its range."""
        words = list(self.words)
        for i in range(len(words) - 1, 0, -1):
            carry = words[i] >> self.bits
            words[i] = words[i] - (carry << self.bits)
            words[i - 1] = words[i - 1] + carry
        return Words(tuple(words), self.bits, self.unit)

    def where(self, condition: NDArray[np.bool_]) -> Words:
        """The numbers where the condition holds, else 0."""
        return Words(tuple(np.where(condition, word, 0) for word in self.words), self.bits, self.unit)

    def summed(self, starts: Word) -> Words:
        """The sums of the numbers from each start on to the next."""
        if not starts.size:
            return self[:0]
        return Words(tuple(np.add.reduceat(word, starts) for word in self.words), self.bits, self.unit).carried()

    def by_owner(self, owners: Word, count: int) -> Words:
        """The sums of the numbers of each of ``count`` owners, 0 for those that have none; owners stand together."""
        starts = run_starts(owners)
        sums = [np.zeros(count, np.int64) for _ in self.words]
        for word, total in zip(self.summed(starts).words, sums, strict=True):
            total[owners[starts]] = word
        return Words(tuple(sums), self.bits, self.unit)

    def as_numbers(self) -> Twofold:
        """The numbers in twice the precision of float64, exact below 106 bits."""
        total = Twofold.of_integers(self.words[0])
        for i, word in enumerate(self.words[1:], start=1):
            total = total + Twofold.of_integers(word).scaled(-i * self.bits)
        return total.scaled(-self.unit) if self.unit else total

    def as_integers(self, bits: int) -> NDArray[Any]:
        """The numbers, which count ones, as Python integers in units of 2^-bits."""
        total = self.words[0].astype(object)
        for word in self.words[1:]:
            total = (total << self.bits) + word
        return total << (bits - self.bits * (len(self.words) - 1))

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Which of the numbers, none of them negative, are more than 0."""
        some = self.words[0] > 0
        for word in self.words[1:]:
            some = some | (word > 0)
        return some
