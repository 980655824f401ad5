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
    found = kernel.overloads[signature.args]
    address: int = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
    return address


def calling(signature: Signature) -> Any:
    """``call(address, arguments)``, in a kernel: a call of the machine code at an `address_of` the same signature."""
    packed = types.Tuple(signature.args)
    numbers = (types.Number, types.Boolean)

    @intrinsic
    def call(typing: Any, address: Any, arguments: Any) -> Any:
        for given, wanted in zip(arguments, signature.args, strict=True):
            if given != wanted and not (isinstance(given, numbers) and isinstance(wanted, numbers)):
                raise TypingError(f"the machine code takes {wanted}, and this is {given}")

        def generate(context: Any, builder: Any, whole: Any, values: Any) -> Any:
            convention = context.call_conv
            kind = convention.get_function_type(signature.return_type, signature.args)
            callee = builder.inttoptr(values[0], kind.as_pointer())
            each = cgutils.unpack_tuple(builder, values[1])
            status, result = convention.call_function(builder, callee, signature.return_type, signature.args, each)
            with builder.if_then(status.is_error, likely=False):
                convention.return_status_propagate(builder, status)
            return result

        return signature.return_type(types.int64, packed), generate

    return call
