"""The scores of some rows of a batch as float64 numbers, for statistics that look at every class."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fastxent.data.batch import Batch, Columns

__all__ = ["values_of"]


def values_of(batch: Batch, rows: slice) -> NDArray[np.float64]:
    """A matrix (rows, classes); no conversion of any kind rounds."""
    predictions = batch.predictions
    if isinstance(predictions, Columns):
        values = np.stack([column[rows] for column in predictions.columns], axis=1)
    else:
        values = predictions.values[rows]
    if predictions.kind == "float16":
        values = values.view(np.float16)
    elif predictions.kind == "bfloat16":
        values = (values.astype(np.uint32) << 16).view(np.float32)
    return values.astype(np.float64)
