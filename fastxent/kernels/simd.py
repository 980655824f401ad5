"""Vectors of numbers as a value type for kernels: the only file that knows LLVM.

A vector has an element type and a number of lanes. Arithmetic on vectors is written as on scalars
(``a * b + c``, ``a < b``) and means the same operation in every lane, one IEEE rounding each: no
contraction, no reassociation. LLVM cuts the lanes to whatever registers the processor has, so the
bits of a result are decided by the source alone, on AVX-512, AVX2, NEON and plain code.

``fma(a, b, c)`` is one rounding by definition. Loads take an address: predictions come in many
types and layouts, and a kernel that takes addresses is compiled once for all of them. Every load
is unaligned and may read memory that is only mapped for reading.
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
_intrinsic: Any = intrinsic(prefer_literal=True)

__all__ = [
    "LANES",
    "Vector",
    "all_lanes",
    "any_lane",
    "as_bits",
    "as_float",
    "as_float32",
    "as_ones",
    "fetch",
    "fill",
    "first_lane",
    "fma",
    "gather_8x8",
    "halving_sum",
    "lane_max",
    "lane_min",
    "lane_numbers",
    "load",
    "load_first",
    "load_scalar",
    "load_short",
    "load_whole",
    "look_up",
    "look_up_pairs",
    "maximum",
    "minimum",
    "move",
    "narrow",
    "numbers_like",
    "prefetch",
    "put",
    "select",
    "shift_left",
    "shift_right",
    "splat",
    "splat_f32",
    "splat_i32",
    "splat_i64",
    "store",
    "store_bytes",
    "transpose_8x8",
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


_LLVM = {
    types.float64: ir.DoubleType(),
    types.float32: ir.FloatType(),
    types.int64: ir.IntType(64),
    types.int32: ir.IntType(32),
    types.uint16: ir.IntType(16),
    types.boolean: ir.IntType(1),
}


def _llvm(vector: Vector) -> ir.VectorType:
    return ir.VectorType(_LLVM[vector.element], vector.lanes)


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, vector: Vector) -> None:
        super().__init__(manager, vector, _llvm(vector))


def _constant(vector: Vector, values: list[Any]) -> ir.Constant:
    element = _LLVM[vector.element]
    return ir.Constant(_llvm(vector), [ir.Constant(element, value) for value in values])


def _spread(builder: Any, scalar: Any, vector: Vector) -> Any:
    """The same scalar in every lane."""
    first = builder.insert_element(ir.Constant(_llvm(vector), ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), vector.lanes), [0] * vector.lanes)
    return builder.shuffle_vector(first, ir.Constant(_llvm(vector), ir.Undefined), zeros)


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
        right = args[1] if isinstance(sig.args[1], Vector) else _spread(builder, args[1], vector)
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
        right = args[1] if isinstance(sig.args[1], Vector) else _spread(builder, args[1], vector)
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
    @_intrinsic
    def splat_(typingctx: Any, value: Any, lanes: Any) -> Any:
        """``splat(value, lanes)``: the value in every lane."""
        vector = Vector(element, lanes.literal_value)

        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _spread(builder, args[0], vector)

        return signature(vector, element, lanes), build

    return splat_


splat = _splat(types.float64)
splat_f32 = _splat(types.float32)
splat_i32 = _splat(types.int32)
splat_i64 = _splat(types.int64)


@_intrinsic
def fill(typingctx: Any, value: Any, like: Any) -> Any:
    """``fill(value, like)``: the value in every lane of a vector of the type of ``like``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _spread(builder, args[0], like)

    return signature(like, like.element, like), build


@_intrinsic
def lane_numbers(typingctx: Any, lanes: Any) -> Any:
    """``lane_numbers(n)``: the int32 vector 0, 1, ..., n - 1."""
    vector = Vector(types.int32, lanes.literal_value)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _constant(vector, list(range(vector.lanes)))

    return signature(vector, lanes), build


@_intrinsic
def numbers_like(typingctx: Any, like: Any) -> Any:
    """0, 1, 2, ... in the lanes of a vector of the type of ``like``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _constant(like, list(range(like.lanes)))

    return signature(like, like), build


# --- memory ------------------------------------------------------------------------------------------

#: What lies in memory -> (LLVM type there, how it becomes a number)
_INTEGERS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.PointerType())


def _from_half(builder: Any, bits: Any, lanes: int) -> Any:
    """float16 bit patterns -> float32, by integer arithmetic (exact; no F16C needed; NaN stays NaN).

    Exponent field in place: 0 is zero or subnormal (value = 2^-14 * (1 + m) - 2^-14), 31 is inf or NaN.
    """
    i32 = ir.VectorType(ir.IntType(32), lanes)
    f32 = ir.VectorType(ir.FloatType(), lanes)

    def const(value: int) -> Any:
        return ir.Constant(i32, [value] * lanes)

    h = builder.zext(bits, i32)
    sign = builder.shl(builder.and_(h, const(0x8000)), const(16))
    magnitude = builder.shl(builder.and_(h, const(0x7FFF)), const(13))
    exponent = builder.and_(magnitude, const(0x0F800000))
    offset = builder.select(builder.icmp_signed("==", exponent, const(0x0F800000)), const(224 << 23), const(112 << 23))
    normal = builder.add(magnitude, offset)
    tiny = builder.fsub(
        builder.bitcast(builder.add(magnitude, const(113 << 23)), f32), ir.Constant(f32, [2.0**-14] * lanes)
    )
    value = builder.select(builder.icmp_signed("==", exponent, const(0)), builder.bitcast(tiny, i32), normal)
    return builder.bitcast(builder.or_(value, sign), f32)


def _from_bfloat16(builder: Any, bits: Any, lanes: int) -> Any:
    i32 = ir.VectorType(ir.IntType(32), lanes)
    wide = builder.shl(builder.zext(bits, i32), ir.Constant(i32, [16] * lanes))
    return builder.bitcast(wide, ir.VectorType(ir.FloatType(), lanes))


#: kind -> (LLVM element in memory, element of the vector, decoder)
_FLOATS = {
    "float64": (ir.DoubleType(), types.float64, None),
    "float32": (ir.FloatType(), types.float32, None),
    "float16": (ir.IntType(16), types.float32, _from_half),
    "bfloat16": (ir.IntType(16), types.float32, _from_bfloat16),
}


def _loaded(kind: str, lanes: int) -> Vector:
    return Vector(_FLOATS[kind][1], lanes)


@_intrinsic
def load(typingctx: Any, address: Any, kind: Any, lanes: Any) -> Any:
    """``load(address, kind, lanes)``: consecutive numbers as float32 lanes (float64 for kind "float64")."""
    element, _, decode = _FLOATS[kind.literal_value]
    vector = _loaded(kind.literal_value, lanes.literal_value)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        raw = builder.load(_pointer(builder, args[0]), align=1, typ=ir.VectorType(element, vector.lanes))
        return raw if decode is None else decode(builder, raw, vector.lanes)

    return signature(vector, types.int64, kind, lanes), build


def _count_mask(builder: Any, count: Any, lanes: int) -> Any:
    """Lanes below ``count`` (an i64)."""
    i32 = Vector(types.int32, lanes)
    bound = _spread(builder, builder.trunc(count, ir.IntType(32)), i32)
    return builder.icmp_signed("<", _constant(i32, list(range(lanes))), bound)


@_intrinsic
def load_first(typingctx: Any, address: Any, kind: Any, lanes: Any, count: Any) -> Any:
    """``load_first(address, kind, lanes, count)``: the first ``count`` numbers, then -inf; reads no further."""
    element, number, decode = _FLOATS[kind.literal_value]
    vector = _loaded(kind.literal_value, lanes.literal_value)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        n = vector.lanes
        mask = _count_mask(builder, args[3], n)
        memory = ir.VectorType(element, n)
        padding = ir.Constant(memory, [float("-inf") if decode is None else 0] * n)
        raw = _masked_load(builder, memory, _pointer(builder, args[0]), mask, padding)
        if decode is None:
            return raw
        value = decode(builder, raw, n)
        return builder.select(mask, value, _constant(Vector(number, n), [float("-inf")] * n))

    return signature(vector, types.int64, kind, lanes, types.int64), build


def _masked_load(builder: Any, memory: ir.VectorType, pointer: Any, mask: Any, padding: Any) -> Any:
    letter = {ir.DoubleType(): "f64", ir.FloatType(): "f32", ir.IntType(16): "i16"}[memory.element]
    name = f"llvm.masked.load.v{memory.count}{letter}.p0"
    kind = ir.FunctionType(memory, [ir.PointerType(), ir.IntType(32), mask.type, memory])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [pointer, ir.Constant(ir.IntType(32), 1), mask, padding])


@_intrinsic
def load_scalar(typingctx: Any, address: Any, kind: Any) -> Any:
    """``load_scalar(address, kind)``: one number as float64, or as int64 for the integer kinds."""
    name = kind.literal_value
    if name in _FLOATS:
        element, _, decode = _FLOATS[name]

        def build_float(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            raw = builder.load(_pointer(builder, args[0]), align=1, typ=element)
            if decode is not None:
                one = builder.insert_element(
                    ir.Constant(ir.VectorType(element, 1), ir.Undefined), raw, ir.Constant(ir.IntType(32), 0)
                )
                raw = builder.extract_element(decode(builder, one, 1), ir.Constant(ir.IntType(32), 0))
            return raw if name == "float64" else builder.fpext(raw, ir.DoubleType())

        return signature(types.float64, types.int64, kind), build_float

    bits = _INTEGERS[name]

    def build_int(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        raw = builder.load(_pointer(builder, args[0]), align=1, typ=ir.IntType(bits))
        if bits == 64:
            return raw
        return (builder.zext if name[0] == "u" else builder.sext)(raw, ir.IntType(64))

    return signature(types.int64, types.int64, kind), build_int


def _load_integers(element: types.Type) -> Any:
    @_intrinsic
    def load_integers(typingctx: Any, address: Any, kind: Any, lanes: Any) -> Any:
        """Consecutive integers of a kind, in as many bits as those of the lanes or fewer."""
        name = kind.literal_value
        vector = Vector(element, lanes.literal_value)
        memory = ir.VectorType(ir.IntType(_INTEGERS[name]), vector.lanes)

        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            raw = builder.load(_pointer(builder, args[0]), align=1, typ=memory)
            if _INTEGERS[name] == element.bitwidth:
                return raw
            return (builder.zext if name[0] == "u" else builder.sext)(raw, _llvm(vector))

        return signature(vector, types.int64, kind, lanes), build

    return load_integers


#: ``load_whole(address, kind, lanes)``: integers ("int8" ... "uint64") as int64 lanes; ``load_short``: of up to
#: 32 bits as int32 lanes. Unsigned ones of the lanes' own width keep their bits.
load_whole = _load_integers(types.int64)
load_short = _load_integers(types.int32)


def _entry(builder: Any, table: Any, places: Any, lane: int, held: str) -> Any:
    """The pointer to a lane's entry of a table of float64 numbers.

    A place is a float that is 1.5 * 2^23 (float32) or 1.5 * 2^52 (float64) more than its number, which is in
    [0, 2^22), so the low bits say it.
    """
    bits, bias = {"float32": (32, 0x4B400000), "float64": (64, 0)}[held]
    i64 = ir.IntType(64)
    at = builder.add(places, ir.Constant(i64, lane * bits // 8))
    place = builder.load(_pointer(builder, at), align=1, typ=ir.IntType(bits))
    place = builder.trunc(place, ir.IntType(32)) if bits == 64 else place
    offset = builder.mul(builder.sext(place, i64), ir.Constant(i64, 8))
    return _pointer(builder, builder.add(builder.sub(table, ir.Constant(i64, bias * 8)), offset))


@_intrinsic
def look_up(typingctx: Any, table: Any, places: Any, kind: Any, lanes: Any) -> Any:
    """``look_up(table, places, kind, lanes)``: float64 numbers of a table by their places, both given by address."""
    vector = Vector(types.float64, lanes.literal_value)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = ir.Constant(_llvm(vector), ir.Undefined)
        for lane in range(vector.lanes):
            entry = _entry(builder, args[0], args[1], lane, kind.literal_value)
            number = builder.load(entry, align=8, typ=ir.DoubleType())
            value = builder.insert_element(value, number, ir.Constant(ir.IntType(32), lane))
        return value

    return signature(vector, types.int64, types.int64, kind, lanes), build


@_intrinsic
def look_up_pairs(typingctx: Any, table: Any, offsets: Any, kind: Any, lanes: Any) -> Any:
    """``look_up_pairs(table, offsets, kind, lanes)``: the pairs of float64 numbers of a table, as two vectors.

    Both are given by address. An offset is the bits of a place (see `look_up`) shifted left by 4, of which only the
    low 32 count: one shift for all lanes, where an address of a place takes one a lane.
    """
    vector = Vector(types.float64, lanes.literal_value)
    result = types.UniTuple(vector, 2)
    size, bias = {"float32": (4, 0x4B400000 * 16 % 2**32), "float64": (8, 0)}[kind.literal_value]
    i64 = ir.IntType(64)

    def shuffled(builder: Any, a: Any, b: Any, chosen: list[int]) -> Any:
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(chosen)), chosen))

    def joined(builder: Any, parts: list[Any]) -> Any:
        while len(parts) > 1:
            both = list(range(2 * parts[0].type.count))
            parts = [shuffled(builder, a, b, both) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return parts[0]

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        start = builder.sub(args[0], ir.Constant(i64, bias))

        def pair(lane: int) -> Any:
            at = builder.add(args[1], ir.Constant(i64, lane * size))
            offset = builder.zext(builder.load(_pointer(builder, at), align=1, typ=ir.IntType(32)), i64)
            entry = _pointer(builder, builder.add(start, offset))
            return builder.load(entry, align=8, typ=ir.VectorType(ir.DoubleType(), 2))

        firsts, seconds = [], []
        for lane in range(0, vector.lanes, 4):
            v = [pair(lane + k) for k in range(4)]
            # As registers of two halves have instructions for it.
            even, odd = joined(builder, [v[0], v[2]]), joined(builder, [v[1], v[3]])
            firsts.append(shuffled(builder, even, odd, [0, 4, 2, 6]))
            seconds.append(shuffled(builder, even, odd, [1, 5, 3, 7]))
        return context.make_tuple(builder, result, [joined(builder, firsts), joined(builder, seconds)])

    return signature(result, types.int64, types.int64, kind, lanes), build


@_intrinsic
def store_bytes(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """``store_bytes(array, index, vector)``: the low byte of every integer lane to ``array[index:]``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        raw = builder.trunc(args[2], ir.VectorType(ir.IntType(8), value.lanes))
        builder.store(raw, builder.bitcast(builder.gep(data, [args[1]]), raw.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature(types.none, array, types.int64, value), build


@_intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """``store(array, index, vector)``: the lanes to ``array[index:]``, contiguous, of the same element type."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        builder.store(args[2], builder.bitcast(builder.gep(data, [args[1]]), args[2].type.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature(types.none, array, types.int64, value), build


@_intrinsic
def put(typingctx: Any, address: Any, value: Any) -> Any:
    """``put(address, vector)``: the lanes to consecutive numbers of their own type."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[1], _pointer(builder, args[0]), align=1)
        return context.get_dummy_value()

    return signature(types.none, types.int64, value), build


@_intrinsic
def fetch(typingctx: Any, array: Any, index: Any, lanes: Any) -> Any:
    """``fetch(array, index, lanes)``: the vector ``array[index:index + lanes]`` of a contiguous array."""
    vector = Vector(array.dtype, lanes.literal_value)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), _llvm(vector).as_pointer())
        return builder.load(pointer, align=1, typ=_llvm(vector))

    return signature(vector, array, types.int64, lanes), build


@_intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """Ask for the cache line at an address, which may lie anywhere, mapped or not."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(), i32, i32, i32])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        to_read, keep, data = (ir.Constant(i32, number) for number in (0, 3, 1))
        builder.call(function, [_pointer(builder, args[0]), to_read, keep, data])
        return context.get_dummy_value()

    return signature(types.none, types.int64), build


@_intrinsic
def move(typingctx: Any, destination: Any, source: Any, size: Any) -> Any:
    """``move(destination, source, size)``: copy one number of ``size`` bytes from address to address."""
    element = ir.IntType(8 * size.literal_value)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(_pointer(builder, args[1]), align=1, typ=element)
        builder.store(value, _pointer(builder, args[0]), align=1)
        return context.get_dummy_value()

    return signature(types.none, types.int64, types.int64, size), build


def _interleaved(builder: Any, a: Any, b: Any, pattern: str) -> Any:
    """Lanes of a and b by name: "0" to "7" those of a, "A" to "H" those of b."""
    chosen = ["01234567ABCDEFGH".index(name) for name in pattern]
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), 8), chosen))


def _transposed(builder: Any, rows: list[Any], size: int) -> list[Any]:
    """The columns of eight rows of eight numbers, given by pointer."""
    v = [builder.load(row, align=1, typ=ir.VectorType(ir.IntType(8 * size), 8)) for row in rows]
    # Pairs, quads, halves: the three steps that registers with lanes of 16 bytes have instructions for.
    pairs = [_interleaved(builder, v[k], v[k + 1], p) for k in (0, 2, 4, 6) for p in ("0A1B4E5F", "2C3D6G7H")]
    quads = [
        _interleaved(builder, pairs[k + low], pairs[k + 2 + low], p)
        for k in (0, 4)
        for low in (0, 1)
        for p in ("01AB45EF", "23CD67GH")
    ]
    return [_interleaved(builder, quads[k], quads[k + 4], p) for p in ("0123ABCD", "4567EFGH") for k in range(4)]


def _rows_from(builder: Any, start: Any, stride: Any) -> list[Any]:
    """Pointers to eight rows, ``stride`` bytes apart."""
    return [
        _pointer(builder, builder.add(start, builder.mul(stride, ir.Constant(ir.IntType(64), k)))) for k in range(8)
    ]


@_intrinsic
def transpose_8x8(
    typingctx: Any, destination: Any, destination_stride: Any, source: Any, source_stride: Any, size: Any
) -> Any:
    """Eight rows of eight numbers of ``size`` bytes at ``source`` to eight columns at ``destination``.

    Both are addresses, and the strides bytes from row to row.
    """

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        to, to_stride, at, stride, _ = args
        columns = _transposed(builder, _rows_from(builder, at, stride), size.literal_value)
        for column, place in zip(columns, _rows_from(builder, to, to_stride), strict=True):
            builder.store(column, place, align=1)
        return context.get_dummy_value()

    return signature(types.none, types.int64, types.int64, types.int64, types.int64, size), build


@_intrinsic
def gather_8x8(typingctx: Any, destination: Any, destination_stride: Any, table: Any, offset: Any, size: Any) -> Any:
    """Eight numbers of ``size`` bytes of eight arrays, ``offset`` bytes into them, to columns at ``destination``.

    ``table`` is the address of the arrays' addresses. Rows are written in order.
    """

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        to, to_stride, at, skipped, _ = args
        i64 = ir.IntType(64)
        arrays = [builder.load(pointer, align=8, typ=i64) for pointer in _rows_from(builder, at, ir.Constant(i64, 8))]
        sources = [_pointer(builder, builder.add(array, skipped)) for array in arrays]
        columns = _transposed(builder, sources, size.literal_value)
        for column, place in zip(columns, _rows_from(builder, to, to_stride), strict=True):
            builder.store(column, place, align=1)
        return context.get_dummy_value()

    return signature(types.none, types.int64, types.int64, types.int64, types.int64, size), build


# --- arithmetic ---------------------------------------------------------------------------------------


def _suffix(typ: Any) -> str:
    element = typ.element if isinstance(typ, Vector) else typ
    letter = {types.float64: "f64", types.float32: "f32"}[element]
    return f"v{typ.lanes}{letter}" if isinstance(typ, Vector) else letter


@_intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """``fma(a, b, c)``: a * b + c with one rounding; b and c may be scalars beside a vector a."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        operands = [
            value if typ == a else _spread(builder, value, a) for value, typ in zip(args, sig.args, strict=True)
        ]
        typ = operands[0].type
        function = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(typ, [typ] * 3), f"llvm.fma.{_suffix(a)}"
        )
        return builder.call(function, operands)

    scalar = a.element if isinstance(a, Vector) else a
    cast = [x if isinstance(x, Vector) else scalar for x in (a, b, c)]
    return signature(a, *cast), build


@_intrinsic
def select(typingctx: Any, mask: Any, a: Any, b: Any) -> Any:
    """``select(mask, a, b)``: a where the mask holds, b elsewhere."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(*args)

    return signature(a, mask, a, b), build


def _larger(symbol: str) -> Any:
    @_intrinsic
    def choose(typingctx: Any, a: Any, b: Any) -> Any:
        """``a`` where ``a`` is beyond ``b``, else ``b``; a NaN in ``b`` stays, a NaN in ``a`` is dropped."""

        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            left = args[0] if isinstance(a, Vector) or a == b else _spread(builder, args[0], b)
            return builder.select(builder.fcmp_ordered(symbol, left, args[1]), left, args[1])

        scalar = b.element if isinstance(b, Vector) else b
        return signature(b, a if isinstance(a, Vector) else scalar, b), build

    return choose


maximum = _larger(">")
minimum = _larger("<")


@_intrinsic
def widen(typingctx: Any, a: Any) -> Any:
    """float32 or int32 lanes to float64 or int64, exactly; wide lanes as they are."""
    wide = {types.float32: types.float64, types.int32: types.int64}
    target = Vector(wide.get(a.element, a.element), a.lanes)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if target == a:
            return args[0]
        return (builder.fpext if a.element == types.float32 else builder.sext)(args[0], _llvm(target))

    return signature(target, a), build


@_intrinsic
def narrow(typingctx: Any, a: Any, like: Any) -> Any:
    """A float64 or int64 (or wide lanes) as the element type of ``like``; exact for numbers that came from it."""
    integer = like.element in (types.int32, types.int64)
    wide = like.element in (types.float64, types.int64)
    scalar = types.int64 if integer else types.float64
    result = like if isinstance(a, Vector) else like.element

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        if wide or a == like:
            return args[0]
        target = _llvm(like) if isinstance(a, Vector) else _LLVM[like.element]
        return (builder.trunc if integer else builder.fptrunc)(args[0], target)

    return signature(result, a if isinstance(a, Vector) else scalar, like), build


@_intrinsic
def as_float32(typingctx: Any, a: Any) -> Any:
    """Float64 lanes rounded to float32."""
    result = Vector(types.float32, a.lanes)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fptrunc(args[0], _llvm(result))

    return signature(result, a), build


@_intrinsic
def as_bits(typingctx: Any, a: Any) -> Any:
    """The bit patterns of float lanes (or of a float) as integers of the same width."""
    integer = {types.float64: types.int64, types.float32: types.int32}
    result = Vector(integer[a.element], a.lanes) if isinstance(a, Vector) else integer[a]

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _llvm(result) if isinstance(a, Vector) else _LLVM[result])

    return signature(result, a), build


@_intrinsic
def as_float(typingctx: Any, a: Any) -> Any:
    """The float lanes (or the float) with these bit patterns."""
    real = {types.int64: types.float64, types.int32: types.float32}
    result = Vector(real[a.element], a.lanes) if isinstance(a, Vector) else real[a]

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], _llvm(result) if isinstance(a, Vector) else _LLVM[result])

    return signature(result, a), build


def _shift(name: str) -> Any:
    @_intrinsic
    def shift(typingctx: Any, a: Any, count: Any) -> Any:
        """Logical shift of every lane (or of an integer) by a constant number of bits."""

        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            bits = count.literal_value
            by = _constant(a, [bits] * a.lanes) if isinstance(a, Vector) else ir.Constant(_LLVM[a], bits)
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


@_intrinsic
def halving_sum(typingctx: Any, a: Any) -> Any:
    """The sum of the lanes, lane i and lane i + n/2 first, then halves of the halves."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        integer = a.element not in (types.float64, types.float32)
        return _halve(builder, args[0], builder.add if integer else builder.fadd)

    return signature(a.element, a), build


def _extreme(symbol: str) -> Any:
    @_intrinsic
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


@_intrinsic
def as_ones(typingctx: Any, mask: Any, like: Any) -> Any:
    """A mask as int32 (or int64, the width of ``like``) lanes of 0 and -1."""
    wide = like.element in (types.float64, types.int64)
    result = Vector(types.int64 if wide else types.int32, mask.lanes)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sext(args[0], _llvm(result))

    return signature(result, mask, like), build


@_intrinsic
def first_lane(typingctx: Any, mask: Any) -> Any:
    """The number of the first lane that holds, or the number of lanes if none does."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(mask.lanes))
        wide = builder.zext(bits, ir.IntType(64)) if mask.lanes < 64 else bits
        stop = builder.or_(wide, ir.Constant(ir.IntType(64), 1 << mask.lanes)) if mask.lanes < 64 else wide
        return builder.cttz(stop, ir.Constant(ir.IntType(1), 0))

    return signature(types.int64, mask), build


@_intrinsic
def all_lanes(typingctx: Any, mask: Any) -> Any:
    """Whether every lane of a mask holds."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(mask.lanes))
        return builder.icmp_unsigned("==", bits, ir.Constant(bits.type, (1 << mask.lanes) - 1))

    return signature(types.boolean, mask), build


@_intrinsic
def any_lane(typingctx: Any, mask: Any) -> Any:
    """Whether some lane of a mask holds."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = builder.bitcast(args[0], ir.IntType(mask.lanes))
        return builder.icmp_unsigned("!=", bits, ir.Constant(bits.type, 0))

    return signature(types.boolean, mask), build
