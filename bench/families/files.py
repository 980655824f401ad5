"""Parquet from the page cache: the whole job, from the file to the number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from bench import file_peers
from bench.cases import scaled_rows
from bench.measure import OURS, Call, Contender, Role, Trial
from bench.parquet import LAYOUTS, write
from bench.settings import Settings

__all__ = ["parquet"]

#: 80 MB of float32: beyond any cache, and 24 files of it are made and read in a few minutes.
SHAPES = (("2M x 10", 2_000_000, 10), ("100k x 200", 100_000, 200))
CODECS = ("snappy", "zstd", "none")

Setup = Callable[[Path, str, int, int], Call]
_READERS: tuple[tuple[str, Role, Setup], ...] = (
    (OURS, "ours", file_peers.fastxent_loss),
    ("fastxent evaluate", "peer", file_peers.fastxent_evaluate),
    ("pyarrow read_table", "read", file_peers.read_table),
    ("pyarrow row groups", "read", file_peers.read_groups),
)
_PEERS: tuple[tuple[str, Role, Setup], ...] = (
    ("polars streaming", "peer", file_peers.polars),
    ("DuckDB SQL", "peer", file_peers.duckdb),
    ("pyarrow + torch eager", "peer", file_peers.torch_batches),
)


def parquet(settings: Settings) -> Iterator[Trial]:
    """Every layout and codec beside bare reads; the libraries that compute too with the codec that is the default."""
    for shape, full_rows, classes in SHAPES:
        for layout in LAYOUTS:
            for codec in CODECS:
                case = f"{shape}, {layout}, {codec}"
                if settings.wanted("parquet", case):
                    yield from _trial(settings, case, scaled_rows(full_rows, settings.scale), classes, layout, codec)


def _trial(settings: Settings, case: str, rows: int, classes: int, layout: str, codec: str) -> Iterator[Trial]:
    path = settings.folder / "predictions.parquet"
    everybody = _READERS + (_PEERS if codec == "snappy" else ())
    try:
        write(path, layout, codec, rows, classes)
        contenders = [
            Contender(name, partial(setup, path, layout, classes, settings.threads), role)
            for name, role, setup in everybody
        ]
        yield Trial("parquet", case, rows, rows * classes * 4, contenders)
    finally:
        path.unlink(missing_ok=True)
