"""Notebooks of the examples: the scripts in docs/examples, run, with what they put out.

``python -m tests.notebooks --write`` (``make notebooks``) runs those that are stale; a test holds them to the scripts.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

from tests.shell import ROOT

SCRIPTS = sorted((ROOT / "docs" / "examples").glob("*.py"))


def main() -> None:
    for script in SCRIPTS:
        if "--write" in sys.argv and (
            not notebook_of(script).exists() or cells_of(script) != cells_of(notebook_of(script))
        ):
            notebook_of(script).write_text(executed(script))
            print(f"wrote {notebook_of(script).relative_to(ROOT)}")


def notebook_of(script: Path) -> Path:
    return script.with_suffix(".ipynb")


def cells_of(path: Path) -> list[tuple[str, str]]:
    """Kind and source of the cells of a script or a notebook."""
    return [(cell.cell_type, cell.source) for cell in jupytext.read(path).cells]


def executed(script: Path) -> str:
    """The notebook of a script, run in a folder of its own; of what differs from run to run it holds results alone."""
    notebook: Any = jupytext.read(script)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}, record_timing=False
        )
        client.execute()
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"
        cell.metadata = {}
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return str(nbformat.writes(notebook)) + "\n"


if __name__ == "__main__":
    main()
