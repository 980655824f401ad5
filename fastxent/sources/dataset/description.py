"""What a data set holds, from its footers alone: columns, rows, and which columns could be predictions and targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import pyarrow as pa

from fastxent.sources.dataset.candidates import Candidate, prediction_candidates, target_candidates
from fastxent.sources.dataset.dataset import Dataset
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.dataset.metadata import class_names_of, own_metadata
from fastxent.sources.dataset.reading import constant_type

__all__ = ["Column", "Description", "describe_files", "describe_schema", "with_partitions"]

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
    schema = with_partitions(footers[0].schema, dataset.partitions[0])
    if dataset.format == "text":
        return describe_schema(schema, dataset.names, dataset.format, -1, len(footers))
    stored = _stored(dataset, dataset.files[0]) if dataset.format == "parquet" else None
    rows, groups = sum(footer.num_rows for footer in footers), sum(len(footer.rows) for footer in footers)
    description = describe_schema(schema, dataset.names, dataset.format, rows, groups, stored)
    largest = max(footer.largest for footer in footers) if dataset.format == "parquet" else 0
    if largest > 1 << 30:
        note = f"a row group of {largest / 2**30:.1f} GiB can only be read by one thread; write smaller ones"
        return replace(description, advice=(*description.advice, note))
    return description


def with_partitions(schema: Any, partitions: Mapping[str, Any]) -> Any:
    """A schema and the columns that the path holds."""
    for name, value in partitions.items():
        if name not in schema.names:
            schema = schema.append(pa.field(name, constant_type(value)))
    return schema


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
    """Codec, encodings and compressed bytes of each column in the first row group."""
    footer = dataset.footer(file).parquet
    if footer is None or sum(footer.rows[:1]) == 0:
        return {}
    stored: dict[str, Storage] = {}
    for name, leaves in islice(footer.leaves_of.items(), MAX_COLUMNS):
        chunks = [footer.chunk(0, leaf) for leaf in leaves]
        stored[name] = (chunks[-1].codec, chunks[-1].encodings, sum(chunk.size for chunk in chunks))
    return stored


def _advice(predictions: Sequence[Candidate], stored: Mapping[str, Storage]) -> Iterator[str]:
    for candidate in predictions:
        if candidate.layout in ("list", "fixed-size list", "tensor"):
            yield (
                f"column {candidate.columns[0]!r} is a list: rows of one length in local files are read about as fast "
                "as packed binary; with nulls, or from remote files, at about 1 GB/s a core, where packed binary "
                "(fastxent convert) takes a fifth of that time"
            )
        name = candidate.columns[0]
        if any("DICTIONARY" in encoding for encoding in stored.get(name, ("", (), 0))[1]):
            yield f"column {name!r} is dictionary-encoded, which makes scores larger and slower; write it without"
