"""What ``runner=`` means: a name, an address, or an object of the engine itself, told without importing any engine."""

from __future__ import annotations

from typing import Any

from fastxent.base.errors import UsageError
from fastxent.engine.runners.dask import Dask
from fastxent.engine.runners.processes import Processes
from fastxent.engine.runners.ray import Ray
from fastxent.engine.runners.runner import Runner
from fastxent.engine.runners.spark import Spark
from fastxent.engine.runners.threads import Threads
from fastxent.sources.object_kinds import is_spark, library
from fastxent.sources.source import Source

__all__ = ["check_travels", "runner_of"]


#: How addresses of schedulers of Dask begin.
_DASK = ("tcp://", "tls://", "ws://", "wss://", "ucx://", "inproc://")
#: How masters of Spark begin.
_SPARK = ("spark://", "local[", "local-cluster[", "sc://", "yarn", "k8s://")


def runner_of(value: Any, threads: int, data: Any = None) -> Runner:
    """The runner that a value of ``runner=`` means, not connected yet; None are so many ``threads``.

    Where ``data`` is a DataFrame of Spark, it is Spark.
    """
    if is_spark(data):
        from fastxent.engine.runners.spark_frame import SparkFrame

        return SparkFrame(value)
    if value is None:
        return Threads(threads)
    if isinstance(value, str) and value.partition(":")[0] == "processes":
        return Processes(_count(value, threads))
    if library(value) == "distributed" or (isinstance(value, str) and value.startswith(_DASK)):
        return Dask(value)
    if library(value) == "pyspark" or (isinstance(value, str) and value.startswith(_SPARK)):
        return Spark(value)
    if value == "ray" or (isinstance(value, str) and value.startswith("ray://")):
        return Ray(value)
    if getattr(value, "__name__", None) == "ray":
        return Ray("ray")
    raise UsageError(
        "runner: expected 'processes', 'processes:4', 'tcp://host:8786' (Dask), 'spark://host:7077' or 'local[4]' "
        f"(Spark), 'ray', 'ray://host:10001', or a dask.distributed.Client or a SparkSession, got {value!r}"
    )


def _count(value: str, default: int) -> int:
    """N of ``processes:N``."""
    _, colon, text = value.partition(":")
    if not colon:
        return default
    if not (text.isascii() and text.isdigit() and int(text)):
        raise UsageError(f"runner: expected a number of at least 1 after 'processes:', got {value!r}")
    return int(text)


def check_travels(source: Source, runner: Runner) -> None:
    """Raise `UsageError` if the data lie in the memory of this process, and workers in others are to read them."""
    if runner.sends:
        source.check_travels()
