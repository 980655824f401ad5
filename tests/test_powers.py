"""The tables of the kernels' exponentials, and what is made of them, against mpmath."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
from numba import njit

from fastxent.kernels.functions import powers, softplus, tables
from fastxent.kernels.vector.memory import fetch, look_up, put, store
from fastxent.kernels.vector.simd import all_lanes, widen
from tests import remez
from tests.naive import ulps

LANES = 8
RNG = np.random.default_rng(64)
HELD = {"float32": np.float32, "float64": np.float64}
mp.mp.dps = 40


def error(got, wanted):
    """The relative error in units of 2^-52: half of it is the table's rounding, half the result's."""
    return float(abs(mp.mpf(float(got)) - wanted) / wanted) * 2.0**52


def exponentials(held):
    """Compile ``run(x, c, out, rest, places, scratch, table)``: e^(x - c + r_c) of whole vectors, and r_c."""
    anchor_of, split = powers.splitter(held)

    @njit(error_model="numpy")
    def run(x, c, out, rest, places, scratch, table):
        for i in range(0, x.size, LANES):
            anchor = anchor_of(fetch(c, i, LANES))
            r, place = split(fetch(x, i, LANES), anchor)
            put(scratch.ctypes.data, place)
            store(places, i, place)
            store(rest, i, anchor[2])
            store(out, i, powers.grown(widen(r), look_up(table.ctypes.data, scratch.ctypes.data, held, LANES)))

    return run


RUN = {held: exponentials(held) for held in HELD}


def of_differences(held, x, c):
    """e^(x - c + r_c), r_c, and the numbers of the places."""
    count = -(-len(x) // LANES) * LANES
    x = np.resize(np.asarray(x, HELD[held]), count)
    c = np.resize(np.asarray(c, np.float64), count)
    out, rest, places = np.empty(count), np.empty(count), np.empty(count, HELD[held])
    RUN[held](x, c, out, rest, places, np.zeros(LANES), tables.powers_of_e())
    return x, c, out, rest, places.astype(np.float64) - powers.ORIGIN[held]


def test_powers_are_correctly_rounded():
    table = tables.powers_of_e()
    assert table.shape == ((tables.LAST - tables.FIRST) * tables.STEPS + 1,)
    step, power = mp.exp(mp.mpf(1) / tables.STEPS), mp.exp(tables.FIRST)
    for number in table[:-1].tolist():
        assert number == (0.0 if power < mp.mpf(2) ** -1022 else float(power))
        power *= step
    assert table[-1] == math.inf


def test_softplus_and_slope_are_correctly_rounded():
    table = tables.softplus_and_slope()
    number = np.arange(tables.FIRST * tables.STEPS, 1)
    assert table.shape == (len(number), 2)
    chosen = [*range(len(number) - 20000, len(number)), *RNG.integers(0, len(number), 500).tolist(), 0]
    for i in chosen:
        power = mp.exp(mp.mpf(int(number[i])) / tables.STEPS)
        wanted = [0.0, 0.0] if power < mp.mpf(2) ** -1022 else [float(mp.log1p(power)), float(power / (1 + power))]
        assert table[i].tolist() == wanted, number[i]


@pytest.mark.parametrize("held", HELD)
def test_exponentials_of_differences(held):
    c = np.float32(RNG.choice([0.0, 1.0, 30.0, 300.0, 8000.0], 4000) * RNG.uniform(-1, 1, 4000))
    x = np.float32(c + RNG.uniform(-708.0, 689.0, 4000) * RNG.choice([1e-6, 0.01, 1.0], 4000))
    x, c, out, rest, _ = of_differences(held, x, c)
    for i in range(len(x)):
        wanted = mp.exp(mp.mpf(float(x[i])) - mp.mpf(float(c[i])) + mp.mpf(float(rest[i])))
        assert error(out[i], wanted) <= 1.15, (x[i], c[i])
    assert np.abs(rest).max() <= 1 / 512


@pytest.mark.parametrize("held", HELD)
def test_no_number_has_a_place_outside_the_table(held):
    """Whatever stands in a file: a place is an index."""
    edges = [
        0.0,
        709.0,
        709.5,
        710.0,
        690.0,
        691.5,
        700.0,
        2.0**13,
        2.0**14,
        2.0**15,
        1e6,
        1e9,
        3e38,
        math.inf,
        math.nan,
        1e-45,
    ]
    if held == "float64":
        edges += [1e300, 1.7e308, 5e-324]
    edges = np.array([*edges, *np.negative(edges)])
    x, c = (v.ravel() for v in np.meshgrid(edges, edges))
    with np.errstate(over="ignore"):
        _, _, out, rest, places = of_differences(held, x, c)
    assert ((places >= 0) & (places <= powers.END)).all()
    assert (np.abs(rest) <= 1 / 512).all()
    # What has no power is no finite number, so that the row is looked at again; a masked class has power 0.
    odd = np.isnan(x) | (x == math.inf)
    assert not np.isfinite(np.resize(out, len(x))[odd]).any()
    assert (np.resize(out, len(x))[x == -math.inf] == 0.0).all()


def test_growth():
    @njit(error_model="numpy")
    def run(r, out, rough):
        for i in range(0, r.size, LANES):
            store(out, i, powers.growth(fetch(r, i, LANES)))
            store(rough, i, powers.rough_growth(fetch(r, i, LANES)))

    r = np.concatenate([RNG.uniform(-1, 1, 2000), 10.0 ** RNG.uniform(-300, 0, 400), [0.0] * 8]) / 512
    out, rough = np.empty_like(r), np.empty_like(r)
    run(r, out, rough)
    for i in range(len(r)):
        wanted = mp.expm1(mp.mpf(r[i]))
        assert ulps(out[i], wanted) <= 1.0
        assert abs(rough[i] - wanted) <= 2.0**-54.8 + 2.0**-53 * abs(wanted)


def test_coefficients_come_out_of_remez():
    coefficients, error = remez.exp_coefficients(4, 1 / 512)
    assert coefficients == [powers.D2, powers.D3, powers.D4]
    assert error < 3.2e-17
    coefficients, error = remez.log1p_coefficients()
    assert coefficients == [softplus.B2, softplus.B3, softplus.B4]
    assert error < 2.4e-17


@pytest.mark.parametrize("held", HELD)
def test_softplus_and_chances(held):
    parts = softplus.softplus(held, LANES)

    @njit(error_model="numpy")
    def run(z, near, small, large, same, scratch, table):
        for i in range(0, z.size, LANES):
            at = scratch.ctypes.data
            lanes = fetch(z, i, LANES)
            store(near, i, parts.at_once(lanes, at, table.ctypes.data))
            r, offsets = parts.split(lanes)
            put(at, offsets)
            put(at + LANES * 8, r)
            same[0] &= all_lanes(parts.near(at + LANES * 8, at, table.ctypes.data) == fetch(near, i, LANES))
            a, b = parts.chances(at + LANES * 8, at, table.ctypes.data)
            store(small, i, a)
            store(large, i, b)

    z = np.concatenate([RNG.uniform(-40, 40, 2000), RNG.uniform(-707, 707, 1000), 10.0 ** RNG.uniform(-30, 0, 400)])
    z = np.concatenate(
        [z, np.arange(-512, 512) / 512, [0.0, -0.0, 1 / 512, -1 / 512, 2.0, -2.0, 700.0, -700.0]]
    ).astype(HELD[held])
    near, small, large = (np.empty(len(z)) for _ in range(3))
    same = np.ones(1, bool)
    run(z, near, small, large, same, np.zeros(2 * LANES), tables.softplus_and_slope())
    assert same[0]
    for i in range(len(z)):
        power = mp.exp(-abs(mp.mpf(float(z[i]))))
        # Two halves by rounding, 0.1 by each polynomial; of chances five halves. 224,000 numbers: 1.17, 2.86, 2.32.
        assert error(near[i], mp.log1p(power)) <= 1.25, z[i]
        assert ulps(small[i], power / (1 + power)) <= 3.0, z[i]
        assert ulps(large[i], 1 / (1 + power)) <= 3.0, z[i]
