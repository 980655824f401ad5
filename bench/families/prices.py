"""What options, groups and statistics on request cost: the ratio is their time over that of the default evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from bench import peers
from bench.cases import Data, labels, normals, scaled_rows
from bench.measure import OURS, Call, Contender, Trial
from bench.settings import Settings

__all__ = ["prices"]

#: Rows and scores of a row; one score is binary.
SHAPES = {"2M x 10": (2_000_000, 10), "200k x 100": (200_000, 100), "binary 5M": (5_000_000, 1)}
GROUPS = (4, 100, 1000, 100_000)


def prices(settings: Settings) -> Iterator[Trial]:
    """Every option beside the same call without it; groups are read, every field of them."""
    for case, (rows, width) in SHAPES.items():
        if not settings.wanted("prices", case):
            continue
        rows = scaled_rows(rows, settings.scale)
        z, y = normals(rows, width, 1), labels(rows, max(2, width), 1)
        z = z[:, 0] if width == 1 else z
        task = "binary" if width == 1 else "multiclass"
        call = partial(_evaluate, z, y, task=task, threads=settings.threads)
        alone = partial(peers.fastxent, Data("binary" if width == 1 else "labels", z, y), settings.threads)
        contenders = [Contender(OURS, call, "ours"), Contender("loss alone", alone)]
        contenders += [Contender(name, partial(call, **more)) for name, more in _options(rows, width).items()]
        yield Trial("prices", case, rows, z.nbytes, contenders)


def _evaluate(z: Any, y: Any, **options: Any) -> Call:
    import fastxent as fx

    def call() -> float:
        evaluation = fx.evaluate(logits=z, target=y, **options)
        if "group_by" in options:
            assert evaluation.groups is not None
        return float(evaluation.loss)

    return call


def _options(rows: int, width: int) -> dict[str, dict[str, Any]]:
    """The options of each contender by name."""
    import pyarrow as pa

    rng = np.random.default_rng(2)
    several = width > 1
    found: dict[str, dict[str, Any]] = {}
    for count in GROUPS:
        found[f"{count:,} groups"] = {"group_by": {"g": rng.integers(0, min(count, rows), rows)}}
    codes = [rng.integers(0, count, rows) for count in (100, 10)]
    names = pa.array([f"group {i}" for i in range(100)])
    coded = pa.DictionaryArray.from_arrays(pa.array(codes[0].astype(np.int32)), names)
    found["100 groups, dictionary"] = {"group_by": {"g": coded}}
    found["100 groups, text"] = {"group_by": {"g": coded.dictionary_decode()}}
    found["100 x 10 groups"] = {"group_by": {"g": codes[0], "h": codes[1]}}
    found["weights"] = {"weight": rng.uniform(0.1, 3.0, rows)}
    found["clusters"] = {"cluster_by": rng.integers(0, max(1, rows // 20), rows)}
    found["units"] = {"units": rng.integers(1, 200, rows)}
    found["worst rows"] = {"worst": 100}
    found["worst of each class"] = {"worst_per_class": 10}
    found["label errors"] = {"label_errors": 100}
    found["focal"] = {"loss": "focal"}
    found["temperature"] = {"statistics": "temperature"}
    if several:
        found["class weights"] = {"class_weight": rng.uniform(0.5, 2.0, width)}
        found["label smoothing"] = {"label_smoothing": 0.1}
        found |= {name: {"statistics": name} for name in ("entropy", "classwise")}
    else:
        found["ranking"] = {"statistics": "ranking"}
    return found
