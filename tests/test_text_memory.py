"""Long texts that ride along stay within the bound of memory, however few bytes of the file stand for them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from tests.shell import python

ROWS = 30_000
RUN = """
import resource, fastxent as fx
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
def run(path):
    common = dict(logits="p", task="binary", memory="64M", threads=2)
    {call}
run({small!r})
before = peak()
run({large!r})
print(peak() - before)
"""
CALLS = {
    "group_by": 'fx.evaluate(path, "y", **common, group_by="g")',
    "cluster_by": 'fx.evaluate(path, "y", **common, cluster_by="g")',
    "keep": 'fx.evaluate(path, "y", **common, worst=3, keep="g")',
    "filter": """fx.evaluate(path, "y", **common, filter="g != 'a'")""",
    "filter and group_by": """fx.evaluate(path, "y", **common, filter="g != 'a' and p < 0.5", group_by="g")""",
    "score": 'fx.score(path, f"{path[:-8]}scored.parquet", "y", **common, keep="g", overwrite=True)',
    "compare on": 'fx.compare(path, path, "y", **common, on="g")',
    "compare group_by": 'fx.compare(path, path, "y", **common, by_order=True, group_by="g")',
    "compare cluster_by": 'fx.compare(path, path, "y", **common, by_order=True, cluster_by="g")',
}
#: What stands beside the bound: the row group that `score` gathers; the join, and what threads gather for it.
BESIDE = {"score": 128, "compare": 64 + 64}
KINDS = {
    "once": ("group_by", "cluster_by", "keep", "filter", "score", "compare group_by", "compare cluster_by"),
    "in every row": ("cluster_by", "keep", "filter", "compare on", "compare cluster_by"),
    "deltas": ("cluster_by", "filter", "compare on"),
    "lists": ("keep",),
    "views": ("group_by", "filter and group_by", "score", "compare cluster_by"),
    "dictionary in Arrow": ("cluster_by", "filter and group_by", "compare group_by"),
    "runs in Arrow": ("group_by", "filter", "score"),
}


def written(path, kind, rows):
    """A file of rows with texts of 10 kB each: the same few, or (in every row, deltas) as many as there are rows."""
    few = [chr(97 + i) * 10_000 for i in range(20)]
    places = np.arange(rows, dtype=np.int32) % 20
    if kind in ("in every row", "deltas"):
        texts = pa.array([f"{i:010d}".rjust(10_000, "q") for i in range(rows)])
    elif kind == "views":
        view = pa.array(few, pa.string_view()).buffers()
        own = np.frombuffer(view[1], np.int32).reshape(-1, 4)[places]
        texts = pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(own.copy()), *view[2:]])
    elif kind == "runs in Arrow":
        ends = np.linspace(rows // 20, rows, 20).astype(np.int32)
        texts = pa.RunEndEncodedArray.from_arrays(pa.array(ends), pa.array(few))
    else:
        texts = pa.DictionaryArray.from_arrays(pa.array(places), pa.array(few))
    columns = {"p": np.linspace(-1, 1, rows), "y": np.arange(rows, dtype=np.int64) % 2}
    if path.suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as sink:
            table = pa.table(columns | {"g": texts})
            with pa.ipc.new_file(sink, table.schema) as out:
                out.write_table(table, max_chunksize=rows)
        return
    texts = texts.cast(pa.string())
    if kind == "lists":
        texts = pa.ListArray.from_arrays(pa.array(np.arange(rows + 1), pa.int32()), texts)
    pq.write_table(
        pa.table(columns | {"g": texts}), path, compression="zstd", row_group_size=ROWS,
        use_dictionary=kind in ("once", "lists"),
        column_encoding={"g": "DELTA_BYTE_ARRAY"} if kind == "deltas" else None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for kind in KINDS:
        suffix = "arrow" if kind in ("views", "dictionary in Arrow", "runs in Arrow") else "parquet"
        for name, rows in (("small", 100), ("large", ROWS)):
            written(folder / f"{kind}-{name}.{suffix}", kind, rows)
    return folder


@pytest.mark.parametrize(("kind", "way"), [(kind, way) for kind, ways in KINDS.items() for way in ways])
def test_peak_memory(folder, kind, way):
    small, large = (str(next(folder.glob(f"{kind}-{name}.*"))) for name in ("small", "large"))
    grown = int(python(RUN.format(call=CALLS[way], small=small, large=large)))
    most = 64 + 64 + BESIDE.get(way.split()[0], 0)
    assert grown < most, f"{grown} MiB for {ROWS * 10_000 >> 20} MiB of text"


def test_groups_of_long_values_are_refused_before_they_fill_the_memory(folder):
    small, large = (str(folder / f"in every row-{name}.parquet") for name in ("small", "large"))
    call = """
    try:
        fx.evaluate(path, "y", **common, group_by="g")
    except fx.UsageError as error:
        print(error)
    """
    *_, said, grown = python(RUN.format(call=call.strip(), small=small, large=large)).splitlines()
    assert "group_by: column 'g' has 1,678 values of more than 16,777,216 characters together" in said
    assert int(grown) < 512


def test_texts_in_deltas_are_read(folder):
    path = str(folder / "deltas-small.parquet")
    ev = fx.evaluate(path, "y", logits="p", task="binary", group_by="g", worst=1, keep="g")
    assert ev.groups["g"].to_pylist() == sorted(f"{i:010d}".rjust(10_000, "q") for i in range(100))
