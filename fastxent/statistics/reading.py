"""What the sums of owners say: every statistic's fields, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastxent.base.log_unit import Unit
from fastxent.data.spec import Spec
from fastxent.statistics.field import Field
from fastxent.statistics.laws import Law
from fastxent.statistics.options import Measures, Readings
from fastxent.statistics.sums import Exact, Sums

__all__ = ["Reading"]

Numbers = NDArray[Any]


class Readable(Protocol):
    """What a reading knows of a statistic; see `fastxent.statistics.statistic.Statistic`."""

    @property
    def name(self) -> str:
        """The word for it."""

    def fields(self, reading: Reading) -> tuple[Field, ...]:
        """The numbers that it says."""

    def read(self, reading: Reading) -> Mapping[str, Numbers]:
        """Those numbers, of every owner."""

    def laws(self, reading: Reading) -> Iterator[Law]:
        """What the sums that it gathers obey."""

    def section(self, reading: Reading) -> dict[str, Any]:
        """What it adds to the dictionary of an evaluation."""

    def headlines(self, reading: Reading) -> Iterator[tuple[str, str]]:
        """Its lines of the summary."""


class Reading:
    """The fields of G owners, as arrays of G numbers.

    ``reading[name]`` is in the unit that was asked for, ``reading.nats(name)`` in nats. ``invalid``: whether rows that
    are invalid make every mean NaN.
    """

    def __init__(
        self,
        sums: Sums,
        statistics: Sequence[Readable],
        spec: Spec,
        measures: Measures,
        options: Readings,
        *,
        invalid: bool = False,
    ) -> None:
        self.sums, self.spec, self.measures, self.options, self.invalid = sums, spec, measures, options, invalid
        self.statistics = {statistic.name: statistic for statistic in statistics}
        self.unit = Unit(options.base)
        self._read: dict[str, Mapping[str, Numbers]] = {}
        self._exact: dict[str, Exact | None] = {}
        self._found: dict[str, Any] = {}

    def with_options(self, **changes: Any) -> Reading:
        """The same sums, read otherwise."""
        options = replace(self.options, **changes)
        if options == self.options:
            return self
        statistics = tuple(self.statistics.values())
        return Reading(self.sums, statistics, self.spec, self.measures, options, invalid=self.invalid)

    @cached_property
    def fields(self) -> dict[str, Field]:
        """All fields by name, in the order of the statistics."""
        return {each.name: each for statistic in self.statistics.values() for each in statistic.fields(self)}

    @cached_property
    def _owner_of(self) -> dict[str, str]:
        return {each.name: name for name, statistic in self.statistics.items() for each in statistic.fields(self)}

    def __contains__(self, name: str) -> bool:
        return name in self._owner_of

    def __getitem__(self, name: str) -> Numbers:
        values = self.nats(name)
        for _ in range(self.fields[name].power):
            values = self.unit.of(values)
        return values

    def nats(self, name: str) -> Numbers:
        """A field in nats."""
        return self.of(self._owner_of[name])[name]

    def of(self, statistic: str) -> Mapping[str, Numbers]:
        """What a statistic says, in nats."""
        if statistic not in self._read:
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                self._read[statistic] = self.statistics[statistic].read(self)
        return self._read[statistic]

    def number(self, name: str) -> Any:
        """A field of the only owner, as a number of Python; None for a count that is not known."""
        value, kind = self[name][0], self.fields[name].kind
        return None if kind is int and value != value else kind(value)

    def blocks(self) -> list[Reading]:
        """The same owners, some thousand at a time."""
        return [self._of(sums) for sums in self.sums.blocks()] or [self]

    def columns(self, names: Iterable[str] | None = None) -> dict[str, Any]:
        """Fields (all of them, by default) as Arrow arrays by name."""
        import pyarrow as pa

        kinds = {int: pa.int64(), float: pa.float64()}
        blocks = self.blocks()
        return {
            name: pa.chunked_array(
                [pa.array(block[name], kinds[field.kind], from_pandas=field.kind is int) for block in blocks]
            )
            for name, field in self.fields.items()
            if names is None or name in names
        }

    def _of(self, sums: Sums) -> Reading:
        """Other sums, read in the same way."""
        statistics = tuple(self.statistics.values())
        return Reading(sums, statistics, self.spec, self.measures, self.options, invalid=self.invalid)

    # What many statistics read.

    def once(self, name: str, read: Callable[[], Any]) -> Any:
        """What ``read`` gives, which several statistics ask for under this name, read once."""
        if name not in self._found:
            self._found[name] = read()
        return self._found[name]

    @property
    def owners(self) -> int:
        """How many owners there are."""
        return len(self.counts)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """The scored rows of every owner."""
        return self.sums.counts

    @property
    def weighted(self) -> bool:
        """Whether rows have weights."""
        return self.spec.reads_weight

    def exact(self, name: str) -> Exact:
        """The exact sums of this name, which there are."""
        sums = self._exact.get(name) or self.sums.exact(name)
        assert sums is not None, f"no exact sums {name!r}"
        self._exact[name] = sums
        return sums

    def has_exact(self, name: str) -> bool:
        """Whether there are exact sums of this name."""
        if name not in self._exact:
            self._exact[name] = self.sums.exact(name)
        return self._exact[name] is not None

    @cached_property
    def total_loss(self) -> Exact:
        """The sums of the (weighted) losses; NaN where invalid rows say so."""
        sums = self.exact("weighted_loss" if self.weighted else "loss")
        return Exact(sums.integers, sums.bits, sums.special + np.nan) if self.invalid else sums

    @cached_property
    def total_weight(self) -> Exact:
        """The sums of the weights, or without weights the rows."""
        return self.exact("weight") if self.weighted else Exact.of_counts(self.counts)

    @property
    def unknown(self) -> Numbers:
        """NaN for every owner."""
        return np.full(self.owners, np.nan)
