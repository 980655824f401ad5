"""Focal losses of every task against 50 digits, the cross-entropy that they fade, and one another."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pyarrow.parquet as pq
import pytest
from mpmath import mpf
from test_simplex import Array, log_shares, off, problem_of, run, softmax

import fastxent as fx
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import new_work
from fastxent.kernels.rows.focal import focal
from fastxent.kernels.rows.softmax_along import along
from tests import shell

N, C = 12, 5
RNG = np.random.default_rng(15)
Y = RNG.integers(0, C, N)
Z = RNG.standard_normal((N, C)) * 4
Z[0, Y[0]] += 40
Z[1] *= 20
Z[2] = [-np.inf, 1.0, 2.0, 0.0, -1.0]
P = softmax(Z)
SCORES = {"logits": Z, "probs": P, "log_probs": np.log(np.maximum(P, 1e-300))}
Q = RNG.dirichlet(np.ones(C), N)
Q[2, 0] = 0.0
Q[3] = np.eye(C)[Y[3]]
T = RNG.random((N, C))
T[3] = [0, 1, 0, 1, 1]
MASK = RNG.random((N, C)) < 0.7
MASK[:4] = True
W = RNG.uniform(0.5, 2.0, C)


def smooth(t: float, a: float, classes: int) -> mpf:
    return (1 - mpf(a)) * mpf(float(t)) + mpf(a) / classes


def of_distribution(x: Array, form: str, t: Array, gamma: float, a: float, w: Array, normalize: bool) -> mpf:
    """The definition: every class's share of the cross-entropy times (1 - p_c)^gamma."""
    values = [mpf(float(v)) for v in x]
    if form == "probs":
        values = [mpmath.log(v) for v in values]
    logs = log_shares(values) if form == "logits" or normalize else values
    parts = []
    for v, share, weight in zip(logs, t, w, strict=True):
        share = smooth(share, a, len(t)) * mpf(float(weight))
        parts.append(share * (-mpmath.expm1(v)) ** gamma * -v if share else mpf(0))
    return mpmath.fsum(parts)


def of_event(x: float, form: str, y: float, gamma: float, a: float, w: float) -> mpf:
    """The definition: the cross-entropy of an event times (1 - p_t)^gamma."""
    x = mpf(float(x))
    if form == "logits":
        yes, no = -mpmath.log1p(mpmath.exp(-x)), -mpmath.log1p(mpmath.exp(x))
    else:
        yes = mpmath.log(x) if form == "probs" else x
        no = mpmath.log(-mpmath.expm1(yes))
    y = smooth(y, a, 2)
    cost = -(mpf(w) * y * yes if y else 0) - ((1 - y) * no if y != 1 else 0)
    return (y * -mpmath.expm1(yes) + (1 - y) * -mpmath.expm1(no)) ** gamma * cost


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("logits", {"label_smoothing": 0.1, "class_weight": W}),
        ("logits", {}),
        ("probs", {"normalize": True}),
        ("log_probs", {"class_weight": W}),
    ],
)
@pytest.mark.parametrize("gamma", [2.0, 2.5])
def test_distributions(form: str, options: dict[str, Any], gamma: float) -> None:
    x = SCORES[form]
    with mpmath.workdps(50):
        for target, t in ((Q, Q), (Y, np.eye(C)[Y])) if "label_smoothing" in options else ((Q, Q),):
            got = fx.focal_loss(target, **{form: x}, gamma=gamma, **options, reduction="none")
            for i in range(N):
                a, w = options.get("label_smoothing", 0.0), options.get("class_weight", np.ones(C))
                if i == 2 and a:
                    assert got[i] == math.inf  # smoothing puts some of the target on a masked class
                    continue
                true = of_distribution(x[i], form, t[i], gamma, a, w, "normalize" in options)
                assert off(got[i], true) <= 4, (form, i)


@pytest.mark.parametrize(("form", "a", "w"), [("logits", 0.0, 3.0), ("probs", 0.1, 3.0), ("log_probs", 0.0, 1.0)])
def test_events(form: str, a: float, w: float) -> None:
    x = np.where(np.isinf(SCORES[form]), 1.0, SCORES[form])
    x = np.clip(x, 1e-300, 1 - 2.0**-53) if form == "probs" else x
    options = {"gamma": 2.5, "label_smoothing": a, "pos_weight": w, "reduction": "none"}
    one = fx.focal_loss(T[:, 0], **{form: x[:, 0]}, **options)
    many = fx.focal_loss(T, **{form: x}, task="multilabel", mask=MASK, **options)
    with mpmath.workdps(50):
        for i in range(N):
            true = [of_event(v, form, y, 2.5, a, w) for v, y in zip(x[i], T[i], strict=True)]
            assert off(one[i], true[0]) <= 4
            counted = [part for part, counts in zip(true, MASK[i], strict=True) if counts]
            assert off(many[i], mpmath.fsum(counted) / len(counted)) <= 4
    marked = np.where(MASK, T, -1.0)
    given = fx.focal_loss(marked, **{form: np.asfortranarray(x)}, task="multilabel", ignore_index=-1, **options)
    assert given.tobytes() == many.tobytes()


def test_without_gamma_it_is_the_cross_entropy() -> None:
    same = {"logits": Z, "label_smoothing": 0.1, "pos_weight": 2.0, "reduction": "none"}
    np.testing.assert_array_equal(
        fx.focal_loss(T, gamma=0.0, task="multilabel", mask=MASK, **same), fx.binary_cross_entropy(T, mask=MASK, **same)
    )
    np.testing.assert_allclose(
        fx.focal_loss(Q, logits=Z, gamma=0.0, reduction="none"), fx.cross_entropy(Q, logits=Z, reduction="none"), 1e-15
    )


def test_one_hot_targets_are_labels_and_floats_are_integers_to_the_last_bit() -> None:
    options = {"logits": Z, "class_weight": W, "gamma": 1.5, "reduction": "none"}
    np.testing.assert_array_equal(fx.focal_loss(np.eye(C)[Y], **options), fx.focal_loss(Y, **options))
    y = (T[:, 1] > 0.5).astype(np.int64)
    for w in (None, 3.0):
        given = {"logits": Z[:, 1], "pos_weight": w, "reduction": "none"}
        np.testing.assert_array_equal(fx.focal_loss(y * 1.0, **given), fx.focal_loss(y, **given))


def test_the_weight_of_the_positive_term_is_outside_of_the_power() -> None:
    y = (T[:, 1] > 0.5).astype(np.int64)
    against = np.exp(np.where(y == 1, -Z[:, 1], Z[:, 1]))
    wanted = np.where(y == 1, 3.0, 1.0) * (against / (1 + against)) ** 2 * np.log1p(against)
    np.testing.assert_allclose(fx.focal_loss(y, logits=Z[:, 1], pos_weight=3.0, reduction="none"), wanted, 1e-9)
    streamed = fx.evaluate(logits=Z[:, 1], target=y, task="binary", loss="focal", pos_weight=3.0)
    assert streamed.loss == fx.focal_loss(y, logits=Z[:, 1], pos_weight=3.0)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0, 5.0, 8.0, 0.5, 2.5, 7.75])
def test_focal(gamma: float) -> None:
    """Of the loss as it is: what is wrong with that is magnified by up to 1 + gamma."""
    rng = np.random.default_rng(0)
    loss = np.concatenate([10.0 ** rng.uniform(-30, 2.8, 300), rng.uniform(0, 2, 300), [0.0, np.inf]])
    card = sc.new_scorecard()
    card.real[sc.LOSS, : len(loss)] = loss
    problem, keep = problem_of(np.zeros((1, 1)), np.zeros(1, np.int64), parameters=np.array([gamma]))
    focal(problem, 0, len(loss), card, new_work(1, 8))
    del keep
    with mpmath.workdps(50):
        for got, plain in zip(card.real[sc.LOSS].tolist(), loss.tolist(), strict=False):
            true = (-mpmath.expm1(-mpf(plain))) ** gamma * mpf(plain) if plain else mpf(0)
            assert off(got, true) <= 4, (gamma, plain)


def test_focal_of_rows() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.standard_normal((40, 10)), rng.integers(0, 10, 40)
    z[0, 0], y[0] = -np.inf, 0
    z[1, 1:], y[1] = -np.inf, 0
    plain = run(along("float64", "int64", True), z, y).loss
    got = run(along("float64", "int64", True), z, y, focal, parameters=np.array([2.0])).loss
    assert got[:2].tolist() == [np.inf, 0.0]
    np.testing.assert_allclose(got[2:], (1 - np.exp(-plain[2:])) ** 2 * plain[2:], rtol=1e-11)


@pytest.mark.parametrize("form", ["probs", "logits"])
def test_a_one_hot_target_without_probability_costs_infinity(form: str) -> None:
    """As its label does; and the class that has all the probability costs nothing."""
    x = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.25, 0.75, 0.0]])[:: 2 if form == "logits" else 1]
    with np.errstate(divide="ignore"):
        x = x if form == "probs" else np.log(x)
    for label in (2, 0):
        y = np.full(len(x), label)
        plain = fx.focal_loss(y, **{form: x}, gamma=1.5, reduction="none")
        dense = fx.focal_loss(np.eye(3)[y], **{form: x}, gamma=1.5, reduction="none")
        assert dense.tobytes() == plain.tobytes()
        assert np.isinf(plain).tolist() == ((np.exp(x) if form == "logits" else x)[:, label] == 0.0).tolist()
        assert fx.focal_loss(np.eye(3)[y], **{form: x}, gamma=1.5) == plain.mean()


def twin(z: Array, t: Array, gamma: float, a: float, weight: Array) -> Array:
    """Rows of distributions, from the definition in NumPy."""
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    q = (1 - a) * t + a / z.shape[1]
    return np.asarray((weight * q * (1 - p) ** gamma * -np.log(p)).sum(axis=1))


def twin_of_events(z: Array, y: Array, gamma: float, a: float, weight: float) -> Array:
    """Events, from the definition in NumPy."""
    p, y = 1 / (1 + np.exp(-z)), (1 - a) * y + a / 2
    cost = weight * y * -np.log(p) + (1 - y) * -np.log(1 - p)
    return np.asarray((y * (1 - p) + (1 - y) * p) ** gamma * cost)


@pytest.mark.parametrize("what", ["labels", "distributions", "events", "several events"])
def test_score_and_the_shell_give_the_twin_and_the_bits_of_the_function(what: str, tmp_path: Path) -> None:
    z = RNG.standard_normal((N, C)) * 2
    options: dict[str, Any] = {"gamma": 1.5, "label_smoothing": 0.1}
    if what in ("labels", "distributions"):
        target = Y if what == "labels" else Q
        expected = twin(z, np.eye(C)[Y] if what == "labels" else Q, 1.5, 0.1, W)
        more, words = {"class_weight": W.tolist()}, ["--class-weight", ",".join(map(repr, W.tolist()))]
    else:
        z, target = (z[:, 0], T[:, 0]) if what == "events" else (z, T)
        expected = twin_of_events(z, target, 1.5, 0.1, 3.0)
        expected = expected if what == "events" else expected.mean(axis=1)
        more, words = {"pos_weight": 3.0}, ["--pos-weight", "3"]
    task = {"events": "binary", "several events": "multilabel"}.get(what, "multiclass")
    rows = fx.focal_loss(target, logits=z, task=task, **options, **more, reduction="none")
    np.testing.assert_allclose(rows, expected, rtol=1e-13)
    found = fx.score(None, tmp_path / "a.parquet", logits=z, target=target, task=task, loss="focal", **options, **more)
    np.save(tmp_path / "z.npy", z)
    np.save(tmp_path / "y.npy", target)
    done = shell.run(
        "score", "--logits", f"{tmp_path}/z.npy", "--target", f"{tmp_path}/y.npy", "-o", f"{tmp_path}/b.parquet",
        "--task", task, "--loss", "focal", "--gamma", "1.5", "--label-smoothing", "0.1", *words,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    for name in "ab":
        assert pq.read_table(tmp_path / f"{name}.parquet")["loss"].to_numpy().tobytes() == rows.tobytes()
    assert found.loss == fx.focal_loss(target, logits=z, task=task, **options, **more)
