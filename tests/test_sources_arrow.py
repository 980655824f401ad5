"""Arrow files, tables, frames and streams as sources."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pytest
from test_sources_arrays import drain, scores_of
from test_sources_parquet import FLAT, LABELS, LAYOUTS, NAMES, OFFSETS, SCORES, C, N

from fastxent import SourceError, UsageError
from fastxent.base.status import Status
from fastxent.sources.arrow.source import ArrowSource, open_ipc, open_table
from fastxent.sources.dataset.dataset import find_dataset
from fastxent.sources.open import Selection, open_arrays, open_source

Z = Selection(("z",), "y", dtype="float32")
TABLE = pa.table({"z": LAYOUTS["list"], "y": LABELS, "unused": [str(i) for i in range(N)]})


@pytest.mark.parametrize("compression", ["uncompressed", "lz4", "zstd"])
def test_feather_files(tmp_path, compression):
    pyarrow.feather.write_feather(TABLE, tmp_path / "a.feather", compression=compression, chunksize=150)
    pyarrow.feather.write_feather(TABLE, tmp_path / "b.feather", compression=compression, chunksize=N)
    source = open_source(tmp_path, Z)
    scores, targets, status = drain(source)
    np.testing.assert_array_equal(scores, np.concatenate([SCORES, SCORES]))
    np.testing.assert_array_equal(targets, np.concatenate([LABELS, LABELS]))
    assert not status.any()


def test_splits_cut_large_batches_and_join_small_ones(tmp_path):
    pyarrow.feather.write_feather(TABLE, tmp_path / "a.feather", compression="uncompressed", chunksize=150)
    part, reading, _ = next(iter(open_ipc(find_dataset(tmp_path), Z)._parts.values()))
    for split_bytes in (1, 700, 3000, 1 << 20):
        source = ArrowSource([(part, reading)], split_bytes=split_bytes)
        np.testing.assert_array_equal(drain(source)[0], SCORES)
    assert [split.num_rows for split in ArrowSource([(part, reading)], split_bytes=5000).splits()] == [150, 150, 100]


def test_uncompressed_files_are_not_copied(tmp_path):
    pyarrow.feather.write_feather(TABLE, tmp_path / "a.feather", compression="uncompressed")
    source = open_source(tmp_path / "a.feather", Z)
    before = pa.total_allocated_bytes()
    batch = next(source.read(source.splits()[0]))
    assert pa.total_allocated_bytes() - before < SCORES.nbytes / 4
    np.testing.assert_array_equal(scores_of(batch.predictions), SCORES)


def test_ipc_streams_in_files(tmp_path):
    with pa.OSFile(str(tmp_path / "a.arrows"), "wb") as out, pa.ipc.new_stream(out, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=130)
    np.testing.assert_array_equal(drain(open_source(tmp_path / "a.arrows", Z))[0], SCORES)


STARTS, SIZES = OFFSETS[:-1], np.full(N, C)
VIEWS = {
    "list_view": pa.ListViewArray.from_arrays(pa.array(STARTS, pa.int32()), pa.array(SIZES, pa.int32()), FLAT),
    "large_list_view": pa.LargeListViewArray.from_arrays(pa.array(STARTS), pa.array(SIZES), FLAT),
    "binary_view": LAYOUTS["binary"].cast(pa.binary_view()),
    "backwards": pa.ListViewArray.from_arrays(
        pa.array(np.arange(N)[::-1] * C, pa.int32()),
        pa.array(np.full(N, C), pa.int32()),
        pa.array(SCORES[::-1].ravel()),
    ),
}


@pytest.mark.parametrize("name", [*LAYOUTS, *VIEWS])
@pytest.mark.parametrize("lo", [0, 37])
def test_tables_of_every_layout_sliced(name, lo):
    column = {**LAYOUTS, **VIEWS}[name]
    source = open_source(pa.table({"z": column, "y": LABELS}).slice(lo, 200), Z)
    expected = SCORES[lo : lo + 200]
    expected = expected.astype(np.float16) if name == "half list" else expected
    expected = np.trunc(expected) if name == "integer list" else expected
    np.testing.assert_array_equal(drain(source)[0], expected)
    np.testing.assert_array_equal(drain(source)[1], LABELS[lo : lo + 200])


@pytest.mark.parametrize("name", ["list", "large_list", "fixed_size_list", "tensor", "binary", "fixed_size_binary"])
def test_regular_layouts_are_views(name):
    batch = pa.record_batch({"z": LAYOUTS[name], "y": LABELS}).slice(5, 100)
    source = open_table(batch, Z)
    before = pa.total_allocated_bytes()
    found = next(source.read(source.splits()[0])).predictions.values
    assert not found.flags.owndata
    assert not found.flags.writeable
    assert pa.total_allocated_bytes() == before


def test_polars(tmp_path):
    import polars as pl

    text = [f"class {i}" for i in LABELS]
    names = tuple(f"class {i}" for i in range(C))
    frame = pl.DataFrame({"z": SCORES.tolist(), "y": text}, schema={"z": pl.List(pl.Float32), "y": pl.String})
    fixed = frame.with_columns(pl.col("z").list.to_array(C))
    selection = Selection(("z",), "y", class_names=names)
    frame.write_parquet(tmp_path / "list.parquet", row_group_size=90)
    fixed.write_parquet(tmp_path / "array.parquet")
    frame.write_ipc(tmp_path / "list.arrow")
    categorical = frame.with_columns(pl.col("y").cast(pl.Categorical))
    categorical.write_ipc(tmp_path / "categorical.arrow", compression="zstd")
    files = [tmp_path / name for name in ("list.parquet", "array.parquet", "list.arrow", "categorical.arrow")]
    for data in (frame, fixed, categorical, *files):
        scores, targets, status = drain(open_source(data, selection))
        np.testing.assert_array_equal(scores, SCORES)
        np.testing.assert_array_equal(targets, LABELS)
        assert not status.any()


def test_pandas(tmp_path):
    frame = pd.DataFrame(SCORES, columns=NAMES).assign(y=LABELS, other=object())
    wide = Selection(("p_*",), "y")
    np.testing.assert_array_equal(drain(open_source(frame, wide))[0], SCORES)
    frame = frame.drop(columns="other")
    frame.to_parquet(tmp_path / "wide.parquet")
    frame.assign(z=list(SCORES)).to_parquet(tmp_path / "list.parquet")
    np.testing.assert_array_equal(drain(open_source(tmp_path / "wide.parquet", wide))[0], SCORES)
    np.testing.assert_array_equal(drain(open_source(tmp_path / "list.parquet", Z))[0], SCORES)
    named = frame.assign(y=pd.Categorical(np.array(["a", "b", "c", "d"])[LABELS]))
    source = open_source(named, Selection(("p_*",), "y", class_names=("a", "b", "c", "d")))
    np.testing.assert_array_equal(drain(source)[1], LABELS)
    with pytest.raises(SourceError, match="columns are: p_0"):
        open_source(frame, Selection(("logits",), "y"))


def test_duckdb(tmp_path):
    import duckdb

    with duckdb.connect() as connection:
        connection.register("t", TABLE)
        connection.execute(f"copy (select z, z::float[{C}] as a, y from t) to '{tmp_path}/d.parquet' (format parquet)")
        for column in ("z", "a"):
            source = open_source(tmp_path / "d.parquet", Selection((column,), "y"))
            np.testing.assert_array_equal(drain(source)[0], SCORES)
        source = open_source(connection.sql("select z, y from t"), Z)
        rows = [scores_of(b.predictions) for b in source.read(source.splits()[0])]
        np.testing.assert_array_equal(np.concatenate(rows), SCORES)


def test_a_stream_is_read_once():
    reader = pa.RecordBatchReader.from_batches(TABLE.schema, TABLE.to_batches(max_chunksize=70))
    source = open_source(reader, Z)
    (split,) = source.splits()
    assert (source.num_rows, split.num_rows, source.num_classes) == (-1, -1, C)
    firsts, rows = [], []
    for batch in source.read(split):
        firsts.append(batch.first_row)
        rows.append(scores_of(batch.predictions))
    assert firsts[:3] == [0, 70, 140]
    np.testing.assert_array_equal(np.concatenate(rows), SCORES)
    with pytest.raises(UsageError, match="read already"):
        next(source.read(split))


def test_spark_vectors():
    kind = pa.struct(
        [
            ("type", pa.int8()),
            ("size", pa.int32()),
            ("indices", pa.list_(pa.int32())),
            ("values", pa.list_(pa.float64())),
        ]
    )
    dense = [{"type": 1, "size": None, "indices": None, "values": row} for row in SCORES[:20].tolist()]
    source = open_source(pa.table({"z": pa.array(dense, kind), "y": LABELS[:20]}), Z)
    np.testing.assert_array_equal(drain(source)[0], SCORES[:20])
    mixed = [
        *dense[:2], None, {"type": 0, "size": C, "indices": [1, 3], "values": [5.0, 7.0]},
        {"type": 0, "size": C, "indices": [], "values": []}, {"type": 0, "size": C, "indices": [9], "values": [5.0]},
        {"type": 1, "size": None, "indices": None, "values": [1.0]},
    ]  # fmt: skip
    source = open_source(pa.table({"z": pa.array(mixed, kind), "y": LABELS[:7]}), Z)
    scores, _, status = drain(source)
    null, ragged = Status.NULL_PREDICTION, Status.RAGGED_ROW
    assert status.tolist() == [0, 0, null, 0, 0, ragged, ragged]
    assert scores[3].tolist() == [0, 5, 0, 7]
    assert scores[4].tolist() == [0, 0, 0, 0]


def test_bfloat16_as_uint16_and_binary():
    bits = (SCORES.view(np.uint32) >> 16).astype(np.uint16)
    expected = (bits.astype(np.uint32) << 16).view(np.float32)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(bits.ravel()), C)
    selection = Selection(("z",), "y", dtype="bfloat16")
    for column in (lists, pa.array([row.tobytes() for row in bits], pa.binary())):
        np.testing.assert_array_equal(drain(open_source(pa.table({"z": column, "y": LABELS}), selection))[0], expected)
    with pytest.raises(UsageError, match="dtype="):
        open_source(pa.table({"z": LAYOUTS["binary"], "y": LABELS}), Selection(("z",), "y"))


def test_binary_rows_with_bytes_left_over():
    rows = [SCORES[0].tobytes(), b"abc", None, SCORES[1].tobytes(), SCORES[2].tobytes()[:8]]
    scores, _, status = drain(open_source(pa.table({"z": pa.array(rows, pa.binary()), "y": LABELS[:5]}), Z))
    null, ragged = Status.NULL_PREDICTION, Status.RAGGED_ROW
    assert status.tolist() == [0, ragged, null, 0, ragged]
    np.testing.assert_array_equal(scores[[0, 3]], SCORES[:2])


def test_dense_targets_and_masks():
    soft = pa.FixedSizeListArray.from_arrays(pa.array(np.abs(SCORES).ravel()), C)
    bits = pa.FixedSizeListArray.from_arrays(pa.array((SCORES > 0).ravel()), C)
    data = pa.table({"z": LAYOUTS["list"], "soft": soft, "bits": bits})
    np.testing.assert_array_equal(drain(open_source(data, Selection(("z",), "soft")))[1], np.abs(SCORES))
    source = open_source(data, Selection(("z",), "bits", task="multilabel", mask="bits"))
    batch = next(source.read(source.splits()[0]))
    np.testing.assert_array_equal(batch.target, SCORES > 0)
    np.testing.assert_array_equal(batch.mask, SCORES > 0)


def test_arrow_columns_beside_arrays():
    import polars as pl

    series = pl.Series("z", SCORES.tolist(), dtype=pl.List(pl.Float32))
    frame = pl.DataFrame(SCORES, schema=list(NAMES))
    for predictions in (LAYOUTS["list"], pa.chunked_array([LAYOUTS["tensor"]]), series, frame, pa.table(frame)):
        for target in (LABELS, pa.array(LABELS), pl.Series(LABELS), LABELS.tolist()):
            source = open_arrays(predictions, target, weight=LABELS + 1, extra={"g": LABELS})
            scores, targets, _ = drain(source)
            np.testing.assert_array_equal(scores, SCORES)
            np.testing.assert_array_equal(targets, LABELS)
    assert open_arrays(frame, LABELS).class_names == NAMES
    batch = next(source.read(source.splits()[0]))
    assert batch.extra["g"].to_pylist() == LABELS.tolist()
    np.testing.assert_array_equal(batch.weight, LABELS + 1)
    np.testing.assert_array_equal(drain(open_arrays(SCORES, pa.array(LABELS)))[0], SCORES)
    np.testing.assert_array_equal(drain(open_arrays(LAYOUTS["list"], np.abs(SCORES)))[1], np.abs(SCORES))
    np.testing.assert_array_equal(drain(open_arrays(pd.DataFrame(SCORES), pd.Series(LABELS)))[0], SCORES)
    with pytest.raises(UsageError, match="target has 3 rows"):
        open_arrays(series, LABELS[:3])


def test_pandas_columns():
    labels = pd.Series(pd.array([None, *LABELS[1:].tolist()], dtype="Int64"))
    _, targets, status = drain(open_arrays(SCORES, labels))
    np.testing.assert_array_equal(targets[1:], LABELS[1:])
    assert (status[0], status.sum()) == (Status.NULL_TARGET, Status.NULL_TARGET)
    names = ("a", "b", "c", "d")
    text = np.array(names)[LABELS]
    for target in (pd.Series(text), pd.Series(text, dtype=object), pd.Series(pd.Categorical(text))):
        np.testing.assert_array_equal(drain(open_arrays(SCORES, target, class_names=names))[1], LABELS)
    np.testing.assert_array_equal(drain(open_arrays(pd.Series(list(SCORES)), LABELS))[0], SCORES)
