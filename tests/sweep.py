"""Random rows of every hard kind, through every loss and form, against multiprecision.

``python -m tests.sweep --seconds 120 --seed 7`` goes on until the time is up, prints the largest error of every
combination, and fails on one beyond what the documents promise; ``test_sweep.py`` runs a small part of it.
The truth is that of the numbers as they are stored, by the definitions, with nothing of the package in it.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np
from numpy.typing import NDArray

import fastxent as fx
from tests.naive import DTYPE, ulps

Array = NDArray[Any]
Truth = Callable[[Array, Any, dict[str, Any]], Any]
FORMS = ("logits", "probs", "log_probs")
#: Up to this the values of rows are compared; what is smaller is subnormal, or 0.
TINY = 2.0**-1021
#: Divergences of probabilities that are divided by their sums are held to 2 ulp or this (docs/design.md).
FLOOR = 2.0**-156
WEIGHT = 2.7
#: Bits: the terms of a divergence cancel 110 of them where rows differ by a rounding.
PRECISION = 400


class Miss(NamedTuple):
    """A row that is off by more than is allowed."""

    what: str
    kind: str
    scores: list[float]
    target: Any
    got: float
    error: float


# --- rows ----------------------------------------------------------------------------------------------------


def logits_of(rng: np.random.Generator, classes: int) -> Iterator[tuple[Array, int]]:
    """One row of each family, and its target."""

    def plain(scale: float = 3.0) -> Array:
        return rng.standard_normal(classes) * scale

    t = int(rng.integers(classes))
    one = np.arange(classes) == t
    yield plain(), t
    yield plain(0.01), t
    yield plain(30.0), t
    for ahead in (rng.uniform(0, 40), rng.uniform(40, 700), -rng.uniform(0, 700)):
        yield plain() + ahead * one, t
    yield np.zeros(classes), t
    yield plain() + rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(1, 4), t
    yield np.where(one, 1.0, np.where(rng.random(classes) < 0.7, -np.inf, plain())), t
    yield plain() * 2.0 ** rng.uniform(-40, 8, classes), t
    yield plain() * 10.0 ** -rng.uniform(5, 300), t
    yield plain(3e4), t
    yield np.where(one, 1.0, 1.0 - 2.0**-20 * rng.random(classes)), t
    yield -rng.exponential(5.0, classes) * 40 + 80 * one, t


def shares_of(z: Array) -> Array:
    with np.errstate(under="ignore", invalid="ignore"):
        e = np.exp(z - z.max())
        return e / e.sum()


def in_form(z: Array, form: str, kind: str) -> Array:
    """A row of logits as another form, stored; what no form can hold is brought near."""
    if kind == "float16":
        z = np.where(np.isinf(z), z, np.clip(z, -6e4, 6e4))
    if form == "logits":
        return z.astype(DTYPE[kind])
    if form == "probs":
        return np.minimum(shares_of(z), 1.0).astype(DTYPE[kind])
    with np.errstate(divide="ignore"):
        top = z.max()
        logs = z - top - np.log(np.exp(z - top).sum())
    if kind == "float16":
        logs = np.where(np.isinf(logs), logs, np.maximum(logs, -6e4))
    return np.minimum(logs, 0.0).astype(DTYPE[kind])


def events_of(rng: np.random.Generator, count: int) -> Array:
    """Logits of single events."""
    families = [
        lambda: rng.standard_normal() * 3, lambda: rng.uniform(-740, 740), lambda: rng.uniform(-40, 40),
        lambda: rng.choice([-1, 1]) * 10.0 ** -rng.uniform(1, 300), lambda: 0.0, lambda: rng.standard_normal() * 1e4,
    ]  # fmt: skip
    return np.array([families[i % len(families)]() for i in range(count)])


def chances_of(z: Array, form: str, kind: str) -> Array:
    """Logits of events as another form, stored, strictly between certain and impossible."""
    if form == "logits":
        return np.clip(z, -6e4, 6e4).astype(DTYPE[kind])
    p = np.clip(1.0 / (1.0 + np.exp(-np.clip(z, -700, 700))), 1e-300, 1.0 - 2.0**-53)
    stored = (p if form == "probs" else np.log(p)).astype(DTYPE[kind])
    inside = (stored > 0) & (stored < 1) if form == "probs" else stored < 0
    return np.where(inside, stored, np.asarray(0.5 if form == "probs" else -0.5, DTYPE[kind])).astype(DTYPE[kind])


# --- truths --------------------------------------------------------------------------------------------------


def numbers(row: Array) -> list[Any]:
    return [mp.mpf(float(value)) for value in row]


def logs_of(row: Array, form: str, normalize: bool) -> list[Any]:
    """Logarithms of the probabilities, with relative accuracy also where they are next to 0."""
    x = numbers(row)
    if form == "probs":
        x = [mp.log(v) if v else -mp.inf for v in x]
    if form != "logits" and not normalize:
        return x
    k = max(range(len(x)), key=x.__getitem__)
    others = mp.fsum(mp.exp(v - x[k]) for i, v in enumerate(x) if i != k)
    rest = mp.log1p(others)
    return [-rest if i == k else v - x[k] - rest for i, v in enumerate(x)]


def smoothed(target: Any, classes: int, a: float) -> list[Any]:
    q = [mp.mpf(int(j == target)) for j in range(classes)] if np.ndim(target) == 0 else numbers(target)
    return q if not a else [(1 - mp.mpf(a)) * v + mp.mpf(a) / classes for v in q]


def of_rows(row: Array, target: Any, o: dict[str, Any]) -> Any:
    """Cross-entropy, focal and Poly-1 loss."""
    weight = numbers(o.get("class_weight", np.ones(len(row))))
    parts = []
    q = smoothed(target, len(row), o.get("label_smoothing", 0.0))
    for log_p, share, w in zip(logs_of(row, o["form"], o.get("normalize", False)), q, weight, strict=True):
        if share * w:
            wrong = -mp.expm1(log_p)
            parts.append(share * w * (-log_p * wrong ** o.get("gamma", 0) + o.get("epsilon", 0) * wrong))
    return mp.fsum(parts)


def of_entropy(row: Array, target: Any, o: dict[str, Any]) -> Any:
    logs = logs_of(row, o["form"], o.get("normalize", False))
    return mp.fsum(-v * mp.exp(v) for v in logs if not mp.isinf(v))


def of_divergence(row: Array, target: Array, o: dict[str, Any]) -> Any:
    pairs = zip(*(logs_of(v, o["form"], o.get("normalize", False)) for v in (target, row)), strict=True)
    return mp.fsum(
        mp.exp(p) if mp.isinf(t) else mp.exp(t) * (t - p) - mp.exp(t) + mp.exp(p) for t, p in pairs
    )  # fmt: skip


def of_event(x: Any, y: Any, o: dict[str, Any]) -> Any:
    x, y = mp.mpf(float(x)), mp.mpf(float(y))
    if o["form"] == "logits":
        yes, no = -mp.log1p(mp.exp(-x)), -mp.log1p(mp.exp(x))
    else:
        yes = mp.log(x) if o["form"] == "probs" else x
        no = mp.log(-mp.expm1(yes)) if yes > -1 else mp.log1p(-mp.exp(yes))
    a = mp.mpf(o.get("label_smoothing", 0.0))
    y = (1 - a) * y + a / 2
    fade = (y * -mp.expm1(yes) + (1 - y) * -mp.expm1(no)) ** o.get("gamma", 0)
    return (mp.mpf(o.get("pos_weight", 1.0)) * y * -yes + (1 - y) * -no) * fade


def of_labels(row: Array, target: Array, o: dict[str, Any]) -> Any:
    return mp.fsum(of_event(x, y, o) for x, y in zip(row, target, strict=True)) / len(row)


# --- combinations --------------------------------------------------------------------------------------------


class Combination(NamedTuple):
    """A loss with its options: our function, the truth, what the targets are, and the ulp allowed."""

    name: str
    function: Callable[..., Any]
    truth: Truth
    targets: str
    options: dict[str, Any]
    allowed: float = 4.0


COMBINATIONS = [
    Combination("labels", fx.cross_entropy, of_rows, "label", {}),
    Combination("labels, smoothed", fx.cross_entropy, of_rows, "label", {"label_smoothing": 0.1}),
    Combination("labels, weighted", fx.cross_entropy, of_rows, "label", {"class_weight": True}),
    Combination("labels, normalized", fx.cross_entropy, of_rows, "label", {"normalize": True}),
    Combination("shares", fx.cross_entropy, of_rows, "shares", {}),
    Combination("shares, all", fx.cross_entropy, of_rows, "shares", {"label_smoothing": 0.3, "class_weight": True}),
    Combination("entropy", fx.entropy, of_entropy, "", {}),
    Combination("entropy, normalized", fx.entropy, of_entropy, "", {"normalize": True}),
    Combination("divergence", fx.kl_divergence, of_divergence, "row", {}, 2.0),
    Combination("divergence, normalized", fx.kl_divergence, of_divergence, "row", {"normalize": True}, 2.0),
    Combination("focal 2", fx.focal_loss, of_rows, "label", {"gamma": 2.0}),
    Combination("focal 10", fx.focal_loss, of_rows, "shares", {"gamma": 9.5, "label_smoothing": 0.01}),
    Combination("focal 0.5", fx.focal_loss, of_rows, "shares", {"gamma": 0.5}),
    Combination("events", fx.binary_cross_entropy, of_event, "event", {}),
    Combination("events, chances", fx.binary_cross_entropy, of_event, "chance", {"pos_weight": WEIGHT}),
    Combination("events, smoothed", fx.binary_cross_entropy, of_event, "event", {"label_smoothing": 0.1}),
    Combination("events, focal", fx.focal_loss, of_event, "chance", {"gamma": 2.0, "pos_weight": WEIGHT}),
    Combination("events, much focal", fx.focal_loss, of_event, "chance", {"gamma": 9.5}),
    Combination("several events", fx.binary_cross_entropy, of_labels, "labels", {"pos_weight": WEIGHT}),
    Combination("poly1", fx.poly1_loss, of_rows, "label", {"epsilon": 1.0}),
    Combination("poly1 -1", fx.poly1_loss, of_rows, "label", {"epsilon": -1.0}, 8.0),
    Combination("poly1 2", fx.poly1_loss, of_rows, "shares", {"epsilon": 2.0, "label_smoothing": 0.01}),
]


def batch(
    rng: np.random.Generator, c: Combination, form: str, kind: str, classes: int
) -> tuple[Array, Any, dict[str, Any]]:
    """Predictions, targets and options."""
    options = dict(c.options)
    if c.targets in ("event", "chance", "labels"):
        shape = (12, classes) if c.targets == "labels" else (24,)
        x = chances_of(events_of(rng, int(np.prod(shape))).reshape(shape), form, kind)
        y = rng.integers(0, 2, shape)
        if c.targets == "chance":
            y = rng.choice([0.0, 1.0, 1e-300, 0.5, 1 - 2.0**-53, float(rng.random())], shape)
        return x, y, options
    rows = list(logits_of(rng, classes))
    x = np.stack([in_form(z, form, kind) for z, _ in rows])
    labels = np.array([t for _, t in rows])
    if options.get("class_weight"):
        options["class_weight"] = rng.random(classes) * 3 + 0.01
    if c.targets == "row":
        near = [np.where(np.isinf(z), z, z + s * rng.standard_normal(classes))
                for (z, _), s in zip(rows, itertools.cycle([1e-9, 1e-5, 0.01, 1.0, 30.0]))]  # fmt: skip
        return x, np.stack([in_form(z, form, kind) for z in near]), options
    if c.targets == "shares":
        q = rng.dirichlet(np.full(classes, 0.3), len(rows))
        q[::3] = np.eye(classes)[labels[::3]]
        return x, q, options
    return x, labels, options


def sweep(seed: int, kinds: tuple[str, ...], classes: tuple[int, ...], names: Any = None) -> Iterator[Any]:
    """The largest error of every combination as (what, kind, ulp, allowed), and a `Miss` for each row beyond it."""
    for c, form, kind in itertools.product(COMBINATIONS, FORMS, kinds):
        if (names and c.name not in names) or (form == "logits" and c.options.get("normalize")):
            continue
        what, largest = f"{c.name} from {form}", 0.0
        rng = np.random.default_rng([seed, COMBINATIONS.index(c), FORMS.index(form), len(kind)])
        for count in classes:
            x, target, options = batch(rng, c, form, kind, count)
            given = ([target] if c.targets else [], {form: x} | options)
            got = c.function(*given[0], **given[1], reduction="none", on_invalid="propagate")
            floor = FLOOR if c.targets == "row" and form == "probs" and options.get("normalize") else TINY
            told = options | {"form": form}
            with mp.workprec(PRECISION):
                for i in range(len(x)):
                    goal = target[i] if c.targets else None
                    if np.isnan(got[i]) and unfit(x[i], goal, c, told):
                        continue
                    true = c.truth(x[i], goal, told)
                    off = 0.0 if abs(true - got[i]) <= floor else ulps(float(got[i]), true)
                    largest = max(largest, off)
                    if not off <= c.allowed:
                        scores = np.atleast_1d(x[i]).astype(float).tolist()
                        yield Miss(what, kind, scores, goal, float(got[i]), off)
        yield what, kind, largest, c.allowed


def unfit(row: Array, target: Any, c: Combination, o: dict[str, Any]) -> bool:
    """Whether a row has no loss: nothing of it is left to normalize."""
    rows = [row, target] if c.targets == "row" else [row]
    nothing = 0.0 if o["form"] == "probs" else -np.inf
    return bool(o.get("normalize")) and any(bool((each == nothing).all()) for each in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(DTYPE))
    parser.add_argument("--classes", default="1,2,3,10,33,65,257")
    parser.add_argument("--names", default="")
    given = parser.parse_args()
    kinds, classes = tuple(given.kinds.split(",")), tuple(map(int, given.classes.split(",")))
    worst: dict[tuple[str, str], float] = {}
    missed, started, seed = 0, time.monotonic(), given.seed
    while time.monotonic() - started < given.seconds or seed == given.seed:
        for found in sweep(seed, kinds, classes, set(filter(None, given.names.split(";")))):
            if isinstance(found, Miss):
                missed += 1
                print("MISS", seed, found if len(found.scores) <= 12 else found._replace(scores=found.scores[:12]))
            else:
                what, kind, off, _ = found
                worst[what, kind] = max(worst.get((what, kind), 0.0), off)
        seed += 1
    for (what, kind), off in sorted(worst.items(), key=lambda item: -item[1]):
        print(f"{off:8.3f}  {kind:<9} {what}")
    print(f"{seed - given.seed} seeds, {missed} misses, {time.monotonic() - started:.0f} s")
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
