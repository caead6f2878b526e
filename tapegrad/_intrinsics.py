"""What jitted code does with raw memory and bits, as instructions of LLVM.

Each function is known to engine and kernels by its plain twin in `tapegrad.kernels.memory`.
"""

from __future__ import annotations

import platform
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def array(typingctx, address, n, dtype):
    """View ``n`` elements of ``dtype`` at ``address``: a bare pointer that can be indexed.

    A pointer, not a Numba array: nothing is reference-counted, compiling takes half the time, and
    kernels have no use for anything but ``a[i]``.
    """
    element = dtype.dtype if isinstance(dtype, types.NumberClass) else types.boolean

    def codegen(context, builder, signature, args):
        target = context.get_value_type(signature.return_type)
        return builder.inttoptr(args[0], target)

    return types.CPointer(element)(address, n, dtype), codegen


@intrinsic
def words(typingctx, a):
    """View an ``int64`` array as a bare pointer: no wrap-around of negative indices, no strides."""

    def codegen(context, builder, signature, args):
        return context.make_array(signature.args[0])(context, builder, args[0]).data

    return types.CPointer(a.dtype)(a), codegen


@intrinsic
def at(typingctx, address):
    """View ``int64`` words at an address."""

    def codegen(context, builder, signature, args):
        return builder.inttoptr(args[0], ir.IntType(64).as_pointer())

    return types.CPointer(types.int64)(types.int64), codegen


@intrinsic(prefer_literal=True)
def stack(typingctx, n):
    """Room for ``n`` (a literal) words on the stack of the calling function."""
    count = n.literal_value

    def codegen(context, builder, signature, args):
        return cgutils.alloca_once(builder, ir.IntType(64), size=count)

    return types.CPointer(types.int64)(n), codegen


@intrinsic
def allocate(typingctx, n):
    """``n`` words, uninitialised, until ``release``."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.IntType(8).as_pointer(), [word])
        malloc = cgutils.get_or_insert_function(builder.module, kind, "malloc")
        nbytes = builder.mul(args[0], ir.Constant(word, 8))
        return builder.bitcast(builder.call(malloc, [nbytes]), word.as_pointer())

    return types.CPointer(types.int64)(types.int64), codegen


@intrinsic
def release(typingctx, pointer):
    """Give back what ``allocate`` returned."""

    def codegen(context, builder, signature, args):
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte])
        free = cgutils.get_or_insert_function(builder.module, kind, "free")
        builder.call(free, [builder.bitcast(args[0], byte)])
        return context.get_dummy_value()

    return types.void(pointer), codegen


@intrinsic
def invoke(typingctx, target, words):
    """Call the C function at ``target`` with a tuple of integers; its integer result is a status."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(64)
        values = cgutils.unpack_tuple(builder, args[1])
        kind = ir.FunctionType(word, [word] * len(values))
        return builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)

    return types.int64(types.int64, words), codegen


@intrinsic
def call_n(typingctx, target, words):
    """Call the C function at ``target`` with a tuple of integers or addresses; no result."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(64)
        values = cgutils.unpack_tuple(builder, args[1])
        kind = ir.FunctionType(ir.VoidType(), [word] * len(values))
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.int64, words), codegen


@intrinsic
def fill_bytes(typingctx, address, value, n):
    """``memset(address, value, n)``."""

    def codegen(context, builder, signature, args):
        byte, word = ir.IntType(8), ir.IntType(64)
        pointer = builder.inttoptr(args[0], byte.as_pointer())
        function = builder.module.declare_intrinsic("llvm.memset", [byte.as_pointer(), word])
        volatile = ir.Constant(ir.IntType(1), 0)
        builder.call(function, [pointer, builder.trunc(args[1], byte), args[2], volatile])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def copy_bytes(typingctx, target, source, n):
    """``memcpy(target, source, n)``."""

    def codegen(context, builder, signature, args):
        byte, word = ir.IntType(8), ir.IntType(64)
        pointers = [builder.inttoptr(a, byte.as_pointer()) for a in args[:2]]
        function = builder.module.declare_intrinsic(
            "llvm.memcpy", [byte.as_pointer(), byte.as_pointer(), word]
        )
        builder.call(function, [*pointers, args[2], ir.Constant(ir.IntType(1), 0)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def take(typingctx, address):
    """Take the lock in the word at ``address``; whether it was free."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(64)
        pointer = builder.inttoptr(args[0], word.as_pointer())
        zero, one = ir.Constant(word, 0), ir.Constant(word, 1)
        pair = builder.cmpxchg(pointer, zero, one, "acquire", "monotonic")
        return builder.extract_value(pair, 1)

    return types.boolean(types.int64), codegen


@intrinsic
def give_back(typingctx, address):
    """Release the lock in the word at ``address``."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(64)
        pointer = builder.inttoptr(args[0], word.as_pointer())
        builder.store_atomic(ir.Constant(word, 0), pointer, "release", 8)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def fetch_add(typingctx, address, n):
    """Add ``n`` to the word at ``address``; what it was before.  Nothing moves across it."""

    def codegen(context, builder, signature, args):
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        return builder.atomic_rmw("add", pointer, args[1], "acq_rel")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def relax(typingctx):
    """Tell the processor that this is a loop that waits."""
    intel = platform.machine() in ("x86_64", "AMD64")

    def codegen(context, builder, signature, args):
        if intel:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(builder.module.declare_intrinsic("llvm.x86.sse2.pause", (), kind), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def spill(typingctx, value):
    """The address of a copy of a number, or of a tuple of words, on the stack of the calling function."""

    def codegen(context, builder, signature, args):
        kind = signature.args[0]
        word = ir.IntType(64)
        if isinstance(kind, types.BaseTuple):
            words = cgutils.unpack_tuple(builder, args[0])
            place = cgutils.alloca_once(builder, word, size=max(len(words), 1))
            for k, w in enumerate(words):
                builder.store(w, builder.gep(place, [ir.Constant(ir.IntType(32), k)]))
        else:
            place = cgutils.alloca_once_value(builder, args[0])
        return builder.ptrtoint(place, word)

    return types.int64(value), codegen


@intrinsic
def word(typingctx, pointer):
    """A pointer as an integer."""

    def codegen(context, builder, signature, args):
        return builder.ptrtoint(args[0], ir.IntType(64))

    return types.int64(pointer), codegen


@intrinsic
def like(typingctx, value, x):
    """``value`` in the dtype of ``x``."""
    target = types.unliteral(x)

    def codegen(context, builder, signature, args):
        return context.cast(builder, args[0], signature.args[0], signature.return_type)

    return target(value, x), codegen


@intrinsic
def real(typingctx, z):
    """The real part of a number."""
    plain = not isinstance(z, types.Complex)

    def codegen(context, builder, signature, args):
        return args[0] if plain else context.make_complex(builder, z, args[0]).real

    return (z if plain else z.underlying_float)(z), codegen


@intrinsic
def imag(typingctx, z):
    """The imaginary part of a number, 0 for a real one."""
    plain = not isinstance(z, types.Complex)

    def codegen(context, builder, signature, args):
        if plain:
            return context.get_constant(z, 0)
        return context.make_complex(builder, z, args[0]).imag

    return (z if plain else z.underlying_float)(z), codegen


@intrinsic
def conjugate(typingctx, z):
    """The conjugate of a number; a real one as it is."""
    plain = not isinstance(z, types.Complex)

    def codegen(context, builder, signature, args):
        if plain:
            return args[0]
        made = context.make_complex(builder, z, args[0])
        made.imag = builder.fneg(made.imag)
        return made._getvalue()

    return z(z), codegen


@intrinsic
def join(typingctx, x, y):
    """The complex number of two parts of one precision."""
    narrow = x == y == types.float32
    part, whole = (types.float32, types.complex64) if narrow else (types.float64, types.complex128)

    def codegen(context, builder, signature, args):
        made = context.make_complex(builder, whole)
        made.real, made.imag = args
        return made._getvalue()

    return whole(part, part), codegen


@intrinsic
def muladd(typingctx, x, y, z):
    """``x * y + z``, fused where the machine does that at no cost; in float32 if all three are."""
    narrow = x == y == z == types.float32
    kind, element = (types.float32, ir.FloatType()) if narrow else (types.float64, ir.DoubleType())

    def codegen(context, builder, signature, args):
        signature = ir.FunctionType(element, [element] * 3)
        function = builder.module.declare_intrinsic("llvm.fmuladd", [element], signature)
        return builder.call(function, args)

    return kind(kind, kind, kind), codegen


@intrinsic
def product_error(typingctx, x, y, p):
    """``x * y - p``, rounded once."""
    element, kind = ir.DoubleType(), types.float64

    def codegen(context, builder, signature, args):
        signature = ir.FunctionType(element, [element] * 3)
        function = builder.module.declare_intrinsic("llvm.fma", [element], signature)
        return builder.call(function, [args[0], args[1], builder.fneg(args[2])])

    return kind(kind, kind, kind), codegen


def _reinterpret(source: types.Type, target: types.Type, element: ir.Type) -> Any:
    """An intrinsic: the bits of a ``source`` read as a ``target``."""

    @intrinsic
    def reinterpret(typingctx, x):
        def codegen(context, builder, signature, args):
            return builder.bitcast(args[0], element)

        return target(source), codegen

    return reinterpret


f64_to_bits = _reinterpret(types.float64, types.int64, ir.IntType(64))
bits_to_f64 = _reinterpret(types.int64, types.float64, ir.DoubleType())
f32_to_bits = _reinterpret(types.float32, types.int32, ir.IntType(32))
bits_to_f32 = _reinterpret(types.int32, types.float32, ir.FloatType())
