"""convert: the same values in another layout, all else as it was."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent.storage import convert
from tests.shell import run

ROOT = Path(__file__).parent.parent
DIGITS = ROOT / "data" / "digits.parquet"
OTHERS = ["id", "probs", "label", "fold", "ink"]


def tallies(path, *target, **options):
    """All integers of the totals."""
    totals = fx.evaluate(str(path), *target, **options).totals
    totals.to_bytes()  # brings the sums to their canonical form
    return {name: str(np.asarray(cells).tolist()) for name, cells in totals.tallies._asdict().items()}


@pytest.fixture(scope="module")
def truth():
    return tallies(DIGITS, "label", logits="logits")


@pytest.mark.parametrize("layout", ["auto", "packed", "columns", "list"])
def test_every_layout_gives_the_same_totals_without_flags(tmp_path, layout, truth):
    done = fx.convert(DIGITS, tmp_path / "o.parquet", logits="logits", layout=layout)
    assert (done.rows, done.dtype) == (1797, "float32")
    assert done.layout == ("columns" if layout == "auto" else layout)
    assert tallies(tmp_path / "o.parquet") == truth
    assert pq.read_table(tmp_path / "o.parquet", columns=OTHERS).equals(pq.read_table(DIGITS, columns=OTHERS))


def test_there_and_back_again(tmp_path):
    path = DIGITS
    for step, layout in enumerate(["packed", "columns", "list", "columns", "packed", "list"]):
        out = tmp_path / f"{step}.parquet"
        options = {"logits": "logits"} if step == 0 else {}
        fx.convert(path, out, layout=layout, **options)
        path = out
    found, source = pq.read_table(path), pq.read_table(DIGITS)
    scores = [name for name in found.column_names if name not in OTHERS]
    values = np.array(found[scores[0]].to_pylist(), np.float32)
    assert (values == np.array(source["logits"].to_pylist(), np.float32)).all()


def test_streams_in_pieces(tmp_path, monkeypatch, truth):
    monkeypatch.setattr("fastxent.storage.convert.BATCH_BYTES", 20_000)
    monkeypatch.setattr("fastxent.storage.parquet_writer.GROUP_BYTES", 40_000)
    fx.convert(DIGITS, tmp_path / "o.parquet", logits="logits", layout="packed")
    assert pq.read_metadata(tmp_path / "o.parquet").num_row_groups > 3
    assert tallies(tmp_path / "o.parquet") == truth


def test_narrowing_is_refused_unless_asked(tmp_path):
    for dtype in ("float16", "bfloat16"):
        with pytest.raises(fx.UsageError, match="lossy"):
            fx.convert(DIGITS, tmp_path / "o.parquet", logits="logits", dtype=dtype)
    assert os.listdir(tmp_path) == []
    fx.convert(DIGITS, tmp_path / "wide.parquet", logits="logits", dtype="float64")
    done = fx.convert(DIGITS, tmp_path / "o.parquet", logits="logits", dtype="float16", lossy=True, layout="packed")
    assert done.dtype == "float16"
    stored = np.frombuffer(b"".join(pq.read_table(tmp_path / "o.parquet")["logits"].to_pylist()), np.float16)
    source = np.array(pq.read_table(DIGITS)["logits"].to_pylist(), np.float32)
    assert (stored == source.astype(np.float16).reshape(-1)).all()


@pytest.mark.parametrize("layout", ["packed", "columns", "list"])
def test_null_rows_stay_null(tmp_path, layout):
    lists = pa.array([[1.0, 2.0], None, [3.0, 4.0]], pa.list_(pa.float32()))
    pq.write_table(pa.table({"probs": lists, "label": np.int8([0, 1, 1])}), tmp_path / "x.parquet")
    fx.convert(tmp_path / "x.parquet", tmp_path / "o.parquet", logits="probs", layout=layout)
    ev = fx.evaluate(str(tmp_path / "o.parquet"), on_invalid="skip")
    assert ev.rows["invalid"] == {"null_prediction": 1}
    assert ev.rows["scored"] == 2


@pytest.mark.parametrize(("row", "words"), [([1.0], "another number of scores"), ([1.0, None], "a null")])
def test_rows_that_no_other_layout_holds_are_named(tmp_path, row, words):
    pq.write_table(pa.table({"p": [[1.0, 2.0], [1.0, 2.0], row], "label": [0, 1, 1]}), tmp_path / "x.parquet")
    with pytest.raises(fx.SourceError, match=f"row 2 .*{words}"):
        fx.convert(tmp_path / "x.parquet", tmp_path / "o.parquet", logits="p", layout="packed")
    assert os.listdir(tmp_path) == ["x.parquet"]


def test_names_of_columns_become_names_of_classes(tmp_path):
    table = pa.table({"p_cat": np.float32([0.9, 0.2]), "p_dog": np.float32([0.1, 0.8]), "label": ["cat", "cat"]})
    pq.write_table(table, tmp_path / "x.parquet")
    fx.convert(tmp_path / "x.parquet", tmp_path / "o.parquet", logits="p_*", target="label", layout="packed")
    ev = fx.evaluate(str(tmp_path / "o.parquet"))
    assert ev.loss == fx.evaluate(table, "label", logits="p_*").loss
    assert pq.read_schema(tmp_path / "o.parquet").names == ["logits", "label"]


def test_refusals(tmp_path):
    copy = tmp_path / "a.parquet"
    copy.write_bytes(DIGITS.read_bytes())
    with pytest.raises(fx.UsageError, match="is an input"):
        fx.convert(copy, copy, logits="logits", overwrite=True)
    (tmp_path / "o.parquet").write_text("mine")
    with pytest.raises(fx.UsageError, match="exists already"):
        fx.convert(copy, tmp_path / "o.parquet", logits="logits")
    pq.write_table(pq.read_table(DIGITS).replace_schema_metadata(), tmp_path / "silent.parquet")
    with pytest.raises(fx.UsageError, match="several columns"):
        fx.convert(tmp_path / "silent.parquet", tmp_path / "p.parquet")
    copy.write_bytes(DIGITS.read_bytes()[:-1000])
    with pytest.raises(fx.SourceError):
        fx.convert(copy, tmp_path / "p.parquet", logits="logits")
    assert (tmp_path / "o.parquet").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["a.parquet", "o.parquet", "silent.parquet"]


@pytest.fixture
def folder(tmp_path):
    table = pq.read_table(DIGITS)
    for i, name in enumerate(("day=1/a", "day=2/a", "day=2/b c")):
        path = tmp_path / "in" / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.slice(i * 599, 599), path, row_group_size=100)
    return tmp_path / "in"


def test_a_directory_becomes_a_directory(folder, tmp_path, truth):
    done = fx.convert(folder, f"{tmp_path}/out/", logits="logits", target="label", layout="packed")
    assert (done.files, done.rows, done.layout) == (3, 1797, "packed")
    sizes = [sum(path.stat().st_size for path in (tmp_path / root).rglob("*.parquet")) for root in ("in", "out")]
    assert [done.bytes_before, done.bytes_after] == sizes
    names = [sorted(str(path.relative_to(root)) for path in root.rglob("*.*")) for root in (folder, tmp_path / "out")]
    assert names[0] == names[1]
    assert tallies(tmp_path / "out", "label") == truth
    with pytest.raises(fx.UsageError, match="exists already"):
        fx.convert(folder, f"{tmp_path}/out/", logits="logits", target="label")
    with pytest.raises(fx.UsageError, match="one file for 3 inputs"):
        fx.convert(folder, tmp_path / "o.parquet", logits="logits", target="label")


def test_an_input_is_never_replaced(folder):
    files = sorted(folder.rglob("*.parquet"))
    before = [path.read_bytes() for path in files]
    with pytest.raises(fx.UsageError, match="lies among the inputs"):
        fx.convert(folder, f"{folder}/", logits="logits", overwrite=True)
    with pytest.raises(fx.UsageError, match="is an input"):
        fx.convert(files, f"{folder}/", logits="logits", overwrite=True)
    with pytest.raises(fx.UsageError, match="is an input"):
        fx.score([str(path) for path in files], f"{folder}/", "label", logits="logits", overwrite=True)
    assert [path.read_bytes() for path in files] == before


def test_a_damaged_file_keeps_those_before_it_and_is_named(folder, tmp_path):
    path = folder / "day=2/a.parquet"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(fx.SourceError, match=r"day=2/a\.parquet"):
        fx.convert(folder, f"{tmp_path}/out/", logits="logits", target="label")
    assert [str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.*")] == ["day=1/a.parquet"]


def test_an_interruption_says_how_far_it_got(folder, tmp_path, monkeypatch):
    done, real = [], convert._convert

    def stop_at_the_third(*given):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(given)
        return real(*given)

    monkeypatch.setattr(convert, "_convert", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt, match="2 of 3 outputs are whole"):
        fx.convert(folder, f"{tmp_path}/out/", logits="logits", target="label")
    assert len(list((tmp_path / "out").rglob("*.*"))) == 2


def test_thousands_of_columns_by_way_of_a_file(tmp_path, monkeypatch):
    """Also dictionaries, which do not travel through it, come out as they went in."""
    monkeypatch.setattr("fastxent.storage.convert.HELD_BYTES", 1 << 16)
    words = pa.array(["a", None, "b", "a"] * 500).dictionary_encode()
    columns = {f"p{j}": np.random.default_rng(j).normal(size=2000) for j in range(30)}
    table = pa.table(columns | {"y": np.arange(2000) % 30, "word": words})
    pq.write_table(table, tmp_path / "x.parquet")
    fx.convert(tmp_path / "x.parquet", tmp_path / "o.parquet", logits="p*", target="y", layout="packed")
    found = pq.read_table(tmp_path / "o.parquet")
    assert found["word"].to_pylist() == table["word"].to_pylist()
    assert found.schema.field("word").type == table.schema.field("word").type
    packed = np.frombuffer(b"".join(found[found.column_names[0]].to_pylist()), np.float64).reshape(2000, 30)
    assert packed.tobytes() == np.stack([columns[f"p{j}"] for j in range(30)], axis=1).tobytes()


def test_the_shell_command(tmp_path):
    done = run("convert", DIGITS, tmp_path / "o.parquet", "--logits", "logits", "--layout", "packed")
    assert "wrote 1,797 rows" in done.stdout
    done = run("convert", DIGITS, ROOT / "data" / "digits_kernel.parquet", f"{tmp_path}/out/", "--logits", "logits")
    assert "wrote 3,594 rows in 2 files" in done.stdout
