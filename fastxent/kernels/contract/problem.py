"""What every row kernel is called with: ``rows(p, lo, n, card, work)``.

A row kernel scores rows lo .. lo + n (n <= BLOCK) of the problem ``p`` into columns 0 .. n of the
scorecard. Predictions, targets and masks are addresses, so that one compilation serves every
container, read-only memory maps included; whoever builds a Problem keeps the memory alive. What
decides the machine code (the kinds of numbers, what is asked) is fixed by the factory that makes
the kernel; what does not stands here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent.base.kinds import KINDS
from fastxent.kernels.contract.scorecard import BLOCK
from fastxent.kernels.functions.tables import powers_of_e, softplus_and_slope
from fastxent.kernels.vector.simd import LANES

__all__ = ["PLACES", "SIZE", "TILE", "Problem", "Work", "new_work"]

#: Rows of a tile: kernels that have one row a lane take this many at a time.
TILE = 16
#: Where three sets of LANES vectors of TILE stand in `Work.lanes`, after two vectors, and two of 4 LANES vectors. Not a
#: multiple of 4096 bytes apart: a load would seem to want what was stored to the other set.
PLACES = tuple((2 + (LANES + 5) * k + 3 * LANES * (k == 4)) * TILE for k in range(5))

#: Bytes of one number in memory, for every kind of prediction and target. Bool is read as "uint8".
SIZE = {kind: number.size for kind, number in KINDS.items()} | {
    "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "int64": 8, "uint64": 8,
}  # fmt: skip


class Problem(NamedTuple):
    """Predictions, targets and the options that do not change the machine code.

    ``scores``: address of row 0, ``stride`` bytes from row to row; or, for one array a class, the
    address of a table of C addresses (stride 0). ``target``: address of row 0's label or of its
    dense row, ``target_stride`` bytes from row to row. ``mask``: address of a bool matrix, or 0.
    ``clip`` < 0 means none. ``parameters``: the options of the loss. Empty arrays mean "none" for the weights.
    ``summed``: rows of labels are sums, not means.
    """

    scores: int
    stride: int
    classes: int
    target: int
    target_stride: int
    mask: int
    mask_stride: int
    has_ignore: bool
    ignore: int
    smoothing: float
    clip: float
    normalize: bool
    parameters: NDArray[np.float64]
    class_weight: NDArray[np.float64]
    pos_weight: NDArray[np.float64]
    summed: bool = False


NO_EVENTS = np.zeros((0, 2))
NO_EVENTS.flags.writeable = False


class Work(NamedTuple):
    """Scratch of one thread, for problems of up to C classes.

    ``row``: C float64. ``lanes``: vectors of TILE float64, see `PLACES`. ``labels``: TILE int32. ``table``: addresses
    of the C rows of ``tile``, in which TILE rows stand class by class. ``gathered``: rows of numbers, see `gather`, or
    empty. ``between``: what a kernel of two passes keeps of the rows of a block, two numbers each. ``powers`` and
    ``softplus``: see `tables`.
    """

    row: NDArray[np.float64]
    lanes: NDArray[np.float64]
    labels: NDArray[np.int32]
    table: NDArray[np.int64]
    tile: NDArray[np.float64]
    gathered: NDArray[np.float64]
    between: NDArray[np.float64]
    powers: NDArray[np.float64]
    softplus: NDArray[np.float64]


def new_work(classes: int, size: int, gathered_rows: int = 0, *, events: bool = True) -> Work:
    """Scratch for rows of ``classes`` numbers of ``size`` bytes, and for some that are gathered.

    Without ``events`` the table of `softplus`, which takes 17 ms to make, is empty: rows of classes do not read it.
    """
    tile = _aligned(classes * TILE)
    table = tile.ctypes.data + np.arange(classes, dtype=np.int64) * (TILE * size)
    return Work(
        np.zeros(classes),
        _aligned(PLACES[-1] + 4 * LANES * TILE),
        np.zeros(TILE, np.int32),
        table,
        tile,
        _aligned(-(-gathered_rows * classes * size // 8) + 8 if gathered_rows else 0),
        np.zeros((2, BLOCK)),
        powers_of_e(),
        softplus_and_slope() if events else NO_EVENTS,
    )


def _aligned(size: int) -> NDArray[np.float64]:
    """Zeros that start a cache line, so that no vector straddles two."""
    room = np.zeros(size + 7)
    first = -room.ctypes.data % 64 // 8
    return room[first : first + size]
