"""Dask as a runner, with real worker processes that are killed, fail, or are of another version."""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager

import numpy as np
import pytest

import fastxent as fx
from fastxent.engine.run import score_plan
from fastxent.engine.runners.dask import Dask
from fastxent.engine.runners.threads import Threads
from tests import runner_cases as cases
from tests.shell import run

distributed = pytest.importorskip("distributed", reason="Dask is not installed")
pytestmark = [pytest.mark.dask, pytest.mark.xdist_group("dask")]


@contextmanager
def started(workers, failures=1):
    """A client of a cluster of processes on loopback."""
    import dask

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": failures}),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            silence_logs=50,
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client():
    with started(2) as client:
        yield client


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return cases.write(tmp_path_factory.mktemp("dask") / "in")


def address(client):
    return client.scheduler.address


def await_workers(client, without=None):
    """Wait for the workers that nannies start in place of those that died."""
    pids = []
    for _ in range(200):
        pids = [pid for pid in client.run(os.getpid, on_error="ignore").values() if isinstance(pid, int)]
        if len(pids) == 2 and without not in pids:
            return
        time.sleep(0.1)
    pytest.fail(f"workers did not come back: {pids}")


def held(client):
    """Keys that the scheduler still holds for us, once releases have arrived."""
    for _ in range(100):
        keys = [key for key in client.run_on_scheduler(keys_of) if str(key).startswith("fastxent")]
        if not keys:
            break
        time.sleep(0.05)
    return keys


def keys_of(dask_scheduler):
    return list(dask_scheduler.tasks)


def test_evaluate(client, folder):
    cases.check_evaluate(folder, client)
    assert held(client) == []


def test_score(client, folder, tmp_path):
    cases.check_score(folder, tmp_path, client)


def test_compare(client, folder, tmp_path):
    cases.check_compare(folder, cases.write(tmp_path / "other", seed=1), client)


def test_the_earliest_error(client, tmp_path):
    cases.check_error(cases.write(tmp_path / "bad"), client)
    assert held(client) == []


def test_the_shell_takes_an_address(client, folder, tmp_path):
    state = tmp_path / "there.fxt"
    options = ("--logits", "z", "--target", "y", "--state", state)
    told = run("evaluate", folder, *options, "--runner", address(client))
    assert told.exit_code == 0, told.output
    assert state.read_bytes() == fx.evaluate(str(folder), "y", logits="z").totals.to_bytes()


def test_memory_stays_here(client):
    with pytest.raises(fx.UsageError, match="lies in the memory of this process"):
        fx.evaluate(logits=np.eye(3), target=[0, 1, 2], runner=client)


def test_no_scheduler(folder, monkeypatch):
    monkeypatch.setattr("fastxent.engine.runners.dask.TIMEOUT", 0.5)
    with pytest.raises(fx.FastxentError, match=r"tcp://127.0.0.1:1: no Dask scheduler can be reached"):
        cases.evaluate(folder, runner="tcp://127.0.0.1:1")


def test_two_thousand_small_splits(client, tmp_path):
    cases.check_many(tmp_path / "many", client)
    assert held(client) == []


# What goes wrong


def test_a_worker_killed_in_mid_run(client, tmp_path):
    """Killed from outside, when the first results have come: what it had done is done again."""
    folder = cases.write(tmp_path / "in", files=80)
    one = cases.evaluate(folder, threads=1)
    pids = list(client.run(os.getpid).values())
    seen = []

    def kill(split, rows):
        if not seen:
            os.kill(pids[0], signal.SIGKILL)
        seen.append(split.path)

    there = cases.evaluate(folder, runner=client, progress=kill)
    assert len(set(seen)) == 80
    assert there.totals.to_bytes() == one.totals.to_bytes()
    await_workers(client, without=pids[0])


def test_a_worker_that_dies_of_a_split_once(client, folder, tmp_path):
    faulty = cases.plan(folder, tmp_path / "counts", {2: (1, "kill")})
    scored = score_plan(faulty, open_dask(client))
    expected = score_plan(cases.plan(folder, tmp_path / "expected", {}), Threads(1))
    assert scored.totals.to_bytes() == expected.totals.to_bytes()
    assert faulty.source.reads(2) == 2


def test_a_split_that_fails_twice_and_then_succeeds(client, folder, tmp_path):
    faulty = cases.plan(folder, tmp_path / "counts", {1: (2, OSError("the network is down"))})
    scored = score_plan(faulty, open_dask(client))
    expected = score_plan(cases.plan(folder, tmp_path / "expected", {}), Threads(1))
    assert scored.totals.to_bytes() == expected.totals.to_bytes()
    assert faulty.source.reads(1) == 3


def test_a_split_that_always_fails_is_named(client, folder, tmp_path):
    faulty = cases.plan(folder, tmp_path / "counts", {1: (99, ValueError("poison")), 3: (99, ValueError("later"))})
    said = rf"{folder}/0001\.parquet, rows 0 to 59: ValueError: poison \(on .*, process \d+\)"
    with pytest.raises(fx.FastxentError, match=said):
        score_plan(faulty, open_dask(client))
    assert held(client) == []


def test_a_split_that_kills_every_worker_is_named(folder, tmp_path):
    faulty = cases.plan(folder, tmp_path / "counts", {3: (99, "kill")})
    said = rf"{folder}/0003\.parquet, rows 0 to 59: every worker that took it died"
    with started(1, failures=0) as client, pytest.raises(fx.FastxentError, match=said):
        score_plan(faulty, open_dask(client))


def test_a_worker_of_another_version_is_refused(client, folder):
    try:
        said = r"the worker on .*, process \d+ has fastxent 9\.9, numerics version \d+, but the run has fastxent \d"
        client.run(set_version, "9.9")
        with pytest.raises(fx.FastxentError, match=said):
            cases.evaluate(folder, runner=client)
    finally:
        client.run(set_version, fx.__version__)


def set_version(version):
    from fastxent.engine import work

    work.package_version = lambda: version


def test_ctrl_c_gives_everything_up(client, folder):
    def interrupt(split, rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cases.evaluate(folder, runner=client, progress=interrupt)
    assert held(client) == []


def test_a_ledger_goes_on_where_ctrl_c_came(client, tmp_path):
    """What a cluster has finished is not done again, here by another runner, whose bytes are the same."""
    folder = cases.write(tmp_path / "in", files=80)
    told = []

    def interrupt(split, rows):
        told.append(split.path)
        if len(told) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cases.evaluate(folder, runner=client, ledger=tmp_path / "ledger", progress=interrupt)
    read = []
    ev = cases.evaluate(folder, ledger=tmp_path / "ledger", progress=lambda split, rows: read.append(split.path))
    assert set(told) <= set(read)
    assert len(read) == len(set(read)) == 80
    assert ev.totals.to_bytes() == cases.evaluate(folder, threads=1).totals.to_bytes()


def test_workers_log_which_splits_they_do(client, folder, tmp_path):
    faulty = cases.plan(folder, tmp_path / "counts", {1: (1, OSError("the network is down"))})
    score_plan(faulty, open_dask(client))
    logs = [text for records in client.get_worker_logs().values() for _, text in records]
    assert any("0001.parquet" in text and "attempt 1 of 3: the network is down" in text for text in logs), logs


def open_dask(client):
    return Dask(client).__enter__()
