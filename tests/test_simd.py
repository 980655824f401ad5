"""The vector type against NumPy, operation by operation; loads never touch memory beyond their numbers."""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from numba import njit
from numba.core.registry import cpu_target

from fastxent.kernels.vector import memory
from fastxent.kernels.vector.memory import fetch, load, load_first, load_scalar, load_whole, move, store, store_bytes
from fastxent.kernels.vector.simd import (
    any_lane,
    as_bits,
    as_float,
    as_ones,
    fill,
    first_lane,
    floor,
    fma,
    halving_sum,
    lane_max,
    lane_min,
    lane_numbers,
    maximum,
    minimum,
    narrow,
    select,
    shift_left,
    shift_right,
    splat,
    widen,
)
from tests.naive import DTYPE, KINDS

N = 32
RNG = np.random.default_rng(9)
EDGES = [0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, math.nan, 5e-324, 1e-45, 3e38, -3e38, 2.0**-149]


def numbers(dtype):
    """Two vectors that meet every pair of edge cases."""
    a = RNG.normal(size=N).astype(dtype)
    b = RNG.normal(size=N).astype(dtype)
    a[:12] = np.array(EDGES).astype(dtype)
    b[:12] = np.roll(a[:12], int(RNG.integers(12)))
    return a, b


def equal(got, wanted):
    """Same bits, any NaN equal to any NaN."""
    got, wanted = np.asarray(got), np.asarray(wanted)
    assert got.dtype == wanted.dtype
    both = np.isnan(got) & np.isnan(wanted)
    assert np.where(both, 0, got).tobytes() == np.where(both, 0, wanted).tobytes()


@njit(error_model="numpy")
def arithmetic(x, y, out, comparisons, like):
    a, b = fetch(x, 0, N), fetch(y, 0, N)
    store(out[0], 0, a + b)
    store(out[1], 0, a - b)
    store(out[2], 0, a * b)
    store(out[3], 0, a / b)
    store(out[4], 0, maximum(a, b))
    store(out[5], 0, minimum(a, b))
    store(out[6], 0, select(a < b, a, b))
    store(out[7], 0, fill(x[2], a))
    store(out[8], 0, as_float(as_bits(a)))
    store(out[9], 0, a + x[2])
    store(out[10], 0, floor(a))
    store_bytes(comparisons[0], 0, as_ones(a < b, like))
    store_bytes(comparisons[1], 0, as_ones(a <= b, like))
    store_bytes(comparisons[2], 0, as_ones(a > b, like))
    store_bytes(comparisons[3], 0, as_ones(a >= b, like))
    store_bytes(comparisons[4], 0, as_ones(a == b, like))
    store_bytes(comparisons[5], 0, as_ones(a != b, like))


@njit(error_model="numpy")
def arithmetic_of(x, y, out, comparisons):
    arithmetic(x, y, out, comparisons, fetch(x, 0, N))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_arithmetic_and_comparisons(dtype):
    for _ in range(30):
        a, b = numbers(dtype)
        out, comparisons = np.empty((11, N), dtype), np.empty((6, N), np.int8)
        arithmetic_of(a, b, out, comparisons)
        with np.errstate(all="ignore"):
            wanted = [
                a + b, a - b, a * b, a / b, np.where(a > b, a, b), np.where(a < b, a, b), np.where(a < b, a, b),
                np.full(N, a[2]), a, a + a[2], np.floor(a),
            ]  # fmt: skip
        for got, expected in zip(out, wanted, strict=True):
            equal(got, expected)
        for got, holds in zip(comparisons, [a < b, a <= b, a > b, a >= b, a == b, a != b], strict=True):
            assert (got == -holds.astype(np.int8)).all()


@njit(error_model="numpy")
def fused(x, y, z, out):
    store(out[0], 0, fma(fetch(x, 0, N), fetch(y, 0, N), fetch(z, 0, N)))
    store(out[1], 0, fma(fetch(x, 0, N), y[0], z[0]))
    for i in range(N):
        out[2, i] = fma(x[i], y[i], z[i])
    store(out[3], 0, fetch(x, 0, N) * fetch(y, 0, N) + fetch(z, 0, N))


def test_fma_rounds_once_and_nothing_else_is_fused():
    for _ in range(30):
        x, y = RNG.normal(size=N), RNG.normal(size=N)
        z = -(x * y) * (1 + RNG.integers(-1, 2, N) * 2.0**-52)  # what cancels shows a second rounding
        out = np.empty((4, N))
        fused(x, y, z, out)
        exact = [float(Fraction(a) * Fraction(b) + Fraction(c)) for a, b, c in zip(x, y, z, strict=True)]
        spread = [float(Fraction(a) * Fraction(y[0]) + Fraction(z[0])) for a in x]
        assert out[0].tolist() == exact == out[2].tolist()
        assert out[1].tolist() == spread
        assert out[3].tolist() == (x * y + z).tolist()


@njit(error_model="numpy")
def integers(x, y, out):
    a, b = fetch(x, 0, N), fetch(y, 0, N)
    store(out[0], 0, a + b)
    store(out[1], 0, a - b)
    store(out[2], 0, a * b)
    store(out[3], 0, a & b)
    store(out[4], 0, a | b)
    store(out[5], 0, a ^ b)
    store(out[6], 0, shift_left(a, 5))
    store(out[7], 0, shift_right(a, 5))
    store(out[8], 0, select(a < b, a, b))
    store(out[9], 0, maximum(a, b))
    store(out[10], 0, minimum(a, b))
    out[11, 0] = halving_sum(a)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers(dtype):
    info = np.iinfo(dtype)
    a, b = (RNG.integers(info.min, info.max, N, dtype, endpoint=True) for _ in range(2))
    a[:2], b[:2] = [info.min, info.max], [info.max, info.min]
    out = np.empty((12, N), dtype)
    integers(a, b, out)
    unsigned = a.view(f"u{a.itemsize}")
    wanted = [a + b, a - b, a * b, a & b, a | b, a ^ b, a << 5, (unsigned >> 5).view(dtype), np.minimum(a, b)]
    wanted += [np.maximum(a, b), np.minimum(a, b)]
    for got, expected in zip(out[:11], wanted, strict=True):
        assert (got == expected).all()
    assert out[11, 0] == a.sum(dtype=dtype)


@njit(error_model="numpy")
def folds(x, out):
    a = fetch(x, 0, N)
    out[0] = halving_sum(a)
    out[1] = lane_max(a)
    out[2] = lane_min(a)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_folds_have_the_written_order(dtype):
    x = (RNG.normal(size=N) * 10.0 ** RNG.integers(-6, 6, N)).astype(dtype)
    wanted = x.copy()
    while wanted.size > 1:
        half = wanted.size // 2
        wanted = wanted[:half] + wanted[half:]
    out = np.empty(3, dtype)
    folds(x, out)
    equal(out, np.array([wanted[0], x.max(), x.min()]))


@njit(error_model="numpy")
def lanes_of(x, limit, out, wide):
    a = fetch(x, 0, N)
    mask = a > limit
    store(out, 0, lane_numbers(N))
    store(wide, 0, widen(a))
    store(x, 0, narrow(widen(a) + 0.0, a))
    store(wide, N, splat(limit * 1.0, N))
    return first_lane(mask), any_lane(mask)


@pytest.mark.parametrize("at", [0, 1, 17, 31, None])
def test_lanes(at):
    x = np.zeros(N, np.float32)
    if at is not None:
        x[at:] = 2.5
    out, wide = np.empty(N, np.int32), np.empty(2 * N)
    first, some = lanes_of(x.copy(), np.float32(1.5), out, wide)
    assert (first, some) == ((N, False) if at is None else (at, True))
    assert out.tolist() == list(range(N))
    assert wide.tolist() == x.tolist() + [1.5] * N


# --- memory -------------------------------------------------------------------------------------------------


def loader(kind):
    @njit
    def run(address, count, whole, first, scalars, size):
        if count == N:
            store(whole, 0, widen(load(address, kind, N)))
        store(first, 0, widen(load_first(address, kind, N, count)))
        for i in range(count):
            scalars[i] = load_scalar(address + i * size, kind)

    return run


LOADERS = {kind: loader(kind) for kind in KINDS}


def without_f16c():
    """The loader of float16 for a processor that cannot convert it."""
    target = cpu_target.target_context.codegen()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target, "_tm_features", target._tm_features.replace("+f16c", "-f16c"))
        run = loader("float16")
        run(np.zeros(N, np.float16).ctypes.data, N, *(np.empty(N) for _ in range(3)), 2)
    return run


@pytest.mark.parametrize(
    ("kind", "load_all"), [(kind, LOADERS[kind]) for kind in ("float16", "bfloat16")] + [("float16", without_f16c())]
)
def test_all_patterns_of_16_bits(kind, load_all):
    patterns = np.arange(65536, dtype=np.uint16)
    with np.errstate(invalid="ignore"):
        wanted = patterns.view(np.float16 if kind == "float16" else ml_dtypes.bfloat16).astype(np.float64)
    whole, first, scalars = (np.empty(65536) for _ in range(3))
    for i in range(0, 65536, N):
        part = slice(i, i + N)
        load_all(patterns.ctypes.data + 2 * i, N, whole[part], first[part], scalars[part], 2)
    for got in (whole, first, scalars):
        equal(got, wanted)


@pytest.fixture(scope="module")
def fence():
    """The address of the end of a page, after which nothing may be read."""
    if not sys.platform.startswith("linux"):
        pytest.skip("mprotect is called as on Linux")
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 0) == 0
    yield np.frombuffer(memory, np.uint8, page)
    libc.mprotect(ctypes.c_void_p(start + page), ctypes.c_size_t(page), 3)


@pytest.mark.parametrize("kind", KINDS)
def test_load_first_reads_only_its_numbers(fence, kind):
    """One byte further and the process dies."""
    size = np.dtype(DTYPE[kind]).itemsize
    for count in range(N + 1):
        values = RNG.normal(size=count).astype(DTYPE[kind])
        tail = fence[fence.size - count * size :]
        tail[:] = values.view(np.uint8)
        whole, first, scalars = np.empty(N), np.empty(N), np.empty(N)
        LOADERS[kind](fence.ctypes.data + fence.size - count * size, count, whole, first, scalars, size)
        wanted = values.astype(np.float64)
        assert first.tolist() == [*wanted, *[-math.inf] * (N - count)]
        assert scalars[:count].tolist() == wanted.tolist()
        if count == N:
            assert whole.tolist() == wanted.tolist()


def whole_loader(kind):
    @njit
    def run(address, out):
        store(out, 0, load_whole(address, kind, N))
        return load_scalar(address, kind)

    return run


@pytest.mark.parametrize("kind", memory._INTEGERS)
def test_integers_of_every_width(kind):
    info = np.iinfo(kind)
    x = RNG.integers(info.min, info.max, N + 1, kind, endpoint=True)
    x[:2] = info.min, info.max
    bytes_ = np.zeros(x.nbytes + 3, np.uint8)
    bytes_[3:] = x.view(np.uint8)
    out = np.empty(N, np.int64)
    first = whole_loader(kind)(bytes_.ctypes.data + 3, out)
    assert first == x[:1].astype(np.int64)[0]
    assert out.tolist() == x[:N].astype(np.int64).tolist()


@njit
def copy(to, source, n):
    for i in range(n):
        move(to + 2 * i, source + 2 * i, 2)


def test_move():
    x, out = np.arange(7, dtype=np.uint16), np.zeros(9, np.uint16)
    copy(out.ctypes.data, x.ctypes.data, 7)
    assert out.tolist() == [*range(7), 0, 0]
