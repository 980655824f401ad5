"""Threads as workers: splits are taken in order, batches are shared, and what the workers hold is merged at the end.

Kernels release the interpreter lock, so plain threads run them side by side; there is no threading layer of Numba's,
hence nothing that could abort when two callers come at once. Merging is exact, so the number of threads cannot be seen
in the result.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import reduce
from typing import TypeVar

from fastxent.base.errors import UsageError
from fastxent.data.batch import Batch
from fastxent.engine.plan import Failed, Part, Plan, Scored, Stop, Stopped, join, merge
from fastxent.engine.runners.runner import CHUNKS, Runner, chunks_of
from fastxent.engine.runners.shared_split import SharedSplit
from fastxent.engine.runners.work_queue import WorkQueue
from fastxent.engine.score_split import score_batch
from fastxent.engine.scorer import Scorer
from fastxent.engine.work import Chunk, Work
from fastxent.kernels.block_loop import Outputs
from fastxent.sources.source import Split
from fastxent.totals.totals import Totals

__all__ = ["Done", "RowResults", "Threads", "default_threads", "run", "score", "score_each", "thread_count"]

#: Below this many bytes of work, starting threads costs more than it saves (about 0.3 ms).
SMALL = 1 << 19
#: Bytes of work for each thread that has no split of its own.
SHARE = 1 << 22

#: Called with every finished split, from any thread.
Done = Callable[[Split], None]

T = TypeVar("T")
Item = TypeVar("Item")


class RowResults:
    """What becomes of the results of single rows. All methods are called by several threads at once."""

    def outputs_of(self, batch: Batch) -> Outputs:
        """Where the results of a batch go."""
        raise NotImplementedError

    def take(self, split: int, place: int, batch: Batch, outputs: Outputs) -> None:
        """A batch has been scored, the one at this place of the split with this number. It is gone afterwards."""

    def pass_over(self, split: int, place: int) -> None:
        """The batch at this place had no rows."""

    def end(self, split: int, batches: int) -> None:
        """A split has so many batches, of which some may still be in work. May be called more than once."""

    def stop(self) -> None:
        """Nothing will come of it: let go of those who wait."""


def thread_count(threads: int | None) -> int:
    """The number of threads that is asked for; by default ``FASTXENT_NUM_THREADS``, or all processors there are."""
    if threads is None:
        return default_threads()
    if threads < 1:
        raise UsageError(f"threads: expected at least 1, got {threads}")
    return threads


def default_threads() -> int:
    """``FASTXENT_NUM_THREADS``, or the processors this process may use."""
    named = os.environ.get("FASTXENT_NUM_THREADS")
    if named is not None:
        if not named.isdigit() or int(named) < 1:
            raise UsageError(f"FASTXENT_NUM_THREADS: expected a positive integer, got {named!r}")
        return int(named)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run(plan: Plan, threads: int | None = None, *, rows: RowResults | None = None, done: Done | None = None) -> Scored:
    """Score the splits of a plan; raises the error of the earliest batch that has one.

    Args:
        plan: what is scored.
        threads: how many threads; None: what `thread_count` says.
        rows: what becomes of the results of single rows.
        done: called with every finished split.
    """
    return merge([score(plan, thread_count(threads), rows=rows, done=done)])


class Threads(Runner):
    """So many threads of this process."""

    sends = False

    def __init__(self, count: int) -> None:
        self.name, self.readers = f"threads:{count}", count

    def cut(self, work: Work, numbers: Sequence[int]) -> list[Chunk]:
        """Chunks that are worth the while of all threads, one after the other."""
        return chunks_of(work, numbers, CHUNKS, work.chunk_bytes * self.readers)

    def results(self, work: Work, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Part]]:
        """The parts of the chunks, each scored by all threads."""
        for chunk in chunks:
            splits = tuple(split for number in chunk for split in work.splits(number))
            yield chunk, score(replace(work.plan, splits=splits), self.readers)


def score(
    plan: Plan,
    threads: int,
    *,
    rows: RowResults | None = None,
    done: Done | None = None,
    stop: Stop | None = None,
) -> Part:
    """What all splits of a plan leave behind, or the earliest error. Raises `Stopped` if others set ``stop``."""
    source = plan.source
    queue = WorkQueue(len(plan.splits), stop, *(() if rows is None else (rows.stop,)))
    shares = [SharedSplit(source, split) for split in plan.splits]

    def work() -> Totals:
        totals, scorer = plan.new_totals(), Scorer(plan.spec, full=plan.measures.full)
        while (number := queue.take()) is not None:
            if not _score_share(shares[number], number, queue, scorer, totals, rows):
                return totals
            if done is not None:
                done(plan.splits[number])
        for number, share in enumerate(shares if source.batches_last else ()):
            if not _score_share(share, number, queue, scorer, totals, rows):
                break
        return totals

    parts = _side_by_side(work, _workers(plan.splits, threads, shared=source.batches_last), queue)
    if queue.stopped:
        raise Stopped
    if queue.earliest is not None:
        return queue.earliest
    for part in parts[1:]:
        parts[0].merge(part)
    return Scored(parts[0], frozenset(source.left_out))


def score_each(function: Callable[[Item, Stop], Part], items: Sequence[Item], threads: int) -> Part | None:
    """The parts that a function makes of items (files, say), taken in order by several threads, joined.

    None is begun after one has failed. The function also gets an event: once it is set nothing will come of the work.
    """
    stop = threading.Event()
    queue = WorkQueue(len(items), stop)

    def work() -> Part | None:
        whole: Part | None = None
        while (number := queue.take()) is not None:
            try:
                part = function(items[number], stop)
            except Stopped:
                break
            whole = part if whole is None else join(whole, part)
            if isinstance(part, Failed):
                queue.fail(number, part)
        return whole

    parts = [part for part in _side_by_side(work, min(threads, len(items)), queue) if part is not None]
    return reduce(join, parts) if parts else None


def _side_by_side(work: Callable[[], T], workers: int, queue: WorkQueue) -> list[T]:
    """What the workers made, of whom this thread is one: to start a thread and be woken by it takes 0.3 ms."""
    if workers <= 1:
        return [work()]

    def helped() -> T:
        with queue.stopping():
            return work()

    with ThreadPoolExecutor(workers - 1, thread_name_prefix="fastxent") as pool, queue.stopping():
        futures = [pool.submit(helped) for _ in range(workers - 1)]
        return [work(), *(future.result() for future in futures)]


def _workers(splits: Sequence[Split], threads: int, *, shared: bool) -> int:
    nbytes = sum(split.nbytes for split in splits)
    useful = max(len(splits), nbytes // SHARE) if shared else len(splits)
    return 1 if nbytes < SMALL else min(threads, useful)


def _score_share(
    share: SharedSplit, number: int, queue: WorkQueue, scorer: Scorer, totals: Totals, rows: RowResults | None
) -> bool:
    """Score batches of a split until there are none, beside whoever does the same; False if that is over.

    Who meets an error stops, as its totals hold the rows that are wrong; others go on with the splits before. Ctrl-C is
    no such error.
    """
    while not queue.is_over_for(number):
        place = None
        try:
            place, batch = share.take()
            if batch is None:
                if rows is not None:
                    rows.end(number, place)
                return True
            if rows is None:
                score_batch(batch, scorer, totals)
            else:
                _score_rows(number, place, batch, scorer, totals, rows)
        except Exception as error:
            queue.fail(number, Failed(share.split, share.taken if place is None else place, error))
            return False
    return False


def _score_rows(number: int, place: int, batch: Batch, scorer: Scorer, totals: Totals, rows: RowResults) -> None:
    if not batch.num_rows:
        rows.pass_over(number, place)
        return
    outputs = rows.outputs_of(batch)
    score_batch(batch, scorer, totals, outputs)
    rows.take(number, place, batch, outputs)
