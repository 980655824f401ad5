"""The table of cases that tests and bench share: what a prediction set looks like, and what its losses are.

``case.generate(rng, rows, classes, kind)`` makes the arrays, ``case.arguments(data)`` are keyword arguments of
`fastxent.evaluate` and of the loss functions, ``case.reference(data)`` are the row losses by the slow twin.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests import naive


class Data(NamedTuple):
    """Predictions (n, C), or (n,) for binary, of any float type, and their targets."""

    predictions: NDArray[Any]
    target: NDArray[Any]


Generator = Callable[[np.random.Generator, int, int, str], Data]


@dataclass(frozen=True)
class Case:
    """One kind of job: its task and form, a generator, and the reference losses."""

    name: str
    task: str
    form: str
    generate: Generator
    losses: Callable[[Any, Any], list[float]]

    def reference(self, data: Data) -> NDArray[np.float64]:
        """The loss of every row, slowly."""
        return np.array(self.losses(data.predictions.astype(np.float64), data.target))

    def arguments(self, data: Data) -> dict[str, Any]:
        """Keyword arguments that name predictions and target."""
        return {self.form: data.predictions, "target": data.target}


def labels(rng: np.random.Generator, rows: int, classes: int) -> NDArray[np.int64]:
    return rng.integers(0, classes, rows)


def random_logits(rng: np.random.Generator, rows: int, classes: int, kind: str) -> Data:
    """An untrained model: independent logits."""
    z = rng.normal(scale=3.0, size=(rows, classes)).astype(np.float32)
    return Data(z.astype(naive.DTYPE[kind]), labels(rng, rows, classes))


def trained_logits(rng: np.random.Generator, rows: int, classes: int, kind: str) -> Data:
    """A trained model: nine targets of ten lead by 5 to 20."""
    z = rng.normal(scale=2.0, size=(rows, classes)).astype(np.float32)
    t = labels(rng, rows, classes)
    z[np.arange(rows), t] += np.where(rng.random(rows) < 0.9, rng.uniform(5.0, 20.0, rows), 0.0).astype(np.float32)
    return Data(z.astype(naive.DTYPE[kind]), t)


def steep_logits(rng: np.random.Generator, rows: int, classes: int, kind: str) -> Data:
    """Logits so far apart that losses reach from 1e-300 to 700."""
    z = rng.uniform(-350.0, 350.0, size=(rows, classes)).astype(np.float32)
    return Data(z.astype(naive.DTYPE[kind]), labels(rng, rows, classes))


def masked_logits(rng: np.random.Generator, rows: int, classes: int, kind: str) -> Data:
    """A third of the classes masked by -inf, sometimes the target among them."""
    z, t = random_logits(rng, rows, classes, kind)
    z[rng.random((rows, classes)) < 1 / 3] = -np.inf
    z[np.arange(rows), (t + rng.integers(0, 2, rows)) % classes] = 1.0
    return Data(z, t)


def tied_logits(rng: np.random.Generator, rows: int, classes: int, kind: str) -> Data:
    """Few distinct values, zeros of both signs among them."""
    z = rng.choice(np.array([-1.0, -0.0, 0.0, 1.0], np.float32), size=(rows, classes))
    return Data(z.astype(naive.DTYPE[kind]), labels(rng, rows, classes))


def _softmax(z: NDArray[Any]) -> NDArray[np.float64]:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p: NDArray[np.float64] = e / e.sum(axis=1, keepdims=True)
    return p


def probs(rng: np.random.Generator, rows: int, classes: int, kind: str) -> Data:
    """Softmax outputs, rounded to the type they are stored in."""
    z, t = trained_logits(rng, rows, classes, "float64")
    return Data(_softmax(z).astype(np.float32).astype(naive.DTYPE[kind]), t)


def log_probs(rng: np.random.Generator, rows: int, classes: int, kind: str) -> Data:
    """Their logarithms."""
    z, t = random_logits(rng, rows, classes, "float64")
    return Data(np.log(_softmax(z)).astype(np.float32).astype(naive.DTYPE[kind]), t)


def binary_logits(rng: np.random.Generator, rows: int, classes: int, kind: str) -> Data:
    """One logit a row; ``classes`` does not matter."""
    return Data(rng.normal(scale=4.0, size=rows).astype(np.float32).astype(naive.DTYPE[kind]), labels(rng, rows, 2))


def binary_probs(rng: np.random.Generator, rows: int, classes: int, kind: str) -> Data:
    p = rng.uniform(0.01, 0.99, rows).astype(np.float32).astype(naive.DTYPE[kind])
    return Data(p, labels(rng, rows, 2))


def binary_log_probs(rng: np.random.Generator, rows: int, classes: int, kind: str) -> Data:
    lp = np.log(rng.uniform(0.01, 0.99, rows)).astype(np.float32).astype(naive.DTYPE[kind])
    return Data(lp, labels(rng, rows, 2))


def multilabel_logits(rng: np.random.Generator, rows: int, classes: int, kind: str) -> Data:
    z = rng.normal(scale=4.0, size=(rows, classes)).astype(np.float32).astype(naive.DTYPE[kind])
    return Data(z, (rng.random((rows, classes)) < 0.2).astype(np.uint8))


CASES = (
    Case("random logits", "multiclass", "logits", random_logits, naive.cross_entropies),
    Case("trained logits", "multiclass", "logits", trained_logits, naive.cross_entropies),
    Case("steep logits", "multiclass", "logits", steep_logits, naive.cross_entropies),
    Case("masked logits", "multiclass", "logits", masked_logits, naive.cross_entropies),
    Case("tied logits", "multiclass", "logits", tied_logits, naive.cross_entropies),
    Case("probs", "multiclass", "probs", probs, naive.losses_of_probs),
    Case("log_probs", "multiclass", "log_probs", log_probs, naive.losses_of_log_probs),
    Case("binary logits", "binary", "logits", binary_logits, naive.binary_of_logits),
    Case("binary probs", "binary", "probs", binary_probs, naive.binary_of_probs),
    Case("binary log_probs", "binary", "log_probs", binary_log_probs, naive.binary_of_log_probs),
    Case("multilabel logits", "multilabel", "logits", multilabel_logits, naive.multilabel_of_logits),
)
