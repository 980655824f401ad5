"""fastxent compare: sets of predictions of the same rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from fastxent.base.errors import DataError, UsageError
from fastxent.cli.options import GroupedCommand, given, keyword_options, progress_option, result_options
from fastxent.cli.output import (
    check_places,
    check_summary,
    command_line,
    compiling_notice,
    judge,
    judged,
    progress_bar,
    tell,
    write_summary,
    write_text,
)

if TYPE_CHECKING:
    from fastxent.comparison.several import Comparisons
    from fastxent.results.gates import Gate

__all__ = ["compare"]


@click.command(
    cls=GroupedCommand,
    examples=(
        "fastxent compare a.parquet b.parquet --logits z --target y --on id",
        "fastxent compare a.parquet b.parquet c.parquet --logits z --target y --by-order",
    ),
)
@click.argument("paths", nargs=-1, required=True, metavar="A [B]...")
@keyword_options("compare")
@result_options
@progress_option
def compare(
    paths: tuple[str, ...],
    json_path: str | None,
    html_path: str | None,
    gates: tuple[Gate, ...],
    summary: str | None,
    progress: bool | None,
    **keywords: Any,
) -> None:
    """Is B better than A? The mean difference of their row losses, with its interval.

    A and B are predictions of the same rows, as PATH is in evaluate; without B another column of A, named
    with --b-logits, --b-probs or --b-log-probs. Differences are A - B: a positive loss difference means that
    B is better. Of more than two, each is compared with the first, and p-values are adjusted for their number
    (Holm). Needs DuckDB: pip install 'fastxent[compare]'.
    """
    check_summary(summary)
    check_places(paths, json_path, html_path, None)
    if keywords["on"] is None and not keywords["by_order"]:
        raise UsageError("say how rows are paired: --on COLUMN names the column of ids, --by-order goes by order")
    if len(paths) > 2 and html_path is not None:
        raise UsageError("--html is of two sets of predictions; compare each with the first in a run of its own")
    check_names(gates, keywords["group_by"] or (), paths[1:])
    from fastxent.cli.comparison_table import as_markdown, show_comparisons

    with compiling_notice(), progress_bar(progress) as step:
        result = _compared(paths, given(keywords) | {"progress": step})
    single = next(iter(result.results.values()))
    told = single if len(paths) <= 2 else result
    for each in result.results.values():
        each.run["command"] = command_line()
    if json_path is not None:
        write_text(json_path, told.to_json() + "\n")
    if html_path is not None:
        write_text(html_path, single.to_html(gates=gates))
    if "-" not in (json_path, html_path, summary):
        show_comparisons(result)
    tell(told.warnings)
    if not all(each.num_rows for each in result.results.values()):
        raise DataError("no row was compared; every difference is NaN")
    failed = judged(gates, told.to_dict())
    if summary is not None:
        write_summary(summary, as_markdown(result, failed))
    judge(failed)


def check_names(gates: tuple[Gate, ...], group_by: Iterable[str], others: tuple[str, ...]) -> None:
    """Raise UsageError for a gate on a name that no comparison has, before the work is done."""
    if gates:
        from fastxent.comparison.known_names import names_of_comparison
        from fastxent.results.gates import check_names as check

        names = names_of_comparison()
        if len(others) > 1:
            names = {"comparisons": dict.fromkeys(others, names), "p_holm": dict.fromkeys(others)}
        check(gates, names, group_by)


def _compared(paths: tuple[str, ...], keywords: dict[str, Any]) -> Comparisons:
    """A comparison of every other set with the first, by their paths."""
    from fastxent.api.compare import compare as run
    from fastxent.api.compare_all import compare_all
    from fastxent.comparison.several import Comparisons

    if len(paths) <= 2:
        return Comparisons({paths[-1]: run(*paths, **keywords)})
    if len(set(paths)) < len(paths):
        raise UsageError("compare: a set of predictions is named twice")
    return compare_all(paths[0], {path: path for path in paths[1:]}, **keywords)
