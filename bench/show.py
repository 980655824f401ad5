"""Tables for the terminal: one a family, a row a case, a column a contender."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from bench.measure import OURS, Measurement
from bench.results import Result

__all__ = ["change_percent", "gigabytes_per_second", "in_units", "show_family", "worse"]

#: Changes below this many percent are noise even on a quiet machine.
NOISE_PERCENT = 3.0
#: Answers that differ by more than this are not answers to the same question.
TOLERANCE = 1e-3


def show_family(console: Console, result: Result, family: str, before: Result | None) -> None:
    """Print the table of one family; ratios are a contender's time over fastxent's, so above 1 fastxent is faster."""
    found = [m for m in result.measurements if m.family == family]
    names = [name for name in dict.fromkeys(m.contender for m in found) if name != OURS]
    table = Table(title=family, title_justify="left", title_style="bold", caption_justify="left")
    table.add_column("case")
    for head in ("fastxent", "GB/s", "of read", *names):
        table.add_column(head, justify="right")
    notes = []
    for case in dict.fromkeys(m.case for m in found):
        by_name = {m.contender: m for m in found if m.case == case}
        ours = by_name.get(OURS)
        cells = [_cell(by_name.get(name), before, family == "memory") for name in names]
        table.add_row(case, _ours(ours, before, family == "memory"), _rate(ours), _share(ours), *cells)
        notes += [f"{case}, {m.contender}: {note}" for m in by_name.values() if (note := _note(m))]
    console.print(table)
    for note in notes:
        console.print(f"  [dim]{note}[/dim]", highlight=False)
    console.print()


def change_percent(now: Measurement, before: Result | None) -> float | None:
    """How much better (+) or worse (-) for fastxent than last time, in percent.

    Of others their ratio; of fastxent its share of a plain read. Times of another day compare nothing.
    """
    then = None if before is None else before.find(now.family, now.case, now.contender)
    if then is None:
        return None
    pair = (now.share_of_read, then.share_of_read) if now.contender == OURS else (now.ratio, then.ratio)
    return 100.0 * (pair[0] / pair[1] - 1.0) if pair[0] and pair[1] else None


def worse(result: Result, before: Result | None) -> list[str]:
    """What is worse for fastxent than last time, the worst first, a line each."""
    known = [
        (change_percent(m, before), m) for m in result.measurements if m.role != "read"
    ]  # fastxent's share says it
    found = sorted(
        ((change, m) for change, m in known if change is not None and change <= -NOISE_PERCENT),
        key=lambda each: each[0],
    )
    return [
        f"▼{-change:3.0f}%  {m.family}: {m.case}, "
        + ("share of plain read" if m.contender == OURS else f"against {m.contender}")
        for change, m in found
    ]


def _change(now: Measurement, before: Result | None) -> str:
    percent = change_percent(now, before)
    if percent is None or abs(percent) < NOISE_PERCENT:
        return ""
    return f" [green]▲{percent:.0f}%[/green]" if percent > 0 else f" [bold red]▼{-percent:.0f}%[/bold red]"


def _ours(m: Measurement | None, before: Result | None, memory: bool) -> str:
    if m is None or m.seconds_median is None:
        return "not available" if m is not None and m.note.startswith("not available") else "failed"
    if memory:
        return f"{in_units(m.seconds_median)}, {_mebibytes(m)}"
    return in_units(m.seconds_median) + _change(m, before)


def _cell(m: Measurement | None, before: Result | None, memory: bool) -> str:
    if m is None:
        return ""
    if m.seconds_median is None:
        return "[dim]n/a[/dim]" if m.note.startswith("not available") else "[red]failed[/red]"
    if memory:
        return f"{in_units(m.seconds_median)}, {_mebibytes(m)}"
    text = f"{m.ratio:.2f}×" if m.ratio else in_units(m.seconds_median)
    return text + ("*" if m.note.startswith("scaled") else "") + _change(m, before)


def _mebibytes(m: Measurement) -> str:
    return "?" if m.peak_bytes is None else f"{m.peak_bytes / 2**20:,.0f} MiB"


def _note(m: Measurement) -> str:
    if m.difference is not None and not m.difference <= TOLERANCE:
        return f"its loss differs by {m.difference:.1e} relative: not the same job"
    return "" if m.note.startswith("scaled") else m.note


def gigabytes_per_second(m: Measurement) -> float | None:
    """Work done, in 1e9 bytes a second."""
    return m.work_bytes / m.seconds_median / 1e9 if m.seconds_median and m.work_bytes else None


def _rate(m: Measurement | None) -> str:
    rate = None if m is None else gigabytes_per_second(m)
    return "" if rate is None else f"{rate:.2f}"


def _share(m: Measurement | None) -> str:
    return "" if m is None or m.share_of_read is None else f"{100 * m.share_of_read:.0f} %"


def in_units(seconds: float) -> str:
    """Seconds with a unit and three digits."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"
