"""Arrays of numbers of twice the precision of float64: a rounded part and what rounding lost (Dekker 1971).

Statistics of many owners are read with these: integers below 2^106 are exact in them, and the few operations between
integers and the one rounding at the end lose less than 2^-100 of the result. What is rounded is then, but for one
number in some 2^45, the float64 nearest to the exact result. NumPy has no fused multiply-add: products are taken apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Twofold", "sum_by_owner"]

Numbers = NDArray[np.float64]
#: Multiplying by this cuts a float64 in two halves of 26 bits.
_SPLIT = 2.0**27 + 1.0
#: Integers below are float64 numbers.
_EXACT = 1 << 53


@dataclass(frozen=True, slots=True)
class Twofold:
    """Numbers ``high + low``, where ``high`` is the float64 nearest to the number."""

    high: Numbers
    low: Numbers

    @classmethod
    def of(cls, values: Any) -> Twofold:
        """Float64 numbers, or integers below 2^53, as they are."""
        high = np.asarray(values, np.float64)
        return cls(high, np.zeros_like(high))

    @classmethod
    def of_integers(cls, values: NDArray[np.int64]) -> Twofold:
        """Any int64 integers."""
        if max(values.max(initial=0), -values.min(initial=0)) < _EXACT:
            return cls.of(values)
        upper = values >> 32
        high = upper.astype(np.float64) * 2.0**32
        return cls(*_two_sum(high, (values - (upper << 32)).astype(np.float64)))

    def __getitem__(self, which: Any) -> Twofold:
        return Twofold(self.high[which], self.low[which])

    def __neg__(self) -> Twofold:
        return Twofold(-self.high, -self.low)

    def __abs__(self) -> Twofold:
        sign = np.where(self.high < 0.0, -1.0, 1.0)
        return Twofold(self.high * sign, self.low * sign)

    def __add__(self, other: Twofold) -> Twofold:
        high, rest = _two_sum(self.high, other.high)
        low, more = _two_sum(self.low, other.low)
        high, rest = _quick_sum(high, rest + low)
        return Twofold(*_quick_sum(high, rest + more))

    def __sub__(self, other: Twofold) -> Twofold:
        return self + -other

    def __mul__(self, other: Twofold) -> Twofold:
        high, rest = _two_product(self.high, other.high)
        return Twofold(*_quick_sum(high, rest + (self.high * other.low + self.low * other.high)))

    def __truediv__(self, other: Twofold) -> Twofold:
        """Quotients; NaN or an infinity where the divisor is 0."""
        first = self.high / other.high
        rest = self - other * Twofold.of(first)
        second = rest.high / other.high
        rest = rest - other * Twofold.of(second)
        high, low = _quick_sum(first, second)
        return Twofold(*_quick_sum(high, low + rest.high / other.high))

    def over(self, other: Twofold) -> Numbers:
        """Quotients, rounded once; NaN or an infinity where the divisor is 0."""
        if self.low.any() or other.low.any():
            return (self / other).high
        return self.high / other.high

    def scaled(self, exponent: int) -> Twofold:
        """The numbers times 2^exponent, which is exact."""
        return Twofold(np.ldexp(self.high, exponent), np.ldexp(self.low, exponent))


def _two_sum(a: Numbers, b: Numbers) -> tuple[Numbers, Numbers]:
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _quick_sum(a: Numbers, b: Numbers) -> tuple[Numbers, Numbers]:
    """`_two_sum` where no b is larger than its a."""
    total = a + b
    return total, b - (total - a)


def _halves(a: Numbers) -> tuple[Numbers, Numbers]:
    scaled = a * _SPLIT
    upper = scaled - (scaled - a)
    return upper, a - upper


def _two_product(a: Numbers, b: Numbers) -> tuple[Numbers, Numbers]:
    product = a * b
    (a1, a0), (b1, b0) = _halves(a), _halves(b)
    return product, ((a1 * b1 - product) + a1 * b0 + a0 * b1) + a0 * b0


def sum_by_owner(values: Twofold, starts: NDArray[np.int64]) -> Twofold:
    """The sums of the numbers from each start on to the next, one after the other, whatever owners are beside them."""
    lengths = np.diff(np.append(starts, len(values.high)))
    total = Twofold.of(np.zeros(len(starts)))
    for k in range(int(lengths.max(initial=0))):
        # Owners that have a number at this place; the others add 0, which changes nothing.
        here = lengths > k
        at = np.where(here, starts + k, 0)
        total = total + Twofold(np.where(here, values.high[at], 0.0), np.where(here, values.low[at], 0.0))
    return total
