"""Every row of the table in `parity`: the same numbers as the peer, or another one for the reason that is given."""

from __future__ import annotations

import warnings

import pytest
from parity import PEERS, ROWS, Row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.peer}: {row.option} | {row.ours}")
def test_row(row: Row) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip(PEERS[row.peer][0])
    off = row.measure()
    if row.reason:
        assert isinstance(off, str) or off > row.tolerance, "the reason for a difference is given, and there is none"
    else:
        assert isinstance(off, float)
        assert off <= row.tolerance
