"""The options of the shell commands: those of Python from the same definitions, and those about results."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import click

from fastxent.api.options import SIGNATURES
from fastxent.base.option import REQUIRED, Option
from fastxent.cli.option_types import Condition, listed, type_of
from fastxent.comparison.options import Pairing
from fastxent.data.options import LossOptions
from fastxent.engine.options import RowOutput, RunOptions
from fastxent.losses.registry import LOSSES
from fastxent.sources.options import Inputs
from fastxent.statistics.options import Measures, Readings

__all__ = [
    "GroupedCommand",
    "base_option",
    "baseline_option",
    "given",
    "keyword_options",
    "per_class_option",
    "progress_option",
    "result_options",
    "state_option",
]

Command = Callable[..., Any]


class GroupedCommand(click.Command):
    """A command whose help has its options by what they are about, and examples at the end."""

    def __init__(self, *args: Any, examples: tuple[str, ...] = (), **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self._examples = examples

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, section by section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(ctx)) is not None:
                sections.setdefault(_SECTIONS.get(parameter.name or "", _RESULTS), []).append(record)
        for title in (*_TITLES, _RESULTS):
            if title in sections:
                with formatter.section(title):
                    formatter.write_dl(sections[title])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, which are not wrapped."""
        if self._examples:
            with formatter.section("Examples"):
                for line in self._examples:
                    formatter.write(f"{' ' * formatter.current_indent}{line}\n")


_RESULTS = "Results"
_TITLES: dict[str, tuple[type, ...]] = {
    "Pairs": (Pairing,), "What is read": (Inputs,), "The output": (RowOutput,), "The loss of a row": (LossOptions,),
    "Statistics": (Measures, Readings), "The run": (RunOptions,),
}  # fmt: skip
#: Option -> the heading that it is under.
_SECTIONS = {
    field.name: title for title, owners in _TITLES.items() for owner in owners for field in dataclasses.fields(owner)
} | {each.name: "The loss of a row" for loss in LOSSES.values() for each in loss.options}


def keyword_options(function: str) -> Callable[[Command], Command]:
    """The options of the shell that are keywords of a public function."""
    options = [_click_option(option) for option in SIGNATURES[function].options if option.brief]
    return functools.partial(_decorate, options)


def _decorate(options: list[Callable[[Command], Command]], command: Command) -> Command:
    return functools.reduce(lambda inner, option: option(inner), reversed(options), command)


def _click_option(option: Option) -> Callable[[Command], Command]:
    flags = option.flag.split() or [f"--{option.name.replace('_', '-')}"]
    if option.annotation == "bool":
        flip = (lambda ctx, param, value: not value) if option.default else None
        return click.option(*flags, option.name, is_flag=True, callback=flip, help=option.brief, hidden=option.hidden)
    if option.reads == "columns":
        return click.option(
            *flags, option.name, multiple=True, metavar=option.metavar or "COLUMN,...", help=option.brief,
            hidden=option.hidden, callback=lambda ctx, param, value: listed(value) if value else None,
        )  # fmt: skip
    plain = isinstance(option.default, int | float | str)
    return click.option(
        *flags,
        option.name,
        type=type_of(option),
        default=option.default if plain else None,
        show_default=bool(option.choices or (option.default and isinstance(option.default, float))),
        required=option.default is REQUIRED,
        multiple=option.multiple,
        metavar=option.metavar,
        help=option.brief,
        hidden=option.hidden,
    )


def given(keywords: dict[str, Any]) -> dict[str, Any]:
    """The keywords that were given a value; functions have defaults of their own for the others."""
    return {name: value for name, value in keywords.items() if value is not None}


base_option = _click_option(next(each for each in SIGNATURES["evaluate"].options if each.name == "base"))
result_options = functools.partial(
    _decorate,
    [
        click.option("--json", "json_path", metavar="FILE", help="Write the result as JSON; - for standard output."),
        click.option(
            "--html", "html_path", metavar="FILE", help="Write a report: one HTML file that needs no network."
        ),
        click.option(
            "--fail-if",
            "gates",
            type=Condition(),
            multiple=True,
            help="Exit with code 1 if this holds, such as 'loss > 0.35' or 'any(groups.country).accuracy < 0.9'; "
            "may be repeated.",
        ),
        click.option(
            "--summary",
            metavar="FILE",
            help="Write a summary as Markdown; 'github' for that of the job in GitHub Actions, - for standard output.",
        ),
    ],
)
state_option = click.option("--state", "state_path", metavar="FILE", help="Write the totals, for `fastxent merge`.")
baseline_option = click.option(
    "--baseline", metavar="STATE", help="Show what has changed since an earlier run, whose totals --state wrote."
)
per_class_option = click.option(
    "--per-class", is_flag=True, help="Show precision, recall, F1, support and loss of every class."
)
progress_option = click.option("--progress/--no-progress", default=None, help="Progress bar; by default on a terminal.")
