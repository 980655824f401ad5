"""The plots of a report, as SVG that takes its colors from the page.

Matplotlib draws with marker colors that are replaced by CSS variables afterwards, so one drawing serves a light page, a
dark one and paper. Text stays text: it is found by search, and drawn in the page's font.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastxent.base.log_unit import NATS, Unit
from fastxent.base.text import printable

__all__ = ["class_bars", "confusion_map", "difference_plot", "loss_histogram", "reliability"]

#: Marker color -> CSS variable.
_INK, _MUTED, _GRID, _MAIN, _SECOND, _FILL = "#010203", "#010204", "#010205", "#010206", "#010207", "#010208"
_VARIABLES = {_INK: "ink", _MUTED: "muted", _GRID: "grid", _MAIN: "main", _SECOND: "second", _FILL: "fill"}
#: Classes and cells beyond which a plot would be a smear.
BARS = 40
CELLS = 40
#: Rows from which a histogram is drawn with finer bars.
MANY = 20_000


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasSVG(figure)
    axes = figure.add_subplot()
    figure.patch.set_alpha(0.0)
    axes.patch.set_alpha(0.0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_GRID)
    axes.tick_params(color=_GRID, labelcolor=_MUTED, labelsize=8.5, length=0, pad=5)
    axes.grid(True, axis="y", color=_GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=_MUTED, size=9)
    return figure, axes


def _svg(figure: Any, name: str, alt: str) -> str:
    """The figure as an ``<svg>`` element with a text alternative; ids are made unique by ``name``."""
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var(--{variable})")
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\1{name}-", text)
    text = re.sub(r"font: ([^;'\"]*?)px [^;\"]*", r"font-size: \1px", text)
    match = re.match(r"<svg[^>]*viewBox=\"([^\"]+)\"[^>]*>", text, re.DOTALL)
    assert match is not None
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="{match[1]}"'
        f' role="img" aria-label="{_attribute(alt)}">'
    )
    return head + text[match.end() :]


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;").replace(">", "&gt;")


def _plain(name: object, length: int = 22) -> str:
    """A name from the data as Matplotlib shows it: no mathematics, no control characters, cut in the middle if long."""
    text = printable(name)
    text = text if len(text) <= length else text[: length // 2] + "…" + text[len(text) - (length - length // 2 - 1) :]
    return text.replace("$", r"\$")


def _percent(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))


def _short(value: float) -> str:
    return (
        f"{value:,.0f}" if value < 10_000 else f"{value / 1000:,.0f}k" if value < 10_000_000 else f"{value / 1e6:,.0f}M"
    )


def reliability(bins: Sequence[Sequence[Any]]) -> str:
    """Accuracy over confidence, a dot a bin whose area grows with its rows, and the diagonal of perfect calibration."""
    filled = [row for row in bins if row[2]]
    figure, axes = _figure(4.5, 3.5)
    axes.grid(True, axis="x", color=_GRID, linewidth=0.8)
    axes.plot([0, 1], [0, 1], color=_MUTED, linewidth=1.2, dashes=(4, 3))
    confidence = np.array([row[3] for row in filled])
    accuracy = np.array([row[4] for row in filled])
    counts = np.array([row[2] for row in filled], float)
    axes.vlines(confidence, confidence, accuracy, color=_SECOND, linewidth=2.2, alpha=0.75)
    axes.plot(confidence, accuracy, color=_MAIN, linewidth=1.4, alpha=0.5)
    axes.scatter(
        confidence, accuracy, s=18 + 240 * np.sqrt(counts / counts.max()), color=_MAIN, linewidth=0, alpha=0.85
    )
    axes.set_xlim(-0.03, 1.05)
    axes.set_ylim(-0.05, 1.08)
    for axis in (axes.xaxis, axes.yaxis):
        _percent(axis)
    axes.set_xlabel("mean confidence of a bin")
    axes.set_ylabel("accuracy")
    worst = max(filled, key=lambda row: abs(row[3] - row[4]))
    alt = (
        f"Reliability diagram of {len(filled)} bins. The largest gap is at a confidence of {worst[3]:.1%}, where"
        f" {worst[4]:.1%} are right."
    )
    return _svg(figure, "reliability", alt)


def loss_histogram(cells: Any, mean: float, unit: Unit = NATS) -> str | None:
    """Rows by loss, on a logarithmic scale: the totals' histogram, with 2 or (from many rows) 4 bars an octave."""
    cells = np.asarray(cells)
    edges, heights = _bars(cells, 4 if cells.sum() >= MANY else 2)
    if not heights.size:
        return None
    edges = [edge + math.log10(unit.of(1.0)) for edge in edges]
    figure, axes = _figure(4.5, 3.5)
    axes.bar(edges[:-1], heights / cells.sum(), np.diff(edges), align="edge", color=_MAIN, linewidth=0, alpha=0.85)
    factors = (1.0,) if edges[-1] - edges[0] > 2.0 else (1.0, 2.0, 5.0)
    ticks = [(e, f) for e in range(math.floor(edges[0]), math.ceil(edges[-1]) + 1) for f in factors]
    axes.set_xticks([e + math.log10(f) for e, f in ticks], [_power(e, f) for e, f in ticks])
    axes.set_xlim(edges[0] - 0.05, edges[-1] + 0.05)
    if math.isfinite(mean) and mean > 0:
        at = math.log10(mean)
        left = at > 0.5 * (edges[0] + edges[-1])
        axes.axvline(at, color=_SECOND, linewidth=1.8)
        axes.annotate(
            f"mean {mean:.3g}",
            (at, 1.0),
            xycoords=("data", "axes fraction"),
            color=_SECOND,
            fontsize=9,
            xytext=(-5 if left else 5, 2),
            textcoords="offset points",
            ha="right" if left else "left",
            va="top",
        )
    _percent(axes.yaxis)
    axes.set_xlabel(f"loss of a row ({unit}, logarithmic)")
    axes.set_ylabel("share of rows")
    top = 10.0 ** edges[int(heights.argmax())]
    infinite = f" {int(cells[-1]):,} rows have an infinite loss." if cells[-1] else ""
    alt = f"Histogram of the row losses. Most lie around {top:.2g} {unit}; the mean is {mean:.4g}.{infinite}"
    return _svg(figure, "losses", alt)


def _bars(cells: Any, per_octave: int) -> tuple[list[float], Any]:
    """Decimal logarithms of the edges, and counts.

    Bars are cut where a cell ends nearest to equal steps of the logarithm. Losses
    below a millionth of a nat are one bar: what is there tells nobody anything.
    """
    from fastxent.kernels.sums import tally

    octaves = tally.BINS // 128
    steps = [round(128 * (2.0 ** (step / per_octave) - 1.0)) for step in range(per_octave)]
    starts = np.add.outer(128 * np.arange(octaves), steps).ravel()
    counts = np.add.reduceat(cells[1 : tally.BINS + 1], starts)
    used = np.flatnonzero(counts)
    if not used.size:
        return [], counts[:0]
    high = int(used[-1]) + 1
    low = min(max(int(used[0]), per_octave * (64 - 20)), high - 1)
    heights = counts[low:high].copy()
    heights[0] += counts[:low].sum() + cells[0]
    places = [divmod(i, per_octave) for i in range(low, high + 1)]
    return [math.log10(2.0 ** (octave - 64) * (1.0 + steps[step] / 128)) for octave, step in places], heights


def _power(exponent: int, factor: float) -> str:
    return f"{factor * 10.0**exponent:g}" if -4 < exponent < 4 else f"{factor:g}e{exponent}"


def class_bars(names: Sequence[str], losses: Sequence[float], recalls: Sequence[float], unit: Unit = NATS) -> str:
    """Mean loss of each class, worst first."""
    order = sorted(range(len(names)), key=lambda i: (-losses[i] if not math.isnan(losses[i]) else math.inf, i))[:BARS]
    figure, axes = _figure(4.5, 0.5 + 0.25 * len(order))
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    finite = [losses[i] for i in order if math.isfinite(losses[i])]
    most = max(finite, default=1.0) or 1.0
    widths = [losses[i] if math.isfinite(losses[i]) else (0.0 if math.isnan(losses[i]) else most) for i in order]
    axes.barh(range(len(order)), widths, 0.62, color=_MAIN, linewidth=0, alpha=0.85)
    for at, i in enumerate(order):
        recall = "" if math.isnan(recalls[i]) else f" · recall {recalls[i]:.1%}"
        axes.text(widths[at] + 0.015 * most, at, f"{losses[i]:.3g}{recall}", va="center", fontsize=9, color=_MUTED)
    axes.set_yticks(range(len(order)), [_plain(names[i]) for i in order])
    axes.tick_params(axis="y", labelcolor=_INK)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.5 * most)
    worst = order[0]
    alt = f"Mean loss by class. Highest: {_spoken(names[worst])} with {losses[worst]:.3g} {unit}."
    return _svg(figure, "classes", alt)


def confusion_map(names: Sequence[str], counts: Any) -> str:
    """Shares of each target class by predicted class; stronger is more, hits on the diagonal."""
    counts = np.asarray(counts, float)
    n = len(names)
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
    size = 1.2 + 0.33 * min(n, 30)
    figure, axes = _figure(min(max(size, 4.0), 8.0), min(max(0.9 * size, 3.6), 7.6))
    axes.grid(False)
    axes.spines["bottom"].set_visible(False)
    for target in range(n):
        for predicted in range(n):
            share = shares[target, predicted]
            hit = target == predicted
            alpha = 0.05 if share == 0 else 0.12 + 0.88 * math.sqrt(share)
            square = ((predicted - 0.47, target - 0.47), 0.94, 0.94)
            axes.add_patch(_rectangle(*square, color=_MAIN if hit else _SECOND, alpha=alpha))
            if counts[target, predicted] and n <= 20:
                text = (
                    f"{counts[target, predicted]:g}"
                    if counts[target, predicted] < 10_000
                    else _short(counts[target, predicted])
                )
                color = _FILL if alpha > 0.62 else _INK
                axes.text(predicted, target, text, ha="center", va="center", fontsize=8, color=color)
    labels = [_plain(name, 14) for name in names]
    turn = {"rotation": 60, "ha": "right"} if max(map(len, labels)) > 3 else {}
    axes.set_xticks(range(n), labels, **turn)
    axes.set_yticks(range(n), labels)
    axes.tick_params(labelcolor=_INK)
    axes.set_xlim(-0.5, n - 0.5)
    axes.set_ylim(n - 0.5, -0.5)
    axes.set_aspect("equal")
    axes.set_xlabel("predicted")
    axes.set_ylabel("target")
    off = counts - np.diag(np.diag(counts))
    t, p = divmod(int(off.argmax()), n)
    alt = f"Confusion matrix of {n} classes."
    if off.max() > 0:
        alt += f" Most often confused: {_spoken(names[t])} taken for {_spoken(names[p])}, {int(off[t, p]):,} times."
    return _svg(figure, "confusion", alt)


def _rectangle(*where: Any, color: str, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(*where, facecolor=color, alpha=alpha, linewidth=0)


def difference_plot(rows: Sequence[tuple[str, float, float, float]], unit: Unit = NATS) -> str:
    """Differences with their intervals, one line each: (name, mean, low, high); the line of no difference is drawn."""
    rows = [row for row in rows if all(map(math.isfinite, row[1:]))][:BARS]
    figure, axes = _figure(4.8, 0.8 + 0.29 * len(rows))
    axes.grid(False)
    axes.grid(True, axis="x", color=_GRID, linewidth=0.8)
    axes.locator_params(axis="x", nbins=5)
    axes.axvline(0.0, color=_MUTED, linewidth=1.2)
    for at, (_, mean, low, high) in enumerate(rows):
        color = _MAIN if low > 0 else _SECOND if high < 0 else _MUTED
        axes.hlines(at, low, high, color=color, linewidth=2.6, alpha=0.8)
        axes.plot([mean], [at], "o", color=color, markersize=7)
    axes.set_yticks(range(len(rows)), [_plain(row[0], 26) for row in rows])
    axes.tick_params(axis="y", labelcolor=_INK)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(f"loss of A - loss of B ({unit})\nB is better right of 0")
    alt = "Differences of the mean loss, A - B, with 95 % intervals: " + "; ".join(
        f"{_spoken(name)} {mean:.3g} ({low:.3g} to {high:.3g})" for name, mean, low, high in rows[:12]
    )
    return _svg(figure, "differences", alt)


def _spoken(name: object) -> str:
    return printable(name)
