"""How much of a run was spent compiling kernels, which the next one does not."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from numba.core import event

__all__ = ["CompileClock", "compile_clock"]


class CompileClock(event.Listener):  # type: ignore[misc]
    """Seconds in which any thread compiled; loading what was compiled earlier is none."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._lock, self._depth, self._started = threading.Lock(), 0, 0.0

    def on_start(self, event: object) -> None:
        """A function begins to be compiled, perhaps within another one."""
        with self._lock:
            if not self._depth:
                self._started = time.perf_counter()
            self._depth += 1

    def on_end(self, event: object) -> None:
        """It has been compiled."""
        with self._lock:
            self._depth = max(self._depth - 1, 0)
            if not self._depth:
                self.seconds += time.perf_counter() - self._started


@contextmanager
def compile_clock() -> Iterator[CompileClock]:
    """A clock that runs while kernels are compiled."""
    clock = CompileClock()
    with event.install_listener("numba:compile", clock):
        yield clock
