"""The rows to look at: those of highest loss, also of every true class, and those likeliest to be labeled wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.data.spec import Spec
from fastxent.statistics.laws import Law, together
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.row_keeper import By, RowKeeper, Rows, key_of
from fastxent.statistics.statistic import Statistic, predicts_class

__all__ = ["LABEL_ERRORS", "LabelErrors", "Worst", "WorstPerClass", "rows_table"]

#: The orders of rows that are likeliest to be labeled wrong, by the name of their keeper.
LABEL_ERRORS: dict[str, By] = {
    "label_errors_confidence": "self_confidence",
    "label_errors_margin": "normalized_margin",
}
#: Rows of all classes together.
MOST_ENTRIES = 100_000
#: What numbers of rows are below.
MOST_ROWS = 1 << 48
#: What a probability may differ by that is computed in another way.
_ROUNDED = 1e-9

Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]


class _KeptRows(Statistic):
    """Rows under an order, in keepers by name."""

    #: What the keepers are called in notes.
    what: ClassVar[str] = ""

    def __init__(self, keepers: dict[str, Rows]) -> None:
        self._keepers = keepers

    def keepers(self) -> dict[str, RowKeeper]:
        """See `Statistic.keepers`."""
        return {name: RowKeeper(rows) for name, rows in self._keepers.items()}

    def laws(self, reading: Reading) -> Iterator[Law]:
        """See `Statistic.laws`: as many rows are kept as there are, up to the quota; the worst has the largest loss."""
        low, high = reading.sums.extremes if "spread" in reading.statistics else np.full((2, reading.owners), np.nan)
        spec = reading.spec
        for name in self._keepers:
            found = reading.sums.keeper(name)
            assert found is not None
            yield from _laws_of(*found, reading.counts, low, high, spec)

    def note(self, table: str, level: int) -> str:
        """See `Statistic.note`."""
        rows = self._keepers[table]
        quota = rows.most >> level
        return f"{quota or 'no'} rows are kept for {table.replace('_', ' ')}" + (" of each class" * bool(rows.targets))


class Worst(_KeptRows):
    """The rows of highest loss."""

    name = "worst"

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        if not measures.worst:
            return None
        return cls({"worst": Rows(measures.worst, keep=measures.keep, predicts=predicts_class(spec))})


class WorstPerClass(_KeptRows):
    """The rows of highest loss of every true class: a class that is rare is seen beside one that is hard."""

    name = "worst_per_class"

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        most = measures.worst_per_class
        if not most:
            return None
        _check_label("worst_per_class", spec)
        classes = 2 if spec.task == "binary" else spec.num_classes
        if most * classes > MOST_ENTRIES:
            raise UsageError(
                f"worst_per_class: {most:,} rows of {classes:,} classes are more than {MOST_ENTRIES:,}; "
                f"ask for at most {MOST_ENTRIES // classes:,}, or for worst"
            )
        return cls({"worst_per_class": Rows(most, keep=measures.keep, targets=classes)})


class LabelErrors(_KeptRows):
    """The rows of least self-confidence, and of least normalized margin."""

    name = "label_errors"

    @classmethod
    def wanted(cls, spec: Spec, measures: Measures) -> Statistic | None:
        """See `Statistic.wanted`."""
        if not measures.label_errors:
            return None
        _check_label("label_errors", spec)
        return cls({name: Rows(measures.label_errors, by, measures.keep) for name, by in LABEL_ERRORS.items()})


def _laws_of(
    keeper: RowKeeper, numbers: Integers, counts: Integers, low: Numbers, high: Numbers, spec: Spec
) -> Iterator[Law]:
    """What kept rows of owners obey that have so many rows, and losses in that range (NaN: unknown)."""
    owners, values = keeper.values(numbers)
    rows, loss = keeper.rows, values["loss"]
    fine = (
        (loss >= 0.0)
        & ~((loss < low[owners]) | (loss > high[owners]))
        & np.logical_and.reduce([(values[name] >= 0) & (values[name] < MOST_ROWS) for name in ("id", "row")])
    )
    fine &= values["key"] == key_of(rows.by, loss, values["p_target"], values["confidence"])
    if rows.predicts:
        fine &= _is_of_classes(values, 2 if spec.task == "binary" else spec.num_classes)
        if spec.is_plain and spec.clip is None:
            fine &= np.isclose(np.exp(-loss), values["p_target"], rtol=_ROUNDED, atol=1e-300)
    if rows.by == "normalized_margin":
        fine &= values["target"] != values["predicted"]
    yield "a row is kept whose numbers are not those of any", together(~fine, owners, len(counts)) == 0
    yield "a row is kept twice", np.full(len(counts), len(np.unique(values["id"])) == len(loss))
    kept = together(np.ones(len(owners)), owners, len(counts))
    if rows.targets or rows.by == "normalized_margin":
        yield "more rows are kept than there are", kept <= counts
        return
    yield "other rows are kept than the first of all", kept == np.minimum(counts, keeper.quota)
    if rows.by == "loss" and keeper.quota:
        worst = np.full(len(counts), np.nan)
        np.fmax.at(worst, owners, loss)
        yield "the worst row has not the largest loss", (worst == high) | np.isnan(high)


def _is_of_classes(values: dict[str, NDArray[Any]], classes: int) -> NDArray[np.bool_]:
    """Which kept rows have classes that there are, and probabilities of them."""
    p, most, target, predicted = (values[name] for name in ("p_target", "confidence", "target", "predicted"))
    there = (target >= 0) & (target < classes) & (predicted >= 0) & (predicted < classes)
    fine: NDArray[np.bool_] = there & (p >= 0.0) & (p <= most * (1.0 + _ROUNDED)) & (most <= 1.0 + _ROUNDED)
    fine &= (target != predicted) | (p >= most * (1.0 - _ROUNDED))
    return fine


def _check_label(what: str, spec: Spec) -> None:
    if not predicts_class(spec):
        raise UsageError(f"{what} needs one label a row, and {spec.loss} of task {spec.task!r} has none")


def rows_table(reading: Reading, name: str, class_names: tuple[str, ...] | None) -> tuple[Any, Any] | None:
    """The owners of kept rows and the rows as an Arrow table, losses in the reading's unit; None where none are."""
    found = reading.sums.keeper(name)
    if found is None:
        return None
    keeper, numbers = found
    keeper.settle()
    if not keeper.quota:
        return None
    owners, table = keeper.table(numbers, class_names)
    return owners, reading.unit.columns(table, ("loss",))
