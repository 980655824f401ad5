"""Pictures of the losses of rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastxent.base.runs import run_starts
from fastxent.report.parts import as_number, as_percent
from fastxent.report.picture import Axis, Box, Curve, Picture, Point, Rule
from fastxent.report.pictures.forest import limits
from fastxent.results.evaluation import Evaluation

__all__ = ["base_rate", "loss_bars", "losses", "temperature"]

#: Rows from which on a histogram has finer bars.
_MANY = 20_000
#: Nats below which nobody asks how small a loss is.
_NOTHING = 1e-6


def losses(ev: Evaluation) -> Picture | None:
    """Rows by loss, on a logarithmic axis."""
    bars = loss_bars(ev)
    finite = [bar for bar in bars if math.isfinite(bar[1])]
    if not finite:
        return None
    unit, total = ev.unit, ev.num_rows
    marks: list[Any] = [
        Box(
            low,
            high,
            0.0,
            count / total,
            f"{_from_to(low, high, bars, unit)}: {as_percent(count / total)}, {count:,} rows",
        )
        for low, high, count in bars
    ]
    high = edge = finite[-1][1]
    if len(finite) < len(bars):  # infinite losses have a bar of their own at the end
        high = 4.0 * edge
        count = bars[-1][2]
        marks[-1] = Box(1.6 * edge, high, 0.0, count / total, f"infinite: {count:,} rows", "bad")
    low = bars[0][0]
    marks += [
        Rule(at, "x", f"{words} {as_number(at, 4)}", tone)
        for at, words, tone in (
            (ev.loss, "mean", "second"),
            (base_rate(ev), "always the shares of the classes", "muted"),
        )
        if at is not None and low < at < edge
    ]
    most = max(count for *_, count in bars) / total
    where = max(finite, key=lambda bar: bar[2])
    ends = " ".join(_ends(ev, bars))
    return Picture(
        "loss",
        "How large is the loss of a row?",
        f"Histogram of the row losses. Most lie around {as_number(where[1], 2)} {unit}; the mean is"
        f" {as_number(ev.loss, 4)}. {ends}",
        f"Share of the rows by loss. The mean is often carried by few rows at the right. {ends}",
        Axis(f"loss of a row ({unit}, logarithmic)", low, high, log=True),
        Axis("share of the rows", 0.0, 1.06 * most, percent=True),
        marks,
    )


def loss_bars(ev: Evaluation) -> list[tuple[float, float, int]]:
    """Low edge, high edge and rows of the bars of the histogram; the first holds all that is next to nothing.

    Bars are cut where a cell of the histogram ends nearest to equal steps of the logarithm.
    """
    if "variance" not in ev.reading or not ev.num_rows:
        return []
    cells = ev.reading.sums.cells("losses")
    finest = 128 >> (cells.level if cells is not None else 0)
    if not finest:
        return []
    table = ev.loss_histogram(finest)
    low, high, count = (table[name].to_numpy() for name in ("low", "high", "count"))
    floor = ev.unit.of(_NOTHING)
    steps = min(finest, 4 if ev.num_rows >= _MANY else 2)
    number = np.floor(steps * (np.log2(np.maximum(low, floor) / floor) + 0.5 / finest))
    starts = run_starts(np.where(np.isinf(high), math.inf, number))
    ends = np.append(starts[1:], len(low)) - 1
    edges = np.maximum(low[starts], floor), np.maximum(high[ends], 2.0 * floor)
    bars = list(zip(*(each.tolist() for each in edges), np.add.reduceat(count, starts).tolist(), strict=True))
    last = max((i for i, bar in enumerate(bars) if bar[2] and math.isfinite(bar[1])), default=-1)
    return bars[: last + 1] + [bar for bar in bars[last + 1 :] if bar[2]]


def _from_to(low: float, high: float, bars: Sequence[Any], unit: Any) -> str:
    if low == bars[0][0] == unit.of(_NOTHING):
        return f"below {as_number(high, 3)} {unit}"
    return f"{as_number(low, 3)} to {as_number(high, 3)} {unit}"


def base_rate(ev: Evaluation) -> float | None:
    """The loss of always predicting the shares of the classes; None where it is not known."""
    relative = ev.normalized_entropy
    return None if relative is None or not relative > 0 or math.isinf(relative) else ev.loss / relative


def _ends(ev: Evaluation, bars: Sequence[tuple[float, float, int]]) -> list[str]:
    """What piles up at the ends."""
    said = []
    if bars[0][0] == ev.unit.of(_NOTHING) and (share := bars[0][2] / ev.num_rows) >= 0.01:
        said.append(f"{as_percent(share)} of the rows at the left end lose next to nothing: certain, and right.")
    if infinite := bars[-1][2] * math.isinf(bars[-1][1]):
        said.append(f"{infinite:,} rows at the right end have an infinite loss: their target has no probability.")
    elif (top := ev.quantile(0.99)).high >= ev.fields["max"] > 1.5 * ev.loss and top.high < 1.01 * top.low:
        said.append(
            f"1 % of the rows or more pile up at the largest loss, {as_number(top.high, 4)}: predictions are clipped or"
            " rounded there."
        )
    return said


def temperature(ev: Evaluation) -> Picture | None:
    """The loss over the temperature that the logits are divided by."""
    stats = ev.temperature
    found = [] if stats is None else [row for row in stats.table.to_pylist() if math.isfinite(row["loss"])]
    if stats is None or not found:
        return None
    at, loss = ([row[name] for row in found] for name in ("temperature", "loss"))
    low, high = limits(loss)
    marks: list[Any] = [Curve(at, loss), Rule(1.0, "x", "as it is", "muted")]
    marks += [
        Point(x, y, f"divided by {as_number(x, 4)}: {as_number(y, 5)} {ev.unit}", size=2.5)
        for x, y in zip(at, loss, strict=True)
    ]
    less = f"by {as_number(stats.gain, 3)} {ev.unit}"
    said = f"Logits divided by {as_number(stats.best, 3)} would have a loss lower {less}."
    if not stats.gain > 0.0:
        said = "No other temperature that was tried has a lower loss."
    if math.isfinite(stats.loss):
        marks.append(Point(stats.best, stats.loss, said, "second", 4.5))
    return Picture(
        "temperature",
        "Would another temperature help?",
        f"Loss over the temperature. {said}",
        f"{said} A best temperature above 1 means that the model is too sure.",
        Axis("temperature", at[0], at[-1], log=True),
        Axis(f"loss ({ev.unit})", low, high),
        marks,
        legend=(("second", "best"),),
    )
