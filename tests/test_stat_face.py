"""The evaluation's face: dict, JSON, notebook, shell; names from data act on no terminal and no page."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import fastxent as fx
from fastxent.cli.main import cli
from tests.statdata import BREAST, DIGITS, digits, evaluated

EVIL = "\x1b[31m[red]<script>alert(1)</script>\u202e"


def test_names_in_json_are_those_of_the_design():
    found = json.loads(
        evaluated(
            "digits",
            group_by="ink",
            worst=3,
            worst_per_class=1,
            keep="id",
            cluster_by="fold",
            units="id",
            label_errors=2,
            statistics="temperature",
        ).to_json()
    )
    assert set(found) == {
        "schema", "spec", "rows", "loss_unit", "loss", "loss_histogram", "perplexity", "units", "normalized_entropy",
        "d2", "accuracy", "balanced_accuracy", "f1_macro", "f1_weighted", "f1_micro", "mcc", "mrr",
        "brier", "brier_scaled", "calibration", "intervals",
        "per_class", "confusion", "confused", "groups",
        "group_per_class", "group_worst", "group_worst_per_class", "group_label_errors", "worst", "worst_per_class",
            "label_errors", "temperature", "settings", "warnings", "run",
    }  # fmt: skip
    assert found["settings"] == {
        "group_by": ["ink"], "worst": 3, "worst_per_class": 1, "keep": ["id"], "cluster_by": "fold", "units": "id",
        "label_errors": 2, "temperature": True,
    }  # fmt: skip
    assert set(found["loss"]) == {
        "mean", "sum", "variance", "std", "stderr", "min", "max", "infinite", "bits", "ci95", "quantiles",
        "quantile_bounds", "clusters",
    }  # fmt: skip
    assert set(found["accuracy"]) == {"top1", "top3", "top5", "ci95"}
    low, high = found["loss"]["quantile_bounds"]["0.5"]
    assert low <= np.median(digits()[2]) <= high
    assert sum(row["count"] for row in found["loss_histogram"]) == 1797
    assert found["loss"]["clusters"] == {"column": "fold", "count": 5, "exact": True}
    assert set(found["worst"][0]) == {"path", "row", "loss", "target", "predicted", "p_target", "confidence", "id"}
    assert [row["target"] for row in found["worst_per_class"]] == list(range(10))
    assert found["groups"][0]["ink"] == "heavy"
    binary = json.loads(evaluated("breast", statistics="ranking").to_json())
    assert set(binary["auc"]) == {"value", "low", "high"}
    assert set(binary["brier_parts"]) == {"reliability", "resolution", "uncertainty", "residual"}
    assert {"ranking", "thresholds", "average_precision"} <= set(binary)
    lean = fx.Evaluation(fx.Totals(fx.Spec.make(num_classes=3)))
    assert not {"groups", "worst", "units", "auc", "temperature", "settings"} & set(lean.to_dict())


def test_nothing_scored_is_nan_everywhere():
    for task, classes in (("multiclass", 3), ("binary", 1), ("multilabel", 4)):
        for weighted in (False, True):
            found = fx.Evaluation(fx.Totals(fx.Spec.make(num_classes=classes, task=task, weighted=weighted)))
            assert math.isnan(found.loss)
            assert math.isnan(found.accuracy)
            assert math.isnan(found.brier)
            json.loads(found.to_json())
            assert "<table>" in found._repr_html_()


def test_tables_go_to_frames():
    import pandas

    found = evaluated("digits", group_by="ink", worst=3)
    for table in (found.per_class, found.groups, found.worst, found.calibration.table, found.confused):
        assert isinstance(table, pa.Table)
        assert isinstance(table.to_pandas(), pandas.DataFrame)


def test_more_classes_than_a_matrix_holds():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(300, 1001)).astype(np.float32)
    y = rng.integers(0, 128, 300).astype(np.int8)
    found = fx.evaluate(logits=z, target=y)
    assert found.confusion is None
    predicted = z.argmax(axis=1)
    pairs = [(t, p) for t, p in zip(y.tolist(), predicted.tolist(), strict=True) if t != p]
    assert found.confused["count"].to_pylist()[0] == max(pairs.count(pair) for pair in set(pairs))
    assert found.per_class["support"].to_pylist() == np.bincount(y, minlength=1001).tolist()
    again = fx.Totals.from_bytes(found.totals.to_bytes())
    assert fx.Evaluation(again).confused.equals(found.confused)


@pytest.fixture
def evil(tmp_path):
    data = pq.read_table(BREAST)
    data = data.append_column("g\x1b[0m", [pa.array([EVIL] * 569)])
    path = tmp_path / "evil.parquet"
    pq.write_table(data, path)
    return str(path)


def test_names_from_data_are_harmless(evil):
    name = "g\x1b[0m"
    found = fx.evaluate(
        evil,
        logits="logit",
        target="label",
        task="binary",
        group_by=name,
        worst=2,
        keep=name,
        cluster_by=name,
        units="id",
    )
    page = found._repr_html_()
    assert "<script>" not in page
    assert "\x1b" not in page
    told = CliRunner().invoke(
        cli, ["evaluate", evil, "--logits", "logit", "--target", "label", "--task", "binary", "--group-by", name,
              "--worst", "2", "--keep", name, "--cluster-by", name, "--units", "id"],
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    assert "\x1b" not in told.output
    assert "\u202e" not in told.output
    assert "[red]<script>" in told.output


def test_the_shell_has_the_same_words():
    told = CliRunner().invoke(
        cli, ["evaluate", DIGITS, "--logits", "logits", "--target", "label", "--group-by", "ink,fold", "--worst", "4",
              "--cluster-by", "id", "--units", "fold", "--keep", "id,ink", "--label-errors", "2", "--top-k", "2",
              "--worst-per-class", "2", "--bins", "10", "--binning", "equal_mass", "--json", "-"],
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    found = json.loads(told.output)
    expected = evaluated(
        "digits", group_by=("ink", "fold"), cluster_by="id", units="fold", worst=4, keep=("id", "ink"), label_errors=2,
        worst_per_class=2, top_k=(2,), bins=10, binning="equal_mass",
    )  # fmt: skip
    expected = json.loads(expected.to_json())
    for result in (found, expected):
        result.pop("run")
        kept = [result[f"{of}{name}"] for of in ("", "group_") for name in ("worst", "worst_per_class", "label_errors")]
        for rows in (each for part in kept for each in (part.values() if isinstance(part, dict) else [part])):
            for row in rows:
                row.pop("path")
    assert found == expected


def test_wrong_words_are_told(monkeypatch):
    with pytest.raises(
        fx.UsageError, match="statistics: expected 'classwise', 'entropy', 'ranking', 'temperature', got 'auc'"
    ):
        evaluated("digits", statistics="auc")
    monkeypatch.setattr("fastxent.engine.runners.threads.run", None)  # it is told before anything is scored
    for options, message in (
        ({"bins": 7}, "bins: expected a divisor of 3600, got 7"),
        ({"binning": "even"}, "binning: expected one of 'equal_width'"),
        ({"top_k": (1, 11)}, "top_k: expected numbers from 1 to 10, got 11"),
        ({"bins": 16, "statistics": "classwise"}, "takes a divisor of 120, got 16"),
    ):
        with pytest.raises(fx.UsageError, match=message):
            fx.evaluate(DIGITS, logits="logits", target="label", **options)
    with pytest.raises(fx.UsageError, match="worst: expected a number of rows up to"):
        evaluated("digits", worst=10**9)
    told = CliRunner().invoke(cli, ["evaluate", DIGITS, "--logits", "logits", "--target", "label", "--worst", "-1"])
    assert told.exit_code == 2
