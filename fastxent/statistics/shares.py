"""How sure a share of rows is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from fastxent.statistics.loss import Z95

__all__ = ["effective_rows", "wilson", "wilsons"]

Numbers = NDArray[np.float64]


def wilson(share: float, n: float) -> tuple[float, float]:
    """The 95 % interval of Wilson (1927) for a share of n trials; n may be an effective number of trials."""
    low, high = wilsons(np.array([share]), np.array([n]))
    return float(low[0]), float(high[0])


def wilsons(share: Numbers, n: Numbers) -> tuple[Numbers, Numbers]:
    """`wilson` of many shares."""
    known = (n > 0.0) & ~np.isnan(share)
    share, n = np.where(known, share, math.nan), np.where(known, n, 1.0)
    z2 = Z95 * Z95
    middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n)
    half = Z95 / (1.0 + z2 / n) * np.sqrt(share * (1.0 - share) / n + z2 / (4.0 * n * n))
    return np.maximum(0.0, middle - half), np.minimum(1.0, middle + half)


def effective_rows(share: float, stderr: float, rows: float, clusters: int) -> float:
    """How many independent rows would give a share this standard error; at most ``rows``, those there are.

    Kish's effective sample size, n / deff, where deff is the squared error over p (1 - p) / (n - 1), that of n
    independent rows (Korn and Graubard 1998 put it in the interval of a share). Where the share is 0 or 1 the error
    says nothing, and every cluster counts as one row. NaN without an error.
    """
    if math.isnan(stderr) or math.isnan(share):
        return math.nan
    if share in (0.0, 1.0):
        return min(float(clusters), rows)
    if stderr == 0.0 or rows <= 1.0:
        return rows
    return min(rows, rows * share * (1.0 - share) / ((rows - 1.0) * stderr * stderr))
