"""What was left out of a source that may skip damage (``on_error="skip"``): never silently."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from fastxent.base.errors import SourceError, UnavailableError

__all__ = ["LeftOut", "LeftOuts", "OnError", "in_order"]

OnError = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file, row group or record batch that was left out, and why; ``rows`` is None where nobody can know.

    ``first_row`` tells pieces of one record batch apart.
    """

    path: str
    row_group: int | None
    reason: str
    rows: int | None
    first_row: int = field(default=0, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {"path": self.path, "row_group": self.row_group, "reason": self.reason, "rows": self.rows}

    def __str__(self) -> str:
        where = self.path if self.row_group is None else f"{self.path}, row group {self.row_group}"
        rows = "rows unknown" if self.rows is None else f"{self.rows:,} rows"
        return f"left out: {where} ({rows}): {self.reason}"


class LeftOuts:
    """Collects what is left out, from any thread; the same place twice counts once. Off, it raises instead."""

    def __init__(self, on_error: OnError) -> None:
        self.skips = on_error == "skip"
        self._found: dict[tuple[str, int | None, int], LeftOut] = {}

    def add(self, error: SourceError, rows: int | None, *, first_row: int = 0) -> None:
        """Leave out what ``error`` is about; raises it where nothing may be, or it says nothing of the file."""
        if not self.skips or error.path is None or isinstance(error, UnavailableError):
            raise error
        whole = str(error)
        where = error.path if error.row_group is None else f"{error.path}, row group {error.row_group}"
        reason = whole.removeprefix(where).lstrip(",: ")
        place = error.path, error.row_group, first_row
        self._found[place] = LeftOut(error.path, error.row_group, reason, rows, first_row)

    @property
    def found(self) -> tuple[LeftOut, ...]:
        """All of it, in order."""
        return in_order(self._found.values())


def in_order(left_out: Iterable[LeftOut]) -> tuple[LeftOut, ...]:
    """What was left out in the order of paths and row groups."""
    return tuple(sorted(left_out, key=lambda each: (each.path, each.row_group or 0, each.first_row)))
