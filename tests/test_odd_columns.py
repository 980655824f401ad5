"""Columns of every Arrow type in every place: an answer or one error of ours; equal values of other types are equal."""

from __future__ import annotations

import decimal
import json
import tempfile
import uuid

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

import fastxent as fx

N = 6
WORDS = ["a", "b", "a", None, "c", "b"]
PLACES = [0, 1, 0, None, 2, 1]
SCORES, LABELS = np.random.default_rng(0).normal(size=N), pa.array([0, 1, 0, 1, 1, 0], pa.int8())


def broken_text():
    data = [None, pa.py_buffer(np.arange(N + 1, dtype=np.int32).tobytes()), pa.py_buffer(b"\xff\xfeabcd")]
    return pa.Array.from_buffers(pa.string(), N, data)


def coded(values, index="int8"):
    return pa.DictionaryArray.from_arrays(pa.array(PLACES, index), values)


#: Columns of the same values.
SAME = {
    "string": pa.array(WORDS),
    "large_string": pa.array(WORDS, pa.large_string()),
    "string_view": pa.array(WORDS, pa.string_view()),
    "dictionary": coded(pa.array(["a", "b", "c"])),
    "dictionary of views": coded(pa.array(["a", "b", "c"], pa.string_view())),
    "dictionary of 128": coded(pa.array(["a", "b", "c", *map(str, range(125))])),
    "dictionary of 256": coded(pa.array(["a", "b", "c", *map(str, range(253))]), "uint8"),
    "runs": pa.RunEndEncodedArray.from_arrays(pa.array(range(1, N + 1), pa.int32()), pa.array(WORDS)),
}
ODD = {
    "binary": pa.array([b"a", b"\xff", b"a", None, b"c", b"b"]),
    "binary_view": pa.array([b"a", b"\xff", b"a", None, b"c", b"b"], pa.binary_view()),
    "fixed_binary": pa.array([b"ab", b"\xff0", b"ab", None, b"cc", b"bb"], pa.binary(2)),
    "uuid": pa.array([uuid.UUID(int=i % 3).bytes for i in range(N)], pa.uuid()),
    "bool8": pa.ExtensionArray.from_storage(pa.bool8(), pa.array([0, 1, 0, 1, None, 0], pa.int8())),
    "half": pa.array(np.array([1, 2, 1, 3, 2, 1], np.float16)),
    "interval": pa.array([pa.MonthDayNano([1, 2, 3])] * N),
    "map": pa.array([[("a", 1)]] * N, pa.map_(pa.string(), pa.int64())),
    "struct": pa.array([{"a": 1}] * N),
    "broken text": broken_text(),
    "broken dictionary": coded(broken_text()[:3]),
    "year 10000": pa.array([253402300800 + i for i in range(N)], pa.timestamp("s")),
    "far future": pa.array([2**62 + i for i in range(N)], pa.timestamp("s")),
    "nowhere": pa.array(PLACES, pa.timestamp("us", tz="Mars/Olympus")),
    "far date": pa.array([2**30, 1, 0, None, 2, 1], pa.date32()),
    "long duration": pa.array([2**62, 1, 0, None, 2, 1], pa.duration("s")),
    "decimal": pa.array([decimal.Decimal("1.1")] * N),
    "short decimal": pa.array([decimal.Decimal("1.1")] * N, pa.decimal32(5, 2)),
    "long decimal": pa.array([decimal.Decimal("1.1")] * N, pa.decimal256(40, 2)),
    "null": pa.nulls(N),
    "list views": pa.array([[1, 2]] * N, pa.list_view(pa.int64())),
    "lists of views": pa.array([["a"]] * N, pa.list_(pa.string_view())),
    "struct of views": pa.array([{"a": "x"}] * N, pa.struct([("a", pa.string_view())])),
    "struct of nothing": pa.array([{}] * N, pa.struct([])),
    "json": pa.ExtensionArray.from_storage(pa.json_(), pa.array(['{"a": 1}'] * N)),
    "dictionary of bytes": coded(pa.array([b"a", b"\xff", b"c"])),
    "runs of numbers": pa.RunEndEncodedArray.from_arrays(pa.array([2, N], pa.int32()), pa.array([1, 2])),
    "uint64": pa.array([2**64 - 1, 0, 0, None, 1, 2], pa.uint64()),
    "union": pa.UnionArray.from_dense(
        pa.array([0] * N, pa.int8()), pa.array(range(N), pa.int32()), [pa.array([1, 2, 1, 2, 1, 2]), pa.array(["a"])]
    ),
}  # fmt: skip


def kept(data, ending, **options):
    """Rows with the column beside their losses, in a file."""
    with tempfile.TemporaryDirectory() as folder:
        return fx.score(data, f"{folder}/a{ending}", "y", logits="p", task="binary", keep="g", **options)


WAYS = {
    "group": lambda d: fx.evaluate(d, "y", logits="p", task="binary", group_by="g").to_json(),
    "cluster": lambda d: fx.evaluate(d, "y", logits="p", task="binary", cluster_by="g").stderr,
    "keep": lambda d: fx.evaluate(d, "y", logits="p", task="binary", worst=3, keep="g").to_json(),
    "report": lambda d: fx.evaluate(d, "y", logits="p", task="binary", worst=3, keep="g", group_by="g").to_html(),
    "null": lambda d: fx.evaluate(d, "y", logits="p", task="binary", filter="g is not null").loss,
    "equal": lambda d: fx.evaluate(d, "y", logits="p", task="binary", filter="g == 'a'").loss,
    "in": lambda d: fx.evaluate(d, "y", logits="p", task="binary", filter="g in ('a', 'b')").loss,
    "number": lambda d: fx.evaluate(d, "y", logits="p", task="binary", filter="g > 1").loss,
    "weight": lambda d: fx.evaluate(d, "y", logits="p", task="binary", weight="g").loss,
    "units": lambda d: fx.evaluate(d, "y", logits="p", task="binary", units="g").loss,
    "target": lambda d: fx.evaluate(
        d, "g", logits="p", task="binary", class_names=["a", "b"], on_invalid="skip"
    ).loss,
    "logits": lambda d: fx.evaluate(d, "y", logits="g").loss,
    "losses": lambda d: fx.evaluate(d, losses="g").loss,
    "ids": lambda d: fx.evaluate(d, "y", probs="p", ids="g", num_classes=5).loss,
    "mask": lambda d: fx.evaluate(d, "y", logits="p", task="multilabel", mask="g").loss,
    "rows as Parquet": lambda d: kept(d, ".parquet"),
    "rows as CSV": lambda d: kept(d, ".csv"),
    "rows that a filter keeps": lambda d: kept(d, ".parquet", filter="y == 0"),
    "pairs by group": lambda d: fx.compare(
        d, d, "y", logits="p", task="binary", by_order=True, group_by="g"
    ).to_json(),
    "pairs by id": lambda d: fx.compare(d, d, "y", logits="p", task="binary", on="g").to_json(),
}  # fmt: skip


def forms(column, folder):
    """The column beside scores: as a table, and in files of the formats that can hold it."""
    table = pa.table({"p": SCORES, "y": LABELS, "g": column})
    yield table
    for write, name in ((pq.write_table, "a.parquet"), (pyarrow.feather.write_feather, "a.arrow")):
        try:
            write(table, str(folder / name))
        except (pa.ArrowException, ValueError):
            continue
        yield folder / name


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ODD)
def test_an_answer_or_an_error_of_ours(tmp_path, kind, way):
    for data in forms(ODD[kind], tmp_path):
        try:
            assert WAYS[way](data) is not None
        except fx.FastxentError:
            pass


@pytest.mark.parametrize(
    "way", ["group_by", "cluster_by", "keep", "equal", "in", "null", "target", "pairs", "pairs by id"]
)
def test_equal_values_are_equal_whatever_their_type(way):
    def said(column):
        data, binary = pa.table({"p": SCORES, "y": LABELS, "g": column}), {"logits": "p", "task": "binary"}
        if way == "pairs":
            groups = fx.compare(data, data, "y", **binary, by_order=True, group_by="g").to_dict()["groups"]
            return json.dumps(groups)  # as text, for NaN is not equal to itself
        if way == "pairs by id":
            ids = pa.array(column.to_pylist()) if "run" in str(column.type) else column
            data = pa.table({"p": SCORES, "y": LABELS, "g": ids}).take([0, 1, 4])
            return fx.compare(data, data, "y", **binary, on="g").num_rows
        if way == "target":
            ev = fx.evaluate(data, "g", **binary, class_names=["a", "b"], on_invalid="skip")
        elif way in ("group_by", "cluster_by"):
            ev = fx.evaluate(data, "y", **binary, **{way: "g"})
        elif way == "keep":
            ev = fx.evaluate(data, "y", **binary, worst=3, keep="g")
        else:
            filters = {"equal": "g == 'a'", "in": "g in ('a', 'b')", "null": "g is not null"}
            ev = fx.evaluate(data, "y", **binary, filter=filters[way])
        return ev.totals.to_bytes()

    expected = said(SAME["string"])
    for kind, column in SAME.items():
        if way != "pairs by id" or "view" not in kind:
            assert said(column) == expected, kind


def test_texts_that_are_not_utf_8_are_told_with_their_place(tmp_path):
    pq.write_table(pa.table({"p": SCORES, "y": LABELS, "g": broken_text()}), tmp_path / "a.parquet")
    with pytest.raises(fx.SourceError, match=r"a\.parquet, row group 0, column 'g': .*not UTF-8.*xff") as caught:
        fx.evaluate(tmp_path, "y", logits="p", task="binary", group_by="g")
    assert caught.value.column == "g"
    with pytest.raises(fx.SourceError, match="tzdata"):
        WAYS["group"](pa.table({"p": SCORES, "y": LABELS, "g": ODD["nowhere"]}))


def test_frames_of_polars_and_pandas():
    pl, pd = pytest.importorskip("polars"), pytest.importorskip("pandas")
    words = ["a", "b"] * 3
    expected = fx.evaluate(pa.table({"p": SCORES, "y": LABELS, "g": words}), "y", logits="p", task="binary",
                           group_by="g", cluster_by="g", worst=2, keep="g")  # fmt: skip
    for kind in (pl.String, pl.Categorical, pl.Enum(["a", "b"])):
        frame = pl.DataFrame({"p": SCORES, "y": LABELS.to_numpy(), "g": pl.Series(words, dtype=kind)})
        ev = fx.evaluate(frame, "y", logits="p", task="binary", group_by="g", cluster_by="g", worst=2, keep="g")
        assert ev.totals.to_bytes() == expected.totals.to_bytes()
        assert fx.evaluate(frame, "y", logits="p", task="binary", filter="g == 'a'").rows["read"] == 3
    frame = pd.DataFrame({0: SCORES, "y": LABELS.to_numpy()})
    assert fx.evaluate(frame, "y", logits="0", task="binary").num_rows == N
    with pytest.raises(fx.UsageError, match="named by text"):
        fx.evaluate(frame, "y", logits=[0], task="binary")
    with pytest.raises(fx.SourceError, match="reset_index"):
        fx.evaluate(frame.set_index("y"), "y", logits="0", task="binary")
    twice = pd.concat([frame, frame], axis=1)
    with pytest.raises(fx.SourceError, match="more than once"):
        fx.evaluate(twice, "y", logits="0", task="binary")


@pytest.mark.parametrize(
    "keywords",
    [
        {"ignore_index": 2**70}, {"base": 10**400}, {"label_smoothing": 10**400}, {"class_weight": [10**400, 1]},
        {"loss": "focal", "gamma": 10**400}, {"class_names": ["\ud800", "b"]}, {"top_k": [float("inf")]},
        {"group_by": {"g": np.array([1, "a", None] * 2, object)}}, {"group_by": {"g": np.array(["\ud800"] * N)}},
        {"group_by": {"g": np.array([object()] * N)}},
    ],
)  # fmt: skip
def test_arguments_beyond_all_bounds(keywords):
    with pytest.raises(fx.UsageError):
        fx.evaluate(target=LABELS.to_numpy(), logits=np.stack([SCORES, -SCORES], axis=1), **keywords)
