"""Products of numbers with what their rounding lost, so that sums of them lose nothing to cancellation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.vector.simd import fma

__all__ = ["products_of"]

Numbers = NDArray[np.float64]


@kernel()
def _multiply(x: Any, y: Any, products: Any, lost: Any) -> None:
    for i in range(x.size):
        p = x[i] * y[i]
        products[i] = p
        lost[i] = fma(x[i], y[i], -p) if abs(p) < np.inf else 0.0


def products_of(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """The rounded products, and what rounding lost: exact for products from 2^-969; nothing of those that overflow."""
    x, y = np.ascontiguousarray(x), np.ascontiguousarray(y)
    products, lost = np.empty_like(x), np.empty_like(x)
    _multiply(x, y, products, lost)
    return products, lost
