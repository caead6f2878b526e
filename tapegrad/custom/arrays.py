"""Custom operations of arrays: ``custom_op(..., elementwise=False)``.

A kernel is compiled for fixed numbers of dimensions, so an operation has a structured row per combination
of these.  A jitted derivative ``rule(g, out, x, ...)`` is a structured row too; where it reads more than an
instruction has operands for, what it reads is packed into one vector.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.custom.elementwise import CustomOp, Part, _lock, _raising, read_bits
from tapegrad.engine import user_kernels as kernels
from tapegrad.engine.user_rules import recordable
from tapegrad.ops.record import as_operand, cast, record
from tapegrad.ops.table import ROWS, Kind, Out, Row, ns
from tapegrad.spec import DTYPES, FLOAT64, Spec, result_dtype
from tapegrad.tape import GRAD, current
from tapegrad.tensor import NONLEAF, Tensor, new_result

__all__ = ["ArrayOp"]

MEMO = 1024  # operand specs whose row is remembered


class ArrayOp(CustomOp):
    """A custom operation of arrays."""

    def __init__(
        self, name: str, forward: Callable, derivative: Any, shape: Callable | None, dtype: Any, code: str
    ) -> None:
        super().__init__(name, forward, derivative, code)
        if shape is not None and not callable(shape):
            raise TypeError(f"custom_op: shape must be a function of the operands' shapes, not {shape!r}")
        self.forward = kernels.jitted(forward, checked=True)
        self.shape_rule = shape
        self.dtype = None if dtype in (None, "float") else np.dtype(dtype)
        if self.dtype is not None and (self.dtype not in DTYPES or self.dtype.kind == "c"):
            raise TypeError(f"custom_op: dtype {self.dtype} is not supported")
        self.by_ndims: dict[tuple, Row] = {}
        self.known: dict[tuple[Spec, ...], Row] = {}
        self.compiled: dict[int, Any] = {}

    def __call__(self, *operands: Any) -> Tensor:
        """Record the operation."""
        self._check_count(operands)
        tensors = [as_operand(o, self.name) for o in operands]
        dtype = result_dtype(*[t._spec.dtype for t in tensors])
        if dtype.kind == "c":
            raise TypeError(f"{self.name}: custom operations take no complex operands; pass real and imag")
        dtype = dtype if dtype.kind == "f" else FLOAT64
        tensors = [cast(t, dtype) for t in tensors]
        specs = tuple([t._spec for t in tensors])
        row = self.known.get(specs)
        if row is None:
            ndims = tuple([s.ndim for s in specs])
            row = self.row_for(ndims, len(self.out_shape(specs)))
            row.user.returned(dtype, "the function")
            if len(self.known) >= MEMO:
                self.known.clear()
            self.known[specs] = row
        return record(row, tensors)

    def out_shape(self, specs: Sequence[Spec]) -> tuple[int, ...]:
        """The result's shape."""
        if self.shape_rule is None:
            return specs[0].shape
        shapes = [s.shape for s in specs]
        given = self.shape_rule(*shapes)
        try:
            shape = tuple([int(n) for n in ((given,) if isinstance(given, int) else given)])
        except (TypeError, ValueError):
            shape = (-1,)
        if any(n < 0 for n in shape):
            listed = " ".join(map(str, shapes))
            raise ValueError(f"{self.name}: shape= must return a shape, but returned {given!r} for {listed}")
        return shape

    def row_for(self, ndims: tuple[int, ...], out_ndim: int) -> Row:
        """The row for operands and a result of so many dimensions."""
        with _lock:
            row = self.by_ndims.get((ndims, out_ndim))
            if row is None:
                row = self.by_ndims[(ndims, out_ndim)] = self.register(self._row(ndims, out_ndim))
            return row

    def _row(self, ndims: tuple[int, ...], out_ndim: int) -> Row:
        name = f"{self.name}[{','.join(map(str, ndims))}->{out_ndim}]"

        def shape(*specs: Spec) -> Out:
            out = self.out_shape(specs)
            params = (*[0] * len(specs), *out, *[n for s in specs for n in s.shape])
            return Out(out, self.dtype or specs[0].dtype, params)

        rules: list[Callable | None] = [_raising(self.no_derivative)] * self.arity
        if self.parts is not None:
            rules = [None if p is None else self._rule(k, p, out_ndim) for k, p in enumerate(self.parts)]
        code = kernels.ArrayCode(name, self.forward, ndims, out_ndim, range(self.arity))
        return Row(
            name, Kind.STRUCTURED, self.arity, self.forward, tuple(rules), shape=shape, public=False,
            user=code, result=None if self.dtype is None else self.dtype.name,
            doc=f"A custom operation, {self.name}.",
        )  # fmt: skip

    def _rule(self, k: int, part: Part, out_ndim: int) -> Callable:
        def rule(g: Tensor, out: Tensor, *operands: Tensor) -> Any:
            if kernels.is_jitted(part.function):
                result = self._record_compiled(k, part, g, out, operands)
            else:
                try:
                    result = part.function(g, out, *operands)
                except RuntimeError as error:
                    raise RuntimeError(
                        f"{self.name}: the derivative for operand {k} could not be recorded ({error}); write "
                        "it as an expression in tapegrad's functions, or jit it with @numba.njit"
                    ) from error
                result = self._pick(part, result)
            return None if result is None else self._shaped(result, operands[k], k)

        return rule

    def _pick(self, part: Part, result: Any) -> Any:
        if part.pick < 0:
            return result[0] if isinstance(result, tuple) and len(result) == 1 else result
        if not isinstance(result, (tuple, list)) or len(result) != self.arity:
            raise TypeError(f"{self.name}: the derivative must return a tuple of {self.arity} cotangents")
        return result[part.pick]

    def _shaped(self, result: Any, x: Tensor, k: int) -> Tensor:
        result = as_operand(result, self.name)
        if result._spec.shape == x._spec.shape:
            return result
        try:
            return ns.broadcast_to(result, x._spec.shape)
        except ValueError:
            raise ValueError(
                f"{self.name}: the derivative for operand {k} has shape {result._spec.shape}, but the "
                f"operand has shape {x._spec.shape}"
            ) from None

    # --- jitted derivatives -----------------------------------------------------------------------

    def _record_compiled(
        self, k: int, part: Part, g: Tensor, out: Tensor, operands: tuple[Tensor, ...]
    ) -> Tensor:
        given = [cast(t, g._spec.dtype) for t in (g, out, *operands)]
        ndims = tuple([t._spec.ndim for t in operands])
        row = self.derivative_row(k, part, ndims, out._spec.ndim)
        row.user.returned(g._spec.dtype, "the derivative")
        read = [given[j] for j in _arguments(part.function, self.arity) if j > 0]
        if len(read) > 2:
            read = [ns.concat([ns.reshape(t, (-1,)) for t in read])]
        return record(row, (g, *read), {"shapes": tuple([t._spec.shape for t in given])})

    def derivative_row(self, k: int, part: Part, ndims: tuple[int, ...], out_ndim: int) -> Row:
        """The compiled derivative for operand ``k`` as a row."""
        key = (k, ndims, out_ndim)
        with _lock:
            row = self.derived.get(key)
            if row is None:
                row = self.derived[key] = self.register(self._derivative_row(k, part, ndims, out_ndim))
            return row

    def _derivative_row(self, k: int, part: Part, ndims: tuple[int, ...], out_ndim: int) -> Row:
        name = f"{self.name}'{k}[{','.join(map(str, ndims))}->{out_ndim}]"
        reads = _arguments(part.function, self.arity)
        others = [j for j in reads if j > 0]
        packed = len(others) > 2
        sources = [-1] * (2 + self.arity)
        sources[0] = 0
        for n, j in enumerate(others):
            sources[j] = 1 if packed else 1 + n

        def shape(*specs: Spec, shapes: tuple) -> Out:
            offsets, at = [0] * len(shapes), 0
            for j in others if packed else ():
                offsets[j] = at
                at += int(np.prod(shapes[j], dtype=np.int64))
            out = shapes[2 + k]
            return Out(out, specs[0].dtype, (*offsets, *out, *[n for s in shapes for n in s]))

        arity = 1 + (1 if packed else len(others))
        code = kernels.ArrayCode(
            name, part.function, (out_ndim, out_ndim, *ndims), ndims[k], sources, part.pick
        )
        rules = [self._second(k, part, others, packed, j) for j in range(arity)]
        return Row(
            name, Kind.STRUCTURED, arity, part.function, tuple(rules), shape=shape, public=False, user=code,
            doc=f"The compiled derivative of {self.name}.",
        )  # fmt: skip

    def _second(self, k: int, part: Part, others: list[int], packed: bool, j: int) -> Callable:
        """A rule of the compiled derivative: it is run on tensors and differentiated in turn."""
        function = recordable(part.function)

        def rule(g: Tensor, out: Tensor, *operands: Tensor, shapes: tuple) -> Any:
            from tapegrad.autograd import enable_grad, grad

            with enable_grad():
                fresh = [_again(o) for o in operands]
                values: list[Any] = [fresh[0], *[None] * (len(shapes) - 1)]
                at = 0
                for n, i in enumerate(others):
                    if packed:
                        size = int(np.prod(shapes[i], dtype=np.int64))
                        values[i] = ns.reshape(fresh[1][at : at + size], shapes[i])
                        at += size
                    else:
                        values[i] = fresh[1 + n]
                try:
                    result = self._shaped(self._pick(part, function(*values)), g, k)
                except Exception as error:
                    raise RuntimeError(self.no_further(f"it cannot be recorded ({_first(error)})")) from error
                if not result.requires_grad:
                    return None
                (c,) = grad([result], [fresh[j]], [g], create_graph=True, allow_unused=True)
            return c

        return rule

    def row_named(self, part: int | None, ndims: tuple[int, ...], out_ndim: int) -> Row:
        """The row for a name on a saved tape."""
        if part is None:
            return self.row_for(ndims, out_ndim)
        given = None if self.parts is None else self.parts[part]
        if given is None or not kernels.is_jitted(given.function):
            raise LookupError(f"{self.name} has no compiled derivative for operand {part}")
        return self.derivative_row(part, given, ndims, out_ndim)


def _first(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


def _again(x: Tensor) -> Tensor:
    """The same value at a slot of its own, to differentiate with respect to.

    An instruction with a rule even where nothing requires grad, as when rules are traced: what is traced
    must stay differentiable where it is used.
    """
    tape = current.tape
    slot = x._slot if x._tape is tape else tape.bind(x)
    tape.append(ROWS["positive"].op | GRAD, x._spec.id, slot)
    return new_result(tape, x._spec, NONLEAF)


def _arguments(function: Any, arity: int) -> list[int]:
    """Which of ``g, out, x, y, z`` a jitted derivative reads."""
    bits = read_bits(function)
    return [0, *[j for j in range(1, 2 + arity) if bits >> (j - 1) & 1]]
