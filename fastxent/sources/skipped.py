"""What was left out of a source that may skip damage (``on_error="skip"``): never silently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from fastxent.base.errors import SourceError

__all__ = ["LeftOut", "LeftOuts", "OnError"]

OnError = Literal["raise", "skip"]


@dataclass(frozen=True, slots=True, order=True)
class LeftOut:
    """A file, row group or record batch that was left out, and why; ``rows`` is None where nobody can know."""

    path: str
    row_group: int | None
    reason: str
    rows: int | None

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
        """Leave out what ``error`` is about; raises it where nothing may be left out.

        ``first_row`` tells pieces of one record batch apart.
        """
        if not self.skips or error.path is None:
            raise error
        whole = str(error)
        place = error.path if error.row_group is None else f"{error.path}, row group {error.row_group}"
        reason = whole.removeprefix(place).lstrip(",: ")
        self._found[error.path, error.row_group, first_row] = LeftOut(error.path, error.row_group, reason, rows)

    @property
    def found(self) -> tuple[LeftOut, ...]:
        """All of it, in the order of paths and row groups."""
        ordered = sorted(self._found.items(), key=lambda item: (item[0][0], item[0][1] or 0, item[0][2]))
        return tuple(left for _, left in ordered)
