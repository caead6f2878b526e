"""Vector registers inside jitted kernels: small Fourier transforms of eight sequences at a time.

`kernels.fft` arranges its numbers so that eight neighbours undergo the same *butterfly*, a transform of two
to eight numbers (`kernels.butterflies`, called here with vectors), and a product with roots of unity.
Complex numbers lie in memory either in two planes, imaginary parts ``far`` elements behind real parts, or as
they are; then a ``far`` other than zero exchanges their parts, which makes a transform its inverse.

The plain Python twins are in ``kernels.memory``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tapegrad.kernels import butterflies as formulas

__all__ = ["INTRINSICS"]

WIDTH = 8  # numbers: one to four registers
WORD, HALF = ir.IntType(64), ir.IntType(32)
EVEN, ODD = [list(range(k, 2 * WIDTH, 2)) for k in (0, 1)]
ZIPPED = [k // 2 + WIDTH * (k % 2) for k in range(2 * WIDTH)]
FORMULAS: dict[int, Callable] = {
    2: formulas.two, 3: formulas.three, 4: formulas.four, 5: formulas.five, 8: formulas.eight,
}  # fmt: skip


class _Vector:
    """A vector in LLVM's IR, with which `kernels.butterflies` computes as if it were a number."""

    __array_ufunc__ = None  # NumPy's numbers leave products to this class
    __slots__ = ("builder", "value")

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    def __add__(self, other: Any) -> _Vector:
        if isinstance(other, _Product):
            return other.plus(self.value)
        return _Vector(self.builder, self.builder.fadd(self.value, other.value))

    def __sub__(self, other: Any) -> _Vector:
        if isinstance(other, _Product):
            return _Product(-other.x, other.y).plus(self.value)
        return _Vector(self.builder, self.builder.fsub(self.value, other.value))

    def __neg__(self) -> _Vector:
        return _Vector(self.builder, self.builder.fneg(self.value))

    def __mul__(self, other: Any) -> _Vector:
        if not isinstance(other, _Vector):
            kind = self.value.type
            other = _Vector(self.builder, ir.Constant(kind, [float(other)] * kind.count))
        return _Product(self, other)


class _Product(_Vector):
    """A product that waits for a sum to become one instruction with."""

    __slots__ = ("x", "y")

    def __init__(self, x: _Vector, y: _Vector) -> None:
        self.builder, self.x, self.y = x.builder, x, y

    @property
    def value(self) -> Any:  # type: ignore[override]
        return self.builder.fmul(self.x.value, self.y.value)

    def plus(self, addend: Any) -> _Vector:
        kind = addend.type
        name = f"llvm.fmuladd.v{kind.count}f{64 if kind.element == ir.DoubleType() else 32}"
        module = self.builder.module
        fused = module.globals.get(name)
        if fused is None:
            fused = ir.Function(module, ir.FunctionType(kind, [kind] * 3), name)
        return _Vector(self.builder, self.builder.call(fused, [self.x.value, self.y.value, addend]))


Pair = tuple[_Vector, _Vector]


class _Memory:
    """What a pointer leads to, as vectors of real and of imaginary parts."""

    def __init__(self, context: Any, builder: Any, kind: Any, pointer: Any, far: Any) -> None:
        self.builder, self.pointer, self.far = builder, pointer, far
        self.whole = isinstance(kind.dtype, types.Complex)
        number = kind.dtype.underlying_float if self.whole else kind.dtype
        self.element = context.get_value_type(number)
        self.size = number.bitwidth // 8
        if self.whole and far is not None:
            self.exchange = builder.icmp_signed("!=", far, ir.Constant(WORD, 0))

    def _place(self, at: Any, count: int) -> Any:
        b = self.builder
        pointer = b.gep(self.pointer, [at])
        return b.bitcast(pointer, ir.VectorType(self.element, count).as_pointer())

    def _load(self, at: Any, count: int = WIDTH) -> Any:
        value = self.builder.load(self._place(at, count))
        value.align = self.size
        return value

    def _store(self, value: Any, at: Any) -> None:
        self.builder.store(value, self._place(at, value.type.count)).align = self.size

    def _vector(self, value: Any) -> _Vector:
        return _Vector(self.builder, value)

    def load(self, at: Any) -> Pair:
        """Eight neighbours."""
        b = self.builder
        if not self.whole:
            return self._vector(self._load(at)), self._vector(self._load(b.add(at, self.far)))
        both = self._load(at, 2 * WIDTH)
        undefined = ir.Constant(both.type, ir.Undefined)
        re, im = [b.shuffle_vector(both, undefined, _mask(order)) for order in (EVEN, ODD)]
        if self.far is not None:
            re, im = b.select(self.exchange, im, re), b.select(self.exchange, re, im)
        return self._vector(re), self._vector(im)

    def store(self, pair: Pair, at: Any) -> None:
        b = self.builder
        re, im = pair[0].value, pair[1].value
        if not self.whole:
            self._store(re, at)
            self._store(im, b.add(at, self.far))
            return
        re, im = b.select(self.exchange, im, re), b.select(self.exchange, re, im)
        self._store(b.shuffle_vector(re, im, _mask(ZIPPED)), at)

    def repeated(self, at: Any) -> Pair:
        """One complex number, eight times."""
        b = self.builder
        real = b.bitcast(b.gep(self.pointer, [at]), self.element.as_pointer())
        kind = ir.VectorType(self.element, WIDTH)
        undefined = ir.Constant(kind, ir.Undefined)
        pair = []
        for k in range(2):
            number = b.load(b.gep(real, [ir.Constant(WORD, k)]))
            number = b.insert_element(undefined, number, ir.Constant(HALF, 0))
            pair.append(self._vector(b.shuffle_vector(number, undefined, _mask([0] * WIDTH))))
        return pair[0], pair[1]


def _mask(order: Sequence[int]) -> Any:
    return ir.Constant(ir.VectorType(HALF, len(order)), list(order))


def _turned(x: Pair, w: Pair) -> Pair:
    """The product of complex numbers."""
    return x[0] * w[0] - x[1] * w[1], x[0] * w[1] + x[1] * w[0]


def _transform(x: Sequence[Pair]) -> list[Pair]:
    parts = FORMULAS[len(x)](*[part for pair in x for part in pair])
    return list(zip(parts[::2], parts[1::2]))


def _transposed(builder: Any, rows: list[_Vector]) -> list[_Vector]:
    """Eight vectors of eight as the rows of a matrix: its columns."""
    values = [row.value for row in rows]
    for bit in (1, 2, 4):  # exchange one binary digit of the row's number with that of the column's
        low = [j if not j & bit else WIDTH + (j ^ bit) for j in range(WIDTH)]
        high = [j | bit if not j & bit else WIDTH + j for j in range(WIDTH)]
        for i in range(WIDTH):
            if not i & bit:
                x, y = values[i], values[i | bit]
                values[i] = builder.shuffle_vector(x, y, _mask(low))
                values[i | bit] = builder.shuffle_vector(x, y, _mask(high))
    return [_Vector(builder, value) for value in values]


def _for_each_vector(builder: Any, n: Any) -> Any:
    """A loop over the first elements of vectors that cover ``n >= 8`` elements; the last two may overlap."""
    width = ir.Constant(WORD, WIDTH)
    last = builder.sub(n, width)
    count = builder.sdiv(builder.add(n, ir.Constant(WORD, WIDTH - 1)), width)
    return cgutils.for_range(builder, count), last


def _butterfly(radix: int, before: bool = False) -> Any:
    """The intrinsic for ``radix`` numbers; products with roots come ``before``, or after."""

    @intrinsic
    def butterfly(typingctx, a, at, far, step, b, to, away, by, w, wt, apart, n):
        def codegen(context, builder, signature, args):
            a, at, far, step, b, to, away, by, w, wt, apart, n = args
            kinds = signature.args
            source = _Memory(context, builder, kinds[0], a, far)
            target = _Memory(context, builder, kinds[4], b, away)
            roots = _Memory(context, builder, kinds[8], w, None)
            turns = [
                roots.repeated(builder.add(wt, builder.mul(apart, ir.Constant(WORD, k))))
                for k in range(radix - 1)
            ]
            rows = [builder.mul(step, ir.Constant(WORD, k)) for k in range(radix)]
            outs = [builder.mul(by, ir.Constant(WORD, k)) for k in range(radix)]
            vectors, last = _for_each_vector(builder, n)
            with vectors as loop:
                first = builder.mul(loop.index, ir.Constant(WORD, WIDTH))
                first = builder.select(builder.icmp_signed("<", first, last), first, last)
                here, there = builder.add(at, first), builder.add(to, first)
                x = [source.load(builder.add(here, row)) for row in rows]
                if before:
                    x[1:] = [_turned(pair, turn) for pair, turn in zip(x[1:], turns)]
                y = _transform(x)
                if not before:
                    y[1:] = [_turned(pair, turn) for pair, turn in zip(y[1:], turns)]
                for pair, row in zip(y, outs):
                    target.store(pair, builder.add(there, row))
            return context.get_dummy_value()

        words = [types.int64] * 3
        return types.void(a, *words, b, *words, w, *words), codegen

    return butterfly


@intrinsic
def butterfly_odd(typingctx, a, at, far, step, b, to, away, by, w, wt, apart, n, r, roots):
    """The same for any odd radix ``r``; from ``w[roots]`` on are the roots of unity of order ``r``.

    Numbers ``j`` and ``r - j`` have conjugate factors, and so have results.
    """

    def codegen(context, builder, signature, args):
        a, at, far, step, b, to, away, by, w, wt, apart, n, r, roots = args
        kinds = signature.args
        source = _Memory(context, builder, kinds[0], a, far)
        target = _Memory(context, builder, kinds[4], b, away)
        numbers = _Memory(context, builder, kinds[8], w, None)
        kind = ir.VectorType(source.element, WIDTH)
        one, word = ir.Constant(WORD, 1), WORD
        half = builder.ashr(builder.sub(r, one), one)
        # the sum of all; real and imaginary parts of sums and of differences, times cosines and sines
        total, sums, differences = [[cgutils.alloca_once(builder, kind) for _ in range(2)] for _ in range(3)]
        place = cgutils.alloca_once(builder, word)

        def set_to(where: Any, values: Any) -> None:
            for pointer, value in zip(where, values):
                builder.store(value, pointer)

        def parts(where: Any) -> Pair:
            re, im = [_Vector(builder, builder.load(pointer)) for pointer in where]
            return re, im

        def add(where: Any, values: Pair) -> None:
            set_to(where, [(old + value).value for old, value in zip(parts(where), values)])

        def write(where: Any, k: Any, values: Any) -> None:
            turn = numbers.repeated(builder.add(wt, builder.mul(apart, builder.sub(k, one))))
            target.store(_turned(values, turn), builder.add(where, builder.mul(by, k)))

        vectors, last = _for_each_vector(builder, n)
        with vectors as loop:
            first = builder.mul(loop.index, ir.Constant(word, WIDTH))
            first = builder.select(builder.icmp_signed("<", first, last), first, last)
            here, there = builder.add(at, first), builder.add(to, first)

            def both(j: Any) -> tuple[Pair, Pair]:
                x = source.load(builder.add(here, builder.mul(step, j)))
                y = source.load(builder.add(here, builder.mul(step, builder.sub(r, j))))
                return (x[0] + y[0], x[1] + y[1]), (x[0] - y[0], x[1] - y[1])

            zeroth = [part.value for part in source.load(here)]
            set_to(total, zeroth)
            with cgutils.for_range(builder, half) as each:
                add(total, both(builder.add(each.index, one))[0])
            target.store(parts(total), there)
            with cgutils.for_range(builder, half) as result:
                k = builder.add(result.index, one)
                set_to(sums, zeroth)
                set_to(differences, [ir.Constant(kind, [0.0] * WIDTH)] * 2)
                builder.store(ir.Constant(word, 0), place)
                with cgutils.for_range(builder, half) as each:
                    reached = builder.add(builder.load(place), k)
                    beyond = builder.icmp_signed(">=", reached, r)
                    reached = builder.select(beyond, builder.sub(reached, r), reached)
                    builder.store(reached, place)
                    cosine, sine = numbers.repeated(builder.add(roots, reached))
                    plus, minus = both(builder.add(each.index, one))
                    add(sums, (plus[0] * cosine, plus[1] * cosine))
                    add(differences, (minus[0] * sine, minus[1] * sine))
                (pr, pi), (qr, qi) = parts(sums), parts(differences)
                write(there, k, (pr - qi, pi + qr))
                write(there, builder.sub(r, k), (pr + qi, pi - qr))
        return context.get_dummy_value()

    words = [types.int64] * 3
    return types.void(a, *words, b, *words, w, *words, types.int64, types.int64), codegen


@intrinsic
def merge_lanes(typingctx, a, at, far, b, to, away, w, wt, m):
    """Of eight neighbours each, turned and transformed: ``m`` groups of them become eight rows of ``m``."""

    def codegen(context, builder, signature, args):
        a, at, far, b, to, away, w, wt, m = args
        kinds = signature.args
        source = _Memory(context, builder, kinds[0], a, far)
        target = _Memory(context, builder, kinds[3], b, away)
        roots = _Memory(context, builder, kinds[6], w, None)
        vectors, last = _for_each_vector(builder, m)
        with vectors as loop:
            first = builder.mul(loop.index, ir.Constant(WORD, WIDTH))
            first = builder.select(builder.icmp_signed("<", first, last), first, last)
            here = builder.add(at, builder.mul(first, ir.Constant(WORD, WIDTH)))
            rows = [source.load(builder.add(here, ir.Constant(WORD, WIDTH * i))) for i in range(WIDTH)]
            parts = [_transposed(builder, [row[k] for row in rows]) for k in range(2)]
            x = list(zip(*parts))
            for k in range(1, WIDTH):
                place = builder.add(builder.add(wt, first), builder.mul(m, ir.Constant(WORD, k - 1)))
                x[k] = _turned(x[k], roots.load(place))
            there = builder.add(to, first)
            for k, pair in enumerate(_transform(x)):
                target.store(pair, builder.add(there, builder.mul(m, ir.Constant(WORD, k))))
        return context.get_dummy_value()

    integer = types.int64
    return types.void(a, integer, integer, b, integer, integer, w, integer, integer), codegen


# By the names that kernels know them by.
INTRINSICS = {f"butterfly_{radix}": _butterfly(radix) for radix in (2, 3, 4, 5)}
INTRINSICS |= {"butterfly_odd": butterfly_odd, "merge_8": _butterfly(8, before=True)}
INTRINSICS |= {"merge_lanes": merge_lanes}
