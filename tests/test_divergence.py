"""Entropy and Kullback-Leibler divergence against 50 digits and SciPy."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from test_simplex import Array, log_shares, log_softmax, off, run, softmax
from test_simplex import predictions as probabilities

from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.rows.entropy import entropy
from fastxent.kernels.rows.kl_divergence import kl
from fastxent.kernels.rows.softmax_along import along

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
    rows = entropy(form, "float64")
    for classes in CLASSES:
        z = logits(classes)
        x = {"logits": z, "probs": softmax(z), "log_probs": np.minimum(log_softmax(z), 0)}[form]
        for normalize in (False, True):
            got = run(rows, x, ANY[:24], normalize=normalize)
            assert not got.status.any()
            with mpmath.workdps(50):
                for i in range(8):
                    terms = [-mpmath.exp(v) * v if mpmath.isfinite(v) else mpf(0) for v in logs(x[i], form, normalize)]
                    assert off(got.entropy[i], mpmath.fsum(terms)) <= 4, (classes, normalize, i)


def test_entropy_beside_another_kernel_and_alone() -> None:
    z = logits(10).astype(np.float32)
    z[7, 1], z[8, 1], z[9] = np.nan, np.inf, -np.inf
    y = ANY[:24].copy()
    y[5] = -1
    plain = run(along("float32", "int64", True), z, y)
    both = run(along("float32", "int64", True), z, y, entropy("logits", "float32"))
    assert np.array_equal(plain.status, both.status)
    assert np.array_equal(plain.loss, both.loss, equal_nan=True)
    alone = run(entropy("logits", "float32"), z, y)
    assert alone.status[7:10].tolist() == [sc.NAN_PREDICTION, sc.INFINITE_LOGIT, sc.ALL_MASKED]
    scored = both.status == sc.SCORED
    assert np.array_equal(alone.entropy[scored], both.entropy[scored])


def test_entropy_status_of_probabilities() -> None:
    x = np.array([[0.5, 0.5], [1.5, 0.5], [0.5, -0.1], [0, 0], [0, np.nan]])
    got = run(entropy("probs", "float64"), x, ANY[:5])
    bad = sc.PROBABILITY_OUT_OF_RANGE
    assert got.status.tolist() == [0, bad, bad, 0, sc.NAN_PREDICTION]
    assert run(entropy("probs", "float64"), x, ANY[:5], normalize=True).status[3] == sc.ZERO_MASS


def exact_kl(t: list[mpf], p: list[mpf]) -> mpf:
    """From logarithms: the sum of e^t (t - p) - e^t + e^p."""
    total = mpf(0)
    for a, b in zip(t, p, strict=True):
        if mpmath.isinf(a):
            total += mpmath.exp(b)
        else:
            total += mpmath.exp(a) * (a - b) - mpmath.exp(a) + mpmath.exp(b)
    return total


def near(value: float, true: mpf, floor: float = 0.0) -> bool:
    """Within 2 ulp, or what the documentation says of probabilities that are divided by their sums."""
    return off(value, true) <= 2 or abs(value - true) <= floor


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("apart", [3.0, 0.3, 0.1, 1e-2, 1e-4, 1e-7])
def test_kl_of_probabilities(apart: float, kind: str) -> None:
    """However near the rows are, all digits of the divergence are right, rounded sums notwithstanding."""
    rows = kl("probs", kind, kind)
    for classes in CLASSES:
        rng = np.random.default_rng(classes)
        z = rng.standard_normal((24, classes)) * 3
        x, t = softmax(z).astype(kind), softmax(z + apart * rng.standard_normal(z.shape)).astype(kind)
        for normalize in (False, True):
            got = run(rows, x, t, normalize=normalize)
            assert not got.status.any()
            with mpmath.workdps(60):
                for i in range(24 if classes < 257 else 4):
                    true = exact_kl(logs(t[i], "probs", normalize), logs(x[i], "probs", normalize))
                    assert near(got.loss[i], true, 2.0**-156 if normalize else 0.0), (classes, normalize, i)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("apart", [30.0, 3.0, 0.3, 0.1, 1e-2, 1e-4, 1e-7, 1e-15])
def test_kl_of_logits(apart: float, kind: str) -> None:
    rows = kl("logits", kind, kind)
    for classes in CLASSES:
        rng = np.random.default_rng(classes)
        z = rng.standard_normal((24, classes)) * 3
        w = z + apart * rng.standard_normal(z.shape)
        # What is added to a whole row changes nothing; differences of such logits are not exact.
        z, w = (z - 50.0).astype(kind), (w + 7.0).astype(kind)
        got = run(rows, z, w)
        with mpmath.workdps(60):
            for i in range(24 if classes < 257 else 4):
                true = exact_kl(logs(w[i]), logs(z[i]))
                assert near(got.loss[i], true), (classes, i)


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("apart", [30.0, 0.3, 1e-3, 1e-6])
def test_kl_of_log_probs(apart: float, kind: str) -> None:
    """As they are stored, rows that do not sum to 1 included; normalized as logits are."""
    rows = kl("log_probs", kind, kind)
    for classes in CLASSES:
        rng = np.random.default_rng(classes)
        z = rng.standard_normal((24, classes)) * 3
        x, t = (
            np.minimum(log_softmax(v) - (0.3 * np.arange(24) / 24)[:, None], 0).astype(kind)
            for v in (z, z + apart * rng.standard_normal(z.shape))
        )
        x[1], t[2, 0], t[3] = -700.0, -np.inf, -np.inf
        got = run(rows, x, t)
        assert not got.status.any()
        with mpmath.workdps(60):
            for i in range(24 if classes < 257 else 5):
                forms = (logs(row[i], "log_probs", False) for row in (t, x))
                assert near(got.loss[i], exact_kl(*forms)), (classes, i)
        # Normalized, they are logits: the same bits.
        plain, normal = run(kl("logits", kind, kind), x, t), run(rows, x, t, normalize=True)
        fit = plain.status == 0
        assert fit.sum() >= 22
        assert np.array_equal(normal.status == 0, fit)
        assert normal.loss[fit].tobytes() == plain.loss[fit].tobytes()


@pytest.mark.parametrize("form", ["probs", "logits"])
def test_kl_of_extremes(form: str) -> None:
    """Shares apart by more than float64 reaches, subnormal ones, and rows of no weight worth naming."""
    rows = kl(form, "float64", "float64")
    x = np.array([[1.0, 5e-324], [5e-324, 1.0], [1.0, 1e-290], [1e-310, 0.5], [0.25, 0.25], [3e-310, 1e-310]])
    if form == "logits":
        x = np.array([[0.0, -800.0], [-745.0, 0.0], [0.0, -690.0], [-30.0, 1e3], [0.0, 0.0], [-1e3, -1e3 - 1]])
    for t in (x[::-1].copy(), x[:, ::-1].copy(), x):
        got = run(rows, x, t, normalize=True)
        assert not got.status.any()
        with mpmath.workdps(700):
            for i in range(len(x)):
                true = exact_kl(logs(t[i], form), logs(x[i], form))
                assert near(got.loss[i], true), i


def test_kl_and_entropy_of_many_classes() -> None:
    classes = 200_000
    rng = np.random.default_rng(4)
    z = (rng.standard_normal((1, classes)) * 3).astype(np.float32)
    w = (z + rng.standard_normal(z.shape)).astype(np.float32)
    divergence = run(kl("logits", "float32", "float32"), z, w)
    disorder = run(entropy("logits", "float32"), z, ANY[:1])
    with mpmath.workprec(110):
        a, b = ([mpf(v) for v in row[0].tolist()] for row in (z, w))
        p, t = ([mpmath.exp(v) for v in row] for row in (a, b))
        p_mass, t_mass = mpmath.fsum(p), mpmath.fsum(t)
        shift = mpmath.log(t_mass) - mpmath.log(p_mass)
        true = mpmath.fsum(q * (v - u) for q, u, v in zip(t, a, b, strict=True)) / t_mass - shift
        assert off(divergence.loss[0], true) <= 2
        true = mpmath.log(p_mass) - mpmath.fsum(q * u for q, u in zip(p, a, strict=True)) / p_mass
        assert off(disorder.entropy[0], true) <= 4


def test_kl_against_scipy_with_zeros() -> None:
    from scipy import special

    x, _ = probabilities("probs", "float64", 33)
    t, _ = probabilities("probs", "float32", 33)
    t = t[::-1].copy()
    got = run(kl("probs", "float64", "float32"), x, t)
    true = special.kl_div(t.astype(float), x).sum(axis=1)
    assert np.allclose(got.loss, true, rtol=1e-13, atol=0)
    assert np.isinf(got.loss).any()
    assert (got.weight == 1).all()


def test_kl_status() -> None:
    x = np.array([[0.5, 0.5]] * 4)
    t = x.copy()
    x[0, 0], x[1, 0], t[2, 0], t[3, 1] = np.nan, 1.5, np.nan, -0.5
    got = run(kl("probs", "float64", "float64"), x, t)
    expected = [sc.NAN_PREDICTION, sc.PROBABILITY_OUT_OF_RANGE, sc.INVALID_TARGET, sc.INVALID_TARGET]
    assert got.status.tolist() == expected
    lp = np.log([[0.5, 0.5]] * 6)
    lt = lp.copy()
    lp[0, 0], lp[1, 1], lp[2], lt[3, 0], lt[4, 1] = np.nan, 1e-9, -np.inf, 1e-9, np.nan
    expected = [sc.NAN_PREDICTION, sc.PROBABILITY_OUT_OF_RANGE, 0, sc.INVALID_TARGET, sc.INVALID_TARGET, 0]
    got = run(kl("log_probs", "float64", "float64"), lp, lt)
    assert got.status.tolist() == expected
    assert got.loss[2] == np.inf
    assert got.loss[5] == 0.0
    expected[2] = sc.ZERO_MASS
    assert run(kl("log_probs", "float64", "float64"), lp, lt, normalize=True).status.tolist() == expected
    # A log-softmax of a narrow type may exceed 0 by a rounding.
    above = np.float32([[1e-7, -20.0]])
    assert run(kl("log_probs", "float32", "float32"), above, above).status.tolist() == [0]
    z = np.array([[0.0, np.inf], [-np.inf, -np.inf], [0, -np.inf], [0, 0]])
    w = np.array([[0.0, 0.0], [0, 0], [0, 0], [-np.inf, 0]])
    got = run(kl("logits", "float64", "float64"), z, w)
    assert got.status.tolist() == [sc.INFINITE_LOGIT, sc.ALL_MASKED, 0, 0]
    assert got.loss[2] == np.inf
    assert np.isclose(got.loss[3], np.log(2), rtol=1e-15)
