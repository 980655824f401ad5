"""Text from the data on its way to people."""

from __future__ import annotations

__all__ = ["printable"]


def printable(value: object) -> str:
    """A value as text without control characters: those are written as escapes, so that they act on no terminal.

    Examples:
        >>> printable("a\\x1b[31mb\\n")
        'a\\\\x1b[31mb\\\\n'
    """
    text = str(value)
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
