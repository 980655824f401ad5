"""Pictures of slices: their losses with intervals, and those of their classes."""

from __future__ import annotations

import math
import re
from operator import itemgetter
from typing import Any

import numpy as np

from fastxent.base.text import group_name
from fastxent.report.parts import as_number, as_percent, interval
from fastxent.report.picture import Axis, Curve, Picture, Point, Rule, names_axis, shortened
from fastxent.report.pictures.classes import FEW, total_loss
from fastxent.report.pictures.forest import LINES, cell, forest, limits
from fastxent.results.evaluation import Evaluation

__all__ = ["group_classes", "groups", "heaviest", "trend", "worst_and_largest"]

#: Numbers that rows are grouped by, of which there is a curve: at least, and at most so many.
_POINTS = (4, 300)
#: What groups of numbers are called.
_BIN = re.compile(r"(?:[<\[]|>=) ?([^,)]+)(?:, [^)]+\))?")
#: Classes of groups that are looked at for the slices and classes that carry most.
_ROWS = 20_000


def groups(ev: Evaluation) -> Picture | None:
    """The mean loss of the groups with its interval, worst first, and that of all rows."""
    entries = [
        {
            "name": group_name(row[column]) if len(ev.margins or {}) < 2 else f"{column}: {group_name(row[column])}",
            **row,
        }
        for column, table in (ev.margins or {}).items()
        for row in table.select([column, *_columns_of(table)]).to_pylist()
    ]
    if not entries and ev.groups is not None:
        columns = ev.groups.column_names[: ev.groups.column_names.index("count")]
        shown = ev.groups.select([*columns, *_columns_of(ev.groups)])
        if shown.num_rows > LINES:
            shown = shown.take(worst_and_largest(shown, LINES, 0))
        entries = [{"name": " · ".join(group_name(row[c]) for c in columns), **row} for row in shown.to_pylist()]
    total = ev.groups.num_rows if ev.groups is not None and not ev.margins else len(entries)
    entries = [entry for entry in entries if math.isfinite(entry["loss"])]
    surest = sorted(entries, key=lambda entry: -_surely(entry))[:LINES]
    entries = sorted(surest, key=lambda entry: -entry["loss"])
    if not entries:
        return None
    lines = []
    for entry in entries:
        ends = (entry.get("ci_low", math.nan), entry.get("ci_high", math.nan))
        right = f", accuracy {as_percent(entry['accuracy'])}" if "accuracy" in entry else ""
        tip = (
            f"{entry['name']}: loss {as_number(entry['loss'], 4)} "
            f"({interval(*ends) or 'no interval'}){right}, {entry['count']:,} rows"
        )
        tone = "bad" if ends[0] > ev.loss else "good" if ends[1] < ev.loss else "muted"
        lines.append((entry["name"], entry["loss"], *ends, tone, tip))
    worst = entries[0]
    return forest(
        "groups",
        "In which slices is it worse?",
        f"Mean loss of slices, worst first. Highest: {worst['name']} with "
        f"{as_number(worst['loss'], 4)}, where all rows have"
        f" {as_number(ev.loss, 4)}.",
        lines,
        f"mean loss ({ev.unit})",
        Rule(ev.loss, "x", f"all rows {as_number(ev.loss, 4)}"),
        total,
        (("bad", "interval above all rows"), ("good", "below")),
    )


def _columns_of(table: Any) -> list[str]:
    return [name for name in ("count", "loss", "ci_low", "ci_high", "accuracy") if name in table.column_names]


def _surely(entry: Any) -> float:
    """What the loss surely is at least; an unknown end counts as nothing."""
    low = entry.get("ci_low", entry["loss"])
    return -1.0 if math.isnan(low) else float(low)


def worst_and_largest(table: Any, worst: int, largest: int) -> Any:
    """Rows of a table of groups, by number: those whose loss is surely the worst, then those with the most rows."""
    loss = table["ci_low" if "ci_low" in table.column_names else "loss"].to_numpy()
    by_loss = np.argsort(np.where(np.isnan(loss), math.inf, -loss), kind="stable")[:worst]
    by_size = np.argsort(-table["count"].to_numpy(), kind="stable")
    more = by_size[~np.isin(by_size, by_loss)][:largest]
    return np.concatenate((by_loss, more))


def trend(ev: Evaluation) -> Picture | None:
    """The mean loss over the numbers, or the bins of numbers, that rows are grouped by, such as positions in a text."""
    columns = ev.groups.column_names[: ev.groups.column_names.index("count")] if ev.groups is not None else []
    tables = ev.margins or ({columns[0]: ev.groups} if len(columns) == 1 else {})
    for column, table in tables.items():
        if not _POINTS[0] <= table.num_rows <= _POINTS[1]:
            continue
        rows = table.select([column, *_columns_of(table)]).to_pylist()
        rows = [row for row in rows if row[column] is not None and math.isfinite(row["loss"])]
        places = [_number_of(row[column]) for row in rows]
        if len(rows) >= _POINTS[0] and all(place is not None for place in places):
            return _drawn_trend(
                ev, column, [row for _, row in sorted(zip(places, rows, strict=True), key=itemgetter(0))]
            )
    return None


def _number_of(value: Any) -> float | None:
    """A number, or where a bin of numbers begins; None of anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if math.isfinite(value) else None
    match = _BIN.fullmatch(value) if isinstance(value, str) else None
    return None if match is None else -math.inf if value[0] == "<" else float(match[1])


def _drawn_trend(ev: Evaluation, column: str, rows: list[Any]) -> Picture:
    numbers = [row[column] for row in rows]
    binned = isinstance(numbers[0], str)
    at = [float(i) for i in range(len(rows))] if binned else [float(number) for number in numbers]
    x = names_axis(column, numbers) if binned else Axis(column, *limits(at))
    losses = [row["loss"] for row in rows]
    marks: list[Any] = [Curve(at, losses)]
    if math.isfinite(ev.loss):
        marks.insert(0, Rule(ev.loss, "y", f"all rows {as_number(ev.loss, 4)}"))
    reach = max(losses) - min(losses)
    for place, row in zip(at, rows, strict=True):
        ends = (row.get("ci_low", math.nan), row.get("ci_high", math.nan))
        tip = f"{column} {row[column]}: loss {as_number(row['loss'], 4)} ({interval(*ends) or 'no interval'})"
        marks.append(Point(place, row["loss"], f"{tip}, {row['count']:,} rows", "main", 2.5, "y", *ends))
    known = [end for row in rows for end in (row.get("ci_low", math.nan), row.get("ci_high", math.nan)) if end == end]
    low, high = limits([min(max(e, min(losses) - reach), max(losses) + reach) for e in [*known, *losses]])
    first, last = rows[0], rows[-1]
    return Picture(
        "trend",
        f"How does the loss change with {shortened(column)}?",
        f"Mean loss over {column}: {as_number(first['loss'], 4)} at {first[column]}, "
        f"{as_number(last['loss'], 4)} at {last[column]}.",
        "Mean loss with 95 % intervals, each taken alone.",
        x,
        Axis(f"mean loss ({ev.unit})", low, high),
        marks,
    )


def heaviest(table: Any, most: int) -> Any:
    """Of a table of classes of groups the rows that carry the most of all losses, so many at most, those first."""
    support, loss = (table[name].to_numpy() for name in ("support", "loss"))
    total = (table["weight"].to_numpy() if "weight" in table.column_names else support) * loss
    order = np.argsort(np.where(np.isnan(total), math.inf, -total), kind="stable")
    return table.take(order[support[order] > 0][:most])


def group_classes(ev: Evaluation) -> Picture | None:
    """The mean loss of the classes of groups: a line a group, a column a class, those that carry most of the losses."""
    table = ev.group_per_class
    if table is None or not table.num_rows:
        return None
    columns = table.column_names[: table.column_names.index("class")]
    cells: dict[tuple[str, str], Any] = {}
    by_group: dict[str, float] = {}
    by_class: dict[str, float] = {}
    for row in heaviest(table, _ROWS).to_pylist():
        if math.isfinite(row["loss"]):
            name = " · ".join(group_name(row[column]) for column in columns)
            cells[name, row["class"]] = row
            by_group[name] = by_group.get(name, 0.0) + total_loss(row)
            by_class[row["class"]] = by_class.get(row["class"], 0.0) + total_loss(row)
    lines, across = (sorted(found, key=lambda name: -found[name])[:LINES] for found in (by_group, by_class))
    if len(by_class) <= FEW:
        across = [name for name in ev.class_names if name in by_class]
    shown = {key: row for key, row in cells.items() if key[0] in lines and key[1] in across}
    if len(lines) < 2 or not shown:
        return None
    marks: list[Any] = []
    for (line, name), row in shown.items():
        x, y = across.index(name), lines.index(line)
        tip = (
            f"{line}, class {name}: loss {as_number(row['loss'], 4)}, recall "
            f"{as_percent(row['recall'])}, {row['support']:,} rows"
        )
        away = math.log2(row["loss"] / ev.loss) if row["loss"] > 0.0 < ev.loss < math.inf else 0.0
        strength = 0.06 + 0.88 * min(abs(away) / 2.0, 1.0)  # full at four times as much as all rows have
        marks.append(cell(x, y, tip, "second" if away > 0.0 else "main", strength))
    (line, name), worst = max(shown.items(), key=lambda item: total_loss(item[1]))
    said = f"{line}, class {name} carries the most: loss {as_number(worst['loss'], 3)}, {worst['support']:,} rows."
    slices = ev.groups.num_rows
    less = len(lines) < slices or len(across) < len(by_class)
    more = (
        f" {len(lines)} of {slices:,} slices and {len(across)} of {len(by_class):,} classes are shown." if less else ""
    )
    return Picture(
        "group_classes",
        "Which classes of which slices?",
        f"Mean loss by slice and class. {said}",
        f"Mean loss against that of all rows: the stronger the color, the further from it. {said}{more}",
        names_axis("class", across),
        names_axis("", lines),
        marks,
        legend=(("second", "above all rows"), ("main", "below")),
    )
