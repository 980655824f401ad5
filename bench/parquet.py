"""Parquet files of every layout that people keep predictions in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench.cases import labels, normals

__all__ = ["LAYOUTS", "predictions_of", "write"]

LAYOUTS = ("list", "fixed-size list", "column a class", "packed")
#: Numbers in a row group: 32 MB of float32, several groups a thread at full size.
GROUP = 8_000_000
#: Name of the column with the labels.
TARGET = "label"


def predictions_of(layout: str, classes: int) -> list[str]:
    """Names of the columns with the logits."""
    return [f"z_{j}" for j in range(classes)] if layout == "column a class" else ["logits"]


def write(path: Path, layout: str, codec: str, rows: int, classes: int, seed: int = 1) -> None:
    """Float32 logits and int64 labels; plain encoding, a row group repeated until there are ``rows``."""
    group = max(1, min(rows, GROUP // classes, -(-rows // 8)))
    table = _table(layout, normals(group, classes, seed), labels(group, classes, seed))
    with pq.ParquetWriter(path, table.schema, compression=codec, use_dictionary=False) as writer:
        for start in range(0, rows, group):
            writer.write_table(table.slice(0, min(group, rows - start)), row_group_size=group)


def _table(layout: str, z: Any, y: Any) -> pa.Table:
    count, classes = z.shape
    flat = pa.array(z.reshape(-1))
    if layout == "column a class":
        columns = {
            name: pa.array(np.ascontiguousarray(z[:, j])) for j, name in enumerate(predictions_of(layout, classes))
        }
    elif layout == "list":
        columns = {"logits": pa.ListArray.from_arrays(pa.array(np.arange(count + 1, dtype=np.int32) * classes), flat)}
    elif layout == "fixed-size list":
        columns = {"logits": pa.FixedSizeListArray.from_arrays(flat, classes)}
    elif layout == "packed":
        kind = pa.binary(4 * classes)
        columns = {"logits": pa.Array.from_buffers(kind, count, [None, pa.py_buffer(z)])}
    else:
        raise ValueError(layout)
    return pa.table(columns | {TARGET: pa.array(y)})
