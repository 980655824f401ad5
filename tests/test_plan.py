"""Plans: any partition of the splits, scored in any order, anywhere, leaves the same behind, errors included."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import reduce
from multiprocessing import active_children, get_context

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastxent as fx
from fastxent import Spec
from fastxent.comparison.spool import spool_rows
from fastxent.engine.plan import Failed, Scored, join, merge, plan_of
from fastxent.engine.row_files.columns import RowColumns
from fastxent.engine.row_files.record import read_record
from fastxent.engine.row_files.score_file import RowFile, score_file
from fastxent.engine.run import score_plan
from fastxent.engine.runners import threads
from fastxent.engine.runners.processes import Processes
from fastxent.engine.runners.threads import Threads
from fastxent.engine.score_split import score_split, score_splits
from fastxent.results.finish import finish
from fastxent.sources.open import Selection, open_arrays, open_source
from fastxent.sources.source import Source
from fastxent.statistics.options import Measures, Readings

N, C, FILES, GROUP = 240, 4, 3, 20
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(scale=3, size=(N, C)).astype(np.float32)
LABELS = RNG.integers(0, C, N)
TABLE = pa.table({
    "z": pa.FixedSizeListArray.from_arrays(pa.array(LOGITS.ravel()), C), "y": LABELS,
    "id": np.arange(N), "country": np.array(["DE", "FR", "IT"])[np.arange(N) % 3],
})  # fmt: skip
SELECTION = Selection(("z",), "y", extra=("id", "country"))
MEASURES = Measures(group_by=("country",), worst=7, keep=("id",), label_errors=3)


def pieces(table, count=FILES):
    return [table.slice(i * N // count, N // count) for i in range(count)]


def parquet(folder, table=TABLE):
    for i, piece in enumerate(pieces(table)):
        pq.write_table(piece, folder / f"{i}.parquet", row_group_size=GROUP)
    return folder


def arrow(folder, table=TABLE):
    for i, piece in enumerate(pieces(table, N // GROUP)):
        pyarrow.feather.write_feather(piece, folder / f"{i:02}.arrow", compression="zstd")
    return folder


def npy(folder, table=TABLE):
    np.save(folder / "z.npy", table["z"].combine_chunks().flatten().to_numpy().reshape(-1, C))
    np.save(folder / "y.npy", table["y"].to_numpy())
    return folder / "z.npy"


@pytest.fixture(autouse=True)
def small_splits(monkeypatch):
    """Every row group, Arrow file or block of 20 rows is a split, and threads start for a few bytes."""
    monkeypatch.setattr("fastxent.sources.parquet.source.LEAST_SPLIT_BYTES", 1)
    monkeypatch.setattr("fastxent.sources.arrays.source.LEAST_SPLIT_BYTES", GROUP * C * 4)
    monkeypatch.setattr(threads, "SMALL", 0)


def opened(kind, folder, table=TABLE, **options):
    folder.mkdir(exist_ok=True)
    if kind == "npy":
        return plan(open_source(npy(folder, table), Selection((), str(folder / "y.npy"))), Measures(worst=7))
    make = parquet if kind == "parquet" else arrow
    return plan(open_source(make(folder, table), SELECTION, **options))


def plan(source, measures=MEASURES, **options):
    return plan_of(source, Spec.make(num_classes=C, **options), measures)


KINDS = ("parquet", "arrow", "npy")


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        small_splits.__wrapped__(patch)
        return {kind: opened(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def expected(plans):
    return {kind: threads.run(each, 1).totals.to_bytes() for kind, each in plans.items()}


@pytest.fixture(scope="module")
def bad_plan(tmp_path_factory):
    """A plan of which some splits have a row that cannot be scored."""
    labels = LABELS.copy()
    labels[[47, 55, 130, 220]] = C
    with pytest.MonkeyPatch.context() as patch:
        small_splits.__wrapped__(patch)
        table = TABLE.set_column(1, "y", pa.array(labels))
        return opened("parquet", tmp_path_factory.mktemp("bad"), table)


def chosen(data, items):
    """A partition of the items, in any order, as Hypothesis draws it."""
    shuffled = data.draw(st.permutations(items))
    parts = data.draw(st.lists(st.integers(0, 4), min_size=len(items), max_size=len(items)))
    return [own for k in range(5) if (own := [item for item, part in zip(shuffled, parts, strict=True) if part == k])]


def put_together(data, parts):
    """The parts joined by a tree, some of them after a journey."""
    parts = list(parts)
    while len(parts) > 1:
        i = data.draw(st.integers(0, len(parts) - 2))
        a, b = parts.pop(i), parts.pop(i)
        if data.draw(st.booleans()):
            a = pickle.loads(pickle.dumps(a))
        parts.insert(data.draw(st.integers(0, len(parts))), join(a, b))
    return parts[0]


def test_there_are_splits_to_choose_from(plans):
    assert {kind: len(each.splits) for kind, each in plans.items()} == {"parquet": 12, "arrow": 12, "npy": 12}


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@settings(deadline=None, max_examples=15, database=None)
def test_any_partition_in_any_order_leaves_the_same_bytes(plans, expected, kind, data):
    own = plans[kind]
    parts = [score_splits(own, splits) for splits in chosen(data, own.splits)]
    whole = put_together(data, parts)
    assert merge([whole, Scored(own.new_totals())]).totals.to_bytes() == expected[kind]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 5])
def test_threads_are_a_runner(plans, expected, kind, count):
    told = []
    assert threads.run(plans[kind], count, done=told.append).totals.to_bytes() == expected[kind]
    assert sorted(told, key=lambda split: split.id) == list(plans[kind].splits)


def test_scoring_a_split_changes_nothing(plans, expected):
    own = plans["parquet"]
    first = score_split(own, own.splits[3]).totals.to_bytes()
    score_split(own, own.splits[2])
    assert score_split(own, own.splits[3]).totals.to_bytes() == first
    assert threads.run(own, 2).totals.to_bytes() == expected["parquet"]


def said(error):
    return type(error), str(error), error.cause, error.path, error.row


@given(data=st.data())
@settings(deadline=None, max_examples=15, database=None)
def test_the_earliest_error_is_raised_in_whatever_order_parts_come(bad_plan, data):
    parts = [score_splits(bad_plan, sorted(own, key=lambda split: split.id)) for own in chosen(data, bad_plan.splits)]
    whole = put_together(data, parts)
    assert isinstance(whole, Failed)
    assert (whole.split, whole.batch) == (bad_plan.splits[2], 0)
    with pytest.raises(fx.InvalidRowError, match=r"0\.parquet, row 47 ") as caught:
        merge([pickle.loads(pickle.dumps(whole))])
    with pytest.raises(fx.InvalidRowError) as alone:
        threads.run(bad_plan, 1)
    assert said(caught.value) == said(alone.value)


@given(st.data())
@settings(deadline=None, max_examples=30, database=None)
def test_errors_join_like_numbers(bad_plan, data):
    """Join is associative and commutative, and what failed is not made good by what did not."""

    def part():
        split = data.draw(st.sampled_from(bad_plan.splits))
        if data.draw(st.booleans()):
            return Scored(bad_plan.new_totals())
        return Failed(split, data.draw(st.integers(0, 2)), ValueError())

    a, b, c = part(), part(), part()

    def place(part):
        return part.place if isinstance(part, Failed) else None

    assert place(join(a, join(b, c))) == place(join(join(a, b), c)) == place(join(join(c, a), b))


def test_batches_decide_within_a_split(plans):
    first, *_ = plans["parquet"].splits
    early, late = Failed(first, 1, ValueError("early")), Failed(first, 2, ValueError("late"))
    for parts in ([early, late], [late, early], [Scored(plans["parquet"].new_totals()), late, early]):
        with pytest.raises(ValueError, match="early"):
            merge(parts)


# Other processes


@pytest.mark.parametrize(("kind", "count"), [("parquet", 2), ("arrow", 1), ("npy", 1)])
def test_processes_are_a_runner(plans, expected, kind, count):
    told = []
    scored = score_plan(plans[kind], Processes(count), done=told.append)
    assert scored.totals.to_bytes() == expected[kind]
    assert told == list(plans[kind].splits)


def test_splits_files_and_spools_from_a_pool(plans, expected, tmp_path):
    """Without the runner: whoever can pickle a plan and call a function can score it."""
    own = plans["parquet"]
    halves = [replace(own, splits=own.splits[k::2]) for k in (1, 0)]
    spools = [str(tmp_path / f"{k}.parquet") for k in range(3)]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        futures = [pool.submit(score_split, own, split) for split in reversed(own.splits)]
        parts = [future.result() for future in futures]
        rows = futures_of_files(pool, own)
        halfway = [
            pool.submit(spool_rows, half, path, ("id",), ("country",), Threads(1))
            for half, path in zip(halves, spools, strict=False)
        ]
        spooled = merge(future.result() for future in halfway)
    for whole in (merge(parts).totals, rows, spooled.totals):
        assert whole.to_bytes() == expected["parquet"]
    spool_rows(own, spools[2], ("id",), ("country",), Threads(1))
    assert pq.read_table(spools[:2]).sort_by("row").equals(pq.read_table(spools[2]).sort_by("row"))


def files_of(plan, folder):
    own = {path: tuple(split for split in plan.splits if split.path == path) for path in plan.source.paths}
    return [
        RowFile(os.path.join(folder, os.path.basename(path)), splits, path, "job", splits[0].first_id)
        for path, splits in own.items()
    ]


def futures_of_files(pool, plan):
    """Files that other processes write, the last one first: their totals, merged, after a look at their rows."""
    columns = RowColumns(plan.spec, keep=("id",))
    folder = os.path.join(os.path.dirname(plan.source.paths[0]), "out")
    files = files_of(plan, folder)
    futures = [pool.submit(score_file, plan, columns, file) for file in reversed(files)]
    whole = merge(future.result() for future in futures)
    for file in files:
        rows = pq.read_table(file.output)
        ids = rows["id"].to_numpy()
        assert ids.tolist() == list(range(file.first_id, file.first_id + N // FILES))
        losses = fx.cross_entropy(LABELS[ids], logits=LOGITS[ids], reduction="none")
        assert rows["loss"].to_numpy().tobytes() == losses.tobytes()
        assert read_record(file.output)["first_id"] == file.first_id
    return whole.totals


def test_an_error_in_another_process_is_the_one_that_is_met_here(bad_plan):
    with pytest.raises(fx.InvalidRowError) as here:
        threads.run(bad_plan, 2)
    with pytest.raises(fx.InvalidRowError) as there:
        score_plan(bad_plan, Processes(1))
    assert said(here.value) == said(there.value)


def test_what_other_processes_leave_out_is_told(tmp_path):
    own = opened("parquet", tmp_path / "in", on_error="skip", verify_checksums=True)
    path = tmp_path / "in" / "1.parquet"
    column = pq.ParquetFile(path).metadata.row_group(2).column(0)
    damaged = bytearray(path.read_bytes())
    damaged[column.data_page_offset : column.data_page_offset + column.total_compressed_size] = (
        b"\xff" * column.total_compressed_size
    )
    stamp = path.stat()
    path.write_bytes(bytes(damaged))
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    sent = pickle.loads(pickle.dumps(own))
    ev = finish(own, score_plan(own, Processes(1)), {}, Readings())
    assert [(left.path, left.row_group, left.rows) for left in ev.left_out] == [(str(path), 2, GROUP)]
    assert ev.warnings == [str(ev.left_out[0])]
    assert finish(sent, threads.run(sent, 2), {}, Readings()).to_dict() == ev.to_dict()


def test_memory_goes_to_no_other_process():
    for source in (
        open_arrays(LOGITS, LABELS),
        open_source(TABLE, SELECTION),
        open_source(TABLE.to_reader(), SELECTION),
    ):
        with pytest.raises(fx.UsageError, match="in the memory of this process, so no other process can read it"):
            score_plan(plan(source, Measures()), Processes(2))


class Deadly(Source):
    """A source that ends the process that reads it."""

    num_classes, num_rows, paths, travels = C, N, ("deadly",), True

    def __init__(self, splits):
        self._splits = splits

    def splits(self):
        return self._splits

    def read(self, split):
        os._exit(1)


def test_a_worker_that_dies_is_told(plans):
    own = replace(plans["parquet"], source=Deadly(plans["parquet"].splits))
    with pytest.raises(fx.FastxentError, match=r"a worker process ended before .*0\.parquet, rows 0 to"):
        score_plan(own, Processes(2))


def test_what_ends_the_driver_ends_the_workers(plans):
    def interrupt(split):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score_plan(plans["parquet"], Processes(1), done=interrupt)
    assert not active_children()


# Rows by file


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("into", ["out/", "out.parquet"])
def test_files_are_the_same_whoever_writes_them(tmp_path, into, count):
    """Few threads share a file of many splits; many threads take a file each."""
    folder = tmp_path / "in"
    folder.mkdir()
    parquet(folder)
    options = {"target": "y", "logits": "z", "keep": "id", "group_by": "country", "worst": 7, "label_errors": 3}
    one = fx.score(str(folder), f"{tmp_path}/one-{into}", **options, threads=1)
    several = fx.score(str(folder), f"{tmp_path}/{into}", **options, threads=count)
    assert several.totals.to_bytes() == one.totals.to_bytes()
    outputs = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.parquet") if "in" not in path.parts)
    written = [path for path in outputs if not str(path).startswith("one-")]
    assert len(written) == (FILES if into == "out/" else 1)
    for path in written:
        assert (tmp_path / path).read_bytes() == (tmp_path / f"one-{path}").read_bytes()


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_the_earliest_error_of_files_is_raised(tmp_path, bad_plan, count):
    with pytest.raises(fx.InvalidRowError, match=r"0\.parquet, row 47 "):
        fx.score(os.path.dirname(bad_plan.source.paths[0]), f"{tmp_path}/out/", "y", logits="z", threads=count)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name == "0.parquet"]


def test_parts_of_files_are_those_of_their_splits(plans, expected, tmp_path):
    own = plans["parquet"]
    columns = RowColumns(own.spec, keep=("id",))
    parts = [score_file(own, columns, file) for file in files_of(own, str(tmp_path))]
    assert reduce(join, reversed(parts)).totals.to_bytes() == expected["parquet"]
