"""A DataFrame of Spark as a source. Spark's workers read the rows of its partitions, this process all of them in order.

Columns and classes are found from its schema and, where these are lists, from its first rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any

import pyarrow as pa

from fastxent.base.errors import FastxentError, SourceError, UsageError
from fastxent.sources.arrow.source import StreamSource
from fastxent.sources.dataset.reading import Reading, resolve, settle
from fastxent.sources.filter import BoundFilter, Filter
from fastxent.sources.read_errors import first_line
from fastxent.sources.source import Selection

__all__ = ["PATH", "SparkSource", "computing", "named", "open_spark"]

#: As of the table that it would be if it were collected.
PATH = "<table>"
#: Rows among which one with scores is looked for before the others are.
SAMPLE = 100


class SparkSource(StreamSource):
    """Columns of a DataFrame of Spark.

    Args:
        frame: the DataFrame.
        columns: the names of those that are read.
        reading: how they are read.
        filter: which rows are read.
    """

    def __init__(self, frame: Any, columns: Sequence[str], reading: Reading, filter: BoundFilter | None) -> None:
        super().__init__(_stream(frame, columns), reading, filter, PATH)
        self.frame, self.columns = _numbered(frame, columns), tuple(columns)

    def check_travels(self) -> None:
        """Raise `UsageError`: only Spark can read it."""
        raise UsageError(
            "data: a DataFrame of Spark is scored by Spark's own workers: leave out runner, ledger and shard, or write "
            "it to files and name these"
        )


def open_spark(frame: Any, selection: Selection, filter: Filter | None) -> SparkSource:
    """A source over a DataFrame of Spark."""
    with computing():
        sample = frame.limit(SAMPLE).toArrow()
    reading = resolve(sample.schema, selection, PATH)
    bound = None if filter is None else filter.bind(sample.schema, {}, PATH)
    reading = settle(reading, chain(sample.to_batches(), _stream(frame, reading.predictions[:1])), PATH)
    columns = list(dict.fromkeys([*reading.columns, *(() if bound is None else bound.columns)]))
    return SparkSource(frame, columns, reading, bound)


@contextmanager
def computing() -> Iterator[None]:
    """What Spark says against computing a DataFrame becomes a `SourceError`."""
    try:
        yield
    except FastxentError:
        raise
    except Exception as error:
        raise SourceError(f"the DataFrame cannot be computed: {first_line(error)}", path=PATH) from error


def named(batches: Iterable[Any], columns: Sequence[str]) -> Iterator[Any]:
    """Record batches with the names that their columns had."""
    for batch in batches:
        yield batch.rename_columns(list(columns))


def _stream(frame: Any, columns: Sequence[str]) -> Iterator[Any]:
    """All rows in order, a partition after the other, once the first is asked for."""
    if not hasattr(frame, "__arrow_c_stream__"):
        raise UsageError("this PySpark cannot hand over rows as a stream; take a newer one, or give frame.toArrow()")
    with computing():
        yield from named(pa.RecordBatchReader.from_stream(_numbered(frame, columns)), columns)


def _numbered(frame: Any, columns: Sequence[str]) -> Any:
    """Some columns, called by numbers: Spark hands over to Python none whose name has a dot in it."""
    chosen = frame.select(*(f"`{name.replace('`', '``')}`" for name in columns))
    return chosen.toDF(*(f"c{number}" for number in range(len(columns))))
