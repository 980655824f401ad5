"""Entropy, Kullback-Leibler divergence and focal loss against 50 digits and SciPy."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from test_simplex import Array, log_shares, log_softmax, off, run, softmax
from test_simplex import predictions as probabilities

from fastxent.kernels import scorecard as sc
from fastxent.kernels.divergence import entropy, focal, kl
from fastxent.kernels.softmax import along

CLASSES = [1, 2, 3, 10, 33, 257]
ANY = np.zeros(60, np.int64)


def logs(row: Array, form: str = "logits", normalize: bool = True) -> list[mpf]:
    """log p of one row of logits, probabilities or log-probabilities, 50 digits."""
    x = [mpf(float(v)) for v in row]
    if form == "probs":
        x = [mpmath.log(v) if v else mpf("-inf") for v in x]
    if not normalize and form != "logits":
        return x
    return log_shares(x)


def logits(classes: int, rows: int = 24) -> Array:
    rng = np.random.default_rng(classes)
    z = rng.standard_normal((rows, classes)) * 3
    z[0] = 0
    z[1, 0] = 40
    z[2, -1] = 90
    z[3, 1:] = -np.inf
    z[4] *= 100
    return z


@pytest.mark.parametrize("form", ["logits", "probs", "log_probs"])
def test_entropy(form: str) -> None:
    rows = entropy(form, "float64", False)
    for classes in CLASSES:
        z = logits(classes)
        x = {"logits": z, "probs": softmax(z), "log_probs": np.minimum(log_softmax(z), 0)}[form]
        if form != "probs":
            # Numbers whose differences are exact: what these lose is not the kernel's doing.
            x = x.astype(np.float32).astype(np.float64)
        for normalize in (False, True):
            # A greatest log-probability of -1e-13 makes the differences inexact: each costs its size in roundings.
            allowed = 60 if normalize and form == "log_probs" else 8
            got = run(rows, x, ANY[:24], normalize=normalize)
            assert not got.status.any()
            with mpmath.workdps(50):
                for i in range(8):
                    terms = [-mpmath.exp(v) * v if mpmath.isfinite(v) else mpf(0) for v in logs(x[i], form, normalize)]
                    assert off(got.entropy[i], mpmath.fsum(terms)) <= allowed, (classes, normalize, i)


def test_entropy_beside_another_kernel_and_by_column() -> None:
    z = logits(10).astype(np.float32)
    z[7, 1], z[8, 1], z[9] = np.nan, np.inf, -np.inf
    y = ANY[:24].copy()
    y[5] = -1
    plain = run(along("float32", "int64", True), z, y)
    both = run(along("float32", "int64", True), z, y, entropy("logits", "float32", False))
    assert np.array_equal(plain.status, both.status)
    assert np.array_equal(plain.loss, both.loss, equal_nan=True)
    alone = run(entropy("logits", "float32", True), z, y, columns=True)
    assert alone.status[7:10].tolist() == [sc.NAN_PREDICTION, sc.INFINITE_LOGIT, sc.ALL_MASKED]
    scored = both.status == sc.SCORED
    assert np.array_equal(alone.entropy[scored], both.entropy[scored])


def test_entropy_status_of_probabilities() -> None:
    x = np.array([[0.5, 0.5], [1.5, 0.5], [0.5, -0.1], [0, 0], [0, np.nan]])
    got = run(entropy("probs", "float64", False), x, ANY[:5])
    bad = sc.PROBABILITY_OUT_OF_RANGE
    assert got.status.tolist() == [0, bad, bad, 0, sc.NAN_PREDICTION]
    assert run(entropy("probs", "float64", False), x, ANY[:5], normalize=True).status[3] == sc.ZERO_MASS


def exact_kl(t: list[mpf], p: list[mpf]) -> mpf:
    """From logarithms: the sum of e^t (t - p) - e^t + e^p."""
    total = mpf(0)
    for a, b in zip(t, p, strict=True):
        if mpmath.isinf(a):
            total += mpmath.exp(b)
        else:
            total += mpmath.exp(a) * (a - b) - mpmath.exp(a) + mpmath.exp(b)
    return total


@pytest.mark.parametrize("apart", [1.0, 1e-2, 1e-4, 1e-7])
def test_kl_of_probabilities(apart: float) -> None:
    """However near the rows are, all digits of the divergence are right."""
    rows = kl("probs", "float64", "float64", False)
    for classes in CLASSES:
        rng = np.random.default_rng(classes)
        z = rng.standard_normal((12, classes)) * 3
        x, t = softmax(z), softmax(z + apart * rng.standard_normal(z.shape))
        for normalize in (False, True):
            got = run(rows, x, t, normalize=normalize)
            assert not got.status.any()
            with mpmath.workdps(50):
                for i in range(12):
                    true = exact_kl(logs(t[i], "probs", normalize), logs(x[i], "probs", normalize))
                    # A normalized share is a rounded number, and the divergence of neighbours feels that.
                    allowed = 200 * 2.0**-52 * true + (
                        0 if not normalize else mpf(2) ** -53 * mpmath.sqrt(true) + 1e-32
                    )
                    assert abs(mpf(float(got.loss[i])) - true) <= allowed, (classes, normalize, i)


def test_kl_of_logits() -> None:
    rows = kl("logits", "float64", "float64", False)
    for apart in (3.0, 1e-2, 1e-5):
        for classes in CLASSES:
            rng = np.random.default_rng(classes)
            z = rng.standard_normal((12, classes)) * 3
            w = z + apart * rng.standard_normal(z.shape)
            got = run(rows, z, w)
            with mpmath.workdps(50):
                for i in range(12):
                    true = exact_kl(logs(w[i]), logs(z[i]))
                    # The difference of the two normalizers has an error of a few ulp of the logits.
                    allowed = 1e-13 * true + 2.0**-48 * mpmath.sqrt(true) + mpf(10) ** -28
                    assert abs(mpf(float(got.loss[i])) - true) <= allowed, (apart, classes, i)


def test_kl_against_scipy_with_zeros() -> None:
    special = pytest.importorskip("scipy.special")
    x, _ = probabilities("probs", "float64", 33)
    t, _ = probabilities("probs", "float32", 33)
    t = t[::-1].copy()
    got = run(kl("probs", "float64", "float32", True), x, t, columns=True)
    true = special.kl_div(t.astype(float), x).sum(axis=1)
    assert np.allclose(got.loss, true, rtol=1e-13, atol=0)
    assert np.isinf(got.loss).any()
    assert (got.weight == 1).all()


def test_kl_status() -> None:
    x = np.array([[0.5, 0.5]] * 4)
    t = x.copy()
    x[0, 0], x[1, 0], t[2, 0], t[3, 1] = np.nan, 1.5, np.nan, -0.5
    got = run(kl("probs", "float64", "float64", False), x, t)
    expected = [sc.NAN_PREDICTION, sc.PROBABILITY_OUT_OF_RANGE, sc.INVALID_TARGET, sc.INVALID_TARGET]
    assert got.status.tolist() == expected
    z = np.array([[0.0, np.inf], [-np.inf, -np.inf], [0, -np.inf], [0, 0]])
    w = np.array([[0.0, 0.0], [0, 0], [0, 0], [-np.inf, 0]])
    got = run(kl("logits", "float64", "float64", False), z, w)
    assert got.status.tolist() == [sc.INFINITE_LOGIT, sc.ALL_MASKED, 0, 0]
    assert got.loss[2] == np.inf
    assert np.isclose(got.loss[3], np.log(2), rtol=1e-15)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 0.5, 2.5])
def test_focal(gamma: float) -> None:
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((40, 10)), rng.integers(0, 10, 40)
    z[np.arange(40), y] += np.linspace(-30, 90, 40)
    z[0, 0], y[0] = -np.inf, 0
    z[1, 1:], y[1] = -np.inf, 0
    got = run(along("float64", "int64", True), z, y, focal, gamma=gamma)
    plain = run(along("float64", "int64", True), z, y)
    assert got.loss[:2].tolist() == [np.inf, 0.0]
    for i in range(2, 40):
        loss = mpf(float(plain.loss[i]))
        # A power by exp and log carries gamma |log(1 - p_t)| more roundings.
        true = (-mpmath.expm1(-loss)) ** gamma * loss
        assert off(got.loss[i], true) <= 12 + (0 if gamma == int(gamma) else gamma * 80), (gamma, i)
