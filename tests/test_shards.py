"""``--shard K/N``: parts of a run by hand, whose states are put together to the bytes of one run, or not at all."""

from __future__ import annotations

import pytest

import fastxent as fx
from fastxent.totals.state_files import merge_states, read_state
from tests import runner_cases as cases
from tests.shell import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return cases.write(tmp_path_factory.mktemp("shards") / "in", files=7)


def shards(folder, out, count, *more):
    states = [out / f"{k}.fxt" for k in range(1, count + 1)]
    words = ("--logits", "z", "--target", "y", "--group-by", "country", "--worst", "5", "--keep", "id", *more)
    for k, state in enumerate(states, 1):
        told = run("evaluate", folder, *words, "--shard", f"{k}/{count}", "--state", state)
        assert told.exit_code == 0, told.output
    return states


def whole(folder):
    return fx.evaluate(str(folder), "y", logits="z", group_by="country", worst=5, keep="id").totals.to_bytes()


@pytest.mark.parametrize("count", [1, 3, 9])
def test_shards_in_any_order_are_the_bytes_of_one_run(folder, tmp_path, count):
    states = shards(folder, tmp_path, count)
    assert sum(int(read_state(state).tallies.rows.sum()) for state in states) == 7 * cases.ROWS
    assert merge_states(states[::-1]).to_bytes() == whole(folder)
    told = run("merge", *states, "--state", tmp_path / "all.fxt", "--json", "-")
    assert told.exit_code == 0, told.output
    assert (tmp_path / "all.fxt").read_bytes() == whole(folder)


def test_what_is_missing_or_there_twice_is_named(folder, tmp_path):
    states = shards(folder, tmp_path, 4)
    with pytest.raises(fx.StateError, match="merge: 2 of 4 shards are missing: 1, 3; make them"):
        merge_states([states[1], states[3]])
    (tmp_path / "copy.fxt").write_bytes(states[1].read_bytes())
    with pytest.raises(fx.UsageError, match=r"copy\.fxt and .*2\.fxt are both shard 2"):
        merge_states([*states, tmp_path / "copy.fxt"])


def test_shards_of_other_runs_are_refused(folder, tmp_path):
    (tmp_path / "three").mkdir()
    states = shards(folder, tmp_path, 2)
    others = shards(folder, tmp_path / "three", 3)
    with pytest.raises(fx.StateError, match="are not shards of the same run"):
        merge_states([states[0], others[1]])
    run("evaluate", folder, "--logits", "z", "--target", "y", "--state", tmp_path / "whole.fxt")
    with pytest.raises(fx.StateError, match="are not shards of the same run"):
        merge_states([states[0], tmp_path / "whole.fxt"])
    smooth = shards(folder, tmp_path / "three", 2, "--label-smoothing", "0.1")
    with pytest.raises(fx.StateError, match="label_smoothing"):
        merge_states([states[0], smooth[1]])
    damaged = bytearray(states[0].read_bytes())
    damaged[20] ^= 1
    states[0].write_bytes(damaged)
    with pytest.raises(fx.StateError, match=r"1\.fxt: damaged"):
        merge_states(states)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/3/5", "-1/3", ""])
def test_what_is_no_shard(folder, text):
    with pytest.raises(fx.UsageError, match="shard: expected K/N with K from 1 to N, such as 3/100, got "):
        fx.evaluate(str(folder), "y", logits="z", shard=text)


def test_a_shard_says_which_it_is(folder):
    ev = fx.evaluate(str(folder), "y", logits="z", shard="2/3", runner="processes:1")
    assert {name: ev.run["shard"][name] for name in ("number", "of")} == {"number": 2, "of": 3}
    assert 0 < ev.num_rows < 7 * cases.ROWS
