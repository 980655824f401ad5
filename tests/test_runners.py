"""``runner=``: the same bits from other processes, and what is refused."""

from __future__ import annotations

import json
import pickle
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs

import fastxent as fx
from fastxent.engine.run import score_plan
from fastxent.engine.runners.choose import runner_of
from fastxent.engine.runners.processes import Processes
from fastxent.sources.dataset.files import DataFile
from tests import runner_cases as cases
from tests.shell import run, start


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return cases.write(tmp_path_factory.mktemp("runners") / "in")


def test_evaluate_on_processes(folder):
    cases.check_evaluate(folder, "processes:2")


def test_score_on_processes(folder, tmp_path):
    cases.check_score(folder, tmp_path, "processes:1")


def test_compare_on_processes(folder, tmp_path):
    cases.check_compare(folder, cases.write(tmp_path / "other", seed=1), "processes:1")


def test_the_earliest_error_on_processes(tmp_path):
    cases.check_error(cases.write(tmp_path / "bad"), "processes:1")


def test_the_shell_names_a_runner(folder, tmp_path):
    state = tmp_path / "there.fxt"
    told = run("evaluate", folder, "--logits", "z", "--target", "y", "--runner", "processes:1", "--state", state)
    assert told.exit_code == 0, told.output
    assert state.read_bytes() == fx.evaluate(str(folder), "y", logits="z", threads=1).totals.to_bytes()
    told = run("evaluate", folder, "--logits", "z", "--target", "y", "--runner", "processes:0")
    assert told.exit_code == 2
    assert "runner: expected a number of at least 1 after 'processes:', got 'processes:0'" in told.stderr


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("processes", "Processes"), ("processes:4", "Processes"), ("tcp://host:8786", "Dask"), ("tls://host:1", "Dask"),
        ("spark://host:7077", "Spark"), ("local[4]", "Spark"), ("sc://host:15002", "Spark"), ("ray", "Ray"),
        ("ray://host:10001", "Ray"),
    ],
)  # fmt: skip
def test_words_of_runners(word, kind):
    runner = runner_of(word, 2)
    assert (type(runner).__name__, runner.name) == (kind, "processes:2" if word == "processes" else word)


def test_score_and_compare_take_them_in_the_shell(folder, tmp_path):
    words = ("--logits", "z", "--target", "y", "--runner", "processes:1")
    other = cases.write(tmp_path / "other", seed=1)
    assert run("score", folder, "-o", f"{tmp_path}/rows/", "--keep", "id", *words).exit_code == 0
    fx.score(str(folder), f"{tmp_path}/here/", "y", logits="z", keep="id")
    assert len(list((tmp_path / "rows").iterdir())) == cases.FILES + 1  # and the manifest
    for path in (tmp_path / "here").iterdir():
        assert (tmp_path / "rows" / path.name).read_bytes() == path.read_bytes()
    told = run("compare", folder, other, "--on", "id", "--json", tmp_path / "there.json", *words)
    assert told.exit_code == 0, told.output
    said = json.loads((tmp_path / "there.json").read_text())
    assert said["run"]["runner"] == "processes:1"
    here = fx.compare(str(folder), str(other), "y", on="id", logits="z").to_dict()
    assert said["delta"] == json.loads(json.dumps(here["delta"]))


@pytest.mark.parametrize("runner", [3, "cluster", "process", object()])
def test_what_is_no_runner(folder, runner):
    with pytest.raises(fx.UsageError, match=r"runner: expected 'processes', .* a SparkSession, got "):
        cases.evaluate(folder, runner=runner)


def test_memory_refuses_other_processes(tmp_path):
    scores, labels = np.eye(4), np.arange(4)
    said = "lies in the memory of this process, so no other process can read it; write it to a file"
    with pytest.raises(fx.UsageError, match=said):
        fx.evaluate(logits=scores, target=labels, runner="processes:1")
    with pytest.raises(fx.UsageError, match=said):
        fx.score(cases.table(0), f"{tmp_path}/out/", "y", logits="z", runner="processes:1")
    with pytest.raises(fx.UsageError, match=f"A: .*{said}"):
        fx.compare(cases.table(0), cases.table(0), "y", on="id", logits="z", runner="processes:1")


def test_a_worker_that_cannot_see_a_file_says_which_and_where(tmp_path):
    folder = cases.write(tmp_path / "in")
    planned = cases.plan(folder, tmp_path / "counts", {})
    (folder / "0002.parquet").rename(tmp_path / "away")
    said = rf"{folder}/0002\.parquet: cannot be .* \(on {socket.gethostname()}, process \d+\)"
    with pytest.raises(fx.SourceError, match=said), Processes(1) as runner:
        score_plan(planned, runner)


KILLED = """
import os, signal, sys
from multiprocessing import active_children
from pathlib import Path
from tests import runner_cases as cases
def stop(split, rows):
    print(*(child.pid for child in active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    cases.evaluate(Path(sys.argv[1]), runner="processes:2", progress=stop)
"""


def test_workers_end_with_who_started_them(folder, tmp_path):
    (tmp_path / "run.py").write_text(KILLED)
    process = start([str(tmp_path / "run.py"), str(folder)])
    out, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    pids = out.split()
    assert pids
    for _ in range(100):
        if not any(runs(pid) for pid in pids):
            return
        time.sleep(0.1)
    pytest.fail(f"still there: {pids}")


def runs(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_keys_that_were_given_travel_and_others_are_found_where_the_worker_is(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "FROM-THE-ENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET-OF-THE-ENVIRONMENT")
    found = DataFile("s3://bucket/a", "bucket/a", fs.S3FileSystem(region="us-east-1"))
    given = DataFile("s3://bucket/a", "bucket/a", fs.S3FileSystem(access_key="KEY", secret_key="SECRET", region="x"))
    assert b"ENVIRONMENT" not in pickle.dumps(found)
    assert b"SECRET" in pickle.dumps(given)


def test_one_output_takes_threads(folder, tmp_path):
    with pytest.raises(fx.UsageError, match=r"runner='processes:1' writes an output for every input file, so name a"):
        fx.score(str(folder), f"{tmp_path}/one.parquet", "y", logits="z", runner="processes:1")
