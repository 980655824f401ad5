"""What is found out from schemas and footers, and what is filled in from it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_sources_arrays import drain
from test_sources_parquet import LABELS, LAYOUTS, NAMES, SCORES, C, N

from fastxent import UsageError
from fastxent.sources.dataset.infer import infer_selection
from fastxent.sources.open import Selection, describe, open_source

WIDE = {name: SCORES[:, j] for j, name in enumerate(NAMES)}


def test_one_possibility_needs_no_flags(tmp_path):
    table = pa.table({"id": pa.array(np.arange(N)), "logits": LAYOUTS["list"], "label": LABELS})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=100)
    found = describe(tmp_path)
    assert (found.format, found.num_rows, found.num_row_groups) == ("parquet", N, 4)
    assert [(c.columns, c.layout, c.form) for c in found.predictions] == [(("logits",), "list", "logits")]
    assert [(c.columns, c.named) for c in found.targets] == [(("id",), False), (("label",), True)]
    assert found.columns[1].codec == "SNAPPY"
    assert found.columns[1].stored_bytes > SCORES.nbytes / 8
    assert "fastxent convert" in found.advice[0]
    selection = infer_selection(found)
    assert selection == Selection(("logits",), "label")
    np.testing.assert_array_equal(drain(open_source(tmp_path, selection))[0], SCORES)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({**WIDE, "y": LABELS}, Selection(("p_*",), "y")),
        ({**WIDE, "p_name": [""] * N, "y": LABELS}, Selection(NAMES, "y")),
        ({"prob_cat": SCORES[:, 0], "prob_dog": SCORES[:, 1], "animal": LABELS}, Selection(("prob_*",), "animal")),
        (
            {"score": SCORES[:, 0], "age": SCORES[:, 1], "y_true": LABELS},
            Selection(("score",), "y_true", task="binary"),
        ),
        ({"z": LAYOUTS["struct"], "target": LABELS}, Selection(("z",), "target")),
        ({"z": LAYOUTS["tensor"], "x": LAYOUTS["binary"], "target": LABELS}, Selection(("z",), "target")),
    ],
)
def test_what_is_inferred(columns, expected):
    assert infer_selection(describe(pa.table(columns))) == expected


def test_choices_are_listed():
    table = pa.table({"a": LAYOUTS["list"], "b": LAYOUTS["list"], "u": LABELS, "v": LABELS})
    with pytest.raises(UsageError, match=r"could be the predictions; name one: 'a' \(list\); 'b'"):
        infer_selection(describe(table))
    with pytest.raises(UsageError, match=r"could be the target; name one: 'u'"):
        infer_selection(describe(table), predictions=["a"])
    with pytest.raises(UsageError, match="no column of <table> looks like predictions"):
        infer_selection(describe(table.select(["u", "v"])))
    assert infer_selection(describe(table), predictions=["b"], target="v", weight="u").weight == "u"


def test_form_by_name():
    for name, form in [("log_probs", "log_probs"), ("y_prob", "probs"), ("rawPrediction", "logits"), ("z", None)]:
        assert describe(pa.table({name: LAYOUTS["list"]})).predictions[0].form == form


def test_our_own_metadata(tmp_path):
    own = {
        "version": 1, "form": "logits", "predictions": ["q"], "target": "id", "class_names": list("abcd"),
        "task": "multiclass", "dtype": "float32",
    }  # fmt: skip
    table = pa.table({"q": LAYOUTS["fixed_size_binary"], "probs": LAYOUTS["list"], "id": LABELS, "label": LABELS})
    pq.write_table(table.replace_schema_metadata({"fastxent": json.dumps(own)}), tmp_path / "a.parquet")
    found = describe(tmp_path)
    assert found.predictions[0].form == "logits"
    assert found.class_names == tuple("abcd")
    selection = infer_selection(found)
    assert selection == Selection(("q",), "id", dtype="float32")
    source = open_source(tmp_path, selection)
    assert source.class_names == tuple("abcd")
    np.testing.assert_array_equal(drain(source)[0], SCORES)


@pytest.mark.parametrize(
    "text", [b"{", b"[]", b'{"version": 2}', b'{"version": 1, "predictions": 7}', b"\xff", b"[" * 9999]
)
def test_strange_metadata_is_left_alone(text):
    table = pa.table({"z": LAYOUTS["list"], "y": LABELS}).replace_schema_metadata(
        {"fastxent": text, "huggingface": text}
    )
    assert infer_selection(describe(table)) == Selection(("z",), "y")


def test_hugging_face_class_names():
    info = {"info": {"features": {"kind": {"names": list("dcba"), "_type": "ClassLabel"}, "z": {"_type": "Sequence"}}}}
    table = pa.table({"z": LAYOUTS["list"], "kind": LABELS, "number": LABELS})
    table = table.replace_schema_metadata({"huggingface": json.dumps(info)})
    found = describe(table)
    assert found.class_names == tuple("dcba")
    source = open_source(table, infer_selection(found))
    assert (source.class_names, source.num_classes) == (tuple("dcba"), C)


def test_frames():
    import polars as pl

    for frame in (pd.DataFrame({**WIDE, "y": LABELS}), pl.DataFrame({**WIDE, "y": LABELS})):
        found = describe(frame)
        assert found.num_rows == N
        assert infer_selection(found) == Selection(("p_*",), "y")
    with pytest.raises(UsageError, match="must be a path"):
        describe(7)
