"""The page of an evaluation: which sections there are and what stands in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from fastxent.base.log_unit import Unit
from fastxent.report import plots
from fastxent.report.parts import Card, Section, as_number, as_percent, interval, list_of_paths, new_table, title_of
from fastxent.report.slices import classes_section, columns_of_groups, slices_section

__all__ = ["evaluation_page"]

#: Single rows of slices that are shown.
_OF_SLICES = 200
_INTERNAL = {"schema", "spec", "rows", "run", "warnings", "first_invalid", "settings", "a", "b", "loss_unit"}
_SHOWN = {
    "loss", "perplexity", "accuracy", "brier", "calibration", "per_class", "confused", "confusion", "groups", "worst",
    "worst_per_class", "margins", "label_errors", "weight_sum", "classwise", "weighted_confusion", "auc",
    "average_precision", "group_per_class", "group_classwise", "group_worst", "group_worst_per_class",
    "group_label_errors",
}  # fmt: skip


def evaluation_page(values: Mapping[str, Any], confusion: Any, histogram: Any, unit: Unit) -> Any:
    """Title, subtitle, cards, a leading sentence, and sections."""
    loss = values["loss"]
    cards = [_loss_card(loss, unit)]
    accuracy = values.get("accuracy")
    if accuracy is not None:
        tops = [
            f"top-{key[3:]} {as_percent(value)}"
            for key, value in accuracy.items()
            if key[:3] == "top" and key != "top1"
        ]
        low, high = accuracy.get("ci95", {}).get("top1", (math.nan, math.nan))
        notes = tops if math.isnan(low) else [f"95 %: {as_percent(low)} to {as_percent(high)}", *tops]
        cards.append(Card("Accuracy", as_percent(accuracy["top1"]), ", ".join(notes)))
    cards.append(Card("Perplexity", as_number(values["perplexity"], 5)))
    if (units := values.get("units")) is not None:
        cards.append(Card(f"Bits per {units['column']}", as_number(units["bits"], 4), interval(*units["bits_ci95"])))
    calibration = values.get("calibration")
    if calibration is not None:
        cards.append(
            Card(
                "Calibration error",
                as_number(calibration["ece"], 4),
                f"expected (ECE); largest {as_number(calibration['mce'], 3)}",
            )
        )
    if (area := values.get("auc")) is not None:
        precision = values["average_precision"]["value"]
        cards.append(Card("ROC AUC", as_number(area["value"], 4), f"average precision {as_number(precision, 4)}"))
    if values.get("brier") is not None:
        cards.append(Card("Brier score", as_number(values["brier"], 4)))
    rows = values["rows"]
    out = rows["read"] - rows["scored"]
    cards.append(
        Card(
            "Rows",
            as_number(rows["scored"]),
            f"{out:,} of {rows['read']:,} not scored" if out else "all of them scored",
        )
    )
    paths = values.get("run", {}).get("paths") or values.get("run", {}).get("states") or []
    sections = [
        _shape(values, histogram, unit),
        slices_section(values),
        _classes(values, confusion, unit),
        classes_section(values),
        _rows(values),
        _more(values),
    ]
    lead = "" if rows["scored"] else "No row was scored."
    return "Evaluation", list_of_paths(paths), cards, lead, sections


def _loss_card(loss: Mapping[str, Any], unit: Unit) -> Card:
    note = ""
    if "ci95" in loss and not math.isnan(loss["ci95"][0]):
        note = interval(*loss["ci95"])
    return Card(f"Loss ({unit})", as_number(loss["mean"]), note, "main")


def _shape(values: Mapping[str, Any], histogram: Any, unit: Unit) -> Section:
    section = Section("Loss and calibration", "loss")
    if histogram is not None and len(histogram):
        drawn = plots.loss_histogram(histogram, values["loss"]["mean"], unit)
        if drawn is not None:
            section.figures.append(
                (Markup(drawn), "Losses of the rows. The mean is often carried by few rows far to the right.")
            )
    bins = values.get("calibration", {}).get("bins", [])
    if any(row[2] for row in bins):
        caption = (
            "Does 90 % confidence mean 90 % right? Dots below the dashed line are too sure. A larger dot is more rows."
        )
        section.figures.append((Markup(plots.reliability(bins)), caption))
    quantiles = values["loss"].get("quantiles", {})
    if quantiles and values["rows"]["scored"]:
        names = {"0.5": "median"}
        section.facts = [
            (names.get(q, f"{100 * float(q):g} % of rows below"), f"{as_number(v, 4)} {unit}")
            for q, v in quantiles.items()
        ]
        section.facts.append(
            ("range", f"{as_number(values['loss']['min'], 4)} to {as_number(values['loss']['max'], 4)} {unit}")
        )
    return section


def _flat(entry: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Numbers of nested tables under joined names."""
    flat: dict[str, Any] = {}
    for key, value in entry.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{name} ")
        elif not isinstance(value, list | tuple):
            flat[name] = value
    return flat


def _classes(values: Mapping[str, Any], confusion: Any, unit: Unit) -> Section:
    section = Section("Classes", "classes")
    entries = values.get("per_class")
    if not entries:
        return section
    name = "class" if "class" in entries[0] else "name"
    loss = "loss" if "loss" in entries[0] else "mean_loss"
    names = [str(entry[name]) for entry in entries]
    present = [entry for entry in entries if entry["support"]]
    if present:
        bars = plots.class_bars(
            [str(e[name]) for e in present], [e[loss] for e in present], [e["recall"] for e in present], unit
        )
        more = f" The worst {plots.BARS} of {len(present)} classes." if len(present) > plots.BARS else ""
        section.figures.append((Markup(bars), f"Mean loss of the rows of each class, worst first.{more}"))
    if present and confusion is not None and 1 < len(names) <= plots.CELLS:
        section.figures.append(
            (
                Markup(plots.confusion_map(names, confusion)),
                "Rows by target and predicted class: the stronger the color, the larger the share of its target.",
            )
        )
    if values.get("confused"):
        section.tables.append(new_table("Most confused pairs", values["confused"]))
    section.tables.insert(0, new_table("Every class", entries))
    if values.get("classwise"):
        section.tables.append(
            new_table("Every class against the rest: calibration and Brier score", values["classwise"])
        )
    return section


def _rows(values: Mapping[str, Any]) -> Section:
    section = Section("Rows to look at", "rows")
    if values.get("worst"):
        section.tables.append(new_table("Highest losses", values["worst"]))
    if values.get("worst_per_class"):
        section.tables.append(new_table("Highest losses of each class", values["worst_per_class"]))
    if values.get("group_worst"):
        by = ", ".join(columns_of_groups(values))
        section.tables.append(new_table(f"Highest losses by {by}", values["group_worst"], most=_OF_SLICES))
    errors = values.get("label_errors") or {}
    for by, entries in errors.items() if isinstance(errors, Mapping) else [("score", errors)]:
        if entries:
            section.tables.append(new_table(f"Perhaps labeled wrong, by {by.replace('_', ' ')}", entries))
    return section


def _more(values: Mapping[str, Any]) -> Section:
    """Whatever other numbers there are."""
    rest = {key: value for key, value in values.items() if key not in _INTERNAL | _SHOWN}
    rest = {"weight sum": values["weight_sum"], **rest} if "weight_sum" in values else rest
    facts = [(title_of(name), as_number(value)) for name, value in _flat(rest).items()]
    section = Section("More numbers", "more", facts=facts)
    for name, caption in (
        ("ranking", "Ranking of positives above negatives, with bounds"),
        ("thresholds", "Thresholds"),
    ):
        if values.get(name):
            section.tables.append(new_table(caption, values[name]))
    if (temperature := values.get("temperature")) is not None:
        section.tables.append(new_table("Loss of the logits divided by a temperature", temperature["table"]))
    return section
