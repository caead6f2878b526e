"""``custom_op``: a user's own functions as primitives.

An elementwise operation becomes a row of the table like any other, whose kernels are the user's jitted
functions inside the engine's tile loops (here).  An operation of arrays becomes a structured row per
combination of dimensions (`tapegrad.custom.arrays`).  A derivative is recorded where it can be, so that it
has derivatives itself; one that exists only as compiled code becomes a row of its own, without further
derivative.

Rows never go away: tapes refer to them by number.  A name stands for the operation that was defined last
under it, and only saved tapes look operations up by name (`find_row`, `CustomOp.digest`).
"""

from __future__ import annotations

import functools
import inspect
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tapegrad.engine import user_kernels as kernels
from tapegrad.engine.kernel_table import rule_uses
from tapegrad.engine.user_rules import Looked, digest, recordable, scalar_expressions
from tapegrad.ops.record import record_elementwise
from tapegrad.ops.table import REAL, ROWS, Kind, Row, _register, rows
from tapegrad.tape import OP_MASK
from tapegrad.tensor import Tensor

__all__ = ["CustomOp", "Part", "custom_op", "find_row"]

OPERANDS = ("x", "y", "z")
OPS: dict[str, CustomOp] = {}
_lock = threading.RLock()


class Part(NamedTuple):
    """What gives one operand's cotangent: a function, and which element of its result."""

    function: Any
    pick: int  # -1: all of it


class CustomOp:
    """An operation made by `custom_op`; call it as a function of tensors, arrays and numbers.

    Attributes
    ----------
    name : str
        Name of the operation's row, also on printed and saved tapes.
    forward : callable
        The jitted function.
    arity : int
        Number of operands.
    digest : str
        Hash of the code of the functions, with what they refer to.
    """

    def __init__(self, name: str, forward: Callable, derivative: Any, code: str) -> None:
        self.name, self.digest = name, code
        self.arity = _arity(name, forward)
        self.given = forward
        self.parts = _split(name, derivative, self.arity)
        self.derived: dict[Any, Row] = {}
        functools.update_wrapper(self, getattr(forward, "py_func", forward), updated=())
        self.__wrapped__ = forward

    def __call__(self, *operands: Any) -> Tensor:
        raise NotImplementedError

    def _check_count(self, operands: Sequence[Any]) -> None:
        if len(operands) != self.arity:
            raise TypeError(f"{self.name} takes {self.arity} operands, but {len(operands)} were given")

    def __repr__(self) -> str:
        return f"<custom_op {self.name} of {', '.join(OPERANDS[: self.arity])}>"

    def row_named(self, part: int | None, ndims: tuple[int, ...], out_ndim: int) -> Row:
        """The row for a name on a saved tape (see `find_row`)."""
        raise NotImplementedError

    # --- what both kinds say ----------------------------------------------------------------------

    @property
    def no_derivative(self) -> str:
        """The error for an operation without derivative."""
        return (
            f"{self.name}: no derivative was given, so gradients cannot flow through it; pass derivative= to "
            "custom_op, or call detach() on its operands"
        )

    def no_further(self, why: str) -> str:
        """The error for a derivative that cannot be differentiated again."""
        names = ", ".join(("g", "out", *OPERANDS[: self.arity]))
        return (
            f"{self.name}: its derivative cannot be differentiated again, because {why}; give derivative= as "
            f"an expression that can be recorded, such as lambda {names}: g * tg.cos(x)"
        )

    def register(self, row: Row) -> Row:
        """Put a row into the table, where a newer one of the same name replaces an older."""
        with _lock:
            if len(rows) > OP_MASK:
                raise RuntimeError("custom_op: there is no room for more operations in this process")
            ROWS.pop(row.name, None)
            return _register(row)


def _arity(name: str, forward: Callable) -> int:
    plain = getattr(forward, "py_func", forward)
    parameters = list(inspect.signature(plain).parameters.values())
    fixed = all(
        p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters
    )
    if not fixed or not 1 <= len(parameters) <= 3:
        shown = ", ".join(map(str, parameters))
        raise TypeError(
            f"custom_op: {name}({shown}) must take one to three operands by position, without defaults; bind "
            "other arguments in a closure"
        )
    return len(parameters)


def _split(name: str, derivative: Any, arity: int) -> list[Part | None] | None:
    """What gives each operand's cotangent; ``None`` if there is no derivative at all."""
    if derivative is None:
        return None
    if callable(derivative):
        joint = arity > 1
        given: list[Any] = [derivative] * arity
    else:
        given, joint = list(derivative), False
        if len(given) != arity:
            raise ValueError(
                f"custom_op: {name} has {arity} operands but {len(given)} derivatives; give one per operand "
                "(None where no gradient flows)"
            )
    expected = ", ".join(("g", "out", *OPERANDS[:arity]))
    for function in given:
        if function is None:
            continue
        if not callable(function):
            raise TypeError(
                f"custom_op: {name}: a derivative must be callable, not {type(function).__name__}"
            )
        try:
            inspect.signature(getattr(function, "py_func", function)).bind(*[None] * (2 + arity))
        except TypeError:
            raise TypeError(f"custom_op: {name}: a derivative takes ({expected})") from None
    return [None if f is None else Part(f, k if joint else -1) for k, f in enumerate(given)]


def read_bits(function: Callable) -> int:
    """Which of ``out, x, y, z`` a function ``f(g, out, x, ...)`` may read."""
    plain = getattr(function, "py_func", function)
    code = plain.__code__
    if code.co_cellvars or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        return 15
    return rule_uses(plain)


# --- elementwise operations -----------------------------------------------------------------------


class ScalarRule:
    """One operand's cotangent of an elementwise operation."""

    def __init__(self, op: CustomOp, k: int, part: Part) -> None:
        self.op, self.k = op, k
        self.function, self.pick = part
        self.record = recordable(self.function)
        self.row: Row | None = None
        self.why = ""  # it cannot be recorded because ...
        self.flows = True
        self.traced = False
        names = ("g", "out", *OPERANDS[: op.arity])
        if not kernels.is_jitted(self.function):
            try:
                expression = self._trace()
            except Looked as error:
                self.why = str(error)
            except Exception as error:
                raise TypeError(
                    f"{op.name}: the derivative for operand {k} is no expression: {error}"
                ) from error
            else:
                self.flows = expression is not None
                if expression is not None:
                    self.reads = expression.reads
                    self.compiled = kernels.compile_scalar(expression.source, expression.scope)
                return
        jitted = kernels.jitted(self.function)
        self.reads = read_bits(self.function) & ((2 << op.arity) - 1)
        operands = [kernels.types.float64] * len(names)
        try:
            found = kernels.result_type(op.name, jitted, operands, f"the derivative for operand {k}")
        except TypeError as error:
            raise TypeError(
                f"{error} (nor can it be recorded: {self.why})" if self.why else str(error)
            ) from None
        if self.pick < 0 and isinstance(found, kernels.types.BaseTuple) and op.arity == 1:
            self.pick = 0
        if self.pick >= 0:
            if not isinstance(found, kernels.types.BaseTuple) or len(found) != op.arity:
                raise TypeError(
                    f"{op.name}: the derivative must return a tuple of {op.arity} cotangents, not {found}"
                )
            found = found[self.pick]
        self.flows = found is not kernels.types.none
        if self.flows and not isinstance(found, kernels.NUMBERS):
            raise TypeError(
                f"{op.name}: the derivative for operand {k} must return a real number, not {found}"
            )
        # What is not read is not loaded either: there may be nothing in its place.
        shown = ["g", *(n if self.reads >> j & 1 else "g" for j, n in enumerate(names[1:]))]
        self.call = f"d({', '.join(shown)})" + (f"[{self.pick}]" if self.pick >= 0 else "")
        self.jitted = jitted
        source = f"def rule({', '.join(names)}):\n    return {self.call}\n"
        self.compiled = kernels.compile_scalar(source, {"d": jitted})

    def _trace(self) -> Any:
        found = scalar_expressions(self.record, self.op.arity)
        self.traced = True
        if self.pick >= 0 and len(found) != self.op.arity:
            raise TypeError(f"it returns {len(found)} cotangents for {self.op.arity} operands")
        if self.pick < 0 and len(found) != 1:
            raise TypeError(f"it returns {len(found)} cotangents for one operand")
        return found[max(self.pick, 0)]

    def __call__(self, g: Tensor, out: Tensor, *operands: Any) -> Any:
        """Record it."""
        with _lock:
            if not self.traced and not self.why:
                try:
                    self._trace()
                except Exception as error:
                    self.why = str(error)
        if not self.traced:
            given = [g, *(o for j, o in enumerate((out, *operands)) if self.reads >> j & 1)]
            return record_elementwise(self.compiled_row(), given)
        result = self.record(g, out, *operands)
        return result[max(self.pick, 0)] if isinstance(result, (tuple, list)) else result

    def compiled_row(self) -> Row:
        """The derivative as a row of its own, of what it reads; it cannot be differentiated again."""
        with _lock:
            if self.row is None:
                self.row = self._compiled_row()
            return self.row

    def _compiled_row(self) -> Row:
        op = self.op
        names = ["g", *(n for j, n in enumerate(("out", *OPERANDS)) if self.reads >> j & 1)]
        missing = op.no_further(self.why)
        if len(names) > 3:
            raise RuntimeError(missing)
        source = f"def rule({', '.join(names)}):\n    return {self.call}\n"
        forward = kernels.compile_scalar(source, {"d": self.jitted})
        return _scalar_row(op, f"{op.name}'{self.k}", forward, len(names), [None] * len(names), missing)


def _scalar_row(
    op: CustomOp, name: str, forward: Any, arity: int, given: Sequence[ScalarRule | None], missing: str
) -> Row:
    """Register an elementwise row; operands without a rule raise ``missing`` when one is wanted."""
    rules: list[Callable | None] = []
    for r in given:
        if r is None:
            rules.append(_raising(missing))
        elif not r.flows:
            rules.append(None)
        else:
            rules.append(_recording(r, r.reads))
    compiled = [None if r is None or not r.flows else r.compiled for r in given]
    return op.register(
        Row(
            name,
            Kind.ELEMENTWISE,
            arity,
            forward,
            tuple(rules),
            "float",
            (REAL,) * arity,
            _reference(forward),
            guarded=True,
            public=False,
            user=kernels.ScalarCode(forward, compiled, missing),
            doc=f"A custom operation, {name}.",
        )
    )


def _recording(call: Callable, reads: int) -> Callable:
    def rule(g: Tensor, out: Tensor, *operands: Any) -> Any:
        return call(g, out, *operands)

    rule.reads = reads  # type: ignore[attr-defined]
    return rule


def _raising(message: str) -> Callable:
    def rule(g: Tensor, out: Tensor, *operands: Any, **static: Any) -> Any:
        raise RuntimeError(message)

    rule.reads = 0  # type: ignore[attr-defined]
    return rule


def _reference(forward: Any) -> Callable:
    plain = getattr(forward, "py_func", forward)
    return lambda *operands: np.vectorize(plain, otypes=[np.float64])(*operands)


class ScalarOp(CustomOp):
    """An elementwise custom operation."""

    def __init__(self, name: str, forward: Callable, derivative: Any, dtype: Any, code: str) -> None:
        super().__init__(name, forward, derivative, code)
        if dtype not in (None, "float", "same"):
            raise ValueError(
                f"custom_op: dtype of an elementwise operation is 'float' or 'same', not {dtype!r}"
            )
        self.forward = kernels.jitted(forward)
        found = kernels.result_type(name, self.forward, [kernels.types.float64] * self.arity, "the function")
        if not isinstance(found, kernels.NUMBERS):
            raise TypeError(f"{name}: an elementwise function must return a real number, not {found}")
        self.rules: list[ScalarRule | None] = [None] * self.arity
        given: list[Any] = [None] * self.arity
        if self.parts is not None:
            given = [_Flowless() if p is None else ScalarRule(self, k, p) for k, p in enumerate(self.parts)]
            self.rules = given
        self.row = _scalar_row(self, name, self.forward, self.arity, given, self.no_derivative)
        if dtype == "same":
            self.row.dtype_rule = "same"
        if isinstance(found, kernels.types.Boolean):
            if derivative is not None:
                raise TypeError(f"{name}: a function that returns truths has no derivative")
            self.row.dtype_rule, self.row.rules = "bool", ()

    def __call__(self, *operands: Any) -> Tensor:
        """Record the operation; operands broadcast."""
        self._check_count(operands)
        return record_elementwise(self.row, operands)

    def row_named(self, part: int | None, ndims: tuple[int, ...], out_ndim: int) -> Row:
        """The row for a name on a saved tape (see `find_row`)."""
        if part is None:
            return self.row
        rule = self.rules[part]
        if not isinstance(rule, ScalarRule):
            raise LookupError(f"{self.name} has no derivative for operand {part}")
        return rule.compiled_row()


class _Flowless:
    """Stands for the rule of an operand that gets no gradient."""

    flows = False


# --- making them ----------------------------------------------------------------------------------


def custom_op(
    forward: Callable | None = None,
    derivative: Any = None,
    *,
    name: str | None = None,
    elementwise: bool = True,
    shape: Callable[..., Any] | None = None,
    dtype: Any = None,
    replace: bool = False,
) -> Any:
    """Make a primitive operation of a function of your own; a call or a decorator.

    Parameters
    ----------
    forward : callable
        Function of one to three operands, jitted with ``@numba.njit`` or plain (it is jitted here).
        Elementwise: of scalars, returning a scalar.  Else: of floating arrays (C-contiguous, one dtype; a
        function that writes into them is given copies), returning an array.
    derivative : callable, sequence of callables, or None
        ``rule(g, out, x[, y[, z]])``: the operand's cotangent, from the result's cotangent ``g``, the
        result ``out`` and the operands.  For several operands a sequence with one rule each, where
        ``None`` lets no gradient flow, or one function that returns a tuple.  A rule is an expression
        in tapegrad's or NumPy's functions (``lambda g, out, x: g * tg.cos(x)``), which is compiled too and
        can be differentiated again; or an ``@njit`` function, which can be if it does nothing but
        arithmetic and mathematical functions.  Without derivative, backward through the operation is an
        error.
    name : str, optional
        Name on printed and saved tapes, after ``custom:``.  Default: the function's module and name.
    elementwise : bool
        Whether ``forward`` is a function of scalars, applied to each element; operands broadcast.
    shape : callable, optional
        Not elementwise: ``shape(*shapes) -> tuple``, the result's shape.  Default: the first operand's.
    dtype : optional
        Elementwise: ``"float"`` (the default: integers become float64 first) or ``"same"``.  Else the
        dtype of the result, by default that of the operands.
    replace : bool
        Allow other code under a ``name`` that was given before.  (Under a name that was not given, as
        when a notebook's cell is edited and run again, the last definition counts.)  The same code under
        the same name gives back the same operation.

    Returns
    -------
    CustomOp
        Call it with tensors, arrays and numbers; it returns Tensors.

    Raises
    ------
    TypeError
        If a function does not compile for float64, returns something else than real numbers, or takes
        other arguments than it must.
    ValueError
        If there are not as many rules as operands, or the name stands for something else.
    RuntimeError
        When called: the operation and its line, if the function raises in compiled code.

    Examples
    --------
    >>> import tapegrad as tg
    >>> @tg.custom_op(derivative=lambda g, out, x: g / tg.square(1.0 + tg.abs(x)))
    ... def soft(x):
    ...     return x / (1.0 + abs(x))
    >>> x = tg.tensor([-1.0, 3.0], requires_grad=True)
    >>> soft(x)
    tensor([-0.5000,  0.7500], grad_fn=<SoftBackward>)
    >>> tg.testing.check_grads(soft, [x])
    """
    if forward is None:
        return functools.partial(
            custom_op,
            derivative=derivative,
            name=name,
            elementwise=elementwise,
            shape=shape,
            dtype=dtype,
            replace=replace,
        )
    if isinstance(forward, CustomOp) or not callable(forward):
        raise TypeError(f"custom_op: forward must be a function, not {type(forward).__name__}")
    plain = getattr(forward, "py_func", forward)
    if not inspect.isfunction(plain):
        raise TypeError(f"custom_op: forward must be a Python or jitted function, not {plain!r}")
    if elementwise and shape is not None:
        raise ValueError("custom_op: shape= is for operations of arrays; pass elementwise=False as well")
    module = plain.__module__ or "__main__"
    full = f"custom:{name or f'{module}.{plain.__qualname__}'}"
    if re.search(r"[\[\]']", full):
        raise ValueError(f"custom_op: a name may not contain brackets or quotes, as {full!r} does")
    code = digest(forward, derivative, shape, elementwise, None if dtype is None else str(dtype))
    with _lock:
        known = OPS.get(full)
        if known is not None and known.digest == code:
            return known
        if known is not None and name is not None and not replace:
            raise ValueError(
                f"custom_op: {name!r} is already the name of an operation with other code; pass replace=True "
                "to let the name stand for this one (earlier tapes keep the other)"
            )
        op: CustomOp
        if elementwise:
            op = ScalarOp(full, forward, derivative, dtype, code)
        else:
            from tapegrad.custom.arrays import ArrayOp

            op = ArrayOp(full, forward, derivative, shape, dtype, code)
        OPS[full] = op
        return op


def find_row(name: str) -> Row:
    """The row of a custom operation by the name that tapes show, made anew if need be.

    Parameters
    ----------
    name : str
        For example ``custom:module.f``, ``custom:module.f[2,1->1]`` (of arrays) or, with ``'0`` behind the
        name, the compiled derivative for operand 0.

    Raises
    ------
    LookupError
        If no such operation has been defined in this process.
    """
    found = ROWS.get(name)
    if found is not None:
        return found
    parsed = re.fullmatch(r"(custom:[^\[\]']+)(?:'(\d))?(?:\[([\d,]*)->(\d+)\])?", name)
    op = OPS.get(parsed[1]) if parsed else None
    if parsed is None or op is None:
        raise LookupError(
            f"there is no operation {name!r} in this process; define it before loading the tape"
        )
    part = int(parsed[2]) if parsed[2] else None
    ndims = tuple(int(n) for n in (parsed[3] or "").split(",") if n)
    return op.row_named(part, ndims, int(parsed[4] or 0))
