"""Predictions written in a layout that is read back fast, in files that say what they hold."""

from __future__ import annotations

import os
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self, cast, get_args

import numpy as np
import pyarrow as pa

from fastxent.base.errors import UsageError
from fastxent.base.kinds import KINDS, PATTERNS, Kind
from fastxent.data.spec import Form, Task, check_distinct
from fastxent.sources.arrays.source import as_array, plain_array
from fastxent.storage.layout import Storage, choose_layout, convert_kind, describe_self, is_lossless
from fastxent.storage.parquet_writer import PendingParquet, score_settings

__all__ = ["PredictionWriter"]

TARGET = "target"


class PredictionWriter:
    """Write predictions, batch by batch, to a Parquet file that `fastxent evaluate FILE` reads fast and without flags.

    The file appears when the ``with`` block ends well; an exception inside leaves nothing. Scores are stored
    without nulls, dictionary and compression (they hardly compress, and decode faster), with page checksums.

    Args:
        path: the file to write.
        form: what the scores are: "logits", "probs" or "log_probs".
        num_classes: scores a row; by default those of the first batch.
        class_names: the classes in the order of the scores.
        layout: "columns" (one column a class), "packed" (all scores of a row in one binary column), "list", or
            "auto": columns up to 64 classes, packed beyond (see `fastxent.storage.layout` for what was measured).
        dtype: kind of number to store: "float16", "bfloat16", "float32" or "float64"; by default that of the
            first batch. It also says what arrays of uint16 hold.
        task: "multiclass", "binary" (one score a row) or "multilabel".
        overwrite: replace a file that exists.

    Raises:
        UsageError: an argument is wrong, or the file exists.
        OutputError: the file cannot be written.

    Examples:
        >>> import fastxent as fx, numpy as np, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with fx.PredictionWriter(f"{folder}/preds.parquet", form="logits") as w:
        ...         w.write(np.array([[2.0, 0.0], [0.0, 2.0]], np.float32), target=[0, 0], id=[10, 11])
        ...     print(round(fx.evaluate(f"{folder}/preds.parquet", logits="logit_*", target="target").loss, 6))
        1.126928
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        form: Form = "logits",
        num_classes: int | None = None,
        class_names: Iterable[str] | None = None,
        layout: str = "auto",
        dtype: str | None = None,
        task: Task = "multiclass",
        *,
        overwrite: bool = False,
    ) -> None:
        for name, value, known in (("form", form, get_args(Form)), ("task", task, get_args(Task))):
            if value not in known:
                raise UsageError(f"{name}: expected one of {', '.join(map(repr, known))}, got {value!r}")
        if dtype is not None and dtype not in KINDS:
            raise UsageError(f"dtype: expected one of {', '.join(map(repr, KINDS))}, got {dtype!r}")
        choose_layout(layout, 1)
        self.path = os.fspath(path)
        self._form, self._task, self._layout = form, task, layout
        self._kind = cast("Kind | None", dtype)
        self._class_names = None if class_names is None else [str(name) for name in class_names]
        check_distinct(self._class_names or ())
        if num_classes is None and self._class_names is not None and task != "binary":
            num_classes = len(self._class_names)
        self._num_classes = 1 if task == "binary" else num_classes
        if self._class_names is not None and len(self._class_names) != (2 if task == "binary" else self._num_classes):
            raise UsageError(f"class_names: {len(self._class_names)} names for {self._num_classes} classes")
        self._storage: Storage | None = None
        self.num_rows = 0
        self._file = PendingParquet(self.path, overwrite=overwrite)

    def write(self, scores: Any, target: Any = None, **columns: Any) -> None:
        """Append a batch. The arrays may be reused once this returns.

        Args:
            scores: (n, C) array of the scores (NumPy, torch on the CPU, ...), or (n,) for a binary task.
            target: (n,) class indices, labels or binary targets, or (n, C) target distributions.
            columns: further columns of n: ids, weights, groups; as arrays, sequences or Arrow arrays.

        Raises:
            UsageError: shapes, types or columns differ from those of the first batch.
            OutputError: the file cannot be written.
        """
        if not self._file.is_open:
            raise UsageError(f"{self.path}: the writer is closed")
        values, kind = self._scores(scores)
        if self._storage is None:
            self._begin(kind, values.shape[1])
        assert self._storage is not None
        self._check(values, kind)
        values = convert_kind(values, kind, self._storage.kind)
        beside = dict(columns) if target is None else {TARGET: target, **columns}
        rest = {name: _column(name, value, len(values)) for name, value in beside.items()}
        if target is not None and rest[TARGET].null_count:
            row = self.num_rows + int(np.argmin(rest[TARGET].is_valid().to_numpy(zero_copy_only=False)))
            raise UsageError(f"target: row {row} has none; leave such rows out or give them an ignore_index")
        if self._file.schema is None:
            self._create(rest)
        schema = self._file.schema
        for name in [*(set(schema.names) - set(self._storage.names) ^ set(rest))]:
            what = "is new" if name in rest else "is missing"
            raise UsageError(f"column {name!r} {what}; every batch has the columns of the first one")
        fields = list(schema)[len(self._storage.names) :]
        arrays = [*self._storage.encode(values), *(_as(rest[field.name], field) for field in fields)]
        self._file.write(pa.RecordBatch.from_arrays(arrays, schema=schema))
        self.num_rows += len(values)

    def close(self) -> None:
        """Write what waits and let the file appear.

        Raises:
            UsageError: nothing was written and the number of classes is not known.
            OutputError: the file cannot be written.
        """
        if not self._file.is_open:
            return
        try:
            if self._file.schema is None:
                if self._num_classes is None:
                    raise UsageError(f"{self.path}: no batch was written, and num_classes was not given")
                self._begin("float32", self._num_classes)
                self._create({})
            self._file.finish()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """Leave nothing behind."""
        self._file.abort()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _scores(self, scores: Any) -> tuple[Any, Kind]:
        """Any array of scores as (n, C) carriers, and the kind of number."""
        array, said = as_array(scores, "scores")
        array = np.asarray(array)
        if array.dtype == np.uint16 and said is None:
            said = self._kind if self._kind in PATTERNS else None
            if said is None:
                raise UsageError("scores: uint16 patterns need dtype='bfloat16' or 'float16'")
        kind = said or array.dtype.name
        if kind not in KINDS:
            raise UsageError(f"scores: expected float16, bfloat16, float32 or float64, got {array.dtype}")
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("="))
        if kind in PATTERNS:
            array = array.view(np.uint16)
        if self._task == "binary" and array.ndim == 1:
            array = array.reshape(-1, 1)
        if array.ndim != 2 or array.shape[1] == 0:
            raise UsageError(f"scores: expected shape (n, classes), got {array.shape}")
        return array, cast(Kind, kind)

    def _check(self, values: Any, kind: Kind) -> None:
        assert self._storage is not None
        if values.shape[1] != self._storage.num_classes:
            raise UsageError(f"scores: expected {self._storage.num_classes} a row, got {values.shape[1]}")
        if self._kind is None and not is_lossless(kind, self._storage.kind):
            raise UsageError(
                f"scores: {kind} after a first batch of {self._storage.kind}; say by dtype= which one to store"
            )

    def _begin(self, kind: Kind, width: int) -> None:
        classes = width if self._num_classes is None else self._num_classes
        layout = choose_layout(self._layout, classes)
        self._storage = Storage(self._form, layout, self._kind or kind, classes, binary=self._task == "binary")

    def _create(self, rest: dict[str, Any]) -> None:
        assert self._storage is not None
        fields = list(self._storage.fields)
        for name, array in rest.items():
            if name in self._storage.names:
                raise UsageError(f"column {name!r} has the name of a column of scores; rename it")
            plain = name == TARGET or (array.null_count == 0 and pa.types.is_primitive(array.type))
            fields.append(pa.field(name, array.type, nullable=not plain))
        target = TARGET if TARGET in rest else None
        said = describe_self(self._storage, target=target, class_names=self._class_names, task=self._task)
        schema = pa.schema(fields, metadata=said)
        self._file.begin(schema, **score_settings(schema, self._storage))


def _column(name: str, value: Any, rows: int) -> Any:
    """Anything of n values (or rows of values) as an Arrow array of its own."""
    if isinstance(value, (pa.Array, pa.ChunkedArray)):
        array = value.combine_chunks() if isinstance(value, pa.ChunkedArray) else value
    else:
        try:
            array = _from_numpy(value, name)
        except (pa.ArrowException, TypeError) as error:
            raise UsageError(f"column {name!r} cannot be stored: {error}") from error
    if len(array) != rows:
        raise UsageError(f"column {name!r}: expected {rows} values, one a row, got {len(array)}")
    return array


def _from_numpy(value: Any, name: str) -> Any:
    if isinstance(value, (list, tuple)) and not any(isinstance(item, (list, tuple, np.ndarray)) for item in value):
        return pa.array(value)
    values = np.array(plain_array(value, name), copy=True)
    if values.dtype.kind in "UO":
        return pa.array(values.tolist())
    if values.ndim == 1:
        return pa.array(values)
    if values.ndim != 2:
        raise UsageError(f"column {name!r}: expected shape (n,) or (n, k), got {values.shape}")
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _as(array: Any, field: Any) -> Any:
    if not field.nullable and array.null_count:
        raise UsageError(
            f"column {field.name!r} has nulls, and had none in the first batch; make them values of your own"
        )
    if array.type.equals(field.type):
        return array
    try:
        return array.cast(field.type)
    except pa.ArrowException as error:
        raise UsageError(
            f"column {field.name!r} is {array.type}, and {field.type} in the first batch: {error}"
        ) from error
