"""Sizes in bytes, as the shell and Python take them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastxent as fx
from fastxent.base.byte_size import byte_size
from tests.test_states import run


@pytest.mark.parametrize(
    ("value", "size"),
    [("1M", 1 << 20), ("512 MiB", 512 << 20), ("1.5g", 3 << 29), ("2TB", 2 << 40), (f"{1 << 20}", 1 << 20),
     ("2097152B", 2 << 20), (1, 1), (np.int64(7), 7)],
)  # fmt: skip
def test_sizes(value: Any, size: int) -> None:
    assert byte_size(value) == size


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "'' is no size; write 512M or 4G"),
        ("64Q", "'64Q' is no size"),
        ("-1G", "'-1G' is no size"),
        ("512", "'512' is below 1M; write the unit"),
        (0, "at least one byte, got 0"),
        (True, "at least one byte, got True"),
        (1.5, "expected bytes or text such as '512M', got 1.5"),
        ([1], "expected bytes or text"),
    ],
)
def test_what_is_no_size(value: Any, message: str) -> None:
    with pytest.raises(fx.UsageError, match=f"memory: .*{message}"):
        byte_size(value)


def test_python_and_the_shell_take_the_same_text() -> None:
    z = np.zeros((3, 2))
    assert fx.evaluate(None, [0, 1, 0], logits=z, memory="64M").num_rows == 3
    with pytest.raises(fx.UsageError, match="memory: '64' is below 1M"):
        fx.evaluate(None, [0, 1, 0], logits=z, memory="64")
    code, _, error = run("evaluate", "data/digits.parquet", "--logits", "logits", "--memory", "64")
    assert (code, "'64' is below 1M; write the unit" in error) == (2, True)
