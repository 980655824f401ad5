"""An evaluation beside an earlier one: differences of statistics, not of pairs of rows."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any

from fastxent.base.errors import UsageError
from fastxent.results.evaluation import Evaluation
from fastxent.statistics.sampling import standard_error
from fastxent.statistics.students_t import NORMAL_FROM, Z95, t_two_sided
from fastxent.totals.state_files import read_state

__all__ = ["Baseline", "against"]

#: What is shown, where it is there.
SHOWN = ("loss", "accuracy", "f1", "f1_macro", "mcc", "auc", "brier", "ece")


@dataclass(frozen=True, slots=True)
class Baseline:
    """Statistics of the baseline by name, and what the evaluation has more of each (``delta``).

    ``ci95`` and ``p_value`` are those of the difference of two independent samples, where standard errors are known:
    wider than those of a paired comparison where the rows are the same.
    """

    path: str
    rows: int
    values: dict[str, float]
    delta: dict[str, float]
    ci95: dict[str, tuple[float, float]]
    p_value: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "path": self.path, "rows": self.rows, "values": self.values, "delta": self.delta,
            "ci95": {name: list(ends) for name, ends in self.ci95.items()}, "p_value": self.p_value,
        }  # fmt: skip

    def lines(self) -> list[tuple[str, str]]:
        """The differences that are shown, as lines of the summary."""
        shown = []
        for name in SHOWN:
            if name in self.delta:
                ends = self.ci95.get(name)
                told = "" if ends is None else f", 95 %: {ends[0]:+.4g} to {ends[1]:+.4g}, p = {self.p_value[name]:.2g}"
                shown.append(f"{name} {self.delta[name]:+.4g} (from {self.values[name]:.6g}{told})")
        return [("since baseline", "; ".join(shown))]


def against(result: Evaluation, path: str | os.PathLike[str]) -> Baseline:
    """An evaluation beside the totals in a state file.

    Raises:
        UsageError: the two have other tasks, losses or classes.
        SourceError: the file cannot be read.
    """
    earlier = Evaluation(read_state(path), base=result.base, bins=result.bins, binning=result.binning)
    one, other = result.totals.spec, earlier.totals.spec
    for name in ("task", "loss", "num_classes", "class_names"):
        if (ours := getattr(one, name)) != (theirs := getattr(other, name)):
            raise UsageError(f"--baseline {os.fspath(path)}: its {name} is {theirs!r}, and here it is {ours!r}")
    fields = earlier.fields
    both = {name: value for name, value in result.fields.items() if _is_number(value) and _is_number(fields.get(name))}
    delta = {name: value - fields[name] for name, value in both.items()}
    ci95, p_value = {}, {}
    for name, difference in delta.items():
        errors = [_error(each, name) for each in (result, earlier)]
        error = math.hypot(*errors)
        if error > 0.0 and math.isfinite(error):
            ci95[name] = (difference - Z95 * error, difference + Z95 * error)
            p_value[name] = t_two_sided(difference / error, NORMAL_FROM)
    values = {name: fields[name] for name in both}
    return Baseline(os.fspath(path), earlier.num_rows, values, delta, ci95, p_value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _error(result: Evaluation, name: str) -> float:
    """The standard error of a statistic; NaN where it is not known."""
    fields = result.fields
    if name == "loss":
        return float(fields.get("stderr", math.nan))
    if name == "accuracy" and "f1_micro" in fields:
        name = "f1_micro"
    found = standard_error(result.reading, name)
    return math.nan if found is None else float(found[0])
