"""Vector registers inside jitted kernels: the innermost tile of a matrix product.

LLVM does not find this form by itself: a tile of the result stays in registers while rows of one operand,
as vectors, meet single elements of the other.  How many vectors fit depends on the CPU, and the cache of
machine code is per CPU.
"""

from __future__ import annotations

from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["INTRINSICS"]


def _machine() -> tuple[int, int]:
    """Bytes of a vector register, and how many rows of a tile two vectors wide fit beside each other."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 8  # 32 registers
    if features.get("avx2"):
        return 32, 6  # 16 registers
    return 16, 6


BYTES, MANY = _machine()
WIDE = BYTES == 64  # twice what most libraries' kernels for this machine use


def _lanes(element: Any) -> int:
    return BYTES * 8 // element.bitwidth


@intrinsic
def lanes(typingctx, pointer):
    """How many elements of ``pointer``'s kind a vector holds."""

    def codegen(context, builder, signature, args):
        return ir.Constant(ir.IntType(64), _lanes(pointer.dtype))

    return types.int64(pointer), codegen


@intrinsic
def many(typingctx):
    """The number of rows of a full tile."""

    def codegen(context, builder, signature, args):
        return ir.Constant(ir.IntType(64), MANY)

    return types.int64(), codegen


@intrinsic
def reach(typingctx):
    """Multiplications up to which tiles are faster than a library (`decision 0013`)."""

    def codegen(context, builder, signature, args):
        return ir.Constant(ir.IntType(64), 1 << 62 if WIDE else 1 << 18)

    return types.int64(), codegen


@intrinsic(prefer_literal=True)
def room(typingctx, n, pointer):
    """Memory for ``n`` elements (a literal) of ``pointer``'s kind on the stack of the calling kernel."""
    count = n.literal_value if isinstance(n, types.IntegerLiteral) else None
    if count is None:
        raise TypeError("room: the number of elements must be a literal")

    def codegen(context, builder, signature, args):
        element = context.get_value_type(pointer.dtype)
        return cgutils.alloca_once(builder, element, size=count)

    return pointer(n, pointer), codegen


def _tile(rows: int, vectors: int) -> Any:
    """The intrinsic for a tile of ``rows`` rows (``None``: a full tile) and ``vectors`` vectors."""
    rows = rows or MANY

    @intrinsic
    def tile(typingctx, a, at, row, step, b, bt, following, k, o, ot, ld, keep):
        element = o.dtype
        lane = _lanes(element)

        def codegen(context, builder, signature, args):
            a, at, row, step, b, bt, following, k, o, ot, ld, keep = args
            kind = context.get_value_type(element)
            vector, word = ir.VectorType(kind, lane), ir.IntType(64)
            size = element.bitwidth // 8
            name = f"llvm.fmuladd.v{lane}f{element.bitwidth}"
            fused = builder.module.globals.get(name)
            if fused is None:
                fused = ir.Function(builder.module, ir.FunctionType(vector, [vector] * 3), name)

            def place(pointer, *offsets):
                for offset in offsets:
                    pointer = builder.gep(pointer, [offset])
                return builder.bitcast(pointer, vector.as_pointer())

            def load(*where):
                value = builder.load(place(*where))
                value.align = size
                return value

            totals = [[cgutils.alloca_once(builder, vector) for _ in range(vectors)] for _ in range(rows)]
            outs = [
                [
                    (o, ot, builder.mul(ld, ir.Constant(word, r)), ir.Constant(word, v * lane))
                    for v in range(vectors)
                ]
                for r in range(rows)
            ]
            with builder.if_else(keep) as (then, otherwise):
                with then:
                    for r in range(rows):
                        for v in range(vectors):
                            builder.store(load(*outs[r][v]), totals[r][v])
                with otherwise:
                    for r in range(rows):
                        for v in range(vectors):
                            builder.store(ir.Constant(vector, [0.0] * lane), totals[r][v])
            undefined = ir.Constant(vector, ir.Undefined)
            first = ir.Constant(ir.VectorType(ir.IntType(32), lane), [0] * lane)
            with cgutils.for_range(builder, k) as loop:
                down, along = builder.mul(loop.index, following), builder.mul(loop.index, step)
                right = [load(b, bt, down, ir.Constant(word, v * lane)) for v in range(vectors)]
                for r in range(rows):
                    at_row = builder.add(builder.add(at, along), builder.mul(row, ir.Constant(word, r)))
                    left = builder.load(builder.gep(a, [at_row]))
                    left = builder.insert_element(undefined, left, ir.Constant(ir.IntType(32), 0))
                    left = builder.shuffle_vector(left, undefined, first)
                    for v in range(vectors):
                        total = builder.call(fused, [left, right[v], builder.load(totals[r][v])])
                        builder.store(total, totals[r][v])
            for r in range(rows):
                for v in range(vectors):
                    stored = builder.store(builder.load(totals[r][v]), place(*outs[r][v]))
                    stored.align = size
            return context.get_dummy_value()

        words = [types.int64] * 3
        arguments = (a, *words, b, types.int64, types.int64, types.int64, o, types.int64, types.int64)
        return types.void(*arguments, types.boolean), codegen

    return tile


# By the names that kernels know them by; the plain Python twins are in ``kernels.memory``.
INTRINSICS = {
    "lanes": lanes,
    "many": many,
    "reach": reach,
    "room": room,
    "tile_many_2": _tile(0, 2),
    "tile_many_1": _tile(0, 1),
    "tile_4_2": _tile(4, 2),
    "tile_4_1": _tile(4, 1),
    "tile_1_2": _tile(1, 2),
    "tile_1_1": _tile(1, 1),
}
