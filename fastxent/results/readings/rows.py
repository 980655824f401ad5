"""Reading totals: the single rows that they keep."""

from __future__ import annotations

from typing import Any

from fastxent.results.readings.base import Readings
from fastxent.statistics.worst import LABEL_ERRORS, free_name

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
        found: dict[str, Any] = {
            by: table for name, by in LABEL_ERRORS.items() if (table := self._rows_of(name)) is not None
        }
        return found or None

    @property
    def group_worst(self) -> Any:
        """A table as `worst` of every group: its values, then its rows of highest loss.

        All groups together keep 200,000 rows. Where that is fewer than asked for, each keeps half of them, a quarter,
        ... (`warnings` says so).
        """
        return self._rows_of_groups("worst")

    @property
    def group_worst_per_class(self) -> Any:
        """A table as `group_worst`: the rows of highest loss of every true class of every group."""
        return self._rows_of_groups("worst_per_class")

    @property
    def group_label_errors(self) -> dict[str, Any] | None:
        """Tables as `label_errors`, of every group as in `group_worst`."""
        found: dict[str, Any] = {
            by: table for name, by in LABEL_ERRORS.items() if (table := self._rows_of_groups(name)) is not None
        }
        return found or None

    def _rows_of(self, name: str) -> Any:
        """The table of single rows that a statistic keeps; its own columns come before the kept ones."""
        statistic: Any = self.totals.statistics.get(name)
        return None if statistic is None else self.unit.columns(statistic.table(self._names_of_targets), ("loss",))

    def _rows_of_groups(self, name: str) -> Any:
        groups: Any = self.totals.statistics.get("groups")
        table = None if groups is None else groups.rows(name, self._names_of_targets)
        if table is None:
            return None
        return self.unit.columns(table, (free_name("loss", groups.columns),), len(groups.columns))

    @property
    def _names_of_targets(self) -> tuple[str, ...] | None:
        spec = self.totals.spec
        return None if spec.task == "multilabel" else spec.class_names
