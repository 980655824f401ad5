"""The one decorator for compiled code.

Flags, written here once: ``nogil`` (kernels run side by side in threads), ``error_model="numpy"``
(no branch for a division by zero), no runtime (kernels make no arrays, and counting references to those
they are given took half the time of short rows), and never ``fastmath`` (it may reorder sums and drop NaN
checks, and the bits of a loss are part of the contract).

A kernel that kernels call is compiled as a part (`fastxent.kernels.compiler.parts`); one that Python calls as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import config, njit

from fastxent.base.errors import UsageError
from fastxent.kernels.compiler.cache import kernel_cache
from fastxent.kernels.compiler.inlining import KernelCompiler
from fastxent.kernels.compiler.parts import Part, rebuild_part, with_parts

__all__ = ["kernel"]


def kernel(variant: str = "", **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function with the house's flags, lazily, through the house's cache.

    ``variant`` tells apart kernels that a factory makes from one piece of source: it must name
    everything the function closes over.
    """
    if config.DISABLE_JIT:
        raise UsageError("NUMBA_DISABLE_JIT is set, but fastxent scores by compiled code only; unset it")

    def wrap(function: Callable[..., Any]) -> Any:
        module = function.__module__.removeprefix("fastxent.kernels.")
        name = f"{module}.{function.__qualname__}".replace("<locals>.", "")
        if variant:
            name = f"{name}-{variant}"
            # Numba names symbols by this and by a count of what the process has compiled. Without the variant, two
            # kernels of one factory that were compiled in two processes share a name, and a process that loads both
            # from the cache runs one in place of the other: the linker keeps the first of two weak symbols.
            function.__qualname__ = f"{function.__qualname__}-{variant}"
        flags = {"nogil": True, "error_model": "numpy", "_nrt": False, "no_cfunc_wrapper": True}
        whole = njit(pipeline_class=KernelCompiler, **flags, **options)(function)
        whole._compiler._compile_core = with_parts(whole._compiler._compile_core)
        part = Part(function, targetoptions=whole.targetoptions)
        whole.get_call_template, whole.get_overload = part.get_call_template, part.get_overload
        whole._cache = kernel_cache(function, name)
        part._cache = kernel_cache(function, f"{name}.part", rebuild_part)
        whole._can_cache = part._can_cache = True
        return whole

    return wrap
