"""Sums, products and exponentials in two parts against fractions and 50 digits."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from numba import njit

from fastxent.kernels import twofold
from fastxent.kernels.simd import LANES, fetch, store
from tests.naive import ulps

RNG = np.random.default_rng(9)


@njit(error_model="numpy")
def both_parts(function, a, b, out, lost):
    for i in range(0, a.size, LANES):
        s, rest = function(fetch(a, i, LANES), fetch(b, i, LANES))
        store(out, i, s)
        store(lost, i, rest)


@njit(error_model="numpy")
def less_one(x, out, lost):
    for i in range(0, x.size, LANES):
        s, rest = twofold.exp_less_one(fetch(x, i, LANES))
        store(out, i, s)
        store(lost, i, rest)


@njit(error_model="numpy")
def powers(x, g, out):
    for i in range(0, x.size, LANES):
        store(out, i, twofold.power(fetch(x, i, LANES), g))


@pytest.mark.parametrize("name", ["add", "subtract", "multiply"])
def test_nothing_is_lost(name):
    a, b = (RNG.uniform(-2, 2, 640) * 2.0 ** RNG.integers(-60, 60, 640) for _ in range(2))
    out, lost = np.zeros(640), np.zeros(640)
    both_parts(getattr(twofold, name), a, b, out, lost)
    exact = {"add": Fraction.__add__, "subtract": Fraction.__sub__, "multiply": Fraction.__mul__}[name]
    for x, y, s, rest in zip(a, b, out, lost, strict=True):
        assert Fraction(s) + Fraction(rest) == exact(Fraction(x), Fraction(y))
        assert abs(rest) <= math.ulp(s) / 2


def test_exp_less_one():
    half = math.log(2) / 2
    x = np.concatenate([RNG.uniform(-40, 3, 1000), -(10.0 ** RNG.uniform(-300, 2.8, 1000)), RNG.uniform(-1, 1, 1000)])
    x = np.resize(np.concatenate([x, np.nextafter(half * np.arange(-60, 9), -9.0), [0.0, -np.inf]]), 3200)
    out, lost = np.zeros(3200), np.zeros(3200)
    less_one(x, out, lost)
    with mp.workprec(200):
        for v, s, rest in zip(x.tolist(), out.tolist(), lost.tolist(), strict=True):
            true = mp.expm1(mp.mpf(v))
            assert ulps(s, true) <= 1
            if abs(v) > 1e-290:
                assert abs(mp.mpf(s) + mp.mpf(rest) - true) <= mp.mpf(2) ** -56 * abs(true), v


@pytest.mark.parametrize("g", [0.0, 0.001, 0.5, 0.999, 1.0, 3.5])
def test_power(g):
    x = np.resize(
        np.concatenate([10.0 ** RNG.uniform(-80, 0, 500), RNG.uniform(0, 1, 500), [1.0, 0.5, 2.0**-240]]), 1024
    )
    out = np.zeros(1024)
    powers(x, g, out)
    with mp.workprec(200):
        assert max(ulps(p, mp.mpf(v) ** mp.mpf(g)) for v, p in zip(x.tolist(), out.tolist(), strict=True)) <= 4
