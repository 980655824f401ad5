"""Any number of sets of predictions of the same rows, each compared with the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastxent.api.compare import compare
from fastxent.api.spoken import spoken
from fastxent.base.errors import UsageError
from fastxent.comparison.several import Comparisons

__all__ = ["compare_all"]


@spoken
def compare_all(first: Any, others: Mapping[str, Any], target: Any = None, **keywords: Any) -> Comparisons:
    """Each of several sets of predictions compared with the first, with p-values adjusted for their number (Holm).

    The first is read anew for every comparison.

    Args:
        first: the set that others are compared with, as ``a`` of `compare`.
        others: the other sets by name, each as ``b`` of `compare`.
        target: the column with the targets.
        keywords: those of `compare`, for every comparison.

    Returns:
        A `Comparisons`: ``result[name]`` is a `Comparison`, ``result.table`` has a row each.

    Raises:
        UsageError: there are no others, or as `compare` does.

    Examples:
        >>> import fastxent as fx, pyarrow as pa
        >>> ids, label = list(range(6)), [0, 1, 1, 0, 1, 0]
        >>> tables = [
        ...     pa.table({"id": ids, "label": label, "p": [abs(y - miss * (1 + i) / 8) for i, y in enumerate(label)]})
        ...     for miss in (0.5, 0.6, 0.9)
        ... ]
        >>> found = fx.compare_all(
        ...     tables[0], {"b": tables[1], "c": tables[2]}, "label", on="id", probs="p", task="binary"
        ... )
        >>> found.table.column_names[:4], [round(p, 3) for p in found.p_holm.values()]
        (['name', 'rows', 'loss_a', 'loss_b'], [0.03, 0.03])
    """
    if not others:
        raise UsageError("compare_all: nothing to compare the first with")
    return Comparisons({name: compare(first, other, target, **keywords) for name, other in others.items()})
