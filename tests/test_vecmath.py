"""exp, log and log1p against mpmath over their ranges; vectors and scalars give the same bits."""

from __future__ import annotations

import math
from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
from numba import njit

from fastxent.kernels.functions import vecmath
from fastxent.kernels.vector.memory import fetch, store
from tests import remez
from tests.naive import ulps

LANES = 16


def over_arrays(function):
    """The function on every number of an array, by vectors and one by one."""

    @njit(error_model="numpy")
    def by_vectors(x, out):
        for i in range(0, x.size, LANES):
            store(out, i, function(fetch(x, i, LANES)))

    @njit(error_model="numpy")
    def one_by_one(x, out):
        for i in range(x.size):
            out[i] = function(x[i])

    return by_vectors, one_by_one


FUNCTIONS = {name: over_arrays(getattr(vecmath, name)) for name in ("exp", "log", "log1p")}
RNG = np.random.default_rng(3)
TINY = 2.0**-1022


def apply(name, x):
    x = np.resize(np.asarray(x, np.float64), -(-np.size(x) // LANES) * LANES)
    vectors, scalars = np.empty_like(x), np.empty_like(x)
    FUNCTIONS[name][0](x, vectors)
    FUNCTIONS[name][1](x, scalars)
    assert np.isnan(vectors).tolist() == np.isnan(scalars).tolist()
    assert vectors[~np.isnan(vectors)].tobytes() == scalars[~np.isnan(scalars)].tobytes()
    return x, vectors


def around(points, steps=3):
    """Every point with its nearest floats."""
    result = list(points)
    up = down = np.array(points, np.float64)
    for _ in range(steps):
        up, down = np.nextafter(up, np.inf), np.nextafter(down, -np.inf)
        result += [*up, *down]
    return np.array(result)


def log_uniform(low, high, count=1500):
    return np.exp2(RNG.uniform(math.log2(low), math.log2(high), count))


RANGES = {
    "exp": [
        RNG.uniform(-0.35, 0.35, 3000),
        RNG.uniform(-708.39, 709.0, 3000),
        RNG.uniform(-40.0, 0.0, 1500),
        around(np.arange(-2043, 2046) * (math.log(2) / 2), steps=1),  # where k changes, and where r is 0
        -log_uniform(1e-300, 1.0, 500),
        around([0.0, -708.39, 709.0 - 1e-9, 690.0, -1.0, 1.0]),
    ],
    "log": [
        log_uniform(TINY, 1.7e308, 3000),
        log_uniform(5e-324, TINY, 500),
        RNG.uniform(0.5, 2.0, 3000),
        1.0 + RNG.uniform(-1e-3, 1e-3, 1500),
        around(2.0 ** np.arange(-1021.0, 1023.0, 31.0), steps=1),
        around([math.sqrt(0.5), math.sqrt(2.0), 1.0, TINY, 1.797e308]),
    ],
    "log1p": [
        log_uniform(1e-300, 1e300, 3000),
        log_uniform(1e-20, 1e3, 3000),
        RNG.uniform(0.0, 3.0, 1500),
        around([math.sqrt(2.0) - 1.0, 1.0, 2.0**-52, 2.0**-53, 2.0**53, 2.0**54, math.sqrt(2.0) * 2 - 1.0]),
        around([0.5, 2.0, 4.0, 1e-300, 1e300]),
    ],
}
BOUND = {"exp": 1.1, "log": 1.0, "log1p": 1.0}


@pytest.mark.parametrize(("name", "part"), [(name, i) for name, parts in RANGES.items() for i in range(len(parts))])
def test_errors_in_ulp(name, part):
    x, got = apply(name, RANGES[name][part])
    exact = getattr(mp, name)
    with mp.workprec(140):
        worst = max(ulps(y, exact(mp.mpf(v))) for v, y in zip(x.tolist(), got.tolist(), strict=True))
    assert worst <= BOUND[name]


INF, NAN = math.inf, math.nan


@pytest.mark.parametrize(
    ("name", "x", "y"),
    [
        ("exp", 0.0, 1.0), ("exp", -0.0, 1.0), ("exp", -INF, 0.0), ("exp", -709.1, 0.0), ("exp", -1e308, 0.0),
        ("exp", NAN, NAN),
        ("log", 0.0, -INF), ("log", -0.0, -INF), ("log", 1.0, 0.0), ("log", INF, INF), ("log", -1.0, NAN),
        ("log", -INF, NAN), ("log", NAN, NAN), ("log", 5e-324, -744.4400719213812),
        ("log1p", 0.0, 0.0), ("log1p", INF, INF), ("log1p", NAN, NAN), ("log1p", 1e-320, 1e-320),
        ("log1p", TINY, TINY),
    ],
)  # fmt: skip
def test_specials(name, x, y):
    _, got = apply(name, [x])
    assert np.array_equal(got, np.full(LANES, y), equal_nan=True)
    assert np.signbit(got[0]) == np.signbit(y) or math.isnan(y)


def test_exp_stays_put_beyond_its_clamp():
    _, got = apply("exp", [709.0, 709.5, 1e4, 1e308, INF])
    assert (got[:5] == got[0]).all()
    assert math.isfinite(got[0])


def test_exp_of_the_last_step_before_zero_is_right_or_zero():
    """Between ln(2^-1022) and EXP_LOW results are subnormal: rounded, or taken as 0."""
    x, got = apply("exp", RNG.uniform(vecmath.EXP_LOW, math.log(TINY), 800))
    for v, y in zip(x.tolist(), got.tolist(), strict=True):
        assert y == 0.0 or abs(y - math.exp(v)) <= 1e-323


def test_exp_is_monotone_on_a_grid():
    x = np.linspace(-40.0, 0.0, 100_000)
    _, got = apply("exp", x)
    assert (np.diff(got[: x.size]) >= 0.0).all()


def test_coefficients_come_out_of_remez():
    exp, exp_error = remez.exp_coefficients()
    log, log_error = remez.log_coefficients()
    assert exp == [getattr(vecmath, f"C{i}") for i in range(2, 12)]
    assert log == [getattr(vecmath, f"L{i}") for i in range(7)]
    assert exp_error < 4e-18
    assert log_error < 1.3e-18


def test_constants():
    with mp.workprec(200):
        assert float(mp.log(2) - mp.mpf(vecmath.LN2_HIGH)) == vecmath.LN2_LOW
        assert float(1 / mp.log(2)) == vecmath.LOG2_E
    assert int(vecmath.LN2_HIGH * 2**42) == vecmath.LN2_HIGH * 2**42  # k * LN2_HIGH is exact
    assert all(a > b for a, b in pairwise(abs(getattr(vecmath, f"C{i}")) for i in range(2, 12)))
