"""Kernels that are called where their machine code lies: compiled once, however many kernels call them.

A kernel that calls another takes its code in and compiles that again. That is right for what is called row by row, and
took most of the time that a job needed, whose two large callees are called once a block.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.core.typing.templates import Signature
from numba.extending import intrinsic

__all__ = ["address_of", "calling"]


def address_of(kernel: Any, signature: Signature) -> int:
    """Where the machine code of a kernel for these types lies; it stays there as long as the kernel does."""
    kernel.compile(signature)
    compiled = kernel.overloads[signature.args]
    address: int = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
    return address


def calling(signature: Signature) -> Any:
    """``call(address, arguments)``, in a kernel: a call of the machine code at an `address_of` the same signature."""
    packed = types.Tuple(signature.args)
    numbers = (types.Number, types.Boolean)

    @intrinsic
    def call(typing: Any, address: Any, arguments: Any) -> Any:
        for actual, expected in zip(arguments, signature.args, strict=True):
            if actual != expected and not (isinstance(actual, numbers) and isinstance(expected, numbers)):
                raise TypingError(f"the machine code takes {expected}, and this is {actual}")

        def generate(context: Any, builder: Any, whole: Any, values: Any) -> Any:
            convention = context.call_conv
            kind = convention.get_function_type(signature.return_type, signature.args)
            callee = builder.inttoptr(values[0], kind.as_pointer())
            unpacked = cgutils.unpack_tuple(builder, values[1])
            status, result = convention.call_function(builder, callee, signature.return_type, signature.args, unpacked)
            with builder.if_then(status.is_error, likely=False):
                convention.return_status_propagate(builder, status)
            return result

        return signature.return_type(types.int64, packed), generate

    return call
