"""Totals of parts, put together: `merge`."""

from __future__ import annotations

import os
from collections.abc import Iterable

from fastxent.api.doubt import warn
from fastxent.api.evaluator import Evaluator
from fastxent.api.spoken import spoken
from fastxent.results.evaluation import Evaluation
from fastxent.totals.state_files import merge_totals
from fastxent.totals.totals import Totals

__all__ = ["merge"]


@spoken
def merge(
    states: Iterable[str | os.PathLike[str] | bytes | Totals | Evaluation | Evaluator], *, base: float | None = None
) -> Evaluation:
    """The evaluation of all rows that several runs have scored: the bits of one run over all their data.

    Args:
        states: state files (``fastxent evaluate --state``, `Evaluation.totals`'s bytes), their bytes, evaluations or
            evaluators, in the order of the data: the numbers by which single rows are named count on from one to the
            next. Every other number is the same in any order.
        base: unit of the losses: None for nats, 2 for bits, 10 for bans.

    Returns:
        An `Evaluation`.

    Raises:
        UsageError: a file is named twice, or there are no states.
        StateError: a state is damaged, of another version, or measures something else; the message names the
            difference.

    Examples:
        >>> import fastxent as fx
        >>> parts = [fx.evaluate(logits=[[2.0, 0.0]], target=[0]), fx.evaluate(logits=[[0.0, 2.0]], target=[0])]
        >>> round(fx.merge(part.totals.to_bytes() for part in parts).loss, 6)
        1.126928
    """
    states = list(states)
    names = [
        os.fspath(each) if isinstance(each, str | os.PathLike) else f"state {i + 1}" for i, each in enumerate(states)
    ]
    paths = [name for name, each in zip(names, states, strict=True) if isinstance(each, str | os.PathLike)]
    totals = merge_totals([_plain(each) for each in states], names, paths)
    result = Evaluation(totals, run={"states": names}, base=base)
    warn(result.doubts)
    return result


def _plain(state: str | os.PathLike[str] | bytes | Totals | Evaluation | Evaluator) -> str | bytes | Totals:
    if isinstance(state, Evaluation):
        return state.totals
    if isinstance(state, Evaluator):
        return state.to_bytes()
    return os.fspath(state) if isinstance(state, os.PathLike) else state
