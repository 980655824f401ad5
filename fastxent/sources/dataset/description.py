"""What a data set holds, from its footers alone: columns, rows, and which columns could be predictions and targets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fastxent.base.errors import SourceError
from fastxent.sources.dataset import retry
from fastxent.sources.dataset.files import DataFile, format_of, list_files
from fastxent.sources.dataset.metadata import class_names_of, own_metadata
from fastxent.sources.decode import runs
from fastxent.sources.decode.labels import is_text
from fastxent.sources.decode.primitive import is_number
from fastxent.sources.read_errors import DAMAGE, first_line

__all__ = ["Candidate", "Column", "Description", "describe_files", "describe_schema"]

TARGET_WORDS = frozenset(("label", "labels", "target", "targets", "y", "class", "truth", "gold", "true"))
FORM_WORDS = {
    "logit": "logits", "logits": "logits", "rawprediction": "logits", "prob": "probs", "probs": "probs",
    "proba": "probs", "probability": "probs", "probabilities": "probs", "logprob": "log_probs", "logprobs": "log_probs",
}  # fmt: skip
SCORE_WORDS = frozenset((*FORM_WORDS, "score", "scores", "pred", "preds", "prediction", "predictions", "p"))


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
class Candidate:
    """What could be meant: column names or one glob, the layout, and why.

    ``named`` tells that the name speaks for it, ``form`` which form of predictions the name says.
    """

    columns: tuple[str, ...]
    layout: str
    reason: str
    named: bool
    form: str | None = None


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


def describe_files(paths: Any) -> Description:
    """Read the footers of the files that ``paths`` means."""
    files = list_files(paths)
    names = tuple(file.name for file in files)
    form = format_of(files[0])
    if form == "arrow":
        from fastxent.sources.arrow.ipc import read_ipc

        parts = [read_ipc(file) for file in files]
        rows, groups = sum(part.num_rows for part in parts), sum(len(part.ends) for part in parts)
        return describe_schema(parts[0].schema, names, form, rows, groups)
    rows = groups = largest = 0
    for number, file in enumerate(files):
        with _opened(file) as reader:
            parquet = reader.metadata
            if number == 0:
                schema, stored = reader.schema_arrow, _stored(reader, file.name)
        rows, groups = rows + parquet.num_rows, groups + parquet.num_row_groups
        sizes = (parquet.row_group(i).total_byte_size for i in range(parquet.num_row_groups))
        largest = max(largest, *sizes, 0)
    found = describe_schema(schema, names, form, rows, groups, stored)
    if largest > 1 << 30:
        note = f"a row group of {largest / 2**30:.1f} GiB can only be read by one thread; write smaller ones"
        return replace(found, advice=(*found.advice, note))
    return found


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
    predictions = tuple(_predictions(schema, own))
    targets = tuple(_targets(schema, own))
    target = targets[0].columns[0] if len(targets) == 1 else None
    names = [field.name for field in schema]
    found = (class_names_of(schema.metadata, name) for name in ([target] if target else names))
    return Description(
        paths, form, num_rows, num_row_groups,
        tuple(Column(field.name, str(field.type), *stored.get(field.name, ())) for field in schema),
        predictions, targets, next((each for each in found if each), None), own,
        tuple(_advice(predictions, stored)) if form == "parquet" else (),
    )  # fmt: skip


def _opened(file: DataFile) -> Any:
    def read() -> Any:
        return pq.ParquetFile(file.open(), pre_buffer=False, buffer_size=64 << 10)

    try:
        return retry.call(read, file.filesystem is not None)
    except DAMAGE as error:
        raise SourceError(f"is not a readable Parquet file: {first_line(error)}", path=file.name) from error


def _stored(reader: Any, path: str) -> dict[str, Storage]:
    """Codec, encodings and compressed bytes of each column in the first row group.

    A row of each column is read before its metadata is looked at: what pyarrow raises for reading a damaged footer,
    kills the process when it is thrown by the metadata's accessors.
    """
    parquet = reader.metadata
    if parquet.num_row_groups == 0 or parquet.row_group(0).num_rows == 0:
        return {}
    leaves: dict[str, list[int]] = {}
    for i in range(min(parquet.num_columns, MAX_COLUMNS)):
        leaves.setdefault(parquet.schema.column(i).path.partition(".")[0], []).append(i)
    names = list(leaves)
    for first in range(0, len(names), TRIED_COLUMNS):
        _try_columns(reader, path, names[first : first + TRIED_COLUMNS])
    group = parquet.row_group(0)
    found: dict[str, Storage] = {}
    for name, places in leaves.items():
        chunks = [group.column(i) for i in places]
        size = sum(chunk.total_compressed_size for chunk in chunks)
        found[name] = (chunks[-1].compression, tuple(chunks[-1].encodings), size)
    return found


def _try_columns(reader: Any, path: str, names: list[str]) -> None:
    """Read a row of some columns; if that fails, of each, to name the one."""
    try:
        next(reader.iter_batches(batch_size=1, row_groups=[0], columns=names, use_threads=False), None)
    except DAMAGE as error:
        if len(names) == 1:
            raise SourceError(
                f"cannot be decoded: {first_line(error)}", path=path, row_group=0, column=names[0]
            ) from error
        for name in names:
            _try_columns(reader, path, [name])
        raise SourceError(f"cannot be decoded: {first_line(error)}", path=path, row_group=0) from error


def _predictions(schema: Any, own: Mapping[str, Any]) -> Iterator[Candidate]:
    said = own.get("predictions")
    if isinstance(said, list) and said and all(name in schema.names for name in said):
        form = own.get("form")
        yield Candidate(
            tuple(said), _layout(schema, said), "the file says so", True, form if isinstance(form, str) else None
        )
        return
    for field in schema:
        kind = field.type.storage_type if isinstance(field.type, pa.BaseExtensionType) else field.type
        if _holds_scores(kind) and not _named_target(field.name):
            yield _candidate((field.name,), _layout(schema, [field.name]), field.name)
    yield from _families(schema)


def _holds_scores(kind: Any) -> bool:
    if runs.is_list(kind):
        return bool(pa.types.is_floating(kind.value_type))
    if runs.is_vector(kind):
        return True
    if pa.types.is_struct(kind):
        return kind.num_fields > 1 and all(pa.types.is_floating(field.type) for field in kind)
    return bool(pa.types.is_fixed_size_binary(kind)) and kind.byte_width > 16


def _families(schema: Any) -> Iterator[Candidate]:
    """Columns of floats that share what stands before their number or last underscore; else single ones."""
    floats = [field.name for field in schema if pa.types.is_floating(field.type) and not _named_target(field.name)]
    families: dict[str, list[str]] = {}
    for name in floats:
        match = re.fullmatch(r"(.*?)\d+", name) or re.fullmatch(r"(.*_)[^_]+", name)
        if match and match[1]:
            families.setdefault(match[1], []).append(name)
    joined = {prefix: names for prefix, names in families.items() if len(names) > 1}
    for prefix, names in joined.items():
        exact = [name for name in schema.names if name.startswith(prefix)] == names and not set(prefix) & set("*?[")
        yield _candidate((f"{prefix}*",) if exact else tuple(names), "one column a class", prefix)
    members = {name for names in joined.values() for name in names}
    for name in floats:
        if name not in members and _words(name) & SCORE_WORDS:
            yield _candidate((name,), "one score a row (binary)", name)


def _candidate(columns: tuple[str, ...], form: str, name: str) -> Candidate:
    words = _words(name)
    forms = {FORM_WORDS[word] for word in words if word in FORM_WORDS}
    if "log" in words and forms == {"probs"}:
        forms = {"log_probs"}
    named = bool(words & SCORE_WORDS)
    reason = f"{form}, named like predictions" if named else form
    return Candidate(columns, form, reason, named, forms.pop() if len(forms) == 1 else None)


def _layout(schema: Any, names: Sequence[str]) -> str:
    if len(names) > 1:
        return "one column a class"
    kind = schema.field(names[0]).type
    if isinstance(kind, pa.BaseExtensionType):
        return "tensor"
    if runs.is_list(kind):
        return "fixed-size list" if pa.types.is_fixed_size_list(kind) else "list"
    if runs.is_binary(kind):
        return "packed binary"
    if runs.is_vector(kind):
        return "Spark vector"
    return "struct" if pa.types.is_struct(kind) else "one score a row (binary)"


def _targets(schema: Any, own: Mapping[str, Any]) -> Iterator[Candidate]:
    said = own.get("target")
    if isinstance(said, str) and said in schema.names:
        yield Candidate((said,), str(schema.field(said).type), "the file says so", True)
        return
    for field in schema:
        named = _named_target(field.name)
        flat = pa.types.is_integer(field.type) or pa.types.is_boolean(field.type) or is_text(field.type)
        if class_names_of({k: v for k, v in (schema.metadata or {}).items() if k == b"huggingface"}, field.name):
            yield Candidate((field.name,), str(field.type), "a Hugging Face ClassLabel", True)
        elif named and (flat or is_number(field.type) or runs.is_list(field.type)):
            yield Candidate((field.name,), str(field.type), "named like a target", True)
        elif flat and not _words(field.name) & SCORE_WORDS:
            yield Candidate((field.name,), str(field.type), "integers, bool or text", False)


def _named_target(name: str) -> bool:
    """Whether a name has a word for targets and none for scores (``y_true``, but not ``y_prob``)."""
    words = _words(name)
    return bool(words & TARGET_WORDS) and not words & SCORE_WORDS


def _words(name: str) -> set[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return {word for word in re.split(r"[^a-z]+", spaced.lower()) if word} | {name.lower()}


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
