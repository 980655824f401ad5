"""Classes along any axis: rows of (B, T, V) and (N, C, H, W) are those of the same numbers as a matrix."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fastxent as fx
from fastxent.api.axes import _Rows
from tests.shell import run

RNG = np.random.default_rng(4)
TOKENS = RNG.normal(size=(6, 7, 11))
WORDS = RNG.integers(0, 11, (6, 7))
WORDS[:, 5:] = -100
IMAGES = RNG.normal(size=(5, 3, 4, 6)).astype(np.float32)
PIXELS = RNG.integers(0, 3, (5, 4, 6))


def matrix(array, axis):
    """The slow twin: everything moved and copied."""
    return np.ascontiguousarray(np.moveaxis(array, axis, -1)).reshape(-1, array.shape[axis])


CASES = {"tokens": (TOKENS, WORDS, -1), "images": (IMAGES, PIXELS, 1), "first": (np.moveaxis(TOKENS, -1, 0), WORDS, 0)}


@pytest.mark.parametrize("name", CASES)
def test_losses_keep_their_shape(name):
    scores, target, axis = CASES[name]
    rows = matrix(scores, axis)
    call = {"axis": axis, "ignore_index": -100, "label_smoothing": 0.1}
    plain = {"ignore_index": -100, "label_smoothing": 0.1, "logits": rows}
    losses = fx.cross_entropy(target, logits=scores, reduction="none", **call)
    assert losses.shape == target.shape
    assert losses.ravel().tolist() == fx.cross_entropy(target.ravel(), reduction="none", **plain).tolist()
    for reduction in ("mean", "sum"):
        ours = fx.cross_entropy(target, logits=scores, reduction=reduction, **call)
        assert ours == fx.cross_entropy(target.ravel(), reduction=reduction, **plain)
    terms = fx.cross_entropy(target, logits=scores, reduction="elementwise", **call)
    assert terms.shape == scores.shape
    np.testing.assert_allclose(terms.sum(axis=axis), losses, rtol=1e-14)
    soft = np.exp(scores) / np.exp(scores).sum(axis=axis, keepdims=True)
    ours = fx.cross_entropy(soft, logits=scores, axis=axis, reduction="none")
    assert ours.ravel().tolist() == fx.cross_entropy(matrix(soft, axis), logits=rows, reduction="none").tolist()
    entropies = fx.entropy(logits=scores, axis=axis, reduction="none")
    assert entropies.shape == target.shape


def test_they_are_those_of_torch():
    torch = pytest.importorskip("torch")
    theirs = torch.nn.functional.cross_entropy(torch.tensor(IMAGES), torch.tensor(PIXELS), reduction="none")
    ours = fx.cross_entropy(torch.tensor(PIXELS), logits=torch.tensor(IMAGES), axis=1, reduction="none")
    np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-5, atol=1e-6)
    halves = torch.tensor(TOKENS).to(torch.bfloat16)
    ours = fx.cross_entropy(WORDS, logits=halves, axis=2, ignore_index=-100)
    assert ours == fx.cross_entropy(WORDS.ravel(), logits=halves.reshape(-1, 11), ignore_index=-100)


def test_evaluations(tmp_path):
    languages, documents, weight = np.array(["de", "fr"] * 3), np.arange(6), RNG.random((6, 7))
    call = {"ignore_index": -100, "worst": 3}
    ev = fx.evaluate(
        logits=TOKENS, target=WORDS, axis=-1, weight=weight, group_by={"language": languages},
        cluster_by={"doc": documents}, **call,
    )  # fmt: skip
    flat = fx.evaluate(
        logits=TOKENS.reshape(-1, 11), target=WORDS.ravel(), weight=weight.ravel(),
        group_by={"language": np.repeat(languages, 7)}, cluster_by={"doc": np.repeat(documents, 7)}, **call,
    )  # fmt: skip
    assert ev.totals.to_bytes() == flat.totals.to_bytes()
    evaluator = fx.Evaluator(axis=-1, ignore_index=-100)
    for lo in (0, 2, 4):
        evaluator.update(WORDS[lo : lo + 2], logits=TOKENS[lo : lo + 2])
    assert evaluator.compute().loss == fx.evaluate(logits=TOKENS, target=WORDS, axis=2, ignore_index=-100).loss
    rows = fx.score(logits=IMAGES, target=PIXELS, axis=1, keep={"pixel": np.arange(120).reshape(5, 4, 6)})
    assert rows["pixel"].to_pylist() == list(range(120))
    np.save(tmp_path / "z.npy", IMAGES)
    np.save(tmp_path / "y.npy", PIXELS)
    result = run("evaluate", "--logits", tmp_path / "z.npy", "--target", "y.npy", "--axis", "1", "--json", "-")
    assert json.loads(result.stdout)["loss"]["mean"] == fx.cross_entropy(PIXELS, logits=IMAGES, axis=1)


def test_labels_along_an_axis():
    events = RNG.integers(0, 2, IMAGES.shape)
    mask = RNG.random(IMAGES.shape) < 0.8
    mask[:, 0] = True
    ours = fx.binary_cross_entropy(events, logits=IMAGES, axis=1, mask=mask, reduction="elementwise")
    rows = fx.binary_cross_entropy(matrix(events, 1), logits=matrix(IMAGES, 1), mask=matrix(mask, 1), reduction="none")
    np.testing.assert_allclose(matrix(ours, 1).sum(axis=1) / matrix(mask, 1).sum(axis=1), rows, rtol=1e-14)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_blocks(axis):
    array = RNG.normal(size=(5, 4, 3))
    rows, whole = _Rows(array, axis), matrix(array, axis)
    for lo in range(len(whole)):
        for hi in range(lo, len(whole) + 1):
            assert rows[lo:hi].tolist() == whole[lo:hi].tolist()


BAD = [
    ({"axis": 3}, "logits have 3 dimensions, there is no axis 3 among them"),
    ({"axis": 1}, r"target must have shape \(6, 11\) or \(6, 7, 11\) beside logits, got \(6, 7\)"),
    ({"axis": -1, "weight": np.ones(7)}, r"weight must have shape \(6, 7\) or \(6,\), got \(7,\)"),
    ({"axis": -1, "group_by": {"g": np.ones((7, 6))}}, r"g must have shape \(6, 7\)"),
    ({}, r"predictions must have shape \(n, classes\), got \(6, 7, 11\); .*axis="),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_what_is_wrong_is_said(call, message):
    with pytest.raises(fx.UsageError, match=message):
        fx.evaluate(logits=TOKENS, target=WORDS, ignore_index=-100, **call)


def test_axis_needs_arrays_with_classes(tmp_path):
    for call in ({"losses": [1.0]}, {"logits": [1.0], "target": [1], "task": "binary"}):
        with pytest.raises(fx.UsageError, match="here are none"):
            fx.evaluate(**call, axis=0)
    with pytest.raises(fx.UsageError, match="here are none"):
        fx.evaluate(tmp_path / "a.parquet", logits="z", target="y", axis=1)
