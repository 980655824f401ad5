"""Totals -> evaluation: the end of every run, wherever its splits were scored."""

from __future__ import annotations

from typing import Any

from fastxent.base.version import package_version
from fastxent.engine.plan import Plan, Scored
from fastxent.results.evaluation import Evaluation
from fastxent.sources.skipped import in_order

__all__ = ["finish", "run_facts"]


def finish(plan: Plan, scored: Scored, facts: dict[str, Any], *, topk: bool = False, **readings: Any) -> Evaluation:
    """The evaluation of what the splits of a plan left behind.

    Args:
        plan: what was scored.
        scored: what all splits left behind, merged.
        facts: what `Evaluation.run` says of the run (`run_facts`).
        topk: whether rows store some of the classes only.
        readings: how the totals are read: ``bins``, ``binning``, ``top_ks`` and ``base`` of `Evaluation`.
    """
    left_out = list(in_order(scored.left_out.union(plan.source.left_out)))
    warnings = [str(each) for each in left_out]
    evaluation = Evaluation(scored.totals, run=facts, warnings=warnings, left_out=left_out, **readings)
    if topk:
        # Stored probabilities need not sum to 1: what is missing is shared among the other classes.
        evaluation.warnings[:] = [each for each in evaluation.warnings if "do not sum to 1" not in each]
        evaluation.warnings.append(_topk_warning(evaluation))
    return evaluation


def run_facts(
    plan: Plan, threads: int, seconds: float, *, rows: int | None = None, nbytes: int | None = None
) -> dict[str, Any]:
    """What `Evaluation.run` says of a run, of which so many ``rows`` and bytes were scored; all of them by default."""
    rows = plan.source.num_rows if rows is None else rows
    return {
        "seconds": seconds,
        "bytes": sum(split.nbytes for split in plan.splits) if nbytes is None else nbytes,
        "rows_per_second": rows / seconds if seconds else 0.0,
        "threads": threads,
        "paths": list(plan.source.paths),
        "version": package_version(),
    }


def _topk_warning(evaluation: Evaluation) -> str:
    unseen = int(evaluation.totals.tallies.confusion[-1].sum()) if evaluation.confusion is not None else 0
    return (
        f"top-k predictions: the target of {unseen:,} of {evaluation.num_rows:,} rows is not stored (they got an even "
        "share of the mass that is missing); Brier score, confusion and statistics by class mean nothing here"
    )
