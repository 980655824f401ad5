"""How columns are read: a selection matched against a schema, and batches of the columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pyarrow as pa

from fastxent.base.errors import DataError, SourceError, UsageError
from fastxent.base.kinds import KINDS, item_bytes
from fastxent.data.batch import Batch, Matrix
from fastxent.sources.dataset.metadata import class_names_of
from fastxent.sources.decode import labels, layout, numpy_blocks, runs, topk
from fastxent.sources.decode.primitive import is_number
from fastxent.sources.read_errors import check_damage, first_line
from fastxent.sources.source import Selection

__all__ = [
    "Reading", "decode_batch", "find_width", "missing_column", "nothing", "resolve", "resolve_predictions",
    "row_bytes", "settle", "width_without_scores", "with_width",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reading:
    """A `Selection` matched against a schema: the columns by their real names, and what is known of them."""

    selection: Selection
    predictions: tuple[str, ...]
    columns: tuple[str, ...]
    constants: Mapping[str, Any]
    signatures: tuple[tuple[str, str], ...]
    class_names: tuple[str, ...] | None
    num_classes: int  #: 0 as long as only the rows can tell

    @property
    def dense_target(self) -> bool:
        """Whether targets are matrices rather than one label a row."""
        return dict(self.signatures)[self.selection.target].startswith("list of")


def resolve(schema: Any, selection: Selection, path: str, constants: Mapping[str, Any] | None = None) -> Reading:
    """Match ``selection`` against the columns of ``schema``; ``constants`` are those that the path holds."""
    constants = constants or {}
    predictions = tuple(name for pattern in selection.predictions for name in _matching(schema, pattern, path))
    if len(set(predictions)) != len(predictions):
        raise UsageError(f"predictions name a column twice: {', '.join(predictions)}")
    if selection.is_topk:
        topk.check_topk(selection)
    named = (selection.target, selection.weight, selection.mask, selection.ids)
    single = [name for name in named if name is not None]
    extra = [name for name in selection.extra if name not in constants]
    existing = set(schema.names)
    for name in [*single, *extra]:
        if name not in existing:
            raise missing_column(schema, name, path, constants)
    columns = tuple(dict.fromkeys([*predictions, *single, *extra]))
    counts = Counter(schema.names)
    for name in columns:
        if counts[name] > 1:
            raise SourceError("occurs more than once in the schema; rename one of them", path=path, column=name)
    scored = dict.fromkeys([*predictions, *single])  # those that only ride along may differ from file to file
    signatures = tuple((name, _signature(schema.field(name).type)) for name in scored)
    reading = Reading(selection, predictions, columns, constants, signatures, selection.class_names, 0)
    return _known_width(reading, schema, path)


def resolve_predictions(schema: Any, selection: Selection, path: str) -> Reading:
    """`resolve` of the predictions alone, where the target is open."""
    target = selection.target if selection.target in schema.names else schema.names[0]
    return resolve(schema, replace(selection, target=target), path)


def missing_column(schema: Any, name: str, path: str, constants: Iterable[str] = ()) -> SourceError:
    """The error for a column that is not there: the closest name, and the names that exist."""
    existing = [*schema.names, *constants]
    close = get_close_matches(name, existing, n=1, cutoff=0.6)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(existing[:20]) + (f", ... ({len(existing)} in all)" if len(existing) > 20 else "")
    return SourceError(f"there is no such column.{hint} The columns are: {shown}", path=path, column=name)


def _signature(kind: Any) -> str:
    """What must be alike in all files of a data set, leaving out what does not matter (names of elements, nulls)."""
    if isinstance(kind, pa.BaseExtensionType):
        return _signature(kind.storage_type)
    if runs.is_list(kind):
        return f"list of {_signature(kind.value_type)}"
    if labels.is_text(kind):
        return "text"
    if pa.types.is_dictionary(kind):
        return _signature(kind.value_type)
    if pa.types.is_boolean(kind):
        return "bool"
    if pa.types.is_integer(kind):
        return "integer"
    if runs.is_binary(kind):
        return "binary"
    if pa.types.is_struct(kind):
        return f"struct of {', '.join(f'{f.name} {_signature(f.type)}' for f in kind)}"
    return str(kind)


def find_width(reading: Reading, batches: Iterable[Any]) -> int:
    """The number of classes: the most frequent length in the first batch that has scores; 0 if none has."""
    for batch in batches:
        if reading.selection.is_topk:
            if width := topk.topk_width(batch.column(reading.predictions[0])):
                return width
            continue
        lengths = runs.row_lengths(batch.column(reading.predictions[0]), reading.selection.dtype)
        lengths = lengths[lengths > 0]
        if len(lengths):
            values, counts = np.unique(lengths, return_counts=True)
            return int(values[counts.argmax()])
    return 0


def settle(reading: Reading, batches: Iterable[Any], path: str) -> Reading:
    """``reading`` of the only table there is, with the number of classes, for which ``batches`` may be looked at."""
    width = reading.num_classes or find_width(reading, batches) or width_without_scores(reading)
    return with_width(reading, width, path)


def width_without_scores(reading: Reading) -> int:
    """The number of classes where no row has any: that of the class names, or 1."""
    return len(reading.class_names) if reading.class_names and reading.selection.task != "binary" else 1


def decode_batch(
    reading: Reading, batch: Any, *, path: str, first_row: int, first_id: int, row_group: int | None = None,
    numbers: Any = None,
) -> Batch:  # fmt: skip
    """One Arrow record batch -> a `Batch`, as views where the layout allows it."""
    selection, width = reading.selection, max(1, reading.num_classes)
    columns = dict(zip(batch.schema.names, batch.columns, strict=True))
    column = ids = None
    try:
        column = reading.predictions[0]
        if selection.is_topk:
            decoded, target, ids, doubtful = topk.decode_topk(columns, selection, max(2, width), reading.class_names)
        else:
            decoded = layout.decode_predictions([columns[n] for n in reading.predictions], width, selection.dtype)
            column = selection.target
            target, doubtful = labels.decode_target(columns[column], selection.task, width, reading.class_names)
        weight = mask = weight_status = mask_status = None
        if selection.weight is not None:
            column = selection.weight
            weight, weight_status = labels.decode_weight(columns[column])
        if selection.mask is not None:
            column = selection.mask
            mask, mask_status = labels.decode_mask(columns[column], width)
    except DataError as error:
        raise SourceError(str(error), path=path, row_group=row_group, column=column) from error
    except Exception as error:
        check_damage(error, path, row_group, column)
        raise SourceError(
            f"cannot be decoded: {first_line(error)}", path=path, row_group=row_group, column=column
        ) from error
    return Batch(
        predictions=decoded.predictions,
        target=target,
        weight=weight,
        status=numpy_blocks.merge_status(decoded.status, doubtful, mask_status, weight_status),
        mask=mask,
        extra={name: _extra(reading, batch, name) for name in selection.extra} or None,
        path=path,
        first_row=first_row,
        first_id=first_id,
        numbers=numbers,
        ids=ids,
    )


def nothing(reading: Reading, *, path: str) -> Batch:
    """A batch without rows: given where reading takes long, so that who reads may stop."""
    empty = Matrix(np.empty((0, max(1, reading.num_classes)), np.float32), "float32")
    return Batch(empty, np.empty(0, np.int64), path=path)


def with_width(reading: Reading, width: int, path: str) -> Reading:
    """``reading`` with the number of classes, checked against the class names."""
    names = reading.class_names
    expected = max(width, 2) if reading.selection.task == "binary" else width
    if reading.selection.is_topk:
        expected = reading.selection.num_classes or 0
    if names is not None and width and len(names) != expected:
        raise SourceError(
            f"class_names has {len(names)} names, the predictions have {width} classes",
            path=path, column=reading.predictions[0],
        )  # fmt: skip
    if reading.selection.task == "binary" and width > 1:
        raise UsageError(f"a binary task needs one score a row, the predictions in {path} have {width}")
    return replace(reading, num_classes=width)


def row_bytes(reading: Reading, schema: Any) -> int:
    """About how many bytes one decoded row of the columns that are read takes."""
    if schema is None:
        return 8 * (len(reading.columns) + max(1, reading.num_classes))
    total = 0
    for name in reading.columns:
        kind = schema.field(name).type
        leaf = kind.value_type if runs.is_list(kind) else kind
        item = leaf.bit_width // 8 or 1 if is_number(leaf) and not pa.types.is_null(leaf) else 8
        if runs.is_binary(kind):
            item = item_bytes(reading.selection.dtype, 4)
        elements = 1 if is_number(kind) or labels.is_text(kind) else max(1, reading.num_classes)
        total += item * elements + 1
    return max(1, total)


def _matching(schema: Any, pattern: str, path: str) -> list[str]:
    if schema.get_field_index(pattern) >= 0:
        return [pattern]
    names = [name for name in schema.names if fnmatchcase(name, pattern)] if set(pattern) & set("*?[") else []
    if not names:
        raise missing_column(schema, pattern, path)
    return names


def _known_width(reading: Reading, schema: Any, path: str) -> Reading:
    """The number of classes and their names, as far as the schema tells them."""
    if reading.selection.is_topk:
        return reading
    kinds = [schema.field(name).type for name in reading.predictions]
    kind = kinds[0].storage_type if isinstance(kinds[0], pa.BaseExtensionType) else kinds[0]
    names: tuple[str, ...] | None = None
    if len(kinds) > 1 or is_number(kind):
        for name, other in zip(reading.predictions, kinds, strict=True):
            if not is_number(other):
                message = f"is {other}; of several columns each holds the scores of one class"
                raise SourceError(message, path=path, column=name)
        width, names = len(kinds), _names_of_columns(reading) if len(kinds) > 1 else None
    elif pa.types.is_struct(kind) and not runs.is_vector(kind):
        width, names = kind.num_fields, tuple(field.name for field in kind)
    elif pa.types.is_fixed_size_list(kind):
        width = kind.list_size
    elif pa.types.is_fixed_size_binary(kind) and reading.selection.dtype in KINDS:
        width = kind.byte_width // KINDS[reading.selection.dtype].size
    elif runs.is_binary(kind) and reading.selection.dtype not in KINDS:
        raise UsageError(
            f"column {reading.predictions[0]!r} holds packed bytes; say what they are: dtype={'|'.join(KINDS)}"
        )
    else:
        width = 0
    own = reading.class_names or class_names_of(schema.metadata, reading.selection.target) or names
    return with_width(replace(reading, class_names=own), width, path)


def _names_of_columns(reading: Reading) -> tuple[str, ...]:
    """The columns' names; of one pattern with one star, the part that the star stands for."""
    patterns = reading.selection.predictions
    if len(patterns) == 1 and patterns[0].count("*") == 1 and not set(patterns[0]) & set("?["):
        before, _, after = patterns[0].partition("*")
        return tuple(name[len(before) : len(name) - len(after)] for name in reading.predictions)
    return reading.predictions


def _extra(reading: Reading, batch: Any, name: str) -> Any:
    if name in reading.constants:
        value = reading.constants[name]
        kind = pa.int64() if isinstance(value, int) else pa.string()
        return pa.repeat(pa.scalar(value, kind), batch.num_rows)
    return batch.column(name)
