"""What the documents show is what happens: commands with their output, examples of Python, names of flags, links."""

from __future__ import annotations

import ast
import doctest
import inspect
import re
import shutil
import subprocess
import sys
from glob import glob
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent.cli.main import cli
from fastxent.engine.runners.choose import runner_of
from tests.documents import FLAGS, agree, blocks, calls, commands, imported, printed
from tests.shell import ROOT, environment
from tests.test_states import run

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(page for page in DOCS.rglob("*.md") if "build" not in page.parts)]
RUN = ("console", "pycon", "python")
#: Pages whose Python another test runs: recipes for dumps of other programs, and one call with every runner.
ELSEWHERE = {
    "language-model-logs.md": "test_ready_made.py",
    "scaling.md": "test_calls_with_every_runner, test_spark.py, test_ray.py",
}
#: What a page that imports one of these needs: the tier of tests, and that Spark's notice of pandas 3 is none.
MARKS = {
    "distributed": [pytest.mark.dask],
    "lightning": [
        pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec.` is deprecated:FutureWarning"),
        pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
    ],
    "pyspark": [pytest.mark.spark, pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas")],
    "ray": [pytest.mark.ray],
}


def shown() -> list[Any]:
    """Pages with something to run, marked by what they need."""
    return [
        pytest.param(
            page, id=page.stem, marks=[mark for name in sorted(MARKS.keys() & imported(page)) for mark in MARKS[name]]
        )
        for page in PAGES
        if page.name not in ELSEWHERE and any(block.language in RUN for block in blocks(page))
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data sets of the repository, in which this process works."""
    shutil.copytree(ROOT / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    return tmp_path


@pytest.mark.parametrize("page", shown())
def test_pages_do_what_they_show(page: Path, folder: Path) -> None:
    """Commands and Python of a page run in order, in one folder, and print what is shown."""
    for package in sorted(imported(page)):
        pytest.importorskip(package)
    names: dict[str, Any] = {"__name__": page.stem} | (prepared(folder) if page.name == "README.md" else {})
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for block in blocks(page):
        for command in commands(block) if block.language == "console" else ():
            got = printed(command.words, folder)
            assert agree(command.wanted, got), f"{page.name}:{command.line}\nshown:\n{command.wanted}\nprinted:\n{got}"
        if block.language == "python":
            exec(compile("\n" * block.line + block.text, page, "exec"), names)
        if block.language == "pycon":
            test = doctest.DocTestParser().get_doctest(block.text, names, page.name, str(page), block.line)
            runner.run(test, clear_globs=False)
            names = test.globs
    assert runner.summarize(verbose=False).failed == 0


def prepared(folder: Path) -> dict[str, Any]:
    """What the examples of README take for granted: files, and names of Python."""
    rng = np.random.default_rng(0)
    n, c = 300, 8
    z, p, q = rng.normal(size=(n, c)), rng.dirichlet(np.ones(c), n), rng.dirichlet(np.ones(c), n)
    labels, country = rng.integers(0, c, n), np.array(["DE", "FR", "US"])[rng.integers(0, 3, n)]
    number = np.arange(n)
    columns = {"country": country, "doc_id": number // 7, "bytes": rng.integers(1, 9, n), "w": rng.random(n)}
    for name in ("preds/1", "preds/2", "part1/1", "part2/1", "a", "b", "c", "in"):
        path = folder / f"{name}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"z": list(z + rng.normal(size=(n, c))), "y": labels, "id": number} | columns), path)
    ev = fx.evaluate("preds/", "y", logits="z")
    (folder / "last.fxt").write_bytes(ev.totals.to_bytes())
    events = (rng.random(n) < p[:, 0]).astype(int)
    pq.write_table(pa.table({"p": p[:, 0], "y": events, "country": country}), folder / "preds.parquet")
    other = fx.Evaluator(top_k=(1, 5))
    other.update(labels, logits=z)
    batch = SimpleNamespace(x=z, y=labels, id=number)
    return {
        "labels": labels, "z": z, "p": p, "q": q, "y": (p > 0.2).astype(int), "batches": [(z, labels), (z, labels)],
        "other_rank": other, "loader": [batch], "model": lambda x: x, "print": lambda *said: None,
    }  # fmt: skip


def test_commands_of_readme_work(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of the list of what it does, but for the cluster."""
    prepared(folder)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    ran = 0
    for line, words in calls(ROOT / "README.md"):
        if "--runner" not in words and not {"FILE", "warmup"} & set(words):
            code, _, error = run(*arguments(words))
            assert code in ((0, 1) if "--fail-if" in words else (0,)), f"{line}\n{error}"
            ran += 1
    assert ran >= 19
    assert "loss" in (folder / "summary.md").read_text()


def arguments(words: list[str]) -> list[str]:
    """Words as a shell passes them on, and what "..." stands for: where the scores and the targets are."""
    found: list[str] = []
    for word in words:
        globbed = sorted(glob(word)) if "*" in word else []
        found += ["--logits", "z", "--target", "y"] if word == "..." else globbed or [word]
    return found


def test_calls_with_every_runner() -> None:
    """What docs/scaling.md shows are calls that there are, with runners that there are."""
    block, *_ = (block for block in blocks(DOCS / "scaling.md") if block.language == "python")
    for statement in ast.parse(block.text).body:
        assert isinstance(statement, ast.Expr)
        assert isinstance(statement.value, ast.Call)
        call = statement.value
        named = {each.arg: ast.literal_eval(each.value) for each in call.keywords if each.arg is not None}
        inspect.signature(fx.evaluate).bind(*map(ast.literal_eval, call.args), **named)
        runner_of(named.get("runner"), 2)


def test_every_block_is_of_a_kind_that_is_looked_at() -> None:
    for page in PAGES:
        for block in blocks(page):
            if block.language in ("yaml", "bash", "dockerfile"):
                assert any(True for _ in calls(page)), (page.name, block.line)
            else:
                assert block.language in (*RUN, "", "text"), (page.name, block.line, block.language)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_of_commands_exist(page: Path) -> None:
    for line, words in calls(page):
        name, *rest = words
        command = cli.get_command(click.Context(cli), name)
        assert command is not None, line
        known = {flag for each in command.params for flag in (*each.opts, *each.secondary_opts)}
        used = {word.partition("=")[0] for word in rest if re.match(r"-[a-z-]", word)}
        assert used <= known | {"--help"}, line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+://", target):
            assert (page.parent / target).exists(), target


def test_pages_are_built_without_warnings_and_load_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-qW", "--keep-going", "-d", tmp_path / "trees", "docs", tmp_path / "html"],
        cwd=ROOT, env=environment(ROOT, PYTHONWARNINGS=None), text=True, capture_output=True, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    pages = list((tmp_path / "html").rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=\"https?://", text), page.name
    for sheet in (tmp_path / "html").rglob("*.css"):
        assert not re.findall(r"url\(['\"]?(?:https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet.name
