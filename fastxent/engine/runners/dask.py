"""Dask as a runner: chunks are tasks whose parts are joined where they lie, some at a time.

Dask runs again what a lost worker had done, and gives a task up when several workers died of it. The keys of tasks hold
the numbers of their splits.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from fastxent.base.errors import FastxentError, UsageError
from fastxent.engine.plan import Part
from fastxent.engine.runners.runner import FAN_IN, Runner, groups_of, in_order, need, one_by_one
from fastxent.engine.work import Chunk, Sent, Work, do, joined, send

__all__ = ["Dask"]

#: Seconds to wait for a scheduler.
TIMEOUT = 10


class Dask(Runner):
    """A `distributed.Client`, or the address of a scheduler, to which a client is then made for the run."""

    def __init__(self, client: Any) -> None:
        self._given = client
        self._client: Any = None
        self.name = client if isinstance(client, str) else f"dask {client.scheduler.address}"

    def __enter__(self) -> Dask:
        distributed = need("distributed", "dask")
        self._client = self._given
        if isinstance(self._given, str):
            try:
                self._client = distributed.Client(self._given, timeout=TIMEOUT, set_as_default=False)
            except (OSError, ValueError) as error:
                raise FastxentError(f"{self._given}: no Dask scheduler can be reached: {error}") from error
        elif self._client.asynchronous:
            raise UsageError("runner: the Dask client is asynchronous; make one with asynchronous=False")
        self.workers = max(1, sum(self._client.nthreads().values()))
        return self

    def __exit__(self, *error: Any) -> None:
        if self._client is not self._given:
            self._client.close()

    def results(self, work: Work, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Part]]:
        """The parts of the chunks."""
        from distributed import KilledWorker

        client, sent = self._client, send(work)
        run = f"fastxent-{sent.token}"
        there = client.submit(Sent, sent.data, sent.versions, sent.token, key=f"{run}-work")
        begun: dict[Chunk, list[Any]] = {}

        def begin(group: Sequence[Chunk]) -> Any:
            keys = [f"{run}-splits-{chunk[0]}-{chunk[-1]}" for chunk in group]
            parts = client.map(_do, [list(chunk) for chunk in group], sent=there, key=keys)
            whole = client.submit(joined, parts, key=f"{run}-join-{group[0][0]}-{group[-1][-1]}")
            begun[tuple(number for chunk in group for number in chunk)] = [*parts, whole]
            return whole

        def once(numbers: Chunk) -> Part:
            begun[numbers] = [
                *begun.get(numbers, ()),
                client.submit(_do, list(numbers), sent=there, key=f"{run}-alone-{numbers[0]}"),
            ]
            return result(numbers, begun[numbers][-1])

        def result(numbers: Chunk, future: Any) -> Part:
            try:
                part: Part = future.result()
            except KilledWorker:
                raise
            except Exception as error:
                raise FastxentError(f"{self.name}: {work.name(numbers)}: {type(error).__name__}: {error}") from error
            del begun[numbers]  # the futures, and so what workers hold for them
            return part

        def end(numbers: Chunk, future: Any) -> Part:
            try:
                return result(numbers, future)
            except KilledWorker:
                return one_by_one(work, numbers, once, KilledWorker)

        try:
            limit = 2 + 4 * self.workers // FAN_IN
            yield from in_order(groups_of(work, chunks), begin, end, limit)
        finally:
            client.cancel([there, *(future for futures in begun.values() for future in futures)])


def _do(numbers: list[int], sent: Sent) -> Part:
    return do(sent, tuple(numbers), log=logging.getLogger("distributed.worker.fastxent"))  # in the worker's own log
