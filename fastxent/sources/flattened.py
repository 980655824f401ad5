"""Rows that are elements of lists, numbered in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

from fastxent.data.batch import Batch
from fastxent.sources.skipped import LeftOut
from fastxent.sources.source import Source, Split

__all__ = ["FlattenedSource"]


class FlattenedSource(Source):
    """A source whose batches have a row for every element of a list, a token of a document, say.

    How many there are before a list is known to who has read what is before it, so there is one split, whose batches
    are scored by all threads. Rows are numbered as elements, within their file and in all.
    """

    flattens = True

    def __init__(self, lists: Source) -> None:
        self.lists = lists
        self.num_classes, self.num_rows = lists.num_classes, -1
        self.score_names, self.notes, self.paths = lists.score_names, lists.notes, lists.paths
        self.files = lists.files if len(lists.files) == 1 else ()
        self.batches_last, self.travels = lists.batches_last, lists.travels
        nbytes = sum(max(split.nbytes, 0) for split in lists.splits())
        self._splits = [Split(0, self.paths[0], 0, 1, 0, 0, -1, nbytes)]

    def check_travels(self) -> None:
        """See `Source.check_travels`: as the lists do."""
        self.lists.check_travels()

    @property
    def left_out(self) -> tuple[LeftOut, ...]:
        """See `Source.left_out`."""
        return self.lists.left_out

    @property
    def ways(self) -> Mapping[tuple[str, int], str]:
        """See `Source.ways`."""
        return self.lists.ways

    def stamps(self) -> Mapping[str, tuple[int, int] | None]:
        """See `Source.stamps`."""
        return self.lists.stamps()

    def read(self, split: Split) -> Iterator[Batch]:
        """All rows."""
        number = 0
        rows: Counter[str] = Counter()
        for each in self.lists.splits():
            for batch in self.lists.read(each):
                yield replace(batch, first_row=rows[batch.path], first_id=number, numbers=None)
                rows[batch.path] += batch.num_rows
                number += batch.num_rows
