"""The known answers of every loss but the cross-entropy of logits and labels, which `known_answers` has.

``python -m tests.known_losses`` prints the losses as this machine computes them (JSON of hex floats by case).
``python -m tests.known_losses write`` checks them against their definitions in mpmath and writes known_losses.json:
only after a change of bits that was meant, with a new numerics_version.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import mpmath as mp
import numpy as np
from numpy.typing import NDArray

from fastxent import Spec
from fastxent.data.batch import Batch, Matrix
from fastxent.engine.scorer import key_of, make_problem
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import new_work
from tests import naive
from tests.known_answers import integers

PATH = Path(__file__).with_suffix(".json")
ROWS, C = 40, 37
A = 0.125


def grid(key: str, *shape: int, bits: int, unit: int) -> NDArray[np.float64]:
    return np.array(integers(key, int(np.prod(shape)), bits), np.float64).reshape(shape) * 2.0**unit


def distributions(key: str, bits: int) -> NDArray[np.float64]:
    """Rows of multiples of 2^-50 whose sums are 1 or next to it: integers, and one division that is rounded down."""
    parts = np.abs(grid(key, ROWS, C, bits=bits, unit=0)) + 1.0
    return np.floor(parts * 2.0**50 / parts.sum(axis=1, keepdims=True)) * 2.0**-50


Z = grid("logits", ROWS, C, bits=44, unit=-40)
Z[::5] *= 16.0
Z[3, 4] = 300.0
P = distributions("probs", 20)
P[1], P[1, 3] = 2.0**-40, 1.0 - 36 * 2.0**-40
LP = -np.abs(grid("log_probs", ROWS, C, bits=44, unit=-40))
LP[::4] *= 2.0**-30
Q = distributions("targets", 10)
Q[::3, 1] = 0.0
Q[5], Q[5, 7] = 0.0, 1.0
Y = np.array(integers("labels", ROWS, 20)) % C
W = np.abs(grid("weights", C, bits=20, unit=-19))
SCORES = {"logits": Z, "probs": P, "log_probs": LP}


class Case(NamedTuple):
    task: str
    form: str
    loss: str
    target: NDArray[Any]
    options: Mapping[str, Any] = MappingProxyType({})


CASES = {
    "probs, normalized": Case("multiclass", "probs", "cross_entropy", Y, {"normalize": True}),
    "smoothed": Case("multiclass", "logits", "cross_entropy", Y, {"label_smoothing": A, "class_weight": W}),
    "soft, probs": Case("multiclass", "probs", "cross_entropy", Q, {"label_smoothing": A}),
    "entropy": Case("multiclass", "logits", "entropy", Y),
    "divergence": Case("multiclass", "logits", "kl_divergence", Z[::-1].copy()),
    "divergence, probs": Case("multiclass", "probs", "kl_divergence", Q),
    "focal, soft": Case("multiclass", "logits", "focal", Q, {"gamma": 2.5, "class_weight": W}),
    "poly1": Case("multiclass", "logits", "poly1", Y, {"epsilon": 1.5}),
    "poly1, soft": Case("multiclass", "logits", "poly1", Q, {"epsilon": -0.75, "class_weight": W}),
    "multilabel, soft": Case("multilabel", "probs", "cross_entropy", Q, {"pos_weight": W, "label_smoothing": A}),
    "binary, log_probs": Case("binary", "log_probs", "cross_entropy", Q, {"pos_weight": 3.0}),
    "binary, focal": Case("binary", "logits", "focal", Q, {"gamma": 2.5}),
}


def arrays(case: Case) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores and targets; those of a binary task are one a row."""
    scores, target = SCORES[case.form], case.target
    if case.task == "binary":
        scores, target = (np.ascontiguousarray(part[:, :8]).reshape(-1) for part in (scores, target))
    return scores.reshape(len(scores), -1), target


def losses(case: Case) -> list[str]:
    """Hex losses of the rows of a case."""
    scores, target = arrays(case)
    n, classes = scores.shape
    soft = target.ndim == 2
    spec = Spec.make(
        num_classes=classes, task=case.task, form=case.form, loss=case.loss, soft=soft, **case.options
    )  # fmt: skip
    batch = Batch(predictions=Matrix(scores, "float64"), target=target)
    problem, keep = make_problem(spec, batch)
    card = sc.new_scorecard()
    assert n <= sc.BLOCK
    kernel = spec.definition.kernel(key_of(spec, batch, full=False, entropy=False))
    kernel.rows(problem, 0, n, card, new_work(classes, 8))
    del keep
    assert not card.status[:n].any()
    return [value.hex() for value in card.real[sc.LOSS, :n].tolist()]


# --- definitions ---------------------------------------------------------------------------------------------


def costs(form: str, row: list[Any], normalize: bool) -> list[Any]:
    """-log p of every class."""
    values = [mp.log(x) for x in row] if form == "probs" else row
    if form != "logits" and not normalize:
        return [-x for x in values]
    return [mp.log1p(mp.fsum(mp.exp(u - x) for j, u in enumerate(values) if j != k)) for k, x in enumerate(values)]


def event_costs(form: str, x: Any) -> tuple[Any, Any]:
    """-log p and -log(1 - p)."""
    if form == "logits":
        return mp.log1p(mp.exp(-x)), mp.log1p(mp.exp(x))
    log_p = mp.log(x) if form == "probs" else x
    return -log_p, -mp.log(-mp.expm1(log_p))


def definition(case: Case, number: int) -> Any:
    """The loss of a row."""
    scores, target = arrays(case)
    row, given = [mp.mpf(x) for x in scores[number].tolist()], target[number].tolist()
    a, gamma, epsilon = (case.options.get(name, 0.0) for name in ("label_smoothing", "gamma", "epsilon"))
    if case.task != "multiclass":
        given = given if isinstance(given, list) else [given]
        weight = case.options.get("pos_weight", 1.0) * np.ones(len(row))
        parts = []
        for x, y, w in zip(row, given, weight.tolist(), strict=True):
            y = (1 - mp.mpf(a)) * y + mp.mpf(a) / 2
            yes, no = event_costs(case.form, x)
            parts.append((y * -mp.expm1(-yes) + (1 - y) * -mp.expm1(-no)) ** gamma * (w * y * yes + (1 - y) * no))
        return mp.fsum(parts) / len(parts)
    cost = costs(case.form, row, case.options.get("normalize", False))
    if case.loss == "entropy":
        return mp.fsum(mp.exp(-c) * c for c in cost)
    if case.loss == "kl_divergence":
        shares = [mp.exp(-c) for c in costs("logits", given, False)] if case.form == "logits" else map(mp.mpf, given)
        return mp.fsum((t * (mp.log(t) + c) if t else 0) - t + mp.exp(-c) for t, c in zip(shares, cost, strict=True))
    share = given if isinstance(given, list) else np.eye(C)[given].tolist()
    weight = case.options.get("class_weight", np.ones(C)).tolist()
    return mp.fsum(
        w * ((1 - mp.mpf(a)) * t + mp.mpf(a) / C) * ((-mp.expm1(-c)) ** gamma * c - epsilon * mp.expm1(-c))
        for w, t, c in zip(weight, share, cost, strict=True)
    )


def verified(case: Case) -> list[str]:
    """The losses, after a check of each against its definition."""
    result = losses(case)
    with mp.workprec(500):
        for number, text in enumerate(result):
            wanted = definition(case, number)
            error = naive.ulps(float.fromhex(text), wanted)
            if error > 4.0:
                raise SystemExit(f"{case} row {number}: {text} is {error:.1f} ulp from {float(wanted).hex()}")
    return result


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        PATH.write_text(json.dumps({name: verified(case) for name, case in CASES.items()}, indent=0) + "\n")
    else:
        print(json.dumps({name: losses(case) for name, case in CASES.items()}))
