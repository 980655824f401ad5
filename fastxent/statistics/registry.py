"""All statistics, in the order in which they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastxent.base.errors import UsageError
from fastxent.data.spec import Spec
from fastxent.losses.base import READY
from fastxent.statistics.options import Measures, Readings

if TYPE_CHECKING:
    from fastxent.statistics.statistic import Statistic

__all__ = ["all_statistics", "check_readings", "wanted_statistics"]


def all_statistics() -> tuple[type[Statistic], ...]:
    """Every statistic there is."""
    from fastxent.statistics.accuracy import Accuracy
    from fastxent.statistics.balanced_accuracy import BalancedAccuracy
    from fastxent.statistics.brier import Brier
    from fastxent.statistics.calibration import Calibrated
    from fastxent.statistics.classes import Classes
    from fastxent.statistics.classwise import Classwise
    from fastxent.statistics.clusters import Clusters
    from fastxent.statistics.entropy import Entropy
    from fastxent.statistics.kept_rows import LabelErrors, Worst, WorstPerClass
    from fastxent.statistics.loss import Loss
    from fastxent.statistics.matthews import Matthews
    from fastxent.statistics.ranking import Ranking
    from fastxent.statistics.rows import RowCounts
    from fastxent.statistics.spread import Spread
    from fastxent.statistics.temperature import Temperature
    from fastxent.statistics.units import Units

    return (
        RowCounts, Clusters, Loss, Spread, Units, Entropy, Temperature, Classes, Accuracy, BalancedAccuracy, Matthews,
        Brier, Calibrated, Classwise, Ranking, Worst, WorstPerClass, LabelErrors,
    )  # fmt: skip


def wanted_statistics(spec: Spec, measures: Measures) -> tuple[Statistic, ...]:
    """The statistics that apply and are asked for."""
    found = (statistic.wanted(spec, measures) for statistic in all_statistics())
    return tuple(statistic for statistic in found if statistic is not None)


def check_readings(spec: Spec, measures: Measures, options: Readings) -> None:
    """Raise UsageError for what could not be read off the totals, before they are gathered."""
    from fastxent.statistics.binnings import check_bins

    if spec.form in READY:
        _check_ready_made(spec, measures, options)
    check_bins(options.bins, options.binning)
    for statistic in wanted_statistics(spec, measures):
        statistic.check(options)


def _check_ready_made(spec: Spec, measures: Measures, options: Readings) -> None:
    """Raise UsageError for what cannot be known of losses alone."""
    asked: dict[str, Any] = {
        name: getattr(measures, name) for name in ("statistics", "worst_per_class", "label_errors")
    }
    asked |= {"top_k": options.top_k, "bins": options.bins}
    for name, value in asked.items():
        if value:
            said = f"{name} {', '.join(map(repr, value))}" if name == "statistics" else name
            raise UsageError(f"{said}: cannot be known without predictions, and {spec.form} are all there is")
