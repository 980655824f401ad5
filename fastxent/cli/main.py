"""The shell command, the only place that prints.

Tables and progress go to standard error, except that a table is the output of a command that was asked
for nothing else; ``--json -`` writes pure JSON to standard output. Exit codes: 0 well, 1 a gate failed,
2 usage, 3 bad data, 4 part of the data could not be read, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from fastxent.base.errors import FastxentError, UsageError
from fastxent.base.text import printable
from fastxent.cli.output import EXIT_DATA, EXIT_INTERRUPTED, EXIT_USAGE

__all__ = ["cli", "main"]


def _exit_code(error: FastxentError) -> int:
    return EXIT_USAGE if isinstance(error, UsageError) else EXIT_DATA


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Errors of ours become one line and an exit code; anything else is a bug and keeps its traceback."""
    try:
        yield
    except FastxentError as error:
        click.echo(f"fastxent: {printable(' '.join(str(error).split()))}", err=True)
        sys.exit(_exit_code(error))
    except KeyboardInterrupt as error:
        click.echo(f"fastxent: {printable(str(error) or 'interrupted; nothing was written')}", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone: end quietly, as other commands do.
        _silence()
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO) or error.filename is not None:
            raise
        from fastxent.base.atomic_files import why_not_written

        _silence()
        click.echo(f"fastxent: standard output: {why_not_written(error)}", err=True)
        sys.exit(EXIT_DATA)


def _silence() -> None:
    """Let go of what waits for standard output, which the interpreter would try to write once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt


#: The commands, each in a module of its name that is loaded when it is needed.
_COMMANDS = ("compare", "convert", "doctor", "evaluate", "inspect", "merge", "score", "warmup")


class _Commands(click.Group):
    """A group that imports commands on first use, and leaves Ctrl-C to us (click would exit with 1)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        found: click.Command = getattr(import_module(f"fastxent.cli.{name}"), name)
        return found

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line_errors():
            return super().invoke(ctx)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="fastxent")
def cli() -> None:
    """Exact, reproducible and fast cross-entropy of predictions that already exist.

    Start with:  fastxent evaluate predictions.parquet --logits logits --target label
    """


def main() -> None:
    """Entry point of the ``fastxent`` command."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    try:
        with _one_line_errors():
            cli()
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(EXIT_INTERRUPTED)  # taking the interpreter apart takes longer than stopping
        raise
