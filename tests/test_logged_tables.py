"""Directories of Delta and Iceberg tables are read as their logs say, and refused where files do not say it all."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx

RNG = np.random.default_rng(2)
CALL = {"logits": "z", "target": "y", "group_by": "c"}


def rows(n, word):
    z = RNG.normal(size=(n, 3))
    return pa.table({"z": list(z), "y": RNG.integers(0, 3, n), "c": [word] * n})


PARTS = [rows(40, "x y"), rows(30, "é/"), rows(20, "z")]
WHOLE = pa.concat_tables(PARTS)


def said(ev):
    return {row["c"]: (row["count"], row["loss"]) for row in ev.groups.to_pylist()}


@pytest.mark.parametrize("partitioned", [False, True])
def test_delta(tmp_path, partitioned):
    deltalake = pytest.importorskip("deltalake")
    path = tmp_path / "table"
    for part in PARTS:
        deltalake.write_deltalake(path, part, mode="append", partition_by=["c"] if partitioned else None)
    expected = said(fx.evaluate(WHOLE, **CALL))
    assert said(fx.evaluate(path, **CALL)) == expected
    assert said(fx.evaluate(f"file://{path}", **CALL)) == expected
    parallel = fx.evaluate(path, **CALL, filter="c != 'z'", runner="processes:2")
    assert said(parallel) == {word: expected[word] for word in ("x y", "é/")}
    deltalake.DeltaTable(path).delete("c = 'z'")
    assert said(fx.evaluate(path, **CALL)) == {word: expected[word] for word in ("x y", "é/")}
    deltalake.write_deltalake(path, PARTS[2], mode="overwrite")
    assert said(fx.evaluate(path, **CALL)) == {"z": expected["z"]}
    deltalake.DeltaTable(path).delete()
    with pytest.raises(fx.SourceError, match="the table has no files"):
        fx.evaluate(path, **CALL)
    with pytest.raises(fx.SourceError, match="is a Delta table"):
        fx.evaluate(f"{path}/**/*.parquet", **CALL)


def test_a_broken_log(tmp_path):
    pytest.importorskip("deltalake")
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / "00000000000000000000.json").write_text("{}")
    pq.write_table(WHOLE, tmp_path / "a.parquet")
    with pytest.raises(fx.SourceError, match="cannot be read as the files of a Delta table"):
        fx.evaluate(tmp_path, **CALL)


def iceberg_table(folder):
    """An Iceberg table without a catalog: each commit writes the next metadata."""
    pytest.importorskip("pyiceberg")
    from pyiceberg.catalog.noop import NoopCatalog
    from pyiceberg.io import load_file_io
    from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
    from pyiceberg.schema import Schema
    from pyiceberg.serializers import ToOutputFile
    from pyiceberg.table import CommitTableResponse, Table
    from pyiceberg.table.metadata import new_table_metadata
    from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
    from pyiceberg.table.update import update_table_metadata
    from pyiceberg.types import DoubleType, ListType, LongType, NestedField, StringType

    class Local(NoopCatalog):
        commits = 0

        def commit_table(self, table, requirements, updates):
            new = update_table_metadata(table.metadata, updates, enforce_validation=False)
            self.commits += 1
            where = f"{table.location()}/metadata/{self.commits:05d}-{uuid.uuid4()}.metadata.json"
            ToOutputFile.table_metadata(new, table.io.new_output(where), overwrite=True)
            return CommitTableResponse(metadata=new, metadata_location=where)

    schema = Schema(
        NestedField(1, "z", ListType(4, DoubleType(), element_required=False), required=False),
        NestedField(2, "y", LongType(), required=False), NestedField(3, "c", StringType(), required=False),
    )  # fmt: skip
    where = f"file://{folder}"
    metadata = new_table_metadata(schema, UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, where, {})
    return Table(("n", "t"), metadata, f"{where}/metadata/0.metadata.json", load_file_io({}, where), Local("local"))


def test_iceberg(tmp_path):
    table = iceberg_table(tmp_path / "table")
    for part in PARTS:
        table.append(part)
    expected = said(fx.evaluate(WHOLE, **CALL))
    assert said(fx.evaluate(tmp_path / "table", **CALL)) == expected
    table.delete("c == 'z'")
    assert said(fx.evaluate(tmp_path / "table", **CALL)) == {word: expected[word] for word in ("x y", "é/")}
    with table.update_schema() as update:
        update.rename_column("y", "label")
    with pytest.raises(fx.SourceError, match="in which columns were changed, which its files do not show"):
        fx.evaluate(tmp_path / "table", **CALL)
