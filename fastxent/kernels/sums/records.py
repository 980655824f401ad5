"""Records of scored rows -> tables of integer sums: weighted by class and confidence, by score.

These are the statistics that a plain run does not ask for; each is compiled when it is first used.

Weighted numbers are summed as integers whatever the scale of the weights. With w = m 2^e and 1 <= m < 2, a row adds
whole multiples of 2^(e - q) for some quantum q (52, which holds m itself, and more): its own weight says what is
rounded down, so multiplying all weights by a power of two changes nothing. Exponents are cut into `BANDS` bands of
`STEP`, and what rows of one band add is summed in the same unit: columns of 62 bits, the first of which takes what is
over. The band is a part of the place; bands are put together when the sums are read.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.functions.hashing import mix
from fastxent.kernels.sums.tally import CONF_BITS, OFFSET_BITS, base_of, calibration_cell
from fastxent.kernels.vector.simd import as_bits, as_float

__all__ = [
    "BANDS", "BAND_BITS", "CENTRE", "FIXED_BITS", "LIMIT", "QUANTUM", "STEP", "add_confidence", "add_fixed", "band_of",
    "first_band", "hash_bytes", "put_bands", "put_numbers", "score_cell", "score_places", "significand",
    "times_power", "weigh",
]  # fmt: skip

#: Bits of a column that has another one before it.
FIXED_BITS = 62
_MASK = (1 << FIXED_BITS) - 1
#: Losses of this size and more are not summed by class.
LIMIT = 2.0**40
#: The usual quantum: weights as they are.
QUANTUM = 52
#: Exponents of a band: half of a column, so that bands are apart by whole words when they are put together.
STEP = FIXED_BITS // 2
BAND_BITS = 7
BANDS = 1 << BAND_BITS
#: The exponent e + CENTRE is in band (e + CENTRE) // STEP; one band is that of weights from 2^-15 to 2^16.
CENTRE = STEP * BANDS // 2 + STEP // 2
_HIDDEN = 1 << 52
_ONE = 1023 << 52
_CONF = 2.0**CONF_BITS
_OFFSET = 2.0**OFFSET_BITS
_WHOLE = 2.0**QUANTUM
#: Losses below it, at the scale of a weight, are cut in halves.
_SMALL = 2.0**22
#: Less than any base is, where numbers below their base lie near it.
_BELOW = 2.0**-12


@kernel(inline="always")
def significand(w: float) -> float:
    """The number from 1 to 2 that a weight is times a power of two."""
    return as_float(as_bits(w) & (_HIDDEN - 1) | _ONE)


@kernel(inline="always")
def times_power(x: float, w: float) -> float:
    """X over the power of two that is in a weight between 2^-256 and 2^256."""
    return x * as_float((2046 - (as_bits(w) >> 52)) << 52)


@kernel(inline="always")
def band_of(w: float, scale: int) -> Any:
    """The band of a weight, and its exponent within it."""
    exponent = (as_bits(w) >> 52) + (sc.SCALE_BITS * np.int64(scale) + CENTRE - 1023)
    band = np.int64(np.uint64(exponent) // np.uint64(STEP))
    return band, exponent - STEP * band


@kernel(inline="always")
def _add_pair(cells: Any, row: int, column: int, high: int, low: int) -> None:
    low = cells[row, column + 1] + low
    carry = low >> FIXED_BITS
    cells[row, column] += high + carry
    cells[row, column + 1] = low - (carry << FIXED_BITS)


@kernel(inline="always")
def add_fixed(cells: Any, row: int, column: int, columns: int, value: float, quantum: int, shift: int) -> None:
    """Add a number, rounded down to a multiple of 2^-quantum, times 2^(quantum + shift) to 2 or 3 columns."""
    bits = as_bits(value)
    at = (bits >> 52) - 1075 + quantum
    mantissa = bits & (_HIDDEN - 1) | _HIDDEN
    if at < 0:
        mantissa >>= min(-at, 63)
        at = 0
    at += shift
    if columns == 2:
        _add_pair(cells, row, column, mantissa >> (FIXED_BITS - at), (mantissa << at) & _MASK)
    elif at < FIXED_BITS:
        low = cells[row, column + 2] + ((mantissa << at) & _MASK)
        carry = low >> FIXED_BITS
        cells[row, column + 2] = low - (carry << FIXED_BITS)
        _add_pair(cells, row, column, 0, (mantissa >> (FIXED_BITS - at)) + carry)
    else:
        at -= FIXED_BITS
        _add_pair(cells, row, column, mantissa >> (FIXED_BITS - at), (mantissa << at) & _MASK)


@kernel(inline="always")
def _halves(value: float, quantum: int) -> Any:
    """A number below 2^(84 - quantum), rounded down to a multiple of 2^-quantum: high 2^31 + low of these."""
    scaled = value * 2.0 ** (quantum - STEP)
    high = np.int64(scaled)
    return high, np.int64((scaled - high) * 2.0**STEP)


@kernel(inline="always")
def _add_halves(cells: Any, row: int, column: int, high: int, low: int, shift: int) -> None:
    """Add (high 2^31 + low) 2^shift to 3 columns, for high below 2^53 and low below 2^32."""
    last = np.uint64(cells[row, column + 2]) + np.uint64(low << shift) + np.uint64((high << (STEP + shift)) & _MASK)
    cells[row, column + 2] = np.int64(last & np.uint64(_MASK))
    _add_pair(cells, row, column, 0, (high >> (STEP - shift)) + np.int64(last >> np.uint64(FIXED_BITS)))


@kernel(inline="always")
def add_confidence(cells: Any, row: int, column: int, m: float, c: float, cell: int, shift: int) -> None:
    """Add weight times confidence, the latter as it is summed without weights: the base of its cell, and the rest."""
    base = base_of(cell)
    offset = np.int64((c - base) * _OFFSET) * (1.0 / _OFFSET)
    if offset < 0.0:
        base -= _BELOW
        offset += _BELOW
    high, low = _halves(m * base, 64)
    more, rest = _halves(m * offset, 64)
    _add_halves(cells, row, column, high + more, low + rest, shift)


@kernel()
def first_band(card: Any, n: int) -> int:
    """The band of the first row that is scored; -1 if none is."""
    for i in range(n):
        if card.status[i] == sc.SCORED:
            return band_of(card.real[sc.WEIGHT, i], card.whole[sc.SCALE, i])[0]
    return -1


@kernel()
def put_bands(card: Any, n: int, places: Any) -> None:
    """Put the band of every row's weight into its place; places below 0 stay."""
    for i in range(n):
        if places[i] >= 0 and card.status[i] == sc.SCORED:
            band, _ = band_of(card.real[sc.WEIGHT, i], card.whole[sc.SCALE, i])
            places[i] = places[i] << BAND_BITS | band


@kernel()
def put_numbers(card: Any, n: int, values: Any, quantum: int, columns: int, cells: Any, column: int) -> None:
    """Add numbers that are at the scale of the rows' weights, as the weighted loss is, to columns of cells."""
    for i in range(n):
        if card.status[i] == sc.SCORED:
            w = card.real[sc.WEIGHT, i]
            _, shift = band_of(w, card.whole[sc.SCALE, i])
            add_fixed(cells, i, column, columns, times_power(values[i], w), quantum, shift)


@kernel()
def weigh(
    card: Any, n: int, positive: bool, classes: int, band: int, ranks: Any, cells: Any, pairs: Any, left: Any
) -> None:
    """Add the rows of one owner and one band to its tables of ranks, calibration cells and pairs of classes, by place.

    What the statistics place (see there for columns and places) and would add afterwards, in one pass; ``left`` says
    which rows are of another band. A table without rows is not wanted.
    """
    real = card.real
    for i in range(n):
        left[i] = False
        if card.status[i] != sc.SCORED:
            continue
        w = real[sc.WEIGHT, i]
        own, shift = band_of(w, card.whole[sc.SCALE, i])
        if own != band:
            left[i] = True
            continue
        m = significand(w)
        mantissa = as_bits(m) & (_HIDDEN - 1) | _HIDDEN
        high, low = mantissa >> (FIXED_BITS - shift), (mantissa << shift) & _MASK
        rank = np.int64(card.whole[sc.RANK, i])
        target = np.int64(card.whole[sc.TARGET, i])
        if positive:
            c = real[sc.P_ONE, i]
            hit = target == 1
        else:
            c = real[sc.CONFIDENCE, i]
            hit = rank == 0
        place = min(rank, ranks.shape[0] - 1)
        ranks[place, 0] += 1
        _add_pair(ranks, place, 1, high, low)
        cell = calibration_cell(c)
        cells[cell, 0] += 1
        cells[cell, 1] += hit
        _add_pair(cells, cell, 2, high, low)
        if hit:
            _add_pair(cells, cell, 4, high, low)
        add_confidence(cells, cell, 6, m, c, cell, shift)
        if pairs.shape[0] == 0:
            continue
        pair = 2 * (target * classes + np.int64(card.whole[sc.PREDICTED, i]))
        loss = times_power(real[sc.SCRATCH, i], w)
        large = not loss < LIMIT * m
        pair += large
        pairs[pair, 0] += 1
        _add_pair(pairs, pair, 1, high, low)
        if loss < _SMALL:
            up, down = _halves(loss, 62)
            _add_halves(pairs, pair, 3, up, down, shift)
        elif not large:
            add_fixed(pairs, pair, 3, 3, loss, 62, shift)
        share = np.int64(m * (np.floor(real[sc.CONFIDENCE, i] * _CONF) * (1.0 / _CONF)) * _WHOLE)
        _add_pair(pairs, pair, 6, share >> (FIXED_BITS - shift), (share << shift) & _MASK)


@kernel(inline="always")
def score_cell(x: float, fold: bool, bits: int, octaves: int) -> Any:
    """The cell of a score, and 1 if others that share it may differ from it; see `score_places`."""
    half = (octaves << bits) + 2
    top = 1023 + (-1 if fold else 16)
    lowest = (top - octaves) << bits
    if fold:
        above = x > 0.5
        size = 1.0 - x if above else x
    else:
        above = x > 0.0
        size = abs(x)
    pattern = as_bits(size)
    place = (pattern >> (52 - bits)) - lowest + 1
    inexact = np.int64(0)
    if size == 0.0:
        place = 0
    elif place < 1:
        place = 0
        inexact = np.int64(1)
    elif place > half - 2:
        place = half - 1
        inexact = np.int64(size != 0.5 or not fold)
    else:
        inexact = np.int64((pattern & ((1 << (52 - bits)) - 1)) != 0)
    # Of probabilities the small sizes lie outside, of other scores the large ones.
    if fold:
        cell = 2 * half - 1 - place if above else place
    else:
        cell = half + place if above else half - 1 - place
    return cell, inexact


@kernel()
def score_places(score: Any, truth: Any, fold: bool, bits: int, octaves: int, places: Any, shared: Any) -> None:
    """The cell of every score, times 2, plus its truth; -1 where that is neither 0 nor 1.

    Cells run from the lowest to the highest score. A score is placed by its sign and the leading bits of its magnitude,
    or (``fold``, for probabilities) by the leading bits of p or 1 - p, whichever is smaller: both keep the order of the
    scores. Each side has ``octaves`` octaves of 2^bits cells below its largest magnitude 2^top; smaller and larger
    magnitudes share the outer cells. ``shared`` says of every score whether it shares its cell with others that may
    differ.
    """
    for i in range(score.size):
        y = truth[i]
        cell, inexact = score_cell(score[i], fold, bits, octaves)
        places[i] = 2 * cell + y if y <= 1 else -1
        shared[i] = inexact


@kernel()
def hash_bytes(offsets: Any, data: Any, out: Any) -> None:
    """64-bit FNV-1a of byte strings, finished as SplitMix64 does; strings are data[offsets[i] : offsets[i + 1]]."""
    for i in range(out.size):
        h = np.uint64(0xCBF29CE484222325)
        for j in range(offsets[i], offsets[i + 1]):
            h = (h ^ np.uint64(data[j])) * np.uint64(0x100000001B3)
        out[i] = mix(h)
