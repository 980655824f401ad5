"""The rows to look at: those of highest loss, also of every true class, and those likeliest to be labeled wrong."""

from __future__ import annotations

from typing import Any, ClassVar

from fastxent.base.errors import UsageError
from fastxent.data.spec import Spec
from fastxent.statistics.options import Measures
from fastxent.statistics.reading import Reading
from fastxent.statistics.row_keeper import By, RowKeeper, Rows
from fastxent.statistics.statistic import Statistic, predicts_class

__all__ = ["LABEL_ERRORS", "LabelErrors", "Worst", "WorstPerClass", "rows_table"]

#: The orders of rows that are likeliest to be labeled wrong, by the name of their keeper.
LABEL_ERRORS: dict[str, By] = {
    "label_errors_confidence": "self_confidence",
    "label_errors_margin": "normalized_margin",
}
#: Rows of all classes together.
MOST_ENTRIES = 100_000


class _KeptRows(Statistic):
    """Rows under an order, in keepers by name."""

    #: What the keepers are called in notes.
    what: ClassVar[str] = ""

    def __init__(self, keepers: dict[str, Rows]) -> None:
        self._keepers = keepers

    def keepers(self) -> dict[str, RowKeeper]:
        """See `Statistic.keepers`."""
        return {name: RowKeeper(rows) for name, rows in self._keepers.items()}

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
