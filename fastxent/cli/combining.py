"""Shell commands that put results together: merge and compare."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from fastxent.base.errors import DataError, UsageError
from fastxent.cli.options import (
    Names,
    arguments,
    base_option,
    filter_option,
    prediction_options,
    progress_option,
    result_options,
    state_option,
)
from fastxent.cli.output import check_places, compiling_notice, deliver, judge, progress_bar, write_text

if TYPE_CHECKING:
    from fastxent.results.gates import Gate

__all__ = ["compare", "merge"]


@click.command()
@click.argument("states", nargs=-1, required=True, metavar="STATE...")
@base_option
@result_options
@state_option
def merge(
    states: tuple[str, ...],
    base: float | None,
    json_path: str | None,
    html_path: str | None,
    gates: tuple[Gate, ...],
    state_path: str | None,
) -> None:
    """Put together the totals that `evaluate --state` wrote: the result one run over all the data would have.

    Name the files in the order of the data, so that rows are numbered as in one run.
    """
    from fastxent.results.evaluation import Evaluation
    from fastxent.totals.state_files import merge_states

    check_places((), json_path, html_path, state_path)  # a state may be replaced by what it is merged into
    totals = merge_states(states)
    result = Evaluation(totals, run={"states": list(states)}, base=base)
    deliver(result, json_path, html_path, gates, state_path)


def pairing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """How the rows of two sides are paired, and what is asked of the pairs."""
    options = [
        click.option("--on", metavar="COLUMN,...", help="Column of ids by which rows are paired; or several columns."),
        click.option("--by-order", is_flag=True, help="Pair the first row with the first, and so on."),
        click.option("--b-logits", type=Names(), help="Logits of B, where they are not named as those of A."),
        click.option("--b-probs", type=Names(), help="The same for probabilities."),
        click.option("--b-log-probs", type=Names(), help="The same for log-probabilities."),
        click.option("--b-target", metavar="COLUMN", help="Targets of B, where they have another name."),
        click.option(
            "--group-by", metavar="COLUMN,...", help="Columns of A: compare for each of their values as well."
        ),
        click.option(
            "--cluster-by", metavar="COLUMN", help="Column of A: rows that belong together, for standard errors."
        ),
        click.option(
            "--changed", "k", type=click.IntRange(0), default=10, help="How many rows that changed most are named."
        ),
        click.option(
            "--permutations", type=click.IntRange(0), default=0, metavar="N",
            help="Replicates of a sign-flip permutation test; 9999 is usual.",
        ),
        click.option("--seed", type=click.IntRange(0), default=0, help="Of the signs of that test."),
    ]  # fmt: skip
    return functools.reduce(lambda inner, option: option(inner), reversed(options), command)


@click.command()
@click.argument("a")
@click.argument("b", required=False)
@pairing_options
@prediction_options
@filter_option
@result_options
@progress_option
def compare(
    a: str,
    b: str | None,
    json_path: str | None,
    html_path: str | None,
    gates: tuple[Gate, ...],
    progress: bool | None,
    **options: Any,
) -> None:
    """Is B better than A? The mean difference of their row losses, with its interval.

    A and B are predictions of the same rows, as PATH is in evaluate; without B another column of A, named
    with --b-logits, --b-probs or --b-log-probs. Differences are A - B: a positive loss difference means that
    B is better. Needs DuckDB: pip install 'fastxent[compare]'.
    """
    from fastxent.api.compare import compare as run

    check_places((a, b), json_path, html_path, None)
    options = arguments(options)
    if options["on"] is None and not options["by_order"]:
        raise UsageError("say how rows are paired: --on COLUMN names the column of ids, --by-order goes by order")
    options["on"] = None if options["on"] is None else [name.strip() for name in options["on"].split(",")]
    options["group_by"] = [name.strip() for name in (options["group_by"] or "").split(",") if name.strip()]
    with compiling_notice(), progress_bar(progress) as step:
        result = run(a, b, **options, progress=step)
    if json_path is not None:
        write_text(json_path, result.to_json() + "\n")
    if html_path is not None:
        write_text(html_path, result.to_html())
    if "-" not in (json_path, html_path):
        from fastxent.cli.comparison_table import show_comparison

        show_comparison(result)
    if result.num_rows == 0:
        raise DataError("no row was compared; every difference is NaN")
    if gates:
        judge(gates, result.to_dict())
