"""Work -> what it leaves behind: the same for every runner."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from fastxent.base.errors import FastxentError
from fastxent.engine.ledger import Ledger
from fastxent.engine.plan import Part, Plan, Scored, has_rows_of, join, merge
from fastxent.engine.runners import threads as on_threads
from fastxent.engine.runners.runner import Runner
from fastxent.engine.runners.threads import Done, Threads
from fastxent.engine.work import SplitWork, Work

__all__ = ["run", "run_splits", "score_plan"]


def score_plan(plan: Plan, runner: Runner, *, done: Done | None = None, ledger: Ledger | None = None) -> Scored:
    """What all splits of a plan leave behind; raises the earliest error.

    Args:
        plan: what is scored.
        runner: who scores; it is connected already.
        done: called with every finished split; with a ledger, when that has it.
        ledger: what is finished already, and where it is noted what is.
    """
    if isinstance(runner, Threads) and ledger is None:
        return on_threads.run(plan, runner.readers, done=done)
    return run_splits(SplitWork(plan), runner, done=done, ledger=ledger)


def run_splits(
    work: SplitWork,
    runner: Runner,
    *,
    done: Done | None = None,
    take: Callable[[bytes], None] = lambda rows: None,
    ledger: Ledger | None = None,
) -> Scored:
    """`run` with ``done`` called with every finished split."""
    splits = work.plan.splits
    return run(work, runner, done=lambda number: done and done(splits[number]), take=take, ledger=ledger)


def run(
    work: Work,
    runner: Runner,
    *,
    done: Callable[[int], object] = lambda number: None,
    take: Callable[[bytes], None] = lambda rows: None,
    ledger: Ledger | None = None,
) -> Scored:
    """What all units leave behind; raises the earliest error.

    Args:
        work: the units.
        runner: who has them done; it is connected already.
        done: called with the number of every unit that is finished.
        ledger: what is finished already, and where it is noted what is.
        take: called with the results of single rows that come back (`Scored.rows`), which are then dropped.
    """
    whole: Part = Scored(work.plan.new_totals())
    left = set(range(len(work)))
    if ledger is not None:
        left -= ledger.finished
        whole = whole if ledger.scored is None else join(whole, ledger.scored)
        for number in sorted(ledger.finished):
            done(number)
    with closing(runner.results(work, runner.cut(work, sorted(left)))) as results:  # type: ignore[type-var]
        for numbers, part in results:
            scored = merge([part])
            for rows in scored.rows:
                take(rows)
            if not left.issuperset(numbers):
                raise FastxentError(f"{runner.name}: {work.name(numbers)} came back twice: report this bug")
            left.difference_update(numbers)
            whole = join(whole, Scored(scored.totals, scored.left_out))
            for number in numbers if ledger is None else ledger.add(numbers, scored):
                done(number)
    for number in () if ledger is None else ledger.flush():
        done(number)
    scored = merge([whole])
    if left or not has_rows_of([split for number in range(len(work)) for split in work.splits(number)], scored):
        raise FastxentError(
            f"{runner.name}: {len(left)} of {len(work)} parts, or rows, never came back: report this bug"
        )
    return scored
