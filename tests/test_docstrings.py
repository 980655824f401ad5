"""The programs that docstrings say a function equals: they are run, and the function is compared with them."""

from __future__ import annotations

import inspect
import re
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import fastxent as fx

RNG = np.random.default_rng(11)
N, C = 60, 7
Z = RNG.standard_normal((N, C)) * 2
P = np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True)
Q = RNG.dirichlet(np.ones(C), N)
Y = RNG.integers(0, C, N)
W = RNG.random(C) + 0.1
S = RNG.random(N) + 0.1
PUBLIC = [name for name in fx.__all__ if inspect.isfunction(getattr(fx, name))]


def program(function: Any) -> str:
    """The literal block of a docstring."""
    text = (inspect.getdoc(function) or "") + "\n"
    match = re.search(r"[Ii]t\s+equals\s+the\s+program\s+::\n\n((?: {4,}.*\n)+)", text)
    assert match, function.__name__
    return textwrap.dedent(match[1])


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (fx.cross_entropy, {"target": Y, "logits": Z, "class_weight": W, "weight": S}),
        (fx.binary_cross_entropy, {"target": Q[:, 0], "logits": Z[:, 0], "pos_weight": 3.0, "label_smoothing": 0.1}),
        (fx.entropy, {"logits": Z}),
        (fx.kl_divergence, {"target": Q, "probs": P}),
        (fx.focal_loss, {"target": Y, "probs": P, "class_weight": W, "gamma": 1.5}),
    ],
)
def test_the_function_is_its_program(function: Any, named: dict[str, Any]) -> None:
    scope = {"np": np} | named
    exec(program(function), scope)
    rows = {key: value for key, value in named.items() if key != "weight"}
    np.testing.assert_allclose(function(**rows, reduction="none"), scope["loss"], rtol=1e-12)
    mean = scope.get("mean")
    if mean is None:
        weight = W[Y] if "class_weight" in named else np.ones(N)
        mean = scope["loss"].sum() / weight.sum()
    assert function(**named) == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize("name", ["evaluate", "score"])
def test_what_is_read_and_written_equals_its_program(name: str, tmp_path: Path) -> None:
    scope: dict[str, Any] = {"np": np, "logits": Z, "target": Y}
    exec(program(getattr(fx, name)), scope)
    if name == "evaluate":
        result = fx.evaluate(logits=Z, target=Y)
        assert [result.loss, result.accuracy] == pytest.approx([scope["loss"], scope["accuracy"]], rel=1e-12)
        return
    fx.score(None, tmp_path / "rows.parquet", logits=Z, target=Y)
    rows = pq.read_table(tmp_path / "rows.parquet")
    for column in ("loss", "confidence", "p_target", "predicted"):
        np.testing.assert_allclose(rows[column].to_numpy(), scope[column], rtol=1e-12)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_function_says_what_is_asked(name: str) -> None:
    function = getattr(fx, name)
    text = inspect.getdoc(function) or ""
    assert re.match(r"[A-Z`][^\n]+\.\n\n", text), "one sentence first"
    for part in ("Args:", "Returns:", "Raises:", "Examples:", *(["References:"] if "equals the" in text else [])):
        assert f"\n{part}\n" in text, part
    assert ">>> " in text
    for argument in inspect.signature(function).parameters:
        assert re.search(rf"\b{argument}\b", text), argument
