"""Row groups that are too wide for the memory: some columns at a time by way of a file, and nobody can tell."""

from __future__ import annotations

import tempfile
import time

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent import OutputError, SourceError
from fastxent.base.status import Status
from fastxent.sources.open import Selection, open_source
from fastxent.sources.pages.footer import parse_footer
from fastxent.sources.parquet import wide_groups

N, C = 3000, 40
RNG = np.random.default_rng(5)
SCORES = RNG.normal(size=(N, C)).astype(np.float32)
LABELS = RNG.integers(0, C, N)
NAMES = tuple(f"p{j}" for j in range(C))
#: What one reader may hold here: less than a row group holds when it is decoded side by side.
MEMORY = 200_000


def table():
    columns = {name: pa.array(SCORES[:, j], mask=np.arange(N) == 7 * j) for j, name in enumerate(NAMES)}
    more = {
        "label": [NAMES[j] for j in LABELS],
        "y": LABELS,
        "id": np.arange(N),
        "words": [["a"] * (i % 3) for i in range(N)],
    }
    return pa.table(columns | more)


@pytest.fixture(scope="module", params=["snappy", "none"])
def path(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("spill") / "a.parquet"
    pq.write_table(table(), path, row_group_size=2000, compression=request.param)
    return path


@pytest.fixture
def blocks(monkeypatch):
    """How many blocks each row group was read in."""
    seen = []
    real = wide_groups.blocks_of

    def spy(*given):
        found = real(*given)
        seen.append(len(found))
        return found

    monkeypatch.setattr(wide_groups, "blocks_of", spy)
    return seen


def drain(path, memory, **options):
    selection = Selection(("p*",), "label", extra=("id", "words"), class_names=NAMES)
    source = open_source(path, selection, memory=memory, **options)
    batches = [batch for split in source.splits() for batch in source.read(split) if batch.num_rows]
    values = np.concatenate([np.stack([np.asarray(c) for c in b.predictions.columns], axis=1) for b in batches])
    status = np.concatenate([np.zeros(b.num_rows, np.uint8) if b.status is None else b.status for b in batches])
    labels = np.concatenate([b.target for b in batches])
    kept = {name: [value for b in batches for value in b.extra[name].to_pylist()] for name in ("id", "words")}
    return values, status, labels, kept, source


def test_the_same_bits_as_side_by_side(path, blocks):
    values, status, labels, kept, _ = drain(path, MEMORY)
    assert min(blocks) > 2
    missing = np.zeros((N, C), bool)
    for j in range(C):
        missing[7 * j, j] = True
    assert values[~missing].tobytes() == SCORES[~missing].tobytes()
    assert (status == np.where(missing.any(axis=1), Status.NULL_PREDICTION, 0)).all()
    assert (labels == LABELS).all()
    assert kept["id"] == list(range(N))
    assert kept["words"] == table()["words"].to_pylist()
    blocks.clear()
    assert drain(path, 1 << 30)[0].tobytes() == values.tobytes()
    assert max(blocks) == 1


def test_what_fits_waits_in_memory(path, blocks, monkeypatch):
    def refuse():
        raise AssertionError("a file, though the row group fits")

    monkeypatch.setattr(wide_groups, "_new_file", refuse)
    # 2000 rows of 40 columns and some: said to take 1.08 MB decoded; side by side 0.8 MB do not do.
    values, status, labels, kept, _ = drain(path, 8 * MEMORY)
    assert max(blocks) > 1
    whole = drain(path, 1 << 30)
    assert values.tobytes() == whole[0].tobytes()
    assert status.tobytes() == whole[1].tobytes()
    assert (labels == LABELS).all()
    assert kept == whole[3]
    with pytest.raises(AssertionError, match="a file"):
        drain(path, MEMORY)


def test_with_a_filter_over_spilled_columns(path, blocks):
    kept = drain(path, MEMORY, filter="p1 > 0.5 and p2 < 0 and id >= 100")[3]
    expected = table().filter((pc.field("p1") > 0.5) & (pc.field("p2") < 0) & (pc.field("id") >= 100))
    assert kept["id"] == expected["id"].to_pylist()
    assert max(blocks) > 2


def test_every_block_fits_and_every_column_is_in_one(path):
    data = path.read_bytes()
    footer = parse_footer(data[-8 - int.from_bytes(data[-8:-4], "little") : -8], len(data))
    found = wide_groups.blocks_of(footer, 0, list(NAMES), 100_000, 64 << 10)
    assert [name for block in found for name in block] == list(NAMES)
    group = pq.read_metadata(path).row_group(0)
    size = {group.column(i).path_in_schema: group.column(i).total_uncompressed_size for i in range(group.num_columns)}
    assert max(sum(size[name] for name in block) for block in found) < 100_000
    assert wide_groups.blocks_of(footer, 0, ["words", "p1"], 1, 1) == [["words"], ["p1"]]
    assert wide_groups.blocks_of(footer, 0, ["words"], 1, 1) == [["words"]]


def test_damage_is_told_and_left_out(path, tmp_path):
    raw = bytearray(path.read_bytes())
    group = pq.read_metadata(path).row_group(1)
    column = group.column(next(i for i in range(group.num_columns) if group.column(i).path_in_schema == "p30"))
    at = column.dictionary_page_offset or column.data_page_offset
    raw[at : at + 20] = bytes(20)  # the header of a page
    (tmp_path / "a.parquet").write_bytes(raw)
    with pytest.raises(SourceError, match=r"a\.parquet, row group 1"):
        drain(tmp_path / "a.parquet", MEMORY)
    *_, kept, source = drain(tmp_path / "a.parquet", MEMORY, on_error="skip")
    assert kept["id"] == list(range(2000))
    assert [(left.row_group, left.rows) for left in source.left_out] == [(1, 1000)]


def test_a_full_disk_names_the_folder_and_what_to_do(path, monkeypatch):
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: open("/dev/full", "r+b", buffering=0))
    with pytest.raises(OutputError, match="No space left on device; set TMPDIR"):
        drain(path, MEMORY)


def test_no_folder_for_the_file(path, monkeypatch):
    def refuse(**_):
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(OutputError, match="No usable temporary directory found; set TMPDIR"):
        drain(path, MEMORY)


def test_blocks_of_different_lengths_are_damage():
    rows = {"a": [3, 3, 1], "b": [3, 3]}

    def read(block):
        return (pa.record_batch({block[0]: np.arange(n)}) for n in rows[block[0]])

    with pytest.raises(ValueError, match="different numbers of rows"):
        list(wide_groups.in_blocks([["a"], ["b"]], read))


def test_there_are_moments_to_stop_and_nothing_stays_behind(monkeypatch):
    monkeypatch.setattr(wide_groups, "PULSE", 0.0)
    files, new_file = [], wide_groups._new_file
    monkeypatch.setattr(wide_groups, "_new_file", lambda: files.append(new_file()) or files[-1])

    def read(block):
        for i in range(4):
            time.sleep(0.001)
            yield pa.record_batch({block[0]: np.arange(3) + i})

    batches = list(wide_groups.in_blocks([["a"], ["b"]], read))
    assert [batch.num_rows for batch in batches] == [0] * 8 + [3] * 4
    values = [0, 1, 2, 1, 2, 3, 2, 3, 4, 3, 4, 5]
    assert pa.Table.from_batches(batches[8:]).to_pydict() == {"a": values, "b": values}
    reading = wide_groups.in_blocks([["a"], ["b"]], read)
    next(reading)
    reading.close()
    assert [file.closed for file in files] == [True, True]


def test_the_whole_gives_the_same_totals(path, blocks):
    options = {"logits": "p*", "target": "y", "on_invalid": "skip", "threads": 2}
    whole = fx.evaluate(path, **options)
    blocks.clear()
    narrow = fx.evaluate(path, **options, memory=2 * MEMORY)
    assert max(blocks) > 2
    assert narrow.totals.to_bytes() == whole.totals.to_bytes()
