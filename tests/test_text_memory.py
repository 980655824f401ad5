"""Long texts that ride along stay within the bound of memory where they are stored once and stand in many rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

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
    "score": 'fx.score(path, path + ".out.parquet", "y", **common, keep="g")',
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for kind in ("once",):
        for name, rows in (("small", 100), ("large", ROWS)):
            texts = [chr(97 + i % 20) * 10_000 for i in range(rows)]
            table = pa.table({"p": np.linspace(-1, 1, rows), "y": np.arange(rows, dtype=np.int64) % 2, "g": texts})
            pq.write_table(table, folder / f"{kind}-{name}.parquet", compression="zstd", row_group_size=ROWS)
    return folder


@pytest.mark.parametrize("way", CALLS)
def test_peak_memory(folder, way):
    small, large = (str(folder / f"once-{name}.parquet") for name in ("small", "large"))
    grown = int(python(RUN.format(call=CALLS[way], small=small, large=large)))
    assert grown < 64 + 64, f"{grown} MiB for {ROWS * 10_000 >> 20} MiB of text"
