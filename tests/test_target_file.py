"""Targets in a file of their own, paired by id: the numbers of a file that has them."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from tests.shell import run

RNG = np.random.default_rng(9)
ROWS = 500
IDS = RNG.permutation(10 * ROWS)[:ROWS]
WORDS = np.array([f"doc-{i}-ä" for i in IDS])
LOGITS, TARGET = RNG.normal(size=(ROWS, 3)), RNG.integers(0, 3, ROWS)
SCORES = pa.table({"id": IDS, "word": WORDS, "part": IDS % 7, "z": list(LOGITS), "g": IDS % 2})
ORDER = RNG.permutation(ROWS)
LABELS = pa.table({"id": IDS, "word": WORDS, "part": IDS % 7, "y": TARGET}).take(ORDER)
WHOLE = SCORES.append_column("y", pa.array(TARGET))


def said(ev):
    found = ev.to_dict()
    del found["run"]
    return json.dumps(found)


@pytest.mark.parametrize("on", ["id", "word", ["id", "part"], ["part", "word"]])
@pytest.mark.parametrize("place", ["parquet", "arrow", "csv", "table"])
def test_the_numbers_of_one_file(tmp_path, place, on):
    pq.write_table(SCORES, tmp_path / "scores.parquet", row_group_size=90)
    where = tmp_path / f"labels.{place}"
    if place == "parquet":
        pq.write_table(LABELS, where)
    elif place == "arrow":
        pyarrow.feather.write_feather(LABELS, where)
    elif place == "csv":
        pa.csv.write_csv(LABELS, where)
    call = {"logits": "z", "target": "y", "group_by": "g", "worst": 3}
    labels = LABELS if place == "table" else where
    ours = fx.evaluate(tmp_path / "scores.parquet", **call, target_file=labels, on=on, filter="g == 1 or part < 3")
    pq.write_table(WHOLE, tmp_path / "scores.parquet", row_group_size=90)
    assert said(ours) == said(fx.evaluate(tmp_path / "scores.parquet", **call, filter="g == 1 or part < 3"))
    idle = ROWS - int(((IDS % 2 == 1) | (IDS % 7 < 3)).sum())
    assert any(f"{idle} of 500 targets are of no row" in note for note in ours.run["notes"])


def test_kinds_of_targets():
    soft = RNG.dirichlet(np.ones(3), ROWS)
    labels = pa.table({"id": IDS, "q": list(soft)}).take(ORDER)
    ours = fx.evaluate(SCORES, logits="z", target_file=labels, on="id")
    assert ours.loss == fx.evaluate(logits=LOGITS, target=soft).loss
    names = np.array(["a", "b", "c"])
    labels = pa.table({"id": IDS, "y": pa.array(names[TARGET]).dictionary_encode()}).take(ORDER)
    ours = fx.evaluate(SCORES, logits="z", target="y", target_file=labels, on="id", class_names=names)
    assert ours.loss == fx.evaluate(logits=LOGITS, target=TARGET).loss
    labels = pa.table({"id": IDS, "y": TARGET + 1}).take(ORDER)
    rows = fx.score(SCORES, logits="z", target_file=labels, on="id", labels=[1, 2, 3], keep="id")
    assert rows["loss"].to_pylist() == fx.cross_entropy(TARGET, logits=LOGITS, reduction="none").tolist()


def test_rows_without_targets_are_counted():
    some = LABELS.slice(0, 480)
    missing = set(IDS[ORDER[480:]].tolist())
    ev = fx.evaluate(SCORES, logits="z", target_file=some.select(["id", "y"]), on="id", on_invalid="skip")
    assert ev.rows["invalid"] == {"null_target": 20}
    kept = WHOLE.filter(pa.array([i not in missing for i in IDS.tolist()]))
    assert ev.loss == fx.evaluate(kept, logits="z", target="y").loss
    with pytest.raises(fx.InvalidRowError, match="the target is null"):
        fx.evaluate(SCORES, logits="z", target_file=some.select(["id", "y"]), on="id")


BAD = [
    ({"target_file": pa.concat_tables([LABELS, LABELS.slice(0, 3)])}, r"3 ids occur more than once \(id "),
    ({"data": pa.concat_tables([SCORES, SCORES.slice(7, 1)])}, f"row 500 .*: id {IDS[7]} occurs more than once"),
    ({"target": None}, "target: name the column of the table with the targets, of word, part, y"),
    ({"target": "nope"}, "no such column"),
    ({"on": "nope"}, "no such column"),
    ({"on": "z"}, "no such column"),
    ({"target_file": LABELS.append_column("z", SCORES["z"]), "on": "z"}, "ids are integers, text, dates"),
    ({"on": None}, "name the ids by on="),
    ({"target_file": None}, "on pairs data with target_file, and there is none"),
    ({"target_file": LABELS.set_column(0, "id", LABELS["id"].cast(pa.string()))}, "text on one side and numbers on"),
    ({"target_file": "nowhere.parquet"}, "no such file"),
    ({"runner": "processes:2"}, "looked up by this process alone"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD)
def test_what_is_wrong_is_said(call, message):
    usual = {"data": SCORES, "logits": "z", "target": "y", "target_file": LABELS, "on": "id"}
    with pytest.raises(fx.FastxentError, match=message):
        fx.evaluate(**(usual | call))


def test_outputs_of_other_targets_are_done_again(tmp_path):
    (tmp_path / "in").mkdir()
    pq.write_table(SCORES, tmp_path / "in" / "a.parquet")
    labels = LABELS.select(["id", "y"])
    other = labels.set_column(1, "y", pa.array((labels["y"].to_numpy() + 1) % 3))
    call = {"logits": "z", "target_file": tmp_path / "labels.parquet", "on": "id"}
    for targets, overwrite in ((labels, False), (labels, False), (other, True)):
        pq.write_table(targets, tmp_path / "labels.parquet")
        if overwrite:
            with pytest.raises(fx.UsageError, match="holds results of other options"):
                fx.score(tmp_path / "in", f"{tmp_path}/out/", **call)
        fx.score(tmp_path / "in", f"{tmp_path}/out/", **call, overwrite=overwrite)
        found = pq.read_table(tmp_path / "out" / "a.parquet")["loss"].to_pylist()
        assert found == fx.score(SCORES, logits="z", target_file=targets, on="id")["loss"].to_pylist()


def test_the_shell(tmp_path):
    fx_scores = tmp_path / "scores.parquet"
    pq.write_table(SCORES, fx_scores)
    pq.write_table(LABELS.select(["id", "y"]), tmp_path / "labels.parquet")
    result = run("evaluate", fx_scores, "--logits", "z", "--target-file", tmp_path / "labels.parquet", "--on", "id")
    assert result.exit_code == 0
    assert f"{fx.cross_entropy(TARGET, logits=LOGITS):.5f}" in result.stdout
