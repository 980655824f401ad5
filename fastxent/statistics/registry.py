"""Statistics beyond the tallies, each one file: its integer state, how it absorbs records of rows, how it is read.

The job fills the tallies (`fastxent.kernels.sums.tally`) block by block, fused with the loss. Whatever is here works on
records of some thousand scored rows instead, and costs nothing, not even compilation, unless it is asked for.
To add one: a `Statistic`, an entry in `new_statistics`, a name or a field in `fastxent.statistics.options`, and a
property in `fastxent.results.readings`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastxent.base.errors import UsageError
from fastxent.statistics.statistic import RECORD_ROWS, Record, Statistic, predicts_class

if TYPE_CHECKING:
    from fastxent.data.spec import Spec
    from fastxent.statistics.options import Measures

__all__ = ["RECORD_ROWS", "Record", "Statistic", "new_statistics"]


def new_statistics(spec: Spec, measures: Measures, classes: int, ranks: int) -> dict[str, Statistic]:
    """The empty statistics that are asked for, by name, in the order of their names."""
    from fastxent.statistics import (
        classwise,
        clusters,
        confused,
        entropy,
        groups,
        ranking,
        temperature,
        units,
        weighed,
        worst,
        worst_of_class,
    )

    single = predicts_class(spec)
    found: dict[str, Statistic] = {}
    if measures.group_by:
        found["groups"] = groups.Groups(spec, measures, classes, ranks)
    if measures.cluster_by is not None:
        found["clusters"] = clusters.Clusters(spec, measures.cluster_by, measures.units)
    if measures.units is not None:
        found["units"] = units.Units(spec, measures.units)
    if measures.worst:
        found["worst"] = worst.Worst(measures.worst, "loss", measures.keep, classes=single)
    if measures.worst_per_class:
        if not single:
            raise UsageError(f"worst_per_class needs one label a row, and {spec.loss} of task {spec.task!r} has none")
        found["worst_per_class"] = worst_of_class.WorstOfClass(measures.worst_per_class, classes, measures.keep)
    if measures.label_errors:
        if not single:
            raise UsageError(f"label_errors needs one label a row, and {spec.loss} of task {spec.task!r} has none")
        for name, by in worst.LABEL_ERRORS.items():
            found[name] = worst.Worst(measures.label_errors, by, measures.keep)
    if measures.ranking:
        if spec.task == "multiclass":
            raise UsageError("statistics 'ranking' applies to tasks 'binary' and 'multilabel'")
        found["ranking"] = ranking.Histograms(spec)
    if measures.entropy:
        found["entropy"] = entropy.Entropy(spec)
    if measures.classwise:
        found["classwise"] = classwise.Classwise(spec, classes)
    if measures.temperature:
        found["temperature"] = temperature.Temperature(spec)
    if measures.scores and single and spec.reads_weight:
        found["weighed"] = weighed.Weighed(spec, classes, ranks)
    if measures.scores and single and classes > confused.FULL_CLASSES:
        found["confused"] = confused.ConfusedPairs(spec)
    return dict(sorted(found.items()))
