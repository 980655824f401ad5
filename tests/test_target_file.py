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


def test_comparisons_take_the_targets_of_both_sides_from_a_file(tmp_path):
    other = SCORES.set_column(SCORES.column_names.index("z"), "z", pa.array(list(0.9 * LOGITS)))
    files = {"a": SCORES, "b": other.take(RNG.permutation(ROWS)), "labels": LABELS}
    for name, table in files.items():
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=90)
    a, b, labels = (tmp_path / f"{name}.parquet" for name in files)
    ask = {"logits": "z", "on": "id", "group_by": "g", "target": "y"}
    whole = other.append_column("y", pa.array(TARGET))
    expected = fx.compare(WHOLE, whole, **ask)
    assert fx.compare(a, b, **ask, target_file=labels) == expected
    assert fx.compare(a, b, **ask, target_file=LABELS, filter="g >= 0").outcome == expected.outcome
    done = run("compare", a, b, "--logits", "z", "--target-file", labels, "--target", "y", "--on", "id", "--json", "-")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["auc_delta" if "auc_delta" in done.stdout else "delta"] is not None
    some = fx.compare(a, b, **ask, target_file=LABELS.slice(0, 400), on_invalid="skip")
    assert (some.num_rows, some.unscored) == (400, 100)
    for more in ({"by_order": True, "on": None}, {"b_target": "y"}):
        with pytest.raises(fx.UsageError, match="target_file has the targets of both sides"):
            fx.compare(a, b, **ask | more, target_file=labels)


@pytest.mark.parametrize("place", ["parquet", "csv", "arrow", "table"])
def test_targets_that_take_more_than_the_memory_are_refused(tmp_path, place):
    rows = 100_000
    labels = pa.table({"id": [f"doc-{i:040}" for i in range(rows)], "y": np.zeros(rows, int)})
    where = tmp_path / f"labels.{place}"
    writers = {"parquet": pq.write_table, "csv": pa.csv.write_csv, "arrow": pyarrow.feather.write_feather}
    if place != "table":
        writers[place](labels, where)
    scores = pa.table({"id": [f"doc-{i:040}" for i in range(9)], "z": [[0.0, 1.0]] * 9})
    ask = {"logits": "z", "target": "y", "on": "id", "target_file": labels if place == "table" else where}
    with pytest.raises(fx.OutOfMemoryError, match=r"take more than the 4 MiB that memory= allows.*USING \(id\)"):
        fx.evaluate(scores, **ask, memory="4M")
    assert fx.evaluate(scores, **ask, memory="64M").num_rows == 9
    with pytest.raises(fx.OutOfMemoryError, match="take more than"):
        fx.compare(scores, scores, **ask, memory="4M")
