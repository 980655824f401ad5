r"""Drop-in for scores of scikit-learn: the same arguments, numbers, warnings and errors, computed by fastxent.

``from fastxent.sklearn import log_loss`` in place of ``from sklearn.metrics import log_loss``. The sums are exact, of
float64, so that numbers differ from scikit-learn's in their last digits (float64), or the digits that it loses when
it sums in float32 and float16.

What is scored here are labels (n,) that are integers, bool or text, and finite scores. All that scikit-learn warns
of or refuses goes to its own function, which says it; so do rarer arguments: matrices of indicators, columns (n, 1)
of labels, weights below 0 and numbers beyond float64.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent.api.job import ExtraColumns, open_job
from fastxent.api.losses import binary_cross_entropy, cross_entropy
from fastxent.api.score import score
from fastxent.base.errors import DoubtWarning
from fastxent.data.options import LossOptions
from fastxent.data.spec import Task
from fastxent.engine.options import RunOptions
from fastxent.engine.run import score_plan
from fastxent.sources.options import Inputs
from fastxent.statistics.options import Measures, Readings

try:
    from sklearn import metrics as _metrics
except ImportError as error:
    raise ImportError(
        "fastxent.sklearn needs scikit-learn, which is not installed: pip install 'fastxent[sklearn]'"
    ) from error

__all__ = ["brier_score_loss", "d2_log_loss_score", "log_loss", "top_k_accuracy_score"]

# Kept from before anybody puts ours into scikit-learn's place.
_log_loss, _brier_score_loss = _metrics.log_loss, _metrics.brier_score_loss
_top_k_accuracy_score, _d2_log_loss_score = _metrics.top_k_accuracy_score, _metrics.d2_log_loss_score

#: The default of scikit-learn's old name of ``y_proba``.
_NOT_GIVEN = "deprecated"


def log_loss(
    y_true: Any,
    y_proba: Any = None,
    *,
    normalize: bool = True,
    sample_weight: Any = None,
    labels: Any = None,
    y_pred: Any = _NOT_GIVEN,
) -> float:
    r"""Cross-entropy of probabilities, as `sklearn.metrics.log_loss`.

    .. math:: \frac{\sum_i w_i \, (-\log \min(\max(p_{i, y_i}, \epsilon), 1 - \epsilon))}{\sum_i w_i}

    Args:
        y_true: (n,) labels.
        y_proba: (n, C) probabilities, the columns in the sorted order of the labels; or (n,), those of the greater one.
        normalize: False gives the sum.
        sample_weight: (n,) weights.
        labels: all labels there are, where ``y_true`` does not have them all.
        y_pred: the name of ``y_proba`` before scikit-learn 1.9.

    Raises:
        ValueError: what scikit-learn says of arguments that do not fit.

    Examples:
        >>> from fastxent.sklearn import log_loss
        >>> round(log_loss(["spam", "ham", "ham", "spam"], [[0.1, 0.9], [0.9, 0.1], [0.8, 0.2], [0.35, 0.65]]), 6)
        0.216162
    """
    case = (
        _probabilities(y_true, y_proba, sample_weight, labels) if _not_given(y_pred) and _is_bool(normalize) else None
    )
    if case is None:
        own = {"normalize": normalize, "sample_weight": sample_weight, "labels": labels}
        return float(_log_loss(y_true, y_proba, **own, **({} if _not_given(y_pred) else {"y_pred": y_pred})))
    return case.loss("mean" if normalize else "sum")


def brier_score_loss(
    y_true: Any,
    y_proba: Any,
    *,
    sample_weight: Any = None,
    pos_label: Any = None,
    labels: Any = None,
    scale_by_half: bool | str = "auto",
) -> float:
    r"""Mean squared difference of probabilities and outcomes, as `sklearn.metrics.brier_score_loss`.

    .. math:: \frac{\sum_i w_i \sum_c (p_{i, c} - [y_i = c])^2}{\sum_i w_i}

    and half of it where ``scale_by_half`` says so.

    Args:
        y_true: (n,) labels.
        y_proba: (n, C) probabilities, the columns in the sorted order of the labels; or (n,), those of ``pos_label``.
        sample_weight: (n,) weights.
        pos_label: the label of the positive, where ``y_proba`` is (n,); by default 1 or the greater label.
        labels: all labels there are, where ``y_true`` does not have them all.
        scale_by_half: whether the sum over classes is halved; "auto": below three classes.

    Raises:
        ValueError: what scikit-learn says of arguments that do not fit.

    Examples:
        >>> from fastxent.sklearn import brier_score_loss
        >>> round(brier_score_loss([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3]), 6)
        0.0375
    """
    one = np.ndim(y_proba) == 1 if isinstance(y_proba, list | np.ndarray) else False
    case = _events(y_true, y_proba, sample_weight, pos_label) if one else None
    if not one and pos_label is None:
        case = _probabilities(y_true, y_proba, sample_weight, labels)
    halves = scale_by_half == "auto" if isinstance(scale_by_half, str) else _is_bool(scale_by_half)
    if case is None or not halves:
        own = {"sample_weight": sample_weight, "pos_label": pos_label, "labels": labels}
        halved = {} if isinstance(scale_by_half, str) and scale_by_half == "auto" else {"scale_by_half": scale_by_half}
        return float(_brier_score_loss(y_true, y_proba, **own, **halved))
    half = case.num_classes < 3 if scale_by_half == "auto" else bool(scale_by_half)
    return case.brier() * (0.5 if half else 1.0)


def top_k_accuracy_score(
    y_true: Any, y_score: Any, *, k: int = 2, normalize: bool = True, sample_weight: Any = None, labels: Any = None
) -> float:
    """The part of rows whose label is among the k greatest scores, as `sklearn.metrics.top_k_accuracy_score`.

    Of equal scores those to the right come first, which is scikit-learn's rule; it is the other way round in
    `fastxent.evaluate`.

    Args:
        y_true: (n,) labels.
        y_score: (n, C) scores, the columns in the sorted order of the labels; or (n,), those of the greater one.
        k: how many of the greatest scores count.
        normalize: False gives the number (the sum of weights) of such rows.
        sample_weight: (n,) weights.
        labels: all labels there are, sorted, where ``y_true`` does not have them all.

    Raises:
        ValueError: what scikit-learn says of arguments that do not fit.

    Examples:
        >>> from fastxent.sklearn import top_k_accuracy_score
        >>> top_k_accuracy_score([0, 1, 2], [[0.5, 0.3, 0.2], [0.3, 0.4, 0.3], [0.2, 0.2, 0.6]], k=1)
        1.0
    """
    scores = _numbers(y_score)
    index = None
    if scores is not None and scores.ndim == 2 and scores.shape[1] > 2 and np.isfinite(scores).all():
        index = _classes(y_true, len(scores), scores.shape[1], labels)
    weight = _weights(sample_weight, 0 if scores is None else len(scores))
    whole = isinstance(k, int | np.integer) and not _is_bool(k) and scores is not None and 1 <= k < scores.shape[-1]
    if index is None or weight is None or scores is None or not whole or not _is_bool(normalize):
        own = {"k": k, "normalize": normalize, "sample_weight": sample_weight, "labels": labels}
        return float(_top_k_accuracy_score(y_true, y_score, **own))
    with _without_doubts():
        ranks = score(logits=scores[:, ::-1], target=scores.shape[1] - 1 - index)["rank"].to_numpy()
    hits = ranks < k
    if normalize:
        return float(np.average(hits, weights=weight.values))
    return float(hits.sum() if weight.values is None else np.dot(hits, weight.values))


def d2_log_loss_score(
    y_true: Any, y_proba: Any = None, *, sample_weight: Any = None, labels: Any = None, y_pred: Any = _NOT_GIVEN
) -> float:
    r"""The part of the log loss of label frequencies that is explained, as `sklearn.metrics.d2_log_loss_score`.

    .. math:: 1 - \frac{\sum_i w_i L(y_i, p_i)}{\sum_i w_i L(y_i, f)}

    with the weighted frequencies f of the labels in ``y_true``.

    Args:
        y_true: (n,) labels.
        y_proba: (n, C) probabilities, the columns in the sorted order of the labels; or (n,), those of the greater one.
        sample_weight: (n,) weights.
        labels: all labels there are, where ``y_true`` does not have them all.
        y_pred: the name of ``y_proba`` before scikit-learn 1.9.

    Raises:
        ValueError: what scikit-learn says of arguments that do not fit.

    Examples:
        >>> from fastxent.sklearn import d2_log_loss_score
        >>> round(d2_log_loss_score([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.3]), 6)
        0.714873
    """
    case = _probabilities(y_true, y_proba, sample_weight, labels) if _not_given(y_pred) else None
    if case is None or len(case.target) < 2:
        own = {} if _not_given(y_pred) else {"y_pred": y_pred}
        return float(_d2_log_loss_score(y_true, y_proba, sample_weight=sample_weight, labels=labels, **own))
    counts = np.bincount(case.target, case.weight, case.num_classes).astype(np.float64)
    with _without_doubts():
        null = binary_cross_entropy(
            np.ones(len(counts), np.uint8), probs=counts / counts.sum(), weight=counts, clip="sklearn",
            reduction="sum",
        )  # fmt: skip
    return 1.0 - case.loss("sum") / float(null)


class _Case(NamedTuple):
    """Labels as indices of classes, their probabilities (n, C) or (n,), and weights."""

    target: NDArray[Any]
    probs: NDArray[Any]
    weight: NDArray[np.float64] | None

    @property
    def num_classes(self) -> int:
        return 2 if self.probs.ndim == 1 else self.probs.shape[1]

    def loss(self, reduction: Any) -> float:
        """The sum or the mean of the losses."""
        function = binary_cross_entropy if self.probs.ndim == 1 else cross_entropy
        with _without_doubts():
            loss = function(self.target, probs=self.probs, weight=self.weight, clip="sklearn", reduction=reduction)
        return float(loss)

    def brier(self) -> float:
        """The mean of the squared differences, summed over classes."""
        task: Task = "binary" if self.probs.ndim == 1 else "multiclass"
        inputs = Inputs(probs=self.probs, target=self.target, weight=self.weight, task=task)
        job = open_job(inputs, LossOptions(), Measures(), Readings(), RunOptions(), ExtraColumns(by_name=False))
        brier = job.evaluation(score_plan(job.plan, job.runner), {}).brier  # doubts are scikit-learn's to have
        assert brier is not None
        return 2.0 * brier if task == "binary" else brier


class _Weights(NamedTuple):
    """Weights that are plain, or that there are none."""

    values: NDArray[np.float64] | None


def _probabilities(y_true: Any, y_proba: Any, sample_weight: Any, labels: Any) -> _Case | None:
    """The case of labels and probabilities; None where scikit-learn may have something to say."""
    probs = _unit_numbers(y_proba)
    if probs is None:
        return None
    probs = probs[:, 0] if probs.ndim == 2 and probs.shape[1] == 1 else probs
    if probs.ndim == 2 and np.abs(probs.sum(axis=1) - 1).max() > math.sqrt(np.finfo(probs.dtype).eps):
        return None
    index = _classes(y_true, len(probs), 2 if probs.ndim == 1 else probs.shape[1], labels)
    weight = _weights(sample_weight, len(probs))
    return None if index is None or weight is None else _Case(index, probs, weight.values)


def _events(y_true: Any, y_proba: Any, sample_weight: Any, pos_label: Any) -> _Case | None:
    """The same for a positive label and its probabilities."""
    probs, y = _unit_numbers(y_proba), _values(y_true)
    weight = _weights(sample_weight, 0 if probs is None else len(probs))
    if probs is None or y is None or weight is None or len(y) != len(probs):
        return None
    found = np.unique(y)
    if len(found) > 2 or (y.dtype.kind == "U") != isinstance(pos_label, str):
        return None
    if pos_label is None:
        pos_label = 1 if set(found.tolist()) <= {0, 1} or set(found.tolist()) <= {-1, 1} else found[-1]
    return _Case((y == pos_label).astype(np.uint8), probs, weight.values)


def _classes(y_true: Any, rows: int, count: int, labels: Any) -> NDArray[Any] | None:
    """Labels as indices of ``count`` classes; None if they do not fit."""
    y = _values(y_true)
    known = y if labels is None else _values(labels)
    if y is None or known is None or len(y) != rows or (y.dtype.kind == "U") != (known.dtype.kind == "U"):
        return None
    classes = np.unique(known)
    if len(classes) != count or count < 2 or (labels is not None and not np.array_equal(classes, known)):
        return None
    if classes.dtype.kind != "U" and np.array_equal(classes, np.arange(count)):
        index, fits = y.astype(np.intp, copy=False), y.min() >= 0 and y.max() < count
    else:
        index = np.minimum(np.searchsorted(classes, y), count - 1)
        fits = np.array_equal(classes[index], y)
    return index if fits else None


def _values(labels: Any) -> NDArray[Any] | None:
    """Labels as one array of whole numbers or of text, else None."""
    array = _as_array(labels)
    if array is None or array.ndim != 1 or not len(array):
        return None
    if array.dtype.kind == "O":
        return array.astype(str) if all(isinstance(value, str) for value in array) else None
    if array.dtype.kind == "f":
        whole = bool(np.isfinite(array).all() and (np.abs(array) < 2**53).all() and (array == np.trunc(array)).all())
        return array.astype(np.int64) if whole else None
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    return array if array.dtype.kind in "iuU" else None


def _numbers(scores: Any) -> NDArray[Any] | None:
    """Scores as an array of floats that holds all their digits, else None."""
    array = _as_array(scores)
    if array is None or array.ndim not in (1, 2) or not array.size:
        return None
    if array.dtype.kind in "biu":
        return array.astype(np.float64) if array.dtype.itemsize < 8 or np.abs(array).max() < 2**53 else None
    return array if array.dtype in (np.float16, np.float32, np.float64) else None


def _unit_numbers(probs: Any) -> NDArray[Any] | None:
    """The same for numbers in [0, 1]."""
    array = _numbers(probs)
    return array if array is not None and array.min() >= 0 and array.max() <= 1 else None


def _weights(weight: Any, rows: int) -> _Weights | None:
    """Weights of rows, of at least 0 and not all 0; None if they are not."""
    if weight is None:
        return _Weights(None)
    array = _as_array(weight)
    if array is None or array.shape != (rows,) or array.dtype.kind not in "biuf":
        return None
    values = array.astype(np.float64)
    plain = bool(np.isfinite(values).all() and values.min() >= 0 and values.any())
    return _Weights(values) if plain else None


def _as_array(values: Any) -> NDArray[Any] | None:
    """What NumPy makes of lists, arrays and columns; None where it makes nothing of them."""
    if not (isinstance(values, list | tuple) or hasattr(values, "__array__")):
        return None
    try:
        return np.asarray(values)
    except (TypeError, ValueError):  # ragged, or on another device: scikit-learn says so
        return None


@contextmanager
def _without_doubts() -> Iterator[None]:
    """The warnings are scikit-learn's, and none of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DoubtWarning)
        yield


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool | np.bool_)


def _not_given(y_pred: Any) -> bool:
    return isinstance(y_pred, str) and y_pred == _NOT_GIVEN
