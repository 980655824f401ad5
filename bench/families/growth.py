"""How time grows with rows, classes, threads and statistics."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bench import peers
from bench.cases import CASES, Data, labels, normals, scaled_rows
from bench.measure import OURS, Call, Contender, Role, Trial
from bench.settings import Settings

if TYPE_CHECKING:
    from fastxent.data.spec import Task

__all__ = ["classes", "rows", "statistics", "threads"]

#: Rows that are drawn; more rows are copies of them.
DRAWN = 1_000_000


def rows(settings: Settings) -> Iterator[Trial]:
    """1e5 to 1e8 rows of 10 classes: seconds should grow as the rows. Prefixes of one array, 4 GB at most."""
    counts = [count for count in (10**5, 10**6, 10**7, 10**8) if settings.wanted("rows", _rows_name(count))]
    if not counts:
        return
    z, y = _repeated(scaled_rows(max(counts), settings.scale), 10)
    for count in counts:
        part = Data("labels", z, y).head(scaled_rows(count, settings.scale))
        everybody = [peers.FASTXENT, peers.READ]
        yield Trial(
            "rows", _rows_name(count), part.rows, part.nbytes, peers.contenders(part, settings.threads, everybody)
        )


def _rows_name(count: int) -> str:
    return f"{count:.0e} x 10".replace("e+0", "e")


def _repeated(count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    z, y = np.empty((count, width), np.float32), np.empty(count, np.int64)
    drawn = min(DRAWN, count)
    z[:drawn], y[:drawn] = normals(drawn, width, 1), labels(drawn, width, 1)
    for start in range(drawn, count, drawn):
        part = slice(start, min(count, start + drawn))
        z[part], y[part] = z[: part.stop - start], y[: part.stop - start]
    return z, y


def classes(settings: Settings) -> Iterator[Trial]:
    """2 to 200,000 classes in the same 400 MB: seconds should stay."""
    numbers = round(100_000_000 * settings.scale)
    flat = None
    for width in (2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000):
        if settings.wanted("classes", f"{width} classes"):
            flat = normals(numbers, 1, 1)[:, 0] if flat is None else flat
            count = numbers // width
            data = Data("labels", flat[: count * width].reshape(count, width), labels(count, width, 1))
            everybody = [peers.FASTXENT, peers.READ, peers.PEERS[2]]
            yield Trial(
                "classes", f"{width} classes", count, data.nbytes, peers.contenders(data, settings.threads, everybody)
            )


def threads(settings: Settings) -> Iterator[Trial]:
    """The same work on 1, 2, 4, ... threads beside all of them: the ratio is the speed-up."""
    chosen = ("10M x 10", "2M x 100", "200k x 1000", "binary 100M")
    fewer = [2**k for k in range(settings.threads.bit_length()) if 2**k < settings.threads]
    for case in CASES:
        if case.name in chosen and settings.wanted("threads", case.name):
            data = case.make(settings.scale)

            def on(count: int, data: Data = data) -> Contender:
                name = OURS if count == settings.threads else f"{count} thread{'s' if count > 1 else ''}"
                role: Role = "ours" if name == OURS else "peer"
                return Contender(name, partial(peers.fastxent, data, count), role)

            yield Trial("threads", case.name, data.rows, data.nbytes, [on(settings.threads), *map(on, fewer)])


def statistics(settings: Settings) -> Iterator[Trial]:
    """What the statistics of `evaluate` cost beside the mean loss alone."""
    for case in CASES:
        if case.name in ("10M x 10", "2M x 100", "binary 100M") and settings.wanted("statistics", case.name):
            data = case.make(settings.scale)
            yield Trial(
                "statistics",
                case.name,
                data.rows,
                data.nbytes,
                [
                    Contender(OURS, partial(_evaluate, data, settings.threads), "ours"),
                    Contender("mean loss alone", partial(peers.fastxent, data, settings.threads)),
                    Contender("plain read", partial(peers.plain_read, data, settings.threads), "read"),
                ],
            )


def _evaluate(data: Data, count: int) -> Call:
    import fastxent as fx

    task: Task = "binary" if data.task == "binary" else "multiclass"
    return lambda: fx.evaluate(logits=data.predictions, target=data.target, task=task, threads=count).loss
