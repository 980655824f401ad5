"""The group of which a statistic is worst, with an interval that knows that all groups were looked at."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fastxent.base.text import group_name, printable
from fastxent.statistics.reading import Reading
from fastxent.statistics.sampling import interval
from fastxent.statistics.students_t import NORMAL_FROM, t_quantile

__all__ = ["WorstGroup", "worst_group", "worst_of"]

#: Statistics of which more is worse; of the others less.
_MORE_IS_WORSE = ("loss", "ece", "q01", "q05", "q25", "q50", "q75", "q95", "q99")


@dataclass(frozen=True, slots=True)
class WorstGroup:
    """Of all groups with rows enough that in which a statistic is worst.

    ``low`` and ``high`` hold the statistics of all ``looked_at`` groups at once in 95 % of samples (Bonferroni), so
    that they hold for the worst, which was not chosen beforehand. ``stands_out``: they do not hold what all rows have.
    """

    statistic: str
    values: Mapping[str, Any]
    rows: int
    value: float
    low: float
    high: float
    looked_at: int
    whole: float

    @property
    def stands_out(self) -> bool:
        """Whether the group is worse than all rows beyond chance."""
        return self.whole < self.low or self.whole > self.high

    def __str__(self) -> str:
        name = printable(", ".join(f"{column}={group_name(value)}" for column, value in self.values.items()))
        how = f"95 % for the worst of {self.looked_at:,}: {self.low:.4g} to {self.high:.4g}"
        verdict = "" if self.stands_out else ", which may be chance"
        what = f"{name}: {self.statistic} {self.value:.4g} of {self.rows:,} rows"
        return f"{what}  ({how}; all rows {self.whole:.4g}{verdict})"

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"values": dict(self.values), "stands_out": self.stands_out}


def worst_of(groups: Reading, statistic: str, least: int) -> tuple[int, int] | None:
    """The number of the worst group of at least so many rows, and of how many it is; None where there are none."""
    blocks = groups.blocks()
    rows = np.concatenate([block.counts for block in blocks])
    value = np.concatenate([block[statistic] for block in blocks])
    enough = (rows >= least) & ~np.isnan(value)
    sign = 1.0 if statistic in _MORE_IS_WORSE else -1.0
    return (int(np.argmax(np.where(enough, sign * value, -math.inf))), int(enough.sum())) if enough.any() else None


def worst_group(
    whole: Reading, group: Reading, values: Mapping[str, Any], statistic: str, looked_at: int
) -> WorstGroup:
    """What is said of a group that is the worst of so many."""
    found = interval(group, statistic, t_quantile(1.0 - 0.05 / looked_at, NORMAL_FROM))
    low, high = (math.nan, math.nan) if found is None else (float(found[0][0]), float(found[1][0]))
    numbers = float(group.number(statistic)), low, high, looked_at, float(whole.number(statistic))
    return WorstGroup(statistic, values, int(group.counts[0]), *numbers)
