"""Per-row results as Parquet: one row for every row of the input, in its order, with the columns that were kept.

A row that was not scored has nulls for scores and its status says why. Files appear whole or not at all
(`fastxent.base.atomic_files`), and carry under the key ``fastxent.scores`` what they were made from and the totals of
their rows, so that a later run can tell whether a file is still right, and go on from there.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fastxent.base.atomic_files import PendingFile, writing
from fastxent.base.errors import SourceError, StateError, UsageError
from fastxent.base.log_unit import NATS, Unit
from fastxent.base.status import Status
from fastxent.data.batch import Batch
from fastxent.data.spec import Spec
from fastxent.kernels.block_loop import Outputs, no_outputs
from fastxent.sources.source import Split
from fastxent.storage.layout import leaves
from fastxent.totals.totals import Totals

__all__ = ["METADATA_KEY", "FileSink", "FolderSink", "Results", "job_digest", "read_record"]

METADATA_KEY = b"fastxent.scores"
VERSION = 2
#: A row group is written when it has this many rows, or this many bytes (kept columns may be wide).
GROUP_ROWS = 1 << 20
GROUP_BYTES = 128 << 20

_STATUS_NAMES = pa.array([status.name.lower() for status in Status])
_ENCODED = ("predicted", "predicted_name", "rank", "status")


class Results:
    """The columns of per-row results, and how a scored batch becomes a piece of a table.

    Args:
        spec: what is measured. Multilabel rows have a loss and a status, no predicted class.
        keep: names of the columns that ride along.
        prefix: put before the names of the score columns.
        scores: whether there is more than the loss.
        names: the classes by their index.
        topk: rows store some of the classes only: the predicted class is looked up among their ids.
        unit: that of the losses; it stands in the metadata of their field.

    Raises:
        UsageError: a kept column has the name of a score column.
    """

    def __init__(
        self,
        spec: Spec,
        keep: Sequence[str] = (),
        prefix: str = "",
        *,
        scores: bool = True,
        names: Sequence[str] | None = None,
        topk: bool = False,
        unit: Unit = NATS,
    ) -> None:
        self.keep = tuple(dict.fromkeys(keep))
        self._prefix = prefix
        self._one_class = scores and spec.task != "multilabel"
        self._topk = topk
        self._unit = unit
        self._names = None if names is None or not self._one_class else pa.array(names)
        kinds: dict[str, Any] = {"loss": pa.float64()}
        if self._one_class:
            kinds |= {"predicted": pa.int32()}
            if self._names is not None:
                kinds |= {"predicted_name": pa.dictionary(pa.int32(), pa.string())}
            kinds |= {"confidence": pa.float64(), "p_target": pa.float64(), "rank": pa.int32()}
        if topk:
            kinds["stored"] = pa.bool_()
        kinds["status"] = pa.dictionary(pa.int8(), pa.string())
        self.fields = [pa.field(prefix + name, kind, nullable=name != "status") for name, kind in kinds.items()]
        self.encoded = [prefix + name for name in kinds if name in _ENCODED]
        self.fields[0] = self.fields[0].with_metadata({"unit": str(unit)})
        for field in self.fields:
            if field.name in self.keep:
                raise UsageError(
                    f"keep: column {field.name!r} has the name of a score column; pass a prefix for these: prefix='fx_'"
                )

    def outputs_of(self, batch: Batch) -> Outputs:
        """Fresh places for the results of a batch."""
        n = batch.num_rows
        out = no_outputs()._replace(loss=np.empty(n), status=np.empty(n, np.uint8))
        if not self._one_class:
            return out
        return out._replace(
            p_target=np.empty(n), confidence=np.empty(n), predicted=np.empty(n, np.int32), rank=np.empty(n, np.int32)
        )

    def piece(self, batch: Batch, out: Outputs) -> Any:
        """A scored batch as a record batch: kept columns, scores, status."""
        nothing = out.status != Status.SCORED
        mask = nothing if nothing.any() else None
        columns = [_held(batch, name) for name in self.keep]
        names = list(self.keep)

        def add(name: str, values: Any) -> None:
            columns.append(values)
            names.append(self._prefix + name)

        add("loss", pa.array(self._unit.of(out.loss), mask=mask))
        if self._one_class:
            predicted = _class_ids(batch, out, mask) if self._topk else pa.array(out.predicted, mask=mask)
            add("predicted", predicted)
            if self._names is not None:
                add("predicted_name", pa.DictionaryArray.from_arrays(predicted, self._names))
            add("confidence", pa.array(out.confidence, mask=mask))
            add("p_target", pa.array(out.p_target, mask=mask))
            add("rank", pa.array(out.rank, mask=mask))
        if self._topk:
            add("stored", pa.array(batch.target != batch.predictions.num_classes - 1, mask=mask))
        add("status", pa.DictionaryArray.from_arrays(pa.array(out.status.view(np.int8)), _STATUS_NAMES))
        return pa.RecordBatch.from_arrays(columns, names)


def _class_ids(batch: Batch, out: Outputs, mask: Any) -> Any:
    """Of top-k rows the id of the predicted class, from its position; null where it is none of those stored."""
    assert batch.ids is not None
    rows = np.arange(batch.num_rows)
    found = batch.ids[rows, out.predicted if mask is None else np.where(mask, 0, out.predicted)]
    missing = found < 0
    return pa.array(found.astype(np.int32), mask=missing if mask is None else mask | missing)


def _held(batch: Batch, name: str) -> Any:
    """A kept column that outlives its batch. A dictionary is taken off: each batch may have another one."""
    assert batch.extra is not None
    array = batch.extra[name]
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    return array.dictionary_decode() if isinstance(array, pa.DictionaryArray) else array


class _Writer:
    """One Parquet file under construction; record batches are gathered into row groups."""

    def __init__(self, path: str, results: Results, overwrite: bool) -> None:
        self.path = path
        self.rows = 0
        self._results = results
        self._file = PendingFile(path, overwrite=overwrite)
        self._parquet: Any = None
        self._schema: Any = None
        self._waiting: list[Any] = []
        self._waiting_rows = self._waiting_bytes = 0

    def write(self, split: Split, piece: Any) -> None:
        if self._parquet is None:
            self._open(piece.schema)
        if not piece.schema.equals(self._schema):
            piece = self._cast(piece, split.path)
        while piece.num_rows:
            part = piece.slice(0, GROUP_ROWS - self._waiting_rows)
            piece = piece.slice(part.num_rows)
            self._waiting.append(part)
            self._waiting_rows += part.num_rows
            self._waiting_bytes += part.nbytes
            if self._waiting_rows >= GROUP_ROWS or self._waiting_bytes >= GROUP_BYTES:
                self._flush()

    def finish(self, record: Mapping[str, Any], kept: Mapping[str, Any]) -> None:
        """Write what waits and the record, and give the file its name.

        ``kept`` tells the types of kept columns, for a file without rows.
        """
        try:
            if self._parquet is None:
                fields = [pa.field(name, kept.get(name, pa.null())) for name in self._results.keep]
                self._open(pa.schema([*fields, *self._results.fields]))
            self._flush()
            with writing(self.path):
                self._parquet.add_key_value_metadata({METADATA_KEY.decode(): json.dumps(record)})
                self._parquet.close()
        except BaseException:
            self.abort()
            raise
        self._file.commit()

    def abort(self) -> None:
        if self._parquet is not None:
            with suppress(Exception):
                self._parquet.close()
        self._file.abort()

    def _open(self, schema: Any) -> None:
        kept = [schema.field(name) for name in self._results.keep]
        self._schema = pa.schema([*kept, *self._results.fields])
        text = [field.name for field in kept if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)]
        # Losses and probabilities hardly compress: trying costs a tenth of the time and saves a hundredth.
        codec = {
            leaf: "NONE" if field in self._results.fields and pa.types.is_float64(field.type) else "SNAPPY"
            for field in self._schema
            for leaf in leaves(field.name, field.type)
        }
        with writing(self.path):
            self._parquet = pq.ParquetWriter(
                self._file.partial,
                self._schema,
                compression=codec,
                use_dictionary=[*text, *self._results.encoded],
                write_page_checksum=True,
            )

    def _cast(self, piece: Any, path: str) -> Any:
        """Files of one data set may hold a kept column as other types; those of the first one count."""
        columns = []
        for field in self._schema:
            column = piece.column(field.name)
            try:
                columns.append(column if column.type.equals(field.type) else column.cast(field.type))
            except (pa.ArrowException, ValueError) as error:
                raise SourceError(
                    f"holds {column.type} that cannot be kept as {field.type}, the type in the files before it; "
                    "write the files alike or leave the column out",
                    path=path,
                    column=field.name,
                ) from error
        return pa.RecordBatch.from_arrays(columns, schema=self._schema)

    def _flush(self) -> None:
        if self._waiting_rows:
            with writing(self.path):
                self._parquet.write_table(pa.Table.from_batches(self._waiting, self._schema), row_group_size=GROUP_ROWS)
            self.rows += self._waiting_rows
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0


class FileSink:
    """All rows into one file.

    Args:
        path: where the file is to appear.
        results: the columns.
        job: digest of what is done (`job_digest`).
        overwrite: whether a file that is there may be replaced.
    """

    def __init__(self, path: str, results: Results, job: str, *, overwrite: bool = False) -> None:
        self.outputs_of, self.piece = results.outputs_of, results.piece
        self._job = job
        self._writer = _Writer(path, results, overwrite)

    def write(self, split: Split, piece: Any) -> None:
        """Write a piece."""
        self._writer.write(split, piece)

    def end(self, path: str, totals: Totals) -> None:
        """Nothing to do: the file goes on."""

    def finish(self, totals: Totals, kept: Mapping[str, Any], left_out: int = 0) -> None:
        """Give the file its name; ``left_out`` says how much could not be read."""
        self._writer.finish(make_record(self._job, totals, None, {"first_id": 0, "left_out": left_out}), kept)

    def abort(self) -> None:
        """Leave nothing behind."""
        self._writer.abort()


class FolderSink:
    """The rows of every input file into a file of their own.

    Args:
        outputs: input path -> path of its output.
        results: the columns.
        job: digest of what is done (`job_digest`).
        identities: size and time of change of every input.
        place_of: what is known of an input when it is done: its ``first_id``, and how much was ``left_out``.
    """

    def __init__(
        self,
        outputs: Mapping[str, str],
        results: Results,
        job: str,
        identities: Mapping[str, Mapping[str, Any]],
        place_of: Callable[[str], Mapping[str, int]],
    ) -> None:
        self.outputs_of, self.piece = results.outputs_of, results.piece
        self._outputs = outputs
        self._results = results
        self._job = job
        self._identities = identities
        self._place_of = place_of
        self._writer: _Writer | None = None
        self.finished = 0

    def write(self, split: Split, piece: Any) -> None:
        """Write a piece into the file of the split's path."""
        if self._writer is None:
            self._open(split.path)
        assert self._writer is not None
        self._writer.write(split, piece)

    def end(self, path: str, totals: Totals, kept: Mapping[str, Any] | None = None) -> None:
        """Give the file of ``path`` its name."""
        if self._writer is None:
            self._open(path)
        assert self._writer is not None
        record = make_record(self._job, totals, self._identities[path], self._place_of(path))
        self._writer.finish(record, kept or {})
        self._writer = None
        self.finished += 1

    def abort(self) -> None:
        """Leave nothing of an unfinished file behind; finished ones stay."""
        if self._writer is not None:
            self._writer.abort()

    def _open(self, path: str) -> None:
        output = self._outputs[path]
        with writing(output):
            os.makedirs(os.path.dirname(output), exist_ok=True)
        self._writer = _Writer(output, self._results, overwrite=True)


def job_digest(spec: Spec, **columns: Any) -> str:
    """SHA-256 of everything that decides what the rows of an output are."""
    text = json.dumps({"spec": spec.digest(), **columns}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def make_record(
    job: str, totals: Totals, identity: Mapping[str, Any] | None, place: Mapping[str, int]
) -> dict[str, Any]:
    """What an output says about itself."""
    return {
        "version": VERSION,
        "job": job,
        "spec": totals.spec.to_dict(),
        "input": identity,
        **place,
        "rows": int(totals.tallies.rows.sum()),
        "state": base64.b64encode(zlib.compress(totals.to_bytes(), 6)).decode(),
    }


def read_record(path: str) -> dict[str, Any] | None:
    """What a whole output says about itself; None if it is none of ours or cannot be read."""
    try:
        metadata = pq.read_metadata(path)
        record = json.loads((metadata.metadata or {})[METADATA_KEY])
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return None
    if not isinstance(record, dict) or record.get("version") != VERSION or not isinstance(record.get("first_id"), int):
        return None
    return record if record.get("rows") == metadata.num_rows else None


def totals_of(record: Mapping[str, Any], path: str) -> Totals:
    """The totals of an output's rows; raises StateError if they are damaged."""
    try:
        data = zlib.decompress(base64.b64decode(record["state"], validate=True))
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise StateError(f"{path}: its totals are damaged") from error
    return Totals.from_bytes(data, path)
