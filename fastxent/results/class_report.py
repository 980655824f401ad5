"""Precision, recall, F1, support and loss of every class, and their means, as lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from fastxent.base.errors import UsageError
from fastxent.base.text import printable

__all__ = ["class_report"]

_RATES = ("precision", "recall", "f1")
#: Characters of a class's name that are shown.
_WIDTH = 40


def class_report(table: Any, accuracy: float | None, *, labels: bool) -> str:
    """See `Evaluation.class_report`; ``table`` is that of labels, or of classes."""
    if table is None or not set(_RATES) <= set(table.column_names):
        hint = '; pass statistics="ranking" for the labels of a multilabel task' if labels else ""
        raise UsageError(f"class_report: predicted classes were not counted{hint}")
    names = table["label" if labels else "class"].to_pylist()
    columns = {name: table[name].to_numpy() for name in table.column_names if name not in ("class", "label")}
    shown = [name for name in (*_RATES, "support", "share", "weight", "loss") if name in columns]
    lines = [[_short(name), *(_cell(column, columns[column][i]) for column in shown)] for i, name in enumerate(names)]
    weight = next(columns[name] for name in ("weight", "share", "support") if name in columns)
    means = [["macro avg", *_means(columns, shown, weight, 0)], ["weighted avg", *_means(columns, shown, weight, 1)]]
    if accuracy is not None and not labels:
        total = [_cell(name, columns[name].sum()) if name in ("support", "weight") else "" for name in shown]
        total[shown.index("f1")] = f"{accuracy:.4f}"
        means.insert(0, ["accuracy", *total])
    return "\n".join(_aligned([["", *shown], *lines], means))


def _short(name: Any) -> str:
    text = printable(name)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _cell(column: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if column == "support":
        return f"{value:,}"
    return f"{value:.6g}" if column in ("weight", "loss") else f"{value:.4f}"


def _means(columns: dict[str, Any], shown: Iterable[str], weights: Any, power: int) -> list[str]:
    """Means by a power of the weights over classes that are a target or predicted; of losses, that are a target."""
    rates = (weights > 0) | ~np.isnan(columns["precision"])
    cells = []
    for name in shown:
        values = columns[name]
        if name in ("support", "weight", "share"):
            cells.append(_cell(name, values.sum()))
            continue
        used = weights > 0 if name == "loss" else rates
        known = values[used] if name == "loss" else np.nan_to_num(values[used])
        own = weights[used].astype(np.float64) ** power
        cells.append(_cell(name, float(np.average(known, weights=own))) if own.sum() > 0 else "–")
    return cells


def _aligned(rows: list[list[str]], means: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, *means, strict=True)]

    def line(row: list[str]) -> str:
        first, *rest = row
        return "  ".join(
            [first.ljust(widths[0]), *(c.rjust(w) for c, w in zip(rest, widths[1:], strict=True))]
        ).rstrip()

    return [*map(line, rows), "", *map(line, means)]
