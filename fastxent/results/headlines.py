"""The headline numbers of an evaluation as lines of text, and how tables are shown."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fastxent.base.text import printable
from fastxent.statistics.reading import Reading

__all__ = ["ROWS", "cell_text", "headlines", "html_table", "summary_lines"]

#: Rows of a table that are shown.
ROWS = 20
#: Intervals that are shown, beside those of loss and accuracy.
_SAMPLED = {
    "f1": "F1", "f1_macro": "macro F1", "mcc": "MCC", "auc": "ROC AUC", "average_precision": "avg. precision",
    "ece": "ECE",
}  # fmt: skip
#: Characters of a value that tables show.
MOST_SHOWN = 80


def headlines(
    rows: Mapping[str, Any], reading: Reading, run: Mapping[str, Any], intervals: Mapping[str, tuple[float, float]]
) -> Iterator[tuple[str, str]]:
    """Name and value of every headline number: of the rows, of every statistic, of the run."""
    others = [f"{rows['ignored']:,} ignored"] if rows["ignored"] else []
    if zero := rows.get("zero_weight", 0):
        others.append(f"{zero:,} of weight 0")
    if invalid := sum(rows["invalid"].values()):
        others.append(f"{invalid:,} invalid")
    yield "rows", f"{rows['scored']:,}" + (f"  ({', '.join(others)} of {rows['read']:,})" if others else "")
    yield from (("note", note) for note in run.get("notes", ()))
    lines = {name: list(each.headlines(reading)) for name, each in reading.statistics.items()}
    last = lines.pop("spread", [])  # quantiles and range follow what the predictions say
    yield from (line for group in (*lines.values(), last) for line in group)
    sampled = ((_SAMPLED[name], ends) for name, ends in intervals.items() if name in _SAMPLED)
    if shown := [f"{title} {low:.4f} to {high:.4f}" for title, (low, high) in sampled]:
        yield "95 % of sampling", ", ".join(shown)
    if "seconds" in run:
        compiling = run["compile_seconds"]
        seconds = run["seconds"] - compiling or math.inf
        rate = f"{run['rows_per_second']:,.0f} rows/s, {run['bytes'] / seconds / 1e9:.2f} GB/s"
        more = f"; and {compiling:.1f} s of compiling, once" if compiling else ""
        yield "time", f"{run['seconds'] - compiling:.3f} s  ({rate}, {run['threads']} threads{more})"


def summary_lines(lines: Iterable[tuple[str, str]], width: int) -> Iterator[tuple[str, str]]:
    """Headlines as lines of a width: a padded name, and a value, which goes on below itself and breaks in no number."""
    pairs = list(lines)
    indent = max((len(name) for name, _ in pairs), default=0) + 2
    for name, value in pairs:
        shown, line = name, ""
        for part in re.split(r"(?<=[,;] )|(?<=  )", value):
            if line and indent + len((line + part).rstrip()) > width:
                yield shown.ljust(indent), line.rstrip()
                shown, line = "", ""
            line += part
        yield shown.ljust(indent), line.rstrip()


def cell_text(value: Any) -> str:
    """One value of a table."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    text = printable(value)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 3]}..."


def html_table(first: str, lines: Iterable[tuple[str, str]], tables: Iterable[tuple[str, Any, int]]) -> str:
    """A sentence, headline numbers, and tables with their title and the number of all rows, as HTML, all escaped."""
    left = "style='text-align:left'"
    rows = "".join(
        f"<tr><th {left}>{html.escape(name)}</th><td {left}>{html.escape(value)}</td></tr>" for name, value in lines
    )
    numbers = f"<table>{rows}</table>" if rows else ""
    return "".join(
        [
            f"<p><b>{html.escape(printable(first))}</b></p>",
            numbers,
            *(_html_rows(title, table, total) for title, table, total in tables),
        ]
    )


def _html_rows(title: str, table: Any, total: int) -> str:
    """A table as HTML with its title; everything is escaped."""
    head = "".join(f"<th>{html.escape(printable(name))}</th>" for name in table.column_names)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell_text(value))}</td>" for value in row.values()) + "</tr>"
        for row in table.to_pylist()
    )
    more = f" (first {table.num_rows:,} of {total:,})" if total > table.num_rows else ""
    return f"<p>{html.escape(printable(title))}{more}</p><table><tr>{head}</tr>{body}</table>"
