"""Steps that come from many threads in any order, and are done one at a time in the order of their places."""

from __future__ import annotations

import threading
from collections.abc import Callable

__all__ = ["HELD_BYTES", "InOrder"]

#: Bytes of results that may wait for their turn.
HELD_BYTES = 256 << 20

Step = Callable[[], None]


class InOrder:
    """Does the steps of all batches of all splits in order; whoever brings the next one does it, and those after it.

    Splits are known by their number, batches by their place in the split.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._turn = (0, 0)
        self._waiting: dict[tuple[int, int], tuple[int, Step]] = {}
        self._batches: dict[int, int] = {}
        self._held = 0
        self._busy = self._stopped = False

    def put(self, split: int, place: int, nbytes: int, step: Step) -> None:
        """Have a step done, which holds so many bytes until then.

        Waits while too much is held. The step whose turn it is never waits, so somebody can always go on.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._held < HELD_BYTES or (split, place) == self._turn)
            self._waiting[split, place] = nbytes, step
            self._held += nbytes
        self._go_on()

    def end(self, split: int, batches: int) -> None:
        """A split has so many batches."""
        with self._changed:
            self._batches[split] = batches
        self._go_on()

    def stop(self) -> None:
        """Do no more steps, and let go of those who wait."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _go_on(self) -> None:
        """Do the steps whose turn has come, unless another thread is at it, who will do them."""
        with self._changed:
            if self._busy:
                return
            self._busy = True
        try:
            while (step := self._next()) is not None:
                step()
        except BaseException:
            self.stop()
            raise

    def _next(self) -> Step | None:
        """The step whose turn it is; None ends the work of the thread that is at it."""
        with self._changed:
            split, place = self._turn
            while self._batches.get(split) == place:
                split, place = split + 1, 0
            self._turn = split, place
            if self._stopped or self._turn not in self._waiting:
                self._busy = False
                self._changed.notify_all()
                return None
            nbytes, step = self._waiting.pop(self._turn)
            self._held -= nbytes
            self._turn = split, place + 1
            self._changed.notify_all()
            return step
