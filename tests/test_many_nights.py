"""Gates over groups and before the run, the worst group, baselines, summaries, several comparisons."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent import UsageError
from fastxent.cli.flags import in_flags
from fastxent.comparison.several import holm
from fastxent.results.gates import failures, parse_gate
from tests.shell import run, without_notice


def rows(n=600, seed=1, shift=0.0):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.4).astype(int)
    country = np.array(["DE", "FR", "IT"])[np.arange(n) % 3]
    p = 1.0 / (1.0 + np.exp(-(rng.normal(size=n) + 3.0 * y - 1.5 + shift) * np.where(country == "IT", 0.2, 1.0)))
    return pa.table({"id": np.arange(n), "label": y, "p": p, "country": country, "half": np.arange(n) % 2})


@pytest.fixture
def files(tmp_path):
    paths = []
    for seed in (1, 2, 3):
        table = rows()
        noise = np.random.default_rng(seed).normal(size=len(table)) * 0.02 * (seed - 1)
        p = np.clip(table["p"].to_numpy() + noise, 0.001, 0.999)
        paths.append(str(tmp_path / f"m{seed}.parquet"))
        pq.write_table(table.set_column(2, "p", pa.array(p)), paths[-1])
    return paths


HOW = ("--probs", "p", "--target", "label", "--task", "binary")


def test_a_gate_looks_at_every_group():
    ev = fx.evaluate(rows(), probs="p", target="label", task="binary", group_by=["country", "half"])
    values = ev.to_dict()
    by_country = {row["country"]: row["loss"] for row in ev.margins["country"].to_pylist()}
    limit = sorted(by_country.values())[1]
    (line,) = failures([parse_gate(f"any(groups.country).loss > {limit}")], values)
    assert line == f"gate failed: any(groups.country).loss > {limit} (IT: {by_country['IT']!r})"
    assert not failures([parse_gate("any( groups.country ).loss > 9")], values)
    (line,) = failures([parse_gate("any(groups).count >= 100")], values)
    assert line.count("country=") == 6
    (line,) = failures([parse_gate("any(per_class).recall >= 0")], values)
    assert "0: " in line
    assert "1: " in line
    with pytest.raises(UsageError, match=r"there is no 'los'.*did you mean loss"):
        failures([parse_gate("any(groups.country).los > 1")], values)
    for text in ("any(groups.country) > 1", "any(groups.country.accuracy < 1", "any().x < 1"):
        with pytest.raises(UsageError, match="--fail-if"):
            parse_gate(text)


@pytest.mark.parametrize(
    ("gate", "says"),
    [
        ("los > 1", "did you mean loss?"),
        ("loss.maen > 1", "did you mean mean?"),
        ("groups.country.DE.acuracy < 1", "did you mean accuracy?"),
        ("any(groups.country).acuracy < 1", "did you mean accuracy?"),
        ("groups.contry.DE.loss > 1", "nothing is grouped by 'contry'; did you mean country?"),
        ("baseline.delta.los > 1", "there is no 'baseline'"),
    ],
)
def test_gates_are_checked_before_the_run(gate, says, files):
    found = run("evaluate", files[0], *HOW, "--group-by", "country", "--fail-if", gate, "--filter", "nothing == 1")
    assert found.exit_code == 2
    assert says in found.stderr


def test_what_is_there_may_be_a_gate(files):
    gates = (
        "loss > 9", "loss.ci95.1 > 9", "accuracy.top1 < 0", "auc < 0", "any(groups.country).auc < 0", "mcc < -2",
        "groups.country.DE.q95_high > 99", "per_class.1.recall < 0", "calibration > 2", "rows.scored < 1",
        "intervals.auc.0 < 0", "any(groups.country).ece_floor > 9",
    )  # fmt: skip
    flags = [text for gate in gates for text in ("--fail-if", gate)]
    found = run("evaluate", files[0], *HOW, "--group-by", "country", *flags)
    assert (found.exit_code, without_notice(found.stderr)) == (0, "")


def test_the_worst_group_knows_how_many_were_looked_at():
    ev = fx.evaluate(rows(), probs="p", target="label", task="binary", group_by="country")
    worst = ev.worst_group()
    assert worst.values == {"country": "IT"}
    assert (worst.rows, worst.looked_at) == (200, 3)
    assert worst.value == ev.group("IT").loss
    low, high = ev.group("IT").interval("loss")
    assert worst.low < low < high < worst.high
    assert (worst.high - worst.value) / (high - worst.value) == pytest.approx(2.39398 / 1.95996, rel=1e-4)
    assert worst.stands_out
    assert "worst group" in str(ev)
    assert ev.worst_group("auc").values["country"] == min(
        ("DE", "FR", "IT"), key=lambda country: ev.group(country).auc
    )  # fmt: skip
    assert ev.worst_group(least=201) is None
    with pytest.raises(UsageError, match="worst_group: expected one of"):
        ev.worst_group("nonsense")


def test_the_worst_of_groups_that_are_alike_rarely_stands_out():
    rng = np.random.default_rng(5)
    out = 0
    for _ in range(100):
        y = (rng.random(600) < 0.5).astype(int)
        p = np.clip(0.5 + (y - 0.5) * rng.random(600), 0.01, 0.99)
        ev = fx.evaluate(probs=p, target=y, task="binary", group_by=np.arange(600) % 12)
        out += ev.worst_group().stands_out
    assert out <= 12  # 5 expected, and three standard errors


def test_a_baseline(files, tmp_path):
    state = str(tmp_path / "last.fxt")
    assert run("evaluate", files[0], *HOW, "--state", state).exit_code == 0
    out = run("evaluate", files[2], *HOW, "--baseline", state, "--json", "-")
    found = json.loads(out.stdout)
    one, other = (fx.evaluate(path, probs="p", target="label", task="binary") for path in (files[2], files[0]))
    delta = found["baseline"]["delta"]
    assert delta["loss"] == one.loss - other.loss
    assert delta["auc"] == one.auc - other.auc
    half = 1.959963984540054 * np.hypot(one.loss_stats.stderr, other.loss_stats.stderr)
    assert found["baseline"]["ci95"]["loss"] == pytest.approx([delta["loss"] - half, delta["loss"] + half], rel=1e-12)
    shown = run("evaluate", files[2], *HOW, "--baseline", state, "--fail-if", "baseline.delta.loss > -1")
    assert shown.exit_code == 1
    assert "since baseline" in shown.stdout
    wrong = run("evaluate", files[0], "--probs", "p,p", "--target", "label", "--baseline", state)
    assert wrong.exit_code != 0
    assert "fault of fastxent" not in wrong.stderr


def test_a_summary_for_github(files, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    how = (*HOW, "--group-by", "country", "--summary", "github")
    found = run("evaluate", files[0], *how, "--fail-if", "loss > 0")
    assert found.exit_code == 1
    text = summary.read_text()
    assert text.startswith("before\n## fastxent evaluate\n")
    assert "❌ gate failed: loss \\> 0" in text
    assert "| rows | 600 |" in text
    assert "### by country" in text
    monkeypatch.delenv("GITHUB_STEP_SUMMARY")
    found = run("evaluate", files[0], *how)
    assert found.exit_code == 2
    assert "GITHUB_STEP_SUMMARY" in found.stderr


def test_several_comparisons(files):
    found = fx.compare_all(files[0], {"two": files[1], "three": files[2]}, "label", on="id", probs="p", task="binary")
    alone = fx.compare(files[0], files[2], "label", on="id", probs="p", task="binary")
    assert found["three"].delta == alone.delta
    p = [found[name].delta.p_value for name in ("two", "three")]
    assert list(found.p_holm.values()) == holm(p)
    out = run("compare", *files, "--on", "id", *HOW)
    assert out.exit_code == 0
    assert "p (Holm)" in out.stdout
    told = json.loads(run("compare", *files, "--on", "id", *HOW, "--json", "-").stdout)
    assert told["comparisons"][files[2]]["delta"]["mean"] == alone.delta.mean
    wrong = run("compare", *files, "--on", "id", *HOW, "--fail-if", "any(comparisons).dleta < 9")
    assert (wrong.exit_code, "there is no 'dleta'" in wrong.stderr, wrong.stdout) == (2, True, "")
    gate = run("compare", *files, "--on", "id", *HOW, "--fail-if", "any(comparisons).delta < 9")
    assert gate.exit_code == 1
    assert files[1] in gate.stderr
    with pytest.raises(UsageError, match="compare_all: nothing"):
        fx.compare_all(files[0], {})


def test_holm_is_that_of_the_textbook():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([float("nan"), 0.01])[1] == 0.02


def test_a_class_report_in_the_shell(files):
    found = run("evaluate", files[0], *HOW, "--per-class")
    report = fx.evaluate(files[0], probs="p", target="label", task="binary").class_report()
    assert report in found.stdout


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("bins: expected 3, got 7; pass group_by=", "--bins: expected 3, got 7; pass --group-by"),
        ("pass statistics=\"ranking\", or on_error='skip'", "pass --statistics ranking, or --on-error skip"),
        ("weight=3/part.parquet: missing", "weight=3/part.parquet: missing"),
        ("/data/weight=3: missing", "/data/weight=3: missing"),
        ("--fail-if 'a task=3': no", "--fail-if 'a task=3': no"),
        ('the rows\' filter="a == 1"', 'the rows\' --filter "a == 1"'),
        ("out_path: no", "--output: no"),
    ],
)
def test_errors_of_commands_speak_of_flags(text, told):
    assert in_flags(text) == told


def test_a_command_says_the_flag(files):
    found = run("evaluate", files[0], *HOW, "--bins", "7")
    assert found.exit_code == 2
    assert "--bins: expected a divisor of 3600, got 7" in found.stderr


@pytest.mark.parametrize("command", ["evaluate", "score", "compare"])
def test_help_has_sections_and_examples(command):
    text = run(command, "--help").stdout
    places = [
        text.index(title) for title in ("What is read:", "The loss of a row:", "The run:", "Results:", "Examples:")
    ]
    assert places == sorted(places)
    for line in text[places[-1] :].splitlines()[1:]:
        assert line.startswith(f"  fastxent {command} ")
    assert text.count("--fail-if") >= 1
    assert text.index("--target") < places[1] < text.index("--label-smoothing") < places[2]
