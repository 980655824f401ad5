"""Arrays in memory, and .npy files, as sources."""

from __future__ import annotations

import json

import ml_dtypes
import numpy as np
import pytest

from fastxent import SourceError, UsageError
from fastxent.base.status import Status
from fastxent.data.batch import Columns, Matrix
from fastxent.sources.arrays.source import ArraySource
from fastxent.sources.open import Selection, open_arrays, open_source

RNG = np.random.default_rng(7)
SCORES = RNG.normal(size=(257, 5)).astype(np.float32)
LABELS = RNG.integers(0, 5, 257)


def scores_of(predictions):
    """Predictions back as float64, whatever their shape and kind."""
    values = predictions.values if isinstance(predictions, Matrix) else np.stack(predictions.columns, axis=1)
    if predictions.kind == "bfloat16":
        return (values.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    with np.errstate(invalid="ignore"):  # signalling NaNs, in damaged files
        return (values.view(np.float16) if predictions.kind == "float16" else values).astype(np.float64)


def drain(source):
    """All rows of a source: (scores, targets, status), with the numbering of rows checked on the way."""
    scores, targets, status, next_id = [], [], [], 0
    for split in source.splits():
        assert split.first_id == next_id
        seen = 0
        for batch in source.read(split):
            assert (batch.first_id, batch.first_row) == (next_id, split.first_row + seen)
            assert batch.path == split.path
            assert len(batch.target) == batch.num_rows
            scores.append(scores_of(batch.predictions))
            targets.append(np.array(batch.target))
            status.append(np.zeros(batch.num_rows, np.uint8) if batch.status is None else batch.status.copy())
            next_id += batch.num_rows
            seen += batch.num_rows
        assert seen == split.num_rows
    assert next_id == source.num_rows
    if not scores:
        return np.empty((0, max(1, source.num_classes))), np.empty(0, np.int64), np.empty(0, np.uint8)
    return np.concatenate(scores), np.concatenate(targets), np.concatenate(status)


def fit_for_kernels(predictions):
    if isinstance(predictions, Columns):
        return all(c.flags.c_contiguous and c.flags.aligned and c.dtype.isnative for c in predictions.columns)
    values = predictions.values
    return values.shape[1] == 1 or values.strides[1] == values.itemsize


VARIANTS = {
    "float32": (SCORES, "float32"),
    "float64": (SCORES.astype(np.float64), "float64"),
    "float16": (SCORES.astype(np.float16), "float16"),
    "bfloat16": (SCORES.astype(ml_dtypes.bfloat16), "bfloat16"),
    "int32": ((SCORES * 9).astype(np.int32), "float64"),
    "bool": (SCORES > 0, "float64"),
    "fortran": (np.asfortranarray(SCORES), "float32"),
    "big-endian": (SCORES.astype(">f4"), "float32"),
    "big-endian float16": (SCORES.astype(">f2"), "float16"),
    "wide rows": (np.pad(SCORES, ((0, 0), (0, 3)))[:, :5], "float32"),
    "every other class": (np.repeat(SCORES, 2, axis=1)[:, ::2], "float32"),
    "rows backwards": (SCORES[::-1], "float32"),
    "every other row": (np.repeat(SCORES, 2, axis=0)[::2], "float32"),
    "classes backwards": (SCORES[:, ::-1], "float32"),
    "unaligned": (np.frombuffer(b"\0" + SCORES.tobytes(), np.float32, SCORES.size, 1).reshape(SCORES.shape), "float32"),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_array_is_read_as_it_is(name):
    array, kind = VARIANTS[name]
    source = ArraySource(array, LABELS, split_bytes=1000)
    assert len(source.splits()) > 1
    for split in source.splits():
        for batch in source.read(split):
            assert batch.predictions.kind == kind
            assert fit_for_kernels(batch.predictions)
    scores, targets, status = drain(source)
    np.testing.assert_array_equal(scores, array.astype(np.float64))
    np.testing.assert_array_equal(targets, LABELS)
    assert not status.any()


@pytest.mark.parametrize(
    "name", ["float32", "float64", "float16", "bfloat16", "fortran", "wide rows", "every other row"]
)
def test_fit_arrays_are_views(name):
    array, _ = VARIANTS[name]
    batch = next(ArraySource(array, LABELS).read(ArraySource(array, LABELS).splits()[0]))
    held = batch.predictions.values if isinstance(batch.predictions, Matrix) else batch.predictions.columns[0]
    assert np.shares_memory(held, array)
    assert not held.flags.writeable
    assert np.shares_memory(batch.target, LABELS)


def test_torch_and_jax_tensors():
    torch = pytest.importorskip("torch")
    half = torch.tensor(SCORES, requires_grad=True).to(torch.bfloat16)
    scores, _, _ = drain(open_arrays(half, torch.tensor(LABELS)))
    np.testing.assert_array_equal(scores, half.detach().to(torch.float64).numpy())
    jnp = pytest.importorskip("jax.numpy")
    scores, targets, _ = drain(open_arrays(jnp.asarray(SCORES, dtype=jnp.bfloat16), jnp.asarray(LABELS)))
    np.testing.assert_array_equal(scores, SCORES.astype(ml_dtypes.bfloat16).astype(np.float64))
    np.testing.assert_array_equal(targets, LABELS)


class Sliced:
    """What zarr and h5py look like."""

    def __init__(self, values):
        self._values, self.shape, self.dtype, self.largest = values, values.shape, values.dtype, 0

    def __getitem__(self, key):
        block = self._values[key]
        self.largest = max(self.largest, len(block))
        return block


def test_sliceable_objects_are_read_block_by_block():
    held = Sliced(SCORES)
    scores, _, _ = drain(ArraySource(held, Sliced(LABELS), split_bytes=200))
    np.testing.assert_array_equal(scores, SCORES)
    assert held.largest == 10


def test_binary_shapes():
    y = LABELS > 2
    for predictions in (SCORES[:, 0], SCORES[:, :1], SCORES[:, 0].tolist()):
        source = open_arrays(predictions, y, task="binary")
        scores, targets, _ = drain(source)
        assert source.num_classes == 1
        np.testing.assert_array_equal(scores[:, 0], SCORES[:, 0].astype(np.float64))
        assert targets.dtype == np.bool_
    with pytest.raises(UsageError, match="second column"):
        open_arrays(SCORES[:, :2], y, task="binary")


def test_targets_of_every_type():
    for dtype in ("int8", "uint8", ">i4", "uint64"):
        np.testing.assert_array_equal(drain(open_arrays(SCORES, LABELS.astype(dtype)))[1], LABELS)
    floats = LABELS.astype(np.float32)
    floats[:3] = [np.nan, 1.5, np.inf]
    _, targets, status = drain(open_arrays(SCORES, floats))
    np.testing.assert_array_equal(targets[3:], LABELS[3:])
    assert list(status[:4]) == [Status.INVALID_TARGET] * 3 + [0]
    soft = np.asfortranarray(np.abs(SCORES))
    np.testing.assert_array_equal(drain(open_arrays(SCORES, soft))[1], soft)
    np.testing.assert_array_equal(drain(open_arrays(SCORES, soft.astype(np.float16)))[1], soft.astype(np.float16))


def test_labels_that_are_text():
    names = ["e", "d", "c", "b", "a"]
    text = np.array(names)[LABELS].astype(object)
    text[0], text[1] = None, "zebra"
    source = open_arrays(SCORES, text, class_names=names)
    _, targets, status = drain(source)
    np.testing.assert_array_equal(targets[2:], LABELS[2:])
    assert list(status[:3]) == [Status.NULL_TARGET, Status.UNKNOWN_LABEL, 0]
    assert source.class_names == tuple(names)
    np.testing.assert_array_equal(drain(open_arrays(SCORES, np.array(names)[LABELS], class_names=names))[1], LABELS)
    with pytest.raises(UsageError, match="pass class_names"):
        open_arrays(SCORES, text)


def test_weights_masks_and_extra():
    groups = np.array(["x", "y"])[LABELS % 2]
    source = open_arrays(
        SCORES, SCORES > 0, task="multilabel", weight=LABELS, mask=SCORES > -1, extra={"g": groups},
    )  # fmt: skip
    batch = next(source.read(source.splits()[0]))
    np.testing.assert_array_equal(batch.weight, LABELS.astype(np.float64))
    np.testing.assert_array_equal(batch.mask, SCORES > -1)
    assert batch.extra["g"].to_pylist() == groups.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((SCORES[:, 0], LABELS), {}), "task='binary'"),
        (((SCORES, LABELS[:9]), {}), "target must have shape"),
        (((SCORES, LABELS), {"weight": LABELS[:3]}), "weight must have shape"),
        (((SCORES, LABELS), {"class_names": ["a"]}), "class_names has 1 names"),
        (((SCORES.astype(complex), LABELS), {}), "must be numbers"),
        (((SCORES.astype(object), LABELS), {}), "must be numbers"),
        (((SCORES, LABELS), {"dtype": "int4"}), "dtype must be one of"),
        (((SCORES, LABELS.astype(complex)), {}), "target must hold"),
        (((SCORES[:, :0], LABELS), {}), "no classes"),
    ],
)
def test_mistakes_are_named(arguments, message):
    positional, named = arguments
    with pytest.raises(UsageError, match=message):
        open_arrays(*positional, **named)


def test_no_rows():
    source = open_arrays(SCORES[:0], LABELS[:0])
    assert (source.num_rows, source.num_classes, len(source.splits())) == (0, 5, 0)


@pytest.mark.parametrize("name", ["float32", "float16", "bfloat16", "fortran", "big-endian"])
def test_npy_files(tmp_path, name):
    array, kind = VARIANTS[name]
    np.save(tmp_path / "p.npy", array)
    np.save(tmp_path / "y.npy", LABELS)
    source = open_source(
        tmp_path / "p.npy",
        Selection(("p",), str(tmp_path / "y.npy"), dtype="bfloat16" if name == "bfloat16" else None),
    )
    scores, targets, _ = drain(source)
    np.testing.assert_array_equal(scores, array.astype(np.float64))
    np.testing.assert_array_equal(targets, LABELS)
    batch = next(source.read(source.splits()[0]))
    assert batch.predictions.kind == kind


def test_damaged_npy_files(tmp_path):
    path = tmp_path / "p.npy"
    np.save(path, SCORES)
    whole = path.read_bytes()
    np.save(tmp_path / "y.npy", LABELS)
    selection = Selection(("p",), str(tmp_path / "y.npy"))
    for length in (0, 5, 9, 60, 127, 128, 1000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(SourceError, match=r"p\.npy"):
            open_source(path, selection)
    np.save(path, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(SourceError, match="pickle"):
        open_source(path, selection)
    with pytest.raises(SourceError, match="No such file"):
        open_source(tmp_path / "absent.npy", selection)
    rng = np.random.default_rng(3)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[rng.integers(0, 128)] ^= 1 << rng.integers(0, 8)
        path.write_bytes(damaged)
        try:
            drain(open_source(path, selection))
        except (SourceError, UsageError):
            pass


def test_npz_files(tmp_path):
    np.savez(tmp_path / "a.npz", logits=SCORES, y=LABELS)
    scores, targets, _ = drain(open_source(tmp_path / "a.npz", Selection(("logits",), "y")))
    np.testing.assert_array_equal(scores, SCORES)
    np.testing.assert_array_equal(targets, LABELS)
    with pytest.raises(SourceError, match="arrays are: logits, y"):
        open_source(tmp_path / "a.npz", Selection(("z",), "y"))
    np.savez_compressed(tmp_path / "b.npz", logits=SCORES, y=LABELS)
    with pytest.raises(SourceError, match="is compressed"):
        open_source(tmp_path / "b.npz", Selection(("logits",), "y"))


def write_safetensors(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


@pytest.mark.parametrize(("kind", "dtype"), [("F32", "f4"), ("F64", "f8"), ("F16", "f2"), ("BF16", ml_dtypes.bfloat16)])
def test_safetensors_files(tmp_path, kind, dtype):
    array = SCORES.astype(dtype)
    size = array.nbytes
    header = {
        "__metadata__": {"made": "here"},
        "z": {"dtype": kind, "shape": list(array.shape), "data_offsets": [0, size]},
        "y": {"dtype": "I64", "shape": [257], "data_offsets": [size, size + LABELS.nbytes]},
    }
    write_safetensors(tmp_path / "a.safetensors", header, array.tobytes() + LABELS.tobytes())
    source = open_source(tmp_path / "a.safetensors", Selection(("z",), "y"))
    scores, targets, _ = drain(source)
    np.testing.assert_array_equal(scores, array.astype(np.float64))
    np.testing.assert_array_equal(targets, LABELS)
    with pytest.raises(SourceError, match="tensors are: z, y"):
        open_source(tmp_path / "a.safetensors", Selection(("q",), "y"))


def entry(dtype, shape, offsets):
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


WRONG_ENTRIES = {
    "empty": {},
    "list": [],
    "number": 7,
    "no offsets": {"dtype": "F32", "shape": [2, 2]},
    "unknown dtype": entry("X9", [2], [0, 8]),
    "dtype no text": entry(["F32"], [2], [0, 8]),
    "size differs": entry("F32", [2, 2], [0, 15]),
    "negative shape": entry("F32", [-2, -2], [0, 16]),
    "float shape": entry("F32", [2.0, 2], [0, 16]),
    "beyond the end": entry("F32", [2, 2], [16, 32]),
    "enormous": entry("F32", [1 << 62], [0, 1 << 64]),
    "negative offset": entry("F32", [2, 2], [-8, 8]),
}


@pytest.mark.parametrize("name", WRONG_ENTRIES)
def test_safetensors_headers_are_not_believed(tmp_path, name):
    path = tmp_path / "a.safetensors"
    write_safetensors(path, {"z": WRONG_ENTRIES[name]}, bytes(16))
    with pytest.raises(SourceError, match=r"a\.safetensors"):
        open_source(path, Selection(("z",), "z"))


def test_damaged_safetensors_files(tmp_path):
    path = tmp_path / "a.safetensors"
    for data in (b"", b"abc", bytes(8), b"\xff" * 30, (1 << 40).to_bytes(8, "little") + b"{}"):
        path.write_bytes(data)
        with pytest.raises(SourceError, match=r"a\.safetensors"):
            open_source(path, Selection(("z",), "z"))
    for header in (b"[" * 100_000, b"[]", b"\xff", b"{"):
        write_safetensors(path, header, b"")
        with pytest.raises(SourceError, match=r"a\.safetensors"):
            open_source(path, Selection(("z",), "z"))
