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
from fastxent.data.plain_column import check_values, plain_type
from fastxent.sources.class_order import (
    bare_names,
    check_integer_labels,
    check_same_order,
    counts_from_one,
    in_order,
    is_numbered,
    order_note,
)
from fastxent.sources.dataset.metadata import class_names_of, is_class_label
from fastxent.sources.decode import flat_lists, labels, layout, numpy_blocks, runs, topk
from fastxent.sources.decode.primitive import is_number, plain
from fastxent.sources.read_errors import check_damage, first_line
from fastxent.sources.source import ONE_SCORE, Selection

__all__ = [
    "FRAME", "Reading", "constant_type", "decode_batch", "find_width", "missing_column", "nothing", "resolve",
    "resolve_predictions", "row_bytes", "score_arrays", "settle", "width_without_scores", "with_width",
]  # fmt: skip


#: What the columns of a frame of scores are called beside those of arrays, before their own names.
FRAME = "<predictions> "


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
    field_order: tuple[int, ...] = ()  #: the places of a struct's fields in the order of the classes
    fields: tuple[str, ...] = ()  #: their names, in that order
    flattens: bool = False  #: whether each element of a list is a row
    counts_from_one: bool = False  #: whether integer labels stand beside columns that are numbered from 1
    notes: tuple[str, ...] = ()

    @property
    def score_names(self) -> tuple[str, ...]:
        """The names of what holds the scores of the classes, and of the struct that has them."""
        return (*self.fields, *(name.removeprefix(FRAME) for name in self.predictions))

    @property
    def own_columns(self) -> tuple[str, ...]:
        """The columns that ride along and are in no file."""
        return (flat_lists.PLACE,) if self.flattens else ()

    @property
    def dense_target(self) -> bool:
        """Whether targets are matrices rather than one label a row."""
        return dict(self.signatures).get(self.selection.target or "", "").startswith("list of")


def resolve(
    schema: Any,
    selection: Selection,
    path: str,
    constants: Mapping[str, Any] | None = None,
    *,
    open_target: bool = False,
) -> Reading:
    """Match ``selection`` against the columns of ``schema``; ``constants`` are those that the path holds.

    Where the target is open, nothing is asked of the one that is named.
    """
    constants = constants or {}
    predictions, notes = _predictions(schema, selection, path)
    if len(set(predictions)) != len(predictions):
        raise UsageError(f"predictions name a column twice: {', '.join(predictions)}")
    if selection.is_topk:
        topk.check_topk(selection)
    flat = [None if open_target else selection.target, selection.weight]
    existing = set(schema.names)
    of_path = {name: constants[name] for name in flat if name is not None and name in constants.keys() - existing}
    named = (*flat, selection.mask, selection.ids)
    single = [name for name in named if name is not None and name not in of_path]
    extra = [name for name in selection.extra if name not in constants]
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
    signatures += tuple((name, _signature(constant_type(value))) for name, value in of_path.items())
    reading = Reading(selection, predictions, columns, constants, signatures, selection.class_names, 0, notes=notes)
    return _known_width(reading, schema, path)


def resolve_predictions(schema: Any, selection: Selection, path: str) -> Reading:
    """`resolve` of the predictions alone, where the target is open."""
    return resolve(schema, selection, path, open_target=selection.target not in schema.names)


def constant_type(value: Any) -> Any:
    """The Arrow type of a value that a path gives."""
    return pa.null() if value is None else pa.int64() if isinstance(value, int) else pa.string()


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
    column = ids = None
    try:
        column = reading.predictions[0]
        if reading.flattens:
            batch = flat_lists.flat_lists(batch, column)
        columns = dict(zip(batch.schema.names, batch.columns, strict=True))
        columns = {name: _repeated(value, batch.num_rows) for name, value in reading.constants.items()} | columns
        extra = {name: _extra(reading, batch, name) for name in (*selection.extra, *reading.own_columns)}
        for column, values in extra.items():
            check_values(values, column)
        weight = mask = weight_status = mask_status = None
        if selection.mask is not None:
            column = selection.mask
            mask, mask_status = labels.decode_mask(columns[column], width)
        column = reading.predictions[0]
        if selection.is_topk:
            decoded, target, ids, doubtful = topk.decode_topk(columns, selection, max(2, width), reading.class_names)
        else:
            decoded = layout.decode_predictions(score_arrays(reading, columns), width, selection.dtype, mask)
            target, doubtful = np.zeros(batch.num_rows, np.uint8), None
            if selection.target is not None:
                column = selection.target
                target, doubtful = labels.decode_target(
                    columns[column], selection.task, width, reading.class_names, selection.labels, mask
                )
        if selection.weight is not None:
            column = selection.weight
            weight, weight_status = labels.decode_weight(columns[column])
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
        extra=extra or None,
        path=path,
        first_row=first_row,
        first_id=first_id,
        numbers=numbers,
        ids=ids,
    )


def score_arrays(reading: Reading, columns: Mapping[str, Any]) -> list[Any]:
    """The columns of the scores, or the fields of the struct that they are, in the order of the classes."""
    arrays = [columns[name] for name in reading.predictions]
    if not reading.field_order:
        return arrays
    fields = plain(arrays[0]).flatten()
    return [fields[place] for place in reading.field_order]


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
    if reading.selection.labels is not None and width:
        reading.selection.labels.check_count(width, reading.selection.task)
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


def _predictions(schema: Any, selection: Selection, path: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that are named as predictions, those of globs in the order of the classes; and what is to be said."""
    names: list[str] = []
    notes: list[str] = []
    for pattern in selection.predictions:
        if schema.get_field_index(pattern) >= 0:
            names.append(pattern)
            continue
        found = [name for name in schema.names if fnmatchcase(name, pattern)] if set(pattern) & set("*?[") else []
        if not found:
            raise missing_column(schema, pattern, path)
        found, said = _scores_among(schema, found, selection, pattern)
        known = selection.class_names is not None or selection.labels is not None
        order = in_order(found, f"{path}: {pattern!r} matches", known=known)
        notes += filter(None, (said, order_note(repr(pattern), found, order)))
        names += [found[place] for place in order]
    return tuple(names), tuple(notes)


def _scores_among(schema: Any, found: list[str], selection: Selection, pattern: str) -> tuple[list[str], str | None]:
    """What a glob matches without the columns that mean something else, and what is to be said of these.

    Raises:
        UsageError: the names do not tell the scores from the rest.
    """
    named = {selection.target, selection.weight, selection.mask, selection.ids}
    rest = [name for name in found if name not in named]
    scores = [name for name in rest if name not in selection.extra]
    if is_numbered(rest):
        scores = rest  # a class may be kept, or grouped by, as well
    others = [name for name in found if name not in scores]
    if not others:
        return found, None
    kinds = {schema.field(name).type for name in scores}
    asked = others if is_numbered(found) else [] if is_numbered(scores) else [name for name in rest if name in others]
    doubtful = [name for name in asked if not scores or schema.field(name).type in kinds]
    if doubtful or not scores:
        raise UsageError(
            f"{pattern!r} matches {', '.join(map(repr, (doubtful or others)[:4]))} too: a class, or only what it is "
            "also named as (target, weight, group, kept)? List the columns of the scores"
        )
    return scores, f"{', '.join(map(repr, others))}: no class, though {pattern!r} matches"


def _known_width(reading: Reading, schema: Any, path: str) -> Reading:
    """The number of classes and their names, as far as the schema tells them."""
    if reading.selection.is_topk:
        return reading
    if reading.selection.is_ready_made:
        return _of_losses(reading, schema, path)
    kinds = [schema.field(name).type for name in reading.predictions]
    kind = kinds[0].storage_type if isinstance(kinds[0], pa.BaseExtensionType) else kinds[0]
    names: tuple[str, ...] | None = None
    if len(kinds) > 1 or is_number(kind):
        for name, other in zip(reading.predictions, kinds, strict=True):
            if not is_number(other):
                message = f"is {other}; of several columns each holds the scores of one class"
                raise SourceError(message, path=path, column=name)
        if len(kinds) == 1 and reading.selection.task == "multiclass":
            raise UsageError(f"{path}, column {reading.predictions[0]!r}: holds one score a row; {ONE_SCORE}")
        width, names = len(kinds), _names_of_columns(reading) if len(kinds) > 1 else None
    elif pa.types.is_struct(kind) and not runs.is_vector(kind):
        reading = _with_fields(reading, [field.name for field in kind], path)
        width = kind.num_fields
        names = reading.fields
    elif pa.types.is_fixed_size_list(kind):
        width = kind.list_size
    elif pa.types.is_fixed_size_binary(kind) and reading.selection.dtype in KINDS:
        width = kind.byte_width // KINDS[reading.selection.dtype].size
    elif runs.is_binary(kind) and reading.selection.dtype not in KINDS:
        raise UsageError(
            f"column {reading.predictions[0]!r} holds packed bytes; say what they are: dtype={'|'.join(KINDS)}"
        )
    elif not (runs.is_list(kind) or runs.is_binary(kind) or runs.is_vector(kind) or pa.types.is_run_end_encoded(kind)):
        message = f"holds {kind}; scores are lists, packed binary, structs of numbers, or one column a class"
        raise SourceError(message, path=path, column=reading.predictions[0])
    else:
        width = 0
    return with_width(_with_names(reading, schema, names), width, path)


def _of_losses(reading: Reading, schema: Any, path: str) -> Reading:
    """``reading`` of a column of losses: numbers, or lists of them."""
    if len(reading.predictions) != 1:
        names = ", ".join(reading.predictions[:4])
        raise UsageError(f"{path}: losses are one column, got {len(reading.predictions)}: {names}")
    kind = plain_type(schema.field(reading.predictions[0]).type)
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    lists = runs.is_list(kind)
    if not is_number(kind.value_type if lists else kind):
        message = f"holds {kind}, where numbers are needed: one a row, or lists of them"
        raise SourceError(message, path=path, column=reading.predictions[0])
    return replace(reading, num_classes=1, flattens=lists)


def _with_fields(reading: Reading, fields: list[str], path: str) -> Reading:
    """``reading`` of a struct with these fields, in the order of the classes."""
    what, selection = f"{path}: the struct {reading.predictions[0]!r} has", reading.selection
    known = selection.class_names is not None or selection.labels is not None
    order = in_order(fields, what, known=known)
    moved = tuple(order) if order != list(range(len(fields))) else ()
    note = order_note(repr(reading.predictions[0]), fields, order)
    names = tuple(fields[place] for place in order)
    return replace(reading, field_order=moved, fields=names, notes=(*reading.notes, *filter(None, (note,))))


def _with_names(reading: Reading, schema: Any, of_columns: tuple[str, ...] | None) -> Reading:
    """``reading`` with the class names of the call or of the file, else those ``of_columns``.

    Raises:
        UsageError: they name the classes in another order, or integer labels may mean names or positions.
    """
    selection, own = reading.selection, reading.class_names
    said = "class_names" if own else "the class names of the file's metadata"
    own = own or class_names_of(schema.metadata, selection.target)
    if own is not None and of_columns is not None:
        check_same_order(own, bare_names(of_columns, own), said)
    signature = dict(reading.signatures).get(selection.target or "", "")
    positions = not signature or signature.startswith(("list of", "text", "binary")) or selection.task == "multilabel"
    from_one = False
    if selection.labels is None and not positions and not is_class_label(schema.metadata, selection.target):
        check_integer_labels(own or of_columns, of_columns=own is None)
        from_one = of_columns is not None and counts_from_one(of_columns)
    return replace(reading, class_names=own or of_columns, counts_from_one=from_one)


def _names_of_columns(reading: Reading) -> tuple[str, ...]:
    """The columns' names; of one pattern with one star, the part that the star stands for; of a frame, its own."""
    patterns = reading.selection.predictions
    if len(patterns) == 1 and patterns[0].count("*") == 1 and not set(patterns[0]) & set("?["):
        before, _, after = patterns[0].partition("*")
        return tuple(name[len(before) : len(name) - len(after)] for name in reading.predictions)
    return tuple(name.removeprefix(FRAME) for name in reading.predictions)


def _extra(reading: Reading, batch: Any, name: str) -> Any:
    if name in reading.constants:
        value = reading.constants[name]
        return pa.repeat(pa.scalar(value, pa.int64() if isinstance(value, int) else pa.string()), batch.num_rows)
    return batch.column(name)


def _repeated(value: Any, rows: int) -> Any:
    """A column of a value that the path gives; a target or a weight without a value is null."""
    return pa.nulls(rows, pa.int64()) if value is None else pa.repeat(pa.scalar(value, constant_type(value)), rows)
