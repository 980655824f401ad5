"""log(1 + e^-|z|), the part of a binary loss that is no straight line, and the chances 1 / (1 + e^+-|z|), by a table.

-|z| = x + r with |r| <= 1/128 and x = k / 64, as in `powers`. With the table's softplus L(x) = log(1 + e^x) and slope
s = L'(x) = 1 / (1 + e^-x):

    1 + e^(x + r) = (1 + e^x) (1 + m),  m = s (e^r - 1),  |m| < 1/250,

so L(x + r) = L(x) + log(1 + m), a short series, for which the error of m hardly counts: a relative
error of 1.15 * 2^-52, half of it the table's rounding, down to 1e-307.
One entry of the table gives both numbers, where an exponential and a logarithm would take twice the operations and a
division.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from fastxent.kernels.compile import kernel
from fastxent.kernels.powers import held_as, rough_growth, splitter
from fastxent.kernels.simd import as_bits, as_float, fill, fma, load, look_up_pairs, put, splat, widen

__all__ = ["Softplus", "bent", "softplus"]

SIGN = -(2**63)


@kernel(inline="always")
def bent(r, value, slope):
    """L(x + r) from L(x) and its slope."""
    m = rough_growth(r) * slope
    p = fma(m, -1.0 / 6.0, fill(0.2, m))
    p = fma(p, m, -0.25)
    p = fma(p, m, 1.0 / 3.0)
    p = fma(p, m, -0.5)
    return value + fma(m * m, p, m)


class Softplus(NamedTuple):
    """Kernels for logits of one kind, ``lanes`` at a time.

    ``split(z)`` gives r and the place of x. ``of_places(r, places, table)`` and ``chances(z, scratch, table)``, which
    is P(the rarer side) and P(the other), take what lies at these addresses; ``at_once(z, scratch, table)`` is both.
    """

    split: Any
    of_places: Any
    at_once: Any
    chances: Any


@cache
def softplus(kind: str, lanes: int) -> Softplus:
    """log(1 + e^-|z|) of logits of a kind."""
    anchor_of, split_at = splitter(kind)
    held = held_as(kind)
    sign = SIGN if held == "float64" else SIGN >> 32
    name = f"{held}-{lanes}"

    @kernel(variant=name, inline="always")
    def split(z):
        return split_at(as_float(as_bits(z) | sign), anchor_of(splat(0.0, lanes)))

    @kernel(variant=name, inline="always")
    def of_places(remainders, places, table):
        value, slope = look_up_pairs(table, places, held, lanes)
        return bent(widen(load(remainders, held, lanes)), value, slope)

    @kernel(variant=name, inline="always")
    def at_once(z, scratch, table):
        r, place = split(z)
        put(scratch, place)
        value, slope = look_up_pairs(table, scratch, held, lanes)
        return bent(widen(r), value, slope)

    @kernel(variant=name, inline="always")
    def chances(z, scratch, table):
        r, place = split(z)
        put(scratch, place)
        _, slope = look_up_pairs(table, scratch, held, lanes)
        growth = rough_growth(widen(r))
        share = fill(1.0, slope) / fma(growth, slope, fill(1.0, slope))
        return fma(growth, slope, slope) * share, (slope * -1.0 + 1.0) * share

    return Softplus(split, of_places, at_once, chances)
