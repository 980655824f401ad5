"""Slow and obvious: what the kernels should compute, one row at a time, in mpmath or math.fsum.

Nothing here is clever, vectorised or shared with the package; a disagreement is the package's fault.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import ml_dtypes
import mpmath as mp
import numpy as np

DTYPE: dict[str, Any] = {
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float32": np.float32,
    "float64": np.float64,
}
KINDS = tuple(DTYPE)

PRECISION = 160  # bits


class Row(NamedTuple):
    """The scores of one row, as multiprecision numbers where they are not whole."""

    loss: Any
    p_target: Any
    confidence: Any
    brier: Any
    predicted: int
    rank: int


def softmax_row(z: Iterable[float], t: int) -> Row:
    """Cross-entropy of a softmax against class t, from its definition. Equal logits are added up as one."""
    z = np.asarray(z, np.float64)
    top, own = float(z.max()), float(z[t])
    values, counts = np.unique(z, return_counts=True)
    with mp.workprec(PRECISION):
        e = {v: mp.exp(mp.mpf(v) - mp.mpf(top)) if v > -math.inf else mp.mpf(0) for v in values.tolist()}
        others = [(e[v], int(n) - (v == own)) for v, n in zip(values.tolist(), counts, strict=True)]
        wrong = mp.fsum(n * x for x, n in others)
        total = wrong + e[own]
        return Row(
            loss=mp.log1p(wrong / e[own]) if own > -math.inf else mp.inf,
            p_target=e[own] / total,
            confidence=1 / total,
            brier=(wrong / total) ** 2 + mp.fsum(n * (x / total) ** 2 for x, n in others),
            predicted=int(np.argmax(z)),
            rank=int(np.sum(z > own) + np.sum(z[:t] == own)),
        )


def spread_bound(z: Iterable[float], t: int) -> float:
    """How far rounding each difference d_j = z_j - z_t to float64 may move the loss, in ulp of the loss.

    By first order that is the mean of abs(d_j) by the shares of the other classes, times S / ((1 + S) log(1 + S)), the
    condition of log1p at the sum S of their exponentials. For S < 1 that condition is at most 1.
    """
    z = np.asarray(z, np.float64)
    d = np.delete(z, t) - z[t]
    d = d[d > -math.inf]
    if not d.size:
        return 0.0
    q = np.exp(d - d.max())
    s = float(q.sum()) * math.exp(min(float(d.max()), 700.0))
    damping = 1.0 if s < 1.0 else s / ((1.0 + s) * math.log1p(s))
    return float((q * np.abs(d)).sum() / q.sum()) * damping


def ulps(got: float, wanted: Any) -> float:
    """The error in units of the last place of the wanted number, rounded to float64."""
    nearest = float(wanted)
    if not math.isfinite(nearest) or not math.isfinite(got):
        return 0.0 if got == nearest else math.inf
    return float(abs(mp.mpf(got) - wanted) / mp.mpf(math.ulp(nearest)))


def cross_entropies(z: Any, t: Any) -> list[float]:
    """Losses from logits, by fsum over float64 terms."""
    losses = []
    for row, target in zip(np.asarray(z, np.float64).tolist(), np.asarray(t).tolist(), strict=True):
        top = max(row)
        terms = [math.exp(v - top) for v in row]
        if row[target] == -math.inf:
            losses.append(math.inf)
        elif row[target] == top:
            others = terms[:target] + terms[target + 1 :]
            losses.append(math.log1p(math.fsum(others)))
        else:
            losses.append(math.log(math.fsum(terms)) + (top - row[target]))
    return losses


def minus_log(p: float) -> float:
    """-log(p), with infinity at 0."""
    return math.inf if p == 0.0 else -math.log(p) + 0.0


def losses_of_probs(p: Any, t: Any) -> list[float]:
    """Losses from stored probabilities, as they are."""
    return [minus_log(float(row[target])) for row, target in zip(p, t, strict=True)]


def losses_of_log_probs(lp: Any, t: Any) -> list[float]:
    """Losses from stored log-probabilities, as they are."""
    return [-float(row[target]) + 0.0 for row, target in zip(lp, t, strict=True)]


def softplus(a: float) -> float:
    """log(1 + e^a)."""
    return max(a, 0.0) + math.log1p(math.exp(-abs(a)))


def binary_of_logits(z: Any, y: Any) -> list[float]:
    """Losses of yes-or-no predictions from logits."""
    return [softplus(-float(a)) if int(b) else softplus(float(a)) for a, b in zip(z, y, strict=True)]


def binary_of_probs(p: Any, y: Any) -> list[float]:
    """Losses of yes-or-no predictions from probabilities."""
    return [minus_log(float(a)) if int(b) else -math.log1p(-float(a)) for a, b in zip(p, y, strict=True)]


def binary_of_log_probs(lp: Any, y: Any) -> list[float]:
    """Losses of yes-or-no predictions from log-probabilities."""
    return [-float(a) if int(b) else -math.log(-math.expm1(float(a))) for a, b in zip(lp, y, strict=True)]


def multilabel_of_logits(z: Any, y: Any) -> list[float]:
    """Mean loss over the labels of every row."""
    return [math.fsum(binary_of_logits(a, b)) / len(a) for a, b in zip(z, y, strict=True)]
