"""How the targets of events are read: 0 or 1, or numbers between."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.vector.memory import load, load_whole
from fastxent.kernels.vector.simd import as_ones, fill, select, widen

__all__ = ["Targets", "are_hard", "targets"]


class Targets(NamedTuple):
    """Kernels for targets of one kind, as int64 lanes if they are hard labels, else as float64 lanes.

    ``take(address)`` reads them, ``faults(y)`` is 0 in the lanes of possible ones, ``as_real(y, like)`` gives
    float64 lanes. ``bad`` is the status of a row with an impossible one.
    """

    take: Any
    faults: Any
    as_real: Any
    bad: int


def are_hard(kind: str) -> bool:
    """Whether targets of a kind are labels, 0 or 1, rather than numbers in [0, 1]."""
    return "float" not in kind


@cache
def targets(kind: str, lanes: int) -> Targets:
    """How targets of a kind are read."""
    hard = are_hard(kind)

    @kernel(variant=f"{kind}-{lanes}", inline="always")
    def take(address):
        if hard:
            return load_whole(address, kind, lanes)
        return widen(load(address, kind, lanes))

    @kernel(variant=f"{kind}-{lanes}", inline="always")
    def faults(y):
        if hard:
            return y & -2
        return as_ones((y >= 0.0) & (y <= 1.0), y) + 1

    @kernel(variant=f"{kind}-{lanes}", inline="always")
    def as_real(y, like):
        if hard:
            return select(y == 1, fill(1.0, like), fill(0.0, like))
        return y

    return Targets(take, faults, as_real, sc.LABEL_OUT_OF_RANGE if hard else sc.INVALID_TARGET)
