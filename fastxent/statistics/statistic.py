"""What a statistic beside the tallies is: integers that absorb records of rows, merge, and have one file form."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import StateError
from fastxent.base.runs import run_starts

if TYPE_CHECKING:
    from fastxent.data.batch import Batch
    from fastxent.data.spec import Spec
    from fastxent.kernels.contract.scorecard import Scorecard

__all__ = [
    "FIXED_BITS", "RECORD_ROWS", "FixedSum", "OncePerBatch", "Record", "Statistic", "add_pairs", "carry", "check_shape",
    "fixed", "fixed_words", "predicts_class", "read_fixed",
]  # fmt: skip

#: Rows of a record: few enough to stay in the second-level cache, many enough that Python's part is small beside them.
RECORD_ROWS = 1 << 13
FIXED_BITS = 62


@dataclass(frozen=True, slots=True)
class Record:
    """The scorecards of rows ``lo`` to ``lo + n`` of a batch.

    ``scores_of`` scores as many other rows under the same spec, and its result holds until the next call; ``found`` has
    what one statistic works out of the record and another needs too.
    """

    card: Scorecard
    n: int
    lo: int
    batch: Batch
    scores_of: Callable[[Batch], Scorecard] | None = None
    found: dict[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which of the rows were scored."""
        result: NDArray[np.bool_] = self.card.status[: self.n] == 0
        return result

    @property
    def first_id(self) -> int:
        """The number of the first row within the whole data set."""
        return self.batch.first_id + self.lo


class OncePerBatch:
    """Numbers of the rows that are found for a whole batch at once, since its records come one after the other."""

    def __init__(self) -> None:
        self._batch: Batch | None = None
        self._found: NDArray[Any] = np.zeros(0, np.int64)

    def of(self, record: Record, find: Callable[[dict[str, Any]], NDArray[Any]]) -> NDArray[Any]:
        """Those of the rows of a record, which are found from the columns that ride along with its batch."""
        if record.batch is not self._batch:
            self._found = find(record.batch.extra or {})
            self._batch = record.batch
        if record.lo + record.n >= record.batch.num_rows:
            self._batch = None
        return self._found[record.lo : record.lo + record.n]


class Statistic(ABC):
    """A state with the verbs of `Totals`; which statistic is read how, `fastxent.results.readings` knows."""

    @abstractmethod
    def absorb(self, record: Record) -> None:
        """Add the scored rows of a record."""

    @abstractmethod
    def merge(self, other: Any) -> None:
        """Add the rows of another state of the same statistic."""

    def shift(self, offset: int) -> None:  # noqa: B027  (most know no single rows)
        """Count rows from ``offset`` on, as if so many had come before."""

    @abstractmethod
    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """The canonical form: a JSON value, and arrays of integers. Equal rows give equal states."""

    @abstractmethod
    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """Take over what `state` gave; raises StateError (or ValueError, TypeError, ...) if it cannot be."""


def predicts_class(spec: Spec) -> bool:
    """Whether rows have one target class, one predicted class and a confidence in it."""
    return spec.task != "multilabel" and spec.definition.predicts_class


def check_shape(array: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """A copy of an array that was read, if it has the shape (-1 for any length)."""
    if array.ndim != len(shape) or any(want not in (-1, have) for want, have in zip(shape, array.shape, strict=True)):
        raise StateError(f"an array of shape {array.shape} stands where {shape} belongs")
    return np.array(array, np.int64)


def carry(cells: NDArray[np.int64], columns: Any) -> None:
    """Bring the fixed-point pairs at these columns to 0 <= low < 2^62."""
    for column in columns:
        over = cells[..., column + 1] >> FIXED_BITS
        cells[..., column] += over
        cells[..., column + 1] -= over << FIXED_BITS


def add_pairs(into: NDArray[np.int64], rows: NDArray[np.int64], pairs: NDArray[np.int64]) -> None:
    """Add fixed-point pairs to those of some rows, each perhaps several times; low words are summed by halves."""
    half = FIXED_BITS // 2
    low, rest = into[:, 1] & ((1 << half) - 1), into[:, 1] >> half
    np.add.at(into[:, 0], rows, pairs[:, 0])
    np.add.at(low, rows, pairs[:, 1] & ((1 << half) - 1))
    np.add.at(rest, rows, pairs[:, 1] >> half)
    rest += low >> half
    into[:, 0] += rest >> half
    into[:, 1] = (rest & ((1 << half) - 1)) << half | low & ((1 << half) - 1)


def fixed_words(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Numbers below 2^40 -> pairs; what lies below 2^-62 is cut off, as in `fastxent.kernels.sums.records`."""
    whole = np.floor(values)
    return whole.astype(np.int64), ((values - whole) * 2.0**FIXED_BITS).astype(np.int64)


def fixed(row: Any, column: int) -> Fraction:
    """The value of the pair at ``column``."""
    return Fraction((int(row[column]) << FIXED_BITS) + int(row[column + 1]), 1 << FIXED_BITS)


def read_fixed(cells: NDArray[np.int64], column: int) -> list[Fraction]:
    """The values of the pairs at ``column`` of all rows."""
    return [fixed(row, column) for row in cells]


@dataclass(frozen=True, slots=True)
class FixedSum:
    """Columns of `KeyedSums` that hold non-negative numbers below 2^30, in units of 2^-30 and 2^-70."""

    @staticmethod
    def split(values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Numbers -> their two columns; what lies below 2^-70 is cut off."""
        scaled = values * 2.0**30
        high = scaled.astype(np.int64)
        return high, ((scaled - high) * 2.0**40).astype(np.int64)

    @staticmethod
    def carry(cells: NDArray[np.int64], column: int) -> None:
        """Bring the low words that stand behind ``column`` to 0 <= low < 2^40."""
        over = cells[:, column + 1] >> 40
        cells[:, column] += over
        cells[:, column + 1] -= over << 40


class KeyedSums:
    """Sums of integer columns by 64-bit key, for up to ``limit`` keys; with more, `crowd` says what becomes of them.

    Which keys there are depends on the rows alone, so the outcome does not depend on the order in which they came.
    """

    def __init__(self, width: int, limit: int, pairs: tuple[int, ...] = ()) -> None:
        self.width, self.limit, self._pairs = width, limit, pairs
        self.keys: NDArray[np.int64] = np.zeros(0, np.int64)
        self.cells: NDArray[np.int64] = np.zeros((0, width), np.int64)
        self.overflowed = False
        self._pending: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
        self._waiting = 0

    def crowd(self, keys: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The keys that are used instead once there are too many; None drops everything."""
        return None

    def add(self, keys: NDArray[np.int64], cells: NDArray[np.int64]) -> None:
        """Add rows to their keys."""
        if not keys.size:
            return
        # Rows of one key often come together.
        starts = run_starts(keys)
        keys, cells = keys[starts], np.add.reduceat(cells, starts, axis=0)
        self._carry(cells)
        self._pending.append((keys, cells))
        self._waiting += keys.size
        if self._waiting > max(1 << 16, 2 * self.keys.size):
            self.settle()

    def settle(self) -> None:
        """Bring the sums into their canonical order: by key."""
        if not self._pending:
            return
        keys = np.concatenate([self.keys, *(k for k, _ in self._pending)])
        cells = np.concatenate([self.cells, *(c for _, c in self._pending)])
        self._pending, self._waiting = [], 0
        if self.overflowed:
            keys, cells = self._crowded(keys, cells)
        self.keys, self.cells = self._reduced(keys, cells)
        if not self.overflowed and self.keys.size > self.limit:
            self.overflowed = True
            self.keys, self.cells = self._reduced(*self._crowded(self.keys, self.cells))

    def merge(self, other: KeyedSums) -> None:
        """Add the other's sums."""
        other.settle()
        self.settle()
        if other.overflowed and not self.overflowed:
            self.overflowed = True
            self.keys, self.cells = self._reduced(*self._crowded(self.keys, self.cells))
        self._pending.append((other.keys, other.cells.copy()))
        self.settle()

    def _crowded(self, keys: Any, cells: Any) -> tuple[Any, Any]:
        instead = self.crowd(keys)
        return (keys[:0], cells[:0]) if instead is None else (instead, cells)

    def _reduced(self, keys: Any, cells: Any) -> tuple[Any, Any]:
        if not keys.size:
            return keys, cells
        order = np.argsort(keys, kind="stable")
        keys, cells = keys[order], cells[order]
        starts = run_starts(keys)
        cells = np.add.reduceat(cells, starts, axis=0)
        self._carry(cells)
        return keys[starts], cells

    def _carry(self, cells: Any) -> None:
        for column in self._pairs:
            FixedSum.carry(cells, column)

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        self.settle()
        return {"overflowed": self.overflowed}, [self.keys, self.cells]

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        keys, cells = arrays
        self.keys, self.cells = check_shape(keys, (-1,)), check_shape(cells, (len(keys), self.width))
        self.overflowed = bool(value["overflowed"])
        if (self.keys[1:] <= self.keys[:-1]).any():
            raise StateError("the keys of a table are out of order")
