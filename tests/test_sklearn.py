"""The functions of `fastxent.sklearn` beside scikit-learn's: its own tests, random cases, its tools."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, cross_val_score

import fastxent as fx
import fastxent.sklearn
from fastxent.sklearn import brier_score_loss, d2_log_loss_score, log_loss, top_k_accuracy_score
from tests.shell import ROOT

NAMES = fastxent.sklearn.__all__
#: Tests of scikit-learn that are left out -> why.
EXCLUDED: dict[str, str] = {}


@pytest.mark.slow
def test_the_tests_of_scikit_learn() -> None:
    modules = [
        f"sklearn.metrics.tests.test_{name}" for name in ("classification", "ranking", "common", "score_objects")
    ]
    chosen = "(log_loss or brier or top_k or d2_log)" + "".join(f" and not {name}" for name in EXCLUDED)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "tests.sklearn_patch", "-p", "no:cacheprovider"),
            *("-c", os.devnull, "--rootdir", str(ROOT), "-k", chosen, "--pyargs", *modules),
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)}, cwd=ROOT, text=True, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    assert int(done.stdout.rsplit(" passed", 1)[0].split()[-1]) > 150, done.stdout


def cases(draw):
    """Labels of some kind, scores and weights: mostly plain, sometimes what scikit-learn refuses or warns of."""
    n, count = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    probs = rng.dirichlet(np.ones(count), n) if draw(st.booleans()) else np.eye(count)[rng.integers(0, count, n)]
    if draw(st.integers(0, 9)) == 0:
        probs = probs * draw(st.sampled_from([0.5, 2.0, -1.0, np.nan]))
    probs = probs.astype(draw(st.sampled_from([np.float64, np.float32])))
    if draw(st.booleans()) and count == 2:
        probs = probs[:, 1] if draw(st.booleans()) else probs[:, 1:]
    names = draw(
        st.sampled_from(
            [
                np.arange(5),
                np.arange(1, 6),
                [-1, 1, 3, 4, 5],
                [False, True, 2, 3, 4],
                list("edcba"),
                [0.0, 0.5, 1, 2, 3],
            ]
        )
    )
    y = np.asarray(names[:count] if count != 2 else names[:2])[rng.integers(0, count, n)]
    labels = draw(st.sampled_from([None, None, list(names[:count]), sorted(names[:count]), list(names[: count + 1])]))
    weight = draw(st.sampled_from([None, None, rng.random(n), rng.integers(0, 2, n), -np.ones(n), np.ones(n + 1)]))
    kind = draw(st.sampled_from([np.asarray, list, pd.Series]))
    return kind(y), probs, {"sample_weight": weight, "labels": labels}


def outcome(function, *arguments, **keywords):
    """The number or the error, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = function(*arguments, **keywords)
        except Exception as error:
            found = f"{type(error).__name__}: {error}"
    return found, [f"{each.category.__name__}: {each.message}" for each in caught]


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_the_same_as_scikit_learn(name, data) -> None:
    y, scores, keywords = cases(data.draw)
    if name == "brier_score_loss":
        keywords["pos_label"] = data.draw(st.sampled_from([None, None, 1, 0, "a", "e", True]))
        keywords["scale_by_half"] = data.draw(st.sampled_from(["auto", True, False, "no"]))
    if name == "top_k_accuracy_score":
        scores = np.round(scores, 1)  # ties
        keywords["k"] = data.draw(st.sampled_from([1, 2, 3, 0, "1", True, np.int64(2)]))
    if name in ("log_loss", "top_k_accuracy_score"):
        keywords["normalize"] = data.draw(st.sampled_from([True, True, False, "yes"]))
    ours, our_warnings = outcome(getattr(fastxent.sklearn, name), y, scores, **keywords)
    theirs, their_warnings = outcome(getattr(sklearn.metrics, name), y, scores, **keywords)
    assert our_warnings == their_warnings
    if isinstance(theirs, str):
        assert ours == theirs
    else:
        assert type(ours) is float
        few = 1e-9 if scores.dtype == np.float64 else 1e-5
        assert ours == pytest.approx(theirs, rel=few, abs=few, nan_ok=True)


@pytest.fixture
def alone(monkeypatch):
    """Plain arguments never reach scikit-learn's functions."""

    def refuse(*arguments, **keywords):
        raise AssertionError("scikit-learn was asked")

    for name in NAMES:
        monkeypatch.setattr(fastxent.sklearn, f"_{name}", refuse)


@pytest.mark.parametrize("kind", ["indices", "signs", "text", "objects", "bool", "float"])
@pytest.mark.parametrize("weighted", [False, True])
def test_plain_arguments_are_computed_here(alone, kind, weighted) -> None:
    rng = np.random.default_rng(3)
    values = {
        "indices": [0, 1], "signs": [-1, 1], "text": ["a", "b"], "bool": [False, True], "float": [0.0, 1.0],
        "objects": np.array(["a", "b"], object),
    }  # fmt: skip
    y, p, w = np.asarray(values[kind])[rng.integers(0, 2, 1000)], rng.random(1000), rng.random(1000)
    positive = None if kind not in ("text", "objects") else "b"
    keywords = {"sample_weight": w if weighted else None}
    two = np.stack([1 - p, p], 1)
    for ours, theirs, own in (
        (log_loss, sklearn.metrics.log_loss, {}),
        (brier_score_loss, sklearn.metrics.brier_score_loss, {"pos_label": positive}),
        (d2_log_loss_score, sklearn.metrics.d2_log_loss_score, {}),
    ):
        assert ours(y, p, **keywords, **own) == pytest.approx(theirs(y, p, **keywords, **own), rel=1e-12)
        assert ours(y, two, **keywords) == pytest.approx(theirs(y, two, **keywords), rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_equal_scores_are_ranked_as_scikit_learn_does(alone, k) -> None:
    rng = np.random.default_rng(k)
    y, scores, w = rng.integers(0, 5, 3000), rng.integers(-2, 3, (3000, 5)), rng.random(3000)
    for keywords in ({}, {"sample_weight": w}, {"normalize": False}, {"normalize": False, "sample_weight": w}):
        ours = top_k_accuracy_score(y, scores, k=k, **keywords)
        assert ours == sklearn.metrics.top_k_accuracy_score(y, scores, k=k, **keywords)
        assert ours == top_k_accuracy_score(y, scores.astype(np.float32), k=k, **keywords)
    equal = np.zeros((5, 5))
    assert top_k_accuracy_score([4] * 5, equal, k=k, labels=list(range(5))) == 1.0  # those to the right come first,
    assert fx.evaluate(logits=equal, target=[4] * 5, top_k=[k]).top_k[k] == 0.0  # and here those to the left


def test_the_clip_is_that_of_scikit_learn(alone) -> None:
    for kind in (np.float64, np.float32):
        p = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], kind)
        assert log_loss([1, 1, 2], p, labels=[0, 1, 2]) == pytest.approx(-np.log(np.finfo(kind).eps) / 3, rel=1e-6)
        ours, theirs = (each.log_loss([0, 1], np.array([1, 0], kind)) for each in (fastxent.sklearn, sklearn.metrics))
        assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("classes", [2, 3])
def test_scorers_and_searches(classes) -> None:
    x, y = make_classification(400, n_informative=5, n_classes=classes, random_state=1)
    y = np.array(["b", "c", "a"])[y]
    model = LogisticRegression()
    for name, greater in (("log_loss", False), ("brier_score_loss", False), ("d2_log_loss_score", True)):
        scorers = [
            make_scorer(
                getattr(module, name), greater_is_better=greater, response_method="predict_proba",
                **({"pos_label": "c"} if name == "brier_score_loss" and classes == 2 else {}),
            )
            for module in (fastxent.sklearn, sklearn.metrics)
        ]  # fmt: skip
        ours, theirs = (cross_val_score(model, x, y, scoring=scorer) for scorer in scorers)
        assert np.isfinite(ours).all()
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)
        searches = [GridSearchCV(model, {"C": [1e-3, 0.1, 10]}, scoring=scorer).fit(x, y) for scorer in scorers]
        assert searches[0].best_params_ == searches[1].best_params_
        assert searches[0].best_score_ == pytest.approx(searches[1].best_score_, rel=1e-12)


def test_digits_with_top_k() -> None:
    x, y = load_digits(return_X_y=True)
    model = LogisticRegression(max_iter=30, tol=0.1)
    found = [
        cross_val_score(
            model,
            x / 16,
            y,
            cv=3,
            scoring=make_scorer(module.top_k_accuracy_score, response_method="predict_proba", k=2),
        )
        for module in (fastxent.sklearn, sklearn.metrics)
    ]
    assert found[0].tolist() == found[1].tolist()


def test_without_scikit_learn_the_extra_is_named() -> None:
    code = "import sys; sys.modules['sklearn'] = None\nimport fastxent.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert "fastxent.sklearn needs scikit-learn, which is not installed: pip install 'fastxent[sklearn]'" in done.stderr
