"""score takes what evaluate takes: the same words, the same numbers, and a row for every row that is read."""

from __future__ import annotations

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import fastxent as fx
from fastxent.engine.row_files.record import read_record
from tests.shell import run

N, C, K = 240, 12, 3
RNG = np.random.default_rng(21)
LOGITS = RNG.normal(scale=2.0, size=(N, C))
P = np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)
LABELS = RNG.integers(0, C, N)
COUNTRY = np.array(["DE", "FR", "IT"])[RNG.integers(0, 3, N)]
COLUMNS = {"logits": "z", "target": "y"}
SKIP = {"on_error": "skip", "verify_checksums": True}


@pytest.fixture
def folder(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    table = pa.table({"id": np.arange(N), "z": list(LOGITS), "y": LABELS, "country": COUNTRY})
    for i, name in enumerate("abc"):
        pq.write_table(
            table.slice(80 * i, 80),
            source / f"{name}.parquet",
            row_group_size=20,
            use_dictionary=False,
            write_page_checksum=True,
        )
    return source


def damage(path, group=1):
    """Flip a bit in the scores of one row group."""
    column = pq.read_metadata(path).row_group(group).column(1)
    data = bytearray(path.read_bytes())
    data[column.data_page_offset + column.total_compressed_size // 2] ^= 1
    path.write_bytes(data)


def test_every_option_that_both_take_gives_the_same_totals(folder, tmp_path):
    options = COLUMNS | {
        "filter": "country != 'IT'", "group_by": ["country"], "cluster_by": "country", "worst": 4, "keep": ["id"],
        "worst_per_class": 2, "label_errors": 3, "statistics": "entropy",
        "bins": 8, "binning": "equal_mass", "top_k": [1, 2],
    }  # fmt: skip
    expected = fx.evaluate(str(folder), **options)
    found = fx.score(str(folder), tmp_path / "o.parquet", **options)
    assert found.totals.to_bytes() == expected.totals.to_bytes()
    # As text, for a NaN is no other NaN.
    assert all(json.dumps(found.to_dict()[k]) == json.dumps(v) for k, v in expected.to_dict().items() if k != "run")
    assert found.to_dict().keys() == expected.to_dict().keys()
    again = fx.score(str(folder), f"{tmp_path}/out/", **options)
    assert again.totals.to_bytes() == expected.totals.to_bytes()
    again = fx.score(str(folder), f"{tmp_path}/out/", **options)
    assert again.totals.to_bytes() == expected.totals.to_bytes()


def test_a_filter_leaves_a_row_for_every_row_it_leaves(folder, tmp_path):
    fx.score(str(folder), tmp_path / "o.parquet", **COLUMNS, filter="country == 'FR' and id >= 30", keep="id")
    chosen = np.flatnonzero((COUNTRY == "FR") & (np.arange(N) >= 30))
    rows = pq.read_table(tmp_path / "o.parquet")
    assert rows["id"].to_pylist() == chosen.tolist()
    expected = fx.cross_entropy(LABELS[chosen], logits=LOGITS[chosen], reduction="none")
    assert rows["loss"].to_numpy().tobytes() == expected.tobytes()


def test_another_filter_is_another_job(folder, tmp_path):
    fx.score(str(folder), f"{tmp_path}/out/", **COLUMNS, filter="id > 3")
    with pytest.raises(fx.UsageError, match="other options"):
        fx.score(str(folder), f"{tmp_path}/out/", **COLUMNS, filter="id > 4")


def test_files_that_come_and_go_do_not_shift_the_rows_of_finished_ones(folder, tmp_path):
    options = COLUMNS | {"worst": 5, "ignore_index": 3}
    (folder / "a.parquet").rename(tmp_path / "a.parquet")
    fx.score(str(folder), f"{tmp_path}/out/", **options)
    (tmp_path / "a.parquet").rename(folder / "a.parquet")
    done = []
    found = fx.score(str(folder), f"{tmp_path}/out/", **options, progress=lambda split, _: done.append(split.path))
    assert done == [str(folder / "a.parquet")]
    assert found.totals.to_bytes() == fx.evaluate(str(folder), **options).totals.to_bytes()


def test_what_cannot_be_read_is_left_out_and_told(folder, tmp_path):
    damage(folder / "b.parquet")
    with pytest.raises(fx.SourceError, match=r"b\.parquet, row group 1, column 'z'"):
        fx.score(str(folder), tmp_path / "o.parquet", **COLUMNS, verify_checksums=True)
    assert not (tmp_path / "o.parquet").exists()
    found = fx.score(str(folder), tmp_path / "o.parquet", **COLUMNS, **SKIP, keep="id")
    assert [(left.row_group, left.rows) for left in found.left_out] == [(1, 20)]
    assert any("left out" in warning for warning in found.warnings)
    kept = [i for i in range(N) if not 100 <= i < 120]
    assert pq.read_table(tmp_path / "o.parquet")["id"].to_pylist() == kept
    assert read_record(str(tmp_path / "o.parquet"))["left_out"] == 1


def test_files_with_something_left_out_are_done_again(folder, tmp_path):
    whole = (folder / "b.parquet").read_bytes()
    damage(folder / "b.parquet")
    stamp = (folder / "b.parquet").stat().st_mtime_ns
    options = COLUMNS | SKIP
    assert len(fx.score(str(folder), f"{tmp_path}/out/", **options).left_out) == 1
    done = []
    found = fx.score(str(folder), f"{tmp_path}/out/", **options, progress=lambda split, _: done.append(split.path))
    assert set(done) == {str(folder / "b.parquet")}
    assert (len(found.left_out), found.num_rows) == (1, N - 20)
    (folder / "b.parquet").write_bytes(whole)
    os.utime(folder / "b.parquet", ns=(stamp, stamp))
    found = fx.score(str(folder), f"{tmp_path}/out/", **options)
    assert (found.left_out, found.num_rows) == ([], N)


def topk_table(names=None):
    """The K likeliest of C, in order of likelihood; the target of many rows is not among them."""
    ids = np.argsort(-P, axis=1)[:, :K]
    stored = np.log(np.take_along_axis(P, ids, axis=1))
    if names is not None:
        ids = [[names[j] for j in row] for row in ids]
    labels = LABELS if names is None else [names[j] for j in LABELS]
    return pa.table({"id": np.arange(N), "ids": list(ids), "p": list(stored), "y": labels})


@pytest.mark.parametrize("names", [None, [f"class {j}" for j in range(C)]], ids=["numbers", "names"])
def test_rows_of_topk_predictions_name_classes_not_places(tmp_path, names):
    pq.write_table(topk_table(names), tmp_path / "in.parquet", row_group_size=50)
    fx.score(
        str(tmp_path / "in.parquet"), tmp_path / "o.parquet", log_probs="p", target="y", ids="ids", num_classes=C,
        class_names=names, keep="id",
    )  # fmt: skip
    rows = pq.read_table(tmp_path / "o.parquet").to_pylist()
    ids = np.argsort(-P, axis=1)[:, :K]
    assert len(rows) == N
    for i, row in enumerate(rows):
        assert row["id"] == i
        assert row["predicted"] == P[i].argmax()
        assert row["predicted_name"] == names[P[i].argmax()] if names else "predicted_name" not in row
        assert row["stored"] == (LABELS[i] in ids[i])
        rest = (1 - P[i][ids[i]].sum()) / (C - K)
        p = P[i][LABELS[i]] if row["stored"] else rest
        np.testing.assert_allclose([row["p_target"], row["loss"]], [p, -np.log(p)], rtol=1e-12)
        np.testing.assert_allclose(row["confidence"], P[i].max(), rtol=1e-12)
        assert row["rank"] == ((P[i] > P[i][LABELS[i]]).sum() if row["stored"] else K)


def test_a_likeliest_class_that_is_not_stored_is_null(tmp_path):
    table = pa.table({"ids": [[4], [1, 2]], "p": [[0.1], [0.6, 0.1]], "y": [4, 1]})
    fx.score(table, tmp_path / "o.parquet", probs="p", target="y", ids="ids", num_classes=3 + 2)
    assert pq.read_table(tmp_path / "o.parquet")["predicted"].to_pylist() == [None, 1]


def test_the_shell(folder, tmp_path):
    damage(folder / "b.parquet")
    out = tmp_path / "o.parquet"
    words = ["score", folder, "-o", out, "--logits", "z", "--target", "y", "--keep", "id", "--verify-checksums"]
    words += ["--filter", "country == 'DE'"]
    done = run(*words, "--on-error", "skip", "--worst", "2", "--json", "-", "--fail-if", "loss < 0")
    assert done.exit_code == 4, done.output
    found = json.loads(done.stdout)
    assert [left["row_group"] for left in found["left_out"]] == [1]
    assert len(found["worst"]) == 2
    assert "left out" in done.stderr
    assert pq.read_metadata(out).num_rows == found["rows"]["read"]
    done = run(*words, "--overwrite", "--on-error", "skip", "--fail-if", "loss > 0")
    assert done.exit_code == 1
    assert f"wrote {found['rows']['read']} rows to {out}" in done.output
