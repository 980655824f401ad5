"""``runner=``: the same bits from other processes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import fastxent as fx
from tests import runner_cases as cases
from tests.shell import run


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


def test_one_output_takes_threads(folder, tmp_path):
    with pytest.raises(fx.UsageError, match=r"runner='processes:1' writes an output for every input file, so name a"):
        fx.score(str(folder), f"{tmp_path}/one.parquet", "y", logits="z", runner="processes:1")
