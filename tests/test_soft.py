"""Soft targets, smoothing and class weights against 50 digits, torch, and integer labels bit by bit."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from test_simplex import ALL, CLASSES, Array, log_shares, off, problem_of, run, same_bits
from test_simplex import predictions as probabilities

from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import new_work
from fastxent.kernels.rows.probs import hard
from fastxent.kernels.rows.soft_targets import smoothed, soft, weigh
from fastxent.kernels.rows.softmax_along import along

FORMS = ["logits", "probs", "log_probs"]


def predictions(form: str, kind: str, classes: int) -> tuple[Array, Array]:
    if form != "logits":
        return probabilities(form, kind, classes)
    rng = np.random.default_rng(classes)
    z, y = rng.standard_normal((40, classes)) * 3, rng.integers(0, classes, 40)
    z[0] = 0
    z[1] += 30_000  # beyond what a table of powers can be shifted by
    z[2, y[2]] += 70
    z[3] *= 200
    z[4, 1:] = -np.inf
    return z.astype(kind), y


def targets(classes: int, rows: int = 40) -> Array:
    """Distributions, among them one-hot ones, zeros, ones that do not sum to 1 and nearly one-hot ones."""
    rng = np.random.default_rng(classes + 1)
    t = np.float32(rng.dirichlet(np.full(classes, 0.5), rows))
    t = np.minimum(t, 1)
    t[5] = 0
    t[6:12] = np.eye(classes)[rng.integers(0, classes, 6)]
    t[12] = 1
    t[13] = 0.25
    t[14, 0] = 1
    return t


def exact(form: str, row: Array, t: Array, e: float, w: Array | None, normalize: bool) -> dict[str, mpf]:
    """Loss and Brier score by definition, 50 digits."""
    with mpmath.workdps(50):
        x = [mpf(float(v)) for v in row]
        inf = mpf("inf")
        if form == "probs":
            x = [mpmath.log(v) if v else -inf for v in x]
        if form == "logits" or normalize:
            x = log_shares(x)
        size = len(x)
        a = [mpf(float(v)) * (1 - mpf(e)) + mpf(e) / size for v in t]
        if w is not None:
            a = [u * mpf(float(v)) for u, v in zip(a, w, strict=True)]
        loss = mpmath.fsum(-u * v if u else mpf(0) for u, v in zip(a, x, strict=True))
        brier = mpmath.fsum((mpmath.exp(v) - mpf(float(u))) ** 2 for u, v in zip(t, x, strict=True))
        return {"loss": loss, "brier": brier}


@pytest.mark.parametrize("form", FORMS)
def test_against_50_digits(form: str) -> None:
    kind = "float32" if form != "probs" else "float64"
    dense = soft(form, kind, "float32", True)
    labels = smoothed(form, kind, "int64", True)
    for classes in CLASSES:
        x, y = predictions(form, kind, classes)
        t, one_hot = targets(classes), np.eye(classes)[y]
        w = np.random.default_rng(1).random(classes) * 3
        w[0] = 0.0
        for e, weight, normalize in ((0.0, None, False), (0.125, None, True), (0.125, w, False), (0.0, w, True)):
            options = {"smoothing": e, "normalize": normalize}
            if weight is not None:
                options["class_weight"] = weight
            a, b = run(dense, x, t, **options), run(labels, x, y, **options)
            assert not a.status.any()
            assert not b.status.any()
            assert (a.weight == 1).all()
            assert np.array_equal(b.weight, np.ones(40) if weight is None else weight[y])
            assert np.array_equal(a.target, t.argmax(axis=1))
            for i in range(4 if classes > 100 else 15):
                for got, target in ((a, t[i]), (b, one_hot[i])):
                    true = exact(form, x[i], target, e, weight, normalize)
                    assert off(got.loss[i], true["loss"]) <= 4, (classes, e, i)
                    # A probability is good to a few ulp, and so is its distance to a target, but of 1.
                    assert abs(got.brier[i] - float(true["brier"])) <= 1e-14 * max(1.0, float(true["brier"]))


def test_logits_whose_differences_are_rounded() -> None:
    """Far from 0, or of very different size, z - max z is no float64; without what is lost this costs 30 ulp."""
    rng = np.random.default_rng(8)
    z = rng.standard_normal((60, 3))
    z[:, 0] += np.linspace(5, 60, 60)
    t = np.zeros((60, 3))
    t[:, 0] = 0.25
    x = (z + rng.standard_normal((60, 1))).astype(np.float64)
    x[:20] *= -1.0
    t[:20] = t[:20, ::-1]
    x[:20, 0] = -60.0
    small = np.float32(z)
    small[:, 0] = 1e-9
    small[:, 1:] -= 25
    for logits in (x, small):
        got = run(soft("logits", logits.dtype.name, "float64", False), logits, t)
        for i in range(60):
            assert off(got.loss[i], exact("logits", logits[i], t[i], 0.0, None, False)["loss"]) <= 4, i


@pytest.mark.parametrize("form", FORMS)
def test_many_classes(form: str) -> None:
    classes = 200_000
    rng = np.random.default_rng(2)
    z = rng.standard_normal((1, classes)) * 3
    e = np.exp(z)
    x = {"logits": z, "probs": e / e.sum(), "log_probs": z - 17.0}[form].astype(np.float32)
    t = rng.dirichlet(np.full(classes, 0.1), 1)
    w = rng.random(classes)
    got = run(soft(form, "float32", "float64", False), x, t, smoothing=0.1, class_weight=w)
    with mpmath.workprec(90):
        values = [mpf(v) for v in x[0].tolist()]
        if form == "logits":
            mass = mpmath.log(mpmath.fsum(map(mpmath.exp, values)))
            values = [v - mass for v in values]
        elif form == "probs":
            values = [mpmath.log(v) for v in values]
        keep = 1 - mpf(0.1)
        share = mpf(0.1) / classes
        terms = zip(w.tolist(), t[0].tolist(), values, strict=True)
        true = -mpmath.fsum(a * (b * keep + share) * v for a, b, v in terms)
        assert off(got.loss[0], true) <= 4


@pytest.mark.parametrize("form", FORMS)
def test_one_hot_is_the_integer_label_bit_by_bit(form: str) -> None:
    kind = "float32" if form != "probs" else "float64"
    plain = along(kind, "int64", True) if form == "logits" else hard(form, kind, "int64", True)
    for classes in CLASSES:
        x, y = predictions(form, kind, classes)
        t = np.eye(classes, dtype=np.float32)[y]
        for normalize in (False, True):
            a = run(plain, x, y, normalize=normalize)
            same_bits(a, run(soft(form, kind, "float32", True), x, t, normalize=normalize), *ALL)
            same_bits(a, run(smoothed(form, kind, "int64", True), x, y, normalize=normalize), *ALL)
            # A class weight of 1 changes no bit either.
            ones = run(smoothed(form, kind, "int64", True), x, y, normalize=normalize, class_weight=np.ones(classes))
            same_bits(a, ones, *ALL)


def test_class_weights_of_1_change_no_bit_of_distributions() -> None:
    """Rows without weights and smoothing take a shorter way, also where a class is masked."""
    rows = soft("logits", "float32", "float32", False)
    for classes in (2, 7, 31, 100, 257, 600):
        x, t = np.float32(np.random.default_rng(classes).normal(0, 3, (40, classes))), targets(classes)
        x[::3, -1], t[::3, -1] = -np.inf, 0.0
        a = run(rows, x, t)
        same_bits(a, run(rows, x, t, class_weight=np.ones(classes)), "loss", "weight", "status")
        assert np.isfinite(a.loss).all()


def test_integer_targets() -> None:
    for classes in (1, 10, 33, 257):
        x, _ = predictions("logits", "float32", classes)
        t = targets(classes)
        bits = (t > 0.3).astype(np.uint8)
        b = run(soft("logits", "float32", "uint8", False), x, bits, smoothing=0.1)
        c = run(soft("logits", "float32", "float32", True), x, bits.astype(np.float32), smoothing=0.1)
        same_bits(b, c, "loss", "weight", "target")


@pytest.mark.parametrize("classes", [3, 20])
@pytest.mark.parametrize(("target", "full"), [("float32", True), ("float64", True), ("float64", False)])
def test_status(classes: int, target: str, full: bool) -> None:
    rows = soft("logits", "float32", target, full)
    x = np.zeros((12, classes), np.float32)
    t = np.full((12, classes), 1 / classes, target)
    t[0, 1], t[1, -1], t[2, 0], t[3, -1], t[10, 0] = np.nan, -0.1, 1.1, np.inf, -np.float32(np.nan)
    x[4, 1], x[5, -1], x[6] = np.nan, np.inf, -np.inf
    x[7, 0] = -np.inf
    t[9], t[11], t[11, -1] = -0.0, -0.0, 0.5
    expected = [sc.INVALID_TARGET] * 4 + [sc.NAN_PREDICTION, sc.INFINITE_LOGIT, sc.ALL_MASKED, 0, 0, 0]
    a = run(rows, x, t)
    assert a.status.tolist() == [*expected, sc.INVALID_TARGET, 0]
    assert a.loss[7] == np.inf
    assert a.loss[9] == 0.0
    assert not full or a.target[[9, 11]].tolist() == [0, classes - 1]


def test_status_of_labels() -> None:
    y = np.array([0, -100, 3, 1])
    short = np.zeros((4, 3), np.float32)
    b = run(smoothed("logits", "float32", "int64", True), short, y, smoothing=0.1, has_ignore=True, ignore=-100)
    assert b.status.tolist() == [0, sc.IGNORED, sc.LABEL_OUT_OF_RANGE, 0]


@pytest.mark.parametrize("form", FORMS)
def test_no_target_on_an_impossible_class_adds_nothing(form: str) -> None:
    """0 x inf is 0; a target on a class of probability 0 costs infinity."""
    kind = "float32" if form != "probs" else "float64"
    none, half = {"logits": (-np.inf, 0.0), "probs": (0.0, 0.5), "log_probs": (-np.inf, -np.log(2.0))}[form]
    x = np.array([[half, half, none]] * 3, kind)
    t = np.array([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25], [0, 0, 0]], np.float32)
    got = run(soft(form, kind, "float32", True), x, t)
    assert np.allclose(got.loss[:1], np.log(2.0), rtol=1e-7)
    assert got.loss[1:].tolist() == [np.inf, 0.0]
    weight = np.array([1.0, 1.0, 0.0])
    free = run(smoothed(form, kind, "int64", True), x, np.array([0, 1, 2]), smoothing=0.3, class_weight=weight)
    assert np.isfinite(free.loss).all()


def test_weigh() -> None:
    x, y = predictions("logits", "float32", 10)
    w = np.arange(10.0)
    problem, keep = problem_of(x, y)
    card = sc.new_scorecard()
    along("float32", "int64", True)(problem, 0, 40, card, new_work(10, 4))
    before = card.real[sc.LOSS, :40].copy()
    weigh(card, w, 40)
    del keep
    assert np.array_equal(card.real[sc.WEIGHT, :40], w[y])
    with np.errstate(invalid="ignore"):
        assert np.array_equal(card.real[sc.LOSS, :40], np.where(w[y] == 0, 0, w[y] * before))


@pytest.mark.parametrize("e", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("weighted", [False, True])
def test_torch(e: float, weighted: bool) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((40, 10)).astype(np.float32), rng.integers(0, 10, 40)
    t = rng.dirichlet(np.ones(10), 40).astype(np.float32)
    y[3] = -100
    w = rng.random(10)
    options: dict[str, Any] = {"smoothing": e} | ({"class_weight": w} if weighted else {})
    theirs = {"label_smoothing": e, "weight": torch.from_numpy(w) if weighted else None}
    z = torch.from_numpy(x.astype(np.float64))
    cross_entropy = torch.nn.functional.cross_entropy
    hard_rows = run(smoothed("logits", "float32", "int64", True), x, y, has_ignore=True, ignore=-100, **options)
    kept = hard_rows.status == sc.SCORED
    assert kept.sum() == 39
    rows = cross_entropy(z, torch.from_numpy(y), reduction="none", **theirs).numpy()
    assert np.allclose(hard_rows.loss[kept], rows[kept], rtol=1e-13, atol=0)
    mean = cross_entropy(z, torch.from_numpy(y), **theirs).item()
    assert np.isclose(hard_rows.loss[kept].sum() / hard_rows.weight[kept].sum(), mean, rtol=1e-13)
    soft_rows = run(soft("logits", "float32", "float32", True), x, t, **options)
    rows = cross_entropy(z, torch.from_numpy(t.astype(np.float64)), reduction="none", **theirs).numpy()
    assert np.allclose(soft_rows.loss, rows, rtol=1e-13, atol=0)
    mean = cross_entropy(z, torch.from_numpy(t.astype(np.float64)), **theirs).item()
    assert np.isclose(soft_rows.loss.sum() / soft_rows.weight.sum(), mean, rtol=1e-13)


def test_clip() -> None:
    x = np.array([[1.0, 0.0], [0.5, 0.5]])
    t = np.array([[0.5, 0.5], [0.5, 0.5]], np.float32)
    got = run(soft("probs", "float64", "float32", True), x, t, clip=1e-3)
    assert np.allclose(got.loss, [-(np.log(1 - 1e-3) + np.log(1e-3)) / 2, np.log(2)], rtol=1e-15)
