"""What a picture shows: axes, and marks in the units of the data. `svg` draws it into a page, `axes` by Matplotlib."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from fastxent.base.text import printable

__all__ = ["Axis", "Box", "Curve", "Picture", "Point", "Rule", "names_axis", "shortened"]


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis from ``low`` to ``high``; with ``names`` it has places 0, 1, ... that are called so.

    ``log``: it is logarithmic. ``percent``: numbers are shares. ``values`` stand at the far end of names.
    """

    label: str
    low: float
    high: float
    log: bool = False
    percent: bool = False
    names: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    def place(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high one; what is beyond lies at the end."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        at = (math.log10(value) if value > 0 else -math.inf) if self.log else value
        return min(max((at - low) / (high - low), 0.0), 1.0)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """So many places at most that have a label, and the labels."""
        if self.names:
            step = -(-len(self.names) // most)
            return [(i, self.names[i]) for i in range(0, len(self.names), step)]
        if self.log:
            return self._decades(most)
        low = max(self.low, 0.0) if self.percent else self.low
        high = min(self.high, 1.0) if self.percent else self.high
        rough = (high - low) / most
        size = 10.0 ** math.floor(math.log10(rough))
        step_ = next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= rough * (1 - 1e-9))
        first, last = math.ceil(low / step_ - 1e-9), math.floor(high / step_ + 1e-9)
        return [
            (i * step_, f"{100 * i * step_:.3g} %" if self.percent else f"{i * step_:.6g}".replace("-", "−"))
            for i in range(first, last + 1)
        ]

    def _decades(self, most: int) -> list[tuple[float, str]]:
        first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
        if last - first < 2:
            found = [(f * 10.0**e) for e in range(first - 1, last + 1) for f in (1, 2, 5)]
            return [(v, f"{v:g}") for v in found if self.low <= v <= self.high][:most]
        step = -(-(last - first + 1) // most)
        return [(10.0**e, f"{10.0**e:g}" if -4 < e < 4 else f"1e{e}") for e in range(first, last + 1, step)]


def names_axis(label: str, names: Sequence[str], values: Sequence[str] = ()) -> Axis:
    """An axis of names, the first one at its low end, with values at the far end."""
    return Axis(label, -0.5, len(names) - 0.5, names=tuple(names), values=tuple(values))


@dataclass(frozen=True, slots=True)
class Box:
    """A bar or a cell: a rectangle, what is said of it, its color and how strong that is, and text in it."""

    x0: float
    x1: float
    y0: float
    y1: float
    tip: str
    tone: str = "main"
    strength: float = 0.85
    text: str = ""


@dataclass(frozen=True, slots=True)
class Point:
    """A dot with an interval along an axis (``x`` or ``y``), and what is said of it."""

    x: float
    y: float
    tip: str
    tone: str = "main"
    size: float = 3.5
    along: str = "x"
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, slots=True)
class Curve:
    """A line through points; ``label`` puts it into the legend."""

    xs: Sequence[float]
    ys: Sequence[float]
    tone: str = "main"
    dashed: bool = False
    label: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A straight line through the whole picture at a place of an axis, with its label in the legend."""

    at: float
    along: str
    label: str
    tone: str = "second"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture.

    Attributes:
        name: what `ev.plot` calls it; unique on a page.
        title: a few words.
        alt: what it shows, for those who do not see it.
        caption: how it is read.
        x: the axis from left to right.
        y: the axis from the bottom to the top; names go from the top to the bottom.
        marks: what is drawn, first what lies below.
        legend: colors of the marks and what they mean, beside those of labelled curves and rules.
        square: whether units of both axes are as long as each other.
    """

    name: str
    title: str
    alt: str
    caption: str
    x: Axis
    y: Axis
    marks: list[Box | Point | Curve | Rule] = field(default_factory=list)
    legend: tuple[tuple[str, str], ...] = ()
    square: bool = False

    @property
    def labels(self) -> list[tuple[str, str, bool]]:
        """The legend: color, words, and whether it is that of a dashed line."""
        lines = [
            (mark.tone, mark.label, isinstance(mark, Curve) and mark.dashed)
            for mark in self.marks
            if isinstance(mark, Curve | Rule) and mark.label
        ]
        return [(tone, words, False) for tone, words in self.legend] + lines


def shortened(name: object, most: int = 18) -> str:
    """A name as an axis has room for: both ends of a long one, for names often differ in their last letters."""
    text = printable(name)
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most - most // 2 - 1) :]}"
