"""A result as Markdown, as pages of CI show it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from fastxent.base.text import printable
from fastxent.results.headlines import cell_text

__all__ = ["markdown"]

#: Rows of a table that are shown.
ROWS = 10


def markdown(
    title: str,
    lines: Iterable[tuple[str, str]],
    tables: Iterable[tuple[str, Any, int]] = (),
    warnings: Iterable[str] = (),
    failed: Iterable[str] = (),
) -> str:
    """Headline numbers, the first rows of tables (with their titles and the number of all rows), warnings, gates."""
    parts = [f"## {_text(title)}", ""]
    parts += [f"> ❌ {_text(line)}  " for line in failed]
    parts += [f"> ⚠️ {_text(line)}  " for line in warnings]
    parts += ["", "| | |", "|---|---|", *(f"| {_text(name)} | {_text(value)} |" for name, value in lines)]
    for name, table, total in tables:
        parts += ["", f"### {_text(name)}", "", *_rows(table.slice(0, ROWS))]
        if total > ROWS:
            parts += ["", f"{total - ROWS:,} more rows"]
    return "\n".join(parts) + "\n"


def _rows(table: Any) -> Iterator[str]:
    names = table.column_names
    kinds = [str(table.schema.field(name).type) for name in names]
    yield "| " + " | ".join(map(_text, names)) + " |"
    yield "|" + "|".join("---" if kind in ("string", "bool") else "---:" for kind in kinds) + "|"
    for row in table.to_pylist():
        yield "| " + " | ".join(_text(cell_text(value)) for value in row.values()) + " |"


def _text(value: Any) -> str:
    """Text that Markdown takes for text."""
    return re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", printable(value))
