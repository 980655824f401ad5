"""Losses in bits and bans: every number that is one is converted by one rule, nothing else is, and totals stay."""

from __future__ import annotations

import json
import math
import re
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent.base.log_unit import Unit
from fastxent.engine.row_files.record import RECORD_KEY
from tests.shell import run
from tests.statdata import DATA, DIGITS

A, B = DIGITS, str(DATA / "digits_kernel.parquet")
BREAST = str(DATA / "breast_cancer.parquet")
LN2 = math.log(2.0)

#: Places in the dictionary of an evaluation that are in its unit; * is any name or position.
CONVERTED = """
loss/mean loss/sum loss/std loss/stderr loss/min loss/max loss/ci95/* loss/quantiles/* loss/quantile_bounds/*/*
loss_histogram/*/low loss_histogram/*/high units/loss units/stderr units/ci95/* entropy per_class/*/loss margins/*/loss
intervals/loss/*
worst/*/loss worst_per_class/*/loss label_errors/*/*/loss temperature/loss temperature/gain temperature/table/*/loss
group_per_class/*/loss_ group_worst/*/loss_ group_worst_per_class/*/loss_ group_label_errors/*/*/loss_
""".split()
OF_GROUPS = """
loss_ sum stderr ci_low ci_high std min max q*_low q*_high q?? loss_per_unit stderr_per_unit entropy
temperature_loss temperature_gain
""".split()
CONVERTED += [f"{table}/*/{name}" for table in ("groups", "margins") for name in OF_GROUPS]

#: What a table of groups may have beside them: who adds a column says here, or there, what it is.
UNITLESS = """
count weight clusters perplexity bits units bits_per_unit d2 normalized_entropy f1_macro f1_weighted
f1_micro balanced_accuracy mcc ece_floor
accuracy ace accuracy_low accuracy_high top3 top5 top10 mrr brier ece mce rmsce classwise_ece temperature_best
class support precision recall f1 confidence gap reliability resolution uncertainty residual auc auc_low auc_high
average_precision average_precision_low average_precision_high
""".split()


def pattern_of(place: str) -> str | None:
    """The first of these that a place is of."""
    regex = {p: p.replace("*", "[^/]+").replace("?", "[0-9]") for p in CONVERTED}
    return next((p for p in CONVERTED if re.fullmatch(regex[p], place)), None)


def table() -> Any:
    """The digits with columns to group, weigh and keep by, one of them with the name of a statistic."""
    digits = pq.read_table(A)
    rng = np.random.default_rng(3)
    n = len(digits)
    columns = {"loss": rng.integers(0, 3, n), "half": rng.integers(0, 2, n), "w": rng.random(n) + 0.5,
               "bytes": rng.integers(1, 9, n), "document": rng.integers(0, 40, n)}  # fmt: skip
    for name, values in columns.items():
        digits = digits.append_column(name, [values])
    return digits


EVERYTHING: dict[str, Any] = {
    "logits": "logits", "target": "label", "weight": "w", "group_by": ["loss", "half"], "cluster_by": "document",
    "units": "bytes", "worst": 3, "worst_per_class": 1, "keep": ["loss", "half"], "label_errors": 2,
    "statistics": ["classwise", "entropy", "temperature"],
}  # fmt: skip


def leaves(value: Any, place: str = "") -> dict[str, Any]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return {place: value}
    return {name: leaf for key, each in items for name, leaf in leaves(each, f"{place}/{key}".lstrip("/")).items()}


def invoke(*words: Any, code: int = 0) -> str:
    done = run(*words)
    assert done.exit_code == code, done.output
    return done.output


def converted(nats: Any, other: Any, base: float, name: str) -> tuple[set[str], set[str]]:
    """Hold two evaluations of the same rows against each other; the places that were converted, once and twice."""
    before, after = (leaves(json.loads(each.to_json())) for each in (nats, other))
    assert (before.pop("loss_unit"), after.pop("loss_unit")) == ("nats", name)
    assert before.keys() == after.keys()
    seen, squares = set(), set()
    for place, value in before.items():
        if place.startswith("run/"):
            continue
        if (pattern := pattern_of(place)) is not None and isinstance(value, float):  # one column of groups is no loss
            seen.add(pattern)
            assert after[place] == value / math.log(base), place
        elif place.endswith("/variance"):
            squares.add(re.sub("[0-9]+", "*", place))
            assert after[place] == pytest.approx(value / math.log(base) ** 2, rel=1e-15)
        else:
            assert after[place] == value, place
    return seen, squares


def check_known(*tables: list[str]) -> None:
    """Every column of tables of groups is in the unit, or has none."""
    for name in {name for names in tables for name in names} - {"variance"}:
        losses = any(fnmatch(name, pattern) for pattern in OF_GROUPS)
        assert losses != (name.removesuffix("_") in UNITLESS), name


@pytest.mark.parametrize(("base", "name"), [(2, "bits"), (10.0, "bans"), (3, "logarithms to base 3")])
def test_what_is_a_loss_is_converted_and_nothing_else(base: float, name: str) -> None:
    nats = fx.evaluate(table(), **EVERYTHING)
    other = fx.evaluate(table(), **EVERYTHING, base=base)
    assert other.totals.to_bytes() == nats.totals.to_bytes()
    seen, squares = converted(nats, other, base, name)
    assert seen == set(CONVERTED)
    assert squares == {"loss/variance", "groups/*/variance", "margins/*/variance"}
    found, was = other.groups, nats.groups
    check_known(found.column_names[2:], other.group_per_class.column_names[2:])
    assert found["loss_"][0].as_py() == was["loss_"][0].as_py() / math.log(base)
    assert other.quantile(0.3).value == nats.quantile(0.3).value / math.log(base)
    assert other.loss_histogram(8)["low"][5].as_py() == nats.loss_histogram(8)["low"][5].as_py() / math.log(base)
    assert other.perplexity == pytest.approx(base**other.loss, rel=1e-14)


def test_a_group_is_in_the_unit() -> None:
    nats, bits = (fx.evaluate(table(), **EVERYTHING, base=base) for base in (None, 2))
    seen, squares = converted(nats.group(1, 0), bits.group(1, 0), 2.0, "bits")
    assert {"loss/mean", "loss_histogram/*/low", "units/stderr", "entropy", "per_class/*/loss"} <= seen
    assert squares == {"loss/variance"}
    row = bits.groups.to_pylist()[2]
    one = bits.group(row["loss"], row["half"])
    assert (row["loss_"], row["entropy"], row["min"]) == (one.loss, one.entropy, one.loss_stats.min)
    assert row["q01"] == one.quantile(0.01).value
    part = [each for each in bits.group_per_class.to_pylist() if (each["loss"], each["half"]) == (1, 0)]
    alone = {each["class"]: each["loss"] for each in bits.group(1, 0).per_class.to_pylist()}
    assert part
    assert all(each["loss_"] == pytest.approx(alone[each["class"]], rel=1e-12) for each in part)


def test_columns_of_groups_of_events() -> None:
    rows = pq.read_table(BREAST)
    rows = rows.append_column("half", [np.arange(len(rows)) % 2])
    words: Any = {"logits": "logit", "target": "label", "task": "binary", "group_by": "half", "statistics": "ranking"}
    nats, bans = (fx.evaluate(rows, **words, base=base) for base in (None, 10))
    check_known(["loss_" if name == "loss" else name for name in bans.groups.column_names[1:]])
    assert bans.groups["q01"][0].as_py() == nats.groups["q01"][0].as_py() / math.log(10)
    assert bans.groups["residual"].to_pylist() == nats.groups["residual"].to_pylist()


def test_extremes_and_bounds_are_those_of_the_converted_rows() -> None:
    z, y = (np.asarray(pq.read_table(A)[name].to_pylist()) for name in ("logits", "label"))
    z = z.astype(np.float32)
    rows = fx.cross_entropy(y, logits=z, base=2, reduction="none")
    found = fx.evaluate(logits=z, target=y, base=2).loss_stats
    assert found is not None
    assert (found.min, found.max) == (rows.min(), rows.max())
    for q, quantile in found.quantiles.items():
        assert quantile.low <= np.sort(rows)[math.ceil(q * len(rows)) - 1] <= quantile.high


@pytest.mark.parametrize(
    ("options", "function", "words"),
    [
        ({}, fx.cross_entropy, {}),
        ({"label_smoothing": 0.1, "class_weight": list(range(1, 11))}, fx.cross_entropy, {}),
        ({"loss": "focal", "gamma": 1.5}, fx.focal_loss, {"gamma": 1.5}),
        ({"loss": "entropy"}, fx.entropy, {}),
    ],
)
def test_rows_are_written_with_the_bits_of_the_function(
    options: dict[str, Any], function: Any, words: dict[str, Any], tmp_path: Path
) -> None:
    columns = pq.read_table(A)
    z = np.asarray(columns["logits"].to_pylist()).astype(np.float32)
    given: Any = {} if function is fx.entropy else {"target": columns["label"].to_numpy()}
    given |= words or {name: value for name, value in options.items() if name != "loss"}
    expected = function(logits=z, base=2, reduction="none", **given)
    assert (expected != function(logits=z, reduction="none", **given)).mean() > 0.9
    result = fx.score(A, tmp_path / "o.parquet", logits="logits", target="label", base=2, **options)
    written = pq.read_table(tmp_path / "o.parquet")
    assert written["loss"].to_numpy().tobytes() == expected.tobytes()
    assert written.schema.field("loss").metadata[b"unit"] == b"bits"
    assert result.loss == fx.evaluate(A, logits="logits", target="label", base=2, **options).loss
    shell = [f"--{name.replace('_', '-')}={','.join(map(str, v)) if isinstance(v, list) else v}"
             for name, v in options.items()]  # fmt: skip
    command = ("score", A, "-o", tmp_path / "s.parquet", "--logits=logits", "--target=label", "--base=2", *shell)
    assert "bits" in invoke(*command)
    assert pq.read_table(tmp_path / "s.parquet")["loss"].to_numpy().tobytes() == expected.tobytes()


def test_a_folder_does_not_go_on_in_another_unit(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    pq.write_table(pq.read_table(A), source / "a.parquet")
    words = {"logits": "logits", "target": "label"}
    fx.score(str(source), f"{tmp_path}/out/", **words)
    kept = (tmp_path / "out" / "a.parquet").read_bytes()
    fx.score(str(source), f"{tmp_path}/out/", **words, base=math.e)  # nats by another name
    assert (tmp_path / "out" / "a.parquet").read_bytes() == kept
    with pytest.raises(fx.UsageError, match="other options"):
        fx.score(str(source), f"{tmp_path}/out/", **words, base=2)
    found = fx.score(str(source), f"{tmp_path}/out/", **words, base=2, overwrite=True)
    again = fx.score(str(source), f"{tmp_path}/out/", **words, base=2.0)
    assert found.loss == again.loss == fx.evaluate(A, **words).bits
    assert RECORD_KEY in pq.read_metadata(tmp_path / "out" / "a.parquet").metadata


def test_states_know_no_unit(tmp_path: Path) -> None:
    """Parts that were shown in different units merge to the bytes of one run, which is shown in any."""
    rows = pq.read_table(A)
    halves = [tmp_path / f"{name}.parquet" for name in "ab"]
    for path, part in zip(halves, (rows.slice(0, 500), rows.slice(500)), strict=True):
        pq.write_table(part, path)
    columns = ("--logits=logits", "--target=label", "--json=-")
    for path, base in zip(halves, ("2", "10"), strict=True):
        invoke("evaluate", path, *columns, f"--base={base}", f"--state={path}.fxt")
    invoke("evaluate", *halves, *columns, f"--state={tmp_path}/whole.fxt")
    states = [f"{path}.fxt" for path in halves]
    merged = json.loads(invoke("merge", *states, "--base=2", "--json=-", f"--state={tmp_path}/merged.fxt"))
    assert (tmp_path / "merged.fxt").read_bytes() == (tmp_path / "whole.fxt").read_bytes()
    assert merged["loss_unit"] == "bits"
    assert merged["loss"]["mean"] == fx.evaluate(A, logits="logits", target="label", base=2).loss
    assert json.loads(invoke("merge", *states, "--json=-"))["loss_unit"] == "nats"
    totals = fx.Totals.from_bytes((tmp_path / "merged.fxt").read_bytes())
    assert fx.Evaluation(totals, base=2).loss == merged["loss"]["mean"]


def test_comparisons(tmp_path: Path) -> None:
    words: Any = {"logits": "logits", "target": "label", "by_order": True, "group_by": "label", "permutations": 99}
    nats, bits = fx.compare(A, B, **words), fx.compare(A, B, **words, base=2)
    before, after = (leaves(json.loads(each.to_json())) for each in (nats, bits))
    assert (before.pop("loss_unit"), after.pop("loss_unit")) == ("nats", "bits")
    delta = "(delta/(mean|stderr|ci_low|ci_high)|loss/[ab])"
    places = re.compile(rf"{delta}|groups/label/\d/{delta}|(improved|regressed)/\d+/(loss_a|loss_b|delta)")
    converted = [place for place in before if places.fullmatch(place)]
    assert len(converted) == 6 * 11 + 3 * 20
    for place, value in before.items():
        if not place.startswith("run/"):
            assert after[place] == (value / LN2 if place in converted else value), place
    assert bits.a.loss == nats.a.loss / LN2 == bits.a.bits
    assert bits.per_group["loss_a"][0].as_py() == nats.per_group["loss_a"][0].as_py() / LN2
    assert "<td>loss (bits)</td>" in bits._repr_html_()
    command = ("compare", A, B, "--logits=logits", "--target=label", "--by-order")
    shown = invoke(*command, "--base=2", f"--html={tmp_path}/c.html")
    assert "loss (bits)" in shown
    assert "nats" not in shown + (tmp_path / "c.html").read_text()
    assert "nats" in invoke(*command)


def test_reports_name_the_unit(tmp_path: Path) -> None:
    data = tmp_path / "rows.parquet"
    pq.write_table(table(), data)
    command = ("evaluate", data, "--logits=logits", "--target=label", "--units=bytes", "--statistics=entropy")
    for base, name in (("2", "bits"), ("10", "bans")):
        shown = invoke(*command, f"--base={base}", f"--html={tmp_path}/r.html", "--worst=2")
        page = (tmp_path / "r.html").read_text()
        assert "nats" not in shown + page
        assert f"Loss ({name})" in page
        assert f"loss of a row ({name}, logarithmic)" in page
        assert re.search(rf"^loss +\S+ ± \S+ {name}", shown, re.MULTILINE), shown
        assert re.search(rf"^per bytes +\S+ ± \S+ {name}, ", shown, re.MULTILINE), shown
        assert re.search(rf"^entropy +\S+ {name} ", shown, re.MULTILINE), shown
    assert invoke(*command, "--base=e").splitlines()[:8] == invoke(*command).splitlines()[:8]
    assert "nats" in invoke(*command)


def test_gates_are_in_the_unit() -> None:
    nats = fx.evaluate(A, logits="logits", target="label").loss
    between = 0.5 * (nats + nats / LN2)
    command = ("evaluate", A, "--logits=logits", "--target=label", f"--fail-if=loss > {between!r}")
    invoke(*command)
    invoke(*command, "--base=2", code=1)


def test_binary_and_multilabel_rows(tmp_path: Path) -> None:
    columns = pq.read_table(BREAST)
    z, y = columns["logit"].to_numpy(), columns["label"].to_numpy()
    fx.score(BREAST, tmp_path / "b.parquet", logits="logit", target="label", task="binary", base=10)
    expected = fx.binary_cross_entropy(y, logits=z, base=10, reduction="none")
    assert pq.read_table(tmp_path / "b.parquet")["loss"].to_numpy().tobytes() == expected.tobytes()
    rows = {"logits": np.stack([z, -z], axis=1), "target": np.stack([y, 1 - y], axis=1)}
    fx.score(None, tmp_path / "m.parquet", **rows, task="multilabel", base=10)
    expected = fx.binary_cross_entropy(**rows, base=10, reduction="none")
    assert pq.read_table(tmp_path / "m.parquet")["loss"].to_numpy().tobytes() == expected.tobytes()


@pytest.mark.parametrize("base", [0, 1, 0.5, -2, math.inf, math.nan, "2", "bits", None.__class__, True])
def test_what_is_no_base(base: Any, tmp_path: Path) -> None:
    z = [[1.0, 0.0]]
    for call in (
        lambda: fx.cross_entropy([0], logits=z, base=base),
        lambda: fx.evaluate(logits=z, target=[0], base=base),
        lambda: fx.score(None, tmp_path / "o.parquet", logits=z, target=[0], base=base),
        lambda: fx.compare(logits=z, b_logits=z, target=[0], base=base),
        lambda: fx.Evaluation(fx.evaluate(logits=z, target=[0]).totals, base=base),
    ):
        with pytest.raises(fx.UsageError, match="base"):
            call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["1", "bits", "-3", "nan"])
def test_what_is_no_base_in_the_shell(text: str) -> None:
    done = run("evaluate", A, "--logits=logits", "--target=label", f"--base={text}")
    assert done.exit_code == 2
    assert "base" in done.output


def test_a_unit_converts_arrow_columns() -> None:
    rows = pa.table({"loss": pa.array([1.0, None, math.nan]), "other": [1.0, 2.0, 3.0]})
    found = Unit(2).columns(rows, ("loss",))
    assert found["loss"].null_count == 1
    assert found["loss"][0].as_py() == 1.0 / LN2
    assert found["other"].to_pylist() == [1.0, 2.0, 3.0]
    assert Unit(math.e) == Unit(None) == Unit()
