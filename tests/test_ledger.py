"""Ledgers: a run that was killed at any moment goes on, with the bytes of an undisturbed one; others are refused."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import zlib

import numpy as np
import pytest

import fastxent as fx
from tests import runner_cases as cases
from tests.shell import environment, run


@pytest.fixture
def folder(tmp_path):
    return cases.write(tmp_path / "in", files=40)


def evaluate(folder, ledger, **options):
    told = []
    ev = cases.evaluate(folder, ledger=ledger, progress=lambda split, rows: told.append(split.path), **options)
    return ev.totals.to_bytes(), told


@pytest.mark.parametrize("runner", [None, "processes:1"])
def test_a_run_with_a_ledger_has_the_same_bytes_and_so_has_one_that_finds_it_finished(folder, tmp_path, runner):
    one = cases.evaluate(folder).totals.to_bytes()
    state, told = evaluate(folder, tmp_path / "ledger", runner=runner)
    assert state == one
    assert sorted(told) == sorted(map(str, folder.iterdir()))
    size = os.path.getsize(tmp_path / "ledger")
    state, again = evaluate(folder, tmp_path / "ledger")
    assert state == one
    assert sorted(again) == sorted(told)
    assert os.path.getsize(tmp_path / "ledger") == size


KILLED = """
import os, signal, sys
import fastxent as fx
from tests import runner_cases as cases
from pathlib import Path
def stop(split, rows, left=[int(sys.argv[3])]):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
if __name__ == "__main__":
    cases.evaluate(Path(sys.argv[1]), ledger=sys.argv[2], progress=stop, runner=sys.argv[4] or None)
"""


@pytest.mark.parametrize(("runner", "kills"), [("", (3, 20, 39)), ("processes:1", (10,))])
def test_a_killed_run_goes_on_and_does_nothing_twice(folder, tmp_path, runner, kills):
    """A split that progress was told of is not read again: its file may be gone by then."""
    one = cases.evaluate(folder).totals.to_bytes()
    ledger = tmp_path / "ledger"
    for count in kills:
        (tmp_path / "run.py").write_text(KILLED)
        words = [sys.executable, tmp_path / "run.py", folder, ledger, str(count), runner]
        assert subprocess.run(words, env=environment(), timeout=60).returncode == -signal.SIGKILL
    state, told = evaluate(folder, ledger)
    assert state == one
    assert len(told) == len(set(told)) == 40


def test_any_cut_of_the_file_is_mended(tmp_path):
    """A kill may come in the middle of any write."""
    folder = cases.write(tmp_path / "few", files=4)
    ledger = tmp_path / "ledger"
    one, _ = evaluate(folder, ledger)
    data = ledger.read_bytes()
    for cut in (0, 7, 20, 48, *np.linspace(300, len(data) - 1, 5).astype(int).tolist()):
        ledger.write_bytes(data[:cut])
        assert evaluate(folder, ledger)[0] == one
    flipped = bytearray(data)
    flipped[-5] ^= 1
    ledger.write_bytes(flipped)
    assert evaluate(folder, ledger)[0] == one


def test_finished_splits_are_not_read_again(folder, tmp_path, monkeypatch):
    from fastxent.sources.parquet.source import ParquetSource

    read, whole = [], ParquetSource.read

    def counted(self, split):
        read.append(split.id)
        return whole(self, split)

    def interrupt(split, rows):
        if len(told) == 9:
            raise KeyboardInterrupt
        told.append(split.id)

    monkeypatch.setattr(ParquetSource, "read", counted)
    told = []
    with pytest.raises(KeyboardInterrupt):
        cases.evaluate(folder, ledger=tmp_path / "ledger", progress=interrupt)
    assert len(told) == 9
    read.clear()
    cases.evaluate(folder, ledger=tmp_path / "ledger")
    assert read
    assert not set(read) & set(told)


def test_errors_keep_what_was_finished(folder, tmp_path):
    path = cases.spoil(folder, 30)
    ledger = tmp_path / "ledger"
    with pytest.raises(fx.InvalidRowError, match=r"0030\.parquet, row 7 "):
        evaluate(folder, ledger)
    with pytest.raises(fx.InvalidRowError, match=r"0030\.parquet, row 7 "):
        evaluate(folder, ledger)
    os.unlink(path)
    with pytest.raises(fx.StateError, match=r"0030\.parquet is gone"):
        evaluate(folder, ledger)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: cases.spoil(folder, 3), r"0003\.parquet has changed"),
        (lambda folder: (folder / "0040.parquet").write_bytes((folder / "0001.parquet").read_bytes()), "is new"),
        (lambda folder: (folder / "0039.parquet").unlink(), r"0039\.parquet is gone"),
        (lambda folder: {"label_smoothing": 0.1}, r"spec label_smoothing is 0\.1 here and .* there"),
        (lambda folder: {"filter": "id > 3"}, r"inputs filter is 'id > 3' here and 'None' there"),
        (lambda folder: {"cluster_by": "id"}, "statistics cluster_by is 'id' here and None there"),
    ],
)
def test_another_run_is_refused_by_name(folder, tmp_path, change, said):
    evaluate(folder, tmp_path / "ledger")
    options = change(folder)
    with pytest.raises(fx.StateError, match=rf"ledger: is the ledger of another run: .*{said}"):
        evaluate(folder, tmp_path / "ledger", **(options if isinstance(options, dict) else {}))


def test_another_version_is_refused(folder, tmp_path, monkeypatch):
    evaluate(folder, tmp_path / "ledger")
    monkeypatch.setattr("fastxent.engine.ledger.package_version", lambda: "9.9")
    with pytest.raises(fx.StateError, match=r"fastxent is '9\.9' here and '.*' there"):
        evaluate(folder, tmp_path / "ledger")


def test_what_is_no_ledger_and_what_has_none(folder, tmp_path):
    (tmp_path / "other").write_text("some notes of mine")
    with pytest.raises(fx.StateError, match="other: is no ledger of fastxent; name another file"):
        evaluate(folder, tmp_path / "other")
    assert (tmp_path / "other").read_text() == "some notes of mine"
    with pytest.raises(fx.UsageError, match="lies in the memory of this process"):
        fx.evaluate(logits=np.eye(3), target=[0, 1, 2], ledger=tmp_path / "arrays")
    with pytest.raises(fx.OutputError, match="the folder does not exist"):
        evaluate(folder, tmp_path / "none" / "ledger")


def test_two_runs_do_not_write_one_ledger(folder, tmp_path):
    def nested(split, rows):
        with pytest.raises(fx.UsageError, match="another run is writing this ledger"):
            cases.evaluate(folder, ledger=tmp_path / "ledger")

    cases.evaluate(folder, ledger=tmp_path / "ledger", progress=nested)


def test_damage_that_is_left_out_is_remembered(folder, tmp_path):
    (folder / "0005.parquet").write_bytes(b"PAR1 nothing PAR1")
    options = {"on_error": "skip", "ledger": tmp_path / "ledger"}
    one, two = (cases.evaluate(folder, **options) for _ in range(2))
    assert one.left_out == two.left_out
    assert len(one.left_out) == 1


def test_the_shell(folder, tmp_path):
    words = ("evaluate", folder, "--logits", "z", "--target", "y", "--ledger", tmp_path / "ledger", "--json", "-")
    one, two = run(*words), run(*words)
    assert one.exit_code == two.exit_code == 0, one.output
    told = run(*words, "--label-smoothing", "0.1")
    assert told.exit_code == 3
    assert "is the ledger of another run" in told.stderr


def entries_of(path):
    """The entries of a ledger, unpacked."""
    data, at, found = path.read_bytes(), 8, []
    while at < len(data):
        size = int.from_bytes(data[at : at + 8], "little")
        found.append(zlib.decompress(data[at + 40 : at + 40 + size]))
        at += 40 + size
    return found


def forge(path, entries):
    """Write entries with the checksums that they need."""
    packed = [entry if isinstance(entry, tuple) else (zlib.compress(entry),) for entry in entries]
    parts = [len(data).to_bytes(8, "little") + hashlib.sha256(data).digest() + data for (data,) in packed]
    path.write_bytes(b"FXLEDGER" + b"".join(parts))


def noted(entry, **changes):
    note, _, state = entry.partition(b"\n")
    return json.dumps(json.loads(note) | changes).encode() + b"\n" + state


def with_state(entry, state):
    return entry.partition(b"\n")[0] + b"\n" + state


def of_other_numbers(entry):
    """The state of the entry with a count changed, and its checksum made anew."""
    note, _, state = entry.partition(b"\n")
    body = bytearray(state[:-32])
    body[-1] ^= 64
    return note + b"\n" + bytes(body) + hashlib.sha256(body).digest()


LIES = {
    "splits twice in an entry": (lambda e, other: noted(e, units=[0, 0]), "splits are in it twice"),
    "splits in two entries": (lambda e, other: noted(e, units=[0, 1]), "other rows than its splits"),
    "splits that there are not": (lambda e, other: noted(e, units=[7]), "splits that there are not"),
    "splits below the first": (lambda e, other: noted(e, units=[-1]), "splits that there are not"),
    "splits that are no numbers": (lambda e, other: noted(e, units=[0.0]), "splits that there are not"),
    "true for a split": (lambda e, other: noted(e, units=[True]), "splits that there are not"),
    "more splits than rows": (lambda e, other: noted(e, units=[0, 1, 2, 3]), "other rows than its splits"),
    "no splits": (lambda e, other: noted(e, units=[]), "other rows than its splits"),
    "the rows of another split": (lambda e, other: noted(e, units=[3]), "other rows than its splits"),
    "a state of other options": (lambda e, other: with_state(e, other), "of another run: label_smoothing is 0.25 here"),
    "numbers that no data have": (lambda e, other: of_other_numbers(e), "make it again"),
    "nothing beside the units": (lambda e, other: b'{"units": [0]}\n', "damaged|not a fastxent state"),
    "left out with less than no rows": (
        lambda e, other: noted(
            e, left_out=[{"path": "x", "row_group": 0, "reason": "", "rows": -5, "first_row": 0}]
        ), "left out that cannot be",
    ),
    "left out of another shape": (lambda e, other: noted(e, left_out=[{"path": "x"}]), "damaged"),
    "no JSON": (lambda e, other: b"[" * 100_000, "damaged"),
    "no zlib": (lambda e, other: (b"nothing that was packed",), "damaged"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LIES)
def test_a_ledger_that_lies_is_refused(tmp_path, kind):
    """Checksums can be made anew: what an entry says is held against the plan, and against what any data obey."""
    change, said = LIES[kind]
    folder, path = cases.write(tmp_path / "few", files=4), tmp_path / "ledger"
    one, _ = evaluate(folder, path)
    head = entries_of(path)[0]
    other = cases.evaluate(folder, label_smoothing=0.25).totals.to_bytes()
    states = [cases.evaluate(folder / f"{i:04d}.parquet").totals for i in range(4)]
    honest = []
    for i, totals in enumerate(states):
        totals.shift(i * cases.ROWS)
        note = {"units": [i], "left_out": []}
        honest.append(json.dumps(note).encode() + b"\n" + totals.to_bytes())
    forge(path, [head, *honest])
    assert evaluate(folder, path)[0] == one
    forge(path, [head, change(honest[0], other), *honest[1:]])
    data = path.read_bytes()
    with pytest.raises(fx.StateError, match=rf"ledger: .*({said})"):
        evaluate(folder, path)
    assert path.read_bytes() == data


def test_a_length_beyond_the_end_is_cut_off(tmp_path):
    folder, path = cases.write(tmp_path / "few", files=4), tmp_path / "ledger"
    one, _ = evaluate(folder, path)
    for length in (2**63 - 1, 2**64 - 1, 2**40):
        path.write_bytes(path.read_bytes() + length.to_bytes(8, "little") + bytes(40))
        assert evaluate(folder, path)[0] == one
