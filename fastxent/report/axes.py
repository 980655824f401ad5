"""A picture drawn by Matplotlib."""

from __future__ import annotations

import math
from importlib.util import find_spec
from typing import Any

from fastxent.base.errors import UsageError
from fastxent.base.text import printable
from fastxent.report.picture import Axis, Box, Curve, Picture, Point, Rule, shortened

__all__ = ["on_axes"]

_COLORS = {
    "main": "#1f66b0", "second": "#bd4f12", "muted": "#566272", "good": "#17704a", "bad": "#b3261e", "grid": "#dfe4ea",
}  # fmt: skip


def on_axes(picture: Picture, ax: Any = None) -> Any:
    """The `Axes` with the picture: those that are given, or new ones of a figure of pyplot.

    Raises:
        UsageError: Matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise UsageError("plot needs matplotlib: pip install 'fastxent[plot]'")
    if ax is None:
        import matplotlib.pyplot as plt

        height = 1.2 + 0.25 * len(picture.y.names) if picture.y.names and not picture.square else 4.2
        _, ax = plt.subplots(figsize=(6.4, max(height, 2.4)), layout="constrained")
    for mark in picture.marks:
        _draw(mark, ax)
    for axis, drawn, log in ((picture.x, ax.xaxis, ax.set_xscale), (picture.y, ax.yaxis, ax.set_yscale)):
        if axis.log:
            log("log")
        _label(drawn, axis)
    ax.set(title=picture.title, xlim=(picture.x.low, picture.x.high), ylim=(picture.y.low, picture.y.high))
    if picture.y.names:
        ax.invert_yaxis()
    if picture.square:
        ax.set_aspect("equal")
    if picture.labels:
        ax.legend(handles=[_handle(*label) for label in picture.labels], fontsize="small")
    return ax


def _draw(mark: Box | Point | Curve | Rule, ax: Any) -> None:
    color = _COLORS[mark.tone]
    if isinstance(mark, Curve):
        ax.plot(mark.xs, mark.ys, color=color, linestyle="--" if mark.dashed else "-")
    elif isinstance(mark, Rule):
        (ax.axvline if mark.along == "x" else ax.axhline)(mark.at, color=color, linewidth=1.2)
    elif isinstance(mark, Point):
        if not math.isnan(mark.low):
            place = mark.y if mark.along == "x" else mark.x
            (ax.hlines if mark.along == "x" else ax.vlines)(place, mark.low, mark.high, color=color, linewidth=1.6)
        ax.plot([mark.x], [mark.y], "o", color=color, markersize=1.6 * mark.size)
    else:
        from matplotlib.patches import Rectangle

        size = (mark.x1 - mark.x0, mark.y1 - mark.y0)
        ax.add_patch(Rectangle((mark.x0, mark.y0), *size, facecolor=color, alpha=mark.strength, linewidth=0))
        if mark.text:
            middle = (0.5 * (mark.x0 + mark.x1), 0.5 * (mark.y0 + mark.y1))
            shade = "white" if mark.strength > 0.6 else "black"
            ax.text(*middle, mark.text, ha="center", va="center", fontsize="x-small", color=shade, parse_math=False)


def _label(drawn: Any, axis: Axis) -> None:
    """Ticks and label of an axis."""
    from matplotlib.ticker import NullLocator

    ticks = axis.ticks(60 if axis.names else 7)
    turned = {"rotation": 60, "ha": "right"} if axis.names and drawn.axis_name == "x" else {}
    drawn.set_ticks([at for at, _ in ticks], [shortened(name) for _, name in ticks], parse_math=False, **turned)
    drawn.set_minor_locator(NullLocator())
    drawn.set_label_text(printable(axis.label), parse_math=False)


def _handle(tone: str, words: str, dashed: bool) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=_COLORS[tone], label=words.replace("$", r"\$"), linestyle="--" if dashed else "-")
