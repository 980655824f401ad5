"""fastxent convert: the same predictions in a layout that is read fast."""

from __future__ import annotations

import json
from typing import Any

import click

from fastxent.base.byte_size import size_text
from fastxent.base.kinds import KINDS
from fastxent.base.text import printable
from fastxent.cli.option_types import Scores

__all__ = ["convert"]

#: Bytes of scores below which a measurement of reading is mostly that of opening the file.
MEASURABLE = 4 << 20
LAYOUTS = ("auto", "columns", "packed", "list")


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.argument("output", metavar="FILE|DIR/")
@click.option("--logits", type=Scores(), help="Column with the logits; or several columns, or a glob, one a class.")
@click.option("--probs", type=Scores(), help="The same for probabilities.")
@click.option("--log-probs", type=Scores(), help="The same for log-probabilities.")
@click.option("--target", metavar="COLUMN", help="Column with the targets, for the file's description of itself.")
@click.option(
    "--layout",
    type=click.Choice(LAYOUTS),
    default="auto",
    show_default=True,
    help="How to store scores; auto: columns up to 64 classes, packed beyond.",
)
@click.option(
    "--dtype", type=click.Choice(tuple(KINDS)), help="Kind of number to store; by default the one that is there."
)
@click.option(
    "--source-dtype", type=click.Choice(tuple(KINDS)), help="Numbers in packed columns that do not say what they are."
)
@click.option("--lossy", is_flag=True, help="Let --dtype round.")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def convert(paths: tuple[str, ...], output: str, as_json: bool, **options: Any) -> None:
    """Rewrite the predictions of Parquet files in a layout that is read fast; no value changes.

    Several files go into a directory, each into one of its own.
    """
    from fastxent.storage.convert import convert as run

    done = run(paths[0] if len(paths) == 1 else list(paths), output, **options)
    before, after = done.before, done.after
    if as_json:
        speeds = {
            name: {"rows": speed.rows, "bytes": speed.nbytes, "seconds": speed.seconds}
            for name, speed in (("before", before), ("after", after))
        }
        facts = {"files": done.files, "rows": done.rows, "layout": done.layout, "dtype": done.dtype, "gain": done.gain}
        facts = {"schema": "fastxent.conversion/1"} | facts
        sizes = {"bytes_before": done.bytes_before, "bytes_after": done.bytes_after}
        click.echo(json.dumps(facts | sizes | {"reading": speeds}))
        return
    several = f" in {done.files:,} files" if done.files > 1 else ""
    click.echo(f"wrote {done.rows:,} rows{several} to {printable(output)}: {done.layout}, {done.dtype}")
    click.echo(f"size     {size_text(done.bytes_before)} -> {size_text(done.bytes_after)}")
    if before.nbytes < MEASURABLE:
        click.echo("reading  the file is too small to measure")
        return
    click.echo(
        f"reading  {before.gigabytes_per_second:.2f} -> {after.gigabytes_per_second:.2f} GB/s a thread, "
        f"{done.gain:.1f} times as fast"
    )
