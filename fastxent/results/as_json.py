"""The dictionary and the JSON of a result: stable names, nothing that was not gathered, floats that keep their bits."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from fastxent.statistics.reading import Reading

__all__ = ["GROUP_TABLES", "SCHEMA", "evaluation_dict", "json_text"]

SCHEMA = "fastxent.evaluation/1"
#: Classes up to which the confusion matrix is in the dictionary.
MATRIX = 100
#: Rows up to which what groups say class by class is, and their single rows.
PARTS_OF_GROUPS = 10_000
GROUP_TABLES = ("group_per_class", "group_classwise", "group_worst", "group_worst_per_class", "group_label_errors")


def evaluation_dict(
    reading: Reading,
    settings: Mapping[str, Any],
    rows: Mapping[str, Any],
    tables: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> dict[str, Any]:
    """The dictionary of an evaluation: what it is of, the sections of its statistics, its tables, facts of the run.

    ``tables`` are Arrow tables, matrices, or such by name; None and what is empty is left out, and so are tables of
    groups with more than `PARTS_OF_GROUPS` rows and matrices of more than `MATRIX` classes.
    """
    spec = reading.spec
    values: dict[str, Any] = {
        "schema": SCHEMA,
        "spec": {"num_classes": spec.num_classes, "task": spec.task} | spec.to_dict(),
        "rows": rows,
        "loss_unit": str(reading.unit),
    }
    settings = dict(settings)
    settings |= dict.fromkeys(settings.pop("statistics", ()), True)
    if settings:
        values["settings"] = {
            name: list(value) if isinstance(value, tuple) else value for name, value in settings.items()
        }
    for statistic in reading.statistics.values():
        values |= statistic.section(reading)
    values |= {name: plain for name, table in tables.items() if (plain := _plain(name, table)) is not None}
    return values | {name: fact for name, fact in facts.items() if fact or name in ("warnings", "run")}


def _plain(name: str, table: Any) -> Any:
    """A table or a matrix as JSON values; None where there is none, or too much."""
    if isinstance(table, dict):
        return {key: plain for key, each in table.items() if (plain := _plain(name, each)) is not None} or None
    if table is None or (name in GROUP_TABLES and table.num_rows > PARTS_OF_GROUPS):
        return None
    if isinstance(table, list):
        return table or None
    if hasattr(table, "to_pylist"):
        return table.to_pylist()
    return table.tolist() if len(table) <= MATRIX else None


def json_text(values: Any, *, indent: int | None = None) -> str:
    """JSON values as text; floats read back to the same bits, NaN and infinities as strings."""
    return json.dumps(_finite(values), indent=indent, allow_nan=False, ensure_ascii=False)


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinities: they become the strings "NaN", "Infinity" and "-Infinity"."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if value != value else "Infinity" if value > 0 else "-Infinity"
    return value
