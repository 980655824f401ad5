"""Predictions from one Parquet layout to another: the same values, the same rows, all other columns as they were."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pyarrow as pa

from fastxent.base.errors import DataError, SourceError, UsageError
from fastxent.base.kinds import KINDS, Kind
from fastxent.base.status import Status
from fastxent.data.batch import Columns
from fastxent.data.spec import Form
from fastxent.sources.dataset.dataset import Dataset, list_files
from fastxent.sources.dataset.description import describe_files
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.dataset.footer import Footer
from fastxent.sources.dataset.infer import infer_selection
from fastxent.sources.dataset.reading import Reading, find_width, resolve_predictions, score_arrays
from fastxent.sources.dataset.text import text_batches, with_floats
from fastxent.sources.decode.layout import decode_predictions
from fastxent.sources.pages.checksum import CHECKSUM_KEY
from fastxent.sources.pages.footer import ParquetFooter
from fastxent.sources.parquet.row_groups import ReadPlan, RowGroups
from fastxent.storage.inspect import Speed, measure_reading
from fastxent.storage.layout import Layout, Storage, choose_layout, convert_kind, describe_self, is_lossless
from fastxent.storage.output_paths import is_folder, outputs_of, refuse_inputs
from fastxent.storage.parquet_writer import PendingParquet, score_settings
from fastxent.storage.place import Place, shown

__all__ = ["Conversion", "convert"]

#: Decoded bytes that are converted at a time.
BATCH_BYTES = 8 << 20
#: What reading may hold beside that.
HELD_BYTES = 128 << 20
#: Codecs that are kept, and their names in pyarrow's writer.
_CODECS = {
    "UNCOMPRESSED": "NONE", "SNAPPY": "SNAPPY", "GZIP": "GZIP", "BROTLI": "BROTLI", "LZ4": "LZ4", "LZ4_RAW": "LZ4",
    "ZSTD": "ZSTD",
}  # fmt: skip
#: Keys of the file's metadata that describe columns by place or name, and would be wrong afterwards.
_STALE = (b"pandas", b"huggingface", b"ARROW:schema", CHECKSUM_KEY.encode())


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
    """Rewrite Parquet files, or text, so that their predictions are read fast, and measure the gain.

    Values keep their bits unless ``dtype`` says otherwise; all other columns stay as they are; the new
    file says what it holds, so that ``fastxent evaluate`` needs no flags for it.

    Args:
        data: the file to read, Parquet, CSV, TSV or JSON lines (whose scores are float64): a path or a URI; or several:
            a list, a glob or a directory.
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
    out = os.fspath(out_path).removeprefix("file://")
    choose_layout(layout, 1)
    for name, value in (("dtype", dtype), ("source_dtype", source_dtype)):
        if value is not None and value not in KINDS:
            raise UsageError(f"{name}: expected one of {', '.join(map(repr, KINDS))}, got {value!r}")
    forms = {"logits": logits, "probs": probs, "log_probs": log_probs}
    named = {form: value for form, value in forms.items() if value is not None}
    if len(named) > 1:
        raise UsageError(f"give at most one of logits, probs and log_probs, got {' and '.join(named)}")
    parts: list[Conversion] = []
    pairs = _pairs(data, out, overwrite)
    try:
        for file, output in pairs:
            columns = _find_columns(Dataset([file]), named, target, source_dtype)
            parts.append(_convert(columns, output, layout, cast("Kind | None", dtype), lossy, overwrite))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; {len(parts)} of {len(pairs)} outputs are whole") from None
    return _sum(parts)


def _pairs(data: Any, out: str, overwrite: bool) -> list[tuple[DataFile, str]]:
    """Every input file and its output; refuses before anything is written."""
    files = list_files(data)
    names = [file.name for file in files]
    refuse_inputs(out, data, names)
    if not is_folder(out):
        if len(files) > 1:
            raise UsageError(
                f"{shown(out)}: is one file for {len(files)} inputs; name a directory, with a slash at its end"
            )
        return [(files[0], out)]
    places = outputs_of(names, data, out)
    for output in places.values():
        place = Place.of(output)
        if place.exists() and not overwrite:
            said = "exists already; name another directory, or pass overwrite=True (--overwrite)"
            raise UsageError(f"{place.name}: {said}")
        place.make_folder()
    return [(file, places[file.name]) for file in files]


def _convert(
    columns: _ScoreColumns, out: str, layout: str, dtype: Kind | None, lossy: bool, overwrite: bool
) -> Conversion:
    """Convert one file."""
    file = PendingParquet(out, overwrite=overwrite)
    rows = 0
    try:
        for batch in _read(columns):
            scores, kind, missing = _decode(columns, batch, rows)
            if file.schema is None:
                if dtype is not None and not is_lossless(kind, dtype) and not lossy:
                    raise UsageError(
                        f"dtype={dtype!r} cannot hold every {kind} of {columns.path}; pass lossy=True (--lossy) to "
                        "round to nearest"
                    )
                storage = _storage_of(columns, choose_layout(layout, columns.num_classes), dtype or kind)
                schema = _schema_of(columns, storage)
                file.begin(schema, **score_settings(schema, storage, _codecs(columns.footer.parquet)))
            file.write(_encode(batch, convert_kind(scores, kind, storage.kind), missing, storage, file.schema))
            rows += batch.num_rows
        if file.schema is None:
            raise UsageError(f"{columns.path}: has no rows, so there is nothing to convert")
        if columns.dataset.format != "text" and rows != columns.footer.num_rows:
            raise SourceError(
                f"the footer promises {columns.footer.num_rows} rows, {rows} were found", path=columns.path
            )
        file.finish()
    finally:
        file.abort()
    before = measure_reading(columns.dataset, columns.names, columns.num_classes, columns.dtype)
    written = Dataset(list_files(out))
    after = measure_reading(written, storage.names, columns.num_classes, storage.kind)
    (size, _), (new, _) = (each.files[0].stamp() or (0, 0) for each in (columns.dataset, written))
    return Conversion(rows, storage.layout, storage.kind, size, new, before, after)


def _sum(parts: Sequence[Conversion]) -> Conversion:
    """The sum of conversions, with the layout and kind of the first."""
    first, *others = parts
    for part in others:
        first = Conversion(
            first.rows + part.rows, first.layout, first.dtype, first.bytes_before + part.bytes_before,
            first.bytes_after + part.bytes_after, first.before + part.before, first.after + part.after,
            first.files + part.files,
        )  # fmt: skip
    return first


@dataclass(frozen=True, slots=True)
class _ScoreColumns:
    """The columns of the scores of a file, and what else its footer and its first rows say of them."""

    dataset: Dataset
    footer: Footer
    names: tuple[str, ...]
    reading: Reading
    num_classes: int
    dtype: str | None
    form: Form | None
    task: str | None
    target: str | None
    class_names: tuple[str, ...] | None

    @property
    def path(self) -> str:
        """The name of the file."""
        return self.dataset.files[0].name


def _find_columns(dataset: Dataset, named: dict[str, Any], target: str | None, dtype: str | None) -> _ScoreColumns:
    file = dataset.files[0]
    if dataset.format == "arrow":
        raise UsageError(f"{file.name}: convert takes Parquet files and text")
    description, footer = describe_files(dataset), dataset.footer(file)
    names = None
    for value in named.values():
        names = (value,) if isinstance(value, str) else tuple(value)
    selection = infer_selection(description, predictions=names, target=target or "?", dtype=dtype)
    own = (candidate.form for candidate in description.predictions if candidate.columns == selection.predictions)
    targets = description.targets
    target = target or next((t.columns[0] for t in targets if len(targets) == 1 or t.named), None)
    if dataset.format == "text":
        footer = replace(footer, schema=with_floats(footer.schema, selection.predictions))
    reading = resolve_predictions(footer.schema, selection, file.name)
    probe: Iterator[Any]
    if dataset.format == "text":
        probe = text_batches(file, reading.predictions[:1], _kinds(footer.schema))
    else:
        probe = RowGroups(dataset, BATCH_BYTES).probe(file, reading.predictions[0])
    width = reading.num_classes or find_width(reading, probe)
    if width == 0:
        raise UsageError(f"{file.name}: has no rows, so the number of classes is not known")
    class_names = description.class_names or reading.class_names
    return _ScoreColumns(
        dataset, footer, reading.predictions, reading, width, selection.dtype,
        cast("Form | None", next(iter(named), None) or next(own, None)),
        description.metadata.get("task") or ("binary" if selection.task == "binary" else None), target,
        class_names if class_names is not None and len(class_names) in (width, 2) else None,
    )  # fmt: skip


def _read(columns: _ScoreColumns) -> Iterator[Any]:
    """All columns of all rows."""
    names = tuple(columns.footer.schema.names)
    step = max(1, BATCH_BYTES // (8 * (columns.num_classes + len(names))))
    if columns.dataset.format == "text":
        for batch in text_batches(columns.dataset.files[0], names, _kinds(columns.footer.schema)):
            yield from (batch.slice(lo, step) for lo in range(0, batch.num_rows, step))
        return
    groups = RowGroups(columns.dataset, HELD_BYTES)
    plan = ReadPlan(columns.dataset.files[0], names, step, columns.footer.largest)
    for group in range(len(columns.footer.rows)):
        yield from (batch for batch in groups.batches(plan, group) if batch.num_rows)


def _kinds(schema: Any) -> dict[str, Any]:
    return dict(zip(schema.names, schema.types, strict=True))


def _decode(columns: _ScoreColumns, batch: Any, first_row: int) -> tuple[Any, Kind, Any]:
    """Scores as (n, C) carriers, and which rows have none at all."""
    arrays = score_arrays(columns.reading, dict(zip(batch.schema.names, batch.columns, strict=True)))
    try:
        decoded = decode_predictions(arrays, columns.num_classes, columns.dtype)
    except DataError as error:
        raise SourceError(str(error), path=columns.path, column=columns.names[0]) from error
    missing = None
    if decoded.status is not None:
        missing = np.logical_and.reduce([array.is_null().to_numpy(zero_copy_only=False) for array in arrays])
        wrong = (decoded.status != 0) & ~missing
        if wrong.any():
            at = int(np.argmax(wrong))
            what = "another number of scores than the rest" if decoded.status[at] == Status.RAGGED_ROW else "a null"
            raise SourceError(
                f"row {first_row + at} (from 0) has {what} among its scores, which no other layout can hold; "
                "filter such rows first",
                path=columns.path, column=columns.names[0],
            )  # fmt: skip
    scores = decoded.predictions
    values = np.stack(list(scores.columns), axis=1) if isinstance(scores, Columns) else scores.values
    return values, scores.kind, missing


def _storage_of(columns: _ScoreColumns, layout: Layout, kind: Kind) -> Storage:
    single = len(columns.names) == 1
    base = columns.names[0] if single else None if layout == "columns" else columns.form or "scores"
    storage = Storage(
        columns.form, layout, kind, columns.num_classes, binary=columns.task == "binary",
        nullable=_has_nulls(columns), base=base, own_names=None if single else columns.names,
    )  # fmt: skip
    clash = (set(columns.footer.schema.names) - set(columns.names)) & set(storage.names)
    if clash:
        name = clash.pop()
        raise UsageError(f"{columns.path} has a column {name!r} already, which the scores would be named; rename it")
    return storage


def _has_nulls(columns: _ScoreColumns) -> bool:
    """Whether rows may lack scores: no, only if the statistics of all chunks say so."""
    if not any(columns.footer.schema.field(name).nullable for name in columns.names):
        return False
    footer = columns.footer.parquet
    if footer is None:
        return True
    leaves = [leaf for name in columns.names for leaf in footer.leaves_of[name]]
    return any(footer.chunk(group, leaf).nulls != 0 for group in range(len(footer.rows)) for leaf in leaves)


def _codecs(footer: ParquetFooter | None) -> dict[str, str]:
    """The codec of each column, as it was."""
    if footer is None or not footer.rows:
        return {}
    chunks = {name: footer.chunk(0, numbers[-1]) for name, numbers in footer.leaves_of.items()}
    return {name: _CODECS.get(chunk.codec, "ZSTD") for name, chunk in chunks.items()}


def _schema_of(columns: _ScoreColumns, storage: Storage) -> Any:
    """The fields in their order, those of the scores where the first of them was; no metadata that is now wrong."""
    schema, fields = columns.footer.schema, []
    for field in schema:
        if field.name == columns.names[0]:
            fields += storage.fields
        elif field.name not in columns.names:
            fields.append(field)
    kept = {key: value for key, value in (schema.metadata or {}).items() if key not in _STALE}
    own = describe_self(storage, target=columns.target, class_names=columns.class_names, task=columns.task)
    return pa.schema(fields, metadata=kept | own)


def _encode(batch: Any, values: Any, missing: Any, storage: Storage, schema: Any) -> Any:
    arrays = dict(zip(batch.schema.names, batch.columns, strict=True))
    arrays |= dict(zip(storage.names, storage.encode(values, missing), strict=True))
    # a column that came by way of a temporary file has lost its dictionary
    columns = [arrays[f.name] if arrays[f.name].type.equals(f.type) else arrays[f.name].cast(f.type) for f in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
