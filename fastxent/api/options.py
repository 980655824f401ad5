"""What the keywords of `evaluate` ask for beyond the loss: measures, and the columns (or arrays) that they need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastxent.base.errors import UsageError
from fastxent.statistics.options import Measures, requested

__all__ = ["ASKED", "asked", "column_names"]


def asked(
    *,
    by_name: bool,
    group_by: Any = None,
    cluster_by: Any = None,
    units: Any = None,
    worst: int = 0,
    worst_per_class: int = 0,
    keep: Any = None,
    label_errors: int = 0,
    statistics: str | Iterable[str] = (),
) -> tuple[Measures, tuple[str, ...] | dict[str, Any]]:
    """Measures, and what must ride along: names of columns, or (not ``by_name``) arrays by name."""
    arrays: dict[str, Any] = {}
    groups = _several("group_by", group_by, "group", by_name, arrays)
    kept = _several("keep", keep, None, by_name, arrays)
    measures = Measures(
        group_by=groups,
        cluster_by=next(iter(_several("cluster_by", cluster_by, "cluster", by_name, arrays, one=True)), None),
        units=next(iter(_several("units", units, "units", by_name, arrays, one=True)), None),
        worst=worst,
        worst_per_class=worst_per_class,
        keep=kept,
        label_errors=label_errors,
        statistics=requested(statistics),
    )
    return measures, measures.columns if by_name else arrays


#: The keywords of `asked`, which `evaluate` and `score` have too.
ASKED = tuple(asked.__kwdefaults__ or ())


def column_names(keyword: str, value: Any, *, one: bool = False) -> tuple[str, ...]:
    """The columns that a keyword names: none, one, or (not ``one``) several."""
    if value is None:
        return ()
    names = tuple(value) if isinstance(value, Iterable) and not isinstance(value, str) else (value,)
    if not all(isinstance(name, str) for name in names) or (one and len(names) != 1):
        raise UsageError(f"{keyword}: expected the name of a column{'' if one else ', or several'}, got {value!r}")
    return names


def _several(
    keyword: str, value: Any, alone: str | None, by_name: bool, arrays: dict[str, Any], *, one: bool = False
) -> tuple[str, ...]:
    """The names that a keyword gives; arrays are put aside under theirs, a single one under ``alone``."""
    if value is None:
        return ()
    if by_name:
        return column_names(keyword, value, one=one)
    if not isinstance(value, Mapping):
        if alone is None or isinstance(value, str):
            raise UsageError(f"{keyword}: predictions are arrays, so give arrays by name: {{'country': values}}")
        value = {alone: value}
    if one and len(value) != 1:
        raise UsageError(f"{keyword}: expected one array, got {len(value)}")
    for name, array in value.items():
        if arrays.setdefault(name, array) is not array:
            raise UsageError(f"{keyword}: {name!r} names two different arrays")
    return tuple(value)
