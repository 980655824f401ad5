"""Invalid rows in words: which row it is, what is wrong with it, and what to do."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fastxent.base.errors import InvalidRowError
from fastxent.base.kinds import as_floats
from fastxent.base.status import EXPLANATION, FIRST_INVALID, Status
from fastxent.data.batch import DIFFERENT, UNKNOWN, Batch, Columns
from fastxent.data.spec import Spec
from fastxent.losses.base import READY

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
    what, detail, remedy = _words(status, totals.spec, batch, row)
    number = batch.number_of(row)
    raise InvalidRowError(
        f"{batch.path}, row {number} (from 0): {what}{detail}; {remedy}",
        cause=status.name.lower(),
        path=batch.path,
        row=number,
    )


def _words(status: Status, spec: Spec, batch: Batch, row: int) -> tuple[str, str, str]:
    """What is wrong with a row, the offending value where there is one to show, and what to do."""
    what, remedy = EXPLANATION[status]
    if status == Status.RAGGED_ROW and batch.ids is not None:
        return _stored(batch.ids[row], what), "", "a row of the top k names each class once, by its id from 0"
    if status == Status.LABEL_OUT_OF_RANGE:
        return what, *_label(spec, batch, row)
    if status == Status.INVALID_TARGET:
        return _target(spec, batch, row)
    if status == Status.INVALID_WEIGHT and batch.weight is not None:
        return what, f": weight {batch.weight[row]}", remedy
    if spec.form in READY:
        return _ready_made(spec.form, status, batch, row)
    if status == Status.NAN_PREDICTION:
        return what, _score(batch, row, math.isnan), remedy
    if status == Status.INFINITE_LOGIT:
        return what, _score(batch, row, lambda v: v == math.inf), remedy
    if status == Status.PROBABILITY_OUT_OF_RANGE and spec.form == "log_probs":
        advice = "if these are logits or probabilities, name them so (logits=, probs=)"
        return "a logarithm of a probability lies above 0", _score(batch, row, lambda v: v > 0.0), advice
    if status == Status.PROBABILITY_OUT_OF_RANGE:
        return what, _score(batch, row, lambda v: not 0.0 <= v <= 1.0), remedy
    return what, "", remedy


def _ready_made(form: str, status: Status, batch: Batch, row: int) -> tuple[str, str, str]:
    """What is wrong with a loss."""
    what, other = ("loss", "target_log_probs") if form == "losses" else ("log-probability of the target", "losses")
    if status == Status.NULL_PREDICTION:
        return f"the {what} is null", "", EXPLANATION[status][1]
    if status == Status.NAN_PREDICTION:
        return f"the {what} is NaN", "", EXPLANATION[status][1]
    beyond = "below 0" if form == "losses" else "above 0"
    return f"the {what} is {beyond}", _score(batch, row, lambda v: v == v), f"if these are {other}, say {other}="


def _stored(ids: Any, what: str) -> str:
    """What is wrong with the classes that a row of the top k stores."""
    stored = [int(each) for each in ids if each != -1]
    if DIFFERENT in stored:
        return "the row has not as many ids as scores"
    if not stored:
        return "the row stores no class: its list is empty"
    if UNKNOWN in stored:
        return "the row stores a name that is none of the class names"
    repeated = next((each for each in stored if stored.count(each) > 1), None)
    if repeated is not None:
        return f"the row stores class {repeated} twice"
    return f"the row stores an id outside the classes, of {', '.join(map(str, stored[:8]))}"


def _label(spec: Spec, batch: Batch, row: int) -> tuple[str, str]:
    """A label that is no class, and what it may come from."""
    classes = 2 if spec.task != "multiclass" else spec.num_classes
    values = np.atleast_1d(batch.target[row])
    outside = [j for j, value in enumerate(values) if not 0 <= value < classes and _counts(spec, batch, row, j)]
    label = int(values[outside[0] if outside else 0])
    if batch.ids is not None:
        return f": label {label}", "labels are ids of classes, from 0 to num_classes less one"
    detail = f": label {label}, classes are 0 to {classes - 1}" if classes > 1 else f": label {label}, and one class"
    return detail, _cure(label, classes)


def _cure(label: int, classes: int) -> str:
    stored = "labels=, the values that the target holds in the order of the scores"
    if classes == 1:
        return "one score a row is a binary task (of arrays: fastxent.binary_cross_entropy)"
    if label == -1 and classes == 2:
        return f"if labels are -1 and 1, say so by {stored}: -1,1 (as ignore_index it would drop every negative)"
    if label < 0:
        return f"if {label} marks rows to leave out, pass ignore_index={label}; if it is a class, pass {stored}"
    if label == classes:
        counted = ",".join(map(str, range(1, classes + 1))) if classes < 5 else f"1,2,...,{classes}"
        return f"labels count from 0; if these count from 1, pass {stored}: {counted}; for a padding label ignore_index"
    return f"labels count from 0; if these are values of their own, pass {stored}; for a padding label ignore_index"


def _target(spec: Spec, batch: Batch, row: int) -> tuple[str, str, str]:
    """A target that is no number of its kind."""
    what, remedy = EXPLANATION[Status.INVALID_TARGET]
    values = np.atleast_1d(batch.target[row])
    if spec.task == "multiclass" and len(values) == 1:
        return "the label is no whole number", "", "labels are indices of classes, from 0, or the values in labels="
    in_form = spec.definition.target_in_form
    if in_form and spec.form != "probs":
        most = 0.0 if spec.form == "log_probs" else sys.float_info.max
        return (
            "the target is no distribution in the form of the predictions",
            _shown(values, lambda v: not v <= most),
            (f"targets are {spec.form}, as the predictions are"),
        )
    detail = _shown(values, lambda v: not 0.0 <= v <= 1.0, lambda j: _counts(spec, batch, row, j))
    signs = np.isin(values, (-1, 0, 1)).all() and (values == -1).any()
    if spec.task != "multiclass" and signs:
        remedy = "if targets are -1 and 1, say so by labels=, the values in the order of no and yes: -1,1"
    return what, detail, remedy


def _counts(spec: Spec, batch: Batch, row: int, place: int) -> bool:
    """Whether an element of a row is looked at."""
    if batch.mask is not None and not batch.mask[row, place]:
        return False
    return spec.ignore_index is None or np.atleast_1d(batch.target[row])[place] != spec.ignore_index


def _score(batch: Batch, row: int, wrong: Callable[[float], bool]) -> str:
    predictions = batch.predictions
    if isinstance(predictions, Columns):
        values = np.array([column[row] for column in predictions.columns])
    else:
        values = predictions.values[row]
    masked = batch.mask
    ids = None if batch.ids is None else batch.ids[row]
    return _shown(as_floats(values, predictions.kind), wrong, lambda j: masked is None or bool(masked[row, j]), ids)


def _shown(
    values: Any, wrong: Callable[[float], bool], counts: Callable[[int], bool] = lambda j: True, ids: Any = None
) -> str:
    """The first value that is wrong, with its class where there are several."""
    for j, value in enumerate(values):
        if wrong(float(value)) and counts(j):
            return f": class {j if ids is None else ids[j]} is {value!s}" if len(values) > 1 else f": it is {value!s}"
    return ""
