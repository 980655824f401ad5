"""Rows one a lane: the labels of a tile of rows, their scores, and all scores laid out class by class."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np

from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract import scorecard as sc
from fastxent.kernels.contract.problem import PLACES, SIZE, TILE
from fastxent.kernels.vector.memory import (
    fetch,
    load_first,
    load_scalar,
    load_whole,
    move,
    prefetch,
    put,
    store,
    store_bytes,
    transpose_8x8,
)
from fastxent.kernels.vector.simd import (
    any_lane,
    as_bits,
    as_float,
    fill,
    lane_max,
    narrow,
    select,
    splat,
    splat_i64,
    widen,
)

__all__ = [
    "BEFORE", "PLACES_OF_POWERS", "REMAINDERS", "SMALL_TERMS", "SQUARES", "TERMS", "Z_T", "TileReader",
    "below", "fetch_ahead", "just_below", "label_tiles", "placer", "read_label", "tile_reader",
]  # fmt: skip

# Places in `Work.lanes`: scores of the targets and the numbers just below, then vectors of up to LANES classes.
Z_T = 0
BEFORE = TILE
TERMS, SMALL_TERMS, SQUARES, REMAINDERS, PLACES_OF_POWERS = PLACES


#: Bytes that are asked for ahead of their use: rows take so long that the processor's own prefetching stops in between.
#: AVX2, two threads, 100 classes: none 12 % slower, 2 KiB 6 % slower than 4, 8 KiB 4 to 6 % faster, 16 KiB as fast.
AHEAD = 8192
LINE = 64


@kernel()
def fetch_ahead(address, size):
    """Ask for the ``size`` bytes that come AHEAD of an address."""
    for line in range(AHEAD, AHEAD + size, LINE):
        prefetch(address + line)


@kernel(inline="always")
def below(z):
    """The next smaller number of the lanes' own type, in every lane."""
    bits = as_bits(select(z == 0.0, fill(-0.0, z), z))
    return as_float(select(bits > 0, bits - 1, bits + 1))


@kernel(inline="always")
def just_below(z, eight):
    """The next smaller number of the type of ``eight`` lanes."""
    return lane_max(below(narrow(splat(z, 8), eight)))


@kernel(inline="always")
def read_label(p, index, kind):
    """The label and its status; an ignored or impossible label comes back as class 0."""
    t = load_scalar(p.target + index * p.target_stride, kind)
    if p.has_ignore and t == p.ignore:
        return np.int64(0), sc.IGNORED
    if t < 0 or t >= p.classes:
        return np.int64(0), sc.LABEL_OUT_OF_RANGE
    return t, sc.SCORED


@cache
def label_tiles(kind: str) -> Any:
    """Compile ``read(p, row, card, i)``: the labels of TILE rows at once, to TARGET and the status of row i and on.

    False, and nothing done, if one of them needs a look: `read_label` takes them one by one.
    """
    size = SIZE[kind]

    @kernel(variant=kind, inline="always")
    def read(p, row, card, i):
        if p.has_ignore or p.target_stride != size:
            return False
        t = load_whole(p.target + row * size, kind, TILE)
        if any_lane((t < 0) | (t >= p.classes)):
            return False
        store(card.whole[sc.TARGET], i, narrow(t, fetch(card.whole[sc.TARGET], i, TILE)))
        store_bytes(card.status, i, splat_i64(sc.SCORED, TILE))
        return True

    return read


@cache
def placer(kind: str, columns: bool) -> Any:
    """Compile ``at(p, row, j)``: the address of a score; ``columns``: in one array a class."""
    size = SIZE[kind]

    @kernel(variant=f"{kind}-{columns}", inline="always")
    def at(p, row, j):
        if columns:
            return load_scalar(p.scores + j * 8, "int64") + row * size
        return p.scores + row * p.stride + j * size

    return at


class TileReader(NamedTuple):
    """Kernels that fill `Work`."""

    targets: Any
    transpose: Any


@cache
def tile_reader(kind: str, label: str, full: bool, columns: bool) -> TileReader:
    """How tiles of scores of a kind are read; ``columns``: from one array a class."""
    size = SIZE[kind]
    read_labels, at = label_tiles(label), placer(kind, columns)

    @kernel(variant=f"{kind}-{label}-{columns}", inline="always")
    def all_at_once(p, row, count, card, work, i):
        """Labels and their scores, if the tile is full, dense and fine throughout."""
        if count < TILE or not read_labels(p, row, card, i):
            return False
        store(work.labels, 0, fetch(card.whole[sc.TARGET], i, TILE))
        scores = work.lanes.ctypes.data + Z_T * 8
        for r in range(TILE):
            t = load_scalar(p.target + (row + r) * p.target_stride, label)
            put(scores + r * 8, load_scalar(at(p, row + r, t), kind))
        return True

    @kernel(variant=f"{kind}-{label}-{columns}", inline="always")
    def one_by_one(p, row, count, card, work, i):
        for r in range(TILE):
            source = row + min(r, count - 1)
            t, fate = read_label(p, source, label)
            work.labels[r] = t
            card.whole[sc.TARGET, i + r] = t
            card.status[i + r] = fate
            work.lanes[Z_T + r] = load_scalar(at(p, source, t), kind)

    @kernel(variant=f"{kind}-{label}-{full}-{columns}", inline="always")
    def targets(p, row, count, card, work, i):
        """Read the labels of ``count`` rows, and the scores of these classes; the last row fills up the tile."""
        if not columns:
            fetch_ahead(p.scores + row * p.stride, TILE * p.stride)
        if not all_at_once(p, row, count, card, work, i):
            one_by_one(p, row, count, card, work, i)
        if full:
            z_t = fetch(work.lanes, Z_T, TILE)
            store(work.lanes, BEFORE, widen(below(narrow(z_t, load_first(work.table.ctypes.data, kind, TILE, 0)))))

    @kernel(variant=f"{kind}-{columns}", inline="always")
    def transpose(p, row, count, tile):
        """Copy ``count`` rows class by class; the last one fills up the tile."""
        if not columns and count == TILE and p.classes >= 8:
            for first in range(0, p.classes, 8):
                # The last eight overlap the ones before.
                j = min(first, p.classes - 8)
                for r in range(0, TILE, 8):
                    transpose_8x8(tile + (j * TILE + r) * size, TILE * size, at(p, row + r, j), p.stride, size)
            return
        for r in range(TILE):
            source = row + min(r, count - 1)
            for j in range(p.classes):
                move(tile + (j * TILE + r) * size, at(p, source, j), size)

    return TileReader(targets, transpose)
