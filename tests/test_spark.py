"""Spark as a runner: on this machine, and on executors of their own, workers and executors killed among them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys

import pytest

import fastxent as fx
from fastxent.engine.run import score_plan
from fastxent.engine.runners.spark import Spark
from fastxent.engine.runners.threads import Threads
from tests import runner_cases as cases
from tests.documents import blocks
from tests.shell import ROOT, start

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
            "spark.sql.adaptive.coalescePartitions.enabled": "false",
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


# DataFrames, which Spark's workers read


@pytest.fixture
def no_stream(monkeypatch):
    """Rows are not collected here."""

    def refuse(frame, columns):
        yield pytest.fail("rows came to this process")

    monkeypatch.setattr("fastxent.sources.arrow.spark._stream", refuse)


def frame_of(session, folder):
    return session.read.parquet(str(folder)).repartitionByRange(11, "id").sortWithinPartitions("id")


def check_frame(frame, **options):
    """The bytes are those of the rows collected, and whatever is read off them."""
    here = fx.evaluate(frame.toArrow(), threads=1, **options)
    there = fx.evaluate(frame, **options)
    assert there.totals.to_bytes() == here.totals.to_bytes()
    assert (there.run["runner"], there.run["paths"]) == ("spark", ["<table>"])
    told = [repr({key: value for key, value in ev.to_dict().items() if key != "run"}) for ev in (here, there)]
    assert told[0] == told[1]
    return there


def test_a_frame_is_scored_where_its_rows_are(session, folder, no_stream):
    frame = frame_of(session, folder)
    check_frame(frame, target="y", logits="z", **cases.GATHERED)
    if is_local(session):
        found = check_frame(frame, target="y", logits="z", filter="id > 70 and country != 'FR'", worst=3, keep="id")
        assert 0 < found.num_rows < 229


def test_the_call_that_is_shown(session, folder):
    """As it stands in the documentation."""
    only_local(session)
    (shown,) = [block.text for block in blocks(ROOT / "docs" / "scaling.md") if "spark.table" in block.text]
    frame_of(session, folder).createOrReplaceTempView("predictions")
    ev = eval(shown, {"fx": fx, "spark": session})
    assert ev.totals.to_bytes() == fx.evaluate(str(folder), "y", logits="z", group_by="country").totals.to_bytes()


def test_a_frame_of_a_view_with_a_column_a_class(session, folder, no_stream):
    only_local(session)
    frame_of(session, folder).createOrReplaceTempView("predictions")
    scores = ", ".join(f"z[{i}] as `z.{i}`" for i in range(cases.CLASSES))
    frame = session.sql(f"select {scores}, y, id, id / 10 as weight from predictions")
    check_frame(frame, target="y", logits="z.*", weight="weight", cluster_by="id")
    check_frame(frame, target="y", logits="z.*", group_by={"id": [100, 200]})


def test_quantiles_of_a_column_of_a_frame_take_a_pass_over_that_column(session, folder):
    only_local(session)
    check_frame(frame_of(session, folder), target="y", logits="z", group_by="id:q4")


def test_lists_of_losses_of_a_frame(session, no_stream):
    only_local(session)
    frame = session.range(40, numPartitions=7).selectExpr(
        "transform(sequence(0, id % 5), x -> double(x + id) / 8) as loss"
    )
    assert check_frame(frame, losses="loss", worst=4).num_rows == 120


def test_scores_that_begin_late(session, folder):
    """How many classes there are is not known from the first rows, or from none."""
    only_local(session)
    check_frame(frame_of(session, folder).where("id < 0"), target="y", logits="z", class_names=list("abcd"))
    frame = frame_of(session, folder).selectExpr("if(id < 250, null, z) as z", "y")
    check_frame(frame, target="y", logits="z", on_invalid="skip")


def test_the_earliest_error_in_a_frame(session, folder):
    only_local(session)
    frame = frame_of(session, folder).selectExpr("z", "id", "if(id in (100, 250), 9, y) as y")
    with pytest.raises(fx.InvalidRowError, match=r"<partition \d+>, row \d+ .*label 9") as told:
        fx.evaluate(frame, "y", logits="z")
    rows = frame.select("id").rdd.glom().collect()
    assert told.value.path == f"<partition {next(i for i, part in enumerate(rows) if (100,) in part)}>"


def test_what_a_frame_does_not_go_with(session, folder, tmp_path):
    only_local(session)
    frame = frame_of(session, folder)
    with pytest.raises(
        fx.UsageError, match=r"a DataFrame of Spark is scored by Spark's own workers; leave out runner='"
    ):
        fx.evaluate(frame, "y", logits="z", runner="processes")
    with pytest.raises(fx.UsageError, match=r"scored by Spark's own workers: leave out runner, ledger and shard"):
        fx.evaluate(frame, "y", logits="z", ledger=tmp_path / "ledger")
    with pytest.raises(fx.SourceError, match=r"<table>, column 'zz': there is no such column. Did you mean 'z'"):
        fx.evaluate(frame, "y", logits="zz")
    with pytest.raises(fx.SourceError, match=r"<table>: the DataFrame cannot be computed: .*DIVIDE_BY_ZERO"):
        fx.evaluate(frame.selectExpr("z", "y", "1 / (id - 250) as w"), "y", logits="z", weight="w")
    assert fx.evaluate(frame, "y", logits="z", runner=session).num_rows == 300


def test_rows_of_a_frame_are_read_here_for_what_needs_them_here(session, folder, tmp_path):
    only_local(session)
    frame = frame_of(session, folder)
    assert fx.score(frame, None, "y", logits="z").num_rows == 300
    compared = fx.compare(frame, str(folder), "y", on="id", logits="z")
    assert (compared.num_rows, compared.delta.mean) == (300, 0.0)
    labels = frame.select("id", "y").toArrow()
    assert fx.evaluate(frame.drop("y"), "y", logits="z", target_file=labels, on="id").num_rows == 300


def test_a_worker_that_dies_of_a_partition_once(session, folder, tmp_path):
    """Spark does the partition again, where it tries tasks again."""
    if is_local(session):
        pytest.skip("local[2] never tries again")
    mark = tmp_path / "died"

    def die_once(batches):
        for batch in batches:
            if not mark.exists() and 100 in batch.column("id").to_pylist():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    frame = frame_of(session, folder)
    frame = frame.mapInArrow(die_once, frame.schema)
    ev = fx.evaluate(frame, "y", logits="z", worst=5)
    assert mark.exists()
    assert ev.totals.to_bytes() == fx.evaluate(frame.toArrow(), "y", logits="z", worst=5).totals.to_bytes()


CONNECTED = """
import sys
from pathlib import Path
from pyspark.sql import SparkSession
import fastxent as fx
from tests import runner_cases as cases
if __name__ == "__main__":
    folder = Path(sys.argv[1])
    builder = SparkSession.builder.remote("local[2]").config("spark.ui.showConsoleProgress", "false")
    spark = builder.config("spark.driver.host", "127.0.0.1").getOrCreate()
    assert type(spark).__module__.startswith("pyspark.sql.connect")
    print(cases.evaluate(folder, runner=spark).totals.to_bytes() == cases.evaluate(folder, threads=1).totals.to_bytes())
    frame = spark.read.parquet(str(folder)).repartitionByRange(3, "id").sortWithinPartitions("id")
    there, here = (fx.evaluate(data, "y", logits="z", **cases.GATHERED) for data in (frame, frame.toArrow()))
    print(there.totals.to_bytes() == here.totals.to_bytes(), there.run["runner"])
    try:
        fx.evaluate(frame.selectExpr("z", "if(id = 100, 9, y) as y"), "y", logits="z")
    except fx.InvalidRowError as error:
        print(str(error).partition(":")[0])
    spark.stop()
"""


def test_spark_connect(folder, tmp_path):
    """Files by a session of Spark Connect, and a DataFrame of it; a process of its own, as one has one kind of them."""
    pytest.importorskip("grpc", reason="Spark Connect needs grpcio: pip install 'pyspark[connect]'")
    (tmp_path / "run.py").write_text(CONNECTED)
    found = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    process = start(
        [str(tmp_path / "run.py"), str(folder)],
        PYTHONPATH=found, PYTHONWARNINGS=None, PYSPARK_PYTHON=sys.executable, SPARK_LOCAL_IP="127.0.0.1",
    )  # fmt: skip
    out, error = process.communicate(timeout=600)
    assert process.returncode == 0, error[-2000:]
    assert re.fullmatch(r"True\nTrue spark\n<partition \d>, row \d+ \(from 0\)\n", out), out
