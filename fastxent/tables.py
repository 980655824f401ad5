"""What a person sees in a terminal: tables and a progress bar, drawn with rich."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from fastxent.status import EXPLANATION, Status

if TYPE_CHECKING:
    from fastxent.evaluation import Evaluation
    from fastxent.sources import Split

__all__ = ["progress_bar", "show_evaluation"]


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
        console.print(f"warning: {warning}", markup=False)


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
