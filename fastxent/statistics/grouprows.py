"""The single rows of groups: the first of every group (or of every class in it) under one of the orders of `Worst`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import StateError
from fastxent.base.runs import run_starts
from fastxent.kernels.contract import scorecard as sc
from fastxent.statistics.groupparts import Part
from fastxent.statistics.sparse import PLACE_BITS
from fastxent.statistics.statistic import Record, check_shape
from fastxent.statistics.worst import FIELDS, By, Entry, kept_of, keys_by, rows_table

if TYPE_CHECKING:
    from fastxent.kernels.sums.tally import Tallies
    from fastxent.statistics.statistic import Statistic

__all__ = ["GroupedRows"]

_CLASSES = (1 << PLACE_BITS) - 1
#: Columns of a row: key and number in the data set, then `FIELDS`, floats as their bits and the path as its number.
_KEY, _ID, _FIELDS = 0, 1, 2
_PATH, _TARGET = _FIELDS + FIELDS.index("path"), _FIELDS + FIELDS.index("target")
_WIDTH = _FIELDS + len(FIELDS)
_FLOATS = frozenset(("loss", "p_target", "confidence"))
#: Rows that wait to be sorted in.
_WAITING = 1 << 14


class GroupedRows(Part):
    """The first ``k`` rows of every owner, ties by row number.

    An owner is a group or, with ``classes``, which says how many there are, a target class of a group.

    With more rows than `LIMIT` in all, each has k / 2, k / 4, ... of them, at last none.
    """

    #: Rows that all groups together may keep (16 MB a thread, and what is kept of columns).
    LIMIT = 200_000

    def __init__(self, name: str, k: int, by: By, keep: tuple[str, ...], shown: tuple[str, ...], classes: int) -> None:
        self._name, self._k, self._by, self._keep = name, k, by, keep
        self._shown, self._classes = shown, classes
        self.level = 0
        self._paths: dict[str, int] = {}
        self._owners: NDArray[np.int64] = np.zeros(0, np.int64)
        self._cells: NDArray[np.int64] = np.zeros((0, _WIDTH), np.int64)
        self._kept: NDArray[Any] = np.zeros((0, len(keep)), object)
        self._pending: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]] = []
        #: of the owners that have their share of rows, the key that another must not exceed
        self._full: NDArray[np.int64] = np.zeros(0, np.int64)
        self._last: NDArray[np.int64] = np.zeros(0, np.int64)

    @property
    def quota(self) -> int:
        """Rows that an owner may have, once they are settled."""
        return self._k >> self.level

    def empty(self) -> GroupedRows:
        """See `Part.empty`."""
        return GroupedRows(self._name, self._k, self._by, self._keep, self._shown, self._classes)

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """See `Part.absorb`."""
        keys, wanted = keys_by(self._by, record)
        rows = np.flatnonzero(wanted)
        owners = self._owned(groups[rows].astype(np.int64), record.card.whole[sc.TARGET, rows].astype(np.int64))
        if self._full.size:
            at = np.minimum(np.searchsorted(self._full, owners), len(self._full) - 1)
            beaten = (self._full[at] == owners) & (keys[rows] > self._last[at])
            rows, owners = rows[~beaten], owners[~beaten]
        order = _first(owners, keys[rows], rows, self.quota)
        rows, owners = rows[order], owners[order]
        if not rows.size:
            return
        self._wait(owners, self._cells_of(record, rows, keys[rows]), self._kept_of(record, rows))

    def _owned(self, groups: NDArray[np.int64], targets: NDArray[np.int64]) -> NDArray[np.int64]:
        owners: NDArray[np.int64] = groups << PLACE_BITS
        return owners | targets if self._classes else owners

    def _cells_of(self, record: Record, rows: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.int64]:
        real, whole, batch = record.card.real, record.card.whole, record.batch
        cells = np.empty((len(rows), _WIDTH), np.int64)
        places = record.lo + rows
        cells[:, _KEY], cells[:, _ID] = keys, record.first_id + rows
        found: dict[str, Any] = {
            "path": self._paths.setdefault(batch.path, len(self._paths)),
            "row": batch.first_row + places if batch.numbers is None else batch.numbers[places],
            "loss": real[sc.LOSS, rows],
            "target": whole[sc.TARGET, rows],
            "predicted": whole[sc.PREDICTED, rows],
            "p_target": real[sc.P_TARGET, rows],
            "confidence": real[sc.CONFIDENCE, rows],
        }
        for i, name in enumerate(FIELDS, start=_FIELDS):
            cells[:, i] = found[name].view(np.int64) if name in _FLOATS else found[name]
        return cells

    def _kept_of(self, record: Record, rows: NDArray[np.int64]) -> NDArray[Any]:
        kept = np.empty((len(rows), len(self._keep)), object)
        for place, i in enumerate(rows.tolist() if self._keep else ()):
            for column, value in enumerate(kept_of(record, i, self._keep)):
                kept[place, column] = value
        return kept

    def _wait(self, owners: NDArray[np.int64], cells: NDArray[np.int64], kept: NDArray[Any]) -> None:
        self._pending.append((owners, cells, kept))
        if sum(len(waiting) for waiting, _, _ in self._pending) > max(_WAITING, len(self._owners)):
            self.settle()

    def settle(self) -> None:
        """See `Part.settle`: sort in the rows that wait, and leave out those that are not among the first."""
        if not self._pending:
            return
        parts = [(self._owners, self._cells, self._kept), *self._pending]
        self._pending = []
        self._owners, self._cells, self._kept = (np.concatenate(each) for each in zip(*parts, strict=True))
        self._shorten()
        while len(self._owners) > self.LIMIT:
            self.level += 1
            self._shorten()
        ends = run_starts(self._owners)[1:] - 1
        ends = np.concatenate((ends, [len(self._owners) - 1])) if len(self._owners) else ends
        if self.quota:
            own = np.flatnonzero(_places(self._owners)[ends] == self.quota - 1)
            self._full, self._last = self._owners[ends[own]], self._cells[ends[own], _KEY]

    def _shorten(self) -> None:
        order = _first(self._owners, self._cells[:, _KEY], self._cells[:, _ID], self.quota)
        self._owners, self._cells, self._kept = self._owners[order], self._cells[order], self._kept[order]

    def merge(self, other: GroupedRows, numbers: NDArray[np.int64]) -> None:
        """See `Part.merge`."""
        other.settle()
        self.settle()
        groups = numbers[other._owners >> PLACE_BITS]
        here = groups >= 0
        cells = other._cells[here]
        paths = [self._paths.setdefault(path, len(self._paths)) for path in other._paths]
        cells[:, _PATH] = np.array(paths, np.int64)[cells[:, _PATH]]
        self.level = max(self.level, other.level)
        self._pending.append((groups[here] << PLACE_BITS | other._owners[here] & _CLASSES, cells, other._kept[here]))
        self.settle()

    def shift(self, offset: int) -> None:
        """See `Part.shift`; the rows keep their place in their own file."""
        self.settle()
        self._cells[:, _ID] += offset

    def _sorted(self, numbers: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        """Owners by ``numbers``, cells and kept values: by owner, the worst first."""
        self.settle()
        owners = numbers[self._owners >> PLACE_BITS] << PLACE_BITS | self._owners & _CLASSES
        order = np.argsort(owners, kind="stable")
        return owners[order], self._cells[order], self._kept[order]

    def state(self, numbers: NDArray[np.int64]) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Part.state`; paths are in their order."""
        owners, cells, kept = self._sorted(numbers)
        names = list(self._paths)
        used = sorted({names[i] for i in np.unique(cells[:, _PATH])})
        places = {name: place for place, name in enumerate(used)}
        cells[:, _PATH] = np.array([places.get(name, -1) for name in names], np.int64)[cells[:, _PATH]]
        return {"level": self.level, "paths": used, "kept": kept.tolist()}, [owners, cells]

    def load(self, value: Any, arrays: list[NDArray[np.int64]], groups: int) -> None:
        """See `Part.load`."""
        owners, cells = check_shape(arrays[0], (-1,)), check_shape(arrays[1], (len(arrays[0]), _WIDTH))
        level, paths, kept = value["level"], value["paths"], value["kept"]
        if not (isinstance(level, int) and 0 <= level < 64):
            raise StateError(f"rows of groups are of level {level!r}")
        if not all(isinstance(path, str) for path in paths) or len(set(paths)) != len(paths):
            raise StateError("rows of groups have a path that is no text, or the same twice")
        if len(kept) != len(owners) or any(len(values) != len(self._keep) for values in kept):
            raise StateError("rows of groups have other kept columns than they say")
        if owners.size and not (0 <= owners.min() <= owners.max() < groups << PLACE_BITS):
            raise StateError("a row is of a group that is not there")
        if cells.size and not (0 <= cells[:, _PATH].min() <= cells[:, _PATH].max() < len(paths)):
            raise StateError("a row of a group has a path that is not there")
        if owners.size and (owners & _CLASSES).max() >= max(self._classes, 1):
            raise StateError("a row of a group has a class that is not there")
        if self._classes and (owners & _CLASSES != cells[:, _TARGET]).any():
            raise StateError("a row of a group is kept for another class than it has")
        self.level, self._paths = level, {path: i for i, path in enumerate(paths)}
        values = np.empty((len(kept), len(self._keep)), object)
        for place, row in enumerate(kept):
            for column, each in enumerate(row):
                values[place, column] = each
        self._pending = [(owners, cells, values)]
        self.settle()

    def note(self) -> str:
        """See `Part.note`."""
        what = self._name.replace("_", " ")
        return f"{self.quota or 'no'} rows are kept for {what}" + (" of each class" if self._classes else "")

    def fill(self, tallies: Tallies, statistics: dict[str, Statistic]) -> dict[str, Any]:
        """See `Part.fill`."""
        if not self.quota:
            del statistics[self._name]
            return {}
        into: Any = statistics[self._name]
        into.add(self._entries())
        return {}

    def _entries(self) -> list[Entry]:
        _, cells, kept = self._sorted(np.zeros(1, np.int64))
        fields = list(self._fields(cells).values())
        columns = zip(
            *(list(values) if isinstance(values, list) else values.tolist() for values in fields), strict=True
        )
        keys, ids = cells[:, [_KEY, _ID]].T.tolist()
        rows = zip(keys, ids, columns, kept.tolist(), strict=True)
        return [(key, row_id, [*own, *values]) for key, row_id, own, values in rows]

    def _fields(self, cells: NDArray[np.int64]) -> dict[str, Any]:
        paths = list(self._paths)
        found: dict[str, Any] = {"path": [paths[i] for i in cells[:, _PATH].tolist()]}
        for i, name in enumerate(FIELDS[1:], start=_FIELDS + 1):
            column = np.ascontiguousarray(cells[:, i])
            found[name] = column.view(np.float64) if name in _FLOATS else column
        return found

    def table(self, numbers: NDArray[np.int64], names: tuple[str, ...] | None) -> tuple[NDArray[np.int64], Any]:
        """The groups of rows, and the rows as a table of `rows_table`: by group, (by class,) the worst first."""
        owners, cells, kept = self._sorted(numbers)
        columns = {name: kept[:, i].tolist() for i, name in enumerate(self._keep)}
        margin = self._by if self._by == "normalized_margin" else None
        return owners >> PLACE_BITS, rows_table(self._fields(cells), self._shown, columns, names, margin=margin)


def _places(owners: NDArray[np.int64]) -> NDArray[np.int64]:
    """The place of every row among those of its owner."""
    starts = run_starts(owners)
    lengths = np.diff(np.append(starts, len(owners)))
    found: NDArray[np.int64] = np.arange(len(owners)) - np.repeat(starts, lengths)
    return found


def _first(owners: NDArray[Any], keys: NDArray[Any], ids: NDArray[Any], quota: int) -> NDArray[np.int64]:
    """An order by owner, key and number, of the first ``quota`` of every owner."""
    order = np.lexsort((ids, keys, owners))
    found: NDArray[np.int64] = order[_places(owners[order]) < quota]
    return found
