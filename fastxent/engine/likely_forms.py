"""What rows look like, whatever they are said to be: facts that hold for all rows or not, so that they merge by "and".

Each is looked at only as long as no row has refuted it, which for logits the first number usually does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastxent.base.kinds import KINDS, as_floats
from fastxent.data.batch import Batch, Columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastxent.totals.totals import Totals

__all__ = ["look_at"]

#: Rows that are looked at together, after the first ones.
STEP = 4096
#: Rows of the whole data whose targets are looked at.
TARGETS = 1000


def look_at(batch: Batch, totals: Totals) -> None:
    """Keep of the facts in ``totals`` those that hold for the rows of a batch too."""
    if totals.like_probs:
        totals.like_probs = _like_probs(batch, totals)
    if totals.hard_targets and batch.first_id < TARGETS and batch.target.dtype.kind == "f":
        first = batch.target[: TARGETS - batch.first_id]
        totals.hard_targets = bool(((first == 0) | (first == 1) | np.isnan(first)).all())


def _like_probs(batch: Batch, totals: Totals) -> bool:
    """Whether all numbers are in [0, 1], and rows of exclusive classes sum to 1; what is not scored is left out."""
    spec = totals.spec
    slack = math.sqrt(KINDS[batch.predictions.kind].epsilon)
    for lo, rows in _blocks(batch):
        good = (rows >= 0) & (rows <= 1)
        if batch.mask is not None:
            good |= ~batch.mask[lo : lo + len(rows)]
        likely = good.all(axis=1)
        if spec.task == "multiclass":
            with np.errstate(invalid="ignore", over="ignore"):
                likely &= np.abs(rows.sum(axis=1, dtype=np.float64) - 1) <= slack
        if not (likely | _unscored(batch, lo, rows, spec.ignore_index)).all():
            return False
    return True


def _unscored(batch: Batch, lo: int, rows: NDArray[Any], ignored: int | None) -> NDArray[np.bool_]:
    unscored: NDArray[np.bool_] = np.isnan(rows).any(axis=1)
    part = slice(lo, lo + len(rows))
    if batch.status is not None:
        unscored |= batch.status[part] != 0
    if ignored is not None and batch.target.ndim == 1:
        unscored |= batch.target[part] == ignored
    return unscored


def _blocks(batch: Batch) -> Iterator[tuple[int, NDArray[Any]]]:
    """Rows as matrices, with the number of the first: one, then some, then more."""
    predictions, lo, step = batch.predictions, 0, 1
    while lo < batch.num_rows:
        if isinstance(predictions, Columns):
            part = np.stack([column[lo : lo + step] for column in predictions.columns], axis=1)
        else:
            part = predictions.values[lo : lo + step]
        yield lo, as_floats(part, predictions.kind)
        lo, step = lo + step, min(step * 64, STEP)
