"""The mean entropy of the predictions: how sure the model says it is, whatever the targets are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.statistics.field import Field
from fastxent.statistics.laws import Law, amount, between
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.record import Record
from fastxent.statistics.statistic import Statistic

__all__ = ["Entropy"]


class Entropy(Statistic):
    """The (weighted) mean of the entropies of the rows' predictions."""

    name = "entropy"

    def __init__(self, spec: Spec) -> None:
        self._weighted = spec.reads_weight
        self._largest = math.log(max(2, spec.num_classes))

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        if not measures.entropy:
            return None
        if spec.task != "multiclass":
            raise UsageError(f"statistics 'entropy' applies to task 'multiclass', and this is {spec.task!r}")
        return cls(spec)

    def sums(self) -> dict[str, int]:
        """See `Statistic.sums`."""
        return {"entropy": 1}

    def values(self, record: Record) -> Iterator[tuple[str, NDArray[np.float64]]]:
        """See `Statistic.values`."""
        real = record.card.real[:, : record.n]
        yield "entropy", real[sc.ENTROPY] * real[sc.WEIGHT] if self._weighted else real[sc.ENTROPY]

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        return (Field("entropy", "entropy", 1, narrow=True),)

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        return {"entropy": reading.exact("entropy").over(reading.total_weight)}

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`. Of probabilities that do not sum to 1 each has at most 1 / e."""
        entropy, classes = reading.exact("entropy"), reading.spec.num_classes
        largest = max(self._largest, classes / math.e) if reading.spec.form == "probs" else self._largest
        fine = amount(entropy) & between(0.0, entropy.rounded, largest, reading.total_weight.rounded)
        yield "the entropy is below 0 or above that of equal probabilities", fine

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """See `Statistic.headlines`."""
        entropy = reading.number("entropy")
        share = entropy / reading.unit.of(self._largest)
        yield "entropy", f"{entropy:.6g} {reading.unit}  ({share:.2%} of the largest)"
