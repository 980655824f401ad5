"""How many rows an owner has, and what they weigh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.data.spec import Spec
from fastxent.statistics.field import Field
from fastxent.statistics.laws import Law
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.statistic import Statistic
from fastxent.statistics.sums import Exact

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
        count = Field("count", "rows", kind=int, narrow=True)
        return (count, Field("weight", "weight", narrow=True)) if reading.weighted else (count,)

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        values: dict[str, NDArray[Any]] = {"count": reading.counts}
        return values | ({"weight": reading.total_weight.rounded} if reading.weighted else {})

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`: counts, and weights with their squares."""
        yield "there are fewer rows than none", reading.counts >= 0
        if not reading.weighted:
            return
        weight, squares = reading.exact("weight"), reading.exact("weight_square")
        some = np.array(weight.integers > 0, np.bool_) & weight.is_finite
        yield "the weights are not those of the scored rows", np.where(reading.counts > 0, some, ~some)
        square, count = weight.times(weight), Exact.of_counts(reading.counts)
        fine = squares.at_most(square) & square.at_most(count.times(squares)) & squares.is_finite
        yield "the squares of the weights are not those of such weights", fine

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`; the rows of an evaluation have a section of their own."""
        return {"weight_sum": reading.number("weight")} if reading.weighted else {}
