"""Exact sums of float64 numbers: the state, its merge, and the single rounding at the end.

A state is one int64 array of ``SIZE`` words, or rows of them::

    sum = sum_i state[i] * 2**(52 * i - 1128),   i = 0 .. LIMBS - 1

followed by four counters: numbers deposited, NaNs, +infs, -infs. The limbs hold the finite numbers only. A state of
zeros is the empty sum. Addition of integers is associative and commutative, so the canonical state depends on the
multiset of numbers and on nothing else. ``fastxent.kernels.sums.exact_sums`` fills states; nothing here needs Numba.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "LIMBS",
    "LIMB_BITS",
    "N_NAN",
    "N_NEGINF",
    "N_POSINF",
    "SIZE",
    "UNIT_EXPONENT",
    "N",
    "State",
    "canonical",
    "empty",
    "finite_total",
    "merge",
    "rounded_mean",
    "rounded_ratio",
    "rounded_sum",
    "special_value",
    "to_fraction",
]

State = NDArray[np.int64]

LIMBS = 42
LIMB_BITS = 52
UNIT_EXPONENT = -1128
N, N_NAN, N_POSINF, N_NEGINF = range(LIMBS, LIMBS + 4)
SIZE = LIMBS + 4


#: Integers below are float64 numbers, whose quotient is rounded once.
_EXACT = 1 << 53


def empty(*shape: int) -> State:
    """Empty sums: zeros of shape ``(*shape, SIZE)``."""
    return np.zeros((*shape, SIZE), np.int64)


def canonical(state: State) -> State:
    """The one form of equal states: digits in [0, 2**52), top limb signed. Returns a new array of the same shape."""
    result = np.array(state, np.int64, order="C")
    if result.shape[-1:] != (SIZE,):
        raise ValueError(f"state: expected {SIZE} words in the last axis, got shape {result.shape}")
    filled = np.any(result.reshape(-1, SIZE) != 0, axis=0)
    for i in range(LIMBS - 1):
        if filled[i]:  # a few of them, mostly: to carry through all took half of the time of a merge
            carry = result[..., i] >> LIMB_BITS
            result[..., i] -= carry << LIMB_BITS
            result[..., i + 1] += carry
            filled[i + 1] |= carry.any()
    return result


def merge(a: State, b: State) -> State:
    """The canonical state of both sums together; associative, commutative, with zeros as identity.

    Limbs of either may be carried or canonical, in any mixture: both stay far inside int64.
    """
    if a.shape != b.shape:
        raise ValueError(f"merge: expected states of one shape, got {a.shape} and {b.shape}")
    return canonical(a + b)


def _check_single(state: State) -> None:
    if state.shape != (SIZE,):
        raise ValueError(f"state: expected shape ({SIZE},), got {state.shape}")


def finite_total(state: State) -> int:
    """The finite sum in units of 2**UNIT_EXPONENT."""
    _check_single(state)
    total = 0
    for limb in reversed(state[:LIMBS].tolist()):
        total = (total << LIMB_BITS) + limb
    return total


def special_value(state: State) -> float | None:
    """The NaN or infinity that the sum is, or None if every number was finite."""
    _check_single(state)
    if state[N_NAN] or (state[N_POSINF] and state[N_NEGINF]):
        return math.nan
    if state[N_POSINF]:
        return math.inf
    return -math.inf if state[N_NEGINF] else None


def _rounded(numerator: int, denominator: int) -> float:
    """The float64 nearest to a ratio of integers, ties to even; beyond the range, an infinity.

    CPython divides integers with one correct rounding, subnormal results included.
    """
    try:
        return numerator / denominator
    except OverflowError:
        return math.inf if (numerator > 0) == (denominator > 0) else -math.inf


def rounded_ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Quotients of integers, each rounded once; NaN over nothing."""
    if part.dtype == whole.dtype == np.int64 and max(part.max(initial=0), whole.max(initial=0)) < _EXACT:
        quotients = np.full(len(part), math.nan)
        np.divide(part, whole, out=quotients, where=whole != 0)
        return quotients
    pairs = list(zip(part.tolist(), whole.tolist(), strict=True))
    try:
        return np.array([a / b if b else math.nan for a, b in pairs], np.float64)
    except OverflowError:
        return np.array([_rounded(a, b) if b else math.nan for a, b in pairs], np.float64)


def to_fraction(state: State) -> Fraction:
    """The exact sum of the finite numbers; NaNs and infinities are only counted."""
    return Fraction(finite_total(state), 1 << -UNIT_EXPONENT)


def rounded_sum(state: State) -> float:
    """The sum, rounded once. NaN with a NaN or with infinities of both signs, else the infinity if there is one."""
    special = special_value(state)
    return _rounded(finite_total(state), 1 << -UNIT_EXPONENT) if special is None else special


def rounded_mean(state: State, count: int | Fraction | None = None) -> float:
    """``sum / count``, rounded once; ``count`` is the state's own unless given (say, an exact sum of weights).

    NaN for a count of zero: a mean of nothing is not 0. NaNs and infinities as in `rounded_sum`.
    """
    _check_single(state)
    divisor = Fraction(int(state[N]) if count is None else count)
    if divisor == 0:
        return math.nan
    special = special_value(state)
    if special is not None:
        return special if divisor > 0 else -special
    return _rounded(finite_total(state) * divisor.denominator, divisor.numerator << -UNIT_EXPONENT)
