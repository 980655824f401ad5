"""Records of scored rows -> exact sums of their groups, and the places and sums of what groups keep in hash tables.

The sum of a group has `WINDOW` limbs of an exact sum (`fastxent.base.exact`), from `LOW` on: numbers with bits between
2^-244 and 2^68 go there, any other as limbs by key into a table beside it, so that nothing is lost.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastxent.base.exact import LIMB_BITS, N_NAN, N_NEGINF, N_POSINF, SIZE, UNIT_EXPONENT
from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.sums import tally
from fastxent.kernels.sums.records import (
    BAND_BITS,
    LIMIT,
    QUANTUM,
    add_confidence,
    add_fixed,
    band_of,
    significand,
    times_power,
)
from fastxent.kernels.sums.tally import base_of, calibration_cell
from fastxent.kernels.vector.simd import as_bits

__all__ = [
    "CONFIDENCE_BITS", "LOW", "RANKS", "WINDOW", "add_exact", "calibration_places",
    "cells_of_pairs", "extremes", "split_beyond",
]  # fmt: skip

#: Ranks of the target that clusters, and groups which share cells, tell apart.
RANKS = 10
#: The limbs of a group's sum.
LOW, WINDOW = 17, 7
#: Additions of numbers below 2^52 to a limb before it is carried.
_LATE = 512
_HIDDEN = 1 << 52
_LEAST = LOW * LIMB_BITS + 1075 + UNIT_EXPONENT
_MOST = (LOW + WINDOW - 1) * LIMB_BITS + 1075 + UNIT_EXPONENT - 53
#: Low words of sums of confidences without weights: they are whole multiples of 2^-64, cut in the middle.
CONFIDENCE_BITS = 32
_HALF = 2.0**32
# As in `fastxent.kernels.sums.tally`.
_EARLY = 2.0**22
_MIDDLE = 2.0**tally.MIDDLE_BITS
_LOSS = 2.0 ** (tally.MIDDLE_BITS + tally.LOW_BITS)
_CONF = 2.0**tally.CONF_BITS
_OFFSET = 2.0**tally.OFFSET_BITS


@kernel()
def _carry(cells: Any, g: int, sums: int) -> None:
    for s in range(sums):
        first = 1 + s * WINDOW
        for k in range(first, first + WINDOW - 1):
            carry = cells[g, k] >> LIMB_BITS
            cells[g, k] -= carry << LIMB_BITS
            cells[g, k + 1] += carry


@kernel()
def add_exact(values: Any, into: Any, codes: Any, status: Any, scales: Any, cells: Any, beyond: Any) -> int:
    """Add ``values[v, i]`` to sum ``into[v]`` of the group of row i, and count the row if it weighs something.

    ``beyond`` is set for numbers that are left for `split_beyond`, as are all of rows whose scale is not 0; returns how
    many.
    """
    sums = (cells.shape[1] - 1) // WINDOW
    left = 0
    for i in range(codes.size):
        counts = status[i] == sc.SCORED
        if not counts and status[i] != sc.ZERO_WEIGHT:
            continue
        g = codes[i]
        cells[g, 0] += counts
        added = False
        for v in range(values.shape[0]):
            x = values[v, i]
            magnitude = as_bits(x) & 0x7FFFFFFFFFFFFFFF
            exponent = magnitude >> 52
            if exponent < _LEAST or exponent > _MOST or scales[i] != 0:
                if magnitude != 0:
                    beyond[v, i] = True
                    left += 1
                continue
            place = exponent - _LEAST
            limb = np.int64(np.uint64(place) // np.uint64(LIMB_BITS))
            shift = place - limb * LIMB_BITS
            mantissa = magnitude & (_HIDDEN - 1) | _HIDDEN
            low = (mantissa & ((1 << (LIMB_BITS - shift)) - 1)) << shift
            high = mantissa >> (LIMB_BITS - shift)
            at = 1 + into[v] * WINDOW + limb
            cells[g, at] += low if x > 0.0 else -low
            cells[g, at + 1] += high if x > 0.0 else -high
            added = True
        # No sum is deposited into more than twice a row; a row that is not counted has the limbs carried at once.
        if cells[g, 0] % (_LATE // 2) == 0 if counts else added:
            _carry(cells, g, sums)
    return left


@kernel()
def extremes(card: Any, codes: Any, found: Any) -> None:
    """Bring in the bits of the losses of the scored rows: column 0 has the least of every group, 1 the largest."""
    for i in range(codes.size):
        if card.status[i] == sc.SCORED:
            bits = as_bits(card.real[sc.LOSS, i])
            found[codes[i], 0] = min(found[codes[i], 0], bits)
            found[codes[i], 1] = max(found[codes[i], 1], bits)


@kernel()
def split_beyond(values: Any, sums: Any, places: Any, cells: Any) -> None:
    """Numbers that `add_exact` left -> two limbs each at ``sum * SIZE + limb``, or a counter and place -1.

    Column 1 of the cells is set.
    """
    for i in range(values.size):
        x = values[i]
        magnitude = as_bits(x) & 0x7FFFFFFFFFFFFFFF
        exponent = magnitude >> 52
        mantissa = magnitude & (_HIDDEN - 1)
        place_of_sum = sums[i] * SIZE
        places[2 * i + 1] = -1
        if exponent == 0x7FF:
            places[2 * i] = place_of_sum + (N_NAN if mantissa != 0 else N_POSINF if x > 0.0 else N_NEGINF)
            cells[2 * i, 1] = 1
            continue
        if exponent == 0:
            exponent = 1
        else:
            mantissa |= _HIDDEN
        place = exponent - 1075 - UNIT_EXPONENT
        limb = np.int64(np.uint64(place) // np.uint64(LIMB_BITS))
        shift = place - limb * LIMB_BITS
        sign = 1 if x > 0.0 else -1
        places[2 * i] = place_of_sum + limb
        cells[2 * i, 1] = sign * ((mantissa & ((1 << (LIMB_BITS - shift)) - 1)) << shift)
        places[2 * i + 1] = place_of_sum + limb + 1
        cells[2 * i + 1, 1] = sign * (mantissa >> (LIMB_BITS - shift))


@kernel()
def calibration_places(card: Any, n: int, weighted: bool, positive: bool, places: Any, cells: Any) -> None:
    """The calibration cell of every row; its count, hits, and the pair of its confidence.

    With weights there are pairs of w and of w for hits, and three columns of w times the confidence, instead of the
    last; the place has the band (see `fastxent.kernels.sums.records`).
    """
    for i in range(n):
        places[i] = -1
        if card.status[i] != sc.SCORED:
            continue
        if positive:
            c = card.real[sc.P_ONE, i]
            hit = np.int64(card.whole[sc.TARGET, i] == 1)
        else:
            c = card.real[sc.CONFIDENCE, i]
            hit = np.int64(card.whole[sc.RANK, i] == 0)
        cell = calibration_cell(c)
        places[i] = cell
        cells[i, 0] = 1
        cells[i, 1] = hit
        if weighted:
            w = card.real[sc.WEIGHT, i]
            band, shift = band_of(w, card.whole[sc.SCALE, i])
            m = significand(w)
            places[i] = cell << BAND_BITS | band
            add_fixed(cells, i, 2, 2, m, QUANTUM, shift)
            if hit:
                add_fixed(cells, i, 4, 2, m, QUANTUM, shift)
            add_confidence(cells, i, 6, m, c, cell, shift)
            continue
        base = base_of(cell)
        offset = np.int64((c - base) * _OFFSET)
        high = np.floor(base * _HALF)
        cells[i, 2] = np.int64(high) + (offset >> 22)
        cells[i, 3] = np.int64((base * _HALF - high) * _HALF) + ((offset & ((1 << 22) - 1)) << 10)


@kernel()
def cells_of_pairs(card: Any, n: int, weighted: bool, classes: int, places: Any, cells: Any) -> None:
    """Of every row 2 (target * classes + predicted), and its sums: the count, and pairs of loss and confidence.

    With weights there are a pair of w, three columns of w times the loss, a pair of w times the confidence, and the
    place has the band. Added to the place (before that) is 1 where the loss is too large to be summed by class.
    """
    for i in range(n):
        places[i] = -1
        if card.status[i] != sc.SCORED:
            continue
        place = 2 * (np.int64(card.whole[sc.TARGET, i]) * classes + np.int64(card.whole[sc.PREDICTED, i]))
        cells[i, 0] = 1
        if weighted:
            w = card.real[sc.WEIGHT, i]
            band, shift = band_of(w, card.whole[sc.SCALE, i])
            m = significand(w)
            weighted_loss = times_power(card.real[sc.SCRATCH, i], w)
            large = not weighted_loss < LIMIT * m
            places[i] = (place + large) << BAND_BITS | band
            add_fixed(cells, i, 1, 2, m, QUANTUM, shift)
            if not large:
                add_fixed(cells, i, 3, 3, weighted_loss, 62, shift)
            c = np.floor(card.real[sc.CONFIDENCE, i] * _CONF) * (1.0 / _CONF)
            add_fixed(cells, i, 6, 2, m * c, QUANTUM, shift)
            continue
        loss = card.real[sc.LOSS, i]
        places[i] = place + (not loss < LIMIT)
        cells[i, 3] = 0
        cells[i, 4] = np.int64(card.real[sc.CONFIDENCE, i] * _CONF)
        if loss < _EARLY:
            middle = np.int64(loss * _MIDDLE)
            cells[i, 1] = middle
            cells[i, 2] = np.int64((loss - middle * (1.0 / _MIDDLE)) * _LOSS)
        elif loss < LIMIT:
            whole = np.int64(loss)
            cells[i, 1] = whole << tally.MIDDLE_BITS
            cells[i, 2] = np.int64((loss - whole) * (1 << tally.LOW_BITS)) << tally.MIDDLE_BITS
