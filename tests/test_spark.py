"""Spark as a runner: on this machine, and on executors of their own, workers and executors killed among them."""

from __future__ import annotations

import shutil
import sys

import pytest

import fastxent as fx
from fastxent.engine.run import score_plan
from fastxent.engine.runners.spark import Spark
from fastxent.engine.runners.threads import Threads
from tests import runner_cases as cases

pytestmark = [
    pytest.mark.spark,
    pytest.mark.skipif(shutil.which("java") is None, reason="Java is not installed"),
    pytest.mark.filterwarnings("ignore::FutureWarning:pyspark"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
sql = pytest.importorskip("pyspark.sql", reason="PySpark is not installed")


@pytest.fixture(scope="module", params=["local[2]", "local-cluster[2,1,1024]"])
def session(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        builder = sql.SparkSession.builder.master(request.param)
        for key, value in {
            "spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1",
            "spark.ui.showConsoleProgress": "false", "spark.sql.shuffle.partitions": "2",
        }.items():  # fmt: skip
            builder = builder.config(key, value)
        session = builder.getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return cases.write(tmp_path_factory.mktemp("spark") / "in")


def is_local(session):
    return session.sparkContext.master.startswith("local[")


def only_local(session):
    if not is_local(session):
        pytest.skip("shown on local[2]")


def test_evaluate(session, folder):
    cases.check_evaluate(folder, session)


def test_score(session, folder, tmp_path):
    only_local(session)
    cases.check_score(folder, tmp_path, session)


def test_compare(session, folder, tmp_path):
    only_local(session)
    cases.check_compare(folder, cases.write(tmp_path / "other", seed=1), session)


def test_the_earliest_error(session, tmp_path):
    only_local(session)
    cases.check_error(cases.write(tmp_path / "bad"), session)


def test_the_master_by_name(session, folder):
    master = session.sparkContext.master
    assert cases.evaluate(folder, runner=master).totals.to_bytes() == cases.evaluate(folder).totals.to_bytes()
    with pytest.raises(fx.UsageError, match=r"a SparkSession of local.* is there already; pass that, or stop it"):
        cases.evaluate(folder, runner="local[7]")
    assert session.range(1).count() == 1  # it is not ours to stop


def test_a_worker_that_dies_of_a_split_once(session, folder, tmp_path):
    """Tasks are tried again by Spark, or (where it never does) by us."""
    faulty = cases.plan(folder, tmp_path / "counts", {2: (1, "kill")})
    with Spark(session) as runner:
        scored = score_plan(faulty, runner)
    expected = score_plan(cases.plan(folder, tmp_path / "expected", {}), Threads(1))
    assert scored.totals.to_bytes() == expected.totals.to_bytes()
    assert faulty.source.reads(2) >= 2


def test_a_split_that_kills_every_worker_is_named(session, folder, tmp_path):
    if not is_local(session):
        pytest.skip("takes four deaths twice, which local[2] shows in one")
    faulty = cases.plan(folder, tmp_path / "counts", {3: (99, "kill")})
    said = rf"{folder}/0003\.parquet, rows 0 to 59: every worker that took it died"
    with Spark(session) as runner, pytest.raises(fx.FastxentError, match=said):
        score_plan(faulty, runner)


def test_an_executor_that_is_killed(session, folder, tmp_path):
    if is_local(session):
        pytest.skip("there is no executor beside the driver")
    faulty = cases.plan(folder, tmp_path / "counts", {2: (1, "kill executor")})
    with Spark(session) as runner:
        scored = score_plan(faulty, runner)
    expected = score_plan(cases.plan(folder, tmp_path / "expected", {}), Threads(1))
    assert scored.totals.to_bytes() == expected.totals.to_bytes()
    assert faulty.source.reads(2) >= 2
