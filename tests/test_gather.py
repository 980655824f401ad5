"""Columns, one array a class, against rows: what is gathered, and that no loss can tell the difference."""

from __future__ import annotations

import numpy as np
import pytest

import fastxent as fx
from fastxent import Spec, Totals
from fastxent.data.batch import Batch, Columns, Matrix
from fastxent.engine.scorer import Scorer
from fastxent.kernels.compiler.compile import kernel
from fastxent.kernels.contract.problem import Problem, new_work
from fastxent.kernels.contract.scorecard import BLOCK
from fastxent.kernels.rows.gather import ROOM, gatherer, rows_of_block
from fastxent.statistics.options import Measures

GUARD = 0xA5
RNG = np.random.default_rng(11)


def test_blocks_have_room_for_eight_rows_at_least() -> None:
    assert rows_of_block(4) == BLOCK
    assert rows_of_block(8 * ROOM) == 8
    for row in (40, 4000, 12345, 1 << 17):
        assert rows_of_block(row) % 8 == 0
        assert rows_of_block(row) * row <= max(ROOM, 8 * row)


@pytest.mark.parametrize(("kind", "dtype"), [("bfloat16", np.uint16), ("float32", np.float32), ("float64", np.float64)])
def test_gathered_rows_are_the_columns_side_by_side(kind: str, dtype: type) -> None:
    gather = gatherer(kind)

    @kernel(variant=kind)
    def fill(p, lo, n, work):  # type: ignore[no-untyped-def]
        gather(p, lo, n, work)

    for classes in (*range(1, 20), 64, 101):
        # Columns of memory of their own, that start anywhere.
        held = [RNG.integers(0, 2**15, 90).astype(dtype)[j % 3 :] for j in range(classes)]
        columns = Columns(tuple(held), kind)  # type: ignore[arg-type]
        table = np.pad(columns.addresses(), (0, max(0, 8 - classes)), mode="edge")
        problem = Problem(table.ctypes.data, 0, classes, 0, 0, 0, 0, False, 0, 0, -1, False, 0, np.ones(0), np.ones(0))
        for lo, n in ((0, 1), (3, 7), (0, 8), (5, 9), (1, 64), (16, 71)):
            work = new_work(classes, np.dtype(dtype).itemsize, n)
            room = work.gathered.view(np.uint8)
            room[:] = GUARD
            fill(problem, lo, n, work)
            want = np.stack([column[lo : lo + n] for column in held], axis=1)
            assert room[: want.nbytes].tobytes() == want.tobytes(), (classes, lo, n)
            # What is too much of fewer than eight classes stays within a cache line.
            assert (room[want.nbytes + 64 :] == GUARD).all()


def test_addresses_of_a_matrix_and_of_single_arrays_are_the_same() -> None:
    z = np.asfortranarray(RNG.normal(size=(30, 12)))
    whole = Columns(z.T, "float64").addresses()
    assert whole.tolist() == [z[:, j].ctypes.data for j in range(12)]
    assert Columns(tuple(z[:, j] for j in range(12)), "float64").addresses().tolist() == whole.tolist()


Q = RNG.dirichlet(np.ones(260), 2100).astype(np.float32)


@pytest.mark.parametrize("classes", [2, 7, 50, 260])
def test_losses_do_not_depend_on_whether_rows_or_columns_lie_in_memory(classes: int) -> None:
    n = 2100 if classes < 100 else 1030
    z = RNG.normal(0, 4, (n, classes)).astype(np.float32)
    z[5, 1] = -np.inf
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    y = RNG.integers(0, classes, n)
    q = Q[:n, :classes] / Q[:n, :classes].sum(1, keepdims=True)
    events = (RNG.random((n, classes)) < 0.3).astype(np.int8)
    none = {"reduction": "none"}
    for name, score in {
        "logits": lambda form: fx.cross_entropy(y, logits=form(z), **none),
        "probs": lambda form: fx.cross_entropy(y, probs=form(p), **none),
        "smoothed": lambda form: fx.cross_entropy(y, logits=form(z), label_smoothing=0.1, **none),
        "soft": lambda form: fx.cross_entropy(q, logits=form(z), **none),
        "focal": lambda form: fx.focal_loss(y, logits=form(z), **none),
        "focal, soft": lambda form: fx.focal_loss(q, logits=form(z), **none),
        "entropy": lambda form: fx.entropy(logits=form(z), **none),
        "divergence": lambda form: fx.kl_divergence(q, probs=form(p), **none),
        "multilabel": lambda form: fx.binary_cross_entropy(events, logits=form(z), **none),
        "multilabel, masked": lambda form: fx.binary_cross_entropy(events, logits=form(z), mask=q > 0.01, **none),
        "multilabel, focal": lambda form: fx.focal_loss(events, logits=form(z), task="multilabel", **none),
    }.items():
        rows, columns = score(np.ascontiguousarray), score(np.asfortranarray)
        assert rows.tobytes() == columns.tobytes(), name


def test_one_scorer_takes_rows_and_columns_as_they_come():
    z, y = RNG.normal(size=(2000, 60)).astype(np.float32), RNG.integers(0, 60, 2000)
    spec = Spec.make(num_classes=60, task="multiclass", form="logits", loss="cross_entropy", soft=False)
    rows = Matrix(z[:1000].copy(), "float32")
    columns = Columns(np.asfortranarray(z[1000:]).T, "float32")
    found = []
    for parts in ((0, rows), (1000, columns)), ((1000, columns), (0, rows)):
        scorer, totals = Scorer(spec, full=True), Totals(spec, Measures())
        for first, predictions in parts:
            scorer.score(Batch(predictions, y[first : first + 1000], first_row=first, first_id=first), totals)
        found.append(totals.to_bytes())
    assert found == [fx.evaluate(logits=z, target=y).totals.to_bytes()] * 2


def test_statistics_do_not_depend_on_it_either() -> None:
    z, y = RNG.normal(size=(3000, 60)), RNG.integers(0, 60, 3000)
    for statistics in ((), ("entropy", "temperature")):
        rows, columns = (
            fx.evaluate(logits=form(z), target=y, statistics=statistics)
            for form in (np.ascontiguousarray, np.asfortranarray)
        )
        assert rows.totals.to_bytes() == columns.totals.to_bytes()
