"""Which events are plain, and what their losses are."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import mpmath as mp
import numpy as np
import pytest

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.functions.tables import softplus_and_slope
from fastxent.kernels.rows.plain_events import CHUNK, ROOM, plain
from tests.test_sigmoid import ulps

NUMPY = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16}
TINY = {"float16": 6e-8, "bfloat16": 1e-40, "float32": 1e-45, "float64": 5e-324}
#: Every way in which a target fits a score: as wide, wider, narrower, of integers and of floats.
KINDS = [
    ("float32", "float32"), ("float16", "bfloat16"), ("float32", "float64"), ("float64", "float64"),
    ("float64", "float16"), ("float32", "int8"), ("float32", "uint32"), ("bfloat16", "int64"), ("float64", "uint8"),
    ("float64", "uint64"),
]  # fmt: skip


def compiled(kind: str, target: str) -> Any:
    split, lose, _, _ = plain(kind, target)

    @kernel(variant=f"{kind}-{target}")
    def run(score, target, count, scratch, table, losses):
        fine = split(score, target, count, scratch)
        lose(scratch, count, table, losses)
        return fine

    def call(z, y):
        scratch, losses, table = np.zeros(ROOM), np.zeros(len(z)), softplus_and_slope()
        fine = run(
            z.ctypes.data, y.ctypes.data, len(z), scratch.ctypes.data, table.ctypes.data, losses.ctypes.data
        )  # fmt: skip
        return fine, losses

    return call


@pytest.mark.parametrize(("kind", "target"), KINDS)
def test_plain(kind: str, target: str) -> None:
    run = compiled(kind, target)
    rng = np.random.default_rng(3)
    z = (rng.standard_normal(CHUNK) * 5).astype(NUMPY.get(kind, kind))
    z[:6] = [0.0, -0.0, 60000.0, -60000.0, TINY[kind], -TINY[kind]]
    y = rng.integers(0, 2, CHUNK).astype(NUMPY.get(target, target))
    if "float" in target:
        y[7] = -0.0
    fine, losses = run(z, y)
    assert fine
    for x, t, loss in zip(z.astype(float).tolist(), y.astype(float).tolist(), losses.tolist(), strict=True):
        a = mp.mpf(-x if t else x)
        want = max(a, 0) + mp.log1p(mp.exp(-abs(a)))
        assert ulps(loss, want) <= 4 or want < 1e-300
    for at in (0, 9, CHUNK - 1):
        for odd in (np.nan, np.inf, -np.inf):
            other = z.copy()
            other[at] = odd
            assert not run(other, y)[0]
        if "float" in target:
            one = NUMPY.get(target, np.dtype(target).type)
            odd_targets = [TINY[target], -TINY[target], 0.5, -1.0, 2.0, np.nan, np.inf, -np.inf]
            odd_targets += [np.nextafter(one(1), one(k)) for k in (0, 2)]
        else:
            odd_targets = [2, np.iinfo(target).max, np.iinfo(target).min or 3]
        for wrong in odd_targets:
            targets = y.copy()
            targets[at] = wrong
            assert not run(z, targets)[0], wrong
