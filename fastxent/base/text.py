"""Text from data made safe for a terminal."""

from __future__ import annotations

import math

__all__ = ["bracketed", "group_name", "printable"]


def printable(text: object) -> str:
    r"""``text`` on one line, with everything that could steer a terminal written out as an escape.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def group_name(value: object) -> str:
    """The name of a group by its value. Null is ``null``; text that could be taken for it stands in quotes.

    >>> group_name(None), group_name("null"), group_name("'null'"), group_name(3)
    ('null', "'null'", "''null''", '3')
    """
    if value is None:
        return "null"
    return f"'{value}'" if isinstance(value, str) and value.strip("'") == "null" else str(value)


def bracketed(value: float, low: float, high: float) -> str:
    """A number with as many digits, six at most, as the bounds that surely hold it allow: a unit is no less than them.

    >>> bracketed(0.34567, 0.3440, 0.3473), bracketed(1234.5, 1200.0, 1270.0), bracketed(0.25, 0.25, 0.25)
    ('0.35', '1200', '0.25')
    """
    width = high - low
    if not math.isfinite(value) or not 0.0 < width < math.inf:
        return f"{value:.6g}"
    return f"{round(value, math.floor(-math.log10(width))):.6g}"
