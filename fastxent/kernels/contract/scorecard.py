"""What row kernels write: a scorecard of one block of rows, and the shape of that block.

``real`` holds float64 rows, ``whole`` int32 rows, ``status`` one byte a row; column i is row i of
the block. Kernels that fold scores into totals read the same places, so neither side knows the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastxent.base.status import Status

__all__ = ["BLOCK", "Scorecard", "new_scorecard"]

#: Rows of a block: all of a scorecard's rows of that length stay in the first- and second-level caches.
BLOCK = 1024

# rows of ``real``
LOSS, WEIGHT, P_TARGET, CONFIDENCE, BRIER, ENTROPY, SCRATCH, MARGIN, P_ONE = range(9)  # P_ONE, of class 1: binary only
# rows of ``whole``
TARGET, PREDICTED, RANK, CELL, SCALE = range(5)  # CELL is scratch of the tallies

#: A row's weight is WEIGHT times 2^(512 SCALE), with 2^-256 <= WEIGHT < 2^256; SCRATCH, the weighted loss, likewise.
SCALE_BITS = 512
#: The largest size of SCALE.
MOST_SCALE = 2

# Status codes as plain integers, which compiled code takes for constants.
(
    SCORED,
    IGNORED,
    ZERO_WEIGHT,
    NULL_PREDICTION,
    NULL_TARGET,
    RAGGED_ROW,
    UNKNOWN_LABEL,
    LABEL_OUT_OF_RANGE,
    NAN_PREDICTION,
    INFINITE_LOGIT,
    ALL_MASKED,
    PROBABILITY_OUT_OF_RANGE,
    INVALID_TARGET,
    INVALID_WEIGHT,
    ZERO_MASS,
) = map(int, Status)


class Scorecard(NamedTuple):
    """The scores of up to `BLOCK` rows (more for a record of several blocks)."""

    real: NDArray[np.float64]
    whole: NDArray[np.int32]
    status: NDArray[np.uint8]


def new_scorecard(rows: int = BLOCK) -> Scorecard:
    """An empty scorecard: its rows start cache lines, and are not a multiple of 4096 bytes apart."""
    width = (rows + 7) // 8 * 8 + 40
    room = np.zeros((P_ONE + 1) * width + 7)
    first = -room.ctypes.data % 64 // 8
    real = room[first : first + (P_ONE + 1) * width].reshape(P_ONE + 1, width)
    return Scorecard(real, np.zeros((5, width), np.int32), np.zeros(rows, np.uint8))
