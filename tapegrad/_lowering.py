"""A short way through Numba for functions of numbers, bare pointers and arrays.

Engine functions and kernels are written in a small part of what Numba compiles: numbers, ``a[i]``, loops over
``range``, calls of one another and of intrinsics.  Numba's general pipeline spends most of a cold start on
what they do not need: some thirty passes over each function, static single assignment, type inference by
constraints, overload resolution for every ``+``, reference counts.

Here Numba reads the bytecode; types are found in a few sweeps, because no variable has more than one; and
every operation is resolved and lowered by Numba's own implementation of it, looked up once per process and
signature.  So both ways mean the same.  A function that needs more raises ``UnsupportedError``, and
Numba's own pipeline takes over (``refused`` notes which and why).
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir as llvmir
from numba.core import cgutils, fastmathpass, funcdesc, interpreter, ir, targetconfig, types, typing
from numba.core.compiler import compile_result
from numba.core.environment import Environment

from tapegrad._inference import BOOL, INT, Inference, Items, Range, complex_division, function_type

__all__ = ["refused", "short"]

refused: dict[str, str] = {}  # functions that took the long way, and why

_WORD = llvmir.IntType(64)
_implementations: dict[Any, Any] = {}  # Numba's, by function and signature


class _Function(Inference):
    """One function on its way from Numba's IR to LLVM's."""

    def lower(self, descriptor: Any) -> None:
        """Write the function into a module of the library."""
        library = self.state.library
        self.module = library.create_ir_module(descriptor.unique_name)
        self.context = self.context.subtarget(fndesc=descriptor)
        self.descriptor = descriptor
        function = self.context.declare_function(self.module, descriptor)
        entry = function.append_basic_block("entry")
        b = self.builder = llvmir.IRBuilder(entry)
        self.context.call_conv.init_call_helper(b)
        self.arguments = self.context.call_conv.decode_arguments(b, descriptor.argtypes, function)
        entered = b.block
        self.at = {offset: function.append_basic_block(f"B{offset}") for offset, _ in self.blocks}
        self.slots: dict[str, Any] = {}
        self.copies: dict[str, Any] = {}
        for offset, block in self.blocks:
            b.position_at_end(self.at[offset])
            self.values: dict[str, Any] = {}
            for statement in block.body:
                self.write(statement)
        b.position_at_end(entered)
        b.branch(self.at[self.blocks[0][0]])
        if self.context.fastmath:
            fastmathpass.rewrite_module(self.module, self.context.fastmath)
        library.add_ir_module(self.module)

    def slot(self, name: str) -> Any:
        found = self.slots.get(name)
        if found is None:
            kind = self.context.get_value_type(self.types[name])
            found = self.slots[name] = cgutils.alloca_once(self.builder, kind, name=name)
        return found

    def load(self, variable: Any, kind: Any = None) -> Any:
        """The value of a variable, as ``kind`` if given."""
        name = variable.name
        own = self.types[name]
        if name in self.constants:
            value = self.constant(own, self.constants[name])
        else:
            value = self.values.get(name)
            if value is None:
                value = self.builder.load(self.slot(name))
        if kind is None or kind == own:
            return value
        return self.context.cast(self.builder, value, own, kind)

    def constant(self, kind: Any, value: Any) -> Any:
        if kind == INT:
            return llvmir.Constant(_WORD, value)
        return self.context.get_constant_generic(self.builder, kind, value)

    def store(self, name: str, value: Any) -> None:
        if self.home[name] >= 0:
            self.values[name] = value
        else:
            self.builder.store(value, self.slot(name))

    def call(self, function: Any, signature: Any, arguments: list) -> Any:
        """Call a function that Numba knows, the way Numba calls it."""
        b = self.builder
        if isinstance(function, types.Dispatcher):
            made = function.dispatcher.overloads[signature.args]
            self.context.add_linking_libs([made.library])
            callee = self.context.declare_function(self.module, made.fndesc)
            # nothing here raises: the status is not looked at
            _, out = self.context.call_conv.call_function(
                b, callee, signature.return_type, signature.args, arguments
            )
            return out
        key = function, signature
        found = _implementations.get(key)
        if found is None:
            found = _implementations[key] = self.context.get_function(function, signature)._imp
        out = found(self.context, b, signature, arguments, loc=None)
        self.context.add_linking_libs(getattr(found, "libs", ()))
        return out

    def write(self, s: Any) -> None:
        b = self.builder
        if isinstance(s, ir.Assign):
            name = s.target.name
            if name not in self.constants:
                value = self.value_of(s)
                if value is not None:
                    self.store(name, value)
        elif isinstance(s, (ir.SetItem, ir.StaticSetItem)):
            index = s.index if isinstance(s, ir.SetItem) else s.index_var
            signature = self.calls[id(s)]
            items = (s.target, index, s.value)
            arguments = [self.load(v, k) for v, k in zip(items, signature.args)]
            self.call(function_type(self.typing, operator.setitem), signature, arguments)
        elif isinstance(s, ir.Return):
            kind = self.descriptor.restype
            value = self.context.get_return_value(b, kind, self.load(s.value, kind))
            self.context.call_conv.return_value(b, value)
        elif isinstance(s, ir.Branch):
            b.cbranch(self.load(s.cond, BOOL), self.at[s.truebr], self.at[s.falsebr])
        elif isinstance(s, ir.Jump):
            b.branch(self.at[s.target])

    def value_of(self, s: Any) -> Any:
        value, name = s.value, s.target.name
        kind = self.types[name]
        if isinstance(value, (ir.Const, ir.Global, ir.FreeVar)):
            own = self.type_of_constant(name, value.value)
            return self.context.cast(self.builder, self.constant(own, value.value), own, kind)
        if isinstance(value, ir.Var):
            if isinstance(kind, (Range, Items)):  # the iterator, under the name it has in the loop
                self.slots[name] = self.slots[value.name]
                if isinstance(kind, Items):
                    self.copies[name] = self.copies[value.name]
                return None
            return self.load(value, kind)
        if isinstance(value, ir.Arg):
            own = self.types["arg." + value.name]
            return self.context.cast(self.builder, self.arguments[value.index], own, kind)
        made = getattr(self, "write_" + value.op)(name, value)
        signature = self.calls.get(id(value))
        if signature is not None and signature.return_type != kind:
            made = self.context.cast(self.builder, made, signature.return_type, kind)
        return made

    def write_cast(self, name: str, e: Any) -> Any:
        return self.load(e.value, self.types[name])

    def write_binop(self, name: str, e: Any) -> Any:
        if e.fn is operator.contains:
            items, item = self.load(e.lhs), self.load(e.rhs)
            found = llvmir.Constant(llvmir.IntType(1), 0)
            for k in range(self.types[e.lhs.name].count):
                found = self.builder.or_(
                    found, self.builder.icmp_signed("==", self.builder.extract_value(items, k), item)
                )
            return self.context.cast(self.builder, found, BOOL, self.types[name])
        signature = self.calls[id(e)]
        arguments = [self.load(v, k) for v, k in zip((e.lhs, e.rhs), signature.args)]
        if id(e) in self.quotients:
            return self.call(complex_division(), signature, arguments)
        function = e.immutable_fn if e.op == "inplace_binop" else e.fn
        return self.call(function_type(self.typing, function), signature, arguments)

    write_inplace_binop = write_binop

    def write_unary(self, name: str, e: Any) -> Any:
        signature = self.calls[id(e)]
        return self.call(function_type(self.typing, e.fn), signature, [self.load(e.value, signature.args[0])])

    def write_getitem(self, name: str, e: Any) -> Any:
        signature = self.calls[id(e)]
        index = e.index if e.op == "getitem" else e.index_var
        arguments = [self.load(v, k) for v, k in zip((e.value, index), signature.args)]
        return self.call(function_type(self.typing, operator.getitem), signature, arguments)

    def write_static_getitem(self, name: str, e: Any) -> Any:
        kind = self.types[e.value.name]
        if not isinstance(kind, types.BaseTuple):
            return self.write_getitem(name, e)
        item = self.builder.extract_value(self.load(e.value), e.index % kind.count)
        return self.context.cast(self.builder, item, kind.types[e.index], self.types[name])

    def write_build_tuple(self, name: str, e: Any) -> Any:
        kind = self.types[name]
        items = [self.load(v, k) for v, k in zip(e.items, kind.types)]
        return self.context.make_tuple(self.builder, kind, items)

    def write_exhaust_iter(self, name: str, e: Any) -> Any:
        return self.load(e.value, self.types[name])

    # An iterator is two words on the stack, the next number and where to stop; a tuple is copied there too.
    def write_getiter(self, name: str, e: Any) -> Any:
        kind = self.types[name]
        if isinstance(kind, Range):
            self.slots[name] = self.slots[e.value.name]
            return
        b = self.builder
        items = self.load(e.value)
        copy = cgutils.alloca_once(b, self.context.get_value_type(kind.kind), size=kind.count)
        for k in range(kind.count):
            b.store(b.extract_value(items, k), b.gep(copy, [llvmir.Constant(_WORD, k)]))
        self.start(name, llvmir.Constant(_WORD, 0), llvmir.Constant(_WORD, kind.count))
        self.copies[name] = copy

    def start(self, name: str, first: Any, stop: Any) -> None:
        place = self.slots[name] = [cgutils.alloca_once(self.builder, _WORD, name=name) for _ in range(2)]
        self.builder.store(first, place[0])
        self.builder.store(stop, place[1])

    def write_iternext(self, name: str, e: Any) -> Any:
        b = self.builder
        kind = self.types[e.value.name]
        at, stop = self.slots[e.value.name]
        step = kind.step if isinstance(kind, Range) else 1
        item = number = b.load(at)
        there = b.icmp_signed("<" if step > 0 else ">", number, b.load(stop))
        b.store(b.add(number, llvmir.Constant(_WORD, step)), at)
        if isinstance(kind, Items):  # after the last, the first again: within the copy, and not used
            place = b.select(there, number, llvmir.Constant(_WORD, 0))
            item = b.load(b.gep(self.copies[e.value.name], [place]))
        self.values[name] = item, there

    def write_pair_first(self, name: str, e: Any) -> Any:
        return self.values[e.value.name][0]

    def write_pair_second(self, name: str, e: Any) -> Any:
        return self.values[e.value.name][1]

    def write_call(self, name: str, e: Any) -> Any:
        b = self.builder
        kind = self.types[name]
        if isinstance(kind, Range):
            values = [self.load(a, INT) for a in e.args[:2]]
            self.start(name, values[0] if len(values) > 1 else llvmir.Constant(_WORD, 0), values[-1])
            return None
        signature = self.calls.get(id(e))
        python = self.constants.get(e.func.name)
        if signature is None and python is bool:
            return self.context.cast(b, self.load(e.args[0], BOOL), BOOL, kind)
        if signature is None:
            x, y = self.load(e.args[0]), self.load(e.args[1])
            return b.select(b.icmp_signed("<" if python is min else ">", x, y), x, y)
        kinds = signature.args
        star = isinstance(kinds[-1], (types.StarArgTuple, types.StarArgUniTuple)) if kinds else False
        arguments = [self.load(a, k) for a, k in zip(e.args, kinds[:-1] if star else kinds)]
        if star:
            rest = [self.load(a, k) for a, k in zip(e.args[len(kinds) - 1 :], kinds[-1])]
            arguments.append(cgutils.make_anonymous_struct(b, rest))
        return self.call(self.types[e.func.name], signature, arguments)


def short(state: Any) -> Any:
    """Compile what a Numba pipeline is about to compile; ``None`` if only that can do it."""
    try:
        with targetconfig.ConfigStack().enter(state.flags.copy()):
            return _compile(state)
    except Exception as error:  # also one of Numba's, or a form of its IR that is not known here
        refused[state.func_id.func_qualname] = f"{type(error).__name__}: {error}"
        state.func_ir = None
        return None


def _compile(state: Any) -> Any:
    func_ir = state.func_ir = interpreter.Interpreter(state.func_id).interpret(state.bc)
    function = _Function(state, func_ir)
    result = function.infer()
    descriptor = funcdesc.PythonFunctionDescriptor.from_specialized_function(
        func_ir, function.types, result, {}, mangler=state.targetctx.mangler, inline=state.flags.forceinline,
        noalias=False, abi_tags=[state.flags.get_mangle_string()],
    )  # fmt: skip
    with state.targetctx.push_code_library(state.library):
        function.lower(descriptor)
    entry = environment = None
    if not state.flags.no_compile:
        # A helper: Numba knows it by an object that could be called, but never is.
        environment = Environment.from_fndesc(descriptor)
        entry = state.targetctx.get_executable(state.library, descriptor, environment)
        state.targetctx.insert_user_function(entry, descriptor, [state.library])
    return compile_result(
        typing_context=state.typingctx, target_context=state.targetctx, library=state.library,
        entry_point=entry, environment=environment,
        signature=typing.signature(result, *state.args), objectmode=False, lifted=(), fndesc=descriptor,
        metadata=state.metadata, reload_init=[],
    )  # fmt: skip
