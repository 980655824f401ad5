"""Which rows are read: a filter over the columns and hive partitions, applied before anything else sees a row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import and_, or_
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastxent.base.errors import SourceError, UsageError
from fastxent.data.plain_column import plain_column, plain_type
from fastxent.sources.dataset.reading import missing_column
from fastxent.sources.decode.pieces import TEXT_BYTES, text_pieces
from fastxent.sources.filter_text import Name, Parsed, parse
from fastxent.sources.read_errors import first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BoundFilter", "Filter", "rows_at"]

#: Rows that are looked at at a time.
STEP_ROWS = 1 << 16
_ROW = "\0row"
#: For numbers of a filter that no type of whole numbers holds.
_WIDE = pa.decimal128(38)


@dataclass(frozen=True, slots=True)
class BoundFilter:
    """A filter for one file: the columns that are read for it, the values its path gives, and the path."""

    expression: Any
    columns: tuple[str, ...]
    constants: Mapping[str, Any]
    path: str

    def apply(self, batch: Any, first: int) -> tuple[Any, NDArray[np.int64]]:
        """The rows of ``batch`` that it keeps, and their numbers. ``first`` is that of its first."""
        chosen = self.chosen(batch)
        return rows_at(batch, chosen), chosen.astype(np.int64) + first

    @property
    def keeps_all(self) -> bool | None:
        """Whether the path alone decides, and how; None if columns of the file are read for it."""
        return None if self.columns else self.count(pa.record_batch({_ROW + "s": [0]})) == 1

    def chosen(self, batch: Any) -> NDArray[Any]:
        """Numbers within the batch of the rows that it keeps."""
        kind = np.int32 if batch.num_rows < 1 << 31 else np.int64
        return np.concatenate([np.zeros(0, kind), *(each.astype(kind) for each in self._chosen(batch))])

    def count(self, batch: Any) -> int:
        """How many rows of the batch it keeps."""
        return sum(map(len, self._chosen(batch)))

    def _chosen(self, batch: Any) -> Iterator[NDArray[np.int64]]:
        """`chosen`, in pieces: neither texts that are written out nor what Arrow makes of them take much."""
        names, places = [*self.columns, _ROW], pa.nulls(batch.num_rows)
        asked = pa.RecordBatch.from_arrays([*(batch.column(name) for name in self.columns), places], names)
        for start in range(0, batch.num_rows, STEP_ROWS):
            for lo, piece in text_pieces(asked.slice(start, STEP_ROWS), TEXT_BYTES):
                yield self._chosen_of(piece, start + lo)

    def _chosen_of(self, batch: Any, first: int) -> NDArray[np.int64]:
        columns = {name: plain_column(batch.column(name)) for name in self.columns}
        columns[_ROW] = pa.array(np.arange(first, first + batch.num_rows))
        columns |= {name: pa.repeat(value, batch.num_rows) for name, value in self.constants.items()}
        try:
            kept = pa.table(columns).filter(self.expression).column(_ROW)
        except pa.ArrowException as error:
            if isinstance(error, MemoryError):
                raise
            names = ", ".join(self.columns)
            raise SourceError(f"filter: {first_line(error)}", path=self.path, column=names) from error
        return np.sort(kept.to_numpy())  # pyarrow filters on threads


def rows_at(batch: Any, chosen: NDArray[Any]) -> Any:
    """The rows of a batch with these numbers, which ascend."""
    if len(chosen) == 0:
        return batch.slice(0, 0)
    first, count = int(chosen[0]), int(chosen[-1] - chosen[0]) + 1
    part = batch.slice(first, count)
    if count == len(chosen):
        return part
    try:
        return _with_offsets(part).take(pa.array(chosen - first))
    except pa.ArrowNotImplementedError:  # views within structs or lists, say
        return pa.concat_batches([batch.slice(row, 1) for row in chosen.tolist()])


def _with_offsets(batch: Any) -> Any:
    """The batch without views and runs, of which Arrow takes no rows; text that is stored once stays so."""
    columns = []
    for column in batch.columns:
        kind, wanted = column.type, plain_type(column.type)
        if wanted != kind and not isinstance(kind, pa.BaseExtensionType):
            runs = pa.types.is_run_end_encoded(kind)
            column = plain_column(column if runs or pa.types.is_dictionary(kind) else column.dictionary_encode())
        columns.append(column)
    return pa.RecordBatch.from_arrays(columns, batch.schema.names)


class Filter:
    """A filter, given as text (see `fastxent.sources.filter_text`) or as a pyarrow expression.

    Raises:
        UsageError: the text cannot be understood.
    """

    def __init__(self, filter: Any) -> None:
        if not isinstance(filter, (str, pc.Expression)):
            raise UsageError(f"filter must be text or a pyarrow expression, got {type(filter).__name__}")
        self._parsed: Parsed | None = parse(filter) if isinstance(filter, str) else None
        self._expression = None if isinstance(filter, str) else filter

    def bind(self, schema: Any, constants: Mapping[str, Any], path: str) -> BoundFilter:
        """The filter for a file with this schema and these partitions.

        Raises:
            SourceError: a column is missing.
            UsageError: a column cannot be compared with what the filter compares it with.
        """
        values = {name: _scalar(value) for name, value in constants.items()}
        kinds = {field.name: plain_type(field.type) for field in schema}
        kinds |= {name: value.type for name, value in values.items()}
        if self._parsed is not None:
            names = sorted(_names(self._parsed))
            for name in names:
                if name not in kinds:
                    raise missing_column(schema, name, path, constants)
                if schema.names.count(name) > 1:
                    raise SourceError("occurs more than once in the schema; rename one of them", path=path, column=name)
            halves = {field.name: field.type for field in schema if pa.types.is_float16(field.type)}
            expression = _build(self._parsed, kinds | halves)
        else:
            expression, text = self._expression, str(self._expression)
            names = [name for name in kinds if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)]
        try:
            pa.table({name: pa.array([], kinds[name]) for name in names} | {_ROW: []}).filter(expression)
        except (pa.ArrowException, TypeError, ValueError, KeyError) as error:
            if "No match for FieldRef" in str(error):
                raise SourceError(f"filter: {first_line(error)}", path=path) from error
            raise UsageError(f"filter: {first_line(error)}") from error
        columns = tuple(name for name in names if name not in values)
        return BoundFilter(expression, columns, {name: values[name] for name in names if name in values}, path)


def _scalar(value: Any) -> Any:
    return pa.scalar(value, pa.int64() if isinstance(value, int) else pa.string())


def _names(tree: Any) -> set[str]:
    if isinstance(tree, Name):
        return {tree.name}
    return set().union(*(_names(part) for part in tree)) if isinstance(tree, tuple) else set()


def _build(tree: Parsed, kinds: Mapping[str, Any], *, denied: bool = False) -> Any:
    """The expression of a filter; what is ``denied`` has to be null, not false, of null."""
    head = tree[0]
    if head in ("and", "or"):
        return _joined(and_ if head == "and" else or_, [_build(part, kinds, denied=denied) for part in tree[1:]])
    if head == "not":
        return ~_build(tree[1], kinds, denied=True)
    if head == "null":
        return pc.field((tree[1].name,)).is_null()
    if head == "name":
        return pc.field((tree[1].name,))
    if head == "in":
        kind = kinds[tree[1].name]
        field = pc.field((tree[1].name,))
        if pa.types.is_decimal(kind):
            return _joined(or_, [field == pc.scalar(_literal(value, kind)) for value in tree[2]])
        found = field.isin(_listed(tree[2], kind))
        return pc.if_else(field.is_null(), pc.scalar(pa.scalar(None, pa.bool_())), found) if denied else found
    _, sign, left, right = tree
    kind = kinds[(left if isinstance(left, Name) else right).name]
    a, b = (
        pc.field((side.name,)) if isinstance(side, Name) else pc.scalar(_literal(side, kind)) for side in (left, right)
    )
    return {
        "==": lambda: a == b, "!=": lambda: a != b, "<": lambda: a < b,
        "<=": lambda: a <= b, ">": lambda: a > b, ">=": lambda: a >= b,
    }[sign]()  # fmt: skip


def _literal(value: Any, kind: Any) -> Any:
    """A value of the filter as an Arrow scalar; text becomes a date or time where the column holds these."""
    test = pa.types
    if test.is_dictionary(kind):
        kind = kind.value_type
    text = test.is_string(kind) or test.is_large_string(kind) or test.is_string_view(kind)
    wrong = f"filter: {value!r} cannot be compared with a column of {kind}"
    try:
        if isinstance(value, str) and test.is_temporal(kind):
            return pa.scalar(value).cast(kind)
        if isinstance(value, str) != text or isinstance(value, bool) != test.is_boolean(kind):
            raise UsageError(wrong)
        if text or test.is_boolean(kind):
            return pa.scalar(value, kind)
        if test.is_floating(kind):
            return pa.scalar(_as_stored(value, kind))
        if test.is_integer(kind) and value != value // 1:
            return pa.scalar(Decimal(repr(value)))
        if test.is_integer(kind):
            value = int(value)
            return pa.scalar(value, kind) if _fits(value, kind) else pa.scalar(Decimal(value), _WIDE)
        return pa.scalar(Decimal(repr(value))) if test.is_decimal(kind) else pa.scalar(value)
    except (pa.ArrowException, OverflowError) as error:
        raise UsageError(f"{wrong}: {first_line(error)}") from error


def _listed(values: Sequence[Any], kind: Any) -> Any:
    """The values of an ``in`` as an Arrow array; those that a column of whole numbers cannot hold are left away."""
    literals = [_literal(value, kind) for value in values]
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_integer(kind):
        return pa.array([int(value) for value in values if _fits(value, kind)], kind)
    if pa.types.is_floating(kind):
        return pa.array([_as_stored(value, kind) for value in values], pa.float64())
    return pa.concat_arrays([pa.repeat(literal.cast(literals[0].type), 1) for literal in literals])


def _as_stored(value: float, kind: Any) -> float:
    """A number as a column of floats would hold it, so that 0.1 is what a column of float32 has for it."""
    with np.errstate(over="ignore"):
        return float(np.dtype(kind.to_pandas_dtype()).type(value))


def _joined(join: Callable[[Any, Any], Any], parts: list[Any]) -> Any:
    """The parts joined by halves: thousands in a row would be too deep for Arrow."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return join(_joined(join, parts[:middle]), _joined(join, parts[middle:]))


def _fits(value: Any, kind: Any) -> bool:
    """Whether a type of whole numbers can hold this number."""
    least, bits = (-1, kind.bit_width - 1) if pa.types.is_signed_integer(kind) else (0, kind.bit_width)
    return bool(value == value // 1 and least << bits <= value < 1 << bits)
