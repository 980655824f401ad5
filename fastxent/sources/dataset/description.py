"""What a data set holds, from its footers alone: columns, rows, and which columns could be predictions and targets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow.parquet as pq

from fastxent.base.errors import SourceError
from fastxent.sources.dataset.candidates import Candidate, prediction_candidates, target_candidates
from fastxent.sources.dataset.dataset import Dataset
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.dataset.metadata import class_names_of, own_metadata
from fastxent.sources.read_errors import check_damage, first_line

__all__ = ["Column", "Description", "describe_files", "describe_schema"]

#: Columns of which a row is read at once: each holds a page meanwhile.
TRIED_COLUMNS = 32
#: Columns whose storage is looked at.
MAX_COLUMNS = 500
#: codec, encodings, compressed bytes
Storage = tuple[str, tuple[str, ...], int]


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its Arrow type as text, and how the first row group stores it (Parquet only)."""

    name: str
    type: str
    codec: str | None = None
    encodings: tuple[str, ...] = ()
    stored_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """What `describe_files` found out.

    ``metadata`` is the JSON under the file's own key ``fastxent`` (form, predictions, target, class_names, task,
    dtype), empty if there is none. ``advice`` are sentences on what makes reading slow.
    """

    paths: tuple[str, ...]
    format: str
    num_rows: int
    num_row_groups: int
    columns: tuple[Column, ...]
    predictions: tuple[Candidate, ...]
    targets: tuple[Candidate, ...]
    class_names: tuple[str, ...] | None
    metadata: Mapping[str, Any]
    advice: tuple[str, ...] = ()


def describe_files(dataset: Dataset) -> Description:
    """What the footers of all files say."""
    footers = [dataset.footer(file) for file in dataset.files]
    stored = _stored(dataset, dataset.files[0]) if dataset.format == "parquet" else None
    rows, groups = sum(footer.num_rows for footer in footers), sum(len(footer.rows) for footer in footers)
    description = describe_schema(footers[0].schema, dataset.names, dataset.format, rows, groups, stored)
    largest = max(footer.largest for footer in footers) if dataset.format == "parquet" else 0
    if largest > 1 << 30:
        note = f"a row group of {largest / 2**30:.1f} GiB can only be read by one thread; write smaller ones"
        return replace(description, advice=(*description.advice, note))
    return description


def describe_schema(
    schema: Any,
    paths: tuple[str, ...],
    form: str,
    num_rows: int,
    num_row_groups: int,
    stored: Mapping[str, Storage] | None = None,
) -> Description:
    """A description from an Arrow schema and, for Parquet, how the columns are stored."""
    own, stored = own_metadata(schema.metadata), stored or {}
    predictions = tuple(prediction_candidates(schema, own))
    targets = tuple(target_candidates(schema, own))
    target = targets[0].columns[0] if len(targets) == 1 else None
    of_columns = (class_names_of(schema.metadata, name) for name in ([target] if target else schema.names))
    return Description(
        paths, form, num_rows, num_row_groups,
        tuple(Column(field.name, str(field.type), *stored.get(field.name, ())) for field in schema),
        predictions, targets, next(filter(None, of_columns), None), own,
        tuple(_advice(predictions, stored)) if form == "parquet" else (),
    )  # fmt: skip


def _stored(dataset: Dataset, file: DataFile) -> dict[str, Storage]:
    """Codec, encodings and compressed bytes of each column in the first row group.

    A row of each column is read before its metadata is looked at: what pyarrow raises for reading a damaged footer,
    kills the process when it is thrown by the metadata's accessors.
    """
    footer = dataset.footer(file)
    if sum(footer.rows[:1]) == 0:
        return {}
    metadata, columns = footer.metadata, defaultdict(list)
    for i in range(min(metadata.num_columns, MAX_COLUMNS)):
        columns[metadata.schema.column(i).path.partition(".")[0]].append(i)
    names = list(columns)
    reader = pq.ParquetFile(dataset.open_files.get(file), metadata=metadata, pre_buffer=False, buffer_size=64 << 10)
    for first in range(0, len(names), TRIED_COLUMNS):
        _try_columns(reader, file.name, names[first : first + TRIED_COLUMNS])
    group = metadata.row_group(0)
    stored: dict[str, Storage] = {}
    for name, places in columns.items():
        chunks = [group.column(i) for i in places]
        size = sum(chunk.total_compressed_size for chunk in chunks)
        stored[name] = (chunks[-1].compression, tuple(chunks[-1].encodings), size)
    return stored


def _try_columns(reader: Any, path: str, names: list[str]) -> None:
    """Read a row of some columns; if that fails, of each, to name the one."""
    try:
        next(reader.iter_batches(batch_size=1, row_groups=[0], columns=names, use_threads=False), None)
    except Exception as error:
        check_damage(error, path, 0)
        if len(names) == 1:
            raise SourceError(
                f"cannot be decoded: {first_line(error)}", path=path, row_group=0, column=names[0]
            ) from error
        for name in names:
            _try_columns(reader, path, [name])
        raise SourceError(f"cannot be decoded: {first_line(error)}", path=path, row_group=0) from error


def _advice(predictions: Sequence[Candidate], stored: Mapping[str, Storage]) -> Iterator[str]:
    for candidate in predictions:
        if candidate.layout in ("list", "fixed-size list", "tensor"):
            yield (
                f"column {candidate.columns[0]!r} is a list, which Parquet decodes at about 1 GB/s a core; "
                "packed binary (fastxent convert) takes a fifth of that time"
            )
        name = candidate.columns[0]
        if any("DICTIONARY" in encoding for encoding in stored.get(name, ("", (), 0))[1]):
            yield f"column {name!r} is dictionary-encoded, which makes scores larger and slower; write it without"
