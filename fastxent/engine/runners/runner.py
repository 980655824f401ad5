"""What a runner is: an engine that has units of work done somewhere, and hands over their parts in order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from typing import Any, TypeVar

from fastxent.base.errors import FastxentError, UsageError
from fastxent.engine.plan import Part
from fastxent.engine.work import Chunk, Work, joined

__all__ = ["CHUNKS", "FAN_IN", "Runner", "chunks_of", "groups_of", "in_order", "need", "one_by_one"]

#: Chunks for each worker, at least: more of them even out what takes longer, fewer send less back.
CHUNKS = 16
#: Parts that are joined before they are sent back.
FAN_IN = 8

Future = TypeVar("Future")
Died = type[Exception] | tuple[type[Exception], ...]


def need(module: str, extra: str) -> Any:
    """A module that comes with an extra.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UsageError(f"runner: needs {module}: pip install 'fastxent[{extra}]' ({error})") from None


class Runner(ABC):
    """An engine. As a context it is connected.

    Attributes:
        name: what it is called in ``ev.run``.
        readers: how many workers share the memory that a call allows.
        workers: how many chunks are worked at side by side; known once it is connected.
        sends: whether what is read is sent to workers as a plan, which data in memory have not.
    """

    name: str
    readers = 1
    workers = 1
    sends = True

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *error: Any) -> None:  # noqa: B027
        """Let go of what was started here, if anything was."""

    def cut(self, work: Work, numbers: Sequence[int]) -> list[Chunk]:
        """Units in order, cut into chunks."""
        return chunks_of(work, numbers, CHUNKS * self.workers, work.chunk_bytes)

    @abstractmethod
    def results(self, work: Work, chunks: Sequence[Chunk]) -> Iterator[tuple[Chunk, Part]]:
        """The parts of all chunks in order, some joined, each with the numbers of its units.

        At most a few for each worker are held meanwhile. Closing the iterator gives up what has been begun.
        """


def chunks_of(work: Work, numbers: Sequence[int], count: int, nbytes: int) -> list[Chunk]:
    """Units in order, cut into about so many chunks of about as many bytes each, and not more than ``nbytes``."""
    sizes = [max(work.nbytes(number), 1) for number in numbers]
    share = min(nbytes, max(sum(sizes) // count, 1))
    chunks: list[list[int]] = []
    held = share
    for number, size in zip(numbers, sizes, strict=True):
        if held + size // 2 >= share:
            chunks.append([])
            held = 0
        chunks[-1].append(number)
        held += size
    return [tuple(chunk) for chunk in chunks]


def groups_of(work: Work, chunks: Sequence[Chunk], size: int = FAN_IN, least: int = 1) -> list[Sequence[Chunk]]:
    """Chunks whose parts are joined by workers before they are sent back; fewer, if parts do not get smaller."""
    size = size if work.merges else least
    return [chunks[i : i + size] for i in range(0, len(chunks), size)]


def in_order(
    groups: Iterable[Sequence[Chunk]],
    begin: Callable[[Sequence[Chunk]], Future],
    end: Callable[[Chunk, Future], Part],
    limit: int,
) -> Iterator[tuple[Chunk, Part]]:
    """The parts of groups, at most ``limit`` of which have begun and not been handed over."""
    waiting: deque[tuple[Chunk, Future]] = deque()
    for group in groups:
        waiting.append((tuple(number for chunk in group for number in chunk), begin(group)))
        if len(waiting) >= limit:
            numbers, future = waiting.popleft()
            yield numbers, end(numbers, future)
    while waiting:
        numbers, future = waiting.popleft()
        yield numbers, end(numbers, future)


def one_by_one(work: Work, numbers: Chunk, once: Callable[[Chunk], Part], died: Died) -> Part:
    """The part of units among which one ends the process that works at it, by itself or by bad luck.

    Each is tried alone, so that the one that does it can be named, and the others are done.

    Args:
        work: what they are units of.
        numbers: the units.
        once: has some units done.
        died: what that raises if workers died of it.
    """
    parts = []
    for number in numbers:
        try:
            parts.append(once((number,)))
        except died as error:
            first = str(error).strip().partition("\n")[0]
            raise FastxentError(
                f"{work.name((number,))}: every worker that took it died: it was killed, or memory ran out; give "
                f"workers more memory, or the run less memory= ({first})"
            ) from error
    return joined(parts)
