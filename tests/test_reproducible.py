"""Same data, same bits: whatever the instruction set, split, order, thread count or threading layer."""

from __future__ import annotations

import json
import platform
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastxent as fx
from fastxent import Spec, Totals
from fastxent.engine.plan import plan_of
from fastxent.engine.runners import threads as on_threads
from fastxent.sources.arrays.source import ArraySource
from fastxent.sources.dataset.dataset import find_dataset
from fastxent.sources.open import Selection
from fastxent.sources.parquet.source import ParquetSource
from fastxent.statistics.options import Measures
from tests import known_answers, known_losses
from tests.cases import CASES, Data, steep_logits
from tests.naive import KINDS
from tests.rows import WAYS
from tests.shell import output, python, start

ANSWERS = json.loads(known_answers.PATH.read_text())
LOSSES = json.loads(known_losses.PATH.read_text())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_known_answers(kind, way):
    assert known_answers.losses(kind, way) == ANSWERS[kind]


@pytest.mark.parametrize("name", known_losses.CASES)
def test_known_losses(name):
    assert known_losses.losses(known_losses.CASES[name]) == LOSSES[name]


# --- instruction sets ---------------------------------------------------------------------------------------

TARGETS = {
    "no FMA": ("x86-64", ""),
    "AVX2": ("haswell", ""),
    "AVX-512": ("skylake-avx512", ""),
}


def missing(target: str) -> str | None:
    """Why code for this target cannot run here."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return "the targets are x86"
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    needed = {
        "no FMA": set(),
        "AVX2": {"avx2", "fma", "bmi2"},
        "AVX-512": {"avx512f", "avx512dq", "avx512vl", "avx512bw"},
    }
    lacking = needed[target] - flags
    return f"this processor lacks {', '.join(sorted(lacking))}" if lacking else None


#: What these processes run and print. The other losses need half a minute of compiling; this process runs them with the
#: instructions of the processor, so that they are left to the code that differs most.
PROGRAMS = {
    **{(name, "tests.known_answers"): {kind: [ANSWERS[kind]] * 2 for kind in KINDS} for name in TARGETS},
    ("no FMA", "tests.known_losses"): LOSSES,
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "program"), PROGRAMS)
def test_known_answers_of_other_instruction_sets(name, program, tmp_path):
    if why := missing(name):
        pytest.skip(why)
    processor, features = TARGETS[name]
    process = start(
        ["-m", program], NUMBA_CPU_NAME=processor, NUMBA_CPU_FEATURES=features, NUMBA_CACHE_DIR=str(tmp_path)
    )
    assert json.loads(output(process)) == PROGRAMS[name, program]


# --- splits, orders, threads --------------------------------------------------------------------------------


def totals_of(source, threads=1, **options):
    spec = Spec.make(num_classes=source.num_classes, on_invalid="skip", **options)
    return on_threads.run(plan_of(source, spec, Measures()), threads).totals.to_bytes()


@pytest.fixture(scope="module")
def rows():
    data = steep_logits(np.random.default_rng(2), 3001, 10, "float32")
    data.predictions[7, 3] = np.nan
    data.target[2000] = 10
    return data


@pytest.fixture(scope="module")
def state(rows):
    return totals_of(ArraySource(*rows, split_bytes=1 << 30))


@pytest.mark.parametrize("split_rows", [1, 2, 15, 16, 17, 1000, 1023, 1024, 1025])
def test_chunk_size_cannot_be_seen(rows, state, split_rows):
    assert totals_of(ArraySource(*rows, split_bytes=40 * split_rows)) == state


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
def test_thread_count_cannot_be_seen(rows, state, threads, monkeypatch):
    monkeypatch.setattr(on_threads, "SMALL", 0)
    assert totals_of(ArraySource(*rows, split_bytes=40 * 100), threads) == state


@pytest.mark.parametrize(
    ("group", "batch", "count"), [(1, 1, 301), (7, 3, 3001), (1000, 64, 3001), (1024, 1 << 20, 3001), (5000, 333, 3001)]
)
@pytest.mark.parametrize("layout", ["list", "columns"])
def test_row_groups_and_files_cannot_be_seen(tmp_path, rows, layout, group, batch, count):
    z, y = rows.predictions[:count], rows.target[:count]
    if layout == "list":
        columns = {"z": pa.FixedSizeListArray.from_arrays(pa.array(z.ravel()), 10)}
    else:
        columns = {f"z_{j}": pa.array(z[:, j]) for j in range(10)}
    table = pa.table(columns | {"y": y})
    for i, (lo, hi) in enumerate(pairwise([0, 1, count // 2, count])):
        pq.write_table(table.slice(lo, hi - lo), tmp_path / f"{i}.parquet", row_group_size=group)
    source = ParquetSource(
        find_dataset(str(tmp_path)), Selection(("z*",) if layout == "columns" else ("z",), "y"), batch_bytes=44 * batch
    )
    source.class_names = None
    assert totals_of(source, threads=2) == totals_of(ArraySource(z, y, split_bytes=1 << 30))


@given(st.lists(st.integers(0, 3001), max_size=6), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=25, database=None)
def test_any_merge_tree_gives_the_same_bytes(random_rows, cuts, random):
    z, y, spec, state = random_rows
    edges = [0, *sorted(cuts), len(y)]
    parts = []
    for lo, hi in pairwise(edges):
        if hi > lo:
            source = ArraySource(z[lo:hi], y[lo:hi])
            parts.append(on_threads.run(plan_of(source, spec, Measures()), 1).totals)
    while len(parts) > 1:
        random.shuffle(parts)
        parts[-2].merge(parts.pop())
    parts[0].merge(Totals(spec))
    assert Totals.from_bytes(parts[0].to_bytes()).to_bytes() == state


@pytest.fixture(scope="module")
def random_rows():
    z, y = CASES[1].generate(np.random.default_rng(8), 3001, 10, "float32")
    spec = Spec.make(num_classes=10)
    return z, y, spec, on_threads.run(plan_of(ArraySource(z, y), spec, Measures()), 1).totals.to_bytes()


@pytest.mark.parametrize("case", [case for case in CASES if case.task == "multiclass"], ids=lambda case: case.name)
def test_order_of_rows_cannot_be_seen_in_the_mean(case):
    rng = np.random.default_rng(4)
    data = case.generate(rng, 500, 6, "float32")
    order = rng.permutation(500)
    a = fx.evaluate(**case.arguments(data))
    b = fx.evaluate(**case.arguments(Data(data.predictions[order], data.target[order])))
    a.run = b.run = {}
    assert a.to_json() == b.to_json()


TWO_AT_ONCE = """
import threading, numpy as np, fastxent as fx
z = np.random.default_rng(0).normal(size=(40_000, 20)).astype(np.float32)
t = np.arange(40_000) % 20
found = []
def work():
    found.extend(fx.cross_entropy(t, logits=z, threads=2).hex() for _ in range(3))
workers = [threading.Thread(target=work) for _ in range(2)]
for w in workers: w.start()
for w in workers: w.join()
assert len(found) == 6
print(*set(found))
"""


@pytest.mark.parametrize("layer", [None, "default", "workqueue", "omp", "tbb"])
def test_two_threads_at_once_under_any_threading_layer(layer):
    z = np.random.default_rng(0).normal(size=(40_000, 20)).astype(np.float32)
    wanted = fx.cross_entropy(np.arange(40_000) % 20, logits=z)
    assert python(TWO_AT_ONCE, NUMBA_THREADING_LAYER=layer).split() == [wanted.hex()]
