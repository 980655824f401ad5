"""Kernels that are written into their callers (``inline="always"``), with less copying than by Numba alone.

Numba copies what it inlines twice, once to change it and once to hand back what it was, and each of its blocks with a
scope of its own, which holds every variable: of the kernel of probabilities that was a third of the time. We inline
functions that were read for this one place, and nobody asks what they were: what is changed may be the one copy.
"""

from __future__ import annotations

from typing import Any

from numba.core.compiler import Compiler, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.inline_closurecall import InlineWorker, callee_ir_validator
from numba.core.untyped_passes import InlineInlinables

__all__ = ["KernelCompiler"]


class _Worker(InlineWorker):
    """Numba's, which takes a block that says how it is copied at its word."""

    def __init__(self, state: Any) -> None:
        context = (state.typingctx, state.targetctx, state.locals, state.pipeline, state.flags)
        super().__init__(*context, validator=callee_ir_validator)
        self._compiler_pipeline = lambda state: _ours(DefaultPassBuilder.define_untyped_pipeline(state))

    def inline_ir(self, caller_ir: Any, block: Any, i: int, callee_ir: Any, *args: Any, **named: Any) -> Any:
        blocks = list(callee_ir.blocks.values())
        for inlined in blocks:
            inlined.__deepcopy__ = lambda memo, inlined=inlined: inlined
        try:
            return super().inline_ir(caller_ir, block, i, callee_ir, *args, **named)
        finally:
            for inlined in blocks:
                del inlined.__deepcopy__


@register_pass(mutates_CFG=True, analysis_only=False)
class _Inlining(InlineInlinables):
    _name = "fastxent_inlining"

    def _do_work(self, state: Any, work_list: Any, block: Any, i: int, expr: Any, inline_worker: Any) -> Any:
        return super()._do_work(state, work_list, block, i, expr, _Worker(state))


def _ours(passes: PassManager) -> PassManager:
    """The same passes, with our way of inlining."""
    passes.passes = [(_Inlining if step is InlineInlinables else step, name) for step, name in passes.passes]
    passes.finalize()
    return passes


class KernelCompiler(Compiler):
    """Numba's compiler, with our way of inlining."""

    def define_pipelines(self) -> list[PassManager]:
        """The pipelines of Numba, changed."""
        return [_ours(pipeline) for pipeline in super().define_pipelines()]
