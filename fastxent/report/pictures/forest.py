"""Numbers with their intervals, a line each, and other parts that pictures share."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from fastxent.report.parts import as_number
from fastxent.report.picture import Axis, Box, Picture, Point, Rule, names_axis

__all__ = ["LINES", "cell", "forest", "limits"]

#: Lines of a picture that has one for each class, or group.
LINES = 30


def forest(
    name: str,
    title: str,
    alt: str,
    lines: Sequence[tuple[str, float, float, float, str, str]],
    label: str,
    rule: Rule,
    total: int,
    legend: tuple[tuple[str, str], ...],
) -> Picture:
    """Numbers with their intervals, a line each: name, number, both ends, color, and what is said of it."""
    known = [value for _, mean, low, high, *_ in lines for value in (mean, low, high) if math.isfinite(value)]
    rules = [rule] if math.isfinite(rule.at) else []
    means = [mean for _, mean, *_ in lines] + [each.at for each in rules]
    reach = max(means) - min(means) or abs(max(means)) or 1.0
    low, high = limits([min(max(value, min(means) - reach), max(means) + reach) for value in [*known, *means]])
    marks: list[Any] = [*rules]
    marks += [Point(mean, i, tip, tone, low=a, high=b) for i, (_, mean, a, b, tone, tip) in enumerate(lines)]
    more = f" {len(lines)} of {total:,} are shown; the table has more." if total > len(lines) else ""
    return Picture(
        name,
        title,
        alt,
        f"With 95 % intervals, each taken alone.{more}",
        Axis(label, low, high),
        names_axis("", [line[0] for line in lines], [as_number(line[1], 3) for line in lines]),
        marks,
        legend=legend,
    )


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis with some room around the values."""
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    return low - room, high + room


def cell(x: int, y: int, tip: str, tone: str, strength: float, text: str = "") -> Box:
    """A cell of a matrix."""
    return Box(x - 0.47, x + 0.47, y - 0.47, y + 0.47, tip, tone, strength, text)
