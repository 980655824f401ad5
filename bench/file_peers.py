"""Mean losses of Parquet files by other means. Every peer is ``setup(path, layout, classes, threads)`` -> a call."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import Call
from bench.parquet import TARGET, predictions_of

__all__ = ["duckdb", "fastxent_evaluate", "fastxent_loss", "polars", "read_groups", "read_table", "torch_batches"]

BATCH_ROWS = 65_536
#: Up to this many classes DuckDB is faster with a term a class than with a lambda over the list.
UNROLLED = 32


def _arguments(path: Path, layout: str, classes: int) -> dict[str, Any]:
    names = predictions_of(layout, classes)
    found: dict[str, Any] = {"logits": names[0] if len(names) == 1 else names, "target": TARGET}
    return found | ({"dtype": "float32"} if layout == "packed" else {})


def fastxent_evaluate(path: Path, layout: str, classes: int, threads: int) -> Call:
    """The whole evaluation, with the statistics it gathers by default."""
    import fastxent as fx

    arguments = _arguments(path, layout, classes)
    return lambda: fx.evaluate(path, **arguments, threads=threads).loss


def fastxent_loss(path: Path, layout: str, classes: int, threads: int) -> Call:
    """The mean loss alone. The parts of `fastxent.evaluate`, with fewer measures."""
    from fastxent.api.reduce import LOSS_ONLY
    from fastxent.data.spec import Spec
    from fastxent.engine.plan import plan_of
    from fastxent.engine.runners import threads as on_threads
    from fastxent.sources.open import Selection, open_source

    arguments = _arguments(path, layout, classes)
    selection = Selection(
        predictions=tuple(predictions_of(layout, classes)), target=TARGET, dtype=arguments.get("dtype")
    )

    def call() -> float:
        source = open_source(path, selection)
        spec = Spec.make(num_classes=source.num_classes, form="logits")
        return on_threads.run(plan_of(source, spec, LOSS_ONLY), threads).totals.reading().number("loss")

    return call


def _columns(layout: str, classes: int) -> list[str]:
    return [*predictions_of(layout, classes), TARGET]


def read_table(path: Path, layout: str, classes: int, threads: int) -> Call:
    """pyarrow reads the same columns, all at once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(threads)
    columns = _columns(layout, classes)

    def call() -> None:
        pq.read_table(path, columns=columns)

    return call


def read_groups(path: Path, layout: str, classes: int, threads: int) -> Call:
    """pyarrow reads the same columns, a row group at a time on each thread."""
    import pyarrow.parquet as pq

    columns = _columns(layout, classes)

    def call() -> None:
        metadata = pq.read_metadata(path)
        todo, lock = iter(range(metadata.num_row_groups)), threading.Lock()

        def work(_: int) -> None:
            file = pq.ParquetFile(path, metadata=metadata)
            while True:
                with lock:
                    group = next(todo, None)
                if group is None:
                    return
                file.read_row_group(group, columns=columns, use_threads=False)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(threads)))

    return call


def matrices(path: Path, layout: str, classes: int, threads: int) -> Iterator[tuple[Any, Any]]:
    """Batches of pyarrow as (rows, classes) and labels, with as few copies as pyarrow allows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pa.set_cpu_count(threads)
    names = predictions_of(layout, classes)
    for batch in pq.ParquetFile(path).iter_batches(BATCH_ROWS, columns=_columns(layout, classes)):
        y = batch.column(TARGET).to_numpy()
        if layout == "column a class":
            z = np.column_stack([batch.column(name).to_numpy() for name in names])
        elif layout == "packed":
            column = batch.column("logits")
            raw = np.frombuffer(column.buffers()[1], np.float32)
            z = raw[column.offset * classes : (column.offset + len(column)) * classes].reshape(-1, classes)
        else:
            z = batch.column("logits").flatten().to_numpy().reshape(-1, classes)
        yield z, y


def torch_batches(path: Path, layout: str, classes: int, threads: int) -> Call:
    """pyarrow batches, ``cross_entropy`` of each by torch, added up in Python."""
    import warnings

    import torch
    import torch.nn.functional as F

    torch.set_num_threads(threads)

    def call() -> float:
        total, rows = 0.0, 0
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.filterwarnings("ignore", message=".*not writable")  # it is only read
            for z, y in matrices(path, layout, classes, threads):
                total += float(F.cross_entropy(torch.from_numpy(z), torch.from_numpy(y), reduction="sum"))
                rows += len(y)
        return total / rows

    return call


def polars(path: Path, layout: str, classes: int, threads: int) -> Call:
    """One lazy expression on the streaming engine, the fastest form we found. Its threads are set at import."""
    import polars as pl

    if layout == "packed":
        raise ImportError("polars reads no numbers out of binary columns")
    label = pl.col(TARGET)
    if layout == "column a class":
        scores = [pl.col(name) for name in predictions_of(layout, classes)]
        top = pl.max_horizontal(scores)
        lse = top + pl.sum_horizontal([(z - top).exp() for z in scores]).log()
        picked = pl.sum_horizontal([pl.when(label == j).then(z).otherwise(0.0) for j, z in enumerate(scores)])
        loss = (lse - picked).mean()
    else:
        z = pl.col("logits")
        z = z.arr.to_list() if layout == "fixed-size list" else z
        lse = z.list.max() + (z - z.list.max()).list.eval(pl.element().exp()).list.sum().log()
        loss = (lse - z.list.get(label)).mean()
    frame = pl.scan_parquet(path).select(loss.alias("loss"))
    return lambda: float(frame.collect(engine="streaming").item())


def duckdb(path: Path, layout: str, classes: int, threads: int) -> Call:
    """One SQL query."""
    import duckdb as db

    if layout == "packed":
        raise ImportError("DuckDB reads no numbers out of binary columns")
    connection = db.connect()
    connection.execute(f"SET threads = {threads}")
    if layout == "column a class":
        names = predictions_of(layout, classes)
        powers = " + ".join(f"exp({name} - top)" for name in names)
        picks = " ".join(f"WHEN {j} THEN {name}" for j, name in enumerate(names))
        inner = f"SELECT *, greatest({', '.join(names)}) AS top FROM read_parquet(?)"
        query = f"SELECT avg(top + ln({powers}) - CASE {TARGET} {picks} END) FROM ({inner})"
    else:
        inner = f"SELECT logits::FLOAT[] AS z, {TARGET}, list_max(z) AS top FROM read_parquet(?)"
        powers = "list_sum(list_transform(z, lambda x: exp(x - top)))"
        if classes <= UNROLLED:
            powers = " + ".join(f"exp(z[{j + 1}] - top)" for j in range(classes))
        query = f"SELECT avg(top + ln({powers}) - z[{TARGET} + 1]) FROM ({inner})"
    return lambda: float(connection.execute(query, [str(path)]).fetchall()[0][0])
