"""Literals of filters mean what the column's type makes of them, in every kind of test; null is never true."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx

COLUMNS = {
    "h": pa.array(np.array([0.1, 0.2, 0.0, 0.3], np.float16), mask=np.array([0, 0, 1, 0], bool)),
    "f": pa.array([0.1, 0.2, None, 0.3], pa.float32()),
    "d": pa.array([0.1, 0.2, None, 0.3], pa.float64()),
    "m": pa.array([Decimal("0.10"), Decimal("0.20"), None, Decimal("0.30")], pa.decimal128(10, 2)),
    "u": pa.array([1, 2**63, None, 2**64 - 1], pa.uint64()),
    "i": pa.array([1, 2**53 + 1, None, -5], pa.int64()),
}
TABLE = pa.table(COLUMNS | {"z": [[1.5, 0.0]] * 4, "y": [0, 1, 0, 1], "row": [0, 1, 2, 3]})
FRACTIONS = {
    "{} == 0.1": [0], "0.1 == {}": [0], "{} in (0.1, 0.3)": [0, 3], "{} not in (0.1)": [1, 3], "{} != 0.1": [1, 3],
    "{} > 0.1": [1, 3], "{} >= 0.1": [0, 1, 3], "{} < 0.2": [0], "{} <= 0.2": [0, 1],
    "not ({} in (0.1) or {} == 0.2)": [3],
}  # fmt: skip
WHOLE = {
    "u == 18446744073709551615": [3], "u in (9223372036854775808)": [1], "u > 9223372036854775807": [1, 3],
    "u > -1": [0, 1, 3], "u == 1.5": [], "u > 1.5": [1, 3], "u not in (1)": [1, 3], "u not in (-1)": [0, 1, 3],
    "u < 99999999999999999999999": [0, 1, 3], "i == 9007199254740992.0": [], "i == 9007199254740993": [1],
    "i >= 1.5": [1], "i == 1.0": [0], "i in (1.0)": [0], "m == 0.105": [], "m > 0.105": [1, 3],
}  # fmt: skip
TESTS = {text.format(*[c] * 2): rows for c in "hfdm" for text, rows in FRACTIONS.items()} | WHOLE


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("filters") / "a.parquet"
    pq.write_table(TABLE, path, row_group_size=2)
    return path


@pytest.mark.parametrize("text", TESTS)
def test_rows(text, path):
    if not TESTS[text]:
        for data in (TABLE, path):
            assert fx.evaluate(data, "y", logits="z", filter=text).num_rows == 0
        return
    for data in (TABLE, path):
        ev = fx.evaluate(data, "y", logits="z", filter=text, keep="row", worst=9)
        assert (
            sorted(ev.worst["row_"].to_pylist() if "row_" in ev.worst.column_names else ev.worst["row"].to_pylist())
            == TESTS[text]
        )
