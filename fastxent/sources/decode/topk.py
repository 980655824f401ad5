"""Rows of which only k classes are stored: their ids and their probabilities, of ``num_classes`` in all.

What is not stored, 1 - sum(p), is taken to be spread evenly over the other num_classes - k classes. A row becomes one
of width + 1 scores: the stored ones, padded with probability 0, then the probability of *one* of the other classes; its
target becomes the position among the stored ids, or the last. So losses (their mean, spread and quantiles) are those of
the even spread, and accuracy, ranks, confidence and calibration are those of the full rows if the k classes are the k
likeliest. Brier scores, sums of probabilities, confusion and statistics by class are about positions, and mean nothing.
The number of rows whose target was not stored is the support of the last class.

An id of -1 whose probability is 0 is padding and stores nothing. A row that stores no class, one that is none of
``num_classes``, or one twice is invalid.

Sums run over the stored classes in order, in float64; exp and log are NumPy's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from fastxent.base.errors import SourceError, UsageError
from fastxent.base.status import Status
from fastxent.data.batch import DIFFERENT, UNKNOWN, Matrix
from fastxent.sources.decode.labels import decode_target, is_text
from fastxent.sources.decode.layout import Decoded, to_float64
from fastxent.sources.decode.numpy_blocks import frozen
from fastxent.sources.decode.primitive import numbers, plain, validity
from fastxent.sources.decode.runs import Runs, extents, is_list, runs_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastxent.sources.source import Selection

__all__ = ["TopK", "check_topk", "decode_topk", "topk_width"]

ID_FIELDS = ("id", "token_id", "label", "class", "token", "index")
SCORE_FIELDS = ("logprob", "log_prob", "prob", "probability", "p", "value")


class TopK(NamedTuple):
    """Decoded rows: scores, the position of the target, the class of each score (-1: none), doubtful targets."""

    decoded: Decoded
    target: NDArray[np.int64]
    ids: NDArray[np.int64]
    doubtful: NDArray[np.uint8] | None


def check_topk(selection: Selection) -> None:
    """Raise `UsageError` for what top-k rows cannot be."""
    if selection.num_classes is None or selection.num_classes < 2:
        raise UsageError("top-k predictions need num_classes, the number of classes there are in all (at least 2)")
    if selection.task != "multiclass" or selection.mask is not None or len(selection.predictions) != 1:
        raise UsageError("top-k predictions are one column of a multiclass task, without a mask")
    if selection.form not in ("probs", "log_probs"):
        raise UsageError("top-k predictions are probs or log_probs: what was not stored of logits cannot be known")


def topk_width(column: Any) -> int:
    """The number of scores a row has: the most that are stored, and one for the rest; 0 if no row has any."""
    lengths = extents(plain(column))[1]
    return int(lengths.max()) + 1 if len(lengths) and lengths.max() > 0 else 0


def decode_topk(columns: dict[str, Any], selection: Selection, width: int, names: tuple[str, ...] | None) -> TopK:
    """The predictions, the targets as positions in them, the classes of the scores, the status of bad targets."""
    classes, log = selection.num_classes or 0, selection.form == "log_probs"
    scores, ids = _runs(columns, selection, names)
    labels, doubtful = decode_target(columns[selection.target or ""], "multiclass", classes, names)
    if labels.ndim != 1:
        raise SourceError("top-k predictions need one label a row")
    labels = labels.astype(np.int64)
    counts = scores.lengths
    fits = (counts == ids.lengths) & (counts > 0)
    status = np.where(fits, 0, Status.RAGGED_ROW).astype(np.uint8)
    for runs in (scores, ids):
        if runs.valid is not None:
            status[~runs.valid] = Status.NULL_PREDICTION
    counts = np.where(status == 0, counts, 0)
    none, kept = -np.inf if log else 0.0, max(int(counts.max(initial=0)), 1)
    stored = np.arange(kept) < counts[:, None]
    values = _padded(scores, stored, to_float64(scores.flat), none)
    places = _padded(ids, stored, ids.flat.values, -1).astype(np.int64)
    known = stored & ~((places == -1) & (values == none))
    status[(status == 0) & _is_unclear(places, known, classes)] = Status.RAGGED_ROW
    for runs in (scores, ids):
        if runs.flat.valid is not None:
            status[~_padded(runs, stored, runs.flat.valid, True).all(axis=1)] = Status.NULL_PREDICTION
    rest = _rest(values, classes - known.sum(axis=1), log)
    hit = known & (places == labels[:, None])
    if kept >= width:
        values, hit, places = _likeliest(values, hit, places, width - 1)
    classes_of = np.full((len(labels), width), -1)
    classes_of[:, : places.shape[1]] = places
    classes_of[scores.lengths != ids.lengths] = DIFFERENT
    out = np.full((len(labels), width), none)
    out[:, : values.shape[1]] = values
    out[:, -1] = rest
    inside = (labels >= 0) & (labels < classes)
    target = np.where(inside, np.where(hit.any(axis=1), hit.argmax(axis=1), width - 1), labels)
    beyond = np.where(labels >= classes, Status.LABEL_OUT_OF_RANGE, 0).astype(np.uint8)
    if doubtful is not None:
        beyond = np.where(doubtful != 0, doubtful, beyond)
    decoded = Decoded(Matrix(frozen(out), "float64"), status if status.any() else None)
    return TopK(decoded, frozen(target), frozen(classes_of), beyond if beyond.any() else None)


def _is_unclear(places: NDArray[np.int64], known: NDArray[np.bool_], classes: int) -> NDArray[np.bool_]:
    """Whether a row stores no class, what is no class, or a class twice."""
    outside = known & ((places < 0) | (places >= classes))
    fill = -np.arange(1, places.shape[1] + 1)  # all different, and no classes
    ordered = np.sort(np.where(known, places, fill), axis=1)
    repeated = (ordered[:, 1:] == ordered[:, :-1]).any(axis=1)
    unclear: NDArray[np.bool_] = outside.any(axis=1) | repeated | ~known.any(axis=1)
    return unclear


def _rest(values: NDArray[np.float64], others: NDArray[np.int64], log: bool) -> NDArray[np.float64]:
    """The (log-)probability of one class that is not stored."""
    mass = np.zeros(len(values))
    with np.errstate(all="ignore"):
        for column in (np.exp(values) if log else values).T:  # in order: padding must not move a bit
            mass += column
        rest = np.where(others > 0, np.maximum(1.0 - mass, 0.0) / np.maximum(others, 1), 0.0)
        return np.log(rest) if log else rest


def _likeliest(values: Any, hit: Any, places: Any, width: int) -> tuple[Any, ...]:
    """The ``width`` likeliest of longer rows, the target's always among them."""
    order = np.argsort(np.where(hit, -np.inf, -values), axis=1, kind="stable")[:, :width]
    order.sort(axis=1)
    return tuple(np.take_along_axis(array, order, axis=1) for array in (values, hit, places))


def _padded(runs: Runs, stored: NDArray[np.bool_], flat: NDArray[Any], fill: Any) -> NDArray[Any]:
    out = np.full(stored.shape, fill, flat.dtype)
    if len(flat):
        where = np.where(stored, runs.starts[:, None] + np.arange(stored.shape[1]), 0)
        np.copyto(out, flat[where], where=stored)
    return out


def _runs(columns: dict[str, Any], selection: Selection, names: tuple[str, ...] | None) -> tuple[Runs, Runs]:
    array = plain(columns[selection.predictions[0]])
    if selection.ids is not None:
        ids = plain(columns[selection.ids])
        if not is_list(ids.type):
            raise SourceError(f"{selection.ids!r} holds {ids.type}; ids of top-k predictions are lists", path=None)
        starts, lengths, child = extents(ids)
        return runs_of(array, selection.dtype), Runs(_ids(child, names), starts, lengths, validity(ids))
    starts, lengths, child = extents(array)
    fields = {field.name: part for field, part in zip(child.type, child.flatten(), strict=True)}
    chosen = [next((name for name in known if name in fields), None) for known in (SCORE_FIELDS, ID_FIELDS)]
    if None in chosen:
        raise SourceError(
            f"has fields {', '.join(fields)}; expected one of {', '.join(ID_FIELDS)} "
            f"and one of {', '.join(SCORE_FIELDS)}"
        )
    flat, places = numbers(plain(fields[str(chosen[0])]), selection.dtype), _ids(fields[str(chosen[1])], names)
    valid = validity(array)
    return Runs(flat, starts, lengths, valid), Runs(places, starts, lengths, valid)


def _ids(child: Any, names: tuple[str, ...] | None) -> Any:
    if not is_text(child.type):
        if not pa.types.is_integer(child.type):
            raise SourceError(f"ids of classes are integers or class names, not {child.type}")
        return numbers(plain(child))
    labels, status = decode_target(child, "multiclass", len(names or ()), names)
    if status is None:
        return numbers(pa.array(labels))
    outside = np.where(status == Status.UNKNOWN_LABEL, UNKNOWN, labels)
    return numbers(pa.array(outside))._replace(valid=status != Status.NULL_TARGET)
