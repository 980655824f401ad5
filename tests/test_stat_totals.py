"""Totals of any split, merged in any order, are the same bytes; damaged ones are refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastxent as fx
from fastxent.engine.plan import plan_of
from fastxent.engine.runners import threads as on_threads
from fastxent.engine.scorer import Scorer
from fastxent.sources.open import Selection, open_source
from fastxent.statistics.options import Measures
from fastxent.totals.totals import Totals
from tests.statdata import BREAST, DIGITS, table, weights

#: name -> (table, selection, spec, measures): everything that can be gathered.
EXTRA = ("g", "doc", "bytes", "id")
MEASURES = Measures(
    group_by=("g", "fold"), cluster_by="doc", units="bytes", worst=7, worst_per_class=3, keep=("id",), label_errors=5,
    statistics=("classwise", "entropy", "temperature"),
)  # fmt: skip


def with_extras(path):
    data = table(path)
    n = len(data)
    some = [None if i % 17 == 0 else f"g{i % 5}" for i in range(n)]
    data = data.append_column("g", [pa.array(some)]).append_column("w", [weights(n)])
    return data.append_column("doc", [np.arange(n) // 4]).append_column("bytes", [np.arange(n) % 9])


def problem(name, weighted):
    binary = name == "breast"
    data = with_extras(BREAST if binary else DIGITS)
    task = "binary" if binary else "multiclass"
    spec = fx.Spec.make(num_classes=1 if binary else 10, task=task, weighted=weighted, form="logits", ignore_index=3)
    values = {f: getattr(MEASURES, f) for f in Measures.__dataclass_fields__}
    measures = Measures(**(values | {"statistics": ("ranking",)} if binary else values))
    selection = Selection(
        ("logit" if binary else "logits",), "label", task=task, weight="w" if weighted else None, extra=(*EXTRA, "fold")
    )
    return data, selection, spec, measures


def totals_of(data, selection, spec, measures):
    return on_threads.run(plan_of(open_source(data, selection), spec, measures), 1).totals


WHOLE: dict[tuple[str, bool], bytes] = {}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["digits", "breast"])
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_split_and_merge_tree_gives_the_same_bytes(name, weighted, data):
    rows, selection, spec, measures = problem(name, weighted)
    if (name, weighted) not in WHOLE:
        WHOLE[name, weighted] = totals_of(rows, selection, spec, measures).to_bytes()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=5)))
    parts = []
    for lo, hi in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        part = Totals(spec, measures)
        if hi > lo:
            piece = open_source(rows.slice(lo, hi - lo).combine_chunks(), selection)
            for each in (b for split in piece.splits() for b in piece.read(split)):
                where = {"first_id": lo + each.first_id, "first_row": lo + each.first_row}
                Scorer(spec, full=True).score(replace(each, **where), part)
        parts.append(part)
    while len(parts) > 1:
        i = data.draw(st.integers(0, len(parts) - 2))
        j = data.draw(st.integers(i + 1, len(parts) - 1))
        other = parts.pop(j)
        if data.draw(st.booleans()):
            other = Totals.from_bytes(other.to_bytes())
        if data.draw(st.booleans()):
            parts[i], other = other, parts[i]
        parts[i].merge(other)
    assert parts[0].to_bytes() == WHOLE[name, weighted]


def test_threads_give_the_same_bytes(tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    monkeypatch.setattr(on_threads, "SMALL", 0)
    rows, selection, spec, measures = problem("digits", True)
    for i in range(6):
        pq.write_table(rows.slice(i * 300, 300), tmp_path / f"{i}.parquet")
    found = {
        on_threads.run(plan_of(open_source(str(tmp_path), selection), spec, measures), threads).totals.to_bytes()
        for threads in (1, 2, 5)
    }
    assert len(found) == 1


def test_merging_keeps_the_other():
    rows, selection, spec, measures = problem("breast", True)
    a, b = (totals_of(rows.slice(lo, 200), selection, spec, measures) for lo in (0, 200))
    b.shift(200)
    before = b.to_bytes()
    a.merge(b)
    assert b.to_bytes() == before
    again = Totals.from_bytes(a.to_bytes())
    assert again.to_bytes() == a.to_bytes()
    first, second = (fx.Evaluation(t).to_dict() for t in (a, again))
    assert json.dumps(first, default=str) == json.dumps(second, default=str)


def test_totals_of_different_measures_do_not_merge():
    spec = fx.Spec.make(num_classes=3)
    with pytest.raises(fx.StateError, match=r"worst is 'unset' here and 3 there"):
        Totals(spec).merge(Totals(spec, Measures(worst=3)))


def resealed(data, change):
    """The file form with another header, under a checksum that fits."""
    length = int.from_bytes(data[8:16], "little")
    header = json.loads(data[16 : 16 + length])
    change(header)
    text = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    body = data[:8] + len(text).to_bytes(8, "little") + text + data[16 + length : -32]
    return body + hashlib.sha256(body).digest()


def setter(*path, value):
    def change(header):
        for key in path[:-1]:
            header = header[key]
        header[path[-1]] = value

    return change


CHANGES = [
    setter("version", value=99),
    setter("numerics_version", value=99),
    setter("spec", "num_classes", value=11),
    setter("spec", "num_classes", value=10**15),
    setter("spec", "num_classes", value="ten"),
    setter("spec", "task", value="other"),
    setter("spec", value=None),
    setter("measures", "worst", value=10**12),
    setter("measures", "group_by", value=[1]),
    setter("measures", "group_by", value=["\ud800"]),
    setter("measures", "nothing", value=1),
    setter("measures", "worst", value=0),
    setter("shapes", "groups", value=[[2, 3]]),
    setter("shapes", "groups", value=[[-1, -1]]),
    setter("shapes", "groups", value=[[10**18, 10**18]]),
    setter("shapes", value={}),
    setter("parts", value={}),
    setter("parts", "all", value={}),
    setter("parts", "all", "worst", value=[[1, 2]]),
    setter("parts", "all", "worst", value=[["a", 2, []]]),
    setter("parts", "all", "worst", "level", value=64),
    setter("parts", "all", "worst", "paths", value=[]),
    setter("parts", "all", "worst_per_class", "kept", value=[[1]] * 12),
    setter("parts", "groups", "keys", value=[[[1, 2]]]),
    setter("parts", "groups", "parts", value={}),
    setter("parts", "groups", "parts", "losses", value=99),
    setter("parts", "groups", "parts", "worst", value=0),
    setter("parts", "groups", "parts", "worst", "level", value=64),
    setter("parts", "groups", "parts", "worst", "paths", value=[]),
    setter("parts", "groups", "parts", "worst", "paths", value=["a", "a"]),
    setter("parts", "groups", "parts", "worst", "kept", value=[]),
    setter("parts", "groups", "parts", "worst", "kept", value=[[1]] * 12),
    setter("parts", "groups", value="text"),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_header_that_lies_is_refused(change):
    rows, selection, spec, _ = problem("digits", False)
    good = totals_of(rows, selection, spec, Measures(group_by=("g",), worst=2, worst_per_class=1)).to_bytes()
    with pytest.raises(fx.StateError, match=r"^kept\.fxt: "):
        Totals.from_bytes(resealed(good, change), "kept.fxt")


@pytest.mark.parametrize("labels", [10**6, 10**15])
def test_a_file_that_asks_for_too_many_labels_is_refused_before_anything_is_made(labels):
    spec, measures = (
        fx.Spec.make(num_classes=3, task="multilabel", soft=True),
        Measures(scores=False, statistics=("ranking",)),
    )
    lie = resealed(Totals(spec, measures).to_bytes(), setter("spec", "num_classes", value=labels))
    with pytest.raises(fx.StateError, match=f"'ranking' applies up to 100,000 labels, and there are {labels:,}"):
        Totals.from_bytes(lie)


def test_damage_is_noticed():
    good = Totals(fx.Spec.make(num_classes=3)).to_bytes()
    assert Totals.from_bytes(good).to_bytes() == good
    rng = np.random.default_rng(0)
    for cut in (0, 7, 40, len(good) // 2, len(good) - 1):
        with pytest.raises(fx.StateError):
            Totals.from_bytes(good[:cut])
    for at in rng.integers(0, len(good), 40):
        bad = bytearray(good)
        bad[at] ^= 1 << int(rng.integers(0, 8))
        with pytest.raises(fx.StateError):
            Totals.from_bytes(bytes(bad))
    body = good[:8] + (10**9).to_bytes(8, "little") + good[16:-32]
    with pytest.raises(fx.StateError, match="header is longer"):
        Totals.from_bytes(body + hashlib.sha256(body).digest())
