"""Laws that every statistic keeps, whatever the data: groups, splits, dense and sparse tables, limits of memory."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

import fastxent as fx
from fastxent.results.as_json import json_text
from fastxent.statistics import accuracy, calibration, classes, classwise, clusters, kept_rows, ranking, spread
from fastxent.statistics import table as tables
from tests.statdata import BREAST, DIGITS, breast, column, digits, evaluated, weights

FORMS = ("logits", "probs", "log_probs")
WEIGHTS = {
    "positive": (0.5, 1.0, 2.0, 3.0), "zeros": (0.0, 0.0, 1.0, 2.5), "huge": (0.0, 1.0, 2.0**45, 2.0**70, 1e300),
    "tiny": (1e-300, 2.0**-70, 1.0),
}  # fmt: skip
NUMBERS = ("spec", "settings", "rows", "warnings", "run", "first_invalid")


@dataclass
class Problem:
    """Arrays by keyword, a row of each a row of the data; options; and columns to group by."""

    arrays: dict
    options: dict
    columns: dict

    def evaluated(self, rows=slice(None), by=(), **more):
        """The evaluation of some of the rows."""
        arrays = {name: values[rows] for name, values in self.arrays.items()}
        columns = {name: pa.array(self.columns[name][rows].tolist()) for name in by}
        keep = {} if "n" not in self.columns else {"keep": {"n": self.columns["n"][rows]}}
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", fx.DoubtWarning)  # rows are made up
            return fx.evaluate(**arrays, **self.options, **keep, **({"group_by": columns} if by else {}), **more)

    def rows_of(self, **values):
        """Which rows have these values of columns."""
        return np.logical_and.reduce([self.columns[name] == value for name, value in values.items()])


@st.composite
def problems(draw, keep=True):
    """Everything that can be asked for of a small data set of any task and form."""
    task = draw(st.sampled_from(["multiclass", "multiclass", "soft", "binary", "multilabel"]))
    form = draw(st.sampled_from(FORMS))
    n, k = draw(st.integers(1, 60)), draw(st.integers(2, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pick = partial(draw, st.booleans())
    shape = (n,) if task == "binary" else (n, k)
    z = rng.normal(scale=draw(st.sampled_from([1.0, 4.0, 60.0])), size=shape)
    z = np.round(z) if pick() else z
    scores, softmax = z, task in ("multiclass", "soft")
    if form != "logits":
        scores = z - np.logaddexp.reduce(z, axis=-1, keepdims=True) if softmax else -np.logaddexp(0.0, -z)
        scores = np.exp(scores) if form == "probs" else scores
    kind = draw(st.sampled_from([np.float64, np.float32]))
    arrays = {form: scores.astype(kind)}
    options = {"task": "multiclass" if task == "soft" else task, "on_invalid": "skip"}
    if task == "soft":
        arrays["target"] = rng.dirichlet(np.ones(k), n)
    elif task == "multilabel":
        arrays["target"] = rng.integers(0, 2, shape).astype(np.int8)
        if pick():
            arrays["mask"] = rng.random(shape) < 0.8
    else:
        arrays["target"] = rng.integers(0, 2 if task == "binary" else k, n)
    if pick():
        arrays[form][rng.integers(0, n)] = np.nan
    if task == "multiclass" and pick():
        options["ignore_index"] = 0
    if (weight := draw(st.sampled_from([None, None, *WEIGHTS]))) is not None:
        arrays["weight"] = rng.choice(WEIGHTS[weight], n)
    if pick():
        arrays["cluster_by"] = rng.integers(0, draw(st.integers(1, 20)), n)
    if pick():
        arrays["units"] = rng.integers(0, 5, n)
    statistics = {"multiclass": ["entropy", "classwise"], "soft": ["entropy"]}.get(task, ["ranking"])
    statistics += ["temperature"] if form == "logits" and task != "multilabel" else []
    options["statistics"] = [name for name in statistics if pick()]
    options["base"] = draw(st.sampled_from([None, 2, 10]))
    if task in ("multiclass", "binary"):
        divisors = [None, 1, 5, 15, 20, 60] + ([] if "classwise" in options["statistics"] else [3600, 48])
        options["binning"] = draw(st.sampled_from(["equal_width", "equal_mass", "torchmetrics", "sklearn", "netcal"]))
        options["bins"] = draw(st.sampled_from(divisors))
        options["label_smoothing"] = draw(st.sampled_from([0.0, 0.0, 0.125]))
        losses = ["cross_entropy", "cross_entropy", "focal", *(["poly1"] if task == "multiclass" else [])]
        options["loss"] = draw(st.sampled_from(losses))
        if options["loss"] != "cross_entropy":
            options["label_smoothing"] = 0.0
            options["statistics"] = [name for name in options["statistics"] if name != "temperature"]
    if task == "multiclass":
        options["top_k"] = draw(st.sampled_from([None, (1, 2), (k,)]))
    columns = {
        "a": rng.choice(np.array(["x", "y", None], object), n),
        "b": rng.choice(np.array([1, 2, None], object), n),
        "all": np.full(n, "same", object),
    }
    if keep and pick():
        columns["n"] = np.arange(n)
        options["worst"] = 3
        if task in ("multiclass", "binary"):
            options |= {"worst_per_class": 2, "label_errors": 2}
    return Problem(arrays, options, columns)


def same(a, b):
    """Whether numbers, or what has numbers in it, are equal, and NaN where the other is NaN."""
    return json_text(a) == json_text(b)


def lines(table):
    """The rows of a table."""
    return None if table is None else table.to_pylist()


def told(evaluation):
    """What an evaluation says of its rows, without the places at which single rows stand.

    Clusters of groups keep one rank of the target, so that only top-1 has an interval there.
    """
    values = {name: value for name, value in evaluation.to_dict().items() if name not in NUMBERS}
    if "clusters" in values["loss"] and "accuracy" in values:
        values["accuracy"]["ci95"] = values["accuracy"]["ci95"]["top1"]
    parts = [values.get(name, []) for name in ("worst", "worst_per_class")]
    for row in [row for part in (*parts, *values.get("label_errors", {}).values()) for row in part]:
        row.pop("row")
    return values


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problem=problems())
def test_a_group_says_what_its_rows_say_alone(problem):
    result = problem.evaluated(by=("a", "b"))
    for row in result.groups.to_pylist():
        key = {name: row.pop(name) for name in ("a", "b")}
        for wanted in (key, {"a": key["a"]}):
            found = result.group(**wanted)
            alone = problem.evaluated(problem.rows_of(**wanted))
            assert same(found.fields, alone.fields)
            assert same(told(found), told(alone))
        found = result.group(**key)
        assert list(row) == list(found.fields)
        assert same(row, found.fields)
    assert result.groups.column_names == ["a", "b", *result.fields]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(problem=problems())
def test_margins_are_groups_by_one_column(problem):
    result = problem.evaluated(by=("a", "b"))
    for name in ("a", "b"):
        alone = problem.evaluated(by=(name,))
        assert same(lines(result.margins[name]), lines(alone.groups))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(problem=problems(keep=False))
def test_one_group_of_all_rows_says_what_all_rows_say(problem):
    result = problem.evaluated(by=("all",))
    if not result.num_rows:
        assert result.groups.num_rows == 0
        return
    assert same(result.group("same").fields, result.fields)
    assert same(told(result.group("same")), told(problem.evaluated()))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(problem=problems())
def test_dense_and_sparse_tables_hold_the_same(problem):
    dense = problem.evaluated(by=("a", "b"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DENSE", "DENSE_ALONE"):
            patch.setattr(tables, name, 0)
        sparse = problem.evaluated(by=("a", "b"))
    assert sparse.totals.to_bytes() == dense.totals.to_bytes()
    assert same(sparse.to_dict() | {"run": None}, dense.to_dict() | {"run": None})


@settings(max_examples=40, deadline=None, derandomize=True)
@given(problem=problems(keep=False), data=st.data())
def test_any_split_and_any_order_of_merging_gives_the_same(problem, data):
    n = len(problem.arrays["target"])
    cuts = sorted(data.draw(st.lists(st.integers(0, n), max_size=4)))
    edges = [0, *cuts, n]
    by = data.draw(st.sampled_from([(), ("a",), ("a", "b")]))
    whole = problem.evaluated(by=by)
    parts = [problem.evaluated(slice(*edge), by=by).totals for edge in pairwise(edges) if edge[0] < edge[1]]
    for part, lo in zip(parts, [lo for lo, hi in pairwise(edges) if lo < hi], strict=True):
        part.shift(lo)
    parts = data.draw(st.permutations(parts))
    merged = parts[0]
    for part in parts[1:]:
        merged.merge(fx.Totals.from_bytes(part.to_bytes()) if data.draw(st.booleans()) else part)
    assert merged.to_bytes() == whole.totals.to_bytes()
    options = {name: getattr(whole, name) for name in ("bins", "binning", "top_ks", "base")}
    again = fx.Evaluation(fx.Totals.from_bytes(merged.to_bytes()), **options)
    assert same(again.fields, whole.fields)
    assert same(again.to_dict() | {"run": None}, whole.to_dict() | {"run": None})


def scaled_weights(problem, factor):
    """The problem with its weights times a number."""
    weight = problem.arrays["weight"] * factor
    return Problem(problem.arrays | {"weight": weight}, problem.options, problem.columns)


def without_weights(values):
    """The same without what weights, and weighted losses and units, add up to."""
    totals = ("weight", "weight_sum", "weighted_confusion", "sum", "units")
    if isinstance(values, dict):
        return {
            k: without_weights(v)
            for k, v in values.items()
            if k not in totals or (k == "units" and isinstance(v, dict))
        }
    return list(map(without_weights, values)) if isinstance(values, list) else values


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problem=problems(), data=st.data())
def test_the_scale_of_weights_changes_nothing(problem, data):
    """Powers of two change no bit, wherever they take the weights; below 2^-1022 weights themselves lose bits."""
    n = len(problem.arrays["target"])
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    low, high = data.draw(st.sampled_from([(0, 0), (-1, 1), (-40, 40), (-400, 400)]))
    weight = np.where(rng.random(n) < 0.1, 0.0, rng.uniform(0.1, 4.0, n)) * 2.0 ** rng.integers(low, high + 1, n)
    problem.arrays["weight"] = weight
    power = data.draw(st.sampled_from([-1, 1, 15, 16, -17, 31, 62, 255, 256, -257, 600, -600]))
    by = ("a", "b")
    own, other = problem.evaluated(by=by), scaled_weights(problem, 2.0**power).evaluated(by=by)
    assert same(without_weights(told(other)), without_weights(told(own)))
    tables = ("groups", "group_per_class", "per_class", "confused")
    for name in tables:
        one, two = (lines(getattr(each, name)) or [] for each in (own, other))
        assert same(without_weights(one), without_weights(two)), name
    for row, scaled in zip(lines(own.groups), lines(other.groups), strict=True):
        assert same(row["weight"] * 2.0**power, scaled["weight"])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(problem=problems())
def test_weights_of_1_are_no_weights(problem):
    problem.arrays.pop("weight", None)
    plain = problem.evaluated(by=("a",))
    problem.arrays["weight"] = np.ones(len(problem.arrays["target"]))
    weighted = problem.evaluated(by=("a",))
    values = {name: value for name, value in weighted.fields.items() if name != "weight"}
    assert same(values, plain.fields)
    for row, other in zip(lines(weighted.groups), lines(plain.groups), strict=True):
        assert row.pop("weight") == row["count"]
        assert same(row, other)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(problem=problems(keep=False))
def test_rows_of_weight_0_are_not_there(problem):
    n = len(problem.arrays["target"])
    problem.arrays["weight"] = np.where(np.arange(n) % 3 == 1, 0.0, 1.0 + np.arange(n) % 5)
    whole, rest = problem.evaluated(by=("a",)), problem.evaluated(problem.arrays["weight"] > 0, by=("a",))
    assert same(whole.fields, rest.fields)
    assert same(told(whole), told(rest))
    assert same(lines(whole.groups), lines(rest.groups))
    read, zero = whole.rows["read"], whole.rows.get("zero_weight", 0)
    assert read == n
    assert zero + whole.rows["scored"] + whole.rows["ignored"] + sum(whole.rows["invalid"].values()) == n


AREAS = tuple(
    f"{area}{kind}{end}"
    for area in ("auc", "average_precision")
    for kind in ("", "_weighted")
    for end in ("", "_low", "_high")
)
#: What a note says, and the fields that are not told then.
NOTES = {
    "quantiles": tuple(f"q{100 * q:02.0f}{end}" for q in spread.QUANTILES for end in ("", "_low", "_high")),
    "ROC AUC": AREAS,
    "ranks of the target": ("mrr",),
    "calibration is that of": (
        "ece", "mce", "rmsce", "ace", "reliability", "resolution", "uncertainty", "residual", "ece_floor", *AREAS
    ),
    "calibration of each class": ("classwise_ece", "reliability", "resolution", "uncertainty", "residual"),
    "F1": ("mcc", "f1_macro", "f1_weighted", "f1_micro", "f1", "precision"),
    "nothing is told by class": ("mcc", "d2", "normalized_entropy", "balanced_accuracy", "recall"),
    "errors that respect clusters": (
        "clusters", "stderr", "ci_low", "ci_high", "stderr_per_unit", "accuracy_low", "accuracy_high"
    ),
}  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problem=problems(), data=st.data())
def test_little_memory_makes_groups_say_nothing_but_nothing_wrong(problem, data):
    """The limits are a few cells a group, down to the fewest for which the last level of a table has room."""
    exact = problem.evaluated(by=("a", "b"))
    most = partial(data.draw, st.sampled_from([150, 200, 300, 1000]))
    with pytest.MonkeyPatch.context() as patch:
        for module in (accuracy, calibration, classes, classwise, ranking, spread):
            patch.setattr(module, "MOST_CELLS", most())
        patch.setattr(clusters, "MOST_CLUSTERS", data.draw(st.sampled_from([9, 15, 60])))
        patch.setattr(kept_rows, "Rows", partial(kept_rows.Rows, limit=data.draw(st.sampled_from([1, 10, 30]))))
        result = problem.evaluated(by=("a", "b"))
        assert same(result.fields, exact.fields)
        said = " ".join(result.warnings)
        for found, whole in zip(lines(result.groups), lines(exact.groups), strict=True):
            key = {name: found[name] for name in ("a", "b")}
            assert same(found, key | result.group(**key).fields)
            for name, value in found.items():
                if not same(value, whole[name]):
                    assert value is None or value != value, name
                    notes = [note for note, fields in NOTES.items() if name in fields]
                    assert any(note in said for note in notes), (name, said)
        _check_rows_and_tables(result, exact)


def _check_rows_and_tables(result, exact):
    """What groups list is what they would list with more memory, or the beginning of it, or nothing."""
    for name in ("group_per_class", "group_classwise", "group_worst", "group_worst_per_class"):
        few, many = lines(getattr(result, name)), lines(getattr(exact, name))
        if few is None:
            assert many is None or result.warnings
            continue
        names = few[0].keys() if few else ()
        rows = {json_text({column: row[column] for column in names}) for row in many}
        assert all(json_text(row) in rows for row in few)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["digits", "breast"])
def test_means_over_classes_agree_with_scikit_learn(name, weighted):
    y, p, _ = digits() if name == "digits" else breast()
    predicted = p.argmax(axis=1) if name == "digits" else (p > 0.5).astype(int)
    w = weights(len(y)) if weighted else np.ones(len(y))
    by, path = ("ink", DIGITS) if name == "digits" else ("radius", BREAST)
    result = evaluated(name, weighted, group_by=by)
    owners = [(result.group(value), column(path, by) == value) for value in result.groups[by].to_pylist()]
    for found, here in [(result, np.ones(len(y), bool)), *owners]:
        here = here & (w > 0)
        given_, told_, weight = y[here], predicted[here], w[here]
        mcc = metrics.matthews_corrcoef(given_, told_, sample_weight=weight)
        assert found.mcc == pytest.approx(mcc, rel=1e-11)
        recall = metrics.balanced_accuracy_score(given_, told_, sample_weight=weight)
        assert found.balanced_accuracy == pytest.approx(recall, rel=1e-12)
        f1 = metrics.f1_score(given_, told_, average="macro", sample_weight=weight)
        assert found.f1_macro == pytest.approx(f1, rel=1e-12)
        assert found.ace == pytest.approx(np.mean([abs(row["accuracy"] - row["confidence"]) for row in
                                                   found.calibration.rows if row["accuracy"] is not None]))  # fmt: skip


@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), n=st.integers(1, 40), k=st.integers(2, 6), weighted=st.booleans())
def test_means_over_classes_agree_with_scikit_learn_of_any_classes(seed, n, k, weighted):
    rng = np.random.default_rng(seed)
    z, y = np.round(rng.normal(size=(n, k))), rng.integers(0, rng.integers(1, k + 1), n)
    w = rng.integers(0, 3, n).astype(np.float64) if weighted else np.ones(n)
    found = fx.evaluate(logits=z, target=y, weight=w if weighted else None)
    here = w > 0
    if not here.any():
        assert all(np.isnan([found.mcc, found.balanced_accuracy, found.f1_macro]))
        return
    given_, told_, weight = y[here], z.argmax(axis=1)[here], w[here]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found.mcc == pytest.approx(metrics.matthews_corrcoef(given_, told_, sample_weight=weight), abs=1e-12)
        recall = metrics.recall_score(
            given_, told_, labels=np.unique(given_), average="macro", sample_weight=weight, zero_division=0
        )
        assert found.balanced_accuracy == pytest.approx(recall, rel=1e-12)
        f1 = metrics.f1_score(given_, told_, average="macro", sample_weight=weight, zero_division=0)
        assert found.f1_macro == pytest.approx(f1, rel=1e-12)
