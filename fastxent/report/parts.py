"""What the pages of reports are made of: sections of pictures, tables and facts, and how values are written in them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastxent.base.text import group_name
from fastxent.report.picture import Picture
from fastxent.statistics.field import Field

__all__ = [
    "Card", "Cell", "Page", "Section", "Table", "as_number", "as_percent", "as_signed", "cell_of", "interval",
    "list_of_paths", "new_table", "title_of",
]  # fmt: skip

#: Cells of a table that are shown, in whole lines, and lines that there are at least room for; JSON has them all.
CELLS, FEWEST = 3000, 40

_PERCENT = {"accuracy A", "accuracy B", "precision", "recall", "confidence", "p_target", "share"}
_NAMES = {"row", "id", "class", "label", "target", "predicted"}
_TITLES = {"mean_loss": "loss", "p_target": "p(target)", "f1": "F1", "fpr": "false-positive rate", "ece": "ECE"}
#: What sources without a path are called.
_IN_MEMORY = {"<table>": "a table in memory", "<array>": "arrays in memory"}
#: Letters of text from which on a cell is not made narrow on a phone.
_LONG = 40


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table: its text, the number that it is (as text) if it is one, and whether it is one."""

    text: str
    key: str
    number: bool

    @property
    def style(self) -> str:
        """The classes of the cell."""
        return "number" if self.number else "long" if len(self.text) >= _LONG else ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table; ``total`` counts the rows that there are, and ``which`` says which of them are shown."""

    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    total: int
    which: str = "first"

    @property
    def title(self) -> str:
        """The caption, with how much of the table is shown."""
        if self.total <= len(self.rows):
            return self.caption
        return f"{self.caption} ({self.which} {len(self.rows):,} of {self.total:,})"


@dataclass(frozen=True, slots=True)
class Card:
    """A headline number, with a line beneath; ``tone`` colors it."""

    name: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(slots=True)
class Section:
    """A heading with pictures, sentences, tables and pairs of name and value."""

    title: str
    anchor: str
    pictures: list[Picture] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.pictures or self.text or self.tables or self.facts)


@dataclass(frozen=True, slots=True)
class Page:
    """A page: what it is of, its tiles and its sections."""

    title: str
    subtitle: str
    cards: list[Card]
    sections: list[Section]


def as_number(value: Any, digits: int = 6) -> str:
    """A number to so many digits; what is no number, as text."""
    if isinstance(value, bool) or value is None:
        return "–" if value is None else str(value).lower()
    if isinstance(value, int):
        return _minus(f"{value:,}")
    if isinstance(value, float):
        return "–" if math.isnan(value) else _minus(f"{value:.{digits}g}".replace("inf", "∞"))
    return str(value)


def _minus(text: str) -> str:
    """The sign as it is printed; that of an exponent stays as it can be read back."""
    return f"−{text[1:]}" if text[:1] == "-" else text


def as_percent(value: float, digits: int = 2) -> str:
    """A share in percent."""
    return "–" if math.isnan(value) else f"{value:.{digits}%}".replace("%", " %")


def as_signed(value: float, unit: str = "") -> str:
    """A difference, with its sign."""
    return "–" if math.isnan(value) else _minus(f"{value:+.4g}{unit}")


def cell_of(value: Any, digits: int = 5, *, share: bool = False, name: bool = False) -> Cell:
    """A value as it is shown, and as it is sorted: a share in percent, a name (of a row, a class, a group) as it is."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number:
        text = (
            ", ".join(map(str, value))
            if isinstance(value, list | tuple)
            else group_name(value)
            if name or value is None
            else str(value)
        )
        return Cell(text, "", False)
    if math.isnan(value):
        return Cell("–", "", True)
    text = as_percent(value) if share else str(value) if name else as_number(value, digits)
    key = repr(value)
    return Cell(text, "" if key == text else key, True)


def new_table(
    caption: str,
    entries: Sequence[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    *,
    fields: Mapping[str, Field] | None = None,
    shares: Collection[str] = (),
    named: Collection[str] = (),
    digits: int = 5,
    most: int = 500,
    total: int = 0,
    which: str = "first",
) -> Table:
    """A table of entries, so many at most as there is room for.

    Args:
        caption: what it is.
        entries: its rows.
        columns: those of their values that are shown; by default all.
        fields: what is known of some columns.
        shares: columns that are shares, beside those that always are.
        named: columns of names, beside those that always are.
        digits: of numbers.
        most: rows that are shown at most.
        total: how many rows there are, where entries are some of them.
        which: rows entries are.
    """
    fields = fields or {}
    names = list(columns or dict.fromkeys(name for entry in entries[:most] for name in entry))
    shown = entries[: min(most, max(FEWEST, CELLS // max(len(names), 1)))]
    shares = _PERCENT.union(shares, (name for name in names if name in fields and fields[name].share))
    named = _NAMES.union(named)
    rows = [
        [cell_of(entry.get(name), digits, share=name in shares, name=name in named) for name in names]
        for entry in shown
    ]
    titles = [fields[name].title if name in fields else title_of(name) for name in names]
    return Table(caption, titles, rows, max(total, len(entries)), which)


def interval(low: float, high: float) -> str:
    """A 95 % interval in words."""
    return "" if math.isnan(low) else f"95 %: {as_number(low, 4)} to {as_number(high, 4)}"


def list_of_paths(paths: Sequence[str]) -> str:
    """What was read, in words."""
    paths = [_IN_MEMORY.get(path, path) for path in paths]
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def title_of(name: str) -> str:
    """A name as it is shown."""
    return _TITLES.get(name, name.replace("_", " "))
