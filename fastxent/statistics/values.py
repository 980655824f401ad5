"""The scores of some rows of a batch as float64 numbers, for statistics that look at every class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastxent.base.kinds import as_floats
from fastxent.data.batch import Batch, Columns

__all__ = ["values_of"]


def values_of(batch: Batch, rows: slice) -> NDArray[np.float64]:
    """A matrix (rows, classes); no conversion of any kind rounds."""
    predictions = batch.predictions
    if isinstance(predictions, Columns):
        values = np.stack([column[rows] for column in predictions.columns], axis=1)
    else:
        values = predictions.values[rows]
    return np.array(as_floats(values, predictions.kind), np.float64)
