"""Plan -> workers -> totals: one pass over a source, on threads, in bounded memory.

Kernels release the interpreter lock, so plain threads run them side by side; there is no threading
layer of Numba's, hence nothing that could abort when two callers come at once. Splits are taken in
order, and what they leave behind is merged exactly, so the number of threads cannot be seen in the result.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait

from fastxent.batch import Batch
from fastxent.errors import UsageError
from fastxent.faults import raise_first_invalid
from fastxent.kernels.jobs import Outputs
from fastxent.scores import Scorer
from fastxent.sources.source import Source, Split
from fastxent.spec import Spec
from fastxent.totals import Measures, Totals

__all__ = ["default_threads", "run"]

#: Below this many bytes of work, starting threads costs more than it saves (about 0.1 ms).
SMALL = 1 << 19

OutputsOf = Callable[[Batch], Outputs | None]
Done = Callable[[Split], None]


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


class _Queue:
    """Hands out splits in order until there are none or somebody says stop; remembers the earliest error."""

    def __init__(self, splits: Sequence[Split]) -> None:
        self._splits: Iterator[Split] = iter(splits)
        self._lock = threading.Lock()
        self._errors: dict[int, BaseException] = {}
        self.stopped = False

    def take(self) -> Split | None:
        with self._lock:
            return None if self.stopped or self._errors else next(self._splits, None)

    def fail(self, split: Split, error: BaseException) -> None:
        with self._lock:
            self._errors[split.id] = error

    def raise_earliest(self) -> None:
        if self._errors:
            raise self._errors[min(self._errors)]


def run(
    source: Source,
    spec: Spec,
    measures: Measures,
    *,
    threads: int | None = None,
    outputs_of: OutputsOf | None = None,
    done: Done | None = None,
) -> Totals:
    """Score every row of the source and return the totals.

    ``outputs_of`` says where the per-row results of a batch go; ``done`` is told of every finished
    split (from any thread). Of several errors the one of the earliest split is raised, whatever the
    number of threads.
    """
    threads = default_threads() if threads is None else threads
    if threads < 1:
        raise UsageError(f"threads: expected at least 1, got {threads}")
    splits = source.splits()
    queue = _Queue(splits)

    def work() -> Totals:
        totals = Totals(spec, measures)
        scorer = Scorer(spec, full=measures.full)
        while (split := queue.take()) is not None:
            try:
                _score_split(source, split, queue, scorer, totals, outputs_of)
            except BaseException as error:  # carried to the caller's thread by raise_earliest
                queue.fail(split, error)
            else:
                if done is not None:
                    done(split)
        return totals

    workers = min(threads, len(splits))
    if workers <= 1 or sum(split.nbytes for split in splits) < SMALL:
        parts = [work()]
    else:
        parts = _in_threads(work, workers, queue)
    queue.raise_earliest()
    totals = parts[0]
    for part in parts[1:]:
        totals.merge(part)
    return totals


def _score_split(
    source: Source, split: Split, queue: _Queue, scorer: Scorer, totals: Totals, outputs_of: OutputsOf | None
) -> None:
    for batch in source.read(split):
        if queue.stopped:
            return
        if batch.num_rows:
            scorer.score(batch, totals, None if outputs_of is None else outputs_of(batch))
            if totals.spec.on_invalid == "raise":
                raise_first_invalid(totals, batch)


def _in_threads(work: Callable[[], Totals], workers: int, queue: _Queue) -> list[Totals]:
    with ThreadPoolExecutor(workers, thread_name_prefix="fastxent") as pool:
        futures = [pool.submit(work) for _ in range(workers)]
        try:
            wait(futures)
        except BaseException:
            queue.stopped = True  # Ctrl-C: workers stop after their batch, then the pool is left
            raise
        return [future.result() for future in futures]
