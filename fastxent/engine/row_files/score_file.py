"""Per-row results by file: one output, the splits whose rows are in it, and the part that they leave behind.

A file is scored by whoever takes it, as a split is. On threads, files of few splits are scored side by side; a file of
many splits is scored by all threads together, which write its rows in order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

from fastxent.data.batch import Batch
from fastxent.engine.plan import Failed, Part, Plan, Scored, Stop, Stopped, merge
from fastxent.engine.row_files.columns import RowColumns
from fastxent.engine.row_files.in_order import InOrder
from fastxent.engine.row_files.record import make_record
from fastxent.engine.row_files.writer import RowSink, writer_of
from fastxent.engine.runners import threads as on_threads
from fastxent.engine.runners.threads import Done, RowResults
from fastxent.kernels.block_loop import Outputs
from fastxent.sources.source import Split
from fastxent.storage.place import Place

__all__ = ["OrderedRows", "RowFile", "score_file", "score_files"]


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file of per-row results that is to be written. It can be pickled.

    Attributes:
        output: where it is to appear; the folder of an output with one ``input`` is made.
        splits: the splits whose rows it holds, in order.
        input: the path of the source that it is made from; None: all of them.
        job: digest of what is done (`fastxent.engine.row_files.record.job_digest`).
        first_id: the number of its first row within the source.
        identity: size and time of change of the input, where there is one.
        overwrite: whether a file that is there may be replaced.
    """

    output: str
    splits: tuple[Split, ...]
    input: str | None
    job: str
    first_id: int = 0
    identity: Mapping[str, Any] | None = None
    overwrite: bool = False


def score_file(
    plan: Plan,
    columns: RowColumns,
    file: RowFile,
    *,
    threads: int = 1,
    done: Done | None = None,
    stop: Stop | None = None,
) -> Part:
    """Score the splits of one file and write their rows: all of them, or nothing and an error."""
    split = file.splits[0] if file.splits else None
    try:
        if file.input is not None:
            Place.of(file.output).make_folder()
        writer = writer_of(file.output, columns, file.overwrite)
    except Exception as error:
        return Failed(split, 0, error)
    try:
        rows = OrderedRows(columns, writer)
        part = on_threads.score(replace(plan, splits=file.splits), threads, rows=rows, done=done, stop=stop)
        if isinstance(part, Scored):
            left_out = frozenset(each for each in part.left_out if file.input in (None, each.path))
            note = {"output": file.output, "input": file.input, "rows": int(part.totals.tallies.rows.sum())}
            part = Scored(part.totals, left_out, (json.dumps(note).encode(),))
            place = {"first_id": file.first_id, "left_out": len(left_out)}
            inputs = plan.source.paths if file.input is None else (file.input,)
            writer.finish(make_record(file.job, part.totals, file.identity, place), inputs)
        return part
    except Stopped:
        raise
    except Exception as error:
        return Failed(split, 0, error)
    finally:
        writer.abort()


def score_files(
    plan: Plan,
    columns: RowColumns,
    files: Sequence[RowFile],
    threads: int,
    *,
    done: Done | None = None,
    whole: Callable[[RowFile], None] = lambda file: None,
) -> Scored:
    """Write all files, on threads; raises the error of the earliest that fails, and begins none after it.

    Args:
        plan: what is scored.
        columns: the columns of the rows.
        files: the files, in the order of their splits.
        threads: how many threads.
        done: called with every finished split.
        whole: called with every file that is whole.
    """

    def score(file: RowFile, stop: Stop, *, threads: int = 1) -> Part:
        part = score_file(plan, columns, file, threads=threads, done=done, stop=stop)
        if isinstance(part, Scored):
            whole(file)
        return part

    parts: list[Part] = [Scored(plan.new_totals())]
    for large, group in groupby(files, lambda file: len(file.splits) >= threads):
        several = partial(score, threads=threads) if large else score
        part = on_threads.score_each(several, list(group), 1 if large else threads)
        if part is not None:
            parts = [merge([*parts, part])]
    return merge(parts)


class OrderedRows(RowResults):
    """The rows of one output on their way into it."""

    def __init__(self, columns: RowColumns, writer: RowSink) -> None:
        self._columns = columns
        self._writer = writer
        self._steps = InOrder()

    def outputs_of(self, batch: Batch) -> Outputs:
        """Fresh places."""
        return self._columns.outputs_of(batch)

    def take(self, split: int, place: int, batch: Batch, outputs: Outputs) -> None:
        """Write the rows of a batch when it is their turn."""
        piece = self._columns.piece(batch, outputs)
        self._steps.put(split, place, piece.nbytes, partial(self._writer.write, piece, batch.path))

    def pass_over(self, split: int, place: int) -> None:
        """There is nothing to write, but the next batch may be waiting."""
        self._steps.put(split, place, 0, lambda: None)

    def end(self, split: int, batches: int) -> None:
        """The next split may be waiting."""
        self._steps.end(split, batches)

    def stop(self) -> None:
        """Write nothing more."""
        self._steps.stop()
