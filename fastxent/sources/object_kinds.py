"""What an object is, told without importing the library it comes from."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["is_array_file", "is_arrow", "is_lazy", "is_paths", "is_spark", "is_table", "library"]

#: Endings of files that hold arrays rather than columns.
_ARRAY_SUFFIXES = (".npy", ".npz", ".safetensors")


def library(value: Any) -> str:
    """The top-level package that the type of ``value`` comes from."""
    return type(value).__module__.partition(".")[0]


def is_table(value: Any) -> bool:
    """Whether ``value`` is a table, frame or stream with the Arrow C interface, or a lazy frame, or one of Spark."""
    speaks_arrow = hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__")
    return speaks_arrow or is_lazy(value) or is_spark(value)


def is_lazy(value: Any) -> bool:
    """Whether ``value`` is a query of polars that has not been run."""
    return library(value) == "polars" and type(value).__name__ == "LazyFrame"


def is_spark(value: Any) -> bool:
    """Whether ``value`` is a DataFrame of Spark, of this process or of Spark Connect."""
    return library(value) == "pyspark" and type(value).__name__ == "DataFrame" and hasattr(type(value), "mapInArrow")


def is_arrow(value: Any) -> bool:
    """Whether a column is better read by the Arrow C interface than as an array.

    Of pandas these are objects (text, lists) and its own types (nullable, categorical); the rest is NumPy at heart.
    """
    if library(value) in ("numpy", "torch"):
        return False
    if library(value) == "pandas":
        dtype = getattr(value, "dtype", None)
        return dtype is not None and (library(dtype) != "numpy" or dtype.kind == "O")
    return is_table(value)


def is_paths(value: Any) -> bool:
    """Whether ``value`` is a path or a list of paths."""
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(path, (str, os.PathLike)) for path in value)
    return isinstance(value, (str, os.PathLike))


def is_array_file(value: Any) -> bool:
    """Whether ``value`` is the path of a file of arrays."""
    return isinstance(value, (str, os.PathLike)) and os.fspath(value).endswith(_ARRAY_SUFFIXES)
