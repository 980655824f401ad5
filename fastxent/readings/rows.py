"""Reading totals: the single rows that they keep."""

from __future__ import annotations

from typing import Any

from fastxent.readings.base import Readings

__all__ = ["RowReadings"]


class RowReadings(Readings):
    """The rows of highest loss, and those that are likeliest to be labeled wrong."""

    @property
    def worst(self) -> Any:
        """A table of the rows of highest loss: path, row (from 0 in it), loss, target, predicted, kept columns."""
        return self._rows_of("worst")

    @property
    def worst_per_class(self) -> Any:
        """A table as `worst`: the rows of highest loss of every true class, class by class."""
        return self._rows_of("worst_per_class")

    @property
    def label_errors(self) -> dict[str, Any] | None:
        """Tables of the rows likeliest to be labeled wrong, by "self_confidence" and by "normalized_margin"."""
        found: dict[str, Any] = self.totals.statistics
        names = ("label_errors_confidence", "label_errors_margin")
        return {found[name].by: self._rows_of(name) for name in names} if names[0] in found else None

    def _rows_of(self, name: str) -> Any:
        """The table of single rows that a statistic keeps; its own columns come before the kept ones."""
        statistic: Any = self.totals.statistics.get(name)
        if statistic is None:
            return None
        spec = self.totals.spec
        table = statistic.table(None if spec.task == "multilabel" else spec.class_names)
        return self.unit.columns(table, ("loss",))
