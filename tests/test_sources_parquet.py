"""Parquet files as sources: every layout, every mistake."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from test_sources_arrays import drain

import fastxent as fx
from fastxent import SourceError, UsageError
from fastxent.base.status import Status
from fastxent.data.batch import Columns
from fastxent.sources.dataset.dataset import Dataset, find_dataset
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.open import Selection, open_source
from fastxent.sources.parquet.source import ParquetSource

N, C = 400, 4
RNG = np.random.default_rng(11)
SCORES = RNG.normal(size=(N, C)).astype(np.float32)
LABELS = RNG.integers(0, C, N)
FLAT = pa.array(SCORES.ravel())
OFFSETS = np.arange(N + 1) * C
NAMES = tuple(f"p_{j}" for j in range(C))


def packed(values):
    return [row.tobytes() for row in values]


LAYOUTS = {
    "list": pa.ListArray.from_arrays(pa.array(OFFSETS, pa.int32()), FLAT),
    "large_list": pa.LargeListArray.from_arrays(pa.array(OFFSETS), FLAT),
    "fixed_size_list": pa.FixedSizeListArray.from_arrays(FLAT, C),
    "tensor": pa.FixedShapeTensorArray.from_numpy_ndarray(SCORES),
    "struct": pa.StructArray.from_arrays([pa.array(np.ascontiguousarray(SCORES[:, j])) for j in range(C)], NAMES),
    "binary": pa.array(packed(SCORES), pa.binary()),
    "large_binary": pa.array(packed(SCORES), pa.large_binary()),
    "fixed_size_binary": pa.array(packed(SCORES), pa.binary(C * 4)),
    "double list": pa.ListArray.from_arrays(pa.array(OFFSETS, pa.int32()), FLAT.cast(pa.float64())),
    "half list": pa.ListArray.from_arrays(pa.array(OFFSETS, pa.int32()), pa.array(SCORES.ravel().astype(np.float16))),
    "integer list": pa.ListArray.from_arrays(pa.array(OFFSETS, pa.int32()), FLAT.cast(pa.int16(), safe=False)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path, name):
    table = pa.table({"z": LAYOUTS[name], "y": LABELS})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=150)
    source = ParquetSource(
        find_dataset(tmp_path / "a.parquet"), Selection(("z",), "y", dtype="float32"), batch_bytes=1000, split_bytes=1
    )
    assert (source.num_rows, source.num_classes, len(source.splits())) == (N, C, 3)
    scores, targets, status = drain(source)
    expected = SCORES.astype(np.float16) if name == "half list" else SCORES
    np.testing.assert_array_equal(scores, np.trunc(expected) if name == "integer list" else expected)
    np.testing.assert_array_equal(targets, LABELS)
    assert not status.any()


@pytest.fixture
def wide(tmp_path):
    path = tmp_path / "wide.parquet"
    columns = {name: SCORES[:, j] for j, name in enumerate(NAMES)}
    pq.write_table(pa.table({**columns, "y": LABELS, "w": LABELS, "g": LABELS % 3}), path, row_group_size=100)
    return path


def test_one_column_a_class(wide):
    source = open_source(wide, Selection(("p_*",), "y", weight="w", extra=("g",)))
    scores, _, _ = drain(source)
    np.testing.assert_array_equal(scores, SCORES)
    assert source.class_names == ("0", "1", "2", "3")
    batch = next(source.read(source.splits()[0]))
    assert isinstance(batch.predictions, Columns)
    np.testing.assert_array_equal(batch.weight, batch.target.astype(np.float64))
    np.testing.assert_array_equal(batch.extra["g"], batch.target % 3)
    chosen = open_source(wide, Selection(("p_2", "p_0"), "y"))
    np.testing.assert_array_equal(drain(chosen)[0], SCORES[:, [2, 0]])
    assert chosen.class_names == ("p_2", "p_0")


def test_binary_task(wide):
    source = open_source(wide, Selection(("p_1",), "y", task="binary"))
    assert source.num_classes == 1
    np.testing.assert_array_equal(drain(source)[0][:, 0], SCORES[:, 1])
    with pytest.raises(UsageError, match="one score a row"):
        open_source(wide, Selection(("p_*",), "y", task="binary"))


def test_missing_columns_are_named_with_what_is_there(wide):
    with pytest.raises(SourceError, match=r"'lable'.*columns are: p_0"):
        open_source(wide, Selection(("p_*",), "lable"))
    with pytest.raises(SourceError, match="Did you mean 'p_3'"):
        open_source(wide, Selection(("p3",), "y"))
    with pytest.raises(SourceError, match="no such column"):
        open_source(wide, Selection(("q_*",), "y"))


def test_missing_files(tmp_path, wide):
    with pytest.raises(SourceError, match=r"did you mean .*wide\.parquet"):
        open_source(tmp_path / "wide.parqet", Selection(("p_*",), "y"))
    with pytest.raises(SourceError, match="no file matches"):
        open_source(str(tmp_path / "*.pq"), Selection(("p_*",), "y"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no files"):
        open_source(tmp_path / "empty", Selection(("p_*",), "y"))


def test_nulls_and_ragged_rows(tmp_path):
    rows = [[1.0, 2.0, 3.0], None, [1.0, None, 3.0], [1.0, 2.0], [], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0]]
    table = pa.table({"z": rows, "y": [0, 1, 2, 0, 1, None, 2], "w": [1.0, 1, 1, 1, 1, 1, None]})
    pq.write_table(table, tmp_path / "a.parquet")
    scores, targets, status = drain(open_source(tmp_path / "a.parquet", Selection(("z",), "y", weight="w")))
    assert status.tolist() == [
        0, Status.NULL_PREDICTION, Status.NULL_PREDICTION, Status.RAGGED_ROW, Status.RAGGED_ROW, Status.NULL_TARGET,
        Status.INVALID_WEIGHT,
    ]  # fmt: skip
    assert scores[0].tolist() == [1, 2, 3]
    assert scores[5].tolist() == [4, 5, 6]
    assert targets[6] == 2


def test_text_labels(tmp_path):
    names = ("d", "c", "b", "a")
    text = [names[i] for i in LABELS]
    text[:2] = [None, "zebra"]
    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())):
        table = pa.table({"z": LAYOUTS["list"], "y": pa.array(text, pa.string()).cast(kind)})
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=130)
        _, targets, status = drain(open_source(tmp_path / "a.parquet", Selection(("z",), "y", class_names=names)))
        np.testing.assert_array_equal(targets[2:], LABELS[2:])
        assert status[:3].tolist() == [Status.NULL_TARGET, Status.UNKNOWN_LABEL, 0]


def test_several_files_and_partitions(tmp_path):
    for day in (2, 10):
        folder = tmp_path / f"day={day}" / "country=n%20l"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"z": LAYOUTS["list"], "y": LABELS}), folder / "part-0.parquet", row_group_size=150)
    (tmp_path / "_SUCCESS").touch()
    source = open_source(tmp_path, Selection(("z",), "y", extra=("day", "country")))
    scores, _, _ = drain(source)
    np.testing.assert_array_equal(scores, np.concatenate([SCORES, SCORES]))
    days = [day for split in source.splits() for batch in source.read(split) for day in batch.extra["day"].to_pylist()]
    assert days == [10] * N + [2] * N  # paths are sorted as text
    batch = next(source.read(source.splits()[0]))
    assert set(batch.extra["country"].to_pylist()) == {"n l"}


def test_files_that_differ(tmp_path):
    pq.write_table(pa.table({"z": LAYOUTS["list"], "y": LABELS}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"z": LAYOUTS["list"], "y": LABELS.astype(str)}), tmp_path / "b.parquet")
    with pytest.raises(SourceError, match=r"b\.parquet, column 'y': is text here, but integer in .*a\.parquet"):
        open_source(tmp_path, Selection(("z",), "y"))
    pairs = pa.FixedSizeListArray.from_arrays(FLAT, 2)[:N]
    pq.write_table(pa.table({"z": pairs, "y": LABELS}), tmp_path / "b.parquet")
    with pytest.raises(SourceError, match=r"has 2 classes|has 4"):
        open_source(tmp_path, Selection(("z",), "y"))


def test_no_rows(tmp_path):
    table = pa.table({"z": LAYOUTS["list"], "y": LABELS})
    pq.write_table(table.slice(0, 0), tmp_path / "a.parquet")
    source = open_source(tmp_path, Selection(("z",), "y"))
    assert (source.num_rows, source.num_classes, len(source.splits())) == (0, 1, 0)
    assert open_source(tmp_path, Selection(("z",), "y", class_names=("a", "b"))).num_classes == 2
    pq.write_table(table, tmp_path / "b.parquet")
    source = open_source(tmp_path, Selection(("z",), "y"))
    assert (source.num_rows, source.num_classes) == (N, C)


def test_one_giant_row_group_is_read_in_bounded_memory(tmp_path):
    rows = 200_000
    values = np.random.default_rng(0).normal(size=rows * 10).astype(np.float32)
    lists = pa.ListArray.from_arrays(pa.array(np.arange(rows + 1) * 10, pa.int32()), pa.array(values))
    pq.write_table(pa.table({"z": lists, "y": np.zeros(rows, np.int8)}), tmp_path / "a.parquet", row_group_size=rows)
    del lists
    source = open_source(tmp_path / "a.parquet", Selection(("z",), "y"), memory=4 << 20)
    before, peak, count = pa.total_allocated_bytes(), 0, 0
    for split in source.splits():
        for batch in source.read(split):
            peak = max(peak, pa.total_allocated_bytes() - before)
            count += batch.num_rows
    assert count == rows
    assert peak < 6 << 20 < values.nbytes


def test_threads_read_side_by_side(tmp_path):
    for name in "abc":
        pq.write_table(pa.table({"z": LAYOUTS["list"], "y": LABELS}), tmp_path / f"{name}.parquet", row_group_size=20)
    source = ParquetSource(find_dataset(tmp_path), Selection(("z",), "y"), split_bytes=1)

    def total(split):
        return sum(float(batch.predictions.values.sum(dtype=np.float64)) for batch in source.read(split))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(total, source.splits())) == [total(split) for split in source.splits()]


def test_other_filesystems(tmp_path):
    pq.write_table(pa.table({"z": LAYOUTS["list"], "y": LABELS}), tmp_path / "a.parquet", row_group_size=150)
    source = open_source(f"file://{tmp_path}", Selection(("z",), "y"))
    np.testing.assert_array_equal(drain(source)[0], SCORES)
    remote = DataFile("mine://a.parquet", "a.parquet", pa.fs.SubTreeFileSystem(str(tmp_path), pa.fs.LocalFileSystem()))
    np.testing.assert_array_equal(drain(ParquetSource(Dataset([remote]), Selection(("z",), "y")))[0], SCORES)
    with pytest.raises(SourceError, match="cannot be reached"):
        open_source("nowhere://bucket/a.parquet", Selection(("z",), "y"))


def test_two_plans_are_the_same(wide):
    first, second = (open_source(wide, Selection(("p_*",), "y")) for _ in range(2))
    assert first.splits() == second.splits()


def test_class_names_have_to_fit(tmp_path):
    pq.write_table(pa.table({"z": LAYOUTS["list"], "y": LABELS}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="class_names has 3 names, the predictions have 4 classes"):
        open_source(tmp_path, Selection(("z",), "y", class_names=("a", "b", "c")))


def test_no_row_with_scores(tmp_path):
    pq.write_table(pa.table({"z": pa.nulls(9, pa.list_(pa.float32())), "y": LABELS[:9]}), tmp_path / "a.parquet")
    source = open_source(tmp_path, Selection(("z",), "y"))
    scores, _, status = drain(source)
    assert scores.shape == (9, source.num_classes)
    assert set(status) == {Status.NULL_PREDICTION}


def test_sources_can_be_sent_to_workers(wide):
    source = open_source(wide, Selection(("p_*",), "y"))
    drain(source)
    copy = pickle.loads(pickle.dumps(source))
    assert copy.splits() == source.splits()
    np.testing.assert_array_equal(drain(copy)[0], SCORES)


def test_partitions_can_be_target_and_weight(tmp_path):
    """What the path says of all rows of a file: integers, text, or nothing."""
    tmp_path, rows = tmp_path / "in", tmp_path / "rows.parquet"
    scores = {0: [[2.0, 0.0], [0.0, 1.0]], 1: [[0.5, 0.5]]}
    for label, z in scores.items():
        folder = tmp_path / f"label={label}" / f"w={label + 0.5}" / f"name={'no' if label == 0 else 'yes'}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"z": pa.array(z)}), folder / "a.parquet")
    z, y = np.concatenate([*scores.values()]), [0, 0, 1]
    assert fx.evaluate(tmp_path, "label", logits="z").loss == fx.cross_entropy(y, logits=z)
    weighted = fx.evaluate(tmp_path, "label", logits="z", weight="w")
    assert weighted.loss == fx.cross_entropy(y, logits=z, sample_weight=[0.5, 0.5, 1.5])
    named = fx.evaluate(tmp_path, "name", logits="z", class_names=["no", "yes"], group_by="label", filter="label >= 0")
    assert (named.loss, named.groups["label"].to_pylist()) == (fx.cross_entropy(y, logits=z), [0, 1])
    fx.score(tmp_path, rows, "label", logits="z", keep="name")
    assert pq.read_table(rows, partitioning=None)["loss"].to_pylist() == list(
        fx.cross_entropy(y, logits=z, reduction="none")
    )
    assert fx.inspect(tmp_path / "label=0").selection.target == "label"
    with pytest.raises(fx.SourceError, match=r"holds text .*; weights are numbers"):
        fx.evaluate(tmp_path, "label", logits="z", weight="name")


def test_a_partition_without_a_value_is_null(tmp_path):
    for label in ("0", "__HIVE_DEFAULT_PARTITION__"):
        (tmp_path / f"label={label}").mkdir()
        pq.write_table(pa.table({"z": pa.array([[1.0, 0.0]])}), tmp_path / f"label={label}" / "a.parquet")
    ev = fx.evaluate(tmp_path, "label", logits="z", on_invalid="skip")
    assert (ev.rows["scored"], ev.rows["invalid"]) == (1, {"null_target": 1})
