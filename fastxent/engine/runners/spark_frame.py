"""A DataFrame of Spark (Delta, Iceberg, a view): its workers score the record batches of each partition.

What comes back of a partition is its part: rows are counted in the order of partitions, so that the bytes are those of
the table that is collected. Parts of partitions that follow each other are joined by workers.
"""

from __future__ import annotations

import pickle
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fastxent.base.errors import UsageError
from fastxent.data.spec import Spec
from fastxent.engine.plan import Failed, Part, Plan, Scored, join, plan_of
from fastxent.engine.runners.runner import FAN_IN, Runner
from fastxent.engine.score_split import score_splits
from fastxent.engine.work import Chunk, Work, send, with_sent
from fastxent.sources.arrow.source import StreamSource
from fastxent.sources.arrow.spark import PATH, SparkSource, computing, named
from fastxent.sources.dataset.reading import Reading
from fastxent.sources.filter import BoundFilter
from fastxent.sources.flattened import FlattenedSource
from fastxent.sources.object_kinds import library
from fastxent.statistics.options import Measures

__all__ = ["SparkFrame"]

#: The table of parts: the number of the first partition, how many rows were read, and the part.
PARTS = "number long, rows long, part binary"


class SparkFrame(Runner):
    """The Spark that a DataFrame is of, which ``runner`` may name by its session."""

    sends = False

    def __init__(self, runner: Any) -> None:
        if runner is not None and library(runner) != "pyspark":
            said = "data: a DataFrame of Spark is scored by Spark's own workers"
            raise UsageError(f"{said}; leave out runner={runner!r}")
        self.name = "spark"

    def results(self, work: Work, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Part]]:
        """The part of the one split that the DataFrame is."""
        frame = _frame_of(work.plan).frame
        with computing(), _cancelled(frame.sparkSession):
            parts = frame.mapInArrow(_scoring(work.plan), PARTS)
            blocks = parts.selectExpr(f"number div {FAN_IN} as block", "number", "rows", "part").groupBy("block")
            found = blocks.applyInArrow(_in_sequence, PARTS).collect()
        none = -1, 0, Scored(work.plan.new_totals())
        _, _, whole = _sequence([none, *((number, rows, pickle.loads(part)) for number, rows, part in found)])
        yield chunks[0], whole


@dataclass(frozen=True, slots=True)
class _Partitions:
    """What is measured of partitions, and how their record batches are read."""

    spec: Spec
    measures: Measures
    reading: Reading
    filter: BoundFilter | None
    columns: tuple[str, ...]

    def score(self, batches: Iterable[Any], number: int) -> Part:
        """What the rows of one leave behind. An invalid one is named by its place in the partition."""
        stream = StreamSource(named(batches, self.columns), self.reading, self.filter, f"<partition {number}>")
        plan = plan_of(FlattenedSource(stream) if stream.flattens else stream, self.spec, self.measures)
        part = score_splits(plan, plan.splits)
        if isinstance(part, Scored):
            part.totals.shift(0, path=PATH)
        return part


def _scoring(plan: Plan) -> Callable[[Iterable[Any]], Iterator[Any]]:
    """What Spark calls with the record batches of a partition."""
    source = _frame_of(plan)
    sent = send(_Partitions(plan.spec, plan.measures, source.reading, source.filter, source.columns))
    flattens = source.flattens

    def score(batches: Iterable[Any]) -> Iterator[Any]:
        from pyspark import TaskContext

        rows = 0

        def counted() -> Iterator[Any]:
            nonlocal rows
            for batch in batches:
                rows += batch.num_rows
                yield batch

        number = TaskContext.get().partitionId()
        part = with_sent(sent, lambda partitions: partitions.score(counted(), number))
        yield _packed(number, _count(part) if flattens else rows, part)

    return score


def _frame_of(plan: Plan) -> SparkSource:
    """The source that holds the DataFrame."""
    source = plan.source.lists if isinstance(plan.source, FlattenedSource) else plan.source
    assert isinstance(source, SparkSource)
    return source


def _in_sequence(table: Any) -> Any:
    """What Spark calls with a table of parts that follow each other."""
    import pyarrow as pa

    parts = [(row["number"], row["rows"], pickle.loads(row["part"])) for row in table.to_pylist()]
    return pa.Table.from_batches([_packed(*_sequence(parts))])


def _sequence(parts: list[tuple[int, int, Part]]) -> tuple[int, int, Part]:
    """Parts by number as one: rows are counted through, and the first error is that of the first that has one."""
    parts.sort(key=lambda each: each[0])
    first, read, whole = parts[0]
    for _, rows, part in parts[1:]:
        if isinstance(whole, Failed):
            break
        if isinstance(part, Scored):
            part.totals.shift(_count(whole), read)
        whole, read = join(whole, part), read + rows
    return first, read, whole


def _count(part: Part) -> int:
    return int(part.totals.tallies.rows.sum()) if isinstance(part, Scored) else 0


def _packed(number: int, rows: int, part: Part) -> Any:
    import pyarrow as pa

    schema = pa.schema({"number": pa.int64(), "rows": pa.int64(), "part": pa.binary()})
    return pa.RecordBatch.from_pylist([{"number": number, "rows": rows, "part": pickle.dumps(part)}], schema)


@contextmanager
def _cancelled(session: Any) -> Iterator[None]:
    """Spark gives up what is begun here if it ends in an error, or in Ctrl-C."""
    session.addTag(tag := f"fastxent-{uuid.uuid4().hex}")
    try:
        yield
    finally:
        session.interruptTag(tag)  # nothing is left to do, or it is over
        session.removeTag(tag)
