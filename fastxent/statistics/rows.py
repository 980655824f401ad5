"""How many rows an owner has, and what they weigh."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from fastxent.data.spec import Spec
from fastxent.statistics.field import Field
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.statistic import Statistic

__all__ = ["RowCounts"]


class RowCounts(Statistic):
    """Scored rows, and with weights the sum of their weights."""

    name = "rows"

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        return cls()

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        count = Field("count", "rows", kind=int)
        return (count, Field("weight", "weight")) if reading.weighted else (count,)

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        values: dict[str, NDArray[Any]] = {"count": reading.counts}
        return values | ({"weight": reading.total_weight.rounded} if reading.weighted else {})

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`; the rows of an evaluation have a section of their own."""
        return {"weight_sum": reading.number("weight")} if reading.weighted else {}
