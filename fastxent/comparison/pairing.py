"""Two sides of scored rows, joined by id or by order: `Spool` writes a side down, `Pairs` joins two.

Each side is scored once, by the engine, into a temporary Parquet file of row losses. DuckDB joins the two files
within a limit of memory, spilling to disk, into one table, and every question is a query on that table. There is
no other path for small inputs. Columns are renamed on the way in, so no name from the data is ever part of a query.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fastxent.base.errors import DataError, UsageError
from fastxent.base.hashing import GOLDEN, mix
from fastxent.base.status import Status
from fastxent.data.batch import Batch
from fastxent.data.spec import Spec
from fastxent.engine.runners.threads import RowResults
from fastxent.kernels.block_loop import Outputs, no_outputs

__all__ = ["Pairs", "Spool", "exact_values", "need_duckdb"]

#: Rows that a thread gathers before it writes them.
ROWS = 1 << 17
#: Rows that a query hands over at a time.
STREAM = 1 << 16


def need_duckdb() -> Any:
    """The module duckdb, or an error that says how to get it."""
    try:
        import duckdb
    except ImportError:
        raise UsageError("compare joins the two sides with DuckDB: pip install 'fastxent[compare]'") from None
    return duckdb


class Spool(RowResults):
    """One side's row results on their way into a Parquet file, in any order.

    Columns: ``row`` (number in the data set, filter or not), ``loss``, ``correct``, ``fate`` (`Status`), ``target``
    (the number, or a fingerprint of a dense target), then ``k0, k1, ...`` for ``keys`` and ``c0, c1, ...`` for
    ``columns``. With a spec that ``weighs`` rows, at the end ``s``, the sample weight, and ``x``, that times the class
    weight. ``stored`` is that of the source.
    """

    def __init__(
        self,
        path: str,
        keys: Sequence[str],
        columns: Sequence[str],
        weighs: Spec | None = None,
        stored: Mapping[str, int] | None = None,
    ) -> None:
        self._path = path
        counts = stored or {}
        self._begins = dict(zip(counts, itertools.accumulate(counts.values(), initial=0), strict=False))
        self._weighs = weighs
        self._names = {f"k{i}": name for i, name in enumerate(keys)} | {f"c{i}": name for i, name in enumerate(columns)}
        self._keys = tuple(keys)
        self._waiting = threading.local()
        self._all_waiting: list[list[list[Any]]] = []
        self._lock = threading.Lock()
        self._schema: Any = None
        self._writer: Any = None
        self.num_rows = 0
        self.dense = False  #: whether targets are distributions, or labels of a multilabel task

    @property
    def types(self) -> dict[str, Any]:
        """The Arrow type of each key and column, by its own name."""
        return {name: self._schema.field(short).type for short, name in self._names.items()}

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
        )

    def take(self, split: int, place: int, batch: Batch, outputs: Outputs) -> None:
        """Gather the rows of a batch beside the thread's others, which are written when they are many."""
        extra = batch.extra or {}
        self.dense |= batch.target.ndim == 2
        results = (self._numbers(batch), outputs.loss, outputs.rank == 0, outputs.status, _comparable(batch.target))
        columns = [*map(pa.array, results)]
        columns += [_plain(extra[name], name, name in self._keys) for name in self._names.values()]
        if self._weighs is not None:
            columns += map(pa.array, _weights(batch, self._weighs))
        waiting = self._own()
        waiting.append(columns)
        if sum(len(columns[0]) for columns in waiting) >= ROWS:
            self._write(waiting)

    def close(self) -> None:
        """Write what is left. Call it when all threads have ended."""
        for waiting in self._all_waiting:
            if waiting:
                self._write(waiting)
        if self._writer is None:
            raise DataError("there are no rows to compare")
        self._writer.close()

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
        names = ["row", "loss", "correct", "fate", "target", *self._names]
        names += [] if self._weighs is None else ["s", "x"]
        columns = [pa.concat_arrays(_alike(parts)) for parts in zip(*waiting, strict=True)]
        waiting.clear()
        with self._lock:
            if self._writer is None:
                self._schema = pa.schema([pa.field(n, c.type) for n, c in zip(names, columns, strict=True)])
                self._writer = pq.ParquetWriter(self._path, self._schema, compression="lz4", use_dictionary=False)
            try:
                columns = [c.cast(t) for c, t in zip(columns, self._schema.types, strict=True)]
                table = pa.Table.from_arrays(columns, schema=self._schema)
                self._writer.write_table(table)
            except pa.ArrowException as error:
                raise DataError(f"the ids, groups or targets differ in type between files: {error}") from error
            except OSError as error:
                raise DataError(f"{self._path}: cannot be written: {error}; set TMPDIR to a larger disk") from error
            self.num_rows += table.num_rows


def _alike(parts: Sequence[Any]) -> list[Any]:
    """The pieces of a column in one type, that of the first."""
    return [part if part.type == parts[0].type else part.cast(parts[0].type) for part in parts]


#: Tests for the types that DuckDB reads from Parquet without loss. It reads decimals of 256 bits as doubles.
_JOINED_AS_THEY_ARE = (
    pa.types.is_null, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal128,
    pa.types.is_string, pa.types.is_binary, pa.types.is_date, pa.types.is_time, pa.types.is_timestamp,
    pa.types.is_duration,
)  # fmt: skip


def exact_values(column: Any) -> list[Any]:
    """The values of an Arrow column as Python's; nanoseconds, which Python's times cannot hold, as text."""
    kind = column.type
    if (pa.types.is_timestamp(kind) or pa.types.is_time(kind)) and kind.unit == "ns":
        column = column.cast(pa.string())
    found: list[Any] = column.to_pylist()
    if pa.types.is_decimal(kind) and kind.scale == 0:  # as DuckDB hands over integers of 128 bits
        return [None if value is None else int(value) for value in found]
    return found


def _plain(column: Any, name: str, key: bool) -> Any:
    """A copy of a column that rides along, in the plain type of its values."""
    array = column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(np.asarray(column))
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_integer(kind) and kind != pa.uint64():
        array = array.cast(pa.int64())
    elif pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        array = array.cast(pa.string())
    elif pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) or pa.types.is_fixed_size_binary(kind):
        array = array.cast(pa.binary())
    elif not any(fits(kind) for fits in _JOINED_AS_THEY_ARE):
        raise UsageError(
            f"column {name!r} holds {kind}; ids, groups and clusters are single values (numbers, text, dates, ...)"
        )
    elif pa.types.is_floating(kind):
        if key:
            raise UsageError(f"column {name!r} holds {kind}; ids are integers, text, dates or the like")
        array = pc.add(array.cast(pa.float64()), 0.0)  # one zero of two
    if key and array.null_count:
        raise DataError(f"column {name!r}: {array.null_count} ids are null; a row without an id has no partner")
    return pa.concat_arrays([array, array.slice(0, 0)])  # a copy: the source may reuse its buffers


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


class Pairs:
    """The rows of two spools, joined.

    Args:
        folder: an empty folder for the join and for what does not fit in memory.
        a: the Parquet file of the first side, which also gives the columns ``c0, c1, ...``.
        b: that of the second side.
        keys: how many key columns there are; 0 joins by row number.
        memory: bytes the join may hold before it spills to ``folder``.
        threads: threads DuckDB may use.
    """

    def __init__(self, folder: str, a: str, b: str, *, keys: int, memory: int, threads: int) -> None:
        duckdb = need_duckdb()
        self._error = duckdb.Error
        self._a, self._b = a, b
        self.keys = [f"k{i}" for i in range(keys)] or ["row"]
        config = {
            "memory_limit": f"{max(memory >> 20, 64)}MiB",
            "threads": threads,
            "temp_directory": f"{folder}/spill",
            "preserve_insertion_order": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        self._connection = duckdb.connect(f"{folder}/pairs.duckdb", config=config)

    def close(self) -> None:
        """Let go of the files."""
        self._connection.close()

    def duplicates(self, side: str) -> tuple[int, list[Any]]:
        """How many ids occur more than once in side "a" or "b", and the first of them."""
        path = self._a if side == "a" else self._b
        keys = ", ".join(self.keys)
        query = f"SELECT {keys} FROM read_parquet($path) GROUP BY {keys} HAVING count(*) > 1"
        return self._count_and_first(query, {"path": path})

    def join(self) -> None:
        """Make the table that everything else asks."""
        condition = " AND ".join(f"a.{key} = b.{key}" for key in self.keys)
        keys = ", ".join(f"coalesce(a.{key}, b.{key}) AS {key}" for key in self.keys)
        self._run(
            f"""CREATE TABLE pairs AS
            SELECT {keys}, a.* EXCLUDE ({", ".join(self.keys)}, loss, correct, fate, target),
                a.loss AS la, a.correct AS ca, a.fate AS fa, a.target AS ta,
                b.loss AS lb, b.correct AS cb, b.fate AS fb, b.target AS tb
            FROM read_parquet($a) a FULL OUTER JOIN read_parquet($b) b ON {condition}""",
            {"a": self._a, "b": self._b},
        )

    def lonely(self, side: str) -> tuple[int, list[Any]]:
        """How many rows only this side has, and the first ids of them."""
        other = "fb" if side == "a" else "fa"
        return self._count_and_first(f"SELECT {', '.join(self.keys)} FROM pairs WHERE {other} IS NULL")

    def unscored(self) -> int:
        """Rows that both sides have, but that at least one could not score or was told to ignore."""
        return self._count(f"SELECT 1 FROM pairs WHERE fa IS NOT NULL AND fb IS NOT NULL AND NOT ({_BOTH})")

    def other_targets(self) -> tuple[int, list[Any]]:
        """Ids with another target on one side than on the other."""
        ignored = int(Status.IGNORED)
        return self._count_and_first(
            f"SELECT {', '.join(self.keys)} FROM pairs WHERE fa <= {ignored} AND fb <= {ignored} AND ta != tb"
        )

    def stream(self, order: Sequence[str], *, weighted: bool) -> Iterator[Any]:
        """Record batches of pairs, sorted: la, lb, ca, cb, with weights s and x, and the columns they are sorted by."""
        sort = f" ORDER BY {', '.join(order)}" if order else ""
        columns = ["la", "lb", "ca", "cb", *(("s", "x") if weighted else ()), *order]
        return self._batches(f"SELECT {', '.join(columns)} FROM pairs WHERE {_BOTH}{sort}")

    def extremes(self, k: int, *, descending: bool) -> list[tuple[Any, float, float, float]]:
        """The k pairs with the largest (or smallest) la - lb: id, la, lb, la - lb; ties by id."""
        keys, way, sign = ", ".join(self.keys), "DESC" if descending else "ASC", ">" if descending else "<"
        query = (
            f"SELECT {keys}, la, lb, la - lb AS d FROM pairs WHERE {_BOTH} AND la - lb {sign} 0"
            f" AND NOT isnan(la - lb) ORDER BY d {way}, {keys} LIMIT {int(k)}"
        )
        return [(_one(row[:-3]), *row[-3:]) for row in self._rows(query)]

    def _count_and_first(
        self, query: str, values: dict[str, Any] | None = None, first: int = 5
    ) -> tuple[int, list[Any]]:
        count = self._count(query, values)
        if not count:
            return 0, []
        rows = self._rows(f"{query} ORDER BY {', '.join(self.keys)} LIMIT {first}", values)
        return count, [_one(row) for row in rows]

    def _count(self, query: str, values: dict[str, Any] | None = None) -> int:
        return int(self._rows(f"SELECT count(*) FROM ({query})", values)[0][0])

    def _rows(self, query: str, values: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """The rows of a small result, by way of Arrow: DuckDB's own rows cut nanoseconds off."""
        batches = self._batches(query, values)
        return [row for batch in batches for row in zip(*map(exact_values, batch.columns), strict=True)]

    def _batches(self, query: str, values: dict[str, Any] | None = None) -> Iterator[Any]:
        try:
            with self._connection.cursor() as cursor:  # its own, since other queries may come before its last row
                result = cursor.sql(query, params=values)
                yield from (getattr(result, "to_arrow_reader", None) or result.fetch_record_batch)(STREAM)
        except self._error as error:
            raise self._failed(error) from error

    def _run(self, statement: str, values: dict[str, Any]) -> None:
        try:
            self._connection.execute(statement, values)
        except self._error as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> DataError:
        line = str(error).strip().splitlines()[0]
        return DataError(
            f"the two sides cannot be joined: {line}; a larger memory= or a TMPDIR with more room may help"
        )


#: Both sides have the row and have scored it.
_BOTH = f"fa = {int(Status.SCORED)} AND fb = {int(Status.SCORED)}"


def _one(key: Sequence[Any]) -> Any:
    """A key as people write it: one value, or several."""
    return key[0] if len(key) == 1 else list(key)
