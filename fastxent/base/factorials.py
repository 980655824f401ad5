"""Logarithms of factorials of arrays of whole numbers."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["log_factorial"]

#: Up to here a table; beyond, three terms of Stirling's series are exact to float64.
_TABLE = np.array([math.lgamma(n + 1.0) for n in range(256)])


def log_factorial(n: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log n! of whole numbers n >= 0: n log n - n + log(2 pi n) / 2 + 1 / 12 n - 1 / 360 n^3 + ...

    >>> log_factorial(np.array([0.0, 3.0])).round(6)
    array([0.      , 1.791759])
    """
    large = np.maximum(n, len(_TABLE))
    series = 1.0 / (12.0 * large) - 1.0 / (360.0 * large**3) + 1.0 / (1260.0 * large**5)
    stirling = large * np.log(large) - large + 0.5 * np.log(2.0 * math.pi * large) + series
    return np.where(n < len(_TABLE), _TABLE[np.minimum(n, len(_TABLE) - 1).astype(np.int64)], stirling)
