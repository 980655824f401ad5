"""Groups of a column of numbers by edges: a row is in the bin of the greatest edge that its number reaches."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.errors import UsageError
from fastxent.data.plain_column import plain_column
from fastxent.statistics.options import Bins

__all__ = ["bin_name", "binned", "bins_of", "bottom_of", "inner_quantiles", "named_bins"]

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NAMED = re.compile(rf"(.+):(q[1-9]\d*|{_NUMBER}(?:,{_NUMBER})*)", re.DOTALL)
#: Bins that quantiles may make.
MOST_BINS = 1000
#: Low bits of a float64 that quantiles do not look at: 17 leading bits are left, which says integers up to 2^17.
_ROUGH = 36
#: Values that are gathered before equal ones are put together.
_GATHERED = 1 << 20


def named_bins(name: str) -> tuple[str, Bins | None]:
    """A column, and how it is cut if the name says it: "age:0,18,65", "length:q10"."""
    found = _NAMED.fullmatch(name)
    if found is None:
        return name, None
    column, how = found.groups()
    return column, bins_of(column, how if how[0] == "q" else [float(edge) for edge in how.split(",")])


def bins_of(column: str, how: str | Iterable[float]) -> Bins:
    """The bins that are asked for by edges, or by "q10"; raises UsageError for what are none."""
    if isinstance(how, str):
        parts = int(how[1:]) if re.fullmatch(r"q\d{1,9}", how) else 0
        if not 2 <= parts <= MOST_BINS:
            raise UsageError(
                f"group_by: {column!r} by {how!r}: expected edges, or quantiles such as 'q10' (2 to {MOST_BINS:,} bins)"
            )
        return parts
    try:
        edges = tuple(float(edge) + 0.0 for edge in how)
    except (TypeError, ValueError):
        raise UsageError(f"group_by: {column!r}: expected edges that are numbers, or 'q10', got {how!r}") from None
    if not edges or not all(map(math.isfinite, edges)) or any(a >= b for a, b in pairwise(edges)):
        raise UsageError(f"group_by: {column!r}: edges are finite numbers in rising order, got {list(edges)}")
    return edges


def binned(column: Any, name: str, edges: Sequence[float]) -> Any:
    """A column of numbers -> the least number of the bin of each, -inf below the first edge; nulls and NaN stay."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = plain_column(column)
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    test = pa.types
    if not (test.is_integer(column.type) or test.is_floating(column.type) or test.is_decimal(column.type)):
        if not test.is_null(column.type):
            raise UsageError(f"group_by: column {name!r} is {column.type}; edges and quantiles are of numbers")
    numbers = np.asarray(pc.fill_null(column.cast(pa.float64(), safe=False), math.nan))
    bottoms = np.array([-math.inf, *edges])[np.searchsorted(np.array(edges), numbers, side="right")]
    bottoms = np.where(np.isnan(numbers), math.nan, bottoms)
    return pa.array(bottoms, mask=np.asarray(column.is_null()))


def bin_name(bottom: float, edges: Sequence[float]) -> str:
    """The name of a bin: "< 0", "[0, 18)", ">= 65".

    >>> [bin_name(x, (0.0, 18.0, 65.0)) for x in (-math.inf, 0.0, 18.0, 65.0)]
    ['< 0', '[0, 18)', '[18, 65)', '>= 65']
    """
    if bottom < edges[0]:
        return f"< {_shown(edges[0])}"
    if bottom == edges[-1]:
        return f">= {_shown(bottom)}"
    return f"[{_shown(bottom)}, {_shown(edges[list(edges).index(bottom) + 1])})"


def bottom_of(value: Any, edges: Sequence[float]) -> Any:
    """The bin that a value means, by name or by a number in it, as it is kept."""
    bottoms = (-math.inf, *edges)
    if isinstance(value, str):
        return next((each for each in bottoms if bin_name(each, edges) == value), value)
    if isinstance(value, int | float | np.number) and not isinstance(value, bool) and value == value:
        return bottoms[int(np.searchsorted(np.array(edges), float(value), side="right"))]
    return value


def _shown(edge: float) -> str:
    return str(int(edge)) if edge == int(edge) and abs(edge) < 2.0**53 else repr(edge)


def inner_quantiles(parts: int, blocks: Iterator[NDArray[np.float64]]) -> tuple[float, ...]:
    """The edges between ``parts`` bins of about as many numbers each, in any order; equal edges are one.

    Numbers are cut to 17 leading bits, so that what is kept does not grow with the rows. NaN does not count.
    """
    values, counts = np.zeros(0), np.zeros(0, np.int64)
    waiting: list[NDArray[np.float64]] = []
    for block in blocks:
        waiting.append((block[~np.isnan(block)].view(np.int64) >> _ROUGH << _ROUGH).view(np.float64) + 0.0)
        if sum(map(len, waiting)) >= _GATHERED:
            values, counts = _counted(values, counts, waiting)
            waiting = []
    values, counts = _counted(values, counts, waiting)
    if not len(values):
        return ()
    ends = np.cumsum(counts)
    at = np.searchsorted(ends, [ends[-1] * part // parts for part in range(1, parts)], side="right")
    edges = np.unique(values[at])
    return tuple(edges[np.isfinite(edges) & (edges > values[0])].tolist())


def _counted(
    values: NDArray[np.float64], counts: NDArray[np.int64], more: list[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distinct values and how often each occurs, with more values."""
    every = np.concatenate([values, *more])
    often = np.concatenate([counts, np.ones(len(every) - len(values), np.int64)])
    found, places = np.unique(every, return_inverse=True)
    totals = np.zeros(len(found), np.int64)
    np.add.at(totals, places, often)
    return found, totals
