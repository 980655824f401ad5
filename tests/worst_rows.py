"""Rows that are made to be wrong: a search for the largest error of a loss, by how rows are built.

Equal terms round alike, so that their errors add up, which those of random rows do not. Rows here have few different
scores: all others equal, one of them different, a share of them at another distance, one in 8, 16, 32, ... of them (the
lanes of a sum), tiny ones beside large ones. Distances come from all over the range of the table, and every number
of classes from 2 to 300 is tried, with 8,210 and more behind them.

``python -m tests.worst_rows --seconds 300 --seed 7`` goes on until the time is up, prints the worst row of every loss,
and fails beyond what docs/design.md promises; ``test_worst_rows.py`` runs a small part of it. Losses of all rows are
held against sums in numpy's long double, and the worst of a batch against multiprecision.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np
from numpy.typing import NDArray

import fastxent as fx
from tests.naive import DTYPE, ulps
from tests.sweep import TINY, of_labels

Array = NDArray[Any]
PRECISION = 300
#: Rows of a batch, and how many of them are looked at in multiprecision.
ROWS, LOOKED_AT = 256, 2


class Case(NamedTuple):
    """A loss with its options, and the ulp that are allowed; ``soft``: the target is a distribution."""

    name: str
    function: Callable[..., Any]
    form: str
    options: dict[str, Any]
    soft: bool = False
    allowed: float = 4.0


CASES = [
    Case("labels", fx.cross_entropy, "logits", {}),
    Case("labels, log_probs normalized", fx.cross_entropy, "log_probs", {"normalize": True}),
    Case("labels, probs normalized", fx.cross_entropy, "probs", {"normalize": True}),
    Case("labels, smoothed", fx.cross_entropy, "logits", {"label_smoothing": 0.1}),
    Case("labels, weighted", fx.cross_entropy, "logits", {"class_weight": True}),
    Case("labels, smoothed and weighted", fx.cross_entropy, "logits", {"label_smoothing": 0.3, "class_weight": True}),
    Case("shares", fx.cross_entropy, "logits", {}, True),
    Case("shares, smoothed", fx.cross_entropy, "logits", {"label_smoothing": 0.1}, True),
    Case("shares, probs", fx.cross_entropy, "probs", {}, True),
    Case("shares, probs normalized", fx.cross_entropy, "probs", {"normalize": True}, True),
    Case("several events", fx.binary_cross_entropy, "logits", {"task": "multilabel"}),
    Case("focal 2", fx.focal_loss, "logits", {"gamma": 2.0}),
    Case("focal 0.5", fx.focal_loss, "logits", {"gamma": 0.5}),
    Case("focal 2, shares", fx.focal_loss, "logits", {"gamma": 2.0}, True),
    Case("poly1", fx.poly1_loss, "logits", {"epsilon": 1.0}),
    Case("entropy", fx.entropy, "logits", {}),
]


class Worst(NamedTuple):
    """The worst row that was found."""

    error: float
    case: str
    kind: str
    scores: Array
    target: Any


def distances(rng: np.random.Generator) -> Array:
    """How far other classes stand from the target, one number a row."""
    choice = rng.integers(5)
    if choice == 0:
        return rng.uniform(-3, 3, ROWS)
    if choice == 1:
        return -rng.uniform(0, 40, ROWS)
    if choice == 2:
        return -rng.uniform(0, 600, ROWS)
    # Around a place of the table: its exponential has the same last bits, the rest of the distance differs.
    place = rng.integers(-40 * 256, 3 * 256) / 256
    if choice == 3:
        return place + rng.uniform(-1, 1, ROWS) / 512
    return place - rng.integers(0, 9) * np.log(2.0) + rng.uniform(-1, 1, ROWS) / 512


def rows_of(rng: np.random.Generator, classes: int) -> tuple[Array, int]:
    """Rows of one structure, and their target."""
    t = int(rng.integers(classes))
    first = distances(rng)
    gap = rng.choice([0.0, 0.01, 1.0, 9.0, 36.0, 36.7368, 37.0, 45.0, 300.0]) * rng.choice([-1.0, 1.0])
    second = first + gap + rng.uniform(-1, 1, ROWS) / rng.choice([1.0, 100.0])
    z = np.repeat(first[:, None], classes, axis=1)
    numbers = np.arange(classes)
    structure = rng.integers(6)
    if structure == 1:
        z[:, rng.integers(classes)] = second
    elif structure == 2:
        z[:, numbers >= rng.integers(classes)] = second[:, None]
    elif structure == 3:
        step = int(rng.choice([2, 4, 8, 16, 32, 64]))
        z[:, numbers % step == rng.integers(step)] = second[:, None]
    elif structure == 4:
        z[:, numbers < rng.choice([8, 16, 32, 64, 128, 256])] = second[:, None]
    elif structure == 5:
        # Every term as much as all before it.
        z = first[:, None] + np.log(2.0) * (numbers % rng.choice([2, 4, 8, 32]))
    level = rng.choice([0.0, 0.0, rng.uniform(-20, 20)])
    z += level
    z[:, t] = level
    return z, t


def rounded(z: Array, form: str, kind: str) -> Array:
    """The rows as they are stored; kinds that are narrow keep what they can."""
    if form == "probs":
        z = np.exp(z - np.maximum(z.max(axis=1, keepdims=True), 0.0) - 1.0)
    elif form == "log_probs":
        z = np.minimum(z - z.max(axis=1, keepdims=True) - 0.01, 0.0)
    with np.errstate(over="ignore", under="ignore"):
        return z.astype(DTYPE[kind])


def batch(rng: np.random.Generator, case: Case, kind: str, classes: int) -> tuple[Array, Any, dict[str, Any]]:
    """Scores, targets and options."""
    z, t = rows_of(rng, classes)
    x, options = rounded(z, case.form, kind), dict(case.options)
    if options.get("class_weight"):
        options["class_weight"] = np.where(np.arange(classes) % 3 == 0, rng.uniform(0.1, 3), rng.uniform(0.1, 3))
    if options.pop("task", None):
        return x, rng.integers(0, 2) * np.ones((len(x), classes), np.int8), options
    if case.soft:
        share = np.full(classes, rng.choice([1.0, 1e-3, 1e-12, 1e-17]) / classes)
        share[t] = rng.choice([share[t], rng.uniform(0.1, 0.9)])
        return x, np.tile(share, (len(x), 1)), options
    return x, np.full(len(x), t), options


# --- the truth -----------------------------------------------------------------------------------------------


def groups_of(row: Array, target: Any, options: dict[str, Any]) -> Iterator[tuple[float, float, float, int]]:
    """The classes of a row that are alike: (score, share of the target, weight, how many)."""
    share = np.eye(1, len(row), int(target))[0] if np.ndim(target) == 0 else np.asarray(target, np.float64)
    weight = options.get("class_weight", np.ones(len(row)))
    alike, counts = np.unique(np.stack([row.astype(np.float64), share, weight]), axis=1, return_counts=True)
    for (score, part, w), n in zip(alike.T.tolist(), counts.tolist(), strict=True):
        yield score, part, w, n


def truth(row: Array, target: Any, case: Case, options: dict[str, Any], real: Any) -> Any:
    """The loss by its definition, equal classes taken together; ``real`` has the arithmetic: `mp`, or numpy's."""
    number = real.mpf
    groups = list(groups_of(row, target, options))
    if case.form == "probs":
        z = [real.log(number(score)) if score else -number("inf") for score, *_ in groups]
    else:
        z = [number(score) for score, *_ in groups]
    counts = [n for *_, n in groups]
    k = max(range(len(z)), key=z.__getitem__)
    level = z[k]
    own = number(0)
    if case.form != "probs" or options.get("normalize"):
        own = real.log1p(
            sum(
                ((n - (i == k)) * real.exp(v - level) for i, (v, n) in enumerate(zip(z, counts, strict=True))),
                number(0),
            )
        )
    else:
        level = number(0)
    costs = [(level - v) + own for v in z]
    if case.function is fx.entropy:
        return sum((n * c * real.exp(-c) for n, c in zip(counts, costs, strict=True)), number(0))
    a, total = number(options.get("label_smoothing", 0.0)), number(0)
    gamma, epsilon = options.get("gamma", 0.0), options.get("epsilon", 0.0)
    for cost, (_, share, w, n) in zip(costs, groups, strict=True):
        part = ((1 - a) * number(share) + a / len(row)) * number(w)
        if part:
            wrong = -real.expm1(-cost)
            total += n * part * (cost * wrong**gamma + epsilon * wrong)
    return total


class Long:
    """NumPy's long double, in the words of mpmath."""

    mpf = np.longdouble
    exp, log, log1p, expm1 = np.exp, np.log, np.log1p, np.expm1


def true_loss(row: Array, target: Any, case: Case, options: dict[str, Any]) -> Any:
    """The loss in multiprecision."""
    told = options | {"form": case.form}
    with mp.workprec(PRECISION):
        if case.function is fx.binary_cross_entropy:
            values, counts = np.unique(row, return_counts=True)
            each = [of_labels([value], target[:1], told) * int(n) for value, n in zip(values, counts, strict=True)]
            return mp.fsum(each) / len(row)
        return truth(row, target, case, options, mp)


def roughly(row: Array, target: Any, case: Case, options: dict[str, Any]) -> float:
    """The loss in long double, which has 11 bits more on x86."""
    with np.errstate(all="ignore"):
        if case.function is fx.binary_cross_entropy:
            z = np.where(np.asarray(target) == 1, row, -row.astype(np.float64)).astype(np.longdouble)
            return np.sum(np.maximum(-z, 0) + np.log1p(np.exp(-np.abs(z)))) / len(row)
        return truth(row, target, case, options, Long)


def search(seed: int, cases: list[Case], kinds: tuple[str, ...], sizes: Iterator[int]) -> Iterator[Worst]:
    """The worst row of every batch."""
    rng = np.random.default_rng(seed)
    for classes in sizes:
        for case in cases:
            kind = str(rng.choice(kinds))
            x, target, options = batch(rng, case, kind, classes)
            given = () if case.function is fx.entropy else (target,)
            found = case.function(*given, **{case.form: x}, **options, reduction="none", on_invalid="propagate")
            near = np.array([roughly(row, t, case, options) for row, t in zip(x, target, strict=True)])
            with np.errstate(all="ignore"):
                off = np.abs((found - near) / np.spacing(np.abs(found)))
            off[~(np.isfinite(off) & (np.abs(found) > TINY))] = 0.0
            for i in np.argsort(off)[-LOOKED_AT:]:
                error = ulps(float(found[i]), true_loss(x[i], target[i], case, options)) if off[i] else 0.0
                yield Worst(error, case.name, kind, x[i], target[i])


def every_size(rng: np.random.Generator) -> Iterator[int]:
    """Numbers of classes without end: all from 2 to 300 in any order, then a large one."""
    while True:
        yield from (int(c) for c in rng.permutation(np.arange(2, 301)))
        yield int(rng.choice([1000, 8210, 50257]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="float64,float32")
    parser.add_argument("--names", default="", help="of losses, between semicolons")
    given = parser.parse_args()
    names = set(filter(None, given.names.split(";")))
    cases = [case for case in CASES if not names or case.name in names]
    started, worst = time.monotonic(), dict[str, Worst]()
    rng = np.random.default_rng(given.seed)
    for found in search(given.seed, cases, tuple(given.kinds.split(",")), every_size(rng)):
        if found.case not in worst or found.error > worst[found.case].error:
            worst[found.case] = found
        if time.monotonic() - started > given.seconds:
            break
    allowed = {case.name: case.allowed for case in CASES}
    for found in sorted(worst.values(), reverse=True, key=lambda each: each.error):
        values, counts = np.unique(found.scores, return_counts=True)
        row = ", ".join(f"{n} of {v!r}" for v, n in list(zip(values.tolist(), counts.tolist(), strict=True))[:4])
        target = int(found.target) if np.ndim(found.target) == 0 else "shares"
        print(
            f"{found.error:7.3f}  {found.case:<31} {found.kind:<8} {len(found.scores)} classes, target {target}: {row}"
        )
    sys.exit(any(found.error > allowed[found.case] for found in worst.values()))


if __name__ == "__main__":
    main()
