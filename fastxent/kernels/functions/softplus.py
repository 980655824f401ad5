"""log(1 + e^-|z|), the part of a binary loss that is no straight line, and the chances 1 / (1 + e^+-|z|), by a table.

-|z| = x + r with |r| <= 1/512 and x = k / 256, as in `powers`. With the table's softplus L(x) = log(1 + e^x) and slope
s = L'(x) = 1 / (1 + e^-x):

    1 + e^(x + r) = (1 + e^x) (1 + m),  m = s (e^r - 1),  |m| < 1/1022,

so L(x + r) = L(x) + log(1 + m), a short series, for which the error of m hardly counts: a relative
error of 1.25 * 2^-52, half of it the table's rounding, down to 1e-307.
One entry of the table gives both numbers, where an exponential and a logarithm would take twice the operations and a
division.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.functions.powers import LOWEST, ONE, ORIGIN, STEP, held_as, rough_growth
from fastxent.kernels.functions.tables import STEPS
from fastxent.kernels.vector.memory import load, look_up_pairs, put
from fastxent.kernels.vector.simd import as_bits, as_float, fill, fma, maximum, shift_left, widen

__all__ = ["Softplus", "bent", "softplus"]

SIGN = -(2**63)
# log(1 + m) = m + B2 m^2 + B3 m^3 + B4 m^4 on |m| <= (e^(1/512) - 1) / 2; error 2.4e-17. Made by tests/remez.py.
B2 = float.fromhex("-0x1.ffffffffffad6p-2")
B3 = float.fromhex("0x1.5555607acdff7p-2")
B4 = float.fromhex("-0x1.00000fd77aebep-2")


@kernel(inline="always")
def bent(m, value):
    """L(x + r) from L(x) and m."""
    return value + fma(m * m, fma(fma(m, B4, B3), m, B2), m)


class Softplus(NamedTuple):
    """Kernels for logits of one kind, ``lanes`` at a time.

    ``split(z)`` gives r and the offset of x's entry, both of z's own width. ``near(r, offsets, table)`` and ``chances``
    of the same, which is P(the rarer side) and P(the other), take what lies at these addresses;
    ``at_once(z, scratch, table)`` is the function of the logits themselves.
    """

    split: Any
    near: Any
    chances: Any
    at_once: Any


@cache
def softplus(kind: str, lanes: int) -> Softplus:
    """log(1 + e^-|z|) of logits of a kind."""
    held = held_as(kind)
    sign = SIGN if held == "float64" else SIGN >> 32
    start = ORIGIN[held] + ONE
    name = f"{held}-{lanes}"

    @kernel(variant=name, inline="always")
    def split(z):
        # -|z| has no place beyond that of 0, and NaN that of the lowest.
        x = maximum(as_float(as_bits(z) | sign), fill(LOWEST, z))
        t = fma(x, STEPS, fill(start, x))
        return fma(t - start, -STEP, x), shift_left(as_bits(t), 4)

    @kernel(variant=name, inline="always")
    def growth_at(remainders):
        return rough_growth(widen(load(remainders, held, lanes)))

    @kernel(variant=name, inline="always")
    def near(remainders, offsets, table):
        value, slope = look_up_pairs(table, offsets, held, lanes)
        return bent(growth_at(remainders) * slope, value)

    @kernel(variant=name, inline="always")
    def chances(remainders, offsets, table):
        _, slope = look_up_pairs(table, offsets, held, lanes)
        growth = growth_at(remainders)
        share = fill(1.0, slope) / fma(growth, slope, fill(1.0, slope))
        return fma(growth, slope, slope) * share, (slope * -1.0 + 1.0) * share

    @kernel(variant=name, inline="always")
    def at_once(z, scratch, table):
        r, offset = split(z)
        put(scratch, offset)
        value, slope = look_up_pairs(table, scratch, held, lanes)
        return bent(rough_growth(widen(r)) * slope, value)

    return Softplus(split, near, chances, at_once)
