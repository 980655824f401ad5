"""Work for other processes and machines: units by number, which can be done anywhere, in any order, and again.

An engine sends `Sent` to its workers once, and then the numbers of units; it calls `do` there and `joined` on what
comes back. That is all it needs.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import threading
import time
import uuid
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, ClassVar

from fastxent.base.errors import FastxentError, InvalidRowError, OutputError, SourceError, StateError, UsageError
from fastxent.base.version import package_version
from fastxent.data.spec import NUMERICS_VERSION
from fastxent.engine.plan import Failed, Part, Plan, Scored, Stop, Stopped, join
from fastxent.engine.score_split import score_splits
from fastxent.sources.source import Split

__all__ = ["Chunk", "Sent", "SplitWork", "Work", "do", "joined", "send", "with_sent"]

#: How often units are tried that fail for a reason that may pass, and seconds before the second attempt.
ATTEMPTS, PAUSE = 3, 0.1
#: Errors that would be the same again.
_LASTING = (InvalidRowError, OutputError, StateError, UsageError)

_LOG = logging.getLogger("fastxent")

#: The numbers of units that are done by one call.
Chunk = tuple[int, ...]


class Work(ABC):
    """Units of work over a plan. It can be pickled if the plan can.

    Attributes:
        chunk_bytes: decoded bytes of the data that one call of `do` works at, at most (or a single unit).
        merges: whether parts may be joined where they are made, as they are small when joined.
    """

    chunk_bytes: ClassVar[int] = 1 << 30
    merges: ClassVar[bool] = True

    plan: Plan

    @abstractmethod
    def __len__(self) -> int:
        """How many units there are; their numbers count from 0."""

    @abstractmethod
    def splits(self, number: int) -> Sequence[Split]:
        """The splits that a unit is about."""

    @abstractmethod
    def do(self, numbers: Chunk, stop: Stop | None = None) -> Part:
        """What some units leave behind, or the first error; raises `Stopped` if ``stop`` is set meanwhile."""

    def nbytes(self, number: int) -> int:
        """Decoded bytes of the data of a unit, about."""
        return sum(max(split.nbytes, 0) for split in self.splits(number))

    def name(self, numbers: Chunk) -> str:
        """What some units are about, for messages and logs."""
        return _named([split for number in numbers for split in self.splits(number)])


@dataclass(frozen=True)
class SplitWork(Work):
    """The splits of a plan, of which nothing is left behind but totals."""

    plan: Plan

    def __len__(self) -> int:
        return len(self.plan.splits)

    def splits(self, number: int) -> Sequence[Split]:
        """The split of this number."""
        return self.plan.splits[number : number + 1]

    def do(self, numbers: Chunk, stop: Stop | None = None) -> Part:
        """Score the splits, one after the other."""
        splits = [self.plan.splits[number] for number in numbers]
        return score_splits(self.plan, splits) if stop is None else score_splits(self.plan, splits, stop.is_set)


@dataclass(frozen=True, slots=True)
class Sent:
    """Work (or what else workers need) as it is sent: bytes, the versions of who sent it, and a name of its own."""

    data: bytes
    versions: tuple[tuple[str, str], ...]
    token: str


def send(work: Any) -> Sent:
    """Work, or what else workers need, to be sent.

    Raises:
        UsageError: the data lie in the memory of this process.
    """
    return Sent(zlib.compress(pickle.dumps(work), 1), _versions(), uuid.uuid4().hex[:12])


def do(sent: Sent, numbers: Chunk, stop: Stop | None = None, log: logging.Logger = _LOG) -> Part:
    """What some units leave behind: called by workers, wherever they are. Errors say where that is.

    What fails for a reason that may pass is tried again. The log names the units.
    """
    return with_sent(sent, lambda work: _tried(work, numbers, stop, log))


def with_sent(sent: Sent, score: Callable[[Any], Part]) -> Part:
    """What is scored with something that was sent, or the error, which says where it was met."""
    try:
        if (own := _versions()) != sent.versions:
            theirs = ", ".join(f"{name} {version}" for name, version in sent.versions)
            mine = ", ".join(f"{name} {version}" for name, version in own)
            raise FastxentError(f"the worker {_here()} has {mine}, but the run has {theirs}; install the same there")
        part = score(_received(sent))
    except Stopped:
        raise
    except Exception as error:
        part = Failed(None, 0, error)
    return part if isinstance(part, Scored) else replace(part, error=_placed(part))


def _tried(work: Work, numbers: Chunk, stop: Stop | None, log: logging.Logger) -> Part:
    """What some units leave behind, tried again where that may help."""
    attempt = 0
    while True:
        attempt += 1
        began = time.perf_counter()
        part = work.do(numbers, stop)
        if isinstance(part, Scored):
            log.info("%s: done in %.3f s", work.name(numbers), time.perf_counter() - began)
            return part
        log.warning("%s: attempt %d of %d: %s", work.name(numbers), attempt, ATTEMPTS, part.error)
        if isinstance(part.error, _LASTING) or attempt == ATTEMPTS:
            return part
        time.sleep(PAUSE * attempt)


def joined(parts: Iterable[Part]) -> Part:
    """Several parts (at least one) as one: called by workers as well, so that less is sent back."""
    return reduce(join, parts)


_works: dict[str, Any] = {}
_works_lock = threading.Lock()


def _received(sent: Sent) -> Any:
    """What was sent, which is unpacked once a process."""
    with _works_lock:
        if sent.token not in _works:
            while len(_works) > 1:  # who is at an older one holds it
                del _works[next(iter(_works))]
            _works[sent.token] = pickle.loads(zlib.decompress(sent.data))
        return _works[sent.token]


def _versions() -> tuple[tuple[str, str], ...]:
    return ("fastxent", package_version()), ("numerics version", str(NUMERICS_VERSION))


def _here() -> str:
    return f"on {socket.gethostname()}, process {os.getpid()}"


def _placed(failed: Failed) -> Exception:
    """The error with the place where it was met, in a form that can be sent. Errors of rows are the same anywhere."""
    error = failed.error
    if isinstance(error, SourceError):
        error.args = (f"{error.args[0]} ({_here()})", *error.args[1:])
        return error
    if isinstance(error, FastxentError):
        return error
    where = "" if failed.split is None else f"{_named([failed.split])}: "
    return FastxentError(f"{where}{type(error).__name__}: {error} ({_here()})")


def _named(splits: Sequence[Split]) -> str:
    """Splits in words: files, and which rows of them."""
    if not splits:
        return "no splits"
    first, last = splits[0], splits[-1]
    if first.path != last.path:
        return f"{first.path} to {last.path} ({len(splits)} splits)"
    rows = f"rows {first.first_row:,} to {last.first_row + last.num_rows - 1:,}"
    return f"{first.path}, {rows}" if first.num_rows >= 0 else first.path
