"""The sign-flip permutation test of paired differences.

No distribution is assumed, only that under the null hypothesis A and B could be exchanged in every row (in every
cluster of rows) alike. One pass and one number of memory a replicate: the signs of a row come from a hash of the seed
and of its place in the order of the ids, so they are the same however rows are stored, cut or threaded, and nothing
need be kept of the rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError

__all__ = ["MOST", "Permutation", "check_permutations", "sign_flip_test"]

#: The most replicates (8 MB of sums).
MOST = 1_000_000
#: Sums that differ by this part of the sum of all magnitudes count as tied: that much may be rounding.
TIED = 2.0**-40


@dataclass(frozen=True, slots=True)
class Permutation:
    """The two-sided p-value of a sign-flip test.

    It is the share of replicates whose difference is at least as large as the one that was seen; the data itself counts
    as one of them (Phipson and Smyth 2010), so p is never 0. ``exact``: all assignments of signs were tried.
    """

    p_value: float
    replicates: int
    exact: bool
    seed: int


def check_permutations(permutations: int, seed: int) -> None:
    """Raise UsageError for numbers that cannot be."""
    if not _is_whole(permutations) or not 0 <= permutations <= MOST:
        raise UsageError(f"permutations: expected a whole number up to {MOST:,}, got {permutations!r}")
    if not _is_whole(seed) or not 0 <= seed < 2**63:
        raise UsageError(f"seed: expected a whole number from 0 to 2^63 - 1, got {seed!r}")


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def sign_flip_test(parts: Iterable[NDArray[np.float64]], n: int, permutations: int, seed: int) -> Permutation:
    """Test that n numbers, given in parts, are symmetric about 0."""
    if n and permutations >= 1 << min(n, 62):
        return _exact(np.concatenate(list(parts)), seed)
    from fastxent.kernels.sums.sign_flip import WORD, flip_signs

    sums = np.zeros(-(-permutations // WORD) * WORD)
    total = magnitude = 0.0
    at = 0
    for part in parts:
        flip_signs(part, at, seed, sums)
        # One after the other, as in the kernel, so that the outcome does not depend on the parts.
        total, magnitude = (float(np.add.accumulate(np.concatenate(([s], v)))[-1])
                            for s, v in ((total, part), (magnitude, np.abs(part))))  # fmt: skip
        at += len(part)
    if not n or not math.isfinite(magnitude):
        return Permutation(math.nan, permutations, False, seed)
    reached = int((np.abs(sums[:permutations]) >= abs(total) - TIED * magnitude).sum())
    return Permutation((1 + reached) / (1 + permutations), permutations, False, seed)


def _exact(values: NDArray[np.float64], seed: int) -> Permutation:
    """All assignments of signs to a few numbers."""
    count = 1 << len(values)
    if not np.isfinite(values).all():
        return Permutation(math.nan, count, True, seed)
    sums = np.zeros(1)
    for value in values.tolist():
        sums = np.concatenate((sums + value, sums - value))
    reached = int((np.abs(sums) >= abs(sums[0]) - TIED * np.abs(values).sum()).sum())
    return Permutation(reached / count, count, True, seed)
