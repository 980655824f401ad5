"""What goes wrong beside the bytes of a file is not called damage, and no row is left out for it."""

from __future__ import annotations

import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from test_sources_remote import Z, calm, one_try, server, uri  # noqa: F401 -- fixtures

import fastxent as fx
from fastxent.sources.dataset.dataset import Dataset
from fastxent.sources.dataset.files import DataFile
from fastxent.sources.open import Selection, open_source
from fastxent.sources.parquet.source import ParquetSource
from tests.shell import python


def write(path, rows=20_000):
    rng = np.random.default_rng(0)
    table = pa.table({f"p{j}": rng.normal(size=rows) for j in range(3)} | {"y": rng.integers(0, 3, rows)})
    pq.write_table(table, path, row_group_size=rows // 4)


class Alarm:
    """A signal handler that is an object, a bound method or a function, and raises an error as readers do."""

    def __init__(self, error):
        self.error = error

    def __call__(self, *_):
        raise self.error

    def method(self, *_):
        raise self.error


def _evaluate_under_alarms(folder):
    """Evaluate with an alarm while row groups are read: before that, `os.path.isdir` would swallow an OSError."""
    for seconds in np.linspace(0.001, 0.01, 60):
        progress = lambda *_, seconds=seconds: signal.setitimer(signal.ITIMER_REAL, seconds)  # noqa: E731
        assert not fx.evaluate(folder, "y", logits="p*", threads=1, on_error="skip", progress=progress).left_out
        signal.setitimer(signal.ITIMER_REAL, 0)


@pytest.mark.parametrize("error", [TimeoutError("late"), OSError("late"), ValueError("late"), RuntimeError("late")])
@pytest.mark.parametrize("kind", ["object", "method"])
def test_an_error_of_a_signal_handler_is_the_callers(tmp_path, error, kind):
    write(tmp_path / "a.parquet", 200_000)
    alarm = Alarm(error)
    old = signal.signal(signal.SIGALRM, alarm if kind == "object" else alarm.method)
    try:
        fx.evaluate(tmp_path, "y", logits="p*", threads=1, on_error="skip")  # compiled before the alarm
        with pytest.raises(type(error), match=r"^late$"):
            _evaluate_under_alarms(tmp_path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


@pytest.mark.parametrize("on_error", ["raise", "skip"])
def test_too_little_memory_is_no_damage(tmp_path, on_error):
    rows = 1 << 22
    zeros = pa.array(np.zeros(rows, np.float32))
    table = pa.table({"p": zeros, "y": pa.array(np.zeros(rows, np.int8))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=rows, data_page_size=1 << 30, use_dictionary=False,
                   max_rows_per_page=rows, compression="zstd")  # fmt: skip
    small = tmp_path / "small"
    small.mkdir()
    pq.write_table(table.slice(0, 1000), small / "a.parquet", use_dictionary=False, compression="zstd")
    said = python(
        f"""
import resource
import numpy as np
import fastxent as fx
fx.binary_cross_entropy(np.zeros(4, np.int8), logits=np.zeros(4, np.float32))
from fastxent.sources.open import Selection, open_source
fx.evaluate({str(small)!r}, "y", probs="p", task="binary")  # what reads pages is compiled before memory is short
source = open_source({str(tmp_path / "a.parquet")!r}, Selection(("p",), "y", task="binary"), on_error={on_error!r})
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (12 << 20),) * 2)
try:
    for split in source.splits():
        for batch in source.read(split):
            pass
except fx.OutOfMemoryError as error:
    print(isinstance(error, MemoryError), source.left_out, error)
""",
        ARROW_DEFAULT_MEMORY_POOL="system",
    )
    assert said.startswith("True () ")
    assert "a.parquet, row group 0: not enough memory: " in said
    assert "--memory" in said


def test_what_an_object_store_refuses_is_not_left_out(server):  # noqa: F811
    server[1].reset("part-0", 10_000, "403")
    with pytest.raises(fx.UnavailableError, match=r"part-0.parquet.*cannot be read.*ACCESS_DENIED"):
        open_source(uri(server, "run"), Z, on_error="skip")
    server[1].reset("part-0", 10_000, "500")
    with pytest.raises(fx.UnavailableError, match="cannot be reached"):
        ParquetSource(Dataset([one_try(server)]), Z, on_error="skip")


class _Broken(fs.FSSpecHandler if hasattr(fs, "FSSpecHandler") else object):
    """A file system in Python whose client raises errors of its own."""

    error: Exception = PermissionError("no entry")

    def open_input_file(self, path):
        raise self.error


@pytest.mark.parametrize("error", [PermissionError("no entry"), RuntimeError("no entry"), LookupError("no entry")])
def test_what_a_file_system_in_python_refuses_is_not_left_out(tmp_path, error):
    write(tmp_path / "a.parquet")
    fsspec = pytest.importorskip("fsspec")
    handler = _Broken(fsspec.filesystem("file"))
    handler.error = error
    file = DataFile("py://a.parquet", str(tmp_path / "a.parquet"), fs.PyFileSystem(handler))
    with pytest.raises(fx.UnavailableError, match=r"py://a.parquet: cannot be re.*no entry"):
        ParquetSource(Dataset([file]), Z, on_error="skip")


def test_a_file_that_changes_is_not_left_out(tmp_path):
    write(tmp_path / "a.parquet")
    source = open_source(tmp_path, Selection(("p*",), "y"), on_error="skip")
    write(tmp_path / "a.parquet", 400)
    with pytest.raises(fx.UnavailableError, match="changed since"):
        _ = [list(source.read(split)) for split in source.splits()]
    assert not source.left_out


def test_a_file_without_permission_is_not_left_out(tmp_path, monkeypatch):
    for name in "ab":
        write(tmp_path / f"{name}.parquet")
    whole = DataFile.open

    def refused(self):
        if self.name.endswith("b.parquet"):
            return pa.OSFile("/proc/self/nothing/at/all")
        return whole(self)

    monkeypatch.setattr(DataFile, "open", refused)
    with pytest.raises(fx.UnavailableError, match=r"b\.parquet: cannot be read"):
        fx.evaluate(tmp_path, "y", logits="p*", on_error="skip")
