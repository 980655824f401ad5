"""Every column of the groups' table, against an evaluation of the group's rows alone and against libraries."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

import fastxent as fx
from fastxent.results.as_json import json_text
from fastxent.results.gates import failures, parse_gate
from fastxent.statistics import accuracy, calibration, classes, clusters, ranking, spread
from fastxent.statistics import table as tables
from fastxent.statistics.spread import QUANTILES
from fastxent.statistics.table import PLACES, Layout, Table
from fastxent.totals.totals import Totals
from tests.statdata import BREAST, DIGITS, breast, column, digits, evaluated, table, weights

WEIGHTED = pytest.mark.parametrize("weighted", [False, True])
NAMES = {"digits": ("ink", ("entropy", "temperature", "classwise")), "breast": ("radius", "ranking")}


def grouped(name, weighted, clustered=False, **options):
    """Groups, and for each of them the evaluation of its rows alone."""
    by, statistics = NAMES[name]
    data = table(DIGITS if name == "digits" else BREAST)
    n = len(data)
    data = data.append_column("doc", [np.arange(n) // 3]).append_column("bytes", [np.arange(n) % 7])
    if weighted:
        data = data.append_column("w", [weights(n)])
    options |= {"target": "label", "units": "bytes", "statistics": statistics, "weight": "w" if weighted else None}
    options |= {"logits": "logits"} if name == "digits" else {"logits": "logit", "task": "binary"}
    options |= {"cluster_by": "doc"} if clustered else {}
    for row in fx.evaluate(data, group_by=by, **options).groups.to_pylist():
        yield row, fx.evaluate(data.filter(np.array(column(DIGITS if name == "digits" else BREAST, by)) == row[by]),
                               **options)  # fmt: skip


@WEIGHTED
@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("name", ["digits", "breast"])
def test_a_group_is_the_evaluation_of_its_rows(name, weighted, clustered):
    for row, alone in grouped(name, weighted, clustered):
        stats, units = alone.loss_stats, alone.units
        expected = {
            "loss": stats.mean, "stderr": stats.stderr, "ci_low": stats.ci95[0], "ci_high": stats.ci95[1],
            "sum": stats.sum, "variance": stats.variance, "std": stats.std, "min": stats.min, "max": stats.max,
            "perplexity": alone.perplexity, "bits": alone.bits,
            "units": units.sum, "loss_per_unit": units.loss, "bits_per_unit": units.bits, "d2": alone.d2,
            "stderr_per_unit": units.stderr, "normalized_entropy": alone.normalized_entropy,
            "accuracy": alone.accuracy, "brier": alone.brier, "ece": alone.calibration.ece,
            "mce": alone.calibration.mce, "rmsce": alone.calibration.rmsce, "ace": alone.calibration.ace,
        }  # fmt: skip
        expected["accuracy_low"], expected["accuracy_high"] = alone.top_k_interval()
        for q in QUANTILES:
            found, text = alone.quantile(q), f"q{100 * q:02.0f}"
            expected |= {text: found.value, f"{text}_low": found.low, f"{text}_high": found.high}
        if name == "digits":
            expected |= {"top3": alone.top_k[3], "top5": alone.top_k[5], "mrr": alone.mrr, "entropy": alone.entropy}
            expected |= {f"temperature_{part}": getattr(alone.temperature, part) for part in ("best", "loss", "gain")}
            expected |= {"classwise_ece": alone.classwise_ece} | asdict(alone.brier_parts)
        else:
            expected |= asdict(alone.brier_parts)
            for area in ("auc", "average_precision"):
                low, high = getattr(alone, f"{area}_bounds")
                expected |= {area: getattr(alone, area), f"{area}_low": low, f"{area}_high": high}
        assert row["count"] == alone.num_rows
        assert row.get("clusters") == (stats.clusters.count if clustered else None)
        assert {key: row[key] for key in expected} == expected
        means = {"f1_macro", "f1_weighted", "f1_micro", "balanced_accuracy", "mcc", "ece_floor"}
        means |= {"precision", "recall", "f1"} if name == "breast" else set()
        rest = row.keys() - expected.keys() - {NAMES[name][0], "count", "clusters"} - means
        assert rest == ({"weight"} if weighted else set())


@WEIGHTED
@pytest.mark.parametrize("name", ["digits", "breast"])
def test_means_over_classes_agree_with_scikit_learn(name, weighted):
    y, p, _ = digits() if name == "digits" else breast()
    predicted = p.argmax(axis=1) if name == "digits" else (p > 0.5).astype(int)
    w = weights(len(y)) if weighted else np.ones(len(y))
    by, path = NAMES[name][0], DIGITS if name == "digits" else BREAST
    for row in evaluated(name, weighted, group_by=by).groups.to_pylist():
        here = (column(path, by) == row[by]) & (w > 0)
        f1 = metrics.f1_score(y[here], predicted[here], average="macro", sample_weight=w[here])
        assert row["f1_macro"] == pytest.approx(f1, rel=1e-12)
        recall = metrics.recall_score(y[here], predicted[here], average="macro", sample_weight=w[here],
                                      labels=np.unique(y[here]))  # fmt: skip
        assert row["balanced_accuracy"] == pytest.approx(recall, rel=1e-12)


def test_an_infinite_loss_leaves_the_other_columns_alone():
    p = np.array([[1.0, 0.0], [0.75, 0.25], [0.5, 0.5]])
    row, other = fx.evaluate(probs=p, target=np.array([1, 0, 0]), group_by={"g": ["a", "a", "b"]}).groups.to_pylist()
    assert row["loss"] == row["max"] == row["q95"] == math.inf
    assert math.isnan(row["stderr"])
    assert (row["accuracy"], row["mrr"], row["brier"], row["count"]) == (0.5, 0.75, (2.0 + 2 * 0.25**2) / 2, 2)
    assert other["loss"] == math.log(2.0)


def test_a_weight_far_above_the_others():
    z, y = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]]), np.array([0, 1, 1])
    weight = np.array([1.0, 2.0**60, 1.0])
    result = fx.evaluate(logits=z, target=y, group_by={"g": [1, 1, 2]}, weight=weight)
    row, other = result.groups.to_pylist()
    assert row["accuracy"] == np.average([1, 1], weights=weight[:2])
    assert row["ece"] == pytest.approx(1 - 1 / (1 + math.exp(-1)), rel=1e-15)
    assert row["loss"] == np.average(np.log1p(np.exp([-2.0, -1.0])), weights=weight[:2])
    assert other["accuracy"] == 0.0
    assert other["loss"] == pytest.approx(math.log1p(math.exp(3.0)))
    assert result.accuracy == 1.0  # but for 2^-60
    assert result.mrr == 1.0


@pytest.mark.parametrize("limit", [10**6, 400, 60, 15, 9])
def test_quantiles_of_too_many_cells_are_not_told(limit, monkeypatch):
    whole = evaluated("digits", group_by="ink")
    monkeypatch.setattr(spread, "MOST_CELLS", limit)
    monkeypatch.setattr(tables, "DENSE", 0)
    result = evaluated.__wrapped__("digits", group_by="ink")
    assert ("quantiles of the loss are not told" in " ".join(result.warnings)) == (limit < 10**6)
    for row, exact in zip(result.groups.to_pylist(), whole.groups.to_pylist(), strict=True):
        names = [name for name in row if name[0] == "q" and name[1].isdigit()]
        if limit < 10**6:
            assert all(math.isnan(row[name]) for name in names)
            assert row["max"] == exact["max"]
        else:
            assert row == exact


@WEIGHTED
@pytest.mark.parametrize("limit", [10, 50, 200])
def test_rankings_of_too_many_scores_are_not_told(limit, weighted, monkeypatch):
    monkeypatch.setattr(ranking, "MOST_CELLS", limit)
    monkeypatch.setattr(tables, "DENSE", 0)
    result = evaluated.__wrapped__("breast", weighted, group_by="radius", statistics="ranking")
    assert "ROC AUC and average precision are not told" in " ".join(result.warnings)
    for name in ("auc", "average_precision"):
        assert all(math.isnan(v) for end in ("", "_low", "_high") for v in result.groups[name + end].to_pylist())
    assert result.auc_low <= result.auc <= result.auc_high


def test_too_many_pairs_of_classes_leave_what_they_can(monkeypatch):
    whole = evaluated("digits", group_by="ink").groups
    monkeypatch.setattr(tables, "DENSE", 0)
    for limit, kept in ((60, ("d2", "balanced_accuracy", "f1_macro", "mcc")), (10, ())):
        monkeypatch.setattr(classes, "MOST_CELLS", limit)
        found = evaluated.__wrapped__("digits", group_by="ink").groups
        for name in ("d2", "balanced_accuracy", "f1_macro", "mcc"):
            if name in kept:
                assert found[name].to_pylist() == whole[name].to_pylist()
            else:
                assert all(map(math.isnan, found[name].to_pylist()))


def test_errors_of_too_many_clusters_are_not_told(monkeypatch):
    exact = evaluated("digits", group_by="ink", cluster_by="id").groups
    monkeypatch.setattr(clusters, "MOST_CLUSTERS", 400)
    result = evaluated.__wrapped__("digits", group_by="ink", cluster_by="id")
    assert "errors that respect clusters are not told" in " ".join(result.warnings)
    assert result.groups["clusters"].to_pylist() == [None] * 3
    assert all(map(math.isnan, result.groups["stderr"].to_pylist()))
    assert result.groups["loss"].to_pylist() == exact["loss"].to_pylist()


def halved(keys, cells, level):
    """Counts by number, the numbers halved until they fit."""
    places = keys & PLACES
    return np.where(keys < 0, -1, keys - places + (places >> 1)), cells


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 200), st.integers(0, 2**41)), max_size=120),
    cuts=st.lists(st.integers(0, 120), max_size=4),
    data=st.data(),
)
def test_sparse_sums_depend_on_the_rows_alone(rows, cuts, data):
    groups, places, values = (np.array(c, np.int64) for c in zip(*rows, strict=True)) if rows else np.zeros((3, 0), int)
    cells = np.stack([values >> 40, values & (2**40 - 1)], axis=1)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    parts = [Table(Layout((0, 40), 0, 20, halved)) for _ in edges[1:]]
    # Every part numbers its groups in its own way.
    names = [data.draw(st.permutations(range(4))) for _ in parts]
    for part, name, lo, hi in zip(parts, names, edges[:-1], edges[1:], strict=True):
        part.add(np.array(name)[groups[lo:hi]].astype(np.int32), places[lo:hi], cells[lo:hi])
    whole = Table(Layout((0, 40), 0, 20, halved))
    for i in data.draw(st.permutations(range(len(parts)))):
        whole.merge(parts[i], np.argsort(names[i]))
    level, (keys, sums) = whole.state(np.arange(4))
    known = [(g, p, v) for g, p, v in rows if p >= 0]
    least = next(n for n in range(20) if len({(g, p >> n) for g, p, _ in known}) <= 20)
    expected = {}
    for g, p, v in known:
        expected[g << 46 | p >> least] = expected.get(g << 46 | p >> least, 0) + v
    expected = {key: value for key, value in expected.items() if value}  # what is nothing is not there
    assert level == least
    assert keys.tolist() == sorted(expected)
    assert [(int(a) << 40) + int(b) for a, b in sums] == [expected[key] for key in sorted(expected)]
    again = Table(Layout((0, 40), 0, 20, halved))
    again.load(level, [keys, sums], 4)
    assert [array.tolist() for array in again.state(np.arange(4))[1]] == [keys.tolist(), sums.tolist()]


@pytest.mark.parametrize(
    ("level", "keys", "cells", "message"),
    [
        (0, [3, 2], [[1], [1]], "out of order"),
        (0, [-1], [[1]], "out of order"),
        (0, [1 << 47], [[1]], "groups that are not there"),
        (-1, [1], [[1]], "level -1"),
        ("0", [1], [[1]], "level '0'"),
        (0, [1, 2, 3], [[1], [1], [1]], "3 keys, and may have 2"),
        (0, [1], [[1, 1]], "shape"),
    ],
)
def test_damaged_tables_are_refused(level, keys, cells, message):
    with pytest.raises(fx.StateError, match=message):
        Table(Layout((0,), 0, 2, halved)).load(level, [np.array(keys), np.array(cells)], 2)


def test_groups_of_other_losses_have_fewer_columns():
    p, q = np.full((4, 3), 1 / 3), np.tile([0.5, 0.25, 0.25], (4, 1))
    found = fx.evaluate(probs=p, target=q, loss="kl_divergence", group_by={"g": pa.array([1, 1, 2, None])}).groups
    assert found.column_names[-3:] == ["q99", "q99_low", "q99_high"]
    assert found["loss"].to_pylist() == pytest.approx([math.log(3.0) - 1.5 * math.log(2.0)] * 3)
    several = fx.evaluate(logits=p, target=(q > 0.3) * 1, task="multilabel", group_by={"g": [0, 0, 1, 1]}).groups
    assert {"accuracy", "brier"} <= set(several.column_names)
    assert not {"accuracy_low", "ece", "d2", "auc"} & set(several.column_names)


def test_gates_see_every_column():
    result = evaluated("digits", group_by=("ink", "fold"), cluster_by="id")
    told = result.to_dict()
    row = next(row for row in told["groups"] if (row["ink"], row["fold"]) == ("light", 2))
    for name in row.keys() - {"ink", "fold"}:
        assert parse_gate(f"groups.ink.light.fold.2.{name} < 0.5").value(told) == row[name]
    assert failures([parse_gate("margins.ink.light.q95_high > 0.2")], told)


def plain_dict(result):
    """What an evaluation says, but for how it was run."""
    return {name: value for name, value in result.to_dict().items() if name not in ("run", "settings")}


@WEIGHTED
@pytest.mark.parametrize("name", ["digits", "breast"])
def test_one_group_says_what_its_rows_say_alone(name, weighted):
    by, statistics = NAMES[name]
    path = DIGITS if name == "digits" else BREAST
    data = table(path).append_column("bytes", [np.arange(len(table(path))) % 7])
    options = {"target": "label", "units": "bytes", "statistics": statistics, "bins": 10}
    options |= {"logits": "logits", "top_k": (2, 7)} if name == "digits" else {"logits": "logit", "task": "binary"}
    if weighted:
        data, options["weight"] = data.append_column("w", [weights(len(data))]), "w"
    result = fx.evaluate(data, group_by=(by, "fold"), **options)
    values, folds = np.array(column(path, by)), column(path, "fold")
    for value in result.margins[by][by].to_pylist():
        pairs = [(result.group(**{by: value}), values == value)]
        pairs.append((result.group(value, 1), (values == value) & (folds == 1)))
        for found, here in pairs:
            alone = fx.evaluate(data.filter(here), **options)
            assert json_text(plain_dict(found)) == json_text(plain_dict(alone))
            assert found.loss_histogram(128).equals(alone.loss_histogram(128))
            assert found.calibrate(25, "sklearn") == alone.calibrate(25, "sklearn")
            assert json_text(found.fields) == json_text(alone.fields)


def test_a_group_that_is_not_there():
    result = evaluated("digits", group_by=("ink", "fold"))
    assert result.group("light", 2).num_rows == result.group(fold=2, ink="light").num_rows
    for call, message in (
        (lambda: result.group("pale", 2), r"group: no scored row has ink='pale', fold=2"),
        (lambda: result.group("light"), r"group: expected 2 values \(ink, fold\), got 1"),
        (lambda: result.group(colour="light"), r"group: 'colour' is not among the columns of group_by: ink, fold"),
        (lambda: evaluated("digits").group("light"), r"group: nothing was grouped; pass group_by="),
    ):
        with pytest.raises(fx.UsageError, match=message):
            call()


def test_groups_that_share_memory_hold_the_exact_values(monkeypatch):
    alone = {ink: fx.evaluate(table(DIGITS).filter(column(DIGITS, "ink") == ink), logits="logits", target="label")
             for ink in ("heavy", "light", "medium")}  # fmt: skip
    monkeypatch.setattr(tables, "DENSE", 0)
    monkeypatch.setattr(accuracy, "MOST_CELLS", 36)
    for module in (spread, classes):
        monkeypatch.setattr(module, "MOST_CELLS", 60)
    for limit, widths in ((700, 720), (150, 60), (45, 15)):
        monkeypatch.setattr(calibration, "MOST_CELLS", limit)
        result = evaluated.__wrapped__("digits", group_by="ink")
        assert f"calibration is that of {widths} equal widths" in " ".join(result.warnings)
        for ink, whole in alone.items():
            found = result.group(ink)
            for name in ("loss", "brier", "accuracy", "mrr", "d2", "mcc", "calibration"):
                assert getattr(found, name) == getattr(whole, name)
            assert all(math.isnan(quantile.value) for quantile in found.loss_stats.quantiles.values())
            assert found.confusion is None
            assert found.per_class.equals(whole.per_class)
            assert found.confused is None
            with pytest.raises(fx.UsageError, match=f"each keeps {widths} equal widths"):
                found.calibrate(25)
            with pytest.raises(fx.UsageError, match=r"each keeps .* of its losses; evaluate the rows of"):
                found.loss_histogram(128)


def test_groups_with_too_many_ranks_keep_the_first_ten(monkeypatch):
    monkeypatch.setattr(accuracy, "MOST_CELLS", 30)
    monkeypatch.setattr(tables, "DENSE", 0)
    z, y = np.random.default_rng(1).normal(size=(400, 40)), np.arange(400) % 40
    result = fx.evaluate(logits=z, target=y, group_by={"g": y % 2}, top_k=(5, 10))
    assert "ranks of the target from 10 on are not told apart" in " ".join(result.warnings)
    for g in range(2):
        found, whole = result.group(g), fx.evaluate(logits=z[y % 2 == g], target=y[y % 2 == g], top_k=(5, 10))
        assert found.top_k == whole.top_k
        assert math.isnan(found.mrr)
        assert all(map(math.isnan, found.top_k_interval(11)))


@WEIGHTED
@pytest.mark.parametrize("name", ["digits", "breast"])
def test_classes_of_groups_are_those_of_their_rows(name, weighted):
    by = NAMES[name][0]
    result = evaluated(name, weighted, group_by=(by, "fold"))
    told, seen = result.group_per_class.to_pylist(), 0
    for row in result.groups.to_pylist():
        alone = {entry["class"]: entry for entry in result.group(row[by], row["fold"]).per_class.to_pylist()}
        for entry in (entry for entry in told if (entry[by], entry["fold"]) == (row[by], row["fold"])):
            expected = alone.pop(entry["class"])
            assert list(entry) == [by, "fold", *expected]
            numbers = [name for name in expected if name != "class"]
            found = [entry[name] for name in numbers]
            assert found == pytest.approx([expected[n] for n in numbers], rel=1e-12, abs=1e-12, nan_ok=True)
            seen += 1
        assert all(entry["support"] == 0 for entry in alone.values())
    assert seen == len(told)
    entry = told[3]
    gate = parse_gate(f"group_per_class.{by}.{entry[by]}.fold.{entry['fold']}.{entry['class']}.recall < 2")
    assert gate.value(result.to_dict()) == entry["recall"]


@WEIGHTED
@pytest.mark.parametrize(("limit", "left"), [(10**6, "pairs"), (70, "classes"), (40, "targets"), (20, "none")])
def test_what_is_left_of_too_many_classes_is_what_the_rows_say(limit, left, weighted, monkeypatch):
    rng = np.random.default_rng(4)
    z, y, g = rng.normal(size=(600, 20)), rng.integers(0, 12, 600), np.arange(600) % 3  # eight classes are no target
    w = rng.integers(0, 4, 600).astype(float) if weighted else None
    z[y == 5, 5] = -np.inf  # an infinite loss, whose rows have a confidence all the same

    def evaluated_rows(rows, group=None):
        weight = None if w is None else w[rows]
        return fx.evaluate(
            logits=z[rows], target=y[rows], weight=weight, group_by=None if group is None else {"g": group[rows]}
        )

    alone = [evaluated_rows(g == k) for k in range(3)]
    monkeypatch.setattr(classes, "MOST_CELLS", limit)
    monkeypatch.setattr(tables, "DENSE", 0)
    result = evaluated_rows(slice(None), g)
    first, second = (evaluated_rows(rows, g).totals for rows in (slice(450, 600), slice(0, 450)))
    first.merge(Totals.from_bytes(second.to_bytes()))
    assert first.to_bytes() == result.totals.to_bytes()
    told = None if result.group_per_class is None else result.group_per_class.to_pylist()
    for k, whole in enumerate(alone):
        found = result.group(k)
        assert (found.confusion is None) == (found.confused is None) == (left != "pairs")
        assert (found.weighted_confusion is None) == (left != "pairs" or not weighted)
        if left == "none":
            assert found.per_class is told is None
            continue
        names = ["class", "support", *(["weight"] if weighted else []), "loss", "recall"]
        expected = whole.per_class.select(names) if left == "targets" else whole.per_class
        assert json_text(found.per_class.to_pylist()) == json_text(expected.to_pylist())
        rows = {row["class"]: row for row in expected.to_pylist()}
        here = [row for row in told if row["g"] == k]
        assert len(here) == (12 if left == "targets" else 20)
        for row in here:
            numbers = [name for name in expected.column_names if name != "class"]
            assert [row[n] for n in numbers] == pytest.approx([rows[row["class"]][n] for n in numbers], nan_ok=True)


def test_what_groups_do_not_say_is_told(monkeypatch):
    assert evaluated("digits", group_by="ink").warnings == []
    for module, limit in ((spread, 40), (accuracy, 40), (classes, 20), (calibration, 45)):
        monkeypatch.setattr(module, "MOST_CELLS", limit)
    monkeypatch.setattr(tables, "DENSE", 0)
    (warning,) = evaluated.__wrapped__("digits", group_by="ink").warnings
    for text in (
        "calibration is that of 15 equal widths",
        "nothing is told by class",
        "quantiles of the loss are not told",
    ):
        assert text in warning


@WEIGHTED
def test_groups_of_several_labels_are_ranked_too(weighted):
    rng = np.random.default_rng(3)
    z, g = rng.normal(size=(300, 4)), np.arange(300) % 3
    y, w = (rng.random((300, 4)) < 0.4).astype(np.int8), rng.integers(1, 5, 300).astype(np.float64)
    options = {"task": "multilabel", "statistics": "ranking"}
    result = fx.evaluate(logits=z, target=y, weight=w if weighted else None, group_by={"g": g}, **options)
    for row in result.groups.to_pylist():
        here = g == row["g"]
        alone = fx.evaluate(logits=z[here], target=y[here], weight=w[here] if weighted else None, **options)
        assert json_text(plain_dict(result.group(row["g"]))) == json_text(plain_dict(alone))
        exact = metrics.roc_auc_score(y[here], z[here], sample_weight=w[here] if weighted else None)
        assert row["auc_low"] - 1e-12 <= exact <= row["auc_high"] + 1e-12
        assert row["average_precision"] == pytest.approx(alone.average_precision, rel=1e-12)
