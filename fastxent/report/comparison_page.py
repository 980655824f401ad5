"""The page of a comparison: which sections there are and what stands in them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from markupsafe import Markup

from fastxent.base.log_unit import NATS, Unit
from fastxent.report import plots
from fastxent.report.parts import Card, Section, as_number, as_percent, as_signed, interval, list_of_paths, new_table

__all__ = ["comparison_page"]

#: Name, difference, and the ends of its interval.
_Line = tuple[str, float, float, float]


def comparison_page(values: Mapping[str, Any], unit: Unit = NATS) -> Any:
    """Title, subtitle, cards, a leading sentence, and sections."""
    delta, wins, loss = (values[key] for key in ("delta", "wins", "loss"))
    hits, test, accuracy = (values.get(key) for key in ("accuracy_delta", "mcnemar", "accuracy"))
    flips = values.get("permutation")
    cards = [
        Card(
            "Loss of A − loss of B", as_signed(delta["mean"]), interval(delta["ci_low"], delta["ci_high"]), _tone(delta)
        ),
        Card("p", as_number(delta["p_value"], 3), f"paired, {delta['df']:,} degrees of freedom"),
        Card("Loss", f"{as_number(loss['a'], 5)} → {as_number(loss['b'], 5)}", f"A → B, {unit}"),
        Card("Lower loss", f"{wins['a']:,} : {wins['b']:,}", f"rows, A : B; {wins['ties']:,} alike"),
        Card("Rows", f"{values['rows']['compared']:,}", "compared"),
    ]
    if accuracy is not None and hits is not None:
        shares = f"{as_percent(accuracy['a'])} → {as_percent(accuracy['b'])}"
        cards.insert(3, Card("Accuracy", shares, f"A → B, p = {as_number(hits['p_value'], 3)}"))
    if flips is not None:
        kind = "all of them" if flips["exact"] else f"seed {flips['seed']}"
        cards.insert(2, Card("p by sign flips", as_number(flips["p_value"], 3), f"of {flips['replicates']:,}, {kind}"))
    paths = [list_of_paths(values[side].get("paths", [])) for side in "ab"]
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
                | ({"p (flips)": entry["permutation"]["p_value"]} if "permutation" in entry else {})
                | {f"accuracy {side.upper()}": share for side, share in entry.get("accuracy", {}).items()}
            )  # fmt: skip
        where.tables.append(new_table(f"By {column}", entries, digits=4))
    if drawn := _drawn(lines):
        few = (
            f" Of {len(lines) - 1} groups those that differ most for their intervals."
            if len(drawn) == plots.BARS < len(lines)
            else ""
        )
        caption = f"Differences of the mean loss with 95 % intervals.{few}"
        where.figures.append((Markup(plots.difference_plot(drawn, unit)), caption))
    right = Section("Who is right", "right")
    if test is not None:
        fourfold = [
            {"": "A right", "B right": test["both"], "B wrong": test["only_a"]},
            {"": "A wrong", "B right": test["only_b"], "B wrong": test["neither"]},
        ]
        right.tables.append(replace(new_table("Rows by who is right", fourfold), sortable=False))
        right.text.append(f"McNemar's test ({test['method']}): p = {as_number(test['p_value'], 3)}.")
    changed = Section("Rows that changed most", "changed")
    for name, caption in (("improved", "Lower loss in B"), ("regressed", "Higher loss in B")):
        if values.get(name):
            changed.tables.append(
                new_table(
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


def _drawn(lines: list[_Line]) -> list[_Line]:
    """Of all rows and the groups those that there is room for: the first, and what differs most for its interval."""
    finite = [line for line in lines if all(map(math.isfinite, line[1:]))]
    surest = sorted(finite[1:], key=lambda line: -abs(line[1]) / max(line[3] - line[2], math.ulp(line[1])))
    kept = {line[0] for line in surest[: plots.BARS - 1]}
    return [line for i, line in enumerate(finite) if i == 0 or line[0] in kept]


def _tone(delta: Mapping[str, float]) -> str:
    return "good" if delta["ci_low"] > 0 else "bad" if delta["ci_high"] < 0 else "main"


def _verdict(delta: Mapping[str, float], unit: Unit) -> str:
    if math.isnan(delta["ci_low"]):
        return "The difference cannot be judged."
    if delta["ci_low"] > 0:
        return f"B has the lower loss, by {as_number(delta['mean'], 4)} {unit} a row."
    if delta["ci_high"] < 0:
        return f"A has the lower loss, by {as_number(-delta['mean'], 4)} {unit} a row."
    return "No difference beyond chance: the interval of the loss difference holds 0."
