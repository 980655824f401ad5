"""Balanced accuracy: the mean recall of the classes, which a frequent class does not rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.runs import run_starts, sum_of_runs
from fastxent.data.spec import Spec
from fastxent.statistics.classes import class_sums
from fastxent.statistics.field import Field
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.statistic import Statistic, predicts_class

__all__ = ["BalancedAccuracy", "mean_by_owner"]


class BalancedAccuracy(Statistic):
    """Mean over the classes that are a target of the share of their rows (or weight) that is right."""

    name = "balanced_accuracy"

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        return cls() if measures.scores and predicts_class(spec) else None

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        return (Field("balanced_accuracy", "balanced accuracy"), Field("f1_macro", "macro F1"))

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`: F1 is the mean over the classes that are a target or predicted."""
        classes, owners = class_sums(reading), reading.owners
        values = {"balanced_accuracy": reading.unknown, "f1_macro": reading.unknown}
        if classes is None:
            return values
        targets = classes.support.positive
        values["balanced_accuracy"] = mean_by_owner(classes.owners[targets], classes.recall[targets], owners)
        if classes.predictions:
            either = classes.support.positive | classes.predicted.positive
            values["f1_macro"] = mean_by_owner(classes.owners[either], classes.f1[either], owners)
        return values


def mean_by_owner(owners: NDArray[np.int64], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The mean of the values of every owner, summed exactly; NaN of none."""
    means = np.full(count, math.nan)
    starts = run_starts(owners)
    means[owners[starts]] = sum_of_runs(values, starts) / np.diff(np.append(starts, len(owners)))
    return means
