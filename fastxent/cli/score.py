"""fastxent score: the loss and the scores of every row, written as Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fastxent.base.text import printable
from fastxent.cli.options import GroupedCommand, given, keyword_options, progress_option, result_options, state_option
from fastxent.cli.output import check_gates, check_places, check_summary, compiling_notice, deliver, progress_bar

if TYPE_CHECKING:
    from fastxent.results.gates import Gate

__all__ = ["score"]


@click.command(
    cls=GroupedCommand,
    examples=("fastxent score preds.parquet -o losses.parquet --logits z --target y --keep id",),
)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@keyword_options("score")
@result_options
@state_option
@progress_option
def score(
    paths: tuple[str, ...],
    out_path: str | None,
    json_path: str | None,
    html_path: str | None,
    gates: tuple[Gate, ...],
    state_path: str | None,
    summary: str | None,
    progress: bool | None,
    **keywords: Any,
) -> None:
    """Write loss, prediction, confidence, p(target), rank and status of every row.

    The output has one row for every row that is read of PATH, in order, and appears only when it is whole. An
    interrupted run into a directory goes on where it stopped.
    """
    from fastxent.api.score import score as run

    if out_path is None:
        raise click.MissingParameter(param_hint="'-o' / '--output'", param_type="option")
    check_summary(summary)
    check_gates(gates, keywords.get("group_by") or (), baseline=False)
    check_places(paths or keywords.values(), json_path, html_path, state_path)
    data = None if not paths else paths[0] if len(paths) == 1 else list(paths)
    with compiling_notice(), progress_bar(progress) as step:
        result = run(data, out_path, **given(keywords), progress=step)
    if "-" not in (json_path, html_path):
        click.echo(f"wrote {result.rows['read']:,} rows to {printable(out_path)}")
    deliver(result, json_path, html_path, gates, state_path, summary=summary)
