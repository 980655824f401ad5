"""Losses that are given say what the predictions they come from said, to the bit; of lists each element is a row."""

from __future__ import annotations

import json
import math
import re
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent.sources.decode.flat_lists import PLACE
from tests.shell import ROOT, run

RNG = np.random.default_rng(3)
ROWS = 600
LOGITS, TARGET = RNG.normal(size=(ROWS, 5)), RNG.integers(0, 5, ROWS)
LOSSES = fx.cross_entropy(TARGET, logits=LOGITS, reduction="none")
ALONG = {
    "group_by": {"g": RNG.integers(0, 3, ROWS)}, "cluster_by": {"doc": RNG.integers(0, 40, ROWS)},
    "units": {"bytes": RNG.integers(1, 9, ROWS)}, "weight": RNG.random(ROWS), "worst": 4,
}  # fmt: skip
#: What needs predictions, in the dictionary of an evaluation.
PREDICTED = {
    "accuracy", "accuracy_ci95", "top_k", "mrr", "brier", "brier_scaled", "calibration", "confused", "per_class",
    "normalized_entropy", "d2", "mcc", "balanced_accuracy", "macro_f1", "confusion", "brier_parts",
}  # fmt: skip


def shared(ev, names):
    """The part of a dictionary under some names, rows without what they predict."""
    found = {name: value for name, value in ev.to_dict().items() if name in names}
    found["worst"] = [{"row": row["row"], "loss": row["loss"]} for row in ev.to_dict()["worst"]]
    fields = set(ev.fields)
    found["groups"] = [
        {name: value for name, value in row.items() if name in ("g", "count", *fields)} for row in ev.groups.to_pylist()
    ]
    return found


@pytest.mark.parametrize("form", ["losses", "target_log_probs"])
def test_all_that_the_loss_decides(form):
    ev = fx.evaluate(**{form: LOSSES if form == "losses" else -LOSSES}, **ALONG)
    ref = fx.evaluate(logits=LOGITS, target=TARGET, **ALONG)
    names = set(ev.to_dict()) - {"spec", "run", "settings", "groups", "worst", "warnings", "group_worst"}
    assert {"loss", "perplexity", "units", "loss_histogram"} <= names
    ours, theirs = shared(ev, names), shared(ref, names)
    theirs["groups"] = [{name: row[name] for name in ours["groups"][0]} for row in theirs["groups"]]
    theirs["rows"].pop("uneven", None)
    for name, found in ours.items():
        if isinstance(found, dict):  # intervals of what there is
            theirs[name] = {key: each for key, each in theirs[name].items() if key in found or key not in PREDICTED}
    assert json.dumps(ours) == json.dumps(theirs)
    assert not set(ev.to_dict()) & PREDICTED
    assert ev.accuracy is None
    assert ev.per_class is None
    assert ev.calibration is None
    assert ev.confusion is None
    with pytest.raises(
        AttributeError, match=f"no attribute 'mcc'; {form} were scored, which say nothing of predictions"
    ):
        _ = ev.mcc
    with pytest.raises(fx.UsageError, match="there is no accuracy"):
        ev.top_k_interval()
    with pytest.raises(fx.UsageError, match="calibration was not gathered"):
        ev.calibrate()


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float32", "float64", "int8"])
def test_kinds_of_numbers(kind):
    if kind == "bfloat16":
        values = (LOSSES.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        exact = (values.astype(np.uint32) << 16).view(np.float32).astype(float)
        ev = fx.evaluate(losses=values, dtype=kind)
    else:
        values = LOSSES.astype(kind)
        exact = values.astype(float)
        ev = fx.evaluate(losses=values)
    assert ev.loss == math.fsum(exact) / ROWS
    assert (ev.loss_stats.min, ev.loss_stats.max) == (exact.min(), exact.max())


BAD = [
    ({"losses": [1.0, -0.5]}, "row 1 .*the loss is below 0: it is -0.5; if these are target_log_probs, say target_log"),
    ({"losses": [1.0, -math.inf]}, "row 1 .*below 0"),
    ({"losses": [math.nan]}, "row 0 .*the loss is NaN"),
    ({"target_log_probs": [-1.0, 0.25]}, "row 1 .*log-probability of the target is above 0: it is 0.25"),
    ({"losses": np.float64([-1e-7])}, "below 0"),
    ({"losses": np.float32([-2e-6])}, "below 0"),
    ({"losses": [1.0], "target": [0]}, "target belongs to predictions"),
    ({"losses": [1.0], "class_weight": [1.0, 2.0]}, "class_weight applies to predictions"),
    ({"losses": [1.0], "task": "binary"}, "task applies to predictions"),
    ({"losses": [1.0], "loss": "focal"}, "loss applies to predictions"),
    ({"losses": [1.0], "label_smoothing": 0.1}, "label_smoothing applies to predictions"),
    ({"losses": [1.0], "ignore_index": 0}, "ignore_index applies to predictions"),
    ({"losses": [1.0], "clip": 1e-7}, "clip applies to predictions"),
    ({"losses": [1.0], "class_names": ["a"]}, "class_names belongs to predictions"),
    ({"losses": [1.0], "mask": [[True]]}, "mask belongs to predictions"),
    ({"losses": [1.0], "statistics": "entropy"}, "statistics 'entropy': cannot be known without predictions"),
    ({"losses": [1.0], "worst_per_class": 2}, "worst_per_class: cannot be known without predictions"),
    ({"losses": [1.0], "label_errors": 2}, "label_errors: cannot be known"),
    ({"losses": [1.0], "top_k": [2]}, "top_k: cannot be known"),
    ({"losses": [1.0], "logits": [[1.0]]}, "exactly one of .* got logits and losses; or one of"),
    ({"losses": [1.0], "target_log_probs": [-1.0]}, "got losses and target_log_probs"),
    ({"losses": [[1.0, 2.0]]}, r"losses must have shape \(n,\), one a row, got \(1, 2\)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), BAD)
def test_what_is_wrong_is_said(call, message):
    with pytest.raises(fx.FastxentError, match=message):
        fx.evaluate(**call)


def test_invalid_losses_are_counted():
    values = [0.5, math.nan, -1.0, math.inf, 0.0]
    ev = fx.evaluate(losses=values, on_invalid="skip")
    assert ev.rows["invalid"] == {"nan_prediction": 1, "probability_out_of_range": 1}
    assert (ev.num_rows, ev.loss, ev.loss_stats.infinite) == (3, math.inf, 1)
    assert math.isnan(fx.evaluate(losses=values, on_invalid="propagate").loss)
    assert fx.evaluate(losses=np.float32([-1e-7, 1.0])).loss_stats.min == 0.0
    assert math.copysign(1.0, fx.evaluate(target_log_probs=[0.0]).loss) == 1.0


# Lists


def documents(seed=0, count=90):
    """Lists of every length with nulls among them, and what goes along."""
    rng = np.random.default_rng(seed)
    lists = [None if i % 17 == 5 else rng.exponential(size=rng.integers(0, 9)).tolist() for i in range(count)]
    for i in range(0, count, 11):
        if lists[i]:
            lists[i][0] = None
    return pa.table(
        {
            "id": np.arange(count), "nll": pa.array(lists, pa.list_(pa.float64())),
            "log_p": pa.array([_mapped(each, lambda x: -x) for each in lists], pa.list_(pa.float64())),
            "bytes": pa.array([_mapped(each, lambda x: 1 + int(4 * (x or 0))) for each in lists], pa.list_(pa.int32())),
            "language": [("de", "fr", "it")[i % 3] for i in range(count)],
        }
    )  # fmt: skip


def _mapped(values, change):
    return None if values is None else [None if x is None and change(1.0) < 0 else change(x) for x in values]


def flat(table):
    """The slow twin: a row for every element, in plain Python."""
    rows = []
    for row in table.to_pylist():
        losses = [None] if row["nll"] is None else row["nll"]
        sizes = [None] if row["bytes"] is None else row["bytes"]
        rows += [
            {"id": row["id"], "nll": x, "bytes": size, "language": row["language"], PLACE: place}
            for place, (x, size) in enumerate(zip(losses, sizes, strict=True))
        ]
    return pa.Table.from_pylist(rows)


CALL = {"on_invalid": "skip", "units": "bytes", "group_by": "language", "cluster_by": "id", "worst": 7, "keep": "id"}
LAYOUTS = {
    "list": lambda column: column,
    "large_list": lambda column: column.cast(pa.large_list(pa.float64())),
    "list_view": lambda column: pa.array(column.to_pylist(), pa.list_view(pa.float64())),
}


def said(ev):
    found = ev.to_dict()
    del found["run"]
    return json.loads(re.sub(r'"path": "[^"]*"', '"path": ""', json.dumps(found)))


@pytest.mark.parametrize("form", ["losses", "target_log_probs"])
@pytest.mark.parametrize("place", ["table", "parquet", "arrow", "jsonl", "polars"])
def test_lists_are_a_row_an_element(tmp_path, place, form):
    table = documents()
    expected = fx.evaluate(flat(table), losses="nll", **CALL)
    data = stored(table, place, tmp_path)
    ev = fx.evaluate(data, **{form: "nll" if form == "losses" else "log_p"}, **CALL)
    ours, theirs = said(ev), said(expected)
    ours.pop("spec"), theirs.pop("spec")
    assert ours == theirs
    assert ev.rows["invalid"]["null_prediction"] > 5


def stored(table, place, folder):
    if place == "parquet":
        pq.write_table(table, folder / "a.parquet", row_group_size=13)
    elif place == "arrow":
        pyarrow.feather.write_feather(table, folder / "a.arrow", compression="uncompressed", chunksize=20)
    elif place == "jsonl":
        (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif place == "polars":
        return pytest.importorskip("polars").from_arrow(table)
    return table if place == "table" else folder / f"a.{place}"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_lists(layout):
    table = documents()
    lists = LAYOUTS[layout](table["nll"])
    expected = fx.evaluate(
        flat(table.set_column(1, "nll", pa.array(lists.to_pylist(), table["nll"].type))), losses="nll", **CALL
    )
    ev = fx.evaluate(table.set_column(1, "nll", lists), losses="nll", **CALL)
    assert said(ev) == said(expected)
    alone = fx.evaluate(losses=lists, on_invalid="skip")
    assert alone.totals.to_bytes() == fx.evaluate(losses=flat(table)["nll"], on_invalid="skip").totals.to_bytes()


def test_lists_of_one_length_and_slices():
    values = pa.array(RNG.exponential(size=60))
    lists = pa.FixedSizeListArray.from_arrays(values, 4)
    expected = fx.evaluate(losses=np.asarray(values)[12:40])
    assert fx.evaluate(losses=lists.slice(3, 7)).totals.to_bytes() == expected.totals.to_bytes()
    assert fx.evaluate(losses=lists.slice(0, 0)).num_rows == 0


def test_lists_with_filters_weights_and_damage(tmp_path):
    table = documents().append_column("w", pa.array(np.random.default_rng(1).random(90)))
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=13)
    kept = table.filter(pa.compute.not_equal(table["language"], "fr"))
    ev = fx.evaluate(
        tmp_path / "a.parquet", losses="nll", weight="w", filter="language != 'fr'", on_invalid="skip", memory="1M"
    )
    assert said(ev) == said(fx.evaluate(kept, losses="nll", weight="w", on_invalid="skip"))
    odd = table.set_column(3, "bytes", pa.array([[1]] * 90))
    with pytest.raises(fx.SourceError, match=r"a row holds 1 values beside \d losses; write lists of one length"):
        fx.evaluate(odd, losses="nll", units="bytes", on_invalid="skip")
    with pytest.raises(fx.SourceError, match="where numbers are needed: one a row, or lists of them"):
        fx.evaluate(table, losses="language")
    here, there = (
        fx.evaluate(tmp_path / "a.parquet", losses="nll", on_invalid="skip", runner=runner)
        for runner in (None, "processes:2")
    )
    assert here.totals.to_bytes() == there.totals.to_bytes()


def test_comparisons(tmp_path):
    table = documents()
    other = table.set_column(
        1, "nll", pa.array([_mapped(x, lambda v: v and v * 0.9) for x in table["nll"].to_pylist()])
    )
    shuffled = other.take(np.random.default_rng(2).permutation(90))
    rows, others = flat(table), flat(other)
    call = {"on_invalid": "skip", "group_by": "language", "cluster_by": "id"}
    expected = fx.compare(rows, others, losses="nll", on=["id", PLACE], **call)
    found = fx.compare(table, shuffled, losses="nll", on="id", **call)
    for c in (found, fx.compare(table, other, losses="nll", by_order=True, **call)):
        assert (c.num_rows, c.delta, c.outcome.clusters) == (
            expected.num_rows,
            expected.delta,
            expected.outcome.clusters,
        )
        assert c.groups == expected.groups
    assert found.improved == expected.improved
    mixed = fx.compare(table, losses="nll", b_target_log_probs="log_p", on="id", on_invalid="skip")
    assert mixed.delta.mean == 0.0
    a, b = LOSSES, LOSSES * 0.9
    ours = fx.compare(losses=a, b_losses=b)
    assert ours.delta.mean == pytest.approx(np.mean(a - b), rel=1e-13)
    with pytest.raises(fx.UsageError, match="one side has losses, the other predictions"):
        fx.compare(losses=a, b_logits=LOGITS, target=None)
    with pytest.raises(fx.UsageError, match="one side has lists"):
        fx.compare(table, rows, losses="nll", on="id")
    with pytest.raises(fx.UsageError, match="pair the rest by id"):
        fx.compare(table, other, losses="nll", by_order=True, filter="id > 3", on_invalid="skip")


def test_evaluators_states_and_scores(tmp_path):
    evaluator = fx.Evaluator(worst=3)
    for lo in range(0, ROWS, 250):
        evaluator.update(losses=LOSSES[lo : lo + 250])
    whole = fx.evaluate(losses=LOSSES, worst=3)
    assert evaluator.to_bytes() == whole.totals.to_bytes()
    assert fx.Evaluator.from_bytes(evaluator.to_bytes()).compute().loss == whole.loss
    with pytest.raises(fx.UsageError, match="not like those before"):
        evaluator.update(TARGET, logits=LOGITS)
    with pytest.raises(fx.UsageError, match="target: name"):
        fx.Evaluator().update(logits=LOGITS)
    rows = fx.score(losses=LOSSES, keep={"n": np.arange(ROWS)})
    assert rows.column_names == ["n", "loss", "status"]
    assert rows["loss"].to_pylist() == LOSSES.tolist()
    table = documents()
    lists = fx.score(table, losses="nll", keep="id", on_invalid="skip")
    assert lists["id"].to_pylist() == flat(table)["id"].to_pylist()
    assert lists["loss"].to_pylist() == flat(table)["nll"].to_pylist()


def test_files_of_arrays_and_the_shell(tmp_path):
    np.save(tmp_path / "nll.npy", LOSSES)
    np.save(tmp_path / "log_p.npy", -LOSSES)
    table = documents()
    pq.write_table(table, tmp_path / "a.parquet")
    result = run("evaluate", "--losses", tmp_path / "nll.npy", "--json", "-")
    assert json.loads(result.stdout)["loss"]["mean"] == fx.evaluate(losses=LOSSES).loss
    result = run("compare", "--losses", tmp_path / "nll.npy", "--b-target-log-probs", tmp_path / "log_p.npy")
    assert result.exit_code == 2 or "+0" in result.stdout
    call = ["--target-log-probs", "log_p", "--on-invalid", "skip", "--units", "bytes", "--fail-if", "units.bits > 9"]
    result = run("evaluate", tmp_path / "a.parquet", *call, "--state", tmp_path / "a.fxt")
    assert result.exit_code == 0
    assert "perplexity" in result.stdout
    assert "accuracy" not in result.stdout
    result = run("merge", tmp_path / "a.fxt", "--fail-if", "loss < 99")
    assert result.exit_code == 1
    result = run(
        "evaluate", tmp_path / "a.parquet", "--losses", "nll", "--fail-if", "accuracy < 1", "--on-invalid", "skip"
    )
    assert "there is no 'accuracy' in the result" in result.stderr


# The recipes of docs/howto/language-model-logs.md, on files of the shape that these programs write.


def recipes():
    text = (ROOT / "docs" / "howto" / "language-model-logs.md").read_text()
    return re.findall("```python\n(.*?)```", text, re.DOTALL)


def write_samples(folder, name, metrics):
    """Samples as lm-evaluation-harness logs them: responses as text, metrics as they are."""
    lines = []
    for i, (responses, own, target) in enumerate(metrics):
        texts = [[str(value) for value in pair] for pair in responses]
        sample = {
            "doc_id": i, "doc": {"page": f"text {i}"}, "target": str(target),
            "arguments": {"gen_args_0": {"arg_0": "x"}},
            "resps": [[pair] for pair in texts], "filtered_resps": texts, "filter": "none", "metrics": list(own),
            "doc_hash": f"{i:064x}", "prompt_hash": f"{i:064x}", "target_hash": f"{i:064x}", **own,
        }  # fmt: skip
        lines.append(json.dumps(sample) + "\n")
    (folder / name).write_text("".join(lines))


def test_recipes(tmp_path, monkeypatch):
    pytest.importorskip("duckdb")
    monkeypatch.chdir(tmp_path)
    documents = [(-1234.5, 3000), (-700.25, 1600), (-90.0, 250)]
    own = [{"byte_perplexity": [ll, n], "bits_per_byte": [ll, n]} for ll, n in documents]
    write_samples(
        tmp_path, "samples_wikitext_2025-01-01T00-00-00.jsonl",
        [([(ll,)], metrics, "") for (ll, _), metrics in zip(documents, own, strict=True)],
    )  # fmt: skip
    choices = [([(-4.25, False), (-3.5, True), (-9.0, False)], 1), ([(-1.5, True), (-2.5, False), (-3.0, False)], 2)]
    write_samples(
        tmp_path, "samples_arc_easy_2025-01-01T00-00-00.jsonl", [(pairs, {"acc": 1.0}, y) for pairs, y in choices]
    )
    logprob = lambda value: SimpleNamespace(logprob=value, rank=1, decoded_token="x")  # noqa: E731
    outputs = [
        SimpleNamespace(
            request_id="0", prompt_token_ids=[5, 7, 9],
            prompt_logprobs=[None, {7: logprob(-0.5)}, {3: logprob(-0.1), 9: logprob(-2.25)}],
        ),
        SimpleNamespace(request_id="1", prompt_token_ids=[5, 6], prompt_logprobs=[None, {6: logprob(-1.0)}]),
    ]  # fmt: skip
    names = {"outputs": outputs}
    for recipe in recipes():
        exec(recipe, names)
    bits = sum(-ll for ll, _ in documents) / sum(n for _, n in documents) / math.log(2)
    assert names["ev"].units.bits == pytest.approx(bits, rel=1e-15)
    assert names["ev"].worst["doc_id"].to_pylist() == [0, 1, 2]
    scores = np.array([[score for score, _ in pairs] for pairs, _ in choices])
    assert names["among"].loss == fx.cross_entropy([y for _, y in choices], logits=scores)
    assert names["alone"].loss == (3.5 + 3.0) / 2
    assert names["tokens"].loss == (0.5 + 2.25 + 1.0) / 3
