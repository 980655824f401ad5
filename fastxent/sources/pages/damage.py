"""What is said of bytes that contradict themselves, and of those that are left to pyarrow."""

from __future__ import annotations

__all__ = ["Damage", "Unusual"]


class Damage(ValueError):
    """The bytes of a file cannot be what a writer wrote; ``row_group`` and ``column`` say where, if it is known."""

    def __init__(self, message: str, *, row_group: int | None = None, column: str | None = None) -> None:
        super().__init__(message)
        self.row_group = row_group
        self.column = column


class Unusual(Exception):
    """Pages that are not decoded here: with nulls, rows of other lengths, rare encodings or codecs."""
