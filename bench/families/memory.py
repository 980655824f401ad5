"""Peak memory against rows, every job in a process of its own, imports included."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.cases import scaled_rows
from bench.child import JOBS
from bench.measure import OURS, Call, Contender, Finished, Trial
from bench.parquet import write
from bench.settings import Settings

__all__ = ["memory"]


def memory(settings: Settings) -> Iterator[Trial]:
    """Parquet of 1e5 to 3e7 rows of 10 classes (list column); the peak of fastxent should stay."""
    path = settings.folder / "growing.parquet"
    for name, count in (("1e5 x 10", 10**5), ("1e6 x 10", 10**6), ("1e7 x 10", 10**7), ("3e7 x 10", 3 * 10**7)):
        if not settings.wanted("memory", name):
            continue
        rows = scaled_rows(count, settings.scale)
        try:
            write(path, "list", "snappy", rows, 10)
            contenders = [
                Contender(job, lambda job=job: _job(job, path, settings.threads), "ours" if job == OURS else "peer")
                for job in JOBS
            ]
            # one round; the first call of fastxent in any process of this run has filled its cache
            yield Trial("memory", name, rows, rows * 40, contenders, rounds=1, warm_up=False)
        finally:
            path.unlink(missing_ok=True)


def _job(name: str, path: Path, threads: int) -> Call:
    command = [sys.executable, "-m", "bench.child", name, str(path), "10", str(threads)]

    def call() -> Finished:
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        said = json.loads(done.stdout)
        return Finished(said["value"], said["peak_bytes"])

    return call
