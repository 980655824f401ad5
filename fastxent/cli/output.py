"""What commands put out: results where they were asked for, progress, exit codes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from fastxent.base.errors import DataError, OutputError, UsageError
from fastxent.base.text import printable

if TYPE_CHECKING:
    from fastxent.comparison.baseline import Baseline
    from fastxent.engine.options import Progress
    from fastxent.results.evaluation import Evaluation
    from fastxent.results.gates import Gate

__all__ = [
    "ARGUMENTS",
    "EXIT_DATA",
    "EXIT_FAULT",
    "EXIT_GATE",
    "EXIT_INTERRUPTED",
    "EXIT_PARTIAL",
    "EXIT_USAGE",
    "check_gates",
    "check_places",
    "check_summary",
    "command_line",
    "compiling_notice",
    "deliver",
    "judge",
    "judged",
    "progress_bar",
    "say",
    "tell",
    "write_summary",
    "write_text",
]

#: Where the context of a command keeps its arguments.
ARGUMENTS = "fastxent.arguments"
#: Names the file of the summary in GitHub Actions.
GITHUB = "GITHUB_STEP_SUMMARY"
EXIT_GATE, EXIT_USAGE, EXIT_DATA, EXIT_PARTIAL, EXIT_FAULT, EXIT_INTERRUPTED = 1, 2, 3, 4, 70, 130


def say(text: str) -> None:
    """Print a line to standard error, if there is one."""
    with suppress(OSError, ValueError):
        click.echo(text, err=True)


def deliver(
    result: Evaluation,
    json_path: str | None,
    html_path: str | None,
    gates: tuple[Gate, ...],
    state_path: str | None,
    *,
    per_class: bool = False,
    summary: str | None = None,
    baseline: Baseline | None = None,
) -> None:
    """Write an evaluation to where it was asked for, then judge it."""
    result.run["command"] = command_line()
    if state_path is not None:
        from fastxent.totals.state_files import write_state

        write_state(state_path, result.totals, result.run.get("shard"))
    values = result.to_dict() if gates or json_path is not None else {}
    if baseline is not None:
        values["baseline"] = baseline.to_dict()
    if json_path is not None:
        from fastxent.results.as_json import json_text

        write_text(json_path, json_text(values, indent=2) + "\n")
    if html_path is not None:
        write_text(html_path, result.to_html(gates=gates, baseline=baseline))
    shown = "-" not in (json_path, html_path, summary)
    lines = result.headlines() if shown or summary is not None else []
    lines += [] if baseline is None else baseline.lines()
    if shown:
        from fastxent.cli.tables import show_evaluation

        show_evaluation(result, lines, per_class=per_class)
    tell(result.warnings)
    if result.num_rows == 0 and not ("shard" in result.run and result.rows["read"] == 0):
        raise DataError(f"no row was scored ({result.rows['read']} read); every statistic is NaN")
    failed = judged(gates, values)
    if summary is not None:
        from fastxent.results.markdown import markdown

        tables = result.shown_tables()
        write_summary(summary, markdown("fastxent evaluate", lines, tables, result.warnings, failed))
    judge(failed)
    if result.left_out:
        sys.exit(EXIT_PARTIAL)


def command_line() -> str:
    """The command as it was given."""
    return shlex.join(["fastxent", *click.get_current_context().meta[ARGUMENTS]])


def tell(warnings: Iterable[str]) -> None:
    """Say on standard error what a reader should know."""
    for warning in warnings:
        say(f"fastxent: warning: {printable(warning)}")


def judged(gates: tuple[Gate, ...], values: dict[str, Any]) -> list[str]:
    """A line for each gate that fails."""
    if not gates:
        return []
    from fastxent.results.gates import failures

    return failures(gates, values)


def judge(failed: list[str]) -> None:
    """Exit with code 1 if a gate fails, naming each that does."""
    for line in failed:
        say(f"fastxent: {printable(line)}")
    if failed:
        sys.exit(EXIT_GATE)


def check_gates(gates: tuple[Gate, ...], group_by: Iterable[str] | None, *, baseline: bool) -> None:
    """Raise UsageError for a gate on a name that no evaluation has, before the work is done."""
    if gates:
        from fastxent.results.gates import check_names
        from fastxent.results.known_names import known_names

        names = known_names()
        fields = dict.fromkeys(names["groups"])
        more = {"baseline": dict.fromkeys(("values", "delta", "ci95", "p_value"), fields) | {"rows": None}}
        check_names(gates, names | (more if baseline else {}), group_by)


def check_places(inputs: Iterable[Any], json_path: str | None, html_path: str | None, state_path: str | None) -> None:
    """Raise before the work is done what would keep its result from being written, or would write it over an input."""
    from fastxent.base.atomic_files import check_place
    from fastxent.storage.output_paths import refuse_inputs

    if html_path is not None:
        from fastxent.report.write import need_report

        need_report()
    for path in (json_path, html_path, state_path):
        if path is not None and path != "-":
            refuse_inputs(path, None, [each for each in inputs if isinstance(each, str)])
            check_place(path)


def write_text(path: str, text: str) -> None:
    """Write text to a file, whole or not at all, or to standard output for ``-``."""
    if path == "-":
        click.echo(text.encode(), nl=False)
        return
    from fastxent.base.atomic_files import write_atomically

    write_atomically(path, text.encode())


def check_summary(place: str | None) -> None:
    """Raise UsageError where ``github`` is asked for and GitHub does not run this."""
    if place == "github" and not os.environ.get(GITHUB):
        raise UsageError(
            f"--summary github: the variable {GITHUB} names no file, as it does in GitHub Actions; "
            "name a file instead, or - for standard output"
        )


def write_summary(place: str, text: str) -> None:
    """Add Markdown to the summary of the job of GitHub, or write it to a file or to standard output."""
    if place != "github":
        write_text(place, text)
        return
    path = os.environ[GITHUB]
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OutputError(f"--summary github: {error.strerror}", path=path) from None


@contextmanager
def compiling_notice() -> Iterator[None]:
    """Say so, once, when kernels have to be compiled."""
    from fastxent.kernels.compiler.cache import cache_folder, watch_compiling

    said = False

    def say() -> None:
        nonlocal said
        if not said:
            said = True
            kept = "kept for later" if cache_folder() is not None else "not kept: no folder for it can be written"
            click.echo(f"fastxent: compiling kernels for predictions of this kind (15 to 20 s, {kept}) ...", err=True)

    with watch_compiling(say):
        yield


@contextmanager
def progress_bar(wanted: bool | None) -> Iterator[Progress | None]:
    """A bar with rate and time left on standard error."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        yield None
        return
    from fastxent.cli.tables import progress_bar as bar

    with bar() as step:
        yield step
