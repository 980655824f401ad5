"""State files and their merging, from Python and from the shell."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import fastxent as fx
from fastxent.base.atomic_files import write_atomically
from fastxent.cli.main import _one_line_errors, cli
from fastxent.totals.state_files import merge_states, read_state
from tests.shell import without_notice


def run(*arguments: object) -> tuple[int, str, str]:
    """The command as main() runs it: exit code, standard output, standard error but for the notice of compiling."""
    runner = CliRunner()
    with runner.isolation() as streams:
        code = 0
        try:
            with _one_line_errors():
                cli([str(a) for a in arguments], standalone_mode=True)
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, streams[0].getvalue().decode(), without_notice(streams[1].getvalue().decode())


@pytest.fixture
def parts(tmp_path: Path) -> list[Path]:
    """Three files of one data set, with some rows that cannot be scored."""
    rng = np.random.default_rng(1)
    paths = []
    for number, n in enumerate([40, 1, 300]):
        label = rng.integers(0, 5, n)
        label[n // 2] = -1 if number else 3
        table = pa.table({"z": list(rng.normal(0, 3, (n, 5)).astype(np.float32)), "y": label})
        paths.append(tmp_path / f"part-{number}.parquet")
        pq.write_table(table, paths[-1], row_group_size=64)
    return paths


OPTIONS = ("--logits", "z", "--target", "y", "--on-invalid", "skip", "--no-progress")
MORE = ("--worst", "7", "--label-errors", "3", "--group-by", "y", "--cluster-by", "y")


@pytest.mark.parametrize("more", [(), MORE])
def test_merged_parts_are_the_bytes_of_one_run(parts: list[Path], tmp_path: Path, more: tuple[str, ...]) -> None:
    states = [path.with_suffix(".fxt") for path in parts]
    for path, state in zip(parts, states, strict=True):
        assert run("evaluate", path, *OPTIONS, *more, "--state", state)[0] in (
            0,
            3,
        )  # the file of one row has nothing to score
    whole, merged = tmp_path / "whole.fxt", tmp_path / "merged.fxt"
    assert run("evaluate", *parts, *OPTIONS, *more, "--state", whole)[0] == 0
    code, output, _ = run("merge", *states, "--state", merged, "--json", "-")
    assert code == 0
    assert merged.read_bytes() == whole.read_bytes()
    one = fx.evaluate([str(p) for p in parts], "y", logits="z", on_invalid="skip")
    result = json.loads(output)
    assert result["loss"]["sum"] == one.loss_stats.sum
    assert result["first_invalid"] == {"label_out_of_range": 40}
    # Other orders give the same statistics; only the numbers of single rows move.
    turned = merge_states(states[::-1])
    assert fx.Evaluation(turned).to_dict()["loss"] == fx.Evaluation(read_state(whole)).to_dict()["loss"]
    # And a merge of merges is a merge.
    run("merge", states[0], states[1], "--state", tmp_path / "first.fxt")
    run("merge", tmp_path / "first.fxt", states[2], "--state", tmp_path / "again.fxt")
    assert (tmp_path / "again.fxt").read_bytes() == whole.read_bytes()


def test_what_cannot_be_merged(parts: list[Path], tmp_path: Path) -> None:
    a, b = tmp_path / "a.fxt", tmp_path / "b.fxt"
    run("evaluate", parts[0], *OPTIONS, "--state", a)
    run("evaluate", parts[0], *OPTIONS, "--state", b, "--ignore-index", "4")
    code, _, error = run("merge", a, b)
    assert code == 3
    assert "ignore_index is 'unset' here and 4 there" in error
    assert str(b) in error
    code, _, error = run("merge", a, a)
    assert (code, "named twice" in error) == (2, True)
    code, _, error = run("merge", a, tmp_path / "none.fxt")
    assert (code, "none.fxt: cannot be read: No such file" in error) == (3, True)
    damaged = bytearray(a.read_bytes())
    damaged[-50] ^= 1
    b.write_bytes(damaged)
    code, _, error = run("merge", a, b)
    assert (code, "damaged" in error) == (3, True)
    b.write_bytes(b"hello")
    assert "not a fastxent state file" in run("merge", a, b)[2]


def test_another_numerics_version_is_refused(
    parts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = tmp_path / "a.fxt"
    run("evaluate", parts[0], *OPTIONS, "--state", a)
    monkeypatch.setattr("fastxent.totals.totals.NUMERICS_VERSION", 99)
    code, _, error = run("merge", a)
    assert code == 3
    assert "numerics version" in error
    assert "99" in error


def test_gates_end_with_exit_code_1_and_what_failed(parts: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    code, _, error = run(
        "evaluate", parts[0], *OPTIONS, "--json", path, "--fail-if", "loss > 0.1", "--fail-if", "accuracy < 0",
        "--fail-if", "rows.scored == 40",
    )  # fmt: skip
    loss = json.loads(path.read_text())["loss"]["mean"]
    assert code == 1
    assert error.splitlines() == [
        f"fastxent: gate failed: loss > 0.1 (it is {loss!r})",
        "fastxent: gate failed: rows.scored == 40 (it is 40)",
    ]
    assert run("evaluate", parts[0], *OPTIONS, "--fail-if", "loss > 100")[0] == 0
    code, _, error = run("evaluate", parts[0], *OPTIONS, "--fail-if", "los > 100")
    assert (code, "did you mean loss" in error) == (2, True)
    # A malformed gate stops the run before it begins.
    code, _, error = run("evaluate", tmp_path / "none.parquet", *OPTIONS, "--fail-if", "loss")
    assert (code, "expected a comparator" in error) == (2, True)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "f"
    write_atomically(path, b"one")
    path.chmod(0o640)
    link = tmp_path / "link"
    link.symlink_to(path)
    write_atomically(link, b"two")
    assert (path.read_bytes(), link.is_symlink(), path.stat().st_mode & 0o777) == (b"two", True, 0o640)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["f", "link"]
    with pytest.raises(fx.OutputError, match="cannot be written: the folder does not exist"):
        write_atomically(tmp_path / "none" / "f", b"")
    with pytest.raises(fx.OutputError, match="cannot be written"):
        write_atomically(tmp_path, b"")
