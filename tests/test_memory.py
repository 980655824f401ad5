"""Memory stays bounded however large the data; Ctrl-C and SIGTERM stop a long run at once."""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.shell import fastxent, start

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")

CLASSES = 100
WIDE = 3000

#: Runs the command and tells the largest resident set it had, in KiB. (ru_maxrss knows that of the parent as well.)
MEASURED = """
import re, sys
from fastxent.cli.main import cli
cli(sys.argv[1:], standalone_mode=False)
print(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1], file=sys.stderr)
"""


def peak(*arguments, command="evaluate"):
    process = start(["-c", MEASURED, command, *map(str, arguments)])
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return int(err.split()[-1]) / 1024


def zeros(path, rows, dtype, *shape):
    """A .npy file of zeros that takes no room on the disk."""
    with open(path, "wb") as file:
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
            "fortran_order": False,
            "shape": (rows, *shape),
        }
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + rows * int(np.prod(shape, dtype=int)) * np.dtype(dtype).itemsize)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("large")


def npy(folder, rows):
    z = zeros(folder / f"z{rows}.npy", rows, np.float32, CLASSES)
    y = zeros(folder / f"y{rows}.npy", rows, np.int64)
    return ["--logits", z, "--target", y, "--json", folder / "out.json"]


def one_row_group(folder, rows):
    path = folder / f"{rows}.parquet"
    if not path.exists():
        z = np.tile(np.random.default_rng(0).normal(size=(1000, CLASSES)).astype(np.float32), (rows // 1000, 1))
        table = pa.table({
            "z": pa.FixedSizeListArray.from_arrays(pa.array(z.ravel()), CLASSES),
            "y": np.arange(rows) % CLASSES,
        })  # fmt: skip
        pq.write_table(table, path, row_group_size=rows, use_dictionary=False, compression="none")
    return [path, "--logits", "z", "--target", "y"]


def test_one_huge_row_group(folder):
    """400 MB in one row group take 128 MiB more than 4 MB do, at most."""
    small = peak(*one_row_group(folder, 10_000), "--memory", "64M", "--threads", "2")
    large = peak(*one_row_group(folder, 1_000_000), "--memory", "64M", "--threads", "2")
    assert large < small + 128


@pytest.mark.parametrize("threads", ["1", "2"])
def test_rows_of_one_huge_row_group(folder, threads):
    """Written while they are scored, by threads that share the row group."""
    options = ["--memory", "64M", "--threads", threads, "--overwrite", "-o", folder / "rows.parquet"]
    small = peak(*one_row_group(folder, 10_000), *options, command="score")
    large = peak(*one_row_group(folder, 1_000_000), *options, command="score")
    assert large < small + 128


def test_a_file_of_numpy_far_larger_than_the_budget(folder):
    small = peak(*npy(folder, 10_000), "--memory", "64M", "--threads", "2")
    large = peak(*npy(folder, 5_000_000), "--memory", "64M", "--threads", "2")
    assert large < small + 128


def wide(folder, rows):
    """One column a class, thousands of them, in one row group."""
    path = folder / f"wide{rows}.parquet"
    score = np.random.default_rng(0).normal(size=rows).astype(np.float32)
    table = pa.table({f"p{j}": np.roll(score, j) for j in range(WIDE)} | {"y": np.arange(rows) % WIDE})
    pq.write_table(table, path, row_group_size=rows, use_dictionary=False)
    return [path, "--logits", "p*", "--target", "y"]


@pytest.mark.parametrize("threads", ["1", "2"])
def test_thousands_of_columns_in_one_row_group(folder, threads):
    """240 MB of 3000 columns: the memory given and 64 MiB more than a small file of these columns, at most.

    Columns side by side would hold a page and a piece of the file each, 300 MB in all, however small the batches.
    """
    small = peak(*wide(folder, 200), "--memory", "32M", "--threads", threads)
    large = peak(*wide(folder, 20_000), "--memory", "32M", "--threads", threads)
    assert large < small + 32 + 64


def many_files(folder):
    """The large file forty times."""
    path, *options = one_row_group(folder, 1_000_000)
    many = folder / "many"
    many.mkdir(exist_ok=True)
    for i in range(40):
        if not (many / f"{i}.parquet").exists():
            os.link(path, many / f"{i}.parquet")
    return [many, *options]


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("layout", [npy, one_row_group])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_a_long_run(folder, layout, threads, number):
    arguments = npy(folder, 50_000_000) if layout is npy else many_files(folder)
    fastxent("evaluate", *layout(folder, 10_000))  # compiled by now
    process = start(["-m", "fastxent", "evaluate", *map(str, arguments), "--threads", threads])
    busy = time.monotonic() + 60
    while cpu_seconds(process.pid) < 2.0:  # the imports take less
        assert process.poll() is None
        assert time.monotonic() < busy
        time.sleep(0.02)
    process.send_signal(number)
    sent = time.monotonic()
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - sent < 1.0
    assert (process.returncode, out) == (130, "")
    assert err == "fastxent: interrupted; nothing was written\n"


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
