"""Invalid rows in words: which row it is, what is wrong with it, and what to do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastxent.base.errors import InvalidRowError
from fastxent.base.kinds import as_floats
from fastxent.base.status import EXPLANATION, FIRST_INVALID, Status
from fastxent.data.batch import Batch, Columns

if TYPE_CHECKING:
    from fastxent.totals.totals import Totals

__all__ = ["raise_first_invalid"]


def raise_first_invalid(totals: Totals, batch: Batch) -> None:
    """Raise InvalidRowError if the totals, up to this batch, hold an invalid row (which then lies in the batch)."""
    if not any(totals.tallies.rows[FIRST_INVALID:].tolist()):
        return
    found = totals.first_invalid()
    status = min(found, key=lambda cause: found[cause])
    row = found[status] - batch.first_id
    what, remedy = EXPLANATION[status]
    number = batch.number_of(row)
    raise InvalidRowError(
        f"{batch.path}, row {number} (from 0): {what}{_detail(status, batch, row)}; {remedy}",
        cause=status.name.lower(),
        path=batch.path,
        row=number,
    )


def _detail(status: Status, batch: Batch, row: int) -> str:
    """The offending value, where there is one to show."""
    classes = batch.predictions.num_classes
    if status == Status.LABEL_OUT_OF_RANGE and batch.target.ndim == 1:
        last = max(classes - 1, 1)
        return f": label {batch.target[row]}, classes are 0 to {last}"
    if status == Status.INVALID_TARGET:
        return f": {_shown(np.atleast_1d(batch.target[row]), lambda v: not 0.0 <= v <= 1.0)}"
    if status == Status.INVALID_WEIGHT and batch.weight is not None:
        return f": weight {batch.weight[row]}"
    scores = _scores(batch, row)
    if status == Status.NAN_PREDICTION:
        return f": {_shown(scores, math.isnan)}"
    if status == Status.INFINITE_LOGIT:
        return f": {_shown(scores, lambda v: v == math.inf)}"
    if status == Status.PROBABILITY_OUT_OF_RANGE:
        return f": {_shown(scores, lambda v: not 0.0 <= v <= 1.0)}"
    return ""


def _shown(values: Any, wrong: Any) -> str:
    """The first value that is wrong, with its class where there are several."""
    for j, value in enumerate(values):
        if wrong(float(value)):
            return f"class {j} is {value!s}" if len(values) > 1 else f"it is {value!s}"
    return "see the row"


def _scores(batch: Batch, row: int) -> Any:
    predictions = batch.predictions
    if isinstance(predictions, Columns):
        values = np.array([column[row] for column in predictions.columns])
    else:
        values = predictions.values[row]
    return as_floats(values, predictions.kind)
