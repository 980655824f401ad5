"""What an object is, told without importing the library it comes from."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["is_arrow", "is_paths", "is_table", "library"]


def library(value: Any) -> str:
    """The top-level package that the type of ``value`` comes from."""
    return type(value).__module__.partition(".")[0]


def is_table(value: Any) -> bool:
    """Whether ``value`` is a table, frame or stream with the Arrow C interface."""
    return hasattr(value, "__arrow_c_stream__") or hasattr(value, "__arrow_c_array__")


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
        return bool(value) and all(isinstance(each, (str, os.PathLike)) for each in value)
    return isinstance(value, (str, os.PathLike))
