"""Blocks of code in the documents: what stands in them, and what they print when they are run."""

from __future__ import annotations

import ast
import doctest
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.shell import ROOT, environment

#: What differs from run to run: a line of times, and the notice of the compiler.
TIMES = re.compile(r"^(time|reading) .*$", re.MULTILINE)
NOTICE = re.compile(r"^fastxent: compiling kernels.*\n?", re.MULTILINE)
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


class Block(NamedTuple):
    """A fenced block, and the line it begins in."""

    language: str
    text: str
    line: int


class Command(NamedTuple):
    """A command of a console, and what the document says that it prints."""

    words: list[str]
    wanted: str
    line: int


def blocks(document: Path) -> Iterator[Block]:
    """The fenced blocks of a document in order."""
    text = document.read_text(encoding="utf-8")
    for found in re.finditer(r"^( *)```(\w*)\n(.*?)^\1```$", text, re.MULTILINE | re.DOTALL):
        yield Block(found[2], found[3], text.count("\n", 0, found.start()) + 1)


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        first, _, wanted = part.partition("\n")
        yield Command(shlex.split(first, comments=True), wanted, block.line)


def calls(document: Path) -> Iterator[tuple[str, list[str]]]:
    """The calls of fastxent in blocks of any kind, in whole: a line, and its words after the program's name."""
    for block in blocks(document):
        for line in re.sub(r"\\\n\s*", "", block.text).splitlines():
            text = re.sub(r"^(\$ |(- )?run: |RUN )", "", line.strip())
            if text.startswith("fastxent "):
                for one in text.split(";  "):
                    yield one, shlex.split(one, comments=True)[1:]


def imported(document: Path) -> set[str]:
    """The packages that the Python of a document imports."""
    found = set()
    for block in blocks(document):
        if block.language in ("python", "pycon"):
            for node in ast.walk(ast.parse(block.text if block.language == "python" else prompted(block))):
                if isinstance(node, ast.Import | ast.ImportFrom):
                    names = (
                        [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
                    )
                    found |= {name.partition(".")[0] for name in names}
    return found


def printed(words: list[str], folder: Path, program: Path | None = None) -> str:
    """What a command prints in a folder, with its exit code below if that is not 0; of a ``program`` elsewhere."""
    assert words[0] == "fastxent", words
    ours = (sys.executable, "-m", "fastxent") if program is None else (program,)
    changes = {"COLUMNS": "100"} | ({} if program is None else {"PYTHONPATH": None, "PYTHONWARNINGS": None})
    done = subprocess.run(
        [*ours, *words[1:]], cwd=folder, env=environment(ROOT, **changes), text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=300,
    )  # fmt: skip
    code = f"[exit code {done.returncode}]\n" if done.returncode else ""
    return NOTICE.sub("", done.stdout) + code


def prompted(block: Block) -> str:
    """The Python that a block shows at a prompt."""
    return "".join(each.source for each in doctest.DocTestParser().get_examples(block.text))


def agree(wanted: str, got: str) -> bool:
    """Whether two outputs agree but for spaces, times and what stands for "..."."""
    wanted, got = (TIMES.sub(r"\1", text) for text in (wanted, got))
    return doctest.OutputChecker().check_output(wanted, got, FLAGS)
