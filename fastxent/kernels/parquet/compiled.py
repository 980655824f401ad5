"""The functions of this folder as machine code; they run without it too, a hundred times slower."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import getmembers, isfunction
from types import ModuleType
from typing import Any

from fastxent.kernels.parquet import footer, thrift

__all__ = ["footer_reader"]

#: Bytes of footers that a process reads without machine code (50 ms). To load that takes as long, and to compile it
#: seconds, which whoever only misspelt a column need not wait for.
PLAIN_BYTES = 32 << 10
_plain_bytes = 0


def _as_parts(*modules: ModuleType) -> None:
    """Let compiled code call the functions of some modules."""
    from numba.extending import register_jitable

    for module in modules:
        for _, function in getmembers(module, isfunction):
            if function.__module__ == module.__name__:
                register_jitable(nogil=True, error_model="numpy", _nrt=False)(function)


def footer_reader(size: int) -> Callable[..., Any]:
    """`footer.read_footer` for a footer of ``size`` bytes: as it is for the first ones, then compiled."""
    global _plain_bytes
    _plain_bytes += size
    return footer.read_footer if _plain_bytes <= PLAIN_BYTES else _compiled_footer()


@cache
def _compiled_footer() -> Callable[..., Any]:
    from fastxent.kernels.compiler.compile import kernel

    _as_parts(thrift, footer)
    compiled: Callable[..., Any] = kernel()(footer.read_footer)
    return compiled
