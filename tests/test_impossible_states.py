"""State files whose checksum fits and whose numbers do not: every number of every part is changed, one at a time.

A changed state is refused, with the file and what does not agree, or its numbers are those of some other data.
"""

from __future__ import annotations

import hashlib
import json
import math
import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings

import fastxent as fx
from fastxent.totals.totals import Totals
from tests.state_form import opened, sealed
from tests.test_laws import problems

#: What becomes of a number; an exchange with another one of the same part is the last way.
WAYS = {
    "one more": lambda v: v + 1, "one less": lambda v: v - 1, "negated": lambda v: -v, "zeroed": lambda v: 0,
    "doubled": lambda v: 2 * v, "huge": lambda v: 1 << 62, "large": lambda v: 1 << 40,
    "NaN": lambda v: 0x7FF8 << 48, "inf": lambda v: 0x7FF << 52,
}  # fmt: skip
N, K = 60, 4


def totals_of(kind):
    """The totals of a few rows with all that can be asked for."""
    rng = np.random.default_rng(5)
    z, y = rng.normal(0, 2, (N, K)), rng.integers(0, K, N)
    y[7] = 99
    options = {
        "cluster_by": rng.integers(0, 9, N), "units": rng.integers(0, 5, N), "worst": 3, "keep": {"n": np.arange(N)},
        "group_by": {"g": pa.array(rng.integers(0, 3, N)), "h": pa.array(["a", "b"] * (N // 2))}, "on_invalid": "skip",
    }  # fmt: skip
    rows = {"worst_per_class": 2, "label_errors": 2}
    options |= {
        "labels": {"logits": z, "target": y, "statistics": ["entropy", "temperature", "classwise"], **rows},
        "weighted": {
            "logits": z, "target": y, "weight": rng.choice([0.0, 0.5, 1.0, 3.0], N), "class_weight": [1, 2, 0.5, 1],
            "statistics": ["entropy", "temperature", "classwise"], **rows,
        },
        "binary": {
            "logits": z[:, 0], "target": y % 2, "task": "binary", "statistics": ["temperature", "ranking"], **rows,
        },
        "multilabel": {
            "probs": 1 / (1 + np.exp(-z)), "target": rng.integers(0, 2, (N, K)), "task": "multilabel",
            "statistics": ["ranking"],
        },
        "soft": {"probs": rng.dirichlet(np.ones(K), N), "target": rng.dirichlet(np.ones(K), N)},
        "ready made": {"losses": rng.exponential(1, N).astype(np.float32)},
        "nothing scored": {"logits": z, "target": np.full(N, 99)},
    }[kind]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fx.DoubtWarning)
        return fx.evaluate(**options).totals


def changed(numbers, parts, rng):
    """The numbers with one of some part changed: mostly one that is not 0."""
    lo, hi = parts[rng.integers(len(parts))]
    used = np.flatnonzero(numbers[lo:hi])
    at = lo + int(rng.choice(used) if used.size and rng.random() < 0.85 else rng.integers(hi - lo))
    way = rng.choice([*WAYS, "exchanged"])
    result = numbers.copy()
    if way == "exchanged":
        other = int(rng.integers(lo, hi))
        result[[at, other]] = result[[other, at]]
    else:
        value = WAYS[way](int(numbers[at])) & (2**64 - 1)
        result[at] = value - (value >> 63 << 64)
    return result


def check_possible(ev):
    """Whether the numbers of an evaluation could be those of some data."""
    told = ev.to_dict()
    assert 0 <= ev.num_rows <= 2**40
    share = (
        "accuracy",
        "ece",
        "mce",
        "rmsce",
        "ace",
        "auc",
        "average_precision",
        "classwise_ece",
        "mrr",
        "balanced_accuracy",
    )
    for row in [ev.fields, *([] if ev.groups is None else ev.groups.to_pylist())]:
        for name, value in row.items():
            if value is None or isinstance(value, str) or name in ("g", "h"):
                continue
            if name in share or (name.startswith("top") and name[3:].isdigit()):
                assert math.isnan(value) or 0.0 <= value <= 1.0 + 1e-9, (name, value)
            if name not in ("mcc", "residual", "d2", "temperature_gain"):
                assert not value < -1e-9, (name, value)
        if not math.isnan(row["loss"]):
            assert row["loss"] == math.inf or row["weight" if "weight" in row else "count"] > 0
            if "weight" not in row:
                assert row["min"] <= row["loss"] <= row["max"]
            assert row["min"] <= row["q50"] <= row["max"] or math.isnan(row["q50"])
    assert sum(cell["count"] for cell in told["loss_histogram"]) == ev.num_rows
    if ev.groups is not None:
        assert sum(ev.groups["count"].to_pylist()) == ev.num_rows
    if ev.confusion is not None:
        assert ev.confusion.sum() == ev.num_rows
        assert ev.confusion.min() >= 0


@pytest.mark.parametrize("kind", ["labels", "weighted", "binary", "multilabel", "soft", "ready made", "nothing scored"])
def test_numbers_that_no_data_have_are_refused(kind):
    header, numbers, parts = opened(totals_of(kind).to_bytes())
    rng, tried, errors = np.random.default_rng(1), 0, []
    for _ in range(150):
        other = changed(numbers, parts, rng)
        if (other == numbers).all():
            continue
        tried += 1
        try:
            ev = fx.merge([sealed(header, other)])
        except fx.StateError as error:
            errors.append(str(error))
            continue
        check_possible(ev)
    assert all(text.startswith("state 1: ") and text.endswith("; make it again") for text in errors)
    assert not [text for text in errors if "Error:" in text]
    refused = len(errors)
    assert refused > (0.8 if kind in ("multilabel", "nothing scored") else 0.9) * tried, (refused, tried)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(problem=problems())
def test_no_state_of_real_data_is_refused(problem):
    for by in ((), ("a", "b")):
        state = problem.evaluated(by=by).totals.to_bytes()
        assert Totals.from_bytes(state).to_bytes() == state


def test_the_error_names_the_file_the_group_and_what_does_not_agree(tmp_path):
    header, numbers, parts = opened(totals_of("labels").to_bytes())
    path = tmp_path / "a.fxt"
    first = parts[0][0]
    path.write_bytes(sealed(header, np.where(np.arange(len(numbers)) == first, numbers + 1, numbers)))
    with pytest.raises(fx.StateError, match=rf"^{path}: no data have these numbers: .* scored"):
        fx.merge([str(path)])


@pytest.mark.parametrize(
    "lie", [{}, [], {"number": 0, "of": 2, "plan": "p"}, {"number": 3, "of": 2, "plan": "p"},
            {"number": "1", "of": 2, "plan": "p"}, {"number": 1, "of": 2, "plan": None}],
)  # fmt: skip
def test_a_shard_that_lies_about_its_place_is_refused(lie):
    text = json.dumps(lie).encode()
    data = b"FXTSHARD" + len(text).to_bytes(8, "little") + text + totals_of("nothing scored").to_bytes()
    with pytest.raises(fx.StateError, match=r"^state 1: does not say which shard it is of how many; make it again$"):
        fx.merge([data + hashlib.sha256(data).digest()])


def test_what_is_no_state_is_not_read_on(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 42)
    for each in (str(path), "/dev/zero"):
        with pytest.raises(fx.StateError, match=f"^{each}: not a fastxent state file"):
            fx.merge([each])
