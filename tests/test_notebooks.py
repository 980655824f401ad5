"""The examples: their scripts run and answer their question, and the notebooks are those scripts, run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest

from tests.notebooks import SCRIPTS, cells_of, notebook_of
from tests.shell import ROOT, environment

#: What the answer of each says, whatever versions do to its digits.
ANSWERS = {
    "digits": r"Shifts save -?\d\.\d+ nats an image \(95 %: .*\)\.\n(Ship it|Not yet)\.",
    "tumours": r"The trees are .*: [+-]\d\.\d+ nats .*\nLogits divided by \S+ would have a loss of \d\.\d+",
    "n_grams": r"(4 bytes in place of \d save \d\.\d\d bits a byte \(p = \S+\)\.\n){3}",
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_notebook_is_the_script(script: Path) -> None:
    assert cells_of(notebook_of(script)) == cells_of(script), "make notebooks"
    cells = [cell for cell in jupytext.read(notebook_of(script)).cells if cell.cell_type == "code"]
    assert all(cell.execution_count for cell in cells)
    outputs = [output for cell in cells for output in cell.outputs]
    kinds = {kind for output in outputs for kind in output.get("data", {})}
    assert {"image/png", "text/html"} <= kinds
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    text = "".join(output.text for output in outputs if output.output_type == "stream")
    assert re.search(ANSWERS[script.stem], text)
    assert not re.search(r"/(home|root|tmp|work)/", notebook_of(script).read_text())


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_the_script_answers(script: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment(ROOT, MPLBACKEND="agg", PYTHONWARNINGS=None), text=True,
        capture_output=True, timeout=580,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(ANSWERS[script.stem], done.stdout)
