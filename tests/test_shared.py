"""Splits that several threads score together: the same totals, and the same error, as one thread finds."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from fastxent import InvalidRowError, SourceError, Spec
from fastxent.data.batch import Batch, Matrix
from fastxent.engine.plan import plan_of
from fastxent.engine.runners import threads as on_threads
from fastxent.kernels.block_loop import no_outputs
from fastxent.sources.source import Source, Split
from fastxent.statistics.options import Measures

ROWS, BATCHES, CLASSES = 50, 12, 4
SPEC = Spec.make(num_classes=CLASSES)


class Pieces(Source):
    """Splits of batches of ROWS rows, each of which claims to be 64 MiB."""

    num_classes = CLASSES

    def __init__(self, *, splits=1, last=True, bad=(), broken=None):
        self.batches_last, self.bad, self.broken = last, bad, broken
        self.num_rows = ROWS * BATCHES * splits
        rows = ROWS * BATCHES
        self._splits = [Split(k, "p", k, k + 1, k * rows, k * rows, rows, 64 << 20) for k in range(splits)]

    def splits(self):
        return self._splits

    def read(self, split):
        for number in range(split.lo * BATCHES, split.hi * BATCHES):
            if number == self.broken:
                raise SourceError(f"batch {number} is damaged")
            rng = np.random.default_rng(number)
            target = rng.integers(0, CLASSES, ROWS)
            if number in self.bad:
                target[7] = CLASSES
            scores = Matrix(rng.normal(size=(ROWS, CLASSES)).astype(np.float32), "float32")
            first = number * ROWS
            yield Batch(scores, target, path="p", first_row=first, first_id=first)


def number_of(batch):
    return batch.first_id // ROWS


def run(source, threads=1, meet=None):
    """``meet`` is told the number of every batch before it is scored."""

    class Rows(on_threads.RowResults):
        def outputs_of(self, batch):
            if meet is not None:
                meet(number_of(batch))
            return no_outputs()

    return on_threads.run(plan_of(source, SPEC, Measures()), threads, rows=Rows()).totals


class Meeting:
    """Waits, a few seconds at most, until two threads have come, and remembers who has."""

    def __init__(self):
        self.seen = set()
        self.both = threading.Event()

    def __call__(self, number):
        self.seen.add(threading.get_ident())
        if len(self.seen) > 1:
            self.both.set()
        self.both.wait(5)


def test_threads_without_a_split_help():
    meeting = Meeting()
    run(Pieces(), 2, meeting)
    assert meeting.both.is_set()


def test_batches_that_do_not_last_stay_with_one_thread():
    seen = set()
    run(Pieces(last=False), 4, lambda number: seen.add(threading.get_ident()))
    assert len(seen) == 1


@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_number_of_threads_cannot_be_seen(splits, threads):
    source = Pieces(splits=splits)
    assert run(source, threads).to_bytes() == run(source).to_bytes()


@pytest.mark.parametrize(("in_caller", "end"), [(True, KeyboardInterrupt), (False, SystemExit)])
def test_what_ends_a_worker_stops_the_others(in_caller, end):
    """At once, also those at splits before; Ctrl-C comes to the thread that called, which is one of the workers."""
    begun, ended = threading.Event(), threading.Event()
    after = []

    def meet(number):
        if (threading.current_thread() is threading.main_thread()) == in_caller:
            begun.wait(5)
            ended.set()
            raise end
        begun.set()
        ended.wait(5)
        time.sleep(0.05)
        after.append(number)

    with pytest.raises(end):
        run(Pieces(splits=2), 2, meet)
    assert len(after) <= 2


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_the_earliest_batch_is_told(threads):
    """The later one has failed long before the earlier one is looked at."""
    later = threading.Event()

    def meet(number):
        if number == 5 and threads > 1:
            later.wait(5)
            time.sleep(0.1)
        if number == 6:
            later.set()

    with pytest.raises(InvalidRowError, match=f"row {5 * ROWS + 7:,}"):
        run(Pieces(bad=(5, 6)), threads, meet)


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_an_invalid_row_before_damage_is_told(threads):
    with pytest.raises(InvalidRowError, match=f"row {5 * ROWS + 7:,}"):
        run(Pieces(bad=(5,), broken=6), threads, lambda number: time.sleep(0.05 if number == 5 else 0))
    with pytest.raises(SourceError, match="batch 5 is damaged"):
        run(Pieces(bad=(6,), broken=5), threads)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_a_later_split_does_not_hide_an_earlier_one(threads):
    """The first split goes on after the second has failed, and is the one that is told."""
    late = BATCHES - 1
    with pytest.raises(InvalidRowError, match=f"row {late * ROWS + 7:,}"):
        run(Pieces(splits=3, bad=(late, BATCHES)), threads, lambda number: time.sleep(0.01 * (number < BATCHES)))
