"""Records of scored rows, which statistics absorb, and the forms of what they leave behind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import StateError

if TYPE_CHECKING:
    from fastxent.data.batch import Batch
    from fastxent.kernels.contract.scorecard import Scorecard

__all__ = ["RECORD_ROWS", "OncePerBatch", "Record", "check_shape"]

#: Rows of a record: few enough to stay in the second-level cache, many enough that Python's part is small beside them.
RECORD_ROWS = 1 << 13


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


def check_shape(array: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """A copy of an array that was read, if it has the shape (-1 for any length)."""
    if array.ndim != len(shape) or any(want not in (-1, have) for want, have in zip(shape, array.shape, strict=True)):
        raise StateError(f"an array of shape {array.shape} stands where {shape} belongs")
    return np.array(array, np.int64)
