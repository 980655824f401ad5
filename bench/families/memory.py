"""Peak memory against rows, every job in a process of its own, imports included."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.cases import scaled_rows
from bench.child import JOBS
from bench.measure import OURS, Call, Contender, Finished, Trial
from bench.parquet import write
from bench.settings import Settings

__all__ = ["memory"]

ROOT = Path(__file__).parents[2]


def memory(settings: Settings) -> Iterator[Trial]:
    """Parquet of 1e5 to 3e7 rows of 10 classes (list column); the peak of fastxent should stay."""
    path = settings.folder / "growing.parquet"
    compiled = False
    for name, count in (("1e5 x 10", 10**5), ("1e6 x 10", 10**6), ("1e7 x 10", 10**7), ("3e7 x 10", 3 * 10**7)):
        if not settings.wanted("memory", name):
            continue
        rows = scaled_rows(count, settings.scale)
        try:
            write(path, "list", "snappy", rows, 10)
            if not compiled:  # a compiler's memory is not that of the work
                for job in (OURS, "fastxent, no file"):
                    _job(job, path, settings.threads)()
                compiled = True
            contenders = [
                Contender(job, partial(_job, job, path, settings.threads), "ours" if job == OURS else "peer")
                for job in JOBS
            ]
            yield Trial("memory", name, rows, rows * 40, contenders, rounds=1, warm_up=False)
        finally:
            path.unlink(missing_ok=True)


def _job(name: str, path: Path, threads: int) -> Call:
    command = [sys.executable, "-m", "bench.child", name, str(path), "10", str(threads)]

    def call() -> Finished:
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        said = json.loads(done.stdout)
        return Finished(said["value"], said["peak_bytes"])

    return call
