"""Paired comparison against SciPy, statsmodels and plain programs."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import fastxent as fx
from fastxent import pairing
from fastxent.comparison import _Clusters, _Tally
from tests.test_states import run

pytest.importorskip("duckdb")

DATA = Path(__file__).parent.parent / "data"
A, B = str(DATA / "digits.parquet"), str(DATA / "digits_kernel.parquet")


@pytest.fixture(scope="module")
def digits() -> dict[str, Any]:
    """Losses and hits of both models, row by row, with the columns."""
    a, b = pq.read_table(A), pq.read_table(B)
    result: dict[str, Any] = {name: np.array(a[name]) for name in ("id", "fold", "ink", "label")}
    for side, table in (("a", a), ("b", b)):
        logits = np.array(table["logits"].to_pylist())
        result[side] = fx.cross_entropy(result["label"], logits=logits.astype(np.float32), reduction="none")
        result[f"hit_{side}"] = logits.argmax(axis=1) == result["label"]
    return result


def check(outcome: Any, d: np.ndarray, hit_a: np.ndarray, hit_b: np.ndarray) -> None:
    """An outcome without clusters against SciPy and statsmodels."""
    from statsmodels.stats.contingency_tables import mcnemar

    test = stats.ttest_rel(d, np.zeros_like(d))
    interval = test.confidence_interval(0.95)
    delta = outcome.delta
    assert delta.mean == float(sum(map(Fraction, d)) / len(d))
    assert (delta.t, delta.p_value, delta.df) == pytest.approx((test.statistic, test.pvalue, test.df), rel=1e-11)
    assert (delta.ci_low, delta.ci_high) == pytest.approx(tuple(interval), rel=1e-10)
    hits = hit_a.astype(float) - hit_b
    test = stats.ttest_rel(hits, np.zeros_like(hits))
    assert outcome.accuracy_delta.mean == pytest.approx(hits.mean(), rel=1e-15)
    assert outcome.accuracy_delta.p_value == pytest.approx(test.pvalue, rel=1e-11)
    table = np.array(
        [[(hit_a & hit_b).sum(), (hit_a & ~hit_b).sum()], [(~hit_a & hit_b).sum(), (~hit_a & ~hit_b).sum()]]
    )
    m = outcome.mcnemar
    assert [m.both, m.only_a, m.only_b, m.neither] == table.reshape(4).tolist()
    assert m.p_value == pytest.approx(mcnemar(table, exact=True).pvalue, rel=1e-12)
    assert outcome.wins == {"a": (d < 0).sum(), "b": (d > 0).sum(), "ties": (d == 0).sum()}


def test_digits(digits: dict[str, Any]) -> None:
    c = fx.compare(A, B, "label", logits="logits", on="id", group_by=["ink", "fold"], k=3)
    d = digits["a"] - digits["b"]
    check(c.outcome, d, digits["hit_a"], digits["hit_b"])
    for column in ("ink", "fold"):
        assert sorted(c.groups[column]) == sorted({str(v) for v in digits[column]})
        for value, outcome in c.groups[column].items():
            here = digits[column].astype(str) == value
            check(outcome, d[here], digits["hit_a"][here], digits["hit_b"][here])
    best = np.lexsort((digits["id"], -d))[:3]
    assert c.improved == [(digits["id"][i], digits["a"][i], digits["b"][i], d[i]) for i in best]
    worst = np.lexsort((digits["id"], d))[:3]
    assert c.regressed == [(digits["id"][i], digits["a"][i], digits["b"][i], d[i]) for i in worst]
    assert c.outcome.loss["a"] == fx.evaluate(A, "label", logits="logits").loss
    assert c.outcome.accuracy["b"] == fx.evaluate(B, "label", logits="logits").accuracy
    turned = fx.compare(B, A, "label", logits="logits", on="id")
    assert turned.delta.mean == -c.delta.mean
    assert turned.delta.stderr == c.delta.stderr


@pytest.mark.parametrize("cluster", ["fold", "label"])
def test_clusters_against_statsmodels(digits: dict[str, Any], cluster: str) -> None:
    from statsmodels.api import OLS

    c = fx.compare(A, B, "label", logits="logits", on="id", cluster_by=cluster, group_by="ink")
    d = digits["a"] - digits["b"]
    hits = digits["hit_a"].astype(float) - digits["hit_b"]
    outcomes = [(np.full(len(d), True), c.outcome), *((digits["ink"] == v, o) for v, o in c.groups["ink"].items())]
    for here, outcome in outcomes:
        groups = digits[cluster][here]
        assert outcome.clusters == len(set(groups))
        for values, difference in ((d[here], outcome.delta), (hits[here], outcome.accuracy_delta)):
            fit = OLS(values, np.ones_like(values)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
            assert difference.stderr == pytest.approx(fit.bse[0], rel=1e-11)
            assert difference.p_value == pytest.approx(fit.pvalues[0], rel=1e-10)
            assert (difference.ci_low, difference.ci_high) == pytest.approx(tuple(fit.conf_int()[0]), rel=1e-9)


def test_a_cluster_a_row_is_the_plain_error() -> None:
    plain = fx.compare(A, B, "label", logits="logits", on="id")
    single = fx.compare(A, B, "label", logits="logits", on="id", cluster_by="id")
    assert single.delta.mean == plain.delta.mean
    assert single.delta.stderr == pytest.approx(plain.delta.stderr, rel=1e-14)
    assert single.outcome.accuracy_delta.stderr == pytest.approx(plain.outcome.accuracy_delta.stderr, rel=1e-14)


def test_order_chunks_and_threads_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = pq.read_table(A), pq.read_table(B)
    rng = np.random.default_rng(0)
    pq.write_table(a.take(rng.permutation(len(a))), tmp_path / "a.parquet", row_group_size=100)
    parts = b.take(rng.permutation(len(b)))
    (tmp_path / "b").mkdir()
    pq.write_table(parts[:700], tmp_path / "b" / "0.parquet", row_group_size=64)
    pq.write_table(parts[700:], tmp_path / "b" / "1.parquet")

    def result(left: Any, right: Any, **options: Any) -> dict[str, Any]:
        c = fx.compare(left, right, "label", logits="logits", on="id", group_by="ink", cluster_by="fold", **options)
        return {k: v for k, v in c.to_dict().items() if k not in ("a", "b", "run")}

    want = result(A, B)
    monkeypatch.setattr(pairing, "ROWS", 50)
    monkeypatch.setattr(pairing, "STREAM", 77)
    monkeypatch.setattr("fastxent.engine.SMALL", 0)
    for threads in (1, 2, 5):
        assert result(tmp_path / "a.parquet", str(tmp_path / "b"), threads=threads) == want
    assert result(a, b, memory=64 << 20) == want  # tables in memory


def table(ids: Any, labels: Any, seed: int = 0, **columns: Any) -> pa.Table:
    rng = np.random.default_rng(seed)
    return pa.table({"id": ids, "z": list(rng.normal(size=(len(ids), 3))), "y": labels, **columns})


def test_rows_of_one_side_are_counted_and_named() -> None:
    c = fx.compare(table([5, 3, 9, 7], [0, 1, 2, 0]), table([9, 5, 1], [2, 0, 0], 1), "y", logits="z", on="id")
    assert c.num_rows == 2
    assert c.only == {"a": (2, [3, 7]), "b": (1, [1])}
    assert c.to_dict()["rows"] == {
        "compared": 2, "unscored": 0, "only_a": {"count": 2, "first": [3, 7]}, "only_b": {"count": 1, "first": [1]},
    }  # fmt: skip


def test_ids_of_several_columns_and_other_types() -> None:
    doc, place = ["x", "x", "y"], [0, 1, 0]
    a = table([0] * 3, [0, 1, 2], doc=pa.array(doc).dictionary_encode(), place=pa.array(place, pa.int8()))
    b = table([0] * 3, [2, 1, 0], 1, doc=pa.array(doc[::-1], pa.large_string()), place=place[::-1])
    c = fx.compare(a, b, "y", logits="z", on=["doc", "place"])
    assert c.num_rows == 3
    assert {tuple(row[0]) for row in c.improved + c.regressed} == {("x", 0), ("x", 1), ("y", 0)}


@pytest.mark.parametrize(
    ("left", "right", "options", "message"),
    [
        (table([1, 1, 2, 2, 3], [0] * 5), table([1, 2, 3], [0] * 3), {"on": "id"},
         r"2 ids occur more than once in a \(id 1, 2\)"),
        (table([1, 2], [0, 0]), table([2, 2], [0, 0]), {"on": "id"}, r"1 ids occur more than once in b \(id 2\)"),
        (table([1, 2, 3], [0, 1, 2]), table([1, 2, 3], [0, 2, 1]), {"on": "id"},
         r"2 rows have another target .*\(id 2, 3\)"),
        (table([1, 2], [0, 1]), table([1, 2], [0, 2]), {"by_order": True}, r"1 rows have another target .*\(row 1\)"),
        (table([1], [0]), table([1, 2], [0, 0]), {"by_order": True},
         "the sides must have the same rows, and have 1 and 2"),
        (table([1, None], [0, 0]), table([1, 2], [0, 0]), {"on": "id"}, "1 ids are null"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_paired(left: Any, right: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(fx.DataError, match=message):
        fx.compare(left, right, "y", logits="z", **options)


@pytest.mark.parametrize(
    ("right", "options", "message"),
    [
        (table([1], [0]), {}, "say how rows are paired"),
        (table([1], [0]), {"on": "id", "by_order": True}, "say how rows are paired"),
        (table([1], [0]), {"on": []}, "expected one column or several"),
        (table([1.0], [0]), {"on": "id"}, "'id' holds double; ids are"),
        (table(["1"], [0]), {"on": "id"}, "holds int64 on one side and string on the other"),
        (None, {"on": "id"}, "nothing to compare with"),
        (table([1], [0]), {"on": "id", "on_invalid": "propagate"}, "not 'propagate'"),
        (table([1], [0]), {"on": "id", "cluster_by": "f"}, "cluster_by: column 'f' holds floats"),
        (table([1], [[0.0, 0.5, 0.5]]), {"on": "id"}, "one side has distributions"),
        (pa.table({"id": [1], "z": [[1.0, 2.0]], "y": [0]}), {"on": "id"}, "3 and 2 classes"),
    ],
)
def test_calls_that_cannot_mean_anything(right: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(fx.UsageError, match=message):
        fx.compare(table([1], [0], f=[0.5]), right, "y", logits="z", **options)


def test_skipped_rows_are_left_out_on_both_sides() -> None:
    a = table([1, 2, 3, 4], [0, 1, 9, -100])
    b = table([1, 2, 3, 4], [0, 1, 9, -100], 1)
    b = b.set_column(1, "z", [[[1.0, 0, 0], [math.nan, 0, 0], [0.0, 1, 0], [0.0, 0, 1]]])
    c = fx.compare(a, b, "y", logits="z", on="id", on_invalid="skip", ignore_index=-100)
    assert (c.num_rows, c.unscored) == (1, 3)
    assert c.b.rows["invalid"] == {"label_out_of_range": 1, "nan_prediction": 1}
    with pytest.raises(fx.InvalidRowError):
        fx.compare(a, b, "y", logits="z", on="id", ignore_index=-100)


def test_sides_of_other_forms_and_columns() -> None:
    c = fx.compare(A, None, "label", logits="logits", b_probs="probs", by_order=True)
    assert c.outcome.accuracy_delta.mean == 0.0
    assert abs(c.delta.mean) < 1e-7
    assert c.to_dict()["settings"] == {"by_order": True, "forms": {"a": "logits", "b": "probs"}}


def test_arrays_and_binary() -> None:
    y = [0, 1, 1, 0]
    c = fx.compare(logits=[0.5, 1.0, -2.0, 0.0], b_logits=[0.5, 2.0, -1.0, -1.0], target=y, task="binary")
    d = np.diff(
        [fx.binary_cross_entropy(y, logits=z, reduction="none") for z in ([0.5, 2, -1, -1], [0.5, 1, -2, 0])], axis=0
    )
    assert c.delta.mean == pytest.approx(d.mean(), rel=1e-15)
    assert c.outcome.wins == {"a": 0, "b": 3, "ties": 1}
    with pytest.raises(fx.UsageError, match="arrays have none"):
        fx.compare(logits=[0.5], b_logits=[0.5], target=[1], task="binary", group_by="x")


def test_equal_predictions() -> None:
    c = fx.compare(A, A, "label", logits="logits", on="id", cluster_by="fold")
    assert c.delta.mean == c.delta.stderr == c.delta.t == 0.0
    assert c.delta.p_value == c.outcome.mcnemar.p_value == 1.0
    assert c.outcome.wins["ties"] == c.num_rows
    assert c.improved == c.regressed == []


def test_nothing_in_common() -> None:
    c = fx.compare(table([1], [0]), table([2], [0]), "y", logits="z", on="id", group_by="y")
    assert (c.num_rows, math.isnan(c.delta.mean), c.groups) == (0, True, {"y": {}})
    assert c.warnings == ["no row is on both sides; every difference is NaN"]


def test_infinite_losses() -> None:
    p, q = [[0.0, 1.0], [0.5, 0.5]], [[0.5, 0.5], [0.5, 0.5]]
    c = fx.compare(probs=p, b_probs=q, target=[0, 0])
    assert c.delta.mean == math.inf
    assert c.outcome.wins == {"a": 0, "b": 1, "ties": 1}
    c = fx.compare(probs=p, b_probs=p, target=[0, 0])
    assert math.isnan(c.delta.mean)
    assert "infinite on both sides" in c.warnings[0]


def test_groups_of_null_and_text_null_stay_apart() -> None:
    g = ["null", None, "x", "x"]
    c = fx.compare(
        table([1, 2, 3, 4], [0] * 4, g=g), table([1, 2, 3, 4], [0] * 4, 1), "y", logits="z", on="id", group_by="g"
    )
    assert {value: outcome.rows for value, outcome in c.groups["g"].items()} == {"'null'": 1, "null": 1, "x": 2}
    with pytest.raises(fx.DataError, match="'g' has nulls"):
        fx.compare(
            table([1, 2, 3, 4], [0] * 4, g=g), table([1, 2, 3, 4], [0] * 4), "y", logits="z", on="id", cluster_by="g"
        )


@settings(max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.floats(-50, 50), st.booleans(), st.booleans()), min_size=2, max_size=40),
    st.lists(st.integers(0, 40), max_size=5),
)
def test_pieces_of_clusters_add_up(rows: list[tuple[int, float, bool, bool]], cuts: list[int]) -> None:
    """However the sorted rows are cut, sums and errors are the same bits; the error is that of the formula."""
    rows = sorted(rows, key=lambda row: row[0])
    clusters = np.array([row[0] for row in rows])
    la = np.array([row[1] for row in rows])
    lb = np.zeros(len(rows))
    ca, cb = (np.array([row[i] for row in rows]) for i in (2, 3))

    def outcome(cuts: list[int]) -> Any:
        tally = _Tally(True)
        edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(rows)), len(rows)]
        for lo, hi in itertools.pairwise(edges):
            if hi > lo:
                tally.add(la[lo:hi], lb[lo:hi], ca[lo:hi], cb[lo:hi], (clusters[lo:hi], list(range(5))))
        return tally.outcome()

    whole = outcome([])
    assert repr(outcome(cuts)) == repr(whole)
    g = len(set(clusters.tolist()))
    if g > 1:
        m = sum(map(Fraction, la)) / len(la)
        sums = [sum(map(Fraction, la[clusters == c])) - m * int((clusters == c).sum()) for c in set(clusters.tolist())]
        want = math.sqrt(Fraction(g, g - 1) * sum(s * s for s in sums)) / len(la)
        # Where everything cancels, what is left is measured against the size of the differences themselves.
        assert whole.delta.stderr == pytest.approx(want, rel=1e-14, abs=1e-17 * float(np.abs(la).max()))


def test_the_same_difference_in_every_row_has_no_spread() -> None:
    for clustered in (False, True):
        tally = _Tally(clustered)
        d = np.full(9, 0.1)
        right = np.full(9, True)
        tally.add(d, np.zeros(9), right, right, (np.arange(9) // 2, list(range(5))) if clustered else None)
        assert tally.outcome().delta.stderr == 0.0
        assert tally.outcome().delta.mean == 0.1


def test_many_clusters_are_flushed() -> None:
    clusters = _Clusters()
    for i in range(10_000):
        clusters.add(i, np.array([1.0, 0.5]), 0, bool(i % 3))
    assert clusters.close() == 10_000


def test_the_command(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    common = ("--logits", "logits", "--target", "label", "--no-progress")
    code, output, error = run("compare", A, B, *common, "--on", "id", "--group-by", "ink", "--json", path)
    assert (code, error) == (0, "")
    result = json.loads(path.read_text())
    assert result["schema"] == "fastxent.comparison/1"
    assert result["rows"]["compared"] == 1797
    assert "0.107876" in output
    assert "McNemar" in output
    assert "ink" in output
    code, output, error = run(
        "compare", A, B, *common, "--by-order", "--json", "-", "--fail-if", "delta.ci_high > 0.01"
    )
    assert code == 1
    assert json.loads(output)["delta"] == result["delta"]
    assert error.startswith("fastxent: gate failed: delta.ci_high > 0.01 (it is 0.0")
    assert (
        run(
            "compare", A, B, *common, "--on", "id", "--group-by", "ink", "--fail-if", "groups.ink.light.delta.mean < 0"
        )[0]
        == 0
    )
    code, output, _ = run("compare", A, *common, "--b-probs", "probs", "--by-order")
    assert code == 0
    code, _, error = run("compare", A, B, *common)
    assert (code, "--by-order" in error) == (2, True)
