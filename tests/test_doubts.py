"""What looks as if something else was meant is said: in the result, as a warning of Python's, on standard error."""

from __future__ import annotations

import json
import pickle
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shell import fastxent, run

import fastxent as fx
from fastxent.totals.state_files import merge_states

RNG = np.random.default_rng(5)
N, C = 400, 4
P = RNG.dirichlet(np.ones(C), N)
Y = RNG.integers(0, C, N)
PROBS = "in [0, 1] and sums to 1"
#: scores of a calibrated model, and what its classes are
Z = 2 * RNG.normal(size=1000)
B = (RNG.random(1000) < 1 / (1 + np.exp(-Z))).astype(int)


def said(function, *arguments, **keywords):
    """What a call warns of; where its result has warnings, the same ones."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = function(*arguments, **keywords)
    assert all(each.category is fx.DoubtWarning and each.filename == __file__ for each in caught)
    words = [str(each.message) for each in caught]
    if hasattr(result, "warnings"):
        assert words == [each for each in result.warnings if each in words]
        assert json.loads(result.to_json())["warnings"] == result.warnings
    return " | ".join(words)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_probabilities_that_are_called_logits(kind):
    p = P.astype(kind)
    for values in (p, np.asfortranarray(p), pa.FixedSizeListArray.from_arrays(pa.array(p.ravel()), C)):
        assert PROBS in said(fx.cross_entropy, Y, logits=values)
    assert PROBS in said(fx.cross_entropy, Y, logits=p, reduction="none")
    assert PROBS in said(fx.evaluate, logits=p, target=Y)
    assert PROBS in said(fx.entropy, logits=p)
    assert PROBS in said(fx.kl_divergence, p, logits=p)
    assert said(fx.cross_entropy, Y, probs=p.astype("float64") / p.astype("float64").sum(axis=1, keepdims=True)) == ""


@pytest.mark.parametrize("at", [0, 1, 63, 64, 65, N - 1])
@pytest.mark.parametrize("change", [(0, 1.5), (0, -0.25), (3, 0.5), (2, np.inf)])
def test_one_row_refutes_it(at, change):
    p = P.copy()
    p[at, change[0]] = change[1]
    for threads in (1, 2):
        assert PROBS not in said(fx.evaluate, logits=p, target=Y, threads=threads, on_invalid="skip")


def test_rows_that_are_not_scored_refute_nothing():
    p, y = P.copy(), Y.copy()
    p[3], p[7], y[7] = np.nan, 0.0, -100
    assert PROBS in said(fx.evaluate, logits=p, target=y, on_invalid="skip", ignore_index=-100)


def test_files_parts_and_states(tmp_path):
    """A fact of all rows: whatever the row groups, the threads, the processes, the order of merging."""
    for name, rows in (("a", slice(0, 200)), ("b", slice(200, N))):
        table = pa.table({"z": pa.array(P[rows].tolist()), "y": Y[rows]})
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=13)
        fastxent(
            "evaluate",
            tmp_path / f"{name}.parquet",
            "--logits",
            "z",
            "--target",
            "y",
            "--state",
            tmp_path / f"{name}.state",
        )
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    for threads in (1, 3):
        assert PROBS in said(fx.evaluate, paths, "y", logits="z", threads=threads)
    assert PROBS in said(fx.score, paths, tmp_path / "rows.parquet", "y", logits="z")
    compared = said(fx.compare, paths, paths, "y", logits="z", by_order=True)
    assert "A: every row" in compared
    assert "B: every row" in compared
    merged = merge_states([tmp_path / "a.state", tmp_path / "b.state"])
    assert PROBS in fx.Evaluation(merged).warnings[0]
    assert pickle.loads(pickle.dumps(merged)).to_bytes() == merged.to_bytes()
    shell = run("merge", tmp_path / "a.state", tmp_path / "b.state", "--json", "-")
    assert f"fastxent: warning: every row of logits is {PROBS}" in shell.stderr
    assert PROBS in json.loads(shell.stdout)["warnings"][0]
    other = fx.evaluate(logits=5 * P, target=Y).totals
    other.merge(fx.evaluate(logits=P, target=Y).totals)
    assert fx.Evaluation(other).warnings == []


def test_the_shell_says_it_once_and_on_standard_error(tmp_path):
    pq.write_table(pa.table({"z": pa.array(P.tolist()), "y": Y}), tmp_path / "a.parquet")
    arguments = [tmp_path / "a.parquet", "--logits", "z", "--target", "y"]
    for command, more in (("evaluate", []), ("evaluate", ["--json", "-"]), ("score", ["-o", tmp_path / "r.parquet"])):
        done = fastxent(command, *arguments, *more)
        assert done.returncode == 0
        assert done.stderr.count(PROBS) == 1
        assert PROBS not in done.stdout or more == ["--json", "-"]
    done = fastxent("compare", arguments[0], arguments[0], *arguments[1:], "--by-order", "--json", "-")
    assert done.stderr.count(PROBS) == 2
    assert len(json.loads(done.stdout)["warnings"]) == 2


@pytest.mark.parametrize(
    ("names", "form", "words"),
    [("prob_{}", "logits", "named like probs, and scored as logits"), ("proba{}", "log_probs", "scored as log_probs"),
     ("logit_{}", "log_probs", "named like logits"), ("log_prob_{}", "logits", ""), ("log_prob_{}", "log_probs", ""),
     ("prob_{}", "probs", ""), ("z_{}", "logits", "")],
)  # fmt: skip
def test_columns_under_the_wrong_word(names, form, words):
    values = {"logits": 3 * P, "log_probs": np.log(P), "probs": P}[form]
    table = pa.table({names.format(j): values[:, j] for j in range(C)} | {"y": Y})
    glob = names.format("*")
    assert words in said(fx.evaluate, table, "y", **{form: glob})
    scores = table.drop(["y"])
    for frame in (scores, scores.to_pandas()):
        found = said(fx.cross_entropy, Y, **{form: frame})
        assert words in found
        assert bool(found) == bool(words)
    struct = pa.table({names.format(""): scores.to_struct_array().combine_chunks(), "y": Y})
    assert words in said(fx.evaluate, struct, "y", **{form: names.format("")})


REVERSED = "they seem to be reversed"


@pytest.mark.parametrize("target", [1 - B, (1 - B).astype(bool), (1 - B).astype(float)], ids=["int", "bool", "float"])
def test_two_classes_reversed(target):
    p = 1 / (1 + np.exp(-Z))
    both = np.stack([0 * Z, Z], axis=1)
    for reduction in ("mean", "sum", "none"):
        assert REVERSED in said(fx.binary_cross_entropy, target, logits=Z, reduction=reduction)
    assert REVERSED in said(fx.binary_cross_entropy, target, probs=p)
    assert REVERSED in said(fx.cross_entropy, target, logits=both)
    assert REVERSED in said(fx.evaluate, logits=Z, target=target, task="binary")
    assert REVERSED in said(fx.evaluate, logits=both, target=target, base=2)
    assert REVERSED in said(fx.evaluate, logits=Z, target=target, task="binary", weight=RNG.random(1000))
    assert REVERSED not in said(fx.binary_cross_entropy, 1 - np.asarray(target, int), logits=Z)
    assert REVERSED not in said(fx.binary_cross_entropy, target[:99], logits=Z[:99])


def test_what_reversed_classes_are_told_by():
    """The numbers in the sentence: the loss, the entropy of the shares, the loss of the other order."""
    ev = fx.evaluate(logits=Z, target=1 - B, task="binary")
    (words,) = ev.doubts
    share = B.mean()
    base = -share * np.log(share) - (1 - share) * np.log(1 - share)
    for value in (ev.loss, base, fx.binary_cross_entropy(B, logits=Z)):
        assert any(
            abs(float(each) / value - 1) < 0.01
            for each in words.replace("(", " ").replace(")", " ").split()
            if each[0].isdigit() and "." in each
        )


def test_bad_models_are_not_reversed():
    """Overconfident rows of noise lose in both orders; so do rows that nobody can tell."""
    noise = RNG.integers(0, 2, 1000)
    for z in (20 * Z, 0 * Z - 1, 0 * Z + 3):
        assert said(fx.binary_cross_entropy, noise, logits=z) == ""
    soft = np.where(RNG.random(1000) < 0.5, 0.45, 0.55)
    assert said(fx.binary_cross_entropy, soft, logits=0 * Z + 2) == ""


def test_binary_probabilities_that_are_called_logits():
    p = 1 / (1 + np.exp(-Z))
    assert "every row of logits is in [0, 1]" in said(fx.binary_cross_entropy, B, logits=p)
    assert "every row of logits is in [0, 1]" in said(fx.binary_cross_entropy, [B], logits=[p])
    assert said(fx.binary_cross_entropy, B[:99], logits=p[:99]) == ""


def test_sums_that_are_not_one():
    p = P.copy()
    p[17] *= 0.9
    for function, arguments in ((fx.cross_entropy, (Y,)), (fx.focal_loss, (Y,))):
        assert "1 of 400 rows do not sum to 1 (first: row 17)" in said(function, *arguments, probs=p)
        assert said(function, *arguments, probs=p, normalize=True) == ""
    assert "do not sum to 1" in said(fx.evaluate, probs=p, target=Y)


def test_columns_from_one_without_a_label_of_zero():
    table = pa.table({f"p_{j + 1}": P[:, j] for j in range(C)} | {"y": np.maximum(Y, 1)})
    assert "no row has label 0, which is column 'p_1'" in said(fx.evaluate, table, "y", probs="p_*")
    assert said(fx.evaluate, table, "y", probs="p_*", labels=range(1, C + 1)) == ""
    assert "every loss is 0" in said(fx.evaluate, logits=[[3.0], [1.0]], target=[0, 0])
