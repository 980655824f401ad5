"""Splits that several workers score together: one of them makes the next batch while the others score theirs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from fastxent.data.batch import Batch
from fastxent.sources.source import Source, Split

__all__ = ["SharedSplit"]


class SharedSplit:
    """The batches of one split, handed out in order to whoever asks.

    More than one worker may ask only if the source says that its batches last.
    """

    def __init__(self, source: Source, split: Split) -> None:
        self.split = split
        self._source = source
        self._batches: Iterator[Batch] | None = None
        self._lock = threading.Lock()
        self._count = 0
        self._exhausted = False

    def take(self) -> tuple[int, Batch | None]:
        """The next batch and its number; None when there are no more, or making one raised: it is number `taken`."""
        with self._lock:
            if self._exhausted:
                return self._count, None
            if self._batches is None:
                self._batches = self._source.read(self.split)
            try:
                batch = next(self._batches, None)
            except BaseException:
                self._end()
                raise
            if batch is None:
                self._end()
                return self._count, None
            self._count += 1
            return self._count - 1, batch

    @property
    def taken(self) -> int:
        """How many batches have been handed out."""
        return self._count

    def _end(self) -> None:
        self._exhausted = True
        self._batches = None
