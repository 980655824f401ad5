"""Scoring a split: what every runner calls, wherever it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fastxent.data.batch import Batch
from fastxent.engine.invalid_rows import raise_first_invalid
from fastxent.engine.plan import Failed, Part, Plan, Scored, Stopped
from fastxent.engine.scorer import Scorer
from fastxent.kernels.block_loop import Outputs
from fastxent.sources.source import Split
from fastxent.totals.totals import Totals

__all__ = ["score_batch", "score_split", "score_splits"]


def score_split(plan: Plan, split: Split) -> Part:
    """What the rows of one split leave behind, or the first error among them."""
    return score_splits(plan, (split,))


def score_splits(plan: Plan, splits: Iterable[Split], stopped: Callable[[], bool] = lambda: False) -> Part:
    """What the rows of some splits leave behind, or the first error among them: their `score_split`, joined.

    Raises:
        Stopped: ``stopped``, which is asked before every batch, says so.
    """
    totals, scorer = plan.new_totals(), Scorer(plan.spec, full=plan.measures.full)
    paths = set()
    for split in splits:
        paths.add(split.path)
        number = 0
        try:
            for batch in plan.source.read(split):
                if stopped():
                    raise Stopped
                score_batch(batch, scorer, totals)
                number += 1
        except Stopped:
            raise
        except Exception as error:
            return Failed(split, number, error)
    whole = len(plan.source.splits()) == 1  # it may be of several files
    return Scored(totals, frozenset(each for each in plan.source.left_out if whole or each.path in paths))


def score_batch(batch: Batch, scorer: Scorer, totals: Totals, outputs: Outputs | None = None) -> None:
    """Add the rows of a batch to the totals; raises InvalidRowError for the first that is invalid, if the spec says so.

    The totals then hold that row, so nobody may use them any more.
    """
    if not batch.num_rows:
        return
    scorer.score(batch, totals, outputs)
    if totals.spec.on_invalid == "raise":
        raise_first_invalid(totals, batch)
