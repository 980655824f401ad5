"""A file is opened once, and a directory listed once, whatever is done with them."""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from watch import opens_below

import fastxent as fx

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="inotify counts")

N = 600
RNG = np.random.default_rng(0)
TABLE = pa.table(
    {f"logit_{j}": RNG.normal(size=N) for j in range(3)}
    | {"label": RNG.integers(0, 3, N), "id": np.arange(N), "word": np.array(list("abc"))[RNG.integers(0, 3, N)]}
)
DAYS = ("day=1", "day=2", "day=3")


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "in"
    for day in DAYS:
        (root / day).mkdir(parents=True)
        pq.write_table(TABLE, root / day / "a.parquet", row_group_size=100)
    return root


def once(folder, action, *, files, folders=None):
    """``action`` opens each of ``files`` once and lists each of ``folders`` once, and nothing else."""
    action()  # what is imported or compiled lies elsewhere, but takes its time
    with opens_below(folder) as (opened, listed):
        action()
    assert opened == dict.fromkeys(files, 1)
    assert listed == dict.fromkeys(folders or (), 1)


ALL = [f"{day}/a.parquet" for day in DAYS]
TREE = [".", *DAYS]
NAMED = {"logits": "logit_*", "target": "label"}
PATHS = {
    "file": ("day=2/a.parquet", ["day=2/a.parquet"], []),
    "directory": (".", ALL, TREE),
    "glob": ("day=*/a.parquet", ALL, ["."]),
}


def path_of(folder, name):
    return str(folder / name)


def test_the_watch_counts(folder):
    with opens_below(folder) as (opened, listed):
        for _ in range(3):
            (folder / "day=1" / "a.parquet").read_bytes()
            list(folder.iterdir())
    assert (opened, listed) == ({"day=1/a.parquet": 3}, {".": 3})


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize("options", [NAMED, {"logits": "logit_*"}, NAMED | {"filter": "id < 50", "threads": 2}])
def test_evaluate(folder, kind, options):
    name, files, folders = PATHS[kind]
    once(folder, lambda: fx.evaluate(path_of(folder, name), **options), files=files, folders=folders)


def test_evaluate_what_files_say_of_themselves(folder):
    fx.convert(folder, f"{folder.parent}/own/", logits="logit_*", target="label")
    once(folder.parent / "own", lambda: fx.evaluate(folder.parent / "own"), files=ALL, folders=TREE)


def test_a_list_of_files(folder):
    paths = [folder / name for name in ALL]
    once(folder, lambda: fx.evaluate(paths, logits="logit_*"), files=ALL)


def test_many_files(tmp_path):
    root = tmp_path / "many"
    root.mkdir()
    names = [f"{i:03}.parquet" for i in range(100)]
    for name in names:
        pq.write_table(TABLE.slice(0, 5), root / name)
    once(root, lambda: fx.evaluate(root, **NAMED), files=names, folders=["."])


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_more_files_than_stay_open(tmp_path, monkeypatch, ending):
    """Their footers are read first, and then their rows."""
    monkeypatch.setattr("fastxent.sources.dataset.open_files.MOST_OPEN", 3)
    root = tmp_path / "more"
    root.mkdir()
    names = [f"{i}.{ending}" for i in range(7)]
    for name in names:
        if ending == "parquet":
            pq.write_table(TABLE, root / name)
        else:
            pyarrow.feather.write_feather(TABLE, root / name, compression="uncompressed")
    with opens_below(root) as (opened, _):
        losses = fx.evaluate(root, **NAMED, threads=1)
    assert opened == {name: 1 + (number >= 3) for number, name in enumerate(names)}
    assert losses.num_rows == 7 * N


def test_a_filter_on_a_column_that_statistics_know(folder):
    filter = "id >= 550 and day == 2"
    once(folder, lambda: fx.evaluate(folder, **NAMED, filter=filter), files=ALL, folders=TREE)


def test_a_damaged_first_file_is_passed_over(folder):
    path = folder / "day=1" / "a.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(fx.SourceError, match="day=1"):
        fx.evaluate(folder, logits="logit_*")
    assert fx.evaluate(folder, logits="logit_*", on_error="skip").num_rows == 2 * N


@pytest.mark.parametrize("keep", [(), ("id", "word")])
def test_score(folder, tmp_path, keep):
    rows = f"{tmp_path}/rows.parquet"
    out = f"{tmp_path}/rows/"
    once(folder, lambda: fx.score(folder, rows, **NAMED, keep=keep, overwrite=True), files=ALL, folders=TREE)
    once(folder, lambda: fx.score(folder, out, **NAMED, keep=keep, resume=False), files=ALL, folders=TREE)


@pytest.mark.parametrize("measure", [True, False])
@pytest.mark.parametrize("kind", PATHS)
def test_inspect(folder, kind, measure):
    name, files, folders = PATHS[kind]
    once(folder, lambda: fx.inspect(path_of(folder, name), measure=measure), files=files, folders=folders)


def test_convert(folder, tmp_path):
    out = f"{tmp_path}/out/"
    once(folder, lambda: fx.convert(folder, out, **NAMED, overwrite=True), files=ALL, folders=TREE)


def test_compare_once_a_side(folder):
    pytest.importorskip("duckdb")
    a, b = folder / "day=1", folder / "day=2" / "a.parquet"
    files = ["day=1/a.parquet", "day=2/a.parquet"]
    once(folder, lambda: fx.compare(a, b, "label", on="id", logits="logit_*"), files=files, folders=["day=1"])


@pytest.mark.parametrize("compression", ["uncompressed", "zstd"])
def test_arrow_files(tmp_path, compression):
    root = tmp_path / "arrow"
    root.mkdir()
    for name in "ab":
        pyarrow.feather.write_feather(TABLE, root / f"{name}.arrow", chunksize=100, compression=compression)
    files = ["a.arrow", "b.arrow"]
    for options in (NAMED, {"logits": "logit_*"}, NAMED | {"filter": "id < 50"}):
        once(root, lambda options=options: fx.evaluate(root, **options), files=files, folders=["."])
    once(root, lambda: fx.inspect(root), files=files, folders=["."])


def test_files_without_an_ending(tmp_path):
    path = tmp_path / "in" / "predictions"
    path.parent.mkdir()
    pq.write_table(TABLE, path)
    once(path.parent, lambda: fx.evaluate(path, **NAMED), files=["predictions"])
