"""Shell commands that write files or look at them: score, convert, inspect; and doctor and warmup."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from fastxent.base.errors import DataError
from fastxent.base.kinds import KINDS
from fastxent.base.text import printable
from fastxent.cli.options import (
    Names,
    arguments,
    copy_option,
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

__all__ = ["convert", "doctor", "inspect", "score", "warmup"]

#: Bytes of scores below which a measurement of reading is mostly that of opening the file.
MEASURABLE = 4 << 20
LAYOUTS = ("auto", "columns", "packed", "list")


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE|DIR/",
    help="Parquet file to write; or a directory, with one file for each input file.",
)
@copy_option
@click.option("--prefix", default="", metavar="TEXT", help="Put before the names of the score columns.")
@prediction_options
@reading_options
@statistics_options
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
@click.option("--no-resume", is_flag=True, help="With DIR/: do finished files again.")
@result_options
@state_option
@progress_option
def score(
    paths: tuple[str, ...],
    output: str,
    keep: Any,
    no_resume: bool,
    json_path: str | None,
    html_path: str | None,
    gates: tuple[Gate, ...],
    state_path: str | None,
    progress: bool | None,
    **options: Any,
) -> None:
    """Write loss, prediction, confidence, p(target), rank and status of every row.

    The output has one row for every row that is read of PATH, in order, and appears only when it is whole. An
    interrupted run into a directory goes on where it stopped.
    """
    from fastxent.api.score import score as run

    check_places(paths or options.values(), json_path, html_path, state_path)
    data = None if not paths else paths[0] if len(paths) == 1 else list(paths)
    with compiling_notice(), progress_bar(progress) as step:
        result = run(data, output, **arguments(options), keep=keep or (), resume=not no_resume, progress=step)
    if "-" not in (json_path, html_path):
        click.echo(f"wrote {result.rows['read']:,} rows to {printable(output)}")
    deliver(result, json_path, html_path, gates, state_path)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.argument("output", metavar="FILE|DIR/")
@click.option("--logits", type=Names(), help="Column with the logits; or several columns, or a glob, one a class.")
@click.option("--probs", type=Names(), help="The same for probabilities.")
@click.option("--log-probs", type=Names(), help="The same for log-probabilities.")
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
        sizes = {"bytes_before": done.bytes_before, "bytes_after": done.bytes_after}
        click.echo(json.dumps(facts | sizes | {"reading": speeds}))
        return
    several = f" in {done.files:,} files" if done.files > 1 else ""
    click.echo(f"wrote {done.rows:,} rows{several} to {printable(output)}: {done.layout}, {done.dtype}")
    click.echo(f"size     {_size(done.bytes_before)} -> {_size(done.bytes_after)}")
    if before.nbytes < MEASURABLE:
        click.echo("reading  the file is too small to measure")
        return
    click.echo(
        f"reading  {before.gigabytes_per_second:.2f} -> {after.gigabytes_per_second:.2f} GB/s a thread, "
        f"{done.gain:.1f} times as fast"
    )


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.option("--no-measure", is_flag=True, help="Read footers only; do not measure how fast the scores are read.")
def inspect(paths: tuple[str, ...], as_json: bool, no_measure: bool) -> None:
    """What PATH holds, how fast it is read, and the command that evaluates it."""
    from fastxent.storage.inspect import inspect as run

    found = run(paths[0] if len(paths) == 1 else list(paths), measure=not no_measure)
    if as_json:
        click.echo(json.dumps(found.to_dict()))
    else:
        for line in _inspection_lines(found):
            click.echo(printable(line))


def _inspection_lines(found: Any) -> Any:
    what, selection = found.description, found.selection
    files = f"{len(what.paths)} files" if len(what.paths) > 1 else "1 file"
    rows = f"{what.num_rows:,} rows in {what.num_row_groups:,} row groups" if what.num_rows >= 0 else "rows not known"
    yield f"{files}, {what.format}, {_size(found.file_bytes)}, {rows}"
    yield ""
    width = min(40, max([len(printable(column.name)) for column in what.columns[:60]] or [0]))
    for column in what.columns[:60]:
        stored = [column.codec or "", *column.encodings] if column.codec else []
        size = f"  {_size(column.stored_bytes)}" if column.stored_bytes else ""
        yield f"  {column.name:<{width}}  {column.type}{size}{'  ' + ', '.join(stored) if stored else ''}"
    if len(what.columns) > 60:
        yield f"  ... {len(what.columns) - 60:,} more"
    yield ""
    if selection is not None:
        chosen = next((each for each in what.predictions if each.columns == selection.predictions), None)
        why = f"{chosen.layout}; {chosen.reason}" if chosen else ""
        yield f"predictions  {', '.join(selection.predictions[:8])}  ({found.form or 'form not known'}; {why})"
        yield f"target       {selection.target}"
        yield f"task         {selection.task}" + (f", {found.num_classes:,} classes" if found.num_classes > 1 else "")
    else:
        for name, candidates in (("predictions", what.predictions), ("target", what.targets)):
            for each in candidates[:8]:
                yield f"{name:<11}? {', '.join(each.columns[:4])}  ({each.reason})"
    if what.class_names:
        shown = ", ".join(what.class_names[:10]) + (", ..." if len(what.class_names) > 10 else "")
        yield f"classes      {shown}"
    if found.speed is not None:
        speed = found.speed
        whole = speed.seconds * what.num_rows / max(1, speed.rows)
        yield f"reading      {speed.gigabytes_per_second:.2f} GB/s a thread, all rows in {whole:.2g} s with one"
    for advice in what.advice:
        yield f"advice       {advice}"
    for question in found.open_questions:
        yield f"open         {question}"
    yield ""
    for number, command in enumerate(found.commands):
        yield f"{'or: ' if number else 'run:'} {command}"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def doctor(as_json: bool) -> None:
    """Versions, processor, cache and threads: what to put into a bug report."""
    from fastxent.api.doctor import checkup

    facts = checkup()
    if as_json:
        click.echo(json.dumps(facts))
        return
    width = max(map(len, facts))
    for name, value in facts.items():
        shown = ", ".join(map(str, value)) if isinstance(value, list) else "none" if value is None else value
        click.echo(f"{name.replace('_', ' '):<{width}}  {printable(shown)}")
    for problem in facts["problems"]:
        click.echo(f"problem: {printable(problem)}", err=True)
    if facts["problems"]:
        sys.exit(DATA_EXIT)


DATA_EXIT = 3


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
    help="Kind of number; may be repeated. Default: float32.",
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
    """Compile the usual kernels into the cache, so that the first run does not wait (for images and CI)."""
    from fastxent.api.doctor import warm_up
    from fastxent.kernels.compiler.cache import cache_folder

    if cache_folder() is None:
        raise DataError(
            "no folder for compiled kernels can be written; set NUMBA_CACHE_DIR to one that can (see fastxent doctor)"
        )
    for what, seconds in warm_up(**{name: values for name, values in wanted.items() if values}):
        click.echo(f"{seconds:6.1f} s  {what}", err=True)
    click.echo(f"kernels are in {printable(cache_folder())}")


def _size(count: int) -> str:
    """Bytes in a unit that people read."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value /= 1000
        units.pop(0)
    return f"{value:.3g} {units[0]}" if units[0] != "B" else f"{count} B"
