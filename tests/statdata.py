"""The real predictions in data/, as arrays, and evaluations of them that several tests look at."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import fastxent as fx

DATA = Path(__file__).parent.parent / "data"
DIGITS, BREAST = str(DATA / "digits.parquet"), str(DATA / "breast_cancer.parquet")


@cache
def table(path: str) -> Any:
    return pq.read_table(path)


def column(path: str, name: str) -> np.ndarray[Any, Any]:
    values = table(path).column(name).combine_chunks()
    if hasattr(values.type, "list_size"):
        return values.flatten().to_numpy().reshape(len(values), -1)
    return values.to_numpy(zero_copy_only=False)


@cache
def digits() -> tuple[Any, Any, Any]:
    """Labels, float64 probabilities from the float32 logits, and row losses."""
    y, z = column(DIGITS, "label").astype(int), column(DIGITS, "logits").astype(np.float64)
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p = e / e.sum(axis=1, keepdims=True)
    return y, p, np.logaddexp.reduce(z, axis=1) - z[np.arange(len(y)), y]


@cache
def breast() -> tuple[Any, Any, Any]:
    """Labels, float64 probabilities of class 1 from the float32 logits, and row losses."""
    y, z = column(BREAST, "label").astype(int), column(BREAST, "logit").astype(np.float64)
    return y, 1.0 / (1.0 + np.exp(-z)), np.logaddexp(0.0, np.where(y == 1, -z, z))


@cache
def weights(rows: int) -> Any:
    return np.random.default_rng(7).integers(1, 6, rows).astype(np.float64)


@cache
def evaluated(name: str, weighted: bool = False, **options: Any) -> fx.Evaluation:
    """The digits or the breast-cancer predictions, scored from their logits."""
    binary = name == "breast"
    data = table(BREAST if binary else DIGITS)
    if weighted:
        data = data.append_column("w", [weights(len(data))])
        options["weight"] = "w"
    logits = "logit" if binary else "logits"
    return fx.evaluate(data, logits=logits, target="label", task="binary" if binary else "multiclass", **options)
