"""Sums over clusters of rows that come one after the other: exact, rounded once, most of them many at a time."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base import exact
from fastxent.base.runs import run_starts

__all__ = ["ClusterSums", "edges_of", "rounded_sums"]

Numbers = NDArray[np.float64]

#: Longer runs, and few of them, are summed one by one.
_SHORT, _FEW = 64, 16
#: From here on ``math.fsum`` may overflow on its way.
_LARGE = 2.0**900


class ClusterSums:
    """Sums of y, x and hits over clusters, which come one after the other, each perhaps in several pieces.

    A cluster's sums are exact and rounded once, whichever way it came. `record` gets them.
    """

    def __init__(self) -> None:
        self._open: Any = None
        self._rows = 0
        self._states = exact.empty(3)

    def record(self, y: Numbers, x: Numbers, hits: Numbers) -> None:
        """The sums of whole clusters."""
        raise NotImplementedError

    def add(self, clusters: tuple[NDArray[np.int64], list[Any]], y: Numbers, x: Numbers | None, hits: Numbers) -> None:
        """Add rows and the clusters they belong to (codes and values); without x every row counts 1."""
        codes, values = clusters
        if not len(codes):
            return
        edges = edges_of(codes)
        # What touches an end may have begun in an earlier piece, or go on in a later one.
        self._go_on(values[codes[0]], y, x, hits, slice(0, int(edges[1])))
        if len(edges) == 2:
            return
        self._settle()
        if len(edges) > 3:
            inner = edges[1:-1]
            lengths = np.diff(inner).astype(np.float64)
            sizes = lengths if x is None else rounded_sums(x, inner)
            self.record(rounded_sums(y, inner), sizes, rounded_sums(hits, inner))
        self._go_on(values[codes[-1]], y, x, hits, slice(int(edges[-2]), len(codes)))

    def _go_on(self, name: Any, y: Numbers, x: Numbers | None, hits: Numbers, here: slice) -> None:
        from fastxent.kernels.sums.exact_sums import deposit

        if self._rows and name != self._open:
            self._settle()
        self._open = name
        rows = here.stop - here.start
        for state, values in zip(self._states, (y, x, hits), strict=True):
            deposit(np.ones(rows) if values is None else values[here], rows, state)
        self._rows += rows

    def _settle(self) -> None:
        self.record(*(np.array([exact.rounded_sum(state)]) for state in self._states))
        self._states[:] = 0
        self._rows = 0

    def close(self) -> None:
        """No cluster will follow."""
        if self._rows:
            self._settle()


def edges_of(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where runs of equal neighbours begin, and the end."""
    return np.append(run_starts(codes), len(codes))


def rounded_sums(values: Numbers, edges: NDArray[np.int64]) -> Numbers:
    """The sums of the values between neighbouring edges, none of them empty, each correctly rounded.

    Short runs are summed side by side, with what each addition lost (Knuth's TwoSum). What was lost is summed too, and
    where even that rounds, which takes numbers of very different size, the run is summed again on its own.
    """
    lengths = np.diff(edges)
    sums = np.zeros(len(lengths))
    alone = lengths > _SHORT if len(lengths) > _FEW else np.ones(len(lengths), np.bool_)
    here = np.flatnonzero(~alone)
    if here.size:
        here = here[np.argsort(-lengths[here], kind="stable")]
        found, rounded = _side_by_side(values, edges[:-1][here], lengths[here])
        sums[here] = found
        alone[here[rounded]] = True
    for i in np.flatnonzero(alone).tolist():
        sums[i] = _sum(values[edges[i] : edges[i + 1]])
    return sums


def _side_by_side(
    values: Numbers, starts: NDArray[np.int64], lengths: NDArray[np.int64]
) -> tuple[Numbers, NDArray[np.bool_]]:
    """Sums of runs, the longest first, and which of them may be rounded more than once."""
    total, lost = np.zeros(len(starts)), np.zeros(len(starts))
    rounded = np.zeros(len(starts), np.bool_)
    with np.errstate(all="ignore"):
        for place in range(int(lengths[0])):
            n = int(np.searchsorted(-lengths, -place))  # runs that are longer than this
            total[:n], more = _two_sum(total[:n], values[starts[:n] + place])
            lost[:n], rest = _two_sum(lost[:n], more)
            rounded[:n] |= rest != 0.0
        sums = total + lost
    return sums, rounded | ~np.isfinite(sums)


def _two_sum(a: Numbers, b: Numbers) -> tuple[Numbers, Numbers]:
    """The rounded sum, and what rounding lost."""
    total = a + b
    other = total - a
    return total, (a - (total - other)) + (b - other)


def _sum(values: Numbers) -> float:
    if (np.abs(values) < _LARGE).all():
        return math.fsum(values.tolist())
    from fastxent.kernels.sums.exact_sums import deposit

    state = exact.empty(1)[0]
    deposit(values, len(values), state)
    return exact.rounded_sum(state)
