"""exp, log and log1p as straight-line arithmetic, on vectors and on scalars alike, same bits everywhere.

No libm, no tables, no branches. Every step is one IEEE operation or an integer operation on bit
patterns, so a result depends on its argument only. Errors are measured in tests/test_vecmath.py:
exp below 1.1 ulp, log and log1p below 0.9 ulp over their ranges. The coefficients are made by
tests/remez.py, and a test makes them again.
"""

from __future__ import annotations

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.vector.simd import as_bits, as_float, fma, maximum, minimum, select, shift_left, shift_right

__all__ = ["EXP_LOW", "exp", "log", "log1p", "log1p_of_sum"]

#: Below this, e^x is taken as exactly 0: it is the point whose binary exponent is -1023, for which the
#: scale built below is the bit pattern of zero. (ln of the smallest normal double is -708.40.)
EXP_LOW = -709.09

LOG2_E = float.fromhex("0x1.71547652b82fep+0")
# ln 2 in two parts; 41 bits in the first, so that k * LN2_HIGH is exact for |k| < 2^12.
LN2_HIGH = float.fromhex("0x1.62e42fefa3000p-1")
LN2_LOW = float.fromhex("0x1.3de6af278ece6p-42")
# Adding this rounds to an integer k and leaves k + 1023, the exponent field of 2^k, in the low bits.
ROUND = 1.5 * 2.0**52 + 1023.0

# e^r = 1 + r + C2 r^2 + ... + C11 r^11 on |r| <= ln(2)/2; relative error 3.6e-18.
C2 = float.fromhex("0x1.000000000000ap-1")
C3 = float.fromhex("0x1.55555555554fap-3")
C4 = float.fromhex("0x1.555555555088cp-5")
C5 = float.fromhex("0x1.1111111127b9dp-7")
C6 = float.fromhex("0x1.6c16c18426697p-10")
C7 = float.fromhex("0x1.a01a012a6927bp-13")
C8 = float.fromhex("0x1.a0199a16e802fp-16")
C9 = float.fromhex("0x1.71df253b9917cp-19")
C10 = float.fromhex("0x1.28ad689ecb0e9p-22")
C11 = float.fromhex("0x1.ad7f7873f50abp-26")

# log(m) = 2s + s^3 (L0 + L1 s^2 + ...), s = (m - 1) / (m + 1), sqrt(1/2) <= m < sqrt(2); relative error 1.2e-18.
L0 = float.fromhex("0x1.5555555555592p-1")
L1 = float.fromhex("0x1.999999997fda6p-2")
L2 = float.fromhex("0x1.24924941f2a9ap-2")
L3 = float.fromhex("0x1.c71c5207e3c4dp-3")
L4 = float.fromhex("0x1.74663f3c008efp-3")
L5 = float.fromhex("0x1.39a1b2092c2a7p-3")
L6 = float.fromhex("0x1.2f05bb7e236fcp-3")

ONE_BITS = 0x3FF0000000000000
ROOT_HALF_BITS = 0x3FE6A09E667F3BCD
MANTISSA = 0x000FFFFFFFFFFFFF
TWO_52_BITS = 0x4330000000000000
TWO_52_BIASED = 2.0**52 + 1023.0


@kernel(inline="always")
def reduce(x):
    """Split x = k ln 2 + r, for EXP_LOW <= x <= 709 or NaN (which stays in r): r, and k as `raised` takes it."""
    t = fma(x, LOG2_E, ROUND)
    k = t - ROUND
    r = fma(k, -LN2_HIGH, x)
    return fma(k, -LN2_LOW, r), t


@kernel(inline="always")
def raised(r, t):
    """e^r 2^k of what `reduce` returned."""
    # Even and odd powers apart: half the latency of Horner's rule with one multiplication more.
    r2 = r * r
    even = fma(r2, C10, C8)
    odd = fma(r2, C11, C9)
    even = fma(even, r2, C6)
    odd = fma(odd, r2, C7)
    even = fma(even, r2, C4)
    odd = fma(odd, r2, C5)
    even = fma(even, r2, C2)
    odd = fma(odd, r2, C3)
    p = fma(r2, fma(odd, r, even), r)
    scale = as_float(shift_left(as_bits(t), 52))
    # One rounding for 2^k + 2^k p: an operation less than (1 + p) 2^k, and as accurate (1.02 ulp).
    return fma(p, scale, scale)


@kernel(inline="always")
def exp(x):
    """The exponential for x <= 709; larger x gives e^709, which callers exclude; 0 below -708.74; NaN stays.

    Between -708.74 and -708.40 the result is subnormal.
    """
    r, t = reduce(minimum(709.0, maximum(EXP_LOW, x)))
    return raised(r, t)


@kernel(inline="always")
def _log_of(w, correction):
    """Logarithm of a positive normal w, plus ``correction`` / w (the part of the argument that w rounded away)."""
    bits = as_bits(w) + (ONE_BITS - ROOT_HALF_BITS)
    k = as_float(shift_right(bits, 52) | TWO_52_BITS) - TWO_52_BIASED
    f = as_float((bits & MANTISSA) + ROOT_HALF_BITS) - 1.0
    s = f / (f + 2.0)
    z = s * s
    p = fma(z, L6, L5)
    p = fma(p, z, L4)
    p = fma(p, z, L3)
    p = fma(p, z, L2)
    p = fma(p, z, L1)
    p = fma(p, z, L0)
    half_square = f * f * 0.5
    tail = fma(s, half_square + z * p, fma(k, LN2_LOW, correction))
    return fma(k, LN2_HIGH, f - (half_square - tail))


@kernel(inline="always")
def log1p(x):
    """Logarithm of 1 + x for 0 <= x < 2^1022; inf and NaN come back as they are."""
    return log1p_of_sum(x, x * 0.0)


@kernel(inline="always")
def log1p_of_sum(x, x_lost):
    """The same of 1 + x + x_lost, x_lost being what rounding x lost."""
    w = x + 1.0
    larger_x = w - x
    lost = select(x > 1.0, (larger_x * -1.0) + 1.0, x - (w - 1.0))
    small = _log_of(w, (lost + x_lost) / w)
    return select(x <= 1.7e308, small, x)


@kernel(inline="always")
def log(x):
    """Logarithm of any number from 0 to inf, subnormals included; -inf of 0; NaN of NaN and of negative numbers."""
    tiny = x < 2.2250738585072014e-308
    scaled = select(tiny, x * 18014398509481984.0, x)
    value = _log_of(scaled, scaled * 0.0)
    value = select(tiny, value + -37.42994775023705, value)
    value = select(x == 0.0, value * 0.0 + float("-inf"), value)
    value = select(x > 1.7976931348623157e308, x, value)
    return select(x >= 0.0, value, x * float("nan"))
