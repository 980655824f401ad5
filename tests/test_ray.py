"""Ray as a runner, with worker processes that are killed."""

from __future__ import annotations

import pytest

import fastxent as fx
from fastxent.engine.run import score_plan
from fastxent.engine.runners.ray import Ray
from fastxent.engine.runners.threads import Threads
from tests import runner_cases as cases

pytestmark = [
    pytest.mark.ray,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
ray = pytest.importorskip("ray", reason="Ray is not installed; there are no wheels for some versions of Python")


@pytest.fixture(scope="module", autouse=True)
def running():
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return cases.write(tmp_path_factory.mktemp("ray") / "in")


@pytest.mark.parametrize("runner", ["ray", ray])
def test_evaluate(folder, runner):
    cases.check_evaluate(folder, runner)
    assert ray.is_initialized()  # it is not ours to stop


def test_score(folder, tmp_path):
    cases.check_score(folder, tmp_path, "ray")


def test_compare(folder, tmp_path):
    cases.check_compare(folder, cases.write(tmp_path / "other", seed=1), "ray")


def test_the_earliest_error(tmp_path):
    cases.check_error(cases.write(tmp_path / "bad"), "ray")


def test_a_worker_that_dies_of_a_split_once(folder, tmp_path):
    faulty = cases.plan(folder, tmp_path / "counts", {2: (1, "kill")})
    with Ray("ray") as runner:
        scored = score_plan(faulty, runner)
    expected = score_plan(cases.plan(folder, tmp_path / "expected", {}), Threads(1))
    assert scored.totals.to_bytes() == expected.totals.to_bytes()
    assert faulty.source.reads(2) == 2


def test_a_split_that_kills_every_worker_is_named(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("fastxent.engine.runners.ray.RETRIES", 0)
    faulty = cases.plan(folder, tmp_path / "counts", {3: (99, "kill")})
    said = rf"{folder}/0003\.parquet, rows 0 to 59: every worker that took it died"
    with Ray("ray") as runner, pytest.raises(fx.FastxentError, match=said):
        score_plan(faulty, runner)
