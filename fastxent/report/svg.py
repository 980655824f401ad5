"""A picture as SVG that takes its colors and its font from the page.

Every mark that says something has a ``<title>``, which browsers show under the pointer, and which the page's script
makes reachable by keyboard. Matplotlib's SVG has no place for what each mark says.
"""

from __future__ import annotations

import math
import unicodedata

from markupsafe import Markup, escape

from fastxent.base.text import printable
from fastxent.report.picture import Axis, Box, Curve, Picture, Point, Rule, shortened

__all__ = ["svg_of"]

#: Width of every picture; a phone shows it at nearly this size.
_WIDTH = 360.0
#: Height of text.
_TEXT = 12.0
#: Letters that are narrow, and width of the longest names.
_NARROW, _NAME = "il.,:;|!'()[] ", 125.0
#: The largest cell of a matrix.
_CELL = 44.0
#: Height of a line of an axis of names.
_LINE = 17.0


class _Frame:
    """Where the axes of a picture lie, and their labels."""

    def __init__(self, picture: Picture) -> None:
        self.x, self.y = picture.x, picture.y
        self.beside = _labels(self.y, 40 if self.y.names else 6)
        longest = (
            max((_width(name) for _, name in _labels(self.x, len(self.x.names))), default=0.0) if self.x.names else 0.0
        )
        self.turned = longest > 24.0
        self.left = 8.0 + max((_width(name) for _, name in self.beside), default=0.0) + (0.0 if self.y.names else 16.0)
        self.left = max(self.left, 0.64 * longest if self.turned else 0.0)
        self.right = _WIDTH - 18.0 - max(map(_width, self.y.values), default=0.0)
        inner = self.right - self.left
        if picture.square and self.y.names:
            height = inner = min(inner, _CELL * len(self.y.names))
            self.right = self.left + inner
        else:
            height = _LINE * len(self.y.names) if self.y.names else 0.62 * inner
        self.top = 6.0
        self.bottom = self.top + height
        self.height = self.bottom + (10.0 + 0.77 * longest if self.turned else 18.0) + 18.0
        wide = _TEXT + 3.0 if self.turned else longest + 6.0
        self.below = _labels(self.x, max(2, int(inner // wide)) if self.x.names else max(4, int(inner // 45)))

    def at_x(self, value: float) -> float:
        """Where a value of the axis from left to right lies."""
        return self.left + self.x.place(value) * (self.right - self.left)

    def at_y(self, value: float) -> float:
        """Where a value of the other axis lies."""
        place = self.y.place(value)
        return self.top + (place if self.y.names else 1.0 - place) * (self.bottom - self.top)


def _labels(axis: Axis, most: int) -> list[tuple[float, str]]:
    """Places that have a label, and the labels as there is room for them."""
    return [(at, _fitting(name) if axis.names else name) for at, name in axis.ticks(most)]


def svg_of(picture: Picture) -> Markup:
    """The picture as an ``<svg>`` element with its text alternative."""
    frame = _Frame(picture)
    parts = [
        f'<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:g} {_number(frame.height)}"'
        f' role="group" aria-label="{escape(printable(picture.alt))}">'
    ]
    parts += _axes(frame)
    for mark in picture.marks:
        parts.append(_mark(mark, frame))
    return Markup("".join(parts) + "</svg>")


def _axes(frame: _Frame) -> list[str]:
    parts = []
    x, y = frame.x, frame.y
    for at, name in frame.beside:
        height = frame.at_y(at)
        if not y.names:
            parts.append(_line("grid", frame.left, height, frame.right, height))
        parts.append(_text(frame.left - 6, height + 4, name, "end", "name" if y.names else ""))
    for i, value in enumerate(y.values):
        parts.append(_text(_WIDTH - 8, frame.at_y(i) + 4, value, "end", "name"))
    for at, name in frame.below:
        place = frame.at_x(at)
        if not x.names:
            parts.append(_line("grid", place, frame.top, place, frame.bottom))
        if frame.turned:
            turn = f' transform="rotate(-50 {_number(place + 3)} {_number(frame.bottom + 12)})"'
            parts.append(_text(place + 3, frame.bottom + 12, name, "end", "name", turn))
        else:
            parts.append(_text(place, frame.bottom + 15, name, "middle", "name" if x.names else ""))
    parts.append(_text(0.5 * (frame.left + frame.right), frame.height - 4, x.label, "middle"))
    if not y.names and y.label:
        middle = _number(0.5 * (frame.top + frame.bottom))
        parts.append(
            _text(11, 0.5 * (frame.top + frame.bottom), y.label, "middle", "", f' transform="rotate(-90 11 {middle})"')
        )
    return parts


def _mark(mark: Box | Point | Curve | Rule, frame: _Frame) -> str:
    if isinstance(mark, Curve):
        points = " ".join(
            f"{_number(frame.at_x(x))},{_number(frame.at_y(y))}"
            for x, y in zip(mark.xs, mark.ys, strict=True)
            if not (math.isnan(x) or math.isnan(y))
        )
        return f'<polyline class="line {mark.tone}{" dashed" if mark.dashed else ""}" points="{points}"/>'
    if isinstance(mark, Rule):
        if mark.along == "x":
            return _line(f"line {mark.tone}", frame.at_x(mark.at), frame.top, frame.at_x(mark.at), frame.bottom)
        return _line(f"line {mark.tone}", frame.left, frame.at_y(mark.at), frame.right, frame.at_y(mark.at))
    return _box(mark, frame) if isinstance(mark, Box) else _point(mark, frame)


def _box(box: Box, frame: _Frame) -> str:
    left, right = sorted((frame.at_x(box.x0), frame.at_x(box.x1)))
    top, bottom = sorted((frame.at_y(box.y0), frame.at_y(box.y1)))
    cell = f'x="{_number(left)}" y="{_number(top)}" width="{_number(right - left)}" height="{_number(bottom - top)}"'
    drawn = f'<rect class="{box.tone}" {cell} fill-opacity="{box.strength:.2g}">{_title(box.tip)}</rect>'
    if not box.text:
        return drawn
    tone = "over" if box.strength > 0.6 else "name"
    return drawn + _text(0.5 * (left + right), 0.5 * (top + bottom) + 3.5, box.text, "middle", f"{tone} small")


def _point(point: Point, frame: _Frame) -> str:
    x, y = frame.at_x(point.x), frame.at_y(point.y)
    parts = [f"<g>{_title(point.tip)}"]
    if frame.y.names:  # the whole line says what it is
        parts.append(f'<rect class="hit" x="0" y="{_number(y - 0.5 * _LINE)}" width="{_WIDTH:g}" height="{_LINE:g}"/>')
    if not math.isnan(point.low):
        ends = (frame.at_x(point.low), y, frame.at_x(point.high), y)
        if point.along == "y":
            ends = (x, frame.at_y(point.low), x, frame.at_y(point.high))
        parts.append(_line(f"bar {point.tone}", *ends))
    parts.append(f'<circle class="{point.tone}" cx="{_number(x)}" cy="{_number(y)}" r="{_number(point.size)}"/></g>')
    return "".join(parts)


def _title(tip: str) -> str:
    return f"<title>{escape(printable(tip))}</title>"


def _width(text: str) -> float:
    """About how wide a text is, in a wide font."""
    return sum(
        _TEXT
        * (1.05 if c in "mwMW@%→…+<>=" or unicodedata.east_asian_width(c) in "WF" else 0.4 if c in _NARROW else 0.66)
        for c in text
    )


def _fitting(name: str) -> str:
    """A name, shortened to what there is room for."""
    shown = shortened(name)
    for most in range(17, 6, -1):
        if _width(shown) <= _NAME:
            break
        shown = shortened(name, most)
    return shown


def _line(kind: str, x0: float, y0: float, x1: float, y1: float) -> str:
    return f'<line class="{kind}" x1="{_number(x0)}" y1="{_number(y0)}" x2="{_number(x1)}" y2="{_number(y1)}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "", more: str = "") -> str:
    shown = escape(printable(text))
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}"{more}>{shown}</text>'


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
