"""Losses of arrays against targets: of single rows, or their exact sum or mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import numpy as np

from fastxent.api.job import one_form
from fastxent.api.reduce import Reduction, reduced
from fastxent.api.spoken import spoken
from fastxent.data.options import LossOptions
from fastxent.data.spec import Task
from fastxent.sources.options import Inputs

__all__ = ["binary_cross_entropy", "cross_entropy", "focal_loss", "poly1_loss"]


@spoken
def cross_entropy(
    target: Any,
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    class_weight: Iterable[float] | Mapping[Any, float] | None = None,
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    base: float | None = None,
    clip: float | str | None = None,
    normalize: bool = False,
    on_invalid: Literal["raise", "skip", "propagate"] = "raise",
    class_names: Iterable[str] | None = None,
    labels: Iterable[Any] | None = None,
    dtype: str | None = None,
    axis: int | None = None,
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
        mean = (weight * loss).sum() / (weight * class_weight[target]).sum()

    in float64 whatever the input's type, without its overflow and cancellation, and summed exactly: the loss of a
    row is within 4 ulp of the true one, if differences of its logits are float64 numbers (docs/design.md).

    Args:
        target: (n,) class indices of any integer type (or names, with ``class_names``), or (n, C) distributions.
        logits: (n, C) unnormalized scores; float16, bfloat16, float32 or float64, as the other forms. Give exactly one
            of ``logits``, ``probs`` and ``log_probs``.
        probs: (n, C) probabilities in [0, 1].
        log_probs: (n, C) logarithms of probabilities.
        class_weight: (C,) weights of at least 0, or a dict by class.
        weight: (n,) weights of rows, of at least 0; the mean divides by their sum.
        label_smoothing: in [0, 1].
        ignore_index: rows with this label count nowhere; their loss is 0. Of distributions, this is the row that is all
            on that class, since it is the same as the label.
        reduction: "mean", "sum" (of the row losses), "none" for the loss of every row, or "elementwise" for its terms,
            of the shape of the scores.
        base: unit of the result, a number above 1: 2 for bits, 10 for bans; None for nats.
        clip: clip probabilities to [clip, 1 - clip], or "sklearn", "keras", "torch" for their rules.
        normalize: divide the probabilities of a row by their sum.
        on_invalid: "raise" an error, "skip" invalid rows (NaN for reduction "none"), or "propagate" NaN.
        class_names: the classes in the order of the scores, when targets are names.
        labels: the values by which the target names the classes, in the order of the scores, where these are not 0 to C
            - 1: ``range(1, C + 1)``, ``[-1, 1]``, ``["no", "yes"]``.
        dtype: what 16-bit patterns (uint16 arrays) are: "float16" or "bfloat16".
        axis: the axis of arrays along which the classes (or labels) lie, where there are more than two: -1 of (B, T,
            V), 1 of (N, C, H, W). Everything else has the shape without it (targets may have all of it); what is one
            value for each entry of the first axis counts for all its rows.
        threads: threads to use; all processors by default.

    Returns:
        A float, or float64 losses of shape (n,) for ``reduction="none"``, or terms of the scores' shape for
        ``"elementwise"``. The mean of nothing is NaN.

    Raises:
        UsageError: arguments contradict each other, or shapes or types do not fit.
        InvalidRowError: a row cannot be scored: a label outside the classes, a NaN, ...

    Examples:
        >>> import fastxent as fx
        >>> round(fx.cross_entropy([1], probs=[[0.3, 0.6, 0.1]]), 7)
        0.5108256
        >>> fx.cross_entropy([0, 1], logits=[[2.0, 0.0], [0.0, 2.0]], reduction="none").round(6)
        array([0.126928, 0.126928])
        >>> fx.cross_entropy([[0, 1, 0]], probs=[[0.3, 0.6, 0.1]], reduction="elementwise").round(7)
        array([[0.       , 0.5108256, 0.       ]])

    References:
        Blanchard, Higham and Higham (2021), "Accurately computing the log-sum-exp and softmax
        functions", IMA J. Numer. Anal. 41, section 4.
    """
    inputs = Inputs(
        target=target, logits=logits, probs=probs, log_probs=log_probs, weight=weight, class_names=class_names,
        labels=labels, dtype=dtype, axis=axis,
    )  # fmt: skip
    loss = LossOptions(
        class_weight=class_weight, label_smoothing=label_smoothing, ignore_index=ignore_index, on_invalid=on_invalid,
        clip=clip, normalize=normalize,
    )  # fmt: skip
    return reduced(inputs, loss, reduction, base, threads)


@spoken
def binary_cross_entropy(
    target: Any,
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    pos_weight: float | Iterable[float] | None = None,
    weight: Any = None,
    mask: Any = None,
    label_reduction: Literal["mean", "sum"] = "mean",
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    base: float | None = None,
    clip: float | str | None = None,
    on_invalid: Literal["raise", "skip", "propagate"] = "raise",
    class_names: Iterable[str] | None = None,
    labels: Iterable[Any] | None = None,
    dtype: str | None = None,
    axis: int | None = None,
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
        weight: (n,) weights of rows, of at least 0; the mean divides by their sum.
        mask: (n, L) bool, True where a label of a multilabel task counts.
        label_reduction: the loss of a multilabel row: the "mean" of its labels' losses (Keras, torch), or their "sum".
        label_smoothing: in [0, 1].
        ignore_index: rows (labels of a multilabel row) with this target count nowhere.
        reduction: "mean", "sum" (of the row losses), "none" for the loss of every row, or "elementwise" for its terms,
            of the shape of the scores.
        base: unit of the result, a number above 1: 2 for bits, 10 for bans; None for nats.
        clip: clip probabilities to [clip, 1 - clip], or "sklearn", "keras", "torch" for their rules.
        on_invalid: "raise" an error, "skip" invalid rows (NaN for reduction "none"), or "propagate" NaN.
        class_names: the two classes, the positive one second, when targets are names; of a multilabel task the labels.
        labels: the values by which the target names the classes, in the order of the scores, where these are not 0 to C
            - 1: ``range(1, C + 1)``, ``[-1, 1]``, ``["no", "yes"]``.
        dtype: what 16-bit patterns (uint16 arrays) are: "float16" or "bfloat16".
        axis: the axis of arrays along which the classes (or labels) lie, where there are more than two: -1 of (B, T,
            V), 1 of (N, C, H, W). Everything else has the shape without it (targets may have all of it); what is one
            value for each entry of the first axis counts for all its rows.
        threads: threads to use; all processors by default.

    Returns:
        A float, or float64 losses of shape (n,) for ``reduction="none"``, or terms of the scores' shape for
        ``"elementwise"``.

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
    dimensions = _dimensions(logits=logits, probs=probs, log_probs=log_probs)
    task: Task = "binary" if dimensions == 1 and axis is None else "multilabel"
    inputs = Inputs(
        target=target, logits=logits, probs=probs, log_probs=log_probs, task=task, weight=weight, mask=mask,
        class_names=class_names, labels=labels, dtype=dtype, axis=axis,
    )  # fmt: skip
    loss = LossOptions(
        pos_weight=pos_weight, label_reduction=label_reduction, label_smoothing=label_smoothing,
        ignore_index=ignore_index, on_invalid=on_invalid, clip=clip,
    )  # fmt: skip
    return reduced(inputs, loss, reduction, base, threads)


@spoken
def focal_loss(
    target: Any,
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    gamma: float = 2.0,
    task: Literal["multiclass", "binary", "multilabel"] | None = None,
    class_weight: Iterable[float] | Mapping[Any, float] | None = None,
    pos_weight: float | Iterable[float] | None = None,
    weight: Any = None,
    mask: Any = None,
    label_reduction: Literal["mean", "sum"] = "mean",
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    base: float | None = None,
    clip: float | str | None = None,
    normalize: bool = False,
    on_invalid: Literal["raise", "skip", "propagate"] = "raise",
    class_names: Iterable[str] | None = None,
    labels: Iterable[Any] | None = None,
    dtype: str | None = None,
    axis: int | None = None,
    threads: int | None = None,
) -> Any:
    r"""Focal loss: cross-entropy that counts confident rows less.

    With p the probability of the target and L = -log p:

    .. math:: FL = w_t (1 - p)^\gamma L

    It equals the program ::

        p = probs[np.arange(len(target)), target]
        loss = class_weight[target] * (1 - p) ** gamma * -np.log(p)

    with 1 - p taken in two parts, so that confident rows keep their digits: within 4 ulp of the true value (gamma up
    to 10).

    A distribution q as target gives :math:`\sum_c w_c q_c (1 - p_c)^\gamma (-\log p_c)`, as in Keras. Of a binary
    or multilabel task the cross-entropy of every event is multiplied by :math:`(y (1 - p) + (1 - y) p)^\gamma`, as in
    optax and torchvision, whose alpha is ``pos_weight=alpha / (1 - alpha)``, times 1 - alpha.

    Args:
        target: (n,) class indices or (n, C) distributions; of a binary task (n,) and of a multilabel one (n, L) of 0
            and 1, or probabilities.
        logits: (n, C) or (n,) unnormalized scores; float16, bfloat16, float32 or float64, as the other forms. Give
            exactly one of ``logits``, ``probs`` and ``log_probs``.
        probs: probabilities in [0, 1].
        log_probs: logarithms of probabilities.
        gamma: exponent of the focal loss, at least 0; 0 gives the cross-entropy.
        task: "multiclass", "binary" or "multilabel"; by default scores of shape (n,) are binary, others multiclass.
        class_weight: (C,) weights, the alpha of the literature; multiclass only.
        pos_weight: weight of the positive term, one number or one a label; binary and multilabel only.
        weight: (n,) weights of rows, of at least 0; the mean divides by their sum.
        mask: (n, L) bool, True where a label of a multilabel task counts.
        label_reduction: the loss of a multilabel row: the "mean" of its labels' losses (Keras, torch), or their "sum".
        label_smoothing: in [0, 1].
        ignore_index: rows (labels of a multilabel row) with this target count nowhere.
        reduction: "mean", "sum" (of the row losses), "none" for the loss of every row, or "elementwise" for its terms,
            of the shape of the scores.
        base: unit of the result, a number above 1: 2 for bits, 10 for bans; None for nats.
        clip: clip probabilities to [clip, 1 - clip], or "sklearn", "keras", "torch" for their rules.
        normalize: divide the probabilities of a row by their sum.
        on_invalid: "raise" an error, "skip" invalid rows (NaN for reduction "none"), or "propagate" NaN.
        class_names: the classes in the order of the scores, when targets are names.
        labels: the values by which the target names the classes, in the order of the scores, where these are not 0 to C
            - 1: ``range(1, C + 1)``, ``[-1, 1]``, ``["no", "yes"]``.
        dtype: what 16-bit patterns (uint16 arrays) are: "float16" or "bfloat16".
        axis: the axis of arrays along which the classes (or labels) lie, where there are more than two: -1 of (B, T,
            V), 1 of (N, C, H, W). Everything else has the shape without it (targets may have all of it); what is one
            value for each entry of the first axis counts for all its rows.
        threads: threads to use; all processors by default.

    Returns:
        A float, or float64 losses of shape (n,) for ``reduction="none"``, or terms of the scores' shape for
        ``"elementwise"``.

    Raises:
        UsageError: arguments contradict each other, or shapes or types do not fit.
        InvalidRowError: a row cannot be scored: a label outside the classes, a NaN, ...

    Examples:
        >>> import fastxent as fx
        >>> round(fx.focal_loss([1], probs=[[0.1, 0.9]], gamma=2.0), 9)
        0.001053605
        >>> round(fx.focal_loss([[1, 0]], probs=[[0.9, 0.1]], gamma=2.0, task="multilabel"), 9)
        0.001053605

    References:
        Lin, Goyal, Girshick, He and Dollar (2017), "Focal loss for dense object detection", section 3.
    """
    dimensions = _dimensions(logits=logits, probs=probs, log_probs=log_probs)
    task = task or ("binary" if dimensions == 1 else "multiclass")
    inputs = Inputs(
        target=target, logits=logits, probs=probs, log_probs=log_probs, task=task, weight=weight, mask=mask,
        class_names=class_names, labels=labels, dtype=dtype, axis=axis,
    )  # fmt: skip
    loss = LossOptions(
        loss="focal", class_weight=class_weight, pos_weight=pos_weight, label_reduction=label_reduction,
        label_smoothing=label_smoothing, ignore_index=ignore_index, on_invalid=on_invalid, clip=clip,
        normalize=normalize, own={"gamma": gamma},
    )  # fmt: skip
    return reduced(inputs, loss, reduction, base, threads)


@spoken
def poly1_loss(
    target: Any,
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    epsilon: float = 1.0,
    class_weight: Iterable[float] | Mapping[Any, float] | None = None,
    weight: Any = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    base: float | None = None,
    clip: float | str | None = None,
    normalize: bool = False,
    on_invalid: Literal["raise", "skip", "propagate"] = "raise",
    class_names: Iterable[str] | None = None,
    labels: Iterable[Any] | None = None,
    dtype: str | None = None,
    axis: int | None = None,
    threads: int | None = None,
) -> Any:
    r"""Poly-1 cross-entropy (PolyLoss): cross-entropy with another weight of its first term in 1 - p.

    With p the probability of the target and L = -log p = (1 - p) + (1 - p)^2 / 2 + ...:

    .. math:: P_1 = w_t \bigl(L + \epsilon (1 - p)\bigr)

    It equals the program ::

        p = probs[np.arange(len(target)), target]
        loss = class_weight[target] * (-np.log(p) + epsilon * (1 - p))

    within 4 ulp of the true value, 8 for an epsilon below 0. A distribution q as target gives
    :math:`\sum_c w_c q_c (-\log p_c + \epsilon (1 - p_c))`, as in optax.

    Args:
        target: (n,) class indices of any integer type (or names, with ``class_names``), or (n, C) distributions.
        logits: (n, C) unnormalized scores; float16, bfloat16, float32 or float64, as the other forms. Give exactly one
            of ``logits``, ``probs`` and ``log_probs``.
        probs: (n, C) probabilities in [0, 1].
        log_probs: (n, C) logarithms of probabilities.
        epsilon: weight that the Poly-1 loss adds to 1 - p, at least -1; 0 gives the cross-entropy.
        class_weight: (C,) weights of at least 0, or a dict by class.
        weight: (n,) weights of rows, of at least 0; the mean divides by their sum.
        label_smoothing: in [0, 1].
        ignore_index: rows with this label count nowhere; their loss is 0. Of distributions, this is the row that is all
            on that class, since it is the same as the label.
        reduction: "mean", "sum" (of the row losses), "none" for the loss of every row, or "elementwise" for its terms,
            of the shape of the scores.
        base: unit of the result, a number above 1: 2 for bits, 10 for bans; None for nats.
        clip: clip probabilities to [clip, 1 - clip], or "sklearn", "keras", "torch" for their rules.
        normalize: divide the probabilities of a row by their sum.
        on_invalid: "raise" an error, "skip" invalid rows (NaN for reduction "none"), or "propagate" NaN.
        class_names: the classes in the order of the scores, when targets are names.
        labels: the values by which the target names the classes, in the order of the scores, where these are not 0 to C
            - 1: ``range(1, C + 1)``, ``[-1, 1]``, ``["no", "yes"]``.
        dtype: what 16-bit patterns (uint16 arrays) are: "float16" or "bfloat16".
        axis: the axis of arrays along which the classes (or labels) lie, where there are more than two: -1 of (B, T,
            V), 1 of (N, C, H, W). Everything else has the shape without it (targets may have all of it); what is one
            value for each entry of the first axis counts for all its rows.
        threads: threads to use; all processors by default.

    Returns:
        A float, or float64 losses of shape (n,) for ``reduction="none"``, or terms of the scores' shape for
        ``"elementwise"``. The mean of nothing is NaN.

    Raises:
        UsageError: arguments contradict each other, or shapes or types do not fit.
        InvalidRowError: a row cannot be scored: a label outside the classes, a NaN, ...

    Examples:
        >>> import fastxent as fx
        >>> round(fx.poly1_loss([1], probs=[[0.1, 0.9]]), 9)
        0.205360516
        >>> fx.poly1_loss([1], probs=[[0.1, 0.9]], epsilon=0.0) == fx.cross_entropy([1], probs=[[0.1, 0.9]])
        True

    References:
        Leng, Tan, Liu, Cubuk, Shi, Cheng and Anguelov (2022), "PolyLoss: a polynomial expansion perspective of
        classification loss functions", section 4.
    """
    inputs = Inputs(
        target=target, logits=logits, probs=probs, log_probs=log_probs, weight=weight, class_names=class_names,
        labels=labels, dtype=dtype, axis=axis,
    )  # fmt: skip
    loss = LossOptions(
        loss="poly1", class_weight=class_weight, label_smoothing=label_smoothing, ignore_index=ignore_index,
        on_invalid=on_invalid, clip=clip, normalize=normalize, own={"epsilon": epsilon},
    )  # fmt: skip
    return reduced(inputs, loss, reduction, base, threads)


def _dimensions(**forms: Any) -> int:
    """The dimensions of the predictions."""
    return np.ndim(one_form(**forms)[1])
