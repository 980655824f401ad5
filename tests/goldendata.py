"""The data that golden files are made of: the same bits on every machine.

Numbers come from a counter that is mixed by integer arithmetic (splitmix64) and are integers or dyadic rationals.
Exponentials and logarithms of the predictions in ``data/`` are those of `decimal`, which rounds correctly, unlike the
libraries that NumPy calls.
"""

from __future__ import annotations

from decimal import Context, Decimal
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tests.statdata import BREAST, DIGITS, column, table

#: Enough digits that rounding them to float64 hardly ever differs from rounding once; the same everywhere in any case.
_EXACT = Context(prec=30)


def integers(seed: int, shape: int | tuple[int, ...], low: int, high: int) -> NDArray[np.int64]:
    """Integers of [low, high) from splitmix64, with a counter that starts at a multiple of the seed."""
    count = int(np.prod(shape))
    z = (np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)) % np.uint64(high - low)).astype(np.int64).reshape(shape) + low


def dyadic(seed: int, shape: int | tuple[int, ...], low: int, high: int, unit: int) -> NDArray[np.float64]:
    """Such integers over a power of two."""
    return integers(seed, shape, low, high) / float(unit)


def parts(seed: int, rows: int, classes: int, unit: int, least: int = 0) -> NDArray[np.float64]:
    """Distributions over classes whose probabilities are multiples of 1 / unit, and of least / unit at least."""
    free = unit - classes * least
    cuts = np.sort(integers(seed, (rows, classes - 1), 0, free + 1), axis=1)
    edges = np.concatenate([np.zeros((rows, 1), np.int64), cuts, np.full((rows, 1), free)], axis=1)
    return (np.diff(edges, axis=1) + least) / float(unit)


def exp(values: Any) -> NDArray[np.float64]:
    """e^x, rounded correctly."""
    found = [float(_EXACT.exp(Decimal(float(x)))) for x in np.ravel(values)]
    return np.array(found).reshape(np.shape(values))


def log(values: Any) -> NDArray[np.float64]:
    """The natural logarithm, rounded correctly; -inf of 0."""
    found = [float(_EXACT.ln(Decimal(float(x)))) if x else -np.inf for x in np.ravel(values)]
    return np.array(found).reshape(np.shape(values))


def lists(values: NDArray[Any]) -> Any:
    """A matrix as an Arrow column of lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _beside(rows: int, columns: dict[str, Any]) -> dict[str, Any]:
    """Columns for weights, groups, clusters and units; weights are 0 now and then, groups null."""
    site = np.array(["north", "south", "east", None], object)[integers(2, rows, 0, 4)]
    return columns | {
        "w": dyadic(1, rows, 0, 17, 8),
        "site": pa.array(site.tolist(), pa.string()),
        "year": integers(3, rows, 2019, 2022),
        "doc": np.arange(rows) // 7,
        "words": integers(4, rows, 1, 40),
    }


@cache
def digits() -> Any:
    """``data/digits.parquet`` with the float32 logits, and float64 probabilities and log-probabilities made of them."""
    logits = column(DIGITS, "logits").astype(np.float64)
    moved = logits - logits.max(axis=1, keepdims=True)
    powers = exp(moved)
    sums = np.zeros(len(powers))
    for j in range(powers.shape[1]):  # in this order everywhere
        sums += powers[:, j]
    found = {
        "logits": lists(column(DIGITS, "logits")),
        "probs": lists(powers / sums[:, None]),
        "log_probs": lists(moved - log(sums)[:, None]),
    }
    found |= {name: table(DIGITS).column(name) for name in ("id", "label", "fold", "ink")}
    return pa.table(_beside(len(logits), found))


@cache
def breast() -> Any:
    """``data/breast_cancer.parquet``, likewise: the score of class 1."""
    logit = column(BREAST, "logit").astype(np.float64)
    small = exp(-np.abs(logit))
    prob = np.where(logit > 0, 1.0, small) / (1.0 + small)
    found = {"logits": column(BREAST, "logit"), "probs": prob, "log_probs": log(prob)}
    found |= {name: table(BREAST).column(name) for name in ("id", "label", "fold", "radius")}
    return pa.table(_beside(len(logit), found))


@cache
def multilabel() -> Any:
    """Seven labels a row, some masked; a few probabilities are 0 or 1."""
    rows, labels = 600, 7
    logits = integers(10, (rows, labels), -1500, 1500)
    found = {
        "logits": lists((logits / 256.0).astype(np.float32)),
        "probs": lists(np.clip(logits + 1480, 0, 2960).clip(0, 2048) / 2048.0),
        "label": lists((logits + integers(11, (rows, labels), -900, 900) > 0).astype(np.int8)),
        "mask": lists(integers(12, (rows, labels), 0, 8) > 0),
        "id": np.arange(rows),
    }
    return pa.table(_beside(rows, found))


@cache
def soft() -> Any:
    """Five classes, with distributions as targets in every form."""
    rows, classes = 500, 5
    probs, target = parts(20, rows, classes, 4096, least=1), parts(21, rows, classes, 64)
    found = {
        "logits": lists(dyadic(22, (rows, classes), -700, 700, 128)),
        "probs": lists(probs),
        "log_probs": lists(log(probs)),
        "label": lists(target),
        "label_logits": lists(dyadic(23, (rows, classes), -300, 300, 64)),
        "label_log_probs": lists(log(target)),
        "id": np.arange(rows),
    }
    return pa.table(_beside(rows, found))


@cache
def topk() -> Any:
    """The five likeliest of 50 classes; the target is one of them in most rows."""
    rows, classes, k = 400, 50, 5
    first = integers(30, rows, 0, classes)
    ids = (first[:, None] + np.array([0, 7, 15, 22, 31])) % classes
    probs = -np.sort(-parts(31, rows, k + 1, 1024, least=1)[:, :k], axis=1)
    place = integers(32, rows, 0, 8)
    label = np.where(place < k, ids[np.arange(rows), np.minimum(place, k - 1)], integers(33, rows, 0, classes))
    found = {"ids": lists(ids), "probs": lists(probs), "label": label, "id": np.arange(rows)}
    return pa.table(_beside(rows, found))


@cache
def wide() -> Any:
    """So many classes that there is no full confusion matrix."""
    rows, classes = 240, 1200
    label = integers(40, rows, 0, classes)
    logits = integers(41, (rows, classes), -512, 512)
    logits[np.arange(rows), label] += integers(42, rows, 0, 1024)
    found = {"logits": lists((logits / 128.0).astype(np.float32)), "label": label, "id": np.arange(rows)}
    return pa.table(_beside(rows, found))


@cache
def broken() -> Any:
    """The digits with rows that cannot be scored: one of every cause and some more."""
    data = digits().slice(0, 400)
    logits = np.array(data["logits"].combine_chunks().flatten()).reshape(-1, 10).copy()
    logits[[5, 50], 3] = np.nan
    logits[7, 2] = np.inf
    logits[9] = -np.inf
    logits[11, [0, 4, 8]] = -np.inf  # some classes are masked: a row like others
    label: list[int | None] = data["label"].to_pylist()
    label[13], label[15], label[16] = 10, -1, None
    weight = np.array(data["w"]).copy()
    weight[17], weight[18] = -1.0, np.nan
    values = {"logits": lists(logits), "label": pa.array(label, pa.int64()), "w": weight}
    for name, column_ in values.items():
        data = data.set_column(data.schema.get_field_index(name), name, pa.array(column_))
    return data


@cache
def uneven() -> Any:
    """Probabilities of the digits that do not sum to 1; one of them is of a target, and 0."""
    data = digits().slice(0, 600)
    probs = np.array(data["probs"].combine_chunks().flatten()).reshape(-1, 10)
    probs = probs * dyadic(50, (600, 1), 6, 9, 8).clip(0, 1)
    probs[3, int(data["label"][3].as_py())] = 0.0
    return data.set_column(data.schema.get_field_index("probs"), "probs", lists(probs))
