"""Reading totals: what they say class by class."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastxent.results.readings.base import Readings
from fastxent.statistics import classes as by_class
from fastxent.statistics.confused import most_confused
from fastxent.statistics.statistic import fixed

__all__ = ["ClassReadings"]

#: Confused pairs that are shown.
PAIRS = 20


class ClassReadings(Readings):
    """Classes and pairs of them."""

    @property
    def per_class(self) -> Any:
        """A table with a row a class: support, loss, precision, recall, f1, confidence when predicted, and its gap."""
        if not self._by_class:
            return None
        table = by_class.class_table(self.class_names, self._counts, self._sums, weighted=self._weighed is not None)
        table = self.unit.columns(table, ("loss",))
        if self.totals.coarse.classes != "targets":
            return table
        return table.drop_columns(["precision", "f1", "confidence", "gap"])  # they need to know what was predicted

    @property
    def confusion(self) -> np.ndarray[Any, np.dtype[np.int64]] | None:
        """Rows by target class (first axis) and predicted class; None where it was not gathered. Never weighted."""
        return self.totals.tallies.confusion if self.totals.tallies.confusion.size else None

    @property
    def weighted_confusion(self) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """Weight of the rows by target class and predicted class; None without weights, or where not gathered."""
        if self._weighed is None or not self._weighed.confusion.size:
            return None
        return by_class.weight_matrix(self._weighed.confusion)

    @property
    def confused(self) -> Any:
        """A table of the most confused pairs: target, predicted, count, and with weights up to 1000 classes the weight.

        None if there were too many to count (2^20).
        """
        import pyarrow as pa

        pairs = self._confused_pairs()
        if pairs is None:
            return None
        names = self.class_names
        columns = {
            "target": pa.array([names[t] for t, _, _ in pairs], pa.string()),
            "predicted": pa.array([names[p] for _, p, _ in pairs], pa.string()),
            "count": pa.array([count for _, _, count in pairs], pa.int64()),
        }
        if self._weighed is not None and self._weighed.confusion.size:
            found = [float(fixed(self._weighed.confusion[t, p], 0)) for t, p, _ in pairs]
            columns["weight"] = pa.array(found, pa.float64())
        return pa.table(columns)

    def _confused_pairs(self) -> list[tuple[int, int, int]] | None:
        statistic: Any = self.totals.statistics.get("confused")
        if statistic is not None:
            found = statistic.pairs()
            return None if found is None else found[:PAIRS]
        return None if self.confusion is None else most_confused(self.confusion, PAIRS)
