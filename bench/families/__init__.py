"""Families of trials. A family is a generator of trials: the data of one live until the next is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bench.families import files, growth, memory, startup
from bench.families.arrays import arrays, mapped
from bench.families.prices import prices
from bench.measure import Trial
from bench.settings import Settings

__all__ = ["FAMILIES"]

#: Name -> generator, in the order they run.
FAMILIES: dict[str, Callable[[Settings], Iterator[Trial]]] = {
    "arrays": arrays,
    "mapped": mapped,
    "parquet": files.parquet,
    "rows": growth.rows,
    "classes": growth.classes,
    "threads": growth.threads,
    "statistics": growth.statistics,
    "prices": prices,
    "memory": memory.memory,
    "start-up": startup.startup,
}
