"""Totals: the mergeable state of an evaluation. A value with three verbs: absorb, merge, read.

Only integers are inside, so merging is exact, associative and commutative, and the empty totals are
its identity. Absorbing is done by `fastxent.scores.Scorer`, reading by `fastxent.evaluation`.

The file form: the magic ``FASTXENT``, a little-endian uint64 with the length of a JSON header, the
header, the arrays one after the other (little-endian int64), and a SHA-256 of everything before it.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fastxent import exact
from fastxent.errors import StateError
from fastxent.kernels import tally
from fastxent.kernels.tally import Tallies
from fastxent.spec import NUMERICS_VERSION, Spec

__all__ = ["Measures", "Totals"]

_MAGIC = b"FASTXENT"
_NEVER = np.iinfo(np.int64).max

#: Ranks counted one by one; greater ones share the last cell.
RANKS = 4096
#: Confusion is counted by pairs up to this many classes (8 MB of counters a thread).
CONFUSION_CLASSES = 1000


@dataclass(frozen=True, slots=True)
class Measures:
    """Which statistics are gathered. The loss's own mean always is."""

    spread: bool = True
    scores: bool = True

    @property
    def full(self) -> bool:
        """Whether the row kernel must give more than the loss."""
        return self.scores


def _new_tallies(spec: Spec, measures: Measures) -> Tallies:
    def cells(*shape: int, wanted: bool = True) -> Any:
        return np.zeros(shape if wanted else (0,) * len(shape), np.int64)

    classes = 2 if spec.task == "binary" else spec.num_classes
    sums = tally.SUMS if spec.reads_weight else 3 if measures.scores else 2 if measures.spread else 1
    by_class = measures.scores and spec.task != "multilabel"
    return Tallies(
        rows=cells(tally.STATUSES),
        first=np.full(tally.STATUSES, _NEVER),
        sums=exact.empty(sums),
        histogram=cells(tally.HISTOGRAM, wanted=measures.spread),
        extremes=np.array([_NEVER, -1]),
        ranks=cells(min(classes, RANKS) + 1, wanted=measures.scores),
        calibration=cells(tally.CELLS, 4, wanted=by_class),
        classes=cells(classes, 6, wanted=by_class),
        confusion=cells(classes, classes, wanted=by_class and classes <= CONFUSION_CLASSES),
        uneven=cells(1),
    )


@dataclass(slots=True)
class Totals:
    """The integers that any number of rows leave behind under one spec."""

    spec: Spec
    measures: Measures = field(default_factory=Measures)
    tallies: Tallies = field(init=False)

    def __post_init__(self) -> None:
        self.tallies = _new_tallies(self.spec, self.measures)

    def merge(self, other: Totals) -> None:
        """Add the other's rows; raises StateError if the two measure different things."""
        if difference := _difference(self, other):
            raise StateError(f"cannot merge totals of different specs: {difference}")
        mine, theirs = self.tallies, other.tallies
        for name in Tallies._fields:
            a, b = getattr(mine, name), getattr(theirs, name)
            if name == "first":
                np.minimum(a, b, out=a)
            elif name == "extremes":
                a[0], a[1] = min(a[0], b[0]), max(a[1], b[1])
            elif name == "sums":
                a[...] = exact.merge(a, b)
            else:
                a += b
        _carry_fixed(mine)

    def to_bytes(self) -> bytes:
        """The canonical file form: equal totals give equal bytes."""
        tallies = self.tallies
        tallies.sums[...] = exact.canonical(tallies.sums)
        _carry_fixed(tallies)
        arrays = {name: getattr(tallies, name) for name in Tallies._fields}
        header = json.dumps(
            {
                "version": 1,
                "numerics_version": NUMERICS_VERSION,
                "spec": self.spec.to_dict(),
                "measures": {"spread": self.measures.spread, "scores": self.measures.scores},
                "shapes": {name: list(array.shape) for name, array in arrays.items()},
            },
            sort_keys=True,
            separators=(",", ":"),
        ).encode()
        body = b"".join(
            [_MAGIC, len(header).to_bytes(8, "little"), header, *(a.astype("<i8").tobytes() for a in arrays.values())]
        )
        return body + hashlib.sha256(body).digest()

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "state") -> Totals:
        """Read `to_bytes` back; raises StateError for damage or for another version."""
        if len(data) < 48 or data[:8] != _MAGIC:
            raise StateError(f"{name}: not a fastxent state file")
        if hashlib.sha256(data[:-32]).digest() != data[-32:]:
            raise StateError(f"{name}: damaged (its checksum does not match); make it again")
        length = int.from_bytes(data[8:16], "little")
        header = json.loads(data[16 : 16 + length])
        if header["numerics_version"] != NUMERICS_VERSION:
            raise StateError(
                f"{name}: numerics version {header['numerics_version']}, this fastxent has {NUMERICS_VERSION}; make it again"
            )
        totals = cls(Spec.from_dict(header["spec"]), Measures(**header["measures"]))
        at = 16 + length
        for field_name in Tallies._fields:
            array = getattr(totals.tallies, field_name)
            if list(array.shape) != header["shapes"].get(field_name):
                raise StateError(f"{name}: {field_name} has another shape than this version of fastxent gives it")
            count = math.prod(array.shape)
            array[...] = np.frombuffer(data, "<i8", count, at).reshape(array.shape)
            at += 8 * count
        return totals


def _carry_fixed(tallies: Tallies) -> None:
    """Bring the fixed-point pairs to 0 <= low < FIXED_ONE."""
    for cells, high, low in (
        (tallies.classes, tally.LOSS_HIGH, tally.LOSS_LOW),
        (tallies.calibration, tally.CONF_HIGH, tally.CONF_LOW),
    ):
        if cells.size:
            carry = cells[:, low] >> 62
            cells[:, high] += carry
            cells[:, low] -= carry << 62


def _difference(a: Totals, b: Totals) -> str:
    """What sets two totals apart, in words; empty if they may be merged."""
    left, right = a.spec.to_dict(), b.spec.to_dict()
    parts = [
        f"{key} is {left.get(key, 'unset')!r} here and {right.get(key, 'unset')!r} there"
        for key in sorted(set(left) | set(right))
        if left.get(key) != right.get(key)
    ]
    if a.measures != b.measures:
        parts.append("they gathered different statistics")
    return "; ".join(parts)
