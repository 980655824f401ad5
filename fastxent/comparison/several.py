"""Comparisons of several sets of predictions with the first, whose p-values know how many they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastxent.comparison.result import Comparison
from fastxent.results.as_json import json_text

__all__ = ["SCHEMA", "Comparisons", "holm"]

SCHEMA = "fastxent.comparisons/1"


@dataclass(frozen=True, slots=True)
class Comparisons:
    """The result of `fastxent.compare_all`: a `Comparison` with the first (A) for each of the others (B), by name."""

    results: Mapping[str, Comparison]

    def __getitem__(self, name: str) -> Comparison:
        return self.results[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    @property
    def p_holm(self) -> dict[str, float]:
        """The p-values of the loss differences, adjusted by Holm's method for all of them."""
        return dict(zip(self.results, holm([each.delta.p_value for each in self.results.values()]), strict=True))

    @property
    def table(self) -> Any:
        """An Arrow table with a row a comparison: name, rows, both losses, their difference, interval and p-values."""
        import pyarrow as pa

        adjusted = self.p_holm
        rows = [
            {
                "name": name, "rows": each.num_rows, "loss_a": each.outcome.loss["a"], "loss_b": each.outcome.loss["b"],
                "delta": each.delta.mean, "ci_low": each.delta.ci_low, "ci_high": each.delta.ci_high,
                "p_value": each.delta.p_value, "p_holm": adjusted[name],
            }
            | {f"accuracy_{side}": share for side, share in (each.outcome.accuracy or {}).items()}
            for name, each in self.results.items()
        ]  # fmt: skip
        return pa.Table.from_pylist(rows)

    @property
    def warnings(self) -> list[str]:
        """Those of all comparisons, with their names."""
        return [f"{name}: {text}" for name, each in self.results.items() for text in each.warnings]

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON values: a dictionary a comparison, by name, and the adjusted p-values."""
        each = {name: result.to_dict() for name, result in self.results.items()}
        return {"schema": SCHEMA, "comparisons": each, "p_holm": self.p_holm}

    def to_json(self, *, indent: int | None = 2) -> str:
        """`to_dict` as JSON text."""
        return json_text(self.to_dict(), indent=indent)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down adjustment: the chance of any false claim among all is at most the level.

    The i-th smallest of m p-values is multiplied by m - i + 1, is no less than those before it and at most 1; NaN stays
    and counts.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted((p, i) for i, p in enumerate(p_values) if p == p)
    adjusted, least = list(p_values), 0.0
    for rank, (p, i) in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - rank) * p))
        adjusted[i] = least
    return adjusted
