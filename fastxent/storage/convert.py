"""Predictions from one Parquet layout to another: the same values, the same rows, all other columns as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa

from fastxent.base.atomic_files import writing
from fastxent.base.errors import DataError, SourceError, UsageError
from fastxent.base.kinds import KINDS, Kind
from fastxent.base.status import Status
from fastxent.data.batch import Columns
from fastxent.data.spec import Form
from fastxent.sources.dataset.dataset import Dataset, list_files
from fastxent.sources.dataset.description import describe_files
from fastxent.sources.dataset.files import DataFile, expand_local
from fastxent.sources.dataset.infer import infer_selection
from fastxent.sources.dataset.reading import find_width, resolve
from fastxent.sources.decode.layout import decode_predictions
from fastxent.sources.parquet.row_groups import ReadPlan, RowGroups
from fastxent.sources.source import Selection
from fastxent.storage.inspect import Speed, measure_reading
from fastxent.storage.layout import Storage, choose_layout, convert_kind, describe_self, is_lossless
from fastxent.storage.output_paths import is_folder, outputs_of, refuse_inputs
from fastxent.storage.parquet_writer import PendingParquet, score_settings

__all__ = ["Conversion", "convert"]

#: Decoded bytes that are converted at a time.
BATCH_BYTES = 8 << 20
#: What reading may hold beside that.
HELD_BYTES = 128 << 20
_CODECS = ("NONE", "SNAPPY", "GZIP", "BROTLI", "LZ4", "ZSTD")
#: Keys of the file's metadata that describe columns by place or name, and would be wrong afterwards.
_STALE = (b"pandas", b"huggingface", b"ARROW:schema")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What `convert` did: rows, sizes of the files, layout and kind of number, and how fast the files are read."""

    rows: int
    layout: str
    dtype: str
    bytes_before: int
    bytes_after: int
    before: Speed
    after: Speed
    files: int = 1

    @property
    def gain(self) -> float:
        """How many times faster the scores are read."""
        return self.before.seconds / self.after.seconds * self.after.rows / max(1, self.before.rows)


def convert(
    data: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
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
    """Rewrite Parquet files so that their predictions are read fast, and measure the gain.

    Values keep their bits unless ``dtype`` says otherwise; all other columns stay as they are; the new
    file says what it holds, so that ``fastxent evaluate`` needs no flags for it.

    Args:
        data: the Parquet file to read: a path or a URI; or several: a list, a glob or a directory.
        out_path: the Parquet file to write. A directory (one that exists, or a path that ends in a slash) gets one
            for every input file, at the input's place below the directory that all inputs share.
        logits: column (list, packed, struct), columns or glob of the scores, if they are logits. Left out, like
            ``probs`` and ``log_probs``, if the file has one candidate only.
        probs: the same for probabilities.
        log_probs: the same for log-probabilities.
        target: column of the targets, for the new file's description of itself.
        layout: "columns", "packed", "list", or "auto": columns up to 64 classes, packed beyond.
        dtype: kind of number to store; by default the one that is there.
        source_dtype: kind of number in packed columns of files that do not say it.
        lossy: let ``dtype`` be one that cannot hold all values exactly.
        overwrite: replace outputs that exist.

    Returns:
        A `Conversion`; of several files the sum, with the layout and kind of number of the first.

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
    out = os.fspath(out_path)
    choose_layout(layout, 1)
    for name, value in (("dtype", dtype), ("source_dtype", source_dtype)):
        if value is not None and value not in KINDS:
            raise UsageError(f"{name}: expected one of {', '.join(map(repr, KINDS))}, got {value!r}")
    forms = {"logits": logits, "probs": probs, "log_probs": log_probs}
    parts: list[Conversion] = []
    pairs = _pairs(data, out, overwrite)
    try:
        for file, output in pairs:
            plan = _plan(Dataset([file]), forms, target, source_dtype)
            parts.append(_convert(_Conversion(plan, layout, cast("Kind | None", dtype), lossy), output, overwrite))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {len(parts)} of {len(pairs)} outputs are whole") from None
    return _summed(parts)


def _pairs(data: Any, out: str, overwrite: bool) -> list[tuple[DataFile, str]]:
    """Every input file and its output; refuses before anything is written."""
    files = list_files(data)
    names = [file.name for file in files]
    refuse_inputs(out, data, names)
    if not is_folder(out):
        if len(files) > 1:
            raise UsageError(f"{out}: is one file for {len(files)} inputs; name a directory, with a slash at its end")
        return [(files[0], out)]
    places = outputs_of(names, data, out)
    for output in places.values():
        if os.path.lexists(output) and not overwrite:
            raise UsageError(f"{output}: exists already; name another directory, or pass overwrite=True (--overwrite)")
        with writing(output):
            os.makedirs(os.path.dirname(output), exist_ok=True)
    return [(file, places[file.name]) for file in files]


def _convert(job: _Conversion, out: str, overwrite: bool) -> Conversion:
    file = PendingParquet(out, overwrite=overwrite)
    try:
        job.run(file)
        file.finish()
    finally:
        file.abort()
    plan, storage = job.plan, job.storage
    before = measure_reading(plan.dataset, plan.columns, plan.num_classes, plan.dtype)
    after = measure_reading(Dataset(expand_local(out)), storage.names, plan.num_classes, storage.kind)
    stamp = plan.file.stamp()
    size = 0 if stamp is None else stamp[0]
    return Conversion(job.rows, storage.layout, storage.kind, size, os.path.getsize(out), before, after)


def _summed(parts: Sequence[Conversion]) -> Conversion:
    """The sum of conversions, with the layout and kind of the first."""

    def speed(which: str) -> Speed:
        found = [getattr(part, which) for part in parts]
        return Speed(sum(s.rows for s in found), sum(s.nbytes for s in found), sum(s.seconds for s in found))

    return Conversion(
        sum(part.rows for part in parts),
        parts[0].layout,
        parts[0].dtype,
        sum(part.bytes_before for part in parts),
        sum(part.bytes_after for part in parts),
        speed("before"),
        speed("after"),
        len(parts),
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is read, as far as the footer and the first rows tell."""

    dataset: Dataset
    columns: tuple[str, ...]
    num_classes: int
    dtype: str | None
    form: Form | None
    task: str | None
    target: str | None
    class_names: tuple[str, ...] | None

    @property
    def file(self) -> DataFile:
        return self.dataset.files[0]

    @property
    def path(self) -> str:
        return self.file.name

    @property
    def schema(self) -> Any:
        return self.dataset.footer(self.file).schema

    @property
    def metadata(self) -> Any:
        return self.dataset.footer(self.file).metadata

    @property
    def binary(self) -> bool:
        return self.task == "binary"


def _plan(dataset: Dataset, forms: dict[str, Any], target: str | None, dtype: str | None) -> _Plan:
    file = dataset.files[0]
    path = file.name
    given = [(form, value) for form, value in forms.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"give at most one of logits, probs and log_probs, got {' and '.join(f for f, _ in given)}")
    if dataset.format != "parquet":
        raise UsageError(f"{path}: convert takes Parquet files")
    found = describe_files(dataset)
    names = None
    if given:
        names = (given[0][1],) if isinstance(given[0][1], str) else tuple(given[0][1])
    selection = infer_selection(found, predictions=names, target=target or "?", dtype=dtype)
    form = given[0][0] if given else _form_of(found, selection)
    known = target or next((each.columns[0] for each in found.targets if len(found.targets) == 1 or each.named), None)
    schema = dataset.footer(file).schema
    any_column = str(known if known in schema.names else schema.names[0])  # resolve() asks for a target
    asked = Selection(selection.predictions, any_column, task=selection.task, dtype=selection.dtype)
    reading = resolve(schema, asked, path)
    probe = RowGroups(dataset, BATCH_BYTES).probe(file, reading.predictions[0])
    width = reading.num_classes or find_width(reading, probe)
    if width == 0:
        raise UsageError(f"{path}: has no rows, so the number of classes is not known")
    class_names = found.class_names or reading.class_names
    return _Plan(
        dataset,
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
        self.plan = plan
        self._layout = choose_layout(layout, plan.num_classes)
        self._dtype = dtype
        self._lossy = lossy
        self.rows = 0
        self.storage: Storage

    def run(self, file: PendingParquet) -> None:
        """Write all rows."""
        for batch in self._batches():
            scores, kind, missing = self._decode(batch)
            if file.schema is None:
                self.storage = self._storage(kind)
                schema = self._schema()
                file.begin(schema, **score_settings(schema, self.storage, self._codecs()))
            file.write(self._encode(batch, scores, kind, missing, file.schema))
            self.rows += batch.num_rows
        if self.rows != self.plan.metadata.num_rows:
            raise SourceError(
                f"the footer promises {self.plan.metadata.num_rows} rows, {self.rows} were found", path=self.plan.path
            )

    def _batches(self) -> Iterator[Any]:
        plan = self.plan
        step = max(1, BATCH_BYTES // (8 * (plan.num_classes + len(plan.schema.names))))
        groups = RowGroups(plan.dataset, HELD_BYTES)
        read = ReadPlan(plan.file, tuple(plan.schema.names), step, plan.dataset.footer(plan.file).largest)
        for group in range(plan.metadata.num_row_groups):
            yield from (batch for batch in groups.batches(read, group) if batch.num_rows)

    def _decode(self, batch: Any) -> tuple[Any, Kind, Any]:
        """Scores as (n, C) carriers, and which rows have none at all."""
        plan = self.plan
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
        values = np.stack(list(scores.columns), axis=1) if isinstance(scores, Columns) else scores.values
        return values, scores.kind, missing

    def _storage(self, kind: Kind) -> Storage:
        plan, want = self.plan, self._dtype or kind
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
        metadata = self.plan.metadata
        if not any(self.plan.schema.field(name).nullable for name in self.plan.columns):
            return False
        for group in range(metadata.num_row_groups):
            for leaf in range(metadata.num_columns):
                chunk = metadata.row_group(group).column(leaf)
                if chunk.path_in_schema.partition(".")[0] in self.plan.columns:
                    statistics = chunk.statistics
                    if statistics is None or not statistics.has_null_count or statistics.null_count:
                        return True
        return False

    def _codecs(self) -> dict[str, str]:
        """The codec of each column, as it was."""
        metadata, found = self.plan.metadata, {}
        if metadata.num_row_groups:
            for leaf in range(metadata.num_columns):
                chunk = metadata.row_group(0).column(leaf)
                codec = "NONE" if chunk.compression == "UNCOMPRESSED" else chunk.compression
                found[chunk.path_in_schema.partition(".")[0]] = codec if codec in _CODECS else "ZSTD"
        return found

    def _schema(self) -> Any:
        """The fields in their order, those of the scores where the first of them was; no metadata that is now wrong."""
        plan, fields = self.plan, []
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
        arrays = [mine[field.name] if field.name in mine else _as(batch.column(field.name), field) for field in schema]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _as(array: Any, field: Any) -> Any:
    """A column as the file says it; one that came by way of a file has lost its dictionary."""
    return array if array.type.equals(field.type) else array.cast(field.type)
