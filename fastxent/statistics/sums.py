"""Exact sums of numbers, and the integers of any number of owners: what every statistic is read from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastxent.base import exact
from fastxent.kernels.contract import scorecard as sc
from fastxent.statistics.record import Record
from fastxent.statistics.row_keeper import RowKeeper
from fastxent.statistics.table import Cells

__all__ = ["TALLIED", "Exact", "Sums", "rounded_ratio", "tallied_values"]

#: The exact sums that tallies have, in the order of their rows (`fastxent.kernels.sums.tally`).
TALLIED = (
    "loss", "square", "brier", "weight", "weighted_loss", "weight_square", "cross", "weighted_square",
    "weighted_correct", "weighted_brier",
)  # fmt: skip

#: Integers below are float64 numbers, whose quotient is rounded once.
_EXACT = 1 << 53


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

    def at(self, bits: int) -> NDArray[Any]:
        """The integers in units of 2^-bits, which are no coarser than their own."""
        return self.integers if bits == self.bits else self.integers << (bits - self.bits)

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


def rounded_ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    """Quotients of integers, each rounded once; NaN over nothing."""
    if part.dtype == whole.dtype == np.int64 and max(part.max(initial=0), whole.max(initial=0)) < _EXACT:
        quotients = np.full(len(part), math.nan)
        np.divide(part, whole, out=quotients, where=whole != 0)
        return quotients
    pairs = list(zip(part.tolist(), whole.tolist(), strict=True))
    try:
        return np.array([a / b if b else math.nan for a, b in pairs], np.float64)
    except OverflowError:
        return np.array([_ratio(a, b) if b else math.nan for a, b in pairs], np.float64)


def _ratio(part: int, whole: int) -> float:
    try:
        return float(part / whole)
    except OverflowError:
        return math.inf if (part > 0) == (whole > 0) else -math.inf


def tallied_values(record: Record, names: tuple[str, ...]) -> dict[str, NDArray[np.float64]]:
    """What the rows of a record add to the exact sums that tallies have, of which ``names`` are wanted."""
    real = record.card.real[:, : record.n]
    loss, weight, weighted = real[sc.LOSS], real[sc.WEIGHT], real[sc.SCRATCH]
    values = {"loss": loss, "brier": real[sc.BRIER], "weight": weight, "weighted_loss": weighted}
    with np.errstate(all="ignore"):
        products = {
            "square": (loss, loss),
            "weight_square": (weight, weight),
            "cross": (weighted, weight),
            "weighted_square": (weighted, weighted),
            "weighted_brier": (real[sc.BRIER], weight),
            "weighted_correct": (weight, record.card.whole[sc.RANK, : record.n] == 0),
        }
        values |= {name: a * b for name, (a, b) in products.items() if name in names}
    return {name: values[name] for name in names}
