"""How sure a share of rows is."""

from __future__ import annotations

import math

from fastxent.statistics.loss import Z95

__all__ = ["wilson"]


def wilson(share: float, n: float) -> tuple[float, float]:
    """The 95 % interval of Wilson (1927) for a share of n trials; n may be an effective number of trials."""
    if not n > 0.0 or math.isnan(share):
        return math.nan, math.nan
    z2 = Z95 * Z95
    middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n)
    half = Z95 / (1.0 + z2 / n) * math.sqrt(share * (1.0 - share) / n + z2 / (4.0 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)
