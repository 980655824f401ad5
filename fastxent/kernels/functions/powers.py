"""e^x by a table of e^(k / 256): the exponential of the hot loops, five multiply-adds a number.

x = k / 256 + r with |r| <= 1/512, which is exact in the type of x, float32 too; then e^x = e^(k / 256) e^r. The table
reaches over all e^x that are normal numbers below e^691, so nothing has to be scaled, and k is found in the bits of
x * 256 + 1.5 * 2^52 (2^23 in float32), where rounding to an integer is an addition (the reduction is Tang's, 1989, with
a table as wide as the range).

The loops are two, with r and the places in a buffer between them: `split` runs in the type of the input, where
float32 has twice the lanes, and `grown` in float64. Places are read back one by one, since gathering instructions
take twice as long as single loads (Zen 3) or more.

A difference x - c is never rounded: `anchor` splits c in the same way, `split` takes the place relative to that of c,
and what is left of c is a factor e^-r_c for the caller. So float32 and float64 give the same bits for the same numbers.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.functions.tables import FIRST, LAST, STEPS
from fastxent.kernels.vector.simd import as_float32, fill, fma, maximum, minimum, select, widen

__all__ = ["FARTHEST", "NOTHING", "ORIGIN", "Splitter", "grown", "growth", "held_as", "rough_growth", "splitter"]

STEP = 1.0 / STEPS
#: An argument that belongs to a place of the table that holds 0, whatever the rounding of its anchor.
LOWEST = -709.5
#: Anchors beyond this are taken as 0; the caller has another way for them. c * 256 and a place must add up exactly in
#: 23 bits.
FARTHEST = 2.0**13

#: Adding this to x * STEPS leaves the place of x in the low bits: for float32 and for float64.
ORIGIN = {"float32": 1.5 * 2.0**23, "float64": 1.5 * 2.0**52}
#: The place of e^0, and the last one, of +inf.
ONE = -FIRST * STEPS
END = (LAST - FIRST) * STEPS
#: A place that holds 0.
NOTHING = 0

# e^r = 1 + r + D2 r^2 + D3 r^3 + D4 r^4 on |r| <= 1/512; relative error 3.2e-17. Made by tests/remez.py.
D2 = float.fromhex("0x1.00000000001cbp-1")
D3 = float.fromhex("0x1.5555590aa2295p-3")
D4 = float.fromhex("0x1.55554ec5ef8d8p-5")


class Splitter(NamedTuple):
    """Kernels for vectors of one kind.

    ``anchor(c)``, of float64 lanes, gives what ``split(x, anchor)`` wants, last r_c. ``split`` gives r and the place
    of x - c, both of x's own type; NaN, and what lies too high for the table, has the place of +inf.
    """

    anchor: Any
    split: Any


def held_as(kind: str) -> str:
    """The type that scores of a kind are split in."""
    return "float64" if kind == "float64" else "float32"


@cache
def splitter(kind: str) -> Splitter:
    """`anchor` and `split` for scores of a kind."""
    held = held_as(kind)
    origin = ORIGIN[held]

    @kernel(variant=held, inline="always")
    def anchor(c):
        c = select(abs_is_at_most(c), c, fill(0.0, c))
        if held == "float32":
            c = as_float32(c)
        k = fma(c, STEPS, fill(origin, c)) - origin
        return k * -1.0 + (origin + ONE), c + LOWEST, widen(fma(k, -STEP, c))

    @kernel(variant=held, inline="always")
    def split(x, anchor):
        start, low, _ = anchor
        x = maximum(low, x)
        t = fma(x, STEPS, start)
        return fma(t - start, -STEP, x), minimum(t, fill(origin + END, t))

    return Splitter(anchor, split)


@kernel(inline="always")
def abs_is_at_most(c):
    """Whether lanes are anchors that the table can be shifted by; NaN is none."""
    return (c <= FARTHEST) & (c >= -FARTHEST)


@kernel(inline="always")
def rough_growth(r):
    """e^r - 1 for |r| <= 1/512, with an error of 2^-54.8."""
    return fma(r * r, fma(fma(r, D4, D3), r, D2), r)


@kernel(inline="always")
def grown(r, power):
    """e^r power for |r| <= 1/512, with a relative error of 1.15 * 2^-52, half of it the power's own rounding."""
    return fma(rough_growth(r), power, power)


@kernel(inline="always")
def growth(r):
    """e^r - 1 for |r| <= 1/512, to 1 ulp."""
    p = fma(r, 1.0 / 720.0, 1.0 / 120.0)
    p = fma(p, r, 1.0 / 24.0)
    p = fma(p, r, 1.0 / 6.0)
    p = fma(p, r, 0.5)
    return fma(p * r, r, r)
