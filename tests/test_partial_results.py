"""What was left out shows in results and exit codes, and what is left is scored exactly."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_sources_parquet import LABELS, LAYOUTS, N
from test_sources_skip import TABLE, spoil, write
from test_sources_topk import IDS, C, reference, tables
from test_sources_topk import LABELS as TOPK_LABELS

import fastxent as fx
from tests.shell import run


def test_evaluation_and_exit_code(tmp_path):
    write(tmp_path / "a.parquet")
    write(tmp_path / "b.parquet")
    kept = np.r_[0:100, 200:N, 0:N]
    whole = pa.concat_tables([TABLE, TABLE]).take(pa.array(np.r_[0:100, 200 : 2 * N]))
    expected = fx.evaluate(whole, "y", logits="z")
    spoil(tmp_path / "a.parquet", 1, column=1)
    ev = fx.evaluate(tmp_path, "y", logits="z", verify_checksums=True, on_error="skip")
    assert ev.totals.to_bytes() == expected.totals.to_bytes()
    assert ev.rows["read"] == len(kept)
    (left,) = ev.to_dict()["left_out"]
    assert (left["path"], left["row_group"], left["rows"]) == (str(tmp_path / "a.parquet"), 1, 100)
    assert ev.warnings == [str(ev.left_out[0])]

    command = ["evaluate", tmp_path, "--logits", "z", "--target", "y", "--verify-checksums", "--json", "-"]
    done = run(*command, "--on-error", "skip")
    assert done.exit_code == 4, done.stderr
    assert "left out: " in done.stderr
    assert json.loads(done.stdout)["left_out"] == [left]
    assert run(*command).exit_code == 3


def test_top_k(tmp_path):
    table, _ = tables()["lists"]
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=64)
    ev = fx.evaluate(tmp_path, "y", log_probs="logprobs", ids="ids", num_classes=C)
    assert ev.loss == pytest.approx(np.mean([reference(i) for i in range(len(table))]), rel=1e-12)
    assert ev.accuracy == np.mean(IDS[:, 0] == TOPK_LABELS)
    assert ev.top_k[5] == np.mean((IDS == TOPK_LABELS[:, None]).any(axis=1))
    unseen = int((IDS != TOPK_LABELS[:, None]).all(axis=1).sum())
    assert f"target of {unseen} of 300 rows" in ev.warnings[0]
    assert len(ev.warnings) == 1
    with pytest.raises(fx.UsageError, match="filter='y != 0'"):
        fx.evaluate(tmp_path, "y", log_probs="logprobs", ids="ids", num_classes=C, ignore_index=0)


def test_filter(tmp_path):
    pq.write_table(pa.table({"z": LAYOUTS["list"], "y": LABELS}), tmp_path / "a.parquet", row_group_size=64)
    table = pa.table({"z": LAYOUTS["list"], "y": LABELS})
    ev = fx.evaluate(tmp_path / "a.parquet", "y", logits="z", filter="y in (1, 2)")
    rows = np.flatnonzero(np.isin(LABELS, [1, 2]))
    assert ev.totals.to_bytes() == fx.evaluate(table.take(pa.array(rows)), "y", logits="z").totals.to_bytes()
    assert ev.rows["read"] == len(rows)
