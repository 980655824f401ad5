"""The options of the shell commands, in the same words as the keywords in Python."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fastxent.base.errors import UsageError

if TYPE_CHECKING:
    from fastxent.results.gates import Gate

__all__ = [
    "Names",
    "arguments",
    "base_option",
    "copy_option",
    "filter_option",
    "keep_option",
    "prediction_options",
    "progress_option",
    "reading_options",
    "result_options",
    "state_option",
    "statistics_options",
]


# ParamType became generic after click 8.1, which will do too: hence the ignored type arguments.
class Names(click.ParamType):  # type: ignore[type-arg]
    """A column, a glob of columns, or several of them with commas between."""

    name = "COLUMNS"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        """One name, or a list of names."""
        names = tuple(part.strip() for part in value.split(",") if part.strip())
        if not names:
            self.fail("name at least one column", param, ctx)
        return names[0] if len(names) == 1 else list(names)


class _Columns(click.ParamType):  # type: ignore[type-arg]
    """Names with commas between."""

    def __init__(self, name: str = "COLUMN,...") -> None:
        self.name = name

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, ...]:
        return tuple(part.strip() for part in value.split(",") if part.strip())


class _Size(click.ParamType):  # type: ignore[type-arg]
    """Bytes, with a unit: 512M, 4GiB."""

    name = "SIZE"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        from fastxent.base.byte_size import byte_size

        try:
            return byte_size(value)
        except UsageError as error:
            self.fail(str(error).removeprefix("memory: "), param, ctx)


class _Gate(click.ParamType):  # type: ignore[type-arg]
    """A condition such as ``loss > 0.35``."""

    name = "CONDITION"

    def convert(self, value: Any, param: Any, ctx: Any) -> Gate:
        from fastxent.results.gates import parse_gate

        return parse_gate(value)


class _Base(click.ParamType):  # type: ignore[type-arg]
    name = "e|2|10"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | None:
        if value == "e":
            return None
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is no base of a logarithm; write e (nats), 2 (bits) or 10 (bans)", param, ctx)


class _Clip(click.ParamType):  # type: ignore[type-arg]
    name = "EPS|NAME"

    def convert(self, value: Any, param: Any, ctx: Any) -> float | str:
        try:
            return float(value)
        except ValueError:
            return str(value)


base_option = click.option(
    "--base", type=_Base(), help="Unit of losses and entropies: e for nats (the default), 2 for bits, 10 for bans."
)


filter_option = click.option(
    "--filter", metavar="TEXT", help="Rows to read, such as \"country == 'DE' and year >= 2024\"."
)


def prediction_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what the predictions and targets are; the same words as in Python."""
    options = [
        click.option(
            "--logits", type=Names(), help="Column with the logits; or several columns, or a glob, one a class."
        ),
        click.option("--probs", type=Names(), help="The same for probabilities."),
        click.option("--log-probs", type=Names(), help="The same for log-probabilities."),
        click.option("--target", metavar="COLUMN", help="Column with the labels or target distributions."),
        click.option(
            "--task",
            type=click.Choice(["multiclass", "binary", "multilabel"]),
            default="multiclass",
            show_default=True,
            help="What a row is: C exclusive classes, one yes-or-no score, or L of them.",
        ),
        click.option(
            "--loss",
            type=click.Choice(["cross_entropy", "focal", "kl_divergence", "entropy"]),
            default="cross_entropy",
            show_default=True,
            help="The loss of a row.",
        ),
        click.option("--gamma", type=float, default=2.0, show_default=True, help="Exponent of the focal loss."),
        base_option,
        click.option("--weight", metavar="COLUMN", help="Column with sample weights."),
        click.option(
            "--mask", metavar="COLUMN", help="Column of lists of bool: which labels of a multilabel row count."
        ),
        click.option(
            "--class-names", metavar="A,B,...", help="Classes in the order of the scores, for labels that are text."
        ),
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
        click.option("--memory", type=_Size(), help="Data that all threads together may hold; 256M each by default."),
    ]
    return functools.reduce(lambda inner, option: option(inner), reversed(options), command)


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What of the data is read; the same words as in Python."""
    options = [
        click.option("--ids", metavar="COLUMN", help="Lists of class ids, where the predictions are the top k only."),
        click.option("--num-classes", type=click.IntRange(min=2), help="Classes in all, for top-k predictions."),
        filter_option,
        click.option(
            "--on-error",
            type=click.Choice(["raise", "skip"]),
            default="raise",
            show_default=True,
            help="Leave out what cannot be read (skip), and exit with 4.",
        ),
    ]
    return functools.reduce(lambda inner, option: option(inner), reversed(options), command)


def statistics_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Statistics beyond the usual ones; the same words as in Python."""
    options = [
        click.option("--group-by", type=_Columns(), help="Statistics by the values of a column, or of several."),
        click.option("--cluster-by", metavar="COLUMN", help="Ids of rows that belong together."),
        click.option("--units", metavar="COLUMN", help="Units (bytes, words) of a row, for the loss per unit."),
        click.option("--worst", type=click.IntRange(0), default=0, metavar="K", help="Keep the K rows of worst loss."),
        click.option(
            "--worst-per-class", type=click.IntRange(0), default=0, metavar="K",
            help="Keep the K rows of worst loss of each class.",
        ),
        click.option(
            "--label-errors", type=click.IntRange(0), default=0, metavar="K",
            help="Keep the K rows that are likeliest to be labeled wrong.",
        ),
        click.option(
            "--statistics", type=_Columns("NAMES"), help="More statistics: classwise, entropy, ranking, temperature."
        ),
        click.option("--top-k", metavar="K,K,...", help="Which top-k accuracies."),
        click.option("--bins", type=click.IntRange(1), help="Bins of the calibration; 15 by default."),
        click.option(
            "--binning",
            type=click.Choice(["equal_width", "equal_mass", "torchmetrics", "sklearn", "netcal"]),
            default="equal_width",
            show_default=True,
            help="How confidence is cut into bins.",
        ),
    ]  # fmt: skip
    return functools.reduce(lambda inner, option: option(inner), reversed(options), command)


keep_option = click.option("--keep", type=_Columns(), help="Columns that are kept with the worst rows.")
copy_option = click.option(
    "--keep", type=_Columns(), help="Columns to copy to the output, and to keep with the worst rows."
)


def arguments(options: dict[str, Any]) -> dict[str, Any]:
    """Shell options as the keywords of `fastxent.evaluate`."""
    names = options.pop("class_names")
    options["class_names"] = None if names is None else [name.strip() for name in names.split(",")]
    for key in ("class_weight", "pos_weight"):
        if options[key] is not None:
            options[key] = _numbers(key, options[key])
    if options.get("top_k") is not None:
        options["top_k"] = [int(k) for k in _numbers("top_k", options["top_k"])]
    if "statistics" in options:
        options["statistics"] = options["statistics"] or ()
    if options["pos_weight"] is not None and len(options["pos_weight"]) == 1:
        options["pos_weight"] = options["pos_weight"][0]
    return options


def _numbers(key: str, text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--{key.replace('_', '-')}: expected numbers with commas between, got {text!r}") from None


def result_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Where a result goes, and when it counts as a failure."""
    options = [
        click.option("--json", "json_path", metavar="FILE", help="Write the result as JSON; - for standard output."),
        click.option(
            "--html", "html_path", metavar="FILE", help="Write a report: one HTML file that needs no network."
        ),
        click.option(
            "--fail-if",
            "gates",
            type=_Gate(),
            multiple=True,
            help="Exit with code 1 if this holds, such as 'loss > 0.35'; may be repeated.",
        ),
    ]
    return functools.reduce(lambda inner, option: option(inner), reversed(options), command)


state_option = click.option("--state", "state_path", metavar="FILE", help="Write the totals, for `fastxent merge`.")
progress_option = click.option("--progress/--no-progress", default=None, help="Progress bar; by default on a terminal.")
