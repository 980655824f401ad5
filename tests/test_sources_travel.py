"""Sources over files go to other processes as a plan of what to read; what is in memory refuses to."""

from __future__ import annotations

import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from test_sources_parquet import LABELS, LAYOUTS, SCORES, N

import fastxent as fx
from fastxent.sources.open import Selection, open_arrays, open_source

TABLE = pa.table({"z": LAYOUTS["list"], "y": LABELS, "row": np.arange(N), "word": np.array(list("abcd"))[LABELS]})
Z = Selection(("z",), "y", extra=("row",))
WORD = Selection(("z",), "word", class_names=tuple("abcd"), extra=("row", "day"))


def parquet(folder):
    for day in (1, 2):
        (folder / f"day={day}").mkdir()
        pq.write_table(TABLE, folder / f"day={day}" / "a.parquet", row_group_size=100)
    return folder


def arrow(folder, **options):
    for day in (1, 2):
        (folder / f"day={day}").mkdir()
        pyarrow.feather.write_feather(TABLE, folder / f"day={day}" / "a.arrow", chunksize=100, **options)
    return folder


def zstd(folder):
    return arrow(folder, compression="zstd")


def damaged(folder):
    """Two files of which the second has a damaged row group."""
    parquet(folder)
    path = folder / "day=2" / "a.parquet"
    column = pq.ParquetFile(path).metadata.row_group(1).column(2)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 20] = b"\xff" * 20
    path.write_bytes(bytes(data))
    return folder


def npy(folder):
    np.save(folder / "z.npy", SCORES)
    np.save(folder / "y.npy", LABELS)
    return folder / "z.npy"


def npz(folder):
    np.savez(folder / "a.npz", z=SCORES, y=LABELS)
    return folder / "a.npz"


def safetensors(folder):
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file({"z": SCORES, "y": LABELS}, folder / "a.safetensors")
    return folder / "a.safetensors"


PAIR = Selection(("z",), "y")
CASES = {
    "parquet": (parquet, Z, {}),
    "parquet, text and partitions": (parquet, WORD, {"memory": 1 << 16}),
    "parquet, filter": (parquet, Z, {"filter": "row > 150 and row < 320"}),
    "parquet, filter on partitions": (parquet, Z, {"filter": "day == 2 and row < 120"}),
    "parquet, damage left out": (damaged, Z, {"on_error": "skip"}),
    "arrow": (arrow, Z, {}),
    "arrow, compressed": (zstd, WORD, {}),
    "arrow, filter": (zstd, Z, {"filter": "row > 150 and row < 320"}),
    "npy": (npy, Selection((), "y.npy"), {}),
    "npz": (npz, PAIR, {}),
    "safetensors": (safetensors, PAIR, {}),
}


def batches_of(source, numbers):
    """What is read of some splits, as bytes."""
    splits = source.splits()
    return [
        (
            batch.path, batch.first_row, batch.first_id, np.asarray(batch.predictions.values).tobytes(),
            batch.target.tobytes(), None if batch.status is None else batch.status.tobytes(),
            None if batch.numbers is None else batch.numbers.tolist(),
            {name: column.to_pylist() for name, column in (batch.extra or {}).items()},
        )
        for number in numbers for batch in source.read(splits[number])
    ]  # fmt: skip


def read_elsewhere(data, numbers):
    source = pickle.loads(data)
    return batches_of(source, numbers), source.left_out


@pytest.mark.parametrize("case", CASES)
def test_a_copy_reads_the_same(tmp_path, case):
    make, selection, options = CASES[case]
    source = open_source(make(tmp_path), selection, **options)
    assert source.travels
    numbers = range(len(source.splits()))
    before = pickle.dumps(source)
    batches = batches_of(source, numbers)
    copy = pickle.loads(before)
    assert copy.splits() == source.splits()
    assert copy.stored == source.stored
    assert (copy.num_rows, copy.num_classes, copy.paths) == (source.num_rows, source.num_classes, source.paths)
    assert batches_of(copy, reversed(numbers)) == [b for n in reversed(numbers) for b in batches_of(source, [n])]
    assert copy.left_out == source.left_out
    assert len(pickle.dumps(source)) < 20_000
    assert batches_of(pickle.loads(pickle.dumps(copy)), numbers) == batches


def test_other_processes_read_the_same(tmp_path):
    cases = []
    for name, (make, selection, options) in CASES.items():
        folder = tmp_path / name.replace(" ", "_")
        folder.mkdir()
        cases.append(open_source(make(folder), selection, **options))
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        for source in cases:
            numbers = range(len(source.splits()))
            batches, left_out = pool.submit(read_elsewhere, pickle.dumps(source), numbers).result()
            assert batches == batches_of(source, numbers)
            assert left_out == source.left_out


@pytest.mark.parametrize("make", [parquet, zstd, npy])
def test_what_has_changed_meanwhile_is_refused(tmp_path, make):
    path = make(tmp_path)
    source = open_source(path, Selection((), "y.npy") if make is npy else Z)
    data = pickle.dumps(source)
    for file in tmp_path.rglob("*.*"):
        if file.is_file():
            file.write_bytes(file.read_bytes() + b"\0")
    with pytest.raises(fx.SourceError, match="has changed since reading began"):
        read_elsewhere(data, range(len(source.splits())))


def test_memory_does_not_travel():
    for source in (
        open_arrays(SCORES, LABELS),
        open_source(TABLE, Z),
        open_source(TABLE.to_reader(), Z),
        open_arrays(LAYOUTS["list"], LABELS),
    ):
        assert not source.travels
        with pytest.raises(fx.UsageError, match=r"in the memory of this process.*write it to a file"):
            pickle.dumps(source)
