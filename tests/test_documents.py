"""What the documents show is what happens: commands with their output, examples of Python, names of flags, links."""

from __future__ import annotations

import doctest
import re
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fastxent.cli.main import cli
from tests.documents import FLAGS, agree, blocks, calls, commands, printed
from tests.shell import ROOT, environment

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = [page for page in PAGES if any(block.language in ("console", "pycon") for block in blocks(page))]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the data sets of the repository, in which this process works."""
    shutil.copytree(ROOT / "data", tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_commands_print_what_is_shown(page: Path, folder: Path) -> None:
    for block in blocks(page):
        for command in commands(block) if block.language == "console" else ():
            got = printed(command.words, folder)
            assert agree(command.wanted, got), f"{page.name}:{command.line}\nshown:\n{command.wanted}\nprinted:\n{got}"


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_examples_of_python_print_what_is_shown(page: Path, folder: Path) -> None:
    names: dict[str, object] = {}
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for block in blocks(page):
        if block.language == "pycon":
            test = doctest.DocTestParser().get_doctest(block.text, names, page.name, str(page), block.line)
            runner.run(test, clear_globs=False)
            names = test.globs
    assert runner.summarize(verbose=False).failed == 0


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
