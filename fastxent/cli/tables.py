"""What a person sees in a terminal: tables and a progress bar, drawn with rich."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fastxent.status import EXPLANATION, Status
from fastxent.summary import cell_text, headlines, shown_tables
from fastxent.text import printable

if TYPE_CHECKING:
    from fastxent.evaluation import Evaluation
    from fastxent.sources import Split

__all__ = ["progress_bar", "show_evaluation"]


def show_evaluation(result: Evaluation) -> None:
    """Print the headline numbers of an evaluation, and the tables that were asked for."""
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = 200
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    for name, value in headlines(result):
        table.add_row(Text(name), Text(value))
    console.print(table)
    for title, rows, total in shown_tables(result):
        console.print(Text(f"\n{printable(title)}", "bold"))
        console.print(_rich_table(rows))
        if total > rows.num_rows:
            console.print(f"... {total - rows.num_rows:,} more; --json FILE has them all")
    for name, count in result.rows["invalid"].items():
        status = Status[name.upper()]
        first = result.first_invalid[name]
        console.print(f"skipped {count:,} rows: {EXPLANATION[status][0]} (first: row {first:,})")
    for warning in result.warnings:
        console.print(f"warning: {printable(warning)}")


def _rich_table(rows: Any) -> Table:
    """An Arrow table; numbers to the right."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in rows.column_names:
        kind = str(rows.schema.field(name).type)
        table.add_column(Text(printable(name)), justify="left" if kind in ("string", "bool") else "right", no_wrap=True)
    for row in rows.to_pylist():
        table.add_row(*(Text(cell_text(value)) for value in row.values()))
    return table


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
