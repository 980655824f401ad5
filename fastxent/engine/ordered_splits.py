"""Splits handed out in order to many workers, and what they leave behind brought back into that order.

Pure threads and bounds: no scoring, no files. Splits are known by their number in the plan.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastxent.sources.source import Split

__all__ = ["HELD_BYTES", "Stopped", "Turns"]

#: Bytes of results that may wait for their turn.
HELD_BYTES = 256 << 20


class Stopped(Exception):
    """Somebody said stop while this worker waited."""


class Turns:
    """Hands out splits in order until there are none or somebody says stop; remembers the earliest error.

    With a ``window``, no split is handed out that lies that many or more after the one whose turn it is
    to be written. Splits are known by their number in the plan.
    """

    def __init__(self, splits: Sequence[Split], window: int | None = None) -> None:
        self._splits = splits
        self._window = len(splits) if window is None else window
        self._changed = threading.Condition()
        self._next = self._turn = self._held = 0
        self._errors: dict[int, tuple[int, BaseException]] = {}
        self._pieces: dict[int, deque[Any]] = {}
        self._finished: set[int] = set()
        self.stopped = False

    def take(self) -> tuple[int, Split] | None:
        """The next split and its number; None if there is no more to do."""
        with self._changed:
            self._changed.wait_for(lambda: self._over() or self._next < self._turn + self._window)
            if self._over():
                return None
            number = self._next
            self._next += 1
            self._pieces[number] = deque()
            return number, self._splits[number]

    def _over(self) -> bool:
        return self.stopped or bool(self._errors) or self._next == len(self._splits)

    def fail(self, number: int, error: BaseException, batch: int = 0) -> None:
        """Remember what went wrong with a split, in its earliest batch; no more are handed out."""
        with self._changed:
            if number not in self._errors or batch < self._errors[number][0]:
                self._errors[number] = batch, error
            self._changed.notify_all()

    def is_over_for(self, number: int) -> bool:
        """Whether somebody said stop, or went wrong in a split that is not behind this one."""
        return self.stopped or any(failed <= number for failed in tuple(self._errors))

    def stop(self) -> None:
        """Hand out nothing any more, and wake whoever waits."""
        with self._changed:
            self.stopped = True
            self._changed.notify_all()

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Say stop if what is done here ends in an error, or in Ctrl-C: workers stop after their batch."""
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def raise_earliest(self) -> None:
        """Raise the error of the earliest split that has one."""
        if self._errors:
            raise self._errors[min(self._errors)][1]

    def put(self, number: int, piece: Any) -> None:
        """Leave a piece of a split to be written.

        Waits while too much is held; the split whose turn it is may always go on, so somebody always can.
        """
        mine = self._pieces[number]
        with self._changed:
            self._changed.wait_for(
                lambda: self.stopped or self._held < HELD_BYTES or (number == self._turn and not mine)
            )
            if self.stopped:
                raise Stopped
            mine.append(piece)
            self._held += piece.nbytes
            self._changed.notify_all()

    def finish(self, number: int) -> None:
        """All pieces of the split have been put."""
        with self._changed:
            self._finished.add(number)
            self._changed.notify_all()

    def pieces(self, number: int) -> Iterator[Any]:
        """The pieces of the split whose turn it is, as they come; raises what its worker raised."""
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: number in self._errors or number in self._finished or self._pieces.get(number)
                )
                waiting = self._pieces.get(number)
                if not waiting:
                    if number in self._errors:
                        raise self._errors[number][1]
                    del self._pieces[number]
                    self._turn = number + 1
                    self._changed.notify_all()
                    return
                piece = waiting.popleft()
            yield piece
            with self._changed:
                self._held -= piece.nbytes
                self._changed.notify_all()
