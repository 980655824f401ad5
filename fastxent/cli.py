"""The shell command, the only place that prints.

Tables and progress go to standard error, except that a table is the output of a command that was asked
for nothing else; ``--json -`` writes pure JSON to standard output. Exit codes: 0 well, 1 a gate failed,
2 usage, 3 bad data, 4 part of the data could not be read, 130 interrupted.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

from fastxent.errors import DataError, FastxentError, StateError, UsageError

if TYPE_CHECKING:
    from fastxent.sources import Split

__all__ = ["main"]

EXIT_GATE, EXIT_USAGE, EXIT_DATA, EXIT_PARTIAL, EXIT_INTERRUPTED = 1, 2, 3, 4, 130


class _Names(click.ParamType):
    """A column, a glob of columns, or several of them with commas between."""

    name = "COLUMNS"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        if not names:
            self.fail("name at least one column", param, ctx)
        return names[0] if len(names) == 1 else list(names)


class _Size(click.ParamType):
    """Bytes, with a unit: 512M, 4GiB."""

    name = "SIZE"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        import re

        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", str(value).strip(), re.IGNORECASE)
        if not match:
            self.fail(f"{value!r} is no size; write 512M or 4G", param, ctx)
        size = int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))
        if size < 1 << 20:
            self.fail(f"{value!r} is below 1M", param, ctx)
        return size


class _Clip(click.ParamType):
    name = "EPS|NAME"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | str:
        try:
            return float(value)
        except ValueError:
            return str(value)


def _exit_code(error: FastxentError) -> int:
    return EXIT_USAGE if isinstance(error, UsageError) else EXIT_DATA


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Errors of ours become one line and an exit code; anything else is a bug and keeps its traceback."""
    try:
        yield
    except (UsageError, DataError, StateError) as error:
        click.echo(f"fastxent: {' '.join(str(error).split())}", err=True)
        sys.exit(_exit_code(error))
    except KeyboardInterrupt:
        click.echo("fastxent: interrupted; nothing was written", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone: end quietly, as other commands do.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _terminate(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="fastxent")
def cli() -> None:
    """Exact, reproducible and fast cross-entropy of predictions that already exist.

    Start with:  fastxent evaluate predictions.parquet --logits logits --target label
    """


def prediction_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what the predictions and targets are; the same words as in Python."""
    options = [
        click.option("--logits", type=_Names(), help="Column with the logits; or several columns, or a glob, one a class."),
        click.option("--probs", type=_Names(), help="The same for probabilities."),
        click.option("--log-probs", type=_Names(), help="The same for log-probabilities."),
        click.option("--target", metavar="COLUMN", help="Column with the labels or target distributions."),
        click.option(
            "--task",
            type=click.Choice(["multiclass", "binary", "multilabel"]),
            default="multiclass",
            show_default=True,
            help="What a row is: C exclusive classes, one yes-or-no score, or L of them.",
        ),
        click.option("--weight", metavar="COLUMN", help="Column with sample weights."),
        click.option("--mask", metavar="COLUMN", help="Column of lists of bool: which labels of a multilabel row count."),
        click.option("--class-names", metavar="A,B,...", help="Classes in the order of the scores, for labels that are text."),
        click.option("--class-weight", metavar="W,W,...", help="One weight a class."),
        click.option("--pos-weight", metavar="W[,W...]", help="Weight of the positive term (binary, multilabel)."),
        click.option("--label-smoothing", type=float, default=0.0, help="Smoothing of the targets, in [0, 1]."),
        click.option("--ignore-index", type=int, help="Rows with this label are ignored."),
        click.option(
            "--on-invalid",
            type=click.Choice(["raise", "skip", "propagate"]),
            default="raise",
            show_default=True,
            help="What a row that cannot be scored does.",
        ),
        click.option("--clip", type=_Clip(), help="Clip probabilities to [EPS, 1 - EPS]; or sklearn, keras, torch."),
        click.option("--normalize", is_flag=True, help="Divide the probabilities of a row by their sum."),
        click.option("--dtype", help="Numbers in packed columns: float16, bfloat16, float32, float64."),
        click.option("--verify-checksums", is_flag=True, help="Check page checksums where the files have them."),
        click.option("--threads", type=click.IntRange(min=1), help="Threads; all processors by default."),
        click.option("--memory", type=_Size(), help="Data all threads together may hold, about. Default 128M a thread."),
        click.option("--ids", metavar="COLUMN", help="Lists of class ids, where the predictions are the top k only."),
        click.option("--num-classes", type=click.IntRange(min=2), help="Classes in all, for top-k predictions."),
        click.option("--filter", metavar="TEXT", help="Rows to read, such as \"country == 'DE' and year >= 2024\"."),
        click.option(
            "--on-error",
            type=click.Choice(["raise", "skip"]),
            default="raise",
            show_default=True,
            help="Leave out what cannot be read (skip), and exit with 4.",
        ),
    ]
    return functools.reduce(lambda inner, option: option(inner), reversed(options), command)


def _arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Shell options as the keywords of `fastxent.evaluate`."""
    names = options.pop("class_names")
    options["class_names"] = None if names is None else [name.strip() for name in names.split(",")]
    for key in ("class_weight", "pos_weight"):
        if options[key] is not None:
            options[key] = _numbers(key, options[key])
    if options["pos_weight"] is not None and len(options["pos_weight"]) == 1:
        options["pos_weight"] = options["pos_weight"][0]
    return options


def _numbers(key: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--{key.replace('_', '-')}: expected numbers with commas between, got {text!r}") from None


@cli.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@prediction_options
@click.option("--json", "json_path", metavar="FILE", help="Write the result as JSON; - for standard output.")
@click.option("--progress/--no-progress", default=None, help="Progress bar; by default on a terminal.")
def evaluate(paths: tuple[str, ...], json_path: str | None, progress: bool | None, **options: Any) -> None:
    """Loss and statistics of the predictions in PATH: Parquet files, directories, globs.

    Without PATH, --logits (--probs, --log-probs) and --target are .npy files.
    """
    from fastxent.scoring import evaluate as run

    data = None if not paths else paths[0] if len(paths) == 1 else list(paths)
    with _compiling_notice(), _progress_bar(progress) as step:
        result = run(data, **_arguments(options), progress=step)
    if json_path is not None:
        _write(json_path, result.to_json() + "\n")
    if json_path != "-":
        from fastxent.tables import show_evaluation

        show_evaluation(result)
    if result.num_rows == 0:
        raise DataError(f"no row was scored ({result.rows['read']} read); every statistic is NaN")
    if result.left_out:
        for left in result.left_out:
            click.echo(f"fastxent: {left}", err=True)
        sys.exit(EXIT_PARTIAL)


def _write(path: str, text: str) -> None:
    if path == "-":
        click.echo(text, nl=False)
        return
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error


@contextmanager
def _compiling_notice() -> Iterator[None]:
    """Say so when the first use is about to compile."""
    from fastxent.kernels.compile import is_cold

    if is_cold():
        click.echo("fastxent: first use on this machine, compiling kernels (about 15 s, kept for later) ...", err=True)
    yield


@contextmanager
def _progress_bar(wanted: bool | None) -> Iterator[Callable[[Split], None] | None]:
    """A bar with rate and time left on standard error."""
    if wanted is False or (wanted is None and not sys.stderr.isatty()):
        yield None
        return
    from fastxent.tables import progress_bar

    with progress_bar() as step:
        yield step


def main() -> None:
    """Entry point of the ``fastxent`` command."""
    signal.signal(signal.SIGTERM, _terminate)
    with _one_line_errors():
        cli()


if __name__ == "__main__":
    main()
