"""The table of layouts: each is written by the program that is named, and read to the same bits as the plain array.

`LAYOUTS` is the table in docs/input.md, which a test below holds to it.
"""

from __future__ import annotations

import io
from pathlib import Path

import duckdb
import ml_dtypes
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
from foreign import values as foreign

import fastxent as fx
from fastxent.data.batch import Columns, Matrix
from fastxent.sources.open import Selection, open_arrays, open_source

N, C = 300, foreign.CLASSES
F64 = foreign.scores(N)
F32 = F64.astype(np.float32)
F16 = F32.astype(np.float16)
BF16 = (F32.view(np.uint32) >> 16).astype(np.uint16)
INT = np.rint(F64).astype(np.int16)
LABELS = foreign.labels(N)
NAMES = list(foreign.NAMES)
FOREIGN = Path(foreign.__file__).parent
#: the files that are kept in tests/foreign hold the first rows
KEPT = slice(0, foreign.ROWS)


def arrow(column, **more):
    return pa.table({"z": column, "y": LABELS} | more)


def lists(values, kind=pa.ListArray):
    offsets = pa.array(np.arange(N + 1) * C, pa.int32() if kind is pa.ListArray else pa.int64())
    return kind.from_arrays(offsets, pa.array(values.ravel()))


def parquet(table, path, **options):
    pq.write_table(table, path, row_group_size=128, **options)


def columns(values):
    return pa.table({name: np.ascontiguousarray(values[:, j]) for j, name in enumerate(NAMES)} | {"y": LABELS})


def struct(path):
    parts = [pa.array(np.ascontiguousarray(F32[:, j])) for j in range(C)]
    parquet(arrow(pa.StructArray.from_arrays(parts, NAMES)), path)


def packed(values, fixed=True):
    return pa.array([row.tobytes() for row in values], pa.binary(values[0].nbytes) if fixed else pa.binary())


def duck(path, kind):
    rows = pa.table({"z": lists(F32), "y": LABELS})
    with duckdb.connect() as database:
        database.register("rows", rows)
        database.execute("SET preserve_insertion_order = true")
        select = f"SELECT z::FLOAT[{C if kind == 'array' else ''}] AS z, y FROM rows"
        if kind == "struct":
            fields = ", ".join(f"'p_{j}': z[{j + 1}]" for j in range(C))
            select = f"SELECT {{{fields}}} AS z, y FROM rows"
        database.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet)")


def polars(path, kind, write="write_parquet"):
    kinds = {
        "List": pl.List(pl.Float32), "Array": pl.Array(pl.Float32, C), "f64": pl.List(pl.Float64),
        "f16": pl.Array(pl.Float16, C) if hasattr(pl, "Float16") else None,
    }  # fmt: skip
    values = {"f16": F16, "f64": F64}.get(kind, F32)
    frame = pl.DataFrame({"z": pl.Series(values).cast(kinds[kind]), "y": LABELS})
    getattr(frame, write)(path)


def pandas(path, kind):
    if kind == "wide":
        frame = pd.DataFrame(F32, columns=NAMES).assign(y=LABELS)
    else:
        frame = pd.DataFrame({"z": list(F64), "y": LABELS})
    frame.to_parquet(path)


def npy(path, values):
    np.save(path, values)
    np.save(path.with_name("y.npy"), LABELS)


def tensors(path, values):
    safetensors.numpy.save_file({"z": values, "y": LABELS}, path)


def converted(path):
    parquet(arrow(lists(F32)), path.with_name("lists.parquet"))
    fx.convert(path.with_name("lists.parquet"), path, logits="z", target="y", layout="packed")


def ipc(table, path, stream=False):
    new = pa.ipc.new_stream if stream else pa.ipc.new_file
    with pa.OSFile(str(path), "wb") as sink, new(sink, table.schema) as out:
        out.write_table(table, max_chunksize=128)


LIST, WIDE, STRUCT, FLAT = "decoded (lists, about 1 GB/s)", "a view a column", "its fields as columns", "zero-copy view"
PQ, MAP, COPY = "a.parquet", "zero-copy view of the mapped file", "copied row by row"

#: layout, written by, how it is read, file name, writer (None: a file kept in tests/foreign), expected values, dtype=
LAYOUTS = [
    ("`list<float>`", "pyarrow", LIST, PQ, lambda p: parquet(arrow(lists(F32)), p), F32, None),
    ("`large_list<float>`", "pyarrow", LIST, PQ, lambda p: parquet(arrow(lists(F32, pa.LargeListArray)), p), F32, None),
    ("`list<double>`", "polars `List`", LIST, PQ, lambda p: polars(p, "f64"), F64, None),
    ("`list<float>`", "polars `List`", LIST, PQ, lambda p: polars(p, "List"), F32, None),
    ("`fixed_size_list<float>`", "polars `Array`", LIST, PQ, lambda p: polars(p, "Array"), F32, None),
    ("`fixed_size_list<halffloat>`", "polars `Array(Float16)`", LIST, PQ, lambda p: polars(p, "f16"), F16, None),
    ("`fixed_size_list<float>`, no Arrow schema", "pyarrow", LIST, PQ,
     lambda p: parquet(arrow(pa.FixedSizeListArray.from_arrays(F32.ravel(), C)), p, store_schema=False), F32, None),
    ("`list<float>`", "DuckDB `FLOAT[]`", LIST, PQ, lambda p: duck(p, "list"), F32, None),
    ("`list<float>`", "DuckDB `FLOAT[n]`", LIST, PQ, lambda p: duck(p, "array"), F32, None),
    ("`struct<p_0: float, ...>`", "DuckDB `STRUCT`", STRUCT, PQ, lambda p: duck(p, "struct"), F32, None),
    ("`struct<p_0: float, ...>`", "pyarrow", STRUCT, PQ, struct, F32, None),
    ("`list<double>`", "pandas, a column of arrays", LIST, PQ, lambda p: pandas(p, "list"), F64, None),
    ("one column a class", "pandas", WIDE, PQ, lambda p: pandas(p, "wide"), F32, None),
    ("one column a class", "pyarrow", WIDE, PQ, lambda p: parquet(columns(F64), p), F64, None),
    ("one column a class, integers", "pyarrow", "converted to double", PQ,
     lambda p: parquet(columns(INT), p), INT, None),
    ("`array<float>`, in two parts", "Spark", LIST, "spark/array_float", None, F32[KEPT], None),
    ("`array<double>`, zstd", "Spark", LIST, "spark/array_double", None, F64[KEPT], None),
    ("`array<float>`, pages of version 2", "Spark", LIST, "spark/array_of_version_2", None, F32[KEPT], None),
    ("`array<float>`, in the form of old Hive", "Spark", LIST, "spark/array_legacy", None, F32[KEPT], None),
    ("Spark ML vector, dense", "Spark", LIST, "spark/vector_dense", None, F64[KEPT], None),
    ("Spark ML vector, sparse and dense", "Spark", COPY, "spark/vector_sparse", None, foreign.sparse_scores(), None),
    ("`struct<p_0: float, ...>`", "Spark", STRUCT, "spark/struct", None, F32[KEPT], None),
    ("`binary`", "Spark", FLAT, "spark/binary", None, F64[KEPT], "float64"),
    ("one column a class", "Spark", WIDE, "spark/columns", None, F64[KEPT], None),
    ("`list<float>`, class names in the metadata", "Hugging Face datasets", LIST, "huggingface/sequence.parquet",
     None, F32[KEPT], None),
    ("`fixed_size_list<float>`, the same", "Hugging Face datasets", LIST, "huggingface/fixed.parquet",
     None, F32[KEPT], None),
    ("`fixed_shape_tensor`", "pyarrow", LIST, PQ,
     lambda p: parquet(arrow(pa.FixedShapeTensorArray.from_numpy_ndarray(F32)), p), F32, None),
    ("`list<halffloat>`", "pyarrow", LIST, PQ, lambda p: parquet(arrow(lists(F16)), p), F16, None),
    ("`fixed_size_binary`", "pyarrow", FLAT, PQ,
     lambda p: parquet(arrow(packed(F32)), p), F32, "float32"),
    ("`fixed_size_binary`", "`fastxent convert`", FLAT, PQ, converted, F32, "float32"),
    ("`fixed_size_binary` of float16", "pyarrow", FLAT, PQ, lambda p: parquet(arrow(packed(F16)), p), F16, "float16"),
    ("`fixed_size_binary` of bfloat16", "pyarrow", FLAT, PQ,
     lambda p: parquet(arrow(packed(BF16)), p), BF16, "bfloat16"),
    ("`binary`", "pyarrow", FLAT, PQ, lambda p: parquet(arrow(packed(F64, False)), p), F64, "float64"),
    ("Arrow file", "pyarrow", MAP, "a.arrow", lambda p: ipc(arrow(lists(F32)), p), F32, None),
    ("Arrow stream in a file", "pyarrow", MAP, "a.arrows", lambda p: ipc(arrow(lists(F32)), p, True), F32, None),
    ("Arrow file", "polars `write_ipc`", MAP, "a.arrow", lambda p: polars(p, "Array", "write_ipc"), F32, None),
    ("Feather, lz4 or zstd", "pyarrow", "decompressed, then views", "a.feather",
     lambda p: pyarrow.feather.write_feather(arrow(lists(F32)), p, compression="zstd"), F32, None),
    ("`.npy`", "NumPy", MAP, "a.npy", lambda p: npy(p, F32), F32, None),
    ("`.npy`, float16", "NumPy", MAP, "a.npy", lambda p: npy(p, F16), F16, None),
    ("`.npy`, Fortran order", "NumPy", "a view a column", "a.npy", lambda p: npy(p, np.asfortranarray(F64)), F64, None),
    ("`.npy`, big-endian", "NumPy", "converted block by block", "a.npy",
     lambda p: npy(p, F32.astype(">f4")), F32, None),
    ("`.npz`", "NumPy `savez`", MAP, "a.npz", lambda p: np.savez(p, z=F32, y=LABELS), F32, None),
    ("`.safetensors`", "safetensors", MAP, "a.safetensors", lambda p: tensors(p, F32), F32, None),
    ("`.safetensors`, F16", "safetensors", MAP, "a.safetensors", lambda p: tensors(p, F16), F16, None),
    ("`.safetensors`, BF16", "safetensors", MAP, "a.safetensors",
     lambda p: tensors(p, BF16.view(ml_dtypes.bfloat16)), BF16, None),
]  # fmt: skip


def dense(predictions):
    if isinstance(predictions, Columns):
        return np.stack([np.asarray(column) for column in predictions.columns], axis=1), predictions.kind
    assert isinstance(predictions, Matrix)
    return predictions.values, predictions.kind


def read(source):
    batches = [batch for split in source.splits() for batch in source.read(split)]
    kinds = {dense(batch.predictions)[1] for batch in batches}
    assert len(kinds) == 1
    assert all(batch.status is None for batch in batches)
    values = np.concatenate([dense(batch.predictions)[0] for batch in batches])
    return values, kinds.pop(), np.concatenate([np.asarray(batch.target) for batch in batches])


@pytest.mark.parametrize("row", LAYOUTS, ids=[f"{layout} / {writer}" for layout, writer, *_ in LAYOUTS])
def test_every_layout_gives_the_bits_of_the_array(tmp_path, row):
    layout, writer, _, name, write, values, dtype = row
    if "Float16" in writer and not hasattr(pl, "Float16"):
        pytest.skip("this polars has no Float16")
    path = (FOREIGN if write is None else tmp_path) / name
    if write is not None:
        write(path)
    target, names = "y", None
    if name == "spark/columns":
        target, names = "z", foreign.WORDS  # labels that are text
    wide = layout.startswith("one column")
    selection = Selection(("p_*",) if wide else ("z",), target, dtype=dtype, class_names=names)
    if name.endswith(".npy"):
        selection = Selection((), str(tmp_path / "y.npy"), dtype=dtype)
    source = open_source(path, selection)
    plain = open_arrays(values, LABELS[: len(values)], dtype="bfloat16" if values is BF16 else None)
    found, expected = read(source), read(plain)
    assert found[1] == expected[1]
    assert found[0].tobytes() == expected[0].tobytes()
    np.testing.assert_array_equal(found[2], expected[2])


def table_of_layouts():
    out = io.StringIO()
    out.write("| layout | file | written by | how it is read |\n|---|---|---|---|\n")
    for layout, writer, way, name, *_ in LAYOUTS:
        ending = Path(name).suffix
        out.write(f"| {layout} | {'Parquet' if ending in ('', '.parquet') else ending} | {writer} | {way} |\n")
    return out.getvalue()


def test_the_table_in_the_documentation_is_this_one():
    text = (Path(__file__).parents[1] / "docs" / "input.md").read_text(encoding="utf-8")
    assert table_of_layouts() in text
