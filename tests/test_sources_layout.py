"""Columns of every layout, with nulls, ragged rows and slices, against plain Python lists."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sources_arrays import scores_of

from fastxent.base.status import Status
from fastxent.sources.decode.labels import decode_target, decode_weight
from fastxent.sources.decode.layout import decode_predictions

WIDTH = 3
ELEMENT = st.one_of(st.none(), st.integers(-100, 100).map(float)) | st.integers(-100, 100).map(float)
FULL = st.lists(ELEMENT, min_size=WIDTH, max_size=WIDTH)
ROW = st.one_of(FULL, FULL, FULL, st.none(), st.lists(ELEMENT, max_size=5))
SLICE = st.tuples(st.integers(0, 8), st.integers(0, 12))


def expected_of(rows):
    """(scores, status) of rows as Python lists: what the layouts have to agree with."""
    status = []
    for row in rows:
        if row is None:
            status.append(Status.NULL_PREDICTION)
        elif len(row) != WIDTH:
            status.append(Status.RAGGED_ROW)
        else:
            status.append(Status.NULL_PREDICTION if None in row else Status.SCORED)
    return rows, status


def check(columns, rows, dtype=None):
    decoded = decode_predictions(columns, WIDTH, dtype)
    scores, status = expected_of(rows)
    found = np.zeros(len(rows), np.uint8) if decoded.status is None else decoded.status
    assert found.tolist() == status
    values = scores_of(decoded.predictions)
    assert values.shape == (len(rows), WIDTH)
    for row in range(len(rows)):
        if status[row] == Status.SCORED:
            assert values[row].tolist() == scores[row]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(ROW, max_size=12),
    cut=SLICE,
    item=st.sampled_from([pa.float32(), pa.float64(), pa.float16(), pa.int8()]),
)
def test_lists(rows, cut, item):
    lo, hi = cut
    for kind in (pa.list_(item), pa.large_list(item), pa.list_view(item), pa.large_list_view(item)):
        check([pa.array(rows, kind).slice(lo, hi)], rows[lo:][:hi])


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.one_of(FULL, st.none()), max_size=12), cut=SLICE)
def test_fixed_layouts(rows, cut):
    lo, hi = cut
    part = rows[lo:][:hi]
    check([pa.array(rows, pa.list_(pa.float32(), WIDTH)).slice(lo, hi)], part)
    columns = [pa.array([None if row is None else row[j] for row in rows], pa.float32()) for j in range(WIDTH)]
    with_nulls = [[None] * WIDTH if row is None else row for row in part]
    check([column.slice(lo, hi) for column in columns], with_nulls)
    mixed = [columns[0].cast(pa.float16()), columns[1], columns[2].cast(pa.int32())]
    check([column.slice(lo, hi) for column in mixed], with_nulls)
    fields = [{"a": row[0], "b": row[1], "c": row[2]} if row is not None else None for row in rows]
    struct = pa.array(fields, pa.struct([("a", pa.float32()), ("b", pa.float32()), ("c", pa.float32())]))
    check([struct.slice(lo, hi)], with_nulls)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.one_of(st.none(), st.lists(st.integers(-9, 9).map(float), max_size=4)), max_size=12),
    cut=SLICE,
    spoiled=st.sets(st.integers(0, 11)),
)
def test_packed_rows(rows, cut, spoiled):
    lo, hi = cut
    packed = [None if row is None else np.array(row, np.float32).tobytes() for row in rows]
    packed = [each + b"x" if each is not None and i in spoiled else each for i, each in enumerate(packed)]
    rows = [[0.0] * 9 if row is not None and i in spoiled else row for i, row in enumerate(rows)]
    for kind in (pa.binary(), pa.large_binary(), pa.binary_view()):
        check([pa.array(packed, kind).slice(lo, hi)], rows[lo:][:hi], "float32")
    fixed = [None if row is None or len(row) != WIDTH else row for row in rows]
    blocks = [None if row is None else np.array(row, np.float64).tobytes() for row in fixed]
    check([pa.array(blocks, pa.binary(WIDTH * 8)).slice(lo, hi)], fixed[lo:][:hi], "float64")


@settings(max_examples=60, deadline=None)
@given(labels=st.lists(st.one_of(st.none(), st.sampled_from("abcz")), max_size=12), cut=SLICE)
def test_named_labels(labels, cut):
    lo, hi = cut
    names = ("c", "a", "b")
    expected = [names.index(each) if each in names else each for each in labels[lo:][:hi]]
    plain = pa.array(labels, pa.string())
    kinds = [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())]
    for array in [*(plain.cast(kind) for kind in kinds), pa.array(labels, pa.string_view())]:
        target, status = decode_target(array.slice(lo, hi), "multiclass", 3, names)
        status = np.zeros(len(expected), np.uint8) if status is None else status
        for row, label in enumerate(expected):
            cause = {None: Status.NULL_TARGET, "z": Status.UNKNOWN_LABEL}.get(label, Status.SCORED)
            assert status[row] == cause
            assert cause != Status.SCORED or target[row] == label


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.uint64(), pa.int32(), pa.float32(), pa.float64(), pa.float16(), pa.decimal128(20)]
)
def test_labels_of_every_number(kind):
    array = pa.array([7, 2, None, 1, 0, 2]).cast(kind)[1:]
    target, status = decode_target(array, "multiclass", 3, None)
    assert target.dtype.kind in "iu"
    assert target[[0, 2, 3, 4]].tolist() == [2, 1, 0, 2]
    assert status.tolist() == [0, Status.NULL_TARGET, 0, 0, 0]
    dictionary = pa.array([5, 1, 5]).dictionary_encode()
    assert decode_target(dictionary, "multiclass", 9, None)[0].tolist() == [5, 1, 5]


def test_bool_and_fractional_targets():
    target, status = decode_target(pa.array([True, False, True, True])[1:], "binary", 1, None)
    assert (target.dtype, target.tolist(), status) == (np.bool_, [False, True, True], None)
    target, _ = decode_target(pa.array([0.25, 1.0]), "binary", 1, None)
    assert target.tolist() == [0.25, 1.0]
    _, status = decode_target(pa.array([0.5, 1.0, float("nan"), 1e30]), "multiclass", 3, None)
    assert status.tolist() == [Status.INVALID_TARGET, 0, Status.INVALID_TARGET, Status.INVALID_TARGET]


def test_weights():
    for kind in (pa.int16(), pa.float32(), pa.float16(), pa.float64(), pa.decimal128(20)):
        weight, status = decode_weight(pa.array([9, 1, None, 3]).cast(kind)[1:])
        assert weight.dtype == np.float64
        assert [weight[0], weight[2]] == [1, 3]
        assert status.tolist() == [0, Status.INVALID_WEIGHT, 0]
