"""The examples that tutorials print: what is to be seen in the results, digit by digit."""

from __future__ import annotations

import numpy as np
import pytest

import fastxent as fx

TARGET, PROBS = [0, 1, 0], [0.3, 0.6, 0.1]


def test_categorical_terms() -> None:
    """Of target [0, 1, 0] and probabilities [0.3, 0.6, 0.1] only the second class costs: -log 0.6."""
    t, p = np.array([TARGET], float), np.array([PROBS])
    (terms,) = fx.cross_entropy(t, probs=p, reduction="elementwise")
    assert terms.round(7).tolist() == [0.0, 0.5108256, 0.0]
    one_hot, label = fx.cross_entropy(t, probs=p), fx.cross_entropy([1], probs=p)
    assert one_hot == label == terms.sum()
    assert f"{label:.7f}" == "0.5108256"


def test_binary_terms() -> None:
    """The same numbers as three events: -log 0.7, -log 0.6, -log 0.9."""
    terms = fx.binary_cross_entropy(TARGET, probs=PROBS, reduction="none")
    assert terms.round(8).tolist() == [0.35667494, 0.51082562, 0.10536052]
    soft = fx.binary_cross_entropy(np.array(TARGET, float), probs=PROBS, reduction="none")
    np.testing.assert_array_equal(terms, soft)
    # Tutorials print 0.35667497 and 0.10536055: in float32, 1 - p is wrong by up to half an ulp of 1.
    np.testing.assert_allclose(terms, [0.35667497, 0.5108256, 0.10536055], rtol=0, atol=2.0**-24)


@pytest.mark.parametrize(("p", "bits"), [(0.775, "0.3677"), (0.936, "0.095")])
def test_cost_of_the_true_class_in_bits(p: float, bits: str) -> None:
    digits = len(bits) - 2
    assert f"{fx.cross_entropy([0], probs=[[p, 1 - p]], base=2):.{digits}f}" == bits
    assert f"{fx.binary_cross_entropy([1], probs=[p], base=2):.{digits}f}" == bits


def test_entropy_of_splits_in_bits() -> None:
    """The children of a split, 26 of 30 and 20 of 20 of one class."""
    counts = np.array([[26.0, 4.0], [20.0, 0.0]])
    entropies = fx.entropy(probs=counts / counts.sum(axis=1, keepdims=True), base=2, reduction="none")
    assert entropies.round(4).tolist() == [0.5665, 0.0]
    assert entropies[1] == 0.0


def test_binary_is_a_softmax_over_two_classes() -> None:
    rng = np.random.default_rng(5)
    z, y = rng.standard_normal(500) * 10, rng.integers(0, 2, 500)
    two = np.stack([np.zeros_like(z), z], axis=1)
    a = fx.binary_cross_entropy(y, logits=z, reduction="none")
    np.testing.assert_allclose(a, fx.cross_entropy(y, logits=two, reduction="none"), rtol=1e-14)
    smooth = fx.binary_cross_entropy(y, logits=z, label_smoothing=0.2)
    assert smooth == pytest.approx(fx.cross_entropy(y, logits=two, label_smoothing=0.2), rel=1e-14)


def test_multilabel_is_the_sum_of_its_binary_parts() -> None:
    rng = np.random.default_rng(6)
    z, y = rng.standard_normal((200, 5)) * 5, rng.integers(0, 2, (200, 5))
    rows = fx.binary_cross_entropy(y, logits=z, reduction="none")
    parts = [fx.binary_cross_entropy(y[:, j], logits=z[:, j], reduction="none") for j in range(5)]
    np.testing.assert_allclose(rows * 5, np.sum(parts, axis=0), rtol=1e-14)
    # The mean over rows is that over all elements.
    assert fx.binary_cross_entropy(y, logits=z) == pytest.approx(np.mean(parts), rel=1e-14)
