"""Sums, products and exponentials in two parts against fractions and 50 digits."""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from numba import njit

from fastxent.kernels.functions import twofold
from fastxent.kernels.vector.memory import fetch, store
from fastxent.kernels.vector.simd import LANES
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


@njit(error_model="numpy")
def in_parts(function, a, a_lost, b, b_lost, out, lost):
    for i in range(0, a.size, 8):
        s, rest = function(fetch(a, i, 8), fetch(a_lost, i, 8), fetch(b, i, 8), fetch(b_lost, i, 8))
        store(out, i, s)
        store(lost, i, rest)


@njit(error_model="numpy")
def exponentials(x, x_lost, out, lost):
    for i in range(0, x.size, 8):
        s, rest = twofold.exp_in_parts(fetch(x, i, 8), fetch(x_lost, i, 8))
        store(out, i, s)
        store(lost, i, rest)


@njit(error_model="numpy")
def lanes_summed(a, a_lost, scratch):
    return twofold.sum_of_lanes(fetch(a, 0, 8), fetch(a_lost, 0, 8), scratch)


@njit(error_model="numpy")
def logarithm(a, a_lost, b, b_lost):
    return twofold.log_of_ratio(a, a_lost, b, b_lost)


def settled_numbers(count):
    """Numbers of either sign, and parts below their last place."""
    a = RNG.uniform(1, 2, count) * RNG.choice([-1.0, 1.0], count) * 2.0 ** RNG.integers(-60, 60, count)
    return a, np.spacing(a) * RNG.uniform(-0.5, 0.5, count)


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


@pytest.mark.parametrize("name", ["multiply_pairs", "divide_pairs"])
def test_pairs(name):
    (a, a_lost), (b, b_lost) = settled_numbers(800), settled_numbers(800)
    out, lost = np.zeros(800), np.zeros(800)
    in_parts(getattr(twofold, name), a, a_lost, b, b_lost, out, lost)
    for i in range(800):
        x, y = Fraction(a[i]) + Fraction(a_lost[i]), Fraction(b[i]) + Fraction(b_lost[i])
        exact = x * y if name == "multiply_pairs" else x / y
        assert abs(Fraction(out[i]) + Fraction(lost[i]) - exact) <= abs(exact) * Fraction(1, 2**102)


def test_exp_in_parts():
    """Better than float64 by what a sum in two parts needs, whatever the argument lost; settled."""
    x = np.concatenate([RNG.uniform(-708, 709, 1000), -(10.0 ** RNG.uniform(-20, 2.8, 600))])
    x_lost = np.spacing(x) * RNG.uniform(-0.5, 0.5, 1600)
    out, lost = np.zeros(1600), np.zeros(1600)
    exponentials(x, x_lost, out, lost)
    with mp.workprec(200):
        for v, more, s, rest in zip(x.tolist(), x_lost.tolist(), out.tolist(), lost.tolist(), strict=True):
            true = mp.exp(mp.mpf(v) + mp.mpf(more))
            assert abs(rest) <= math.ulp(s)
            if v > -670:
                assert abs(mp.mpf(s) + mp.mpf(rest) - true) <= mp.mpf(2) ** -54 * true, v
    edge = np.array([-710.0, -np.inf, -709.1, 0.0, -800.0, -1e308, -745.0, np.nan])
    exponentials(edge, np.array([0.0, np.nan, 1e-14, 0.0, np.nan, 0.0, 0.0, 0.0]), out[:8], lost[:8])
    assert out[:7].tolist() == [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    assert lost[:7].tolist() == [0.0] * 7
    assert np.isnan(out[7])


def test_sum_of_lanes_and_log_of_ratio():
    with mp.workprec(300):
        for _ in range(200):
            a, a_lost = settled_numbers(8)
            s, rest = lanes_summed(a, a_lost, np.zeros(8))
            exact = sum(map(Fraction, a.tolist() + a_lost.tolist()))
            assert abs(Fraction(s) + Fraction(rest) - exact) <= abs(a).max() * 2.0**-100
            (x, y), (x_lost, y_lost) = (each[:2] for each in settled_numbers(8))
            x, y = abs(x), abs(y)
            value, more = logarithm(x, x_lost, y, y_lost)
            true = mp.log((mp.mpf(x) + mp.mpf(x_lost)) / (mp.mpf(y) + mp.mpf(y_lost)))
            assert abs(mp.mpf(value) + mp.mpf(more) - true) <= mp.mpf(2) ** -54
