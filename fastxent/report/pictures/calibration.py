"""Pictures of how probabilities agree with what is there, and of the scores of two classes."""

from __future__ import annotations

import math
from typing import Any

from fastxent.report.parts import as_percent
from fastxent.report.picture import Axis, Box, Curve, Picture, Point, shortened
from fastxent.results.evaluation import Evaluation
from fastxent.statistics.intervals import wilson

__all__ = ["reliability", "scores"]

#: Bins of the histogram of scores.
_SCORES = 30


def reliability(ev: Evaluation) -> Picture | None:
    """Accuracy over confidence, with intervals, above the histogram of the confidence."""
    rows = [] if ev.calibration is None else [row for row in ev.calibration.rows if row["count"]]
    if not rows:
        return None
    binary = ev.totals.spec.task == "binary"
    what, right = ("probability of class 1", "of class 1") if binary else ("confidence", "right")
    most = max(row["count"] for row in rows)
    marks: list[Any] = [Curve((0.0, 1.0), (0.0, 1.0), "muted", dashed=True)]
    for row in rows:
        low, high = wilson(row["accuracy"], row["count"])
        tip = (
            f"{what} {as_percent(row['confidence'])}: {as_percent(row['accuracy'])} {right}"
            f" (95 %: {as_percent(low)} to {as_percent(high)}), {row['count']:,} rows"
        )
        tone = "main" if low <= row["confidence"] <= high else "second"
        marks.append(Point(row["confidence"], row["accuracy"], tip, tone, along="y", low=low, high=high))
    for row in rows:
        width = max(row["high"] - row["low"], 0.012)
        x0, high = min(row["low"], 1.0 - width), -0.30 + 0.22 * row["count"] / most
        tip = f"{row['count']:,} rows have a {what} of {as_percent(row['low'])} to {as_percent(row['high'])}"
        marks.append(Box(x0 + 0.04 * width, x0 + 0.96 * width, -0.30, high, tip, "muted", 0.55))
    worst = max(rows, key=lambda row: abs(row["confidence"] - row["accuracy"]) * math.sqrt(row["count"]))
    return Picture(
        "reliability",
        "Does 90 % confidence mean 90 % right?" if not binary else "Are 90 % of those with 90 % of class 1?",
        f"Reliability diagram of {len(rows)} bins. The gap that matters most is at a {what} of"
        f" {as_percent(worst['confidence'])}, where {as_percent(worst['accuracy'])} are {right}.",
        "Dots with 95 % intervals; on the dashed line is calibrated"
        + (". " if binary else ", below it too sure. ")
        + "The bars below are the rows.",
        Axis(f"mean {what} of a bin", -0.01, 1.01, percent=True),
        Axis("share of class 1" if binary else "accuracy", -0.31, 1.02, percent=True),
        marks,
        legend=(("main", "agrees"), ("second", "off the line")),
    )


def scores(ev: Evaluation) -> Picture | None:
    """Rows of either class by the probability of class 1."""
    if ev.totals.spec.task != "binary" or ev.calibration is None or not ev.num_rows:
        return None
    level = ev.reading.sums.cells("calibration").level  # type: ignore[union-attr]
    rows = ev.calibrate(_SCORES if level < 3 else 15).rows
    found = []
    for row in rows:
        size = row.get("weight", row["count"])
        ones = size * (row["accuracy"] or 0.0)
        found.append((row["low"], row["high"], size - ones, ones))
    totals = [sum(entry[side] for entry in found) for side in (2, 3)]
    if not all(totals):
        return None
    names = ev.class_names
    marks: list[Any] = []
    for low, high, *sides in found:
        for name, tone, size, total in zip(names, ("main", "second"), sides, totals, strict=True):
            tip = f"{as_percent(size / total)} of class {name} have {as_percent(low)} to {as_percent(high)}"
            marks.append(Box(low, high, 0.0, size / total, tip, tone, 0.5))
    most = max(mark.y1 for mark in marks)
    return Picture(
        "scores",
        "Do the scores tell the classes apart?",
        f"Histograms of the probability of class 1, of the rows of class {names[0]} and of class {names[1]}.",
        "Share of the rows of each class by the probability of class 1. Where they overlap, no threshold parts them.",
        Axis("probability of class 1", 0.0, 1.0, percent=True),
        Axis("share of the class", 0.0, 1.06 * most, percent=True),
        marks,
        legend=(("main", f"class {shortened(names[0])}"), ("second", f"class {shortened(names[1])}")),
    )
