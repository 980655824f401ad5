"""Intervals of sampling: against DeLong, resampling and simulated populations; the class report."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

import fastxent as fx
from tests.test_curves import several

#: Statistics of binary rows and of classes whose gradients are checked.
BINARY = (
    "f1",
    "precision",
    "recall",
    "f1_macro",
    "f1_weighted",
    "mcc",
    "balanced_accuracy",
    "auc",
    "average_precision",
)
CLASSES = ("f1_macro", "f1_weighted", "f1_micro", "mcc", "balanced_accuracy")


def population(rng, n, scale=1.0):
    """Calibrated binary predictions, or over-confident ones."""
    z = rng.normal(size=n) * 1.5 - 0.7
    y = (rng.random(n) < 1.0 / (1.0 + np.exp(-z))).astype(int)
    return y, np.round(1.0 / (1.0 + np.exp(-scale * z)), 3)


def delong(y, p):
    """The standard error of the AUC by DeLong's components, pair by pair, over n instead of n - 1 a side."""
    pos, neg = p[y == 1], p[y == 0]
    wins = (pos[:, None] > neg) + 0.5 * (pos[:, None] == neg)
    return math.sqrt(wins.mean(axis=1).var() / len(pos) + wins.mean(axis=0).var() / len(neg))


def half_width(low, high, value):
    """The standard error that an interval on the scale of logits was made with."""
    logit = [math.log(x / (1.0 - x)) for x in (low, high)]
    return (logit[1] - logit[0]) / 2.0 / 1.959963984540054 * value * (1.0 - value)


def test_the_error_of_the_auc_is_delongs():
    y, p = population(np.random.default_rng(1), 400)
    ev = fx.evaluate(probs=p, target=y, task="binary")
    found = half_width(*ev.interval("auc"), ev.auc)
    assert found * math.sqrt(399 / 400) == pytest.approx(delong(y, p), rel=1e-9)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_errors_are_those_of_the_jackknife(task):
    """Leaving out each row in turn gives the same error up to 1 / n."""
    rng = np.random.default_rng(2)
    if task == "binary":
        y, p = population(rng, 400)
        scores, names = {"probs": p}, BINARY
    else:
        y, z = several("multiclass", n=400)
        scores, names = {"logits": z}, CLASSES
    group = np.arange(400)
    whole = fx.evaluate(**scores, target=y, task=task)
    left = {name: [] for name in names}
    for i in group:
        rest = group != i
        ev = fx.evaluate(**{form: values[rest] for form, values in scores.items()}, target=y[rest], task=task)
        for name in names:
            left[name].append(ev.fields[name])
    for name in names:
        jackknife = math.sqrt(399 / 400 * ((np.array(left[name]) - np.mean(left[name])) ** 2).sum())
        low, high = whole.interval(name)
        if name == "mcc":
            low, high = (low + 1) / 2, (high + 1) / 2
        value = (whole.mcc + 1) / 2 if name == "mcc" else whole.fields[name]
        found = half_width(low, high, value) * (2 if name == "mcc" else 1)
        assert found == pytest.approx(jackknife, rel=0.05), name


def test_intervals_cover_what_populations_say():
    """Of 300 samples of 300 rows; 95 % +- 3.8 % is three standard errors. That of ECE is wide by design."""
    truth_rows = population(np.random.default_rng(3), 400_000, 1.5)
    truth = fx.evaluate(probs=truth_rows[1], target=truth_rows[0], task="binary")
    rng, samples, n = np.random.default_rng(4), 300, 300
    y, p = population(rng, samples * n, 1.5)
    ev = fx.evaluate(probs=p, target=y, task="binary", group_by={"g": np.arange(samples * n) // n})
    for name in ("accuracy", *BINARY, "ece", "q25", "q50", "q95"):
        table = ev.group_intervals(name)
        low, high = table["low"].to_numpy(), table["high"].to_numpy()
        covered = ((low <= truth.fields[name]) & (truth.fields[name] <= high)).mean()
        assert covered > 0.95 - 0.038, (name, covered)
        if name not in ("ece", "q95"):
            assert covered < 0.95 + 0.038, (name, covered)
        assert table[name].to_pylist() == ev.groups[name].to_pylist()


def test_the_calibration_error_of_a_calibrated_model_is_its_floor():
    rng, samples, n = np.random.default_rng(5), 300, 200
    y, p = population(rng, samples * n)
    ev = fx.evaluate(probs=p, target=y, task="binary", group_by={"g": np.arange(samples * n) // n})
    ece, floor = ev.groups["ece"].to_numpy(), ev.groups["ece_floor"].to_numpy()
    error = ece.std() / math.sqrt(samples)
    assert abs(ece.mean() - floor.mean()) < 4.0 * error + 1e-3
    assert (ev.group_intervals("ece")["low"].to_numpy() == 0.0).mean() > 0.95
    assert "ECE of a calibrated model" in str(ev)


def test_a_group_has_the_interval_of_its_rows_alone_and_merging_changes_nothing():
    y, p = population(np.random.default_rng(6), 900)
    g = np.arange(900) % 3
    ev = fx.evaluate(probs=p, target=y, task="binary", group_by={"g": g})
    alone = fx.evaluate(probs=p[g == 1], target=y[g == 1], task="binary")
    assert ev.group(1).intervals == alone.intervals
    parts = [fx.evaluate(probs=p[a], target=y[a], task="binary").totals for a in (slice(0, 200), slice(200, 900))]
    parts[0].merge(parts[1])
    assert fx.Evaluation(parts[0]).intervals == fx.evaluate(probs=p, target=y, task="binary").intervals
    ones = fx.evaluate(probs=p, target=y, task="binary", weight=np.ones(900))
    for name, ends in fx.evaluate(probs=p, target=y, task="binary").intervals.items():
        assert ones.intervals[name] == pytest.approx(ends, rel=1e-12)
    bits = fx.evaluate(probs=p, target=y, task="binary", base=2)
    for name in ("loss", "q50"):
        assert bits.interval(name) == pytest.approx(np.array(ev.interval(name)) / math.log(2.0), rel=1e-14)
    assert ev.to_dict()["intervals"]["auc"] == list(ev.interval("auc"))


def test_weighted_rows_count_as_fewer():
    y, p = population(np.random.default_rng(7), 900)
    w = np.random.default_rng(8).exponential(size=900)
    ev = fx.evaluate(probs=p, target=y, task="binary", weight=w)
    low, high = ev.interval("auc")
    effective = w.sum() ** 2 / (w**2).sum()
    pos, neg = y == 1, y == 0
    wins = (p[pos][:, None] > p[neg]) + 0.5 * (p[pos][:, None] == p[neg])
    beats, beaten = wins @ w[neg] / w[neg].sum(), w[pos] @ wins / w[pos].sum()
    shares = w[pos].sum() / w.sum(), w[neg].sum() / w.sum()
    parts = np.average((beats - ev.auc) ** 2, weights=w[pos]), np.average((beaten - ev.auc) ** 2, weights=w[neg])
    expected = math.sqrt((parts[0] / shares[0] + parts[1] / shares[1]) / (effective - 1))
    assert half_width(low, high, ev.auc) == pytest.approx(expected, rel=1e-3)


def test_what_has_no_interval_says_so():
    y, p = population(np.random.default_rng(9), 60)
    ev = fx.evaluate(probs=p, target=y, task="binary", cluster_by=np.arange(60) // 3)
    with pytest.raises(fx.UsageError, match="interval: that of auc takes rows for independent"):
        ev.interval("auc")
    assert set(ev.intervals) == {"loss", "accuracy"}
    with pytest.raises(fx.UsageError, match="interval: expected one of loss, accuracy, balanced_accuracy"):
        ev.interval("brier")
    assert ev.interval(0.5) == pytest.approx((0.3773502, 0.6226497), abs=1e-6)
    right = fx.evaluate(probs=[0.1, 0.2, 0.8, 0.9], target=[0, 0, 1, 1], task="binary")
    assert right.interval("auc") == pytest.approx((4 / (4 + 1.959963984540054**2), 1.0), rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_the_class_report_is_scikit_learns(weighted):
    y, z = several("multiclass")
    w = np.random.default_rng(1).integers(1, 5, len(y)) / 2.0 if weighted else None
    ev = fx.evaluate(logits=z, target=y, weight=w, class_names=["ash", "birch", "cedar", "dogwood"])
    lines = {line[:14].strip(): line[14:].split() for line in ev.class_report().splitlines() if line}
    expected = metrics.classification_report(
        y, z.argmax(axis=1), sample_weight=w, output_dict=True, target_names=ev.class_names
    )  # fmt: skip
    for name in (*ev.class_names, "macro avg", "weighted avg"):
        rates = [f"{expected[name][rate]:.4f}" for rate in ("precision", "recall", "f1-score")]
        assert lines[name][:3] == rates
    assert lines["accuracy"][0] == f"{expected['accuracy']:.4f}"
    assert lines["weighted avg"][-1] == f"{ev.loss:.6g}"


def test_the_report_of_labels():
    y, z = several("multilabel")
    report = fx.evaluate(logits=z, target=y, task="multilabel", statistics="ranking").class_report()
    expected = metrics.classification_report(y, z > 0, output_dict=True, zero_division=0)
    for line in report.splitlines()[1:5]:
        name, precision, recall, f1, support = line.split()
        found = expected[name]
        assert [precision, recall, f1] == [f"{found[rate]:.4f}" for rate in ("precision", "recall", "f1-score")]
        assert int(support.replace(",", "")) == found["support"]
    with pytest.raises(fx.UsageError, match='pass statistics="ranking"'):
        fx.evaluate(logits=z, target=y, task="multilabel").class_report()
