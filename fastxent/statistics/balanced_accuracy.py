"""Means over classes: balanced accuracy (of their recalls), which a frequent class does not rule, and F1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.runs import run_starts, sum_of_runs
from fastxent.base.twofold import Twofold, sum_by_owner
from fastxent.data.spec import Spec
from fastxent.statistics.classes import class_sums
from fastxent.statistics.field import Field
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.statistic import Statistic, predicts_class

__all__ = ["BalancedAccuracy", "mean_by_owner"]


class BalancedAccuracy(Statistic):
    """Mean over the classes that are a target of the share of their rows (or weight) that is right; means of F1.

    F1 of a class is the harmonic mean of its precision and recall. Its plain mean is over the classes that are a target
    or predicted; others are weighted by support, or of all rows at once ("micro", the accuracy). Of binary tasks
    precision, recall and F1 are those of class 1; NaN over nothing.
    """

    name = "balanced_accuracy"

    def __init__(self, spec: Spec) -> None:
        self._binary = spec.task == "binary"

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        return cls(spec) if measures.scores and predicts_class(spec) else None

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        names = {
            "balanced_accuracy": "balanced accuracy", "f1_macro": "macro F1", "f1_weighted": "F1 by support",
            "f1_micro": "micro F1",
        }  # fmt: skip
        positive = {"precision": "precision", "recall": "recall", "f1": "F1"} if self._binary else {}
        return tuple(Field(name, title, share=True) for name, title in (names | positive).items())

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        classes, owners = class_sums(reading), reading.owners
        values = {field.name: reading.unknown for field in self.fields(reading)}
        if classes is None:
            return values
        targets = classes.support.positive
        values["balanced_accuracy"] = mean_by_owner(classes.owners[targets], classes.recall[targets], owners)
        one = classes.classes == 1
        if self._binary:
            values["recall"][classes.owners[one]] = classes.recall[one]
        if not classes.predictions:
            return values
        either = targets | classes.predicted.positive
        own, f1, starts = classes.owners[either], classes.f1[either], run_starts(classes.owners[either])
        values["f1_macro"] = mean_by_owner(own, f1, owners)
        support, predicted, correct = (
            each[either].as_numbers() for each in (classes.support, classes.predicted, classes.correct)
        )
        rows, said, right = (sum_by_owner(each, starts) for each in (support, predicted, correct))
        values["f1_weighted"][own[starts]] = sum_by_owner(support * Twofold.of(f1), starts).over(rows)
        values["f1_micro"][own[starts]] = (right + right).over(rows + said)
        if self._binary:
            values["precision"][classes.owners[one]] = classes.precision[one]
            values["f1"][classes.owners[one]] = classes.f1[one]
        return values


def mean_by_owner(owners: NDArray[np.int64], values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """The mean of the values of every owner, summed exactly; NaN of none."""
    means = np.full(count, math.nan)
    starts = run_starts(owners)
    means[owners[starts]] = sum_of_runs(values, starts) / np.diff(np.append(starts, len(owners)))
    return means
