"""The k rows that stand first under a total order: highest loss, or likeliest to carry a wrong label."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastxent.errors import StateError
from fastxent.kernels import scorecard as sc
from fastxent.statistics.statistic import Record, Statistic

__all__ = [
    "FIELDS", "TARGET", "By", "Entry", "Worst", "entries_table", "loss_keys", "new_entry", "read_entries", "written",
]  # fmt: skip

#: Key, number of the row in the data set, and `FIELDS` with the kept values after them.
Entry = tuple[int, int, list[Any]]
By = Literal["loss", "self_confidence", "normalized_margin"]

#: Fields of a row after its key and its id.
FIELDS = ("path", "row", "loss", "target", "predicted", "p_target", "confidence")
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
        n, real, whole = record.n, record.card.real, record.card.whole
        wanted = record.scored
        if self.by == "loss":
            keys = loss_keys(record)
        elif self.by == "self_confidence":
            keys = real[sc.P_TARGET, :n].view(np.int64)
        else:
            wanted = wanted & (whole[sc.RANK, :n] > 0)
            margin = (real[sc.P_TARGET, :n] - real[sc.CONFIDENCE, :n] + 1.0) * 0.5
            keys = np.maximum(margin, 0.0).view(np.int64)
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


def loss_keys(record: Record) -> NDArray[np.int64]:
    """Keys that sort rows by their loss, highest first."""
    keys: NDArray[np.int64] = -record.card.real[sc.LOSS, : record.n].view(np.int64)
    return keys


def new_entry(record: Record, i: int, key: int, keep: tuple[str, ...]) -> Entry:
    """Row ``i`` of a record, with the columns to ``keep``."""
    real, whole, batch = record.card.real, record.card.whole, record.batch
    kept = [_plain((batch.extra or {})[name][record.lo + i]) for name in keep]
    fields = [
        batch.path, batch.number_of(record.lo + i), float(real[sc.LOSS, i]), int(whole[sc.TARGET, i]),
        int(whole[sc.PREDICTED, i]), float(real[sc.P_TARGET, i]), float(real[sc.CONFIDENCE, i]), *kept,
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
    """Entries as an Arrow table of the fields ``shown`` and the kept columns; ``margin`` names a column of margins."""
    import pyarrow as pa

    columns: dict[str, Any] = {"path": pa.array([e[2][0] for e in entries], pa.string())}
    columns["row"] = pa.array([e[2][1] for e in entries], pa.int64())
    if margin is not None:
        margins = [(e[2][5] - e[2][6] + 1.0) * 0.5 for e in entries]
        columns[margin] = pa.array(margins, pa.float64())
    for i, name in enumerate(shown[2:], start=2):
        values = [e[2][i] for e in entries]
        if names is not None and name in ("target", "predicted"):
            values = [names[v] for v in values]
        columns[name] = pa.array(values, pa.float64() if _KINDS[i] is float else None if values else pa.int64())
    for i, name in enumerate(keep, start=len(FIELDS)):
        values = [e[2][i] for e in entries]
        place = name if name not in columns else f"{name}_"
        try:
            columns[place] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            columns[place] = pa.array([None if v is None else json.dumps(v) for v in values], pa.string())
    return pa.table(columns)


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
