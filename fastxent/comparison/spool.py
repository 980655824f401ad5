"""Row results of one side of a comparison, written down for the join.

A spool is a temporary Parquet file. Its columns: ``row`` (the number in the data set, filter or not), ``loss``,
``correct``, ``fate`` (`Status`), ``target`` (the number, or a fingerprint of a dense target), where rows have a
predicted class those of `paired_statistics.COLUMNS`, then ``k0, k1, ...`` for keys and ``c0, c1, ...`` for columns, so
that no name from the data is ever part of a query. Long values have stand-ins there; ``k0_whole, ..., c0_whole, ...``
hold them (`fastxent.comparison.long_values`). With a spec that weighs rows, at the end ``s``, the sample weight, and
``x``, that times the class weight.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fastxent.base.errors import DataError, UsageError
from fastxent.base.hashing import GOLDEN, mix
from fastxent.comparison.long_values import shortened
from fastxent.comparison.paired_statistics import COLUMNS
from fastxent.data.batch import Batch
from fastxent.data.plain_column import plain_column
from fastxent.data.spec import Spec
from fastxent.engine.plan import Failed, Part, Plan, Scored, Stop, merge
from fastxent.engine.run import run_splits
from fastxent.engine.runners import threads as on_threads
from fastxent.engine.runners.runner import Runner
from fastxent.engine.runners.threads import Done, RowResults, Threads
from fastxent.engine.work import Chunk, SplitWork
from fastxent.kernels.block_loop import Outputs, no_outputs
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.scorecard import new_scorecard
from fastxent.statistics.group_bins import binned
from fastxent.statistics.statistic import predicts_class

__all__ = ["SpoolFile", "SpoolWork", "Spooled", "spool_names", "spool_rows"]

#: Rows that a thread gathers before it writes them.
ROWS = 1 << 17
#: Bytes that a thread gathers at most: ids may be long texts.
GATHERED_BYTES = 16 << 20
#: Columns that every spool begins with.
ROW_COLUMNS = ("row", "loss", "correct", "fate", "target")


def spool_rows(
    plan: Plan, path: str, keys: Sequence[str], columns: Sequence[str], runner: Runner, *, done: Done | None = None
) -> Scored:
    """Score the splits of a plan and write their rows to ``path``; there is no file if there are no rows.

    Threads write them at once; whoever else scores sends them back.
    """
    with SpoolFile(path, spool_names(plan, keys, columns)) as file:
        if not isinstance(runner, Threads):
            return run_splits(SpoolWork(plan, tuple(keys), tuple(columns)), runner, done=done, take=file.receive)
        spool = _Spool(plan, keys, columns, file.write)
        part = on_threads.score(plan, runner.readers, rows=spool, done=done)
        spool.flush()
    return merge([part])


@dataclass(frozen=True)
class SpoolWork(SplitWork):
    """The splits of a plan, of which row results are sent back as well (`SpoolFile.receive`)."""

    chunk_bytes = 1  # a split
    merges = False

    keys: tuple[str, ...]
    columns: tuple[str, ...]

    def do(self, numbers: Chunk, stop: Stop | None = None) -> Part:
        """Score the splits; the part has their row results as Arrow streams."""
        plan = replace(self.plan, splits=tuple(self.plan.splits[number] for number in numbers))
        pieces: list[bytes] = []
        names = spool_names(plan, self.keys, self.columns)
        spool = _Spool(plan, self.keys, self.columns, lambda columns: pieces.append(_streamed(columns, names)))
        part = on_threads.score(plan, 1, rows=spool, stop=stop)
        spool.flush()
        return part if isinstance(part, Failed) else replace(part, rows=tuple(pieces))


class Spooled:
    """What has been spooled: how many rows, and the Arrow type of each key and column by its own name.

    What is a key and a column (in bins, perhaps) has the type of the key.
    """

    def __init__(self, path: str, keys: Sequence[str], columns: Sequence[str]) -> None:
        if not os.path.exists(path):
            raise DataError("there are no rows to compare")
        schema = pq.read_schema(path)
        self.num_rows = pq.read_metadata(path).num_rows
        names = zip(_short_names(keys, columns), (*keys, *columns), strict=True)
        self.types = {name: schema.field(short).type for short, name in reversed(list(names))}


def _short_names(keys: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The names that keys and columns have in a spool."""
    return [*(f"k{i}" for i in range(len(keys))), *(f"c{i}" for i in range(len(columns)))]


def spool_names(plan: Plan, keys: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The names of the columns of a spool."""
    short = _short_names(keys, columns)
    scores = COLUMNS if predicts_class(plan.spec) else ()
    weights = ("s", "x") if plan.spec.reads_weight else ()
    return [*ROW_COLUMNS, *scores, *short, *(f"{name}_whole" for name in short), *weights]


class SpoolFile:
    """The spool, a Parquet file that is written by any number of threads; there is none if there are no rows."""

    def __init__(self, path: str, names: Sequence[str]) -> None:
        self._path = path
        self._names = names
        self._lock = threading.Lock()
        self._schema: Any = None
        self._writer: Any = None

    def __enter__(self) -> SpoolFile:
        return self

    def __exit__(self, *error: Any) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, columns: Sequence[Any]) -> None:
        """Append the rows of these columns, in the types of the first."""
        with self._lock:
            if self._writer is None:
                self._schema = pa.schema([pa.field(n, c.type) for n, c in zip(self._names, columns, strict=True)])
                self._writer = pq.ParquetWriter(self._path, self._schema, compression="lz4", use_dictionary=False)
            try:
                columns = [c.cast(t) for c, t in zip(columns, self._schema.types, strict=True)]
                self._writer.write_table(pa.Table.from_arrays(columns, schema=self._schema))
            except pa.ArrowException as error:
                raise DataError(f"the ids, groups or targets differ in type between files: {error}") from error
            except OSError as error:
                raise DataError(f"{self._path}: cannot be written: {error}; set TMPDIR to a larger disk") from error

    def receive(self, rows: bytes) -> None:
        """Append rows that a worker has sent."""
        self.write(pa.ipc.open_stream(rows).read_next_batch().columns)


def _streamed(columns: Sequence[Any], names: Sequence[str]) -> bytes:
    """Columns as an Arrow stream of one batch."""
    batch = pa.RecordBatch.from_arrays(list(columns), names)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())


class _Spool(RowResults):
    """One side's row results on their way to whoever writes them down, in any order."""

    def __init__(
        self, plan: Plan, keys: Sequence[str], columns: Sequence[str], write: Callable[[Sequence[Any]], None]
    ) -> None:
        self._write_columns = write
        self._spec, self._scores = plan.spec, predicts_class(plan.spec)
        stored = plan.source.stored
        self._begins = dict(zip(stored, itertools.accumulate(stored.values(), initial=0), strict=False))
        self._keys = tuple(keys)
        self._columns = (*keys, *columns)
        self._edges = {name: edges for name, edges in plan.measures.edges if not isinstance(edges, int)}
        self._waiting = threading.local()
        self._all_waiting: list[list[list[Any]]] = []
        self._lock = threading.Lock()

    def outputs_of(self, batch: Batch) -> Outputs:
        """Fresh places for the results of a batch."""
        n = batch.num_rows
        real, whole = np.empty((3, n)), np.empty((2, n), np.int32)
        return no_outputs()._replace(
            loss=real[0],
            p_target=real[1],
            confidence=real[2],
            predicted=whole[0],
            rank=whole[1],
            status=np.empty(n, np.uint8),
            record=new_scorecard(n if self._scores else 0),
        )

    def take(self, split: int, place: int, batch: Batch, outputs: Outputs) -> None:
        """Gather the rows of a batch beside the thread's others, which are written when they are many."""
        extra = batch.extra or {}
        results = (self._numbers(batch), outputs.loss, outputs.rank == 0, outputs.status, _comparable(batch.target))
        columns = [*map(pa.array, (*results, *(self._scores_of(batch, outputs) if self._scores else ())))]
        plain = [_plain(extra[name], name, True) for name in self._keys]
        plain += [_plain(self._binned(extra[name], name), name, False) for name in self._columns[len(self._keys) :]]
        columns += [column for column, _ in plain] + [whole for _, whole in plain]
        if self._spec.reads_weight:
            columns += map(pa.array, _weights(batch, self._spec))
        waiting = self._own()
        waiting.append(columns)
        nbytes = sum(column.nbytes for columns in waiting for column in columns)
        if nbytes >= GATHERED_BYTES or sum(len(columns[0]) for columns in waiting) >= ROWS:
            self._write(waiting)

    def _scores_of(self, batch: Batch, outputs: Outputs) -> tuple[NDArray[Any], ...]:
        """See `COLUMNS`."""
        real, whole, _ = outputs.record
        confidence = real[sc.P_ONE if self._spec.task == "binary" else sc.CONFIDENCE]
        return tuple(each[: batch.num_rows].copy() for each in (whole[sc.TARGET], whole[sc.PREDICTED], confidence))

    def _binned(self, column: Any, name: str) -> Any:
        """A column to group by, as bins where edges say so."""
        if name not in self._edges:
            return column
        return binned(column if isinstance(column, pa.Array) else pa.array(column), name, self._edges[name])

    def flush(self) -> None:
        """Write what is left. Call it when all threads have ended."""
        for waiting in self._all_waiting:
            if waiting:
                self._write(waiting)

    def _numbers(self, batch: Batch) -> NDArray[np.int64]:
        """The numbers of the rows in the data set as it is stored."""
        begin = self._begins.get(batch.path, batch.first_id - batch.first_row)
        if batch.numbers is not None:
            return begin + batch.numbers
        return np.arange(begin + batch.first_row, begin + batch.first_row + batch.num_rows)

    def _own(self) -> list[list[Any]]:
        """The columns of the batches that this thread has gathered."""
        own: list[list[Any]] | None = getattr(self._waiting, "own", None)
        if own is None:
            own = self._waiting.own = []
            with self._lock:
                self._all_waiting.append(own)
        return own

    def _write(self, waiting: list[list[Any]]) -> None:
        columns = [pa.concat_arrays(_alike(parts)) for parts in zip(*waiting, strict=True)]
        waiting.clear()
        self._write_columns(columns)


def _alike(parts: Sequence[Any]) -> list[Any]:
    """The pieces of a column in one type, that of the first."""
    return [part if part.type == parts[0].type else part.cast(parts[0].type) for part in parts]


#: Tests for the types that DuckDB reads from Parquet without loss, and what they are written as (None: as they are). It
#: reads decimals of 256 bits as doubles.
_WRITTEN_AS = (
    (pa.types.is_uint64, None), (pa.types.is_integer, pa.int64()), (pa.types.is_floating, pa.float64()),
    (pa.types.is_string, pa.string()), (pa.types.is_large_string, pa.string()),
    (pa.types.is_binary, pa.binary()), (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()), (pa.types.is_null, None), (pa.types.is_boolean, None),
    (pa.types.is_decimal128, None), (pa.types.is_date, None), (pa.types.is_time, None), (pa.types.is_timestamp, None),
    (pa.types.is_duration, None),
)  # fmt: skip


def _plain(column: Any, name: str, key: bool) -> tuple[Any, Any]:
    """A copy of a column that rides along, in the plain type of its values; and the long ones of them in full."""
    array = plain_column(column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(np.asarray(column)))
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    found = [wanted or kind for fits, wanted in _WRITTEN_AS if fits(kind)]
    if not found:
        raise UsageError(
            f"column {name!r} holds {kind}; ids, groups and clusters are single values (numbers, text, dates, ...)"
        )
    if key and found[0] == pa.float64():
        raise UsageError(f"column {name!r} holds {kind}; ids are integers, text, dates or the like")
    if found[0] in (pa.string(), pa.binary()):
        array, whole = (each.cast(found[0]) for each in shortened(array))
    else:
        array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
        array, whole = array.cast(found[0]), pa.nulls(len(array))
    if found[0] == pa.float64():
        array = pc.add(array, 0.0)  # one zero of two
    if key and array.null_count:
        raise DataError(f"column {name!r}: {array.null_count} ids are null; a row without an id has no partner")
    return pa.concat_arrays([array, array.slice(0, 0)]), whole  # a copy: the source may reuse its buffers


def _weights(batch: Batch, spec: Spec) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sample weights, and those times the class weights: what a loss is multiplied by, and what its mean divides by."""
    sample = np.ones(batch.num_rows) if batch.weight is None else batch.weight.copy()
    if spec.class_weight is None or batch.target.ndim == 2:
        return sample, sample
    table = np.array(spec.class_weight)
    label = batch.target.astype(np.int64)
    known = (label >= 0) & (label < len(table))  # the others are not scored
    return sample, sample * np.where(known, table[np.where(known, label, 0)], 0.0)


def _comparable(target: NDArray[Any]) -> NDArray[Any]:
    """A copy of the targets by which two sides are compared: the number, or for dense targets a hash of the row."""
    if target.ndim == 1:
        return target.astype(np.float64 if target.dtype.kind == "f" else np.int64)
    mixed = np.zeros(len(target), np.uint64)
    for j in range(target.shape[1]):
        # + 0.0 makes one zero of two.
        mixed = mix((mixed + GOLDEN) ^ (target[:, j].astype(np.float64) + 0.0).view(np.uint64))
    return mixed.view(np.int64)
