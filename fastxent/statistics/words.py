"""Integers too large for one word, of many owners at once: exact sums by owner, and what they are as numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.exact import rounded_ratio
from fastxent.base.runs import run_starts
from fastxent.base.twofold import Twofold

__all__ = ["Words"]

Word = NDArray[np.int64]
#: Words of numbers that lie within a few bands of weights: 2^-1022 is far below the lowest.
_FEW = 8
#: Bits of integers that are float64 numbers.
_EXACT = 53


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

    def __getitem__(self, which: Any) -> Words:
        return Words(tuple(word[which] for word in self.words), self.bits, self.unit)

    def __add__(self, other: Words) -> Words:
        """Sums of numbers of as many words."""
        pairs = zip(self.words, other.words, strict=True)
        return Words(tuple(a + b for a, b in pairs), self.bits, self.unit).carried()

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

    @property
    def nearest(self) -> NDArray[np.float64]:
        """The numbers, rounded once."""
        lower = self.bits * (len(self.words) - 1)
        if lower > _EXACT or self.words[0].max(initial=0) >> _EXACT:
            return self.as_numbers().high
        total = np.zeros(len(self.words[0]))
        for word in self.words[:0:-1]:
            total = (total + word) * 2.0**-self.bits
        return (total + self.words[0]) * 2.0**-self.unit

    def as_integers(self) -> NDArray[Any]:
        """The numbers as Python integers in units of the lowest word."""
        total = self.words[0].astype(object)
        for word in self.words[1:]:
            total = (total << self.bits) + word
        return total

    @property
    def lowest(self) -> int:
        """The power of two that the lowest word counts."""
        return -self.unit - self.bits * (len(self.words) - 1)

    @property
    def _wide(self) -> bool:
        """Whether the numbers may be too far apart to be compared as float64 numbers."""
        return len(self.words) > _FEW

    def at_least(self, other: Words) -> NDArray[np.bool_]:
        """Which numbers are no smaller than the other's, of the same unit."""
        pairs = zip(self.words, other.words, strict=True)
        reached: NDArray[np.bool_] = Words(tuple(a - b for a, b in pairs), self.bits, self.unit).carried().words[0] >= 0
        return reached

    def over(self, other: Words) -> NDArray[np.float64]:
        """Quotients of numbers that are not negative, rounded once; NaN over nothing."""
        if not (self._wide or other._wide):
            with np.errstate(invalid="ignore", divide="ignore"):
                return self.as_numbers().over(other.as_numbers())
        lowest = min(self.lowest, other.lowest)
        return rounded_ratio(*(each.as_integers() << each.lowest - lowest for each in (self, other)))

    def beside(self, other: Words) -> Twofold:
        """The numbers over a power of two that is near the number of ``other`` in the same place, which is no less."""
        if not (self._wide or other._wide):
            return self.as_numbers()
        first = np.argmax(np.stack(other.words) != 0, axis=0)
        own = np.stack([*self.words, *[np.zeros_like(self.words[0])] * _FEW])
        words = tuple(own[first + i, np.arange(len(first))] for i in range(_FEW))
        return Words(words, self.bits, self.unit).as_numbers()

    def rounded(self, exponents: NDArray[np.int64] | None) -> NDArray[np.float64]:
        """The numbers times powers of two, rounded once."""
        if exponents is None or not self._wide:
            return self.nearest if exponents is None else np.ldexp(self.nearest, exponents)
        shifts = (exponents + self.lowest).tolist()
        parts = zip(self.as_integers().tolist(), shifts, strict=True)
        above, below = zip(*((n << max(s, 0), 1 << max(-s, 0)) for n, s in parts), strict=True)
        return rounded_ratio(np.array(above, object), np.array(below, object))

    @property
    def positive(self) -> NDArray[np.bool_]:
        """Which of the numbers, none of them negative, are more than 0."""
        some = self.words[0] > 0
        for word in self.words[1:]:
            some = some | (word > 0)
        return some
