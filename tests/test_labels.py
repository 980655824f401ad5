"""Targets that are no class indices: `labels=` says what they mean; errors without it name the cause and the cure."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shell import fastxent

import fastxent as fx

Z = np.array([[2.0, 0.0, 0.5], [0.0, 1.0, 0.0], [0.25, 0.0, 3.0], [1.0, 1.0, 0.0]])
Y = np.array([0, 1, 2, 1])
#: what the target holds, and the labels that say so
FORMS = {
    "from one": (Y + 1, range(1, 4)),
    "text": (np.array(["a", "b", "c"])[Y], ["a", "b", "c"]),
    "text of numbers": (Y * 10 - 10, ["-10", "0", "10"]),
    "floats": ((Y + 1) / 2, [0.5, 1.0, 1.5]),
    "whole floats": (Y + 1.0, [1, 2, 3]),
    "large": (Y.astype(np.uint64) + np.uint64(2**63), [2**63, 2**63 + 1, 2**63 + 2]),
    "int8": (np.array([-100, 100, 7], np.int8)[Y], [-100, 100, 7]),
}


@pytest.mark.parametrize("form", FORMS)
def test_stored_values(form):
    target, labels = FORMS[form]
    right = fx.cross_entropy(Y, logits=Z)
    assert fx.cross_entropy(target, logits=Z, labels=labels) == right
    assert fx.poly1_loss(target, logits=Z, labels=labels, epsilon=0.0) == right
    table = pa.table({"z": pa.array(Z.tolist()), "y": target})
    ev = fx.evaluate(table, "y", logits="z", labels=labels)
    assert (ev.loss, ev.class_names) == (right, tuple(map(str, labels)))
    assert fx.evaluate(table, "y", logits="z", labels=labels, class_names=["x", "y", "z"]).class_names == (
        "x",
        "y",
        "z",
    )
    np.testing.assert_array_equal(ev.confusion, fx.evaluate(logits=Z, target=Y).confusion)


@pytest.mark.parametrize(
    ("target", "labels"),
    [([1, -1, 1], [-1, 1]), ([1.0, -1.0, 1.0], [-1, 1]), ([True, False, True], [False, True]),
     (["y", "n", "y"], ["n", "y"]), ([False, True, False], [True, False]), ([2, 1, 2], ["1", "2"])],
)  # fmt: skip
def test_two_values(target, labels):
    z = np.array([2.0, 1.0, -0.5])
    right = fx.binary_cross_entropy([1, 0, 1], logits=z)
    assert fx.binary_cross_entropy(target, logits=z, labels=labels) == right
    assert fx.evaluate(pa.table({"z": z, "y": target}), "y", logits="z", task="binary", labels=labels).loss == right
    assert fx.focal_loss(target, logits=z, labels=labels, gamma=0.0) == right
    if not isinstance(target[0], str):
        right = fx.binary_cross_entropy([[1, 0, 1]], logits=[z])
        assert fx.binary_cross_entropy([target], logits=[z], labels=labels) == right
        table = pa.table({"z": [list(z)], "y": [target]})
        assert fx.evaluate(table, "y", logits="z", task="multilabel", labels=labels).loss == right


def test_the_shell_and_files_in_parts(tmp_path):
    pq.write_table(pa.table({"z": pa.array(Z.tolist()), "y": Y + 1}), tmp_path / "a.parquet", row_group_size=1)
    arguments = [tmp_path / "a.parquet", "--logits", "z", "--target", "y", "--labels", "1,2,3"]
    assert json.loads(fastxent("evaluate", *arguments, "--json", "-").stdout)["loss"]["mean"] == fx.cross_entropy(
        Y, logits=Z
    )
    np.save(tmp_path / "z.npy", Z)
    np.save(tmp_path / "y.npy", np.where(Y == 1, -1, 1))
    ev = fx.evaluate(logits=tmp_path / "z.npy", target=tmp_path / "y.npy", labels=["5", "-1", "1"])
    assert ev.loss == fx.cross_entropy([2, 1, 2, 1], logits=Z)
    compared = fx.compare(tmp_path / "a.parquet", None, "y", logits="z", b_logits="z", by_order=True, labels=[1, 2, 3])
    assert compared.a.loss == fx.cross_entropy(Y, logits=Z)


def test_ignored_values_are_those_that_are_stored():
    right = fx.evaluate(logits=Z[:3], target=Y[:3])
    for values in ([1, 2, 3, 0], pa.array([1, 2, 3, 0])):
        ev = fx.evaluate(logits=Z, target=values, labels=[1, 2, 3], ignore_index=0)
        assert (ev.loss, ev.rows["ignored"]) == (right.loss, 1)
    with pytest.raises(fx.UsageError, match="ignore_index: -1 is one of labels"):
        fx.binary_cross_entropy([-1, 1], logits=[0.5, 1.0], labels=[-1, 1], ignore_index=-1)


def test_what_labels_cannot_be():
    for labels, words in [
        ([1, 2], "expected 3 values, one a class, got 2"),
        ([1, 2, 2], "stands for two classes"),
        ([1, True, 2], "stands for two classes"),
        (["a", "b", "c"], "the target holds numbers, and 'a' is none"),
        ([None, 1, 2], "expected numbers, bool or text"),
    ]:
        with pytest.raises(fx.UsageError, match=words):
            fx.cross_entropy(Y, logits=Z, labels=labels)
    with pytest.raises(fx.UsageError, match="distributions"):
        fx.cross_entropy(np.eye(3)[Y], logits=Z, labels=[1, 2, 3])
    with pytest.raises(fx.InvalidRowError, match=r"row 0 .*none of the class names \(or of labels\)"):
        fx.cross_entropy(Y, logits=Z, labels=[1, 2, 3])


@given(
    st.lists(st.integers(-(2**62), 2**62), min_size=3, max_size=3, unique=True),
    st.lists(st.integers(0, 2), min_size=1, max_size=9),
)
def test_any_integers(labels, target):
    z = np.resize(Z, (len(target), 3))
    assert fx.cross_entropy(np.array(labels)[target], logits=z, labels=labels) == fx.cross_entropy(target, logits=z)


#: target, classes -> the cause and the cure
CAUSES = [
    ([1, 2, 3, 1], 3, r"label 3, classes are 0 to 2; .*count from 1, pass labels=.*: 1,2,3"),
    ([-1, 1, 1, -1], 2, r"label -1, classes are 0 to 1; if labels are -1 and 1, .*labels=.*: -1,1"),
    ([0, 1, -1, 2], 3, r"label -1, classes are 0 to 2; if -1 marks rows to leave out, pass ignore_index=-1"),
    ([0, 1, 1, 0], 1, r"label 1, and one class; one score a row is a binary task"),
]


@pytest.mark.parametrize(("target", "classes", "words"), CAUSES)
def test_errors_name_the_cause_and_the_cure(target, classes, words):
    for call in (fx.cross_entropy, fx.focal_loss, fx.poly1_loss):
        with pytest.raises(fx.InvalidRowError, match=words):
            call(target, logits=Z[:, :classes])
    table = pa.table({"z": pa.array(Z[:, :classes].tolist()), "y": target})
    with pytest.raises(fx.InvalidRowError, match=words):
        fx.evaluate(table, "y", logits="z")


@pytest.mark.parametrize("target", [[-1, 1], [-1.0, 1.0]])
def test_binary_targets_of_minus_one(target):
    words = r"-1 and 1, say so by labels=.*: -1,1"
    for arguments in ((target, [0.5, 0.5]), ([target], [[0.5, 0.5]])):
        with pytest.raises(fx.InvalidRowError, match=words) as caught:
            fx.binary_cross_entropy(arguments[0], logits=arguments[1])
        assert "pass ignore_index" not in str(caught.value)


def test_one_score_a_row():
    table = pa.table({"p": [0.5, 0.25], "y": [0, 0]})
    with pytest.raises(fx.UsageError, match="one score a row is task='binary'"):
        fx.evaluate(table, "y", probs="p")
    for probs in (table["p"].to_numpy(), table["p"]):
        with pytest.raises(
            fx.UsageError, match=r"one score a row is what fastxent\.binary_cross_entropy takes"
        ) as caught:
            fx.cross_entropy([0, 0], probs=probs)
        assert "task=" not in str(caught.value)


def test_errors_name_what_is_wrong():
    for arguments, words in [
        (
            {"log_probs": [[1e-9, -20.0]]},
            r"logarithm of a probability lies above 0: class 0 is 1e-09; .*\(logits=, probs=\)",
        ),
        ({"log_probs": [[-2.4, 3.0]]}, r"above 0: class 1 is 3\.0; if these are logits or probabilities"),
        ({"probs": [[-2.4, 0.5]]}, r"outside \[0, 1\]: class 0 is -2\.4; .*log_probs="),
    ]:
        with pytest.raises(fx.InvalidRowError, match=words):
            fx.cross_entropy([0], **arguments)
    with pytest.raises(fx.InvalidRowError, match=r"class 1 is 3\.0"):  # the first is masked
        fx.binary_cross_entropy([[1, 0]], probs=[[2.0, 3.0]], mask=[[False, True]])
    with pytest.raises(fx.InvalidRowError, match=r"class 0 is 0\.5; targets are log_probs"):
        fx.kl_divergence([[0.5, -1.0]], log_probs=[[-0.5, -1.0]])
    with pytest.raises(fx.InvalidRowError, match="the label is no whole number"):
        fx.cross_entropy([0.5], logits=[[1.0, 2.0]])
