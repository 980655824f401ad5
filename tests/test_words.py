"""Numbers of several words against Python's fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from fastxent.statistics.words import Words


@pytest.mark.parametrize(
    ("bits", "count", "highest"),
    [(31, 1, 2**60), (16, 3, 2**52), (16, 3, 2**60), (31, 3, 2**20), (31, 8, 2**40), (26, 3, 2**53 - 1)],
)
@pytest.mark.parametrize("unit", [0, 64])
def test_the_nearest_number_is_rounded_once(bits, count, highest, unit):
    rng = np.random.default_rng(bits + count)
    words = [rng.integers(0, highest, 500, endpoint=True), *(rng.integers(0, 2**bits, 500) for _ in range(count - 1))]
    exact = [sum(Fraction(int(word[i]), 2 ** (bits * k + unit)) for k, word in enumerate(words)) for i in range(500)]
    assert Words(tuple(words), bits, unit).nearest.tolist() == list(map(float, exact))
