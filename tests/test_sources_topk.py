"""Top-k dumps: the loss with the rest spread evenly, against the plain definition."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent import UsageError
from fastxent.base.status import Status
from fastxent.sources.open import Selection, open_source

N, C, K = 300, 50, 5
RNG = np.random.default_rng(8)
LOGITS = RNG.normal(scale=2.0, size=(N, C))
P = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
IDS = np.argsort(-P, axis=1)[:, :K]
LOGP = np.log(np.take_along_axis(P, IDS, axis=1)).astype(np.float32)
LABELS = RNG.integers(0, C, N)
Z = Selection(("logprobs",), "y", ids="ids", num_classes=C)


def reference(i):
    stored = dict(zip(IDS[i].tolist(), LOGP[i].astype(float).tolist(), strict=True))
    if LABELS[i] in stored:
        return -stored[LABELS[i]]
    return -np.log(max(0.0, 1.0 - sum(np.exp(list(stored.values())))) / (C - K))


def losses(source):
    found = []
    for split in source.splits():
        for batch in source.read(split):
            assert batch.status is None
            found += [-batch.predictions.values[i, t] for i, t in enumerate(batch.target)]
    return np.array(found)


def tables():
    names = [f"c{j}" for j in range(C)]
    pair = {"ids": list(IDS), "logprobs": list(LOGP), "y": LABELS}
    items = [[{"token_id": t, "logprob": v} for t, v in zip(*row, strict=True)] for row in zip(IDS, LOGP, strict=True)]
    kind = pa.list_(pa.struct({"token_id": pa.int32(), "logprob": pa.float32()}))
    words = [[names[j] for j in row] for row in IDS]
    return {
        "lists": (pa.table(pair), Z),
        "structs": (
            pa.table({"logprobs": pa.array(items, kind), "y": LABELS}),
            Selection(("logprobs",), "y", num_classes=C),
        ),
        "names": (
            pa.table({"ids": words, "logprobs": list(LOGP), "y": [names[j] for j in LABELS]}),
            Selection(("logprobs",), "y", ids="ids", num_classes=C, class_names=tuple(names)),
        ),
        "probs": (
            pa.table({"ids": list(IDS), "logprobs": list(np.exp(LOGP.astype(np.float64))), "y": LABELS}),
            Selection(("logprobs",), "y", ids="ids", num_classes=C, form="probs"),
        ),
    }


@pytest.mark.parametrize("name", ["lists", "structs", "names", "probs"])
def test_losses(tmp_path, name):
    table, selection = tables()[name]
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=70)
    for data in (tmp_path / "a.parquet", table):
        source = open_source(data, selection)
        assert source.num_classes == K + 1
        found = losses(source)
        if name == "probs":
            found = -np.log(-found)
        np.testing.assert_allclose(found, [reference(i) for i in range(N)], rtol=1e-12)
        targets = np.concatenate([b.target for s in source.splits() for b in source.read(s)])
        assert (targets == K).sum() == sum(label not in row for label, row in zip(LABELS, IDS, strict=True))


def test_rows_of_other_lengths_and_bad_rows(tmp_path):
    rows = {
        "ids": [[3, 1], [3, 1, 2], [7, 8, 2, 4], None, [1], [1, 2], [], [5, 6], [1, 2], [1, 2]],
        "logprobs": [[-1.0, -2.0], [-1.0, -2.0, -3.0], [-1.0, -2.0, -3.0, -2.5], [-1.0], [-1.0, -2.0], [-1.0, None], [],
                     [-1.0, -3.0], [-1.0, -2.0], [-1.0, -2.0]],
        "y": [1, 9, 2, 1, 1, 1, 1, -100, C, 0],
    }  # fmt: skip
    table = pa.table(rows)
    pq.write_table(table.slice(0, 2), tmp_path / "a.parquet")
    pq.write_table(table.slice(2), tmp_path / "b.parquet")
    source = open_source(tmp_path, Z)
    first, second = [batch for split in source.splits() for batch in source.read(split)]
    assert first.predictions.values.shape == (2, 4)
    assert first.target.tolist() == [1, 3]
    assert first.predictions.values[0, 2] == -np.inf
    np.testing.assert_allclose(first.predictions.values[0, 3], np.log((1 - np.exp(-1) - np.exp(-2)) / (C - 2)))
    assert second.predictions.values[0, :3].tolist() == [-1.0, -2.0, -3.0]  # the target's stays, -2.5 goes
    assert second.target[0] == 2
    np.testing.assert_allclose(
        second.predictions.values[0, 3], np.log((1 - np.exp([-1.0, -2.0, -3.0, -2.5]).sum()) / (C - 4))
    )
    assert second.status.tolist() == [
        0, Status.NULL_PREDICTION, Status.RAGGED_ROW, Status.NULL_PREDICTION, Status.RAGGED_ROW, 0,
        Status.LABEL_OUT_OF_RANGE, 0,
    ]  # fmt: skip
    assert second.target[5] == -100


def test_misuse():
    table = tables()["lists"][0]
    for wrong in ({"num_classes": None}, {"form": "logits"}, {"task": "binary"}):
        values = {"ids": "ids", "num_classes": C} | wrong
        with pytest.raises(UsageError, match="top-k"):
            open_source(table, Selection(("logprobs",), "y", **values))


UNCLEAR = {
    "outside": ([3, C], [-1.0, -2.0], f"stores an id outside the classes, of 3, {C}"),
    "negative": ([3, -2], [-1.0, -2.0], "stores a name|outside the classes"),
    "minus one with a probability": ([3, -1], [-1.0, -2.0], "outside the classes"),
    "twice": ([3, 4, 3], [-1.0, -2.0, -3.0], "stores class 3 twice"),
    "empty": ([], [], "stores no class: its list is empty"),
    "padding alone": ([-1], [-np.inf], "stores no class"),
    "lengths": ([3, 4], [-1.0], "not as many ids as scores"),
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_ids_that_are_unclear_are_invalid(name):
    ids, values, words = UNCLEAR[name]
    table = pa.table({
        "ids": pa.array([[1, 2], ids], pa.list_(pa.int64())),
        "logprobs": pa.array([[-1.0, -2.0], values], pa.list_(pa.float64())),
        "y": [1, 3],
    })  # fmt: skip
    options = {"log_probs": "logprobs", "ids": "ids", "num_classes": C}
    with pytest.raises(fx.InvalidRowError, match=rf"row 1 .*({words}).*"):
        fx.evaluate(table, "y", **options)
    ev = fx.evaluate(table, "y", on_invalid="skip", **options)
    assert (ev.loss, ev.rows["invalid"]) == (1.0, {"ragged_row": 1})


def test_padding_stores_nothing():
    rows = {"ids": [[7, 5], [7, 5, -1, -1]], "y": [9, 9]}
    for form, none, values in (("probs", 0.0, [0.5, 0.2]), ("log_probs", -np.inf, list(np.log([0.5, 0.2])))):
        table = pa.table({**rows, "p": [values, [*values, none, none]]})
        ev = fx.evaluate(table, "y", **{form: "p"}, ids="ids", num_classes=10)
        assert ev.loss_stats.min == ev.loss_stats.max
        assert ev.loss == pytest.approx(-np.log(0.3 / 8), rel=1e-14)


def test_labels_outside_the_classes_are_named():
    table = pa.table({"ids": [[1, 2]], "p": [[0.5, 0.2]], "y": [77]})
    with pytest.raises(fx.InvalidRowError, match="label 77; labels are ids of classes"):
        fx.evaluate(table, "y", probs="p", ids="ids", num_classes=10)
