"""The Brier score: the mean squared distance between probabilities and target."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from fastxent.data.spec import Spec
from fastxent.statistics.field import Field
from fastxent.statistics.laws import Law, amount, between
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.statistic import Statistic

__all__ = ["Brier", "BrierParts", "scaled"]


@dataclass(frozen=True, slots=True)
class BrierParts:
    """Murphy's parts: score = reliability - resolution + uncertainty + residual.

    The residual is what binning leaves over: spread of the probabilities within bins (Stephenson et al. 2008).
    """

    reliability: float
    resolution: float
    uncertainty: float
    residual: float


class Brier(Statistic):
    """Mean of sum_c (p_c - y_c)^2 over the classes; binary (p - y)^2, multilabel the mean over labels."""

    name = "brier"

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        return cls() if measures.scores else None

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        return (Field("brier", "Brier score", narrow=True),)

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        sums = reading.exact("weighted_brier" if reading.weighted else "brier")
        return {"brier": sums.over(reading.total_weight)}

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`. Probabilities that need not sum to 1 may all be wrong by 1."""
        spec, sums = reading.spec, reading.exact("weighted_brier" if reading.weighted else "brier")
        largest = 1 if spec.task != "multiclass" else 2 if spec.form == "logits" else max(2, spec.num_classes)
        fine = amount(sums) & sums.is_finite & between(0.0, sums.rounded, largest, reading.total_weight.rounded)
        yield f"the Brier score is not between 0 and {largest}", fine

    def section(self, reading: Reading) -> dict[str, Any]:
        """See `Statistic.section`."""
        brier = reading.number("brier")
        return {"brier": brier, "brier_scaled": scaled(brier, reading.spec)}

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """See `Statistic.headlines`."""
        brier = reading.number("brier")
        on_one = f"  ({scaled(brier, reading.spec):.6g} on [0, 1])" if reading.spec.task == "multiclass" else ""
        yield "Brier score", f"{brier:.6g}{on_one}"


def scaled(brier: float, spec: Spec) -> float:
    """The Brier score on [0, 1]: half the sum over classes."""
    return brier / 2.0 if spec.task == "multiclass" else brier
