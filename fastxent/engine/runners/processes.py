"""Other processes as workers: each gets the plan once, then runs of splits, and sends back one part for each run.

They are started afresh ("spawn"), so a program that uses them needs ``if __name__ == "__main__":`` around what it does.
"""

from __future__ import annotations

import pickle
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

from fastxent.base.errors import FastxentError
from fastxent.engine.plan import Failed, Part, Plan, Scored, join, merge
from fastxent.engine.runners.threads import Done, thread_count
from fastxent.engine.score_split import score_splits
from fastxent.sources.source import Split

__all__ = ["run"]

#: Runs of splits for each worker: more of them even out what takes longer and show progress, fewer send less back.
RUNS = 16


def run(plan: Plan, processes: int | None = None, *, done: Done | None = None) -> Scored:
    """Score the splits of a plan; raises the error of the earliest batch that has one.

    Args:
        plan: what is scored.
        processes: how many processes; by default as many as there would be threads.
        done: called with every finished split, in order.

    Raises:
        UsageError: the data lie in the memory of this process.
    """
    sent = pickle.dumps(plan)
    count = min(thread_count(processes), max(len(plan.splits), 1))
    context = get_context("spawn")
    stop = context.Event()
    whole: Part = Scored(plan.new_totals())
    with ProcessPoolExecutor(count, context, _begin, (sent, stop)) as pool:
        try:
            runs = _runs(plan.splits, RUNS * count)
            for splits, future in [(each, pool.submit(_score, each)) for each in runs]:
                whole = join(whole, future.result())
                if isinstance(whole, Failed):  # the earliest, for the runs before are done
                    break
                if done is not None:
                    for split in splits:
                        done(split)
        except BrokenProcessPool as error:
            raise FastxentError(
                "a worker process ended before its splits were scored: it was killed, or memory ran out; start fewer "
                "processes, or give them less memory="
            ) from error
        finally:
            stop.set()
            pool.shutdown(cancel_futures=True)
    return merge([whole])


def _runs(splits: Sequence[Split], count: int) -> list[Sequence[Split]]:
    """The splits in order, cut into so many runs of about as many each."""
    edges = [len(splits) * i // count for i in range(count + 1)]
    return [splits[lo:hi] for lo, hi in pairwise(edges) if lo < hi]


#: What a worker process works on: the plan, and the event that says stop.
_work: Any = None


def _begin(sent: bytes, stop: Any) -> None:
    """Receive the plan, in a worker. Ctrl-C is for the process that started this one."""
    global _work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _work = pickle.loads(sent), stop


def _score(splits: Sequence[Split]) -> Part:
    plan, stop = _work
    return score_splits(plan, splits, stopped=stop.is_set)
