"""The columns of per-row results: one row for every row of the input, with the columns that were kept.

A row that was not scored has nulls for scores, and its status says why.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from fastxent.base.errors import UsageError
from fastxent.base.log_unit import NATS, Unit
from fastxent.base.status import Status
from fastxent.data.batch import Batch
from fastxent.data.plain_column import plain_column
from fastxent.data.spec import Spec
from fastxent.kernels.block_loop import Outputs, no_outputs

__all__ = ["RowColumns"]

_STATUS_NAMES = pa.array([status.name.lower() for status in Status])
#: Types whose values lie apart from the rows.
_APART = (pa.types.is_run_end_encoded, pa.types.is_string_view, pa.types.is_binary_view)
_ENCODED = ("predicted", "predicted_name", "rank", "status")


class RowColumns:
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
    """A kept column that outlives its batch, with its values in its rows: each batch may have another dictionary."""
    assert batch.extra is not None
    array = batch.extra[name]
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    if isinstance(array, pa.DictionaryArray):
        array = plain_column(array).dictionary_decode()
    return plain_column(array) if any(is_apart(array.type) for is_apart in _APART) else array
