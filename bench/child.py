"""One job in a process of its own: ``python -m bench.child NAME PATH CLASSES THREADS``.

It prints value, seconds and peak memory as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from bench import file_peers
from bench.measure import Call, peak_bytes_of_this_process


def torch_at_once(path: Path, layout: str, classes: int, threads: int) -> Call:
    """The whole table into memory, then torch: what a notebook does."""
    import pyarrow.parquet as pq
    import torch
    import torch.nn.functional as F

    def call() -> float:
        table = pq.read_table(path)
        z = table["logits"].combine_chunks().flatten().to_numpy().reshape(-1, classes)
        with torch.inference_mode():
            return float(F.cross_entropy(torch.tensor(z), torch.tensor(table["label"].to_numpy())))

    return call


def imports_only(path: Path, layout: str, classes: int, threads: int) -> Call:
    """Imports and a thousand rows: the floor of the other numbers."""
    import fastxent as fx

    def call() -> None:
        fx.cross_entropy([0] * 1000, logits=[[0.0] * classes] * 1000)

    return call


JOBS = {
    "fastxent": file_peers.fastxent_evaluate,
    "fastxent, no file": imports_only,
    "polars streaming": file_peers.polars,
    "DuckDB SQL": file_peers.duckdb,
    "pyarrow + torch eager, batches": file_peers.torch_batches,
    "pyarrow + torch eager, at once": torch_at_once,
}


def _main() -> None:
    name, path, classes, threads = sys.argv[1:]
    call = JOBS[name](Path(path), "list", int(classes), int(threads))
    started = time.perf_counter()
    value = call()
    seconds = time.perf_counter() - started
    json.dump({"value": value, "seconds": seconds, "peak_bytes": peak_bytes_of_this_process()}, sys.stdout)


if __name__ == "__main__":
    _main()
