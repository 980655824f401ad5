"""Losses of arrays against the twins, scikit-learn, torch and SciPy, and the laws of weights and sums."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

import fastxent as fx
from tests.cases import CASES, random_logits, trained_logits
from tests.naive import KINDS
from tests.strategies import logits

RNG = np.random.default_rng(6)
law = settings(deadline=None, max_examples=40)


def losses(case, data, **options):
    function = fx.cross_entropy if case.task == "multiclass" else fx.binary_cross_entropy
    return function(**case.arguments(data), **options)


#: Every case in float32, and those of logits in float16 too.
TYPED = [
    (case, kind) for case in CASES for kind in ("float32", "float16") if kind == "float32" or case.form == "logits"
]


@pytest.mark.parametrize(("case", "kind"), TYPED, ids=lambda each: getattr(each, "name", each))
def test_every_case_against_its_twin(case, kind):
    data = case.generate(np.random.default_rng(1), 300, 7, kind)
    got = losses(case, data, reduction="none")
    np.testing.assert_allclose(got, case.reference(data), rtol=2e-14, atol=0)
    assert losses(case, data, reduction="sum") == math.fsum(got)
    assert losses(case, data) == pytest.approx(math.fsum(got) / 300, rel=1e-15)


@pytest.mark.parametrize("classes", [2, 10, 60])
def test_scikit_learn(classes):
    z, t = random_logits(RNG, 500, classes, "float64")
    p = scipy.special.softmax(z, axis=1)
    weight = RNG.uniform(0.0, 3.0, 500)
    labels = range(classes)
    assert fx.cross_entropy(t, logits=z) == pytest.approx(log_loss(t, p, labels=labels), rel=1e-12)
    assert fx.cross_entropy(t, probs=p) == pytest.approx(log_loss(t, p, labels=labels), rel=1e-12)
    wanted = log_loss(t, p, labels=labels, sample_weight=weight)
    assert fx.cross_entropy(t, logits=z, sample_weight=weight) == pytest.approx(wanted, rel=1e-12)


def test_scipy():
    z, t = random_logits(RNG, 500, 30, "float64")
    wanted = -scipy.special.log_softmax(z, axis=1)[np.arange(500), t]
    np.testing.assert_allclose(fx.cross_entropy(t, logits=z, reduction="none"), wanted, rtol=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignore", [None, 3, -100])
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_torch(reduction, ignore, kind):
    torch = pytest.importorskip("torch")
    z, t = random_logits(RNG, 200, 6, kind)
    if ignore == -100:
        t[::7] = -100
    wanted = torch.nn.functional.cross_entropy(
        torch.tensor(z.astype(np.float64)),
        torch.tensor(t),
        reduction=reduction,
        ignore_index=-100 if ignore is None else ignore,
    )
    got = fx.cross_entropy(torch.tensor(t), logits=torch.tensor(z), reduction=reduction, ignore_index=ignore)
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-12)


# --- laws ---------------------------------------------------------------------------------------------------


@given(logits(kinds=("float32",)))
@law
def test_the_sum_is_that_of_the_losses_rounded_once(rows):
    got = fx.cross_entropy(rows.t, logits=rows.z, reduction="none", on_invalid="skip")
    scored = got[~np.isnan(got)]
    assert fx.cross_entropy(rows.t, logits=rows.z, reduction="sum", on_invalid="skip") == math.fsum(scored)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(0, 2**32))
@law
def test_a_weight_of_two_is_a_row_twice_and_of_zero_no_row(weights, seed):
    z, t = trained_logits(np.random.default_rng(seed), len(weights), 5, "float32")
    weight = np.array(weights, float)
    repeated = np.repeat(np.arange(len(weights)), weights)
    weighted = fx.evaluate(logits=z, target=t, weight=weight)
    plain = fx.evaluate(logits=z[repeated], target=t[repeated])
    if repeated.size == 0:
        assert math.isnan(weighted.loss)
        assert math.isnan(plain.loss)
        return
    # Weights of 3 round the product; means of exact sums still agree to the last place or two.
    assert weighted.loss == pytest.approx(plain.loss, rel=4e-16)
    assert weighted.accuracy == plain.accuracy
    assert weighted.brier == pytest.approx(plain.brier, rel=4e-16)


def test_powers_of_two_as_weights_change_no_bit():
    z, t = trained_logits(RNG, 999, 10, "float32")
    assert fx.cross_entropy(t, logits=z, sample_weight=np.full(999, 0.25)) == fx.cross_entropy(t, logits=z)


def test_weight_zero_removes_an_infinite_loss():
    z = [[0.0, 1.0], [-math.inf, 0.0]]
    assert fx.cross_entropy([0, 0], logits=z) == math.inf
    assert fx.cross_entropy([0, 0], logits=z, sample_weight=[1, 0]) == fx.cross_entropy([0], logits=z[:1])


def test_two_classes_are_binary():
    z = RNG.normal(size=400) * 9
    y = RNG.integers(0, 2, 400)
    binary = fx.binary_cross_entropy(y, logits=z, reduction="none")
    two = fx.cross_entropy(y, logits=np.stack([np.zeros(400), z], axis=1), reduction="none")
    np.testing.assert_allclose(binary, two, rtol=1e-15)


@pytest.mark.parametrize("kind", KINDS)
def test_containers_of_the_same_numbers(tmp_path, kind):
    z, t = random_logits(RNG, 333, 5, kind)
    wanted = fx.cross_entropy(t, logits=z)
    frozen = z.copy()
    frozen.flags.writeable = False
    for other in (np.asfortranarray(z), frozen, np.repeat(z, 2, axis=0)[::2], z[:, ::-1].copy()[:, ::-1]):
        assert fx.cross_entropy(t, logits=other) == wanted
    if kind != "bfloat16":
        np.save(tmp_path / "z.npy", z)
        assert fx.cross_entropy(t, logits=np.load(tmp_path / "z.npy", mmap_mode="r")) == wanted
        np.save(tmp_path / "t.npy", t)
        assert fx.evaluate(logits=tmp_path / "z.npy", target=tmp_path / "t.npy").loss == wanted
        assert fx.cross_entropy(t, logits=z.astype(z.dtype.newbyteorder())) == wanted


@pytest.mark.parametrize("kind", ["float16", "bfloat16"])
def test_patterns_of_16_bits_in_any_order(kind):
    z, t = random_logits(RNG, 100, 5, kind)
    bits = z.view(np.uint16)
    wanted = fx.cross_entropy(t, logits=z)
    for other in (bits, bits.astype(">u2"), np.asfortranarray(bits), np.asfortranarray(bits.astype(">u2"))):
        assert fx.cross_entropy(t, logits=other, dtype=kind) == wanted


def test_divergence_from_integers():
    z, t = random_logits(RNG, 50, 5, "float32")
    one_hot = np.eye(5)[t]
    wanted = fx.kl_divergence(one_hot, probs=scipy.special.softmax(z, axis=1))
    assert fx.kl_divergence(one_hot.astype(np.uint8), probs=scipy.special.softmax(z, axis=1)) == wanted
    bits = z.astype(np.float16).view(np.uint16)
    with pytest.raises(fx.UsageError, match="bit patterns"):
        fx.kl_divergence(bits, logits=bits, dtype="float16")


@pytest.mark.parametrize("label", [np.uint8, np.int32, np.float64])
def test_labels_of_any_type(label):
    z, t = random_logits(RNG, 100, 5, "float32")
    assert fx.cross_entropy(t.astype(label), logits=z) == fx.cross_entropy(t, logits=z)


def test_nothing_has_no_mean():
    assert math.isnan(fx.cross_entropy(np.zeros(0, int), logits=np.zeros((0, 3))))
    assert fx.cross_entropy(np.zeros(0, int), logits=np.zeros((0, 3)), reduction="sum") == 0.0
    assert math.isnan(fx.cross_entropy([-1], logits=[[1.0, 2.0]], ignore_index=-1))


def test_units():
    assert fx.cross_entropy([0], logits=[[0.0, 0.0]], base=2) == 1.0
    assert fx.cross_entropy([0], logits=[[0.0] * 10], base=10) == pytest.approx(1.0)


def test_policies():
    z = np.array([[0.0, 1.0], [math.nan, 0.0], [1.0, 0.0]])
    t = [0, 0, 1]
    assert np.isnan(fx.cross_entropy(t, logits=z, on_invalid="propagate"))
    skipped = fx.cross_entropy(t, logits=z, on_invalid="skip", reduction="none")
    assert np.isnan(skipped).tolist() == [False, True, False]
    assert fx.cross_entropy(t, logits=z, on_invalid="skip") == fx.cross_entropy([0, 1], logits=z[::2])


def test_numbers_of_numpy_and_torch_as_options():
    torch = pytest.importorskip("torch")
    z, y = np.random.default_rng(0).standard_normal((9, 3)), np.arange(9) % 3
    events = (y == 1).astype(int)
    three = fx.binary_cross_entropy(events, logits=z[:, 0], pos_weight=3.0)
    for w in (np.float32(3.0), np.int64(3), np.array(3.0), torch.tensor(3.0), torch.tensor([3.0]), [3]):
        assert fx.binary_cross_entropy(events, logits=z[:, 0], pos_weight=w) == three
    told = fx.evaluate(
        logits=z, target=y, ignore_index=np.int64(0), label_smoothing=np.float32(0.5), class_weight={np.int64(1): 2.0}
    )
    plain = fx.cross_entropy(y, logits=z, ignore_index=0, label_smoothing=0.5, class_weight=[1.0, 2.0, 1.0])
    assert told.loss == plain
    assert json.loads(told.to_json())["spec"]["ignore_index"] == 0


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"ignore_index": 1.5}, "ignore_index: expected an integer, got 1.5"),
        ({"label_smoothing": "a"}, "label_smoothing: expected a number, got 'a'"),
        ({"class_weight": "ab"}, "class_weight: expected numbers, one a class, got 'ab'"),
        ({"class_weight": 3.0}, "class_weight: expected numbers, one a class, got 3.0"),
        ({"clip": [0.1]}, "clip: expected a number"),
    ],
)
def test_options_that_are_no_numbers(option, message):
    with pytest.raises(fx.UsageError, match=message):
        fx.cross_entropy([0], probs=[[0.5, 0.5]], **option)


def test_events_by_name():
    z, names = np.random.default_rng(0).standard_normal(4), ["ham", "spam", "spam", "ham"]
    wanted = fx.binary_cross_entropy([0, 1, 1, 0], logits=z)
    assert fx.binary_cross_entropy(names, logits=z, class_names=["ham", "spam"]) == wanted
    assert fx.focal_loss(names, logits=z, gamma=0.0, class_names=["ham", "spam"]) == pytest.approx(wanted, rel=1e-15)
