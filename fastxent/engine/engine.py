"""Plan -> workers -> totals (and per-row results): one pass over a source, on threads, in bounded memory.

Kernels release the interpreter lock, so plain threads run them side by side; there is no threading
layer of Numba's, hence nothing that could abort when two callers come at once. Splits are taken in
order, and what they leave behind is merged exactly, so the number of threads cannot be seen in the result.

Per-row results go to a `RowSink`. Workers score ahead of it, but only so far: no more splits than threads
and two are under way, and no more than `HELD_BYTES` (in `ordered_splits`) of results wait. The caller's thread writes
them, in the order of the rows.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from fastxent.base.errors import UsageError
from fastxent.data.batch import Batch
from fastxent.data.spec import Spec
from fastxent.engine.invalid_rows import raise_first_invalid
from fastxent.engine.ordered_splits import Stopped, Turns
from fastxent.engine.scorer import Scorer
from fastxent.engine.shared_split import SharedSplit
from fastxent.kernels.block_loop import Outputs
from fastxent.sources.source import Source, Split
from fastxent.statistics.options import Measures
from fastxent.totals.totals import Totals

__all__ = ["Progress", "RowSink", "default_threads", "run"]

#: Below this many bytes of work, starting threads costs more than it saves (about 0.3 ms).
SMALL = 1 << 19
#: Bytes of work for each thread that has no split of its own.
SHARE = 1 << 22

OutputsOf = Callable[[Batch], Outputs | None]
Done = Callable[[Split], None]
#: What callers give: told of every finished split, with the number of rows in all (-1: unknown), from any thread.
Progress = Callable[[Split, int], None]


class RowSink(Protocol):
    """Takes the results of every row, in the order of the rows."""

    def outputs_of(self, batch: Batch) -> Outputs:
        """Fresh places for the results of a batch. Called by any worker."""

    def piece(self, batch: Batch, outputs: Outputs) -> Any:
        """What is to be written of a scored batch, which is gone afterwards; has ``nbytes``. Called by any worker."""

    def write(self, split: Split, piece: Any) -> None:
        """Write a piece. Called in order, by the thread that called `run`."""

    def end(self, path: str, totals: Totals) -> None:
        """All rows of ``path`` have been written; these are its totals. Called like `write`."""


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


def run(
    source: Source,
    spec: Spec,
    measures: Measures,
    *,
    threads: int | None = None,
    outputs_of: OutputsOf | None = None,
    sink: RowSink | None = None,
    splits: Sequence[Split] | None = None,
    done: Done | None = None,
) -> Totals:
    """Score every row of the source (or of the ``splits`` named) and return the totals.

    ``outputs_of`` says where the per-row results of a batch go; a ``sink`` gets them in the order of the
    rows. ``done`` is told of every finished split (from any thread). Of several errors the one of the
    earliest batch is raised, whatever the number of threads.
    """
    threads = default_threads() if threads is None else threads
    if threads < 1:
        raise UsageError(f"threads: expected at least 1, got {threads}")
    splits = source.splits() if splits is None else splits
    if sink is not None:
        return _IntoSink(sink, source, splits, lambda: Totals(spec, measures), done).run(threads)
    queue = Turns(splits)
    shares = [SharedSplit(source, split) for split in splits]

    def work() -> Totals:
        totals = Totals(spec, measures)
        scorer = Scorer(spec, full=measures.full)
        while (taken := queue.take()) is not None:
            number, split = taken
            if not _score_share(shares[number], number, queue, scorer, totals, outputs_of):
                return totals
            if done is not None:
                done(split)
        for number, share in enumerate(shares if source.batches_last else ()):
            if not _score_share(share, number, queue, scorer, totals, outputs_of):
                break
        return totals

    parts = _side_by_side(work, _workers(splits, threads, source.batches_last), queue)
    queue.raise_earliest()
    return _merged(parts)


def _side_by_side(work: Callable[[], Totals], workers: int, queue: Turns) -> list[Totals]:
    """What the workers made, of whom this thread is one: to start a thread and be woken by it takes 0.3 ms."""
    if workers <= 1:
        return [work()]

    def helped() -> Totals:
        with queue.stopping():
            return work()

    with ThreadPoolExecutor(workers - 1, thread_name_prefix="fastxent") as pool, queue.stopping():
        futures = [pool.submit(helped) for _ in range(workers - 1)]
        return [work(), *(future.result() for future in futures)]


def _workers(splits: Sequence[Split], threads: int, shared: bool = False) -> int:
    nbytes = sum(split.nbytes for split in splits)
    useful = max(len(splits), nbytes // SHARE) if shared else len(splits)
    return 1 if nbytes < SMALL else min(threads, useful)


def _merged(parts: Sequence[Totals]) -> Totals:
    totals = parts[0]
    for part in parts[1:]:
        totals.merge(part)
    return totals


def _score_share(
    share: SharedSplit,
    number: int,
    queue: Turns,
    scorer: Scorer,
    totals: Totals,
    outputs_of: OutputsOf | None,
) -> bool:
    """Score batches of a split until there are none, beside whoever does the same; False if that is over.

    Errors are carried to the caller's thread by `Turns.raise_earliest`. Who met one stops, as its totals hold the rows
    that are wrong; others go on with the splits before. Ctrl-C is no such error.
    """
    while not queue.is_over_for(number):
        try:
            place, batch = share.take()
        except Exception as error:
            queue.fail(number, error, share.taken)
            return False
        if batch is None:
            return True
        try:
            _score_batch(batch, scorer, totals, outputs_of)
        except Exception as error:
            queue.fail(number, error, place)
            return False
    return False


def _score_batch(batch: Batch, scorer: Scorer, totals: Totals, outputs_of: OutputsOf | None) -> Outputs | None:
    if not batch.num_rows:
        return None
    outputs = None if outputs_of is None else outputs_of(batch)
    scorer.score(batch, totals, outputs)
    if totals.spec.on_invalid == "raise":
        raise_first_invalid(totals, batch)
    return outputs


class _IntoSink:
    """A run whose rows are written in order. Totals are kept apart by path until the path is done."""

    def __init__(
        self,
        sink: RowSink,
        source: Source,
        splits: Sequence[Split],
        new_totals: Callable[[], Totals],
        done: Done | None,
    ) -> None:
        self._sink = sink
        self._source = source
        self._splits = splits
        self._new_totals = new_totals
        self._done = done
        self._grand = new_totals()
        self._parts: dict[str, list[Totals]] = {split.path: [] for split in splits}
        self._last = {split.path: number for number, split in enumerate(splits)}

    def run(self, threads: int) -> Totals:
        workers = _workers(self._splits, threads)
        queue = Turns(self._splits, window=threads + 2)
        scorers = [Scorer(self._grand.spec, full=self._grand.measures.full) for _ in range(max(workers, 1))]
        if workers <= 1:
            self._work(queue, scorers[0], alone=True)
            return self._grand
        with ThreadPoolExecutor(workers, thread_name_prefix="fastxent") as pool, queue.stopping():
            for scorer in scorers:
                pool.submit(self._work, queue, scorer)
            for number, split in enumerate(self._splits):
                for piece in queue.pieces(number):
                    self._sink.write(split, piece)
                self._end(number, split)
        return self._grand

    def _work(self, queue: Turns, scorer: Scorer, *, alone: bool = False) -> None:
        """Score splits until there are none; alone, write them as well."""
        path, totals = None, self._grand
        while (taken := queue.take()) is not None:
            number, split = taken
            try:
                if split.path != path:
                    path, totals = split.path, self._new_totals()
                    self._parts[path].append(totals)
                self._score(queue, number, split, scorer, totals, alone)
            except Stopped:
                return
            except BaseException as error:  # carried to the caller's thread by Turns.pieces
                if alone:
                    raise
                queue.fail(number, error)
                return
            queue.finish(number)
            if alone:
                for _ in queue.pieces(number):
                    pass
                self._end(number, split)

    def _score(self, queue: Turns, number: int, split: Split, scorer: Scorer, totals: Totals, alone: bool) -> None:
        def scored(batch: Batch, outputs: Outputs) -> None:
            piece = self._sink.piece(batch, outputs)
            if alone:
                self._sink.write(split, piece)
            else:
                queue.put(number, piece)

        for batch in self._source.read(split):
            if queue.stopped:
                return
            outputs = _score_batch(batch, scorer, totals, self._sink.outputs_of)
            if outputs is not None:
                scored(batch, outputs)
        if self._done is not None:
            self._done(split)

    def _end(self, number: int, split: Split) -> None:
        if number == self._last[split.path]:
            totals = _merged(self._parts.pop(split.path))
            self._sink.end(split.path, totals)
            self._grand.merge(totals)
