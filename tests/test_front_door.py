"""What a newcomer tries: calls in the habits of other libraries, results compared with ==, gates with a typo."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import fastxent as fx
from tests.shell import python, run

DATA = Path(__file__).parent.parent / "data"
Y, P = np.array([0, 1, 1, 0]), np.array([0.2, 0.7, 0.6, 0.4])
Z = np.array([[2.0, 0.0], [0.0, 2.0], [0.0, 1.0], [2.0, 0.0]])
LOSSES = ("cross_entropy", "binary_cross_entropy", "focal_loss", "poly1_loss", "kl_divergence")


@pytest.mark.parametrize("name", LOSSES)
def test_predictions_by_position_are_answered_with_their_names(name):
    with pytest.raises(TypeError, match=rf"{name}\(y, logits=z\), or probs= or log_probs="):
        getattr(fx, name)(Y, Z)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: fx.entropy(Z), r"entropy\(logits=z\)"),
        (lambda: fx.evaluate(Z, Y), "arrays go by the name of what they are, without data: logits="),
        (lambda: fx.evaluate(Y, Z), "arrays go by the name"),
        (lambda: fx.score(Z), "arrays go by the name"),
        (lambda: fx.evaluate(logits=Z, y_true=Y), "no keyword 'y_true'; did you mean target=?"),
        (lambda: fx.evaluate(y_pred=Z, target=Y), "evaluate has no y_pred; .*logits=, probs= or log_probs="),
        (lambda: fx.evaluate(logits=Z, target=Y, treads=2), "did you mean threads="),
        (lambda: fx.evaluate(logits=Z, target=Y, xyz=2), r"see help\(evaluate\)"),
        (lambda: fx.cross_entropy(logits=Z), "cross_entropy: target is missing"),
        (lambda: fx.cross_entropy(Y, logits=Z, weight=P, sample_weight=P), "another word for weight"),
        (lambda: fx.Evaluator().update(Y, Z), r"Evaluator.update\(y, logits=z\)"),
        (lambda: fx.compare(P, P, Y), "arrays of scores go in logits="),
        (lambda: fx.merge(states=[], bse=2), "did you mean base="),
    ],
)  # fmt: skip
def test_wrong_calls_say_what_to_write(call, said):
    with pytest.raises((TypeError, fx.UsageError), match=said):
        call()


def test_errors_within_a_call_pass_through():
    with pytest.raises(TypeError, match="1 positional argument but 2 were given"):
        fx.evaluate(logits=Z, target=Y, progress=lambda split: None)


@pytest.mark.parametrize("word", ["weight", "sample_weight"])
def test_the_weight_of_a_row_has_one_name_and_scikit_learns_is_taken(word):
    w = {word: [1.0, 2.0, 3.0, 4.0]}
    assert fx.cross_entropy(Y, logits=Z, **w) == fx.cross_entropy(Y, logits=Z, weight=w[word])
    assert fx.evaluate(logits=Z, target=Y, **w).loss == fx.cross_entropy(Y, logits=Z, weight=w[word])
    evaluator = fx.Evaluator()
    evaluator.update(Y, logits=Z, **w)
    assert evaluator.compute() == fx.evaluate(logits=Z, target=Y, weight=w[word])
    flag = f"--{word.replace('_', '-')}"
    done = run("evaluate", DATA / "digits.parquet", flag, "fold", "--json", "-")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["weight_sum"] > 0


def test_names_that_there_are_not_have_close_ones():
    with pytest.raises(AttributeError, match="did you mean evaluate"):
        fx.evalute  # noqa: B018
    with pytest.raises(AttributeError, match=r"fastxent\.sklearn\.log_loss"):
        fx.log_loss  # noqa: B018
    with pytest.raises(AttributeError, match="did you mean recall"):
        fx.evaluate(probs=P, target=Y, task="binary").recal  # noqa: B018


def test_results_are_equal_if_they_say_the_same(tmp_path):
    ask = {"probs": P, "target": Y, "task": "binary"}
    ev = fx.evaluate(**ask)
    assert ev == fx.evaluate(**ask, threads=1)
    assert ev == fx.Evaluation(fx.Totals.from_bytes(ev.totals.to_bytes()))
    assert ev != fx.evaluate(**ask, base=2)
    assert ev != fx.evaluate(**ask | {"probs": 1.0 - P})
    assert ev != 1
    assert float(ev.auc) == ev.auc
    assert fx.compare(**ask, b_probs=1.0 - P) == fx.compare(**ask, b_probs=1.0 - P)
    assert fx.compare(**ask, b_probs=1.0 - P) != fx.compare(**ask, b_probs=P)
    page = tmp_path / "r.html"
    assert ev.to_html(page) == page.read_text()


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("delat < 0", "did you mean delta"),
        ("delta.mena > 0", "there is no 'mena' in delta; did you mean mean"),
        ("auc_delat < 0", "did you mean auc_delta"),
        ("groups.fold.1.delta < 0", "nothing is grouped; give --group-by"),
        ("any(groups.fold).delat < 0", "did you mean delta"),
        ("any(groups.flod).delta < 0", "nothing is grouped by 'flod'; did you mean fold"),
    ],
)
def test_gates_of_compare_are_checked_before_anything_is_read(gate, said):
    group = ["--group-by", "fold"] if "any" in gate else []
    done = run("compare", "no.parquet", "none.parquet", "--by-order", *group, "--fail-if", gate)
    assert done.exit_code == 2, done.stderr
    assert said in done.stderr


def test_every_name_of_a_comparison_passes_the_check():
    """The names that are known beforehand are those of results."""
    from fastxent.comparison.known_names import names_of_comparison

    def missing(found, known, where=""):
        for name, value in found.items():
            if isinstance(known, dict):
                if name not in known:
                    yield f"{where}{name}"
                elif isinstance(value, dict) and name not in ("settings", "run", "groups"):
                    yield from missing(value, known[name], f"{where}{name}.")

    a, b = DATA / "digits.parquet", DATA / "digits_kernel.parquet"
    for more in ({}, {"permutations": 9, "cluster_by": "fold"}, {"weight": "fold", "filter": "fold > 0"}):
        told = fx.compare(a, b, target="label", on="id", group_by="fold", **more).to_dict()
        assert not list(missing(told, names_of_comparison()))
    done = run("compare", a, b, b.with_name("digits.parquet"), "--by-order", "--target", "label", "--fail-if", "x < 1")
    assert "did you mean" in done.stderr or "named twice" in done.stderr or "there is no 'x'" in done.stderr


def test_gates_of_merge_are_checked_before_states_are_read(tmp_path):
    for gate, said in (
        ("acuracy < 1", "did you mean accuracy"),
        ("any(groups.g).accuacy < 1", "did you mean accuracy"),
    ):
        done = run("merge", tmp_path / "none.fxt", "--fail-if", gate)
        assert (done.exit_code, said in done.stderr) == (2, True), done.stderr


def test_compiling_is_timed_apart(tmp_path):
    path = DATA / "digits.parquet"
    ev = fx.score(path, tmp_path / "rows.parquet")
    c = fx.compare(path, DATA / "digits_kernel.parquet", target="label", by_order=True)
    for run_facts in (ev.run, c.run):
        assert 0.0 <= run_facts["compile_seconds"] <= run_facts["seconds"]


def test_names_that_went_are_taken_for_a_release(monkeypatch):
    from fastxent.api import spoken

    monkeypatch.setitem(spoken.FORMER, "sampleweight", "weight")
    with pytest.warns(DeprecationWarning, match="cross_entropy: sampleweight is now called weight; the next minor"):
        old = fx.cross_entropy(Y, logits=Z, sampleweight=[1.0, 2.0, 3.0, 4.0])
    assert old == fx.cross_entropy(Y, logits=Z, weight=[1.0, 2.0, 3.0, 4.0])


def other_version(state, **changes):
    """A state whose header says another version."""
    length = int.from_bytes(state[8:16], "little")
    header = json.loads(state[16 : 16 + length]) | changes
    head = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    body = state[:8] + len(head).to_bytes(8, "little") + head + state[16 + length : -32]
    return body + hashlib.sha256(body).digest()


def test_states_of_other_versions_are_refused_with_the_command_that_helps(tmp_path):
    ev = fx.evaluate(probs=P, target=Y, task="binary", group_by={"my group": np.arange(4) % 2}, worst=2)
    path = tmp_path / "old.fxt"
    path.write_bytes(other_version(ev.totals.to_bytes(), version=7))
    done = run("merge", path)
    assert done.exit_code == 3
    assert "format 7 with numerics version" in done.stderr
    command = f"fastxent evaluate PREDICTIONS --task binary --group-by 'my group' --worst 2 --state {path}"
    assert command in done.stderr.replace("\n", " "), done.stderr
    with pytest.raises(fx.StateError, match=r"format 99 .* a newer one has written it, so pip install -U fastxent$"):
        fx.merge([other_version(ev.totals.to_bytes(), version=99)])


def test_a_process_that_has_evaluated_may_fork():
    code = """
import os, sys, fastxent as fx
path = "data/digits.parquet"
ev = fx.evaluate(path)
read, write = os.pipe()
child = os.fork()
if not child:
    os.write(write, str(fx.evaluate(path).loss).encode())
    os._exit(0)
os.waitpid(child, 0)
assert float(os.read(read, 99)) == ev.loss == fx.evaluate(path).loss
print("alike")
"""
    assert python(code, PYTHONWARNINGS="default").strip() == "alike"


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("more", [(), ("--group-by", "fold", "--permutations", "99")])
def test_comparisons_fit_the_terminal(monkeypatch, tmp_path, width, more):
    monkeypatch.setenv("COLUMNS", str(width))
    a, b, c = DATA / "digits.parquet", DATA / "digits_kernel.parquet", tmp_path / "c.parquet"
    c.write_bytes(a.read_bytes())
    flags = ("--by-order", "--target", "label")
    one = run("compare", a, b, *flags, *more).stdout
    assert max(len(line.rstrip()) for line in one.splitlines()) <= width
    assert "95 % interval" in one
    monkeypatch.chdir(tmp_path)
    (tmp_path / "b.parquet").write_bytes(b.read_bytes())
    (tmp_path / "a.parquet").write_bytes(a.read_bytes())
    several = run("compare", "a.parquet", "b.parquet", "c.parquet", *flags).stdout
    assert "\nb.parquet" in several
    assert max(len(line.rstrip()) for line in several.splitlines()) <= max(width, 67)


def test_what_is_no_name_of_a_column_is_said():
    frame = pl.DataFrame({"p": P, "y": Y})
    with pytest.raises(fx.UsageError, match=r"probs: expected .* got Expr of polars"):
        fx.evaluate(frame, "y", probs=pl.col("p"), task="binary")
