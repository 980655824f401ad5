"""What kernels read and write, in numbers and vectors of `simd`: loads, look-ups, stores, transpositions.

Loads take an address: predictions come in many types and layouts, and a kernel that takes addresses is compiled once
for all of them. Every load is unaligned and may read memory that is only mapped for reading.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import signature

from fastxent.kernels.vector.simd import Vector, constant, literal_intrinsic, llvm_of, spread

__all__ = [
    "fetch",
    "gather_8x8",
    "load",
    "load_first",
    "load_scalar",
    "load_short",
    "load_whole",
    "look_up",
    "look_up_pairs",
    "move",
    "prefetch",
    "put",
    "store",
    "store_bytes",
    "transpose_8x8",
]

#: What lies in memory -> (LLVM type there, how it becomes a number)
_INTEGERS = {"int8": 8, "int16": 16, "int32": 32, "int64": 64, "uint8": 8, "uint16": 16, "uint32": 32, "uint64": 64}


def _pointer(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, ir.PointerType())


def _from_half(context: Any, builder: Any, bits: Any, lanes: int) -> Any:
    """float16 bit patterns -> float32, exactly: by F16C where the processor has it, else by integer arithmetic.

    Exponent field in place: 0 is zero or subnormal (value = 2^-14 * (1 + m) - 2^-14), 31 is inf or NaN.
    """
    i32 = ir.VectorType(ir.IntType(32), lanes)
    f32 = ir.VectorType(ir.FloatType(), lanes)
    # Elsewhere LLVM would call a library for it.
    if "+f16c" in context.codegen()._tm_features:
        return builder.fpext(builder.bitcast(bits, ir.VectorType(ir.HalfType(), lanes)), f32)

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


def _from_bfloat16(context: Any, builder: Any, bits: Any, lanes: int) -> Any:
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


@literal_intrinsic
def load(typingctx: Any, address: Any, kind: Any, lanes: Any) -> Any:
    """``load(address, kind, lanes)``: consecutive numbers as float32 lanes (float64 for kind "float64")."""
    element, _, decode = _FLOATS[kind.literal_value]
    vector = _loaded(kind.literal_value, lanes.literal_value)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        raw = builder.load(_pointer(builder, args[0]), align=1, typ=ir.VectorType(element, vector.lanes))
        return raw if decode is None else decode(context, builder, raw, vector.lanes)

    return signature(vector, types.int64, kind, lanes), build


def _count_mask(builder: Any, count: Any, lanes: int) -> Any:
    """Lanes below ``count`` (an i64)."""
    i32 = Vector(types.int32, lanes)
    bound = spread(builder, builder.trunc(count, ir.IntType(32)), i32)
    return builder.icmp_signed("<", constant(i32, list(range(lanes))), bound)


@literal_intrinsic
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
        value = decode(context, builder, raw, n)
        return builder.select(mask, value, constant(Vector(number, n), [float("-inf")] * n))

    return signature(vector, types.int64, kind, lanes, types.int64), build


def _masked_load(builder: Any, memory: ir.VectorType, pointer: Any, mask: Any, padding: Any) -> Any:
    letter = {ir.DoubleType(): "f64", ir.FloatType(): "f32", ir.IntType(16): "i16"}[memory.element]
    name = f"llvm.masked.load.v{memory.count}{letter}.p0"
    kind = ir.FunctionType(memory, [ir.PointerType(), ir.IntType(32), mask.type, memory])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [pointer, ir.Constant(ir.IntType(32), 1), mask, padding])


@literal_intrinsic
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
                raw = builder.extract_element(decode(context, builder, one, 1), ir.Constant(ir.IntType(32), 0))
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
    @literal_intrinsic
    def load_integers(typingctx: Any, address: Any, kind: Any, lanes: Any) -> Any:
        """Consecutive integers of a kind, in as many bits as those of the lanes or fewer."""
        name = kind.literal_value
        vector = Vector(element, lanes.literal_value)
        memory = ir.VectorType(ir.IntType(_INTEGERS[name]), vector.lanes)

        def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            raw = builder.load(_pointer(builder, args[0]), align=1, typ=memory)
            if _INTEGERS[name] == element.bitwidth:
                return raw
            return (builder.zext if name[0] == "u" else builder.sext)(raw, llvm_of(vector))

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


@literal_intrinsic
def look_up(typingctx: Any, table: Any, places: Any, kind: Any, lanes: Any) -> Any:
    """``look_up(table, places, kind, lanes)``: float64 numbers of a table by their places, both given by address."""
    vector = Vector(types.float64, lanes.literal_value)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = ir.Constant(llvm_of(vector), ir.Undefined)
        for lane in range(vector.lanes):
            entry = _entry(builder, args[0], args[1], lane, kind.literal_value)
            number = builder.load(entry, align=8, typ=ir.DoubleType())
            value = builder.insert_element(value, number, ir.Constant(ir.IntType(32), lane))
        return value

    return signature(vector, types.int64, types.int64, kind, lanes), build


@literal_intrinsic
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


@literal_intrinsic
def store_bytes(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """``store_bytes(array, index, vector)``: the low byte of every integer lane to ``array[index:]``."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        raw = builder.trunc(args[2], ir.VectorType(ir.IntType(8), value.lanes))
        builder.store(raw, builder.bitcast(builder.gep(data, [args[1]]), raw.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature(types.none, array, types.int64, value), build


@literal_intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """``store(array, index, vector)``: the lanes to ``array[index:]``, contiguous, of the same element type."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        builder.store(args[2], builder.bitcast(builder.gep(data, [args[1]]), args[2].type.as_pointer()), align=1)
        return context.get_dummy_value()

    return signature(types.none, array, types.int64, value), build


@literal_intrinsic
def put(typingctx: Any, address: Any, value: Any) -> Any:
    """``put(address, vector)``: the lanes to consecutive numbers of their own type."""

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        builder.store(args[1], _pointer(builder, args[0]), align=1)
        return context.get_dummy_value()

    return signature(types.none, types.int64, value), build


@literal_intrinsic
def fetch(typingctx: Any, array: Any, index: Any, lanes: Any) -> Any:
    """``fetch(array, index, lanes)``: the vector ``array[index:index + lanes]`` of a contiguous array."""
    vector = Vector(array.dtype, lanes.literal_value)

    def build(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        pointer = builder.bitcast(builder.gep(data, [args[1]]), llvm_of(vector).as_pointer())
        return builder.load(pointer, align=1, typ=llvm_of(vector))

    return signature(vector, array, types.int64, lanes), build


@literal_intrinsic
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


@literal_intrinsic
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


@literal_intrinsic
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


@literal_intrinsic
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
