"""inspect, doctor and warmup: what they see, and the command they give."""

import json
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent.api.doctor import checkup
from fastxent.base.text import printable
from tests.shell import run

DATA = Path(__file__).parent.parent / "data"


def test_a_file_that_says_what_it_holds_needs_no_flags():
    path = DATA / "digits.parquet"
    assert fx.inspect(path).commands == (f"fastxent evaluate {path}",)
    plain, named = (run("evaluate", path, *flags, "--json", "-") for flags in ((), ("--logits", "logits")))
    assert json.loads(plain.stdout)["loss"] == json.loads(named.stdout)["loss"]
    assert fx.evaluate(path, probs="probs").loss != fx.evaluate(path).loss


def test_a_file_with_a_choice_gives_a_command_for_each(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pq.read_table(DATA / "digits.parquet").replace_schema_metadata(), path)
    found = fx.inspect(path)
    assert found.commands == (
        f"fastxent evaluate {path} --logits logits --target label",
        f"fastxent evaluate {path} --probs probs --target label",
    )
    assert found.selection is None
    assert "several columns" in found.open_questions[0]
    assert found.num_classes == 10
    assert found.speed.rows == 1797
    for command in found.commands:
        done = run(*shlex.split(command)[1:], "--json", "-")
        assert done.exit_code == 0, done.output


def test_a_file_that_says_everything_needs_no_flags(tmp_path):
    with fx.PredictionWriter(tmp_path / "p q.parquet", class_names=["a", "b"]) as writer:
        writer.write(np.zeros((3, 2), np.float32), target=["a", "b", "a"])
    found = fx.inspect(tmp_path / "p q.parquet")
    assert found.commands == (f"fastxent evaluate '{tmp_path}/p q.parquet'",)
    assert found.description.class_names == ("a", "b")
    done = run(*shlex.split(found.commands[0])[1:], "--json", "-")
    assert json.loads(done.stdout)["loss"]["mean"] == pytest.approx(np.log(2))


def test_binary(tmp_path):
    table = pq.read_table(DATA / "breast_cancer.parquet", columns=["prob", "label"]).replace_schema_metadata()
    pq.write_table(table, tmp_path / "x.parquet")
    found = fx.inspect(str(tmp_path / "x.parquet"))
    assert found.commands == (f"fastxent evaluate {tmp_path}/x.parquet --probs prob --target label --task binary",)
    assert (found.form, found.num_classes) == ("probs", 1)


def test_json_reads_back(tmp_path):
    done = run("inspect", DATA / "digits.parquet", "--json", "--no-measure")
    found = json.loads(done.stdout)
    assert found["rows"] == 1797
    assert found["row_groups"] == 4
    assert found["columns"][1]["codec"] == "ZSTD"
    assert "reading" not in found


def test_several_files_and_none(tmp_path):
    done = run("inspect", DATA / "digits.parquet", DATA / "digits_kernel.parquet")
    assert "2 files, parquet" in done.stdout
    assert "3,594 rows" in done.stdout
    pq.write_table(pa.table({"x": ["a"]}), tmp_path / "x.parquet")
    done = run("inspect", tmp_path / "x.parquet")
    assert done.exit_code == 0
    assert "looks like predictions" in done.stdout
    assert run("inspect", tmp_path / "missing.parquet").exit_code == 3
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing PAR1")
    done = run("inspect", tmp_path / "bad.parquet")
    assert done.exit_code == 3
    assert done.stderr.count("\n") == 1


def test_text_from_data_is_made_safe():
    assert printable("a\x1b]0;x\x07\u202eé\n") == "a\\x1b]0;x\\x07\\u202eé\\n"


def test_doctor():
    done = run("doctor", "--json")
    facts = json.loads(done.stdout)
    assert {"numba", "llvmlite", "numpy", "pyarrow", "features", "cache_folder", "threads"} <= set(facts)
    assert facts["problems"] == []
    assert "threads" in run("doctor").stdout


def test_doctor_names_what_makes_kernels_slow(monkeypatch):
    checkup()  # Numba asks for the true features first, and once
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("llvmlite.binding.get_host_cpu_features", lambda: {"sse2": True, "fma": False})
    (problem,) = checkup()["problems"]
    assert "no FMA" in problem
    monkeypatch.setattr("platform.machine", lambda: "aarch64")  # where it is never missing, nor a feature
    assert checkup()["problems"] == []


def test_warmup_compiles_what_is_named():
    done = run("warmup", "--form", "logits", "--task", "binary", "--target", "int8")
    assert done.exit_code == 0, done.output
    assert "binary logits float32 int8" in done.stderr
