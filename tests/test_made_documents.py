"""What is written into the documents by commands is what the commands write: tables, plots, the example report."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from bench import plots
from bench.report import DOCUMENTS, fill, tables
from bench.results import FOLDER, load
from tests.parity import ROWS
from tests.pictures import PICTURE, REPORT, SIZE, chromium, lasting, made, taken
from tests.shell import ROOT


def test_tables_of_the_benchmarks_are_those_of_the_committed_run() -> None:
    wanted = tables(load((FOLDER / "latest.json").read_text()))
    for document in DOCUMENTS:
        text = (ROOT / document).read_text()
        assert fill(text, wanted) == (text, []), f"python -m bench --report writes {document}"


def test_plots_of_the_benchmarks_are_those_of_the_committed_run(tmp_path: Path) -> None:
    shown = set(re.findall(r"\((images/[\w.]+)\)", (ROOT / "docs" / "performance.md").read_text()))
    drawn = plots.draw(load((FOLDER / "latest.json").read_text()), tmp_path)
    assert shown == {f"images/{path.name}" for path in drawn}
    for path in drawn:
        assert numbers(path)
        assert numbers(path) == numbers(ROOT / "docs" / "images" / path.name), "python -m bench --report"


def numbers(plot: Path) -> list[str]:
    """The lines of a plot; how text is drawn is the font's."""
    return re.findall(r'<g id="(?:line2d|patch|PathCollection)_\d+">\s*<path d="([^"]+)"', plot.read_text())


def test_the_table_of_parity_has_the_rows_that_are_tested() -> None:
    told = re.findall(
        r"^\| `(.+?)` \| `(.+?)` \| .*? \| (.*?) \|$", (ROOT / "docs" / "parity.md").read_text(), re.MULTILINE
    )
    assert told == [(row.option, row.ours, row.reason) for row in ROWS], "python -m tests.parity"


def test_the_example_report_is_that_of_its_command(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "data", tmp_path / "data")
    (tmp_path / "docs").mkdir()
    assert lasting(made(tmp_path)) == lasting(REPORT.read_text()), "make pictures"


@pytest.mark.browser
def test_the_picture_is_that_of_the_example_report() -> None:
    if shutil.which("chromium") is None:
        pytest.skip("no chromium on this machine (Debian: apt install chromium)")
    pytest.importorskip("matplotlib")
    from matplotlib.image import imread

    with chromium() as browser:
        now = taken(browser, REPORT)
    old, new = (imread(io.BytesIO(data), format="png")[..., :3] for data in (PICTURE.read_bytes(), now))
    assert old.shape == new.shape == (SIZE["height"], SIZE["width"], 3)
    blocks = [picture.reshape(30, 50, 24, 50, 3).mean(axis=(1, 3)) for picture in (old, new)]  # letters differ by font
    assert np.abs(blocks[0] - blocks[1]).mean() < 0.02, "make pictures"
