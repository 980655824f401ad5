"""The unit of losses: nats, or logarithms to another base. Totals are in nats; what they say is converted here."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from fastxent.base.errors import UsageError

__all__ = ["BITS", "NATS", "Unit"]

Record = TypeVar("Record")
_NAMES = {2.0: "bits", 10.0: "bans"}


@dataclass(frozen=True, slots=True)
class Unit:
    """Logarithms to a base; None (or e) for nats.

    The one rule of conversion: nats are divided by ``math.log(base)``, in float64. Rounding is monotonic, so extremes
    and the bounds of quantiles stay those of the converted losses, to the bit.

    Raises:
        UsageError: the base is no number above 1.
    """

    base: float | None = None

    def __post_init__(self) -> None:
        given: Any = self.base
        if given is None:
            return
        try:
            base = math.nan if isinstance(given, str) else float(given)
        except (TypeError, ValueError, OverflowError):
            base = math.nan
        if not 1.0 < base < math.inf:
            raise UsageError(f"base: expected a number above 1 (2 for bits, 10 for bans, None for nats), got {given!r}")
        object.__setattr__(self, "base", None if base == math.e else base)

    def __str__(self) -> str:
        return "nats" if self.base is None else _NAMES.get(self.base, f"logarithms to base {self.base:g}")

    def of(self, nats: Any) -> Any:
        """Nats in this unit: a number, an array, or a tuple of numbers."""
        if self.base is None:
            return nats
        return tuple(map(self.of, nats)) if isinstance(nats, tuple) else nats / math.log(self.base)

    def fields(self, record: Record, names: Iterable[str]) -> Record:
        """A dataclass with these of its fields in this unit."""
        converted: Any = {name: self.of(getattr(record, name)) for name in names}
        return replace(record, **converted)  # type: ignore[type-var]

    def columns(self, table: Any, names: Collection[str], first: int = 0) -> Any:
        """An Arrow table with these of its columns, from the one at ``first`` on, in this unit."""
        if self.base is None:
            return table
        import pyarrow.compute as pc

        for i in range(first, table.num_columns):
            if (name := table.column_names[i]) in names:
                table = table.set_column(i, name, pc.divide(table.column(i), math.log(self.base)))
        return table


NATS, BITS = Unit(), Unit(2.0)
