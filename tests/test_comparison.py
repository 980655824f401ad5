"""Paired comparison against SciPy, statsmodels and plain programs."""

from __future__ import annotations

import itertools
import json
import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import fastxent as fx
from fastxent.base import exact
from fastxent.comparison import pairing, spool
from fastxent.comparison.cluster_sums import rounded_sums
from fastxent.comparison.differences import Pairing, PairSums, _Spread
from fastxent.results.gates import parse_gate
from tests.test_states import run

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


def test_tables_and_notebook(digits: dict[str, Any]) -> None:
    import polars

    c = fx.compare(A, B, "label", logits="logits", on=["id", "fold"], group_by=["ink", "fold"], k=2)
    groups = c.per_group
    assert list(zip(groups["column"].to_pylist(), groups["value"].to_pylist(), strict=True)) == [
        (column, value) for column, values in c.groups.items() for value in values
    ]
    light = groups.to_pylist()[list(c.groups["ink"]).index("light")]
    assert light["delta"] == c.groups["ink"]["light"].delta.mean
    assert light["accuracy_b"] == c.groups["ink"]["light"].accuracy["b"]
    assert c.changed["delta"].to_pylist() == [row[3] for row in c.improved + c.regressed]
    assert json.loads(c.changed["id"][0].as_py()) == c.improved[0][0]
    assert polars.from_arrow(c.changed).shape == c.changed.to_pandas().shape == (4, 4)
    evil = "<script>\x1b[31m"
    data = table([evil, "b"], [0, 1], g=[evil, "x"])
    shown = fx.compare(data, table([evil, "b"], [0, 1], 1), "y", logits="z", on="id", group_by="g")._repr_html_()
    assert "&lt;script&gt;\\x1b[31m" in shown
    assert "<script>" not in shown
    alone = fx.compare(data, data, "y", logits="z", on="id")
    assert (alone.per_group.num_rows, alone.changed.num_rows) == (0, 0)
    assert "by group" not in alone._repr_html_()


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

    def result(left: Any, right: Any, **options: Any) -> list[dict[str, Any]]:
        common = {"logits": "logits", "on": "id", "group_by": "ink", "permutations": 99} | options
        clustered = fx.compare(left, right, "label", cluster_by="fold", **common)
        found = [c.to_dict() for c in (clustered, fx.compare(left, right, "label", weight="id", **common))]
        return [{k: v for k, v in each.items() if k not in ("a", "b", "run")} for each in found]

    want = result(A, B)
    monkeypatch.setattr(spool, "ROWS", 50)
    monkeypatch.setattr(pairing, "STREAM", 77)
    monkeypatch.setattr("fastxent.engine.runners.threads.SMALL", 0)
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


LATE, EARLY = "1970-01-01 00:00:00.000001001", "1970-01-01 00:00:00.000000001"


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        (pa.array([2**64 - 1, 1], pa.uint64()), [2**64 - 1, 1]),
        (pa.array([1001, 1], pa.timestamp("ns")), [LATE, EARLY]),
        (pa.array([1001, 1], pa.time64("ns")), [LATE[11:], EARLY[11:]]),
        (pa.array([b"b\xff", b"a"], pa.large_binary()), [b"b\xff", b"a"]),
        (pa.array(["b", "a"], pa.string_view()), ["b", "a"]),
    ],
)
def test_ids_and_groups_are_named_exactly(ids: pa.Array, names: list[Any]) -> None:
    left, right = table(ids, [0, 1], g=ids), table(ids, [0, 1], 1)
    c = fx.compare(left, right, "y", logits="z", on="id", group_by="g")
    assert sorted(row[0] for row in c.improved + c.regressed) == sorted(names)
    assert sorted(c.changed["id"].to_pylist()) == sorted(n if isinstance(n, int) else str(n) for n in names)
    assert list(c.groups["g"]) == [str(name) for name in sorted(names)]
    assert fx.compare(left, right[1:], "y", logits="z", on="id").only["a"] == (1, names[:1])


def test_ids_of_any_integer_type_are_paired() -> None:
    left, right = table(pa.array([1, 2], pa.uint64()), [0, 1]), table(pa.array([2, 5], pa.int8()), [1, 0], 1)
    assert fx.compare(left, right, "y", logits="z", on="id").only == {"a": (1, [1]), "b": (1, [5])}


def test_files_that_say_what_they_hold_need_no_names(tmp_path: Path) -> None:
    paths = [tmp_path / f"{side}.parquet" for side in "ab"]
    rng = np.random.default_rng(0)
    for path, form in zip(paths, ("logits", "log_probs"), strict=True):
        with fx.PredictionWriter(path, form=form) as w:
            z = rng.normal(size=(50, 4))
            z -= np.log(np.exp(z).sum(axis=1, keepdims=True)) if form == "log_probs" else 0.0
            w.write(z, target=np.arange(50) % 4, id=np.arange(50))
    c = fx.compare(*paths, on="id")
    assert c.num_rows == 50
    assert c.settings["forms"] == {"a": "logits", "b": "log_probs"}
    assert c.outcome.loss["b"] == fx.evaluate(paths[1]).loss
    assert c.a.class_names[0] == "logit_0"  # beside log_prob_0: the names after the common part agree
    turned = [f"log_prob_{i}" for i in (1, 0, 2, 3)]
    with pytest.raises(fx.UsageError, match="name their classes differently, or in another order"):
        fx.compare(*paths, "target", logits="logit_*", b_log_probs=turned, on="id")


def test_an_error_says_which_side_it_is_about() -> None:
    good = table([1, 2], [0, 1])
    with pytest.raises(fx.SourceError, match=r"^B: <table>, column 'id': there is no such column"):
        fx.compare(good, good.drop_columns("id"), "y", logits="z", on="id")
    with pytest.raises(fx.InvalidRowError, match=r"^B: .*row 1") as caught:
        fx.compare(good, table([1, 2], [0, 7]), "y", logits="z", on="id")
    assert (caught.value.row, caught.value.cause) == (1, "label_out_of_range")
    with pytest.raises(fx.DataError, match=r"^A: there are no rows to compare"):
        fx.compare(good[:0], good, "y", logits="z", on="id")


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
        (
            table([1], [0]),
            {"on": "id", "group_by": "d"},
            r"'d' holds decimal256\(50, 0\); ids, groups and clusters are",
        ),
        (table([1], [0]), {"on": 3}, "on: expected the name of a column, or several, got 3"),
        (table([1], [0]), {"on": "id", "group_by": 3}, "group_by: expected the name of a column, or several, got 3"),
        (table([1], [0]), {"on": "id", "k": -1}, "k: expected a number of rows up to 100,000, got -1"),
        (table([1], [0]), {"on": "id", "memory": "64"}, "memory: '64' is below 1M; write the unit"),
        (table([1], [0]), {"on": "id", "clip": 0.1}, "clip applies to probs"),
        (
            [[0.0, 1.0, 0.0]],
            {"on": "id"},
            "b: expected a path, a list of paths, or a table, got list; arrays of scores",
        ),
        (table([1], [[0.0, 0.5, 0.5]]), {"on": "id"}, "one side has distributions"),
        (pa.table({"id": [1], "z": [[1.0, 2.0]], "y": [0]}), {"on": "id"}, "3 and 2 classes"),
    ],
)
def test_calls_that_cannot_mean_anything(right: Any, options: dict[str, Any], message: str) -> None:
    left = table([1], [0], f=[0.5], d=pa.array([1], pa.decimal256(50)))
    with pytest.raises(fx.UsageError, match=message):
        fx.compare(left, right, "y", logits="z", **options)


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
    g = ["null", None, "'null'", "x"]
    c = fx.compare(
        table([1, 2, 3, 4], [0] * 4, g=g), table([1, 2, 3, 4], [0] * 4, 1), "y", logits="z", on="id", group_by="g"
    )
    rows = {value: outcome.rows for value, outcome in c.groups["g"].items()}
    assert rows == {"'null'": 1, "null": 1, "''null''": 1, "x": 1}
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
        sums = PairSums(clustered=True)
        edges = [0, *sorted(cut for cut in cuts if 0 < cut < len(rows)), len(rows)]
        for lo, hi in itertools.pairwise(edges):
            if hi > lo:
                sums.add(Pairing(la, lb, ca, cb).cut(lo, hi), (clusters[lo:hi], list(range(5))))
        return sums.outcome()

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
        sums = PairSums(clustered=clustered)
        d = np.full(9, 0.1)
        right = np.full(9, True)
        sums.add(Pairing(d, np.zeros(9), right, right), (np.arange(9) // 2, list(range(5))) if clustered else None)
        assert sums.outcome().delta.stderr == 0.0
        assert sums.outcome().delta.mean == 0.1


def test_many_clusters_are_flushed() -> None:
    clusters = _Spread()
    for lo in range(0, 10_000, 2_500):
        codes = np.repeat(np.arange(lo, lo + 2_500), 2) - lo
        clusters.add((codes, list(range(lo, lo + 2_500))), np.tile([1.0, 0.5], 2_500), None, np.zeros(5_000))
    clusters.close()
    assert clusters.count == 10_000
    assert exact.rounded_sum(clusters._sums[0]) == 10_000 * 1.5**2


SIZES = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-50, 50) | st.floats(-1e-10, 1e-10)


@settings(max_examples=100)
@given(st.lists(st.lists(SIZES, min_size=1, max_size=9), min_size=1, max_size=40), st.integers(1, 90))
def test_sums_of_runs_are_rounded_once(runs: list[list[float]], long: int) -> None:
    runs = [*runs, [0.1] * long]
    edges = np.cumsum([0, *map(len, runs)])
    found = rounded_sums(np.array(list(itertools.chain(*runs))), edges)
    for value, each in zip(found.tolist(), runs, strict=True):
        total = sum(Fraction(v) for v in each if math.isfinite(v))
        odd = sum(v for v in each if not math.isfinite(v))
        try:
            expected = float(total) + odd
        except OverflowError:
            expected = (math.inf if total > 0 else -math.inf) + odd
        assert value == expected or (math.isnan(value) and math.isnan(expected))


def ratio(y: np.ndarray, x: np.ndarray, groups: Any = None) -> tuple[float, float]:
    """Sum y / sum x and its standard error, in rational arithmetic."""
    top, below = [Fraction(v) for v in y], [Fraction(v) for v in x]
    m = sum(top) / sum(below)
    rests = [a - m * b for a, b in zip(top, below, strict=True)]
    if groups is not None:
        rests = [sum(itertools.compress(rests, groups == g)) for g in np.unique(groups)]
    n = len(rests)
    return float(m), math.sqrt(Fraction(n, n - 1) * sum(r * r for r in rests) / sum(below) ** 2)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("by_class", [False, True])
def test_weights_against_rational_arithmetic_and_statsmodels(
    digits: dict[str, Any], clustered: bool, by_class: bool
) -> None:
    from statsmodels.api import WLS

    n = len(digits["id"])
    w = np.random.default_rng(3).integers(1, 5, n) * 0.37
    table = np.arange(1.0, 11.0) if by_class else np.ones(10)
    x = w * table[digits["label"]]
    options: dict[str, Any] = {"class_weight": table} if by_class else {}
    options |= {"cluster_by": "fold"} if clustered else {}
    a = pq.read_table(A).append_column("w", [w])
    c = fx.compare(a, B, "label", logits="logits", on="id", weight="w", group_by="ink", **options)
    assert c.outcome.weight_sum == pytest.approx(x.sum(), rel=1e-14)
    outcomes = [(np.full(n, True), c.outcome), *((digits["ink"] == v, o) for v, o in c.groups["ink"].items())]
    for here, outcome in outcomes:
        groups = digits["fold"][here] if clustered else None
        for difference, d in (
            (outcome.delta, digits["a"] - digits["b"]),
            (outcome.accuracy_delta, digits["hit_a"].astype(float) - digits["hit_b"]),
        ):
            found = (difference.mean, difference.stderr)
            assert found == pytest.approx(ratio((x * d)[here], x[here], groups), rel=1e-9)
            fit = WLS(d[here], np.ones(here.sum()), weights=x[here])
            kind = {"cov_type": "cluster", "cov_kwds": {"groups": groups}} if clustered else {"cov_type": "HC1"}
            assert found == pytest.approx((fit.fit(**kind).params[0], fit.fit(**kind).bse[0]), rel=1e-9)
        assert outcome.accuracy["a"] == pytest.approx(np.average(digits["hit_a"][here], weights=x[here]), rel=1e-12)
        assert outcome.wins["a"] == ((digits["a"] < digits["b"]) & here).sum()
    weighted = fx.evaluate(a, "label", logits="logits", weight="w", class_weight=options.get("class_weight"))
    assert c.outcome.loss["a"] == pytest.approx(weighted.loss, rel=1e-14)
    assert c.outcome.accuracy["a"] == weighted.accuracy


def test_equal_weights_change_nothing() -> None:
    plain = fx.compare(A, B, "label", logits="logits", on="id", cluster_by="fold")
    a = pq.read_table(A)
    same = fx.compare(
        a.append_column("w", [np.full(len(a), 4.0)]),
        B,
        "label",
        logits="logits",
        on="id",
        cluster_by="fold",
        weight="w",
    )
    assert same.delta == plain.delta
    assert same.outcome.accuracy_delta == plain.outcome.accuracy_delta
    assert (plain.outcome.weight_sum, same.outcome.weight_sum) == (None, 4.0 * len(a))


def test_a_row_of_no_weight_is_not_there() -> None:
    p, q = [[0.0, 1.0], [0.5, 0.5], [0.2, 0.8]], [[0.0, 1.0], [0.25, 0.75], [0.5, 0.5]]
    with_it = fx.compare(probs=p, b_probs=q, target=[0, 0, 0], weight=np.array([0.0, 1.0, 2.0]))
    assert with_it.delta.mean == pytest.approx((math.log(0.5) + 2 * math.log(2.5)) / 3, rel=1e-15)
    assert math.isfinite(with_it.delta.stderr)
    assert (with_it.num_rows, with_it.to_dict()["rows"]["zero_weight"]) == (2, 1)
    with pytest.raises(fx.InvalidRowError, match="weight"):
        fx.compare(probs=p, b_probs=q, target=[0, 0, 0], weight=np.array([0.0, -1.0, 2.0]))


def test_other_losses() -> None:
    rng = np.random.default_rng(1)
    y, z, v = rng.integers(0, 3, 50), rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    c = fx.compare(logits=z, b_logits=v, target=y, loss="focal", gamma=1.5)
    d = [fx.focal_loss(y, logits=scores, gamma=1.5, reduction="none") for scores in (z, v)]
    assert c.delta.mean == pytest.approx((d[0] - d[1]).mean(), rel=1e-14)
    assert c.outcome.accuracy is not None
    p, q = (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True) for scores in (z, v))
    c = fx.compare(probs=p, b_probs=q, target=p, loss="kl_divergence")
    assert c.outcome.loss == pytest.approx({"a": 0.0, "b": stats.entropy(p.T, q.T).mean()}, rel=1e-12, abs=1e-16)
    assert not {"accuracy", "accuracy_delta", "mcnemar"} & set(c.to_dict())
    assert "Who is right" not in c.to_html()
    with pytest.raises(fx.UsageError, match="logits beside logits"):
        fx.compare(probs=p, b_logits=v, target=p, loss="kl_divergence")


def signs(seed: int, numbers: np.ndarray, words: int) -> np.ndarray:
    """The signs of a sign-flip test, a row a number."""
    mask = (1 << 64) - 1

    def mix(x: int) -> int:
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & mask
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB & mask
        return x ^ (x >> 31)

    golden = 0x9E3779B97F4A7C15
    rows = []
    for i in numbers.tolist():
        base = mix(seed + golden * (i + 1) & mask)
        bits = [mix(base + golden * (word + 1) & mask) for word in range(words)]
        rows.append([-1.0 if h >> b & 1 else 1.0 for h in bits for b in range(64)])
    return np.array(rows)


def test_sign_flips_against_scipy_and_a_plain_program(digits: dict[str, Any]) -> None:
    options: dict[str, Any] = {"logits": "logits", "on": "id", "permutations": 999}
    found = fx.compare(A, B, "label", seed=5, **options).permutation
    d = (digits["a"] - digits["b"])[np.argsort(digits["id"])]
    sums = d @ signs(5, np.arange(len(d)), 16)[:, :999]
    assert found.p_value == (1 + (np.abs(sums) >= abs(d.sum())).sum()) / 1000
    assert (found.replicates, found.exact, found.seed) == (999, False, 5)
    assert fx.compare(A, B, "label", seed=6, **options).permutation.p_value != found.p_value
    want = stats.permutation_test((d,), np.mean, permutation_type="samples", n_resamples=20_000, rng=0).pvalue
    many = fx.compare(A, B, "label", logits="logits", on="id", permutations=20_000).permutation.p_value
    assert many == pytest.approx(want, abs=5 * math.sqrt(2 * want * (1 - want) / 20_000))
    clustered = fx.compare(A, B, "label", cluster_by="ink", **options).permutation
    assert (clustered.replicates, clustered.exact) == (8, True)
    s = [d[np.argsort(np.argsort(digits["id"]))][digits["ink"] == v].sum() for v in np.unique(digits["ink"])]
    assert clustered.p_value == stats.permutation_test((s,), np.sum, permutation_type="samples").pvalue


@pytest.mark.parametrize("cluster", [None, "fold"])
def test_sign_flips_of_a_group_are_those_of_its_rows_alone(cluster: str | None) -> None:
    options: dict[str, Any] = {"logits": "logits", "on": "id", "permutations": 999, "seed": 3, "cluster_by": cluster}
    whole = fx.compare(A, B, "label", group_by=["ink", "fold"], **options)
    a, b = pq.read_table(A), pq.read_table(B)
    for column, groups in whole.groups.items():
        assert len(groups) == len(set(a[column].to_pylist()))
        for value, outcome in groups.items():
            some = a.filter(np.array([str(v) == value for v in a[column].to_pylist()]))
            alone = fx.compare(some, b, "label", **options).outcome
            assert outcome.permutation == alone.permutation
            assert outcome.permutation is not None
    told = whole.to_dict()
    for row in whole.per_group.to_pylist():
        column, value, p = row["column"], row["value"], row["permutation_p"]
        assert told["groups"][column][value]["permutation"]["p_value"] == p
        gate = parse_gate(f"groups.{column}.{value}.permutation.p_value < 2")
        assert gate.value(told) == p or math.isnan(p)


def test_few_rows_try_all_signs() -> None:
    rng = np.random.default_rng(2)
    y, z, v = rng.integers(0, 3, 9), rng.normal(size=(9, 3)), rng.normal(size=(9, 3)) + 0.5 * np.eye(3)[0]
    c = fx.compare(logits=z, b_logits=v, target=y, permutations=512)
    a, b = (fx.cross_entropy(y, logits=scores, reduction="none") for scores in (z, v))
    assert (c.permutation.replicates, c.permutation.exact) == (512, True)
    assert c.permutation.p_value == stats.permutation_test((a - b,), np.sum, permutation_type="samples").pvalue
    assert not fx.compare(logits=z, b_logits=v, target=y, permutations=511).permutation.exact
    same = fx.compare(logits=z, b_logits=z, target=y, permutations=99).permutation
    assert same.p_value == 1.0
    p = [[0.0, 1.0], [0.5, 0.5]]
    assert math.isnan(fx.compare(probs=p, b_probs=p, target=[0, 0], permutations=99).permutation.p_value)
    for name, wrong in [("permutations", 9.5), ("permutations", -1), ("permutations", 10**9), ("seed", -1)]:
        with pytest.raises(fx.UsageError, match=f"{name}: expected"):
            fx.compare(logits=z, b_logits=v, target=y, **{"permutations": 9} | {name: wrong})


@pytest.mark.parametrize("kind", ["file", "files", "table", "stream"])
@pytest.mark.parametrize("given", ["text", "expression"])
def test_a_filter_is_that_of_both_sides(tmp_path: Path, kind: str, given: str) -> None:
    """The result is that of the rows it keeps, which by order keep their places."""
    a, b = pq.read_table(A), pq.read_table(B)
    wanted: Any = "ink == 'light'" if given == "text" else pc.field("ink") == "light"

    def stored(name: str, data: pa.Table) -> Any:
        if kind == "table":
            return data
        if kind == "stream":
            return data.to_reader(max_chunksize=100)
        for number, part in enumerate((data[:700], data[700:]) if kind == "files" else (data,)):
            (tmp_path / name).mkdir(exist_ok=True)
            pq.write_table(part, tmp_path / name / f"{number}.parquet", row_group_size=100)
        return str(tmp_path / name)

    light = np.array(a["ink"].to_pylist()) == "light"
    rest = int((~light).sum())
    common: dict[str, Any] = {"logits": "logits", "group_by": "fold", "k": 4}
    want = fx.compare(a.filter(light), b.filter(light), "label", on="id", **common)
    for how in ({"on": "id"}, {"by_order": True}):
        c = fx.compare(stored("a", a), stored("b", b), "label", filter=wanted, **how, **common)
        assert c.filtered == {"a": rest, "b": rest}
        assert (c.outcome, c.groups, c.only, c.unscored) == (want.outcome, want.groups, want.only, 0)
        ids = [row[0] for row in c.improved + c.regressed]
        if "on" not in how:
            assert all(light[ids])
            ids = [a["id"][row].as_py() for row in ids]
        assert ids == [row[0] for row in want.improved + want.regressed]
    assert c.settings["filter"] == str(wanted)
    assert [c.to_dict()["rows"][f"filtered_{side}"] for side in "ab"] == [rest, rest]


def test_by_order_a_row_that_one_side_drops_is_only_on_the_other() -> None:
    n = 40
    rng = np.random.default_rng(4)
    keep = {side: rng.random(n) < 0.5 for side in "ab"}
    sides = {side: table(range(n), np.arange(n) % 3, seed, good=keep[side]) for seed, side in enumerate("ab")}
    c = fx.compare(*sides.values(), "y", logits="z", by_order=True, filter="good")
    scores = [np.array(side["z"].to_pylist()) for side in sides.values()]
    losses = [fx.cross_entropy(np.arange(n) % 3, logits=z, reduction="none") for z in scores]
    both = keep["a"] & keep["b"]
    assert c.num_rows == both.sum() > 0
    assert c.delta.mean == pytest.approx((losses[0] - losses[1])[both].mean(), rel=1e-13)
    alone = {"a": np.flatnonzero(keep["a"] & ~both), "b": np.flatnonzero(keep["b"] & ~both)}
    assert c.only == {side: (len(rows), rows[:5].tolist()) for side, rows in alone.items()}
    assert c.filtered == {side: n - keep[side].sum() for side in "ab"}


def test_filters_that_cannot_be() -> None:
    good = table([1, 2], [0, 1], n=[1, 2])
    with pytest.raises(fx.SourceError, match=r"^B: .*column 'n'"):
        fx.compare(good, good.drop_columns("n"), "y", logits="z", on="id", filter="n == 1")
    with pytest.raises(fx.DataError, match=r"^A: the filter keeps none of 2 rows"):
        fx.compare(good, good, "y", logits="z", on="id", filter="n > 2")
    with pytest.raises(fx.UsageError, match="filter needs columns, which arrays do not have"):
        fx.compare(logits=[[0.0, 1.0]], b_logits=[[0.0, 1.0]], target=[0], filter="n == 1")
    with pytest.raises(fx.DataError, match="the sides must have the same rows, and have 2 and 1"):
        fx.compare(good, good[:1], "y", logits="z", by_order=True, filter="n == 1")


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
    assert re.search(r"higher loss in B .*\n{} ".format(result["regressed"][0]["id"]), output)
    assert re.search(r"^light +591 ", output, re.MULTILINE)
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
    more = ("--on", "id", "--weight", "id", "--loss", "focal", "--gamma", "1", "--permutations", "99", "--seed", "3")
    code, output, error = run("compare", A, B, *common, *more, "--json", path)
    assert (code, error) == (0, "")
    assert "sign flips" in output
    result = json.loads(path.read_text())
    weighted = fx.compare(A, B, "label", logits="logits", on="id", weight="id", loss="focal", gamma=1.0)
    assert result["delta"] == weighted.to_dict()["delta"]
    assert (result["permutation"]["replicates"], result["permutation"]["seed"]) == (99, 3)
    assert result["settings"]["weight"] == "id"
    assert run("compare", A, B, *common, *more, "--fail-if", "permutation.p_value <= 1")[0] == 1
    light = ("--on", "id", "--filter", "ink == 'light'", "--json", path)
    code, output, error = run("compare", A, B, *common, *light, "--html", tmp_path / "c.html")
    assert (code, error) == (0, "")
    assert "591 compared  (the filter left out 1,206 of A and 1,206 of B)" in output
    assert "Left out of A by the filter: 1,206 rows." in (tmp_path / "c.html").read_text()
    assert json.loads(path.read_text())["settings"]["filter"] == "ink == 'light'"
    code, _, error = run("compare", A, B, *common)
    assert (code, "--by-order" in error) == (2, True)
