"""Footers of Parquet files: parsed as pyarrow parses them; what was damaged is refused, or was of no account."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import footer_worker
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent import SourceError
from fastxent.kernels.parquet import compiled
from fastxent.sources.pages.footer import parse_footer
from tests.shell import ROOT

WORKER = Path(__file__).with_name("footer_worker.py")
FILES = sorted([*ROOT.glob("data/*.parquet"), *ROOT.glob("tests/foreign/**/*.parquet")])


def parsed(path):
    whole = path.read_bytes()
    return parse_footer(whole[footer_worker.footer_start(whole) : -8], len(whole))


@pytest.fixture(params=["plain", "compiled"])
def way(request, monkeypatch):
    """Footers parsed by the plain functions, and by the compiled ones."""
    monkeypatch.setattr(compiled, "PLAIN_BYTES", 1 << 60 if request.param == "plain" else -1)


def check_like_pyarrow(path):
    ours, theirs = parsed(path), pq.read_metadata(path)
    assert ours.rows == tuple(theirs.row_group(i).num_rows for i in range(theirs.num_row_groups))
    assert ours.group_bytes == tuple(theirs.row_group(i).total_byte_size for i in range(theirs.num_row_groups))
    assert len(ours.leaves) == theirs.num_columns
    for number, leaf in enumerate(ours.leaves):
        column = theirs.schema.column(number)
        levels = column.max_definition_level, column.max_repetition_level
        assert (".".join(leaf.path), leaf.definitions, leaf.repetitions) == (column.path, *levels)
        assert leaf.physical == column.physical_type
        if leaf.physical == "FIXED_LEN_BYTE_ARRAY":
            assert leaf.type_size == column.length
        for group in range(len(ours.rows)):
            chunk, other = ours.chunk(group, number), theirs.row_group(group).column(number)
            assert (chunk.values, chunk.size) == (other.num_values, other.total_compressed_size)
            assert (chunk.stored_bytes, chunk.data_at) == (other.total_uncompressed_size, other.data_page_offset)
            assert chunk.start == (other.dictionary_page_offset or other.data_page_offset)
            assert set(chunk.encodings) == set(other.encodings)
            assert chunk.codec == other.compression or (chunk.codec, other.compression) == ("LZ4_RAW", "LZ4")
            if other.statistics is not None and other.statistics.has_null_count:
                assert chunk.nulls == other.statistics.null_count


@pytest.mark.usefixtures("way")
def test_read_as_pyarrow_reads_them():
    assert len(FILES) > 15
    for path in FILES:
        check_like_pyarrow(path)


DEEP = pa.list_(pa.struct({"x": pa.list_(pa.float16()), "y": pa.string()}))
NESTED = pa.table(
    {
        "a": pa.array([[{"x": [1.5], "y": "q"}], None, []], DEEP),
        "d": pa.array([1, None, 3], pa.decimal128(9, 2)),
        "t": pa.array([1, 2, 3], pa.timestamp("us", "UTC")),
        "u": pa.array([1, 2, 3], pa.uint8()),
        "b": pa.array([b"abc"] * 3, pa.binary(3)),
        "o": pa.array([True, False, None]),
        "c": pa.array(["p", "q", None]).dictionary_encode(),
        "m": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int32())),
    }
)  # fmt: skip


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("codec", ["none", "snappy", "gzip", "brotli", "lz4", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.4", "2.6"])
def test_of_every_kind_of_column(tmp_path, codec, version):
    pq.write_table(
        NESTED, tmp_path / "n.parquet", compression=codec, version=version, row_group_size=2, write_page_index=True,
        column_encoding={"d": "PLAIN"} if codec == "none" else None, use_dictionary=codec != "none",
        sorting_columns=[pq.SortingColumn(1)],
    )  # fmt: skip
    check_like_pyarrow(tmp_path / "n.parquet")


def test_of_polars_and_duckdb(tmp_path):
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    frame = polars.DataFrame({"z": [[0.5, 1.0]] * 50, "i": range(50), "s": ["a", None] * 25})
    frame.write_parquet(tmp_path / "p.parquet", row_group_size=20)
    duckdb.sql(f"COPY (SELECT * FROM frame) TO '{tmp_path / 'd.parquet'}' (FORMAT parquet, ROW_GROUP_SIZE 20)")
    for name in ("p", "d"):
        check_like_pyarrow(tmp_path / f"{name}.parquet")


def test_many_columns_and_row_groups(tmp_path):
    table = pa.table({f"c{j}": pa.array(np.arange(60.0)) for j in range(300)})
    pq.write_table(table, tmp_path / "m.parquet", row_group_size=1)
    ours = parsed(tmp_path / "m.parquet")
    assert ours.rows == (1,) * 60
    assert ours.chunks.shape[:2] == (60, 300)


JOBS = [("flip", "list"), ("flip", "ours"), ("flip", "wide"), ("flip", "plain", "text", "second"), *(
    ("mutate", str(first), str(first + 1000)) for first in (0, 1000)
)]  # fmt: skip


@pytest.mark.parametrize("two", [JOBS[:2], JOBS[2:4], JOBS[4:]], ids=["every bit", "every bit of others", "mutated"])
def test_damaged_footers(tmp_path, two):
    running = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(tmp_path / job[1]), *job],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        )
        for job in two
    ]  # fmt: skip
    for job, process in zip(two, running, strict=True):
        try:
            out, err = process.communicate(timeout=240)
        finally:
            process.kill()
        *_, last = out.splitlines() or ["nothing"]
        assert process.returncode == 0, f"{job}: exit {process.returncode} at {last}\n{err[-3000:]}"
        found = json.loads(last)
        assert sum(found.values()) > 4000
        assert found["refused"] > found["read"]
        assert set(found) == {"refused", "read"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: [rows[0] - 1, *rows[1:]], "promises 24 rows"),
        (lambda rows: [rows[0] - 1, rows[1] + 1, *rows[2:]], "group 0, column 'target': .* has 10 values for 9 rows"),
    ],
)  # fmt: skip
def test_rows_that_do_not_add_up(tmp_path, monkeypatch, change, message):
    """A row group that is said to have fewer rows than its columns have values loses none in silence."""
    from fastxent.kernels.parquet import footer

    path = tmp_path / "a.parquet"
    footer_worker.write_kind(path, "list")
    real = footer.read_footer

    def changed(data, elements, groups, *rest):
        end = real(data, elements, groups, *rest)
        groups[:3, footer.GROUP_ROWS] = change(groups[:3, footer.GROUP_ROWS].tolist())
        return end

    monkeypatch.setattr(footer, "read_footer", changed)
    monkeypatch.setattr(compiled, "PLAIN_BYTES", 1 << 60)
    with pytest.raises(SourceError, match=message):
        fx.evaluate(path, logits="z", target="target")


def test_the_checksum_is_that_of_one_file_only(tmp_path):
    """Who rewrites a file and carries the key along is not refused for it."""
    path, other = tmp_path / "a.parquet", tmp_path / "b.parquet"
    call = footer_worker.write_kind(path, "ours")
    metadata = pq.read_metadata(path).metadata
    assert metadata[b"fastxent.checksum"][:20] == f"{path.stat().st_size:020d}".encode()
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), other)
    assert b"fastxent.checksum" in pq.read_metadata(other).metadata
    assert fx.evaluate(other, **call).loss == fx.evaluate(path, **call).loss


def test_a_renamed_column_shows_in_files_of_ours(tmp_path):
    path = tmp_path / "a.parquet"
    call = footer_worker.write_kind(path, "ours")
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b"logit_0", b"logit_7"))
    with pytest.raises(SourceError, match=r"a\.parquet: .*its checksum differs"):
        fx.evaluate(path, **call)


def test_a_footer_larger_than_the_file(tmp_path):
    path = tmp_path / "a.parquet"
    footer_worker.write_kind(path, "list")
    path.write_bytes(path.read_bytes()[:-8] + (1 << 31).to_bytes(4, "little") + b"PAR1")
    with pytest.raises(SourceError, match=r"the footer is said to have 2,147,483,648 bytes"):
        fx.evaluate(path, logits="z", target="target")
