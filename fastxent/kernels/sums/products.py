"""Exact sums of products: each product goes in with what its rounding lost, so that nothing is lost to cancellation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastxent.base.exact import N, State
from fastxent.kernels.sums.exact_sums import deposit, deposit_weighted

__all__ = ["deposit_product", "lost_in_product"]

_SPLIT = 2.0**27 + 1.0


def deposit_product(x: NDArray[np.float64], y: NDArray[np.float64], state: State) -> None:
    """Add the products of two arrays to the sum, with what rounding lost."""
    n = len(x)
    deposit_weighted(x, y, n, state)
    deposit(lost_in_product(x, y), n, state)
    state[N] -= n


def lost_in_product(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    """What rounding the products lost, by splitting (Dekker 1971); exact for products from 2^-969 up to 2^970."""
    with np.errstate(all="ignore"):
        parts = [(_SPLIT * v - (_SPLIT * v - v)) for v in (x, y)]
        (a, b), (c, d) = ((high, v - high) for high, v in zip(parts, (x, y), strict=True))
        lost = ((a * c - x * y) + a * d + b * c) + b * d
    return np.where(np.isfinite(lost), lost, 0.0)
