"""The published JSON Schema: what commands and `to_dict` give is valid, and nothing is there that it does not know."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pyarrow as pa
import pytest

import fastxent as fx
from tests import json_schema
from tests.shell import ROOT
from tests.test_report import A, B, made
from tests.test_states import run

BREAST = str(ROOT / "data" / "breast_cancer.parquet")


@cache
def published() -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in json_schema.FOLDER.glob("*.json")}


def check(values: Any) -> None:
    """Values, as JSON text or as they are, under the schema that they name."""
    told = json.loads(values) if isinstance(values, str) else values
    name = told["schema"].partition("/")[0].removeprefix("fastxent.")
    jsonschema.Draft202012Validator(published()[name]).validate(told)


def test_the_files_are_as_they_are_made_now() -> None:
    wanted = {name: json_schema.text_of(schema) for name, schema in json_schema.schemas().items()}
    found = {path.stem: path.read_text() for path in json_schema.FOLDER.glob("*.json")}
    assert found == wanted, "make schema"
    for schema in published().values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", sorted(made()))
def test_evaluations_of_many_kinds(name: str) -> None:
    check(made()[name].to_json())


MEASURES: dict[str, dict[str, Any]] = {
    "all": {"statistics": ("classwise", "entropy", "ranking", "temperature"), "cluster_by": "fold", "units": "id"},
    "rows": {"worst": 3, "worst_per_class": 2, "label_errors": 4, "keep": ["id", "ink"], "group_by": ["ink", "fold"]},
    "edges": {"group_by": "id:0,600,1200", "top_k": (1, 2, 5), "bins": 20},
    "quantiles": {"group_by": "id:q4", "binning": "equal_mass", "base": 10},
    "weights": {"weight": "id", "class_weight": np.arange(1.0, 11.0), "group_by": "ink", "base": 3},
    "loss": {"loss": "focal", "gamma": 1.5},
    "poly1": {"loss": "poly1", "epsilon": 0.5, "label_smoothing": 0.1},
    "ignored": {"ignore_index": 3, "filter": "ink != 'light'", "class_names": list("abcdefghij"), "worst": 2},
}


@pytest.mark.parametrize("name", MEASURES)
def test_evaluations_with_all_that_may_be_asked_for(name: str) -> None:
    ev = fx.evaluate(A, "label", logits="logits", **MEASURES[name])
    check(ev.to_json())
    for group in ev.groups.to_pylist()[:3] if ev.groups is not None else ():
        if "id" not in group:
            check(ev.group(*[group[column] for column in ev.totals.measures.group_by]).to_json())


def test_evaluations_of_odd_rows() -> None:
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(60, 4)), rng.integers(0, 4, 60)
    check(fx.evaluate(losses=rng.exponential(size=50), group_by={"g": np.arange(50) % 3}, worst=2).to_json())
    check(fx.evaluate(target_log_probs=-rng.exponential(size=50), units=np.ones(50)).to_json())
    odd = z.copy()
    odd[3, 1], odd[5] = np.nan, np.inf
    strange = np.where(np.arange(60) == 9, 7, y)
    for policy in ("skip", "propagate"):
        check(fx.evaluate(logits=odd, target=strange, on_invalid=policy).to_json())
    table = pa.table({"loss": y % 2, "count": y, "z": list(z), "y": y})  # names that fields have
    check(fx.evaluate(table, "y", logits="z", group_by=["loss", "count"], worst=2, keep=["loss"]).to_json())
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    check(fx.evaluate(probs=p / 1.1, target=y, normalize=True).to_json())
    check(fx.evaluate(probs=p, target=y, clip="keras").to_json())
    check(fx.evaluate(probs=p[:, 0], target=y % 2, task="binary", class_names=["no", "yes"], pos_weight=2.0).to_json())


def test_comparisons(tmp_path: Path) -> None:
    plain: dict[str, Any] = {"logits": "logits", "on": "id"}
    check(fx.compare(A, B, "label", **plain).to_json())
    check(fx.compare(A, B, "label", **plain, group_by=["ink", "fold"], permutations=99, base=2).to_json())
    check(fx.compare(A, B, "label", **plain, cluster_by="fold", filter="ink == 'heavy'").to_json())
    check(fx.compare(A, B, "label", logits="logits", by_order=True, weight="id").to_json())
    check(fx.compare(A, B, "label", logits="logits", on=["id", "fold"], group_by="id:0,900").to_json())
    check(fx.compare(losses=np.ones(20), b_losses=np.arange(20.0), by_order=True).to_json())
    rng = np.random.default_rng(0)
    z, b_z = rng.normal(size=(2, 300))
    labels = (z > rng.normal(size=300)).astype(int)
    check(fx.compare(logits=z, b_logits=b_z, target=labels, task="binary", by_order=True).to_json())
    check(fx.compare_all(A, {"b": B, "c": A}, "label", **plain).to_json())


def printed(*command: Any) -> str:
    code, out, error = run(*command)
    assert code in (0, 1, 4), error
    return str(out)


def test_what_commands_print(tmp_path: Path) -> None:
    quiet = ("--json", "-", "--no-progress")
    state, parts = tmp_path / "s.fxt", [tmp_path / f"{i}.fxt" for i in (1, 2)]
    check(printed("evaluate", A, *quiet, "--state", state, "--group-by", "ink"))
    check(printed("evaluate", B, *quiet, "--baseline", state, "--fail-if", "loss > 0"))
    for i, part in enumerate(parts, start=1):
        check(printed("evaluate", A, *quiet, "--shard", f"{i}/2", "--state", part))
    check(printed("merge", *parts, "--json", "-"))
    check(printed("convert", A, tmp_path / "c.parquet", "--json"))
    check(printed("score", A, "-o", tmp_path / "rows.parquet", *quiet))
    check(printed("compare", A, B, "--on", "id", *quiet))
    check(printed("compare", A, B, tmp_path / "c.parquet", "--by-order", *quiet))
    check(printed("doctor", "--json"))
    for path in (A, BREAST, tmp_path / "rows.parquet", ROOT / "data"):
        check(printed("inspect", path, "--json"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.parquet").write_bytes(Path(A).read_bytes())
    (tmp_path / "in" / "b.parquet").write_bytes(b"PAR1 no more")
    check(printed("evaluate", tmp_path / "in", "--logits", "logits", "--target", "label", "--on-error", "skip", *quiet))


def test_what_is_wrong_is_seen() -> None:
    right = fx.evaluate(A, "label", logits="logits", group_by="ink", worst=1).to_dict()
    check(right)
    for change in (
        lambda values: values.update(more=1),
        lambda values: values.pop("loss"),
        lambda values: values["loss"].update(mean="0.1"),
        lambda values: values["rows"]["invalid"].update(strange=1),
        lambda values: values["spec"].update(task="regression"),
        lambda values: values["calibration"]["bins"][0].append(0.0),
        lambda values: values["accuracy"].update(first=1.0),
        lambda values: values["per_class"][0].pop("support"),
        lambda values: values["groups"][0].update(accuracy="high"),
        lambda values: values["worst"][0].update(row=0.5),
    ):
        wrong = copy.deepcopy(right)
        change(wrong)
        with pytest.raises(jsonschema.ValidationError):
            check(wrong)
