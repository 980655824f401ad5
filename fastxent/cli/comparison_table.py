"""What a person sees of a comparison in a terminal, drawn with rich."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from fastxent.base.text import printable
from fastxent.cli.tables import line_width, print_fitted, wide_console
from fastxent.results.headlines import cell_text, summary_lines

if TYPE_CHECKING:
    from fastxent.comparison.differences import Difference, Outcome
    from fastxent.comparison.result import Comparison
    from fastxent.comparison.several import Comparisons

__all__ = ["as_markdown", "show_comparison", "show_comparisons"]

#: Groups that a table shows before it says how many more there are.
GROUPS = 20
#: Columns that narrow terminals do without, the first ones first.
_SPARED = ("B", "A", "loss B", "loss A", "p", "rows")
#: Rows that changed most, each way.
CHANGED = 3


def show_comparisons(result: Comparisons) -> None:
    """Print one comparison, or of several a line each."""
    if len(result) == 1:
        show_comparison(next(iter(result.results.values())))
        return
    console = wide_console()
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("B", overflow="fold", max_width=60)
    for name in ("rows", "loss A", "loss B", "A - B", "95 % interval", "p", "p (Holm)"):
        table.add_column(name, justify="right", no_wrap=True)
    for name, each in result.results.items():
        loss, adjusted = each.outcome.loss, result.p_holm[name]
        table.add_row(
            Text(printable(name)), f"{each.num_rows:,}", f"{loss['a']:.6g}", f"{loss['b']:.6g}",
            *_difference(each.delta), "–" if math.isnan(adjusted) else f"{adjusted:.3g}",
        )  # fmt: skip
    print_fitted(console, table, _SPARED[2:])  # "B" is a name here
    better = [name for name, each in result.results.items() if each.delta.mean > 0.0 and result.p_holm[name] < 0.05]
    told = ", ".join(map(printable, better)) if better else "none"
    sentence = f"Lower loss than A beyond chance, with all of them looked at: {told}."
    console.print(textwrap.fill(sentence, line_width(console)))


def as_markdown(result: Comparisons, failed: list[str]) -> str:
    """The comparisons as Markdown."""
    from fastxent.results.markdown import markdown

    tables = [("compared with the first", result.table, len(result))]
    lines = []
    if len(result) == 1:
        single = next(iter(result.results.values()))
        lines = [("rows", f"{single.num_rows:,} compared{_others(single)}")]
        lines.append(("verdict", _verdict(single.outcome, str(single.unit))))
        tables += [("by group", single.per_group, single.per_group.num_rows)] if single.groups else []
    return markdown("fastxent compare", lines, tables, result.warnings, failed)


def show_comparison(result: Comparison) -> None:
    """Print what a comparison says: both sides, their difference, then groups."""
    console = wide_console()
    outcome = result.outcome

    def line(name: str, text: str) -> None:
        for shown, part in summary_lines([(f"{name:<10}", text)], line_width(console)):
            console.print(Text.assemble((shown, "bold"), part))

    line("rows", f"{outcome.rows:,} compared{_others(result)}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", "A", "B", "A - B", "95 % interval", "p"):
        table.add_column(name, justify="right" if name else "left", style=None if name else "bold")
    table.add_row(
        f"loss ({result.unit})", f"{outcome.loss['a']:.6g}", f"{outcome.loss['b']:.6g}", *_difference(outcome.delta)
    )
    if outcome.accuracy is not None and outcome.accuracy_delta is not None:
        table.add_row(
            "accuracy", f"{outcome.accuracy['a']:.4%}", f"{outcome.accuracy['b']:.4%}",
            *_difference(outcome.accuracy_delta, 100, " %"),
        )  # fmt: skip
    for name, each in outcome.shown_statistics:
        table.add_row(name, f"{each.a:.6g}", f"{each.b:.6g}", *_difference(each.delta))
    print_fitted(console, table, _SPARED)
    if (test := result.permutation) is not None:
        kind = "all" if test.exact else f"seed {test.seed}"
        line("sign flips", f"p = {test.p_value:.3g} of {test.replicates:,} ({kind})")
    wins = outcome.wins
    ties = f", {wins['ties']:,} alike" if wins["ties"] else ""
    line("lower loss", f"A on {wins['a']:,} rows, B on {wins['b']:,}{ties}")
    if (right := outcome.mcnemar) is not None:
        split = f"both {right.both:,}, only A {right.only_a:,}, only B {right.only_b:,}, neither {right.neither:,}"
        line("right", f"{split}  (McNemar p = {right.p_value:.3g}, {right.method})")
    if outcome.clusters is not None:
        line("clusters", f"{outcome.clusters:,}, by {printable(result.settings['cluster_by'])}")
    for column, groups in result.groups.items():
        print_fitted(console, _group_table(column, groups), _SPARED)
        if len(groups) > GROUPS:
            console.print(f"... and {len(groups) - GROUPS:,} more; --json has them all")
    for title, rows in (("lower loss in B", result.improved), ("higher loss in B", result.regressed)):
        if rows:
            print_fitted(console, _changed_table(title, rows[:CHANGED]), _SPARED)
    console.print(textwrap.fill(_verdict(outcome, str(result.unit)), line_width(console)))


def _group_table(column: str, groups: dict[str, Outcome]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(Text(printable(column)), overflow="fold", max_width=60)
    flipped = any(each.permutation is not None for each in groups.values())
    for name in ("rows", "loss A", "loss B", "A - B", "95 % interval", "p", *(["p (flips)"] if flipped else [])):
        table.add_column(name, justify="right", no_wrap=True)
    for value, each in list(groups.items())[:GROUPS]:
        table.add_row(
            Text(cell_text(value)), f"{each.rows:,}", f"{each.loss['a']:.6g}", f"{each.loss['b']:.6g}",
            *_difference(each.delta), *([] if each.permutation is None else [f"{each.permutation.p_value:.3g}"]),
        )  # fmt: skip
    return table


def _changed_table(title: str, rows: list[tuple[Any, float, float, float]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(title, overflow="fold", max_width=60)
    for name in ("loss A", "loss B", "A - B"):
        table.add_column(name, justify="right")
    for key, la, lb, d in rows:
        parts = key if isinstance(key, list) else [key]
        table.add_row(Text(", ".join(map(cell_text, parts))), f"{la:.6g}", f"{lb:.6g}", f"{d:+.4g}")
    return table


def _difference(d: Difference, scale: float = 1.0, unit: str = "") -> tuple[str, str, str]:
    mean = f"{scale * d.mean:+.4g}{unit}"
    if math.isnan(d.p_value):
        return mean, "–", "–"
    return mean, f"{scale * d.ci_low:+.4g} to {scale * d.ci_high:+.4g}{unit}", f"{d.p_value:.3g}"


def _others(result: Comparison) -> str:
    parts = []
    for side, (count, first) in result.only.items():
        if count:
            names = ", ".join(map(cell_text, first)) + (", ..." if count > len(first) else "")
            parts.append(f"{count:,} only in {side.upper()} (id {names})")
    if result.unscored:
        parts.append(f"{result.unscored:,} not scored on both sides")
    if result.zero_weight:
        parts.append(f"{result.zero_weight:,} of weight 0")
    if result.filtered:
        parts.append("the filter left out " + " and ".join(f"{n:,} of {s.upper()}" for s, n in result.filtered.items()))
    return f"  ({'; '.join(parts)})" if parts else ""


def _verdict(outcome: Outcome, unit: str) -> str:
    """The comparison in a sentence."""
    d = outcome.delta
    if math.isnan(d.ci_low):
        return "The difference cannot be judged."
    if d.ci_low > 0.0:
        return f"B has the lower loss, by {d.mean:.4g} {unit} (p = {d.p_value:.2g})."
    if d.ci_high < 0.0:
        return f"A has the lower loss, by {-d.mean:.4g} {unit} (p = {d.p_value:.2g})."
    return "No difference beyond chance: the interval of the loss difference holds 0."
