"""Groups and worst rows, against plain programs."""

from __future__ import annotations

import datetime
import math
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastxent as fx
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums.group_sums import WINDOW
from fastxent.results.gates import parse_gate
from fastxent.statistics import groups as grouping
from fastxent.statistics import owner_sums
from fastxent.statistics.owner_sums import GroupSums, OrderedSums
from fastxent.statistics.record import Record
from fastxent.statistics.statistic import Statistic
from tests.statdata import BREAST, DIGITS, breast, column, digits, evaluated, table, weights

WEIGHTED = pytest.mark.parametrize("weighted", [False, True])


def ece(p, hit, w):
    number = np.minimum((p * 15).astype(int), 14)
    return sum(abs((w * (hit - p))[number == b].sum()) for b in range(15)) / w.sum()


@WEIGHTED
@pytest.mark.parametrize("by", [("ink",), ("ink", "fold")])
def test_groups_agree_with_a_plain_program(by, weighted):
    y, p, losses = digits()
    w = weights(len(y)) if weighted else np.ones(len(y))
    found = evaluated("digits", weighted, group_by=by).groups
    assert found.column_names[: len(by)] == list(by)
    assert found.to_pylist() == sorted(found.to_pylist(), key=lambda row: [row[name] for name in by])
    assert sum(found["count"].to_pylist()) == len(y)
    hit = p.argmax(axis=1) == y
    miss = ((p - np.eye(10)[y]) ** 2).sum(axis=1)
    for row in found.to_pylist():
        here = np.logical_and.reduce([column(DIGITS, name) == row[name] for name in by])
        v, n, mean = w[here], here.sum(), np.average(losses[here], weights=w[here])
        assert row["count"] == n
        assert row["loss"] == pytest.approx(mean, rel=1e-11)
        stderr = math.sqrt(n / (n - 1) * ((v * (losses[here] - mean)) ** 2).sum()) / v.sum()
        assert row["stderr"] == pytest.approx(stderr, rel=1e-9)
        assert row["accuracy"] == pytest.approx(np.average(hit[here], weights=v), rel=1e-12)
        assert row["brier"] == pytest.approx(np.average(miss[here], weights=v), rel=1e-11)
        assert row["ece"] == pytest.approx(ece(p.max(axis=1)[here], hit[here], v), rel=1e-9)
        if weighted:
            assert row["weight"] == v.sum()


@WEIGHTED
def test_temperatures_of_groups_agree_with_a_plain_program(weighted):
    y, z = digits()[0], column(DIGITS, "logits").astype(np.float64)
    w = weights(len(y)) if weighted else np.ones(len(y))
    result = evaluated("digits", weighted, group_by=("ink", "fold"), statistics="temperature")
    grid = [2.0 ** (k / 4) for k in range(-8, 9)]
    losses = np.array([np.logaddexp.reduce(z / t, axis=1) - z[np.arange(len(y)), y] / t for t in grid])
    for row in result.groups.to_pylist():
        here = (column(DIGITS, "ink") == row["ink"]) & (column(DIGITS, "fold") == row["fold"])
        means = np.average(losses[:, here], axis=1, weights=w[here])
        assert row["temperature_best"] == grid[means.argmin()]
        assert row["temperature_loss"] == pytest.approx(means.min(), rel=1e-11)
        assert row["temperature_gain"] == row["loss"] - row["temperature_loss"]
        told = result.group(row["ink"], row["fold"]).temperature
        assert told.table["loss"].to_pylist() == pytest.approx(means.tolist(), rel=1e-11)


def test_a_row_that_a_temperature_takes_out_of_range_is_not_left_out_there():
    z = np.array([[1e308, 0.0], [2.0, 1.0], [1.0, 3.0]])
    result = fx.evaluate(logits=z, target=[0, 0, 1], group_by={"g": [1, 1, 2]}, statistics="temperature")
    losses = np.array(result.temperature.table["loss"])
    assert np.isnan(losses[:7]).tolist() == [True] * 5 + [False] * 2  # 1e308 over 2^-0.75 is still a float64
    assert result.temperature.best == 2.0**-0.75
    assert result.groups["temperature_best"].to_pylist() == [2.0**-0.75, 0.25]
    assert np.array_equal(
        np.array(result.group(1).temperature.table["loss"]),
        np.array(fx.evaluate(logits=z[:2], target=[0, 0], statistics="temperature").temperature.table["loss"]),
        equal_nan=True,
    )


@WEIGHTED
def test_margins_are_the_groups_of_one_column(weighted):
    crossed = evaluated("digits", weighted, group_by=("ink", "fold"))
    assert list(crossed.margins) == ["ink", "fold"]
    for name, found in crossed.margins.items():
        alone = evaluated("digits", weighted, group_by=name)
        assert alone.margins is None
        assert found.equals(alone.groups)
    told = crossed.to_dict()["margins"]
    assert [row["ink"] for row in told if "ink" in row] == ["heavy", "light", "medium"]
    assert parse_gate("margins.ink.light.loss > 1").value(crossed.to_dict()) == told[1]["loss"]


class Given(Statistic):
    """Statistics whose sums are those of the losses and of the weights that a record is given."""

    name = "given"

    def sums(self):
        return {"second": 1}

    def values(self, record):
        yield "second", record.card.real[sc.WEIGHT, : record.n]


def record_of(rows):
    """A record of scored rows with these losses and weights, and the groups that they are in."""
    card = sc.new_scorecard(max(len(rows), 1))
    for i, (_, loss, weight) in enumerate(rows):
        card.real[sc.LOSS, i], card.real[sc.WEIGHT, i] = loss, weight
    return Record(card, len(rows), 0, None), np.array([row[0] for row in rows], np.int32)


def sums_of(rows):
    sums = GroupSums(("loss",), (Given(),))
    sums.absorb(*record_of(rows))
    return sums


ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True) | st.floats(-1e6, 1e6) | st.floats(1e-100, 1e-60)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(st.integers(0, 3), ANY_FLOAT, ANY_FLOAT), max_size=60), cut=st.integers(0, 60))
def test_sums_of_groups_are_exact_whatever_the_numbers(rows, cut):
    alone, first, second = map(sums_of, (rows, rows[:cut], rows[cut:]))
    first.merge(second, np.arange(len(second.counts)))
    order = np.flatnonzero(alone.counts)
    states = [[array.tobytes() for array in sums.state(order)[1]] for sums in (alone, first)]
    assert states[0] == states[1]
    only = np.full(len(alone.counts), -1)
    only[0] = 0
    for sums, group in ((OrderedSums(alone, np.arange(4)), 0), (alone.regrouped(only, 1), 0)):
        for name, place in (("loss", 1), ("second", 2)):
            here = [row[place] for row in rows if row[0] == group]
            found = sums.exact(name)
            assert Fraction(int(found.integers[0]), 1 << found.bits) == sum(
                (Fraction(v) for v in here if math.isfinite(v)), Fraction(0)
            )
            special = sum(v for v in here if not math.isfinite(v))
            assert np.array_equal(found.special[0], special, equal_nan=True)
            assert sums.counts[0] == len(here)


def test_sums_of_many_groups_put_together_stay_in_range():
    rng = np.random.default_rng(0)
    limbs = rng.integers(0, 2**52, (5000, 2, WINDOW))
    limbs[..., -1] -= 2**51
    cells = np.concatenate((np.ones((5000, 1), np.int64), limbs.reshape(5000, -1)), axis=1)
    codes = rng.integers(0, 3, 5000)
    present, found = owner_sums._put_together(cells, codes)
    assert present.tolist() == [0, 1, 2]

    def whole(row, which):
        return sum(int(v) << (52 * i) for i, v in enumerate(row[1 + which * WINDOW : 1 + (which + 1) * WINDOW]))

    for code, row in enumerate(found):
        here = cells[codes == code]
        assert row[0] == len(here)
        for which in range(2):
            assert whole(row, which) == sum(whole(each, which) for each in here)
            assert all(0 <= v < 2**52 for v in row[1 + which * WINDOW :][: WINDOW - 1])


def test_many_rows_of_one_group_are_carried():
    sums = GroupSums(("loss",), ())
    for _ in range(4):
        sums.absorb(*record_of([(0, 2.0**60, 1.0)] * 5000))
    found = OrderedSums(sums, np.arange(1)).exact("loss")
    assert Fraction(int(found.integers[0]), 1 << found.bits) == 20_000 * 2**60


def test_groups_of_a_binary_task_calibrate_class_one():
    y, p, _ = breast()
    for row in evaluated("breast", group_by="radius").groups.to_pylist():
        here = column(BREAST, "radius") == row["radius"]
        assert row["ece"] == pytest.approx(ece(p[here], y[here], np.ones(here.sum())), rel=1e-9)


def grouped(values, **options):
    z, y = np.zeros((len(values), 10), np.float32), np.zeros(len(values), np.int8)
    data = pa.table({"z": pa.FixedSizeListArray.from_arrays(z.ravel(), 10), "y": y, "g": values})
    return fx.evaluate(data, logits="z", target="y", group_by="g", **options).groups


def test_values_of_every_kind_are_groups():
    day = datetime.date(2026, 11, 22)
    cases = [
        (["b", None, "a", "b"], ["a", "b", None], [1, 2, 1]),
        ([2, None, -1, 2], [-1, 2, None], [1, 2, 1]),
        ([True, False, None], [False, True, None], [1, 1, 1]),
        ([0.5, -0.0, 0.0, math.nan], ["0.0", "0.5", "NaN"], [2, 1, 1]),
        ([day, None], [str(day), None], [1, 1]),
        (pa.array(["x", "y", None, "x"]).dictionary_encode(), ["x", "y", None], [2, 1, 1]),
        (pa.array([1, 2**63 + 5], pa.uint64()), ["1", str(2**63 + 5)], [1, 1]),
    ]
    for values, names, counts in cases:
        found = grouped(values)
        assert found["g"].to_pylist() == names
        assert found["count"].to_pylist() == counts


def test_groups_that_cannot_be(monkeypatch):
    with pytest.raises(fx.UsageError, match=r"group_by: column 'g' is list<item: int64>"):
        grouped(pa.array([[1], [2]]))
    monkeypatch.setattr(grouping, "MAX_GROUPS", 3)
    assert grouped([1, 2, 3, 1]).num_rows == 3
    with pytest.raises(fx.UsageError, match=r"group_by: column 'g' has more than 3 values"):
        grouped([1, 2, 3, 4])
    with pytest.raises(fx.UsageError, match="group_by names a column twice"):
        evaluated("digits", group_by=("ink", "ink"))
    with pytest.raises(fx.SourceError, match="there is no such column"):
        evaluated("digits", group_by="inc")


def test_one_and_true_stay_apart_when_files_disagree():
    options = {"logits": np.eye(2), "target": [0, 1]}
    first, second = (
        fx.evaluate(**options, group_by={"g": pa.array(values)}).totals for values in ([1, 1], [True, False])
    )
    first.merge(second)
    assert fx.Evaluation(first).groups["g"].to_pylist() == ["False", "True", "1"]


@pytest.mark.parametrize("chunked", [False, True])
def test_arrow_columns_beside_arrays_keep_their_values_and_nulls(chunked):
    values = pa.array([2, None, 2, 3])
    groups = fx.evaluate(
        logits=np.eye(2)[[0, 1, 0, 1]], target=[0, 1, 1, 1],
        group_by={"g": pa.chunked_array([values[:1], values[1:]]) if chunked else values},
    ).groups  # fmt: skip
    assert groups["g"].to_pylist() == [2, 3, None]


def test_arrays_may_be_grouped_too():
    z, y = column(DIGITS, "logits"), column(DIGITS, "label")
    ink = column(DIGITS, "ink")
    expected = evaluated("digits", group_by="ink").groups
    assert fx.evaluate(logits=z, target=y, group_by={"ink": ink}).groups.equals(expected)
    assert fx.evaluate(logits=z, target=y, group_by=ink).groups.column_names[0] == "group"
    with pytest.raises(fx.UsageError, match="group_by: predictions are arrays, so give arrays by name"):
        fx.evaluate(logits=z, target=y, group_by="ink")


def test_rows_that_are_not_scored_are_in_no_group():
    data = table(DIGITS)
    labels = column(DIGITS, "label").astype(np.int8).copy()
    labels[column(DIGITS, "ink") == "light"] = 77
    data = data.set_column(data.column_names.index("label"), "label", [labels])
    found = fx.evaluate(data, logits="logits", target="label", group_by="ink", on_invalid="skip").groups
    assert found["ink"].to_pylist() == ["heavy", "medium"]


def test_worst_rows_are_the_first_in_order_of_loss():
    y, p, losses = digits()
    order = np.lexsort((np.arange(len(y)), -losses))
    found = evaluated("digits", worst=25, keep=("ink", "probs", "id")).worst
    assert found["row"].to_pylist() == order[:25].tolist()
    assert found["loss"].to_pylist() == pytest.approx(losses[order[:25]].tolist(), rel=1e-12)
    assert found["predicted"].to_pylist() == p.argmax(axis=1)[order[:25]].tolist()
    assert found["p_target"].to_pylist() == pytest.approx(p[np.arange(len(y)), y][order[:25]].tolist(), rel=1e-11)
    kept = table(DIGITS).take(order[:25])
    for name in ("ink", "probs", "id"):
        assert found[name].to_pylist() == kept[name].to_pylist()


@pytest.mark.parametrize("name", ["digits", "breast"])
def test_worst_rows_of_each_class(name):
    y, _, losses = digits() if name == "digits" else breast()
    found = evaluated(name, worst_per_class=4, keep="id").worst_per_class
    order = np.lexsort((np.arange(len(y)), -losses, y))
    want = [i for c in np.unique(y) for i in order[y[order] == c][:4].tolist()]
    assert found["row"].to_pylist() == found["id"].to_pylist() == want
    assert found["target"].to_pylist() == y[want].tolist()
    assert found["loss"].to_pylist() == pytest.approx(losses[want].tolist(), rel=1e-12)


def test_worst_rows_of_classes_that_are_rare_or_absent():
    z, y = np.eye(5, dtype=np.float32)[[0, 3, 3, 1, 3]], np.array([3, 3, 3, 1, 3])
    found = fx.evaluate(logits=z, target=y, worst_per_class=3, class_names="abcde").worst_per_class
    assert found["target"].to_pylist() == ["b", "d", "d", "d"]
    assert found["row"].to_pylist() == [3, 0, 1, 2]  # equal losses by position
    with pytest.raises(fx.UsageError, match=r"worst_per_class: 30,000 rows of 5 classes .* at most 20,000"):
        fx.evaluate(logits=z, target=y, worst_per_class=30_000)
    with pytest.raises(fx.UsageError, match="worst_per_class needs one label a row"):
        fx.evaluate(logits=z, target=np.ones((5, 5)), task="multilabel", worst_per_class=1)


def test_worst_rows_of_files_say_where_they_are(tmp_path):
    import pyarrow.parquet as pq

    data = table(DIGITS)
    for i in range(2):
        pq.write_table(data.slice(i * 900, 900), tmp_path / f"{i}.parquet", row_group_size=250)
    found = fx.evaluate(str(tmp_path), logits="logits", target="label", worst=10, keep="id").worst.to_pylist()
    assert [row["id"] for row in found] == evaluated("digits", worst=10).worst["row"].to_pylist()
    for row in found:
        part = int(row["path"][-len("0.parquet")])
        assert part * 900 + row["row"] == row["id"]


def test_worst_rows_of_a_filter_keep_their_number_in_the_file():
    options = {"logits": "logits", "target": "label", "filter": "ink == 'heavy'"}
    found = fx.evaluate(DIGITS, worst=10, worst_per_class=2, keep=("id", "ink"), **options)
    for rows in (found.worst, found.worst_per_class):
        assert set(rows["ink"].to_pylist()) == {"heavy"}
        assert rows["row"].to_pylist() == rows["id"].to_pylist()  # ids of the digits are their places in the file


def test_ties_go_to_the_first_rows():
    z, y = np.zeros((70000, 10), np.float32), np.zeros(70000, np.int8)
    found = fx.evaluate(logits=z, target=y, worst=4).worst
    assert found["row"].to_pylist() == [0, 1, 2, 3]
    assert fx.evaluate(logits=z[:2], target=y[:2], worst=4).worst.num_rows == 2


def test_label_errors_by_the_scores_of_cleanlab():
    from cleanlab.rank import get_label_quality_scores

    y, p, _ = digits()
    given = p[np.arange(len(y)), y]
    found = evaluated("digits", label_errors=20).label_errors
    theirs = get_label_quality_scores(y, p, method="self_confidence")
    assert found["self_confidence"]["row"].to_pylist() == np.argsort(theirs, kind="stable")[:20].tolist()
    assert found["self_confidence"]["p_target"].to_pylist() == pytest.approx(np.sort(given)[:20].tolist(), rel=1e-10)
    margin = get_label_quality_scores(y, p, method="normalized_margin")
    table_of_margins = found["normalized_margin"]
    assert table_of_margins["row"].to_pylist() == np.argsort(margin, kind="stable")[:20].tolist()
    assert table_of_margins["normalized_margin"].to_pylist() == pytest.approx(np.sort(margin)[:20].tolist(), rel=1e-10)
    wrong = int((p.argmax(axis=1) != y).sum())
    assert evaluated("digits", label_errors=wrong + 5).label_errors["normalized_margin"].num_rows == wrong


def test_keep_needs_worst():
    with pytest.raises(fx.UsageError, match="pass worst="):
        evaluated("digits", keep="ink")
