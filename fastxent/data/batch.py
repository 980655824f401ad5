"""A batch: what a source hands to the kernels, as views, never as copies of the whole.

A batch is valid until the next one is asked for: a source may reuse its buffers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastxent.base.kinds import Kind

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DIFFERENT", "UNKNOWN", "Batch", "Columns", "Matrix", "Predictions"]

#: Among the ids of a batch: those of a row that has not as many as scores, and a name that is no class.
DIFFERENT, UNKNOWN = -3, -2


@dataclass(frozen=True, slots=True)
class Matrix:
    """n rows of C scores, row by row.

    ``values`` has shape (n, C), native byte order, and unit stride along the classes (rows may be
    further apart than C). The two 16-bit kinds are carried as uint16 bit patterns.
    """

    values: NDArray[Any]
    kind: Kind

    @property
    def num_rows(self) -> int:
        """Rows."""
        return int(self.values.shape[0])

    @property
    def num_classes(self) -> int:
        """Scores a row."""
        return int(self.values.shape[1])


@dataclass(frozen=True, slots=True)
class Columns:
    """n rows of C scores, one contiguous array of n a class, all of one kind, or the rows of a (C, n) matrix."""

    columns: tuple[NDArray[Any], ...] | NDArray[Any]
    kind: Kind

    def addresses(self) -> NDArray[np.int64]:
        """Where the array of each class starts."""
        if isinstance(self.columns, np.ndarray):
            start, stride = self.columns.ctypes.data, self.columns.strides[0]
            return start + stride * np.arange(len(self.columns), dtype=np.int64)
        return np.array([column.ctypes.data for column in self.columns], np.int64)

    @property
    def num_rows(self) -> int:
        """Rows."""
        return int(self.columns[0].shape[0])

    @property
    def num_classes(self) -> int:
        """Scores a row."""
        return len(self.columns)


Predictions = Matrix | Columns


@dataclass(frozen=True, slots=True)
class Batch:
    """Some consecutive rows of a source.

    Attributes:
        predictions: the scores, (n, C); binary tasks have C = 1.
        target: (n,) class indices of any integer type or bool; or a dense (n, C) matrix (soft,
            one-hot or multilabel targets) of bool, any integer or float type, unit stride along
            the classes; binary: (n,) of bool, integer or float type.
        weight: (n,) float64 sample weights, or None.
        status: (n,) uint8 `Status` of rows the source already knows to be unscorable, or None when
            there are none. Predictions and targets of such rows hold any value.
        mask: (n, C) bool, True where an element counts (multilabel), or None.
        extra: columns that ride along, by name: groups, clusters, kept columns (Arrow arrays).
        path: name of the source, for messages.
        first_row: the number of the first row within that source, from 0.
        first_id: the number of the first row within the whole data set, from 0.
        numbers: the number of each row within its source, where a filter chose them; ``first_row`` and
            ``first_id`` then count the chosen rows.
        ids: (n, C) int64, the class of each score, where rows store some of the classes only; -1 for none or the rest.
    """

    predictions: Predictions
    target: NDArray[Any]
    weight: NDArray[np.float64] | None = None
    status: NDArray[np.uint8] | None = None
    mask: NDArray[np.bool_] | None = None
    extra: dict[str, Any] | None = None
    path: str = "<array>"
    first_row: int = 0
    first_id: int = 0
    numbers: NDArray[np.int64] | None = None
    ids: NDArray[np.int64] | None = None

    @property
    def num_rows(self) -> int:
        """Rows."""
        return self.predictions.num_rows

    def number_of(self, row: int) -> int:
        """The number of a row of this batch within its source, from 0."""
        return self.first_row + row if self.numbers is None else int(self.numbers[row])
