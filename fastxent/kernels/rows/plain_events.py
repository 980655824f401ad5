"""Losses of plain events: finite logits, targets 0 or 1, no weight and no smoothing. Most events are.

Two short loops over up to CHUNK events that lie one after the other, with numbers in scratch between them, so that the
processor can look ahead: `split` in the type of the scores, where float32 has twice the lanes, `lose` in float64.
`split` sees by the way whether the events are plain, and what it leaves of -|z| is right for all that are not NaN.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract.problem import SIZE
from fastxent.kernels.functions.powers import held_as
from fastxent.kernels.functions.softplus import softplus
from fastxent.kernels.rows.event_targets import are_hard
from fastxent.kernels.rows.tiles import fetch_ahead
from fastxent.kernels.vector.memory import load, load_short, load_whole, put
from fastxent.kernels.vector.simd import (
    any_lane,
    as_bits,
    as_float,
    as_float32,
    as_ones,
    fma,
    maximum,
    narrow,
    shift_left,
    widen,
)

__all__ = ["CHUNK", "ROOM", "Plain", "plain"]

#: Events that are taken at a time: their numbers between two loops stay in the first-level cache.
CHUNK = 256
# Places in scratch of r, of offsets into the table and of the straight part of the loss, and how many there are.
REMAINDERS, OFFSETS, COSTS, ROOM = ((CHUNK + 8) * k for k in range(4))


class Plain(NamedTuple):
    """Kernels for events of given kinds; ``scratch`` has ROOM float64 numbers, counts are multiples of 8.

    ``split(score, target, count, scratch)`` leaves what the others take, and says whether all events are plain.
    ``lose(scratch, count, table, losses)`` writes their losses to an address. ``near(scratch, k, table)`` and
    ``chances(scratch, k, table)`` are those of `softplus` for the eight events from k on, plain or not.
    """

    split: Any
    lose: Any
    near: Any
    chances: Any


@cache
def plain(kind: str, target_kind: str) -> Plain:
    """Losses of plain events with logits and targets of these kinds."""
    parts = softplus(kind, 8)
    held = held_as(kind)
    size, target_size, width = SIZE[kind], SIZE[target_kind], SIZE[held]
    hard = are_hard(target_kind)
    short = hard and target_size < 8
    same_width = width == (SIZE[held_as(target_kind)] if not hard else 4 if short else 8)
    name = f"{kind}-{target_kind}"

    @kernel(variant=target_kind, inline="always")
    def take(address):
        if short:
            return load_short(address, target_kind, 8)
        if hard:
            return load_whole(address, target_kind, 8)
        return load(address, target_kind, 8)

    @kernel(variant=f"{held}-{target_kind}", inline="always")
    def fitted(y, z):
        """Targets 0 and 1 in as many bits as z."""
        if same_width:
            return y
        if width == 8:
            return widen(y)
        return narrow(y, as_bits(z)) if hard else as_float32(y)

    @kernel(variant=f"{held}-{target_kind}", inline="always")
    def oddness(z, y):
        """0 in the lanes of plain events, as integers of the width of z."""
        if hard and same_width:
            return fitted(y, z) & -2 | as_bits(fma(z, 0.0, 0.0))
        if hard:
            return as_ones((y != 0) & (y != 1), z) | as_bits(fma(z, 0.0, 0.0))
        if same_width:
            # y y - y, which one rounding does not make 0, and z 0, which is NaN for what is not finite.
            return as_bits(fma(z, 0.0, fma(y, y, y * -1.0)))
        return as_ones((y != 0.0) & (y != 1.0), z) | as_bits(fma(z, 0.0, 0.0))

    @kernel(variant=f"{held}-{target_kind}", inline="always")
    def cost(z, y):
        """max(a, 0), a = z for y = 0 and -z for y = 1, if z is finite."""
        y = fitted(y, z)
        if hard:
            return maximum(0.0, as_float(as_bits(z) ^ shift_left(y, 63 if width == 8 else 31)))
        return fma(y * -1.0, z, maximum(0.0, z))

    @kernel(variant=name)
    def split(score, target, count, scratch):
        fetch_ahead(score, count * size)
        fetch_ahead(target, count * target_size)
        odd = as_bits(load(score, kind, 8))
        odd = odd ^ odd
        for k in range(0, count, 8):
            z = load(score + k * size, kind, 8)
            y = take(target + k * target_size)
            r, offset = parts.split(z)
            put(scratch + REMAINDERS * 8 + k * width, r)
            put(scratch + OFFSETS * 8 + k * width, offset)
            put(scratch + COSTS * 8 + k * width, cost(z, y))
            odd = odd | oddness(z, y)
        return not any_lane(odd != 0)

    @kernel(variant=held, inline="always")
    def near(scratch, k, table):
        return parts.near(scratch + REMAINDERS * 8 + k * width, scratch + OFFSETS * 8 + k * width, table)

    @kernel(variant=held, inline="always")
    def chances(scratch, k, table):
        return parts.chances(scratch + REMAINDERS * 8 + k * width, scratch + OFFSETS * 8 + k * width, table)

    @kernel(variant=held)
    def lose(scratch, count, table, losses):
        for k in range(0, count, 8):
            straight = widen(load(scratch + COSTS * 8 + k * width, held, 8))
            put(losses + k * 8, straight + near(scratch, k, table))

    return Plain(split, lose, near, chances)
