"""Curves, areas of several labels and classes, and means of F1, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

import fastxent as fx
from fastxent.kernels.sums import tally
from fastxent.kernels.sums.tally import calibration_cell
from fastxent.statistics.score_cells import least_of_cells, ranks_of_cells

N = 3000


def binary(seed=1, n=N):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    z = rng.normal(size=n) * 2 + y * 2 - 1
    return y, z, 1.0 / (1.0 + np.exp(-z))


def several(task, seed=2, n=1500, classes=4):
    rng = np.random.default_rng(seed)
    if task == "multilabel":
        y = (rng.random((n, classes)) < [0.1, 0.3, 0.5, 0.8]).astype(np.int8)
        return y, rng.normal(size=(n, classes)) + 2.0 * y - 1.0
    y = rng.choice(classes, n, p=[0.1, 0.2, 0.3, 0.4])
    return y, rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[y]


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def weights(n):
    return np.random.default_rng(9).integers(1, 9, n) / 4.0


def test_every_cell_of_the_calibration_has_its_least_number():
    rng = np.random.default_rng(0)
    least = least_of_cells()
    edges = np.arange(tally.WIDTHS + 1) / tally.WIDTHS
    numbers = np.concatenate(
        (
            least, np.nextafter(least, 0.0), edges, np.nextafter(edges.astype(np.float32), np.float32(1)),
            np.nextafter(edges.astype(np.float32), np.float32(0)), rng.random(5000), np.exp(-60 * rng.random(3000)),
            1.0 - np.exp(-40 * rng.random(3000)),
        )
    )  # fmt: skip
    cells = np.array([calibration_cell(x) for x in np.clip(numbers, 0.0, 1.0).tolist()])
    expected = np.searchsorted(least, np.clip(numbers, 0.0, 1.0), side="right") - 1
    assert ranks_of_cells()[cells].tolist() == expected.tolist()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("statistics", [(), ("ranking",)])
@pytest.mark.parametrize("form", ["probs", "logits"])
def test_binary_curves_are_points_of_the_exact_ones(form, statistics, weighted):
    y, z, p = binary()
    w = weights(N) if weighted else None
    scores = {"probs": p, "logits": z}[form]
    ev = fx.evaluate(**{form: scores}, target=y, task="binary", weight=w, statistics=statistics)
    assert isinstance(ev.auc, float)
    exact = metrics.roc_auc_score(y, p, sample_weight=w)
    low, high = ev.auc_bounds
    assert low - 1e-12 <= exact <= high + 1e-12
    assert ev.auc == pytest.approx(exact, abs=1e-4)
    low, high = ev.average_precision_bounds
    exact = metrics.average_precision_score(y, p, sample_weight=w)
    assert low - 1e-12 <= exact <= high + 1e-12
    assert ev.average_precision == pytest.approx(exact, abs=1e-3)
    curve = ev.roc_curve()
    fpr, tpr, thresholds = curve
    by = {"probs": p, "logits": z}[curve.scale]
    own = np.ones(N) if w is None else w
    for at in range(0, len(thresholds), 97):
        said = by >= thresholds[at]
        assert tpr[at] == pytest.approx(own[said & (y == 1)].sum() / own[y == 1].sum(), rel=1e-12)
        assert fpr[at] == pytest.approx(own[said & (y == 0)].sum() / own[y == 0].sum(), rel=1e-12)
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0.0, 0.0, 1.0, 1.0)
    assert metrics.auc(fpr, tpr) == pytest.approx(curve.area, rel=1e-12)
    assert curve.area == ev.auc
    assert curve.bounds == ev.auc_bounds
    precision, recall, thresholds = ev.pr_curve()
    for at in range(0, len(thresholds), 97):
        said = by >= thresholds[at]
        assert recall[at] == pytest.approx(own[said & (y == 1)].sum() / own[y == 1].sum(), rel=1e-12)
        assert precision[at] == pytest.approx(own[said & (y == 1)].sum() / own[said].sum(), rel=1e-12)
    assert (precision[-1], recall[-1], recall[0]) == (1.0, 0.0, 1.0)
    assert len(precision) == len(thresholds) + 1


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_that_are_told_apart_give_scikit_learns_curves(weighted):
    y, _, p = binary()
    p, w = np.round(p, 2), weights(N) if weighted else None
    ev = fx.evaluate(probs=p, target=y, task="binary", weight=w)
    curve = ev.roc_curve()
    assert curve.exact
    for own, theirs in zip(curve, metrics.roc_curve(y, p, sample_weight=w, drop_intermediate=False), strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-13)
    assert ev.pr_curve().exact
    for own, theirs in zip(ev.pr_curve(), metrics.precision_recall_curve(y, p, sample_weight=w), strict=True):
        np.testing.assert_allclose(own, theirs, rtol=1e-13)
    assert ev.auc == pytest.approx(metrics.roc_auc_score(y, p, sample_weight=w), rel=1e-13)
    assert ev.roc_curve().table.column_names == ["threshold", "fpr", "tpr"]
    assert ev.pr_curve().table["threshold"].null_count == 1
    half = ev.thresholds().to_pylist()[11]
    assert half["precision"] == pytest.approx(metrics.precision_score(y, p >= 0.5, sample_weight=w), rel=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("form", ["probs", "logits", "log_probs"])
@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_areas_of_several_labels(task, form, weighted):
    y, z = several(task)
    p = softmax(z) if task == "multiclass" else 1.0 / (1.0 + np.exp(-z))
    scores = {"probs": p, "logits": z, "log_probs": np.log(p)}[form]
    w = weights(len(z)) if weighted else None
    g = np.arange(len(z)) % 3
    ev = fx.evaluate(
        **{form: scores}, target=y, task=task, weight=w, statistics=["ranking"], group_by={"g": g}
    )  # fmt: skip
    one_hot = np.eye(4)[y] if task == "multiclass" else y
    for found, here in ((ev, np.ones(len(z), bool)), *((ev.group(k), g == k) for k in range(3))):
        own = None if w is None else w[here]
        for average in ("macro", "weighted"):
            kind = "" if average == "macro" else "_weighted"
            for name, score in (
                ("auc", metrics.roc_auc_score), ("average_precision", metrics.average_precision_score)
            ):  # fmt: skip
                by_label = [score(one_hot[here, k], p[here, k], sample_weight=own) for k in range(4)]
                support = [np.average(one_hot[here, k], weights=own) for k in range(4)]
                exact = np.average(by_label, weights=support if kind else None)
                assert found.fields[f"{name}{kind}_low"] - 1e-12 <= exact <= found.fields[f"{name}{kind}_high"] + 1e-12
                assert found.fields[f"{name}{kind}"] == pytest.approx(exact, abs=2e-3)
        if own is None:
            more = {"multi_class": "ovr"} if task == "multiclass" else {}
            exact = metrics.roc_auc_score(y[here], p[here], average="macro", **more)
            assert found.auc_low - 1e-12 <= exact <= found.auc_high + 1e-12
        if task == "multilabel" and form != "log_probs":
            for average in ("macro", "micro", "weighted"):
                exact = metrics.f1_score(y[here], p[here] > 0.5, average=average, sample_weight=own)
                assert found.fields[f"f1_{average}"] == pytest.approx(exact, rel=1e-12)
    assert ev.ranking.num_rows == 4
    for label in range(4):
        curve = ev.roc_curve(label)
        assert curve.area == ev.ranking["auc"][label].as_py()
        assert ev.thresholds(str(label)).num_rows == 23
    with pytest.raises(fx.UsageError, match="label: expected a number below 4 or a name"):
        ev.roc_curve(4)


def test_no_row_at_all():
    for task, scores, target in (("multilabel", [[np.nan, 0.0]], [[0, 0]]), ("binary", [np.nan], [0])):
        ev = fx.evaluate(
            logits=scores, target=np.array(target), task=task, on_invalid="skip", statistics="ranking",
            group_by={"g": ["x"]},
        )  # fmt: skip
        assert np.isnan([ev.auc, ev.average_precision]).all()
        assert ev.groups.num_rows == 0
        assert ev.worst_group() is None
        assert ev.group_intervals("loss").num_rows == 0
        assert "intervals" not in ev.to_dict()


def test_a_class_that_is_not_there_is_in_no_mean():
    y, z = several("multiclass")
    here = y != 2
    ev = fx.evaluate(logits=z[here], target=y[here], statistics="ranking")
    p = softmax(z[here])
    by_class = [metrics.roc_auc_score(y[here] == k, p[:, k]) for k in (0, 1, 3)]
    assert ev.auc == pytest.approx(np.mean(by_class), abs=1e-3)
    assert np.isnan(ev.ranking["auc"].to_pylist()[2])


@pytest.mark.parametrize("weighted", [False, True])
def test_means_of_f1(weighted):
    y, z = several("multiclass")
    w, g = weights(len(z)) if weighted else None, np.arange(len(z)) % 3
    ev = fx.evaluate(logits=z, target=y, weight=w, group_by={"g": g})
    for found, here in ((ev, np.ones(len(z), bool)), (ev.group(1), g == 1)):
        own, said = None if w is None else w[here], z[here].argmax(axis=1)
        for average in ("macro", "weighted", "micro"):
            exact = metrics.f1_score(y[here], said, average=average, sample_weight=own)
            assert found.fields[f"f1_{average}"] == pytest.approx(exact, rel=1e-12)
    t, _, p = binary()
    own = weights(N) if weighted else None
    ev = fx.evaluate(probs=p, target=t, task="binary", weight=own)
    for name in ("precision", "recall", "f1"):
        exact = getattr(metrics, f"{name}_score")(t, p > 0.5, sample_weight=own)
        assert ev.fields[name] == pytest.approx(exact, rel=1e-12)


def test_without_scores_there_is_no_curve():
    y, z = several("multiclass")
    ev = fx.evaluate(logits=z, target=y)
    assert ev.auc is None
    assert ev.auc_bounds is None
    with pytest.raises(fx.UsageError, match='roc_curve: scores were not gathered; pass statistics="ranking"'):
        ev.roc_curve()
    one = fx.evaluate(probs=[0.2, 0.7], target=[1, 1], task="binary")
    assert np.isnan([one.auc, *one.auc_bounds, one.average_precision, one.roc_curve().fpr[-1]]).all()
    assert "needs rows of both kinds" in str(one)
