"""What numbers of any data obey. Each statistic states the laws of what it gathers; state files are held to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.runs import run_starts
from fastxent.statistics.sums import Exact
from fastxent.statistics.table import Cells
from fastxent.statistics.words import Words

__all__ = ["Law", "amount", "between", "moments", "summed", "together"]

#: What is wrong where it does not hold, and whether it holds, for every owner.
Law = tuple[str, NDArray[np.bool_]]
Numbers = NDArray[np.float64]
#: What sums of rounded terms may be apart.
_SLACK = 1e-9
_TINY = 1e-250
_LOST = 1e-280


def amount(sums: Exact) -> NDArray[np.bool_]:
    """Which sums could be those of numbers of at least 0."""
    fine: NDArray[np.bool_] = np.array(sums.integers >= 0, np.bool_)
    fine &= (sums.special == 0.0) | (sums.special == np.inf)
    return fine


def between(low: Any, values: Any, high: Any, whole: Any = 1.0) -> NDArray[np.bool_]:
    """Whether low * whole <= values <= high * whole, but for rounding; a bound that is NaN is none."""
    with np.errstate(all="ignore"):
        least, most = np.asarray(low * whole, np.float64), np.asarray(high * whole, np.float64)
        sizes = (np.where(np.isfinite(bound), np.abs(bound), 0.0) for bound in (least, most))
        slack = _SLACK * np.maximum(*sizes) + _TINY
        above = np.isnan(least) | (values >= least - slack)
        below = np.isnan(most) | (values <= most + slack)
    return np.asarray(above & below)


def moments(x: Exact, y: Exact, xx: Exact, xy: Exact, yy: Exact, low: Numbers, high: Numbers) -> NDArray[np.bool_]:
    """Whether sums could be those of x, y = r x and of their products, with every r from ``low`` to ``high``.

    The products may have overflowed; an infinite y tells nothing of them.
    """
    with np.errstate(all="ignore"):
        a, b, aa, ab, bb = (sums.rounded for sums in (x, y, xx, xy, yy))
        fine = between(low, b, high, a) & between(low, ab, high, aa) & between(low, bb, high, ab)
        # Of squares below 2^-969 some bits are lost.
        cauchy = ab <= np.sqrt(aa) * np.sqrt(bb + aa * _LOST) * (1.0 + _SLACK) + _TINY
        # The sum of (y - low x) (high x - y), whose terms are at least 0.
        inner = (low * ab - low * high * aa) + (high * ab - bb)
        within = (inner >= -_SLACK * (high * high * aa + bb) - _TINY) | ~np.isfinite(inner)
    return np.asarray((fine & cauchy & within) | ~np.isfinite(a + b + aa + ab + bb))


def summed(cells: Cells, words: Words, owners: int) -> Exact:
    """The exact sums of the numbers of cells by owner."""
    starts = run_starts(cells.owners)
    integers = words.by_owner(cells.owners, owners).as_integers()
    exponents = np.zeros(owners, np.int64)
    if cells.exponents is not None:
        exponents[cells.owners[starts]] = cells.exponents[starts]
    exponents += words.lowest
    lowest = min(int(exponents.min(initial=0)), 0)
    return Exact(integers << (exponents - lowest).astype(object), -lowest, np.zeros(owners))


def together(values: NDArray[Any], owners: NDArray[np.int64], count: int) -> Numbers:
    """The sums of float64 numbers, or of counts below 2^53, by owner; NaN where one is NaN."""
    return np.bincount(owners, weights=values, minlength=count).astype(np.float64)
