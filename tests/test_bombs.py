"""Small files that unpack to much: they are read within the bound of memory, or refused before they are unpacked."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from test_sources_remote import calm, server, uri  # noqa: F401 -- fixtures

import fastxent as fx
from tests.remote_server import BUCKET
from tests.shell import python

RUN = """
import resource, sys, fastxent as fx
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
def run(path):
    try:
        print(fx.evaluate(path, "y", memory="48M", threads={threads}, on_invalid="skip", {options}).num_rows)
    except fx.OutOfMemoryError as error:
        print(error)
run({small!r})
before = peak()
run({large!r})
print(peak() - before)
"""
ROWS = 1000


def list_of(*sizes):
    return pa.ListArray.from_arrays(
        pa.array(np.cumsum([0, *sizes]), pa.int32()), pa.array(np.full(sum(sizes), -1, np.float32))
    )


def write(path, kind, large):
    """A file of few bytes; a ``large`` one unpacks to 150 MB and more."""
    n = 5_000_000 if large else ROWS
    if kind.startswith("batch"):
        table = pa.table({"p": np.full(n, -1.0), "q": np.zeros(n), "y": np.zeros(n, np.int64)})
        if kind == "batch":
            pyarrow.feather.write_feather(table, path, compression="zstd", chunksize=n)
        else:
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with pa.ipc.new_stream(path, table.schema, options=options) as out:
                out.write_table(table, max_chunksize=n)
    elif kind.startswith("list"):
        lists = list_of(3, 3, 40_000_000 if large else 4, 3)
        page = 1 << 30 if kind == "list" else 1 << 16
        pq.write_table(pa.table({"p": lists, "y": [0, 1, 0, 2]}), path, compression="zstd", data_page_size=page,
                       use_dictionary=kind == "list of many pages")  # fmt: skip
    else:
        entries = pa.array([f"{i:060d}" for i in range(2_000_000 if large else 10)])
        g = pa.DictionaryArray.from_arrays(pa.array(np.arange(ROWS) % 10, pa.int32()), entries)
        table = pa.table({"p": np.full(ROWS, -1.0), "y": np.zeros(ROWS, np.int64), "g": g})
        if kind == "dictionary":
            pq.write_table(table, path, compression="zstd", dictionary_pagesize_limit=1 << 30)
        else:
            pyarrow.feather.write_feather(table, path, compression="zstd")


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize(
    ("kind", "column", "what"),
    [("batch", "p", "the columns of its record batch"), ("batch of a stream", "p", "the columns of its record batch"),
     ("list", "p", "a row of 40,000,000 values|a page of it"),
     ("list of many pages", "p", "a row of 40,000,000 values"),
     ("dictionary", "g", "a page of it"), ("dictionary in Arrow", "g", "its dictionary")],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_it_is_unpacked(tmp_path, kind, column, what, threads):
    suffix = "parquet" if kind in ("list", "list of many pages", "dictionary") else "arrow"
    small, large = (str(tmp_path / f"{name}.{suffix}") for name in ("small", "large"))
    write(small, kind, large=False)
    write(large, kind, large=True)
    options = 'logits="p"' + ', task="binary"' * ("list" not in kind) + ', group_by="g"' * ("dictionary" in kind)
    out = python(RUN.format(threads=threads, options=options, small=small, large=large)).split("\n")
    *_, line, grown = [text for text in out if text]
    pattern = rf"{large}, row group 0, column '{column}': not enough memory: ({what}).* would take .* a larger memory= "
    assert re.match(pattern, line), line
    assert int(grown) < 48, grown


@pytest.mark.parametrize(
    ("kind", "column"),
    [("batch", "p"), ("batch of a stream", "p"), ("list", "p"), ("dictionary", "g"), ("dictionary in Arrow", "g")],
)
def test_remote_files_are_looked_at_as_local_ones_are(tmp_path, server, kind, column):  # noqa: F811
    suffix = "parquet" if kind in ("list", "dictionary") else "arrow"
    for name in ("small", "large"):
        write(str(tmp_path / name), kind, large=name == "large")
        with server[3].open_output_stream(f"{BUCKET}/bombs/{kind}-{name}.{suffix}") as out:
            out.write((tmp_path / name).read_bytes())
    small, large = (uri(server, f"bombs/{kind}-{name}.{suffix}") for name in ("small", "large"))
    options = 'logits="p"' + ', task="binary"' * (kind != "list") + ', group_by="g"' * ("dictionary" in kind)
    out = python(RUN.format(threads=1, options=options, small=small, large=large)).split("\n")
    *_, line, grown = [text for text in out if text]
    assert re.match(rf".*large.{suffix}, row group 0, column '{column}': not enough memory: .* a larger memory= ", line)
    assert int(grown) < 48, grown


@pytest.mark.parametrize("kind", ["list", "dictionary"])
def test_of_many_columns_those_are_looked_at_that_may_be_large(tmp_path, kind):
    paths = [str(tmp_path / f"{name}.parquet") for name in ("small", "large")]
    for path in paths:
        write(path, kind, large="large" in path)
        table = pq.read_table(path, read_dictionary=["g"] if kind == "dictionary" else None)
        for i in range(80):
            table = table.append_column(f"k{i}", pa.array(np.zeros(len(table))))
        pq.write_table(table, path, compression="zstd", dictionary_pagesize_limit=1 << 30)
    options = 'logits="p"' + (', task="binary", group_by="g"' if kind == "dictionary" else "")
    options += f", worst=1, keep={[f'k{i}' for i in range(80)]!r}"
    out = python(RUN.format(threads=1, options=options, small=paths[0], large=paths[1])).split("\n")
    *_, line, grown = [text for text in out if text]
    column = "g" if kind == "dictionary" else "p"
    assert re.match(rf".*large.parquet, row group 0, column '{column}': not enough memory: .* a larger memory= ", line)
    assert int(grown) < 48, grown


@pytest.mark.parametrize("kind", ["batch", "batch of a stream", "dictionary", "dictionary in Arrow", "list"])
def test_with_enough_memory_all_rows_are_read(tmp_path, kind):
    path = tmp_path / f"a.{'parquet' if kind in ('list', 'dictionary') else 'arrow'}"
    write(path, kind, large=False)
    options = {"task": "binary"} if kind != "list" else {}
    options |= {"group_by": "g"} if "dictionary" in kind else {}
    ev = fx.evaluate(str(path), "y", logits="p", on_invalid="skip", threads=2, memory="48M", **options)
    assert ev.num_rows == (3 if kind == "list" else ROWS)
    assert ev.groups is None or ev.groups.num_rows == 10


def test_a_compressed_batch_is_read_by_several_threads_and_unpacked_once(tmp_path, monkeypatch):
    from fastxent.sources.dataset.ipc import IpcReader

    n, path = 3_000_000, tmp_path / "a.arrow"
    rng = np.random.default_rng(0)
    pyarrow.feather.write_feather(
        pa.table({"p": rng.normal(size=n), "y": rng.integers(0, 2, n)}), path, compression="lz4", chunksize=n
    )
    taken, batch = [], IpcReader.batch
    monkeypatch.setattr(IpcReader, "batch", lambda *args, **more: taken.append(1) or batch(*args, **more))
    ev = fx.evaluate(str(path), "y", logits="p", task="binary", threads=4)
    one = fx.evaluate(str(path), "y", logits="p", task="binary", threads=1)
    assert ev.num_rows == n
    assert ev.totals.to_bytes() == one.totals.to_bytes()
    assert len(taken) < 8  # by splits of 8 MiB it was more than 6 a run


def test_large_dictionaries_of_few_values_that_occur_make_few_groups():
    entries = pa.array([f"{i:08d}" for i in range(300_000)])
    g = pa.DictionaryArray.from_arrays(pa.array([5, 299_999, 5, None], pa.int32()), entries)
    ev = fx.evaluate(
        pa.table({"p": np.full(4, -1.0), "y": [0, 1, 0, 1], "g": g}), "y", logits="p", task="binary", group_by="g"
    )
    assert ev.groups.select(["g", "count"]).to_pylist() == [
        {"g": "00000005", "count": 2}, {"g": "00299999", "count": 1}, {"g": None, "count": 1},
    ]  # fmt: skip
