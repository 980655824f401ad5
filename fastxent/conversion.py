"""Predictions from one Parquet layout to another: the same values, the same rows, all other columns as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fastxent.atomic import PendingFile, writing
from fastxent.batch import Columns, Kind
from fastxent.errors import DataError, SourceError, UsageError
from fastxent.inspection import Speed, measure_reading
from fastxent.layouts import KINDS, Storage, choose_layout, convert_kind, describe_self, is_lossless
from fastxent.sources import Selection, table
from fastxent.sources.damage import DAMAGE, first_line
from fastxent.sources.describe import describe_files
from fastxent.sources.infer import infer_selection
from fastxent.sources.layout import decode_predictions
from fastxent.spec import Form
from fastxent.status import Status
from fastxent.writer import GROUP_BYTES, open_parquet

__all__ = ["Conversion", "convert"]

#: Decoded bytes that are converted at a time.
BATCH_BYTES = 8 << 20
_CODECS = ("NONE", "SNAPPY", "GZIP", "BROTLI", "LZ4", "ZSTD")
#: Keys of the file's metadata that describe columns by place or name, and would be wrong afterwards.
_STALE = (b"pandas", b"huggingface", b"ARROW:schema")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What `convert` did: rows, sizes of the files, layout and kind of number, and how fast each file is read."""

    rows: int
    layout: str
    dtype: str
    bytes_before: int
    bytes_after: int
    before: Speed
    after: Speed

    @property
    def gain(self) -> float:
        """How many times faster the scores are read."""
        return self.before.seconds / self.after.seconds * self.after.rows / max(1, self.before.rows)


def convert(
    path: str | os.PathLike[str],
    out_path: str | os.PathLike[str],
    *,
    logits: str | Sequence[str] | None = None,
    probs: str | Sequence[str] | None = None,
    log_probs: str | Sequence[str] | None = None,
    target: str | None = None,
    layout: str = "auto",
    dtype: str | None = None,
    source_dtype: str | None = None,
    lossy: bool = False,
    overwrite: bool = False,
) -> Conversion:
    """Rewrite a Parquet file so that its predictions are read fast, and measure the gain.

    Values keep their bits unless ``dtype`` says otherwise; all other columns stay as they are; the new
    file says what it holds, so that ``fastxent evaluate`` needs no flags for it.

    Args:
        path: the Parquet file to read.
        out_path: the Parquet file to write.
        logits: column (list, packed, struct), columns or glob of the scores, if they are logits. Left out, like
            ``probs`` and ``log_probs``, if the file has one candidate only.
        probs: the same for probabilities.
        log_probs: the same for log-probabilities.
        target: column of the targets, for the new file's description of itself.
        layout: "columns", "packed", "list", or "auto": columns up to 64 classes, packed beyond.
        dtype: kind of number to store; by default the one that is there.
        source_dtype: kind of number in packed columns of files that do not say it.
        lossy: let ``dtype`` be one that cannot hold all values exactly.
        overwrite: replace ``out_path`` if it exists.

    Returns:
        A `Conversion`.

    Raises:
        UsageError: arguments contradict each other, ``dtype`` would lose digits, or the output exists.
        SourceError: the file is damaged, or a row has another number of scores than the rest.
        OutputError: the output cannot be written.

    Examples:
        >>> import fastxent as fx, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     done = fx.convert("data/digits.parquet", f"{folder}/digits.parquet", logits="logits", layout="packed")
        >>> done.rows, done.layout, done.dtype
        (1797, 'packed', 'float32')
    """
    path, out = os.fspath(path), os.fspath(out_path)
    if os.path.exists(path) and os.path.exists(out) and os.path.samefile(path, out):
        raise UsageError(f"{out}: is the input; name another file for the output")
    choose_layout(layout, 1)
    for name, value in (("dtype", dtype), ("source_dtype", source_dtype)):
        if value is not None and value not in KINDS:
            raise UsageError(f"{name}: expected one of {', '.join(map(repr, KINDS))}, got {value!r}")
    plan = _plan(path, {"logits": logits, "probs": probs, "log_probs": log_probs}, target, source_dtype)
    job = _Conversion(plan, layout, cast("Kind | None", dtype), lossy)
    pending = PendingFile(out, overwrite=overwrite)
    try:
        job.run(pending)
    except BaseException:
        pending.abort()
        raise
    pending.commit()
    storage = job.storage
    before = measure_reading(path, list(plan.columns), plan.num_classes, plan.dtype)
    after = measure_reading(out, list(storage.names), plan.num_classes, storage.kind)
    return Conversion(
        job.rows, storage.layout, storage.kind, os.path.getsize(path), os.path.getsize(out), before, after
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is read, as far as the footer and the first rows tell."""

    path: str
    schema: Any
    metadata: Any
    columns: tuple[str, ...]
    num_classes: int
    dtype: str | None
    form: Form | None
    task: str | None
    target: str | None
    class_names: tuple[str, ...] | None

    @property
    def binary(self) -> bool:
        return self.task == "binary"


def _plan(path: str, forms: dict[str, Any], target: str | None, dtype: str | None) -> _Plan:
    given = [(form, value) for form, value in forms.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"give at most one of logits, probs and log_probs, got {' and '.join(f for f, _ in given)}")
    found = describe_files(path)
    if found.format != "parquet" or len(found.paths) != 1:
        raise UsageError(f"{path}: convert takes one Parquet file")
    names = None
    if given:
        names = (given[0][1],) if isinstance(given[0][1], str) else tuple(given[0][1])
    selection = infer_selection(found, predictions=names, target=target or "?", dtype=dtype)
    form = given[0][0] if given else _form_of(found, selection)
    known = target or next((each.columns[0] for each in found.targets if len(found.targets) == 1 or each.named), None)
    try:
        with pq.ParquetFile(path, pre_buffer=False) as reader:
            schema, metadata = reader.schema_arrow, reader.metadata
            any_column = str(known if known in schema.names else schema.names[0])  # resolve() asks for a target
            asked = Selection(selection.predictions, any_column, task=selection.task, dtype=selection.dtype)
            reading = table.resolve(schema, asked, path)
            batches = reader.iter_batches(256, columns=[reading.predictions[0]])
            width = reading.num_classes or table.find_width(reading, batches)
    except DAMAGE as error:
        raise _damaged(path, error) from error
    if width == 0:
        raise UsageError(f"{path}: has no rows, so the number of classes is not known")
    class_names = found.class_names or reading.class_names
    return _Plan(
        path,
        schema,
        metadata,
        reading.predictions,
        width,
        selection.dtype,
        cast("Form | None", form),
        found.metadata.get("task") or ("binary" if selection.task == "binary" else None),
        known,
        class_names if class_names is not None and len(class_names) in (width, 2) else None,
    )


def _form_of(found: Any, selection: Selection) -> str | None:
    return next((each.form for each in found.predictions if each.columns == selection.predictions), None)


class _Conversion:
    """The pass over one file."""

    def __init__(self, plan: _Plan, layout: str, dtype: Kind | None, lossy: bool) -> None:
        self._plan = plan
        self._layout = choose_layout(layout, plan.num_classes)
        self._dtype = dtype
        self._lossy = lossy
        self.rows = 0
        self.storage: Storage

    def run(self, pending: PendingFile) -> None:
        writer: Any = None
        waiting: list[Any] = []
        try:
            for batch in self._batches():
                scores, kind, missing = self._decode(batch)
                if writer is None:
                    self.storage = self._storage(kind)
                    schema = self._schema()
                    with writing(pending.path):
                        writer = open_parquet(pending.partial, schema, self.storage, self._codecs())
                waiting.append(self._encode(batch, scores, kind, missing, schema))
                self.rows += batch.num_rows
                if sum(each.nbytes for each in waiting) >= GROUP_BYTES:
                    _write_group(writer, waiting, pending.path)
            _write_group(writer, waiting, pending.path)
        except BaseException:
            with suppress(Exception):
                writer.close()
            raise
        with writing(pending.path):
            writer.close()
        if self.rows != self._plan.metadata.num_rows:
            raise SourceError(
                f"the footer promises {self._plan.metadata.num_rows} rows, {self.rows} were found", path=self._plan.path
            )

    def _batches(self) -> Iterator[Any]:
        plan = self._plan
        step = max(1, BATCH_BYTES // (8 * (plan.num_classes + len(plan.schema.names))))
        try:
            with pq.ParquetFile(plan.path, pre_buffer=False, buffer_size=1 << 20) as reader:
                for group in range(reader.metadata.num_row_groups):
                    yield from reader.iter_batches(step, row_groups=[group])
        except DAMAGE as error:
            raise _damaged(plan.path, error) from error

    def _decode(self, batch: Any) -> tuple[Any, Kind, Any]:
        """Scores as (n, C) carriers, and which rows have none at all."""
        plan = self._plan
        columns = [batch.column(name) for name in plan.columns]
        try:
            decoded = decode_predictions(columns, plan.num_classes, plan.dtype)
        except DataError as error:
            raise SourceError(str(error), path=plan.path, column=plan.columns[0]) from error
        missing = None
        if decoded.status is not None:
            missing = np.logical_and.reduce([column.is_null().to_numpy(zero_copy_only=False) for column in columns])
            wrong = (decoded.status != 0) & ~missing
            if wrong.any():
                at = int(np.argmax(wrong))
                what = "another number of scores than the rest" if decoded.status[at] == Status.RAGGED_ROW else "a null"
                raise SourceError(
                    f"row {self.rows + at} (from 0) has {what} among its scores, which no other layout can hold; "
                    "filter such rows first",
                    path=plan.path,
                    column=plan.columns[0],
                )
        scores = decoded.predictions
        values = np.stack(scores.columns, axis=1) if isinstance(scores, Columns) else scores.values
        return values, scores.kind, missing

    def _storage(self, kind: Kind) -> Storage:
        plan, want = self._plan, self._dtype or kind
        if not is_lossless(kind, want) and not self._lossy:
            raise UsageError(
                f"dtype={want!r} cannot hold every {kind} of {plan.path}; pass lossy=True (--lossy) to round to nearest"
            )
        single, whole = len(plan.columns) == 1, self._layout != "columns"
        others = set(plan.schema.names) - set(plan.columns)
        base = plan.columns[0] if single else plan.form or "scores"
        given = None if single else plan.columns
        storage = Storage(
            plan.form,
            self._layout,
            want,
            plan.num_classes,
            plan.binary,
            self._has_nulls(),
            base if single or whole else None,
            given,
        )
        if clash := others & set(storage.names):
            raise UsageError(
                f"{plan.path} has a column {clash.pop()!r} already, which the scores would be named; rename it"
            )
        return storage

    def _has_nulls(self) -> bool:
        """Whether rows may lack scores: no, only if the statistics of all chunks say so."""
        metadata = self._plan.metadata
        if not any(self._plan.schema.field(name).nullable for name in self._plan.columns):
            return False
        for group in range(metadata.num_row_groups):
            for leaf in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(leaf)
                if chunk.path_in_schema.partition(".")[0] in self._plan.columns:
                    statistics = chunk.statistics
                    if statistics is None or not statistics.has_null_count or statistics.null_count:
                        return True
        return False

    def _codecs(self) -> dict[str, str]:
        """The codec of each column, as it was."""
        metadata, found = self._plan.metadata, {}
        if metadata.num_row_groups:
            for leaf in range(metadata.num_columns):
                chunk = metadata.row_group(0).column(leaf)
                codec = "NONE" if chunk.compression == "UNCOMPRESSED" else chunk.compression
                found[chunk.path_in_schema.partition(".")[0]] = codec if codec in _CODECS else "ZSTD"
        return found

    def _schema(self) -> Any:
        """The fields in their order, those of the scores where the first of them was; no metadata that is now wrong."""
        plan, fields = self._plan, []
        for field in plan.schema:
            if field.name == plan.columns[0]:
                fields += self.storage.fields
            elif field.name not in plan.columns:
                fields.append(field)
        kept = {key: value for key, value in (plan.schema.metadata or {}).items() if key not in _STALE}
        said = describe_self(self.storage, target=plan.target, class_names=plan.class_names, task=plan.task)
        return pa.schema(fields, metadata=kept | said)

    def _encode(self, batch: Any, scores: Any, kind: Kind, missing: Any, schema: Any) -> Any:
        values = convert_kind(scores, kind, self.storage.kind)
        mine = dict(zip(self.storage.names, self.storage.encode(values, missing), strict=True))
        arrays = [mine[name] if name in mine else batch.column(name) for name in schema.names]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _write_group(writer: Any, waiting: list[Any], path: str) -> None:
    if waiting:
        with writing(path):
            group = pa.Table.from_batches(waiting)
            writer.write_table(group, row_group_size=max(1, group.num_rows))
    waiting.clear()


def _damaged(path: str, error: BaseException) -> BaseException:
    if isinstance(error, (DataError, UsageError)):
        return error
    return SourceError(
        f"cannot be decoded: {first_line(error)}. The file is damaged or cut short; write or copy it again", path=path
    )
