"""Text from data made safe for a terminal."""

from __future__ import annotations

__all__ = ["group_name", "printable"]


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
