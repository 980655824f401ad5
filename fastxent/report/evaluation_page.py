"""The page of an evaluation: which sections there are and what stands in them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from fastxent.comparison.baseline import Baseline
from fastxent.report.parts import (
    Card,
    Page,
    Section,
    Table,
    as_number,
    as_percent,
    cell_of,
    interval,
    list_of_paths,
    new_table,
    title_of,
)  # fmt: skip
from fastxent.report.pictures.registry import OF_EVALUATION
from fastxent.report.pictures.slices import heaviest, worst_and_largest
from fastxent.results.evaluation import Evaluation

__all__ = ["evaluation_page"]

#: Lines of a table of groups, or classes, that are shown because they are worst, and because they are largest.
_WORST, _LARGEST = 200, 100
#: Classes up to which they have a column each, and lines up to which such tables go.
_COLUMNS, _LINES = 20, 100
#: Classes of groups that are listed, and single rows of groups.
_LISTED, _OF_GROUPS = 50, 200


def evaluation_page(ev: Evaluation, baseline: Baseline | None = None) -> Page:
    """What stands on the page of an evaluation."""
    sections = [_whole(ev), _slices(ev), _classes(ev), _single_rows(ev), _numbers(ev, baseline)]
    paths = ev.run.get("paths") or ev.run.get("states") or []
    return Page("Evaluation", list_of_paths(paths), list(_cards(ev)), sections)


def _cards(ev: Evaluation) -> Iterator[Card]:
    ends = interval(ev.fields["ci_low"], ev.fields["ci_high"]) if "ci_low" in ev.fields else ""
    yield Card(f"Loss ({ev.unit})", as_number(ev.loss), ends, "main")
    if ev.d2 is not None:
        yield Card("Below the base rate", as_percent(ev.d2), "D2: the shares of the classes have 0")
    if ev.accuracy is not None:
        low, high = (ev.fields.get(name, math.nan) for name in ("accuracy_low", "accuracy_high"))
        notes = ["rows with every label right"] if ev.totals.spec.task == "multilabel" else []
        notes += [] if math.isnan(low) else [f"95 %: {as_percent(low)} to {as_percent(high)}"]
        notes += [f"top-{k} {as_percent(share)}" for k, share in ev.top_k.items() if k > 1]
        yield Card("Accuracy", as_percent(ev.accuracy), ", ".join(notes))
    yield Card("Perplexity", as_number(ev.perplexity, 5))
    if (units := ev.units) is not None:
        yield Card(f"Bits per {units.column}", as_number(units.bits, 4), interval(*units.bits_ci95))
    if (calibration := ev.calibration) is not None:
        note = f"expected (ECE); largest {as_number(calibration.mce, 3)}"
        yield Card("Calibration error", as_number(calibration.ece, 4), note)
    if ev.auc is not None and ev.average_precision is not None:
        note = f"average precision {as_number(ev.average_precision, 4)}"
        yield Card("ROC AUC", as_number(ev.auc, 4), note)
    if ev.brier is not None:
        yield Card("Brier score", as_number(ev.brier, 4))
    rows = ev.rows
    out = rows["read"] - rows["scored"]
    note = f"{out:,} of {rows['read']:,} not scored" if out else "all of them scored"
    yield Card("Rows", as_number(rows["scored"]), note)


def _drawn(ev: Evaluation, *names: str) -> list[Any]:
    """Those of the pictures that there are."""
    return [picture for name in names if (picture := OF_EVALUATION[name](ev)) is not None]


def _whole(ev: Evaluation) -> Section:
    section = Section("Loss and calibration", "loss")
    if not ev.num_rows:
        return section
    section.pictures = _drawn(ev, "loss", "reliability", "scores", "roc", "pr", "thresholds", "temperature")
    if (stats := ev.loss_stats) is not None and stats.quantiles:
        for q, found in stats.quantiles.items():
            name = "median" if q == 0.5 else f"{100 * q:g} % of the rows are below"
            section.facts.append((name, f"{as_number(found.value, 4)} {ev.unit}"))
        ends = f"{as_number(stats.min, 4)} to {as_number(stats.max, 4)} {ev.unit}"
        section.facts.append(("range", ends))
    if ev.calibration is not None:
        section.tables.append(
            new_table("Bins of the calibration", [row for row in ev.calibration.rows if row["count"]])
        )
    if ev.thresholds() is not None and ev.totals.spec.task == "binary":
        section.tables.append(new_table("Thresholds", ev.thresholds().to_pylist(), shares=("predicted", "fpr")))
    if ev.ranking is not None:
        section.tables.append(new_table("Ranking of positives above negatives, with bounds", ev.ranking.to_pylist()))
    if ev.temperature is not None:
        caption = "Loss of the logits divided by a temperature"
        section.tables.append(new_table(caption, ev.temperature.table.to_pylist()))
    return section


def _slices(ev: Evaluation) -> Section:
    section = Section("Slices", "slices")
    if ev.groups is None:
        return section
    section.pictures = _drawn(ev, "groups", "trend", "group_classes")
    full = {**(ev.margins or {}), ", ".join(ev.totals.measures.group_by): ev.groups}
    for by, table in ev.narrow_groups().items():
        which = "first"
        if table.num_rows > _WORST + _LARGEST:
            chosen = worst_and_largest(full[by], _WORST, _LARGEST)
            table, total, which = table.take(chosen), table.num_rows, "the worst and the largest"
        else:
            total = table.num_rows
        caption = f"By {by}"
        section.tables.append(
            new_table(
                caption,
                table.to_pylist(),
                table.column_names,
                fields=ev.reading.fields,
                named=ev.totals.measures.group_by,
                digits=4,
                total=total,
                which=which,
            )
        )
    section.tables += _classes_of_slices(ev)
    section.text.append("JSON has more columns of every slice, and ev.group(value) has all there is of one.")
    return section


def _classes_of_slices(ev: Evaluation) -> list[Table]:
    """What is said of the classes of groups: those that carry the most loss; recall and calibration of each."""
    found = ev.group_per_class
    if found is None or not found.num_rows:
        return []
    by = found.column_names[: found.column_names.index("class")]
    shown = [*by, "class", "support", "loss", "precision", "recall", "f1"]
    caption = "Where the loss is: classes of slices by the sum of their losses"
    present = int(np.count_nonzero(found["support"].to_numpy()))
    top = heaviest(found, _LISTED).to_pylist()
    tables = [new_table(caption, top, shown, digits=4, named=by, total=present)]
    if len(ev.class_names) <= _COLUMNS:
        named, first = f"by {', '.join(by)} and class", _LINES * len(ev.class_names)
        matrices = {"Recall": (found, "recall"), "Calibration error against the rest": (ev.group_classwise, "ece")}
        for caption, (table, name) in matrices.items():
            if table is not None:
                entries = table.slice(0, first).to_pylist()
                tables.append(_matrix(f"{caption}, {named}", entries, by, ev.class_names, name, ev.groups.num_rows))
    return tables


def _size(value: float) -> float:
    return -math.inf if math.isnan(value) else value


def _matrix(caption: str, entries: Any, by: Sequence[str], classes: Sequence[str], name: str, total: int) -> Table:
    """One number of every class (a column) of every group (a line)."""
    lines: dict[tuple[Any, ...], dict[str, float]] = {}
    for entry in entries:
        lines.setdefault(tuple(entry[column] for column in by), {})[entry["class"]] = entry[name]
    rows = [
        [cell_of(value, name=True) for value in line]
        + [cell_of(found.get(each, math.nan), 3, share=name == "recall") for each in classes]
        for line, found in list(lines.items())[:_LINES]
    ]
    return Table(caption, [*map(title_of, by), *classes], rows, max(total, len(lines)))


def _classes(ev: Evaluation) -> Section:
    section = Section("Classes", "classes", _drawn(ev, "classes", "labels", "confusion") if ev.num_rows else [])
    if (table := ev.per_class) is not None:
        entries, total, which = table.to_pylist(), table.num_rows, "first"
        if total > _WORST + _LARGEST:
            order = sorted(range(total), key=lambda i: -_size(entries[i]["support"] * entries[i]["loss"]))
            entries, which = [entries[i] for i in order[: _WORST + _LARGEST]], "with the most of all losses"
        section.tables.append(new_table("Every class", entries, total=total, which=which))
    if ev.confused is not None and ev.confused.num_rows:
        section.tables.append(new_table("Most confused pairs", ev.confused.to_pylist()))
    if ev.classwise is not None:
        caption = "Every class against the rest: calibration and Brier score"
        section.tables.append(new_table(caption, ev.classwise.to_pylist()))
    return section


def _single_rows(ev: Evaluation) -> Section:
    section = Section("Rows to look at", "rows", _drawn(ev, "label_errors"))
    by = ", ".join(ev.totals.measures.group_by)
    tables = {"Highest losses": ev.worst, "Highest losses of each class": ev.worst_per_class}
    tables |= {f"Highest losses by {by}": ev.group_worst}
    tables |= {
        f"Perhaps labeled wrong, by {name.replace('_', ' ')}": each for name, each in (ev.label_errors or {}).items()
    }
    for caption, table in tables.items():
        if table is not None and table.num_rows:
            shown = table.slice(0, 500).to_pylist()
            most = _OF_GROUPS if caption.startswith("Highest losses by") else 500
            named = ev.totals.measures.group_by
            section.tables.append(new_table(caption, shown, named=named, most=most, total=table.num_rows))
    return section


def _numbers(ev: Evaluation, baseline: Baseline | None) -> Section:
    """Every number that there is of all rows, and what has changed since the baseline."""
    fields, section = ev.reading.fields, Section("All numbers", "numbers")
    if baseline is not None:
        changed = [
            {
                "what": fields[name].title, "baseline": baseline.values[name], "now": ev.fields[name], "change": change,
            }
            | dict(zip(("95 % from", "95 % to"), baseline.ci95.get(name, (math.nan, math.nan)), strict=True))
            | {"p": baseline.p_value.get(name, math.nan)}
            for name, change in baseline.delta.items()
        ]  # fmt: skip
        section.tables.append(new_table(f"Since the baseline of {baseline.rows:,} rows, {baseline.path}", changed))
    rows = [
        [cell_of(fields[name].title), cell_of(value, 8, share=fields[name].share), cell_of(name)]
        for name, value in ev.fields.items()
    ]
    caption = "Every number, by the name that it has in ev.fields and in columns of groups"
    section.tables.append(Table(caption, ["what", "value", "name"], rows, len(rows)))
    return section
