"""on_error="skip": what cannot be read is left out whole and listed; the rest is as if nothing had been damaged."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from test_sources_parquet import LABELS, LAYOUTS, SCORES, N

from fastxent import SourceError, UsageError
from fastxent.sources.dataset.dataset import find_dataset
from fastxent.sources.open import Selection, open_source
from fastxent.sources.parquet.source import ParquetSource

GROUP = 100
Z = Selection(("z",), "y", extra=("row",))
TABLE = pa.table({"z": LAYOUTS["list"], "y": LABELS, "row": np.arange(N)})


def write(path, **options):
    options = {"compression": "zstd", "use_dictionary": False, "write_page_checksum": True} | options
    pq.write_table(TABLE, path, row_group_size=GROUP, data_page_size=512, **options)


def spoil(path, group, column=2):
    """Flip a byte in the last page of a column of a row group, so that other pages are read well."""
    column = pq.ParquetFile(path).metadata.row_group(group).column(column)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size - 5] ^= 0x40
    path.write_bytes(bytes(data))


def rows_of(source):
    batches = [batch for split in source.splits() for batch in source.read(split) if batch.num_rows]
    return [row for batch in batches for row in batch.extra["row"].to_pylist()]


@pytest.mark.parametrize("memory", [4 << 20, 1 << 10])
def test_a_row_group_that_fails_half_way_is_left_out_whole(tmp_path, memory):
    write(tmp_path / "a.parquet")
    spoil(tmp_path / "a.parquet", 1)
    files = find_dataset(tmp_path)
    options = {"memory": memory, "verify_checksums": True, "batch_bytes": 300}
    with pytest.raises(SourceError, match="row group 1"):
        rows_of(ParquetSource(files, Z, **options))
    source = ParquetSource(files, Z, on_error="skip", **options)
    for _ in range(2):
        assert rows_of(source) == [row for row in range(N) if not GROUP <= row < 2 * GROUP]
        (left,) = source.left_out
        assert (left.path, left.row_group, left.rows) == (str(tmp_path / "a.parquet"), 1, GROUP)
        assert "CRC" in left.reason
    assert left.to_dict()["rows"] == GROUP
    assert "row group 1 (100 rows)" in str(left)


def test_damaged_files_and_files_of_another_kind(tmp_path):
    for name in "abcdef":
        write(tmp_path / f"{name}.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-7])
    (tmp_path / "b.parquet").write_bytes(b"")
    pq.write_table(TABLE.drop_columns(["y"]), tmp_path / "c.parquet")
    pq.write_table(TABLE.set_column(1, "y", pa.array(["x"] * N)), tmp_path / "d.parquet")
    pairs = pa.FixedSizeListArray.from_arrays(pa.array(SCORES.ravel()), 2)[:N]
    pq.write_table(TABLE.set_column(0, "z", pairs), tmp_path / "e.parquet")
    write(tmp_path / "g.parquet")
    source = open_source(tmp_path, Z, on_error="skip")
    assert rows_of(source) == [*range(N)] * 2
    assert source.num_classes == 4
    found = {left.path[-9]: (left.row_group, left.rows) for left in source.left_out}
    assert found == {"a": (None, None), "b": (None, None), "c": (None, N), "d": (None, N), "e": (None, N)}
    reasons = " ".join(left.reason for left in source.left_out)
    assert "no such column" in reasons
    assert "has 2 classes, 4 are expected" in reasons
    with pytest.raises(SourceError, match="a\\.parquet"):
        open_source(tmp_path, Z)


def test_the_first_file_may_be_the_odd_one(tmp_path):
    for name in "abc":
        write(tmp_path / f"{name}.parquet")
    pq.write_table(TABLE.set_column(1, "y", pa.array(["x"] * N)), tmp_path / "a.parquet")
    source = open_source(tmp_path, Z, on_error="skip")
    assert [left.path[-9] for left in source.left_out] == ["a"]
    assert source.num_rows == 2 * N


def test_a_damaged_first_row_group_does_not_hide_the_number_of_classes(tmp_path):
    write(tmp_path / "a.parquet")
    data = bytearray((tmp_path / "a.parquet").read_bytes())
    data[4:30] = b"\xff" * 26
    (tmp_path / "a.parquet").write_bytes(bytes(data))
    source = open_source(tmp_path, Z, on_error="skip")
    assert source.num_classes == 4
    assert rows_of(source) == list(range(GROUP, N))
    assert [left.row_group for left in source.left_out] == [0]


def test_nothing_that_can_be_read(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(SourceError, match=r"a\.parquet"):
        open_source(tmp_path, Z, on_error="skip")
    with pytest.raises(SourceError, match="no such file"):
        open_source(tmp_path / "b.parquet", Z, on_error="skip")
    with pytest.raises(UsageError, match="on_error"):
        open_source(tmp_path, Z, on_error="ignore")


def test_with_a_filter(tmp_path):
    write(tmp_path / "a.parquet")
    spoil(tmp_path / "a.parquet", 1)
    source = open_source(tmp_path, Z, on_error="skip", verify_checksums=True, filter="row >= 150 and row < 350")
    assert rows_of(source) == list(range(200, 350))
    assert [(left.row_group, left.rows) for left in source.left_out] == [(1, None)]


def test_arrow_files(tmp_path):
    for name in "ab":
        pyarrow.feather.write_feather(TABLE, tmp_path / f"{name}.arrow", chunksize=GROUP, compression="zstd")
    (tmp_path / "a.arrow").write_bytes((tmp_path / "a.arrow").read_bytes()[:-20])
    data = bytearray((tmp_path / "b.arrow").read_bytes())
    at = data.rfind(b"\x28\xb5\x2f\xfd")  # the last compressed buffer: row numbers of the last batch
    data[at : at + 4] = b"\x00" * 4
    (tmp_path / "b.arrow").write_bytes(bytes(data))
    with pytest.raises(SourceError):
        rows_of(open_source(tmp_path / "b.arrow", Z))
    source = open_source(tmp_path, Z, on_error="skip")
    rows = rows_of(source)
    first, second = source.left_out
    assert (first.path[-7], first.row_group) == ("a", None)
    assert (second.path[-7], second.rows) == ("b", GROUP)
    assert rows == [row for row in range(N) if row // GROUP != second.row_group]
