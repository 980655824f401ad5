"""Spark as a runner: chunks are the rows of a table, which Python workers map to parts, and some of these to one.

Only the DataFrame API is used, so that Spark Connect does as well. Spark runs again what a lost worker had done.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from fastxent.base.errors import FastxentError, UsageError
from fastxent.engine.plan import Part
from fastxent.engine.runners.runner import FAN_IN, Runner, groups_of, in_order, need, one_by_one
from fastxent.engine.work import Chunk, Work, do, joined, send

__all__ = ["Spark"]

#: Chunks of a job for each core, and jobs that run at the same time, so that one fills the cores that another leaves.
WAVES, JOBS = 4, 2
#: Cores where Spark does not say it (Spark Connect).
CORES = 32
#: The table of parts.
PARTS = "part binary"


class Died(Exception):
    """A job failed, so Spark has given up a task: mostly because workers died."""


class Spark(Runner):
    """A SparkSession, or a master, for which a session is made for the run unless there is one."""

    def __init__(self, session: Any) -> None:
        self._given = session
        self._session: Any = None
        self._own = False
        self.name = session if isinstance(session, str) else "spark"

    def __enter__(self) -> Spark:
        sql = need("pyspark.sql", "spark")
        self._session = self._given
        if isinstance(self._given, str):
            self._session = sql.SparkSession.getActiveSession()
            self._own = self._session is None
            self._session = self._session or _started(sql.SparkSession.builder, self._given)
        try:
            context = self._session.sparkContext
        except Exception:  # Spark Connect has none, and no error of its own for that
            self.workers = CORES
            return self
        if isinstance(self._given, str) and context.master != self._given:
            raise UsageError(f"runner: a SparkSession of {context.master} is there already; pass that, or stop it")
        self.name, self.workers = f"spark {context.master}", max(1, context.defaultParallelism)
        return self

    def __exit__(self, *error: Any) -> None:
        if self._own:
            self._session.stop()

    def results(self, work: Work, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Part]]:
        """The parts of the chunks, a job for some of them at a time."""
        sent = send(work)
        tag = f"fastxent-{sent.token}"

        def job(group: Sequence[Chunk]) -> Part:
            self._session.addTag(tag)  # of this thread
            score = mapped(lambda row: do(sent, group[row]))
            parts = self._session.range(0, len(group), 1, len(group)).mapInArrow(score, PARTS)
            if work.merges and len(group) > FAN_IN:
                parts = parts.repartition(-(-len(group) // FAN_IN)).mapInArrow(_join, PARTS)
            try:
                rows = parts.collect()
            except Exception as error:
                raise Died(str(error).strip().partition("\n")[0]) from error
            return joined(unpacked(row[0]) for row in rows)

        def end(numbers: Chunk, future: Future[Part]) -> Part:
            try:
                return future.result()
            except Died:
                return one_by_one(work, numbers, lambda single: job([single]), Died)

        with ThreadPoolExecutor(JOBS) as pool:
            try:
                groups = groups_of(work, chunks, WAVES * self.workers, least=self.workers)
                yield from in_order(groups, lambda group: pool.submit(job, group), end, JOBS)
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                self._session.interruptTag(tag)


def _started(builder: Any, master: str) -> Any:
    if master.startswith("local"):  # executors on this machine: the same Python, unless somebody says otherwise
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    try:
        return (builder.remote(master) if master.startswith("sc://") else builder.master(master)).getOrCreate()
    except Exception as error:
        raise FastxentError(f"{master}: no Spark session can be started: {error}") from error


def mapped(score: Callable[[int], Part]) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """What Spark calls with record batches of numbers, in a worker, and gives back a batch for each part."""

    def rows(batches: Iterable[Any]) -> Iterator[Any]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield packed(score(number))

    return rows


def _join(batches: Iterable[Any]) -> Iterator[Any]:
    """What Spark calls with record batches of parts."""
    parts = [unpacked(part) for batch in batches for part in batch.column(0).to_pylist()]
    if parts:
        yield packed(joined(parts))


def packed(part: Part) -> Any:
    """A part as a record batch of one row."""
    import pyarrow as pa

    return pa.RecordBatch.from_arrays([pa.array([pickle.dumps(part)], pa.binary())], ["part"])


def unpacked(data: bytes) -> Part:
    """A part from its row."""
    part: Part = pickle.loads(data)
    return part
