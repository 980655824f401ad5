"""From the dictionary of a result to its page: which sections there are and what stands in them."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fastxent.report import plots
from fastxent.status import EXPLANATION, Status
from fastxent.summary import group_headlines
from fastxent.text import printable
from fastxent.unit import NATS, Unit

__all__ = ["render"]

_HERE = Path(__file__).parent
#: Rows of a table that are shown; JSON has them all.
ROWS = 500

_PERCENT = {
    "accuracy", "accuracy_low", "accuracy_high", "accuracy A", "accuracy B", "precision", "recall", "f1", "confidence",
    "p_target", "share",
}  # fmt: skip
_TITLES = {
    "mean_loss": "loss",
    "p_target": "p(target)",
    "f1": "F1",
    "ece": "ECE",
    "brier": "Brier",
    "stderr": "std. error",
    "ci_low": "from",
    "ci_high": "to",
    "accuracy_low": "from",
    "accuracy_high": "to",
    "q50": "median",
    "q95": "95 % below",
    "auc": "ROC AUC",
    "d2": "D2",
    "mrr": "mean reciprocal rank",
    "classwise ece": "ECE, mean over classes",
    "brier scaled": "Brier score on [0, 1]",
}
_OF_GROUP = (
    "count", "weight", "loss", "ci_low", "ci_high", "accuracy", "accuracy_low", "accuracy_high", "ece", "brier", "d2",
    "auc", "bits_per_unit", "entropy", "q50", "q95",
)  # fmt: skip
_INTERNAL = {"schema", "spec", "rows", "run", "warnings", "first_invalid", "settings", "a", "b", "loss_unit"}
_SHOWN = {
    "loss", "perplexity", "accuracy", "brier", "calibration", "per_class", "confused", "confusion", "groups", "worst",
    "worst_per_class", "margins", "label_errors", "weight_sum", "classwise", "weighted_confusion",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table: its text, what it is sorted by, and whether it is a number."""

    text: str
    key: str
    number: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be sorted; ``total`` counts the rows that there are."""

    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    total: int
    sortable: bool = True


@dataclass(frozen=True, slots=True)
class Card:
    """A headline number, with a line beneath; ``tone`` colors it."""

    name: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(slots=True)
class Section:
    """A heading with plots, sentences, tables and pairs of name and value."""

    title: str
    anchor: str
    figures: list[tuple[Markup, str]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.figures or self.text or self.tables or self.facts)


def render(values: Mapping[str, Any], *, confusion: Any = None, histogram: Any = None, unit: Unit = NATS) -> str:
    """The page of an evaluation or a comparison as text."""
    comparing = str(values.get("schema", "")).startswith("fastxent.comparison")
    if comparing:
        title, subtitle, cards, lead, sections = _comparison(values, unit)
    else:
        title, subtitle, cards, lead, sections = _evaluation(values, confusion, histogram, unit)
    sections += [_skipped(values, comparing), _how(values, comparing)]
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    script = (_HERE / "sort.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return environment.get_template("page.html.j2").render(
        title=title,
        subtitle=subtitle,
        cards=cards,
        lead=lead,
        warnings=list(values.get("warnings", [])),
        sections=[section for section in sections if section],
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_digest=digest,
        version=values.get("run", {}).get("version", ""),
    )


def _finalize(value: Any) -> Any:
    """What goes into the page: markup of ours as it is, anything else without control characters (and escaped)."""
    return value if isinstance(value, Markup) else printable(value)


def _number(value: Any, digits: int = 6) -> str:
    if isinstance(value, bool) or value is None:
        return "–" if value is None else str(value).lower()
    if isinstance(value, int):
        return _minus(f"{value:,}")
    if isinstance(value, float):
        return "–" if math.isnan(value) else _minus(f"{value:.{digits}g}".replace("inf", "∞"))
    return str(value)


def _minus(text: str) -> str:
    """The sign as it is printed; that of an exponent stays as it can be read back."""
    return f"−{text[1:]}" if text[:1] == "-" else text


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.2%}".replace("%", " %")


def _signed(value: float, unit: str = "") -> str:
    return "–" if math.isnan(value) else _minus(f"{value:+.4g}{unit}")


def _cell(column: str, value: Any, digits: int) -> Cell:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number:
        text = (
            "null" if value is None else ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        )
        return Cell(text, text, False)
    identity = isinstance(value, int) and column in ("row", "id", "target", "predicted", "fold")
    digits = 3 if column in ("p", "p by sign flips") else digits
    text = _percent(value) if column in _PERCENT else str(value) if identity else _number(value, digits)
    return Cell(text, repr(float(value)) if not math.isnan(value) else "", True)


def _table(
    caption: str, entries: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None, *, digits: int = 5
) -> Table:
    names = list(columns or dict.fromkeys(name for entry in entries[:ROWS] for name in entry))
    rows = [[_cell(name, entry.get(name), digits) for name in names] for entry in entries[:ROWS]]
    return Table(caption, [_TITLES.get(name, name.replace("_", " ")) for name in names], rows, len(entries))


def _interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"95 %: {_number(low, 4)} to {_number(high, 4)}"


# --- an evaluation


def _evaluation(values: Mapping[str, Any], confusion: Any, histogram: Any, unit: Unit) -> Any:
    loss = values["loss"]
    cards = [_loss_card(loss, unit)]
    accuracy = values.get("accuracy")
    if accuracy is not None:
        tops = [
            f"top-{key[3:]} {_percent(value)}" for key, value in accuracy.items() if key[:3] == "top" and key != "top1"
        ]
        low, high = accuracy.get("ci95", {}).get("top1", (math.nan, math.nan))
        notes = tops if math.isnan(low) else [f"95 %: {_percent(low)} to {_percent(high)}", *tops]
        cards.append(Card("Accuracy", _percent(accuracy["top1"]), ", ".join(notes)))
    cards.append(Card("Perplexity", _number(values["perplexity"], 5)))
    if (units := values.get("units")) is not None:
        cards.append(Card(f"Bits per {units['column']}", _number(units["bits"], 4), _interval(*units["bits_ci95"])))
    calibration = values.get("calibration")
    if calibration is not None:
        cards.append(
            Card(
                "Calibration error",
                _number(calibration["ece"], 4),
                f"expected (ECE); largest {_number(calibration['mce'], 3)}",
            )
        )
    if values.get("brier") is not None:
        cards.append(Card("Brier score", _number(values["brier"], 4)))
    rows = values["rows"]
    out = rows["ignored"] + sum(rows["invalid"].values())
    cards.append(
        Card(
            "Rows", _number(rows["scored"]), f"{out:,} of {rows['read']:,} not scored" if out else "all of them scored"
        )
    )
    paths = values.get("run", {}).get("paths") or values.get("run", {}).get("states") or []
    sections = [
        _shape(values, histogram, unit),
        _groups(values),
        _classes(values, confusion, unit),
        _rows(values),
        _more(values),
    ]
    return "Evaluation", _paths(paths), cards, "", sections


def _loss_card(loss: Mapping[str, Any], unit: Unit) -> Card:
    note = ""
    if "ci95" in loss and not math.isnan(loss["ci95"][0]):
        note = _interval(*loss["ci95"])
    return Card(f"Loss ({unit})", _number(loss["mean"]), note, "main")


def _paths(paths: Sequence[str]) -> str:
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


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
    if quantiles:
        names = {"0.5": "median"}
        section.facts = [
            (names.get(q, f"{100 * float(q):g} % of rows below"), f"{_number(v, 4)} {unit}")
            for q, v in quantiles.items()
        ]
        section.facts.append(
            ("range", f"{_number(values['loss']['min'], 4)} to {_number(values['loss']['max'], 4)} {unit}")
        )
    return section


def _groups(values: Mapping[str, Any]) -> Section:
    section = Section("Slices", "slices")
    groups = values.get("groups")
    if isinstance(groups, Mapping):
        for column, found in groups.items():
            section.tables.append(
                _table(f"By {column}", [{column: name, **_flat(entry)} for name, entry in found.items()])
            )
    elif groups:
        margins: dict[str, list[Any]] = {}
        for entry in values.get("margins", ()):
            margins.setdefault(next(iter(entry)), []).append(entry)
        for column, entries in margins.items():
            section.tables.append(_group_table(f"By {column}", entries))
        by = list(groups[0])[: list(groups[0]).index("count")] if "count" in groups[0] else []
        section.tables.append(_group_table(f"By {', '.join(by)}" if by else "By group", groups))
    if section.tables:
        section.text.append("Choose a heading of the table to sort by it. JSON has more columns.")
    return section


def _group_table(caption: str, groups: Sequence[Mapping[str, Any]]) -> Table:
    return _table(caption, groups, group_headlines(list(groups[0]), _OF_GROUP), digits=4)


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
    if confusion is not None and 1 < len(names) <= plots.CELLS:
        section.figures.append(
            (
                Markup(plots.confusion_map(names, confusion)),
                "Rows by target and predicted class: the stronger the color, the larger the share of its target.",
            )
        )
    if values.get("confused"):
        section.tables.append(_table("Most confused pairs", values["confused"]))
    section.tables.insert(0, _table("Every class", entries))
    if values.get("classwise"):
        section.tables.append(_table("Every class against the rest: calibration and Brier score", values["classwise"]))
    return section


def _rows(values: Mapping[str, Any]) -> Section:
    section = Section("Rows to look at", "rows")
    if values.get("worst"):
        section.tables.append(_table("Highest losses", values["worst"]))
    if values.get("worst_per_class"):
        section.tables.append(_table("Highest losses of each class", values["worst_per_class"]))
    errors = values.get("label_errors") or {}
    for by, entries in errors.items() if isinstance(errors, Mapping) else [("score", errors)]:
        if entries:
            section.tables.append(_table(f"Perhaps labeled wrong, by {by.replace('_', ' ')}", entries))
    return section


def _more(values: Mapping[str, Any]) -> Section:
    """Whatever other numbers there are."""
    rest = {key: value for key, value in values.items() if key not in _INTERNAL | _SHOWN}
    rest = {"weight sum": values["weight_sum"], **rest} if "weight_sum" in values else rest
    facts = [(_TITLES.get(name, name), _number(value)) for name, value in _flat(rest).items()]
    section = Section("More numbers", "more", facts=facts)
    for name, caption in (
        ("ranking", "Ranking of positives above negatives, with bounds"),
        ("thresholds", "Thresholds"),
    ):
        if values.get(name):
            section.tables.append(_table(caption, values[name]))
    if (temperature := values.get("temperature")) is not None:
        section.tables.append(_table("Loss of the logits divided by a temperature", temperature["table"]))
    return section


# --- a comparison


def _comparison(values: Mapping[str, Any], unit: Unit) -> Any:
    delta, wins, loss = (values[key] for key in ("delta", "wins", "loss"))
    hits, test, accuracy = (values.get(key) for key in ("accuracy_delta", "mcnemar", "accuracy"))
    flips = values.get("permutation")
    cards = [
        Card(
            "Loss of A − loss of B", _signed(delta["mean"]), _interval(delta["ci_low"], delta["ci_high"]), _tone(delta)
        ),
        Card("p", _number(delta["p_value"], 3), f"paired, {delta['df']:,} degrees of freedom"),
        Card("Loss", f"{_number(loss['a'], 5)} → {_number(loss['b'], 5)}", f"A → B, {unit}"),
        Card("Lower loss", f"{wins['a']:,} : {wins['b']:,}", f"rows, A : B; {wins['ties']:,} alike"),
        Card("Rows", f"{values['rows']['compared']:,}", "compared"),
    ]
    if accuracy is not None and hits is not None:
        shares = f"{_percent(accuracy['a'])} → {_percent(accuracy['b'])}"
        cards.insert(3, Card("Accuracy", shares, f"A → B, p = {_number(hits['p_value'], 3)}"))
    if flips is not None:
        kind = "all of them" if flips["exact"] else f"seed {flips['seed']}"
        cards.insert(2, Card("p by sign flips", _number(flips["p_value"], 3), f"of {flips['replicates']:,}, {kind}"))
    paths = [_paths(values[side].get("paths", [])) for side in "ab"]
    where = Section("Where they differ", "groups")
    lines = [("all rows", delta["mean"], delta["ci_low"], delta["ci_high"])]
    for column, found in values.get("groups", {}).items():
        entries = []
        for name, entry in found.items():
            each = entry["delta"]
            lines.append((f"{column}: {name}", each["mean"], each["ci_low"], each["ci_high"]))
            entries.append(
                {
                    column: name, "rows": entry["rows"], "loss A": entry["loss"]["a"], "loss B": entry["loss"]["b"],
                    "A − B": each["mean"], "low": each["ci_low"], "high": each["ci_high"], "p": each["p_value"],
                }
                | ({"p by sign flips": entry["permutation"]["p_value"]} if "permutation" in entry else {})
                | {f"accuracy {side.upper()}": share for side, share in entry.get("accuracy", {}).items()}
            )  # fmt: skip
        where.tables.append(_table(f"By {column}", entries))
    if any(all(map(math.isfinite, line[1:])) for line in lines):
        where.figures.append(
            (Markup(plots.difference_plot(lines, unit)), "Differences of the mean loss with 95 % intervals.")
        )
    right = Section("Who is right", "right")
    if test is not None:
        fourfold = [
            {"": "A right", "B right": test["both"], "B wrong": test["only_a"]},
            {"": "A wrong", "B right": test["only_b"], "B wrong": test["neither"]},
        ]
        right.tables.append(replace(_table("Rows by who is right", fourfold), sortable=False))
        right.text.append(f"McNemar's test ({test['method']}): p = {_number(test['p_value'], 3)}.")
    changed = Section("Rows that changed most", "changed")
    for name, caption in (("improved", "Lower loss in B"), ("regressed", "Higher loss in B")):
        if values.get(name):
            changed.tables.append(
                _table(
                    caption,
                    [
                        {"id": e["id"], "loss A": e["loss_a"], "loss B": e["loss_b"], "A − B": e["delta"]}
                        for e in values[name]
                    ],
                )
            )
    return (
        "Comparison",
        f"A: {paths[0] or 'arrays'}  ·  B: {paths[1] or 'arrays'}",
        cards,
        _verdict(delta, unit),
        [where, right, changed],
    )


def _tone(delta: Mapping[str, float]) -> str:
    return "good" if delta["ci_low"] > 0 else "bad" if delta["ci_high"] < 0 else "main"


def _verdict(delta: Mapping[str, float], unit: Unit) -> str:
    if math.isnan(delta["ci_low"]):
        return "The difference cannot be judged."
    if delta["ci_low"] > 0:
        return f"B has the lower loss, by {_number(delta['mean'], 4)} {unit} a row."
    if delta["ci_high"] < 0:
        return f"A has the lower loss, by {_number(-delta['mean'], 4)} {unit} a row."
    return "No difference beyond chance: the interval of the loss difference holds 0."


# --- both


def _skipped(values: Mapping[str, Any], comparing: bool) -> Section:
    section = Section("What was left out", "left-out")
    for side in ("a", "b") if comparing else ("",):
        one = values[side] if side else values
        entries = (
            [{"why": "ignored, as ignore_index asks", "rows": one["rows"]["ignored"]}] if one["rows"]["ignored"] else []
        )
        for cause, count in one["rows"]["invalid"].items():
            entries.append(
                {
                    "why": EXPLANATION[Status[cause.upper()]][0],
                    "rows": count,
                    "first row": one.get("first_invalid", {}).get(cause),
                }
            )
        if one.get("left_out"):
            section.tables.append(_table("Parts that could not be read", one["left_out"]))
        if entries:
            caption = f"Rows of {side.upper()} that were not scored" if side else "Rows that were not scored"
            section.tables.append(
                _table(caption, entries, ["why", "rows", *(["first row"] if "first row" in entries[-1] else [])])
            )
    if comparing:
        for side in "ab":
            only = values["rows"][f"only_{side}"]
            if only["count"]:
                names = ", ".join(map(str, only["first"])) + (", …" if only["count"] > len(only["first"]) else "")
                section.text.append(f"Only in {side.upper()}: {only['count']:,} rows (id {names}).")
        if values["rows"]["unscored"]:
            section.text.append(f"Not scored on both sides: {values['rows']['unscored']:,} rows.")
    if not section:
        section.text.append("Nothing: every row that was read is in these numbers.")
    return section


def _how(values: Mapping[str, Any], comparing: bool) -> Section:
    facts: list[tuple[str, str]] = []
    for side in ("a", "b") if comparing else ("",):
        one = values[side] if side else values
        prefix = f"{side.upper()}: " if side else ""
        paths = one.get("paths") if side else values.get("run", {}).get("paths") or values.get("run", {}).get("states")
        if paths:
            facts.append((f"{prefix}read", _paths(paths)))
        facts += [(prefix + name.replace("_", " "), _setting(value)) for name, value in one["spec"].items()]
    facts += [(name.replace("_", " "), _setting(value)) for name, value in values.get("settings", {}).items()]
    for name, value in values.get("run", {}).items():
        if name not in ("paths", "states"):
            facts.append((name.replace("_", " "), _number(value, 4)))
    return Section("How it was run", "how", facts=facts)


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {each}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value[:20])) + (f", … ({len(value)})" if len(value) > 20 else "")
    return _number(value)
