"""Other processes as workers: each gets the work once, then chunks of units, and sends back one part for each chunk.

They are started afresh ("spawn"), so a program that uses them needs ``if __name__ == "__main__":`` around what it does.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import Any

from fastxent.base.errors import FastxentError
from fastxent.engine.plan import Part
from fastxent.engine.runners.runner import Runner, groups_of, in_order
from fastxent.engine.work import Chunk, Sent, Work, do, send

__all__ = ["Processes"]


class Processes(Runner):
    """So many processes of this machine."""

    def __init__(self, count: int) -> None:
        self.name, self.workers, self.readers = f"processes:{count}", count, count

    def results(self, work: Work, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Part]]:
        """The parts of the chunks."""
        sent = send(work)
        context = get_context("spawn")
        stop = context.Event()

        def end(numbers: Chunk, future: Future[Part]) -> Part:
            try:
                return future.result()
            except BrokenProcessPool as error:
                raise FastxentError(
                    f"a worker process ended before {work.name(numbers)} or a split beside it was scored: it was "
                    "killed, or memory ran out; start fewer processes, or give them less memory="
                ) from error

        with ProcessPoolExecutor(min(self.workers, len(chunks) or 1), context, _begin, (sent, stop)) as pool:
            try:
                groups = groups_of(work, chunks, 1)
                yield from in_order(groups, lambda group: pool.submit(_do, group[0]), end, 4 * self.workers)
            finally:
                stop.set()
                pool.shutdown(cancel_futures=True)


#: What a worker process works on: the work, and the event that says stop.
_given: Any = None


def _begin(sent: Sent, stop: Any) -> None:
    """Receive the work, in a worker. Ctrl-C is for the process that started this one, and without that it ends."""
    global _given
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _given = sent, stop


def _end_with_parent() -> None:
    """End this process when the one that started it has ended: it would wait for ever to be read."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(numbers: Chunk) -> Part:
    sent, stop = _given
    return do(sent, numbers, stop)
