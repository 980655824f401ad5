"""Standard errors of the mean loss that respect clusters of rows which are not independent."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.base.hashing import GOLDEN, mix
from fastxent.data.spec import Spec
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import group_sums, records
from fastxent.statistics.statistic import FixedSum, KeyedSums, OncePerBatch, Record, Statistic, predicts_class
from fastxent.statistics.units import units_of

__all__ = ["BUCKETS", "MAX_CLUSTERS", "Clusters", "hash_values", "ranks_told", "ratio_error", "ratio_errors"]

#: Up to this many clusters have sums of their own; more share buckets.
MAX_CLUSTERS = 100_000
BUCKETS = 4096
_NULL = -(2**63)
#: Columns: rows, pairs of the weight and the loss, rows whose loss and whose weight is too large to be summed. Then
#: follow pairs of the weight by rank of the target, and, with a column of units, a pair and rows with too many units.
COUNT, WEIGHT, LOSS, LARGE, HEAVY, RANKS = 0, 1, 3, 5, 6, 7
#: Units are summed in these, since rows have more of them than nats.
UNIT_SCALE = 2.0**-10


class _Sums(KeyedSums):
    def crowd(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        return keys & (BUCKETS - 1)


class Clusters(Statistic):
    r"""Count, weight and loss of every cluster, by the 64-bit hash of its id.

    With :math:`e_g = \sum_{i \in g} w_i (L_i - \mu)` over G clusters, the standard error of the mean is
    :math:`\sqrt{\frac{G}{G - 1} \sum_g e_g^2} / W`, the cluster-robust ("sandwich") error of statsmodels. Beyond
    `MAX_CLUSTERS` clusters whole clusters are put together in `BUCKETS` buckets by their hash and the formula runs over
    buckets: still valid, since buckets are independent of each other too, only a little noisier.
    Null ids form one cluster.
    """

    def __init__(self, spec: Spec, column: str, units: str | None = None, told: int = group_sums.RANKS) -> None:
        self.column = column
        self._units = units
        self._weighted = spec.reads_weight
        self.told = min(ranks_told(spec), told)
        self._at_units = RANKS + 2 * self.told
        self.width = self._at_units + (0 if units is None else 3)
        pairs = (WEIGHT, LOSS, *range(RANKS, self._at_units + (units is not None), 2))
        self._sums = _Sums(self.width, MAX_CLUSTERS, pairs)
        self._hashes = OncePerBatch()

    def absorb(self, record: Record) -> None:
        """See `Statistic.absorb`."""
        n, real = record.n, record.card.real
        keys = self._hashes.of(record, lambda extra: hash_values(extra[self.column], self.column))
        weight = real[sc.WEIGHT, :n] if self._weighted else np.ones(n)
        loss = real[sc.SCRATCH, :n] if self._weighted else real[sc.LOSS, :n]
        light, small = weight < 2.0**22, loss < 2.0**22
        cells = np.zeros((n, self._sums.width), np.int64)
        cells[:, COUNT] = 1
        cells[:, WEIGHT], cells[:, WEIGHT + 1] = whole = FixedSum.split(np.where(light, weight, 0.0))
        cells[:, LOSS], cells[:, LOSS + 1] = FixedSum.split(np.where(small, loss, 0.0))
        cells[:, LARGE], cells[:, HEAVY] = ~small, ~light
        rank = record.card.whole[sc.RANK, :n]
        rows = np.flatnonzero(rank < self.told)
        for i, column in enumerate(whole):
            cells[rows, RANKS + 2 * rank[rows] + i] = column[rows]
        if self._units is not None:
            units = units_of(record, self._units) * weight * UNIT_SCALE
            few = units < 2.0**22
            at = self._at_units
            cells[:, at], cells[:, at + 1] = FixedSum.split(np.where(few, units, 0.0))
            cells[:, at + 2] = ~few
        scored = record.scored
        if not scored.all():
            keys, cells = keys[scored], cells[scored]
        self._sums.add(keys, cells)

    def merge(self, other: Clusters) -> None:
        """See `Statistic.merge`."""
        self._sums.merge(other._sums)

    def state(self) -> tuple[Any, list[NDArray[np.int64]]]:
        """See `Statistic.state`."""
        return self._sums.state()

    def load(self, value: Any, arrays: list[NDArray[np.int64]]) -> None:
        """See `Statistic.load`."""
        self._sums.load(value, arrays)

    @property
    def count(self) -> int:
        """Clusters, or the buckets that stand for them."""
        self._sums.settle()
        return len(self._sums.keys)

    @property
    def exact(self) -> bool:
        """Whether every cluster has its own sums."""
        self._sums.settle()
        return not self._sums.overflowed

    def stderr(self) -> float:
        """The cluster-robust standard error of the (weighted) mean loss; NaN below two clusters."""
        return self._stderr_of_ratio((LOSS,), WEIGHT, (LARGE, HEAVY))

    def stderr_of_top(self, k: int) -> float:
        """The same of the accuracy of the first k classes; NaN for ranks that are not told apart."""
        if k > self.told:
            return math.nan
        return self._stderr_of_ratio(range(RANKS, RANKS + 2 * k, 2), WEIGHT, (HEAVY,))

    def stderr_per_unit(self) -> float:
        """The same of the loss per unit."""
        at = self._at_units
        return self._stderr_of_ratio((LOSS,), at, (LARGE, HEAVY, at + 2)) * UNIT_SCALE

    def _stderr_of_ratio(self, above: Iterable[int], below: int, beyond: tuple[int, ...]) -> float:
        """Of the ratio of the sum of the pairs ``above`` to the pair ``below``, if nothing is ``beyond`` summing."""
        self._sums.settle()
        cells = self._sums.cells
        if cells[:, beyond].any():
            return math.nan
        return ratio_error(_joined(cells, below), np.sum([_joined(cells, column) for column in above], axis=0))


def _joined(cells: NDArray[np.int64], column: int) -> NDArray[Any]:
    """A pair as Python integers, in units of 2^-70."""
    return (cells[:, column].astype(object) << 40) + cells[:, column + 1]


def ranks_told(spec: Spec) -> int:
    """How many ranks of the target are told apart in clusters; 0 without a predicted class."""
    if not predicts_class(spec):
        return 0
    return 1 if spec.task == "binary" else min(spec.num_classes, group_sums.RANKS)


def ratio_error(x: NDArray[Any], y: NDArray[Any]) -> float:
    r"""The cluster-robust standard error of :math:`\sum y / \sum x`, of Python integers; NaN below two clusters."""
    return float(ratio_errors(x, y, np.zeros(1, np.int64))[0]) if len(x) else math.nan


def ratio_errors(x: NDArray[Any], y: NDArray[Any], starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """`ratio_error` of the numbers from each start on; every start has some."""
    counts = np.diff(np.append(starts, len(x)))
    total, above = np.add.reduceat(x, starts), np.add.reduceat(y, starts)
    e = y * np.repeat(total, counts) - x * np.repeat(above, counts)
    squares = np.add.reduceat(e * e, starts) * counts
    wholes = (counts - 1) * total**4
    found = [a / b if b else math.nan for a, b in zip(squares.tolist(), wholes.tolist(), strict=True)]
    return np.sqrt(np.array(found, np.float64))


def hash_values(column: Any, name: str) -> NDArray[np.int64]:
    """64-bit hashes of text, or of whole numbers (SplitMix64); the same on every machine."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        hashed = hash_values(column.dictionary, name)
        indices = np.asarray(pc.fill_null(pc.cast(column.indices, pa.int64()), -1))
        return np.where(indices < 0, _NULL, hashed[indices]) if len(hashed) else np.full(len(column), _NULL)
    kind = column.type
    nulls = np.asarray(column.is_null()) if column.null_count else None
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        values = np.asarray(pc.fill_null(column, False if pa.types.is_boolean(kind) else 0))
        wide = values.astype(np.int64 if values.dtype != np.uint64 else np.uint64).view(np.uint64)
        hashed = mix(wide + GOLDEN).view(np.int64)
    elif pa.types.is_nested(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind):
        raise UsageError(f"cluster_by: column {name!r} is {kind}; name a column of ids: text or whole numbers")
    else:
        hashed = _hash_text(column)
    if nulls is not None:
        hashed[nulls] = _NULL
    return hashed


def _hash_text(column: Any) -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    is_bytes = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)
    column = pc.cast(column, pa.large_binary() if is_bytes else pa.large_string())
    _, offsets, data = column.buffers()
    places = np.frombuffer(offsets, np.int64, len(column) + 1, 8 * column.offset)
    text = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    out = np.empty(len(column), np.uint64)
    records.hash_bytes(places, text, out)
    return out.view(np.int64)
