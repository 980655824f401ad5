"""Golden files: what the package said of some data, to the bit, so that a changed bit is seen.

``tests/golden/*.json`` hold, by case and section, what the public face gives: the dictionary and the tables of an
evaluation, of one of its groups, and of a comparison, the columns that `fastxent.score` writes, losses of arrays, and
the integers in totals. Short values are there as they are; of long columns there is the number of values, their kind,
the beginning of a SHA-256 (of the values as little-endian float64 or int64, else of their JSON text), the first two
and the last.

    python -m tests.golden --write          makes the files anew
    python -m tests.golden --write digits   makes those of one family
    python -m tests.golden --show digits/logits > before.txt    all values of a case, to be compared between versions

Make them anew only for a change that is meant to move a number (then `NUMERICS_VERSION` changes as well) or to add a
case, and look through the difference line by line: whatever else moved is a defect.

What is left out: run facts, versions, paths, warnings (their words). Numbers that come from the C library or from what
NumPy picks for the processor (logarithms, exponentials, Student's t) are compared to eleven digits; see `NEAR`.

`decoded` is the only function that looks inside totals, and the only one that may change when their layout does.
What it gives must not: rows, sums, cells and counts mean the same in any layout.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import re
import tempfile
import warnings
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import fastxent as fx
from tests import goldendata as data
from tests.statdata import DATA, DIGITS, column

FOLDER = Path(__file__).parent / "golden"
Sections = dict[str, dict[str, Any]]

#: Keys of an evaluation's dictionary, and columns, that are facts about the run.
LEFT_OUT = {"schema", "warnings", "run", "left_out", "path", "paths"}
#: Keys whose last bits are not the package's own.
NEAR = re.compile(
    r"(^|\.)(perplexity|normalized_entropy|d2|(auc|average_precision)(_low|_high|\.value|\.low|\.high)?|threshold"
    r"|p_value|ci_low|ci_high|ci95|ece_floor|intervals\.\w+)$"
)
#: Of these the package itself makes every bit, by square roots at most.
OWN = re.compile(r"(^|\.)(accuracy|loss|units)\.ci95")
TOLERANCE = 1e-11

#: Columns up to this length are shown whole.
SHORT = 4


# Values -> JSON values that are short and can be read


def digest(values: Iterable[Any], key: str = "", *, whole: bool = False) -> Any:
    """A column as a JSON value: itself if it is short, else what identifies it."""
    found = [_plain(value) for value in values]
    if _is_near(key):
        places = range(len(found)) if whole else sorted({round(i * (len(found) - 1) / 4) for i in range(5) if found})
        return {"near": [found[i] for i in places], "count": len(found)}
    if whole or len(found) <= SHORT:
        return found
    some = [value for value in found if value is not None]
    kinds = set(map(type, some))
    if kinds == {float} and len(some) == len(found):
        kind, content = "float64", np.array([math.nan if x != x else x for x in found], "<f8").tobytes()
    elif kinds == {int} and len(some) == len(found) and all(-(2**63) <= x < 2**63 for x in found):
        kind, content = "int64", np.array(found, "<i8").tobytes()
    else:
        kind, content = "json", json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode()
    first, second, last = (json.dumps(found[i], ensure_ascii=False)[:60] for i in (0, 1, -1))
    return f"{len(found)} {kind} {hashlib.sha256(content).hexdigest()[:16]} [{first}, {second}, ... {last}]"


def _is_near(key: str) -> bool:
    return NEAR.search(key) is not None and OWN.search(key) is None


def _plain(value: Any) -> Any:
    """A number, text or list as JSON has it; exact fractions as text such as 0x1a3p-52."""
    if isinstance(value, Fraction):
        power = value.denominator.bit_length() - 1
        assert value.denominator == 1 << power, "exact sums of floats have powers of two below"
        return f"{value.numerator:#x}p-{power}"
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, list | tuple | np.ndarray):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def flat(value: Any, key: str = "", *, whole: bool = False) -> dict[str, Any]:
    """Nested dictionaries, lists and tables as one dictionary; records side by side become columns."""
    if isinstance(value, pa.Table):
        value = {name: value[name].to_pylist() for name in value.column_names}
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        value = {name: [item.get(name) for item in value] for name in dict.fromkeys(n for item in value for n in item)}
    if isinstance(value, Mapping):
        found: dict[str, Any] = {}
        for name, item in value.items():
            if name not in LEFT_OUT:
                found |= flat(item, f"{key}.{name}" if key else str(name), whole=whole)
        return found
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return {key: digest(value, key, whole=whole)}
    return {key: {"near": [_plain(value)], "count": 1} if _is_near(key) and value is not None else _plain(value)}


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What of the expected values is missing or another; values under new names are no difference."""
    return [
        f"{key}:\n    was {json.dumps(value, ensure_ascii=False)}\n    is  "
        + (json.dumps(found[key], ensure_ascii=False) if key in found else "missing")
        for key, value in expected.items()
        if key not in found or not _same(value, found[key])
    ]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        pairs = zip(a["near"], b["near"], strict=False)
        return a["count"] == b["count"] and all(_close(x, y) for x, y in pairs)
    return json.dumps(a) == json.dumps(b)  # tells 1 from 1.0 and -0.0 from 0.0; NaN is NaN


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_close, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return a == b or (a != a and b != b) or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=1e-300)
    return bool(a == b and type(a) is type(b))


# Totals -> integers and exact fractions


def decoded(totals: fx.Totals) -> dict[str, Any]:
    """What totals hold, by section, as integers, exact fractions and lists of them.

    This adapter alone knows the layout, by places rather than by names of modules, which move. What is not told apart
    here: rows that are kept (tables show them) and the sums of groups (those of `Evaluation.group` are decoded).
    Sections:

    ``rows`` and ``first`` by status; ``uneven``; ``sum.*`` exact sums with the numbers of NaN and infinite terms;
    ``histogram`` of losses, ``calibration`` and ``ranking`` by cell, only those that are filled; ``classes`` by class:
    exact fixed-point sums of losses (floor to 2^-62) by target and of confidences (2^-42) by predicted class;
    ``weighed.*`` the same with weights; ``clusters`` in the order of what they hold, since their keys are hashes.
    """
    totals.to_bytes()  # brings words and sums into their canonical form
    t, found = totals.tallies, {}
    statuses = [
        "scored", "ignored", "zero_weight", "null_prediction", "null_target", "ragged_row", "unknown_label",
        "label_out_of_range",
        "nan_prediction", "infinite_logit", "all_masked", "probability_out_of_range", "invalid_target",
        "invalid_weight", "zero_mass",
    ]  # fmt: skip
    for name, rows, first in zip(statuses, t.rows.tolist(), t.first.tolist(), strict=False):
        if rows:
            found[f"rows.{name}"] = rows
            if name != "scored":
                found[f"first.{name}"] = first
    found["uneven"] = int(t.uneven[0])
    if found["uneven"]:
        found["first.uneven"] = int(t.first[15])
    names = ("loss", "square", "brier", "weight", "weighted_loss", "weight_square", "cross", "weighted_square",
             "weighted_correct", "weighted_brier")  # fmt: skip
    for name, state in zip(names, t.sums, strict=False):
        _exact(found, f"sum.{name}", state)
    if t.histogram.size:
        _cells(found, "histogram", t.histogram[:, None], {"rows": lambda c: c[0]})
    if rows := int(t.rows[0]):
        found["extremes"] = t.extremes.view(np.float64).tolist()
        assert rows > 0
    weighted = totals.spec.reads_weight
    if t.ranks.size:
        found["ranks"] = t.ranks.tolist()
    if t.calibration.size:
        parts = {"misses": lambda c: c[0], "hits": lambda c: c[1], "offset": lambda c: c[2] + Fraction(c[3], 1 << 54)}
        _cells(found, "calibration", t.calibration, parts)
    if t.classes.size:
        by_class = t.classes.tolist()
        if t.confusion.size:
            m = t.confusion
            counts = [m.sum(axis=1).tolist(), m.diagonal().tolist(), m.sum(axis=0).tolist()]
        else:
            counts = [[row[i] for row in by_class] for i in range(3)]
        found |= dict(zip(("classes.support", "classes.correct", "classes.predicted"), counts, strict=True))
        found["classes.infinite"] = [row[3] for row in by_class]
        found["classes.loss"] = [row[4] + Fraction(row[5], 1 << 20) + Fraction(row[6], 1 << 62) for row in by_class]
        found["classes.confidence"] = [row[7] + Fraction(row[8], 1 << 42) for row in by_class]
    if t.confusion.size:
        found["confusion"] = t.confusion.ravel().tolist()
    for name, state in zip(totals.all_rows.powers, totals.all_rows.state()[1][0][0], strict=True):
        _exact(found, f"sum.{name}", state)
    for name, table in totals.all_rows.tables.items():
        level, (keys, cells) = table.state(np.zeros(1, np.int64))
        found[f"{name}.level"] = level
        _TABLES[name](found, name, keys, cells, weighted)
    return found


def _exact(found: dict[str, Any], name: str, state: Any) -> None:
    """One exact sum: 42 limbs of 52 bits from 2^-1128 up, then the counts of terms, NaNs and infinities."""
    total = sum(limb << (52 * i) for i, limb in enumerate(state[:42].tolist()))
    found[name] = Fraction(total, 1 << 1128)
    for i, what in enumerate(("terms", "nan", "inf", "-inf"), start=42):
        if state[i] and what != "terms":
            found[f"{name}.{what}"] = int(state[i])


def _cells(found: dict[str, Any], name: str, cells: Any, parts: dict[str, Callable[[Any], Any]]) -> None:
    """The cells (first axis) that hold something, and what is read of each."""
    used = np.flatnonzero(cells.any(axis=1))
    found[f"{name}.cell"] = used.tolist()
    some = cells[used].tolist()
    found |= {f"{name}.{part}": [read(row) for row in some] for part, read in parts.items()}


def _number(row: list[int], column: int, columns: int, quantum: int, key: int, weighted: bool) -> Fraction:
    """A fixed-point number: columns of 62 bits, in units of 2^-quantum times what the band of the weight says."""
    total = 0
    for word in row[column : column + columns]:
        total = (total << 62) + word
    return total * Fraction(2) ** ((31 * (key & 127) - 1999 if weighted else 0) - quantum)


def _filled(found: dict[str, Any], name: str, keys: Any, cells: Any, parts: dict[str, Callable[[Any], Any]]) -> None:
    """Cells by their key, and what is read of each."""
    found[f"{name}.cell"] = keys.tolist()
    rows = cells.tolist()
    found |= {f"{name}.{part}": [read(row) for row in rows] for part, read in parts.items()}


def _clusters(found: dict[str, Any], name: str, keys: Any, cells: Any, weighted: bool) -> None:
    rows = sorted(zip(cells.tolist(), keys.tolist(), strict=True))
    if weighted:
        found[f"{name}.weight"] = [_number(row, 0, 2, 52, key, True) for row, key in rows]
        found[f"{name}.loss"] = [_number(row, 2, 3, 70, key, True) for row, key in rows]
    else:
        found[f"{name}.weight"] = [Fraction(row[0]) for row, _ in rows]
        found[f"{name}.loss"] = [Fraction((row[1] << 40) + row[2], 1 << 70) for row, _ in rows]
    large = 5 if weighted else 3
    found[f"{name}.large"] = [row[large] for row, _ in rows]
    found[f"{name}.rest"] = [row[large + 1 :] for row, _ in rows]  # weights by rank, then units


def _table(*parts: tuple[str, int, int, int], shift: int = 0) -> Callable[..., None]:
    """Counts and numbers by name, first column, columns and quantum; a table without weights has counts alone."""

    def add(found: dict[str, Any], name: str, keys: Any, cells: Any, weighted: bool) -> None:
        found[f"{name}.cell"] = (keys >> 7 if weighted else keys).tolist()
        rows = list(zip(cells.tolist(), keys.tolist(), strict=True))
        for what, at, columns, quantum in parts:
            if at < cells.shape[1]:
                own = quantum if weighted else quantum + shift
                found[f"{name}.{what}"] = [
                    row[at] if what.startswith("rows") else _number(row, at, columns, own, key, weighted)
                    for row, key in rows
                ]

    return add


_TABLES: dict[str, Callable[..., None]] = {
    "clusters": _clusters,
    "ranks": _table(("rows", 0, 1, 0), ("weight", 1, 2, 52)),
    "calibration": _table(
        ("rows", 0, 1, 0), ("rows.hit", 1, 1, 0), ("weight", 2, 2, 52), ("hits", 4, 2, 52), ("confidence", 6, 3, 64)
    ),
    "pairs": _table(("rows", 0, 1, 0), ("weight", 1, 2, 52), ("loss", 3, 3, 62), ("confidence", 6, 2, 52)),
    "classwise": _table(
        ("weight", 0, 2, 62), ("hits", 2, 2, 62), ("probability", 4, 2, 62), ("square", 6, 2, 62), shift=15
    ),
    "confused": _table(("rows", 0, 1, 0)),
    "scores": lambda found, name, keys, cells, weighted: _table(
        ("rows.shared", 0, 1, 0), ("weight", 1, 2, 52) if weighted else ("rows", 1, 1, 0)
    )(found, name, keys, cells, weighted),
}


# Results -> sections

TABLES = (
    "per_class", "classwise", "confused", "groups", "group_per_class", "group_classwise", "group_worst",
    "group_worst_per_class", "worst", "worst_per_class", "ranking", "confusion", "weighted_confusion",
)  # fmt: skip
TABLES_BY_NAME = ("label_errors", "group_label_errors")


def of_evaluation(ev: fx.Evaluation, *, groups: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    """The sections of an evaluation, values undigested; ``groups`` are those that are looked at by themselves."""
    tables: dict[str, Any] = {name: getattr(ev, name) for name in TABLES}
    for name in TABLES_BY_NAME:
        tables |= {f"{name}.{by}": table for by, table in (getattr(ev, name) or {}).items()}
    if ev.margins is not None:
        tables["margins"] = [row for table in ev.margins.values() for row in table.to_pylist()]
    tables["loss_histogram"] = ev.loss_histogram(4)
    if ev.calibration is not None:
        tables["calibration"] = ev.calibration.table
    if ev.temperature is not None:
        tables["temperature"] = ev.temperature.table
    if ev.ranking is not None:
        tables |= {f"thresholds.{label}": ev.thresholds(label) for label in range(ev.ranking.num_rows)}
    told = ev.to_dict()
    found = {
        "to_dict": told,
        "tables": {name: _unless_told(name, table, told) for name, table in tables.items() if table is not None},
        "totals": decoded(ev.totals),
    }
    if groups:
        chosen = {",".join(f"{k}={v}" for k, v in named.items()): ev.group(**named) for named in groups}
        found["group"] = {name: one.to_dict() for name, one in chosen.items()}
        found["group fields"] = {name: one.fields for name, one in chosen.items()}
    return found


def _unless_told(name: str, table: Any, told: Mapping[str, Any]) -> Any:
    """A table, or these words where it holds what the dictionary does, which then stands there only."""
    for part in name.split("."):
        told = told.get(part, {}) if isinstance(told, Mapping) else {}
    same = json.dumps(flat(table, whole=True)) == json.dumps(flat(told, whole=True))
    return "as in to_dict" if same else table


def _evaluate(source: Callable[[], Any], *groups: dict[str, Any], **options: Any) -> Callable[[], dict[str, Any]]:
    """A case: an evaluation of a table."""
    return lambda: of_evaluation(fx.evaluate(source(), **{"target": "label"} | options), groups=groups)


def _readings(source: Callable[[], Any], **options: Any) -> Callable[[], dict[str, Any]]:
    """A case: what is read of totals with other bins, quantiles and intervals."""

    def run() -> dict[str, Any]:
        ev = fx.evaluate(source(), target="label", **options)
        found: dict[str, Any] = {}
        for binning in ("equal_width", "equal_mass", "torchmetrics", "sklearn", "netcal"):
            for bins in (None, 10, 25):
                c = ev.calibrate(bins, binning)
                errors = {name: getattr(c, name) for name in ("ece", "mce", "rmsce", "ace")}
                found[f"{binning} {bins}"] = errors | {"table": c.table}
        quantiles = {q: ev.quantile(q) for q in (0.0, 0.001, 0.1, 0.5, 0.9, 0.999, 1.0)}
        return {
            "calibrate": found,
            "quantiles": {f"{q:g}": [x.value, x.low, x.high] for q, x in quantiles.items()},
            "histograms": {str(n): ev.loss_histogram(n) for n in (1, 16, 128)},
        }

    return run


def _score(source: Callable[[], Any], **options: Any) -> Callable[[], dict[str, Any]]:
    """A case: the columns that `fastxent.score` writes."""

    def run() -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "rows.parquet"
            fx.score(source(), path, **{"target": "label", "keep": "id"} | options)
            return {"rows": {"columns": pq.read_table(path)}}

    return run


def _losses(calls: Callable[[], dict[str, Any]]) -> Callable[[], dict[str, Any]]:
    """A case: losses of arrays."""
    return lambda: {"losses": calls()}


def _compare(a: Callable[[], Any], b: Callable[[], Any] | None, **options: Any) -> Callable[[], dict[str, Any]]:
    """A case: a comparison, with its tables."""

    def run() -> dict[str, Any]:
        found = fx.compare(a(), None if b is None else b(), target="label", **options)
        tables = {"changed": found.changed} | ({"per_group": found.per_group} if found.groups else {})
        return {"to_dict": found.to_dict(), "tables": tables}

    return run


# Cases


def _kernel_digits() -> Any:
    """The other model's predictions of the digits, in another order and without some rows."""
    table = pq.read_table(DATA / "digits_kernel.parquet")
    order = np.argsort(data.integers(60, len(table), 0, 1 << 40), kind="stable")
    return table.take(order[:1700])


def _digits_arrays() -> tuple[Any, Any, Any]:
    return column(DIGITS, "logits"), column(DIGITS, "label").astype(np.int64), np.array(data.digits()["w"])


def _matrix(table: Any, name: str) -> Any:
    values = table[name].combine_chunks()
    return values.flatten().to_numpy(zero_copy_only=False).reshape(len(values), -1)


def _cross_entropies() -> dict[str, Any]:
    z, y, w = _digits_arrays()
    table, bfloat16 = data.digits(), (z.view(np.uint32) >> 16).astype(np.uint16)
    rows: dict[str, Any] = {"reduction": "none"}
    weight = data.dyadic(61, 10, 1, 9, 4)
    found = {
        "float16": fx.cross_entropy(y, logits=z.astype(np.float16), **rows),
        "bfloat16": fx.cross_entropy(y, logits=bfloat16, dtype="bfloat16", **rows),
        "float32": fx.cross_entropy(y, logits=z, **rows),
        "float64": fx.cross_entropy(y, logits=z.astype(np.float64), **rows),
        "by columns": fx.cross_entropy(y, logits=np.asfortranarray(z), **rows),
        "probs": fx.cross_entropy(y, probs=_matrix(table, "probs"), **rows),
        "probs clip": fx.cross_entropy(y, probs=_matrix(table, "probs"), clip=2.0**-10, **rows),
        "log_probs": fx.cross_entropy(y, log_probs=_matrix(table, "log_probs"), **rows),
        "normalize": fx.cross_entropy(y, log_probs=_matrix(table, "log_probs") - 0.25, normalize=True, **rows),
        "class_weight": fx.cross_entropy(y, logits=z, class_weight=weight, sample_weight=w, **rows),
        "smoothing": fx.cross_entropy(y, logits=z, label_smoothing=0.125, **rows),
        "ignore_index": fx.cross_entropy(y, logits=z, ignore_index=3, **rows),
        "base 2": fx.cross_entropy(y, logits=z, base=2, **rows),
    }
    for reduction in ("mean", "sum"):
        found[reduction] = fx.cross_entropy(y, logits=z, reduction=reduction)
        found[f"{reduction} weighted"] = fx.cross_entropy(
            y, logits=z, class_weight=weight, sample_weight=w, label_smoothing=0.125, reduction=reduction
        )
    return found


def _binary_cross_entropies() -> dict[str, Any]:
    table, several = data.breast(), data.multilabel()
    y, w, rows = np.array(table["label"]), np.array(table["w"]), {"reduction": "none"}
    labels, mask = _matrix(several, "label"), _matrix(several, "mask")
    found = {form: fx.binary_cross_entropy(y, **{form: np.array(table[form])}, **rows)
             for form in ("logits", "probs", "log_probs")}  # fmt: skip
    found["pos_weight"] = fx.binary_cross_entropy(y, logits=np.array(table["logits"]), pos_weight=1.75, **rows)
    found["mean"] = fx.binary_cross_entropy(y, logits=np.array(table["logits"]), sample_weight=w)
    found["labels"] = fx.binary_cross_entropy(labels, logits=_matrix(several, "logits"), mask=mask, **rows)
    found["labels probs"] = fx.binary_cross_entropy(labels, probs=_matrix(several, "probs"), **rows)
    return found


def _other_losses() -> dict[str, Any]:
    z, y, w = _digits_arrays()
    several, rows = data.soft(), {"reduction": "none"}
    found = {f"focal {gamma:g}": fx.focal_loss(y, logits=z, gamma=gamma, **rows) for gamma in (0.0, 0.5, 2.0, 3.0)}
    found["focal mean"] = fx.focal_loss(y, logits=z, sample_weight=w, label_smoothing=0.0625)
    for form, target in (("logits", "label_logits"), ("probs", "label"), ("log_probs", "label_log_probs")):
        given = {form: _matrix(several, form)}
        found[f"kl_divergence {form}"] = fx.kl_divergence(_matrix(several, target), **given, **rows)
        found[f"kl_divergence {form} mean"] = fx.kl_divergence(_matrix(several, target), **given)
        found[f"entropy {form}"] = fx.entropy(**given, **rows)
        found[f"soft {form}"] = fx.cross_entropy(_matrix(several, "label"), **given, **rows)
    found["entropy float32"] = fx.entropy(logits=z, **rows)
    return found


ROWS: dict[str, Any] = {"worst": 4, "worst_per_class": 2, "label_errors": 5, "keep": ["id", "site"]}
BESIDE: dict[str, Any] = {"cluster_by": "doc", "units": "words"}
BINARY: dict[str, Any] = {"task": "binary"}
SEVERAL: dict[str, Any] = {"task": "multilabel"}
ALL, WEIGHED = ROWS | BESIDE, ROWS | BESIDE | {"weight": "w"}
SOME: dict[str, Any] = BESIDE | {"worst": 2}
LOGITS, PROBS, LOG_PROBS = ({form: form} for form in ("logits", "probs", "log_probs"))
TOPK: dict[str, Any] = {"probs": "probs", "ids": "ids", "num_classes": 50}
WEIGHTS = (1.0, 0.5, 0.0, 2.0, 1.25, 1.0, 0.75, 1.0, 3.0, 1.0)
INK, SITE = {"ink": "light"}, {"site": None}

CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "digits/logits": _evaluate(data.digits, **LOGITS),
    "digits/logits all": _evaluate(
        data.digits, INK, **LOGITS, **ALL, group_by="ink", statistics=["entropy", "temperature", "classwise"]
    ),
    "digits/logits all weighted": _evaluate(
        data.digits, INK, **LOGITS, **WEIGHED, group_by="ink", statistics=["entropy", "temperature", "classwise"]
    ),
    "digits/probs all": _evaluate(
        data.digits, SITE, **PROBS, **ALL, group_by="site", statistics=["entropy", "classwise"]
    ),
    "digits/probs all weighted": _evaluate(
        data.digits, INK, **PROBS, **WEIGHED, group_by="ink", statistics=["entropy", "classwise"]
    ),
    "digits/log_probs all": _evaluate(data.digits, **LOG_PROBS, **ALL, statistics=["entropy", "classwise"]),
    "digits/log_probs all weighted": _evaluate(
        data.digits, INK, **LOG_PROBS, **WEIGHED, group_by="ink", statistics=["entropy", "classwise"]
    ),
    "digits/crossed": _evaluate(
        data.digits, INK, SITE, {"ink": "heavy", "year": 2020, "site": "east"}, **LOGITS, **ALL,
        group_by=["ink", "year", "site"], statistics=["temperature", "classwise"],
    ),
    "digits/crossed weighted": _evaluate(
        data.digits, {"ink": "heavy", "site": None}, **LOGITS, **SOME, weight="w", group_by=["ink", "site"]
    ),
    "digits/readings": _readings(data.digits, **LOGITS),
    "digits/readings weighted": _readings(data.digits, **PROBS, weight="w"),
    "digits/bins top_k base": _evaluate(
        data.digits, INK, **LOGITS, **SOME, group_by="ink", bins=20, binning="equal_mass", top_k=[1, 2, 7], base=2,
        statistics=["entropy", "temperature"],
    ),
    "digits/names": _evaluate(data.digits, **LOGITS, **ROWS, class_names=[f"d{i}" for i in range(10)], base=10),
    "digits/smoothing": _evaluate(
        data.digits, INK, **LOGITS, **SOME, weight="w", group_by="ink", label_smoothing=0.125
    ),
    "digits/class_weight": _evaluate(data.digits, INK, **LOGITS, **SOME, group_by="ink", class_weight=WEIGHTS),
    "digits/ignore_index": _evaluate(data.digits, INK, **LOGITS, **SOME, group_by="ink", ignore_index=3),
    "digits/focal": _evaluate(data.digits, INK, **LOGITS, **SOME, weight="w", group_by="ink", loss="focal", gamma=1.5),
    "digits/focal probs": _evaluate(data.digits, **PROBS, loss="focal"),
    "digits/entropy": _evaluate(data.digits, INK, **LOGITS, **BESIDE, worst=3, group_by="ink", loss="entropy"),
    "digits/skip": _evaluate(
        data.broken, INK, **LOGITS, **WEIGHED, group_by="ink", on_invalid="skip", ignore_index=6,
        statistics=["entropy", "classwise"],
    ),
    "digits/propagate": _evaluate(data.broken, **LOGITS, on_invalid="propagate"),
    "digits/uneven": _evaluate(data.uneven, INK, **PROBS, **SOME, group_by="ink", statistics="classwise"),
    "digits/normalize": _evaluate(data.uneven, **PROBS, **SOME, normalize=True, statistics="classwise"),
    "digits/clip": _evaluate(data.uneven, **PROBS, **SOME, weight="w", clip=2.0**-12),
    "digits/clip sklearn": _evaluate(data.uneven, **PROBS, clip="sklearn"),
    "digits/file": _evaluate(lambda: DIGITS, {"fold": 2}, **LOGITS, worst=3, group_by="fold"),
    "breast/logits": _evaluate(data.breast, **LOGITS, **BINARY),
    "breast/logits all": _evaluate(
        data.breast, {"radius": "small"}, **LOGITS, **BINARY, **ALL, group_by="radius", statistics="ranking"
    ),
    "breast/logits all weighted": _evaluate(
        data.breast, {"radius": "small"}, **LOGITS, **BINARY, **WEIGHED, group_by="radius", statistics="ranking"
    ),
    "breast/probs all": _evaluate(
        data.breast, SITE, **PROBS, **BINARY, **ALL, group_by=["site", "radius"], statistics="ranking"
    ),
    "breast/probs all weighted": _evaluate(data.breast, **PROBS, **BINARY, **WEIGHED, statistics="ranking"),
    "breast/log_probs all weighted": _evaluate(
        data.breast, {"radius": "large"}, **LOG_PROBS, **BINARY, **WEIGHED, group_by="radius", statistics="ranking"
    ),
    "breast/readings": _readings(data.breast, **LOGITS, **BINARY),
    "breast/readings weighted": _readings(data.breast, **PROBS, **BINARY, weight="w"),
    "breast/pos_weight smoothing": _evaluate(
        data.breast, **LOGITS, **BINARY, **SOME, pos_weight=1.75, label_smoothing=0.125
    ),
    "breast/focal": _evaluate(data.breast, **LOGITS, **BINARY, **SOME, weight="w", loss="focal"),
    "breast/clip": _evaluate(data.breast, **PROBS, **BINARY, **SOME, clip=2.0**-12, base=2),
    "multilabel/logits": _evaluate(data.multilabel, **LOGITS, **SEVERAL),
    "multilabel/logits all weighted": _evaluate(
        data.multilabel, SITE, **LOGITS, **SEVERAL, **BESIDE, weight="w", mask="mask", worst=4, keep="id",
        group_by="site", statistics="ranking",
    ),
    "multilabel/probs all": _evaluate(
        data.multilabel, {"year": 2020}, **PROBS, **SEVERAL, **BESIDE, worst=4, group_by=["year", "site"],
        statistics="ranking",
    ),
    "multilabel/pos_weight": _evaluate(
        data.multilabel, **LOGITS, **SEVERAL, pos_weight=[1, 2, 0.5, 1, 3, 1, 1.25], label_smoothing=0.125
    ),
    "multilabel/focal": _evaluate(data.multilabel, **LOGITS, **SEVERAL, weight="w", loss="focal"),
    "soft/logits all": _evaluate(
        data.soft, SITE, **LOGITS, **ALL, group_by="site", statistics=["entropy", "temperature"]
    ),
    "soft/probs weighted": _evaluate(data.soft, **PROBS, **SOME, weight="w", class_weight=[1, 0.5, 2, 0, 1]),
    "soft/log_probs": _evaluate(
        data.soft, SITE, **LOG_PROBS, **SOME, weight="w", group_by="site", label_smoothing=0.125
    ),
    "soft/kl_divergence logits": _evaluate(
        data.soft, SITE, **LOGITS, **BESIDE, weight="w", worst=3, group_by="site", loss="kl_divergence",
        target="label_logits",
    ),
    "soft/kl_divergence probs": _evaluate(data.soft, **PROBS, **BESIDE, loss="kl_divergence"),
    "soft/kl_divergence log_probs": _evaluate(data.soft, **LOG_PROBS, loss="kl_divergence", target="label_log_probs"),
    "soft/focal": _evaluate(data.soft, **LOGITS, loss="focal"),
    "topk/probs": _evaluate(data.topk, **TOPK),
    "topk/probs all weighted": _evaluate(data.topk, SITE, **TOPK, **BESIDE, weight="w", worst=4, group_by="site"),
    "wide/logits all": _evaluate(data.wide, SITE, **LOGITS, **ALL, group_by="site"),
    "wide/logits weighted": _evaluate(data.wide, **LOGITS, weight="w", worst=3),
    "score/digits logits": _score(data.digits, **LOGITS),
    "score/digits probs": _score(data.digits, **PROBS),
    "score/digits log_probs": _score(data.digits, **LOG_PROBS),
    "score/digits names base": _score(data.digits, **LOGITS, class_names=[f"d{i}" for i in range(10)], base=2),
    "score/digits weighted smoothing": _score(
        data.digits, **LOGITS, weight="w", label_smoothing=0.125, class_weight=WEIGHTS
    ),
    "score/digits focal": _score(data.digits, **LOGITS, loss="focal"),
    "score/digits focal probs": _score(data.digits, **PROBS, loss="focal"),
    "score/digits focal log_probs": _score(data.digits, **LOG_PROBS, loss="focal"),
    "score/digits entropy": _score(data.digits, **LOGITS, loss="entropy"),
    "score/digits entropy probs": _score(data.digits, **PROBS, loss="entropy"),
    "score/digits entropy log_probs": _score(data.digits, **LOG_PROBS, loss="entropy"),
    "score/digits skip": _score(data.broken, **LOGITS, weight="w", on_invalid="skip", ignore_index=6),
    "score/digits clip": _score(data.uneven, **PROBS, clip=2.0**-12),
    "score/digits normalize": _score(data.uneven, **PROBS, normalize=True),
    "score/breast logits": _score(data.breast, **LOGITS, **BINARY),
    "score/breast probs": _score(data.breast, **PROBS, **BINARY),
    "score/breast log_probs": _score(data.breast, **LOG_PROBS, **BINARY),
    "score/breast focal": _score(data.breast, **LOGITS, **BINARY, loss="focal"),
    "score/multilabel": _score(data.multilabel, **LOGITS, **SEVERAL, mask="mask"),
    "score/multilabel probs": _score(data.multilabel, **PROBS, **SEVERAL),
    "score/soft logits": _score(data.soft, **LOGITS),
    "score/soft probs": _score(data.soft, **PROBS),
    "score/soft log_probs": _score(data.soft, **LOG_PROBS),
    "score/kl_divergence logits": _score(data.soft, **LOGITS, loss="kl_divergence", target="label_logits"),
    "score/kl_divergence probs": _score(data.soft, **PROBS, loss="kl_divergence"),
    "score/kl_divergence log_probs": _score(data.soft, **LOG_PROBS, loss="kl_divergence", target="label_log_probs"),
    "score/topk": _score(data.topk, **TOPK),
    "losses/cross_entropy": _losses(_cross_entropies),
    "losses/binary_cross_entropy": _losses(_binary_cross_entropies),
    "losses/others": _losses(_other_losses),
    "compare/by id": _compare(
        data.digits, _kernel_digits, **LOGITS, on="id", group_by=["ink", "fold"], cluster_by="doc", permutations=199
    ),
    "compare/by id weighted": _compare(
        data.digits, _kernel_digits, **LOGITS, on="id", group_by="ink", weight="w", permutations=199, seed=3, base=2
    ),
    "compare/by order": _compare(
        data.digits, lambda: pq.read_table(DATA / "digits_kernel.parquet"), **LOGITS, by_order=True, group_by="ink",
        weight="w", cluster_by="doc", permutations=199, k=3,
    ),
    "compare/by order forms": _compare(
        data.breast, None, **LOGITS, b_probs="probs", by_order=True, group_by="radius", **BINARY
    ),
}  # fmt: skip


@cache
def values(case: str) -> dict[str, Any]:
    """The sections of a case, undigested."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", fx.DoubtWarning)  # rows are made up
        return CASES[case]()


def found(case: str, *, whole: bool = False) -> Sections:
    """The sections of a case as they are kept."""
    return {section: flat(value, whole=whole) for section, value in values(case).items()}


def kept() -> dict[str, Sections]:
    """What the golden files say, by case."""
    result: dict[str, Sections] = {}
    for path in sorted(FOLDER.glob("*.json")):
        result |= {f"{path.stem}/{name}": sections for name, sections in json.loads(path.read_text("utf-8")).items()}
    return result


def write(families: Iterable[str]) -> None:
    """Make golden files anew."""
    FOLDER.mkdir(exist_ok=True)
    for family in families:
        cases = {case.partition("/")[2]: found(case) for case in CASES if case.startswith(f"{family}/")}
        (FOLDER / f"{family}.json").write_text(_text(cases) + "\n", "utf-8")


def _text(value: Any, depth: int = 0) -> str:
    """Cases as JSON with a value a line, so that differences of files can be read."""
    if depth == 3:
        return json.dumps(value, ensure_ascii=False)
    lines = [f"{' ' * (depth + 1)}{json.dumps(name)}: {_text(item, depth + 1)}" for name, item in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{' ' * depth}}}"


def main() -> None:
    families = list(dict.fromkeys(case.partition("/")[0] for case in CASES))
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", nargs="*", metavar="FAMILY", choices=families, help="make files anew")
    parser.add_argument("--show", metavar="CASE", choices=list(CASES), help="print all values of a case")
    asked = parser.parse_args()
    if asked.show:
        for section, content in found(asked.show, whole=True).items():
            for key, value in content.items():
                print(f"{section} | {key} | {json.dumps(value, ensure_ascii=False)}")
    if asked.write is not None:
        write(asked.write or families)


if __name__ == "__main__":
    main()
