"""Where per-row results go: a table in memory, text, or Parquet; and no file whose name says something else."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from tests.shell import run


def frame(n=5000):
    rng = np.random.default_rng(7)
    scores = {f"z_{c}": rng.normal(size=n) for c in range(3)}
    return pa.table(scores | {"y": rng.integers(0, 3, n), "id": np.arange(n), "name": [f'a,"{i}"' for i in range(n)]})


CALL = {"logits": "z_*", "target": "y", "keep": ["id", "name"]}


@pytest.mark.parametrize("kind", [lambda t: t, lambda t: pl.from_arrow(t), lambda t: t.to_pandas()])
def test_without_an_output_the_rows_are_a_table(tmp_path, kind) -> None:
    table = frame()
    fx.score(table, tmp_path / "rows.parquet", **CALL)
    found = fx.score(kind(table), **CALL)
    assert isinstance(found, pa.Table)
    assert found.equals(pq.read_table(tmp_path / "rows.parquet").cast(found.schema))
    assert found.schema.field("loss").metadata == {b"unit": b"nats"}


def test_the_table_of_files_is_in_their_order(tmp_path) -> None:
    table = frame()
    for number in range(5):
        pq.write_table(table.slice(1000 * number, 1000), tmp_path / f"{number}.parquet", row_group_size=100)
    found = fx.score(tmp_path, threads=2, **CALL)
    assert found["id"].to_pylist() == list(range(5000))
    assert found.equals(fx.score(table, **CALL))


def test_the_table_of_no_rows_has_its_columns(tmp_path) -> None:
    pq.write_table(frame().slice(0, 0), tmp_path / "none.parquet")
    found = fx.score(tmp_path / "none.parquet", **CALL)
    assert found.num_rows == 0
    assert found.column_names == fx.score(frame(5), **CALL).column_names


def test_the_table_of_arrays_and_of_a_base() -> None:
    z, y = np.random.default_rng(0).normal(size=(9, 4)), np.arange(9) % 4
    found = fx.score(logits=z, target=y, base=2, keep={"id": np.arange(9)})
    assert found["loss"].to_pylist() == fx.cross_entropy(y, logits=z, base=2, reduction="none").tolist()
    assert found["id"].to_pylist() == list(range(9))


def test_other_processes_make_no_table(tmp_path) -> None:
    pq.write_table(frame(10), tmp_path / "a.parquet")
    with pytest.raises(fx.UsageError, match=r"out_path: runner='processes:1' writes an output for every input file"):
        fx.score(tmp_path / "a.parquet", runner="processes:1", **CALL)


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.csv.gz", "rows.TSV.zst"])
def test_text_holds_every_bit(tmp_path, name) -> None:
    table = frame()
    ev = fx.score(table, tmp_path / name, **CALL)
    assert ev.rows["read"] == 5000
    kinds = {"z": "zstd", "Z": "zstd", "g": "gzip"}
    codec = kinds.get(name.split(".")[-1][0])
    with pa.input_stream(tmp_path / name, compression=codec) as stream:
        sign = "\t" if "tsv" in name.lower() else ","
        read = pyarrow.csv.read_csv(stream, parse_options=pyarrow.csv.ParseOptions(delimiter=sign))
    found = fx.score(table, **CALL)
    assert read.column_names == found.column_names
    for column in ("loss", "confidence", "p_target", "rank", "name", "status"):
        assert read[column].to_pylist() == found[column].to_pylist(), column


def test_text_of_rows_that_are_not_scored(tmp_path) -> None:
    fx.score(None, tmp_path / "a.csv", logits=[[0.0, 1.0], [np.nan, 0.0]], target=[0, 1], on_invalid="skip")
    lines = (tmp_path / "a.csv").read_text().splitlines()
    assert lines[0] == '"loss","predicted","confidence","p_target","rank","status"'
    assert lines[2].startswith(",,,,,")
    fx.score(pd.DataFrame({"p": [0.5], "y": [1]}).iloc[:0], tmp_path / "b.csv", probs="p", target="y", task="binary")
    assert (tmp_path / "b.csv").read_text().splitlines() == lines[:1]


def test_text_holds_no_lists(tmp_path) -> None:
    table = pa.table({"z": [[0.0, 1.0]], "y": [0]})
    with pytest.raises(fx.UsageError, match=r"keep: column 'z' \(list<.*>\) cannot be written as text; write a .parq"):
        fx.score(table, tmp_path / "a.csv", "y", logits="z", keep="z")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.npy", "a.arrow", "a.parquet.gz", "a.xlsx", "A.PT"])
def test_no_parquet_has_another_name(tmp_path, name) -> None:
    expected = f"{name}: what is written here is Parquet, and the name says "
    with pytest.raises(fx.UsageError, match=expected):
        fx.score(frame(5), tmp_path / name, **CALL)
    with pytest.raises(fx.UsageError, match=expected):
        fx.PredictionWriter(tmp_path / name)
    pq.write_table(frame(5), tmp_path / "in.parquet")
    with pytest.raises(fx.UsageError, match=expected):
        fx.convert(tmp_path / "in.parquet", tmp_path / name, logits="z_*")
    with pytest.raises(fx.UsageError, match=r"a\.csv: what is written here is Parquet"):
        fx.convert(tmp_path / "in.parquet", tmp_path / "a.csv", logits="z_*")
    assert {path.name for path in tmp_path.iterdir()} == {"in.parquet"}


def test_shell(tmp_path) -> None:
    pq.write_table(frame(50), tmp_path / "in.parquet")
    words = ("score", tmp_path / "in.parquet", "--logits", "z_*", "--target", "y")
    assert run(*words, "-o", tmp_path / "x.csv").output.startswith("wrote 50 rows to ")
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 51
    again = run(*words, "-o", tmp_path / "x.csv")
    assert again.exit_code == 2
    assert "exists already" in again.output
    refused = run(*words, "-o", tmp_path / "x.json")
    assert refused.exit_code == 2
    assert "what is written here is Parquet, and the name says .json" in refused.output
    missing = run(*words)
    assert missing.exit_code == 2
    assert "Missing option '-o' / '--output'" in missing.output
