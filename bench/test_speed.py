"""Small benchmarks: ``pytest bench/test_speed.py --benchmark-compare``. They time, and never judge a time.

What they do judge is the answer: every contender's loss is NumPy's of the same data in float64.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import file_peers, parquet, peers
from bench.cases import CASES, Case, Data
from bench.measure import OURS

pytest.importorskip("pytest_benchmark")

#: Float32 numbers of a case, about: large enough for the kernels, small enough for a coffee.
NUMBERS = 400_000
#: What a float16 contender may be off; the others are far better.
TOLERANCE = {"float16": 2e-2, "bfloat16": 2e-2}
THREADS = 2
CHOSEN = [peer for peer in peers.PEERS if peer.name in (OURS, "torch eager", "NumPy")]


def small(case: Case) -> Data:
    return case.make(min(1.0, NUMBERS / (case.rows * case.classes)))


def in_float64(data: Data) -> float:
    target = data.target.astype(np.float64) if data.task in ("soft", "binary", "multilabel") else data.target
    return float(peers.numpy(Data(data.task, data.predictions.astype(np.float64), target), 1)())  # type: ignore[arg-type]


@pytest.mark.parametrize("peer", CHOSEN, ids=lambda peer: peer.name)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_mean_loss(benchmark: Any, case: Case, peer: peers.Peer) -> None:
    data = small(case)
    benchmark.group = case.name
    try:
        call = peer.setup(data, THREADS)
        call()
    except (ImportError, AttributeError) as error:
        pytest.skip(f"not available: {error}")
    loss = benchmark(call)
    if not (case.dtype == "float16" and peer.name == "torch eager"):  # its sum overflows
        assert loss == pytest.approx(in_float64(data), rel=TOLERANCE.get(case.dtype, 1e-4))


@pytest.mark.parametrize("job", [file_peers.fastxent_loss, file_peers.fastxent_evaluate, file_peers.torch_batches])
@pytest.mark.parametrize("layout", parquet.LAYOUTS)
def test_parquet(benchmark: Any, tmp_path: Path, layout: str, job: Any) -> None:
    path = tmp_path / "predictions.parquet"
    parquet.write(path, layout, "snappy", 40_000, 10)
    benchmark.group = f"parquet, {layout}"
    try:
        call = job(path, layout, 10, THREADS)
    except ImportError as error:
        pytest.skip(f"not available: {error}")
    loss = benchmark(call)
    assert loss == pytest.approx(file_peers.fastxent_loss(path, layout, 10, 1)(), rel=1e-5)
