"""From a result to its page: the template, and the sections that every page ends with."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from fastxent.base.status import EXPLANATION, Status
from fastxent.base.text import printable
from fastxent.comparison.baseline import Baseline
from fastxent.comparison.result import Comparison
from fastxent.report.comparison_page import comparison_page
from fastxent.report.evaluation_page import evaluation_page
from fastxent.report.parts import Section, as_number, list_of_paths, new_table
from fastxent.report.svg import svg_of
from fastxent.report.verdict import judge_comparison, judge_evaluation
from fastxent.results.evaluation import Evaluation
from fastxent.results.gates import Gate

__all__ = ["render"]

_HERE = Path(__file__).parent
#: Facts of a run that stand first.
_FIRST = ("command", "finished", "version", "columns")


def render(result: Evaluation | Comparison, gates: Sequence[Gate] = (), baseline: Baseline | None = None) -> str:
    """The page of an evaluation, beside a baseline if there is one, or of a comparison as text."""
    if isinstance(result, Comparison):
        page, verdict = comparison_page(result), judge_comparison(result, gates)
        sides = {"A: ": result.a, "B: ": result.b}
    else:
        page, verdict = evaluation_page(result, baseline), judge_evaluation(result, gates, baseline)
        sides = {"": result}
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    environment.filters["svg"] = svg_of
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(
        page=page,
        verdict=verdict,
        warnings=result.warnings,
        sections=[each for each in (*page.sections, _left_out(result, sides), _how(result, sides)) if each],
        style=Markup((_HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        version=result.run.get("version", ""),
    )


def _finalize(value: Any) -> Any:
    """What goes into the page: markup of ours as it is, anything else without control characters (and escaped)."""
    return value if isinstance(value, Markup) else printable(value)


def _left_out(result: Evaluation | Comparison, sides: Mapping[str, Evaluation]) -> Section:
    section = Section("What was left out", "left-out")
    for side, ev in sides.items():
        rows = ev.rows
        reasons = {"ignored": "ignored, as ignore_index asks", "zero_weight": "of weight 0: valid, and in no statistic"}
        entries = [{"why": why, "rows": n, "first row": None} for name, why in reasons.items() if (n := rows.get(name))]
        for cause, count in rows["invalid"].items():
            why, first = EXPLANATION[Status[cause.upper()]][0], ev.first_invalid.get(cause)
            entries.append({"why": why, "rows": count, "first row": first})
        if ev.left_out:
            section.tables.append(new_table("Parts that could not be read", [left.to_dict() for left in ev.left_out]))
        if entries:
            known = ["why", "rows"] + ["first row"] * any(entry["first row"] is not None for entry in entries)
            caption = f"Rows of {side[0]} that were not scored" if side else "Rows that were not scored"
            section.tables.append(new_table(caption, entries, known))
    if isinstance(result, Comparison):
        section.text += list(_unpaired(result))
    if not section:
        section.text.append("Nothing: every row that was read is in these numbers.")
    return section


def _unpaired(result: Comparison) -> Any:
    for side, count in result.filtered.items():
        if count:
            yield f"Left out of {side.upper()} by the filter: {count:,} rows."
    for side, only in result.to_dict()["rows"].items():
        if side.startswith("only_") and only["count"]:
            names = ", ".join(map(str, only["first"])) + (", …" if only["count"] > len(only["first"]) else "")
            yield f"Only in {side[-1].upper()}: {only['count']:,} rows (id {names})."
    if result.unscored:
        yield f"Not scored on both sides: {result.unscored:,} rows."


def _how(result: Evaluation | Comparison, sides: Mapping[str, Evaluation]) -> Section:
    run = {name: result.run[name] for name in _FIRST if name in result.run} | result.run
    facts = [(name, _setting(value)) for name, value in run.items() if name not in ("paths", "states", "version")]
    facts.insert(sum(name in _FIRST for name, _ in facts), ("fastxent", str(run.get("version", ""))))
    for side, ev in sides.items():
        if paths := ev.run.get("paths") or ev.run.get("states"):
            facts.append((f"{side}read", list_of_paths(paths)))
        spec = ev.totals.spec
        settings = {"task": spec.task, "scores": spec.form, "num_classes": spec.num_classes} | spec.to_dict()
        settings |= {} if isinstance(result, Comparison) else ev.totals.measures.to_dict()
        facts += [(side + name.replace("_", " "), _setting(value)) for name, value in settings.items()]
    settings = result.settings if isinstance(result, Comparison) else {}
    facts += [(name.replace("_", " "), _setting(value)) for name, value in settings.items()]
    return Section("How it was run", "how", facts=[(name.replace("_", " "), value) for name, value in facts])


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_setting(each)}" for key, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_setting, value[:20])) + (f", … ({len(value)})" if len(value) > 20 else "")
    return as_number(value)
