"""The hash of one whole number, in compiled code."""

from __future__ import annotations

from fastxent.base import hashing
from fastxent.kernels.compiler.compile import kernel

__all__ = ["mix"]

mix = kernel(inline="always")(hashing.mix)
