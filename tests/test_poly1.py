"""Poly-1 losses against 50 digits, the definition in NumPy, and the cross-entropy that they are made of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from test_simplex import Array, log_shares, off, softmax

import fastxent as fx
from fastxent.cli.main import cli

N, C = 12, 5
RNG = np.random.default_rng(22)
Y = RNG.integers(0, C, N)
Z = RNG.standard_normal((N, C)) * 4
Z[0, Y[0]] += 40
Z[1] *= 20
Z[2] = [-np.inf, 1.0, 2.0, 0.0, -1.0]
Y[2] = 1
Z[3, Y[3]] += 9
P = softmax(Z)
SCORES = {"logits": Z, "probs": P, "log_probs": np.log(np.maximum(P, 1e-300))}
Q = RNG.dirichlet(np.ones(C), N)
Q[2, 0] = 0.0
Q[3] = np.eye(C)[Y[3]]
W = RNG.uniform(0.5, 2.0, C)
#: Beside an epsilon below 0 a loss has twice the relative error of its cross-entropy.
ALLOWED = {1.0: 4, 0.0: 4, 3.5: 4, -0.5: 8, -1.0: 8}


def definition(x: Array, form: str, t: Array, epsilon: float, a: float, w: Array, normalize: bool) -> mpf:
    """Every class's share of -log p + epsilon (1 - p)."""
    values = [mpf(float(v)) for v in x]
    if form == "probs":
        values = [mpmath.log(v) for v in values]
    logs = log_shares(values) if form == "logits" or normalize else values
    parts = []
    for v, share, weight in zip(logs, t, w, strict=True):
        share = ((1 - mpf(a)) * mpf(float(share)) + mpf(a) / len(t)) * mpf(float(weight))
        parts.append(share * (-v - mpf(epsilon) * mpmath.expm1(v)) if share else mpf(0))
    return mpmath.fsum(parts)


def twin(z: Array, t: Array, epsilon: float, a: float, weight: Array) -> Array:
    """Rows of distributions, from the definition in NumPy."""
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    q = (1 - a) * t + a / z.shape[1]
    return np.asarray((weight * q * (-np.log(p) + epsilon * (1 - p))).sum(axis=1))


@pytest.mark.parametrize("epsilon", ALLOWED)
@pytest.mark.parametrize(
    ("form", "options"),
    [("logits", {}), ("logits", {"class_weight": W}), ("probs", {"normalize": True}), ("probs", {}), ("log_probs", {})],
)
def test_labels(form: str, options: dict[str, Any], epsilon: float) -> None:
    got = fx.poly1_loss(Y, **{form: SCORES[form]}, epsilon=epsilon, **options, reduction="none")
    w = options.get("class_weight", np.ones(C))
    with mpmath.workdps(50):
        for i in range(N):
            true = definition(SCORES[form][i], form, np.eye(C)[Y[i]], epsilon, 0.0, w, "normalize" in options)
            assert off(got[i], true) <= ALLOWED[epsilon], i


@pytest.mark.parametrize("epsilon", [1.0, -1.0])
@pytest.mark.parametrize(
    ("form", "options"),
    [("logits", {"label_smoothing": 0.1, "class_weight": W}), ("probs", {"normalize": True}), ("log_probs", {})],
)
def test_distributions(form: str, options: dict[str, Any], epsilon: float) -> None:
    got = fx.poly1_loss(Q, **{form: SCORES[form]}, epsilon=epsilon, **options, reduction="none")
    a, w = options.get("label_smoothing", 0.0), options.get("class_weight", np.ones(C))
    with mpmath.workdps(50):
        for i in range(N):
            if i == 2 and a:
                assert got[i] == math.inf  # smoothing puts some of the target on a masked class
                continue
            true = definition(SCORES[form][i], form, Q[i], epsilon, a, w, "normalize" in options)
            assert off(got[i], true) <= ALLOWED[epsilon], i


@given(st.floats(1e-300, 700.0), st.sampled_from([-1.0, -0.999, -0.25, 0.0, 1e-9, 1.0, 40.0]))
def test_a_loss_of_any_size(loss: float, epsilon: float) -> None:
    """A log-probability is stored, so that its loss is exact."""
    got = fx.poly1_loss([0], log_probs=[[-loss, -800.0]], epsilon=epsilon)
    with mpmath.workdps(400):
        true = mpf(loss) - mpf(epsilon) * mpmath.expm1(-mpf(loss))
        assert off(got, true) <= 3 or true < 1e-300


def test_without_epsilon_it_is_the_cross_entropy() -> None:
    for target in (Y, Q):
        plain = fx.cross_entropy(target, logits=Z, class_weight=W, reduction="none")
        got = fx.poly1_loss(target, logits=Z, class_weight=W, epsilon=0.0, reduction="none")
        np.testing.assert_allclose(got, plain, 1e-15)
    assert fx.poly1_loss(Y, logits=Z, epsilon=0.0) == fx.cross_entropy(Y, logits=Z)


def test_one_hot_targets_are_labels_to_the_last_bit() -> None:
    options = {"logits": Z, "class_weight": W, "epsilon": 1.5, "reduction": "none"}
    np.testing.assert_array_equal(fx.poly1_loss(np.eye(C)[Y], **options), fx.poly1_loss(Y, **options))


def test_a_target_without_probability_costs_infinity_and_one_with_all_of_it_nothing() -> None:
    for epsilon in (2.0, -1.0):
        got = fx.poly1_loss([0, 1], probs=[[0.0, 1.0], [0.0, 1.0]], epsilon=epsilon, reduction="none")
        assert got.tolist() == [math.inf, 0.0]


def test_columns_kinds_and_many_classes_give_the_bits_of_rows() -> None:
    z = RNG.standard_normal((50, 70)).astype(np.float32)
    y = RNG.integers(0, 70, 50)
    for scores in (z[:, :10], z):
        labels = y % scores.shape[1]
        rows = fx.poly1_loss(labels, logits=np.ascontiguousarray(scores), reduction="none")
        np.testing.assert_allclose(rows, twin(scores.astype(float), np.eye(scores.shape[1])[labels], 1.0, 0.0, 1.0))
        columns = fx.poly1_loss(labels, logits=np.asfortranarray(scores), reduction="none")
        assert columns.tobytes() == rows.tobytes()
        wide = fx.poly1_loss(labels, logits=scores.astype(np.float64), reduction="none")
        assert wide.tobytes() == rows.tobytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epsilon": -1.5}, "epsilon: expected a finite number of at least -1, got -1.5"),
        ({"epsilon": math.inf}, "epsilon: expected a finite number of at least -1, got inf"),
        ({"epsilon": "much"}, "epsilon: expected a number, got 'much'"),
    ],
)
def test_epsilon_is_a_number_of_at_least_minus_one(options: dict[str, Any], message: str) -> None:
    with pytest.raises(fx.UsageError) as error:
        fx.poly1_loss(Y, logits=Z, **options)
    assert str(error.value) == message


def test_what_it_does_not_apply_to() -> None:
    with pytest.raises(fx.UsageError, match="loss 'poly1' applies to task 'multiclass'"):
        fx.evaluate(logits=Z[:, 0], target=Y % 2, task="binary", loss="poly1")
    with pytest.raises(fx.UsageError, match="epsilon applies to loss 'poly1', and this is 'cross_entropy'"):
        fx.evaluate(logits=Z, target=Y, epsilon=2.0)


@pytest.mark.parametrize("what", ["labels", "distributions"])
def test_score_the_shell_and_groups_give_the_twin_and_the_bits_of_the_function(what: str, tmp_path: Path) -> None:
    z = RNG.standard_normal((N, C)) * 2
    target = Y if what == "labels" else Q
    expected = twin(z, np.eye(C)[Y] if what == "labels" else Q, 1.5, 0.1, W)
    options: dict[str, Any] = {"epsilon": 1.5, "label_smoothing": 0.1, "class_weight": W.tolist()}
    rows = fx.poly1_loss(target, logits=z, **options, reduction="none")
    np.testing.assert_allclose(rows, expected, rtol=1e-13)
    found = fx.score(None, tmp_path / "a.parquet", logits=z, target=target, loss="poly1", **options)
    np.save(tmp_path / "z.npy", z)
    np.save(tmp_path / "y.npy", target)
    shell = ["score", "--logits", f"{tmp_path}/z.npy", "--target", f"{tmp_path}/y.npy", "-o", f"{tmp_path}/b.parquet",
             "--loss", "poly1", "--epsilon", "1.5", "--label-smoothing", "0.1",
             "--class-weight", ",".join(map(repr, W.tolist()))]  # fmt: skip
    done = CliRunner().invoke(cli, shell)
    assert done.exit_code == 0, done.output
    for name in "ab":
        assert pq.read_table(tmp_path / f"{name}.parquet")["loss"].to_numpy().tobytes() == rows.tobytes()
    half = np.arange(N) % 2
    evaluation = fx.evaluate(logits=z, target=target, loss="poly1", group_by=half, **options)
    assert evaluation.loss == found.loss == fx.poly1_loss(target, logits=z, **options)
    for value in (0, 1):
        one = fx.poly1_loss(target[half == value], logits=z[half == value], **options)
        assert evaluation.group(value).loss == one
