"""The bound on memory: what --memory says and a fixed allowance, however large the file and its row groups are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MIB = 1 << 20
BUDGET = 16 * MIB
#: What a reader holds beside the budget: pools of the allocator, pages and dictionaries of Parquet.
ALLOWANCE = 40 * MIB
ROWS, C = 1_200_000, 32

READ = f"""
import sys
from concurrent.futures import ThreadPoolExecutor
import pyarrow as pa
from fastxent.sources.open import Selection, open_source

path, small, threads, on_error = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]

def read(path):
    source = open_source(path, Selection(("z",), "y"), memory={BUDGET} // threads, on_error=on_error)
    count = lambda split: sum(batch.num_rows for batch in source.read(split))
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(count, source.splits()))

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

read(small)
pa.default_memory_pool().release_unused()
before = peak()
rows = read(path)
print(rows, peak() - before)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("memory")
    rng = np.random.default_rng(0)
    schema = pa.schema({"z": pa.list_(pa.float32()), "y": pa.int16()})
    for name, rows, group in (("small", 1000, 1000), ("one", ROWS, ROWS), ("many", ROWS, ROWS // 40)):
        scores = rng.normal(size=rows * C).astype(np.float32)
        lists = pa.ListArray.from_arrays(pa.array(np.arange(rows + 1) * C, pa.int32()), pa.array(scores))
        table = pa.table([lists, pa.array(rng.integers(0, C, rows), pa.int16())], schema=schema)
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=group, use_dictionary=False)
    return folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("name", "on_error"), [("one", "raise"), ("many", "raise"), ("one", "skip"), ("many", "skip")])
def test_peak_memory(files, name, threads, on_error):
    path = files / f"{name}.parquet"
    assert path.stat().st_size > 9 * BUDGET
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path), str(files / "small.parquet"), str(threads), on_error],
        capture_output=True, text=True, cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows, peak = map(int, done.stdout.split())
    assert rows == ROWS
    print(f"{name}, {threads} threads, {on_error}: {peak / MIB:.0f} MiB over {path.stat().st_size / MIB:.0f}")
    assert peak < BUDGET + ALLOWANCE
