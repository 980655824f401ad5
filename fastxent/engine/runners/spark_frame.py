"""Tables that only Spark can read (Delta, Iceberg, views): its workers score the record batches of partitions."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from fastxent.engine.plan import Failed, Part, Plan, Scored, join, merge, plan_of
from fastxent.engine.score_split import score_splits
from fastxent.engine.work import placed
from fastxent.sources.source import Selection

__all__ = ["sample_of", "score_frame"]

#: Rows from which columns and classes are found.
SAMPLE = 100


def sample_of(frame: Any) -> Any:
    """The first rows of a frame, as an Arrow table: what is measured is found from them."""
    return frame.limit(SAMPLE).toArrow()


def score_frame(frame: Any, plan: Plan, filter: Any) -> Scored:
    """What all rows of a frame leave behind; raises the error of the earliest partition that has one.

    Rows are numbered in the order of partitions, as when the frame is collected.

    Args:
        frame: a DataFrame of Spark.
        plan: what is measured, over the `sample_of` the frame.
        filter: which rows are read.
    """
    spec, measures = plan.spec, plan.measures
    reading = plan.source.reading  # type: ignore[attr-defined]  # of the sample, an ArrowSource
    selection: Selection = reading.selection

    def partition(batches: Iterable[Any]) -> Iterator[Any]:
        import pyarrow as pa
        from pyspark import TaskContext

        from fastxent.sources.arrow.source import StreamSource
        from fastxent.sources.filter import Filter

        batches = iter(batches)
        first = next((batch for batch in batches if batch.num_rows), None)
        if first is None:
            return
        number = TaskContext.get().partitionId()
        part: Part
        try:
            reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], batches))
            rows = None if filter is None else Filter(filter)
            own = plan_of(StreamSource(reader, selection, rows, f"<partition {number}>"), spec, measures)
            part = score_splits(own, own.splits)
        except Exception as error:
            part = Failed(None, 0, error)
        if isinstance(part, Failed):
            part = Failed(part.split, part.batch, placed(part))
        yield pa.record_batch({"partition": pa.array([number]), "part": pa.array([pickle.dumps(part)], pa.binary())})

    if filter is None:
        frame = frame.select(*[f"`{name.replace('`', '``')}`" for name in reading.columns])
    rows = frame.mapInArrow(partition, "partition long, part binary").collect()
    whole: Part = Scored(plan.new_totals())
    for _, data in sorted((row[0], row[1]) for row in rows):
        scored = merge([pickle.loads(data)])
        scored.totals.shift(int(merge([whole]).totals.tallies.rows.sum()))
        whole = join(whole, scored)
    return merge([whole])
