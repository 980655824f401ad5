"""ROC and precision-recall curves of one label as points, and what single thresholds give."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.exact import rounded_ratio
from fastxent.statistics.score_cells import ENDS, ScoreCells

__all__ = ["PrecisionRecallCurve", "RocCurve", "threshold_table"]

Numbers = NDArray[np.float64]
#: Probabilities at which thresholds are shown.
SHOWN = (0.001, 0.01, *(k / 20 for k in range(1, 20)), 0.99, 0.999)


@dataclass(frozen=True, slots=True, eq=False)
class RocCurve:
    """A ROC curve; ``fpr, tpr, thresholds = curve`` as scikit-learn's ``roc_curve(..., drop_intermediate=False)``.

    Every point is exact: what predicting "positive" for scores of at least the threshold gives. Between two points,
    where `exact` is False, scores of a bin are not told apart: the curve surely runs within the rectangle of both.

    Attributes:
        fpr: false-positive rates, rising from 0 to 1; NaN without negatives.
        tpr: true-positive rates; NaN without positives.
        thresholds: falling scores, the first infinite.
        area: the area under the points, joined by lines; NaN of one side alone.
        bounds: surely hold the area of the exact curve.
        scale: what thresholds are: "probs" (the probability of the class), "logits" or "log_probs".
    """

    fpr: Numbers
    tpr: Numbers
    thresholds: Numbers
    area: float
    bounds: tuple[float, float]
    scale: str

    @classmethod
    def of(cls, cells: ScoreCells, scale: str) -> RocCurve:
        """The curve of the only key."""
        false, true = (np.concatenate(([0], side[::-1])) for side in cells.above())
        fpr, tpr = (rounded_ratio(side, np.full(len(side), side[-1], side.dtype)) for side in (false, true))
        thresholds = np.concatenate(([math.inf], cells.thresholds[::-1]))
        return cls(fpr, tpr, thresholds, *_area(cells, "auc"), scale)

    @property
    def exact(self) -> bool:
        """Whether no bin mixed scores of both sides."""
        return self.bounds[0] == self.bounds[1]

    @property
    def table(self) -> Any:
        """The points as an Arrow table: threshold, fpr, tpr."""
        import pyarrow as pa

        return pa.table({"threshold": self.thresholds, "fpr": self.fpr, "tpr": self.tpr})

    def __iter__(self) -> Iterator[Numbers]:
        return iter((self.fpr, self.tpr, self.thresholds))


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecallCurve:
    """A precision-recall curve; ``precision, recall, thresholds = curve`` as scikit-learn's ``precision_recall_curve``.

    Every point is exact, as of `RocCurve`. The last one, precision 1 and recall 0, has no threshold.

    Attributes:
        precision: the share of positives among scores of at least the threshold.
        recall: the share of them that these are, falling from 1 to 0; NaN without positives.
        thresholds: rising scores, one less than points.
        average_precision: the sum over points of the gain of recall times precision; NaN of one side alone.
        bounds: surely hold that of exact scores.
        scale: what thresholds are: "probs" (the probability of the class), "logits" or "log_probs".
    """

    precision: Numbers
    recall: Numbers
    thresholds: Numbers
    average_precision: float
    bounds: tuple[float, float]
    scale: str

    @classmethod
    def of(cls, cells: ScoreCells, scale: str) -> PrecisionRecallCurve:
        """The curve of the only key."""
        false, true = cells.above()
        precision = rounded_ratio(true, true + false)
        recall = rounded_ratio(true, np.full(len(true), true[0] if len(true) else 0, true.dtype))
        points = np.append(precision, 1.0), np.append(recall, 0.0)
        return cls(*points, cells.thresholds, *_area(cells, "average_precision"), scale)

    @property
    def exact(self) -> bool:
        """Whether no bin mixed scores of both sides."""
        return self.bounds[0] == self.bounds[1]

    @property
    def table(self) -> Any:
        """The points as an Arrow table: threshold (null at the last), precision, recall."""
        import pyarrow as pa

        thresholds = pa.array([*self.thresholds.tolist(), None], pa.float64())
        return pa.table({"threshold": thresholds, "precision": self.precision, "recall": self.recall})

    def __iter__(self) -> Iterator[Numbers]:
        return iter((self.precision, self.recall, self.thresholds))


def _area(cells: ScoreCells, name: str) -> tuple[float, tuple[float, float]]:
    """An area of the only key, and its bounds."""
    one = ScoreCells(np.zeros_like(cells.keys), *(getattr(cells, each) for each in ScoreCells.__slots__[1:]))
    areas = one.areas(1)
    value, low, high = (float(areas[name + end][0]) for end in ENDS)
    return value, (low, high)


def threshold_table(cells: ScoreCells, edges: Numbers, scale: str) -> Any:
    """Counts and rates of predicting "positive" for scores of at least ``threshold``, as an Arrow table.

    Thresholds are cell edges, the nearest ones to usual probabilities, so every count is exact.
    """
    import pyarrow as pa

    false, true = (np.append(side, 0) for side in cells.above())
    negatives, positives = false[0], true[0]
    scores = [{"probs": p, "log_probs": math.log(p), "logits": math.log(p / (1.0 - p))}[scale] for p in SHOWN]
    thresholds = np.array([edges[np.argmin(np.abs(edges - score))] for score in scores])
    at = np.searchsorted(cells.thresholds, thresholds)
    false, true = false[at], true[at]
    same = np.full(len(SHOWN), 1, false.dtype)
    return pa.table(
        {
            "probability": SHOWN,
            "threshold": thresholds,
            "predicted": rounded_ratio(true + false, same * (positives + negatives)),
            "precision": rounded_ratio(true, true + false),
            "recall": rounded_ratio(true, same * positives),
            "fpr": rounded_ratio(false, same * negatives),
            "f1": rounded_ratio(2 * true, same * positives + true + false),
        }
    )
