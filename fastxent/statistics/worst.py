"""The k rows that stand first under a total order: highest loss, or likeliest to carry a wrong label."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import StateError
from fastxent.kernels.contract import scorecard as sc
from fastxent.statistics.statistic import Record, Statistic

__all__ = [
    "FIELDS",
    "LABEL_ERRORS",
    "TARGET",
    "By",
    "Entry",
    "Worst",
    "entries_table",
    "free_name",
    "kept_of",
    "keys_by",
    "new_entry",
    "read_entries",
    "rows_table",
    "written",
]  # fmt: skip

#: Key, number of the row in the data set, and `FIELDS` with the kept values after them.
Entry = tuple[int, int, list[Any]]
By = Literal["loss", "self_confidence", "normalized_margin"]

#: Fields of a row after its key and its id.
FIELDS = ("path", "row", "loss", "target", "predicted", "p_target", "confidence")
#: The statistics of rows that are likeliest to be labeled wrong, by name.
LABEL_ERRORS: dict[str, By] = {
    "label_errors_confidence": "self_confidence",
    "label_errors_margin": "normalized_margin",
}
TARGET = FIELDS.index("target")
_KINDS: tuple[Any, ...] = (str, int, float, int, int, float, float)


class Worst(Statistic):
    """The first ``k`` rows by loss (descending), self-confidence or normalized margin (ascending), ties by row number.

    Self-confidence is p(target); the normalized margin is (p(target) - max of the others + 1) / 2, taken of rows whose
    target is not the predicted class (below 1/2 that is all of them). Definitions: cleanlab; Northcutt, Jiang and
    Chuang (2021), "Confident learning", JAIR 70.
    """

    def __init__(self, k: int, by: By = "loss", keep: tuple[str, ...] = (), *, classes: bool = True) -> None:
        self.k, self.by, self.keep = k, by, keep
        self._shown = FIELDS if classes else FIELDS[:3]  # without classes there are only place and loss
        #: sorted
        self.entries: list[Entry] = []

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        keys, wanted = keys_by(self.by, record)
        if len(self.entries) == self.k:
            wanted = wanted & (keys <= self.entries[-1][0])
        rows = np.flatnonzero(wanted)
        if not rows.size:
            return
        if rows.size > self.k:
            last = np.partition(keys[rows], self.k - 1)[self.k - 1]
            rows = rows[keys[rows] <= last]
        rows = rows[np.lexsort((rows, keys[rows]))][: self.k]
        self.add(new_entry(record, int(i), int(keys[i]), self.keep) for i in rows)

    def add(self, entries: Iterable[Entry]) -> None:
        """Take those that are among the first."""
        self.entries = sorted([*self.entries, *entries], key=lambda entry: entry[:2])[: self.k]

    def merge(self, other: Worst) -> None:
        """See `Statistic.merge`."""
        self.add(other.entries)

    def shift(self, offset: int) -> None:
        """See `Statistic.shift`; the rows keep their place in their own file."""
        self.entries = [(key, row_id + offset, fields) for key, row_id, fields in self.entries]

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        return written(self.entries), []

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        self.entries = []
        self.add(read_entries(value, self.keep))

    def table(self, names: tuple[str, ...] | None = None) -> Any:
        """The rows as an Arrow table, worst first; with ``names`` classes are told by name."""
        margin = self.by if self.by == "normalized_margin" else None
        return entries_table(self.entries, self._shown, self.keep, names, margin=margin)


def keys_by(by: By, record: Record) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Keys that sort the rows of a record, the worst first, and which of the rows have a place in that order."""
    n, real, wanted = record.n, record.card.real, record.scored
    if by == "loss":
        return -real[sc.LOSS, :n].view(np.int64), wanted
    if by == "self_confidence":
        return real[sc.P_TARGET, :n].view(np.int64), wanted
    margin = (real[sc.P_TARGET, :n] - real[sc.CONFIDENCE, :n] + 1.0) * 0.5
    return np.maximum(margin, 0.0).view(np.int64), wanted & (record.card.whole[sc.RANK, :n] > 0)


def kept_of(record: Record, i: int, keep: tuple[str, ...]) -> list[Any]:
    """The values in row ``i`` of a record of the columns to ``keep``, as JSON values."""
    return [_plain((record.batch.extra or {})[name][record.lo + i]) for name in keep]


def new_entry(record: Record, i: int, key: int, keep: tuple[str, ...]) -> Entry:
    """Row ``i`` of a record, with the columns to ``keep``."""
    real, whole, batch = record.card.real, record.card.whole, record.batch
    fields = [
        batch.path, batch.number_of(record.lo + i), float(real[sc.LOSS, i]), int(whole[sc.TARGET, i]),
        int(whole[sc.PREDICTED, i]), float(real[sc.P_TARGET, i]), float(real[sc.CONFIDENCE, i]),
        *kept_of(record, i, keep),
    ]  # fmt: skip
    return key, record.first_id + i, fields


def written(entries: Iterable[Entry]) -> list[Any]:
    """Entries as JSON values."""
    return [
        [key, row_id, [v.hex() if i < len(FIELDS) and isinstance(v, float) else v for i, v in enumerate(fields)]]
        for key, row_id, fields in entries
    ]


def read_entries(value: Any, keep: tuple[str, ...]) -> list[Entry]:
    """The inverse of `written`; raises StateError (or ValueError, TypeError, ...) if the value is something else."""
    entries = []
    for key, row_id, fields in value:
        if not isinstance(key, int) or not isinstance(row_id, int) or len(fields) != len(FIELDS) + len(keep):
            raise StateError("a worst row has another form than this version of fastxent gives it")
        fixed = [float.fromhex(v) if kind is float else kind(v) for v, kind in zip(fields, _KINDS, strict=False)]
        entries.append((key, row_id, fixed + fields[len(FIELDS) :]))
    return entries


def entries_table(
    entries: Sequence[Entry],
    shown: Sequence[str],
    keep: tuple[str, ...],
    names: tuple[str, ...] | None,
    *,
    margin: str | None = None,
) -> Any:
    """Entries as an Arrow table of the fields ``shown`` and the kept columns; see `rows_table`."""
    fields: dict[str, Any] = {name: [e[2][i] for e in entries] for i, name in enumerate(FIELDS)}
    kept = [[e[2][i] for e in entries] for i in range(len(FIELDS), len(FIELDS) + len(keep))]
    return rows_table(fields, shown, dict(zip(keep, kept, strict=True)), names, margin=margin)


def rows_table(
    fields: dict[str, Any],
    shown: Sequence[str],
    kept: dict[str, list[Any]],
    names: tuple[str, ...] | None,
    *,
    margin: str | None = None,
) -> Any:
    """Single rows as an Arrow table: of ``fields`` those that are shown, and the kept columns.

    ``names`` are those of the classes; ``margin`` names a column of margins.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {"path": pa.array(fields["path"], pa.string())}
    columns["row"] = pa.array(fields["row"], pa.int64())
    if margin is not None:
        difference = np.asarray(fields["p_target"], np.float64) - np.asarray(fields["confidence"], np.float64)
        columns[margin] = pa.array((difference + 1.0) * 0.5)
    for i, name in enumerate(shown[2:], start=2):
        columns[name] = pa.array(fields[name], pa.float64() if _KINDS[i] is float else pa.int64())
        if names is not None and name in ("target", "predicted") and len(fields[name]):
            columns[name] = pa.array(names, pa.string()).take(columns[name])
    for name, values in kept.items():
        place = free_name(name, columns)
        try:
            columns[place] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            columns[place] = pa.array([None if v is None else json.dumps(v) for v in values], pa.string())
    return pa.table(columns)


def free_name(name: str, taken: Collection[str]) -> str:
    """The name of a column beside others: with as many underscores as make it another one."""
    while name in taken:
        name += "_"
    return name


def _plain(value: Any) -> Any:
    """A kept value as a JSON value; what JSON does not know becomes text."""
    value = value.as_py() if hasattr(value, "as_py") else value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return str(value)
