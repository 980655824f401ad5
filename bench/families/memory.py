"""Peak memory against rows, every job in a process of its own, imports included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.cases import scaled_rows
from bench.child import JOBS
from bench.measure import OURS, Call, Contender, Finished, Trial
from bench.parquet import write
from bench.settings import Settings

__all__ = ["memory"]

ROOT = Path(__file__).parents[2]


#: Rows of everybody's files, and of what fastxent alone gets: a file of 1e7 rows, by so many names.
ROWS = (("1e5 x 10", 10**5), ("1e6 x 10", 10**6), ("1e7 x 10", 10**7))
MANY_ROWS = (("1e8 x 10", 10), ("1e9 x 10", 100))


def memory(settings: Settings) -> Iterator[Trial]:
    """Parquet of 1e5 to 1e9 rows of 10 classes (list column); the peak of fastxent should stay."""
    cases = [case for case in ROWS if settings.wanted("memory", case[0])]
    many = [case for case in MANY_ROWS if settings.wanted("memory", case[0])]
    if cases or many:
        _compile(settings)
    for name, count in cases:
        with _file(settings, count) as (path, rows):
            yield _trial(name, rows, path, list(JOBS), settings.threads)
    if many:
        with _file(settings, 10**7) as (path, rows):
            for name, times in many:
                with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
                    for number in range(times):
                        os.link(path, Path(folder) / f"part-{number:03}.parquet")
                    yield _trial(name, rows * times, Path(folder), [OURS], settings.threads)


def _compile(settings: Settings) -> None:
    """A compiler's memory is not that of the work."""
    with _file(settings, 10**5) as (path, _):
        for job in (OURS, "fastxent, no file"):
            _job(job, path, settings.threads)()


@contextmanager
def _file(settings: Settings, count: int) -> Iterator[tuple[Path, int]]:
    path, rows = settings.folder / "growing.parquet", scaled_rows(count, settings.scale)
    try:
        write(path, "list", "snappy", rows, 10)
        yield path, rows
    finally:
        path.unlink(missing_ok=True)


def _trial(name: str, rows: int, path: Path, jobs: list[str], threads: int) -> Trial:
    contenders = [Contender(job, partial(_job, job, path, threads), "ours" if job == OURS else "peer") for job in jobs]
    return Trial("memory", name, rows, rows * 40, contenders, rounds=1, warm_up=False)


def _job(name: str, path: Path, threads: int) -> Call:
    command = [sys.executable, "-m", "bench.child", name, str(path), "10", str(threads)]

    def call() -> Finished:
        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        said = json.loads(done.stdout)
        return Finished(said["value"], said["peak_bytes"])

    return call
