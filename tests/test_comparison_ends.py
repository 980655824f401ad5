"""How a comparison ends: little memory, signals, exit codes, and what is left in TMPDIR."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.shell import fastxent, start

ROWS = 400_000


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("sides"), np.random.default_rng(0)
    ids = rng.permutation(ROWS)
    for name in "ab":
        table = {"id": [f"row-{i:012d}" for i in ids], "p": rng.normal(size=ROWS), "y": (ids % 2).astype(np.int8)}
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    return [folder / "a.parquet", folder / "b.parquet"]


def arguments(sides, *more):
    return ["compare", *map(str, sides), "--on", "id", "--logits", "p", "--target", "y", "--task", "binary", *more]


def test_the_least_memory_is_enough_for_a_join(sides):
    for threads in ("1", "8"):
        done = fastxent(*arguments(sides, "--memory", "64M", "--threads", threads))
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_comparison_with_130_and_leaves_nothing(sides, tmp_path, number):
    for seconds in (1.2, 2.4):
        process = start(["-m", "fastxent", *arguments(sides, "--permutations", "100000")], TMPDIR=str(tmp_path))
        time.sleep(seconds)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130, said
        assert "Traceback" not in said
        assert not list(tmp_path.iterdir())


def test_what_a_killed_comparison_leaves_is_removed_by_the_next(sides, tmp_path):
    process = start(["-m", "fastxent", *arguments(sides, "--permutations", "100000")], TMPDIR=str(tmp_path))
    for _ in range(300):
        if any(tmp_path.iterdir()):
            break
        time.sleep(0.1)
    time.sleep(0.5)
    process.kill()
    process.communicate()
    assert any(tmp_path.iterdir())
    (tmp_path / "fastxent-compare-of-another-kind").mkdir()
    left = set(os.listdir(tmp_path))
    alive = start(["-m", "fastxent", *arguments(sides, "--permutations", "100000")], TMPDIR=str(tmp_path))
    for _ in range(300):
        if set(os.listdir(tmp_path)) - left:
            break
        time.sleep(0.1)
    time.sleep(0.5)
    before = set(os.listdir(tmp_path))
    assert fastxent(*arguments(sides), TMPDIR=str(tmp_path)).returncode == 0
    assert set(os.listdir(tmp_path)) == before
    assert alive.poll() is None
    alive.send_signal(signal.SIGTERM)
    alive.communicate(timeout=60)
    assert os.listdir(tmp_path) == ["fastxent-compare-of-another-kind"]


def test_without_a_gate_no_comparison_ends_with_1(sides, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for more, changes in (
        (["--group-by", "nothing"], {}), (["--permutations", "-1"], {}), (["--no-such"], {}),
        ([], {"TMPDIR": str(tmp_path / "file")}), (["--html", str(tmp_path / "no" / "place")], {}),
    ):  # fmt: skip
        done = fastxent(*arguments(sides, *more), **changes)
        assert done.returncode in (0, 2, 3), done.stderr
        assert "Traceback" not in done.stderr
