"""Rows of probabilities and log-probabilities against 50 digits, scikit-learn, torch and other layouts."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import ml_dtypes
import mpmath
import numpy as np
import pytest
from mpmath import mpf
from numpy.typing import NDArray

from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import Problem, new_work
from fastxent.kernels.rows.probs import complement, hard
from tests import naive

Array = NDArray[Any]

NONE = np.zeros(0)
DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
KINDS = list(DTYPES)
CLASSES = [1, 2, 3, 10, 31, 32, 33, 100, 257, 1000]
FORMS = ["probs", "log_probs"]


class Scores:
    """What a row kernel wrote, by name."""

    def __init__(self, real: Array, whole: Array, status: Array) -> None:
        self.loss, self.weight, self.p_target, self.confidence = real[0], real[1], real[2], real[3]
        self.brier, self.entropy, self.margin = real[4], real[5], real[7]
        self.target, self.predicted, self.rank = whole[:3]
        self.status = status


def problem_of(scores: Array, target: Array, **options: Any) -> tuple[Problem, list[Array]]:
    """A problem, and the arrays it points to."""
    target = np.ascontiguousarray(target)
    fields: dict[str, Any] = {
        "scores": scores.ctypes.data, "stride": scores.strides[0], "classes": scores.shape[1],
        "target": target.ctypes.data, "target_stride": target.strides[0], "mask": 0, "mask_stride": 0,
        "has_ignore": False, "ignore": 0, "smoothing": 0.0, "clip": -1.0, "normalize": False, "parameters": np.zeros(0),
        "class_weight": NONE, "pos_weight": NONE,
    }  # fmt: skip
    return Problem(**(fields | options)), [scores, target]


def run(rows: Any, scores: Array, target: Array, *after: Any, **options: Any) -> Scores:
    """Score all rows, block by block; ``after`` are row kernels that look at the same scorecard."""
    problem, keep = problem_of(scores, target, **options)
    card, work = sc.new_scorecard(), new_work(problem.classes, scores.itemsize)
    parts = []
    for lo in range(0, len(scores), sc.BLOCK):
        n = min(sc.BLOCK, len(scores) - lo)
        rows(problem, lo, n, card, work)
        for more in after:
            more(problem, lo, n, card, work)
        parts.append([a[..., :n].copy() for a in card])
    del keep
    return Scores(*(np.concatenate(column, axis=-1) for column in zip(*parts, strict=True)))


def same_bits(a: Scores, b: Scores, *names: str) -> None:
    assert np.array_equal(a.status, b.status)
    scored = a.status == sc.SCORED
    for name in names:
        assert np.array_equal(getattr(a, name)[scored], getattr(b, name)[scored]), name


LOSS_ONLY = ("loss", "margin", "target")
ALL = (*LOSS_ONLY, "p_target", "confidence", "brier", "predicted", "rank")


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def log_softmax(z: Array) -> Array:
    d = z - z.max(axis=1, keepdims=True)
    return d - np.log(np.exp(d).sum(axis=1, keepdims=True))


@cache
def predictions(form: str, kind: str, classes: int, rows: int = 40) -> tuple[Array, Array]:
    """Rows as a model gives them, with ties, zeros and very confident ones among them; never no mass."""
    rng = np.random.default_rng(classes)
    z = rng.standard_normal((rows, classes)) * 3
    y = rng.integers(0, classes, rows)
    z[0] = 0.0
    z[1] = np.round(z[1])
    z[2, y[2]] += 12
    z[3, y[3]] += 60
    z[4, rng.integers(classes)] += 50
    z[5, 1:] = -np.inf
    z[6, -1:] = 900
    x = softmax(z) if form == "probs" else np.minimum(log_softmax(z), 0.0)
    return x.astype(DTYPES[kind]), y


def exact(form: str, row: Array, t: int, normalize: bool) -> dict[str, mpf]:
    """The scores of one row by definition, 50 digits, from the numbers that are stored."""
    with mpmath.workdps(50):
        stored = [mpf(float(v)) for v in row]
        p = stored if form == "probs" else [mpmath.exp(v) for v in stored]
        margin = mpmath.fsum(p)
        if normalize:
            others = mpmath.fsum(p[:t] + p[t + 1 :])
            loss = mpmath.log1p(others / p[t]) if p[t] else mpf("inf")
            p = [v / margin for v in p]
            wrong = others / margin
        else:
            loss = -stored[t] if form == "log_probs" else (-mpmath.log(p[t]) if p[t] else mpf("inf"))
            wrong = 1 - p[t]
        brier = wrong**2 + mpmath.fsum(v * v for j, v in enumerate(p) if j != t)
        return {"loss": loss, "p_target": p[t], "confidence": max(p), "brier": brier, "margin": margin}


def log_shares(x: list[mpf]) -> list[mpf]:
    """log of exp(x_j) / sum exp(x): all digits of each, however near 0 the greatest lies."""
    top = max(x)
    rest = x.copy()
    rest.remove(top)
    log_mass = mpmath.log1p(mpmath.fsum(mpmath.exp(v - top) for v in rest))
    return [v - top - log_mass for v in x]


def off(value: float, true: mpf) -> float:
    """The error in ulp of the true value (or of 2^-1000, if that is larger)."""
    if mpmath.isinf(true) or value == np.inf:
        return 0.0 if value == true else np.inf
    return float(abs(mpf(float(value)) - true) / math.ulp(max(abs(float(true)), 2.0**-1000)))


@pytest.mark.parametrize(
    ("form", "kind"), [("probs", k) for k in KINDS] + [("log_probs", "float32"), ("log_probs", "float64")]
)
def test_rows_against_50_digits(form: str, kind: str) -> None:
    rows = hard(form, kind, "int64", True)
    for classes in CLASSES:
        x, y = predictions(form, kind, classes)
        wide = x.astype(np.float64)
        order = np.argsort(-wide, axis=1, kind="stable")
        for normalize in (False, True):
            got = run(rows, x, y, normalize=normalize)
            assert not got.status.any()
            assert np.array_equal(got.target, y)
            assert np.array_equal(got.rank, np.argmax(order == y[:, None], axis=1))
            assert np.array_equal(got.predicted, wide.argmax(axis=1))
            for i in range(8 if classes > 100 else 12):
                true = exact(form, x[i], y[i], normalize)
                # Normalizing is a softmax of the logarithms, whose differences may be no float64 numbers.
                rounded = (
                    naive.spread_bound(wide[i], int(y[i]))
                    if form == "log_probs" and normalize and wide[i, y[i]] > -np.inf
                    else 0.0
                )
                # dp / p = -dL, and the bound on the loss is relative.
                moved = rounded * max(1.0, float(true["loss"])) if rounded else 0.0
                # log p_t -> p_t multiplies the error of exp by nothing, its argument being exact.
                for name, allowed in (
                    ("loss", 4 + rounded),
                    ("p_target", 6 + moved),
                    ("confidence", 6 + moved),
                    ("brier", 16),
                    ("margin", 4),
                ):
                    error = off(getattr(got, name)[i], true[name])
                    assert error <= allowed, (classes, normalize, i, name, error)


@pytest.mark.parametrize("form", FORMS)
def test_layout_and_what_is_asked_do_not_change_bits(form: str) -> None:
    everything = hard(form, "float32", "int64", True)
    loss_only = hard(form, "float32", "int64", False)
    # The ends of long rows: of up to 8, 16, 24 and 32 lanes.
    for classes in (*CLASSES, 72, 73, 88, 127):
        x, y = predictions(form, "float32", classes, 61)
        x, y = x.copy(), y.copy()
        x[10, -1] = np.nan
        x[11, 0] = 1.5
        y[12] = classes
        for normalize in (False, True):
            a = run(everything, x, y, normalize=normalize)
            same_bits(a, run(loss_only, x, y, normalize=normalize), *LOSS_ONLY)
            # A row's bits are its own: alone, and elsewhere.
            for i in (0, 3, 40):
                alone = run(everything, x[i : i + 1], y[i : i + 1], normalize=normalize)
                assert all(getattr(alone, name)[0] == getattr(a, name)[i] for name in ALL)
            turned = run(everything, x[::-1].copy(), y[::-1].copy(), normalize=normalize)
            assert np.array_equal(turned.loss[::-1][a.status == 0], a.loss[a.status == 0])


def test_more_than_a_block() -> None:
    x, y = predictions("probs", "float32", 10, 40)
    many = run(hard("probs", "float32", "int64", True), np.tile(x, (60, 1)), np.tile(y, 60))
    assert np.array_equal(many.loss.reshape(60, 40), np.tile(many.loss[:40], (60, 1)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("classes", [2, 3, 100])
def test_what_is_no_probability(form: str, classes: int) -> None:
    rows = hard(form, "float32", "int64", True)
    low, high = (-0.5, 1.001) if form == "probs" else (-0.5, 0.01)
    cases = [
        (0, np.nan, sc.NAN_PREDICTION),
        (1, np.nan, sc.NAN_PREDICTION),
        (0, np.inf, sc.PROBABILITY_OUT_OF_RANGE),
        (1, high, sc.PROBABILITY_OUT_OF_RANGE),
        (0, high, sc.PROBABILITY_OUT_OF_RANGE),
        (1, low, sc.PROBABILITY_OUT_OF_RANGE if form == "probs" else sc.SCORED),
        (0, -np.inf, sc.PROBABILITY_OUT_OF_RANGE if form == "probs" else sc.SCORED),
        (1, 0.0, sc.SCORED),
        (0, -0.0, sc.SCORED),
    ]
    x = np.full((len(cases) + 3, classes), 1 / classes if form == "probs" else -1.0, np.float32)
    for i, (at, value, _) in enumerate(cases):
        x[i, at] = value
    y = np.zeros(len(x), np.int64)
    y[-3:] = -100, -1, classes
    x[-3] = np.nan
    for normalize in (False, True):
        got = run(rows, x, y, has_ignore=True, ignore=-100, normalize=normalize)
        expected = [c[2] for c in cases] + [sc.IGNORED, sc.LABEL_OUT_OF_RANGE, sc.LABEL_OUT_OF_RANGE]
        assert got.status.tolist() == expected


@pytest.mark.parametrize("form", FORMS)
def test_edges(form: str) -> None:
    """A probability of 0 at the target, beside it, everywhere; a certain row; one class."""
    rows = hard(form, "float32", "int64", True)
    zero, one = (0.0, 1.0) if form == "probs" else (-np.inf, 0.0)
    x = np.array([[zero, one, zero], [zero, one, zero], [zero, zero, zero]], np.float32)
    y = np.array([1, 0, 2])
    for normalize in (False, True):
        got = run(rows, x, y, normalize=normalize)
        assert got.loss[:2].tolist() == [0.0, np.inf]
        assert not np.signbit(got.loss[0])
        assert got.p_target[:2].tolist() == [1.0, 0.0]
        assert got.brier[:2].tolist() == [0.0, 2.0]
        assert got.margin.tolist() == [1.0, 1.0, 0.0]
        assert got.status.tolist() == [0, 0, sc.ZERO_MASS if normalize else 0]
    assert run(rows, x, y).loss[2] == np.inf
    one_class = run(rows, np.full((3, 1), one, np.float32), np.zeros(3, np.int64))
    assert one_class.loss.tolist() == [0.0] * 3
    assert one_class.brier.tolist() == [0.0] * 3


def test_rounding_excess_of_log_probabilities() -> None:
    x = np.array([[1e-7, -20.0], [2e-6, -20.0]], np.float32)
    got = run(hard("log_probs", "float32", "int64", True), x, np.zeros(2, np.int64))
    assert got.status.tolist() == [sc.SCORED, sc.PROBABILITY_OUT_OF_RANGE]
    assert got.loss[0] == 0.0
    strict = run(hard("log_probs", "float64", "int64", True), x.astype(float), np.zeros(2, np.int64))
    assert strict.status.tolist() == [sc.PROBABILITY_OUT_OF_RANGE] * 2


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_confident_rows_keep_relative_accuracy_when_normalized(kind: str) -> None:
    rng = np.random.default_rng(3)
    z = rng.standard_normal((30, 33))
    y = rng.integers(0, 33, 30)
    z[np.arange(30), y] += np.linspace(10, 80, 30)
    x = softmax(z).astype(kind)
    got = run(hard("probs", kind, "int64", True), x, y, normalize=True)
    lost = run(hard("probs", kind, "int64", True), x, y)
    with mpmath.workdps(50):
        for i in range(30):
            assert off(got.loss[i], exact("probs", x[i], y[i], True)["loss"]) <= 4
    true = -log_softmax(z)[np.arange(30), y]
    if kind == "float32":
        assert abs(got.loss[5] / true[5] - 1) < 1e-6 < abs(lost.loss[5] / true[5] - 1)
    assert got.loss[-1] < 1e-30 < got.loss[-1] * 1e8


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_scikit_learn(kind: str) -> None:
    from sklearn import metrics

    x, y = predictions("probs", kind, 10, 300)
    assert set(y) == set(range(10))
    got = run(hard("probs", kind, "int64", True), x, y, clip=float(np.finfo(kind).eps))
    assert np.isclose(got.loss.mean(), metrics.log_loss(y, x), rtol=1e-6 if kind == "float32" else 1e-14)
    clipped = np.clip(x.astype(float), np.finfo(kind).eps, 1 - np.finfo(kind).eps)
    assert np.allclose(got.loss, -np.log(clipped[np.arange(300), y]), rtol=1e-14, atol=0)


def test_torch() -> None:
    torch = pytest.importorskip("torch")
    x, y = predictions("log_probs", "float64", 33)
    got = run(hard("log_probs", "float64", "int64", True), x, y)
    theirs = torch.nn.functional.nll_loss(torch.from_numpy(x), torch.from_numpy(y), reduction="none")
    assert np.array_equal(got.loss, theirs.numpy())


def test_complement() -> None:
    for loss in [0.0, *np.logspace(-300, 2.8, 400), 0.6999999, 0.7, 0.70000001, np.inf]:
        true = mpf(1) if loss == np.inf else -mpmath.expm1(-mpf(float(loss)))
        assert off(complement(float(loss)), true) <= 4, loss
