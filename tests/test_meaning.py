"""Files and values that mean something else than they seem to: dates, removed files, nulls, rounding, ties."""

from __future__ import annotations

import datetime as dt
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx

DATES = [dt.datetime(9999, 12, 31), dt.datetime(2020, 1, 1, 12, 0, 0, 1), dt.datetime(1500, 1, 1)]


def test_int96_timestamps_do_not_wrap_around(tmp_path):
    """Nanoseconds of 64 bits reach from 1677 to 2262."""
    path, out = tmp_path / "a.parquet", tmp_path / "out.parquet"
    table = pa.table({"z": [[2.0, 0.5]] * 3, "y": [0, 1, 0], "at": pa.array(DATES, pa.timestamp("us"))})
    pq.write_table(table, path, use_deprecated_int96_timestamps=True)
    options = {"target": "y", "logits": "z"}
    groups = fx.evaluate(path, **options, group_by="at").groups["at"]
    assert groups.to_pylist() == [f"{at:%Y-%m-%d %H:%M:%S.%f}" for at in sorted(DATES)]
    for text, rows in (
        ("at > '2500-01-01'", 1),
        ("at == '9999-12-31'", 1),
        ("at < '1600-01-01'", 1),
        ("at < '1900-01-01'", 1),
    ):
        assert fx.evaluate(path, **options, filter=text).num_rows == rows
    fx.score(path, out, **options, keep="at")
    assert pq.read_table(out)["at"].to_pylist() == DATES
    fx.convert(path, out, logits="z", overwrite=True)
    assert pq.read_table(out)["at"].to_pylist() == DATES
    compared = fx.compare(path, path, **options, by_order=True, group_by="at")
    assert any("9999-12-31" in value for value in compared.groups["at"])


@pytest.mark.parametrize(
    ("marker", "words"),
    [("_delta_log/00000000000000000000.json", "is a Delta table.*DeltaTable"),
     ("metadata/v1.metadata.json", "is an Iceberg table.*pyiceberg"), (".hoodie/hoodie.properties", "is a Hudi table")],
)  # fmt: skip
def test_tables_with_a_log_are_refused_without_their_readers(marker, words, tmp_path, monkeypatch):
    for reader in ("deltalake", "pyiceberg.table"):
        monkeypatch.setitem(sys.modules, reader, None)
    folder = tmp_path / "table"
    (folder / "data" / "day=1").mkdir(parents=True)
    file = folder / "data" / "day=1" / "a.parquet"
    pq.write_table(pa.table({"z": [[2.0, 0.5]], "y": [0]}), file)
    right = fx.evaluate(folder, "y", logits="z").loss
    (folder / marker).parent.mkdir()
    (folder / marker).write_text("{}")
    for data in (
        folder,
        folder / "data",
        f"{folder}/data/*/*.parquet",
        f"{folder}/**/*.parquet",
        tmp_path,
        f"file://{folder}",
    ):
        with pytest.raises(fx.SourceError, match=words):
            fx.evaluate(data, "y", logits="z")
    with pytest.raises(fx.SourceError, match=words):
        fx.inspect(folder)
    assert fx.evaluate(file, "y", logits="z").loss == fx.evaluate([file], "y", logits="z").loss == right


def test_metadata_of_other_kinds_is_no_table(tmp_path):
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "notes.json").write_text("{}")
    pq.write_table(pa.table({"z": [[2.0, 0.5]], "y": [0]}), tmp_path / "a.parquet")
    assert fx.evaluate(tmp_path, "y", logits="z").num_rows == 1


@pytest.mark.parametrize("layout", ["lists", "fixed", "columns", "struct"])
def test_what_a_mask_leaves_out_may_be_null(layout):
    """Labels, scores and whole rows of labels."""
    p = [[0.5, None], [0.25, 0.75], [None, 0.125], [0.5, 0.5]]
    y = [[1, None], [0, 1], [None, 0], None]
    mask = [[True, False], [True, True], [False, True], [False, False]]
    kind = pa.list_(pa.float64(), *([2] if layout == "fixed" else []))
    columns = {"p_0": [row[0] for row in p], "p_1": [row[1] for row in p]}
    scores = {
        "columns": columns,
        "struct": {"p": pa.table(columns).to_struct_array().combine_chunks()},
    }.get(layout, {"p": pa.array(p, kind)})
    table = pa.table(scores | {"y": pa.array(y, pa.list_(pa.int64())), "m": mask})
    options = {"target": "y", "probs": "p_*" if layout == "columns" else "p", "task": "multilabel", "mask": "m"}
    ev = fx.evaluate(table, **options)
    plain = fx.binary_cross_entropy(
        [[1, 0], [0, 1], [0, 0], [0, 0]],
        probs=[[0.5, 0], [0.25, 0.75], [0, 0.125], [0.5, 0.5]],
        mask=mask,
        reduction="none",
    )
    assert (ev.num_rows, ev.rows["ignored"]) == (3, 1)
    assert ev.loss == pytest.approx(plain[:3].mean(), rel=1e-15)
    every = table.set_column(table.schema.get_field_index("m"), "m", pa.array([[True, True]] * 4))
    assert fx.evaluate(every, **options, on_invalid="skip").num_rows == 1


def test_probabilities_just_above_one():
    """Clipped by an epsilon, as Keras does; scikit-learn, and no clip, refuse them."""
    for kind in ("float32", "float64"):
        p = np.array([[1.0000001, 0.0], [0.25, 0.75]], kind)
        assert p[0, 0] > 1
        for clip, epsilon in (("keras", 1e-7), (1e-6, 1e-6)):
            for values in (p, np.asfortranarray(p)):
                losses = fx.cross_entropy([0, 1], probs=values, clip=clip, reduction="none")
                np.testing.assert_allclose(losses, [-np.log(1 - epsilon), -np.log(0.75)], rtol=1e-14)
            assert fx.binary_cross_entropy([1], probs=p[:1, 0], clip=clip) == pytest.approx(
                -np.log(1 - epsilon), rel=1e-12
            )
            with pytest.raises(fx.InvalidRowError, match=r"class 0 is 1\.5"):
                fx.cross_entropy([0], probs=np.array([[1.5, 0.0]], kind), clip=clip)
        for clip in ("sklearn", "torch", None):
            with pytest.raises(fx.InvalidRowError, match=r"outside \[0, 1\]"):
                fx.cross_entropy([0, 1], probs=p, clip=clip)


def test_label_errors_of_probabilities_that_underflow_go_by_the_loss():
    """e^-800 and less are 0; the surer the model, the sooner the row is looked at."""
    margins = np.array([800.0, 900.0, 10.0, 850.0, 2000.0, 900.0])
    z = np.stack([0 * margins, margins], axis=1)
    for chunks in (1, 2, 3):
        table = pa.table({"z": pa.array(z.tolist()), "y": np.zeros(6, int)})
        pieces = [table.slice(lo, -(-6 // chunks)) for lo in range(0, 6, -(-6 // chunks))]
        ev = fx.evaluate(pa.concat_tables(pieces), "y", logits="z", label_errors=4)
        for found in ev.label_errors.values():
            assert found["row"].to_pylist() == [4, 1, 5, 3]
    grouped = fx.evaluate(logits=z, target=np.zeros(6, int), label_errors=2, group_by=[0, 0, 0, 1, 1, 1])
    assert grouped.group(0).label_errors["self_confidence"]["row"].to_pylist() == [1, 0]
