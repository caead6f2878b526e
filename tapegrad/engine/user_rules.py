"""A user's derivative as something that records, and as a function of scalars.

`recordable` makes a function written for numbers run on tensors: what it takes from `math` and the jitted
functions it calls are replaced by what records.  `scalar_expressions` traces a derivative of scalars once,
with placeholders, and writes down what it computes as source in the functions of ``kernels.scalar``, from
which the tile loop's kernel is compiled.  So the form that is recorded and the one that is compiled are the
same expression.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from tapegrad._compile import global_names, scalars
from tapegrad.engine import layout as L
from tapegrad.engine.templates import aside, placeholder
from tapegrad.engine.user_kernels import is_jitted
from tapegrad.ops.table import INPUT, Kind, ns, rows
from tapegrad.spec import FLOAT64, intern_spec
from tapegrad.tape import Tape
from tapegrad.tensor import Tensor

__all__ = ["Expression", "Looked", "Scratch", "digest", "recordable", "scalar_expressions"]

RENAMED = {"fabs": "abs", "pow": "power", "degrees": "rad2deg", "radians": "deg2rad"}
OWN = ("tapegrad", "numpy", "scipy", "numba")  # modules whose functions are called as they are


class Looked(RuntimeError):
    """A derivative looked at a value while it was being traced."""


class Scratch(Tape):
    """A tape of placeholders, which have no values."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.limit = 1 << 60
        self.pending_bytes = -(1 << 62)
        self.locked = 1

    def run(self) -> None:
        raise Looked("it looks at a value (a branch, or a conversion to a number)")


# --- making functions of numbers record -----------------------------------------------------------


class _Math:
    """Stands for the module `math`: on tensors its functions are tapegrad's."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(math, name)
        return _twin(name) if callable(value) else value


def _twin(name: str) -> Callable:
    function = getattr(math, name)

    def call(*args: Any) -> Any:
        if not any(isinstance(a, Tensor) for a in args):
            return function(*args)
        twin = getattr(ns, RENAMED.get(name, name), None)
        if name == "log" and len(args) == 2:
            return ns.log(args[0]) / ns.log(args[1])
        if twin is None:
            raise Looked(f"math.{name} has no counterpart among tapegrad's functions")
        return twin(*args)

    return call


MATH = _Math()


def recordable(function: Callable, known: dict[int, Any] | None = None) -> Callable:
    """``function`` with `math` and jitted functions replaced by what records on tensors."""
    known = {} if known is None else known
    plain = getattr(function, "py_func", function)
    if not isinstance(plain, FunctionType) or (plain.__module__ or "").split(".")[0] in OWN:
        return plain
    if id(plain) in known:
        return known[id(plain)]
    cells = tuple(CellType() for _ in plain.__closure__ or ())
    scope = dict(plain.__globals__)
    copy = FunctionType(plain.__code__, scope, plain.__name__, plain.__defaults__, cells or None)
    copy.__kwdefaults__ = plain.__kwdefaults__
    known[id(plain)] = copy
    for name in global_names(plain.__code__):
        if name in scope:
            scope[name] = _substitute(scope[name], known)
    for cell, old in zip(cells, plain.__closure__ or ()):
        cell.cell_contents = _substitute(old.cell_contents, known)
    return copy


def _substitute(value: Any, known: dict[int, Any]) -> Any:
    if value is math:
        return MATH
    if isinstance(value, BuiltinFunctionType) and value.__module__ == "math":
        return _twin(value.__name__)
    if is_jitted(value) or isinstance(value, FunctionType):
        return recordable(value, known)
    return value


# --- expressions of scalars -----------------------------------------------------------------------


class Expression(NamedTuple):
    """One operand's cotangent as a function of scalars."""

    source: str  # of a function named ``rule``
    scope: dict[str, Any]
    reads: int  # which of out, x, y, z it reads: bits as in ``layout.USES_OUT``


def scalar_expressions(function: Callable, arity: int) -> list[Expression | None]:
    """Trace ``function(g, out, x, ...)`` on placeholders; one expression per value it returns.

    Raises
    ------
    Looked
        If the function looks at a value.
    TypeError
        If it does something else than elementwise operations.
    """
    tape = Scratch()
    tape.grad_enabled = False
    with aside(tape):
        spec = intern_spec((), FLOAT64)
        names = ("g", "out", "x", "y", "z")[: 2 + arity]
        results = function(*[placeholder(tape, spec) for _ in names])
        if not isinstance(results, (tuple, list)):
            results = (results,)
        return [None if r is None else _expression(tape, r, names) for r in results]


def _expression(tape: Tape, result: Any, names: tuple[str, ...]) -> Expression:
    if not isinstance(result, Tensor):
        return Expression(f"def rule({', '.join(names)}):\n    return value\n", {"value": float(result)}, 0)
    if result._tape is not tape:
        tape.bind(result)
    if result._spec.ndim:
        raise TypeError(f"it returns an array of shape {result._spec.shape} for scalars")
    n = tape.seal()
    if result._slot < len(names):
        reads = (1 << result._slot) >> 1
        return Expression(f"def rule({', '.join(names)}):\n    return {names[result._slot]}\n", {}, reads)
    needed = {result._slot}
    for i in range(n - 1, len(names) - 1, -1):
        if i in needed:
            row = rows[int(tape.code[i, L.OP]) & L.OP_MASK]
            needed.update(int(tape.code[i, L.X + k]) for k in range(row.arity))
    scope: dict[str, Any] = {}
    lines = [f"def rule({', '.join(names)}):"]
    for i in range(len(names), n):
        if i in needed:
            lines.append(f"    v{i} = {_term(tape, i, names, scope)}")
    lines.append(f"    return v{result._slot}\n")
    reads = sum(1 << (k - 1) for k in range(1, len(names)) if k in needed)
    return Expression("\n".join(lines), scope, reads)


def _term(tape: Tape, i: int, names: tuple[str, ...], scope: dict[str, Any]) -> str:
    row = rows[int(tape.code[i, L.OP]) & L.OP_MASK]
    if row is INPUT:
        scope[f"c{i}"] = float(np.asarray(tape.keep[i]))
        return f"c{i}"
    if row.kind is not Kind.ELEMENTWISE:
        raise TypeError(f"it calls {row.name}, which is not elementwise")
    arguments = []
    for k in range(row.arity):
        o = int(tape.code[i, L.X + k])
        if o < 0:
            name = f"k{-o}"
            scope[name] = float(tape.consts[-o - 1])
        else:
            name = names[o] if o < len(names) else f"v{o}"
        arguments.append(name)
    if row.name == "astype_float64":
        return f"1.0 * {arguments[0]}"
    if row.name.startswith("astype_"):
        raise TypeError(f"it converts to {row.name[7:]}")
    if row.user is not None:
        scope[f"u{row.op}"] = row.user.forward
        return f"u{row.op}({', '.join(arguments)})"
    assert row.forward is not None
    function = row.forward.__name__
    scope[f"f_{function}"] = getattr(scalars(), function)
    return f"f_{function}({', '.join(arguments)})"


# --- telling functions apart ----------------------------------------------------------------------


def digest(*values: Any) -> str:
    """A hash of functions' code and of what they refer to, the same in another process.

    Objects that cannot be compared across processes make it unique.
    """
    hashed = hashlib.sha256()
    _feed(hashed.update, values, set())
    return hashed.hexdigest()[:32]


def _feed(update: Callable[[bytes], None], value: Any, seen: set[int]) -> None:
    if is_jitted(value):
        update(repr(sorted(map(str, value.targetoptions.items()))).encode())
        update(repr(sorted(map(str, value.signatures))).encode() if not value._can_compile else b"")
        value = value.py_func
    if isinstance(value, FunctionType):
        if id(value) in seen:
            return
        seen.add(id(value))
        _feed(update, (value.__code__, value.__defaults__, value.__kwdefaults__), seen)
        _feed(update, [c.cell_contents for c in value.__closure__ or ()], seen)
        for name in sorted(global_names(value.__code__)):
            _feed(update, (name, value.__globals__.get(name)), seen)
    elif isinstance(value, CodeType):
        update(value.co_code)
        _feed(update, (value.co_consts, value.co_names, value.co_varnames, value.co_freevars), seen)
    elif isinstance(value, (tuple, list)):
        update(f"{type(value).__name__}{len(value)}(".encode())
        for v in value:
            _feed(update, v, seen)
    elif isinstance(value, np.ndarray):
        update(f"{value.dtype}{value.shape}".encode() + value.tobytes())
    elif value is None or isinstance(value, (bool, int, float, complex, str, bytes, np.generic)):
        update(f"{type(value).__name__}:{value!r};".encode())
    elif isinstance(value, ModuleType):
        update(f"module:{value.__name__};".encode())
    elif isinstance(value, (type, BuiltinFunctionType, np.ufunc)):
        module = getattr(value, "__module__", "")
        update(f"{module}.{getattr(value, '__qualname__', value.__name__)};".encode())
    elif isinstance(value, dict):
        _feed(update, sorted(value.items(), key=repr), seen)
    else:
        update(f"{type(value)}{id(value)}".encode())
