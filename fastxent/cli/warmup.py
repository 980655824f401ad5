"""fastxent warmup: kernels compiled before they are needed."""

from __future__ import annotations

import click

from fastxent.base.errors import DataError
from fastxent.base.kinds import KINDS
from fastxent.base.text import printable

__all__ = ["warmup"]


@click.command()
@click.option(
    "--form",
    "forms",
    multiple=True,
    type=click.Choice(["logits", "probs", "log_probs"]),
    help="Form of predictions; may be repeated. Default: logits and probs.",
)
@click.option(
    "--dtype",
    "dtypes",
    multiple=True,
    type=click.Choice(tuple(KINDS)),
    help="Kind of number; may be repeated. Default: float32 and float64.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    type=click.Choice(["int8", "int16", "int32", "int64", "uint8"]),
    help="Type of labels; may be repeated. Default: int32 and int64.",
)
@click.option(
    "--task",
    "tasks",
    multiple=True,
    type=click.Choice(["multiclass", "binary"]),
    help="Task; may be repeated. Default: both.",
)
def warmup(**wanted: tuple[str, ...]) -> None:
    """Compile the usual kernels into the cache, so that the first run does not wait (for images and CI).

    Predictions of the usual kinds, and groups, weights, clusters, worst rows and statistics on request.
    """
    from fastxent.api.doctor import warm_up
    from fastxent.kernels.compiler.cache import cache_folder

    if cache_folder() is None:
        raise DataError(
            "no folder for compiled kernels can be written; set NUMBA_CACHE_DIR to one that can (see fastxent doctor)"
        )
    for what, seconds in warm_up(**{name: values for name, values in wanted.items() if values}):
        click.echo(f"{seconds:6.1f} s  {what}", err=True)
    click.echo(f"kernels are in {printable(cache_folder())}")
