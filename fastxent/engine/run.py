"""Work -> what it leaves behind: the same for every runner."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from fastxent.base.errors import FastxentError
from fastxent.engine.plan import Part, Plan, Scored, join, merge
from fastxent.engine.runners import threads as on_threads
from fastxent.engine.runners.runner import Runner
from fastxent.engine.runners.threads import Done, Threads
from fastxent.engine.work import SplitWork, Work

__all__ = ["run", "run_splits", "score_plan"]


def score_plan(plan: Plan, runner: Runner, *, done: Done | None = None) -> Scored:
    """What all splits of a plan leave behind, or the earliest error; ``done`` is called with every finished split."""
    if isinstance(runner, Threads):
        return on_threads.run(plan, runner.readers, done=done)
    return run_splits(SplitWork(plan), runner, done=done)


def run_splits(
    work: SplitWork, runner: Runner, *, done: Done | None = None, take: Callable[[bytes], None] = lambda rows: None
) -> Scored:
    """`run` with ``done`` called with every finished split."""
    splits = work.plan.splits
    return run(work, runner, done=lambda number: None if done is None else done(splits[number]), take=take)


def run(
    work: Work,
    runner: Runner,
    *,
    done: Callable[[int], None] = lambda number: None,
    take: Callable[[bytes], None] = lambda rows: None,
) -> Scored:
    """What all units leave behind; raises the earliest error.

    Args:
        work: the units.
        runner: who has them done; it is connected already.
        done: called with the number of every unit that is finished.
        take: called with the results of single rows that come back (`Scored.rows`), which are then dropped.
    """
    whole: Part = Scored(work.plan.new_totals())
    left = set(range(len(work)))
    with closing(runner.results(work, runner.cut(work, range(len(work))))) as results:  # type: ignore[type-var]
        for numbers, part in results:
            scored = merge([part])
            for rows in scored.rows:
                take(rows)
            whole = join(whole, Scored(scored.totals, scored.left_out))
            left.difference_update(numbers)
            for number in numbers:
                done(number)
    scored = merge([whole])
    if left:
        raise FastxentError(
            f"{runner.name}: {len(left)} of {len(work)} parts never came back; this is a bug, report it"
        )
    return scored
