"""Statistics by the values of one column, or of several crossed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from fastxent.base import exact
from fastxent.base.errors import StateError, UsageError
from fastxent.base.status import Status
from fastxent.data.spec import Spec
from fastxent.kernels.sums import group_sums as kernels
from fastxent.statistics.coarse import Coarse
from fastxent.statistics.groupcells import GroupedCalibration
from fastxent.statistics.groupclasses import GroupedClasses
from fastxent.statistics.groupclasswise import GroupedClasswise
from fastxent.statistics.groupclusters import GroupedClusters
from fastxent.statistics.groupkeys import Encoder, Key, column_of, order_of, plain, ranked, read_key, written_key
from fastxent.statistics.groupparts import GroupedLosses, GroupedRanks, Part
from fastxent.statistics.grouprows import GroupedRows
from fastxent.statistics.groupscores import GroupedScores
from fastxent.statistics.groupsums import GroupSums
from fastxent.statistics.grouptable import group_columns
from fastxent.statistics.groupvalues import GroupValues
from fastxent.statistics.statistic import OncePerBatch, Record, Statistic, predicts_class
from fastxent.statistics.worst import FIELDS, LABEL_ERRORS, free_name

if TYPE_CHECKING:
    from fastxent.statistics.options import Measures
    from fastxent.totals.totals import Totals

__all__ = ["MAX_GROUPS", "Groups"]

MAX_GROUPS = 100_000


class Groups(Statistic):
    """Every combination of values of ``columns``, as number of its exact sums and of what each keeps by place.

    What a group has in memory, and where the bounds are, is said in `fastxent.statistics.groupparts`.
    """

    def __init__(self, spec: Spec, measures: Measures, classes: int, ranks: int) -> None:
        self.columns = measures.group_by
        self._spec = spec
        self._values = GroupValues(spec, measures, ranks)
        self._sums = GroupSums(self._values.count, _new_parts(spec, measures, classes, ranks))
        self._index: dict[Key, int] = {}
        self._encoder, self._codes = Encoder(self.columns), OncePerBatch()

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        codes, sums, n = self._codes.of(record, self._encode), self._sums, record.n
        status = record.card.status[:n]
        sums.add(*self._values.of(record), codes, status)
        kernels.extremes(record.card, codes, sums.extremes)
        for part in sums.parts.values():
            part.absorb(record, codes)

    def _encode(self, extra: dict[str, Any]) -> NDArray[np.int32]:
        return self._encoder.codes(extra, self._number)

    def _number(self, key: Key) -> int:
        number = self._index.get(key)
        if number is None:
            number = self._index[key] = len(self._index)
            self._check(number + 1)
            self._sums.make_room(number + 1)
        return number

    def _check(self, count: int) -> None:
        if count > MAX_GROUPS:
            names = ", ".join(map(repr, self.columns))
            what = f"column {names} has" if len(self.columns) == 1 else f"columns {names} have together"
            raise UsageError(
                f"group_by: {what} more than {MAX_GROUPS:,} values; group by something coarser, or pass the column as "
                "cluster_by if it is there for standard errors"
            )

    def merge(self, other: Groups) -> None:
        """See `Statistic.merge`."""
        numbers = np.array([self._number(key) for key in other._index], np.int64)
        self._sums.merge(other._sums, numbers)

    def shift(self, offset: int) -> None:
        """See `Statistic.shift`."""
        for part in self._sums.parts.values():
            part.shift(offset)

    def _ordered(self) -> tuple[list[Key], NDArray[np.int64]]:
        """The groups that have a scored row, in canonical order, and their numbers."""
        numbers = np.fromiter(self._index.values(), np.int64, len(self._index))
        here = self._sums.counts[numbers] > 0
        keys = list(compress(self._index, here.tolist()))
        order = order_of(keys)
        return [keys[i] for i in order], numbers[here][order]

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        keys, order = self._ordered()
        levels, arrays = self._sums.state(order)
        return {"keys": list(map(written_key, keys)), "levels": levels}, arrays

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        keys = list(map(read_key, value["keys"]))
        if any(len(key) != len(self.columns) for key in keys):
            raise StateError("a group has another number of values than there are columns")
        self._index = {key: number for number, key in enumerate(keys)}
        self._check(len(self._index))
        if len(self._index) != len(keys):
            raise StateError("a group occurs twice")
        self._sums.load(value["levels"], arrays, len(keys))

    def fill(self, wanted: Mapping[str, Any], totals: Totals) -> None:
        """Put the rows of the groups with these values of columns into totals that are empty.

        Raises:
            UsageError: there are no such groups.
        """
        places = {self._place(name): ranked(plain(value)) for name, value in wanted.items()}
        counts = self._sums.counts
        here = [number for key, number in self._index.items()
                if counts[number] and all(key[at] == value for at, value in places.items())]  # fmt: skip
        if not here:
            told = ", ".join(f"{name}={value!r}" for name, value in wanted.items())
            raise UsageError(f"group: no scored row has {told}")
        numbers = np.full(len(self._sums.cells), -1, np.int64)
        numbers[here] = 0
        one = self._sums.regrouped(numbers, 1)
        tallies, values = totals.tallies, self._values
        sums = one.exact_sums()
        tallies.rows[Status.SCORED] = one.counts[0]
        tallies.sums[...] = sums[: len(tallies.sums)]
        tallies.extremes[...] = one.extremes[0]
        for name, which in values.of_statistics().items():
            totals.statistics[name].load(None, [sums[which]])
        fields: dict[str, Any] = {}
        for part in one.parts.values():
            fields |= part.fill(tallies, totals.statistics)
        quotas = [part.quota for part in one.parts.values() if isinstance(part, GroupedRows) and part.level]
        fields["rows"] = min(quotas, default=None)
        if fields.get("ranks") is not None and values.reciprocal >= 0:
            fields["reciprocal"] = exact.to_fraction(sums[values.reciprocal])
        totals.coarse = Coarse(**fields)

    def _place(self, name: str) -> int:
        if name not in self.columns:
            raise UsageError(f"group: {name!r} is not among the columns of group_by: {', '.join(self.columns)}")
        return self.columns.index(name)

    def table(self) -> Any:
        """The groups as an Arrow table: the columns, then `fastxent.statistics.grouptable.group_columns`."""
        keys, order = self._ordered()
        return self._table(self.columns, keys, self._sums, order)

    def per_class(self, names: Sequence[str]) -> Any:
        """An Arrow table with a row for every class that a group has as target or predicts; None where not told."""
        import pyarrow as pa

        keys, order = self._ordered()
        part = cast(GroupedClasses | None, self._sums.parts.get("classes"))
        if part is None or (found := part.table(self._sums.places(order))) is None:
            return None
        groups, columns = found
        columns |= {"class": pa.array(names, pa.string()).take(pa.array(columns["class"]))}
        return self._beside(keys, groups, columns)

    def classwise(self, names: Sequence[str]) -> Any:
        """An Arrow table with a row for every class of every group; None where not told."""
        import pyarrow as pa

        keys, order = self._ordered()
        part = cast(GroupedClasswise | None, self._sums.parts.get("classwise"))
        if part is None or (found := part.read(self._sums.places(order))) is None:
            return None
        groups, classes, columns = found
        return self._beside(keys, groups, {"class": pa.array(names, pa.string()).take(pa.array(classes))} | columns)

    def rows(self, name: str, names: tuple[str, ...] | None) -> Any:
        """An Arrow table of the single rows that groups keep under this name; None where there are none."""
        part = cast(GroupedRows | None, self._sums.parts.get(name))
        if part is None:
            return None
        part.settle()
        if not part.quota:
            return None
        keys, order = self._ordered()
        groups, table = part.table(self._sums.places(order), names)
        return self._beside(keys, groups, {column: table[column] for column in table.column_names})

    def _beside(self, keys: list[Key], groups: NDArray[np.int64], columns: dict[str, Any]) -> Any:
        """A table of the values of groups (by their places among the keys) and other columns."""
        import pyarrow as pa

        found = {name: column_of(keys, i).take(pa.array(groups)) for i, name in enumerate(self.columns)}
        for name, each in columns.items():
            found[free_name(name, found)] = each
        return pa.table(found)

    def notes(self) -> list[str]:
        """What groups say less exactly than all rows, since there are so many."""
        parts = self._sums.parts.values()
        for part in parts:
            part.settle()
        return [part.note() for part in parts if part.level]

    def margins(self) -> dict[str, Any]:
        """For every column a table as `table` of its values alone, over those of the other columns."""
        keys, order = self._ordered()
        found = {}
        for i, name in enumerate(self.columns):
            own: list[Key] = sorted({(key[i],) for key in keys})
            places = {key: place for place, key in enumerate(own)}
            numbers = np.full(len(self._sums.cells), -1, np.int64)
            numbers[order] = [places[(key[i],)] for key in keys]
            found[name] = self._table((name,), own, self._sums.regrouped(numbers, len(own)), np.arange(len(own)))
        return found

    def _table(self, columns: tuple[str, ...], keys: list[Key], sums: GroupSums, order: NDArray[np.int64]) -> Any:
        import pyarrow as pa

        result: dict[str, Any] = {name: column_of(keys, i) for i, name in enumerate(columns)}
        for name, values in group_columns(sums, self._values, self._spec, order).items():
            kind = pa.int64() if name in ("count", "clusters") else pa.float64()
            result[free_name(name, columns)] = pa.array(values, kind)
        return pa.table(result)


def _new_parts(spec: Spec, measures: Measures, classes: int, ranks: int) -> dict[str, Part]:
    found: dict[str, Part] = {"losses": GroupedLosses()}
    if measures.scores:
        found["ranks"] = GroupedRanks(spec, ranks)
    if measures.scores and predicts_class(spec):
        found |= {"cells": GroupedCalibration(spec), "classes": GroupedClasses(spec, classes)}
    if measures.cluster_by is not None:
        found["clusters"] = GroupedClusters(spec, measures.cluster_by, measures.units)
    if measures.ranking:
        found["scores"] = GroupedScores(spec)
    if measures.classwise:
        found["classwise"] = GroupedClasswise(spec, classes)
    shown = FIELDS if predicts_class(spec) else FIELDS[:3]
    if measures.worst:
        found["worst"] = GroupedRows("worst", measures.worst, "loss", measures.keep, shown, 0)
    if measures.worst_per_class:
        each = measures.worst_per_class
        found["worst_per_class"] = GroupedRows("worst_per_class", each, "loss", measures.keep, shown, classes)
    if measures.label_errors:
        for name, by in LABEL_ERRORS.items():
            found[name] = GroupedRows(name, measures.label_errors, by, measures.keep, shown, 0)
    return dict(sorted(found.items()))
