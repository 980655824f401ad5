"""``python -m bench [--quick] [--only NAME]... [--report]``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import machine

#: Seconds of timed rounds a trial.
FULL_BUDGET_SECONDS, QUICK_BUDGET_SECONDS = 0.5, 0.4
QUICK = 1 / 20


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure fastxent beside its alternatives.")
    parser.add_argument(
        "--quick", action="store_true", help="one row in 20 and fewer rounds: says that it works, not how fast"
    )
    parser.add_argument(
        "--only", action="append", metavar="NAME", help="only families or cases whose name has NAME in it"
    )
    parser.add_argument("--threads", type=int, help="threads and processors for everybody; all by default")
    parser.add_argument("--budget", type=float, metavar="SECONDS", help="seconds of timed rounds a trial, about")
    parser.add_argument("--data", type=Path, metavar="DIR", help="where to make files (deleted after use)")
    parser.add_argument("--name", help="results/NAME.json; by default 'latest' or 'quick', and nothing with --only")
    parser.add_argument(
        "--report", action="store_true", help="measure nothing: write the tables and plots of results/NAME.json"
    )
    parser.add_argument("--list", action="store_true", help="list families and cases")
    return parser.parse_args()


def main() -> None:
    """Run what was asked for."""
    options = _options()
    name = options.name or ("quick" if options.quick else "latest")
    if options.report:
        from bench import report

        for line in report.write(name):
            print(line)
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that files made here go too
    threads = machine.restrict(options.threads)
    with _folder(options.data) as folder:
        _run(options, name, threads, folder)


def _run(options: argparse.Namespace, name: str, threads: int, folder: Path) -> None:
    from rich.console import Console

    from bench.families import FAMILIES
    from bench.measure import Measurement, run_trial
    from bench.results import Result, committed, save
    from bench.settings import Settings
    from bench.show import show_family, worse

    def wanted(family: str, case: str) -> bool:
        if options.list:  # whoever is not wanted makes no data
            print(f"{family}: {case}")
            return False
        return options.only is None or any(word in family or word in case for word in options.only)

    budget = options.budget or (QUICK_BUDGET_SECONDS if options.quick else FULL_BUDGET_SECONDS)
    settings = Settings(threads, QUICK if options.quick else 1.0, budget, 3 if options.quick else 5, folder, wanted)
    console = Console(width=None if os.isatty(1) else 200)
    started, before, facts, everything = time.perf_counter(), committed(name), machine.facts(), []
    if before is not None and before.machine["cpu"] != facts["cpu"]:
        console.print(f"The last result is of another processor ({before.machine['cpu']}): no comparison.")
        before = None
    for family, trials in FAMILIES.items():
        found: list[Measurement] = []
        begun = time.perf_counter()
        for trial in trials(settings):
            with console.status(f"{family}: {trial.case}"):
                found += run_trial(trial, settings.budget_seconds, settings.min_rounds)
        everything += found
        if found:
            show_family(console, Result(facts, {}, found), family, before)
            console.print(f"{family}: {time.perf_counter() - begun:.0f} s.\n", highlight=False)
    if not everything:
        if not options.list:
            console.print("Nothing has such a name; `python -m bench --list` lists what there is.")
        return
    seconds = time.perf_counter() - started
    console.print(
        "Ratios: time of the other over time of fastxent, in this run; * scaled from fewer rows; "
        "▼ ▲ worse and better for fastxent than in the last committed result."
    )
    for line in worse(Result(facts, {}, everything), before):
        console.print(f"[bold red]{line}[/bold red]", highlight=False)
    if options.quick:
        console.print("--quick: one row in 20; the times say nothing about the sizes in the names.")
    console.print(f"{facts['cpu']}, {threads} threads, {seconds / 60:.1f} minutes.", highlight=False)
    if options.only is None or options.name:
        done = Result(facts, {"threads": threads, "scale": settings.scale, "seconds": round(seconds)}, everything)
        console.print(f"Written: bench/results/{save(done, name).name}", highlight=False)


@contextlib.contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    """A folder of our own, inside ``data`` if given, gone at the end."""
    if data is not None:
        data.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fastxent-bench-", dir=data) as folder:
        yield Path(folder)


if __name__ == "__main__":
    main()
