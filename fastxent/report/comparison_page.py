"""The page of a comparison: which sections there are and what stands in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastxent.comparison.result import Comparison
from fastxent.report.parts import (
    Card,
    Page,
    Section,
    as_number,
    as_percent,
    as_signed,
    interval,
    list_of_paths,
    new_table,
)  # fmt: skip
from fastxent.report.pictures.registry import OF_COMPARISON

__all__ = ["comparison_page"]


def comparison_page(result: Comparison) -> Page:
    """What stands on the page of a comparison."""
    paths = [list_of_paths(side.run.get("paths", [])) or "arrays" for side in (result.a, result.b)]
    drawn = {name: picture for name, make in OF_COMPARISON.items() if (picture := make(result)) is not None}
    where = Section("Where they differ", "groups", list(drawn.values()))
    for column, found in result.groups.items():
        entries = [
            {
                column: name, "rows": each.rows, "loss A": each.loss["a"], "loss B": each.loss["b"],
                "A − B": each.delta.mean, "low": each.delta.ci_low, "high": each.delta.ci_high, "p": each.delta.p_value,
            }
            | ({"p (flips)": each.permutation.p_value} if each.permutation is not None else {})
            | {f"accuracy {side.upper()}": share for side, share in (each.accuracy or {}).items()}
            for name, each in found.items()
        ]  # fmt: skip
        where.tables.append(new_table(f"By {column}", entries, digits=4))
    right = Section("Who is right", "right")
    if (test := result.outcome.mcnemar) is not None:
        fourfold = [
            {"rows": "A right", "B right": test.both, "B wrong": test.only_a},
            {"rows": "A wrong", "B right": test.only_b, "B wrong": test.neither},
        ]
        right.tables.append(new_table("Rows by who is right", fourfold))
        right.text.append(f"McNemar's test ({test.method}): p = {as_number(test.p_value, 3)}.")
    entries = [
        {
            "statistic": name, "A": each.a, "B": each.b, "A − B": each.delta.mean, "low": each.delta.ci_low,
            "high": each.delta.ci_high, "p": each.delta.p_value,
        }
        for name, each in result.outcome.statistics.items()
    ]  # fmt: skip
    if entries:
        right.tables.append(new_table("Other statistics of the rows that were compared", entries, digits=4))
    changed = Section("Rows that changed most", "changed")
    for rows, caption in ((result.improved, "Lower loss in B"), (result.regressed, "Higher loss in B")):
        if rows:
            entries = [{"id": _shown(key), "loss A": a, "loss B": b, "A − B": d} for key, a, b, d in rows]
            changed.tables.append(new_table(caption, entries))
    return Page("Comparison", f"A: {paths[0]}  ·  B: {paths[1]}", list(_cards(result)), [where, right, changed])


def _shown(key: Any) -> Any:
    return (
        key if isinstance(key, int | str) and not isinstance(key, bool) else key if isinstance(key, list) else str(key)
    )


def _cards(result: Comparison) -> Iterator[Card]:
    outcome, delta = result.outcome, result.delta
    tone = "good" if delta.ci_low > 0 else "bad" if delta.ci_high < 0 else "main"
    yield Card("Loss of A − loss of B", as_signed(delta.mean), interval(delta.ci_low, delta.ci_high), tone)
    yield Card("p", as_number(delta.p_value, 3), f"paired, {delta.df:,} degrees of freedom")
    if (flips := result.permutation) is not None:
        kind = "all of them" if flips.exact else f"seed {flips.seed}"
        yield Card("p by sign flips", as_number(flips.p_value, 3), f"of {flips.replicates:,}, {kind}")
    yield Card(
        "Loss", f"{as_number(outcome.loss['a'], 5)} → {as_number(outcome.loss['b'], 5)}", f"A → B, {result.unit}"
    )
    if outcome.accuracy is not None and outcome.accuracy_delta is not None:
        shares = f"{as_percent(outcome.accuracy['a'])} → {as_percent(outcome.accuracy['b'])}"
        yield Card("Accuracy", shares, f"A → B, p = {as_number(outcome.accuracy_delta.p_value, 3)}")
    wins = outcome.wins
    yield Card("Lower loss", f"{wins['a']:,} : {wins['b']:,}", f"rows, A : B; {wins['ties']:,} alike")
    yield Card("Rows", f"{result.num_rows:,}", "compared")
