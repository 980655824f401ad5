"""The sections of a page about groups of rows: their statistics, their classes, and the rows to look at in each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from fastxent.report.parts import Section, Table, cell_of, new_table, title_of
from fastxent.results.headlines import group_headlines

__all__ = ["classes_section", "columns_of_groups", "slices_section"]

Entries = Sequence[Mapping[str, Any]]

_OF_GROUP = (
    "count", "weight", "loss", "ci_low", "ci_high", "accuracy", "accuracy_low", "accuracy_high", "ece", "brier", "d2",
    "auc", "bits_per_unit", "entropy", "q50", "q95",
)  # fmt: skip
_OF_CLASS = ("class", "support", "loss", "precision", "recall", "f1")
#: Classes up to which they have a column each, and groups up to which these tables are shown.
_COLUMNS, _LINES = 20, 100
#: Classes of groups that are listed.
_LISTED = 50


def columns_of_groups(values: Mapping[str, Any]) -> list[str]:
    """The columns that rows were grouped by."""
    names = list(values["groups"][0])
    return names[: names.index("count")] if "count" in names else []


def slices_section(values: Mapping[str, Any]) -> Section:
    """A table of all groups, and of the values of each column."""
    section = Section("Slices", "slices")
    if groups := values.get("groups"):
        margins: dict[str, list[Any]] = {}
        for entry in values.get("margins", ()):
            margins.setdefault(next(iter(entry)), []).append(entry)
        for column, entries in margins.items():
            section.tables.append(_group_table(f"By {column}", entries))
        section.tables.append(_group_table(f"By {', '.join(columns_of_groups(values))}", groups))
        section.text.append("Choose a heading of the table to sort by it. JSON has more columns.")
    return section


def classes_section(values: Mapping[str, Any]) -> Section:
    """What is said of the classes of groups: those that carry the most loss; recall and calibration of each."""
    section = Section("Classes of slices", "slice-classes")
    if not (found := values.get("group_per_class")):
        return section
    by, classes = columns_of_groups(values), [entry["class"] for entry in values["per_class"]]
    present = [entry for entry in found if entry["support"]]
    present.sort(key=lambda entry: -_size(entry.get("weight", entry["support"]) * entry["loss"]))
    shown = [*by, *(name for name in _OF_CLASS if name in found[0])]
    caption = "Where the loss is: classes of slices by the sum of their losses"
    section.tables.append(new_table(caption, present, shown, digits=4, most=_LISTED))
    if len(classes) <= _COLUMNS:
        for name, caption, entries in (
            ("recall", "Recall", found),
            ("ece", "Calibration error against the rest", values.get("group_classwise")),
        ):
            if entries:
                section.tables.append(_matrix(f"{caption}, by {', '.join(by)} and class", entries, by, classes, name))
    return section


def _size(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _group_table(caption: str, groups: Entries) -> Table:
    return new_table(caption, groups, group_headlines(list(groups[0]), _OF_GROUP), digits=4)


def _matrix(caption: str, entries: Entries, by: Sequence[str], classes: Sequence[str], name: str) -> Table:
    """One number of every class (a column) of every group (a line)."""
    lines: dict[tuple[Any, ...], dict[str, float]] = {}
    for entry in entries:
        lines.setdefault(tuple(entry[column] for column in by), {})[entry["class"]] = entry[name]
    rows = [
        [cell_of(column, value) for column, value in zip(by, line, strict=True)]
        + [cell_of(name, found.get(each, math.nan), 3) for each in classes]
        for line, found in list(lines.items())[:_LINES]
    ]
    return Table(caption, [*map(title_of, by), *classes], rows, len(lines))
