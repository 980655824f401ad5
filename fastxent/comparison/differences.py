"""What pairs of rows say: exact sums of their differences, whole or by cluster, and what is read off them.

With L_A and L_B the losses of a row under the two models, everything is read off d = fl(L_A - L_B), one number a row.
With weights a row counts as y = fl(s d) over x, where s is its sample weight and x that times its class weight (which L
holds already): mean = sum y / sum x, as the loss of either side. Without, s = x = 1. Sums are exact, so the result does
not depend on the order of rows, chunks or threads.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastxent.base import exact
from fastxent.base.errors import UsageError
from fastxent.base.log_unit import Unit
from fastxent.comparison.cluster_sums import ClusterSums, edges_of
from fastxent.comparison.sign_flip import Permutation
from fastxent.comparison.significance import mcnemar_p
from fastxent.statistics.students_t import t_quantile, t_two_sided

__all__ = ["Difference", "McNemar", "Outcome", "PairSums", "Paired", "Pairing", "difference", "runs"]

#: Statistics that summaries show of those that have a difference, where they are there.
SHOWN = ("auc", "f1", "f1_macro", "mcc", "ece")


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean of a paired difference A - B, and how sure it is.

    ``stderr`` is the standard error of the mean, from single rows or from clusters; the 95 % interval and the
    two-sided ``p_value`` are Student's with ``df`` degrees of freedom (rows, or clusters, less one).
    """

    mean: float
    stderr: float
    ci_low: float
    ci_high: float
    t: float
    df: int
    p_value: float


@dataclass(frozen=True, slots=True)
class Paired:
    """A statistic of both models over the rows that were compared, and its difference A - B."""

    a: float
    b: float
    delta: Difference


@dataclass(frozen=True, slots=True)
class McNemar:
    """Rows by who is right, and the two-sided p-value of McNemar's test, exact or by chi-square."""

    both: int
    only_a: int
    only_b: int
    neither: int
    p_value: float
    method: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the pairs of rows say, of all of them or of one group.

    ``delta`` is the difference of the losses, A - B: positive where B is better. ``accuracy_delta`` is the difference
    of the accuracies, also A - B: negative where B is better. ``wins`` counts the rows on which a side has the lower
    loss. Losses that predict no class have no accuracy and no McNemar test. With weights (``weight_sum``) means and
    differences are weighted; ``wins`` and McNemar's test count rows. ``permutation`` is the sign-flip test of the loss
    difference, where one was asked for. ``statistics`` are AUC, F1, MCC, ECE and the like by name, with their
    differences (`fastxent.comparison.paired_statistics`).
    """

    rows: int
    loss: dict[str, float]
    delta: Difference
    wins: dict[str, int]
    accuracy: dict[str, float] | None = None
    accuracy_delta: Difference | None = None
    mcnemar: McNemar | None = None
    clusters: int | None = None
    weight_sum: float | None = None
    permutation: Permutation | None = None
    statistics: dict[str, Paired] = field(default_factory=dict)

    def difference(self, name: str) -> Difference:
        """The difference A - B of a statistic: "loss", "accuracy", or one of ``statistics``.

        Raises:
            UsageError: there is no difference of this name; the message says of which there is one.
        """
        found = {"loss": self.delta} | ({} if self.accuracy_delta is None else {"accuracy": self.accuracy_delta})
        found |= {each: paired.delta for each, paired in self.statistics.items()}
        if name not in found:
            raise UsageError(f"there is no difference of {name!r}; there are those of {', '.join(found)}")
        return found[name]

    @property
    def shown_statistics(self) -> list[tuple[str, Paired]]:
        """Those of ``statistics`` that summaries show."""
        return [(name, each) for name, each in self.statistics.items() if name in SHOWN]

    def to(self, unit: Unit) -> Outcome:
        """With the losses, which are in nats, in another unit."""
        delta = unit.fields(self.delta, ("mean", "stderr", "ci_low", "ci_high"))
        return replace(self, loss={side: unit.of(loss) for side, loss in self.loss.items()}, delta=delta)

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        found: dict[str, Any] = {
            name: _fields(getattr(self, name)) for name in self.__dataclass_fields__ if name != "statistics"
        }
        for name, paired in self.statistics.items():
            found |= {name: {"a": paired.a, "b": paired.b}, f"{name}_delta": _fields(paired.delta)}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Pairing:
    """Pairs of rows: losses, who is right, and the weights s and x (see the module) where there are some."""

    la: NDArray[np.float64]
    lb: NDArray[np.float64]
    ca: NDArray[np.bool_]
    cb: NDArray[np.bool_]
    s: NDArray[np.float64] | None = None
    x: NDArray[np.float64] | None = None

    def cut(self, lo: int, hi: int) -> Pairing:
        """Some of the pairs."""
        s, x = (None if v is None else v[lo:hi] for v in (self.s, self.x))
        return Pairing(self.la[lo:hi], self.lb[lo:hi], self.ca[lo:hi], self.cb[lo:hi], s, x)

    @property
    def y(self) -> NDArray[np.float64]:
        """The differences of the losses, times s; of a row of weight 0, 0."""
        with np.errstate(invalid="ignore"):
            return self.weigh(self.la - self.lb)

    def weigh(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Values times s; 0 where s is, whatever they are."""
        if self.s is None:
            return values
        with np.errstate(invalid="ignore"):
            return np.where(self.s > 0.0, self.s * values, 0.0)


def runs(codes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of equal neighbours."""
    return itertools.pairwise(edges_of(codes).tolist())


class PairSums:
    """Exact sums over pairs of rows. ``clustered`` ones must be added cluster by cluster.

    ``classes``: whether the losses are of rows that have a predicted class. ``power``: with weights the power of two
    that was taken out of them, so that none of their products is too large or too small.
    """

    def __init__(self, *, clustered: bool = False, power: int | None = None, classes: bool = True) -> None:
        self._power, self._classes = power, classes
        self._sums = exact.empty(4)  # y, y^2, losses of A, of B
        self._weights = exact.empty(3)  # x, x^2, x y; without weights empty
        self._hits = exact.empty(2)  # x where A is right, where B is, and likewise empty
        self._hit_squares = exact.empty(2)  # x^2 where only A is right, where only B is
        self._right = np.zeros((2, 2), np.int64)
        self._wins = {"a": 0, "b": 0, "ties": 0}
        self._clusters = _Spread() if clustered else None

    def add(self, pairs: Pairing, clusters: tuple[NDArray[np.int64], list[Any]] | None = None) -> None:
        """Add pairs, and the clusters they belong to (codes and values)."""
        from fastxent.kernels.sums.exact_sums import deposit, deposit_product

        y, n = pairs.y, len(pairs.la)
        deposit(y, n, self._sums[0])
        deposit_product(y, y, n, self._sums[1])
        deposit(pairs.weigh(pairs.la), n, self._sums[2])
        deposit(pairs.weigh(pairs.lb), n, self._sums[3])
        if pairs.x is not None:
            deposit(pairs.x, n, self._weights[0])
            deposit_product(pairs.x, pairs.x, n, self._weights[1])
            deposit_product(pairs.x, y, n, self._weights[2])
            for i, (hit, other) in enumerate(((pairs.ca, pairs.cb), (pairs.cb, pairs.ca))):
                deposit(np.where(hit, pairs.x, 0.0), n, self._hits[i])
                alone = np.where(hit & ~other, pairs.x, 0.0)
                deposit_product(alone, alone, n, self._hit_squares[i])
        self._right += np.bincount(2 * pairs.ca.astype(np.int64) + pairs.cb, minlength=4).reshape(2, 2)
        lower, higher = int((pairs.la < pairs.lb).sum()), int((pairs.la > pairs.lb).sum())
        for side, count in (("a", lower), ("b", higher), ("ties", n - lower - higher)):
            self._wins[side] += count
        if self._clusters is not None and clusters is not None:
            hits = pairs.ca.astype(np.float64) - pairs.cb
            self._clusters.add(clusters, y, pairs.x, hits if pairs.x is None else hits * pairs.x)

    def outcome(self) -> Outcome:
        """What they say."""
        n = int(self._sums[0, exact.N])
        neither, only_b, only_a, both = (int(value) for value in self._right.reshape(4))
        x, y = Fraction(n), exact.to_fraction(self._sums[0])
        xx, xy = x, y
        right_a, right_b, one_a, one_b = (Fraction(v) for v in (both + only_a, both + only_b, only_a, only_b))
        if self._power is not None:
            x, xx, xy = map(exact.to_fraction, self._weights)
            right_a, right_b = map(exact.to_fraction, self._hits)
            one_a, one_b = map(exact.to_fraction, self._hit_squares)
        hits = right_a - right_b
        yy = exact.to_fraction(self._sums[1])
        finite = math.isfinite(exact.rounded_sum(self._sums[0])) and math.isfinite(exact.rounded_sum(self._sums[1]))
        if self._clusters is None:
            count, clusters = n, None
            loss_error = _ratio_error(n, x, y, xx, xy, yy)
            # x h and h^2 are x^2 and -x^2 where one side alone is right
            hit_error = _ratio_error(n, x, hits, xx, one_a - one_b, one_a + one_b)
        else:
            self._clusters.close()
            count = clusters = self._clusters.count
            loss_error, hit_error = self._clusters.errors(x, y, hits)
            finite = finite and self._clusters.finite
        if not finite:
            loss_error = math.nan
        p_value, method = mcnemar_p(only_a, only_b)
        accuracy = {"a": _ratio(right_a, x), "b": _ratio(right_b, x)}
        test = McNemar(both, only_a, only_b, neither, p_value, method)
        return Outcome(
            rows=n,
            loss={side: exact.rounded_mean(self._sums[i], x) for side, i in (("a", 2), ("b", 3))},
            delta=difference(exact.rounded_mean(self._sums[0], x), loss_error, count - 1),
            wins=self._wins,
            accuracy=accuracy if self._classes else None,
            accuracy_delta=difference(_ratio(hits, x), hit_error, count - 1) if self._classes else None,
            mcnemar=test if self._classes else None,
            clusters=clusters,
            weight_sum=None if self._power is None else _rounded(x * Fraction(2) ** self._power),
        )


def _ratio_error(n: int, x: Fraction, y: Fraction, xx: Fraction, xy: Fraction, yy: Fraction) -> float:
    """Standard error of y / x from the sums of squares and products of n independent terms: of a ratio estimator."""
    if n < 2 or not x:
        return math.nan
    m = y / x
    return math.sqrt(Fraction(n, n - 1) * max(yy - 2 * m * xy + m * m * xx, Fraction(0)) / (x * x))


class _Spread(ClusterSums):
    """Of clusters are kept the exact sums of the products of their sums, which give sum (y - m x)^2 for any m."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting: list[tuple[NDArray[np.float64], ...]] = []
        self._sums = exact.empty(5)  # y^2, x y, x^2, hits^2, x hits
        self.count = 0

    def record(self, y: NDArray[np.float64], x: NDArray[np.float64], hits: NDArray[np.float64]) -> None:
        """See `ClusterSums.record`."""
        self._waiting.append((y, x, hits))
        self.count += len(y)
        if sum(len(waiting[0]) for waiting in self._waiting) >= 4096:
            self._flush()

    def close(self) -> None:
        """See `ClusterSums.close`."""
        super().close()
        self._flush()

    @property
    def finite(self) -> bool:
        """Whether no difference, and no square of one, was too large."""
        return math.isfinite(exact.rounded_sum(self._sums[0]))

    def errors(self, x: Fraction, y: Fraction, hits: Fraction) -> tuple[float, float]:
        """Standard errors of y / x and hits / x."""
        yy, xy, xx, hh, xh = map(exact.to_fraction, self._sums)
        return _ratio_error(self.count, x, y, xx, xy, yy), _ratio_error(self.count, x, hits, xx, xh, hh)

    def _flush(self) -> None:
        from fastxent.kernels.sums.exact_sums import deposit_product

        if self._waiting:
            y, x, hits = map(np.concatenate, zip(*self._waiting, strict=True))
            for state, (a, b) in zip(self._sums, ((y, y), (x, y), (x, x), (hits, hits), (x, hits)), strict=True):
                deposit_product(a, b, len(a), state)
            self._waiting.clear()


def difference(mean: float, stderr: float, df: int) -> Difference:
    """A mean difference with its standard error, tested by Student's t with so many degrees of freedom."""
    if math.isnan(mean) or math.isnan(stderr):
        return Difference(mean, stderr, math.nan, math.nan, math.nan, max(df, 0), math.nan)
    if stderr == 0.0:  # every row differs by the same: by nothing, or certainly
        t = 0.0 if mean == 0.0 else math.copysign(math.inf, mean)
        return Difference(mean, stderr, mean, mean, t, df, 1.0 if mean == 0.0 else 0.0)
    half = t_quantile(0.95, df) * stderr
    t = mean / stderr
    return Difference(mean, stderr, mean - half, mean + half, t, df, t_two_sided(t, df))


def _rounded(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _ratio(part: Fraction, whole: Fraction) -> float:
    return float(part / whole) if whole else math.nan


def _fields(value: Any) -> Any:
    """A record as a dict; anything else as it is."""
    names = getattr(value, "__dataclass_fields__", None)
    if names is not None:
        return {name: getattr(value, name) for name in names}
    return dict(value) if isinstance(value, dict) else value
