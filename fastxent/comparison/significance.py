"""The few distributions a comparison needs: Student's t and the sign test of McNemar."""

from __future__ import annotations

import math

__all__ = ["mcnemar_p", "t_quantile", "t_two_sided"]

#: Beyond so many degrees of freedom t is taken for normal; the largest relative difference of a 95 % quantile is 1e-6.
NORMAL_FROM = 1_000_000
#: Up to so many disagreements McNemar's p is exact.
EXACT_UP_TO = 10_000


def t_two_sided(t: float, df: float) -> float:
    """Probability that a Student t of ``df`` degrees of freedom lies at least as far from 0 as ``t``."""
    if math.isnan(t) or df < 1:
        return math.nan
    if math.isinf(t):
        return 0.0
    if df >= NORMAL_FROM:
        return math.erfc(abs(t) / math.sqrt(2.0))
    return _incomplete_beta(df / (df + t * t), t * t / (df + t * t), 0.5 * df, 0.5)


def t_quantile(confidence: float, df: float) -> float:
    """Half-width, in standard errors, of the central interval that holds ``confidence`` of a Student t."""
    if df < 1:
        return math.nan
    low, high = 0.0, 1.0
    while t_two_sided(high, df) > 1.0 - confidence:
        high *= 2.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        if t_two_sided(middle, df) > 1.0 - confidence:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def mcnemar_p(b: int, c: int) -> tuple[float, str]:
    """Two-sided p of McNemar's test for ``b`` rows that only one side gets right and ``c`` that only the other does.

    Exact (binomial) up to `EXACT_UP_TO` such rows, beyond by chi-square with continuity correction; and which it is.
    """
    n = b + c
    if n == 0:
        return 1.0, "exact"
    if n > EXACT_UP_TO:
        root = max(abs(b - c) - 1, 0) / math.sqrt(n)
        return math.erfc(root / math.sqrt(2.0)), "chi-square"
    term = total = 1
    for i in range(min(b, c)):
        term = term * (n - i) // (i + 1)
        total += term
    return min(1.0, 2 * total / (1 << n)), "exact"


def _incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """Regularized incomplete beta function I_x(a, b), with ``rest`` = 1 - x; continued fraction of DLMF 8.17.22."""
    if x <= 0.0:
        return 0.0
    if rest <= 0.0:
        return 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log(rest))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _fraction(x, a, b) / a
    return 1.0 - front * _fraction(rest, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction, by Lentz's method."""
    tiny = 1e-300
    c, d = 1.0, 1.0 / _away(1.0 - (a + b) * x / (a + 1.0), tiny)
    value = d
    for m in range(1, 10_000):
        for step in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1.0 / _away(1.0 + step * d, tiny)
            c = _away(1.0 + step / c, tiny)
            value *= c * d
        if abs(c * d - 1.0) < 1e-15:
            break
    return value


def _away(value: float, tiny: float) -> float:
    return value if abs(value) > tiny else tiny
