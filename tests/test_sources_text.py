"""CSV, TSV and JSON lines give what the same numbers in Parquet give; and what is wrong in them is named by row."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent.sources.dataset import text
from tests.shell import environment, run

CALL = {"target": "label", "probs": "p_*"}


def table(n=5000, seed=0):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.ones(3), n)
    columns = {f"p_{c}": probs[:, c] for c in range(3)}
    words = rng.choice(["a", 'b,"', "c\nd"], n)
    return pa.table(columns | {"label": rng.integers(0, 3, n), "g": words, "id": np.arange(n), "w": rng.random(n)})


def write(path, data):
    """Write a table under a name that says how."""
    name = path.name
    if ".jsonl" in name:
        content = "".join(json.dumps(row) + "\n" for row in data.to_pylist()).encode()
    else:
        stream = pa.BufferOutputStream()
        pa.csv.write_csv(data, stream, pa.csv.WriteOptions(delimiter="\t" if ".tsv" in name else ","))
        content = stream.getvalue().to_pybytes()
    if name.endswith(".gz"):
        content = gzip.compress(content)
    if name.endswith(".zst"):
        content = pa.compress(content, "zstd", asbytes=True)
    path.write_bytes(content)
    return path


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(text, "BLOCK_BYTES", 1 << 14)


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "arrow"])
def test_standard_input(tmp_path, format) -> None:
    """Read once, as it comes, whatever was looked at first; the rows are those of a file."""
    data = table()
    path = tmp_path / f"a.{format}"
    if format == "arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, data.schema) as stream:
            stream.write_table(data, max_chunksize=700)
    else:
        write(path, data)
    call = ["--target", "label", "--probs", "p_*", "--group-by", "g", "--filter", "id >= 100", "--json", "-"]
    shell = [sys.executable, "-m", "fastxent", "evaluate", "-", "--format", format, *call]
    with path.open("rb") as pipe:
        done = subprocess.run(shell, stdin=pipe, capture_output=True, text=True, env=environment(), check=True)
    ours, theirs = json.loads(done.stdout), fx.evaluate(data, **CALL, group_by="g", filter="id >= 100").to_dict()
    assert ours["run"]["paths"] == ["<stream>" if format == "arrow" else "<stdin>"]
    assert ours["rows"] == theirs["rows"]
    assert ours["groups"] == json.loads(json.dumps(theirs["groups"]))
    assert ours["loss"]["mean"] == theirs["loss"]["mean"]


def test_standard_input_is_said_and_read_once(tmp_path) -> None:
    result = run("evaluate", "-", "--target", "label", "--probs", "p_*")
    assert result.exit_code == 2
    assert "say what standard input holds" in result.stderr
    result = run("evaluate", "-", "--format", "arrow", "--target", "label", "--probs", "p_*", input="no arrow")
    assert result.exit_code == 3
    assert "<stdin>: cannot be read as a stream of Arrow" in result.stderr
    with pytest.raises(fx.UsageError, match="files are told by their endings"):
        fx.evaluate(tmp_path / "a.csv", **CALL, format="csv")
    with pytest.raises(fx.UsageError, match="standard input can be read once"):
        fx.compare("-", "-", **CALL, on="id", format="csv")


def test_lazy_frames_are_streams() -> None:
    pl = pytest.importorskip("polars")
    data = table()
    query = pl.from_arrow(data).lazy().filter(pl.col("id") >= 100).with_columns(pl.col("g").cast(pl.Categorical))
    ours = fx.evaluate(query, **CALL, group_by="g")
    theirs = fx.evaluate(data, **CALL, group_by="g", filter="id >= 100")
    assert ours.groups.equals(theirs.groups)
    assert ours.loss == theirs.loss
    assert fx.evaluate(query, **CALL, group_by="id:q4").groups.num_rows == 4
    assert fx.compare(query, data, **CALL, on="id").num_rows == 4900


NAMES = ["a.csv", "a.tsv", "a.jsonl", "a.csv.gz", "a.TSV.zst", "a.jsonl.gz"]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits_as_of_parquet(tmp_path, name) -> None:
    data = table()
    write(tmp_path / name, data) if name != "a.TSV.zst" else write(tmp_path / "a.tsv.zst", data).rename(tmp_path / name)
    pq.write_table(data, tmp_path / "a.parquet")
    call = CALL | {"group_by": "g", "weight": "w", "filter": "id >= 100 and g != 'a'", "worst": 5, "keep": "id"}
    ours, theirs = (fx.evaluate(tmp_path / each, threads=2, **call) for each in (name, "a.parquet"))
    assert (ours.loss, ours.rows, ours.accuracy) == (theirs.loss, theirs.rows, theirs.accuracy)
    assert ours.groups.to_pylist() == theirs.groups.to_pylist()
    assert [row["id"] for row in ours.worst.to_pylist()] == [row["id"] for row in theirs.worst.to_pylist()]
    rows = [fx.score(tmp_path / each, keep=["id", "g"], **CALL) for each in (name, "a.parquet")]
    assert rows[0].equals(rows[1])
    delta = fx.compare(tmp_path / name, tmp_path / "a.parquet", on="id", **CALL).delta
    assert (delta.mean, delta.stderr) == (0.0, 0.0)


def test_lists_of_json_lines(tmp_path) -> None:
    data = table()
    lines = [{"logits": [row["p_0"], row["p_1"], row["p_2"]], "label": row["label"]} for row in data.to_pylist()]
    lines[0]["logits"] = [1, 2, 3]  # whole numbers in the beginning
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = fx.evaluate(tmp_path / "a.jsonl", "label", logits="logits").loss
    z = [line["logits"] for line in lines]
    assert found == fx.cross_entropy([line["label"] for line in lines], logits=z)


def test_directories_and_several_files(tmp_path) -> None:
    data = table()
    for number in range(3):
        write(tmp_path / f"{number}.csv", data.slice(1000 * number, 1000 + 1000 * (number == 2) * 2))
    found = fx.score(tmp_path, keep="id", threads=2, **CALL)
    assert found.equals(fx.score(data, keep="id", **CALL))
    assert fx.evaluate(tmp_path / "*.csv", **CALL).rows["read"] == 5000
    pq.write_table(data.slice(0, 10), tmp_path / "a.parquet")
    assert fx.evaluate(tmp_path, **CALL).rows["read"] == 10  # text beside tables is left alone


def test_numbers_that_begin_whole_and_are_not(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("p,y\n" + "1,1\n" * 9000 + "0.5,0\n")
    expected = fx.binary_cross_entropy([1] * 9000 + [0], probs=[1.0] * 9000 + [0.5])
    assert fx.evaluate(tmp_path / "a.csv", "y", probs="p", task="binary").loss == expected


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "p,y\n" + "0.5,1\n" * 9000 + "x,1\n", r"a\.csv: row 9,000 \(from 0\) cannot be read as text: .* 'x'"),
        ("a.csv", "p,y\n0.5,1\n0.5,0,3\n", r"row 1 \(from 0\) cannot be read as text: .*Expected 2 columns, got 3"),
        ("a.csv", "p,y\n" + "0.5,1\n" * 9000 + "0.5,a\n", r"row 9,000 \(from 0\) cannot be read as text: .* 'a'"),
        ("a.csv", "", "cannot be read as text: Empty CSV file"),
        ("a.csv.gz", "p,y\n0.5,1\n", "cannot be read as text: zlib inflate failed"),
        ("a.jsonl", '{"p": 0.5, "y": 1}\n' * 9000 + '{"p": "a", "y": 1}\n', r"row 9,000 \(from 0\) cannot be read"),
        ("a.jsonl", '{"p": 0.5, "y": 1}\n{"p": 0.5, "y"', r"row 1 \(from 0\) cannot be read as text: JSON parse error"),
        ("a.csv", "p;y\n0.5;1\n", r"column 'p': there is no such column\. The columns are: p;y"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_row(tmp_path, name, content, message) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(fx.SourceError, match=message):
        fx.evaluate(tmp_path / name, "y", probs="p", task="binary")
    shell = run("evaluate", tmp_path / name, "--probs", "p", "--target", "y", "--task", "binary")
    assert shell.exit_code == 3
    assert "Traceback" not in shell.output


def test_missing_values_and_nan_are_counted(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("p_0,p_1,label\n0.5,,1\n0.5,nan,1\n0.5,0.5,\n0.5,0.5,1\n")
    rows = fx.evaluate(tmp_path / "a.csv", "label", probs="p_*", on_invalid="skip").rows
    assert rows["invalid"] == {"null_prediction": 1, "nan_prediction": 1, "null_target": 1}
    with pytest.raises(fx.InvalidRowError, match=r"a\.csv, row 0 \(from 0\)"):
        fx.evaluate(tmp_path / "a.csv", "label", probs="p_*")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("a.pkl", "pandas.read_pickle('a.pkl').to_parquet('a.parquet')"),
        ("a.pt", "numpy.savez('a.npz', **{name: numpy.asarray(array) for name, array in torch.load('a.pt').items()})"),
        ("a.h5", "numpy.savez('a.npz', **{name: numpy.asarray(array) for name, array in h5py.File('a.h5').items()})"),
    ],
)
def test_other_files_are_refused_with_the_line_that_converts_them(tmp_path, name, line) -> None:
    (tmp_path / name).write_bytes(b"12345678")
    with pytest.raises(fx.SourceError, match="which is not read here; convert it: python -c") as found:
        fx.evaluate(tmp_path / name, **CALL)
    assert line in str(found.value)
    assert run("inspect", tmp_path / name).exit_code == 3


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_another_process_reads_text(tmp_path, name) -> None:
    data = table()
    for number in range(2):
        write(tmp_path / f"{number}{name}", data.slice(2500 * number, 2500))
    call = CALL | {"group_by": "g", "worst": 3, "filter": "id >= 100"}
    here, there = (fx.evaluate(tmp_path, **call, runner=runner) for runner in (None, "processes:2"))
    assert here.totals.to_bytes() == there.totals.to_bytes()


def test_files_that_cannot_be_parsed_are_left_out(tmp_path) -> None:
    """Whole, however far into them the damage is."""
    data = table(4000)
    for number in range(4):
        write(tmp_path / f"{number}.csv", data.slice(1000 * number, 1000))
    with (tmp_path / "1.csv").open("a") as file:
        file.write("0.5,0.5\n")
    (tmp_path / "3.csv").write_text("other,columns\n1,2\n")
    with pytest.raises(fx.SourceError, match=r"1\.csv: row 1,000 \(from 0\) cannot be read as text"):
        fx.evaluate(tmp_path, **CALL)
    for runner in (None, "processes:2"):
        ev = fx.evaluate(tmp_path, **CALL, on_error="skip", group_by="g", worst=3, keep="id", runner=runner)
        kept = pa.concat_tables([data.slice(0, 1000), data.slice(2000, 1000)])
        assert ev.loss == fx.evaluate(kept, **CALL).loss
        assert [left.path for left in ev.left_out] == [str(tmp_path / f"{number}.csv") for number in (1, 3)]
        assert "cannot be read as text" in ev.left_out[0].reason
    shell = run("evaluate", tmp_path, "--probs", "p_*", "--target", "label", "--on-error", "skip")
    assert shell.exit_code == 4
    call = ["--format", "csv", "--probs", "p_*", "--target", "label", "--on-error", "skip"]
    shell = run("evaluate", "-", *call, input=(tmp_path / "0.csv").read_text())
    assert "parses text twice, and standard input is read once" in shell.stderr


def test_a_ledger_of_text_knows_its_files(tmp_path) -> None:
    for number in range(2):
        write(tmp_path / f"{number}.csv", table(500, number))
    call = CALL | {"ledger": tmp_path / "ledger"}
    ev = fx.evaluate(f"{tmp_path}/*.csv", **call)
    assert fx.evaluate(f"{tmp_path}/*.csv", **call).totals.to_bytes() == ev.totals.to_bytes()
    write(tmp_path / "1.csv", table(400, 1))
    with pytest.raises(fx.FastxentError, match="ledger"):
        fx.evaluate(f"{tmp_path}/*.csv", **call)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv.gz", "a.jsonl"])
def test_text_is_converted(tmp_path, name) -> None:
    data = table()
    write(tmp_path / name, data)
    done = fx.convert(tmp_path / name, tmp_path / "out.parquet", probs="p_*", target="label")
    assert (done.rows, done.dtype, done.before.way) == (5000, "float64", "text")
    ours = fx.evaluate(tmp_path / "out.parquet", group_by="g", weight="w")
    assert ours.loss == fx.evaluate(data, **CALL, weight="w").loss
    assert pq.read_table(tmp_path / "out.parquet", columns=["id", "g"]).equals(data.select(["id", "g"]))
    shell = run("convert", tmp_path / name, tmp_path / "folder/", "--probs", "p_*", "--layout", "packed")
    assert shell.exit_code == 0, shell.output


def test_the_shell(tmp_path) -> None:
    path = write(tmp_path / "a.csv", table(300))
    seen = run("inspect", path).output
    assert "1 file, text" in seen
    assert "--target label" in seen
    evaluated = run("evaluate", path, "--probs", "p_*", "--target", "label")
    assert evaluated.exit_code == 0
    assert "-0 rows/s" not in evaluated.output
    assert "(-" not in evaluated.output
    assert run("score", path, "--probs", "p_*", "--target", "label", "-o", tmp_path / "rows.csv").exit_code == 0
    assert len(pa.csv.read_csv(tmp_path / "rows.csv")) == 300
