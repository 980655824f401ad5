"""Text from data made safe for a terminal."""

from __future__ import annotations

__all__ = ["printable"]


def printable(text: object) -> str:
    r"""``text`` on one line, with everything that could steer a terminal written out as an escape.

    >>> printable("a\x1b[2Jb")
    'a\\x1b[2Jb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
