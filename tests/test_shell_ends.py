"""How the command ends: streams that are closed or full, names that are no text, faults of our own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.shell import ROOT, environment, fastxent, without_notice


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("ends") / "a.parquet"
    table = {
        "p": np.linspace(-1, 1, 40),
        "y": np.arange(40) % 2,
        "g": ["ä" if i % 2 else "b" * 3000 for i in range(40)],
    }
    pq.write_table(pa.table(table), path)
    return path


def shell(script, **changes):
    """A line of the shell, in which $X is the command."""
    return subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=environment(X=f"{sys.executable} -m fastxent", **changes),
        capture_output=True, timeout=120, check=False,
    )  # fmt: skip


def command(data, *more):
    return " ".join(["$X evaluate", str(data), "--logits p --target y --task binary", *more])


@pytest.mark.parametrize("more", ["--json -", "--html -", ""])
def test_a_closed_standard_output_is_an_error(data, more):
    done = shell(command(data, more, ">&-"))
    assert done.returncode == 3
    assert b"standard output" in done.stderr


SPEAKING = {
    "evaluate": "$X evaluate {data} {asked}",
    "score": "$X score {data} {asked} --overwrite -o {folder}/scores.parquet",
    "score as JSON": "$X score {data} {asked} --overwrite -o {folder}/scores.parquet --json -",
    "compare": "$X compare {data} {data} {asked} --by-order",
    "compare as JSON": "$X compare {data} {data} {asked} --by-order --json -",
    "compare of long ids": "$X compare {data} {data} {asked} --by-order --group-by g",
    "merge": "$X merge {folder}/state.fxt",
    "merge as JSON": "$X merge {folder}/state.fxt --json -",
    "inspect": "$X inspect {data}",
    "convert": "$X convert {data} {folder}/other.parquet --overwrite --logits p --target y",
    "doctor": "$X doctor",
    "help": "$X --help",
    "version": "$X --version",
}


@pytest.mark.parametrize("name", SPEAKING)
def test_no_command_says_that_it_went_well_where_nobody_could_hear_it(data, tmp_path, name):
    asked = "--logits p --target y --task binary"
    if "merge" in name:
        assert shell(f"$X evaluate {data} {asked} --state {tmp_path}/state.fxt").returncode == 0
    line = SPEAKING[name].format(data=data, asked=asked, folder=tmp_path)
    done = shell(f"{line} >&-")
    assert done.returncode == 3, done.stderr
    assert b"standard output: cannot be written" in done.stderr
    assert b"Traceback" not in done.stderr


def test_long_values_are_cut_short_in_every_table(data):
    asked = "--logits p --target y --task binary"
    done = shell(f"$X compare {data} {data} {asked} --by-order --group-by g")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.decode().splitlines())) < 400
    assert len(done.stdout) < 10_000


def test_a_closed_standard_error_changes_nothing(data):
    done = shell(command(data, "--json -", "2>&-"))
    assert done.returncode == 0
    assert b'"loss"' in done.stdout
    assert shell(command(data, "--json - 2>&- 0>&-", "--fail-if", "'loss > 0'")).returncode == 1
    assert shell("$X evaluate nowhere.parquet --logits p --target y 2>&-").returncode == 3


def test_a_reader_of_errors_that_has_gone_changes_no_exit_code(data):
    assert shell(command("nowhere.parquet", "2> >(exec true)")).returncode == 3


def test_any_encoding_of_the_terminal_will_do(data):
    done = shell(command(data, "--group-by g"), PYTHONIOENCODING="ascii", PYTHONUTF8="0", LC_ALL="C")
    assert done.returncode == 0, done.stderr
    assert rb"\xe4" in done.stdout


def test_a_long_value_does_not_push_numbers_out_of_sight(data):
    done = shell(command(data, "--group-by g"))
    line = next(line for line in done.stdout.decode().splitlines() if "bbb" in line)
    assert len(line) < 400
    assert "..." in line


def test_arguments_that_are_no_text(data):
    done = shell(command(data, r"--group-by $'\xff'"))
    assert done.returncode == 2
    assert b"not UTF-8" in done.stderr


@pytest.mark.parametrize(
    "more", [["--top-k", "inf"], ["--ignore-index", str(2**70)], ["--memory", "1e999"], ["--base", "1e999"],
             ["--filter", "p > 1e999"], ["--filter", "p > " + "9" * 50_000], ["--threads", "1e5"]]
)  # fmt: skip
def test_numbers_beyond_all_bounds(data, more):
    done = fastxent("evaluate", data, "--logits", "p", "--target", "y", "--task", "binary", *more)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_a_fault_of_ours_is_one_line_that_asks_for_a_report(data):
    broken = (
        "import sys, fastxent.api.evaluate as e, fastxent.cli.main as m\n"
        "e.open_job = lambda *a, **k: {}['gone']\n"
        "sys.argv[1:] = {}\nm.main()\n"
    )
    arguments = ["evaluate", str(data), "--logits", "p", "--target", "y", "--task", "binary"]
    for debug in ([], ["--debug"]):
        code = broken.replace("sys.argv[1:] = {}", f"sys.argv[1:] = {arguments + debug!r}")
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, env=environment(), capture_output=True, text=True, check=False
        )
        assert done.returncode == 70
        assert "report" in done.stderr.splitlines()[-1]
        assert ("Traceback" in done.stderr) == bool(debug)
        if not debug:
            assert len(done.stderr.splitlines()) == 1


def test_numba_without_its_compiler(data):
    done = fastxent("evaluate", data, "--logits", "p", "--target", "y", "--task", "binary", NUMBA_DISABLE_JIT="1")
    assert done.returncode == 2
    assert without_notice(done.stderr).startswith("fastxent: NUMBA_DISABLE_JIT")


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "a.npy", "a.safetensors"])
def test_a_pipe_is_no_file(tmp_path, name):
    os.mkfifo(tmp_path / name)
    target = ["--target", str(tmp_path / name)] if name.endswith("npy") else ["--target", "y"]
    logits = ["--logits", str(tmp_path / name)] if name.endswith("npy") else [str(tmp_path / name), "--logits", "p"]
    done = fastxent("evaluate", *logits, *target)
    assert done.returncode == 3
    assert "pipe" in done.stderr


def test_an_interrupt_while_compiling_is_heard(data, tmp_path):
    """At many moments of the compiler's work: some are in callbacks that swallow exceptions."""
    for seconds in (1.5, 2.5, 4.0):
        process = subprocess.Popen(
            [sys.executable, "-m", "fastxent", "evaluate", str(data), "--logits", "p", "--target", "y",
             "--task", "binary"],
            cwd=ROOT, env=environment(NUMBA_CACHE_DIR=str(tmp_path / f"{seconds}")), stderr=subprocess.PIPE, text=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
        assert process.returncode == 130, said
