"""Laws of every loss: what its file says is what the spec, the functions and the statistics go by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fastxent as fx
from fastxent import Spec
from fastxent.losses import base
from fastxent.losses.registry import LOSSES, OPTIONS

RNG = np.random.default_rng(3)
P, Q = RNG.dirichlet(np.ones(4), 9), RNG.dirichlet(np.ones(4), 9)
Y = RNG.integers(0, 4, 9)


def spec_of(loss: base.Loss, **more: Any) -> Spec:
    return Spec.make(num_classes=3, loss=loss.name, soft=loss.needs_distribution, **more)


def target_of(loss: base.Loss) -> Any:
    return Q if loss.needs_distribution else Y


def test_every_file_is_a_loss() -> None:
    files = {path.stem for path in Path(base.__file__).parent.glob("*.py")} - {"__init__", "base", "ready", "registry"}
    assert set(LOSSES) == files
    assert next(iter(LOSSES)) == "cross_entropy"


@pytest.mark.parametrize("loss", LOSSES.values(), ids=str)
def test_options_of_one_name_are_one_option(loss: base.Loss) -> None:
    for option in loss.options:
        assert OPTIONS[option.name] is option
        assert option.annotation == "float"
        assert option.doc
        assert option.brief


@pytest.mark.parametrize("loss", LOSSES.values(), ids=str)
def test_a_spec_with_options_is_json_and_back_and_has_a_hash(loss: base.Loss) -> None:
    assert spec_of(loss).to_dict().keys() <= {"num_classes", "loss", "soft"}
    given = {option.name: option.default + 0.25 for option in loss.options}
    spec = spec_of(loss, **given)
    stored = json.loads(json.dumps(spec.to_dict()))
    assert {name: stored[name] for name in given} == given
    again = Spec.from_dict(stored)
    assert (again, hash(again), again.digest()) == (spec, hash(spec), spec.digest())
    assert (spec == spec_of(loss)) == (spec.digest() == spec_of(loss).digest()) == (not given)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=str)
def test_options_of_another_loss_are_refused_unless_at_their_default(loss: base.Loss) -> None:
    for name, option in OPTIONS.items():
        if option not in loss.options:
            assert spec_of(loss, **{name: option.default}) == spec_of(loss)
            with pytest.raises(fx.UsageError, match=f"{name} applies to loss '.*', and this is '{loss.name}'"):
                spec_of(loss, **{name: option.default + 0.25})


def test_a_state_with_the_option_of_another_loss_is_of_another_version() -> None:
    with pytest.raises(fx.StateError, match="unknown fields gamma"):
        Spec.from_dict({"num_classes": 3, "gamma": 2.5})


@pytest.mark.parametrize("loss", LOSSES.values(), ids=str)
def test_flags(loss: base.Loss) -> None:
    for task in ("binary", "multilabel"):
        if task not in loss.tasks:
            with pytest.raises(fx.UsageError, match=f"loss '{loss.name}' applies to task 'multiclass'"):
                Spec.make(num_classes=1, task=task, loss=loss.name, soft=True)
    if not loss.takes_class_options:
        for more in ({"label_smoothing": 0.1}, {"class_weight": [1, 2, 3]}, {"ignore_index": 0}):
            with pytest.raises(fx.UsageError, match="takes no label_smoothing, class_weight or ignore_index"):
                spec_of(loss, **more)
    evaluation = fx.evaluate(probs=P, target=target_of(loss), loss=loss.name)
    assert (evaluation.accuracy is not None) == loss.predicts_class


@pytest.mark.parametrize("loss", LOSSES.values(), ids=str)
def test_the_entropy_of_the_predictions_is_the_same_beside_every_loss(loss: base.Loss) -> None:
    evaluation = fx.evaluate(probs=P, target=target_of(loss), loss=loss.name, statistics="entropy")
    assert evaluation.entropy == fx.entropy(probs=P)
