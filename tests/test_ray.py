"""Ray as a runner, with worker processes that are killed."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent.engine.run import score_plan
from fastxent.engine.runners.ray import Ray
from fastxent.engine.runners.threads import Threads
from tests import runner_cases as cases
from tests.documents import blocks
from tests.shell import ROOT

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


def test_the_recipe_for_predictions_that_a_model_makes(folder):
    """As it stands in the documentation, with a model of our own."""

    def make_logits(scores):
        return np.stack(scores) * np.float32(1.5)

    (recipe,) = [block.text for block in blocks(ROOT / "docs" / "scaling.md") if "map_batches" in block.text]
    inputs = folder.parent / "inputs"
    inputs.mkdir()
    for path in sorted(folder.iterdir()):
        pq.write_table(pq.read_table(path).rename_columns({"z": "x"}), inputs / path.name)
    said = {"load_model": lambda: make_logits, "path": str(inputs), "print": lambda ev: None}
    exec(recipe.replace("65_536", "37").replace("concurrency=8", "concurrency=1"), said)  # of the two processors
    expected = fx.Evaluator(worst=5)
    rows = pa.concat_tables(pq.read_table(path) for path in sorted(folder.iterdir()))
    scores = make_logits(np.array(rows["z"].to_pylist(), np.float32))
    expected.update(rows["y"].to_numpy(), logits=scores, group_by={"country": rows["country"]})
    one, there = expected.compute(), said["whole"].compute()
    assert said["whole"].num_rows == cases.FILES * cases.ROWS
    assert there.loss == one.loss
    assert there.groups.equals(one.groups)
    assert there.worst["loss"].to_pylist() == one.worst["loss"].to_pylist()
