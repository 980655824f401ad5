"""The summary of an evaluation, printed: all of it, at any width, without empty lines or broken numbers."""

from __future__ import annotations

import re

import pytest

import fastxent as fx
from fastxent.results.headlines import summary_lines
from tests.shell import ROOT


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
