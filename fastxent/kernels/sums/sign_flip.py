"""Sums of numbers with random signs, for many replicates at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastxent.base.hashing import GOLDEN
from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.functions.hashing import mix
from fastxent.kernels.vector.simd import as_bits, as_float

__all__ = ["WORD", "flip_signs"]

#: Replicates that share one hash, a bit each.
WORD = 64


@kernel()
def flip_signs(values: Any, first: int, seed: int, sums: Any) -> None:
    """Add the values, one after the other, to every sum, each with a sign that its number and the seed decide.

    Bit b of hash(hash(seed + number) + word) is the sign in replicate 64 word + b; ``first`` numbers the first value.
    A value's signs depend on nothing else, so the sums do not depend on how the values are cut into calls.
    """
    for word in range(sums.size // WORD):
        here = sums[WORD * word : WORD * word + WORD]
        for i in range(values.size):
            number = np.uint64(first) + np.uint64(i)
            h = mix(mix(np.uint64(seed) + GOLDEN * (number + np.uint64(1))) + GOLDEN * (np.uint64(word) + np.uint64(1)))
            pattern = as_bits(values[i])
            for b in range(WORD):
                sign = ((np.int64(h) >> np.int64(b)) & np.int64(1)) << np.int64(63)
                here[b] += as_float(pattern ^ sign)
