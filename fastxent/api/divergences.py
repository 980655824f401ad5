"""Entropy of predictions and Kullback-Leibler divergence of arrays."""

from __future__ import annotations

from typing import Any, Literal

from fastxent.api.reduce import Reduction, reduced
from fastxent.api.spoken import spoken
from fastxent.data.options import LossOptions
from fastxent.sources.options import Inputs

__all__ = ["entropy", "kl_divergence"]


@spoken
def entropy(
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    weight: Any = None,
    reduction: Reduction = "mean",
    base: float | None = None,
    normalize: bool = False,
    on_invalid: Literal["raise", "skip", "propagate"] = "raise",
    dtype: str | None = None,
    axis: int | None = None,
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
        weight: (n,) weights of rows, of at least 0; the mean divides by their sum.
        reduction: "mean", "sum" (of the row losses), "none" for the loss of every row, or "elementwise" for its terms,
            of the shape of the scores.
        base: unit of the result, a number above 1: 2 for bits, 10 for bans; None for nats.
        normalize: divide the probabilities of a row by their sum.
        on_invalid: "raise" an error, "skip" invalid rows (NaN for reduction "none"), or "propagate" NaN.
        dtype: what 16-bit patterns (uint16 arrays) are: "float16" or "bfloat16".
        axis: the axis of arrays along which the classes (or labels) lie, where there are more than two: -1 of (B, T,
            V), 1 of (N, C, H, W). Everything else has the shape without it (targets may have all of it); what is one
            value for each entry of the first axis counts for all its rows.
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
    inputs = Inputs(logits=logits, probs=probs, log_probs=log_probs, weight=weight, dtype=dtype, axis=axis)
    loss = LossOptions(loss="entropy", on_invalid=on_invalid, normalize=normalize)
    return reduced(inputs, loss, reduction, base, threads)


@spoken
def kl_divergence(
    target: Any,
    *,
    logits: Any = None,
    probs: Any = None,
    log_probs: Any = None,
    weight: Any = None,
    reduction: Reduction = "mean",
    base: float | None = None,
    normalize: bool = False,
    on_invalid: Literal["raise", "skip", "propagate"] = "raise",
    dtype: str | None = None,
    axis: int | None = None,
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
        weight: (n,) weights of rows, of at least 0; the mean divides by their sum.
        reduction: "mean", "sum" (of the row losses), "none" for the loss of every row, or "elementwise" for its terms,
            of the shape of the scores.
        base: unit of the result, a number above 1: 2 for bits, 10 for bans; None for nats.
        normalize: divide the probabilities of a row by their sum.
        on_invalid: "raise" an error, "skip" invalid rows (NaN for reduction "none"), or "propagate" NaN.
        dtype: what 16-bit patterns (uint16 arrays) are: "float16" or "bfloat16".
        axis: the axis of arrays along which the classes (or labels) lie, where there are more than two: -1 of (B, T,
            V), 1 of (N, C, H, W). Everything else has the shape without it (targets may have all of it); what is one
            value for each entry of the first axis counts for all its rows.
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
    inputs = Inputs(
        target=target, logits=logits, probs=probs, log_probs=log_probs, weight=weight, dtype=dtype, axis=axis,
    )  # fmt: skip
    loss = LossOptions(loss="kl_divergence", on_invalid=on_invalid, normalize=normalize)
    return reduced(inputs, loss, reduction, base, threads)
