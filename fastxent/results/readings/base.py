"""What every reading of totals starts from: the totals, how they are to be read, and sums by class."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from fastxent.base.log_unit import Unit
from fastxent.statistics import classes as by_class
from fastxent.statistics import loss as losses
from fastxent.statistics.loss import mean_loss
from fastxent.statistics.options import Binning
from fastxent.totals.totals import Totals

__all__ = ["Readings"]


class Readings:
    """See `fastxent.results.evaluation.Evaluation`, which is made of such readings and has these attributes."""

    totals: Totals
    unit: Unit
    bins: int | None
    binning: Binning
    top_ks: Sequence[int] | None
    base: float | None

    @property
    def num_rows(self) -> int:
        """Rows that were scored."""
        return losses.num_scored(self.totals)

    @cached_property
    def _nats(self) -> float:
        return mean_loss(self.totals)

    @property
    def _has_scores(self) -> bool:
        return self.totals.measures.scores

    @property
    def _by_class(self) -> bool:
        return bool(self.totals.tallies.classes.size)

    @property
    def _weighed(self) -> Any:
        return self.totals.statistics.get("weighed")

    @cached_property
    def _counts(self) -> by_class.ByClass:
        self.totals.settle()
        return by_class.read_classes(self.totals.tallies)

    @cached_property
    def _sums(self) -> by_class.ByClass:
        return self._counts if self._weighed is None else by_class.weigh_classes(self._weighed)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes (labels of a multilabel task): those of the spec, else their numbers."""
        spec = self.totals.spec
        return spec.class_names or tuple(map(str, range(2 if spec.task == "binary" else spec.num_classes)))
