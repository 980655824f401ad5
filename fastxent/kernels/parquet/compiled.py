"""The functions of this folder as machine code; they run without it too, a hundred times slower."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import getmembers, isfunction
from types import ModuleType
from typing import Any

from fastxent.kernels.parquet import footer, hybrid, page_header, thrift

__all__ = ["compiled", "footer_reader", "use_compiled"]

#: Bytes of footers that a process reads without machine code (50 ms). To load that takes as long, and to compile it
#: seconds, which whoever only misspelt a column need not wait for.
PLAIN_BYTES = 32 << 10
_plain_bytes = 0


@cache
def _as_parts(module: ModuleType) -> None:
    """Let compiled code call the functions of a module."""
    from numba.extending import register_jitable

    for _, function in getmembers(module, isfunction):
        if function.__module__ == module.__name__:
            register_jitable(nogil=True, error_model="numpy", _nrt=False)(function)


@cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of this folder, compiled when it is first called."""
    from fastxent.kernels.compiler.compile import kernel

    for module in (thrift, footer, page_header, hybrid):
        _as_parts(module)
    whole: Callable[..., Any] = kernel()(function)
    return whole


def use_compiled() -> None:
    """Read footers by machine code from now on."""
    global _plain_bytes
    _plain_bytes = PLAIN_BYTES


def footer_reader(size: int) -> Callable[..., Any]:
    """`footer.read_footer` for a footer of ``size`` bytes: as it is for the first ones, then compiled."""
    global _plain_bytes
    _plain_bytes += size
    return footer.read_footer if _plain_bytes <= PLAIN_BYTES else compiled(footer.read_footer)
