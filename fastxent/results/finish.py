"""Totals -> evaluation: the end of every run, wherever its splits were scored."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from fastxent.base.version import origin
from fastxent.engine.plan import Plan, Scored, Shard
from fastxent.engine.runners.runner import Runner
from fastxent.results.doubts import doubts_of_source
from fastxent.results.evaluation import Evaluation
from fastxent.sources.skipped import in_order
from fastxent.statistics.options import Readings
from fastxent.totals.totals import Totals

__all__ = ["evaluation_of", "finish", "run_facts"]


def finish(plan: Plan, scored: Scored, facts: dict[str, Any], readings: Readings, *, topk: bool = False) -> Evaluation:
    """The evaluation of what the splits of a plan left behind.

    Args:
        plan: what was scored.
        scored: what all splits left behind, merged.
        facts: what `Evaluation.run` says of the run (`run_facts`).
        readings: how the totals are read.
        topk: whether rows store some of the classes only.
    """
    left_out = list(in_order(scored.left_out.union(plan.source.left_out)))
    doubts = list(doubts_of_source(plan.source, scored.totals, scored.totals.reading()))
    return evaluation_of(
        scored.totals, facts, readings, warnings=[str(each) for each in left_out], left_out=left_out, topk=topk,
        doubts=doubts,
    )  # fmt: skip


def evaluation_of(totals: Totals, facts: dict[str, Any], readings: Readings, **more: Any) -> Evaluation:
    """Totals with how they are read, and ``more`` that `Evaluation` takes."""
    top_ks = None if readings.top_k is None else tuple(readings.top_k)
    return Evaluation(
        totals, run=facts, bins=readings.bins, binning=readings.binning, top_ks=top_ks, base=readings.base, **more
    )


def run_facts(
    plan: Plan,
    runner: Runner,
    scored: Scored,
    seconds: float,
    *,
    compiling: float = 0.0,
    rows: int | None = None,
    nbytes: int | None = None,
    shard: Shard | None = None,
) -> dict[str, Any]:
    """What `Evaluation.run` says of a run.

    Args:
        plan: what was scored.
        runner: who scored.
        scored: what the splits left behind.
        seconds: how long it took, compiling included.
        compiling: seconds of it in which kernels were compiled; rates leave them out.
        rows: how many rows were scored; by default all of the plan.
        nbytes: how many bytes; by default all of the plan.
        shard: which shard of a run it was.
    """
    if plan.source.num_rows < 0:  # a stream, or text: known once it is read
        rows = int(scored.totals.tallies.rows.sum())
    elif rows is None:
        rows = plan.source.num_rows if shard is None else sum(split.num_rows for split in plan.splits)
    ways, notes = Counter(plan.source.ways.values()), plan.source.notes
    return {
        "seconds": seconds,
        "bytes": sum(split.nbytes for split in plan.splits) if nbytes is None else nbytes,
        "compile_seconds": compiling,
        "rows_per_second": rows / (seconds - compiling) if seconds > compiling else 0.0,
        "threads": runner.readers,
        "runner": runner.name,
        "paths": list(plan.source.paths),
        **({"row_groups": dict(ways)} if ways else {}),
        **origin(),
        **({"notes": list(notes)} if notes else {}),
        **({} if shard is None else {"shard": asdict(shard)}),
    }
