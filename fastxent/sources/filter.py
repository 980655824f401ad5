"""Which rows are read: a filter over the columns and hive partitions, applied before anything else sees a row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fastxent.base.errors import SourceError, UsageError
from fastxent.sources.dataset.reading import missing_column
from fastxent.sources.filter_text import Name, Parsed, parse
from fastxent.sources.read_errors import first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["NUMBERS", "BoundFilter", "Filter"]

#: Column with the numbers of the rows that were chosen.
NUMBERS = "\0numbers"
_ROW = "\0row"


@dataclass(frozen=True, slots=True)
class BoundFilter:
    """A filter for one file: the columns that are read for it, and the values its path gives."""

    expression: Any
    columns: tuple[str, ...]
    constants: Mapping[str, Any]

    def apply(self, batch: Any, first: int) -> tuple[Any, NDArray[np.int64]]:
        """The rows of ``batch`` that it keeps, and their numbers. ``first`` is that of its first."""
        chosen = self.chosen(batch)
        if len(chosen) == 0:
            return batch.slice(0, 0), chosen
        if chosen[-1] - chosen[0] + 1 == len(chosen):
            return batch.slice(int(chosen[0]), len(chosen)), chosen + first
        return batch.take(pa.array(chosen)), chosen + first

    def numbered(self, batch: Any, first: int) -> Any:
        """The rows of ``batch`` that it keeps, with their numbers as a further column."""
        kept, numbers = self.apply(batch, first)
        return pa.RecordBatch.from_arrays([*kept.columns, pa.array(numbers)], [*kept.schema.names, NUMBERS])

    @property
    def keeps_all(self) -> bool | None:
        """Whether the path alone decides, and how; None if columns of the file are read for it."""
        return None if self.columns else len(self.chosen(pa.record_batch({_ROW + "s": [0]}))) == 1

    def chosen(self, batch: Any) -> NDArray[np.int64]:
        """Numbers within the batch of the rows that it keeps."""
        columns = {name: batch.column(name) for name in self.columns}
        columns |= {name: pa.repeat(value, batch.num_rows) for name, value in self.constants.items()}
        columns[_ROW] = pa.array(np.arange(batch.num_rows))
        kept = pa.table(columns).filter(self.expression).column(_ROW)
        return np.sort(kept.to_numpy())  # pyarrow filters on threads


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
        kinds = {field.name: field.type for field in schema} | {name: value.type for name, value in values.items()}
        if self._parsed is not None:
            names = sorted(_names(self._parsed))
            for name in names:
                if name not in kinds:
                    raise missing_column(schema, name, path, constants)
            expression = _build(self._parsed, kinds)
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
        return BoundFilter(expression, columns, {name: values[name] for name in names if name in values})


def _scalar(value: Any) -> Any:
    return pa.scalar(value, pa.int64() if isinstance(value, int) else pa.string())


def _names(tree: Any) -> set[str]:
    if isinstance(tree, Name):
        return {tree.name}
    return set().union(*(_names(part) for part in tree)) if isinstance(tree, tuple) else set()


def _build(tree: Parsed, kinds: Mapping[str, Any]) -> Any:
    head = tree[0]
    if head in ("and", "or"):
        left, right = _build(tree[1], kinds), _build(tree[2], kinds)
        return left & right if head == "and" else left | right
    if head == "not":
        return ~_build(tree[1], kinds)
    if head == "null":
        return pc.field((tree[1].name,)).is_null()
    if head == "name":
        return pc.field((tree[1].name,))
    if head == "in":
        kind = kinds[tree[1].name]
        values = [_literal(value, kind) for value in tree[2]]
        return pc.field((tree[1].name,)).isin(pa.array([value.as_py() for value in values], values[0].type))
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
        return pa.scalar(value, kind) if text or test.is_boolean(kind) else pa.scalar(value)
    except (pa.ArrowException, OverflowError) as error:
        raise UsageError(f"{wrong}: {first_line(error)}") from error
