"""Kernels as parts of others: typed and lowered once, and then code of whoever calls them.

Numba compiles every function that a compiled one calls as if Python were to call it too: with entry points
and machine code of its own, most of which is thrown away, for callers link in its intermediate code and
compile that again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Flags, compile_extra, compile_result
from numba.core.registry import CPUDispatcher

from fastxent.kernels.compiler.inlining import KernelCompiler

__all__ = ["Part", "rebuild_part", "with_parts"]


class _Linkable(JITCodeLibrary):
    """Intermediate code for callers to link in; never machine code."""

    def _optimize_final_module(self) -> None:
        """Left to callers, who optimise it as theirs."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def serialize_using_object_code(self) -> Any:
        return self.serialize_using_bitcode()


class Part(CPUDispatcher):
    """What kernels see of a kernel that they call."""

    def __init__(self, function: Any, targetoptions: dict[str, Any]) -> None:
        super().__init__(function, targetoptions=targetoptions)
        self._compiler._compile_core = self._lower

    def _lower(self, args: Any, return_type: Any) -> Any:
        """Numba's ``_compile_core``, up to machine code."""
        flags = Flags()
        self.targetdescr.options.parse_as_flags(flags, self.targetoptions)
        flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
        context = self.targetdescr.target_context
        result = compile_extra(
            self.targetdescr.typing_context,
            context,
            self.py_func,
            args=args,
            return_type=return_type,
            flags=flags,
            locals={},
            library=_Linkable(context.codegen(), self.py_func.__qualname__),
            pipeline_class=KernelCompiler,
        )
        result = result._replace(entry_point=result.fndesc)
        context.insert_user_function(result.entry_point, result.fndesc, [result.library])
        return result

    def add_overload(self, result: Any) -> None:
        """Keep a signature: for kernels, not for Python."""
        self.overloads[tuple(result.signature.args)] = result


def with_parts(compile_whole: Callable[..., Any]) -> Callable[..., Any]:
    """Numba's ``_compile_core``, which then binds the environments of parts (`raise` needs them) to the machine code.

    Numba does so for machine code from a cache, and else has machine code of every part.
    """

    def compile_and_bind(args: Any, return_type: Any) -> Any:
        result = compile_whole(args, return_type)
        for environment in result._find_referenced_environments():
            result.codegen.set_env(environment.env_name, environment)
        return result

    return compile_and_bind


def rebuild_part(context: Any, payload: Any) -> Any:
    """A part, from what the cache kept of it."""
    (name, _, bitcode), fndesc, environment, signature, *_ = payload
    library = _Linkable(context.codegen(), name)
    library._final_module = llvm.parse_bitcode(bitcode)
    library._finalize_final_module()
    return compile_result(
        typing_context=context.typing_context,
        target_context=context,
        entry_point=fndesc,
        fndesc=fndesc,
        environment=environment,
        library=library,
        signature=signature,
        objectmode=False,
        lifted=(),
        reload_init=(),
        referenced_envs=(),
    )
