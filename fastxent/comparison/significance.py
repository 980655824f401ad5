"""The sign test of McNemar."""

from __future__ import annotations

import math

__all__ = ["mcnemar_p"]

#: Up to so many disagreements McNemar's p is exact.
EXACT_UP_TO = 10_000


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
