"""PredictionWriter: what is written is what is read, without flags; whole files or none."""

import json
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent.storage.layout import convert_kind

ROOT = Path(__file__).parent.parent
DATA = ROOT / "data"


@pytest.fixture(scope="module")
def digits():
    return np.load(DATA / "digits_logits.npy"), np.load(DATA / "digits_labels.npy")


def carriers(batch):
    predictions = batch.predictions
    return np.stack(predictions.columns, axis=1) if hasattr(predictions, "columns") else np.array(predictions.values)


def read_back(path):
    """The scores as carriers and the kind, read as `fastxent evaluate FILE` reads them."""
    from fastxent.api.job import prepare
    from fastxent.data.options import LossOptions
    from fastxent.sources.options import Inputs

    source, spec = prepare(Inputs(data=str(path), verify_checksums=True), LossOptions())
    batches = [(carriers(batch), batch.predictions.kind) for split in source.splits() for batch in source.read(split)]
    return np.concatenate([values for values, _ in batches]), batches[0][1], spec


@pytest.mark.parametrize("layout", ["auto", "packed", "columns", "list"])
@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("classes", [3, 100])
def test_what_is_written_is_read_without_flags(tmp_path, layout, kind, classes):
    rng = np.random.default_rng(classes)
    scores = rng.standard_normal((500, classes)).astype({"bfloat16": ml_dtypes.bfloat16}.get(kind, kind))
    target = rng.integers(0, classes, 500)
    with fx.PredictionWriter(tmp_path / "p.parquet", "logits", layout=layout) as writer:
        for lo in range(0, 500, 170):
            writer.write(scores[lo : lo + 170], target=target[lo : lo + 170], id=np.arange(lo, min(500, lo + 170)))
    found, read_kind, spec = read_back(tmp_path / "p.parquet")
    assert read_kind == kind
    assert spec.form == "logits"
    assert (found == (scores.view(np.uint16) if kind.endswith("16") else scores)).all()
    schema = pq.read_schema(tmp_path / "p.parquet")
    assert not any(field.nullable for field in schema)
    columns = layout == "columns" or (layout == "auto" and classes == 3)
    assert schema.names[0] == ("logit_0" if columns else "logits")


def test_settings_of_the_file(tmp_path, digits):
    with fx.PredictionWriter(tmp_path / "p.parquet", "logits", layout="packed") as writer:
        writer.write(digits[0], target=digits[1], name=[f"row {i}" for i in range(len(digits[0]))])
    chunk = pq.read_metadata(tmp_path / "p.parquet").row_group(0).column(0)
    assert chunk.compression == "UNCOMPRESSED"
    assert "RLE_DICTIONARY" not in chunk.encodings
    assert chunk.statistics is None
    path = tmp_path / "p.parquet"
    damaged = bytearray(path.read_bytes())
    damaged[damaged.find(digits[0][900].tobytes())] ^= 1  # one bit of one score
    path.write_bytes(bytes(damaged))
    with pytest.raises(fx.SourceError, match=r"(?i)crc|checksum"):
        fx.evaluate(str(path), verify_checksums=True)


def test_metadata_says_what_the_file_holds(tmp_path):
    with fx.PredictionWriter(tmp_path / "p.parquet", "probs", class_names=["cat", "dog"], dtype="float32") as writer:
        writer.write([[0.9, 0.1]], target=["cat"])
    said = json.loads(pq.read_schema(tmp_path / "p.parquet").metadata[b"fastxent"])
    assert said == {
        "version": 1, "form": "probs", "predictions": ["prob_0", "prob_1"], "target": "target",
        "class_names": ["cat", "dog"], "task": "multiclass", "dtype": "float32",
    }  # fmt: skip
    assert fx.evaluate(str(tmp_path / "p.parquet")).loss == pytest.approx(-np.log(np.float32(0.9)))


def test_binary_task(tmp_path):
    with fx.PredictionWriter(tmp_path / "p.parquet", "logits", task="binary") as writer:
        writer.write(np.float32([1.0, -2.0]), target=np.int8([1, 0]))
        writer.write(np.float32([[3.0]]), target=np.int8([0]))
    ev = fx.evaluate(str(tmp_path / "p.parquet"))
    assert ev.loss == pytest.approx((2 * np.log1p(np.exp(-1)) / 2 + np.log1p(np.exp(-2)) + np.log1p(np.exp(3))) / 3)


def test_buffers_may_be_reused(tmp_path, digits):
    buffer, labels = np.empty((100, 10), np.float32), np.empty(100, np.int64)
    with fx.PredictionWriter(tmp_path / "p.parquet") as writer:
        for lo in range(0, 1700, 100):
            buffer[:], labels[:] = digits[0][lo : lo + 100], digits[1][lo : lo + 100]
            writer.write(buffer, target=labels, twice=labels)
            buffer[:], labels[:] = np.nan, -1
    found, _, _ = read_back(tmp_path / "p.parquet")
    assert (found == digits[0][:1700]).all()
    assert (pq.read_table(tmp_path / "p.parquet")["twice"].to_numpy() == digits[1][:1700]).all()


def test_row_groups_are_cut_by_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr("fastxent.storage.parquet_writer.GROUP_BYTES", 10_000)
    with fx.PredictionWriter(tmp_path / "p.parquet", layout="packed") as writer:
        for _ in range(100):
            writer.write(np.zeros((10, 10), np.float32), target=np.zeros(10, np.int64))
    metadata = pq.read_metadata(tmp_path / "p.parquet")
    assert metadata.num_rows == 1000
    assert 4 <= metadata.num_row_groups <= 6


def test_other_columns_of_any_kind(tmp_path):
    with fx.PredictionWriter(tmp_path / "p.parquet") as writer:
        for _ in range(2):
            writer.write(
                np.zeros((2, 2)),
                target=np.array([[0.5, 0.5], [1, 0]]),
                text=["a", "b"],
                maybe=pa.array([1, None]),
                mask=np.array([[True, False], [True, True]]),
            )
    rows = pq.read_table(tmp_path / "p.parquet").to_pylist()
    assert rows[3] == {
        "logit_0": 0.0, "logit_1": 0.0, "target": [1.0, 0.0], "text": "b", "maybe": None, "mask": [True, True]
    }  # fmt: skip


def test_an_exception_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), fx.PredictionWriter(tmp_path / "p.parquet") as writer:  # noqa: PT012
        writer.write(np.zeros((2, 2)), target=[0, 1])
        1 / 0  # noqa: B018
    assert os.listdir(tmp_path) == []


def test_a_killed_process_leaves_nothing_that_looks_whole(tmp_path):
    code = (
        "import fastxent as fx, numpy as np, os, signal, sys\n"
        "from fastxent.storage import parquet_writer\n"
        "parquet_writer.GROUP_BYTES = 1\n"
        "w = fx.PredictionWriter(sys.argv[1])\n"
        "w.write(np.zeros((10, 2)), target=np.zeros(10, int))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    out = tmp_path / "p.parquet"
    assert subprocess.run([sys.executable, "-c", code, out], env=env, timeout=60, check=False).returncode == -9
    assert not out.exists()
    with fx.PredictionWriter(out) as writer:
        writer.write(np.zeros((10, 2)), target=np.zeros(10, int))
    assert os.listdir(tmp_path) == ["p.parquet"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"form": "scores"}, "form: expected one of 'logits'"),
        ({"task": "ranking"}, "task: expected one of"),
        ({"dtype": "int8"}, "dtype: expected one of"),
        ({"layout": "wide"}, "layout: expected 'auto'"),
        ({"class_names": ["a"], "num_classes": 3}, "1 names for 3 classes"),
    ],
)
def test_wrong_arguments(tmp_path, options, words):
    with pytest.raises(fx.UsageError, match=words):
        fx.PredictionWriter(tmp_path / "p.parquet", **options)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (((np.zeros((2, 3)),), {"target": [0, 1]}), "expected 2 a row, got 3"),
        (((np.zeros((2, 2)),), {}), "column 'target' is missing"),
        (((np.zeros((2, 2)),), {"target": [0, 1], "new": [1, 2]}), "column 'new' is new"),
        (((np.zeros((2, 2)),), {"target": [0]}), "expected 2 values"),
        (((np.zeros((2, 2)),), {"target": [0, None]}), "row 3 has none"),
        (((np.zeros((2, 2), np.int64),), {"target": [0, 1]}), "got int64"),
        (((np.zeros((2, 2, 2)),), {"target": [0, 1]}), "expected shape"),
    ],
)
def test_batches_that_do_not_fit(tmp_path, second, words):
    with pytest.raises(fx.UsageError, match=words), fx.PredictionWriter(tmp_path / "p.parquet") as writer:  # noqa: PT012
        writer.write(np.zeros((2, 2)), target=[0, 1])
        writer.write(*second[0], **second[1])
    assert os.listdir(tmp_path) == []


def test_wider_numbers_after_narrow_ones_need_a_word(tmp_path):
    with pytest.raises(fx.UsageError, match="dtype="), fx.PredictionWriter(tmp_path / "p.parquet") as writer:  # noqa: PT012
        writer.write(np.zeros((2, 2), np.float32), target=[0, 1])
        writer.write(np.zeros((2, 2), np.float64), target=[0, 1])
    with fx.PredictionWriter(tmp_path / "p.parquet", dtype="float16") as writer:
        writer.write(np.zeros((2, 2), np.float32), target=[0, 1])
        with pytest.raises(fx.UsageError, match="cannot hold 70000"):
            writer.write(np.full((2, 2), 7e4), target=[0, 1])


def test_nothing_written(tmp_path):
    with pytest.raises(fx.UsageError, match="no batch"), fx.PredictionWriter(tmp_path / "p.parquet"):
        pass
    assert os.listdir(tmp_path) == []
    with fx.PredictionWriter(tmp_path / "p.parquet", num_classes=3):
        pass
    assert pq.read_metadata(tmp_path / "p.parquet").num_rows == 0


def test_bfloat16_is_rounded_once_to_nearest():
    rng = np.random.default_rng(5)
    single = rng.standard_normal(20_000).astype(np.float32)
    assert (convert_kind(single, "float32", "bfloat16") == single.astype(ml_dtypes.bfloat16).view(np.uint16)).all()
    # A float64 just beside a tie of bfloat16, which rounding by way of float32 would put on the tie.
    beside = np.array([1 + 2.0**-8 + 2.0**-40, 1 + 3 * 2.0**-8 - 2.0**-40, 1 + 2.0**-8, np.nan, -np.inf])
    found = (convert_kind(beside, "float64", "bfloat16").astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(found, np.float32([1 + 2.0**-7, 1 + 2.0**-7, 1, np.nan, -np.inf]))
