"""Plots of a result as SVG that can be read on white and on black."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measure import OURS, Measurement
from bench.results import Result
from bench.show import gigabytes_per_second

__all__ = ["draw"]

#: Grey that stands out from white as much as from black.
INK = "#808890"
COLOURS = ("#e4572e", "#3d8fd1", "#2a9d8f", "#b07cc6", "#c9a227", "#7a8b99", "#d1718f", "#6aa84f")


def draw(result: Result, folder: Path) -> list[Path]:
    """Draw what the result has the numbers for; returns the files."""
    import matplotlib

    matplotlib.use("Agg")
    style = {
        "svg.hashsalt": "fastxent",  # the same bytes for the same numbers
        "font.size": 10,
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "legend.labelcolor": INK,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    plots = {
        "arrays": ("speed", _speed),
        "classes": ("classes", _classes),
        "memory": ("growth", _growth),
        "threads": ("threads", _threads),
    }
    drawn = []
    with matplotlib.rc_context(style):
        for family, (name, plot) in plots.items():
            if family in result.families():
                folder.mkdir(parents=True, exist_ok=True)
                drawn.append(_save(plot(result), folder / f"{name}.svg"))
    return drawn


def _save(figure: Any, path: Path) -> Path:
    import matplotlib.pyplot as plt

    figure.savefig(path, transparent=True, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)
    return path


def _speed(result: Result) -> Any:
    """Time of everybody over fastxent's, a line a shape."""
    import matplotlib.pyplot as plt

    found = [m for m in result.measurements if m.family == "arrays" and "trained" not in m.case and m.ratio]
    cases = list(dict.fromkeys(m.case for m in found))[::-1]
    figure, axes = plt.subplots(figsize=(8, 0.42 * len(cases) + 1.2))
    for colour, name in zip(COLOURS, dict.fromkeys(m.contender for m in found), strict=False):
        mine = [m for m in found if m.contender == name]
        places = [cases.index(m.case) for m in mine]
        marker = "|" if name == "plain read" else "D" if name == OURS else "o"
        axes.scatter([m.ratio for m in mine], places, color=colour, marker=marker, s=45, label=name, zorder=2)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}×")
    axes.set_yticks(range(len(cases)), cases)
    axes.axvline(1.0, color=COLOURS[0], linewidth=0.8, zorder=1)
    axes.grid(axis="y", color=INK, alpha=0.25, linewidth=0.6)
    axes.set_xlabel("time over fastxent's (to the right: slower)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.4, 1.0), ncols=4)
    return figure


def _classes(result: Result) -> Any:
    """Speed against the number of classes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 3.2))
    _lines(axes, result, "classes", lambda m: int(m.case.split()[0]), gigabytes_per_second)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("classes, in as many numbers")
    axes.set_ylabel("GB/s")
    axes.legend()
    return figure


def _growth(result: Result) -> Any:
    """Time and peak memory against rows."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained")
    _lines(axes[0], result, "rows", lambda m: m.rows, lambda m: m.seconds_median)
    _lines(axes[1], result, "memory", lambda m: m.rows, lambda m: m.seconds_median)
    _lines(axes[2], result, "memory", lambda m: m.rows, lambda m: m.peak_bytes and m.peak_bytes / 2**20)
    titles = ("seconds, arrays of 10 classes", "seconds, Parquet of 10 classes", "peak MiB, Parquet of 10 classes")
    for each, title in zip(axes, titles, strict=True):
        each.set_xscale("log")
        each.set_yscale("log")
        each.set_xlabel("rows")
        each.set_title(title, fontsize=10)
        if each.has_data():
            each.legend(fontsize=7)
    return figure


def _threads(result: Result) -> Any:
    """How many times as fast as one thread."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.2))
    found = [m for m in result.measurements if m.family == "threads" and m.seconds_median]
    most = result.settings["threads"]
    for colour, case in zip(COLOURS, dict.fromkeys(m.case for m in found), strict=False):
        seconds = {
            most if m.contender == OURS else int(m.contender.split()[0]): m.seconds_median
            for m in found
            if m.case == case
        }
        points = [(count, seconds[1] / seconds[count]) for count in sorted(seconds) if 1 in seconds]
        axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3.5, label=case)
    axes.plot([1, most], [1, most], color=INK, linewidth=0.8, linestyle=":")
    axes.set_xticks(range(1, most + 1) if most <= 8 else [1, most])
    axes.set_xlabel("threads")
    axes.set_ylabel("times as fast as one")
    axes.legend(fontsize=8)
    axes.grid(color=INK, alpha=0.25, linewidth=0.6)
    return figure


def _lines(
    axes: Any,
    result: Result,
    family: str,
    x: Callable[[Measurement], float],
    y: Callable[[Measurement], float | None],
) -> None:
    found = [m for m in result.measurements if m.family == family]
    for colour, name in zip(COLOURS, dict.fromkeys(m.contender for m in found), strict=False):
        points = [(x(m), height) for m in found if m.contender == name and (height := y(m)) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), color=colour, marker="o", markersize=3.5, label=name)
    axes.grid(color=INK, alpha=0.25, linewidth=0.6)
