"""The machine and the installation: what `fastxent doctor` tells and `fastxent warmup` prepares."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastxent.base.kinds import KINDS

__all__ = ["checkup", "warm_up"]

PACKAGES = ("numba", "llvmlite", "numpy", "pyarrow", "click", "rich")
#: Processor features that decide how fast the kernels are.
FEATURES = ("avx2", "fma", "f16c", "avx512f", "avx512dq", "neon", "sve")
#: Measured with glibc's own fma: 704 ns a score instead of 1.2 (1000 classes, float32).
NO_FMA = (
    "the processor offers no FMA: results are the same, but the C library computes every multiply-add, some hundred "
    "times slower; in a virtual machine choose a CPU type that passes FMA on, such as host"
)


def checkup() -> dict[str, Any]:
    """Versions, processor, memory, cache folder, threads, and what is wrong with them, as JSON values."""
    from numba.core.codegen import ll as llvm

    from fastxent.base.errors import UsageError
    from fastxent.engine.runners.threads import default_threads
    from fastxent.kernels.compiler.cache import cache_folder, read_folders

    problems = []
    features = dict(llvm.get_host_cpu_features())
    folder = next(iter(read_folders()), None)
    if platform.machine() in ("x86_64", "AMD64") and not features.get("fma"):
        problems.append(NO_FMA)
    if cache_folder() is None:
        which = "kernels that are not in it" if folder else "kernels"
        problems.append(f"no cache folder can be written: {which} are compiled anew in every run; set NUMBA_CACHE_DIR")
    try:
        threads = default_threads()
    except UsageError as error:
        threads = 0
        problems.append(str(error))
    kept = [os.path.join(folder, name) for name in os.listdir(folder)] if folder else []
    return {
        "fastxent": _version("fastxent"),
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": llvm.get_host_cpu_name(),
        "features": [name for name in FEATURES if features.get(name)],
        "processors": os.cpu_count(),
        "threads": threads,
        "cache_folder": folder,
        "cached_kernels": sum(path.endswith(".nbc") for path in kept),
        "cache_bytes": sum(os.path.getsize(path) for path in kept),
        "problems": problems,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def warm_up(
    *,
    forms: Sequence[str] = ("logits", "probs"),
    dtypes: Sequence[str] = ("float32", "float64"),
    targets: Sequence[str] = ("int32", "int64"),
    tasks: Sequence[str] = ("multiclass", "binary"),
) -> Iterator[tuple[str, float]]:
    """Compile the kernels of every combination into the cache; tells each with its seconds.

    Multiclass predictions are compiled in the three shapes that have kernels of their own: few classes and
    many classes in rows, and one column a class. What reads Parquet files comes first; what gathers groups, weights,
    clusters, single rows and statistics on request comes last, and is the same for all kinds of numbers.
    """
    started = time.perf_counter()
    _read_some()
    yield "Parquet files", time.perf_counter() - started
    for task in tasks:
        for form in forms:
            for dtype in dtypes:
                for target in targets:
                    for shape in ("few", "many", "columns") if task == "multiclass" else ("one",):
                        started = time.perf_counter()
                        _score_some(task, form, dtype, target, shape)
                        yield f"{task} {form} {dtype} {target} {shape}", time.perf_counter() - started
        for weighted in (False, True):
            started = time.perf_counter()
            _gather_some(task, weighted=weighted)
            yield f"{task} groups and statistics{', weighted' * weighted}", time.perf_counter() - started


def _gather_some(task: str, *, weighted: bool) -> None:
    """Gather by groups, by clusters and on request, through the public way."""
    import numpy as np

    from fastxent.api.evaluate import evaluate

    logits = np.array([[0.5, 1.5, 0.0], [1.5, 0.5, 0.0]], np.float32)
    if task == "binary":
        logits = np.ascontiguousarray(logits[:, 0])
    more = ("entropy", "classwise") if task == "multiclass" else ()
    some = np.array([1.0, 2.0])
    plain: dict[str, Any] = {"logits": logits, "task": task, "weight": some if weighted else None}
    plain["group_by"] = {"group": ["a", "b"]}
    rows: dict[str, Any] = {"worst": 1, "worst_per_class": 1, "label_errors": 1, "units": some}
    evaluate(None, np.array([0, 1]), **plain, **rows, statistics=("ranking", "temperature", *more))
    evaluate(None, np.array([0, 1]), **plain, cluster_by=np.array([0, 1]))


def _read_some() -> None:
    """Read lists from Parquet files, stored plain, by a dictionary and as LZ4 packs them."""
    import tempfile

    import pyarrow as pa
    import pyarrow.parquet as pq

    from fastxent.api.evaluate import evaluate
    from fastxent.kernels.parquet.compiled import use_compiled

    use_compiled()
    table = pa.table({"z": [[0.5, 1.5], [1.5, 0.5]], "y": [0, 1]})
    with tempfile.TemporaryDirectory() as folder:
        for kind in (pa.float32(), pa.float64()):
            typed = table.cast(pa.schema({"z": pa.list_(kind), "y": pa.int64()}))
            for dictionary in (True, False):
                path = f"{folder}/{kind}-{dictionary}.parquet"
                pq.write_table(typed, path, use_dictionary=dictionary, compression="lz4")
                evaluate(path, "y", logits="z")


def _score_some(task: str, form: str, dtype: str, target: str, shape: str) -> None:
    """Score two rows of the kind that is asked for, through the public way."""
    import numpy as np
    import pyarrow as pa

    from fastxent.api.evaluate import evaluate
    from fastxent.storage.layout import convert_kind

    classes = {"one": 1, "few": 4, "columns": 4, "many": 64}[shape]
    scores = np.full((2, classes), 1.0 / max(2, classes))
    if form == "log_probs":
        scores = np.log(scores)
    values = convert_kind(scores, "float64", dtype)  # type: ignore[arg-type]
    labels = np.zeros(2, target)
    if shape == "columns":
        kind = pa.type_for_alias(KINDS[dtype].arrow)
        columns = {
            f"s_{i}": pa.Array.from_buffers(kind, 2, [None, pa.py_buffer(column)])
            for i, column in enumerate(np.ascontiguousarray(values.T))
        }
        table = pa.table({**columns, "label": labels})
        evaluate(table, "label", **{form: "s_*"}, dtype=dtype)  # type: ignore[arg-type]
        return
    assert values.dtype == KINDS[dtype].carrier
    given = values.reshape(-1) if task == "binary" else values
    evaluate(None, labels, **{form: given}, task=task, dtype=dtype)  # type: ignore[arg-type]
