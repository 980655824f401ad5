"""Hypothesis strategies: rows of logits of any kind with every special number in them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.naive import DTYPE, KINDS

#: Lengths at the edges of lanes (32), spans (256) and tiles (16), and any below 70.
CLASSES = st.one_of(st.sampled_from([1, 2, 31, 32, 33, 48, 49, 255, 256, 257, 300]), st.integers(1, 70))

SPECIAL = [0.0, -0.0, 1.0, -np.inf, 340.0, -340.0, 2.0**-24, -(2.0**-24), 708.5, -709.0]


class Logits(NamedTuple):
    """Rows of logits and their labels."""

    z: NDArray[Any]
    t: NDArray[np.int64]


@st.composite
def logits(draw: st.DrawFn, max_rows: int = 40, kinds: tuple[str, ...] = KINDS) -> Logits:
    """Any bit pattern that is finite or -inf, or numbers of a model, or mostly ties; rows that can be scored or not."""
    kind = draw(st.sampled_from(kinds))
    rows, classes = draw(st.integers(1, max_rows)), draw(CLASSES)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = (rows, classes)
    style = draw(st.sampled_from(["model", "wide", "ties", "bits"]))
    if style == "bits":
        size = np.dtype(DTYPE[kind]).itemsize
        z = rng.integers(0, 256, (rows, classes, size), dtype=np.uint8).view(DTYPE[kind])[..., 0].copy()
        with np.errstate(invalid="ignore"):  # signalling NaN
            z[~np.isfinite(z)] = 0
    elif style == "ties":
        z = rng.choice(np.array([0.0, -0.0, 1.0]), size=shape).astype(DTYPE[kind])
    else:
        z = rng.normal(scale=3.0 if style == "model" else 300.0, size=shape).astype(DTYPE[kind])
    for value in draw(st.lists(st.sampled_from(SPECIAL), max_size=3)):
        z[rng.integers(0, rows), rng.integers(0, classes)] = value
    return Logits(z, rng.integers(0, classes, rows))
