"""fastxent merge: totals of parts, put together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from fastxent.cli.options import base_option, baseline_option, per_class_option, result_options, state_option
from fastxent.cli.output import check_gates, check_places, check_summary, deliver

if TYPE_CHECKING:
    from fastxent.results.gates import Gate

__all__ = ["merge"]


@click.command()
@click.argument("states", nargs=-1, required=True, metavar="STATE...")
@base_option
@result_options
@state_option
@baseline_option
@per_class_option
def merge(
    states: tuple[str, ...],
    base: float | None,
    json_path: str | None,
    html_path: str | None,
    gates: tuple[Gate, ...],
    state_path: str | None,
    summary: str | None,
    baseline: str | None,
    per_class: bool,
) -> None:
    """Put together the totals that `evaluate --state` wrote: the result one run over all the data would have.

    Name the files in the order of the data, so that rows are numbered as in one run.
    """
    from fastxent.results.evaluation import Evaluation
    from fastxent.totals.state_files import merge_states

    check_summary(summary)
    check_gates(gates, None, baseline=baseline is not None)  # by what rows are grouped is in the states
    check_places((), json_path, html_path, state_path)  # a state may be replaced by what it is merged into
    totals = merge_states(states)
    result = Evaluation(totals, run={"states": list(states)}, base=base)
    earlier = None
    if baseline is not None:
        from fastxent.comparison.baseline import against

        earlier = against(result, baseline)
    deliver(result, json_path, html_path, gates, state_path, per_class=per_class, summary=summary, baseline=earlier)
