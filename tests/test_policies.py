"""What happens to odd rows: each policy that the documentation promises is a test."""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent.cli import main as cli

INF, NAN = math.inf, math.nan
#: Rows that are fine, around the odd one.
Z = np.array([[2.0, 0.0, -1.0], [0.5, 0.25, 0.0], [0.0, 3.0, 1.0], [1.0, 1.0, 5.0]])
P = np.array([[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0]])
Y = np.array([0, 1, 2, 0])
ODD = 2


def with_row(table: np.ndarray, row: list[float]) -> np.ndarray:
    changed = table.copy()
    changed[ODD] = row
    return changed


# --- probabilities of 0 --------------------------------------------------------------------------------------


def test_a_target_of_probability_0_costs_infinity_and_is_counted() -> None:
    y = np.array([0, 1, 2, 1])
    assert fx.cross_entropy(y, probs=P, reduction="none").tolist()[3] == INF
    assert fx.cross_entropy(y, probs=P) == INF
    ev = fx.evaluate(probs=P, target=y)
    assert ev.loss == ev.perplexity == ev.loss_stats.max == INF
    assert ev.loss_stats.infinite == 1
    assert ev.num_rows == 4
    assert any("1 of 4 rows is infinite" in warning for warning in ev.warnings)
    assert json.loads(ev.to_json())["loss"]["mean"] == "Infinity"


@pytest.mark.parametrize(
    ("clip", "cost"),
    [(0.01, -math.log(0.01)), ("sklearn", 52 * math.log(2)), ("keras", -math.log(1e-7)), ("torch", 100.0)],
)
def test_clip_bounds_it(clip: float | str, cost: float) -> None:
    got = fx.cross_entropy([1], probs=[[1.0, 0.0]], clip=clip)
    assert got == pytest.approx(cost, rel=1e-14)
    both = fx.binary_cross_entropy([1, 0], probs=[0.0, 1.0], clip=clip, reduction="none")
    assert both == pytest.approx([cost, cost], rel=1e-9)
    assert fx.evaluate(probs=P, target=np.array([0, 1, 2, 1]), clip=clip).loss < INF


def test_no_target_and_no_probability_costs_nothing() -> None:
    q = np.array([[0.5, 0.5, 0.0]])
    p = np.array([[0.5, 0.5, 0.0]])
    assert fx.cross_entropy(q, probs=p) == pytest.approx(math.log(2), rel=1e-15)
    with np.errstate(divide="ignore"):
        assert fx.cross_entropy(q, log_probs=np.log(p)) == pytest.approx(math.log(2), rel=1e-15)
    assert fx.cross_entropy(q, logits=[[0.0, 0.0, -INF]]) == pytest.approx(math.log(2), rel=1e-15)
    assert fx.binary_cross_entropy([0, 1], probs=[0.0, 1.0], reduction="none").tolist() == [0.0, 0.0]
    assert fx.kl_divergence(q, probs=p) == 0.0
    assert fx.entropy(probs=[[1.0, 0.0, 0.0]]) == 0.0


# --- infinite logits -----------------------------------------------------------------------------------------


def test_a_masked_class_adds_nothing() -> None:
    z = np.array([[0.0, 0.0, -INF], [0.0, 0.0, -INF]])
    assert fx.cross_entropy([0, 2], logits=z, reduction="none").tolist() == [math.log(2), INF]


def test_infinite_logits_of_binary_tasks_are_certain() -> None:
    z = np.array([INF, -INF, INF, -INF])
    assert fx.binary_cross_entropy([1, 0, 0, 1], logits=z, reduction="none").tolist() == [0.0, 0.0, INF, INF]


# --- invalid rows: every cause, under every policy -------------------------------------------------------------

#: cause -> (form, keyword arguments of evaluate), row `ODD` being the one
CAUSES: dict[str, Callable[[], dict[str, Any]]] = {
    "nan_prediction": lambda: {"logits": with_row(Z, [0.0, NAN, 0.0]), "target": Y},
    "infinite_logit": lambda: {"logits": with_row(Z, [0.0, INF, 0.0]), "target": Y},
    "all_masked": lambda: {"logits": with_row(Z, [-INF, -INF, -INF]), "target": Y},
    "label_out_of_range": lambda: {"logits": Z, "target": np.array([0, 1, 3, 0])},
    "negative label": lambda: {"logits": Z, "target": np.array([0, 1, -1, 0])},
    "probability_out_of_range": lambda: {"probs": with_row(P, [0.5, 1.5, -1.0]), "target": Y},
    "negative probability": lambda: {"probs": with_row(P, [0.5, 0.75, -0.25]), "target": Y},
    "invalid_weight": lambda: {"logits": Z, "target": Y, "weight": np.array([1.0, 1.0, -1.0, 1.0])},
    "weight NaN": lambda: {"logits": Z, "target": Y, "weight": np.array([1.0, 1.0, NAN, 1.0])},
    "weight inf": lambda: {"logits": Z, "target": Y, "weight": np.array([1.0, 1.0, INF, 1.0])},
    "invalid_target": lambda: {"logits": Z, "target": with_row(np.eye(3)[Y], [1.5, -0.5, 0.0])},
    "target NaN": lambda: {"logits": Z, "target": with_row(np.eye(3)[Y], [NAN, 0.0, 0.0])},
    "zero_mass": lambda: {"probs": with_row(P, [0.0, 0.0, 0.0]), "target": Y, "normalize": True},
}
SAME = {
    "negative label": "label_out_of_range",
    "negative probability": "probability_out_of_range",
    "weight NaN": "invalid_weight",
    "weight inf": "invalid_weight",
    "target NaN": "invalid_target",
}


def check_policies(cause: str, options: dict[str, Any], path: str, data: Any = None) -> None:
    """Raise, skip and propagate, for row `ODD` of four."""
    with pytest.raises(fx.InvalidRowError) as caught:
        fx.evaluate(data, **options)
    assert (caught.value.cause, caught.value.row, caught.value.path) == (cause, ODD, path)
    assert f"row {ODD} (from 0)" in str(caught.value)

    skipped = fx.evaluate(data, **options, on_invalid="skip")
    assert skipped.rows["invalid"] == {cause: 1}
    assert (skipped.rows["read"], skipped.num_rows) == (4, 3)
    assert skipped.first_invalid == {cause: ODD}
    assert math.isfinite(skipped.loss)

    poisoned = fx.evaluate(data, **options, on_invalid="propagate")
    assert math.isnan(poisoned.loss)
    assert poisoned.rows["invalid"] == {cause: 1}
    assert poisoned.num_rows == 3


@pytest.mark.parametrize("name", CAUSES)
def test_invalid_rows_of_arrays(name: str) -> None:
    check_policies(SAME.get(name, name), CAUSES[name](), "<array>")


def file_of(tmp_path: Path, rows: list[Any], labels: list[Any], **columns: Any) -> str:
    path = str(tmp_path / "odd.parquet")
    pq.write_table(pa.table({"logits": pa.array(rows, pa.list_(pa.float64())), "label": labels} | columns), path)
    return path


@pytest.mark.parametrize(
    ("cause", "row", "label"),
    [
        ("null_prediction", None, 2),
        ("null_prediction", [0.0, None, 1.0], 2),
        ("null_target", [0.0, 3.0, 1.0], None),
        ("ragged_row", [0.0, 3.0], 1),
        ("ragged_row", [0.0, 3.0, 1.0, 1.0], 1),
        ("label_out_of_range", [0.0, 3.0, 1.0], 3),
    ],
)
def test_invalid_rows_of_files(tmp_path: Path, cause: str, row: Any, label: Any) -> None:
    rows, labels = Z.tolist(), Y.tolist()
    rows[ODD], labels[ODD] = row, label
    path = file_of(tmp_path, rows, labels)
    check_policies(cause, {"logits": "logits", "target": "label"}, path, path)


def test_unknown_labels(tmp_path: Path) -> None:
    path = file_of(tmp_path, Z.tolist(), ["a", "b", "z", "a"])
    check_policies("unknown_label", {"logits": "logits", "target": "label", "class_names": "abc"}, path, path)


def test_row_by_row() -> None:
    z, y = with_row(Z, [0.0, NAN, 0.0]), np.array([0, 1, 2, -100])
    for policy in ("skip", "propagate"):
        losses = fx.cross_entropy(y, logits=z, ignore_index=-100, on_invalid=policy, reduction="none")
        assert np.isnan(losses).tolist() == [False, False, True, False]
        assert losses[3] == 0.0
    assert math.isnan(fx.cross_entropy(y, logits=z, ignore_index=-100, on_invalid="propagate"))
    assert math.isnan(fx.cross_entropy(y, logits=z, ignore_index=-100, on_invalid="propagate", reduction="sum"))
    mean = fx.cross_entropy(y, logits=z, ignore_index=-100, on_invalid="skip")
    assert mean == pytest.approx(fx.cross_entropy(y[:2], logits=z[:2]), rel=1e-15)


def test_several_causes_and_the_first_of_each() -> None:
    z, y = np.tile(Z, (5, 1)), np.tile(Y, 5)
    z[[4, 7]] = NAN
    y[[9, 11, 13]] = 7
    ev = fx.evaluate(logits=z, target=y, on_invalid="skip")
    assert ev.rows["invalid"] == {"label_out_of_range": 3, "nan_prediction": 2}
    assert ev.first_invalid == {"label_out_of_range": 9, "nan_prediction": 4}
    with pytest.raises(fx.InvalidRowError) as caught:
        fx.evaluate(logits=z, target=y)
    assert caught.value.row == 4


# --- ignored rows --------------------------------------------------------------------------------------------


def test_ignored_rows_are_counted_apart() -> None:
    y = np.array([0, -100, 2, -100])
    ev = fx.evaluate(logits=Z, target=y, ignore_index=-100)
    assert ev.rows == {"read": 4, "scored": 2, "ignored": 2, "invalid": {}}
    assert ev.loss == fx.cross_entropy(y[[0, 2]], logits=Z[[0, 2]])


def test_a_class_can_be_ignored_and_stays_in_the_denominator() -> None:
    assert fx.cross_entropy([0, 1], logits=np.zeros((2, 4)), ignore_index=1) == pytest.approx(math.log(4), rel=1e-15)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_distribution_on_the_ignored_class_is_ignored_as_its_label_is(smoothing: float) -> None:
    options: dict[str, Any] = {"logits": Z, "ignore_index": 0, "label_smoothing": smoothing}
    for how in ("mean", "sum", "none"):
        hard = fx.cross_entropy(Y, reduction=how, **options)
        np.testing.assert_array_equal(fx.cross_entropy(np.eye(3)[Y], reduction=how, **options), hard)
    mixed = np.array([[0.5, 0.5, 0.0]] * 4)
    assert (fx.cross_entropy(mixed, reduction="none", **options) > 0).all()


# --- row sums ------------------------------------------------------------------------------------------------


def test_rows_that_do_not_sum_to_1_are_scored_counted_and_warned_of() -> None:
    p = with_row(P, [0.25, 0.25, 0.25])
    ev = fx.evaluate(probs=p, target=Y)
    assert ev.loss == fx.cross_entropy(Y, probs=p)
    assert fx.cross_entropy(Y, probs=p, reduction="none")[ODD] == -math.log(0.25)
    assert ev.uneven == ev.rows["uneven"] == 1
    (warning,) = ev.warnings
    assert "1 of 4 rows do not sum to 1 (first: row 2)" in warning
    assert ev.to_dict()["warnings"] == [warning]

    divided = fx.evaluate(probs=p, target=Y, normalize=True)
    assert divided.loss == pytest.approx(fx.cross_entropy(Y, probs=p / p.sum(axis=1, keepdims=True)), rel=1e-15)
    assert (divided.warnings, divided.uneven) == ([], 1)

    with np.errstate(divide="ignore"):
        logs = fx.evaluate(log_probs=np.log(p), target=Y)
    assert logs.uneven == 1


def test_rounding_of_the_type_is_no_reason_for_a_warning() -> None:
    rng = np.random.default_rng(7)
    p = rng.dirichlet(np.ones(3), 1000)
    y = rng.integers(0, 3, 1000)
    for scale, uneven in ((1.0, 0), (1 + 1e-8, 0), (1 - 1e-7, 1000)):
        assert fx.evaluate(probs=p * scale, target=y).uneven == uneven
    for scale, uneven in ((1.0, 0), (1 - 1e-4, 0), (1 - 1e-3, 1000)):
        assert fx.evaluate(probs=np.float32(p * scale), target=y).uneven == uneven
    assert fx.evaluate(logits=p, target=y).uneven == 0


def test_counts_of_uneven_rows_survive_merging_and_saving() -> None:
    p = with_row(P, [0.25, 0.25, 0.25])
    a, b = (fx.evaluate(probs=x, target=Y).totals for x in (P, p))
    b.merge(a)
    saved = fx.Evaluation(fx.Totals.from_bytes(b.to_bytes()))
    assert saved.uneven == 1
    assert "1 of 8 rows" in saved.warnings[0]


# --- nothing left --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 4])
def test_the_mean_of_nothing_is_nan(rows: int) -> None:
    y = np.full(rows, -100)
    assert math.isnan(fx.cross_entropy(y, logits=Z[:rows], ignore_index=-100))
    assert fx.cross_entropy(y, logits=Z[:rows], ignore_index=-100, reduction="sum") == 0.0
    assert fx.cross_entropy(y, logits=Z[:rows], ignore_index=-100, reduction="none").tolist() == [0.0] * rows
    ev = fx.evaluate(logits=Z[:rows], target=y, ignore_index=-100)
    assert math.isnan(ev.loss)
    assert math.isnan(ev.accuracy)
    assert ev.num_rows == 0


def test_the_shell_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = file_of(tmp_path, Z.tolist(), [-100] * 4)
    words = ["evaluate", path, "--logits", "logits", "--target", "label", "--ignore-index", "-100", "--json", "-"]
    monkeypatch.setattr(sys, "argv", ["fastxent", *words])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 3
    printed = capsys.readouterr()
    assert json.loads(printed.out)["loss"]["mean"] == "NaN"
    assert "no row was scored (4 read)" in printed.err


# --- weights, units, names, ties -------------------------------------------------------------------------------


def test_weighted_means_divide_by_the_sum_of_weights() -> None:
    s, w = np.array([2.0, 0.5, 0.0, 1.0]), [1.0, 3.0, 0.5]
    plain = fx.cross_entropy(Y, logits=Z, reduction="none")
    rows = fx.cross_entropy(Y, logits=Z, sample_weight=s, class_weight=w, reduction="none")
    np.testing.assert_allclose(rows, plain * s * np.take(w, Y), rtol=1e-15)
    mean = fx.cross_entropy(Y, logits=Z, sample_weight=s, class_weight=w)
    assert mean == pytest.approx(rows.sum() / (s * np.take(w, Y)).sum(), rel=1e-15)
    ev = fx.evaluate(logits=Z, target=Y, weight=s, class_weight=w)
    assert ev.loss == mean
    assert (ev.num_rows, ev.rows["zero_weight"]) == (3, 1)
    assert ev.to_dict()["weight_sum"] == pytest.approx((s * np.take(w, Y)).sum(), rel=1e-15)


def test_a_row_of_weight_0_is_not_there() -> None:
    y, s = np.array([0, 1, 2, 1]), np.array([1.0, 1.0, 1.0, 0.0])
    rows = fx.cross_entropy(y, probs=P, sample_weight=s, reduction="none")
    assert rows[3] == 0.0
    assert fx.cross_entropy(y, probs=P, sample_weight=s) == fx.cross_entropy(y[:3], probs=P[:3])
    assert fx.cross_entropy(y, probs=P, sample_weight=s, reduction="sum") == pytest.approx(rows.sum(), rel=1e-15)
    assert math.isnan(fx.cross_entropy(y, probs=P, sample_weight=np.zeros(4)))
    # An ignored row's weight is not looked at.
    ignored = fx.cross_entropy([0, -1], logits=Z[:2], sample_weight=[1.0, NAN], ignore_index=-1, reduction="none")
    assert ignored[1] == 0.0


def test_units() -> None:
    nats = fx.cross_entropy(Y, logits=Z)
    assert fx.cross_entropy(Y, logits=Z, base=2) == nats / math.log(2)
    assert fx.cross_entropy(Y, logits=Z, base=10) == nats / math.log(10)
    assert fx.evaluate(logits=Z, target=Y).perplexity == pytest.approx(math.exp(nats), rel=1e-15)
    for base in (0, 1, -2, INF, NAN):
        with pytest.raises(fx.UsageError, match="base"):
            fx.cross_entropy(Y, logits=Z, base=base)


def test_class_names_are_in_the_order_of_the_columns() -> None:
    names = ["zebra", "ant", "mole"]
    got = fx.cross_entropy([names[k] for k in Y], logits=Z, class_names=names)
    assert got == fx.cross_entropy(Y, logits=Z)


def test_ties() -> None:
    """The first maximum is predicted; equal losses keep the order of their rows."""
    z = np.zeros((3, 4))
    assert fx.evaluate(logits=z, target=np.array([0, 0, 0])).accuracy == 1.0
    ev = fx.evaluate(logits=z, target=np.array([1, 2, 3]), worst=2)
    assert ev.accuracy == 0.0
    assert ev.top_k[3] == pytest.approx(2 / 3)
    assert ev.worst.column("row").to_pylist() == [0, 1]
    assert fx.evaluate(logits=np.zeros(2), target=np.array([0, 1]), task="binary").accuracy == 0.5


def test_a_mask_that_nothing_looks_at_is_refused(tmp_path: Path) -> None:
    z, y, mask = np.zeros((4, 3)), np.arange(4) % 3, np.ones((4, 3), bool)
    calls = [
        lambda: fx.evaluate(logits=z, target=y, mask=mask),
        lambda: fx.binary_cross_entropy(y > 0, logits=z[:, 0], mask=mask[:, :1]),
        lambda: fx.focal_loss(y, logits=z, mask=mask),
        lambda: fx.evaluate(str(tmp_path / "x.parquet"), "y", logits="z", mask="m"),
    ]
    pq.write_table(pa.table({"z": z.tolist(), "y": y, "m": mask.tolist()}), tmp_path / "x.parquet")
    for call in calls:
        with pytest.raises(fx.UsageError, match="mask applies to the labels of task 'multilabel'"):
            call()
