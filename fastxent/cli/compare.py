"""fastxent compare: two sets of predictions of the same rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fastxent.base.errors import DataError, UsageError
from fastxent.cli.options import given, keyword_options, progress_option, result_options
from fastxent.cli.output import check_places, command_line, compiling_notice, judge, progress_bar, tell, write_text

if TYPE_CHECKING:
    from fastxent.results.gates import Gate

__all__ = ["compare"]


@click.command()
@click.argument("a")
@click.argument("b", required=False)
@keyword_options("compare")
@result_options
@progress_option
def compare(
    a: str,
    b: str | None,
    json_path: str | None,
    html_path: str | None,
    gates: tuple[Gate, ...],
    progress: bool | None,
    **keywords: Any,
) -> None:
    """Is B better than A? The mean difference of their row losses, with its interval.

    A and B are predictions of the same rows, as PATH is in evaluate; without B another column of A, named
    with --b-logits, --b-probs or --b-log-probs. Differences are A - B: a positive loss difference means that
    B is better. Needs DuckDB: pip install 'fastxent[compare]'.
    """
    from fastxent.api.compare import compare as run

    check_places((a, b), json_path, html_path, None)
    if keywords["on"] is None and not keywords["by_order"]:
        raise UsageError("say how rows are paired: --on COLUMN names the column of ids, --by-order goes by order")
    with compiling_notice(), progress_bar(progress) as step:
        result = run(a, b, **given(keywords), progress=step)
    result.run["command"] = command_line()
    if json_path is not None:
        write_text(json_path, result.to_json() + "\n")
    if html_path is not None:
        write_text(html_path, result.to_html(gates=gates))
    if "-" not in (json_path, html_path):
        from fastxent.cli.comparison_table import show_comparison

        show_comparison(result)
    tell(result.warnings)
    if result.num_rows == 0:
        raise DataError("no row was compared; every difference is NaN")
    if gates:
        judge(gates, result.to_dict())
