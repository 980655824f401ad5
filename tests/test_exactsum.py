"""Exact sums against rational arithmetic: any order, any split, any merge, the same bytes and one rounding."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from fastxent.base.exact import (
    LIMBS,
    N_NAN,
    N_NEGINF,
    N_POSINF,
    SIZE,
    N,
    State,
    canonical,
    empty,
    merge,
    rounded_mean,
    rounded_sum,
    to_fraction,
)
from fastxent.kernels.sums.exact_sums import BLOCK, deposit, deposit_product, deposit_weighted

Floats = NDArray[np.float64]

finite = st.floats(allow_nan=False, allow_infinity=False)
modest = st.floats(min_value=-(2.0**14), max_value=2.0**14)
losses = st.floats(min_value=2.0**-36, max_value=100.0)
below_grids = st.floats(min_value=-(2.0**-130), max_value=2.0**-130)
numbers = st.lists(
    st.one_of(finite, modest, losses, below_grids, st.sampled_from([0.0, -0.0, 5e-324, -5e-324])), max_size=60
)
law = settings(deadline=None, max_examples=150)


def summed(x: Floats) -> State:
    state = empty()
    deposit(x, x.size, state)
    return state


def exactly(x: Floats) -> Fraction:
    return sum((Fraction(v) for v in x.tolist()), Fraction(0))


def nearest(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def mixed(n: int, seed: int, spread: float) -> Floats:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(n) * np.exp2(rng.uniform(-spread, spread, n))


@law
@given(numbers)
def test_sum_is_exact_and_rounded_once(values: list[float]) -> None:
    x = np.array(values, np.float64)
    state = summed(x)
    assert to_fraction(state) == exactly(x)
    assert state[N] == x.size
    assert not state[[N_NAN, N_POSINF, N_NEGINF]].any()
    assert rounded_sum(state) == nearest(exactly(x))
    if x.size:
        assert rounded_mean(state) == nearest(exactly(x) / x.size)


@law
@given(numbers, st.integers(1, 100))
def test_weighted_sums_are_exact_sums_of_rounded_terms(values: list[float], repeat: int) -> None:
    x = np.tile(np.array(values, np.float64), repeat)
    w = np.roll(x, 1)
    weighted = empty()
    deposit_weighted(x, w, x.size, weighted)
    with np.errstate(over="ignore", under="ignore"):
        products = x * w
    np.testing.assert_array_equal(canonical(weighted), canonical(summed(products)))
    assert to_fraction(weighted) == exactly(products[np.isfinite(products)])


@law
@given(numbers, st.integers(1, 100), st.booleans())
def test_products_lose_nothing(values: list[float], repeat: int, square: bool) -> None:
    """Of numbers that are not so small that the last bits of a product are below 2^-1074."""
    x = np.tile(np.array(values, np.float64), repeat)
    x[np.abs(x) < 2.0**-480] = 0.0
    w = x if square else np.roll(x, 1)
    state = empty()
    deposit_product(x, w, x.size, state)
    with np.errstate(over="ignore"):
        products = x * w
    fine = np.isfinite(products)
    exact = (Fraction(a) * Fraction(b) for a, b in zip(x[fine], w[fine], strict=True))
    assert to_fraction(state) == sum(exact, Fraction(0))
    assert [state[N_POSINF], state[N_NEGINF]] == [np.isposinf(products).sum(), np.isneginf(products).sum()]
    assert state[N] == x.size


@law
@given(numbers, st.integers(1, 80), st.randoms(use_true_random=False))
def test_any_order_split_and_merge_tree_gives_the_same_bytes(
    values: list[float], repeat: int, rng: random.Random
) -> None:
    values = values * repeat
    whole = canonical(summed(np.array(values, np.float64))).tobytes()
    rng.shuffle(values)
    cuts = sorted(rng.randrange(len(values) + 1) for _ in range(6))
    bounds = [0, *cuts, len(values)]
    parts = [summed(np.array(values[a:b], np.float64)) for a, b in pairwise(bounds)]
    while len(parts) > 1:
        b, a = (parts.pop(rng.randrange(len(parts))) for _ in range(2))
        parts.append(merge(a, b))
    assert parts[0].tobytes() == whole


@pytest.mark.parametrize("n", [0, 1, 2, 7, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5])
@pytest.mark.parametrize("spread", [3, 40, 150, 1000])
def test_block_sizes(n: int, spread: float) -> None:
    x = mixed(n, n, spread)
    state = summed(x)
    assert to_fraction(state) == exactly(x)
    assert rounded_sum(state) == math.fsum(x)
    assert np.abs(state[: LIMBS - 1]).max() <= 2**51


@pytest.mark.parametrize("seed", range(4))
def test_losses_with_a_few_outliers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.exponential(2.0, 5000)
    x[rng.integers(0, x.size, 20)] = np.exp(rng.uniform(-160, 40, 20))
    assert to_fraction(summed(x)) == exactly(x)


@pytest.mark.parametrize(
    "value",
    [
        np.nextafter(2.0**14, 0),
        2.0**14,
        1.7e308,
        5e-324,
        2.0**-36,
        np.nextafter(2.0**-36, 0),
        2.0**-37,
        2.0**-89,
        2.0**-140,
        np.nextafter(2.0**-140, 0),
        2.0**-193,
        2.0**-1022,
        np.nextafter(2.0**-1022, 0),
        2.0**-36 + 2.0**-37,
        1.0 + 2.0**-37,
        0.0,
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_full_blocks_of_one_number(value: float, sign: float) -> None:
    x = np.full(4096, sign * value)
    state = summed(x)
    deposit(x, BLOCK - 1, state)
    count = x.size + BLOCK - 1
    assert to_fraction(state) == Fraction(sign * value) * count
    assert rounded_mean(state) == sign * value
    assert rounded_sum(state) == nearest(Fraction(sign * value) * count)


def test_a_sum_beyond_the_range_comes_back() -> None:
    state = summed(np.full(4096, 1.7e308))
    assert rounded_sum(state) == math.inf
    assert rounded_mean(state) == 1.7e308
    assert rounded_sum(merge(state, summed(np.full(4096, -1.7e308)))) == 0.0
    assert rounded_sum(summed(np.full(4096, -1.7e308))) == -math.inf


@pytest.mark.parametrize(
    ("specials", "expected"),
    [
        ([math.inf], math.inf),
        ([-math.inf, -math.inf], -math.inf),
        ([math.inf, -math.inf], math.nan),
        ([math.nan], math.nan),
        ([math.nan, math.inf], math.nan),
    ],
)
@pytest.mark.parametrize("n", [0, 3, BLOCK])
def test_nan_and_infinities(specials: list[float], expected: float, n: int) -> None:
    x = np.concatenate([mixed(n, 1, 30), specials])
    state = summed(x)
    np.testing.assert_equal(rounded_sum(state), expected)
    np.testing.assert_equal(rounded_mean(state), expected)
    assert state[N:].tolist() == [x.size, np.isnan(x).sum(), np.isposinf(x).sum(), np.isneginf(x).sum()]
    assert to_fraction(state) == exactly(x[np.isfinite(x)])


def test_only_the_first_n_numbers_count_and_skipped_rows_are_the_callers() -> None:
    x = np.array([1.0, 0.0, 3.0, math.nan])
    state = empty()
    deposit(x, 3, state)
    state[N] -= 1
    assert (rounded_sum(state), rounded_mean(state)) == (4.0, 2.0)


def test_rows_of_states_and_read_only_numbers() -> None:
    x = mixed(3000, 0, 5)
    x.flags.writeable = False
    states = empty(2)
    deposit(x, x.size, states[0])
    deposit_product(x, x, x.size, states[1])
    np.testing.assert_array_equal(canonical(states)[1], canonical(states[1]))
    np.testing.assert_array_equal(merge(states, empty(2)), canonical(states))


def test_long_streams_do_not_overflow_a_limb() -> None:
    x, state = np.full(BLOCK, np.nextafter(2.0**14, 0)), empty()
    big = np.full(BLOCK, 1.7976931348623157e308)
    for _ in range(200):
        deposit(x, x.size, state)
        deposit(big, big.size, state)
    assert to_fraction(state) == 200 * BLOCK * (Fraction(x[0]) + Fraction(big[0]))


@law
@given(numbers, numbers)
def test_merge_laws(left: list[float], right: list[float]) -> None:
    a, b = (summed(np.array(values, np.float64)) for values in (left, right))
    assert merge(a, b).tobytes() == merge(canonical(b), a).tobytes()
    assert merge(a, empty()).tobytes() == canonical(a).tobytes() == canonical(canonical(a)).tobytes()
    onto = canonical(a)
    deposit(np.array(right, np.float64), len(right), onto)
    assert canonical(onto).tobytes() == merge(a, b).tobytes()


def test_canonical_digits_and_negative_totals() -> None:
    state = canonical(summed(np.array([-1.0, 2.0**-60])))
    assert state[: LIMBS - 1].min() >= 0
    assert state[: LIMBS - 1].max() < 2**52
    assert state[LIMBS - 1] < 0
    assert to_fraction(state) == Fraction(2.0**-60) - 1


def test_squares_survive_a_large_mean() -> None:
    x = 2.0**10 + np.arange(16.0) * 2.0**-40
    state = empty()
    deposit_product(x, x, x.size, state)
    total = exactly(x)
    variance = (16 * to_fraction(state) - total * total) / (16 * 15)
    assert float(variance) == np.arange(16.0).var(ddof=1) * 2.0**-80


def test_a_mean_of_nothing_is_none() -> None:
    assert math.isnan(rounded_mean(empty()))


def test_mean_by_an_exact_weight() -> None:
    x, w = mixed(500, 3, 4), np.abs(mixed(500, 4, 4))
    weighted = empty()
    deposit_weighted(x, w, x.size, weighted)
    assert rounded_mean(weighted, to_fraction(summed(w))) == float(exactly(x * w) / exactly(w))


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(ValueError, match="46 words"):
        canonical(np.zeros(SIZE - 1, np.int64))
    with pytest.raises(ValueError, match="one shape"):
        merge(empty(), empty(2))
    with pytest.raises(ValueError, match="expected shape"):
        rounded_sum(empty(2))
