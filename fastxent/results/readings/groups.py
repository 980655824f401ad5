"""Reading totals: what they say of groups of rows."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from fastxent.results.readings.base import Readings
from fastxent.statistics.grouptable import IN_NATS

__all__ = ["GroupReadings"]


class GroupReadings(Readings):
    """Tables with a row a group."""

    @property
    def groups(self) -> Any:
        """A table with a row a group: its values, then its statistics, under the names that those of all rows have.

        ``count``, ``weight``, ``clusters``; ``loss``, ``sum``, ``stderr``, ``ci_low``, ``ci_high``, ``perplexity``,
        ``bits``; ``variance``, ``std``, ``min``, ``max`` and quantiles ``q01``, ``q05``, ``q25``, ``q50``, ``q75``,
        ``q95``, ``q99``, each with the bounds of its cell (``q50_low``, ``q50_high``); ``units``, ``loss_per_unit``,
        ``bits_per_unit``, ``stderr_per_unit``; ``entropy``; ``temperature_best``, ``temperature_loss``,
        ``temperature_gain``; ``normalized_entropy``, ``d2``, ``f1_macro``, ``balanced_accuracy``; ``accuracy``,
        ``accuracy_low``, ``accuracy_high``, ``top3``, ``top5``, ``top10``, ``mrr``; ``brier``; ``ece``, ``mce``,
        ``rmsce`` and, binary or with "classwise", ``reliability``, ``resolution``, ``uncertainty``, ``residual`` (15
        equal bins); ``classwise_ece``; ``auc`` and ``average_precision`` with bounds. What was not gathered has no
        column. All there is of one of them says `group`.
        """
        return self._groups

    @cached_property
    def _groups(self) -> Any:
        statistic: Any = self.totals.statistics.get("groups")
        return None if statistic is None else self._converted(statistic.table(), len(statistic.columns))

    def _converted(self, groups: Any, columns: int) -> Any:
        """A table of groups, after so many columns that they are grouped by, in the unit of the losses."""
        for names in ((*IN_NATS, "variance"), ("variance",)):
            groups = self.unit.columns(groups, {*names, *(f"{name}_" for name in names)}, columns)
        return groups

    @property
    def group_per_class(self) -> Any:
        """A table with a row for every class of every group that has it as target or predicts it.

        The values of the group, then what `per_class` says of its rows. None where there were too many classes of
        groups to count (`warnings` says so).
        """
        statistic: Any = self.totals.statistics.get("groups")
        found = None if statistic is None else statistic.per_class(self.class_names)
        return None if found is None else self._converted(found, len(statistic.columns))

    @property
    def group_classwise(self) -> Any:
        """A table with a row for every class of every group: the values of the group, then as `classwise`, of 15 bins.

        None where there were too many classes of groups (`warnings` says so). Groups without weight are left out.
        """
        statistic: Any = self.totals.statistics.get("groups")
        return None if statistic is None else statistic.classwise(self.class_names)

    @property
    def margins(self) -> dict[str, Any] | None:
        """Where several columns are crossed: for each of them a table as `groups`, of its values alone."""
        return self._margins

    @cached_property
    def _margins(self) -> dict[str, Any] | None:
        statistic: Any = self.totals.statistics.get("groups")
        if statistic is None or len(statistic.columns) < 2:
            return None
        return {name: self._converted(table, 1) for name, table in statistic.margins().items()}
