"""The types of a function of numbers, bare pointers and arrays, found in a few sweeps over Numba's IR.

See `tapegrad._lowering`, which writes the code.
"""

from __future__ import annotations

import functools
import operator
import types as pytypes
from typing import Any

import numpy as np
from numba.core import errors, ir, types

__all__ = ["BOOL", "INT", "Inference", "Items", "Range", "Unsupported", "function_type"]

INT, BOOL = types.int64, types.boolean


class Unsupported(errors.UnsupportedError):
    pass


class Range(types.Type):
    """A ``range`` and its iterator; ``step`` is known."""

    kind = INT

    def __init__(self, step: int) -> None:
        self.step = step
        super().__init__(f"tapegrad_range({step})")


class Items(types.Type):
    """A tuple that a loop goes through."""

    def __init__(self, kind: Any) -> None:
        self.kind, self.count = kind.dtype, kind.count
        super().__init__(f"tapegrad_items({kind})")


class Pair(types.Type):
    """What ``iternext`` gives: an item, and whether there was one."""

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        super().__init__(f"tapegrad_pair({kind})")


# Numba's answers: they depend on types alone.
_signatures: dict[Any, Any] = {}
_function_types: dict[Any, Any] = {}


def function_type(typing_context: Any, function: Any) -> Any:
    found = _function_types.get(function)
    if found is None:
        found = _function_types[function] = typing_context.resolve_value_type(function)
    return found


@functools.cache
def complex_division() -> Any:
    """Numba's type of `kernels.math.holomorphic.divide`: its own division of complex numbers raises."""
    from tapegrad import _compile
    from tapegrad.kernels.math import holomorphic

    return types.Dispatcher(_compile.device(holomorphic.divide, {"OPERANDS": np.float64}))


def resolve(typing_context: Any, function: Any, arguments: tuple) -> Any:
    """The signature with which ``function``, a Numba type, takes these arguments."""
    if isinstance(function, types.Dispatcher):
        return function.get_call_type(typing_context, arguments, {})
    key = function, arguments
    found = _signatures.get(key)
    if found is None:
        found = typing_context.resolve_function_type(function, arguments, {})
        if found is None:
            raise Unsupported(f"{function} of {arguments}")
        _signatures[key] = found
    return found


class Inference:
    """The types of one function in Numba's IR."""

    def __init__(self, state: Any, func_ir: Any) -> None:
        self.state, self.func_ir = state, func_ir
        self.typing, self.context = state.typingctx, state.targetctx
        self.blocks = sorted(func_ir.blocks.items())
        self.types: dict[str, Any] = {}
        self.calls: dict[int, Any] = {}  # id of an expression or statement -> signature
        self.constants: dict[str, Any] = {}  # temporaries that stand for a Python value
        self.home: dict[str, int] = {}  # variable -> the block in which all of it happens, or -1
        self.assigned: dict[str, int] = {}  # how often
        for _, block in self.blocks:
            for s in block.body:
                if isinstance(s, ir.Assign):
                    self.assigned[s.target.name] = self.assigned.get(s.target.name, 0) + 1
        self.quotients: set[int] = set()  # ids of expressions that divide complex numbers
        self.result: Any = None

    # --- types ------------------------------------------------------------------------------------

    def infer(self) -> Any:
        """Find the type of every variable; returns the type of the result."""
        for name, kind in zip(self.func_ir.arg_names, self.state.args):
            self.types["arg." + name] = kind
        for _ in range(8):
            before = dict(self.types), self.result
            self.unknown = 0
            for offset, block in self.blocks:
                self.block = offset
                for statement in block.body:
                    self.visit(statement)
            if (self.types, self.result) == before and not self.unknown:
                break
        else:
            raise Unsupported("types that take more than a few sweeps, or depend on themselves")
        wanted = self.state.return_type
        return self.result if wanted is None else wanted

    def use(self, variable: Any) -> Any:
        """The type of a variable that the current block reads."""
        name = variable.name
        if self.home.setdefault(name, self.block) != self.block:
            self.home[name] = -1
        found = self.types.get(name)
        if found is None:
            self.unknown += 1
        return found

    def define(self, name: str, kind: Any) -> None:
        old = self.types.get(name)
        if old is None or old == kind:
            self.types[name] = kind
        elif {old, kind} == {INT, BOOL}:
            self.types[name] = INT
        elif name.startswith("$phi"):  # what a conditional expression leaves: here Numba unifies, too
            self.types[name] = self.unify(old, kind)
        else:
            raise Unsupported(f"{name} is {old} and {kind}")

    def unify(self, x: Any, y: Any) -> Any:
        found = self.typing.unify_pairs(x, y)
        if not isinstance(found, (types.Number, types.Boolean)):
            raise Unsupported(f"{x} or {y}")
        return found

    def visit(self, s: Any) -> None:
        if isinstance(s, ir.Assign):
            name = s.target.name
            if self.home.setdefault(name, self.block) != self.block:
                self.home[name] = -1
            kind = self.type_of(s)
            if kind is not None:
                self.define(name, kind)
        elif isinstance(s, (ir.SetItem, ir.StaticSetItem)):
            index = s.index if isinstance(s, ir.SetItem) else s.index_var
            kinds = self.use(s.target), self.use(index), self.use(s.value)
            if None not in kinds:
                found = resolve(self.typing, function_type(self.typing, operator.setitem), kinds)
                self.calls[id(s)] = found
        elif isinstance(s, ir.Return):
            kind = self.use(s.value)
            if kind is None or kind == self.result:
                return
            self.result = kind if self.result is None else self.unify(self.result, kind)
        elif isinstance(s, ir.Branch):
            self.use(s.cond)
        elif not isinstance(s, (ir.Jump, ir.PopBlock)):
            raise Unsupported(type(s).__name__)

    def type_of(self, s: Any) -> Any:
        value = s.value
        if isinstance(value, (ir.Const, ir.Global, ir.FreeVar)):
            return self.type_of_constant(s.target.name, value.value)
        if isinstance(value, ir.Var):
            return self.use(value)
        if isinstance(value, ir.Arg):
            return types.unliteral(self.types["arg." + value.name])
        if not isinstance(value, ir.Expr):
            raise Unsupported(type(value).__name__)
        method = getattr(self, "type_" + value.op, None)
        if method is None:
            raise Unsupported(value.op)
        return method(s, value)

    def type_of_constant(self, name: str, value: Any) -> Any:
        if self.assigned[name] == 1:
            self.constants[name] = value
        if isinstance(value, bool):
            return BOOL
        if isinstance(value, int):
            if not -(2**63) <= value < 2**64:
                raise Unsupported("a number beyond 64 bits")
            return INT if value < 2**63 else types.uint64
        if isinstance(value, float):
            return types.float64
        if value is None:
            return types.none
        if isinstance(value, pytypes.ModuleType):
            return types.Module(value)
        try:
            return function_type(self.typing, value)
        except TypeError:  # cannot be hashed: an array
            return self.typing.resolve_value_type(value)

    def type_cast(self, s: Any, e: Any) -> Any:
        return self.use(e.value)

    def type_getattr(self, s: Any, e: Any) -> Any:
        kind = self.use(e.value)
        if not isinstance(kind, types.Module):
            raise Unsupported(f"attribute {e.attr}")
        return self.type_of_constant(s.target.name, getattr(kind.pymod, e.attr))

    def type_binop(self, s: Any, e: Any) -> Any:
        kinds = self.use(e.lhs), self.use(e.rhs)
        function = e.immutable_fn if e.op == "inplace_binop" else e.fn
        if None in kinds:
            return None
        if function is operator.pow:
            raise Unsupported("powers")
        if function is operator.truediv and any(isinstance(k, types.Complex) for k in kinds):
            self.quotients.add(id(e))
            function_of = complex_division()
            found = self.calls[id(e)] = resolve(self.typing, function_of, kinds)
            return found.return_type
        if function is operator.contains:
            if not isinstance(kinds[0], types.BaseTuple) or {*kinds[0].types, kinds[1]} != {INT}:
                raise Unsupported(f"{kinds[1]} in {kinds[0]}")
            return BOOL
        found = self.calls[id(e)] = resolve(self.typing, function_type(self.typing, function), kinds)
        return found.return_type

    type_inplace_binop = type_binop

    def type_unary(self, s: Any, e: Any) -> Any:
        kind = self.use(e.value)
        if kind is None:
            return None
        found = self.calls[id(e)] = resolve(self.typing, function_type(self.typing, e.fn), (kind,))
        return found.return_type

    def type_getitem(self, s: Any, e: Any) -> Any:
        kinds = self.use(e.value), self.use(e.index)
        if None in kinds:
            return None
        found = self.calls[id(e)] = resolve(self.typing, function_type(self.typing, operator.getitem), kinds)
        if isinstance(found.return_type, types.Array):
            raise Unsupported("a view")
        return found.return_type

    def type_static_getitem(self, s: Any, e: Any) -> Any:
        kind = self.use(e.value)
        if e.index_var is not None:
            self.use(e.index_var)
        if kind is None:
            return None
        if isinstance(kind, types.BaseTuple):
            if not isinstance(e.index, int):
                raise Unsupported("a part of a tuple")
            return kind.types[e.index]
        index = INT if isinstance(e.index, int) else self.use(e.index_var)
        if e.index_var is None or index is None:
            raise Unsupported("static index")
        found = resolve(self.typing, function_type(self.typing, operator.getitem), (kind, index))
        if isinstance(found.return_type, types.Array):
            raise Unsupported("a view")
        self.calls[id(e)] = found
        return found.return_type

    def type_build_tuple(self, s: Any, e: Any) -> Any:
        kinds = [self.use(item) for item in e.items]
        return None if None in kinds else types.Tuple.from_types(kinds)

    def type_exhaust_iter(self, s: Any, e: Any) -> Any:
        kind = self.use(e.value)
        if kind is not None and not (isinstance(kind, types.BaseTuple) and kind.count == e.count):
            raise Unsupported("unpacking")
        return kind

    def type_getiter(self, s: Any, e: Any) -> Any:
        kind = self.use(e.value)
        if isinstance(kind, types.UniTuple):
            return Items(kind)
        if kind is not None and not isinstance(kind, Range):
            raise Unsupported(f"a loop over {kind}")
        return kind

    def type_iternext(self, s: Any, e: Any) -> Any:
        kind = self.use(e.value)
        return kind and Pair(kind.kind)

    def type_pair_first(self, s: Any, e: Any) -> Any:
        kind = self.use(e.value)
        return kind and kind.kind

    def type_pair_second(self, s: Any, e: Any) -> Any:
        return self.use(e.value) and BOOL

    def type_call(self, s: Any, e: Any) -> Any:
        function = self.use(e.func)
        kinds = [self.use(a) for a in e.args]
        if e.kws or e.vararg:
            raise Unsupported("keywords")
        if function is None or None in kinds:
            return None
        python = self.constants.get(e.func.name)
        if python is range:
            step = self.constants.get(e.args[2].name) if len(kinds) == 3 else 1
            if not isinstance(step, int) or not step or any(k != INT for k in kinds):
                raise Unsupported("range")
            return Range(step)
        if python is bool and kinds[0] in (INT, BOOL):
            return BOOL
        if python in (min, max) and kinds == [INT, INT]:
            return INT
        if not isinstance(function, (types.Callable, types.NumberClass)):
            raise Unsupported(f"a call of {function}")
        if getattr(python, "_prefer_literal", False):
            kinds = [
                types.literal(self.constants[a.name]) if isinstance(self.constants.get(a.name), int) else k
                for k, a in zip(kinds, e.args)
            ]
        found = self.calls[id(e)] = resolve(self.typing, function, tuple(kinds))
        return found.return_type
