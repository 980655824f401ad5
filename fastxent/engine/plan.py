"""What is to be scored, what a piece of it leaves behind, and how such parts are put together.

Everything here is a value: a `Plan` goes to whoever scores its splits, a `Part` comes back. Parts may be merged in any
order and any tree, and errors are parts too, so that it cannot be seen in what order things happened.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import accumulate
from typing import Protocol

from fastxent.base.errors import UsageError
from fastxent.data.spec import Spec
from fastxent.sources.skipped import LeftOut
from fastxent.sources.source import Source, Split
from fastxent.statistics.options import Measures
from fastxent.totals.totals import Totals

__all__ = [
    "Failed",
    "Part",
    "Plan",
    "Scored",
    "Shard",
    "Stop",
    "Stopped",
    "has_rows_of",
    "join",
    "merge",
    "plan_of",
    "shard_of",
]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, of which rows. It can be pickled if the source can.

    Attributes:
        source: where the rows are.
        spec: what is measured.
        measures: which statistics are gathered.
        splits: the pieces to score, in the order of their rows: all of the source's, or some of them.
    """

    source: Source
    spec: Spec
    measures: Measures
    splits: tuple[Split, ...]

    def new_totals(self) -> Totals:
        """The totals of no rows."""
        return Totals(self.spec, self.measures)


def plan_of(source: Source, spec: Spec, measures: Measures) -> Plan:
    """The plan of all rows of a source."""
    return Plan(source, spec, measures, tuple(source.splits()))


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``number`` (from 1) of ``of`` parts; ``plan`` is a digest of all splits, wherever the files lie."""

    number: int
    of: int
    plan: str


def shard_of(plan: Plan, text: str) -> tuple[Plan, Shard]:
    """The plan of the splits of "3/100": splits in order, as many bytes in each shard as in the others, about."""
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise UsageError(f"shard: expected K/N with K from 1 to N, such as 3/100, got {text!r}")
    k, n = int(number), int(count)
    sizes = [max(split.nbytes, 1) for split in plan.splits]
    middles = [end - size / 2 for end, size in zip(accumulate(sizes), sizes, strict=True)]
    own = tuple(s for s, middle in zip(plan.splits, middles, strict=True) if int(middle / sum(sizes) * n) == k - 1)
    places = [(each.lo, each.hi, each.first_id, each.num_rows) for each in plan.splits]
    digest = hashlib.sha256(repr((places, n)).encode()).hexdigest()
    return replace(plan, splits=own), Shard(k, n, digest)


@dataclass(frozen=True, slots=True)
class Scored:
    """What rows leave behind.

    Attributes:
        totals: their totals.
        left_out: what could not be read and was left out (``on_error="skip"``).
        rows: results of single rows as bytes, where these are sent back; of outputs that were written, a note of each.
    """

    totals: Totals
    left_out: frozenset[LeftOut] = frozenset()
    rows: tuple[bytes, ...] = ()


def has_rows_of(splits: Sequence[Split], scored: Scored) -> bool:
    """Whether totals hold as many rows as splits, but for those that were left out, where all are known."""
    counts, missing = [split.num_rows for split in splits], [each.rows for each in scored.left_out]
    read = int(scored.totals.tallies.rows.sum())
    if min(counts, default=0) < 0:
        return True
    return read <= sum(counts) and (None in missing or sum(counts) - sum(rows or 0 for rows in missing) <= read)


@dataclass(frozen=True, slots=True)
class Failed:
    """An error, and where it was met: in which batch (from 0) of which split; None for a file that has no splits."""

    split: Split | None
    batch: int
    error: Exception

    @property
    def place(self) -> tuple[int, int]:
        """By which of several the earliest is found."""
        return (-1 if self.split is None else self.split.id), self.batch


Part = Scored | Failed


class Stopped(Exception):
    """Somebody said stop, so there is no part."""


class Stop(Protocol):
    """An event, of threads or of processes."""

    def is_set(self) -> bool:
        """Whether nothing will come of the work."""

    def set(self) -> None:
        """Say so."""


def join(a: Part, b: Part) -> Part:
    """Two parts as one: the sum of what was scored, or the earlier of the errors. The totals of ``a`` are added to."""
    if isinstance(a, Failed):
        return b if isinstance(b, Failed) and b.place < a.place else a
    if isinstance(b, Failed):
        return b
    a.totals.merge(b.totals)
    return Scored(a.totals, a.left_out | b.left_out, a.rows + b.rows)


def merge(parts: Iterable[Part]) -> Scored:
    """What all parts (at least one) leave behind; raises the error of the earliest that failed.

    The order makes no difference, nor whether some have been joined before. The totals of the first are added to.
    """
    whole = reduce(join, parts)
    if isinstance(whole, Failed):
        raise whole.error
    return whole
