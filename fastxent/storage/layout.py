"""How scores are stored in Parquet: the three layouts, numbers narrowed or widened, and what a file says of itself.

Which layout is fast was measured with pyarrow 26 (one thread, float32, no compression, page checksums; GB/s
of reading on a busy machine): one column a class 1.5 at 3 classes, 1.2 at 10, 0.75 at 64, 0.6 at 128, 0.28 at
1000; packed bytes 1.1 to 2.7 whatever their number; lists 0.2. Up to `COLUMN_CLASSES` a column a class costs little,
is understood by every tool, and has the shape that the kernels like best for few classes. Beyond that, packed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import pyarrow as pa

from fastxent.base.errors import UsageError
from fastxent.base.kinds import KINDS, Kind, as_floats
from fastxent.data.spec import Form
from fastxent.sources.decode.runs import is_list

__all__ = [
    "COLUMN_CLASSES",
    "METADATA_KEY",
    "Layout",
    "Storage",
    "choose_layout",
    "convert_kind",
    "describe_self",
    "is_lossless",
    "leaves",
]

Layout = Literal["packed", "columns", "list"]

#: Up to this many classes "auto" means a column a class.
COLUMN_CLASSES = 64
#: The file's own description, which `fastxent.sources.dataset.metadata` reads.
METADATA_KEY = b"fastxent"
_ONE: dict[str, str] = {"logits": "logit", "probs": "prob", "log_probs": "log_prob"}


def choose_layout(layout: str, num_classes: int) -> Layout:
    """The layout that "auto" means for this many classes.

    Raises:
        UsageError: there is no such layout.
    """
    if layout == "auto":
        return "columns" if num_classes <= COLUMN_CLASSES else "packed"
    if layout not in ("packed", "columns", "list"):
        raise UsageError(f"layout: expected 'auto', 'packed', 'columns' or 'list', got {layout!r}")
    return cast(Layout, layout)


def is_lossless(have: str, want: str) -> bool:
    """Whether every value of the kind ``have`` is one of the kind ``want``."""
    return want in KINDS[have].wider


def convert_kind(values: Any, have: Kind, want: Kind) -> Any:
    """Scores of one kind as another, rounded to nearest; values as their carriers (see `KINDS`).

    Raises:
        UsageError: a finite number becomes infinite.
    """
    if have == want:
        return values
    wide = as_floats(np.asarray(values), have)
    with np.errstate(over="ignore"):
        if want == "bfloat16":
            narrow = _to_bfloat16(wide)
        elif want == "float16":
            narrow = wide.astype(np.float16).view(np.uint16)
        else:
            narrow = wide.astype(KINDS[want].carrier)
    if not is_lossless(have, want):
        burst = np.isinf(as_floats(narrow, want)) & np.isfinite(wide)
        if burst.any():
            raise UsageError(f"dtype={want!r} cannot hold {float(wide[burst].flat[0])!r}; choose a wider one")
    return narrow


def _to_bfloat16(values: Any) -> Any:
    """The nearest bfloat16, ties to even; float64 by way of a float32 rounded to odd, so that it rounds once."""
    with np.errstate(over="ignore"):
        single = np.asarray(values, np.float32)
    bits = single.view(np.uint32)
    if values.dtype == np.float64:
        inexact = (single.astype(np.float64) != values) & ~np.isnan(values) & np.isfinite(single)
        # step back towards zero where the rounding went up, then set the last bit
        up = inexact & (np.abs(single.astype(np.float64)) > np.abs(values))
        bits = np.where(inexact, (bits - up.astype(np.uint32)) | 1, bits).astype(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(single), np.uint16(0x7FC0), rounded).astype(np.uint16)


@dataclass(frozen=True, slots=True)
class Storage:
    """Where the scores of a row go: names, types and layout of their columns.

    Attributes:
        form: what the scores are; None where nobody said.
        layout: how they are stored.
        kind: kind of number.
        num_classes: scores a row.
        binary: one score a row, in a plain column.
        nullable: rows may have no scores.
        base: name of the column that holds all scores; of several, what stands before the number of the class.
        own_names: names of the columns of a class each, if they have names of their own.
    """

    form: Form | None
    layout: Layout
    kind: Kind
    num_classes: int
    binary: bool = False
    nullable: bool = False
    base: str | None = None
    own_names: tuple[str, ...] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The columns of the scores."""
        whole, one = self.form or "scores", _ONE.get(self.form or "", "score")
        if self.binary:
            return (self.base or one,)
        if self.layout != "columns":
            return (self.base or whole,)
        return self.own_names or tuple(f"{self.base or one}_{i}" for i in range(self.num_classes))

    @property
    def fields(self) -> list[Any]:
        """Their Arrow fields."""
        kind = _arrow_type(self.kind)
        if not self.binary and self.layout == "packed":
            kind = pa.binary(self.num_classes * KINDS[self.kind].size)
        elif not self.binary and self.layout == "list":
            kind = pa.list_(pa.field("element", kind, nullable=False), self.num_classes)
        return [pa.field(name, kind, nullable=self.nullable) for name in self.names]

    def encode(self, values: Any, missing: Any = None) -> list[Any]:
        """(n, C) scores, as carriers, to the Arrow arrays of the columns. ``missing`` marks rows without scores.

        The arrays hold a copy, never a view of ``values``.
        """
        rows = len(values)
        absent = None if missing is None or not missing.any() else _bitmap(~missing)
        kinds = [field.type for field in self.fields]
        if self.binary or self.layout == "columns":
            turned = np.array(np.asarray(values).T, order="C", copy=True)
            return [
                pa.Array.from_buffers(kind, rows, [absent, pa.py_buffer(column)])
                for kind, column in zip(kinds, turned, strict=True)
            ]
        data = pa.py_buffer(np.array(values, order="C", copy=True).reshape(-1))
        if self.layout == "packed":
            return [pa.Array.from_buffers(kinds[0], rows, [absent, data])]
        flat = pa.Array.from_buffers(_arrow_type(self.kind), rows * self.num_classes, [None, data])
        return [pa.Array.from_buffers(kinds[0], rows, [absent], children=[flat])]


def _arrow_type(kind: str) -> Any:
    return pa.type_for_alias(KINDS[kind].arrow)


def _bitmap(valid: Any) -> Any:
    return pa.py_buffer(np.packbits(valid, bitorder="little"))


def describe_self(
    storage: Storage, *, target: str | None, class_names: Sequence[str] | None, task: str | None
) -> dict[bytes, bytes]:
    """The metadata by which `fastxent evaluate FILE` needs no flags."""
    said: dict[str, Any] = {
        "version": 1,
        "form": storage.form,
        "predictions": list(storage.names),
        "target": target,
        "class_names": None if class_names is None else list(class_names),
        "task": task,
        "dtype": storage.kind,
    }
    return {METADATA_KEY: json.dumps({key: value for key, value in said.items() if value is not None}).encode()}


def leaves(path: str, kind: Any) -> Iterator[str]:
    """The Parquet columns that a column of an Arrow type becomes."""
    if isinstance(kind, pa.BaseExtensionType):
        yield from leaves(path, kind.storage_type)
    elif pa.types.is_struct(kind):
        for child in kind:
            yield from leaves(f"{path}.{child.name}", child.type)
    elif pa.types.is_map(kind):
        yield from leaves(f"{path}.key_value.key", kind.key_type)
        yield from leaves(f"{path}.key_value.value", kind.item_type)
    elif is_list(kind):
        yield from leaves(f"{path}.list.element", kind.value_type)
    else:
        yield path
