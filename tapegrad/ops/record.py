"""Recording: check an operation, append one instruction, return a Tensor.

``elementwise_functions`` builds the public functions of a row: the common case first, everything else
through ``record_elementwise``.  Structured and movement primitives come through ``record``.  All end in
``append_row``.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from sys import _getframe
from typing import Any

import numpy as np

from tapegrad.kernels.record import EXACT_INT
from tapegrad.ops.table import ROWS, Row
from tapegrad.spec import (
    BOOL,
    FLOAT64,
    Spec,
    broadcast_shapes,
    complex_dtype,
    intern_spec,
    real_dtype,
    result_dtype,
)
from tapegrad.tape import GRAD, Tape, current, no_collection
from tapegrad.tensor import NONLEAF, Tensor, new_result, tensor_from_array

__all__ = [
    "Signature", "as_inexact", "as_operand", "composite", "conjugated", "record", "record_elementwise",
    "record_layout",
]  # fmt: skip


class Signature:
    """What a structured instruction does, apart from its operands' values.

    Interned per (row, operand specs, static arguments), so that shape rules run, and reverse rules
    are traced, once.
    """

    __slots__ = ("bound", "in_specs", "out", "params", "row", "static", "templates")

    def __init__(
        self, row: Row, in_specs: tuple[Spec, ...], static: dict[str, Any], out: Spec, params: tuple
    ) -> None:
        self.row, self.in_specs, self.static = row, in_specs, static
        self.out, self.params = out, params
        self.bound: tuple[object, int] = (None, -1)
        self.templates: dict[int, Any] = {}


_signatures: dict[tuple, Signature] = {}
SIGNATURE_LIMIT = 8192
JOINED_LIMIT = 256


def _remember(key: tuple, signature: Signature) -> Signature:
    if len(_signatures) >= SIGNATURE_LIMIT:
        _signatures.clear()  # programs with ever-changing shapes: bounded, and refilled as needed
    _signatures[key] = signature
    return signature


def record(
    row: Row, operands: Sequence[Tensor], static: dict[str, Any] | None = None, raw: int = 0
) -> Tensor:
    """Append a structured instruction.

    Parameters
    ----------
    row : Row
        A row of kind ``STRUCTURED``.
    operands : sequence of Tensor
        As many as the row's arity.
    static : dict, optional
        Keyword arguments of the row's shape rule and derivative rules; values must be hashable.
    raw : int
        An integer handed to the kernel that may vary from call to call (an offset).
    """
    static = static or {}
    in_specs = tuple([t._spec for t in operands])
    key = (row.op, in_specs, tuple(static.items()))
    signature = _signatures.get(key)
    if signature is None:
        if not row.complex and any(spec.kind == "c" for spec in in_specs):
            raise _no_complex(row)
        out = row.shape(*in_specs, **static)  # type: ignore[misc]
        spec = intern_spec(tuple(out.shape), np.dtype(out.dtype))
        signature = _remember(key, Signature(row, in_specs, static, spec, tuple(map(int, out.params))))
    return _append(signature, operands, raw)


def record_layout(
    row: Row, x: Tensor, shape: tuple[int, ...], strides: tuple[int, ...], offset: int
) -> Tensor:
    """Append a movement instruction: ``out[i] = x.ravel()[offset + sum(i * strides)]``."""
    key = (row.op, x._spec, shape, strides)
    signature = _signatures.get(key)
    if signature is None:
        out = intern_spec(shape, x._spec.dtype)
        signature = Signature(
            row,
            (x._spec,),
            {"shape": shape, "strides": strides},
            out,
            (len(shape), *shape, *strides, x._spec.size),
        )
        _remember(key, signature)
    return _append(signature, (x,), offset)


def _append(signature: Signature, operands: Sequence[Tensor], raw: int) -> Tensor:
    tape = current.tape
    row = signature.row
    slots = [0, 0, raw]
    needs_grad = 0
    for k, t in enumerate(operands):
        slots[k] = t._slot if t._tape is tape else tape.bind(t)
        needs_grad |= t._rg
    bound = signature.bound
    index = bound[1] if bound[0] is tape.epoch else tape.bind_signature(signature)
    op = row.op
    rg = 0
    if needs_grad and tape.grad_enabled and row.rules and signature.out.differentiable:
        op |= GRAD
        rg = NONLEAF
    out = signature.out
    x, y, z = slots
    t = append_row(tape, op, out, x, y, z, index, rg, *(user_location(1) or NOWHERE))
    if out.big:
        tape.note_bytes(out.nbytes)
    return t


NOWHERE = (None, 0)


def append_row(
    tape: Tape,
    op: int,
    spec: Spec,
    x: int,
    y: int,
    z: int,
    signature: int,
    rg: int,
    code: Any,
    offset: int,
    /,
) -> Tensor:
    """Append an instruction of any kind; return the Tensor of its result.  ``ops.fast`` replaces it."""
    with no_collection():
        tape.append(op, spec.id, x, y, (code, offset), z, signature)
        t = new_result(tape, spec, rg)
    return t


def user_location(depth: int) -> tuple[Any, int] | None:
    """The innermost frame outside tapegrad, as (code, instruction offset)."""
    frame: Any = _getframe(depth + 1)
    while frame is not None and frame.f_globals.get("__name__", "").startswith("tapegrad."):
        frame = frame.f_back
    return (frame.f_code, frame.f_lasti) if frame is not None else None


def composite(function: Callable) -> Callable:
    """Mark a public function that is written in other operations.

    Its instructions are attributed to the user's line rather than to tapegrad's.
    """

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        tape = current.tape
        start, generation = len(tape.places), tape.generation
        out = function(*args, **kwargs)
        if len(tape.places) > start and tape.generation == generation:
            tape.relocate(start, user_location(1))
        return out

    return call


# --- operands -------------------------------------------------------------------------------------


def as_operand(value: Any, name: str = "operation") -> Tensor:
    """Return ``value`` as a Tensor: tensors as they are, arrays and numbers as constants."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (bool, int, float, complex, np.ndarray, np.generic, list, tuple)):
        if isinstance(value, (list, tuple)) and _holds_tensor(value):
            from tapegrad.ops.namespace import stack_nested

            return stack_nested(value)
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc" and current.tape.recording:
            recording: Any = current.tape
            return recording.capture(value)
        array = np.array(value)
        if array.dtype.kind not in "biufc":
            raise TypeError(f"{name}: cannot use a value of dtype {array.dtype} as an operand")
        return tensor_from_array(array)
    raise TypeError(f"{name}: cannot use {type(value).__name__!r} as an operand")


def as_inexact(value: Any, name: str = "operation") -> Tensor:
    """Return ``value`` as a Tensor of a floating or complex dtype; integers and booleans become float64."""
    x = as_operand(value, name)
    return x if x._spec.differentiable else cast(x, FLOAT64)


def as_floating(name: str, *values: Any) -> list[Tensor]:
    """Convert operands to tensors of their common floating dtype; a number's own gives way to the others'."""
    values = tuple([v if v.__class__ in NUMBERS else as_operand(v, name) for v in values])
    dtype = result_dtype(*[v._spec.dtype if isinstance(v, Tensor) else v for v in values])
    if dtype.kind == "c":
        raise TypeError(f"{name}: complex operands are not supported")
    dtype = dtype if dtype.kind == "f" else FLOAT64
    return [
        cast(v, dtype) if isinstance(v, Tensor) else tensor_from_array(np.array(v, dtype)) for v in values
    ]


def _holds_tensor(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_holds_tensor(v) for v in value)
    return isinstance(value, Tensor)


_BOOL_TWINS = {
    "add": "logical_or",
    "multiply": "logical_and",
    "maximum": "logical_or",
    "minimum": "logical_and",
    "bitwise_invert": "logical_not",
}
_BOOL_AS_INT8 = ("floor_divide", "remainder", "power", "bitwise_left_shift", "bitwise_right_shift")
_BOOL_REFUSED = {
    "subtract": "logical_xor",
    "negative": "logical_not",
    **dict.fromkeys(("positive", "sign", "gcd", "lcm"), "a cast"),
}


def never_boolean(row: Row) -> bool:
    """Whether the row is never recorded for boolean operands (another takes its place, or it is an error)."""
    if row.user is not None:
        return row.dtype_rule == "same"
    return row.name in _BOOL_TWINS or row.name in _BOOL_AS_INT8 or row.name in _BOOL_REFUSED


def _compute_dtype(row: Row, operands: Sequence[Any]) -> tuple[np.dtype, np.dtype]:
    """Return the dtype the kernel computes in and the dtype of its result."""
    values = [o._spec.dtype if isinstance(o, Tensor) else o for o in operands]
    rule = row.dtype_rule
    if rule == "where":
        dtype = result_dtype(*values[1:])
        return dtype, dtype
    if rule == "logical":
        return BOOL, BOOL
    if rule.startswith("cast:"):
        return values[0], np.dtype(rule[5:])
    dtype = result_dtype(*values)
    if rule == "float":
        dtype = dtype if dtype.kind in "fc" else FLOAT64
        return dtype, dtype
    if rule == "real":
        return dtype, real_dtype(dtype)
    if rule == "complex":
        dtype = dtype if dtype.kind in "fc" else FLOAT64
        return dtype, complex_dtype(dtype)
    if rule == "bits":
        if dtype.kind in "fc":
            raise TypeError(f"{row.name}: only integer and boolean operands, not {dtype}")
        return dtype, dtype
    if rule == "bool":
        return dtype, BOOL
    if rule == "test":  # isnan and its like: any dtype in, truth out
        return dtype, BOOL
    return dtype, dtype


NUMBERS = (bool, int, float, complex)


def record_elementwise(row: Row, operands: Sequence[Any], depth: int = 1) -> Tensor:
    """Append an elementwise instruction: promotes, casts, broadcasts, binds constants."""
    operands = [o if o.__class__ in NUMBERS else as_operand(o, row.name) for o in operands]
    first_typed = 1 if row.dtype_rule == "where" else 0
    if not any(isinstance(o, Tensor) for o in operands[first_typed:]):
        # a kernel's dtype comes from a slot, so constants alone cannot be operands
        dtype = result_dtype(*operands[first_typed:])
        operands[-1] = tensor_from_array(np.array(operands[-1], dtype))
    compute, out_dtype = _compute_dtype(row, operands)
    if compute.kind == "c" and row.complex is not True:
        if callable(row.complex):
            return row.complex(*[cast(as_operand(o, row.name), compute) for o in operands])
        raise _no_complex(row)
    if compute is BOOL and row.dtype_rule in ("same", "bits"):
        if row.name in _BOOL_TWINS:
            row = ROWS[_BOOL_TWINS[row.name]]
        elif row.name in _BOOL_REFUSED:
            raise TypeError(f"{row.name}: not defined for booleans; use {_BOOL_REFUSED[row.name]} instead")
        elif row.name in _BOOL_AS_INT8:
            compute = out_dtype = np.dtype("int8")
    if row.name == "power" and compute.kind in "iu":
        _refuse_negative_integer_power(operands[1])
    shape = broadcast_shapes(row.name, *[o._spec.shape for o in operands if isinstance(o, Tensor)])
    tape = current.tape
    needs_grad = 0
    for k, o in enumerate(operands):
        wanted = BOOL if k < first_typed else compute
        if isinstance(o, Tensor):
            operands[k] = cast(o, wanted)
            needs_grad |= o._rg
        else:
            constant = _constant(row, o, wanted) if k >= first_typed else None
            if constant is None:
                operands[k] = tensor_from_array(_scalar_array(row, o, wanted))
            else:
                operands[k] = constant
    # Only now: recording a cast may have run the tape and renumbered it.
    slots = [0, 0, 0]
    for k, o in enumerate(operands):
        if isinstance(o, Tensor):
            slots[k] = o._slot if o._tape is tape else tape.bind(o)
        else:
            slots[k] = tape.constant(o)
    out = intern_spec(shape, out_dtype)
    if row.arity == 2 and out.floating and all(isinstance(o, Tensor) for o in operands):
        first, second = operands[0]._spec, operands[1]._spec
        if first.dtype is second.dtype is out.dtype:
            if len(first.joined) >= JOINED_LIMIT:
                first.joined.clear()
            first.joined[second] = out
    op, rg = row.op, 0
    if needs_grad and tape.grad_enabled and row.rules and out.differentiable:
        op |= GRAD
        rg = NONLEAF
    x, y, z = slots
    t = append_row(tape, op, out, x, y, z, 0, rg, *(user_location(depth) or NOWHERE))
    if out.big:
        tape.note_bytes(out.nbytes >> 4)
    return t


def _no_complex(row: Row) -> TypeError:
    return TypeError(f"{row.name}: not defined for complex operands; take abs(), real or imag first")


def _scalar_array(row: Row, value: Any, dtype: np.dtype) -> np.ndarray:
    try:
        exact = isinstance(value, int)
        return np.array(value, dtype) if exact else np.array(value).astype(dtype)
    except OverflowError:
        raise OverflowError(f"{row.name}: Python integer {value} does not fit {dtype}") from None


def _constant(row: Row, value: Any, dtype: np.dtype) -> float | None:
    """The float64 that stands for a Python scalar in the constant pool, if one does exactly."""
    if isinstance(value, complex):
        return None
    if isinstance(value, int):
        if not -EXACT_INT <= value <= EXACT_INT:
            return None
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            if not info.min <= value <= info.max:
                raise OverflowError(f"{row.name}: Python integer {value} does not fit {dtype}")
    return float(bool(value)) if dtype.kind == "b" else float(value)


def _refuse_negative_integer_power(exponent: Any) -> None:
    if isinstance(exponent, Tensor):
        if exponent._spec.kind == "i" and exponent.numpy().min(initial=0) < 0:
            raise ValueError("power: integers to negative integer powers are not allowed; cast to float")
    elif exponent < 0:
        raise ValueError("power: integers to negative integer powers are not allowed; cast to float")


def cast(x: Tensor, dtype: np.dtype) -> Tensor:
    """Record a conversion of ``x`` to ``dtype`` (differentiable between floating and complex dtypes)."""
    if x._spec.dtype is dtype:
        return x
    return record_elementwise(ROWS[f"astype_{dtype.name}"], (x,))


def conjugated(x: Tensor) -> Tensor:
    """Record the conjugate of a complex tensor; a real one is returned as it is.

    Cotangents inside the engine are the conjugates of the gradients that users see, see
    ``docs/decisions/0019-complex.md``.
    """
    return record_elementwise(ROWS["conj"], (x,)) if x._spec.kind == "c" else x


# --- the fast paths -------------------------------------------------------------------------------


def elementwise_functions(
    row: Row, slow: Callable = record_elementwise, depth: int = 1
) -> dict[str, Callable]:
    """Build the public function of an elementwise row, and its reflected operator if binary.

    One closure per row.  ``slow(row, operands)`` records what these cannot take (other dtypes, arrays,
    lists, new shapes); ``depth`` is how many frames up the user's is.  `ops.fast` puts machine code in
    front of them, which hands on what it cannot take.
    """
    op, opg = row.op, row.op | GRAD
    if row.dtype_rule not in ("same", "float") or not row.rules or row.arity == 3:
        return _general_functions(row, slow)
    if row.arity == 1:

        def unary(x: Any, /) -> Tensor:
            if x.__class__ is not Tensor or not x._spec.floating:
                return slow(row, (x,), 1)
            tape = current.tape
            spec = x._spec
            slot = x._slot if x._tape is tape else tape.bind(x)
            frame = _getframe(depth)
            grad = x._rg and tape.grad_enabled
            code, rg = (opg, NONLEAF) if grad else (op, 0)
            t = append_row(tape, code, spec, slot, 0, 0, 0, rg, frame.f_code, frame.f_lasti)
            if spec.big:
                tape.note_bytes(spec.nbytes >> 4)
            return t

        return {"function": unary}

    def binary(x: Any, y: Any, /) -> Tensor:
        if x.__class__ is not Tensor or not x._spec.floating:
            return slow(row, (x, y), 1)
        tape = current.tape
        spec = x._spec
        rg = x._rg
        if y.__class__ is Tensor:
            if y._spec is not spec:
                joined = spec.joined.get(y._spec)  # broadcasting of equal dtypes
                if joined is None:
                    return slow(row, (x, y), 1)
                spec = joined
            x_slot = x._slot if x._tape is tape else tape.bind(x)
            y_slot = y._slot if y._tape is tape else tape.bind(y)
            rg |= y._rg
        elif y.__class__ is float or (y.__class__ is int and -EXACT_INT <= y <= EXACT_INT):
            x_slot = x._slot if x._tape is tape else tape.bind(x)
            y_slot = tape.constant(y)
        else:
            return slow(row, (x, y), 1)
        frame = _getframe(depth)
        code, rg = (opg, NONLEAF) if rg and tape.grad_enabled else (op, 0)
        t = append_row(tape, code, spec, x_slot, y_slot, 0, 0, rg, frame.f_code, frame.f_lasti)
        if spec.big:
            tape.note_bytes(spec.nbytes >> 4)
        return t

    def reflected(y: Any, x: Any, /) -> Tensor:
        """``x op y`` with ``y`` the tensor and ``x`` the left operand."""
        number = x.__class__ is float or (x.__class__ is int and -EXACT_INT <= x <= EXACT_INT)
        if not number or not y._spec.floating:
            return slow(row, (x, y), 1)
        tape = current.tape
        spec = y._spec
        slot = y._slot if y._tape is tape else tape.bind(y)
        frame = _getframe(depth)
        code, rg = (opg, NONLEAF) if y._rg and tape.grad_enabled else (op, 0)
        t = append_row(tape, code, spec, tape.constant(x), slot, 0, 0, rg, frame.f_code, frame.f_lasti)
        if spec.big:
            tape.note_bytes(spec.nbytes >> 4)
        return t

    return {"function": binary, "reflected": reflected}


def _general_functions(row: Row, slow: Callable) -> dict[str, Callable]:
    """The functions of a row without a fast path (comparisons, logic, three operands)."""
    if row.arity == 1:

        def unary(x: Any, /) -> Tensor:
            return slow(row, (x,), 1)

        return {"function": unary}
    if row.arity == 3:

        def ternary(x: Any, y: Any, z: Any, /) -> Tensor:
            return slow(row, (x, y, z), 1)

        return {"function": ternary}

    def binary(x: Any, y: Any, /) -> Tensor:
        return slow(row, (x, y), 1)

    def reflected(y: Any, x: Any, /) -> Tensor:
        return slow(row, (x, y), 1)

    return {"function": binary, "reflected": reflected}


OPERAND_TYPES = (bool, int, float, complex, np.ndarray, np.generic, list, tuple, Tensor)


def _record_operator(row: Row, operands: Sequence[Any], depth: int = 1) -> Any:
    """Like ``record_elementwise``, but leaves operands of foreign types to their own operators."""
    if not all(isinstance(o, OPERAND_TYPES) for o in operands):
        return NotImplemented
    return record_elementwise(row, operands, depth + 1)


def operator_methods(row: Row) -> dict[str, Callable]:
    """``__op__`` (and ``__rop__``) of a row."""
    return elementwise_functions(row, _record_operator)
