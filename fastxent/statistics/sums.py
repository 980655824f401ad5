"""Exact sums of numbers, and the integers of any number of owners: what every statistic is read from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastxent.base import exact
from fastxent.base.exact import rounded_ratio
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import tally
from fastxent.kernels.sums.products import products_of
from fastxent.statistics.record import Record
from fastxent.statistics.row_keeper import RowKeeper
from fastxent.statistics.table import Cells

__all__ = ["SCALES", "TALLIED", "Exact", "Sums", "scale_places", "tallied_values"]

#: The exact sums that tallies have, in the order of their rows (`fastxent.kernels.sums.tally`), and the power of the
#: weight that is in each.
TALLIED = {
    "loss": 0, "square": 0, "brier": 0, "weight": 1, "weighted_loss": 1, "weight_square": 2, "cross": 2,
    "weighted_square": 2, "weighted_correct": 1, "weighted_brier": 1,
}  # fmt: skip
#: The scales that weights may have, in the order in which sums of each are kept.
SCALES = (0, *tally.SCALES)

_PLACES = np.argsort(SCALES)


@dataclass(frozen=True)
class Exact:
    """One sum of every owner: ``integers`` (Python's) in units of 2^-bits are what is finite of it.

    ``special`` is NaN or an infinity where one was added, else 0.
    """

    integers: NDArray[Any]
    bits: int
    special: NDArray[np.float64]

    @classmethod
    def of_counts(cls, counts: NDArray[np.int64]) -> Exact:
        """Whole numbers."""
        return cls(counts.astype(object), 0, np.zeros(len(counts)))

    @classmethod
    def of_state(cls, state: exact.State) -> Exact:
        """The sum of one owner, from its state."""
        special = exact.special_value(state)
        value = np.array([0.0 if special is None else special])
        return cls(np.array([exact.finite_total(state)], object), -exact.UNIT_EXPONENT, value)

    @classmethod
    def of_scales(cls, parts: Sequence[Exact | None], power: int) -> Exact:
        """The sum of all rows from those of each scale of the weight (in the order of `SCALES`; None for nothing)."""
        used = [(scale, part) for scale, part in zip(SCALES, parts, strict=False) if part is not None]
        if len(used) == 1 and not used[0][0]:
            return used[0][1]
        step, lowest = sc.SCALE_BITS * power, min(scale for scale, _ in used)
        bits = max(part.bits for _, part in used)
        total = np.sum([part.at(bits) << step * (scale - lowest) for scale, part in used], axis=0)
        return cls(total, bits - step * lowest, np.sum([part.special for _, part in used], axis=0))

    def at(self, bits: int) -> NDArray[Any]:
        """The integers in units of 2^-bits, which are no coarser than their own."""
        return self.integers if bits == self.bits else self.integers << (bits - self.bits)

    def times(self, other: Exact) -> Exact:
        """Products of sums that are finite."""
        return Exact(self.integers * other.integers, self.bits + other.bits, self.special + other.special)

    def plus(self, other: Exact) -> Exact:
        """Sums of both."""
        bits = max(self.bits, other.bits)
        return Exact(self.at(bits) + other.at(bits), bits, self.special + other.special)

    def scaled(self, exponent: int) -> Exact:
        """Sums times 2^exponent, which is negative."""
        return Exact(self.integers, self.bits - exponent, self.special)

    def equals(self, other: Exact) -> NDArray[np.bool_]:
        """Which sums are the same."""
        bits = max(self.bits, other.bits)
        same: NDArray[np.bool_] = np.array(self.at(bits) == other.at(bits), np.bool_)
        same &= (self.special == other.special) | (np.isnan(self.special) & np.isnan(other.special))
        return same

    def at_most(self, other: Exact) -> NDArray[np.bool_]:
        """Which sums are no larger than the other's."""
        bits = max(self.bits, other.bits)
        small: NDArray[np.bool_] = np.array(self.at(bits) <= other.at(bits), np.bool_)
        small &= self.special == 0.0
        small |= other.special == np.inf
        return small

    @property
    def finite(self) -> Exact:
        """The sums of what is finite."""
        return Exact(self.integers, self.bits, np.zeros_like(self.special))

    @property
    def is_finite(self) -> NDArray[np.bool_]:
        """Whether nothing but finite numbers was added."""
        finite: NDArray[np.bool_] = self.special == 0.0
        return finite

    @cached_property
    def rounded(self) -> NDArray[np.float64]:
        """The sums, rounded once."""
        return rounded_ratio(self.integers, np.full(len(self.integers), 1 << self.bits, object)) + self.special

    def over(self, whole: Exact) -> NDArray[np.float64]:
        """Quotients, rounded once; NaN over nothing."""
        bits = max(self.bits, whole.bits)
        with np.errstate(invalid="ignore"):
            return rounded_ratio(self.at(bits), whole.at(bits)) + self.special


class Sums(Protocol):
    """What owners have. Owners without a row are not among them, but for all rows where there is none."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """The scored rows of every owner."""

    @property
    def extremes(self) -> NDArray[np.float64]:
        """The least loss of every owner (row 0) and the largest (row 1); NaN without a row."""

    def exact(self, name: str) -> Exact | None:
        """The exact sums of this name, if there are some."""

    def cells(self, name: str) -> Cells | None:
        """The cells of the table of this name, if there is one; owners are numbered from 0."""

    def keeper(self, name: str) -> tuple[RowKeeper, NDArray[np.int64]] | None:
        """The keeper of rows of this name, if there is one, and the numbers of its owners; -1 for one left out."""

    def blocks(self) -> Iterator[Sums]:
        """The same owners, some thousand at a time."""


def tallied_values(record: Record, names: tuple[str, ...]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """What the rows of a record add to the exact sums that tallies have, of which ``names`` are wanted."""
    real = record.card.real[:, : record.n]
    loss, weight, weighted = real[sc.LOSS], real[sc.WEIGHT], real[sc.SCRATCH]
    products = {
        "square": (loss, loss), "weight_square": (weight, weight),
        "cross": (weighted, weight), "weighted_square": (weighted, weighted),
    }  # fmt: skip
    values = {"loss": loss, "brier": real[sc.BRIER], "weight": weight, "weighted_loss": weighted}
    for name in names:
        if name in products:
            yield from ((name, part) for part in products_of(*products[name]))
        elif name == "weighted_brier":
            yield name, real[sc.BRIER] * weight
        elif name == "weighted_correct":
            yield name, np.where(record.card.whole[sc.RANK, : record.n] == 0, weight, 0.0)
        else:
            yield name, values[name]


def scale_places(record: Record) -> NDArray[np.int64]:
    """The place in `SCALES` of the scale of every row's weight."""
    places: NDArray[np.int64] = _PLACES[record.card.whole[sc.SCALE, : record.n] + sc.MOST_SCALE]
    return places
