"""Deposits into exact sums (the state is described in ``fastxent.base.exact``).

A block of numbers below 2**14 is cut into the limbs of radix 2**52 by adding and subtracting M_g = 1.5 * 2**(52 + g)
(extraction on a fixed grid, after Rump, Ogita and Oishi 2008)::

    t = v + M_g;   (bits(t) - bits(M_g)) * 2**g = t - M_g = v rounded to a multiple of 2**g;   v' = v - (t - M_g)

All three are exact: |v'| <= 2**(g - 1), the range of the next grid g - 52, and v' is a multiple of ulp(v). A block adds
at most 2048 * 2**51 = 2**62 to a limb. The few numbers outside the grids are split by integer shifts, as in the
superaccumulator of Neal (2015), arXiv 1505.05571. Fast-math would fold (v + M) - M to v.

Two grids take every number of 2**-36 and more, four every number of 2**-140 and more. Blocks of the
former need nothing looked at but the range; zeros, and round numbers, need a look at what is left.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from fastxent.base.exact import LIMB_BITS, LIMBS, N_NAN, N_NEGINF, N_POSINF, UNIT_EXPONENT, N
from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.vector.memory import fetch
from fastxent.kernels.vector.simd import any_lane, as_bits, fma, halving_sum, splat_i64

__all__ = ["BLOCK", "deposit", "deposit_product", "deposit_weighted"]

BLOCK = 2048


def _float_bits(value: float) -> int:
    return int.from_bytes(struct.pack("<d", value), "little")


_GRIDS = (-36, -88, -140, -192, -244)
_LIMB = (_GRIDS[0] - UNIT_EXPONENT) // LIMB_BITS
_M0, _M1, _M2, _M3, _M4 = (1.5 * 2.0 ** (52 + g) for g in _GRIDS)
_B0, _B1, _B2, _B3, _B4 = (np.uint64(_float_bits(m)) for m in (_M0, _M1, _M2, _M3, _M4))
_LARGEST = _float_bits(2.0**14) - 1
_LEAST = _float_bits(2.0**-36)
_FOUR_GRIDS = _float_bits(2.0**-140)
#: The square of a number whose last bit is no less than 2**-70, and the product of two such, rounded to this or more.
_LEAST_PRODUCT = _float_bits(2.0**-34)
_ABS = np.uint64(0x7FFF_FFFF_FFFF_FFFF)
_INF = 0x7FF << 52
_HIDDEN = 1 << 52
_HALF = 1 << (LIMB_BITS - 1)
_SCALARS = 1023  # additions below 2**52 each that a carried limb can take


@intrinsic
def _bits(typingctx: Any, x: Any) -> Any:
    """The 64 bits of a float64 as uint64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.uint64))

    return types.uint64(types.float64), codegen


@kernel()
def _magnitude(x: float) -> np.int64:
    """Bits of abs(x): an integer that orders magnitudes, NaN above inf."""
    return np.int64(_bits(x) & _ABS)


@kernel()
def _cut(v: float, m: float) -> tuple[np.uint64, float]:
    """One extraction: the bits to add up, and the exact residual."""
    t = v + m
    return _bits(t), v - (t - m)


@kernel()
def _digits(total: np.uint64, n: int, magic: np.uint64) -> np.int64:
    """Sum of ``n`` words bits(t), which wrapped around, to the sum of their digits."""
    return np.int64(total - np.uint64(n) * magic)


@kernel()
def _carry(state: Any, low: int, high: int) -> None:
    """Bring limbs ``low .. high`` back to [-2**51, 2**51), and above while a carry remains."""
    # Stopping at high + 1 would also be exact, but measured 0.45 ns/row for a deposit of 2048, against 0.36 (AVX2).
    carry = 0
    i = low
    while i < LIMBS - 1 and (i <= high or carry != 0):
        v = state[i] + carry
        carry = (v + _HALF) >> LIMB_BITS
        state[i] = v - (carry << LIMB_BITS)
        i += 1
    state[i] += carry


@kernel()
def _deposit_one(x: float, state: Any) -> None:
    """Any float64 by integer shifts, into two neighbouring limbs or a counter; does not carry."""
    magnitude = _magnitude(x)
    if magnitude >= _INF:
        if magnitude > _INF:
            state[N_NAN] += 1
        elif x > 0.0:
            state[N_POSINF] += 1
        else:
            state[N_NEGINF] += 1
        return
    exponent = magnitude >> 52
    mantissa = magnitude & (_HIDDEN - 1)
    if exponent == 0:
        exponent = 1
    else:
        mantissa |= _HIDDEN
    place = exponent - 1075 - UNIT_EXPONENT
    limb = np.int64(np.uint64(place) // np.uint64(LIMB_BITS))
    shift = place - limb * LIMB_BITS
    low = (mantissa & ((1 << (LIMB_BITS - shift)) - 1)) << shift
    high = mantissa >> (LIMB_BITS - shift)
    if x < 0.0:
        low, high = -low, -high
    state[limb] += low
    state[limb + 1] += high


@kernel(inline="always")
def _cut_usual(v: Any) -> Any:
    """Of a number or of lanes: an integer below 0 if outside of [2**-36, 2**14), and the bits to add up of two grids.

    Inside, nothing is left: ulp(v) is 2**-88 or more. Negative numbers, 0 and NaN lie outside.
    """
    bits = as_bits(v)
    t = v + _M0
    return (bits - _LEAST) | ((bits ^ bits) + _LARGEST - bits), as_bits(t), as_bits((v - (t - _M0)) + _M1)


def _depositor(variant: str, term: Callable[..., Any]) -> Any:
    """Compile ``add(x, w, n, state)``, which deposits ``term(x[i], w[i])`` for i below n."""

    @kernel(variant=variant)
    def add_usual(x: Any, w: Any, state: Any) -> bool:
        """A block of numbers from 2**-36 to 2**14; False, and the state untouched, if some number lies outside."""
        n = x.size
        # Four at a time: of eight, the running sums do not stay in registers (0.46 ns a number instead of 0.29, AVX2).
        even = n // 4 * 4
        outside = s0 = s1 = splat_i64(0, 4)
        for i in range(0, even, 4):
            beyond, t0, t1 = _cut_usual(term(fetch(x, i, 4), fetch(w, i, 4)))
            outside = outside | beyond
            s0 = s0 + t0
            s1 = s1 + t1
        last = 0
        high, low = halving_sum(s0), halving_sum(s1)
        for i in range(even, n):
            beyond_one, h, r = _cut_usual(term(x[i], w[i]))
            last |= beyond_one
            high += h
            low += r
        if last < 0 or any_lane(outside < 0):
            return False
        state[_LIMB] += _digits(np.uint64(high), n, _B0)
        state[_LIMB - 1] += _digits(np.uint64(low), n, _B1)
        _carry(state, _LIMB - 1, _LIMB)
        return True

    @kernel(variant=variant)
    def add_two_grids(x: Any, w: Any, state: Any) -> bool:
        """The same for numbers that two grids take, zeros among them."""
        n = x.size
        outside = 0
        rest = s0 = s1 = np.uint64(0)
        for i in range(n):
            v = term(x[i], w[i])
            outside |= _LARGEST - _magnitude(v)
            t, v = _cut(v, _M0)
            s0 += t
            t, v = _cut(v, _M1)
            s1 += t
            rest |= _bits(v)
        if outside < 0 or rest != 0:
            return False
        state[_LIMB] += _digits(s0, n, _B0)
        state[_LIMB - 1] += _digits(s1, n, _B1)
        _carry(state, _LIMB - 1, _LIMB)
        return True

    @kernel(variant=variant)
    def add_four_grids(x: Any, w: Any, state: Any) -> bool:
        """Every number below 2**14 down to 2**-192; False if something is left over for `add_rest`."""
        n = x.size
        outside = 0
        rest = s0 = s1 = s2 = s3 = np.uint64(0)
        for i in range(n):
            v = term(x[i], w[i])
            excess = _LARGEST - _magnitude(v)
            outside |= excess
            v = v if excess >= 0 else 0.0
            t, v = _cut(v, _M0)
            s0 += t
            t, v = _cut(v, _M1)
            s1 += t
            t, v = _cut(v, _M2)
            s2 += t
            t, v = _cut(v, _M3)
            s3 += t
            rest |= _bits(v)
        state[_LIMB] += _digits(s0, n, _B0)
        state[_LIMB - 1] += _digits(s1, n, _B1)
        state[_LIMB - 2] += _digits(s2, n, _B2)
        state[_LIMB - 3] += _digits(s3, n, _B3)
        _carry(state, _LIMB - 3, _LIMB)
        return outside >= 0 and rest == 0

    @kernel(variant=variant)
    def add_rest(x: Any, w: Any, state: Any) -> None:
        """What `add_four_grids` left: numbers of 2**14 and more, NaN, inf, and residuals."""
        room = _SCALARS
        for i in range(x.size):
            v = term(x[i], w[i])
            magnitude = _magnitude(v)
            if _FOUR_GRIDS <= magnitude <= _LARGEST:
                continue
            if magnitude < _FOUR_GRIDS:
                for m in (_M0, _M1, _M2, _M3):
                    v = _cut(v, m)[1]
                if v == 0.0:
                    continue
            _deposit_one(v, state)
            room -= 1
            if room == 0:
                _carry(state, 0, LIMBS - 1)
                room = _SCALARS
        _carry(state, 0, LIMBS - 1)

    @kernel(variant=variant)
    def add(x: Any, w: Any, n: int, state: Any) -> None:
        for start in range(0, n, BLOCK):
            stop = min(start + BLOCK, n)
            xs, ws = x[start:stop], w[start:stop]
            if add_usual(xs, ws, state) or add_two_grids(xs, ws, state):
                continue
            if not add_four_grids(xs, ws, state):
                add_rest(xs, ws, state)
        state[N] += n

    return add


@kernel(inline="always")
def _cut_product(x: Any, w: Any) -> Any:
    """Of numbers or lanes: an integer below 0 if the product is outside of [2**-34, 2**14), and the bits to add up.

    There are bits for three grids: of the rounded product, and of what rounding lost.
    """
    p = x * w
    bits = as_bits(p)
    lost = fma(x, w, p * -1.0)
    t, u = p + _M0, lost + _M1
    rest, less = p - (t - _M0), lost - (u - _M1)
    outside = (bits - _LEAST_PRODUCT) | ((bits ^ bits) + _LARGEST - bits)
    return outside, as_bits(t), as_bits(rest + _M1) + as_bits(u), as_bits(less + _M2)


@kernel()
def _add_usual_products(x: Any, w: Any, state: Any) -> bool:
    """Products from 2**-34 to 2**14, exactly; False, and the state untouched, if some product lies outside."""
    n = x.size
    even = n // 4 * 4
    outside = s0 = s1 = s2 = splat_i64(0, 4)
    for i in range(0, even, 4):
        beyond, t0, t1, t2 = _cut_product(fetch(x, i, 4), fetch(w, i, 4))
        outside = outside | beyond
        s0 = s0 + t0
        s1 = s1 + t1
        s2 = s2 + t2
    last = 0
    high, middle, low = halving_sum(s0), halving_sum(s1), halving_sum(s2)
    for i in range(even, n):
        beyond_one, h, m, r = _cut_product(x[i], w[i])
        last |= beyond_one
        high += h
        middle += m
        low += r
    if last < 0 or any_lane(outside < 0):
        return False
    state[_LIMB] += _digits(np.uint64(high), n, _B0)
    state[_LIMB - 1] += _digits(np.uint64(middle), 2 * n, _B1)
    state[_LIMB - 2] += _digits(np.uint64(low), n, _B2)
    _carry(state, _LIMB - 2, _LIMB)
    return True


@kernel()
def _add_products(x: Any, w: Any, state: Any) -> bool:
    """Every product below 2**14, down to 2**-244; False if something is left over for `_add_other_products`."""
    n = x.size
    outside = 0
    rest = s0 = s1 = s2 = s3 = s4 = np.uint64(0)
    for i in range(n):
        p = x[i] * w[i]
        lost = fma(x[i], w[i], -p)
        excess = _LARGEST - _magnitude(p)
        outside |= excess
        p = p if excess >= 0 else 0.0
        lost = lost if excess >= 0 else 0.0
        t, p = _cut(p, _M0)
        s0 += t
        t, p = _cut(p, _M1)
        u, lost = _cut(lost, _M1)
        s1 += t + u
        t, p = _cut(p, _M2)
        u, lost = _cut(lost, _M2)
        s2 += t + u
        t, p = _cut(p, _M3)
        u, lost = _cut(lost, _M3)
        s3 += t + u
        u, lost = _cut(lost, _M4)
        s4 += u
        rest |= _bits(p) | _bits(lost)
    state[_LIMB] += _digits(s0, n, _B0)
    state[_LIMB - 1] += _digits(s1, 2 * n, _B1)
    state[_LIMB - 2] += _digits(s2, 2 * n, _B2)
    state[_LIMB - 3] += _digits(s3, 2 * n, _B3)
    state[_LIMB - 4] += _digits(s4, n, _B4)
    _carry(state, _LIMB - 4, _LIMB)
    return outside >= 0 and rest == 0


@kernel()
def _add_other_products(x: Any, w: Any, state: Any) -> None:
    """What `_add_products` left: products of 2**14 and more, NaN, inf, and residuals."""
    room = _SCALARS
    for i in range(x.size):
        p = x[i] * w[i]
        lost = fma(x[i], w[i], -p) if _magnitude(p) < _INF else 0.0
        if _magnitude(p) <= _LARGEST:
            for m in (_M0, _M1, _M2, _M3):
                p = _cut(p, m)[1]
            for m in (_M1, _M2, _M3, _M4):
                lost = _cut(lost, m)[1]
        if p == 0.0 and lost == 0.0:
            continue
        _deposit_one(p, state)
        _deposit_one(lost, state)
        room -= 2
        if room < 2:
            _carry(state, 0, LIMBS - 1)
            room = _SCALARS
    _carry(state, 0, LIMBS - 1)


@kernel()
def _plain(x: float, w: float) -> float:
    return x


@kernel()
def _product(x: float, w: float) -> float:
    return x * w


_add = _depositor("plain", _plain)
_add_product = _depositor("product", _product)


@kernel()
def deposit(x: Any, n: int, state: Any) -> None:
    """Add ``x[0] + ... + x[n - 1]`` exactly: float64 ``x``, int64 ``state`` of shape (46,), updated in place.

    The counter of numbers grows by ``n``. A row that does not count is deposited as 0.0, and the caller lowers
    ``state[N]`` by the number of such rows.
    """
    _add(x, x, n, state)


@kernel()
def deposit_product(x: Any, w: Any, n: int, state: Any) -> None:
    """Add the products ``x[i] * w[i]`` themselves, each with what its rounding loses. Else as `deposit`.

    Exact for products from 2**-969; one that overflows counts as an infinity.
    """
    for start in range(0, n, BLOCK // 2):
        stop = min(start + BLOCK // 2, n)
        xs, ws = x[start:stop], w[start:stop]
        if not _add_usual_products(xs, ws, state) and not _add_products(xs, ws, state):
            _add_other_products(xs, ws, state)
    state[N] += n


@kernel()
def deposit_weighted(x: Any, w: Any, n: int, state: Any) -> None:
    """Add the products ``fl(x[i] * w[i])`` exactly; NaN for 0 times inf. Else as `deposit`."""
    _add_product(x, w, n, state)
