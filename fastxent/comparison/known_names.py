"""All names that results of comparisons have, known before there is one."""

from __future__ import annotations

from functools import cache
from typing import Any

from fastxent.comparison.differences import Outcome, Paired, PairSums
from fastxent.comparison.result import Comparison
from fastxent.comparison.sign_flip import sign_flip_test
from fastxent.results.known_names import empty_evaluations, nested_names
from fastxent.statistics.influences import INFLUENCED

__all__ = ["names_of_comparison"]


@cache
def names_of_comparison() -> dict[str, Any]:
    """Dictionaries of names as in `Comparison.to_dict`; of groups a frozenset of all that is said of one."""
    outcome = _full_outcome()
    empty = next(iter(empty_evaluations()))
    result = Comparison(outcome, empty, empty, {side: (0, []) for side in "ab"}, 0)
    names: dict[str, Any] = {}
    nested_names(names, result.to_dict())
    names["rows"] |= dict.fromkeys(("zero_weight", "filtered_a", "filtered_b"))
    return names | {"groups": frozenset(_all_names(outcome.to_dict()))}


def _full_outcome() -> Outcome:
    """An outcome of no rows that has all there can be."""
    nothing = PairSums(clustered=True, power=0).outcome()
    assert nothing.accuracy_delta is not None
    statistics = {name: Paired(0.0, 0.0, nothing.accuracy_delta) for name in INFLUENCED}
    parts = {name: getattr(nothing, name) for name in nothing.__dataclass_fields__}
    return Outcome(**parts | {"statistics": statistics, "permutation": sign_flip_test((), 0, 1, 0)})


def _all_names(values: dict[str, Any]) -> set[str]:
    found = set(values)
    for value in values.values():
        found |= _all_names(value) if isinstance(value, dict) else set()
    return found
