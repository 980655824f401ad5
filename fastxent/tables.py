"""What a person sees in a terminal: tables and a progress bar, drawn with rich."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from fastxent.status import EXPLANATION, Status
from fastxent.text import printable

if TYPE_CHECKING:
    from fastxent.comparison import Comparison, Difference, Outcome
    from fastxent.evaluation import Evaluation
    from fastxent.sources import Split

__all__ = ["progress_bar", "show_comparison", "show_evaluation"]

#: Groups that a table shows before it says how many more there are.
GROUPS = 20


def show_evaluation(result: Evaluation) -> None:
    """Print the headline numbers of an evaluation."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    for name, value in _lines(result):
        table.add_row(name, value)
    console.print(table)
    for name, count in result.rows["invalid"].items():
        status = Status[name.upper()]
        first = result.first_invalid[name]
        console.print(f"skipped {count:,} rows: {EXPLANATION[status][0]} (first: row {first:,})", markup=False)
    for warning in result.warnings:
        console.print(f"warning: {printable(warning)}", markup=False)


def show_comparison(result: Comparison) -> None:
    """Print what a comparison says: both sides, their difference, then groups."""
    console = Console(highlight=False, soft_wrap=True)
    outcome = result.outcome
    console.print(f"[bold]rows[/bold]        {outcome.rows:,} compared{_others(result)}")
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("", "A", "B", "A - B", "95 % interval", "p"):
        table.add_column(name, justify="right" if name else "left", style=None if name else "bold")
    table.add_row("loss (nats)", f"{outcome.loss['a']:.6g}", f"{outcome.loss['b']:.6g}", *_difference(outcome.delta))
    table.add_row(
        "accuracy", f"{outcome.accuracy['a']:.4%}", f"{outcome.accuracy['b']:.4%}",
        *_difference(outcome.accuracy_delta, 100, " %"),
    )  # fmt: skip
    console.print(table)
    wins, test = outcome.wins, outcome.mcnemar
    ties = f", {wins['ties']:,} alike" if wins["ties"] else ""
    console.print(f"[bold]lower loss[/bold]  A on {wins['a']:,} rows, B on {wins['b']:,}{ties}")
    console.print(
        f"[bold]right[/bold]       both {test.both:,}, only A {test.only_a:,}, only B {test.only_b:,}, neither {test.neither:,}"
        f"  (McNemar p = {test.p_value:.3g}, {test.method})"
    )
    if outcome.clusters is not None:
        console.print(
            f"[bold]clusters[/bold]    {outcome.clusters:,}, by {escape(printable(result.settings['cluster_by']))}"
        )
    for column, groups in result.groups.items():
        console.print(_group_table(column, groups))
        if len(groups) > GROUPS:
            console.print(f"... and {len(groups) - GROUPS:,} more; --json has them all", markup=False)
    console.print(_verdict(outcome), markup=False)
    for warning in result.warnings:
        console.print(f"warning: {printable(warning)}", markup=False)


def _group_table(column: str, groups: dict[str, Outcome]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(Text(printable(column)))
    for name in ("rows", "loss A", "loss B", "A - B", "95 % interval", "p"):
        table.add_column(name, justify="right")
    for value, each in list(groups.items())[:GROUPS]:
        table.add_row(
            Text(printable(value)), f"{each.rows:,}", f"{each.loss['a']:.6g}", f"{each.loss['b']:.6g}",
            *_difference(each.delta),
        )  # fmt: skip
    return table


def _difference(d: Difference, scale: float = 1.0, unit: str = "") -> tuple[str, str, str]:
    low, high = scale * d.ci_low, scale * d.ci_high
    return f"{scale * d.mean:+.4g}{unit}", f"{low:+.4g} to {high:+.4g}{unit}", f"{d.p_value:.3g}"


def _others(result: Comparison) -> str:
    parts = []
    for side, (count, first) in result.only.items():
        if count:
            names = ", ".join(printable(key) for key in first) + (", ..." if count > len(first) else "")
            parts.append(f"{count:,} only in {side.upper()} (id {escape(names)})")
    if result.unscored:
        parts.append(f"{result.unscored:,} not scored on both sides")
    return f"  ({'; '.join(parts)})" if parts else ""


def _verdict(outcome: Outcome) -> str:
    """The comparison in a sentence."""
    d = outcome.delta
    if math.isnan(d.ci_low):
        return "The difference cannot be judged."
    if d.ci_low > 0.0:
        return f"B has the lower loss, by {d.mean:.4g} nats (p = {d.p_value:.2g})."
    if d.ci_high < 0.0:
        return f"A has the lower loss, by {-d.mean:.4g} nats (p = {d.p_value:.2g})."
    return "No difference beyond chance: the interval of the loss difference holds 0."


def _lines(result: Evaluation) -> Iterator[tuple[str, str]]:
    rows = result.rows
    others = [f"{rows['ignored']:,} ignored"] if rows["ignored"] else []
    if invalid := sum(rows["invalid"].values()):
        others.append(f"{invalid:,} invalid")
    yield "rows", f"{rows['scored']:,}" + (f"  ({', '.join(others)} of {rows['read']:,})" if others else "")
    stats = result.loss_stats
    if stats is None or math.isnan(stats.stderr):
        yield "loss", f"{result.loss:.6g} nats"
    else:
        yield "loss", f"{result.loss:.6g} ± {stats.stderr:.2g} nats  ({result.loss / math.log(2):.6g} bits)"
    yield "perplexity", f"{result.perplexity:.6g}"
    if result.accuracy is not None:
        top = [f"top-{k} {value:.4%}" for k, value in result.top_k.items() if k > 1]
        yield "accuracy", f"{result.accuracy:.4%}" + (f"  ({', '.join(top)})" if top else "")
        yield "Brier score", f"{result.brier:.6g}"
    if (calibration := result.calibration) is not None:
        yield "calibration", f"ECE {calibration.ece:.4g}, MCE {calibration.mce:.4g}  (15 bins)"
    if stats is not None:
        shown = {0.05: "5 %", 0.25: "25 %", 0.5: "median", 0.75: "75 %", 0.95: "95 %", 0.99: "99 %"}
        yield "loss quantiles", ", ".join(f"{name} {stats.quantiles[q].value:.4g}" for q, name in shown.items())
        yield "loss range", f"{stats.min:.4g} to {stats.max:.4g}"
    if "seconds" in (run := result.run):
        rate = f"{run['rows_per_second']:,.0f} rows/s, {run['bytes'] / run['seconds'] / 1e9:.2f} GB/s"
        yield "time", f"{run['seconds']:.3f} s  ({rate}, {run['threads']} threads)"


@contextmanager
def progress_bar() -> Iterator[Callable[[Split], None]]:
    """A callback for finished splits that draws rows, rate and time so far after the first second."""
    console = Console(stderr=True)
    state = {"rows": 0, "bytes": 0, "started": time.perf_counter()}
    with console.status("") as status:

        def step(split: Split) -> None:
            state["rows"] += split.num_rows
            state["bytes"] += split.nbytes
            seconds = time.perf_counter() - state["started"]
            status.update(
                f"{state['rows']:,.0f} rows, {state['rows'] / seconds:,.0f} rows/s, "
                f"{state['bytes'] / seconds / 1e9:.2f} GB/s"
            )

        yield step
    sys.stderr.flush()
