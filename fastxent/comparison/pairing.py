"""Two sides of scored rows, joined by id or by order.

Each side has been scored once into a temporary Parquet file of row losses (`fastxent.comparison.spool`). DuckDB joins
the two files within a limit of memory, spilling to disk, into one table, and every question is a query on that table.
There is no other path for small inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from fastxent.base.errors import DataError, OutOfMemoryError, UsageError
from fastxent.base.status import Status
from fastxent.comparison.long_values import is_stand_in, whole_values
from fastxent.comparison.paired_statistics import COLUMNS
from fastxent.data.plain_column import as_python
from fastxent.sources.read_errors import ALLOWANCE

__all__ = ["LARGEST_OCTAVE", "LEAST_OCTAVE", "Pairs", "exact_values", "need_duckdb", "short_name"]

#: Octaves of losses (in nats) that are told apart; what is beyond counts as these.
LEAST_OCTAVE, LARGEST_OCTAVE = -20, 10
#: Rows that a query hands over at a time.
STREAM = 1 << 16
#: Bytes that a thread of DuckDB needs, by its manual; with less it was out of memory in 2 of 6 runs.
THREAD_MEMORY = 128 << 20


def need_duckdb() -> Any:
    """The module duckdb, or an error that says how to get it."""
    try:
        import duckdb
    except ImportError:
        raise UsageError("compare joins the two sides with DuckDB: pip install 'fastxent[compare]'") from None
    return duckdb


def exact_values(column: Any) -> list[Any]:
    """The values of an Arrow column as Python's; nanoseconds, which Python's times cannot hold, as text."""
    kind = column.type
    if (pa.types.is_timestamp(kind) or pa.types.is_time(kind)) and kind.unit == "ns":
        column = column.cast(pa.string())
    found = [as_python(value) for value in column] if pa.types.is_temporal(kind) else column.to_pylist()
    if pa.types.is_decimal(kind) and kind.scale == 0:  # as DuckDB hands over integers of 128 bits
        return [None if value is None else int(value) for value in found]
    return found


class Pairs:
    """The rows of two spools, joined.

    Args:
        folder: an empty folder for the join and for what does not fit in memory.
        a: the Parquet file of the first side, which also gives the columns ``c0, c1, ...``.
        b: that of the second side.
        keys: how many key columns there are; 0 joins by row number.
        columns: how many columns the first side has.
        memory: bytes the join may hold before it spills to ``folder``.
        threads: threads DuckDB may use.
        weighted: whether pairs have weights; those of weight 0 are in nothing that is asked.
        scores: whether sides say more of their rows (`fastxent.comparison.paired_statistics.COLUMNS`).
    """

    def __init__(
        self, folder: str, a: str, b: str, *, keys: int, columns: int, memory: int, threads: int,
        weighted: bool = False, scores: bool = False,
    ) -> None:  # fmt: skip
        duckdb = need_duckdb()
        self._error = duckdb.Error
        self._a, self._b, self._memory = a, b, memory
        self._own = ["loss", "correct", "fate", "target", *(COLUMNS if scores else ())]
        self._carried = [*(f"c{i}" for i in range(columns)), *(("s", "x") if weighted else ())]
        self._groups: dict[str, dict[Any, Any]] = {}
        self._counted = f"{_BOTH} AND x > 0" if weighted else _BOTH
        self.keys = [f"k{i}" for i in range(keys)] or ["row"]
        config = {
            "memory_limit": f"{max(memory >> 20, 64)}MiB",
            "threads": max(1, min(threads, memory // THREAD_MEMORY)),
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
        said = [(side, name) for side in "ab" for name in _said(self._own, side)]
        own = ", ".join(f"{side}.{name} AS {short_name(name, side)}" for side, name in said)
        carried = "".join(f"a.{name}, " for name in self._carried)
        self._run(
            f"""CREATE TABLE pairs AS
            SELECT {keys}, {carried}{own}
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

    def weightless(self) -> int:
        """Rows that both sides have scored, and that weigh nothing."""
        return self._count(f"SELECT 1 FROM pairs WHERE {_BOTH} AND NOT ({self._counted})")

    def largest_weight(self) -> float:
        """The largest weight of a pair, 0 without one."""
        return float(self._rows(f"SELECT coalesce(max(x), 0.0) FROM pairs WHERE {self._counted}")[0][0])

    def other_targets(self) -> tuple[int, list[Any]]:
        """Ids with another target on one side than on the other."""
        ignored = int(Status.IGNORED)
        return self._count_and_first(
            f"SELECT {', '.join(self.keys)} FROM pairs WHERE fa <= {ignored} AND fb <= {ignored} AND ta != tb"
        )

    def stream(
        self, order: Sequence[str], *, weighted: bool, scores: bool = False, beside: Sequence[str] = ()
    ) -> Iterator[Any]:
        """Record batches of pairs, sorted: la, lb, ca, cb, with weights s and x, and the columns they are sorted by.

        ``scores``: what sides say beside their losses; ``beside``: other columns.
        """
        sort = f" ORDER BY {', '.join(order)}" if order else ""
        more = [short_name(name, side) for side in "ab" for name in _said(COLUMNS, side)] if scores else []
        columns = ["la", "lb", "ca", "cb", *(("s", "x") if weighted else ()), *more, *order, *beside]
        return self._batches(f"SELECT {', '.join(columns)} FROM pairs WHERE {self._counted}{sort}")

    def extremes(self, k: int, *, descending: bool) -> list[tuple[Any, float, float, float]]:
        """The k pairs with the largest (or smallest) la - lb: id, la, lb, la - lb; ties by id."""
        keys, way, sign = ", ".join(self.keys), "DESC" if descending else "ASC", ">" if descending else "<"
        query = (
            f"SELECT {keys}, la, lb, la - lb AS d FROM pairs WHERE {self._counted} AND la - lb {sign} 0"
            f" AND NOT isnan(la - lb) ORDER BY d {way}, {keys} LIMIT {int(k)}"
        )
        rows = self._rows(query)
        return [(key, *row[-3:]) for key, row in zip(self._ids([row[:-3] for row in rows]), rows, strict=True)]

    def octaves(self) -> list[tuple[int, int, int]]:
        """Rows by floor(log2 of la) and floor(log2 of lb), each within `LEAST_OCTAVE` and `LARGEST_OCTAVE`."""
        low, high = 2.0**LEAST_OCTAVE, 2.0**LARGEST_OCTAVE
        of = [f"CAST(floor(log2(least(greatest({side}, {low!r}), {high!r}))) AS INTEGER)" for side in ("la", "lb")]
        query = f"SELECT {', '.join(of)}, count(*) FROM pairs WHERE {self._counted} AND NOT isnan(la + lb)"
        return [tuple(map(int, row)) for row in self._rows(f"{query} GROUP BY ALL ORDER BY ALL")]  # type: ignore[misc]

    def _count_and_first(
        self, query: str, values: dict[str, Any] | None = None, first: int = 5
    ) -> tuple[int, list[Any]]:
        count = self._count(query, values)
        if not count:
            return 0, []
        return count, self._ids(self._rows(f"{query} ORDER BY {', '.join(self.keys)} LIMIT {first}", values))

    def whole_groups(self, column: str, name: str) -> dict[Any, Any]:
        """The long values of a column of groups, which is called ``name``, by what stands for them.

        Raises:
            OutOfMemoryError: they take more than the join may hold.
        """
        if column not in self._groups:
            groups: dict[Any, Any] = {}
            held = 0
            for short, whole in whole_values(self._a, column, None):
                held += len(whole) if short not in groups else 0
                groups[short] = whole
                if held > max(self._memory, ALLOWANCE):
                    what = f"the values that it groups by take more than {held >> 20:,} MiB"
                    cure = "give a larger memory= (--memory), or group by something shorter"
                    raise OutOfMemoryError(what, column=name, cure=cure)
            self._groups[column] = groups
        return self._groups[column]

    def _ids(self, rows: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Rows of keys as people write them: one value, or several; long ones in full."""
        columns = []
        for key, values in zip(self.keys, zip(*rows, strict=True), strict=bool(rows)):
            wanted = {value for value in values if is_stand_in(value)}
            paths = (self._a, self._b) if wanted else ()
            found = {s: whole for path in paths for s, whole in whole_values(path, key, wanted)}
            columns.append([found.get(value, value) for value in values])
        return [key[0] if len(key) == 1 else list(key) for key in zip(*columns, strict=True)]

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
        except (self._error, RuntimeError) as error:
            raise self._failed(error) from error

    def _run(self, statement: str, values: dict[str, Any]) -> None:
        try:
            self._connection.execute(statement, values)
        except (self._error, RuntimeError) as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> BaseException:
        if "interrupt" in str(error).lower():  # what DuckDB makes of a signal
            return KeyboardInterrupt()
        if not isinstance(error, self._error):
            return error
        line = str(error).strip().splitlines()[0]
        return DataError(
            f"the two sides cannot be joined: {line}; a larger memory= or a TMPDIR with more room may help"
        )


#: Both sides have the row and have scored it.
_BOTH = f"fa = {int(Status.SCORED)} AND fb = {int(Status.SCORED)}"


def _said(names: Sequence[str], side: str) -> list[str]:
    """The columns of a side that pairs have: the label of a row is the same on both."""
    return [name for name in names if side == "a" or name != "label"]


def short_name(name: str, side: str) -> str:
    """What a column of a side is called among pairs: ``la`` is A's loss."""
    return f"{name}_{side}" if name in COLUMNS else name[0] + side
