"""Groups by edges and by quantiles of numbers: those of a column that holds the bins."""

from __future__ import annotations

import json
import math

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastxent as fx
from fastxent.cli.option_types import listed
from fastxent.statistics import group_bins
from fastxent.statistics.group_bins import bin_name, bins_of, bottom_of, inner_quantiles, named_bins
from tests.shell import run

RNG = np.random.default_rng(8)
ROWS = 900
EDGES = [0, 18, 65.5]
AGES = np.round(RNG.uniform(-20, 100, ROWS), 1)
AGES[:4] = 0, 18, 65.5, np.nan
LOGITS, TARGET = RNG.normal(size=(ROWS, 3)), RNG.integers(0, 3, ROWS)
WORDS = RNG.choice(["x", "y"], ROWS)
TABLE = pa.table(
    {
        "z": list(LOGITS), "t": TARGET, "w": WORDS, "id": np.arange(ROWS), "a:b,c": WORDS,
        "age": pa.array(AGES, mask=np.arange(ROWS) == 7), "n": RNG.integers(0, 500, ROWS),
    }
)  # fmt: skip
CALL = {"logits": "z", "target": "t"}


def bin_of(age):
    """The slow twin, in words."""
    if age is None:
        return None
    if math.isnan(age):
        return "NaN"
    if age < 0:
        return "< 0"
    return "[0, 18)" if age < 18 else "[18, 65.5)" if age < 65.5 else ">= 65.5"


BINNED = TABLE.set_column(5, "age", pa.array([bin_of(age) for age in TABLE["age"].to_pylist()]))


def by_group(table, *columns):
    return {tuple(row.pop(name) for name in columns): repr(row) for row in table.to_pylist()}


@pytest.mark.parametrize(
    "group_by", ["age:0,18,65.5", ["age:0,18,65.5"], {"age": EDGES}, {"age": np.array(EDGES)}, {"age": (0, 18, 65.5)}]
)
def test_edges(group_by):
    ev, expected = fx.evaluate(TABLE, **CALL, group_by=group_by), fx.evaluate(BINNED, **CALL, group_by="age")
    assert by_group(ev.groups, "age") == by_group(expected.groups, "age")
    assert ev.groups["age"].to_pylist() == ["< 0", "[0, 18)", "[18, 65.5)", ">= 65.5", "NaN", None]
    assert sum(ev.groups["count"].to_pylist()) == ROWS
    assert ev.group("[0, 18)").loss == ev.group(17.9).loss == ev.group(age=0).loss == expected.group("[0, 18)").loss
    assert ev.group(None).num_rows == 1
    with pytest.raises(fx.UsageError, match="no scored row has age='\\[0, 19"):
        ev.group("[0, 19)")


def test_bins_crossed_with_others_in_files_states_and_reports(tmp_path):
    pq.write_table(TABLE, tmp_path / "a.parquet", row_group_size=100)
    call = CALL | {"group_by": {"age": EDGES, "w": None, "n": [250]}, "worst": 2}
    ev = fx.evaluate(tmp_path / "a.parquet", **call)
    n = np.where(TABLE["n"].to_numpy() < 250, "< 250", ">= 250")
    expected = fx.evaluate(BINNED.set_column(6, "n", pa.array(n)), **CALL, group_by=["age", "w", "n"])
    assert by_group(ev.groups, "age", "w", "n") == by_group(expected.groups, "age", "w", "n")
    assert by_group(ev.margins["age"], "age") == by_group(expected.margins["age"], "age")
    assert ev.group(w="x", n=3).loss == expected.group(w="x", n="< 250").loss
    assert set(ev.group_worst.column_names) >= {"age", "w", "n"}
    halves = [fx.evaluate(TABLE.slice(lo, 450), **call).totals.to_bytes() for lo in (0, 450)]
    assert repr(fx.merge(halves).groups.to_pylist()) == repr(ev.groups.to_pylist())
    with pytest.raises(fx.StateError, match="edges is"):
        fx.merge([halves[0], fx.evaluate(TABLE, **(call | {"group_by": ["age:1", "w", "n:250"]}))])
    assert json.loads(json.dumps(ev.to_dict()["settings"]))["edges"] == [["age", [0.0, 18.0, 65.5]], ["n", [250.0]]]
    parallel = fx.evaluate(tmp_path / "a.parquet", **call, runner="processes:2")
    assert parallel.totals.to_bytes() == ev.totals.to_bytes()


def test_arrays_and_evaluators():
    ages = {"age:0,18,65.5": AGES, "w": WORDS}
    ev = fx.evaluate(logits=LOGITS, target=TARGET, group_by=ages)
    evaluator = fx.Evaluator()
    for lo in range(0, ROWS, 400):
        rows = slice(lo, lo + 400)
        evaluator.update(TARGET[rows], logits=LOGITS[rows], group_by={name: each[rows] for name, each in ages.items()})
    assert evaluator.to_bytes() == ev.totals.to_bytes()
    assert ev.group(age=70, w="x").num_rows == int(((AGES >= 65.5) & (WORDS == "x")).sum())
    with pytest.raises(fx.UsageError, match="are of rows that are not here yet; give edges"):
        fx.Evaluator().update(TARGET, logits=LOGITS, group_by={"age:q4": AGES})
    with pytest.raises(fx.UsageError, match="not like those before"):
        evaluator.update(TARGET, logits=LOGITS, group_by={"age:0,18": AGES, "w": WORDS})


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "table", "arrays"])
def test_quantiles(tmp_path, name):
    numbers = TABLE["n"].to_numpy()
    if name == "arrays":
        ev = fx.evaluate(logits=LOGITS, target=TARGET, group_by={"n:q5": numbers})
    else:
        data = TABLE.drop(["z", "a:b,c"]).append_column("z_0", pa.array(LOGITS[:, 0]))
        data = data.append_column("z_1", pa.array(LOGITS[:, 1]))
        if name.endswith("parquet"):
            pq.write_table(data, tmp_path / name, row_group_size=100)
        elif name.endswith("csv"):
            pl.from_arrow(data).write_csv(tmp_path / name)
        where = data if name == "table" else tmp_path / name
        ev = fx.evaluate(where, probs=None, logits="z_*", target="t", group_by="n:q5", on_invalid="skip")
    ordered = np.sort(numbers)
    edges = [ordered[ROWS * part // 5] for part in range(1, 5)]
    assert dict(ev.totals.measures.edges)["n"] == tuple(map(float, edges))
    assert any("read once more, for the edges of 5 bins" in note for note in ev.run["notes"])
    names = ev.groups["n"].to_pylist()
    assert names[0] == f"< {edges[0]}"
    assert names[-1] == f">= {edges[-1]}"
    counts = np.array(ev.groups["count"].to_pylist())
    if name in ("parquet", "arrays"):
        assert counts.sum() == ROWS
        assert (abs(counts - ROWS / 5) < 20).all()


def test_quantiles_under_a_filter(tmp_path):
    ev = fx.evaluate(TABLE, **CALL, group_by="n:q2", filter="w == 'x'")
    kept = np.sort(TABLE["n"].to_numpy()[WORDS == "x"])
    assert ev.totals.measures.edges == (("n", (float(kept[len(kept) // 2]),)),)
    with pytest.raises(fx.UsageError, match="a stream has one; give edges"):
        fx.evaluate(TABLE.to_reader(), **CALL, group_by="n:q2")


@given(st.lists(st.integers(-50, 50) | st.floats(allow_infinity=False), min_size=1), st.integers(2, 12))
def test_quantiles_do_not_depend_on_blocks(numbers, parts):
    values = np.array(numbers, float)
    whole = inner_quantiles(parts, iter([values]))
    assert whole == inner_quantiles(parts, iter([values[i : i + 1] for i in range(len(values) - 1, -1, -1)]))
    kept = np.sort(values[~np.isnan(values)])
    assert list(whole) == sorted(set(whole))
    # Below 2^-1022 the bits that are cut are worth 2^-1038, however small the number is.
    assert all(edge - abs(edge) * 2.0**-16 - 2.0**-1038 <= kept[-1] for edge in whole)
    if len(kept) and (abs(kept) <= 50).all() and (kept == np.round(kept)).all():
        edges = {kept[len(kept) * part // parts] for part in range(1, parts)} - {kept[0]}
        assert set(whole) == edges


def test_quantiles_of_many_numbers_keep_few(monkeypatch):
    monkeypatch.setattr(group_bins, "_GATHERED", 1000)
    values = RNG.lognormal(size=50_000)
    edges = inner_quantiles(10, (values[lo : lo + 700] for lo in range(0, 50_000, 700)))
    exact = np.sort(values)[50_000 * np.arange(1, 10) // 10]
    np.testing.assert_allclose(edges, exact, rtol=2.0**-16)


def test_comparisons():
    other = LOGITS * 1.1
    pair = TABLE.append_column("z2", pa.array(list(other)))
    call = {"logits": "z", "b_logits": "z2", "target": "t", "on": "id"}
    c = fx.compare(pair, **call, group_by=["age:0,18,65.5", "w"])
    binned = BINNED.append_column("z2", pa.array(list(other)))
    expected = fx.compare(binned, **call, group_by=["age", "w"])
    assert {name: set(map(repr, found.items())) for name, found in c.groups.items()} == {
        name: set(map(repr, found.items())) for name, found in expected.groups.items()
    }
    assert list(c.groups["age"])[:4] == ["< 0", "[0, 18)", "[18, 65.5)", ">= 65.5"]
    tested = fx.compare(pair, **call, group_by="n:q3", permutations=99)
    assert len(tested.groups["n"]) == 3
    assert all(each.permutation is not None for each in tested.groups["n"].values())
    with pytest.raises(fx.UsageError, match="'age' is also grouped by bins; copy the column"):
        fx.compare(pair, **call, group_by="age:3", cluster_by="age")


BAD = {
    "edges are finite numbers in rising order": ["age:3,2", {"age": [1, 1]}, {"age": []}, {"age": [math.nan]}],
    "expected edges, or quantiles such as 'q10'": [{"age": "q1"}, {"age": "ten"}, "age:q1", {"age": "q99999"}],
    "expected edges that are numbers": [{"age": ["a"]}, {"age": 3.5}],
    "edges and quantiles are of numbers": ["w:1,2"],
    "names a column twice": [["age:1", "age:2"], ["age", "age:2"]],
    "where numbers are needed": ["w:q3"],
    "no such column": ["nope:q3", "nope:1"],
}


@pytest.mark.parametrize(("words", "group_by"), [(words, each) for words, all_ in BAD.items() for each in all_])
def test_what_is_wrong_is_said(words, group_by):
    with pytest.raises(fx.FastxentError, match=words):
        fx.evaluate(TABLE, **CALL, group_by=group_by)


def test_names():
    assert named_bins("age:0,18,65") == ("age", (0.0, 18.0, 65.0))
    assert named_bins("a:b:-1.5e3,.5") == ("a:b", (-1500.0, 0.5))
    assert named_bins("length:q10") == ("length", 10)
    assert named_bins("a:b,c") == ("a:b,c", None)
    assert bins_of("x", "q7") == 7
    edges = (-2.5, 0.0, 1e300)
    names = [bin_name(bottom, edges) for bottom in (-math.inf, *edges)]
    assert names == ["< -2.5", "[-2.5, 0)", "[0, 1e+300)", ">= 1e+300"]
    assert [bottom_of(name, edges) for name in names] == [-math.inf, *edges]
    ev = fx.evaluate(TABLE, **CALL, group_by={"a:b,c": None})
    assert ev.groups.column_names[0] == "a:b,c"


# The shell.


def test_lists_of_names(tmp_path):
    (tmp_path / "names").write_text("a,b\nc\n")
    assert listed(("a,b, c",)) == ("a", "b", "c")
    assert listed(('"a,b",c',)) == ("a,b", "c")
    assert listed(("a,b", "c")) == ("a,b", "c")
    assert listed((f"@{tmp_path / 'names'}",)) == ("a,b", "c")
    assert listed(("@timestamp,a",)) == ("@timestamp", "a")
    assert listed(("w,age:0,18,65,n:q10,2",)) == ("w", "age:0,18,65", "n:q10", "2")


def test_the_shell(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(TABLE, path)
    result = run("evaluate", path, "--logits", "z", "--target", "t", "--group-by", "w,age:0,18,65.5", "--json", "-")
    rows = json.loads(result.stdout)["groups"]
    assert {row["age"] for row in rows} == {"< 0", "[0, 18)", "[18, 65.5)", ">= 65.5", "NaN", None}
    call = ["evaluate", path, "--logits", "z", "--target", "t"]
    result = run(*call, "--group-by", "n:q4", "--fail-if", "groups.n.'< 0'.loss > 0")
    assert "choose one of" in result.stderr
    result = run(*call, "--group-by", "a:b,c", "--group-by", "w", "--json", "-")
    assert json.loads(result.stdout)["settings"]["group_by"] == ["a:b,c", "w"]
    result = run(*call, "--class-names", '"Smith, J",b,c', "--json", "-")
    assert json.loads(result.stdout)["spec"]["class_names"] == ["Smith, J", "b", "c"]
