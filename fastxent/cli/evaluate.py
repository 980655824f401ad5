"""The main job from the shell: evaluate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fastxent.cli.options import (
    arguments,
    keep_option,
    prediction_options,
    progress_option,
    reading_options,
    result_options,
    state_option,
    statistics_options,
)
from fastxent.cli.output import check_places, compiling_notice, deliver, progress_bar

if TYPE_CHECKING:
    from fastxent.results.gates import Gate

__all__ = ["evaluate"]


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@prediction_options
@reading_options
@statistics_options
@keep_option
@result_options
@state_option
@progress_option
def evaluate(
    paths: tuple[str, ...],
    json_path: str | None,
    html_path: str | None,
    gates: tuple[Gate, ...],
    state_path: str | None,
    progress: bool | None,
    **options: Any,
) -> None:
    """Loss and statistics of the predictions in PATH: Parquet files, directories, globs.

    Without PATH, --logits (--probs, --log-probs) and --target are .npy files.
    """
    from fastxent.api.evaluate import evaluate as run

    check_places(paths or options.values(), json_path, html_path, state_path)
    data = None if not paths else paths[0] if len(paths) == 1 else list(paths)
    with compiling_notice(), progress_bar(progress) as step:
        result = run(data, **arguments(options), progress=step)
    deliver(result, json_path, html_path, gates, state_path)
