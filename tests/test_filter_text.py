"""Filters that are long, deep, or of numbers at the edge: right, or refused at once."""

from __future__ import annotations

import time
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

import fastxent as fx

TABLE = pa.table({
    "p": [0.1, 0.2, -0.3, 1.0], "y": pa.array([0, 1, 0, 1], pa.int8()), "i": [1, 2, 3, 4],
    "u": pa.array([0, 1, 2**64 - 1, 2**63], pa.uint64()), "b": pa.array([1, 255, 3, 4], pa.uint8()),
    "f": [1.0, 2.5, float("nan"), 4.0], "d": pa.array(map(Decimal, (1, 2, 3, 4)), pa.decimal128(10, 2)),
})  # fmt: skip


def rows(filter):
    return fx.evaluate(TABLE, "y", logits="p", task="binary", filter=filter).rows["read"]


@pytest.mark.parametrize(
    ("filter", "count"),
    [
        ("u > -1", 4), ("u > 1", 2), (f"u == {2**64 - 1}", 1), (f"u >= {2**64}", 0), (f"u in (1, {2**63}, -1)", 2),
        ("u in (1, 2.5)", 1), (f"i > {10**20}", 0), (f"i < {10**20}", 4), ("i in (1, 2.0, 7.5)", 2), ("b > -1", 4),
        ("b < 300", 4), ("b > 2.5", 3), ("b in (255, 256, -1)", 1), ("f in (1, 2.5)", 2), ("d > 1", 3),
        ("d in (1, 2.5)", 1), ("d == 1.00", 1), ("i == 1e-99999", 0),
        (" or ".join(["i == 1", "i == 4"] * 400), 2), (" and ".join(["i >= 2"] * 900), 3),
        ("(" * 90 + "i == 1" + ")" * 90, 1), (" " * 100_000 + "i == 1", 1),
        (f"i in ({', '.join(map(str, range(2, 20_000)))})", 3),
    ],
)  # fmt: skip
def test_filters_mean_what_they_say(filter, count):
    assert rows(filter) == count


@pytest.mark.parametrize(
    "filter",
    [
        "f > 1e999", "f > " + "9" * 50_000, "9" * 50_000 + "a == i", "i == " + "+" * 10_000, "." * 50_000,
        "i == 1" + " and i == 1" * 20_000, "1e" + "9" * 50_000 + " < i", "`" * 50_001, "i == '" + "a" * 50_000,
        "i == '\ud800'", "(" * 50_000, "not " * 50_000 + "i == 1", "u == i",
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_at_once(filter):
    fx.evaluate(TABLE, "y", logits="p", task="binary")  # compiled
    began = time.process_time()
    with pytest.raises((fx.UsageError, fx.SourceError)) as caught:
        rows(filter)
    assert time.process_time() - began < 2
    assert len(str(caught.value)) < 2000


def test_random_text_is_a_filter_or_is_refused():
    rng = np.random.default_rng(0)
    words = ["i", "u", "f", "d", "b", "==", "<", "(", ")", "and", "or", "not", "in", ",", "1", "-1", "2.5", "'a'", "is",
             "null", "`i`", "true", "1e400", "\0", "é", "9" * 30]  # fmt: skip
    for _ in range(1500):
        text = " ".join(rng.choice(words, rng.integers(1, 9)))
        try:
            assert 0 <= rows(text) <= 4
        except (fx.UsageError, fx.SourceError):
            pass
