"""Single rows that owners keep: the first of every owner (or of every class in it) under an order of the rows."""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import StateError
from fastxent.base.runs import run_starts
from fastxent.data.plain_column import as_python
from fastxent.kernels.contract import scorecard as sc
from fastxent.statistics.record import Record, check_shape
from fastxent.statistics.table import PLACE_BITS, PLACES

__all__ = ["By", "RowKeeper", "Rows", "free_name", "key_of"]

Integers = NDArray[np.int64]
By = Literal["loss", "self_confidence", "normalized_margin"]

#: What is kept of a row, after its key and its number in the data set.
_FIELDS = ("path", "row", "loss", "target", "predicted", "p_target", "confidence")
_FLOATS = frozenset(("loss", "p_target", "confidence"))
_KEY, _ID, _FIRST = 0, 1, 2
_PATH, _ROW, _LOSS, _TARGET = (_FIRST + _FIELDS.index(name) for name in ("path", "row", "loss", "target"))
_WIDTH = _FIRST + len(_FIELDS)


@dataclass(frozen=True)
class Rows:
    """What a keeper is for.

    Attributes:
        most: rows of an owner.
        by: their order: loss (descending), self-confidence or normalized margin (ascending). Ties, as of probabilities
            that are too small for a float, go by the loss, then by row number.
        keep: columns that are kept with them.
        targets: how many target classes have owners of their own within each owner; 0 for none.
        predicts: whether rows have classes; without there are only place and loss.
        limit: rows that all groups together may keep (16 MB a thread, and what is kept of columns).
    """

    most: int
    by: By = "loss"
    keep: tuple[str, ...] = ()
    targets: int = 0
    predicts: bool = True
    limit: int = 200_000


class RowKeeper:
    """The first rows of every owner.

    With more rows than the limit in all groups together, each owner has half of ``most``, a quarter, ..., at last none.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self.level = 0
        self._paths: dict[str, int] = {}
        self._owners: Integers = np.zeros(0, np.int64)
        self._cells: Integers = np.zeros((0, _WIDTH), np.int64)
        self._kept: NDArray[Any] = np.zeros((0, len(rows.keep)), object)
        self._waiting: list[tuple[Integers, Integers, NDArray[Any]]] = []
        #: of the owners that have their share of rows, the key that another must not exceed
        self._full: Integers = np.zeros(0, np.int64)
        self._last: Integers = np.zeros(0, np.int64)

    @property
    def quota(self) -> int:
        """Rows that an owner may have, once they are settled."""
        return self.rows.most >> self.level

    @property
    def told(self) -> tuple[str, ...]:
        """The fields of rows that mean something."""
        return ("loss", "target", "predicted", "p_target", "confidence") if self.rows.predicts else ("loss",)

    def absorb(self, record: Record, groups: NDArray[np.int32]) -> None:
        """Take those rows of a record that are among the first of their owners; ``groups`` are those of the rows."""
        keys, wanted = _keys(self.rows.by, record)
        if len(self._full) == 1 and not (self.rows.targets or self._owners[-1] or groups.any()):
            wanted = wanted & (keys <= self._last[0])  # one owner, which is full: most rows are beaten
        rows = np.flatnonzero(wanted)
        if not rows.size:
            return
        owners = groups[rows].astype(np.int64) << PLACE_BITS
        if self.rows.targets:
            owners |= record.card.whole[sc.TARGET, rows].astype(np.int64)
        if self._full.size:
            at = np.minimum(np.searchsorted(self._full, owners), len(self._full) - 1)
            beaten = (self._full[at] == owners) & (keys[rows] > self._last[at])
            rows, owners = rows[~beaten], owners[~beaten]
        order = _first(owners, keys[rows], record.card.real[sc.LOSS, rows], rows, self.quota)
        rows, owners = rows[order], owners[order]
        if rows.size:
            self._waiting.append((owners, self._cells_of(record, rows, keys[rows]), self._kept_of(record, rows)))
            if sum(len(waiting) for waiting, _, _ in self._waiting) > max(len(self._owners), self.rows.most):
                self.settle()

    def _cells_of(self, record: Record, rows: Integers, keys: Integers) -> Integers:
        real, whole, batch = record.card.real, record.card.whole, record.batch
        cells = np.empty((len(rows), _WIDTH), np.int64)
        places = record.lo + rows
        cells[:, _KEY], cells[:, _ID] = keys, record.first_id + rows
        columns: dict[str, Any] = {
            "path": self._paths.setdefault(batch.path, len(self._paths)),
            "row": batch.first_row + places if batch.numbers is None else batch.numbers[places],
            "loss": real[sc.LOSS, rows],
            "target": whole[sc.TARGET, rows],
            "predicted": whole[sc.PREDICTED, rows],
            "p_target": real[sc.P_TARGET, rows],
            "confidence": real[sc.CONFIDENCE, rows],
        }
        for i, name in enumerate(_FIELDS, start=_FIRST):
            cells[:, i] = columns[name].view(np.int64) if name in _FLOATS else columns[name]
        return cells

    def _kept_of(self, record: Record, rows: Integers) -> NDArray[Any]:
        keep, extra = self.rows.keep, record.batch.extra or {}
        kept = np.empty((len(rows), len(keep)), object)
        for place, i in enumerate(rows.tolist() if keep else ()):
            for column, name in enumerate(keep):
                kept[place, column] = _plain(extra[name][record.lo + i])
        return kept

    def settle(self) -> None:
        """Sort in the rows that wait, and leave out those that are not among the first."""
        if not self._waiting:
            return
        parts = [(self._owners, self._cells, self._kept), *self._waiting]
        self._waiting = []
        self._owners, self._cells, self._kept = (np.concatenate(each) for each in zip(*parts, strict=True))
        self._shorten()
        while len(self._owners) > self.rows.limit:
            self.level += 1
            self._shorten()
        starts = run_starts(self._owners)
        ends = np.append(starts[1:], len(self._owners))[: len(starts)] - 1
        full = np.flatnonzero(ends - starts == self.quota - 1) if self.quota else ends[:0]
        self._full, self._last = self._owners[ends[full]], self._cells[ends[full], _KEY]

    def _shorten(self) -> None:
        losses = self._cells[:, _LOSS].copy().view(np.float64)
        order = _first(self._owners, self._cells[:, _KEY], losses, self._cells[:, _ID], self.quota)
        self._owners, self._cells, self._kept = self._owners[order], self._cells[order], self._kept[order]

    def merge(self, other: RowKeeper, numbers: Integers) -> None:
        """Add the other's rows; ``numbers`` are the numbers here of its groups, negative for one to leave out."""
        other.settle()
        self.settle()
        groups = numbers[other._owners >> PLACE_BITS]
        here = groups >= 0
        cells = other._cells[here]
        paths = [self._paths.setdefault(path, len(self._paths)) for path in other._paths]
        cells[:, _PATH] = np.array(paths, np.int64)[cells[:, _PATH]]
        self.level = max(self.level, other.level)
        self._waiting.append((groups[here] << PLACE_BITS | other._owners[here] & PLACES, cells, other._kept[here]))
        self.settle()

    def shift(self, offset: int, rows: int = 0, path: str | None = None) -> None:
        """Count rows from ``offset`` on, in their own file from ``rows`` on, and call that ``path`` if it is given."""
        self.settle()
        self._cells[:, _ID] += offset
        self._cells[:, _ROW] += rows
        if path is not None:
            self._paths, self._cells[:, _PATH] = {path: 0}, 0

    def _sorted(self, numbers: Integers) -> tuple[Integers, Integers, NDArray[Any]]:
        """Owners by ``numbers``, cells and kept values: by owner, the worst first."""
        self.settle()
        groups = numbers[self._owners >> PLACE_BITS]
        owners = groups << PLACE_BITS | self._owners & PLACES
        order = np.argsort(owners, kind="stable")
        order = order[groups[order] >= 0]
        return owners[order], self._cells[order], self._kept[order]

    def state(self, numbers: Integers) -> tuple[Any, list[Integers]]:
        """The canonical form, owners called by ``numbers``: a JSON value, and two arrays; paths are in their order."""
        owners, cells, kept = self._sorted(numbers)
        names = list(self._paths)
        used = sorted({names[i] for i in np.unique(cells[:, _PATH])})
        places = {name: place for place, name in enumerate(used)}
        cells[:, _PATH] = np.array([places.get(name, -1) for name in names], np.int64)[cells[:, _PATH]]
        return {"level": self.level, "paths": used, "kept": kept.tolist()}, [owners, cells]

    def load(self, value: Any, arrays: list[Integers], groups: int) -> None:
        """Take over what `state` gave of so many groups."""
        owners, cells = check_shape(arrays[0], (-1,)), check_shape(arrays[1], (len(arrays[0]), _WIDTH))
        level, paths, kept = value["level"], value["paths"], value["kept"]
        if not (isinstance(level, int) and 0 <= level < 64):
            raise StateError(f"kept rows are of level {level!r}")
        if not all(isinstance(path, str) for path in paths) or len(set(paths)) != len(paths):
            raise StateError("kept rows have a path that is no text, or the same twice")
        if len(kept) != len(owners) or any(len(values) != len(self.rows.keep) for values in kept):
            raise StateError("kept rows have other kept columns than they say")
        if owners.size and not (0 <= owners.min() <= owners.max() < groups << PLACE_BITS):
            raise StateError("a kept row is of a group that is not there")
        if cells.size and not (0 <= cells[:, _PATH].min() <= cells[:, _PATH].max() < len(paths)):
            raise StateError("a kept row has a path that is not there")
        targets = self.rows.targets
        if owners.size and (owners & PLACES).max() >= max(targets, 1):
            raise StateError(f"a kept row has a class that is not there; there are {targets}")
        if targets and (owners & PLACES != cells[:, _TARGET]).any():
            raise StateError("a kept row is kept for another class than it has")
        self.level, self._paths = level, {path: i for i, path in enumerate(paths)}
        values = np.empty((len(kept), len(self.rows.keep)), object)
        for place, row in enumerate(kept):
            for column, each in enumerate(row):
                values[place, column] = each
        self._waiting = [(owners, cells, values)]
        self.settle()

    def values(self, numbers: Integers) -> tuple[Integers, dict[str, NDArray[Any]]]:
        """The groups of rows, which ``numbers`` calls them by, and of each row its key, id and fields."""
        owners, cells, _ = self._sorted(numbers)
        columns = {name: np.ascontiguousarray(cells[:, i]) for i, name in enumerate(("key", "id", *_FIELDS))}
        return owners >> PLACE_BITS, columns | {name: columns[name].view(np.float64) for name in _FLOATS}

    def table(self, numbers: Integers, class_names: tuple[str, ...] | None) -> tuple[Integers, Any]:
        """The groups of rows, and the rows as an Arrow table: by group, (by class,) the worst first.

        Path, row (from 0 in it), for label errors by margin the margin, loss, target, predicted, p_target, confidence,
        and the kept columns. With ``class_names`` classes are told by name.
        """
        import pyarrow as pa

        owners, cells, kept = self._sorted(numbers)
        paths = list(self._paths)
        columns: dict[str, Any] = {"path": pa.array([paths[i] for i in cells[:, _PATH].tolist()], pa.string())}
        for i, name in enumerate(_FIELDS[1 : len(_FIELDS) if self.rows.predicts else 3], start=_FIRST + 1):
            column = np.ascontiguousarray(cells[:, i])
            columns[name] = pa.array(column.view(np.float64) if name in _FLOATS else column)
        if self.rows.by == "normalized_margin":
            difference = columns["p_target"].to_numpy() - columns["confidence"].to_numpy()
            margin = pa.array((difference + 1.0) * 0.5)
            columns = {"path": columns.pop("path"), "row": columns.pop("row"), "normalized_margin": margin} | columns
        for name in ("target", "predicted") if class_names is not None and len(owners) else ():
            if name in columns:
                columns[name] = pa.array(class_names, pa.string()).take(columns[name])
        for i, name in enumerate(self.rows.keep):
            columns[free_name(name, columns)] = _arrow_values(kept[:, i].tolist())
        return owners >> PLACE_BITS, pa.table(columns)


def _keys(by: By, record: Record) -> tuple[Integers, NDArray[np.bool_]]:
    """Keys of the rows of a record, and which of the rows have a place in that order."""
    n, real, wanted = record.n, record.card.real, record.scored
    keys = key_of(by, real[sc.LOSS, :n], real[sc.P_TARGET, :n], real[sc.CONFIDENCE, :n])
    return keys, wanted & (record.card.whole[sc.RANK, :n] > 0) if by == "normalized_margin" else wanted


def key_of(by: By, loss: NDArray[Any], p_target: NDArray[Any], confidence: NDArray[Any]) -> Integers:
    """Keys that sort rows, the worst first.

    Self-confidence is p(target); the normalized margin is (p(target) - max of the others + 1) / 2, taken of rows whose
    target is not the predicted class (below 1/2 that is all of them). Definitions: cleanlab; Northcutt, Jiang and
    Chuang (2021), "Confident learning", JAIR 70.
    """
    if by == "loss":
        return -loss.view(np.int64)
    if by == "self_confidence":
        return p_target.view(np.int64)
    margin: Integers = np.maximum((p_target - confidence + 1.0) * 0.5, 0.0).view(np.int64)
    return margin


def _first(owners: NDArray[Any], keys: NDArray[Any], losses: NDArray[Any], ids: NDArray[Any], quota: int) -> Integers:
    """An order by owner, key, loss (the highest first) and number, of the first ``quota`` of every owner."""
    if quota and len(owners) > quota and not (owners != owners[0]).any():  # one owner: most of a sort is not needed
        few = np.flatnonzero(keys <= np.partition(keys, quota - 1)[quota - 1])
        return few[np.lexsort((ids[few], -losses[few], keys[few]))][:quota]
    order = np.lexsort((ids, -losses, keys, owners))
    starts = run_starts(owners[order])
    lengths = np.diff(np.append(starts, len(owners)))
    places = np.arange(len(owners)) - np.repeat(starts, lengths)
    first: Integers = order[places < quota]
    return first


def _arrow_values(values: list[Any]) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([None if v is None else json.dumps(v) for v in values], pa.string())


def free_name(name: str, taken: Collection[str]) -> str:
    """The name of a column beside others: with as many underscores as make it another one."""
    while name in taken:
        name += "_"
    return name


def _plain(value: Any) -> Any:
    """A kept value as a JSON value; what JSON does not know becomes text."""
    value = as_python(value) if hasattr(value, "as_py") else value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)
