"""The k rows of highest loss of every true class: a class that is rare is seen beside one that is hard."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import StateError, UsageError
from fastxent.kernels.contract import scorecard as sc
from fastxent.statistics.statistic import Record, Statistic
from fastxent.statistics.worst import (
    FIELDS,
    TARGET,
    Entry,
    Worst,
    entries_table,
    keys_by,
    new_entry,
    read_entries,
    written,
)

__all__ = ["MOST_ENTRIES", "WorstOfClass"]

#: Rows that all classes together may keep.
MOST_ENTRIES = 100_000


class WorstOfClass(Statistic):
    """A `Worst` for every class that occurs as target, in the order of the classes."""

    def __init__(self, k: int, classes: int, keep: tuple[str, ...] = ()) -> None:
        if k * classes > MOST_ENTRIES:
            raise UsageError(
                f"worst_per_class: {k:,} rows of {classes:,} classes are more than {MOST_ENTRIES:,}; "
                f"ask for at most {MOST_ENTRIES // classes:,}, or for worst"
            )
        self.k, self.keep = k, keep
        self._found: dict[int, Worst] = {}
        #: for every class the key that a row must not exceed
        self._limits: NDArray[np.int64] = np.full(classes, np.iinfo(np.int64).max)

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        targets, (keys, wanted) = record.card.whole[sc.TARGET, : record.n], keys_by("loss", record)
        rows = np.flatnonzero(wanted)
        rows = rows[keys[rows] <= self._limits[targets[rows]]]
        rows = rows[np.lexsort((rows, keys[rows], targets[rows]))]
        for target, here in groupby(rows.tolist(), key=lambda i: int(targets[i])):
            first = list(here)[: self.k]
            self._add(target, [new_entry(record, i, int(keys[i]), self.keep) for i in first])

    def _add(self, target: int, entries: list[Entry]) -> None:
        found = self._found.setdefault(target, Worst(self.k, keep=self.keep))
        found.add(entries)
        if len(found.entries) == self.k:
            self._limits[target] = found.entries[-1][0]

    def add(self, entries: Iterable[Entry]) -> None:
        """Take those that are among the first of their class."""
        for target, here in groupby(entries, key=lambda entry: int(entry[2][TARGET])):
            self._add(target, list(here))

    @property
    def entries(self) -> list[Entry]:
        """The rows of all classes, class by class."""
        return [entry for target in sorted(self._found) for entry in self._found[target].entries]

    def merge(self, other: WorstOfClass) -> None:
        """See `Statistic.merge`."""
        for target, found in other._found.items():
            self._add(target, found.entries)

    def shift(self, offset: int) -> None:
        """See `Statistic.shift`."""
        for found in self._found.values():
            found.shift(offset)

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        return written(self.entries), []

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        for entry in read_entries(value, self.keep):
            target = entry[2][TARGET]
            if not 0 <= target < len(self._limits):
                raise StateError(f"a worst row has class {target}, and there are {len(self._limits)}")
            self._add(target, [entry])

    def table(self, names: tuple[str, ...] | None = None) -> Any:
        """The rows as an Arrow table: by class, worst first."""
        return entries_table(self.entries, FIELDS, self.keep, names)
