"""Every way to hand over the same numbers gives the same bits as a float64 array in C order."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

import fastxent as fx
from fastxent.sources.open import open_arrays

RNG = np.random.default_rng(8)
Y = RNG.integers(0, 5, 100)
#: Every one of these numbers is a bfloat16, hence also a float16, a float32 and a float64.
Z = (RNG.standard_normal((100, 5)) * 3).astype(ml_dtypes.bfloat16).astype(np.float64)
Z[np.abs(Z) < 2.0**-6] = 0.5
Q = RNG.dirichlet(np.ones(5), 100)


class OnlyArray:
    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self._values if dtype is None else self._values.astype(dtype)


class OnlyDlpack:
    def __init__(self, values: NDArray[Any]) -> None:
        self._values = values

    def __dlpack__(self, **options: Any) -> Any:
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._values.__dlpack_device__()


def frozen(values: NDArray[Any]) -> NDArray[Any]:
    values = values.copy()
    values.flags.writeable = False
    return values


def unaligned(values: NDArray[Any]) -> NDArray[Any]:
    raw = np.zeros(values.nbytes + 1, np.uint8)
    view = raw[1:].view(values.dtype).reshape(values.shape)
    view[...] = values
    return view


def spread(values: NDArray[Any]) -> NDArray[Any]:
    """Every second row and every third column of something larger."""
    larger = np.full((2 * values.shape[0], *(3 * n for n in values.shape[1:])), 99, values.dtype)
    view = larger[(slice(None, None, 2), *(slice(None, None, 3) for _ in values.shape[1:]))]
    view[...] = values
    return view


def torch_of(dtype: str) -> Callable[[NDArray[Any]], Any]:
    def make(values: NDArray[Any]) -> Any:
        torch = pytest.importorskip("torch")
        return torch.from_numpy(values.copy()).to(getattr(torch, dtype))

    return make


def jax_of(dtype: str) -> Callable[[NDArray[Any]], Any]:
    def make(values: NDArray[Any]) -> Any:
        return pytest.importorskip("jax").numpy.asarray(np.float32(values), dtype)

    return make


def bits(values: NDArray[Any]) -> NDArray[np.uint16]:
    return values.astype(ml_dtypes.bfloat16).view(np.uint16)


#: name -> (from float64 in C order, dtype= that must be given)
CONTAINERS: dict[str, tuple[Callable[[NDArray[Any]], Any], str | None]] = {
    "list": (lambda z: z.tolist(), None),
    "float32": (np.float32, None),
    "float16": (np.float16, None),
    "float16 bits": (lambda z: np.float16(z).view(np.uint16), "float16"),
    "bfloat16, ml_dtypes": (lambda z: z.astype(ml_dtypes.bfloat16), None),
    "bfloat16 bits": (bits, "bfloat16"),
    "bfloat16, torch": (torch_of("bfloat16"), None),
    "bfloat16, JAX": (jax_of("bfloat16"), None),
    "float16, torch": (torch_of("float16"), None),
    "float32, torch": (torch_of("float32"), None),
    "float64, torch": (torch_of("float64"), None),
    "float32, JAX": (jax_of("float32"), None),
    "__array__": (OnlyArray, None),
    "__dlpack__": (OnlyDlpack, None),
    "big-endian": (lambda z: z.astype(">f8"), None),
    "big-endian float16": (lambda z: z.astype(">f2"), None),
    "Fortran": (np.asfortranarray, None),
    "rows apart": (lambda z: np.concatenate([z, z], axis=1)[:, : z.shape[1]], None),
    "strided": (spread, None),
    "backwards": (lambda z: z[::-1].copy()[::-1], None),
    "mirrored": (lambda z: z[:, ::-1].copy()[:, ::-1], None),
    "read-only": (frozen, None),
    "unaligned": (unaligned, None),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_predictions(name: str) -> None:
    make, dtype = CONTAINERS[name]
    expected = fx.cross_entropy(Y, logits=Z, reduction="none")
    given = make(Z)
    np.testing.assert_array_equal(fx.cross_entropy(Y, logits=given, dtype=dtype, reduction="none"), expected)
    assert fx.cross_entropy(Y, logits=given, dtype=dtype) == fx.cross_entropy(Y, logits=Z)


def test_16_bits_that_float64_has_too() -> None:
    """Numbers beyond what the two kinds share: subnormals, the largest ones, all fractions."""
    for kind in (np.float16, ml_dtypes.bfloat16):
        z = (RNG.standard_normal((100, 5)) * 10.0 ** RNG.integers(-7, 4, (100, 5))).astype(kind)
        got = fx.cross_entropy(Y, logits=z, reduction="none")
        np.testing.assert_array_equal(got, fx.cross_entropy(Y, logits=z.astype(np.float64), reduction="none"))


def test_memory_maps(tmp_path: Path) -> None:
    expected = fx.cross_entropy(Y, logits=Z, reduction="none")
    np.save(tmp_path / "z.npy", Z)
    np.save(tmp_path / "y.npy", Y)
    Z.astype(">f8").tofile(tmp_path / "z.bin")
    mapped, target = (np.load(tmp_path / name, mmap_mode="r") for name in ("z.npy", "y.npy"))
    np.testing.assert_array_equal(fx.cross_entropy(target, logits=mapped, reduction="none"), expected)
    raw = np.memmap(tmp_path / "z.bin", ">f8", "r", shape=Z.shape)
    np.testing.assert_array_equal(fx.cross_entropy(Y, logits=raw, reduction="none"), expected)
    assert fx.evaluate(logits=str(tmp_path / "z.npy"), target=str(tmp_path / "y.npy")).loss == fx.cross_entropy(
        Y, logits=Z
    )


TARGETS: dict[str, Callable[[NDArray[Any]], Any]] = {
    "list": lambda y: y.tolist(),
    "int8": np.int8,
    "uint8": np.uint8,
    "int32": np.int32,
    "big-endian": lambda y: y.astype(">i4"),
    "float": np.float64,
    "torch": lambda y: pytest.importorskip("torch").from_numpy(y.copy()),
    "JAX": lambda y: pytest.importorskip("jax").numpy.asarray(y),
    "__dlpack__": OnlyDlpack,
    "strided": spread,
    "read-only": frozen,
}


@pytest.mark.parametrize("name", TARGETS)
def test_targets(name: str) -> None:
    assert fx.cross_entropy(TARGETS[name](Y), logits=Z) == fx.cross_entropy(Y, logits=Z)


@pytest.mark.parametrize("make", [np.asfortranarray, spread, frozen, OnlyDlpack, torch_of("float64")])
def test_distributions_and_weights(make: Callable[[NDArray[Any]], Any]) -> None:
    s = RNG.random(100)
    expected = fx.cross_entropy(Q, logits=Z, sample_weight=s)
    assert fx.cross_entropy(make(Q), logits=Z, sample_weight=make(s)) == expected
    losses = fx.cross_entropy(make(Q), logits=Z, sample_weight=make(s), reduction="none")
    np.testing.assert_array_equal(losses, fx.cross_entropy(Q, logits=Z, sample_weight=s, reduction="none"))


OF_16_BITS = ["bfloat16, torch", "bfloat16, ml_dtypes", "bfloat16, JAX", "float16, torch"]


@pytest.mark.parametrize("name", OF_16_BITS)
def test_class_indices_that_are_floats_of_16_bits(name: str) -> None:
    make = CONTAINERS[name][0]
    assert fx.cross_entropy(make(Y), logits=Z) == fx.cross_entropy(Y, logits=Z)
    assert fx.binary_cross_entropy(make(Y == 1), logits=Z[:, 0]) == fx.binary_cross_entropy(Y == 1, logits=Z[:, 0])
    with pytest.raises(fx.InvalidRowError, match="row 7 "):
        fx.cross_entropy(make(np.where(np.arange(100) == 7, 0.5, Y)), logits=Z)


@pytest.mark.parametrize("name", OF_16_BITS)
def test_distributions_and_weights_of_16_bits(name: str) -> None:
    make, q, s = CONTAINERS[name][0], np.array([[0.5, 0.25, 0.25, 0.0, 0.0]] * 100), np.arange(100) / 64
    expected = fx.cross_entropy(q, logits=Z, sample_weight=s, reduction="none")
    got = fx.cross_entropy(make(q), logits=Z, sample_weight=make(s), reduction="none")
    np.testing.assert_array_equal(got, expected)
    assert fx.cross_entropy(make(q), logits=Z, sample_weight=make(s)) == fx.cross_entropy(q, logits=Z, sample_weight=s)


@pytest.mark.parametrize("make", [spread, frozen, unaligned, OnlyArray, torch_of("float64")])
def test_binary_scores(make: Callable[[NDArray[Any]], Any]) -> None:
    z, y = Z[:, 0].copy(), (Y > 2).astype(np.int64)
    assert fx.binary_cross_entropy(y, logits=make(z)) == fx.binary_cross_entropy(y, logits=z)


def test_what_is_no_array_of_numbers_is_refused() -> None:
    """Each of these has an array that NumPy would make of it without a word, and a wrong number."""
    torch = pytest.importorskip("torch")
    hidden, s, y = np.arange(100) == 3, np.ones(100), np.eye(5, dtype=np.uint8)[Y]
    wrong: dict[str, Callable[[], Any]] = {
        "target is a masked array with 1 masked": lambda: fx.cross_entropy(np.ma.masked_array(Y, hidden), logits=Z),
        "predictions is a masked array": lambda: fx.cross_entropy(Y, logits=np.ma.masked_greater(Z, 1.0)),
        "weight is a masked array": lambda: fx.cross_entropy(Y, logits=Z, sample_weight=np.ma.masked_array(s, hidden)),
        "weight must hold numbers, got complex128": lambda: fx.cross_entropy(Y, logits=Z, sample_weight=s + 1j),
        "weight must hold numbers, got <U1": lambda: fx.cross_entropy(Y, logits=Z, sample_weight=["1"] * 100),
        "mask must hold true and false .or 1 and 0., got 0.5": lambda: fx.binary_cross_entropy(
            y, logits=Z, mask=np.full(Z.shape, 0.5)
        ),
        "mask must hold numbers, got <U1": lambda: fx.binary_cross_entropy(y, logits=Z, mask=np.full(Z.shape, "x")),
        "float8_e4m3fn": lambda: fx.cross_entropy(Y, logits=torch.from_numpy(Z.copy()).to(torch.float8_e4m3fn)),
        "layout sparse_coo": lambda: fx.cross_entropy(Y, logits=torch.from_numpy(Z.copy()).to_sparse()),
        "target holds Python objects": lambda: fx.cross_entropy(Y.astype(object), logits=Z),
    }
    for message, call in wrong.items():
        with pytest.raises(fx.UsageError, match=message):
            call()
    assert fx.cross_entropy(np.ma.masked_array(Y), logits=np.ma.masked_array(Z)) == fx.cross_entropy(Y, logits=Z)
    ones = np.ones(Z.shape, np.int8)
    assert fx.binary_cross_entropy(y, logits=Z, mask=ones) == fx.binary_cross_entropy(y, logits=Z)


def test_a_tensor_of_bfloat16_targets_is_not_widened_as_a_whole() -> None:
    torch = pytest.importorskip("torch")
    target = torch.zeros((100_000, 64), dtype=torch.bfloat16)
    tracemalloc.start()
    try:
        opened = open_arrays(target, target)
        next(iter(opened.read(opened.splits()[0])))
        assert tracemalloc.get_traced_memory()[1] < 100_000 * 64 * 4  # float32 of the whole takes 24 MiB
    finally:
        tracemalloc.stop()
