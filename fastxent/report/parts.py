"""What the pages of reports are made of: sections of figures, tables and facts, and how values are written in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

__all__ = [
    "Card", "Cell", "Section", "Table", "as_number", "as_percent", "as_signed", "cell_of", "interval",
    "list_of_paths", "new_table", "title_of",
]  # fmt: skip

#: Rows of a table that are shown; JSON has them all.
ROWS = 500

_PERCENT = {
    "accuracy", "accuracy_low", "accuracy_high", "accuracy A", "accuracy B", "precision", "recall", "f1", "confidence",
    "p_target", "share",
}  # fmt: skip
_TITLES = {
    "mean_loss": "loss",
    "p_target": "p(target)",
    "f1": "F1",
    "ece": "ECE",
    "brier": "Brier",
    "stderr": "std. error",
    "ci_low": "from",
    "ci_high": "to",
    "accuracy_low": "from",
    "accuracy_high": "to",
    "q50": "median",
    "q95": "95 % below",
    "auc": "ROC AUC",
    "d2": "D2",
    "mrr": "mean reciprocal rank",
    "classwise ece": "ECE, mean over classes",
    "brier scaled": "Brier score on [0, 1]",
}


#: What sources without a path are called.
_IN_MEMORY = {"<table>": "a table in memory", "<array>": "arrays in memory"}
#: Letters of text from which on a cell is not made narrow on a phone.
_LONG = 40


@dataclass(frozen=True, slots=True)
class Cell:
    """One value of a table: its text, what it is sorted by, and whether it is a number."""

    text: str
    key: str
    number: bool

    @property
    def style(self) -> str:
        """The classes of the cell."""
        return "number" if self.number else "long" if len(self.text) >= _LONG else ""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be sorted; ``total`` counts the rows that there are."""

    caption: str
    columns: list[str]
    rows: list[list[Cell]]
    total: int
    sortable: bool = True


@dataclass(frozen=True, slots=True)
class Card:
    """A headline number, with a line beneath; ``tone`` colors it."""

    name: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(slots=True)
class Section:
    """A heading with plots, sentences, tables and pairs of name and value."""

    title: str
    anchor: str
    figures: list[tuple[Markup, str]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.figures or self.text or self.tables or self.facts)


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


def as_percent(value: float) -> str:
    """A share in percent."""
    return "–" if math.isnan(value) else f"{value:.2%}".replace("%", " %")


def as_signed(value: float, unit: str = "") -> str:
    """A difference, with its sign."""
    return "–" if math.isnan(value) else _minus(f"{value:+.4g}{unit}")


def cell_of(column: str, value: Any, digits: int = 5) -> Cell:
    """A value of a column as it is shown, and as it is sorted."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number:
        text = (
            "null" if value is None else ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        )
        return Cell(text, text, False)
    identity = isinstance(value, int) and column in ("row", "id", "target", "predicted", "fold")
    digits = 3 if column in ("p", "p (flips)") else digits
    text = as_percent(value) if column in _PERCENT else str(value) if identity else as_number(value, digits)
    return Cell(text, repr(float(value)) if not math.isnan(value) else "", True)


def new_table(
    caption: str,
    entries: Sequence[Mapping[str, Any]],
    columns: Sequence[str] | None = None,
    *,
    digits: int = 5,
    most: int = ROWS,
) -> Table:
    """A table of entries, so many at most: those of their values that ``columns`` name, or all."""
    names = list(columns or dict.fromkeys(name for entry in entries[:most] for name in entry))
    rows = [[cell_of(name, entry.get(name), digits) for name in names] for entry in entries[:most]]
    return Table(caption, [_TITLES.get(name, name.replace("_", " ")) for name in names], rows, len(entries))


def interval(low: float, high: float) -> str:
    """A 95 % interval in words."""
    return "" if math.isnan(low) else f"95 %: {as_number(low, 4)} to {as_number(high, 4)}"


def list_of_paths(paths: Sequence[str]) -> str:
    """What was read, in words."""
    paths = [_IN_MEMORY.get(path, path) for path in paths]
    return ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")


def title_of(name: str) -> str:
    """A name as it is shown."""
    return _TITLES.get(name, name)
