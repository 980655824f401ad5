"""Runs of equal neighbours in arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["run_starts"]


def run_starts(*keys: NDArray[Any]) -> NDArray[np.int64]:
    """Where each run of equal neighbours begins, in arrays of one length whose keys count together.

    >>> run_starts(np.array([5, 5, 7, 5]))
    array([0, 2, 3])
    """
    first = keys[0]
    begins = np.ones(len(first), np.bool_)
    if len(first) > 1:
        np.not_equal(first[1:], first[:-1], out=begins[1:])
        for key in keys[1:]:
            begins[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(begins)
