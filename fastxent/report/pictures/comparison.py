"""Pictures of a comparison."""

from __future__ import annotations

import math
from typing import Any

from fastxent.comparison.pairing import LARGEST_OCTAVE, LEAST_OCTAVE
from fastxent.comparison.result import Comparison
from fastxent.report.parts import as_number, as_percent, interval
from fastxent.report.picture import Axis, Box, Curve, Picture, Point, Rule
from fastxent.report.pictures.forest import LINES, forest
from fastxent.report.pictures.losses import loss_bars

__all__ = ["density", "differences", "losses"]


def differences(result: Comparison) -> Picture | None:
    """Differences of the mean loss with their intervals: of all rows, then of the groups that differ most."""
    found = [("all rows", result.outcome)]
    found += [
        (f"{column}: {value}", each) for column, values in result.groups.items() for value, each in values.items()
    ]
    lines = []
    for name, each in found:
        d = each.delta
        if all(map(math.isfinite, (d.mean, d.ci_low, d.ci_high))):
            tone = "good" if d.ci_low > 0 else "bad" if d.ci_high < 0 else "muted"
            tip = (
                f"{name}: A − B is {as_number(d.mean, 4)} ({interval(d.ci_low, d.ci_high)}), "
                f"p = {as_number(d.p_value, 3)},"
                f" {each.rows:,} rows"
            )
            lines.append((name, d.mean, d.ci_low, d.ci_high, tone, tip))
    if not lines:
        return None
    surest = sorted(lines[1:], key=lambda line: -abs(line[1]) / max(line[3] - line[2], math.ulp(line[1])))[: LINES - 1]
    shown = [lines[0], *sorted(surest, key=lambda line: line[1])]
    return forest(
        "groups",
        "Where is which one better?",
        "Differences of the mean loss, A − B, with 95 % intervals: "
        + "; ".join(f"{name} {mean:.3g} ({low:.3g} to {high:.3g})" for name, mean, low, high, *_ in shown[:12]),
        shown,
        f"loss of A − loss of B ({result.unit})",
        Rule(0.0, "x", "no difference", "muted"),
        len(lines),
        (("good", "B is better"), ("bad", "A is better")),
    )


def losses(result: Comparison) -> Picture | None:
    """Rows by loss on either side."""
    sides = [(name, tone, ev, loss_bars(ev)) for name, tone, ev in (("A", "main", result.a), ("B", "second", result.b))]
    if not all(bars for *_, bars in sides):
        return None
    finite = [bar for *_, bars in sides for bar in bars if math.isfinite(bar[1])]
    marks: list[Any] = []
    for name, tone, ev, bars in sides:
        inner = [bar for bar in bars if math.isfinite(bar[1])]
        xs = [end for low, high, _ in inner for end in (low, high)]
        ys = [count / ev.num_rows for *_, count in inner for _ in (0, 1)]
        marks.append(Curve(xs, ys, tone, label=name))
        marks += [
            Point(
                math.sqrt(low * high),
                count / ev.num_rows,
                f"{name}: {count / ev.num_rows:.2%} of the rows lose {as_number(low, 3)} to {as_number(high, 3)}",
                tone,
                2.0,
            )
            for low, high, count in inner
            if count
        ]
        if math.isfinite(ev.loss):
            marks.append(Rule(ev.loss, "x", f"mean of {name} {as_number(ev.loss, 4)}", tone))
    if not finite:
        return None
    most = max(max(mark.ys) for mark in marks if isinstance(mark, Curve))
    return Picture(
        "loss",
        "How large is the loss of a row?",
        "Histograms of the row losses of A and of B. Means: "
        f"{as_number(result.a.loss, 4)} and {as_number(result.b.loss, 4)}.",
        "Share of the rows by loss, of A and of B.",
        Axis(
            f"loss of a row ({result.unit}, logarithmic)",
            min(bar[0] for bar in finite),
            max(bar[1] for bar in finite),
            log=True,
        ),
        Axis("share of the rows", 0.0, 1.06 * most, percent=True),
        marks,
    )


def density(result: Comparison) -> Picture | None:
    """Rows by their loss in A and in B."""
    found = result.octaves
    if not found:
        return None
    most, total = max(count for *_, count in found), sum(count for *_, count in found)
    ends = [result.unit.of(2.0**k) for k in range(LEAST_OCTAVE, LARGEST_OCTAVE + 2)]
    marks: list[Any] = []
    for a, b, count in found:
        (x0, x1), (y0, y1) = (ends[k - LEAST_OCTAVE : k - LEAST_OCTAVE + 2] for k in (a, b))
        tip = f"A loses {_octave(a, x0, x1)}, B {_octave(b, y0, y1)}: {count:,} rows"
        tone = "good" if a > b else "bad" if a < b else "muted"
        marks.append(Box(x0, x1, y0, y1, tip, tone, 0.1 + 0.85 * math.log1p(count) / math.log1p(most)))
    used = [k for a, b, _ in found for k in (a, b)]
    low, high = ends[min(used) - LEAST_OCTAVE], ends[max(used) - LEAST_OCTAVE + 1]
    marks.append(Curve((low, high), (low, high), "muted", dashed=True))
    sides = [sum(count for a, b, count in found if sign * (a - b) > 0) / total for sign in (1, -1)]
    said = (
        f"B is an octave or more below A in {as_percent(sides[0], 1)} of the rows, above in {as_percent(sides[1], 1)}."
    )
    return Picture(
        "density",
        "Row by row, which one loses more?",
        f"Rows by the loss in A and in B, by octaves. {said}",
        f"The stronger the color, the more rows. Below the line B loses less. {said}",
        Axis(f"loss in A ({result.unit})", low, high, log=True),
        Axis(f"loss in B ({result.unit})", low, high, log=True),
        marks,
        legend=(("good", "B loses less"), ("bad", "A loses less")),
    )


def _octave(k: int, low: float, high: float) -> str:
    if k == LEAST_OCTAVE:
        return f"below {as_number(high, 2)}"
    return f"above {as_number(low, 2)}" if k == LARGEST_OCTAVE else f"{as_number(low, 2)} to {as_number(high, 2)}"
