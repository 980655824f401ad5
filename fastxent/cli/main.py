"""The shell command, the only place that prints.

Tables and progress go to standard error, except that a table is the output of a command that was asked
for nothing else; ``--json -`` writes pure JSON to standard output. Exit codes: 0 well, 1 a gate failed,
2 usage, 3 bad data, 4 part of the data could not be read, 70 a fault of fastxent, 130 interrupted.
"""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any

import click

from fastxent.base.errors import DoubtWarning, FastxentError, UsageError
from fastxent.base.text import printable
from fastxent.base.version import package_version
from fastxent.cli.flags import in_flags
from fastxent.cli.output import ARGUMENTS, EXIT_DATA, EXIT_FAULT, EXIT_INTERRUPTED, EXIT_USAGE, say

__all__ = ["cli", "main"]


#: What the system says when standard output takes no more.
_NOT_WRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Every error becomes one line and an exit code; with ``--debug`` its traceback comes before the line."""
    try:
        yield
    except (click.ClickException, click.exceptions.Exit, click.Abort):
        raise
    except BrokenPipeError:
        # The reader of our output has gone: end quietly, as other commands do.
        _silence()
        sys.exit(0)
    except (Exception, KeyboardInterrupt) as error:
        line, code = _told(error)
        if "--debug" in sys.argv[1:]:
            import traceback

            say("".join(traceback.format_exception(error)).rstrip())
        say(f"fastxent: {line}")
        sys.exit(code)


def _told(error: BaseException) -> tuple[str, int]:
    """What an error says in one line, and its exit code."""
    text = printable(" ".join(str(error).split()))
    if isinstance(error, FastxentError):
        text = in_flags(text)
        return text, EXIT_USAGE if isinstance(error, UsageError) else EXIT_DATA
    if isinstance(error, KeyboardInterrupt):
        return text or "interrupted; nothing was written", EXIT_INTERRUPTED
    if isinstance(error, MemoryError):
        return f"not enough memory: {text}; give a smaller --memory, or take fewer threads", EXIT_DATA
    if isinstance(error, OSError) and error.errno in _NOT_WRITTEN and error.filename is None:
        from fastxent.base.atomic_files import why_not_written

        _silence()
        return f"standard output: {why_not_written(error)}", EXIT_DATA
    return (
        f"a fault of fastxent {package_version()}: {type(error).__name__}: {text}. Nothing was written. "
        "Please report it, with what --debug says more",
        EXIT_FAULT,
    )


def _silence() -> None:
    """Let go of what waits for standard output, which the interpreter would try to write once more."""
    if not isinstance(sys.stdout, _Closed):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _Closed(io.TextIOBase):
    """In place of a standard output that was closed: what is printed is lost, and that is an error."""

    def write(self, text: object) -> int:
        raise OSError(errno.EBADF, "it is closed")


def _prepare_streams() -> None:
    """Let every text be printed, and let no file that is opened take the number of a closed standard stream."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _check_arguments() -> None:
    """Raise UsageError for arguments that are no text: neither columns nor files can have such names."""
    for text in sys.argv[1:]:
        if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
            raise UsageError(f"the argument {text} is not UTF-8, as the names of files and columns must be")


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

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[ARGUMENTS] = list(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line_errors(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DoubtWarning)  # results have them too, and are printed
            return super().invoke(ctx)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="fastxent")
@click.option("--debug", is_flag=True, expose_value=False, help="Show where in the program an error came from.")
def cli() -> None:
    """Exact, reproducible and fast cross-entropy of predictions that already exist.

    Start with:  fastxent evaluate predictions.parquet --logits logits --target label
    """


def _unswallow(unraisable: Any) -> None:
    """Interrupt again where an interrupt was lost in a callback of the compiler, which cannot pass exceptions on."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(unraisable)


def _run(arguments: list[str]) -> int:
    """Run a command; click itself would end with 1, which says that a gate failed."""
    try:
        code = cli.main(args=arguments, standalone_mode=False)
    except click.ClickException as error:
        with suppress(OSError):
            error.show()
        return EXIT_USAGE
    except click.Abort:
        raise KeyboardInterrupt from None
    return code if isinstance(code, int) else 0


def main() -> None:
    """Entry point of the ``fastxent`` command."""
    _prepare_streams()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = _unswallow
    try:
        with _one_line_errors():
            _check_arguments()
            sys.exit(_run([text for text in sys.argv[1:] if text != "--debug"]))
    except SystemExit as end:
        if end.code == EXIT_INTERRUPTED:
            with suppress(OSError, AttributeError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(EXIT_INTERRUPTED)  # taking the interpreter apart takes longer than stopping
        raise
