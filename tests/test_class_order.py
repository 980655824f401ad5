"""Which column of scores is which class: by numbers in names, by names, by what is written down; never a guess."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shell import fastxent

import fastxent as fx
from fastxent.sources.class_order import in_order

C = 12
Z, Y = np.eye(C) * 5, np.arange(C)
#: log(1 + 11 e^-5)
RIGHT = 0.07149931691720893
#: p_0, p_1, p_10, p_11, p_2, ...: as programs that sort names write them
NAMES = sorted(f"p_{j}" for j in range(C))
TABLE = pa.table({name: Z[:, int(name[2:])] for name in NAMES} | {"y": Y})
FROM_ONE = TABLE.rename_columns([f"p_{int(name[2:]) + 1}" for name in NAMES] + ["y"])
SCORES = TABLE.select(NAMES)
STRUCT = pa.table({"p": pa.StructArray.from_arrays([TABLE[name].combine_chunks() for name in NAMES], NAMES), "y": Y})
SAID = "in the order of their numbers"


@pytest.mark.parametrize(
    "make",
    [lambda t: t, pa.Table.to_pandas, pl.from_arrow, lambda t: t.to_reader(2)],
    ids=["arrow", "pandas", "polars", "stream"],
)
@pytest.mark.parametrize(("table", "logits"), [(TABLE, "p_*"), (STRUCT, "p"), (TABLE, "p_[0-9]*")])
def test_numbers_are_put_in_order_in_tables(table, logits, make):
    ev = fx.evaluate(make(table), "y", logits=logits)
    assert ev.loss == RIGHT
    assert SAID in ev.run["notes"][0]
    assert SAID in dict(ev.headlines())["note"]


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize(("table", "logits"), [(TABLE, "p_*"), (STRUCT, "p")])
def test_numbers_are_put_in_order_in_files(table, logits, ending, tmp_path):
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        pq.write_table(table, path, row_group_size=5)
    else:
        with pa.ipc.new_file(path, table.schema) as file:
            file.write_table(table)
    assert fx.evaluate(path, "y", logits=logits).loss == RIGHT
    ev = fx.score(path, tmp_path / "rows.parquet", "y", logits=logits)
    assert ev.loss == RIGHT
    assert pq.read_table(tmp_path / "rows.parquet")["predicted"].to_pylist() == list(Y)
    assert fx.compare(path, None, "y", logits=logits, b_logits=logits, by_order=True).a.loss == RIGHT
    result = fastxent("evaluate", path, "--logits", logits, "--target", "y", "--json", "-")
    assert json.loads(result.stdout)["loss"]["mean"] == RIGHT
    assert SAID in fastxent("evaluate", path, "--logits", logits, "--target", "y").stdout


def test_inspect_says_so_and_its_command_is_right(tmp_path):
    mixed = TABLE.append_column("p_weight", pa.array(np.full(C, 2.0)))
    for table, name in ((TABLE, "a"), (mixed, "b")):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    assert SAID in fx.inspect(tmp_path / "a.parquet").notes[0]
    assert SAID in fastxent("inspect", tmp_path / "a.parquet").stdout
    (command,) = fx.inspect(tmp_path / "b.parquet").commands
    assert ",".join(f"p_{j}" for j in range(C)) in command


def test_converted_scores_are_in_order(tmp_path):
    for table, name in ((TABLE, "a"), (STRUCT, "s")):
        pq.write_table(table, tmp_path / f"{name}.parquet")
        named = "p_*" if name == "a" else "p"
        for layout in ("packed", "columns"):
            fx.convert(
                tmp_path / f"{name}.parquet",
                tmp_path / "out.parquet",
                logits=named,
                target="y",
                layout=layout,
                overwrite=True,
            )
            assert fx.evaluate(tmp_path / "out.parquet").loss == RIGHT


@pytest.mark.parametrize(
    "frame", [SCORES, SCORES.to_pandas(), pl.from_arrow(SCORES)], ids=["arrow", "pandas", "polars"]
)
def test_frames_of_scores(frame):
    ev = fx.evaluate(logits=frame, target=Y)
    assert (ev.loss, ev.class_names[:3]) == (RIGHT, ("p_0", "p_1", "p_2"))
    assert SAID in ev.run["notes"][0]
    assert fx.cross_entropy(Y, logits=frame) == RIGHT
    assert fx.focal_loss(Y, logits=frame, gamma=0.0) == RIGHT
    assert fx.cross_entropy([f"p_{j}" for j in Y], logits=frame) == RIGHT


def test_frames_whose_columns_are_integers():
    frame = pd.DataFrame({int(name[2:]): SCORES[name].to_numpy() for name in NAMES})
    assert fx.cross_entropy(Y, logits=frame) == RIGHT
    assert fx.evaluate(logits=pd.DataFrame(Z), target=Y).run.get("notes") is None


def test_a_list_that_somebody_wrote_is_never_reordered():
    ev = fx.evaluate(TABLE, "y", logits=NAMES)
    assert ev.loss == pytest.approx(4.238165983583876, rel=1e-15)
    assert "notes" not in ev.run


def test_columns_from_one():
    ev = fx.evaluate(FROM_ONE, "y", logits="p_*")
    assert ev.loss == RIGHT
    assert "label 0 is 'p_1'" in ev.run["notes"][0]
    counted = FROM_ONE.set_column(C, "y", pa.array(Y + 1))
    with pytest.raises(fx.InvalidRowError, match=r"if these count from 1, pass labels="):
        fx.evaluate(counted, "y", logits="p_*")
    assert fx.evaluate(counted, "y", logits="p_*", labels=range(1, C + 1)).loss == RIGHT
    text = FROM_ONE.set_column(C, "y", pa.array([str(j + 1) for j in Y]))
    assert fx.evaluate(text, "y", logits="p_*").loss == RIGHT


def test_other_numbers_are_no_order():
    table = pa.table({"p_10": [2.0, 0.0], "p_7": [0.0, 2.0], "y": [0, 1], "t": ["10", "7"]})
    with pytest.raises(fx.UsageError, match=r"stand for '10', '7', and the labels are integers.*labels="):
        fx.evaluate(table, "y", logits="p_*")
    right = fx.cross_entropy([0, 0], logits=[[2.0, 0.0]] * 2)
    assert fx.evaluate(table, "t", logits="p_*").loss == right
    assert fx.evaluate(table, "y", logits="p_*", labels=[0, 1]).loss == right


def test_numbers_among_other_names_are_an_error():
    table = pa.table({"z_0": [2.0], "z_1": [0.0], "z_sum": [2.0], "y": [0]})
    with pytest.raises(fx.UsageError, match=r"columns with numbers, and 'z_sum'"):
        fx.evaluate(table, "y", logits="z_*")
    assert fx.evaluate(table, "y", logits="z_*", class_names=["a", "b", "c"]).class_names == ("a", "b", "c")


@given(
    st.integers(2, 40),
    st.sampled_from(["p_{}", "{}", "class{}_prob", "a.{}", "x1_{}"]),
    st.integers(0, 1),
    st.randoms(),
)
def test_in_order(count, form, first, random):
    names = [form.format(j) for j in range(first, count + first)]
    shuffled = random.sample(names, count)
    assert [shuffled[place] for place in in_order(shuffled, "")] == names


Z3 = np.array([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]])
RIGHT3 = 0.23954476622188453
GLOBBED = pa.table(
    {f"z_{j}": Z3[:, j] for j in range(3)}
    | {"z_true": [0, 1, 2], "z_weight": [1.0, 2.0, 3.0], "z_id": [7, 8, 9], "z_note": [0.5, 0.25, 0.125]}
)


def test_a_glob_takes_no_column_that_means_something_else():
    ev = fx.evaluate(GLOBBED.drop(["z_weight", "z_id", "z_note"]), "z_true", logits="z_*")
    assert ev.loss == RIGHT3
    assert ev.run["notes"] == ["'z_true': no class, though 'z_*' matches"]
    ev = fx.evaluate(GLOBBED, "z_true", logits="z_*", weight="z_weight", group_by="z_id", keep="z_note", worst=1)
    assert (ev.loss, ev.worst["z_note"].to_pylist()) == (RIGHT3, [0.5])
    named = GLOBBED.drop(["z_note"]).rename_columns(["z_a", "z_b", "z_c", "z_true", "z_weight", "z_id"])
    assert fx.evaluate(named, "z_true", logits="z_*", weight="z_weight", cluster_by="z_id").loss == RIGHT3


def test_a_class_that_is_kept_stays_one():
    table = GLOBBED.select(["z_0", "z_1", "z_2", "z_true"])
    ev = fx.evaluate(table, "z_true", logits="z_*", keep="z_0", worst=1)
    assert (ev.loss, ev.totals.spec.num_classes) == (RIGHT3, 3)
    for columns, names, kept in ((["z_0", "z_1", "z_2"], None, ()), (table.column_names, ["z_a", "z_b", "z_c"], "z_a")):
        doubtful = table.select(columns)
        target, names = (columns[0], columns) if names is None else (columns[3], [*names, columns[3]])
        with pytest.raises(fx.UsageError, match=r"'z_\*' matches 'z_[0a]'.* List the columns"):
            fx.evaluate(doubtful.rename_columns(names), target, logits="z_*", keep=kept, worst=1, loss="entropy")


def test_class_names_that_are_numbers():
    with pytest.raises(fx.UsageError, match=r"class_names are '2', '0', '1', and the labels are integers.*labels="):
        fx.cross_entropy([0, 1, 2], logits=Z3[:, [2, 0, 1]], class_names=["2", "0", "1"])
    table = pa.table({"z": pa.array(Z3[:, [2, 0, 1]].tolist()), "y": [0, 1, 2], "t": ["0", "1", "2"]})
    for target in ("y", "t"):
        assert fx.evaluate(table, target, logits="z", labels=["2", "0", "1"]).loss == RIGHT3
    with pytest.raises(fx.UsageError, match="labels="):
        fx.evaluate(table, "y", logits="z", class_names=["2", "0", "1"])
    with pytest.raises(fx.UsageError, match="labels="):
        fx.binary_cross_entropy([0, 1], logits=[1.0, 2.0], class_names=["1", "0"])
    assert fx.evaluate(table, "t", logits="z", class_names=["2", "0", "1"]).loss == RIGHT3
    assert fx.evaluate(logits=Z3, target=[0, 1, 2], class_names=["0", "1", "2"]).loss == RIGHT3


def test_class_names_in_another_order_than_the_columns():
    table = pa.table({"p_cat": [0.7], "p_dog": [0.3], "y": ["dog"]})
    for probs in ("p_*", ["p_cat", "p_dog"]):
        with pytest.raises(fx.UsageError, match="same classes in another order"):
            fx.evaluate(table, "y", probs=probs, class_names=["dog", "cat"])
    assert fx.evaluate(table, "y", probs="p_*", class_names=["cat", "dog"]).loss == pytest.approx(
        -np.log(0.3), rel=1e-15
    )


def test_class_names_occur_once(tmp_path):
    with pytest.raises(fx.UsageError, match="'a' names two classes"):
        fx.cross_entropy([0], logits=[[1.0, 2.0]], class_names=["a", "a"])
    with pytest.raises(fx.UsageError, match="'a' names two classes"):
        fx.PredictionWriter(tmp_path / "a.parquet", form="logits", class_names=["a", "a"])
    with pytest.raises(fx.UsageError, match="'a' names two classes"):
        fx.Spec(2, class_names=("a", "a"))
