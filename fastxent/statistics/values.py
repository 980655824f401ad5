"""The scores of some rows of a batch as float64 numbers, for statistics that look at every class."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from fastxent.base.kinds import as_floats
from fastxent.data.batch import Batch, Columns
from fastxent.statistics.record import Record

__all__ = ["FORMS", "pieces_of", "values_of"]

#: What kernels call the forms of predictions.
FORMS = {"logits": 0, "probs": 1, "log_probs": 2}
#: Scores that are looked at together (5 MB).
_PIECE = 1 << 16


def values_of(batch: Batch, rows: slice) -> NDArray[np.float64]:
    """A matrix (rows, classes); no conversion of any kind rounds."""
    predictions = batch.predictions
    if isinstance(predictions, Columns):
        values = np.stack([column[rows] for column in predictions.columns], axis=1)
    else:
        values = predictions.values[rows]
    return np.array(as_floats(values, predictions.kind), np.float64)


def pieces_of(record: Record, classes: int) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Rows of a record and their scores (rows, classes), some thousand scores at a time."""
    step = max(1, _PIECE // classes)
    for lo in range(0, record.n, step):
        rows = slice(lo, min(lo + step, record.n))
        yield rows, values_of(record.batch, slice(record.lo + lo, record.lo + rows.stop))
