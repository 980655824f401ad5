"""Named data in memory: shapes, kinds of numbers and targets, the same bits on every machine.

Tests may use the same table with a small ``scale``.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["CASES", "Case", "Data", "labels", "normals", "probabilities", "scaled_rows"]

Task = Literal["labels", "soft", "probs", "binary", "multilabel"]

#: Numbers made from one seed. Small enough for the cache, and the unit of work of a thread.
BLOCK = 1 << 22
#: What training adds to the logit of the target in "trained" cases: nearly all rows are confident and right.
TRAINED = 12.0


@dataclass(frozen=True, slots=True)
class Data:
    """Predictions and targets of one case, as every contender gets them."""

    task: Task
    predictions: Any
    target: Any

    @property
    def nbytes(self) -> int:
        """Bytes of the predictions, and of targets that have the same shape."""
        dense = self.target.nbytes if self.task in ("soft", "binary", "multilabel") else 0
        return int(self.predictions.nbytes + dense)

    @property
    def rows(self) -> int:
        """Rows."""
        return len(self.predictions)

    def head(self, rows: int) -> Data:
        """The first rows, as views."""
        return Data(self.task, self.predictions[:rows], self.target[:rows])


@dataclass(frozen=True, slots=True)
class Case:
    """A named shape with its kind of numbers; ``make`` generates it."""

    name: str
    rows: int
    classes: int
    task: Task = "labels"
    dtype: str = "float32"
    trained: bool = False

    def make(self, scale: float = 1.0, seed: int = 1) -> Data:
        """The data, with ``scale`` times the rows."""
        rows = scaled_rows(self.rows, scale)
        if self.task == "binary":
            logits = normals(rows, 1, seed)[:, 0]
            target = (normals(rows, 1, seed + 1)[:, 0] > 0).astype(np.float32)
            return Data(self.task, logits, target)
        logits = normals(rows, self.classes, seed)
        if self.task == "multilabel":
            target = np.empty(logits.shape, np.float32)
            for part in _row_blocks(rows, self.classes):
                np.greater(normals(part.stop - part.start, self.classes, seed + 1 + part.start), 1.0, out=target[part])
            return Data(self.task, logits, target)
        if self.task == "soft":
            return Data(self.task, logits, probabilities(normals(rows, self.classes, seed + 1)))
        label = labels(rows, self.classes, seed)
        if self.trained:
            logits[np.arange(rows), label] += np.float32(TRAINED)
        if self.task == "probs":
            return Data(self.task, probabilities(logits), label)
        return Data(self.task, _as_kind(logits, self.dtype), label)


def scaled_rows(rows: int, scale: float) -> int:
    """``scale`` times the rows, and at least 16."""
    return max(16, round(rows * scale))


def normals(rows: int, columns: int, seed: int) -> Any:
    """Float32 N(0, 1), drawn by blocks of their own seeds, so that threads cannot be seen in the numbers."""
    flat = np.empty(rows * columns, np.float32)

    def fill(start: int) -> None:
        np.random.default_rng([seed, start // BLOCK]).standard_normal(dtype=np.float32, out=flat[start : start + BLOCK])

    with ThreadPoolExecutor() as pool:
        list(pool.map(fill, range(0, len(flat), BLOCK)))
    return flat.reshape(rows, columns)


def labels(rows: int, classes: int, seed: int) -> Any:
    """Uniform int64 labels, the type that torch wants."""
    return np.random.default_rng([seed, 7]).integers(0, classes, rows)


def probabilities(logits: Any) -> Any:
    """Softmax of the rows, in place and by blocks."""
    for part in _row_blocks(*logits.shape):
        z = logits[part]
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
    return logits


def _row_blocks(rows: int, columns: int) -> list[slice]:
    step = max(1, BLOCK // columns)
    return [slice(start, min(rows, start + step)) for start in range(0, rows, step)]


def _as_kind(logits: Any, dtype: str) -> Any:
    if dtype == "bfloat16":
        import ml_dtypes

        return logits.astype(ml_dtypes.bfloat16)
    return logits.astype(dtype, copy=False)


_SHAPES = [
    ("10M x 10", 10_000_000, 10),
    ("2M x 100", 2_000_000, 100),
    ("200k x 1000", 200_000, 1000),
    ("2k x 128000", 2000, 128_000),
]

CASES = (
    *(Case(name, rows, classes) for name, rows, classes in _SHAPES),
    *(Case(f"{name} trained", rows, classes, trained=True) for name, rows, classes in _SHAPES),
    Case("binary 100M", 100_000_000, 1, "binary"),
    *(Case(f"2M x 100 {kind}", 2_000_000, 100, dtype=kind) for kind in ("float16", "bfloat16", "float64")),
    Case("soft targets 200k x 100", 200_000, 100, "soft"),
    Case("probabilities 2M x 100", 2_000_000, 100, "probs"),
    Case("multilabel 1M x 80", 1_000_000, 80, "multilabel"),
)
