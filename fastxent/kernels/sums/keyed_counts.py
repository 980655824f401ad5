"""Rows of integers -> sums by key, in a hash table, or by place, in a dense one."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.functions.hashing import mix
from fastxent.kernels.sums import tally
from fastxent.kernels.vector.simd import as_bits

__all__ = ["FREE", "add_by_key", "add_by_place", "loss_places"]

#: The key of a place of the table that is not taken; keys are not negative.
FREE = -1


@kernel()
def add_by_key(keys: Any, cells: Any, bits: Any, table: Any) -> int:
    """Add each row of ``cells`` to that of its key, negative keys left out; returns how many keys were new.

    The table has a power of two of rows, some of them free: a key and its cells, side by side, since a place of a large
    table is nowhere near the processor. A key lies at its hash (SplitMix64) or behind it.
    A column whose ``bits`` are not 0 is the low word of a number of which the column before it is the higher one: it is
    carried into that one, to 0 <= low < 2^bits.
    """
    mask = np.uint64(table.shape[0] - 1)
    width = cells.shape[1]
    new = 0
    for i in range(keys.size):
        key = keys[i]
        if key < 0:
            continue
        at = mix(np.uint64(key)) & mask
        while table[at, 0] != key and table[at, 0] != FREE:
            at = (at + np.uint64(1)) & mask
        if table[at, 0] == FREE:
            table[at, 0] = key
            new += 1
        carry = np.int64(0)
        for j in range(width - 1, -1, -1):
            total = table[at, j + 1] + cells[i, j] + carry
            carry = np.int64(0)
            if bits[j] > 0:
                carry = total >> bits[j]
                total -= carry << bits[j]
            table[at, j + 1] = total
    return new


@kernel()
def add_by_place(owners: Any, places: Any, cells: Any, bits: Any, count: int, table: Any) -> None:
    """Add each row of ``cells`` to row ``owner * count + place`` of the table; negative places are left out.

    Low words as in `add_by_key`.
    """
    width = cells.shape[1]
    for i in range(places.size):
        if places[i] < 0:
            continue
        at = np.int64(owners[i]) * count + places[i]
        carry = np.int64(0)
        for j in range(width - 1, -1, -1):
            total = table[at, j] + cells[i, j] + carry
            carry = np.int64(0)
            if bits[j] > 0:
                carry = total >> bits[j]
                total -= carry << bits[j]
            table[at, j] = total


@kernel()
def loss_places(card: Any, n: int, places: Any) -> None:
    """The cell of the loss histogram (`fastxent.kernels.sums.tally`) of every row; -1 for one that was not scored."""
    for i in range(n):
        bits = as_bits(card.real[sc.LOSS, i])
        cell = min(max((bits >> tally.SHIFT) - (tally.LOWEST - 1), 0), tally.BINS + 1) + (bits >= (0x7FF << 52))
        places[i] = cell if card.status[i] == sc.SCORED else -1
