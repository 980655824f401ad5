"""The fastxent command, in this process or in one of its own, and Python in processes, with this checkout's package."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

ROOT = Path(__file__).parent.parent


def without_notice(error: str) -> str:
    """What went to standard error, but for the notice that kernels are compiled, which is there or not."""
    lines = error.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("fastxent: compiling kernels"))


def environment(root: Path = ROOT, **changes: str | None) -> dict[str, str]:
    """This process's environment with changes; None removes a variable."""
    env = dict(os.environ, PYTHONPATH=str(root), PYTHONWARNINGS="error") | changes
    return {name: value for name, value in env.items() if value is not None}


def start(arguments: Sequence[str], root: Path = ROOT, **changes: str | None) -> subprocess.Popen[str]:
    """A Python process that runs ``arguments``, not waited for."""
    return subprocess.Popen(
        [sys.executable, *arguments], cwd=root, env=environment(root, **changes), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def output(process: subprocess.Popen[str]) -> str:
    """What it printed, once it has ended well."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def python(code: str, root: Path = ROOT, **changes: str | None) -> str:
    """What a piece of Python prints."""
    return output(start(["-c", code], root, **changes))


def run(*arguments: Any, input: str | None = None) -> Result:
    """Run the command in this process, which saves a second where it is not the process that is tested."""
    from fastxent.cli.main import cli

    return CliRunner().invoke(cli, [str(each) for each in arguments], input=input)


def fastxent(*arguments: Any, **changes: str | None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own to its end, whatever that is."""
    process = start(["-m", "fastxent", *map(str, arguments)], **changes)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)
