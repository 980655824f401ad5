"""`fx.Evaluator` and `fx.merge`: the bits of one evaluation, however the rows come."""

from __future__ import annotations

import json

import numpy as np
import pytest

import fastxent as fx

RNG = np.random.default_rng(5)
ROWS = 500
LOGITS = RNG.normal(size=(ROWS, 4)).astype(np.float32)
TARGET = RNG.integers(0, 4, ROWS)
ALONG = {
    "weight": RNG.random(ROWS),
    "group_by": {"country": np.array(["de", "fr", "it"])[RNG.integers(0, 3, ROWS)], "year": RNG.integers(0, 2, ROWS)},
    "cluster_by": {"doc": RNG.integers(0, 50, ROWS)},
    "units": {"bytes": RNG.integers(1, 9, ROWS)},
    "keep": {"row": np.arange(ROWS)},
}


def part(values, rows):
    if isinstance(values, dict):
        return {name: each[rows] for name, each in values.items()}
    return values[rows]


def fed(evaluator, cuts, along=(), **scores):
    for lo, hi in zip([0, *cuts], [*cuts, ROWS], strict=True):
        rows = slice(lo, hi)
        given = {name: part(ALONG[name], rows) for name in along}
        evaluator.update(part(TARGET, rows), **{name: each[rows] for name, each in scores.items()}, **given)
    return evaluator


@pytest.mark.parametrize("along", [(), ("weight",), ("group_by", "units"), tuple(ALONG)])
@pytest.mark.parametrize("cuts", [[], [1], [100, 100, 101, 450]])
def test_updates_have_the_bits_of_one_evaluation(along, cuts):
    options = {"worst": 5, "statistics": "entropy", "top_k": (2,), "bins": 10, "base": 2}
    options = options if "keep" in along else {**options, "worst": 0}
    evaluator = fed(fx.Evaluator(**options), cuts, along, logits=LOGITS)
    whole = fx.evaluate(logits=LOGITS, target=TARGET, **options, **{name: ALONG[name] for name in along})
    assert evaluator.num_rows == ROWS
    assert evaluator.to_bytes() == whole.totals.to_bytes()
    found, expected = evaluator.compute().to_dict(), whole.to_dict()
    assert found.pop("run") != expected.pop("run")
    assert json.dumps(found) == json.dumps(expected)


@pytest.mark.parametrize("task", ["binary", "multilabel"])
def test_other_tasks(task):
    scores = RNG.random((ROWS, 3)) if task == "multilabel" else RNG.random(ROWS)
    target = (RNG.random(scores.shape) < scores).astype(np.int8)
    evaluator = fx.Evaluator(task=task)
    for rows in (slice(0, 7), slice(7, ROWS)):
        evaluator.update(target[rows], probs=scores[rows])
    assert evaluator.to_bytes() == fx.evaluate(probs=scores, target=target, task=task).totals.to_bytes()


def test_large_updates_are_scored_by_threads():
    logits = RNG.normal(size=(1 << 19, 4)).astype(np.float32)
    target = RNG.integers(0, 4, len(logits))
    evaluator = fx.Evaluator(threads=2, worst=3)
    evaluator.update(target[:5], logits=logits[:5])
    evaluator.update(target[5:], logits=logits[5:])
    assert evaluator.to_bytes() == fx.evaluate(logits=logits, target=target, worst=3).totals.to_bytes()


def test_what_was_computed_stays_and_reset_forgets():
    evaluator = fx.Evaluator()
    evaluator.update(TARGET[:10], logits=LOGITS[:10])
    first = evaluator.compute()
    loss = first.loss
    evaluator.update(TARGET[10:], logits=LOGITS[10:])
    assert first.loss == loss == fx.evaluate(logits=LOGITS[:10], target=TARGET[:10]).loss
    evaluator.reset()
    assert evaluator.num_rows == 0
    with pytest.raises(fx.UsageError, match=r"there are no rows yet; call update\(\) first"):
        evaluator.compute()
    evaluator.update(TARGET % 2, probs=RNG.random(ROWS)[:, None] * [1, 0] + [0, 0.0])  # another form, other classes


def test_merged_evaluators_and_their_bytes():
    whole = fed(fx.Evaluator(), [], logits=LOGITS)
    parts = []
    for rows in (slice(0, 120), slice(120, ROWS)):
        parts.append(fx.Evaluator())
        parts[-1].update(TARGET[rows], logits=LOGITS[rows])
    second = parts[1].to_bytes()
    other = fx.Evaluator.from_bytes(parts[0].to_bytes())
    other.merge(second)
    parts[0].merge(parts[1])
    assert parts[0].to_bytes() == other.to_bytes() == whole.to_bytes()
    assert parts[1].to_bytes() == second
    other.update(TARGET[:1], logits=LOGITS[:1])
    assert other.num_rows == ROWS + 1


def test_merge_of_states_of_every_kind(tmp_path):
    pieces = [slice(0, 100), slice(100, 200), slice(200, 300), slice(300, 400), slice(400, ROWS)]
    evs = [fx.evaluate(logits=LOGITS[rows], target=TARGET[rows]) for rows in pieces]
    (tmp_path / "a.fxt").write_bytes(evs[0].totals.to_bytes())
    evaluator = fx.Evaluator()
    evaluator.update(TARGET[pieces[4]], logits=LOGITS[pieces[4]])
    before = evs[2].totals.to_bytes()
    merged = fx.merge([tmp_path / "a.fxt", evs[1].totals.to_bytes(), evs[2], evs[3].totals, evaluator], base=2)
    whole = fx.evaluate(logits=LOGITS, target=TARGET, base=2)
    assert merged.totals.to_bytes() == whole.totals.to_bytes()
    assert merged.loss == whole.loss
    assert evs[2].totals.to_bytes() == before
    with pytest.raises(fx.UsageError, match="is named twice"):
        fx.merge([tmp_path / "a.fxt", str(tmp_path / "a.fxt")])
    with pytest.raises(fx.UsageError, match="name at least one"):
        fx.merge([])
    other = fx.evaluate(probs=RNG.dirichlet(np.ones(4), 9), target=TARGET[:9])
    with pytest.raises(fx.StateError, match=r"state 2 does not belong to .*a.fxt: .*form is 'unset' here and 'probs'"):
        fx.merge([tmp_path / "a.fxt", other])


def test_an_update_that_raises_leaves_nothing_behind():
    evaluator = fx.Evaluator()
    bad = LOGITS[:20].copy()
    bad[3, 1] = np.nan
    with pytest.raises(fx.InvalidRowError, match="row 3 "):
        evaluator.update(TARGET[:20], logits=bad)
    evaluator.update(TARGET[:20], logits=LOGITS[:20])
    before = evaluator.to_bytes()
    with pytest.raises(fx.InvalidRowError, match="row 23 "):
        evaluator.update(TARGET[:20], logits=bad)
    with pytest.raises(fx.UsageError, match="update 2 is not like those before: form is 'unset' here and 'probs'"):
        evaluator.update(TARGET[:2], probs=np.full((2, 4), 0.25))
    with pytest.raises(fx.UsageError, match="num_classes is 4 here and 3 there"):
        evaluator.update(TARGET[:2] % 3, logits=LOGITS[:2, :3])
    with pytest.raises(fx.UsageError, match="give exactly one of"):
        evaluator.update(TARGET[:2])
    with pytest.raises(fx.UsageError, match="update 2 is not like those before: group_by"):
        evaluator.update(TARGET[:2], logits=LOGITS[:2], group_by=[1, 2])
    assert evaluator.to_bytes() == before


def test_iterators_are_read_once():
    evaluator = fx.Evaluator(labels=iter(["a", "b", "c", "d"]), class_weight=iter([1.0, 2.0, 1.0, 1.0]))
    text = np.array(list("abcd"))[TARGET]
    for rows in (slice(0, 3), slice(3, ROWS)):
        evaluator.update(text[rows], logits=LOGITS[rows])
    expected = fx.evaluate(logits=LOGITS, target=text, labels=list("abcd"), class_weight=[1.0, 2.0, 1.0, 1.0])
    assert evaluator.to_bytes() == expected.totals.to_bytes()


def test_tensors():
    torch = pytest.importorskip("torch")
    evaluator = fx.Evaluator()
    evaluator.update(torch.from_numpy(TARGET), logits=torch.from_numpy(LOGITS).to(torch.bfloat16).requires_grad_())
    expected = fx.evaluate(logits=torch.from_numpy(LOGITS).to(torch.bfloat16), target=TARGET)
    assert evaluator.to_bytes() == expected.totals.to_bytes()


def test_a_tensor_of_a_device_is_brought_here():
    class Device:
        type = "cuda"

    class Tensor:
        """What there is of a tensor in another memory."""

        device = Device()
        copies = 0

        def detach(self):
            return self

        def cpu(self):
            Tensor.copies += 1
            return LOGITS

    evaluator = fx.Evaluator()
    evaluator.update(TARGET, logits=Tensor())
    assert Tensor.copies == 1
    assert evaluator.num_rows == ROWS


def test_doubts_are_said_by_evaluators_and_merges_too():
    probs = RNG.dirichlet(np.ones(4), ROWS)
    evaluator = fx.Evaluator()
    evaluator.update(TARGET, logits=probs)
    with pytest.warns(fx.DoubtWarning, match="as probabilities do"):
        assert evaluator.compute().doubts
    with pytest.warns(fx.DoubtWarning, match="as probabilities do"):
        assert fx.merge([evaluator]).doubts
