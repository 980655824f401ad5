"""Entropy of predictions, Kullback-Leibler divergence and focal loss of arrays."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from fastxent.api.losses import Reduction, one_form, reduced
from fastxent.base.errors import UsageError
from fastxent.data.spec import OnInvalid, Spec, Task
from fastxent.sources.arrays.source import as_array
from fastxent.sources.open import open_arrays

__all__ = ["entropy", "focal_loss", "kl_divergence"]


def entropy(
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    sample_weight: Any = None,
    reduction: Reduction = "mean",
    base: float | None = None,
    normalize: bool = False,
    on_invalid: OnInvalid = "raise",
    dtype: str | None = None,
    threads: int | None = None,
) -> Any:
    r"""Shannon entropy of every predicted distribution, or its mean or sum.

    .. math:: H = -\sum_j p_j \log p_j

    It equals the program ::

        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        loss = -(p * np.log(p)).sum(axis=1)

    but is within 4 ulp of the true value also near 0. From logits it is
    :math:`\log s + \sum_j e_j (m - z_j) / s` with :math:`e_j = e^{z_j - m}`, :math:`s = \sum_j e_j` and m the
    largest logit; no term is negative. A p of 0 adds 0.

    Args:
        logits: (n, C) unnormalized scores; float16, bfloat16, float32 or float64, as the other forms. Give exactly one
            of ``logits``, ``probs`` and ``log_probs``.
        probs: (n, C) probabilities in [0, 1].
        log_probs: (n, C) logarithms of probabilities.
        sample_weight: (n,) weights of at least 0.
        reduction: "mean", "sum", or "none" for the entropy of every row.
        base: unit of the result, a number above 1: 2 for bits, 10 for bans; None for nats.
        normalize: divide the probabilities of a row by their sum.
        on_invalid: "raise" an error, "skip" invalid rows, or "propagate" NaN.
        dtype: what 16-bit patterns (uint16 arrays) are: "float16" or "bfloat16".
        threads: threads to use; all processors by default.

    Returns:
        A float, or float64 entropies of shape (n,) for ``reduction="none"``.

    Raises:
        UsageError: arguments contradict each other, or shapes or types do not fit.
        InvalidRowError: a row is no distribution: a NaN, a probability outside [0, 1], an infinite logit, ...

    Examples:
        >>> import fastxent as fx
        >>> round(fx.entropy(probs=[[26 / 30, 4 / 30]], base=2), 4)
        0.5665
        >>> fx.entropy(probs=[[1.0, 0.0]])
        0.0

    References:
        Shannon (1948), "A mathematical theory of communication", section 6.
    """
    form, predictions = one_form(logits=logits, probs=probs, log_probs=log_probs)
    count = len(as_array(predictions, form)[0])
    nobody = np.broadcast_to(np.uint8(0), (count,))
    source = open_arrays(predictions, nobody, weight=sample_weight, dtype=dtype)
    spec = Spec.make(
        num_classes=source.num_classes,
        form=form,
        loss="entropy",
        weighted=sample_weight is not None,
        on_invalid=on_invalid,
        normalize=normalize,
    )
    return reduced(source, spec, sample_weight, reduction, base, threads)


def kl_divergence(
    target: Any,
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    sample_weight: Any = None,
    reduction: Reduction = "mean",
    base: float | None = None,
    normalize: bool = False,
    on_invalid: OnInvalid = "raise",
    dtype: str | None = None,
    threads: int | None = None,
) -> Any:
    r"""Kullback-Leibler divergence of predicted distributions from target distributions.

    .. math:: D(t \| p) = \sum_j t_j \log(t_j / p_j) - t_j + p_j

    Each term is at least 0; for rows that sum to 1 it is the familiar :math:`\sum_j t_j \log(t_j / p_j)`. It
    equals the program ::

        ratio = np.log(target / probs)
        loss = (target * ratio - target + probs).sum(axis=1)

    without its cancellation: it is within 2 ulp of the true value, however near the two are (probabilities with
    ``normalize``: or within 2^-156). A t of 0 adds p.

    Args:
        target: (n, C) distributions in the form of the predictions: probabilities beside ``probs``, logits beside
            ``logits``, logarithms of probabilities beside ``log_probs``.
        logits: (n, C) unnormalized scores; float16, bfloat16, float32 or float64, as the other forms. Give exactly one
            of ``logits``, ``probs`` and ``log_probs``.
        probs: (n, C) probabilities in [0, 1].
        log_probs: (n, C) logarithms of probabilities.
        sample_weight: (n,) weights of at least 0.
        reduction: "mean", "sum", or "none" for the divergence of every row.
        base: unit of the result, a number above 1: 2 for bits, 10 for bans; None for nats.
        normalize: divide the probabilities of a row by their sum.
        on_invalid: "raise" an error, "skip" invalid rows, or "propagate" NaN.
        dtype: what 16-bit patterns (uint16 arrays) are: "float16" or "bfloat16".
        threads: threads to use; all processors by default.

    Returns:
        A float, or float64 divergences of shape (n,) for ``reduction="none"``.

    Raises:
        UsageError: arguments contradict each other, or shapes or types do not fit.
        InvalidRowError: a row is no distribution: a NaN, a probability outside [0, 1], an infinite logit, ...

    Examples:
        >>> import fastxent as fx
        >>> fx.kl_divergence([[0.5, 0.5]], probs=[[0.5, 0.5]])
        0.0
        >>> round(fx.kl_divergence([[1.0, 0.0]], probs=[[0.25, 0.75]], base=2), 12)
        2.0

    References:
        Kullback and Leibler (1951), "On information and sufficiency", Ann. Math. Statist. 22.
    """
    form, predictions = one_form(logits=logits, probs=probs, log_probs=log_probs)
    source = open_arrays(predictions, target, weight=sample_weight, dtype=dtype)
    if not source.dense_target:
        raise UsageError("target: kl_divergence needs a distribution a row, of the predictions' shape")
    held, patterns = as_array(target, "target")
    if dtype in ("float16", "bfloat16") and patterns is None and held.dtype.name == "uint16":
        raise UsageError(
            "target: bit patterns cannot be told from integers; view them as float16 or ml_dtypes.bfloat16"
        )
    spec = Spec.make(
        num_classes=source.num_classes,
        form=form,
        loss="kl_divergence",
        soft=True,
        weighted=sample_weight is not None,
        on_invalid=on_invalid,
        normalize=normalize,
    )
    return reduced(source, spec, sample_weight, reduction, base, threads)


def focal_loss(
    target: Any,
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    gamma: float = 2.0,
    task: Task | None = None,
    class_weight: Iterable[float] | Mapping[Any, float] | None = None,
    pos_weight: float | Iterable[float] | None = None,
    sample_weight: Any = None,
    mask: Any = None,
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
        gamma: the exponent, at least 0; 0 gives the cross-entropy.
        task: "multiclass", "binary" or "multilabel"; by default scores of shape (n,) are binary, others multiclass.
        class_weight: (C,) weights, the alpha of the literature; multiclass only.
        pos_weight: weight of the positive term, one number or one a label; binary and multilabel only.
        sample_weight: (n,) weights of at least 0.
        mask: (n, L) bool, True where a label of a multilabel task counts.
        label_smoothing: in [0, 1].
        ignore_index: rows (labels of a multilabel row) with this target count nowhere.
        reduction: "mean", "sum", or "none" for the loss of every row.
        base: unit of the result, a number above 1: 2 for bits, 10 for bans; None for nats.
        clip: clip probabilities to [clip, 1 - clip]; or "sklearn", "keras", "torch" for their rules.
        normalize: divide the probabilities of a row by their sum.
        on_invalid: "raise" an error, "skip" invalid rows, or "propagate" NaN.
        class_names: the classes in the order of the scores, when targets are names.
        dtype: what 16-bit patterns (uint16 arrays) are: "float16" or "bfloat16".
        threads: threads to use; all processors by default.

    Returns:
        A float, or float64 losses of shape (n,) for ``reduction="none"``.

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
    form, predictions = one_form(logits=logits, probs=probs, log_probs=log_probs)
    task = task or ("binary" if np.ndim(predictions) == 1 else "multiclass")
    names = None if class_names is None else tuple(class_names)
    source = open_arrays(
        predictions, target, weight=sample_weight, mask=mask, task=task, class_names=names, dtype=dtype
    )
    spec = Spec.make(
        num_classes=source.num_classes,
        task=task,
        form=form,
        loss="focal",
        gamma=gamma,
        soft=source.dense_target,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        class_weight=class_weight,
        pos_weight=pos_weight,
        weighted=sample_weight is not None,
        on_invalid=on_invalid,
        clip=clip,
        normalize=normalize,
        class_names=names,
    )
    return reduced(source, spec, sample_weight, reduction, base, threads)
