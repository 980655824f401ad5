"""Paired differences of AUC, F1, MCC, ECE and the like: against DeLong, leaving rows out, and simulated populations."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent.statistics.influences import INFLUENCED
from fastxent.statistics.score_cells import least_of_cells
from tests.shell import run

CLASSES = ("balanced_accuracy", "f1_macro", "f1_weighted", "f1_micro", "mcc", "ece")


def binary(rng, n, *, noise=(1.0, 0.5), digits=3):
    """Targets, and the probabilities of two models that see the truth through noise."""
    z = rng.normal(size=n) - 0.4
    y = (rng.random(n) < 1.0 / (1.0 + np.exp(-z))).astype(int)
    p, q = (np.round(1.0 / (1.0 + np.exp(-z - each * rng.normal(size=n))), digits) for each in noise)
    return y, p, q


def classes(rng, n, count=4):
    """Targets, and the logits of two models of several classes."""
    y = rng.choice(count, n, p=np.arange(1, count + 1) / np.arange(1, count + 1).sum())
    own = np.eye(count)[y] * 1.5
    return y, own + rng.normal(size=(n, count)), own + 1.2 * rng.normal(size=(n, count))


def compared(y, a, b, task, **more):
    form = "probs" if task == "binary" else "logits"
    return fx.compare(**{form: a, f"b_{form}": b}, target=y, task=task, **more)


def delong_covariance(y, p, q):
    """The variance of the difference of two AUCs by DeLong's components, pair by pair, over n a side."""
    parts = []
    for scores in (p, q):
        pos, neg = scores[y == 1], scores[y == 0]
        wins = (pos[:, None] > neg) + 0.5 * (pos[:, None] == neg)
        parts.append((wins.mean(axis=1), wins.mean(axis=0)))
    (v10, v01), (w10, w01) = parts
    return (v10 - w10).var() / len(v10) + (v01 - w01).var() / len(v01)


def test_the_difference_of_the_auc_is_delongs():
    y, p, q = binary(np.random.default_rng(1), 500)
    c = compared(y, p, q, "binary")
    delta = c.difference("auc")
    assert delta.stderr * math.sqrt(499 / 500) == pytest.approx(math.sqrt(delong_covariance(y, p, q)), rel=1e-14)
    assert delta.df == 499


@pytest.mark.parametrize("task", ["binary", "multiclass"])
@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_those_of_evaluations_and_errors_those_of_the_jackknife(task, weighted):
    rng, n = np.random.default_rng(2), 80
    y, a, b = binary(rng, n) if task == "binary" else classes(rng, n)
    w = rng.exponential(size=n) + 0.1 if weighted else None
    form = "probs" if task == "binary" else "logits"
    weigh = {} if w is None else {"weight": w}
    c = compared(y, a, b, task, **weigh)
    sides = [fx.evaluate(**{form: scores}, target=y, task=task, **weigh) for scores in (a, b)]
    found = c.outcome.statistics
    assert list(found) == [name for name in INFLUENCED if name in sides[0].fields]
    for name, each in found.items():
        assert (each.a, each.b) == tuple(side.fields[name] for side in sides), name
        assert each.delta.mean == each.a - each.b
    # A row that weighs a little more, and a little less, in turn: the gradient, by differences.
    whole = np.ones(n) if w is None else w
    moved = {name: [] for name in found}
    for i in range(n):
        ends = []
        for factor in (1.0 + 1e-4, 1.0 - 1e-4):
            shifted = np.where(np.arange(n) == i, whole * factor, whole)
            sides = [fx.evaluate(**{form: s}, target=y, task=task, weight=shifted).fields for s in (a, b)]
            ends.append({name: sides[0][name] - sides[1][name] for name in found})
        for name in found:
            moved[name].append((ends[0][name] - ends[1][name]) / 2e-4)
    for name, each in found.items():
        squares = np.square(moved[name]).sum()
        assert each.delta.stderr == pytest.approx(math.sqrt(squares * n / (n - 1)), rel=1e-8), name


def test_intervals_cover_the_difference_of_populations():
    """Of 300 samples of 300 rows; 95 % +- 3.8 % is three standard errors. That of ECE is wide by design."""
    rng, samples, n = np.random.default_rng(4), 300, 300
    truth = compared(*binary(np.random.default_rng(3), 300_000), "binary").outcome.statistics
    y, p, q = binary(rng, samples * n)
    table = pa.table({"p": p, "q": q, "y": y, "g": np.arange(samples * n) // n})
    c = fx.compare(table, probs="p", b_probs="q", target="y", task="binary", by_order=True, group_by="g")
    for name, each in truth.items():
        ends = np.array([(o.difference(name).ci_low, o.difference(name).ci_high) for o in c.groups["g"].values()])
        covered = ((ends[:, 0] <= each.delta.mean) & (each.delta.mean <= ends[:, 1])).mean()
        assert covered > 0.95 - 0.038, (name, covered)
        assert name == "ece" or covered < 0.95 + 0.038, (name, covered)


def test_intervals_of_classes_and_of_clusters_cover_too():
    """Clusters of three rows that share their noise: 200 samples of 100 clusters."""
    rng, samples, n = np.random.default_rng(5), 200, 300

    def draw(rows):
        y, a, b = classes(rng, rows // 3)
        y, a, b = (np.repeat(each, 3, axis=0) for each in (y, a, b))
        return y, a + 0.3 * rng.normal(size=a.shape), b + 0.3 * rng.normal(size=b.shape)

    truth = compared(*draw(300_000), "multiclass").outcome.statistics
    y, a, b = draw(samples * n)
    at = np.arange(samples * n)
    table = pa.table({"a": list(a), "b": list(b), "y": y, "doc": at // 3, "g": at // n})
    ask = {"logits": "a", "b_logits": "b", "target": "y", "by_order": True, "group_by": "g"}
    clustered, single = (fx.compare(table, **ask, **more).groups["g"].values() for more in ({"cluster_by": "doc"}, {}))
    for name in CLASSES:
        found = [each.difference(name) for each in clustered]
        assert {each.df for each in found} == {n // 3 - 1}
        covered = np.mean([each.ci_low <= truth[name].delta.mean <= each.ci_high for each in found])
        assert covered > 0.95 - 0.047, (name, covered)
        wider = [
            one.stderr < each.stderr for one, each in zip((o.difference(name) for o in single), found, strict=True)
        ]
        assert np.mean(wider) > 0.9, name


def test_a_group_has_what_its_rows_alone_have_whatever_the_order(tmp_path):
    rng, n = np.random.default_rng(6), 3000
    y, p, q = binary(rng, n)
    ids, g, w = rng.permutation(n), rng.choice(["x", "y"], n), rng.exponential(size=n)
    table = pa.table({"id": ids, "p": p, "q": q, "y": y, "g": g, "w": w, "doc": ids % 700})
    for more in ({}, {"weight": "w"}, {"cluster_by": "doc"}, {"weight": "w", "cluster_by": "doc"}):
        ask = {"probs": "p", "b_probs": "q", "target": "y", "task": "binary", "on": "id"} | more
        c = fx.compare(table, group_by="g", **ask)
        only = fx.compare(table, filter="g == 'x'", **ask)
        assert c.groups["g"]["x"].statistics == only.outcome.statistics
        other = fx.compare(table.take(rng.permutation(n)), table, **ask, threads=1, group_by="g")
        assert other.outcome == c.outcome
        assert other.groups == c.groups


def test_extreme_weights_and_scores_are_no_trouble():
    rng, n = np.random.default_rng(7), 300
    y, p, q = binary(rng, n, digits=18)
    p[:5], q[5:9] = 1e-30, 1.0 - 2.0**-53
    w = rng.exponential(size=n)
    plain = compared(y, p, q, "binary", weight=w).outcome.statistics
    for scale in (1e-290, 2.0**-700, 2.0**600):
        scaled = compared(y, p, q, "binary", weight=w * scale).outcome.statistics
        for name, each in plain.items():
            near = 1e-14 if scale == 1e-290 else 0.0  # powers of two change no bit
            assert scaled[name].delta.stderr == pytest.approx(each.delta.stderr, rel=near, abs=0.0), (scale, name)
            assert scaled[name].a == pytest.approx(each.a, rel=near, abs=0.0)
    w[:100] *= 1e-200
    mixed = compared(y, p, q, "binary", weight=w).outcome.statistics
    rest = compared(y[100:], p[100:], q[100:], "binary", weight=w[100:]).outcome.statistics
    for name, each in rest.items():
        assert mixed[name].a == each.a, name


def test_cells_are_in_the_order_of_their_least_numbers():
    assert (np.diff(least_of_cells()) >= 0.0).all()


def test_models_that_are_the_same_differ_by_nothing():
    y, p, _ = binary(np.random.default_rng(8), 100)
    for name, each in compared(y, p, p, "binary").outcome.statistics.items():
        assert (each.delta.mean, each.delta.stderr, each.delta.p_value) == (0.0, 0.0, 1.0), name
    ones = compared(np.ones(30, int), p[:30], p[30:60], "binary").outcome.statistics
    assert math.isnan(ones["auc"].delta.mean)
    assert math.isnan(ones["auc"].delta.ci_low)


def test_what_has_no_predicted_class_has_no_such_statistics():
    c = fx.compare(losses=[0.1, 0.4, 0.2], b_losses=[0.2, 0.1, 0.1])
    assert c.outcome.statistics == {}
    assert c.statistics.num_rows == 0
    with pytest.raises(fx.UsageError, match="there is no difference of 'auc'; there are those of loss"):
        c.difference("auc")


def test_the_shell_json_gates_and_report_show_them(tmp_path):
    y, p, q = binary(np.random.default_rng(9), 900)
    path, page = tmp_path / "p.parquet", tmp_path / "r.html"
    pq.write_table(pa.table({"p": p, "q": q, "y": y, "g": np.arange(900) % 2}), path)
    flags = ["compare", path, "--probs", "p", "--b-probs", "q", "--target", "y", "--task", "binary", "--by-order"]
    done = run(*flags, "--group-by", "g", "--html", page, "--fail-if", "auc_delta < -0.5", "--fail-if", "ece.b > 0.9")
    assert done.exit_code == 0, done.stderr
    for name in ("auc", "f1", "f1_macro", "mcc", "ece"):
        assert f"\n{name} " in done.stdout
    assert "Other statistics of the rows" in page.read_text()
    told = json.loads(run(*flags, "--json", "-").stdout)
    c = compared(y, p, q, "binary")
    assert told["auc"] == {"a": c.outcome.statistics["auc"].a, "b": c.outcome.statistics["auc"].b}
    assert told["mcc_delta"]["ci_low"] == c.difference("mcc").ci_low
    assert "auc" in c._repr_html_()
    failed = run(*flags, "--fail-if", "auc_delta < 0.5")
    assert failed.exit_code == 1
    assert "auc_delta" in failed.stderr
