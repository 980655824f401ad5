"""Damaged files: an error that says where, or valid rows; never a crash, never a hang, never anything else."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from test_sources_arrays import drain
from test_sources_parquet import LABELS, LAYOUTS, SCORES, N

from fastxent import SourceError, UsageError
from fastxent.sources.open import Selection, describe, open_source

Z = Selection(("z",), "y", class_names=("a", "b", "c", "d"))
TABLE = pa.table({"z": LAYOUTS["list"], "y": np.array(list("abcd"))[LABELS]})


def write_parquet(path, **options):
    pq.write_table(TABLE, path, row_group_size=150, **options)


def write_arrow(path, **options):
    pyarrow.feather.write_feather(TABLE, path, chunksize=150, **options)


WRITERS = {
    "plain.parquet": lambda path: write_parquet(path, compression="none", use_dictionary=False),
    "snappy.parquet": write_parquet,
    "zstd.parquet": lambda path: write_parquet(path, compression="zstd"),
    "plain.arrow": lambda path: write_arrow(path, compression="uncompressed"),
    "lz4.arrow": lambda path: write_arrow(path, compression="lz4"),
}


def read_or_refuse(path):
    """The rows, or None after an error that names the file. Whatever else is raised fails the test."""
    try:
        return drain(open_source(path, Z))
    except SourceError as error:
        refusal = error
    assert path.name in str(refusal)
    assert refusal.path == str(path)
    return None


@pytest.mark.parametrize("name", WRITERS)
def test_truncated_files(tmp_path, name):
    path = tmp_path / name
    WRITERS[name](path)
    whole = path.read_bytes()
    rng = np.random.default_rng(1)
    for length in [0, 1, 4, 7, 8, 12, len(whole) - 1, len(whole) - 4, *rng.integers(0, len(whole), 20)]:
        path.write_bytes(whole[:length])
        assert read_or_refuse(path) is None
        with pytest.raises(SourceError, match=name):
            describe(path)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("seed", range(6))
def test_flipped_bits(tmp_path, name, seed):
    path = tmp_path / name
    WRITERS[name](path)
    whole = np.fromfile(path, np.uint8)
    rng = np.random.default_rng(seed)
    for _ in range(15):
        damaged = whole.copy()
        places = rng.integers(0, len(whole), 1 + seed)
        if seed % 2:  # the footer is small and holds all that matters
            places = len(whole) - 1 - rng.integers(0, min(len(whole), 1500), 1 + seed)
        damaged[places] ^= np.uint8(1) << rng.integers(0, 8, len(places)).astype(np.uint8)
        damaged.tofile(path)
        rows = read_or_refuse(path)
        if rows is not None:
            scores, targets, status = rows
            assert scores.shape[0] == len(targets) == len(status)
            assert ((targets[status == 0] >= 0) & (targets[status == 0] < 4)).all()


def test_checksums_find_every_flipped_bit_in_a_page(tmp_path):
    path = tmp_path / "a.parquet"
    write_parquet(path, compression="none", use_dictionary=False, write_page_checksum=True)
    whole = np.fromfile(path, np.uint8)
    place = whole.tobytes().find(SCORES[200:203].tobytes())
    whole[place + 3] ^= 4
    whole.tofile(path)
    assert not np.array_equal(drain(open_source(path, Z))[0], SCORES)  # nobody notices
    with pytest.raises(SourceError, match=r"a\.parquet, row group 1, column 'z'.*CRC"):
        drain(open_source(path, Z, verify_checksums=True))


def test_the_damaged_column_is_named(tmp_path):
    path = tmp_path / "a.parquet"
    table = pa.table({f"p{j}": np.random.default_rng(j).normal(size=4000) for j in range(3)} | {"y": [0] * 4000})
    pq.write_table(table, path, compression="zstd", use_dictionary=False)
    column = pq.read_metadata(path).row_group(0).column(1)
    whole = np.fromfile(path, np.uint8)
    whole[column.data_page_offset : column.data_page_offset + 60] = 255
    whole.tofile(path)
    with pytest.raises(SourceError, match="row group 0, column 'p1'") as caught:
        drain(open_source(path, Selection(("p*",), "y")))
    assert (caught.value.row_group, caught.value.column) == (0, "p1")


def test_a_file_that_changes_after_planning(tmp_path):
    path = tmp_path / "a.parquet"
    write_parquet(path)
    source = open_source(path, Z)
    pq.write_table(TABLE.slice(0, 100), path)
    with pytest.raises(SourceError, match="changed since"):
        drain(source)
    path.unlink()
    with pytest.raises(SourceError, match=r"a\.parquet"):
        drain(source)


def test_other_files(tmp_path):
    (tmp_path / "a.parquet").write_text("id,label\n1,2\n")
    (tmp_path / "b.csv").write_text("id,label\n1,2\n")
    (tmp_path / "c").write_bytes(b"")
    for name in ("a.parquet", "b.csv", "c"):
        with pytest.raises(SourceError, match=name):
            open_source(tmp_path / name, Z)
    write_parquet(tmp_path / "good.parquet")
    write_arrow(tmp_path / "good.arrow")
    with pytest.raises(UsageError, match="several formats"):
        open_source([tmp_path / "good.parquet", tmp_path / "good.arrow"], Z)
    (tmp_path / "no_ending").write_bytes((tmp_path / "good.parquet").read_bytes())
    assert len(drain(open_source(tmp_path / "no_ending", Z))[0]) == N
