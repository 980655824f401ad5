"""fastxent evaluate: the main job from the shell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fastxent.cli.options import (
    GroupedCommand,
    baseline_option,
    given,
    keyword_options,
    per_class_option,
    progress_option,
    result_options,
    state_option,
)
from fastxent.cli.output import check_gates, check_places, check_summary, compiling_notice, deliver, progress_bar

if TYPE_CHECKING:
    from fastxent.results.gates import Gate

__all__ = ["evaluate"]


@click.command(
    cls=GroupedCommand,
    examples=(
        "fastxent evaluate preds.parquet --logits z --target y",
        "fastxent evaluate preds/ --probs 'p_*' --target y --group-by country --worst 20 --keep id",
        "fastxent evaluate preds/ --probs p --target y --task binary --html report.html --fail-if 'auc < 0.9'",
    ),
)
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@keyword_options("evaluate")
@result_options
@state_option
@baseline_option
@per_class_option
@progress_option
def evaluate(
    paths: tuple[str, ...],
    json_path: str | None,
    html_path: str | None,
    gates: tuple[Gate, ...],
    state_path: str | None,
    summary: str | None,
    baseline: str | None,
    per_class: bool,
    progress: bool | None,
    **keywords: Any,
) -> None:
    """Loss and statistics of the predictions in PATH: Parquet files, directories, globs.

    Without PATH, --logits (--probs, --log-probs) and --target are .npy files.
    """
    from fastxent.api.evaluate import evaluate as run

    check_summary(summary)
    check_gates(gates, keywords["group_by"] or (), baseline=baseline is not None)
    check_places(paths or keywords.values(), json_path, html_path, state_path)
    data = None if not paths else paths[0] if len(paths) == 1 else list(paths)
    with compiling_notice(), progress_bar(progress) as step:
        result = run(data, **given(keywords), progress=step)
    earlier = None
    if baseline is not None:
        from fastxent.comparison.baseline import against

        earlier = against(result, baseline)
    deliver(result, json_path, html_path, gates, state_path, per_class=per_class, summary=summary, baseline=earlier)
