"""Losses that are stored, or log-probabilities of targets -> losses.

A loss is -log p, so what is below 0 would be a probability above 1. As among log-probabilities of classes, a number of
a type narrower than float64 may be beyond 0 by `SLACK`, which is taken for 0; +inf is a loss like any other.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.rows.probs import SLACK
from fastxent.kernels.vector.memory import load_scalar

__all__ = ["ready_made"]


@cache
def ready_made(form: str, kind: str) -> Any:
    """The row kernel for one number a row: the loss (``form`` "losses"), or minus the loss ("target_log_probs")."""
    sign = 1.0 if form == "losses" else -1.0
    least = 0.0 if kind == "float64" else -SLACK

    @kernel(variant=f"{form}-{kind}")
    def rows(p, lo, n, card, work):
        real, whole, status = card
        for i in range(n):
            loss = sign * load_scalar(p.scores + (lo + i) * p.stride, kind)
            fate = sc.SCORED
            if not loss >= least:
                fate = sc.NAN_PREDICTION if loss != loss else sc.PROBABILITY_OUT_OF_RANGE
            status[i] = fate
            real[sc.LOSS, i] = loss if loss > 0.0 else 0.0
            whole[sc.TARGET, i] = 0
            whole[sc.RANK, i] = 0

    return rows
