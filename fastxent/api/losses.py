"""Cross-entropies of arrays: the losses of single rows, or their exact sum or mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.base.log_unit import Unit
from fastxent.base.status import Status
from fastxent.data.batch import Batch
from fastxent.data.spec import Form, OnInvalid, Spec
from fastxent.engine.plan import plan_of
from fastxent.engine.runners import threads as on_threads
from fastxent.engine.runners.threads import RowResults
from fastxent.kernels.block_loop import Outputs, no_outputs
from fastxent.results.evaluation import mean_loss, sum_of_losses
from fastxent.sources.arrays.source import plain_array
from fastxent.sources.open import open_arrays
from fastxent.sources.source import Source
from fastxent.statistics.options import Measures

__all__ = ["Reduction", "binary_cross_entropy", "cross_entropy", "one_form", "reduced"]

Reduction = Literal["mean", "sum", "none"]

#: The loss and nothing else.
LOSS_ONLY = Measures(spread=False, scores=False)


def one_form(**given: Any) -> tuple[Form, Any]:
    """The one of logits, probs and log_probs that was given."""
    named = [(name, value) for name, value in given.items() if value is not None]
    if len(named) != 1:
        what = " and ".join(name for name, _ in named) or "none of them"
        raise UsageError(f"give exactly one of logits=, probs= and log_probs=, got {what}")
    return named[0]  # type: ignore[return-value]


def reduced(
    source: Source, spec: Spec, sample_weight: Any, reduction: str, base: float | None, threads: int | None
) -> Any:
    """The losses of a source, or their exact sum or mean, in logarithms to ``base``."""
    if reduction not in ("mean", "sum", "none"):
        raise UsageError(f"reduction: expected 'mean', 'sum' or 'none', got {reduction!r}")
    unit = Unit(base)
    if reduction == "none":
        losses = _row_losses(source, spec, threads)
        if sample_weight is not None:
            losses = _weighed(losses, np.asarray(plain_array(sample_weight, "sample_weight"), np.float64))
        return unit.of(losses)
    totals = on_threads.run(plan_of(source, spec, LOSS_ONLY), threads).totals
    return unit.of(sum_of_losses(totals) if reduction == "sum" else mean_loss(totals))


def _row_losses(source: Source, spec: Spec, threads: int | None) -> NDArray[np.float64]:
    rows = _Losses(source.num_rows, valid=spec.on_invalid == "raise")
    on_threads.run(plan_of(source, spec, LOSS_ONLY), threads, rows=rows)
    if not rows.valid:
        rows.loss[rows.status > Status.IGNORED] = np.nan
    return rows.loss


class _Losses(RowResults):
    """The loss of every row; its status too, unless all are ``valid``."""

    def __init__(self, count: int, *, valid: bool) -> None:
        self.valid = valid
        self.loss = np.empty(count)
        self.status = np.empty(0 if valid else count, np.uint8)

    def outputs_of(self, batch: Batch) -> Outputs:
        """Where the rows of the batch are in the result."""
        rows = slice(batch.first_id, batch.first_id + batch.num_rows)
        return no_outputs()._replace(loss=self.loss[rows], status=self.status if self.valid else self.status[rows])


def _weighed(losses: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Losses times weights; a weight of 0 silences an infinite loss, and an ignored row's weight is not looked at."""
    with np.errstate(invalid="ignore"):
        products = losses * weight
    products[(losses == 0.0) | ((weight == 0.0) & ~np.isnan(losses))] = 0.0
    return products


def cross_entropy(
    target: Any,
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    class_weight: Iterable[float] | Mapping[Any, float] | None = None,
    sample_weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    base: float | None = None,
    clip: float | str | None = None,
    normalize: bool = False,
    on_invalid: OnInvalid = "raise",
    class_names: Iterable[str] | None = None,
    dtype: str | None = None,
    threads: int | None = None,
) -> Any:
    r"""Cross-entropy between targets and predictions over C exclusive classes.

    For a class index t and logits z, with class weights w and sample weights s:

    .. math:: L = w_t \log\bigl(1 + \sum_{j \ne t} e^{z_j - z_t}\bigr), \qquad
              \text{mean} = \frac{\sum_i s_i L_i}{\sum_i s_i w_{t_i}}

    With q a distribution as target, :math:`L = \sum_c w_c q_c (lse - z_c)` and the mean divides by
    :math:`\sum_i s_i`; with smoothing a, q becomes (1 - a) q + a / C. It equals the program ::

        lse = np.log(np.exp(logits).sum(axis=1))
        loss = class_weight[target] * (lse - logits[np.arange(len(target)), target])
        mean = (sample_weight * loss).sum() / (sample_weight * class_weight[target]).sum()

    in float64 whatever the input's type, without its overflow and cancellation, and summed exactly: the loss of a
    row is within 4 ulp of the true one, if differences of its logits are float64 numbers (docs/design.md).

    Args:
        target: (n,) class indices of any integer type (or names, with ``class_names``), or (n, C) distributions.
        logits: (n, C) unnormalized scores; float16, bfloat16, float32 or float64, as the other forms. Give exactly one
            of ``logits``, ``probs`` and ``log_probs``.
        probs: (n, C) probabilities in [0, 1].
        log_probs: (n, C) logarithms of probabilities.
        class_weight: (C,) weights of at least 0, or a dict by class.
        sample_weight: (n,) weights of at least 0.
        label_smoothing: in [0, 1].
        ignore_index: rows with this label count nowhere; their loss is 0. Of distributions, this is the row that
            is all on that class, since it is the same as the label.
        reduction: "mean", "sum", or "none" for the loss of every row.
        base: unit of the result, a number above 1: 2 for bits, 10 for bans; None for nats.
        clip: clip probabilities to [clip, 1 - clip]; or "sklearn", "keras", "torch" for their rules.
        normalize: divide the probabilities of a row by their sum.
        on_invalid: "raise" an error, "skip" invalid rows (NaN for reduction "none"), or "propagate" NaN.
        class_names: the classes in the order of the scores, when targets are names.
        dtype: what 16-bit patterns (uint16 arrays) are: "float16" or "bfloat16".
        threads: threads to use; all processors by default.

    Returns:
        A float, or float64 losses of shape (n,) for ``reduction="none"``. The mean of nothing is NaN.

    Raises:
        UsageError: arguments contradict each other, or shapes or types do not fit.
        InvalidRowError: a row cannot be scored: a label outside the classes, a NaN, ...

    Examples:
        >>> import fastxent as fx
        >>> round(fx.cross_entropy([1], probs=[[0.3, 0.6, 0.1]]), 7)
        0.5108256
        >>> fx.cross_entropy([0, 1], logits=[[2.0, 0.0], [0.0, 2.0]], reduction="none").round(6)
        array([0.126928, 0.126928])

    References:
        Blanchard, Higham and Higham (2021), "Accurately computing the log-sum-exp and softmax
        functions", IMA J. Numer. Anal. 41, section 4.
    """
    form, predictions = one_form(logits=logits, probs=probs, log_probs=log_probs)
    source = open_arrays(predictions, target, weight=sample_weight, class_names=_names(class_names), dtype=dtype)
    spec = Spec.make(
        num_classes=source.num_classes,
        form=form,
        soft=source.dense_target,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        class_weight=class_weight,
        weighted=sample_weight is not None,
        on_invalid=on_invalid,
        clip=clip,
        normalize=normalize,
        class_names=class_names,
    )
    return reduced(source, spec, sample_weight, reduction, base, threads)


def _names(names: Iterable[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)


def binary_cross_entropy(
    target: Any,
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    pos_weight: float | Iterable[float] | None = None,
    sample_weight: Any = None,
    mask: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    base: float | None = None,
    clip: float | str | None = None,
    on_invalid: OnInvalid = "raise",
    class_names: Iterable[str] | None = None,
    dtype: str | None = None,
    threads: int | None = None,
) -> Any:
    r"""Cross-entropy of independent yes-or-no predictions: one a row (binary) or L a row (multilabel).

    For a target y in [0, 1], a logit z and the weight w of the positive term:

    .. math:: L = w\,y \log(1 + e^{-z}) + (1 - y) \log(1 + e^{z})

    It equals the program ::

        positive, negative = np.log1p(np.exp(-logits)), np.log1p(np.exp(logits))
        smooth = (1 - label_smoothing) * target + label_smoothing / 2
        loss = pos_weight * smooth * positive + (1 - smooth) * negative

    in float64 and within 4 ulp of the true value. The loss of a multilabel row is the mean over its labels (over
    those that the mask lets count), so that the mean over rows is the mean over all elements, as in torch.

    Args:
        target: (n,) or (n, L) of 0 and 1 (any integer type or bool), or probabilities (any float type); (n,) of names,
            with ``class_names``.
        logits: scores of the target's shape; float16, bfloat16, float32 or float64, as the other forms. Give exactly
            one of ``logits``, ``probs`` and ``log_probs``.
        probs: probabilities of the positive, in [0, 1].
        log_probs: their logarithms.
        pos_weight: weight of the positive term, one number or one a label.
        sample_weight: (n,) weights of rows, of at least 0; the mean divides by their sum.
        mask: (n, L) bool, True where a label counts.
        label_smoothing: in [0, 1].
        ignore_index: rows (labels of a multilabel row) with this target count nowhere.
        reduction: "mean", "sum" (of the row losses), or "none" for the loss of every row.
        base: unit of the result, a number above 1: 2 for bits, 10 for bans; None for nats.
        clip: clip probabilities to [clip, 1 - clip]; or "sklearn", "keras", "torch" for their rules.
        on_invalid: "raise" an error, "skip" invalid rows, or "propagate" NaN.
        class_names: the two classes, the positive one second, when targets are names; of a multilabel task the labels.
        dtype: what 16-bit patterns (uint16 arrays) are: "float16" or "bfloat16".
        threads: threads to use; all processors by default.

    Returns:
        A float, or float64 losses of shape (n,) for ``reduction="none"``.

    Raises:
        UsageError: arguments contradict each other, or shapes or types do not fit.
        InvalidRowError: a row cannot be scored: a target outside [0, 1], a NaN, ...

    Examples:
        >>> import fastxent as fx
        >>> fx.binary_cross_entropy([0, 1, 0], probs=[0.3, 0.6, 0.1], reduction="none").round(7)
        array([0.3566749, 0.5108256, 0.1053605])

    References:
        The stable form is that of TensorFlow's ``sigmoid_cross_entropy_with_logits``, with the terms kept
        apart so that none cancels.
    """
    form, predictions = one_form(logits=logits, probs=probs, log_probs=log_probs)
    task: Literal["binary", "multilabel"] = "multilabel" if np.ndim(predictions) == 2 else "binary"
    names = _names(class_names)
    source = open_arrays(
        predictions, target, weight=sample_weight, mask=mask, task=task, class_names=names, dtype=dtype
    )
    spec = Spec.make(
        num_classes=source.num_classes,
        task=task,
        form=form,
        soft=task == "multilabel",
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        pos_weight=pos_weight,
        weighted=sample_weight is not None,
        on_invalid=on_invalid,
        clip=clip,
        class_names=names,
    )
    return reduced(source, spec, sample_weight, reduction, base, threads)
