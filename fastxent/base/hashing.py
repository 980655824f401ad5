"""The hash of whole numbers: SplitMix64 (Steele, Lea and Flood 2014)."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["GOLDEN", "mix"]

#: What numbers that follow each other are set apart by before they are mixed: 2^64 over the golden ratio.
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(x: Any) -> Any:
    """The finalizer of SplitMix64, modulo 2^64: of an array of uint64 or, in compiled code, of one."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
