"""The tables behind the kernels' exponentials: correctly rounded, made when first asked for.

Places stand for x = k / STEPS, k = FIRST * STEPS ... LAST * STEPS. All of it is arithmetic on NumPy arrays of
numbers in two parts (Dekker 1971) from a few exponentials in 40 digits, so it is the same on every machine;
NumPy's own functions are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import Decimal, localcontext
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIRST", "LAST", "STEPS", "powers_of_e", "softplus_and_slope"]

#: A table has so many places in [x, x + 1).
STEPS = 256
#: The first and the last x of the powers. Numbers below the normal ones stand as 0, which those of e^-709 and less are.
FIRST, LAST = -710, 691
#: Whole exponents that are multiplied together when the table is made.
STRIDE = 32
#: Places that are multiplied by those of every FINE-th.
FINE = 16
#: Below this, 1 + e^x is 1 in two parts.
FLAT = -75
#: Below this, log(1 + e^x) takes five terms of its series.
SMALL = -8


class Pair(NamedTuple):
    """Numbers in two parts: rounded, and what rounding lost."""

    high: NDArray[np.float64]
    low: NDArray[np.float64]


@cache
def powers_of_e() -> NDArray[np.float64]:
    """e^x at every place from FIRST to LAST; the last one is +inf: what lies beyond has no power here."""
    with np.errstate(under="ignore", over="ignore"):
        strides = [(power.high + power.low) * scale for power, scale in _scaled_powers(FIRST, LAST)]
    table = np.concatenate(strides)[: (LAST - FIRST) * STEPS + 1]
    table[table < 2.0**-1022] = 0.0
    table[-1] = np.inf
    return _kept(table)


@cache
def softplus_and_slope() -> NDArray[np.float64]:
    """log(1 + e^x) and its derivative 1 / (1 + e^-x) at every place from FIRST to 0, side by side."""
    table = np.repeat(powers_of_e()[: -FIRST * STEPS + 1], 2).reshape(-1, 2)
    strides = [(power.high * scale, power.low * scale) for power, scale in _scaled_powers(FLAT, 0)]
    e = Pair(*(np.concatenate(parts)[: -FLAT * STEPS + 1] for parts in zip(*strides, strict=True)))
    steep = (SMALL - FLAT) * STEPS
    value = [_log1p(Pair(*(part[these] for part in e))) for these in (slice(steep), slice(steep, None))]
    slope = _divide(e, _add(e, 1.0))
    table[FLAT * STEPS - 1 :, 0] = np.concatenate([part.high + part.low for part in value])
    table[FLAT * STEPS - 1 :, 1] = slope.high + slope.low
    return _kept(table)


def _kept(table: NDArray[np.float64]) -> NDArray[np.float64]:
    table.flags.writeable = False
    return table


def _scaled_powers(first: int, last: int) -> Iterator[tuple[Pair, float]]:
    """e^x at every place from first to last and some beyond, a stride at a time: mantissas, and a power of 2."""
    with localcontext(prec=40):
        bits = 1 / Decimal(2).ln()
        # Not the least one: 2^-1024 is subnormal, and taken as 0 where somebody has set the processor so.
        exponents = [max(int(k * bits), -1000) for k in range(first, last + 1, STRIDE)]
        coarse = [
            Decimal(k).exp() / Decimal(2) ** n for k, n in zip(range(first, last + 1, STRIDE), exponents, strict=True)
        ]
        medium = _pair([Decimal(k).exp() for k in range(STRIDE)])
        fine = _pair([(Decimal(k * FINE) / STEPS).exp() for k in range(STEPS // FINE)])
        finest = _pair([(Decimal(k) / STEPS).exp() for k in range(FINE)])
    stride = _outer(medium, _outer(fine, finest))
    for number, exponent in zip(zip(*_pair(coarse), strict=True), exponents, strict=True):
        yield _multiply(Pair(*number), stride), math.ldexp(1.0, exponent)


def _pair(numbers: list[Decimal]) -> Pair:
    high = [float(x) for x in numbers]
    return Pair(np.array(high), np.array([float(x - Decimal(h)) for x, h in zip(numbers, high, strict=True)]))


# --- arithmetic in two parts -------------------------------------------------------------------------------


def _sum(a: Any, b: Any) -> Pair:
    """The sum of two arrays, exactly (Knuth's TwoSum)."""
    s = a + b
    v = s - a
    return Pair(s, (a - (s - v)) + (b - v))


def _product(a: Any, b: Any) -> Pair:
    """The product of two arrays, exactly (Dekker's)."""
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    p = a * b
    return Pair(p, a2 * b2 - (((p - a1 * b1) - a2 * b1) - a1 * b2))


def _halves(a: Any) -> tuple[Any, Any]:
    c = a * (2.0**27 + 1.0)
    high = c - (c - a)
    return high, a - high


def _add(a: Pair, b: Any) -> Pair:
    s = _sum(a.high, b)
    return _sum(s.high, s.low + a.low)


def _multiply(a: Pair, b: Pair) -> Pair:
    p = _product(a.high, b.high)
    return _sum(p.high, p.low + (a.high * b.low + a.low * b.high))


def _divide(a: Pair, b: Pair) -> Pair:
    q = a.high / b.high
    p = _product(q, b.high)
    rest = (a.high - p.high) - p.low + (a.low - q * b.low)
    return _sum(q, rest / b.high)


def _outer(a: Pair, b: Pair) -> Pair:
    """All products, the second one's numbers running faster."""
    column = Pair(*(part[:, None] for part in a))
    return Pair(*(part.ravel() for part in _multiply(column, b)))


def _log1p(e: Pair) -> Pair:
    """log(1 + e) for 0 <= e <= 1: 2 artanh(e / (2 + e))."""
    t = _divide(e, _add(e, 2.0))
    v = _multiply(t, t)
    total = Pair(np.zeros_like(t.high), np.zeros_like(t.high))
    for n in range(math.ceil(-80 / math.log2(v.high.max())), -1, -1):  # what is left out is below 2^-80 of the sum
        total = _multiply(total, v)
        term = _divide(_pair([Decimal(2)]), _pair([Decimal(2 * n + 1)]))
        total = _add(Pair(total.high, total.low + term.low), term.high)
    return _multiply(t, total)
