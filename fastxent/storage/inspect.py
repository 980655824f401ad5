"""What a data set holds, how fast it reads, and the command that evaluates it."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import pyarrow.parquet as pq

from fastxent.base.errors import SourceError, UsageError
from fastxent.base.kinds import KINDS
from fastxent.sources.dataset.candidates import Candidate
from fastxent.sources.dataset.dataset import Dataset, find_dataset
from fastxent.sources.dataset.description import Description, describe_files
from fastxent.sources.dataset.footer import INT96
from fastxent.sources.dataset.infer import infer_selection
from fastxent.sources.dataset.reading import Reading, find_width, resolve_predictions
from fastxent.sources.dataset.text import text_batches, with_floats
from fastxent.sources.decode.layout import decode_predictions
from fastxent.sources.parquet.row_groups import ReadPlan, RowGroups
from fastxent.sources.parquet.source import BATCH_BYTES, DEFAULT_MEMORY
from fastxent.sources.read_errors import check_damage, first_line
from fastxent.sources.source import Selection

__all__ = ["Inspection", "Speed", "inspect", "measure_reading"]

#: Decoded bytes after which the measurement of reading stops.
ENOUGH_BYTES = 64 << 20
FLAGS = {"logits": "--logits", "probs": "--probs", "log_probs": "--log-probs"}


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast scores were read and decoded by one thread, and which way: from their "pages", or by "pyarrow"."""

    rows: int
    nbytes: int
    seconds: float
    way: str = "pyarrow"

    def __add__(self, other: Speed) -> Speed:
        """Both, one after the other."""
        way = self.way if self.way == other.way else "pyarrow"
        return Speed(self.rows + other.rows, self.nbytes + other.nbytes, self.seconds + other.seconds, way)

    @property
    def gigabytes_per_second(self) -> float:
        """Bytes of scores a second, in units of 1e9."""
        return self.nbytes / self.seconds / 1e9 if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class Inspection:
    """What `inspect` found out.

    Attributes:
        description: columns, rows, candidates, class names, advice (`fastxent.sources.dataset.description`).
        selection: the predictions and the target, where the data leaves one possibility.
        form: what the scores are, if the file or the name of their column says it.
        num_classes: scores a row; 0 if not known.
        speed: reading the first row groups (Parquet with a selection only).
        file_bytes: size of all files.
        commands: the command to run; several where the data leaves a choice, with placeholders in angle brackets
            for what is open.
        open_questions: what the data does not decide.
        notes: what a reader should know of how it is read, such as the order of the classes.
    """

    description: Description
    selection: Selection | None
    form: str | None
    num_classes: int
    speed: Speed | None
    file_bytes: int
    commands: tuple[str, ...]
    open_questions: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON values; what is not known is left out."""
        description, selection, speed = self.description, self.selection, self.speed
        return _known(
            schema="fastxent.inspection/1",
            paths=list(description.paths),
            format=description.format,
            rows=description.num_rows,
            row_groups=description.num_row_groups,
            file_bytes=self.file_bytes,
            columns=[_known(**_fields(c) | {"encodings": list(c.encodings) or None}) for c in description.columns],
            predictions=list(map(_candidate, description.predictions)),
            targets=list(map(_candidate, description.targets)),
            class_names=None if description.class_names is None else list(description.class_names),
            metadata=dict(description.metadata) or None,
            advice=list(description.advice),
            selection=None
            if selection is None
            else {"predictions": list(selection.predictions), "target": selection.target, "task": selection.task},
            form=self.form,
            num_classes=self.num_classes or None,
            reading=None
            if speed is None
            else {
                "rows": speed.rows,
                "bytes": speed.nbytes,
                "seconds": speed.seconds,
                "way": speed.way,
            },
            commands=list(self.commands),
            open_questions=list(self.open_questions),
            notes=list(self.notes) or None,
        )


def _known(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _candidate(candidate: Candidate) -> dict[str, Any]:
    values = _fields(candidate) | {"columns": list(candidate.columns)}
    del values["named"]
    return _known(**values)


def inspect(data: Any, *, measure: bool = True) -> Inspection:
    """Look at files: their columns, what could be predictions and target, how fast they read, what to run.

    Args:
        data: path, list of paths, glob or directory of Parquet or Arrow files.
        measure: read the first row groups (64 MB at most) to see how fast that goes.

    Returns:
        An `Inspection`.

    Raises:
        SourceError: a file is missing or damaged.
        UsageError: ``data`` has no columns.

    Examples:
        >>> import fastxent as fx
        >>> fx.inspect("data/breast_cancer.parquet").description.num_rows
        569
    """
    if not isinstance(data, (str, os.PathLike, list, tuple)):
        raise UsageError(
            "inspect takes paths of Parquet or Arrow files; arrays and tables tell what they are themselves"
        )
    dataset = find_dataset(data)
    description = describe_files(dataset)
    choices, questions = _choices(description)
    selection, form = choices[0] if len(choices) == 1 else (None, None)
    if selection is not None and form is None:
        questions.append("whether the scores are logits, probs or log_probs")
    speed, classes = None, 0
    notes: tuple[str, ...] = ()
    if choices and dataset.format == "parquet" and description.num_rows > 0 and not dataset.files[0].is_remote:
        first = choices[0][0]
        reading, classes = _columns_of(dataset, first)
        if reading is not None:
            notes = reading.notes
            if measure and classes:
                speed = measure_reading(dataset, reading.predictions, classes, first.dtype)
    size = sum(os.path.getsize(path) for path in dataset.names if os.path.exists(path))
    paths = [data] if isinstance(data, (str, os.PathLike)) else data
    line = _quoted(["fastxent", "evaluate", *map(os.fspath, paths)])
    commands = tuple(line + _flags(description, *choice) for choice in choices)
    commands = commands or (f"{line} --logits <columns> --target <column>",)
    return Inspection(description, selection, form, classes, speed, size, commands, tuple(questions), notes)


def measure_reading(
    dataset: Dataset, columns: Sequence[str], num_classes: int, dtype: str | None, limit: int = ENOUGH_BYTES
) -> Speed:
    """Read and decode columns of scores of the first file with one thread, up to ``limit`` bytes; the best of two.

    Raises:
        SourceError: the file cannot be decoded.
    """
    goes = [_read_once(dataset, columns, num_classes, dtype, limit) for _ in range(2)]
    return min(goes, key=lambda go: go.seconds)


def _read_once(dataset: Dataset, columns: Sequence[str], num_classes: int, dtype: str | None, limit: int) -> Speed:
    file, rows, nbytes = dataset.files[0], 0, 0
    footer = dataset.footer(file)
    if dataset.format == "text":
        return _parse_once(dataset, columns, num_classes, limit)
    groups = RowGroups(dataset, DEFAULT_MEMORY)
    fast = groups.fast_columns(file, columns, {columns[0]: num_classes})
    plan = ReadPlan(file, tuple(columns), max(1, BATCH_BYTES // (4 * max(1, num_classes))), footer.largest, fast=fast)
    started = time.perf_counter()
    for batch in (batch for group in range(len(footer.rows)) for batch in groups.batches(plan, group)):
        if batch.num_rows:
            with _decoding(dataset, columns):
                decoded = decode_predictions([batch.column(name) for name in columns], num_classes, dtype)
            rows += batch.num_rows
            nbytes += batch.num_rows * num_classes * KINDS[decoded.predictions.kind].size
        if nbytes >= limit:
            break
    way = "pages" if set(groups.ways.values()) == {"pages"} else "pyarrow"
    return Speed(rows, nbytes, time.perf_counter() - started, way)


def _parse_once(dataset: Dataset, columns: Sequence[str], num_classes: int, limit: int) -> Speed:
    """The same of text."""
    rows = 0
    started = time.perf_counter()
    schema = with_floats(dataset.footer(dataset.files[0]).schema, columns)
    kinds = {name: schema.field(name).type for name in columns}
    for batch in text_batches(dataset.files[0], tuple(columns), kinds):
        rows += batch.num_rows
        if rows * num_classes * 8 >= limit:
            break
    return Speed(rows, rows * num_classes * 8, time.perf_counter() - started, "text")


def _reader(dataset: Dataset, buffer_size: int) -> Any:
    """A reader of the first file."""
    file = dataset.files[0]
    opened, metadata = dataset.open_files.get(file), dataset.footer(file).metadata
    return pq.ParquetFile(
        opened, metadata=metadata, pre_buffer=False, buffer_size=buffer_size, coerce_int96_timestamp_unit=INT96
    )


@contextmanager
def _decoding(dataset: Dataset, columns: Sequence[str]) -> Iterator[None]:
    """Say of damage in the first file where it is."""
    try:
        yield
    except Exception as error:
        path = dataset.files[0].name
        check_damage(error, path, column=columns[0])
        raise SourceError(f"cannot be decoded: {first_line(error)}", path=path, column=columns[0]) from error


def _choices(description: Description) -> tuple[list[tuple[Selection, str | None]], list[str]]:
    """What could be evaluated: one pair of selection and form if the data leaves no doubt; and what is open."""
    questions: list[str] = []
    candidates = [c for c in description.predictions if c.named] or list(description.predictions)
    try:
        infer_selection(description, target="?")
    except UsageError as error:
        questions.append(str(error))
    try:
        taken = [name for candidate in candidates for name in candidate.columns]
        target = infer_selection(description, predictions=taken or ("?",)).target
    except UsageError as error:
        questions.append(str(error))
        target = "<column>"
    return [(infer_selection(description, predictions=c.columns, target=target), c.form) for c in candidates], questions


def _columns_of(dataset: Dataset, selection: Selection) -> tuple[Reading | None, int]:
    """How the predictions are read, if they can be, and the number of classes; 0 if the first rows do not tell."""
    file = dataset.files[0]
    with _decoding(dataset, selection.predictions):
        try:
            reading = resolve_predictions(dataset.footer(file).schema, selection, file.name)
            batches = _reader(dataset, 0).iter_batches(256, columns=list(reading.predictions))
            return reading, reading.num_classes or find_width(reading, batches)
        except (UsageError, SourceError):
            return None, 0  # packed bytes without a dtype, for one


def _flags(description: Description, selection: Selection, form: str | None) -> str:
    """The flags of a command; a file that says everything about itself needs none."""
    if all(description.metadata.get(name) for name in ("form", "predictions", "target")):
        return ""
    flag = FLAGS.get(form or "", "--logits|--probs|--log-probs")
    target = selection.target if selection.target == "<column>" else _quoted([selection.target or ""])
    line = f" {flag} {_quoted([','.join(selection.predictions)])} --target {target}"
    return line if selection.task == "multiclass" else f"{line} --task {selection.task}"


def _quoted(words: list[str]) -> str:
    return " ".join(map(shlex.quote, words))
