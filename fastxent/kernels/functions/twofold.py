"""Numbers as a rounded result and what rounding lost (Dekker 1971), for the few places where a difference cancels."""

from __future__ import annotations

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.functions.vecmath import (
    C2,
    C3,
    C4,
    C5,
    C6,
    C7,
    C8,
    C9,
    C10,
    C11,
    EXP_LOW,
    LN2_HIGH,
    LN2_LOW,
    LOG2_E,
    ONE_BITS,
    ROOT_HALF_BITS,
    ROUND,
    TWO_52_BIASED,
    TWO_52_BITS,
    exp,
    log,
    log1p,
)
from fastxent.kernels.vector.memory import store
from fastxent.kernels.vector.simd import (
    as_bits,
    as_float,
    fma,
    halving_sum,
    maximum,
    minimum,
    select,
    shift_left,
    shift_right,
)

__all__ = [
    "add",
    "binary_exponent",
    "divide_pairs",
    "exp_in_parts",
    "exp_less_one",
    "log1p_in_parts",
    "log_of_ratio",
    "multiply",
    "multiply_pairs",
    "power",
    "settled",
    "subtract",
    "sum_of_lanes",
    "times_exp",
]

LN2 = float.fromhex("0x1.62e42fefa39efp-1")
#: Adding this rounds to an integer, of either sign, below 2^51.
WHOLE = 1.5 * 2.0**52


@kernel(inline="always")
def add(a, b):
    """The sum a + b = s + lost, exactly; b may be a scalar beside a vector a."""
    s = a + b
    v = s - a
    return s, (a - (s - v)) + (v * -1.0 + b)


@kernel(inline="always")
def subtract(a, b):
    """The difference a - b = s + lost, exactly."""
    return add(a, b * -1.0)


@kernel(inline="always")
def multiply(a, b):
    """The product a b = p + lost, exactly, for products of 2^-969 and more; b may be a scalar beside a vector a."""
    p = a * b
    return p, fma(a, b, p * -1.0)


@kernel(inline="always")
def settled(a, lost):
    """The same number with all of it in the first part that this can hold, for a above its lost part."""
    s = a + lost
    return s, (a - s) + lost


@kernel(inline="always")
def multiply_pairs(a, a_lost, b, b_lost):
    """The product of two settled numbers, in two parts."""
    p, lost = multiply(a, b)
    return p, fma(a, b_lost, fma(a_lost, b, lost))


@kernel(inline="always")
def divide_pairs(a, a_lost, b, b_lost):
    """The quotient of two numbers in two parts each, in two parts."""
    v = a / b
    rest = fma(v * -1.0, b, a) + fma(v * -1.0, b_lost, a_lost)
    return v, rest / b


@kernel(inline="always")
def sum_of_lanes(total, lost, scratch):
    """The sum of eight lanes in two parts each, in two parts; ``scratch`` has room for them."""
    store(scratch, 0, total)
    s = scratch[0]
    rest = halving_sum(lost)
    for lane in range(1, 8):
        s, more = add(s, scratch[lane])
        rest += more
    return s, rest


@kernel(inline="always")
def _reduced(x):
    """Of x from EXP_LOW to 709: r in two parts, and 2^k, with e^x = 2^k e^r and |r| <= ln(2)/2."""
    t = fma(x, LOG2_E, ROUND)
    k = t - ROUND
    above = fma(k, -LN2_HIGH, x)
    r = fma(k, -LN2_LOW, above)
    return r, fma(k, -LN2_LOW, above - r), as_float(shift_left(as_bits(t), 52))


@kernel(inline="always")
def exp_less_one(x):
    """The number e^x - 1 for x <= 709, and what rounding lost; both together are right to 2^-56 of it."""
    r, r_lost, scale = _reduced(minimum(709.0, maximum(EXP_LOW, x)))
    # Taylor's coefficients: those of `exp` make an error of 2^-58 of e^r, which is too much of a small r.
    p = fma(r, 1.0 / 87178291200.0, 1.0 / 6227020800.0)
    p = fma(p, r, 1.0 / 479001600.0)
    p = fma(p, r, 1.0 / 39916800.0)
    p = fma(p, r, 1.0 / 3628800.0)
    p = fma(p, r, 1.0 / 362880.0)
    p = fma(p, r, 1.0 / 40320.0)
    p = fma(p, r, 1.0 / 5040.0)
    p = fma(p, r, 1.0 / 720.0)
    p = fma(p, r, 1.0 / 120.0)
    p = fma(p, r, 1.0 / 24.0)
    p = fma(p, r, 1.0 / 6.0)
    square, square_lost = multiply(r, r)
    # e^r - 1 = r + r^2 / 2 + r^3 p, then 2^k (1 + (e^r - 1)) - 1.
    e, half_lost = add(r, square * 0.5)
    e, e_lost = add(e, square * r * p)
    e_lost = e_lost + fma(square_lost, 0.5, half_lost)
    e_lost = fma(r_lost, r, r_lost) + e_lost
    whole, whole_lost = add(scale, -1.0)
    s, lost = add(whole, e * scale)
    lost = lost + fma(e_lost, scale, whole_lost)
    return settled(s, lost)


@kernel(inline="always")
def exp_in_parts(x, x_lost):
    """The number e^(x + x_lost) for x <= 709, and what rounding lost; together right to 2^-54; 0 below EXP_LOW."""
    r, r_lost, scale = _reduced(minimum(709.0, maximum(EXP_LOW, x)))
    # Below EXP_LOW the scale is 0, and x_lost may be NaN.
    r_lost = r_lost + select(x > EXP_LOW, x_lost, scale * 0.0)
    p = fma(r, C11, C10)
    p = fma(p, r, C9)
    p = fma(p, r, C8)
    p = fma(p, r, C7)
    p = fma(p, r, C6)
    p = fma(p, r, C5)
    p = fma(p, r, C4)
    p = fma(p, r, C3)
    p = fma(p, r, C2)
    less = fma(r * r, p, r)
    whole = less + 1.0
    whole, lost = settled(whole, fma(whole, r_lost, (whole * -1.0 + 1.0) + less))
    return whole * scale, lost * scale


@kernel()
def times_exp(x, x_lost, d, d_lost):
    """The product x e^-d for numbers of two parts, x from 1 to 2^400 and d from 0 to 1000, rounded once.

    Neither e^-d nor a product need be normal numbers: half of it is taken twice, and a power of 2 kept out of it.
    """
    half, half_lost = exp_in_parts(-0.5 * d, -0.5 * d_lost)
    y, y_lost = multiply_pairs(x, x_lost, half, half_lost)
    y, y_lost = multiply_pairs(y, y_lost, half * 2.0**500, half_lost * 2.0**500)
    return (y + y_lost) * 2.0**-500


@kernel(inline="always")
def log_of_ratio(a, a_lost, b, b_lost):
    """The logarithm of a / b, numbers in two parts each, in two parts."""
    value = log(a / b)
    e, e_lost = exp_in_parts(value * -1.0, 0.0)
    p, lost = multiply_pairs(a, a_lost, e, e_lost)
    return value, ((p - b) + (lost - b_lost)) / b


@kernel(inline="always")
def log1p_in_parts(x, x_lost):
    """The number log(1 + x + x_lost) for x from 0 to 2^1022, settled, right to 2^-54 of it."""
    value = log1p(x)
    e, e_lost = exp_less_one(value)
    return settled(value, ((x - e) + (x_lost - e_lost)) / (e + 1.0))


@kernel(inline="always")
def binary_exponent(x):
    """(k, 2^-k) with x 2^-k in [sqrt(1/2), sqrt(2)), for normal x > 0 below 2^1022."""
    biased = shift_right(as_bits(x) + (ONE_BITS - ROOT_HALF_BITS), 52)
    down = as_float(shift_left((biased ^ -1) + 2047, 52))
    return as_float(biased | TWO_52_BITS) - TWO_52_BIASED, down


@kernel(inline="always")
def power(x, g):
    """The power x^g for normal x in (0, 1] and g >= 0: only the exponent of 2 grows with log x, and it is exact."""
    k, down = binary_exponent(x)
    n, n_lost = multiply(k, g)
    whole = (n + WHOLE) - WHOLE
    part = (n - whole) + n_lost
    p = exp(fma(part, LN2, log(x * down) * g))
    return p * as_float(shift_left(as_bits(maximum(-1023.0, whole) + ROUND), 52))
