"""Vectors of numbers as a value type for kernels; this file and `memory` alone know LLVM.

A vector has an element type and a number of lanes. Arithmetic on vectors is written as on scalars
(``a * b + c``, ``a < b``) and means the same operation in every lane, one IEEE rounding each: no
contraction, no reassociation. LLVM cuts the lanes to whatever registers the processor has, so the
bits of a result are decided by the source alone, on AVX-512, AVX2, NEON and plain code.

``fma(a, b, c)`` is one rounding by definition.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

# Kinds and lane counts arrive as literal types.
literal_intrinsic: Any = intrinsic(prefer_literal=True)

__all__ = [
    "LANES",
    "Vector",
    "all_lanes",
    "any_lane",
    "as_bits",
    "as_float",
    "as_float32",
    "as_ones",
    "fill",
    "first_lane",
    "floor",
    "fma",
    "halving_sum",
    "lane_max",
    "lane_min",
    "lane_numbers",
    "lower",
    "maximum",
    "minimum",
    "narrow",
    "numbers_like",
    "select",
    "shift_left",
    "shift_right",
    "splat",
    "splat_i32",
    "splat_i64",
    "upper",
    "widen",
]

#: Lanes of a partial sum over classes. Part of the definition of a loss, see docs/design.md.
LANES = 32


class Vector(types.Type):
    """Numba type: ``lanes`` numbers of type ``element``."""

    def __init__(self, element: types.Type, lanes: int) -> None:
        self.element = element
        self.lanes = lanes
        super().__init__(name=f"vector({element}, {lanes})")

    @property
    def key(self) -> Any:
        """What tells one vector type from another."""
        return self.element, self.lanes


LLVM = {
    types.float64: ir.DoubleType(),
    types.float32: ir.FloatType(),
    types.int64: ir.IntType(64),
    types.int32: ir.IntType(32),
    types.uint16: ir.IntType(16),
    types.boolean: ir.IntType(1),
}


def llvm_of(vector: Vector) -> ir.VectorType:
    return ir.VectorType(LLVM[vector.element], vector.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, llvm_of(vector))


def constant(vector: Vector, values: list[Any]) -> ir.Constant:
    element = LLVM[vector.element]
    return ir.Constant(llvm_of(vector), [ir.Constant(element, value) for value in values])


def spread(builder: Any, scalar: Any, vector: Vector) -> Any:
    """The same scalar in every lane."""
    first = builder.insert_element(ir.Constant(llvm_of(vector), ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
    return builder.shuffle_vector(first, ir.Constant(llvm_of(vector), ir.Undefined), zeros)


# --- operators -----------------------------------------------------------------------------------


def _binary(op: Any, float_build: str, int_build: str) -> None:
    """Teach Numba ``op`` on two vectors, or a vector and a scalar of its element type."""

    @infer_global(op)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector):
                if args[1] == args[0]:
                    return signature(args[0], *args)
                if isinstance(args[1], (types.Number, types.Boolean)):
                    return signature(args[0], args[0], args[0].element)
            return None

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = sig.args[0]
        right = args[1] if isinstance(sig.args[1], Vector) else spread(builder, args[1], vector)
        name = float_build if vector.element in (types.float64, types.float32) else int_build
        return getattr(builder, name)(args[0], right)

    lower_builtin(op, Vector, Vector)(build)
    lower_builtin(op, Vector, types.Any)(build)


def _comparison(op: Any, symbol: str) -> None:
    @infer_global(op)
    class _Typing(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            if len(args) == 2 and isinstance(args[0], Vector):
                mask = Vector(types.boolean, args[0].lanes)
                if args[1] == args[0]:
                    return signature(mask, *args)
                if isinstance(args[1], types.Number):
                    return signature(mask, args[0], args[0].element)
            return None

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = sig.args[0]
        right = args[1] if isinstance(sig.args[1], Vector) else spread(builder, args[1], vector)
        if vector.element in (types.float64, types.float32):
            # Ordered: false where either side is NaN; != is the negation of ==.
            return (builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered)(symbol, args[0], right)
        return builder.icmp_signed(symbol, args[0], right)

    lower_builtin(op, Vector, Vector)(build)
    lower_builtin(op, Vector, types.Any)(build)


for _op, _f, _i in (
    (operator.add, "fadd", "add"),
    (operator.sub, "fsub", "sub"),
    (operator.mul, "fmul", "mul"),
    (operator.truediv, "fdiv", "sdiv"),
    (operator.and_, "and_", "and_"),
    (operator.or_, "or_", "or_"),
    (operator.xor, "xor", "xor"),
):
    _binary(_op, _f, _i)
for _op, _s in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
    (operator.ne, "!="),
):
    _comparison(_op, _s)


# --- making vectors --------------------------------------------------------------------------------


def _splat(element: types.Type) -> Any:
    @literal_intrinsic
    def splat_(typingctx: Any, value: Any, lanes: Any) -> Any:
        """``splat(value, lanes)``: the value in every lane."""
        vector = Vector(element, lanes.literal_value)

        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return spread(builder, args[0], vector)

        return signature(vector, element, lanes), build

    return splat_


splat = _splat(types.float64)
splat_i32 = _splat(types.int32)
splat_i64 = _splat(types.int64)


@literal_intrinsic
def fill(typingctx: Any, value: Any, like: Any) -> Any:
    """``fill(value, like)``: the value in every lane of a vector of the type of ``like``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return spread(builder, args[0], like)

    return signature(like, like.element, like), build


@literal_intrinsic
def lane_numbers(typingctx: Any, lanes: Any) -> Any:
    """``lane_numbers(n)``: the int32 vector 0, 1, ..., n - 1."""
    vector = Vector(types.int32, lanes.literal_value)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return constant(vector, list(range(vector.lanes)))

    return signature(vector, lanes), build


@literal_intrinsic
def numbers_like(typingctx: Any, like: Any) -> Any:
    """0, 1, 2, ... in the lanes of a vector of the type of ``like``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return constant(like, list(range(like.lanes)))

    return signature(like, like), build


# --- arithmetic ---------------------------------------------------------------------------------------


def _suffix(typ: Any) -> str:
    element = typ.element if isinstance(typ, Vector) else typ
    letter = {types.float64: "f64", types.float32: "f32"}[element]
    return f"v{typ.lanes}{letter}" if isinstance(typ, Vector) else letter


@literal_intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``fma(a, b, c)``: a * b + c with one rounding; b and c may be scalars beside a vector a."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        operands = [value if typ == a else spread(builder, value, a) for value, typ in zip(args, sig.args, strict=True)]
        typ = operands[0].type
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(typ, [typ] * 3), f"llvm.fma.{_suffix(a)}"
        )
        return builder.call(function, operands)

    scalar = a.element if isinstance(a, Vector) else a
    cast = [x if isinstance(x, Vector) else scalar for x in (a, b, c)]
    return signature(a, *cast), build


@literal_intrinsic
def floor(typingctx: Any, a: Any) -> Any:
    """``floor(a)``: the largest integers that are not above a number or its lanes, as numbers of the same type."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(args[0].type, [args[0].type])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.floor.{_suffix(a)}"), args)

    return signature(a, a), build


@literal_intrinsic
def select(typingctx: Any, mask: Any, a: Any, b: Any) -> Any:
    """``select(mask, a, b)``: a where the mask holds, b elsewhere."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(*args)

    return signature(a, mask, a, b), build


def _larger(symbol: str) -> Any:
    @literal_intrinsic
    def choose(typingctx: Any, a: Any, b: Any) -> Any:
        """``a`` where ``a`` is beyond ``b``, else ``b``; a NaN in ``b`` stays, a NaN in ``a`` is dropped."""

        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            left = args[0] if isinstance(a, Vector) or a == b else spread(builder, args[0], b)
            compare = builder.icmp_signed if scalar in (types.int32, types.int64) else builder.fcmp_ordered
            return builder.select(compare(symbol, left, args[1]), left, args[1])

        scalar = b.element if isinstance(b, Vector) else b
        return signature(b, a if isinstance(a, Vector) else scalar, b), build

    return choose


maximum = _larger(">")
minimum = _larger("<")


@literal_intrinsic
def widen(typingctx: Any, a: Any) -> Any:
    """float32 or int32 lanes to float64 or int64, exactly; wide lanes as they are."""
    wide = {types.float32: types.float64, types.int32: types.int64}
    target = Vector(wide.get(a.element, a.element), a.lanes)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if target == a:
            return args[0]
        return (builder.fpext if a.element == types.float32 else builder.sext)(args[0], llvm_of(target))

    return signature(target, a), build


@literal_intrinsic
def narrow(typingctx: Any, a: Any, like: Any) -> Any:
    """A float64 or int64 (or wide lanes) as the element type of ``like``; exact for numbers that came from it."""
    integer = like.element in (types.int32, types.int64)
    wide = like.element in (types.float64, types.int64)
    scalar = types.int64 if integer else types.float64
    result = like if isinstance(a, Vector) else like.element

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if wide or a == like:
            return args[0]
        target = llvm_of(like) if isinstance(a, Vector) else LLVM[like.element]
        return (builder.trunc if integer else builder.fptrunc)(args[0], target)

    return signature(result, a if isinstance(a, Vector) else scalar, like), build


@literal_intrinsic
def as_float32(typingctx: Any, a: Any) -> Any:
    """Float64 lanes rounded to float32."""
    result = Vector(types.float32, a.lanes)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fptrunc(args[0], llvm_of(result))

    return signature(result, a), build


@literal_intrinsic
def as_bits(typingctx: Any, a: Any) -> Any:
    """The bit patterns of float lanes (or of a float) as integers of the same width."""
    integer = {types.float64: types.int64, types.float32: types.int32}
    result = Vector(integer[a.element], a.lanes) if isinstance(a, Vector) else integer[a]

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], llvm_of(result) if isinstance(a, Vector) else LLVM[result])

    return signature(result, a), build


@literal_intrinsic
def as_float(typingctx: Any, a: Any) -> Any:
    """The float lanes (or the float) with these bit patterns."""
    real = {types.int64: types.float64, types.int32: types.float32}
    result = Vector(real[a.element], a.lanes) if isinstance(a, Vector) else real[a]

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], llvm_of(result) if isinstance(a, Vector) else LLVM[result])

    return signature(result, a), build


def _shift(name: str) -> Any:
    @literal_intrinsic
    def shift(typingctx: Any, a: Any, count: Any) -> Any:
        """Logical shift of every lane (or of an integer) by a constant number of bits."""

        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            bits = count.literal_value
            by = constant(a, [bits] * a.lanes) if isinstance(a, Vector) else ir.Constant(LLVM[a], bits)
            return getattr(builder, name)(args[0], by)

        return signature(a, a, count), build

    return shift


shift_left = _shift("shl")
shift_right = _shift("lshr")


# --- across lanes ----------------------------------------------------------------------------------------


def _halve(builder: Any, value: Any, combine: Any) -> Any:
    """Fold the upper half onto the lower until one lane is left."""
    lanes = value.type.count
    while lanes > 1:
        lanes //= 2
        index = ir.VectorType(ir.IntType(32), lanes)
        low = builder.shuffle_vector(value, value, ir.Constant(index, list(range(lanes))))
        high = builder.shuffle_vector(value, value, ir.Constant(index, list(range(lanes, 2 * lanes))))
        value = combine(low, high)
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


def _half(first: bool) -> Any:
    @literal_intrinsic
    def half(typingctx: Any, a: Any) -> Any:
        """The first (last) half of the lanes."""
        result = Vector(a.element, a.lanes // 2)

        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            start = 0 if first else result.lanes
            index = ir.VectorType(ir.IntType(32), result.lanes)
            return builder.shuffle_vector(
                args[0], args[0], ir.Constant(index, list(range(start, start + result.lanes)))
            )

        return signature(result, a), build

    return half


lower = _half(True)
upper = _half(False)


@literal_intrinsic
def halving_sum(typingctx: Any, a: Any) -> Any:
    """The sum of the lanes, lane i and lane i + n/2 first, then halves of the halves."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        integer = a.element not in (types.float64, types.float32)
        return _halve(builder, args[0], builder.add if integer else builder.fadd)

    return signature(a.element, a), build


def _extreme(symbol: str) -> Any:
    @literal_intrinsic
    def extreme(typingctx: Any, a: Any) -> Any:
        """The largest (smallest) lane; NaN lanes are not looked for."""
        integer = a.element not in (types.float64, types.float32)

        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            compare = builder.icmp_signed if integer else builder.fcmp_ordered

            def choose(low: Any, high: Any) -> Any:
                return builder.select(compare(symbol, low, high), low, high)

            return _halve(builder, args[0], choose)

        return signature(a.element, a), build

    return extreme


lane_max = _extreme(">")
lane_min = _extreme("<")


@literal_intrinsic
def as_ones(typingctx: Any, mask: Any, like: Any) -> Any:
    """A mask as int32 (or int64, the width of ``like``) lanes of 0 and -1."""
    wide = like.element in (types.float64, types.int64)
    result = Vector(types.int64 if wide else types.int32, mask.lanes)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sext(args[0], llvm_of(result))

    return signature(result, mask, like), build


@literal_intrinsic
def first_lane(typingctx: Any, mask: Any) -> Any:
    """The number of the first lane that holds, or the number of lanes if none does."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(mask.lanes))
        wide = builder.zext(bits, ir.IntType(64)) if mask.lanes < 64 else bits
        stop = builder.or_(wide, ir.Constant(ir.IntType(64), 1 << mask.lanes)) if mask.lanes < 64 else wide
        return builder.cttz(stop, ir.Constant(ir.IntType(1), 0))

    return signature(types.int64, mask), build


@literal_intrinsic
def all_lanes(typingctx: Any, mask: Any) -> Any:
    """Whether every lane of a mask holds."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(mask.lanes))
        return builder.icmp_unsigned("==", bits, ir.Constant(bits.type, (1 << mask.lanes) - 1))

    return signature(types.boolean, mask), build


@literal_intrinsic
def any_lane(typingctx: Any, mask: Any) -> Any:
    """Whether some lane of a mask holds."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(mask.lanes))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return signature(types.boolean, mask), build
