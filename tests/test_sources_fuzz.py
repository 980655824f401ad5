"""Hundreds of damaged files, read in processes of their own: no crash, no hang, no traceback, no wrong row count."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fuzz_worker import write_all
from test_sources_arrays import drain

from fastxent import SourceError
from fastxent.sources.open import Selection, open_source

WORKER = Path(__file__).with_name("fuzz_worker.py")
SEEDS, PROCESSES = 320, 2


def test_damaged_files(tmp_path):
    step = SEEDS // PROCESSES
    running = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(tmp_path / str(i)), str(i * step), str((i + 1) * step)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=WORKER.parents[1],
            env={"PYTHONPATH": str(WORKER.parents[1]), "PATH": "/usr/bin:/bin"},
        )
        for i in range(PROCESSES)
    ]  # fmt: skip
    totals = {}
    for process in running:
        try:
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
        *_, last = out.splitlines() or ["nothing"]
        assert process.returncode == 0, f"exit {process.returncode} at {last}\n{err[-3000:]}"
        for key, count in json.loads(last).items():
            totals[key] = totals.get(key, 0) + count
    assert sum(totals.values()) == SEEDS * 7
    for name in ("list.parquet", "sums.parquet", "plain.arrow", "lz4.feather", "z.npy", "z.safetensors"):
        assert totals[f"{name} refused"] > SEEDS // 8


@pytest.mark.parametrize("seed", range(25))
def test_checksums_find_flipped_bytes_of_pages(tmp_path, seed):
    write_all(tmp_path)
    path = tmp_path / "sums.parquet"
    metadata = pq.read_metadata(path)
    rng = np.random.default_rng(seed)
    column = metadata.row_group(int(rng.integers(3))).column(int(rng.integers(2)))
    data = bytearray(path.read_bytes())
    size = column.total_compressed_size
    place = column.data_page_offset + size - 1 - int(rng.integers(size // 2))
    data[place] ^= int(rng.integers(1, 256))
    path.write_bytes(bytes(data))
    with pytest.raises(SourceError, match=r"sums\.parquet"):
        drain(open_source(path, Selection(("z",), "y"), verify_checksums=True))
