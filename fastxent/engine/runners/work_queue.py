"""Work handed out in order to many threads, until there is none, some of it has failed, or somebody says stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fastxent.engine.plan import Failed, Stop

__all__ = ["WorkQueue"]


class WorkQueue:
    """Hands out the numbers of splits or files in order, and remembers the earliest error of each.

    Args:
        count: how many there are.
        stop: set when nothing more is to be done; may be shared with other queues.
        wake: called when something has failed or somebody said stop, for those who wait elsewhere.
    """

    def __init__(self, count: int, stop: Stop | None = None, wake: Callable[[], None] = lambda: None) -> None:
        self._count = count
        self._next = 0
        self._lock = threading.Lock()
        self._stop: Stop = threading.Event() if stop is None else stop
        self._wake = wake
        self._failed: dict[int, Failed] = {}

    def take(self) -> int | None:
        """The next number; None if there is no more to do."""
        with self._lock:
            if self.stopped or self._failed or self._next == self._count:
                return None
            self._next += 1
            return self._next - 1

    def fail(self, number: int, failed: Failed) -> None:
        """Remember what went wrong, unless an earlier batch of the same split did; no more is handed out."""
        with self._lock:
            if number not in self._failed or failed.place < self._failed[number].place:
                self._failed[number] = failed
        self._wake()

    @property
    def stopped(self) -> bool:
        """Whether somebody said stop."""
        return self._stop.is_set()

    def is_over_for(self, number: int) -> bool:
        """Whether somebody said stop, or went wrong in a split that is not behind this one."""
        return self.stopped or any(failed <= number for failed in tuple(self._failed))

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Say stop if what is done here ends in an error, or in Ctrl-C: workers stop after their batch."""
        try:
            yield
        except BaseException:
            self._stop.set()
            self._wake()
            raise

    @property
    def earliest(self) -> Failed | None:
        """The earliest of what went wrong."""
        return self._failed[min(self._failed)] if self._failed else None
