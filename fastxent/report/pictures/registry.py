"""All pictures by the names that `plot` has for them, in the order of a page."""

from __future__ import annotations

from collections.abc import Callable

from fastxent.comparison.result import Comparison
from fastxent.report.picture import Picture
from fastxent.report.pictures import calibration, classes, comparison, curves, losses, rows, slices
from fastxent.results.evaluation import Evaluation

__all__ = ["OF_COMPARISON", "OF_EVALUATION"]

OF_EVALUATION: dict[str, Callable[[Evaluation], Picture | None]] = {
    "loss": losses.losses, "reliability": calibration.reliability, "scores": calibration.scores, "roc": curves.roc,
    "pr": curves.pr, "thresholds": curves.thresholds, "temperature": losses.temperature, "groups": slices.groups,
    "trend": slices.trend, "group_classes": slices.group_classes, "classes": classes.classes, "labels": classes.labels,
    "confusion": classes.confusion, "label_errors": rows.label_errors,
}  # fmt: skip
OF_COMPARISON: dict[str, Callable[[Comparison], Picture | None]] = {
    "groups": comparison.differences, "density": comparison.density, "loss": comparison.losses,
}  # fmt: skip
