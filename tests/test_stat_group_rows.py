"""The single rows and the classes, one against the rest, of groups: against plain programs and the rows alone."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastxent as fx
from fastxent.results.as_json import PARTS_OF_GROUPS
from fastxent.results.gates import parse_gate
from fastxent.statistics import classwise, kept_rows
from fastxent.statistics import table as tables
from fastxent.statistics.kept_rows import Rows
from fastxent.totals.totals import Totals
from tests.statdata import BREAST, DIGITS, column, digits, evaluated, weights

WEIGHTED = pytest.mark.parametrize("weighted", [False, True])
ROWS = {"worst": 5, "worst_per_class": 2, "label_errors": 4, "keep": ("id", "fold")}


def plain_rows(order, owners, quota):
    """The first rows of each owner, owner by owner."""
    return [int(i) for owner in sorted(set(owners)) for i in [i for i in order if owners[i] == owner][:quota]]


@pytest.mark.parametrize(("path", "by"), [(DIGITS, "ink"), (BREAST, "radius")])
def test_rows_of_a_group_are_those_of_its_rows_alone(path, by):
    options = {"logits": "logits"} if path == DIGITS else {"logits": "logit", "task": "binary"}
    options |= {"target": "label", **ROWS}
    result = fx.evaluate(path, group_by=(by, "fold"), **options)
    for value in result.margins[by][by].to_pylist():
        for found, chosen in (
            (result.group(**{by: value}), f"{by} == '{value}'"),
            (result.group(value, 1), f"{by} == '{value}' and fold == 1"),
        ):
            alone = fx.evaluate(path, filter=chosen, **options)
            assert found.worst.num_rows == 5
            assert found.worst.equals(alone.worst)
            assert found.worst_per_class.equals(alone.worst_per_class)
            assert list(found.label_errors) == ["self_confidence", "normalized_margin"]
            for name, rows in found.label_errors.items():
                assert rows.equals(alone.label_errors[name])
                margins = result.group_label_errors[name].to_pylist()
                here = [row["row"] for row in margins if (row[by], row["fold"]) == (value, 1)]
                assert chosen.endswith("'") or here == rows["row"].to_pylist()


def test_tables_of_rows_agree_with_a_plain_program():
    y, p, losses = digits()
    ink = column(DIGITS, "ink")
    order = np.lexsort((np.arange(len(y)), -losses))
    result = evaluated("digits", group_by="ink", **ROWS)
    found = result.group_worst
    assert found.column_names == ["ink", *result.worst.column_names]
    assert found["row"].to_pylist() == found["id"].to_pylist() == plain_rows(order, ink, 5)
    owners = [f"{a} {b}" for a, b in zip(ink, y, strict=True)]
    assert result.group_worst_per_class["row"].to_pylist() == plain_rows(order, owners, 2)
    given = p[np.arange(len(y)), y]
    likely = result.group_label_errors["self_confidence"]
    assert likely["row"].to_pylist() == plain_rows(np.argsort(given, kind="stable"), ink, 4)
    assert likely["p_target"].to_pylist() == pytest.approx(given[likely["row"].to_pylist()].tolist(), rel=1e-10)
    bits = fx.evaluate(DIGITS, logits="logits", target="label", group_by="ink", base=2, **ROWS)
    assert bits.group_worst["loss"].to_pylist() == bits.unit.of(found["loss"].to_numpy()).tolist()
    told = result.to_dict()
    assert told["group_worst"] == found.to_pylist()
    gate = parse_gate("group_worst.ink.light.0.loss > 1")
    assert gate.value(told) == pytest.approx(max(losses[ink == "light"]), rel=1e-12)
    gate = parse_gate("group_label_errors.self_confidence.ink.light.0.p_target < 1")
    assert gate.value(told) == pytest.approx(min(given[ink == "light"]), rel=1e-10)
    assert evaluated("digits", worst=3).group_worst is None
    assert evaluated("digits", group_by="ink").group_label_errors is None


def test_rows_of_many_groups_are_not_in_the_dictionary():
    n = PARTS_OF_GROUPS + 1
    result = fx.evaluate(logits=np.eye(2)[np.arange(n) % 2], target=np.zeros(n, int), group_by=np.arange(n), worst=3)
    assert result.group_worst.num_rows == n
    assert "group_worst" not in result.to_dict()


@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 6)), max_size=90),
    cuts=st.lists(st.integers(0, 90), max_size=3),
    limit=st.integers(5, 40),
    merging=st.randoms(use_true_random=False),
)
def test_how_many_rows_a_group_keeps_depends_on_the_rows_alone(rows, cuts, limit, merging):
    n = len(rows)
    group, target, loss = np.array(rows, int).reshape(n, 3).T
    logits = np.zeros((n, 3))
    logits[np.arange(n), target] = loss[:, None].T  # few losses, so that many rows are equal

    def evaluated_part(lo, hi):
        part = fx.evaluate(
            logits=logits[lo:hi], target=target[lo:hi], group_by=group[lo:hi], keep={"n": np.arange(lo, hi)},
            worst=7, worst_per_class=3,
        ).totals  # fmt: skip
        part.shift(lo)
        return part

    edges = [0, *sorted(min(cut, n) for cut in cuts), n]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kept_rows, "Rows", partial(kept_rows.Rows, limit=limit))
        parts = [evaluated_part(lo, hi) for lo, hi in pairwise(edges)]
        merging.shuffle(parts)
        whole = parts[0]
        for part in parts[1:]:
            whole.merge(Totals.from_bytes(part.to_bytes()))
        result = fx.Evaluation(whole)
        for name, owners, k, found in (
            ("worst", list(group), 7, result.group_worst),
            ("worst_per_class", list(zip(group, target, strict=True)), 3, result.group_worst_per_class),
        ):
            counts = [owners.count(owner) for owner in set(owners)]
            quota = next(k >> level for level in range(5) if sum(min(c, k >> level) for c in counts) <= limit)
            if quota < k:
                assert f"{quota or 'no'} rows are kept for {name.replace('_', ' ')}" in " ".join(result.warnings)
            if quota:
                expected = plain_rows(np.lexsort((np.arange(n), loss)), owners, quota)
                assert found["n"].to_pylist() == expected
            else:
                assert found is None


def test_fewer_rows_than_asked_for_are_told(monkeypatch):
    monkeypatch.setattr(kept_rows, "Rows", partial(Rows, limit=20))
    result = evaluated.__wrapped__("digits", group_by="ink", **ROWS)
    (warning,) = result.warnings
    assert "no rows are kept for worst per class of each class" in warning
    assert "2 rows are kept for" not in warning  # 5 rows of each of three groups are fewer than 20
    found = result.group("light")
    assert found.worst_per_class is None
    assert found.worst.num_rows == 5
    assert result.group_worst_per_class is None
    assert result.worst_per_class.num_rows == 20
    monkeypatch.setattr(kept_rows, "Rows", partial(Rows, limit=8))
    result = evaluated.__wrapped__("digits", group_by="ink", worst=5)
    (warning,) = result.warnings
    assert "2 rows are kept for worst of each of them" in warning
    assert result.group("light").worst.equals(evaluated("digits", group_by="ink", worst=5).group("light").worst[:2])


@WEIGHTED
def test_classes_against_the_rest_agree_with_the_rows_alone(weighted):
    result = evaluated("digits", weighted, group_by=("ink", "fold"), statistics="classwise")
    told = result.group_classwise.to_pylist()
    gate = parse_gate("group_classwise.ink.heavy.fold.1.3.ece > 1")
    assert gate.value(result.to_dict()) == told[13]["ece"]
    assert len(told) == 10 * result.groups.num_rows
    for i, row in enumerate(result.groups.to_pylist()):
        alone = result.group(row["ink"], row["fold"])
        assert [entry["class"] for entry in told[10 * i : 10 * i + 10]] == list(alone.class_names)
        for entry, expected in zip(told[10 * i : 10 * i + 10], alone.classwise.to_pylist(), strict=True):
            assert (entry["ink"], entry["fold"]) == (row["ink"], row["fold"])
            numbers = expected.keys() - {"class"}
            assert {n: entry[n] for n in numbers} == pytest.approx({n: expected[n] for n in numbers}, abs=1e-14)
        assert row["classwise_ece"] == pytest.approx(alone.classwise_ece, rel=1e-12)
        for name in ("reliability", "resolution", "uncertainty", "residual"):
            assert row[name] == pytest.approx(getattr(alone.brier_parts, name), abs=1e-13)


@WEIGHTED
def test_classes_against_the_rest_agree_with_a_plain_program(weighted):
    y, p, _ = digits()
    w = weights(len(y)) if weighted else np.ones(len(y))
    ink = column(DIGITS, "ink")
    for entry in evaluated("digits", weighted, group_by="ink", statistics="classwise").group_classwise.to_pylist():
        here, c = ink == entry["ink"], int(entry["class"])
        q, hit, v = p[here, c], y[here] == c, w[here]
        number = np.minimum((q * 15).astype(int), 14)
        error = sum(abs((v * (hit - q))[number == b].sum()) for b in range(15)) / v.sum()
        assert entry["ece"] == pytest.approx(error, rel=1e-9)
        assert entry["brier"] == pytest.approx(np.average((q - hit) ** 2, weights=v), rel=1e-11)
        assert entry["share"] == pytest.approx(np.average(hit, weights=v), rel=1e-12)


@pytest.mark.parametrize(("limit", "widths"), [(700, 60), (500, 30), (400, 15), (290, 0)])
def test_fewer_cells_of_classes_say_the_same_of_15_bins(limit, widths, monkeypatch):
    whole = evaluated("digits", group_by="ink", statistics="classwise")
    monkeypatch.setattr(classwise, "MOST_CELLS", limit)
    monkeypatch.setattr(tables, "DENSE", 0)
    result = evaluated.__wrapped__("digits", group_by="ink", statistics="classwise")
    found = result.group("light")
    (warning,) = result.warnings
    if widths:
        assert f"that of {widths} equal widths" in warning
        assert found.classwise.equals(whole.group("light").classwise)
        assert result.group_classwise.equals(whole.group_classwise)
        assert fx.Evaluation(result.totals, bins=40).group("light").classwise is None
        return
    assert "the calibration of each class is not told" in warning
    assert found.classwise is result.group_classwise is None
    assert all(
        map(np.isnan, (found.classwise_ece, found.brier_parts.reliability, *result.groups["classwise_ece"].to_pylist()))
    )


def test_groups_of_rows_without_weight_are_not_there():
    result = fx.evaluate(
        logits=np.eye(3), target=[0, 1, 2], weight=[0.0, 1.0, 2.0], group_by=["a", "b", "b"], statistics="classwise"
    )
    assert result.group_classwise["group"].to_pylist() == ["b"] * 3
    assert result.groups["group"].to_pylist() == ["b"]
    with pytest.raises(fx.UsageError, match="no scored row has group='a'"):
        result.group("a")


def test_groups_of_a_task_without_classes_keep_rows_too():
    z = np.random.default_rng(2).normal(size=(50, 4))
    y = (z + np.random.default_rng(3).normal(size=z.shape) > 0).astype(int)
    result = fx.evaluate(logits=z, target=y, task="multilabel", group_by={"g": np.arange(50) % 2}, worst=3)
    losses = np.logaddexp(0.0, np.where(y == 1, -z, z)).mean(axis=1)
    order = np.lexsort((np.arange(50), -losses))
    assert result.group_worst.column_names == ["g", "path", "row", "loss"]
    assert result.group_worst["row"].to_pylist() == plain_rows(order, list(np.arange(50) % 2), 3)
