"""Times contenders in turns (A B C, B C A, ...), so that a machine that slows down slows all of them."""

from __future__ import annotations

import ctypes
import gc
import math
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["OURS", "Contender", "Finished", "Measurement", "Trial", "peak_bytes_of_this_process", "run_trial"]

#: The contender that every ratio divides by.
OURS = "fastxent"
MIN_ROUNDS, MAX_ROUNDS = 5, 31
#: OpenMP's threads keep spinning for a while after their work; the next contender shall not pay for it.
PAUSE_SECONDS = 0.01

Role = Literal["ours", "peer", "read"]


@dataclass(frozen=True, slots=True)
class Finished:
    """What a call may return in place of a bare loss: its value, and the peak memory of the process that ran it."""

    value: float | None = None
    peak_bytes: int | None = None


Call = Callable[[], float | Finished | None]


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the work of a trial. ``setup`` is not timed; what it returns is.

    ``share`` is the part of the work that is really done: the seconds are divided by it, and the
    result says so. A contender of role "read" only reads the bytes.
    """

    name: str
    setup: Callable[[], Call]
    role: Role = "peer"
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Trial:
    """One job, with all who do it. ``rounds`` fixes the number of rounds where one is enough."""

    family: str
    case: str
    rows: int
    nbytes: int
    contenders: Sequence[Contender]
    rounds: int | None = None
    warm_up: bool = True


@dataclass(frozen=True, slots=True)
class Measurement:
    """What one contender did in one trial. ``ratio`` is its time over fastxent's, ``share_of_read`` the time of
    the fastest plain read over its own; ``difference`` is relative to fastxent's loss.
    """

    family: str
    case: str
    contender: str
    role: str
    rows: int
    work_bytes: int
    seconds_median: float | None = None
    seconds_min: float | None = None
    spread_percent: float | None = None
    rounds: int = 0
    peak_bytes: int | None = None
    ratio: float | None = None
    share_of_read: float | None = None
    value: float | None = None
    difference: float | None = None
    note: str = ""


@dataclass(slots=True)
class _Lane:
    """A contender under way."""

    contender: Contender
    call: Call | None = None
    seconds: list[float] | None = None
    estimate: float = 0.0
    peak_bytes: int | None = None
    value: float | None = None
    note: str = ""


def run_trial(trial: Trial, budget_seconds: float, min_rounds: int = MIN_ROUNDS) -> list[Measurement]:
    """Set up and warm up every contender, then time them in rounds until the budget is spent."""
    lanes = [_prepare(contender, trial.warm_up) for contender in trial.contenders]
    running = [lane for lane in lanes if lane.call is not None]
    rounds = trial.rounds
    if rounds is None:
        cost = sum(lane.estimate for lane in running) or 1e-9
        rounds = min(MAX_ROUNDS, max(min_rounds, math.floor(budget_seconds / cost)))
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            turn = number % max(1, len(running))
            for lane in running[turn:] + running[:turn]:
                _time_once(lane)
    finally:
        gc.enable()
    return _records(trial, lanes)


def _prepare(contender: Contender, warm_up: bool) -> _Lane:
    lane = _Lane(contender, seconds=[])
    try:
        call = contender.setup()
        if warm_up:
            call()  # compiles, fills the page cache
            started = time.perf_counter()
            call()
            lane.estimate = time.perf_counter() - started
        lane.call = call
    except (ImportError, AttributeError) as error:
        lane.note = f"not available ({_one_line(error)})"
    except Exception as error:  # a peer that fails is a result, and must not end the run
        lane.note = f"failed ({type(error).__name__}: {_one_line(error)})"
    return lane


def _one_line(error: Exception) -> str:
    import re

    text = re.sub(r"(?:/[\w.+-]+){2,}", "...", " ".join(str(error).split()))  # results name no paths
    return text[:80]


def _time_once(lane: _Lane) -> None:
    assert lane.call is not None
    assert lane.seconds is not None
    _give_back_free_memory()
    time.sleep(PAUSE_SECONDS)
    before = _restart_peak()
    started = time.perf_counter()
    try:
        outcome = lane.call()
    except Exception as error:
        lane.note = f"failed ({type(error).__name__}: {_one_line(error)})"
        lane.seconds.clear()
        lane.call = lambda: None
        return
    lane.seconds.append(time.perf_counter() - started)
    if isinstance(outcome, Finished):
        lane.value, peak = outcome.value, outcome.peak_bytes
    else:
        lane.value = None if outcome is None else float(outcome)
        after = peak_bytes_of_this_process()
        peak = None if before is None or after is None else max(0, after - before)
    if peak is not None:
        lane.peak_bytes = max(peak, lane.peak_bytes or 0)


def _records(trial: Trial, lanes: list[_Lane]) -> list[Measurement]:
    medians = {}
    for lane in lanes:
        if lane.seconds and not lane.note.startswith("failed"):
            medians[lane.contender.name] = statistics.median(lane.seconds) / lane.contender.share
    ours = medians.get(OURS)
    reads = [
        medians[lane.contender.name]
        for lane in lanes
        if lane.contender.role == "read" and lane.contender.name in medians
    ]
    reference = next((lane.value for lane in lanes if lane.contender.name == OURS), None)
    return [
        _record(trial, lane, medians.get(lane.contender.name), ours, min(reads, default=None), reference)
        for lane in lanes
    ]


def _record(
    trial: Trial, lane: _Lane, median: float | None, ours: float | None, read: float | None, reference: float | None
) -> Measurement:
    contender = lane.contender
    facts: dict[str, Any] = {}
    if median is not None and lane.seconds:
        times = sorted(second / contender.share for second in lane.seconds)
        if lane.value is not None and not math.isfinite(lane.value):
            lane.note, lane.value = f"its loss is {lane.value}", None
        comparable = contender.share == 1.0 and contender.role != "read" and lane.value is not None
        if comparable and reference:
            facts["difference"] = abs(lane.value - reference) / abs(reference)  # type: ignore[operator]
        facts |= {
            "seconds_median": median,
            "seconds_min": times[0],
            "spread_percent": 100.0 * (times[(3 * len(times)) // 4] - times[len(times) // 4]) / median,
            "rounds": len(times),
            # a part of the rows says nothing of the memory that all of them would take
            "peak_bytes": lane.peak_bytes if contender.share == 1.0 else None,
            "ratio": median / ours if ours else None,
            "share_of_read": read / median if read and contender.role != "read" else None,
            "value": lane.value if contender.role != "read" else None,
        }
    note = lane.note or ("" if contender.share == 1.0 else f"scaled from {round(trial.rows * contender.share):,} rows")
    return Measurement(
        trial.family, trial.case, contender.name, contender.role, trial.rows, trial.nbytes, note=note, **facts
    )


# Peak memory. Linux keeps the highest resident size of a process and resets it on request; elsewhere it is unknown.


def peak_bytes_of_this_process() -> int | None:
    """Highest resident size since the last reset (Linux), or since the start."""
    return _status("VmHWM")


def _restart_peak() -> int | None:
    try:
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
    except OSError:
        return None
    return _status("VmRSS")


def _status(key: str) -> int | None:
    try:
        with open("/proc/self/status") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith(key)), None)
    except OSError:
        return None


def _give_back_free_memory() -> None:
    """Return freed memory to the system, or what one contender leaves behind hides what the next one takes."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
