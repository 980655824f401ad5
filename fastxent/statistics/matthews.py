"""The Matthews correlation coefficient of targets and predicted classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.runs import run_starts
from fastxent.base.twofold import sum_by_owner
from fastxent.data.spec import Spec
from fastxent.statistics.classes import class_sums
from fastxent.statistics.field import Field
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.statistic import Statistic, predicts_class

__all__ = ["Matthews"]


class Matthews(Statistic):
    r"""The correlation of one-hot targets and predictions, from -1 to 1.

    :math:`(c s - \sum_k t_k p_k) / \sqrt{(s^2 - \sum_k t_k^2)(s^2 - \sum_k p_k^2)}`, with t_k rows (or weight) of class
    k, p_k those that predict it, c those that are right and s all (Gorodkin 2004). Where all targets or all predictions
    are of one class it is 0, as in scikit-learn; NaN without a row.
    """

    name = "mcc"

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        return cls() if measures.scores and predicts_class(spec) else None

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """See `Statistic.fields`."""
        return (Field("mcc", "Matthews correlation"),)

    def read(self, reading: Reading) -> Mapping[str, NDArray[Any]]:
        """See `Statistic.read`."""
        classes, mcc = class_sums(reading), reading.unknown
        if classes is None or not classes.predictions:
            return {"mcc": mcc}
        starts = run_starts(classes.owners)
        support, correct, predicted = (
            words.as_numbers() for words in (classes.support, classes.correct, classes.predicted)
        )
        right, rows, products, targets, predictions = (
            sum_by_owner(terms, starts)
            for terms in (
                correct, support, support * predicted, support * support, predicted * predicted,
            )
        )  # fmt: skip
        square = rows * rows
        above = (right * rows - products).high
        below = ((square - targets) * (square - predictions)).high
        mcc[classes.owners[starts]] = np.where(
            rows.high > 0.0, np.where(below > 0.0, above / np.sqrt(below), 0.0), math.nan
        )
        return {"mcc": mcc}
