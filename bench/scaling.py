"""``python -m bench.scaling [--write]``: what runs past one process cost, a small model fitted to them, and its test.

Runs of one and of two warm worker processes of Dask over 10 to 10,000 files are timed (the workers' start apart, the
least of several rounds), and a model is fitted to them by non-negative least squares of relative errors::

    seconds = o + s D / W + f n / W + p n + k c

D: decoded GB, W: workers, n: splits (files), c: chunks (tasks). A run of another size, which the fit has not seen, is
then predicted. With ``--write`` tables and figures go into docs/scaling.md, between its marks.
"""

from __future__ import annotations

import argparse
import math
import pickle
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from scipy.optimize import nnls

import fastxent as fx
from bench import machine, parquet
from fastxent.engine.plan import plan_of
from fastxent.engine.runners import runner as runners
from fastxent.engine.runners.dask import Dask
from fastxent.engine.work import SplitWork, do, send
from fastxent.sources.open import Selection, open_source
from fastxent.statistics.options import Measures

CLASSES = 100
ROW_BYTES = 4 * CLASSES + 8
PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN, END = "<!-- python -m bench.scaling --write: begin -->", "<!-- end -->"
#: Files and decoded GB of the data sets that are fitted, and of the one that is held out.
FITTED = ((10, 2.0), (100, 2.0), (1000, 1.0), (10_000, 0.5))
HELD_OUT = (3000, 1.5)
#: Chunks for each worker in a run of its own, so that what a chunk costs shows: many for few files.
MANY_CHUNKS = 500
#: What a core-hour costs, about, where one is rented; and what is asked of the model.
DOLLARS, LARGE_GB, LARGE_WORKERS, LARGE_SPLIT_GB = 0.05, 10_000.0, 100, 0.064
NAMES = {
    "o": "a run", "s": "a GB, decoded and scored by one worker", "f": "a split, by a worker",
    "p": "a split, by the caller", "k": "a chunk, by caller and scheduler",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Timed:
    """A run, and the least seconds that it took."""

    workers: int
    files: int
    gigabytes: float
    chunks: int
    seconds: float

    @property
    def terms(self) -> tuple[float, ...]:
        """What the model multiplies by o, s, f, p and k."""
        w, n = self.workers, self.files
        return 1.0, self.gigabytes / w, n / w, n, self.chunks


def write(folder: Path, files: int, gigabytes: float) -> Path:
    """Files of packed float32 logits of 100 classes, all alike: one split each, as long as that is below 64 MB."""
    rows = max(1, round(gigabytes * 1e9 / files / ROW_BYTES))
    path = folder / f"{files}"
    path.mkdir()
    parquet.write(path / "0.parquet", "packed", "NONE", rows, CLASSES)
    data = (path / "0.parquet").read_bytes()
    for number in range(1, files):
        (path / f"{number}.parquet").write_bytes(data)
    return path


def evaluate(path: Path, **options: Any) -> fx.Evaluation:
    return fx.evaluate(str(path), parquet.TARGET, logits="logits", dtype="float32", **options)


def least(call: Callable[[], Any], rounds: int) -> float:
    """The least seconds of several calls."""
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


@contextmanager
def cluster(workers: int) -> Iterator[Any]:
    """A client of so many worker processes on this machine, of one thread each."""
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, host="127.0.0.1", silence_logs=50,
            dashboard_address="127.0.0.1:0", worker_dashboard_address="127.0.0.1:0",
        ) as made,
        distributed.Client(made) as client,
    ):  # fmt: skip
        yield client


def chunk_count(path: Path, workers: int) -> int:
    """How many tasks a run is cut into."""
    work = SplitWork(plan(path))
    engine = Dask("")
    engine.workers = workers
    return len(engine.cut(work, range(len(work))))


def plan(path: Path, groups: str | None = None) -> Any:
    extra = () if groups is None else (groups,)
    source = open_source(str(path), Selection(("logits",), parquet.TARGET, extra=extra, dtype="float32"))
    measures = Measures() if groups is None else Measures(group_by=(groups,))
    return plan_of(source, fx.Spec.make(num_classes=CLASSES), measures)


def measure(folder: Path, scale: float, rounds: int) -> tuple[list[Timed], list[Timed], dict[int, float]]:
    """Runs to fit, runs held out, and the seconds of threads of this process by files."""
    fitted: list[Timed] = []
    held_out: list[Timed] = []
    threads: dict[int, float] = {}
    few = min(1.0, 10 * scale)
    sets = [(10 + round((files - 10) * few), gigabytes * scale) for files, gigabytes in (*FITTED, HELD_OUT)]
    paths = {files: (write(folder, files, gigabytes), gigabytes) for files, gigabytes in sets}
    for files, (path, _) in paths.items():
        evaluate(path)
        threads[files] = least(lambda path=path: evaluate(path), rounds)
    for workers in (1, 2):
        with cluster(workers) as client:
            for files, (path, gigabytes) in paths.items():
                for count in (runners.CHUNKS, MANY_CHUNKS) if files == sets[2][0] else (runners.CHUNKS,):
                    usual, runners.CHUNKS = runners.CHUNKS, count
                    try:
                        evaluate(path, runner=client)  # warm: compiled code, the footers in the page cache
                        seconds = least(lambda path=path: evaluate(path, runner=client), rounds)
                        found = Timed(workers, files, gigabytes, chunk_count(path, workers), seconds)
                    finally:
                        runners.CHUNKS = usual
                    (held_out if files == sets[-1][0] else fitted).append(found)
    return fitted, held_out, threads


def fit(runs: list[Timed]) -> dict[str, float]:
    """The terms of the model."""
    weights = np.array([1.0 / run.seconds for run in runs])
    values, _ = nnls(np.array([run.terms for run in runs]) * weights[:, None], np.ones(len(runs)))
    return dict(zip(NAMES, values.tolist(), strict=True))


def predict(model: dict[str, float], run: Timed) -> float:
    return float(np.dot(list(model.values()), run.terms))


def travels(folder: Path) -> list[tuple[str, str]]:
    """What is sent, in bytes: the plan, a split and a part, without groups and with 100,000."""
    path = folder / "sent"
    path.mkdir()
    parquet.write(path / "0.parquet", "packed", "NONE", 100_000, CLASSES)
    table = pq.read_table(path / "0.parquet")
    for number in range(10):
        pq.write_table(table.append_column("group", [np.arange(100_000)]), path / f"{number}.parquet")
    sent = send(SplitWork(plan(path)))
    said = [("the work of 10 files, sent once to a worker", f"{len(sent.data):,} bytes")]
    more = send(SplitWork(plan(path))).data, send(SplitWork(plan(next(path.iterdir())))).data
    said.append(("each further file of it", f"{(len(more[0]) - len(more[1])) / 9:.0f} bytes"))
    said.append(("a split", f"its number, {len(pickle.dumps((1234,)))} bytes with what is around it"))
    for groups in (None, "group"):
        sent = send(SplitWork(plan(path, groups)))
        data = pickle.dumps(do(sent, (0,)))
        what = "the part of a chunk" + ("" if groups is None else ", with 100,000 groups")
        said.append((what, f"{len(data):,} bytes ({len(zlib.compress(data, 1)):,} compressed)"))
    return said


def report(
    fitted: list[Timed], held_out: list[Timed], threads: dict[int, float], sent: list[tuple[str, str]]
) -> Iterator[str]:
    """The section of the page."""
    model = fit(fitted)
    facts = machine.facts()
    yield f"{facts['cpu']}, {facts['cores']} cores; worker processes of Dask, warm; packed float32 logits of {CLASSES}"
    yield "classes in the page cache."
    yield ""
    yield "| run | files | GB | workers | chunks | seconds | model |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    for kind, runs in (("fitted", fitted), ("held out", held_out)):
        for run in runs:
            shown = f"{run.seconds:.2f} | {predict(model, run):.2f} ({predict(model, run) / run.seconds - 1:+.0%})"
            yield f"| {kind} | {run.files:,} | {run.gigabytes:g} | {run.workers} | {run.chunks} | {shown} |"
    yield ""
    worst = max(abs(predict(model, run) / run.seconds - 1) for run in held_out)
    said = "within" if worst <= 0.15 else "NOT within"
    yield f"The runs held out are predicted {said} 15 % ({worst:.0%} at most)."
    yield ""
    yield "    seconds = o + s D / W + f n / W + p n + k c"
    yield ""
    yield "| term | for | seconds |"
    yield "|---|---|---:|"
    for name, value in model.items():
        yield f"| {name} | {NAMES[name]} | {value:.2g} |"
    yield ""
    yield from compared(fitted, threads)
    yield ""
    yield "| what travels | |"
    yield "|---|---|"
    for what, size in sent:
        yield f"| {what} | {size} |"
    yield ""
    yield from extrapolated(model)


def compared(fitted: list[Timed], threads: dict[int, float]) -> Iterator[str]:
    """Two workers beside the threads of one process, and what 10,000 splits add."""
    two = {run.files: run for run in fitted if run.workers == 2}
    first, last = min(two), max(two)
    ratio = two[first].seconds / threads[first]
    over = f"{two[first].gigabytes:g} GB in {first} files"
    yield f"Two workers take {ratio:.2f} of the time of two threads of one process over {over}"
    added = (two[last].seconds - two[first].seconds * two[last].gigabytes / two[first].gigabytes) / last
    yield f"(at most 1.15 is asked for); {last:,} splits add {added * 1e3:.2f} ms each (at most 1)."


def extrapolated(model: dict[str, float]) -> Iterator[str]:
    """What the model says of 10 TB on 100 workers."""
    splits = math.ceil(LARGE_GB / LARGE_SPLIT_GB)
    chunks = max(math.ceil(LARGE_GB), runners.CHUNKS * LARGE_WORKERS)
    run = Timed(LARGE_WORKERS, splits, LARGE_GB, chunks, 0.0)
    parts = dict(zip(NAMES, (value * term for value, term in zip(model.values(), run.terms, strict=True)), strict=True))
    seconds = sum(parts.values())
    first = max(parts, key=parts.__getitem__)
    tasks = chunks * (1 + 1 / runners.FAN_IN)
    dollars, rate, whole = LARGE_WORKERS * seconds / 3600 * DOLLARS, tasks / seconds, f"{LARGE_GB / 1000:g} TB"
    yield f"Of {whole} in {splits:,} splits on {LARGE_WORKERS} workers of one core it says {seconds:,.0f} s, and"
    yield f"{dollars:.2f} dollars at {DOLLARS} a core-hour, with {tasks:,.0f} tasks at the scheduler, {rate:.0f} a"
    yield f"second. The first bottleneck is what is spent for {NAMES[first]} ({parts[first]:,.0f} s). That is with data"
    yield "in the page cache: where a worker reads B GB a second, D / (W B) comes beside it,"
    yield f"{LARGE_GB / LARGE_WORKERS / 1.25:,.0f} s at 10 Gbit/s."


def main() -> None:
    """Measure, fit, predict, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench.scaling", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the section of docs/scaling.md")
    parser.add_argument("--scale", type=float, default=1.0, help="part of the usual data: 0.01 shows that it works")
    parser.add_argument("--rounds", type=int, default=3, help="how often each run is timed")
    parser.add_argument("--data", type=Path, metavar="DIR", help="where to make files (deleted after use)")
    options = parser.parse_args()
    machine.restrict(2)
    with tempfile.TemporaryDirectory(prefix="fastxent-bench-", dir=options.data) as folder:
        sent = travels(Path(folder))
        lines = list(report(*measure(Path(folder), options.scale, options.rounds), sent))
    print("\n".join(lines))
    if options.write:
        before, _, rest = PAGE.read_text().partition(BEGIN)
        PAGE.write_text(before + "\n".join([BEGIN, "", *lines, "", END]) + rest.partition(END)[2])


if __name__ == "__main__":
    main()
