"""Every mistake has its exception, its words and its exit code: one table for Python, one for the shell."""

from __future__ import annotations

# ruff: noqa: E501  (tables, a mistake a line)
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from tests.shell import environment, fastxent, run, without_notice

Z, T = np.zeros((3, 4)), [0, 1, 2]
NAN = float("nan")


def logits(**changes):
    z = Z.copy()
    z[1, 2] = changes.get("bad", 0.0)
    return z


#: call -> (arguments of cross_entropy, exception, words of its message)
CALLS = {
    "no predictions": ({}, fx.UsageError, "exactly one of logits=, probs= and log_probs=, got none of them"),
    "two forms": ({"logits": Z, "probs": Z}, fx.UsageError, "got logits and probs"),
    "one axis": ({"logits": Z[0]}, fx.UsageError, r"shape \(n, classes\), got \(4,\); one score a row .*binary_cross_entropy"),
    "no classes": ({"logits": Z[:, :0]}, fx.UsageError, "no classes"),
    "text": ({"logits": [["a"]] * 3}, fx.UsageError, "predictions must be numbers"),
    "lengths": ({"logits": Z[:2]}, fx.UsageError, r"target must have shape \(2,\) or \(2, 4\)"),
    "reduction": ({"logits": Z, "reduction": "avg"}, fx.UsageError, "expected 'mean', 'sum', 'none' or 'elementwise', got 'avg'"),
    "base": ({"logits": Z, "base": 1}, fx.UsageError, "base: expected a number above 1"),
    "threads": ({"logits": Z, "threads": 0}, fx.UsageError, "threads: expected at least 1, got 0"),
    "smoothing": ({"logits": Z, "label_smoothing": 1.5}, fx.UsageError, r"label_smoothing: .* \[0, 1\], got 1.5"),
    "weights": ({"logits": Z, "class_weight": [1, 2]}, fx.UsageError, "class_weight: expected 4 numbers, .* got 2"),
    "negative": ({"logits": Z, "class_weight": [1, 1, -1, 1]}, fx.UsageError, r"class_weight\[2\]: .* got -1.0"),
    "policy": ({"logits": Z, "on_invalid": "drop"}, fx.UsageError, "on_invalid: expected one of 'raise'"),
    "clip": ({"logits": Z, "clip": 0.1}, fx.UsageError, "clip applies to probs"),
    "normalize": ({"logits": Z, "normalize": True}, fx.UsageError, "normalize applies"),
    "sample weights": ({"logits": Z, "sample_weight": [1.0]}, fx.UsageError, r"weight must have shape \(3,\), got \(1,\)"),
    "label": ({"logits": Z[:, :2]}, fx.InvalidRowError, r"row 2 \(from 0\): .*label 2, classes are 0 to 1; .*ignore_index"),
    "NaN": ({"logits": logits(bad=NAN)}, fx.InvalidRowError, r"row 1 .*NaN: class 2 is nan; .*on_invalid='skip'"),
    "inf": ({"logits": logits(bad=np.inf)}, fx.InvalidRowError, r"row 1 .*a logit is \+inf: class 2 is inf"),
    "masked": ({"logits": [[-np.inf] * 4] * 3}, fx.InvalidRowError, r"row 0 .*every logit is -inf; "),
    "weight": ({"logits": Z, "sample_weight": [1, NAN, 1]}, fx.InvalidRowError, "row 1 .*: weight nan; "),
    "probability": ({"probs": logits(bad=1.5)}, fx.InvalidRowError, r"row 1 .*outside \[0, 1\]: class 2 is 1.5; .*logits="),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    arguments, exception, words = CALLS[name]
    with pytest.raises(exception, match=words) as caught:
        fx.cross_entropy(T, **arguments)
    assert type(caught.value) is exception
    assert isinstance(caught.value, ValueError)


def test_the_row_that_is_named_does_not_depend_on_threads():
    z = np.zeros((400_000, 8))
    t = np.zeros(400_000, int)
    t[[123_456, 300_000]] = 8
    for threads in (1, 2, 4):
        with pytest.raises(fx.InvalidRowError) as caught:
            fx.cross_entropy(t, logits=z, threads=threads)
        assert (caught.value.row, caught.value.cause) == (123_456, "label_out_of_range")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    good = {"z": [[0.0, 1.0], [1.0, 0.0]], "y": [0, 1], "name": ["a", "b"]}
    tables = {
        "good": good,
        "label": good | {"y": [0, 2]},
        "nan": good | {"z": [[0.0, 1.0], [NAN, 0.0]]},
        "ignored": good | {"y": [-100, -100]},
    }
    for name, table in tables.items():
        pq.write_table(pa.table(table), folder / f"{name}.parquet")
    (folder / "text.parquet").write_text("no Parquet")
    return folder


OPTIONS = ["--logits", "z", "--target", "y"]
#: mistake -> (arguments with {} for the folder, exit code, words)
SHELL = {
    "missing file": (["{}/nothing.parquet", *OPTIONS], 3, "nothing.parquet"),
    "no Parquet": (["{}/text.parquet", *OPTIONS], 3, "is not a readable Parquet file"),
    "missing column": (["{}/good.parquet", "--logits", "x", "--target", "y"], 3, "'x'"),
    "wrong type": (["{}/good.parquet", "--logits", "name", "--target", "y"], 3, "name"),
    "label": (["{}/label.parquet", *OPTIONS], 3, "row 1 (from 0): the label lies outside the classes: label 2"),
    "NaN": (["{}/nan.parquet", *OPTIONS], 3, "class 0 is nan"),
    "nothing scored": (["{}/ignored.parquet", *OPTIONS, "--ignore-index", "-100"], 3, "no row was scored (2 read)"),
    "unwritable": (["{}/good.parquet", *OPTIONS, "--json", "/dev/null/r.json"], 3, "/dev/null/r.json: cannot be written"),
    "no form": (["{}/good.parquet", "--target", "y"], 2, "say what"),
    "clip": (["{}/good.parquet", *OPTIONS, "--clip", "0.1"], 2, "clip applies to probs"),
    "weights": (["{}/good.parquet", *OPTIONS, "--class-weight", "1,x"], 2, "--class-weight: expected numbers"),
}  # fmt: skip


@pytest.mark.parametrize("name", SHELL)
def test_shell(files, name):
    arguments, code, words = SHELL[name]
    done = run("evaluate", *(argument.format(files) for argument in arguments), "--no-progress")
    lines = without_notice(done.stderr).splitlines()
    assert done.exit_code == code, done.stderr
    assert len(lines) == 1
    assert lines[0].startswith("fastxent: ")
    assert words in lines[0]


@pytest.mark.parametrize("arguments", [["evaluate", "--nonsense"], ["evaluate", "a", "--threads", "0"], ["nonsense"]])
def test_options_that_do_not_exist(arguments):
    done = run(*arguments)
    assert done.exit_code == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("option", ["--json", "--html", "--state"])
@pytest.mark.parametrize(
    ("place", "code", "words"),
    [
        ("{}/missing/result", 3, "missing/result: cannot be written: the folder does not exist; make it first"),
        ("{}", 3, "cannot be written: it is a directory; name a file in it"),
        ("{}/good.parquet", 2, "good.parquet: is an input; name another file for the output"),
    ],
)
def test_what_cannot_be_written_is_told_before_the_work(files, monkeypatch, option, place, code, words):
    monkeypatch.setattr("fastxent.api.evaluate.evaluate", lambda *_, **__: pytest.fail("it was evaluated"))
    before = {path.name: path.read_bytes() for path in files.iterdir()}
    done = run("evaluate", files / "good.parquet", *OPTIONS, option, place.format(files))
    assert (done.exit_code, words in done.stderr) == (code, True), done.stderr
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before


def test_reports_that_cannot_be_made_are_told_before_the_work(files, monkeypatch):
    monkeypatch.setattr("fastxent.api.evaluate.evaluate", lambda *_, **__: pytest.fail("it was evaluated"))
    monkeypatch.setattr("fastxent.report.write.find_spec", lambda name: None)
    done = run("evaluate", files / "good.parquet", *OPTIONS, "--html", "report.html")
    assert (done.exit_code, "a report needs jinja2: pip install" in done.stderr) == (2, True), done.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full of Linux")
@pytest.mark.parametrize("options", [[], ["--json", "-"]])
def test_a_full_disk_behind_standard_output(files, options):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "fastxent", "evaluate", files / "good.parquet", *OPTIONS, *options],
            env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert done.returncode == 3
    told = [line for line in done.stderr.splitlines() if "compiling" not in line]
    assert told == ["fastxent: standard output: cannot be written: the disk is full; make room or write elsewhere"]


def test_json_on_standard_output_is_pure(files):
    import json

    done = fastxent("evaluate", files / "good.parquet", *OPTIONS, "--json", "-")
    assert done.returncode == 0
    assert json.loads(done.stdout)["rows"]["scored"] == 2
