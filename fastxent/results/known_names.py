"""All names that results of evaluations have, known before there is one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

from fastxent.data.spec import Spec
from fastxent.results.as_json import GROUP_TABLES
from fastxent.results.evaluation import Evaluation
from fastxent.statistics.options import STATISTICS, Measures
from fastxent.statistics.sampling import INTERVALS
from fastxent.totals.totals import Totals

__all__ = ["empty_evaluations", "known_names", "nested_names"]

#: What each task may be asked for.
_TASKS: dict[Literal["multiclass", "binary", "multilabel"], tuple[str, ...]] = {
    "multiclass": tuple(name for name in STATISTICS), "binary": ("ranking", "temperature"),
    "multilabel": ("ranking",),
}  # fmt: skip
#: What depends on the data, or on the classes.
_OPEN = ("accuracy", "first_invalid", "left_out", *GROUP_TABLES)


def empty_evaluations() -> Iterator[Evaluation]:
    """Evaluations of no rows that have all that there is of each task, and what there is without being asked for."""
    for task, statistics in _TASKS.items():
        spec = Spec.make(num_classes=1 if task == "binary" else 3, task=task, weighted=True)
        measures = Measures(
            cluster_by="c", units="u", worst=1, worst_per_class=0 if task == "multilabel" else 1,
            label_errors=0 if task == "multilabel" else 1, statistics=statistics,
        )  # fmt: skip
        for one in (measures, Measures()):
            yield Evaluation(Totals(spec, one))


@cache
def known_names() -> dict[str, Any]:
    """Dictionaries of names as in `Evaluation.to_dict`; of a table a frozenset of the names of its columns."""
    names: dict[str, Any] = {}
    for empty in empty_evaluations():
        nested_names(names, empty.to_dict())
        for name, table in empty._tables().items():
            if hasattr(table, "column_names"):
                names[name] = frozenset(table.column_names) | (names.get(name) or frozenset())
        fields = frozenset(empty.fields)
        for name in ("groups", "margins"):
            names[name] = fields | (names.get(name) or frozenset())
    rows = dict.fromkeys(("zero_weight", "uneven"))
    return names | dict.fromkeys(_OPEN) | {"intervals": dict.fromkeys(INTERVALS), "rows": names["rows"] | rows}


def nested_names(names: dict[str, Any], values: dict[str, Any]) -> None:
    """Add the names in a result to those so far."""
    for name, value in values.items():
        if isinstance(value, dict) and value and name not in ("run", "spec", "settings"):
            nested_names(names.setdefault(name, {}), value)
        else:
            names.setdefault(name, None)
