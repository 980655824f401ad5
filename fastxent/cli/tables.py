"""What a person sees in a terminal: tables and a progress bar, drawn with rich."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from fastxent.base.status import EXPLANATION, Status
from fastxent.base.text import printable
from fastxent.results.headlines import cell_text, summary_lines

if TYPE_CHECKING:
    from fastxent.results.evaluation import Evaluation
    from fastxent.sources.open import Split

__all__ = ["line_width", "print_fitted", "progress_bar", "show_evaluation", "wide_console"]


#: Narrower terminals wrap the lines of a table; rich would cut columns short, or drop them.
WIDTH = 200


def wide_console() -> Console:
    """Standard output, on which no column of a table is cut; nothing in what is printed is read as markup."""
    console = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
    console.width = max(console.width, WIDTH)
    return console


def show_evaluation(result: Evaluation, lines: list[tuple[str, str]], *, per_class: bool = False) -> None:
    """Print the headline numbers of an evaluation (``lines``), and the tables that were asked for."""
    console = wide_console()
    for name, value in summary_lines(lines, line_width(console)):
        console.print(Text.assemble((name, "bold"), value))
    if per_class:
        console.print(Text("\nby class", "bold"))
        console.print(Text(result.class_report()))
    for title, rows, total in result.shown_tables():
        console.print(Text(f"\n{printable(title)}", "bold"))
        shown = _that_fit(rows, line_width(console))
        console.print(_rich_table(shown))
        if left := rows.column_names[shown.num_columns :]:
            console.print(f"... and columns that have no room: {', '.join(map(printable, left))}")
        if total > rows.num_rows:
            console.print(f"... {total - rows.num_rows:,} more; --json FILE has them all")
    for name, count in result.rows["invalid"].items():
        status = Status[name.upper()]
        first = result.first_invalid[name]
        console.print(f"skipped {count:,} rows: {EXPLANATION[status][0]} (first: row {first:,})")


def line_width(console: Console) -> int:
    """Characters of a line: of the terminal, or what COLUMNS says; without either there is room for all."""
    return Console().width if console.is_terminal or "COLUMNS" in os.environ else WIDTH


def print_fitted(console: Console, table: Table, spared: tuple[str, ...]) -> None:
    """Print a table without those of the columns that are ``spared``, first ones first, which have no room."""
    left = []
    for name in spared:
        if Measurement.get(console, console.options, table).maximum - 2 <= line_width(console):
            break
        if found := [each for each in table.columns if str(each.header) == name]:
            table.columns.remove(found[0])
            left.append(name)
    console.print(table)
    if left:
        console.print(f"... and columns that have no room: {', '.join(left)}")


def _that_fit(rows: Any, width: int) -> Any:
    """The first columns of a table that a line has room for, at least one."""
    used, count = 0, 0
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        used += max(len(printable(name)), *(len(cell_text(value)) for value in column.to_pylist()), 0) + 2 * bool(count)
        if count and used > width:
            break
        count += 1
    return rows.select(range(count))


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
def progress_bar() -> Iterator[Callable[[Split, int], None]]:
    """A callback for finished splits that draws how far it is, the rates, and the time that is left."""
    bar = Progress(
        TextColumn("{task.completed:,.0f} rows"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rates]}"),
        TextColumn("time left"),
        TimeRemainingColumn(elapsed_when_finished=True),
        console=Console(stderr=True),
        transient=True,
    )
    started = time.perf_counter()
    done = 0
    lock = threading.Lock()
    with bar:
        task = bar.add_task("", total=None, rates="")

        def step(split: Split, total: int) -> None:
            nonlocal done
            with lock:
                done += max(split.nbytes, 0)
            bar.update(task, total=total if total >= 0 else None, advance=max(split.num_rows, 0))
            seconds = time.perf_counter() - started
            rates = f"{bar.tasks[0].completed / seconds:,.0f} rows/s, {done / seconds / 1e9:.2f} GB/s"
            bar.update(task, rates=rates)

        yield step
    sys.stderr.flush()
