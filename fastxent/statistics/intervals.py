"""Standard errors and intervals of ratios and of shares of rows, of many owners at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base.exact import rounded_ratio
from fastxent.statistics.students_t import Z95, half_widths
from fastxent.statistics.sums import Exact

__all__ = ["cluster_errors", "effective_rows", "mean_intervals", "ratio_error", "wilson", "wilson_intervals"]

Numbers = NDArray[np.float64]


def ratio_error(n: NDArray[np.int64], x: Exact, y: Exact, xx: Exact, xy: Exact, yy: Exact) -> Numbers:
    r"""The standard error of R = sum y / sum x over n independent rows, from exact sums of products.

    :math:`\sqrt{\frac{n}{n - 1} \sum (y - R x)^2} / \sum x` (Cochran 1977, section 2.11: a ratio estimator). NaN below
    two rows, over nothing, and where not all is finite.
    """
    bits = max(each.bits for each in (x, y, xx, xy, yy))
    count, w, total, ww, wy, yy_ = n.astype(object), *(each.at(bits) for each in (x, y, xx, xy, yy))
    above = np.maximum(count * (w * w * yy_ - 2 * total * w * wy + total * total * ww), 0)
    squares = rounded_ratio(above << bits, (count - 1) * w**4)
    fine = x.is_finite & y.is_finite & xx.is_finite & xy.is_finite & yy.is_finite
    return np.where(fine, np.sqrt(squares), math.nan)


def cluster_errors(x: NDArray[Any], y: NDArray[Any], starts: NDArray[np.int64]) -> Numbers:
    r"""The cluster-robust standard error of :math:`\sum y / \sum x` of every owner, from Python integers a cluster.

    With :math:`e_g = y_g - R x_g` over G clusters, :math:`\sqrt{\frac{G}{G - 1} \sum_g e_g^2} / \sum x`, the "sandwich"
    error of statsmodels; NaN below two clusters. Clusters of an owner are those from each start on to the next.
    """
    counts = np.diff(np.append(starts, len(x)))
    total, above = np.add.reduceat(x, starts), np.add.reduceat(y, starts)
    e = y * np.repeat(total, counts) - x * np.repeat(above, counts)
    squares = np.add.reduceat(e * e, starts) * counts
    errors: Numbers = np.sqrt(rounded_ratio(squares, (counts - 1) * total**4))
    return errors


def mean_intervals(mean: Numbers, error: Numbers, independent: NDArray[Any]) -> tuple[Numbers, Numbers]:
    r"""The 95 % intervals of means that cannot be below 0, :math:`\mu \mp t_{0.975, m - 1} s`, the lower end cut at 0.

    ``independent``: how many rows, or clusters, each error rests on (m). Such an interval takes the mean for normal,
    which few rows of skewed losses are not: where most of the loss sits in rare rows it covers less than 95 %.
    """
    half = half_widths(independent - 1) * error
    return np.maximum(mean - half, 0.0), mean + half


def wilson(share: float, n: float) -> tuple[float, float]:
    """The 95 % interval of Wilson (1927) for a share of n trials; n may be an effective number of trials."""
    low, high = wilson_intervals(np.array([share]), np.array([n]))
    return float(low[0]), float(high[0])


def wilson_intervals(share: Numbers, n: Numbers) -> tuple[Numbers, Numbers]:
    """`wilson` of many shares."""
    known = (n > 0.0) & ~np.isnan(share)
    share, n = np.where(known, share, math.nan), np.where(known, n, 1.0)
    z2 = Z95 * Z95
    middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n)
    half = Z95 / (1.0 + z2 / n) * np.sqrt(share * (1.0 - share) / n + z2 / (4.0 * n * n))
    return np.maximum(0.0, middle - half), np.minimum(1.0, middle + half)


def effective_rows(share: Numbers, stderr: Numbers, rows: Numbers, clusters: NDArray[np.int64]) -> Numbers:
    """How many independent rows would give a share this standard error; at most ``rows``, those there are.

    Kish's effective sample size, n / deff, where deff is the squared error over p (1 - p) / (n - 1), that of n
    independent rows (Korn and Graubard 1998 put it in the interval of a share). Where the share is 0 or 1 the error
    says nothing, and every cluster counts as one row. Few clusters leave few degrees of freedom, for which the number
    shrinks by (z / t)^2, as Korn and Graubard have it. NaN without an error.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        effective = rows * share * (1.0 - share) / ((rows - 1.0) * stderr * stderr)
        effective = np.minimum(rows, effective * (half_widths(rows - 1.0) / half_widths(clusters - 1)) ** 2)
    effective = np.where((stderr == 0.0) | (rows <= 1.0), rows, effective)
    effective = np.where((share == 0.0) | (share == 1.0), np.minimum(clusters, rows), effective)
    return np.where(np.isnan(stderr) | np.isnan(share), math.nan, effective)
