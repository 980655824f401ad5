"""The summary of an evaluation, printed: all of it, at any width, without empty lines or broken numbers."""

from __future__ import annotations

import re

import pytest
from numba.core import event

import fastxent as fx
from fastxent.engine.compile_clock import compile_clock
from fastxent.results.headlines import summary_lines
from tests.shell import ROOT, run


@pytest.mark.parametrize("width", [60, 80, 200])
def test_print_shows_the_summary(monkeypatch, width) -> None:
    ev = fx.evaluate(ROOT / "data" / "digits.parquet")
    monkeypatch.setenv("COLUMNS", str(width))
    lines = str(ev).splitlines()
    assert all(line.strip() and line == line.rstrip() and len(line) <= width for line in lines)
    joined = re.sub(r"\s+", " ", " ".join(lines))
    assert joined == re.sub(r"\s+", " ", " ".join(f"{name} {value}" for name, value in ev.headlines()))
    if width == 200:
        assert len(lines) == len(list(ev.headlines()))
    for number in re.findall(r"[\d.,e%-]+", " ".join(value for _, value in ev.headlines())):
        assert any(number in line for line in lines), number
    assert repr(ev).startswith("Evaluation(loss=")


def test_what_fits_nowhere_has_a_line_of_its_own() -> None:
    assert list(summary_lines([("a", "x" * 30 + ", y"), ("long", "")], 10)) == [
        ("a     ", "x" * 30 + ","), ("      ", "y"), ("long  ", ""),
    ]  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 200])
def test_tables_fit_the_terminal_and_the_worst_groups_come_first(monkeypatch, width) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    digits = str(ROOT / "data" / "digits.parquet")
    shown = run("evaluate", digits, "--group-by", "fold,ink", "--per-class").stdout
    assert all(len(line.rstrip()) <= width for line in shown.splitlines() if "no room" not in line)
    head = shown[shown.index("by fold, ink") :].splitlines()[1]
    ev = fx.evaluate(digits, group_by=["fold", "ink"])
    worst = max(ev.groups.to_pylist(), key=lambda row: row["loss"])
    first = shown[shown.index("by fold, ink") :].splitlines()[2].split()
    assert first[: head.split().index("count")] == [str(worst["fold"]), worst["ink"]]
    assert ("no room" in shown) == (width < 120)
    assert ev.class_report() in shown


def test_compiling_is_timed_apart() -> None:
    with compile_clock() as clock:
        for end in (False, True):  # one within another
            for _ in range(2):
                (event.end_event if end else event.start_event)("numba:compile")
    assert 0.0 < clock.seconds < 1.0
    facts = {"seconds": 20.5, "compile_seconds": 20.0, "rows_per_second": 100.0, "bytes": 0, "threads": 1}
    ev = fx.evaluate(logits=[[1.0, 0.0]], target=[0])
    ev.run = facts
    assert "time 0.500 s  (100 rows/s, 0.00 GB/s, 1 threads; and 20.0 s of compiling, once)" in " ".join(
        f"{name} {value}" for name, value in ev.headlines()
    )
