"""Runs of equal neighbours in arrays."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["run_starts", "sum_of_runs"]


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


def sum_of_runs(values: NDArray[np.float64], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """The sums of the numbers from each start on to the next, each rounded once.

    >>> sum_of_runs(np.array([0.1, 0.2, 5.0]), np.array([0, 2]))
    array([0.3, 5. ])
    """
    ends, numbers = [*starts.tolist(), len(values)], values.tolist()
    return np.array([math.fsum(numbers[a:b]) for a, b in pairwise(ends)], np.float64)
