"""Rows that are made to be wrong: a small part of the search of `worst_rows`, and rows that others found."""

from __future__ import annotations

import itertools
from typing import Any

import mpmath as mp
import numpy as np
import pytest

import fastxent as fx
from tests.naive import ulps
from tests.worst_rows import CASES, Case, search, true_loss


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        pytest.param(case, kind, id=f"{case.name}-{kind}")
        for case, kind in zip(CASES, itertools.cycle(["float64", "float32"]), strict=False)
    ],
)
def test_the_worst_of_a_search(case: Case, kind: str) -> None:
    found = list(search(1, [case], (kind,), iter((2, 3, 5, 9, 13, 33, 65, 100, 256, 257))))
    assert len(found) == 20
    assert [each for each in found if not each.error <= case.allowed] == []
    assert max(each.error for each in found) > 0.1  # it does look at rows


#: Rows that were up to 11 ulp off when a span was summed as it came: (scores of all classes, others by class, target).
ALIKE = [
    (256, -9.818824180072857, {215: -0.8198745363237805}, 215),
    (257, -12.3, {3: 0.0}, 3),
    (9, -20.25, {0: 0.5}, 0),
    (8210, -31.7, {11: 0.0}, 11),
    (50257, -29.2, {50256: 0.0}, 50256),
    (128000, -29.2, {77: 0.0}, 77),
]


@pytest.mark.parametrize("kind", ["float64", "float32"])
@pytest.mark.parametrize(("classes", "score", "others", "target"), ALIKE)
def test_equal_terms(classes: int, score: float, others: dict[int, float], target: int, kind: str) -> None:
    z = np.full((1, classes), score)
    for place, other in others.items():
        z[0, place] = other
    z = z.astype(kind)
    for case in CASES:
        if (
            case.form == "logits"
            and not case.soft
            and case.name != "several events"
            and "class_weight" not in case.options
        ):
            given = () if case.function is fx.entropy else ([target],)
            loss = case.function(*given, logits=z, **case.options, reduction="none")[0]
            assert ulps(float(loss), true_loss(z[0], target, case, case.options)) <= case.allowed, case.name


#: Losses that are normal numbers, of exponentials that are not: (scores, how often the last, target).
FAINT: list[tuple[list[float], int]] = [
    ([0.0, -690.0, -710.0], 1), ([0.0, -709.0], 100_000), ([0.0, -700.0, -708.5], 1), ([0.0, -720.0], 200_000),
    ([5.0, -703.0, -704.0, -1e4], 30), ([8192.0, 7489.0, 7480.0], 3), ([-8192.0, -8192.0 - 705.0], 64),
]  # fmt: skip


def faint_losses(z: np.ndarray[Any, Any]) -> dict[str, tuple[float, Any]]:
    """Losses of a row of logits whose target is class 0, and the true ones."""
    row, shares = z[None, :], np.eye(1, z.size) * 0.5
    values, counts = np.unique(z[1:], return_counts=True)
    with mp.workprec(300):
        behind = [(int(n), mp.mpf(z[0]) - mp.mpf(v)) for v, n in zip(values, counts, strict=True)]
        others = mp.fsum(n * mp.exp(-d) for n, d in behind)
        far = mp.fsum(n * d * mp.exp(-d) for n, d in behind)
        plain = mp.log1p(others)
        logs = row - max(float(z[0]), 0.0)
        return {
            "label": (fx.cross_entropy([0], logits=row), plain),
            "label, normalized": (fx.cross_entropy([0], log_probs=logs, normalize=True), plain),
            "label, weighted": (
                fx.cross_entropy([0], logits=row, class_weight=np.full(z.size, 3.0), reduction="sum"), 3 * plain
            ),
            "share": (fx.cross_entropy(shares, logits=row), plain / 2),
            "poly1": (fx.poly1_loss([0], logits=row), 2 * plain),
            "poly1 of a share": (fx.poly1_loss(shares, logits=row), plain),
            "entropy": (fx.entropy(logits=row), plain + far / (1 + others)),
        }  # fmt: skip


@pytest.mark.parametrize(("scores", "times"), FAINT)
def test_exponentials_that_are_no_normal_numbers(scores: list[float], times: int) -> None:
    z = np.array(scores + scores[-1:] * (times - 1))
    for name, (got, true) in faint_losses(z).items():
        if true > 2.0**-1021.9:
            assert ulps(float(got), true) <= 4.0, name


def test_entropy_of_log_probabilities_that_are_no_normal_numbers() -> None:
    row = [0.0, -690.0, -709.5, -720.0]
    with mp.workprec(300):
        for n in (1, 2):
            got = fx.entropy(log_probs=[row[:1] + row[n:]], reduction="none")[0]
            true = mp.fsum(-mp.mpf(v) * mp.exp(v) for v in row[n:])
            assert ulps(float(got), true) <= 4.0


def test_a_row_far_ahead_costs_nothing() -> None:
    assert (
        fx.cross_entropy([0, 0, 0], logits=[[0.0, -746.0], [1e4, -1e4], [0.0, -np.inf]], reduction="none").tolist()
        == [0.0] * 3
    )
