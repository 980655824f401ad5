"""From the dictionary of a result to its page: the template, and the sections that every page ends with."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fastxent.base.log_unit import NATS, Unit
from fastxent.base.status import EXPLANATION, Status
from fastxent.base.text import printable
from fastxent.report.comparison_page import comparison_page
from fastxent.report.evaluation_page import evaluation_page
from fastxent.report.parts import Section, as_number, list_of_paths, new_table

__all__ = ["render"]

_HERE = Path(__file__).parent


def render(values: Mapping[str, Any], *, confusion: Any = None, histogram: Any = None, unit: Unit = NATS) -> str:
    """The page of an evaluation or a comparison as text."""
    comparing = str(values.get("schema", "")).startswith("fastxent.comparison")
    if comparing:
        title, subtitle, cards, lead, sections = comparison_page(values, unit)
    else:
        title, subtitle, cards, lead, sections = evaluation_page(values, confusion, histogram, unit)
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


def _skipped(values: Mapping[str, Any], comparing: bool) -> Section:
    section = Section("What was left out", "left-out")
    for side in ("a", "b") if comparing else ("",):
        one = values[side] if side else values
        reasons = {"ignored": "ignored, as ignore_index asks", "zero_weight": "of weight 0: valid, and in no statistic"}
        entries = [{"why": why, "rows": n} for name, why in reasons.items() if (n := one["rows"].get(name))]
        for cause, count in one["rows"]["invalid"].items():
            entries.append(
                {
                    "why": EXPLANATION[Status[cause.upper()]][0],
                    "rows": count,
                    "first row": one.get("first_invalid", {}).get(cause),
                }
            )
        if one.get("left_out"):
            section.tables.append(new_table("Parts that could not be read", one["left_out"]))
        if entries:
            caption = f"Rows of {side.upper()} that were not scored" if side else "Rows that were not scored"
            section.tables.append(
                new_table(caption, entries, ["why", "rows", *(["first row"] if "first row" in entries[-1] else [])])
            )
    if comparing:
        for side in "ab":
            if filtered := values["rows"].get(f"filtered_{side}"):
                section.text.append(f"Left out of {side.upper()} by the filter: {filtered:,} rows.")
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
            facts.append((f"{prefix}read", list_of_paths(paths)))
        facts += [(prefix + name.replace("_", " "), _setting(value)) for name, value in one["spec"].items()]
    facts += [(name.replace("_", " "), _setting(value)) for name, value in values.get("settings", {}).items()]
    for name, value in values.get("run", {}).items():
        if name not in ("paths", "states"):
            facts.append((name.replace("_", " "), as_number(value, 4)))
    return Section("How it was run", "how", facts=facts)


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {each}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value[:20])) + (f", … ({len(value)})" if len(value) > 20 else "")
    return as_number(value)
