"""fastxent inspect: what files hold, and the command that evaluates them."""

from __future__ import annotations

import json
from typing import Any

import click

from fastxent.base.byte_size import size_text
from fastxent.base.text import printable

__all__ = ["inspect"]


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
    yield f"{files}, {what.format}, {size_text(found.file_bytes)}, {rows}"
    yield ""
    width = min(40, max([len(printable(column.name)) for column in what.columns[:60]] or [0]))
    for column in what.columns[:60]:
        stored = [column.codec or "", *column.encodings] if column.codec else []
        size = f"  {size_text(column.stored_bytes)}" if column.stored_bytes else ""
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
    for note in found.notes:
        yield f"note         {note}"
    if found.speed is not None:
        speed = found.speed
        whole = speed.seconds * what.num_rows / max(1, speed.rows)
        way = "from its pages" if speed.way == "pages" else "by pyarrow"
        yield f"reading      {speed.gigabytes_per_second:.2f} GB/s a thread {way}, all rows in {whole:.2g} s with one"
    for advice in what.advice:
        yield f"advice       {advice}"
    for question in found.open_questions:
        yield f"open         {question}"
    yield ""
    for number, command in enumerate(found.commands):
        yield f"{'or: ' if number else 'run:'} {command}"
