"""Lists and columns decoded from the pages of Parquet: the same as by pyarrow's way, or left to that, or refused."""

from __future__ import annotations

import io
import itertools
import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastxent as fx
from fastxent import SourceError
from fastxent.kernels.parquet import compiled, hybrid, page_header
from fastxent.sources.pages.damage import Damage, Unusual
from fastxent.sources.pages.footer import Chunk, Leaf, parse_footer
from fastxent.sources.pages.pages import Page, read_pages
from fastxent.sources.pages.values import values_of
from fastxent.sources.parquet.row_groups import RowGroups
from tests.hybrids import encode
from tests.shell import ROOT

RNG = np.random.default_rng(0)
CODECS = ("none", "snappy", "gzip", "brotli", "zstd", "lz4")
FLOATS = {"float": np.float32, "double": np.float64, "halffloat": np.float16}
BOTH = pytest.mark.parametrize("run", [lambda f: f, compiled.compiled], ids=["plain", "compiled"])


def evaluated(path, **call):
    """All that an evaluation says, but for how long it took; and which way row groups were read."""
    ev = fx.evaluate(path, threads=1, **call)
    said = ev.to_dict()
    run = said.pop("run")
    return json.dumps(said), run.get("row_groups", {})  # as text, for NaN is not equal to itself


def check_same(path, way=None, **call):
    """Both ways give the same result, or the same kind of error; and the first is the one that is expected."""
    try:
        ours, ways = evaluated(path, **call)
    except fx.DataError as error:
        ours, ways = type(error), None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RowGroups, "fast_columns", lambda *a, **k: {})
        try:
            theirs, _ = evaluated(path, **call)
        except fx.DataError as error:
            theirs = type(error)
    assert ours == theirs
    if way is not None:
        assert ways == {way: pq.read_metadata(path).num_row_groups}


def lists(scores, kind="list", value="float", nullable=True):
    """Scores as a column of lists of one of the types that Arrow has."""
    rows, width = scores.shape
    flat = pa.array(scores.astype(FLOATS[value]).ravel())
    field = pa.field("element", flat.type, nullable=nullable)
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(flat, type=pa.list_(field, width))
    offsets = np.arange(rows + 1) * width
    if kind == "large":
        return pa.LargeListArray.from_arrays(pa.array(offsets, pa.int64()), flat, type=pa.large_list(field))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat, type=pa.list_(field))


def table_of(rows, width, kind="list", value="float", *, nullable=True, distinct=None):
    scores = RNG.normal(size=(rows, width))
    if distinct is not None:
        scores = RNG.normal(size=distinct)[RNG.integers(0, distinct, (rows, width))]
    column = lists(scores, kind, value, nullable)
    labels = pa.array(RNG.integers(0, width, rows))
    schema = pa.schema([pa.field("z", column.type, nullable), pa.field("y", labels.type, nullable)])
    return pa.table([column, labels], schema=schema)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("value", FLOATS)
@pytest.mark.parametrize("kind", ["list", "large", "fixed"])
@pytest.mark.parametrize("nullable", [True, False])
def test_lists_of_every_type(tmp_path, version, value, kind, nullable):
    table = table_of(700, 10, kind, value, nullable=nullable)
    pq.write_table(table, tmp_path / "a.parquet", data_page_version=version, row_group_size=300, use_dictionary=False)
    check_same(tmp_path / "a.parquet", "pages", logits="z", target="y")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_codecs_and_dictionaries(tmp_path, codec, dictionary, version):
    path = tmp_path / "a.parquet"
    for distinct in (7, None):  # a dictionary that is small, and one that overflows
        pq.write_table(
            table_of(400, 30, distinct=distinct), path, compression=codec, use_dictionary=dictionary,
            data_page_version=version, dictionary_pagesize_limit=4096, data_page_size=5000, write_batch_size=64,
            write_page_checksum=True,
        )  # fmt: skip
        way = "pyarrow" if codec == "brotli" else "pages"
        check_same(path, way, logits="z", target="y")
        check_same(path, way, logits="z", target="y", verify_checksums=True)


def write_any(path, draw):
    """A file as a writer may choose to write it, with rows that lack scores or have too many."""
    rows, width = draw(st.integers(1, 300)), draw(st.sampled_from([1, 2, 3, 7, 8, 9, 10, 31, 64, 100]))
    kind, value = draw(st.sampled_from(["list", "large", "fixed"])), draw(st.sampled_from(sorted(FLOATS)))
    distinct = draw(st.sampled_from([None, 1, 5, 300]))
    table = table_of(rows, width, kind, value, distinct=distinct)
    odd = draw(st.sampled_from([None, None, "null row", "null score", "ragged", "empty"]))
    if odd is not None and kind == "list":
        values = table["z"].to_pylist()
        at = draw(st.integers(0, rows - 1))
        if odd == "ragged" and rows > 1:  # two rows of other lengths, whose sum is right
            other = (at + 1) % rows
            values[at], values[other] = values[at][:-1], [*values[other], values[at][-1]]
        else:
            values[at] = {"null row": None, "null score": [None, *values[at][1:]]}.get(odd, [])
        table = table.set_column(0, "z", pa.array(values, table.schema.field("z").type))
    pq.write_table(
        table, path, version=draw(st.sampled_from(["1.0", "2.4", "2.6"])),
        data_page_version=draw(st.sampled_from(["1.0", "2.0"])), compression=draw(st.sampled_from(CODECS)),
        use_dictionary=draw(st.booleans()), write_page_index=draw(st.booleans()),
        data_page_size=draw(st.sampled_from([64, 1000, 8 << 20])), write_batch_size=draw(st.sampled_from([1, 3, 1024])),
        row_group_size=draw(st.integers(1, 300)), dictionary_pagesize_limit=draw(st.sampled_from([64, 1 << 20])),
        write_statistics=draw(st.booleans()), store_schema=draw(st.booleans()),
    )  # fmt: skip


def test_any_file(tmp_path):
    """Both ways give the same result, and both are taken."""
    found, call = Counter(), {"target": "y", "logits": "z", "on_invalid": "skip"}

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def check_any(data):
        write_any(tmp_path / "a.parquet", data.draw)
        check_same(tmp_path / "a.parquet", **call)
        found.update(evaluated(tmp_path / "a.parquet", **call)[1])

    check_any()
    assert min(found["pages"], found["pyarrow"]) > 20


@pytest.mark.parametrize("width", [2, 4, 12])
def test_split_bytes_and_columns(tmp_path, width):
    scores = RNG.normal(size=(500, width)).astype(np.float32)
    table = pa.table({f"z{j}": scores[:, j] for j in range(width)} | {"y": RNG.integers(0, width, 500)})
    for number, options in enumerate(
        [{}, {"use_dictionary": False, "column_encoding": {f"z{j}": "BYTE_STREAM_SPLIT" for j in range(width)}},
         {"data_page_version": "2.0", "use_dictionary": False, "data_page_size": 100, "write_batch_size": 10}]
    ):  # fmt: skip
        path = tmp_path / f"{number}.parquet"
        pq.write_table(table, path, row_group_size=200, **options)
        check_same(path, "pages", logits="z*", target="y")
    lists_ = table_of(300, width)
    pq.write_table(
        lists_, path, use_dictionary=False, column_encoding={"z.list.element": "BYTE_STREAM_SPLIT"}, compression="zstd"
    )
    check_same(path, "pages", logits="z", target="y")


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_packed_scores_and_dense_targets(tmp_path, codec):
    scores = RNG.normal(size=(600, 5)).astype(np.float32)
    packed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(20), 600, [None, pa.py_buffer(scores.tobytes())])
    shares = lists(RNG.dirichlet(np.ones(5), 600), "list", "double")
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"z": packed, "y": RNG.integers(0, 5, 600), "p": shares, "w": RNG.random(600)}), path,
        compression=codec, use_dictionary=False, row_group_size=250,
    )  # fmt: skip
    check_same(path, "pages", logits="z", target="y", weight="w", dtype="float32")
    check_same(path, "pages", logits="p", target="p")
    check_same(path, "pages", logits="p", target="y", filter="w > 0.5", group_by="y")


def test_lists_that_ride_along_keep_their_type(tmp_path):
    pq.write_table(table_of(50, 3), tmp_path / "a.parquet")
    out = tmp_path / "out.parquet"
    fx.score(tmp_path / "a.parquet", out, logits="z", target="y", keep=["z"])
    assert pa.types.is_list(pq.read_schema(out).field("z").type)


def test_other_writers(tmp_path):
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    frame = polars.from_arrow(table_of(3000, 10))
    frame.write_parquet(tmp_path / "p.parquet", row_group_size=1000)
    frame.write_parquet(tmp_path / "u.parquet", compression="uncompressed", data_page_size=2000)
    duckdb.sql(f"COPY (SELECT * FROM frame) TO '{tmp_path / 'd.parquet'}' (FORMAT parquet)")
    duckdb.sql(f"COPY (SELECT * FROM frame) TO '{tmp_path / 'e.parquet'}' (FORMAT parquet, PARQUET_VERSION v2)")
    frame.to_pandas().to_parquet(tmp_path / "f.parquet")
    for name in "pudef":
        check_same(tmp_path / f"{name}.parquet", "pages", logits="z", target="y")


def test_files_in_the_tree_take_the_fast_way():
    check_same(ROOT / "data/digits.parquet", "pages", logits="logits", target="label")
    check_same(ROOT / "data/digits.parquet", "pages", probs="probs", target="label")


# ---------------------------------------------------------------------------------------------- levels


@BOTH
def test_levels_of_lists(run):
    walk = run(hybrid.walk_lists)
    rng = np.random.default_rng(1)
    for step in range(400):
        length, rows = int(rng.integers(1, 30)), int(rng.integers(1, 40))
        start = int(rng.integers(0, length))
        levels = [int((start + i) % length != 0) for i in range(rows * length)]
        if step % 2:
            levels[int(rng.integers(len(levels)))] ^= 1
        data = np.frombuffer(encode(levels, 1, rng), np.uint8)
        right = start if step % 2 == 0 else hybrid.OTHER_LISTS
        assert walk(data, 0, len(data), len(levels), length, start) == right
        assert walk(data, 0, len(data) - 1, len(levels), length, start) < 0
        assert walk(np.append(data, np.uint8(3)), 0, len(data) + 1, len(levels), length, start) < 0


@BOTH
def test_places_in_dictionaries(run):
    take, count = run(hybrid.take_entries), run(hybrid.count_levels)
    rng = np.random.default_rng(2)
    for _ in range(300):
        width, size = int(rng.integers(0, 20)), int(rng.integers(1, 300))
        entries = rng.integers(0, 1 << 30, 1 << width).astype(np.uint32)
        places = np.repeat(rng.integers(0, 1 << width, size), rng.integers(1, 9, size))[:size]
        data = np.frombuffer(bytes([width]) + encode(places, width, rng), np.uint8)
        out = np.empty(size, np.uint32)
        assert take(data, 0, len(data), size, entries, out) == size
        assert (out == entries[places]).all()
        if places.max():
            assert take(data, 0, len(data), size, entries[: places.max()], out) == hybrid.MALFORMED
        top = (1 << width) - 1
        tops, zeros = count(data[1:], 0, len(data) - 1, width, size, top)
        assert (tops, zeros) == ((places == top).sum(), (places == 0).sum())


@BOTH
@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200), st.integers(1, 20))
def test_any_bytes_end(run, data, count, length):
    """No bytes make them look beyond the end, or go on for ever."""
    octets = np.frombuffer(data, np.uint8)
    run(hybrid.walk_lists)(octets, 0, len(data), count, length, 0)
    run(hybrid.count_levels)(octets, 0, len(data), 2, count, 3)
    run(hybrid.take_entries)(octets, 0, len(data), count, np.zeros(5, np.uint32), np.empty(200, np.uint32))
    run(hybrid.sized_end)(octets, 0, len(data), count)
    run(hybrid.lz4_size)(octets, 0, len(data))
    header, stack = np.empty(page_header.HEADER_FIELDS, np.int64), np.empty((8, 2), np.int64)
    assert run(page_header.read_page_header)(octets, 0, len(data), header, stack) <= len(data)


@BOTH
def test_sizes_of_lz4_blocks(run):
    for size, values in itertools.product((1, 12, 13, 100, 5000), (1, 3, 255)):
        data = RNG.integers(0, values, size).astype(np.uint8).tobytes()
        block = np.frombuffer(pa.compress(data, codec="lz4_raw", asbytes=True), np.uint8)
        assert run(hybrid.lz4_size)(block, 0, len(block)) == size


LEAF = Leaf(("z", "list", "element"), "FLOAT", -1, 3, 1)


def page_of(scores, levels):
    """A page of version 1, whose repetition levels are given."""
    rng = np.random.default_rng(3)
    header = [-1] * page_header.HEADER_FIELDS
    for place, value in ((page_header.KIND, 0), (page_header.COUNT, len(levels)), (page_header.ENCODING, 0),
                         (page_header.DEFINITION_ENCODING, 3), (page_header.REPETITION_ENCODING, 3)):  # fmt: skip
        header[place] = value
    parts = [encode(levels, 1, rng), encode([3] * len(levels), 2, rng)]
    body = b"".join(len(part).to_bytes(4, "little") + part for part in parts) + scores.tobytes()
    return Page(header, None, np.frombuffer(body, np.uint8))


def test_rows_across_pages():
    scores = RNG.normal(size=600).astype(np.float32)
    levels = [int(i % 10 != 0) for i in range(600)]
    cuts = [0, 3, 10, 11, 39, 205, 333, 600]
    pages = [page_of(scores[a:b], levels[a:b]) for a, b in itertools.pairwise(cuts)]
    got = np.concatenate(list(values_of(pages, LEAF, 10, 1 << 20)))
    assert (got.view(np.float32) == scores).all()
    with pytest.raises(Damage, match="ends within a row"):
        list(values_of(pages[:5], LEAF, 10, 1 << 20))
    with pytest.raises(Unusual):
        list(values_of(pages, LEAF, 20, 1 << 20))


# ---------------------------------------------------------------------------------------------- damage


def header_and_level_bytes(path):
    """The places of all bytes of a file (of plain pages without compression) that are neither values nor footer."""
    whole = path.read_bytes()
    start = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    footer = parse_footer(whole[start:-8], len(whole))
    values = set()
    for group, leaf in itertools.product(range(len(footer.rows)), range(len(footer.leaves))):
        chunk = footer.chunk(group, leaf)
        end = chunk.start + chunk.size
        item = {"FLOAT": 4, "INT64": 8, "DOUBLE": 8, "INT32": 4}[footer.leaves[leaf].physical]
        pages = read_pages(lambda count, place: whole[place : place + count], chunk, 1 << 20)
        bodies = [len(page.body) + len(page.levels if page.levels is not None else b"") for page in pages]
        pages = read_pages(lambda count, place: whole[place : place + count], chunk, 1 << 20)
        counts = [page.header[page_header.COUNT] for page in pages]
        assert len(bodies) == 1
        values |= set(range(end - counts[0] * item, end))
    return [place for place in range(4, start) if place not in values]


@pytest.mark.parametrize("kind", [1, 4, 40])
@pytest.mark.parametrize("bodies", [True, False])
def test_pages_of_other_kinds_are_skipped(kind, bodies):
    """An index page, or one of a kind that is not known: a header of its kind and its two sizes, then three bytes."""
    other = bytes([0x15, kind << 1, 0x15, 6, 0x15, 6, 0]) + b"abc"
    out = io.BytesIO()
    pq.write_table(pa.table({"y": list(range(5))}), out, compression="none", use_dictionary=False)
    whole = out.getvalue()
    footer = parse_footer(whole[-8 - int.from_bytes(whole[-8:-4], "little") : -8], len(whole))
    chunk = footer.chunk(0, 0)
    data = whole[chunk.start : chunk.start + chunk.size]
    longer = chunk._replace(start=0, size=len(other) + len(data), stored_bytes=chunk.stored_bytes + len(other))
    pages = list(read_pages(lambda count, place: (other + data)[place : place + count], longer, 1 << 20, bodies=bodies))
    assert [page.header[page_header.COUNT] for page in pages] == [5]


@pytest.mark.parametrize(("kind", "header"), [(0, 5), (2, 7), (3, 8)])
@pytest.mark.parametrize("count", [b"", b"\x15\x01"], ids=["none", "-1"])
@pytest.mark.parametrize("bodies", [True, False])
def test_pages_say_how_many_values_they_have(kind, header, count, bodies):
    """A header of its kind, two sizes of 0, and a structure that says no count, or -1."""
    page = bytes([0x15, kind << 1, 0x15, 0, 0x15, 0, (header - 3) << 4 | 12]) + count + bytes(2)
    chunk = Chunk("UNCOMPRESSED", 5, 0, len(page), 1 << 20, 0, (), -1)
    with pytest.raises(Damage, match=r"does not say how many values|no header"):
        list(read_pages(lambda size, place: page[place : place + size], chunk, 1 << 20, bodies=bodies))


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("shape", ["list", "columns"])
def test_every_bit_of_headers_and_levels(tmp_path, version, shape):
    path = tmp_path / "a.parquet"
    table, call = table_of(24, 3), {"logits": "z", "target": "y"}
    if shape == "columns":
        scores = RNG.normal(size=(24, 2)).astype(np.float32)
        labels = np.arange(24) % 2
        table, call = pa.table({"z0": scores[:, 0], "z1": scores[:, 1], "y": labels}), {**call, "logits": "z*"}
    pq.write_table(
        table, path, data_page_version=version, compression="none", use_dictionary=False, row_group_size=13,
        write_statistics=False,
    )  # fmt: skip
    right = fx.evaluate(path, threads=1, **call)
    whole = path.read_bytes()
    refused = 0
    for place, bit in itertools.product(header_and_level_bytes(path), range(8)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        try:
            ev = fx.evaluate(path, threads=1, **call)
        except fx.DataError:
            refused += 1
        else:
            assert (ev.loss, ev.rows) == (right.loss, right.rows), (place, bit)
    assert refused > 300


def test_a_promise_of_gigabytes_takes_none(tmp_path):
    """A page of some bytes that says it unpacks to 2 GiB is refused before anything is allocated for it."""
    path = tmp_path / "a.parquet"
    pq.write_table(table_of(24, 3), path, compression="zstd", use_dictionary=False, write_statistics=False)
    whole = path.read_bytes()
    assert whole[4:7] == b"\x15\x00\x15"
    size = whole[7:9]  # two bytes of a varint; five of one that says 2^31 - 2 follow
    grown = whole[:7] + b"\xfc\xff\xff\xff\x0f" + whole[9:]
    assert len(size) == 2
    path.write_bytes(grown)
    with pytest.raises(SourceError, match=r"a\.parquet"):
        fx.evaluate(path, logits="z", target="y")
