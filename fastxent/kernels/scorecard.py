"""What row kernels write: a scorecard of one block of rows, and the shape of that block.

``real`` holds float64 rows, ``whole`` int32 rows, ``status`` one byte a row; column i is row i of
the block. Kernels that fold scores into totals read the same places, so neither side knows the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BLOCK", "Scorecard", "new_scorecard"]

#: Rows of a block: all of a scorecard's rows of that length stay in the first- and second-level caches.
BLOCK = 1024

# rows of ``real``
LOSS, WEIGHT, P_TARGET, CONFIDENCE, BRIER, ENTROPY, SCRATCH, MARGIN = range(8)
# rows of ``whole``
TARGET, PREDICTED, RANK, CELL = range(4)  # CELL is scratch of the tallies

# Status codes as plain integers for kernels; fastxent.status tells what they mean (tests hold the two together).
SCORED = 0
IGNORED = 1
NULL_PREDICTION = 2
NULL_TARGET = 3
RAGGED_ROW = 4
UNKNOWN_LABEL = 5
LABEL_OUT_OF_RANGE = 6
NAN_PREDICTION = 7
INFINITE_LOGIT = 8
ALL_MASKED = 9
PROBABILITY_OUT_OF_RANGE = 10
INVALID_TARGET = 11
INVALID_WEIGHT = 12
ZERO_MASS = 13


class Scorecard(NamedTuple):
    """The scores of up to `BLOCK` rows (more for a record of several blocks)."""

    real: NDArray[np.float64]
    whole: NDArray[np.int32]
    status: NDArray[np.uint8]


def new_scorecard(rows: int = BLOCK) -> Scorecard:
    """An empty scorecard."""
    return Scorecard(np.zeros((8, rows)), np.zeros((4, rows), np.int32), np.zeros(rows, np.uint8))
