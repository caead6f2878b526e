"""The compiler's side of `tapegrad._jit`: what Numba does when machine code is not in the cache.

Imported only then.  Three things differ from ``numba.njit``:

* The helpers that a function calls are handed over as they are lowered.  Numba would optimise and assemble
  each of them by itself, and again as part of every function that calls it; here that happens once, when
  all of a kernel's parts are in one module.
* No wrappers for Python or C are generated but one: ``int64 f(int64, ...)`` for kernels, the signature of
  ``METH_FASTCALL`` for engine functions.
* The result is an object file that refers to nothing of Numba's, so that `tapegrad._machine` can load it.
"""

from __future__ import annotations

import dis
import functools
import platform
import types as pytypes
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import compiler
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import _FunctionCompiler
from numba.core.registry import cpu_target
from numba.extending import overload
from numba.np.arrayobj import populate_array
from numba.np.numpy_support import from_dtype

from tapegrad import _intrinsics, _jit, _lowering
from tapegrad._machine import ALIASES, W_ARRAY, W_DTYPES, W_RESOLVE, Layout
from tapegrad.kernels import memory, scalar
from tapegrad.kernels.twins import form

__all__ = [
    "builtin",
    "device",
    "device_rule",
    "foreign",
    "global_compiler_lock",
    "inner",
    "kernel",
    "scalars",
]

FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
_FAST: dict[bool, Any] = {False: False, True: {"reassoc", "contract"}}


# --- lowering without assembling ------------------------------------------------------------------


class _Codegen:
    """A code generator that keeps no environments: nothing is called through Python."""

    def __init__(self, codegen: Any) -> None:
        self._codegen = codegen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._codegen, name)

    def set_env(self, name: str, env: Any) -> None:
        pass


class _Parts(JITCodeLibrary):
    """The code of a function and of what it calls, neither optimised nor assembled."""

    @property
    def codegen(self) -> Any:
        return _Codegen(self._codegen)

    def add_llvm_module(self, ll_module: Any) -> None:
        self._final_module.link_in(ll_module)

    def finalize(self) -> None:
        self._raise_if_finalized()
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 1  # what is made of it is never called: only its code is linked


class _Pipeline(compiler.Compiler):
    def __init__(self, typingctx, targetctx, library, *rest):  # type: ignore[no-untyped-def]
        parts = _Parts(targetctx.codegen(), "tapegrad")
        super().__init__(typingctx, targetctx, parts, *rest)

    def _compile_core(self):  # type: ignore[no-untyped-def]
        return _lowering.short(self.state) or super()._compile_core()


class _Compiler(_FunctionCompiler):
    def _customize_flags(self, flags: Any) -> Any:
        flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.no_compile = True
        flags.enable_pyobject = False
        return flags


def helper(function: Callable, **options: Any) -> Any:
    """Jit a function that only other jitted functions call."""
    return numba.njit(
        function, **FLAGS, no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=_Pipeline, **options
    )


def _lower(function: Callable, arguments: Sequence[Any], result: Any, fastmath: bool) -> Any:
    options = {k: v for k, v in FLAGS.items() if k != "nogil"} | {"fastmath": _FAST[fastmath]}
    cpu_target.target_context.refresh()
    return _Compiler(function, cpu_target, options, {}, pipeline_class=_Pipeline).compile(
        tuple(arguments), result
    )


def _optimised(library: Any, wrapper: Any, symbol: str) -> Any:
    """The module of a function and all it calls, of which only ``symbol`` can be called from outside."""
    library.finalize()
    library._final_module.link_in(llvm.parse_assembly(str(wrapper)))
    module = library._final_module
    for item in (*module.functions, *module.global_variables):
        if not item.is_declaration and item.name != symbol:
            item.linkage = "internal"
    _optimise(library)
    return library._final_module


def _optimise(library: Any) -> None:
    """LLVM's passes over a module, once: Numba prunes reference counts between two rounds of them."""
    module, codegen = library._final_module, library._codegen
    if any(f.name.startswith("NRT_") for f in module.functions):  # it came the long way
        library._optimize_functions(module)
        library._optimize_final_module()
        return
    module.data_layout = codegen._data_layout
    made = codegen._module_pass_manager(cost="cheap")  # the name of what adds the rotation of loops
    manager, *builder = made if isinstance(made, tuple) else (made,)  # since Numba 0.62: a pair
    manager.run(module, *builder)


def _assemble(library: Any, wrapper: Any, symbol: str) -> tuple[bytes, list[str]]:
    """Optimise and assemble; returns the object file and the symbols that it needs."""
    module = _optimised(library, wrapper, symbol)
    needs = [f.name for f in module.functions if f.is_declaration and not f.name.startswith("llvm.")]
    needs += [g.name for g in module.global_variables if g.is_declaration]
    own = [n for n in needs if n.startswith(("NRT_", "numba", "_ZN")) and n not in ALIASES]
    if own:
        raise TypeError(
            f"{symbol} needs Numba's runtime ({', '.join(own)}): it must not make arrays or raise"
        )
    return library._codegen._tm.emit_object(module), needs


# --- kernels: C functions of integers -------------------------------------------------------------


def kernel(
    name: str, function: Callable, n_args: int, names: dict[str, Any], fastmath: bool
) -> tuple[bytes, list[str]]:
    """Compile ``int64 function(int64, ...)``; returns the object file and the symbols that it needs.

    A kernel cannot raise: its result is a status.
    """
    with global_compiler_lock:
        bound = _rebind(function, names, fastmath)
        bound.__name__ = bound.__qualname__ = name
        result = _lower(bound, (types.int64,) * n_args, types.int64, fastmath)
        context, descriptor = cpu_target.target_context, result.fndesc
        module = context.create_module("wrapper")
        callee = _declare(context, module, descriptor)
        word = ir.IntType(64)
        wrapper = ir.Function(module, ir.FunctionType(word, [word] * n_args), name)
        b = ir.IRBuilder(wrapper.append_basic_block())
        _, out = context.call_conv.call_function(
            b, callee, types.int64, descriptor.argtypes, list(wrapper.args)
        )
        b.ret(out)
        return _assemble(result.library, module, name)


def assembly(function: Callable, n_args: int, names: dict[str, Any], fastmath: bool = False) -> str:
    """The assembly of a kernel, for tests that look for vector instructions."""
    with global_compiler_lock:
        bound = _rebind(function, names, fastmath)
        library = _lower(bound, (types.int64,) * n_args, types.int64, fastmath).library
        library.finalize()
        _optimise(library)
        return str(library._codegen._tm.emit_assembly(library._final_module))


def _declare(context: Any, module: Any, descriptor: Any) -> Any:
    kind = context.call_conv.get_function_type(descriptor.restype, descriptor.argtypes)
    return ir.Function(module, kind, descriptor.llvm_func_name)


def foreign(name: str, function: Callable, n_args: int, names: dict[str, Any]) -> tuple[Any, int]:
    """Compile a kernel around a user's own code, which may do whatever Numba allows; for this process only.

    Returns what must be kept, and the address.
    """
    with global_compiler_lock:
        cpu_target.target_context.refresh()  # loads the runtime that machine code links against
        bound = _rebind(function, names)
        bound.__name__ = bound.__qualname__ = name
        signature = ((types.int64,) * n_args, types.int64)
        options = {k: v for k, v in FLAGS.items() if k != "nogil"}
        compiled = CFunc(bound, signature, {}, options)
        compiled.compile()
        return compiled, int(compiled.address)


# --- engine functions: builtins -------------------------------------------------------------------


def type_of(kind: str) -> Any:
    """Numba's type for a kind of argument (``_jit.kind_of``)."""
    if kind == "i":
        return types.int64
    if kind == "f":
        return types.float64
    dtype, ndim = kind.split(":")
    return types.Array(from_dtype(np.dtype(dtype)), int(ndim), "C")


def builtin(name: str, function: Callable, kinds: Sequence[str]) -> tuple[bytes, list[str]]:
    """Compile a function for Python; returns the object file and the symbols that it needs.

    Parameters
    ----------
    name : str
        The symbol of the C code, which has the signature of ``METH_FASTCALL``.
    function : callable
        Plain Python; returns nothing, an integer, a truth value or a float, and cannot raise.
    kinds : sequence of str
        What its arguments are, see ``_jit.kind_of``.
    """
    with global_compiler_lock:
        bound = _rebind(function, {})
        result = _lower(bound, [type_of(k) for k in kinds], None, False)
        module = cpu_target.target_context.create_module("wrapper")
        _wrap(module, name, result.fndesc, kinds)
        return _assemble(result.library, module, name)


def _wrap(module: Any, name: str, descriptor: Any, kinds: Sequence[str]) -> None:
    """The C code that Python calls: takes the arguments apart, and lets other threads run meanwhile."""
    context = cpu_target.target_context
    byte, word, half = ir.IntType(8), ir.IntType(64), ir.IntType(32)
    obj = byte.as_pointer()
    objects = obj.as_pointer()

    def api(symbol: str, result: Any, *arguments: Any) -> Any:
        return ir.Function(module, ir.FunctionType(result, arguments), symbol)

    number = api("PyLong_AsLongLong", word, obj)
    real = api("PyFloat_AsDouble", ir.DoubleType(), obj)
    occurred = api("PyErr_Occurred", obj)
    save, restore = api("PyEval_SaveThread", obj), api("PyEval_RestoreThread", ir.VoidType(), obj)
    from_number = api("PyLong_FromLongLong", obj, word)
    from_real = api("PyFloat_FromDouble", obj, ir.DoubleType())
    vectorcall = api("PyObject_VectorcallDict", obj, obj, objects, word, obj)
    callee = _declare(context, module, descriptor)

    wrapper = ir.Function(module, ir.FunctionType(obj, [obj, objects, word]), name)
    me, arguments, count = wrapper.args
    b = ir.IRBuilder(wrapper.append_basic_block())
    other, failed = wrapper.append_basic_block("other"), wrapper.append_basic_block("failed")

    def load(address: Any, offset: int, kind: Any = word) -> Any:
        place = b.gep(address, [ir.Constant(word, offset)])
        return b.load(b.bitcast(place, kind.as_pointer()))

    def require(condition: Any, otherwise: Any) -> None:
        go_on = wrapper.append_basic_block()
        b.cbranch(condition, go_on, otherwise)
        b.position_at_end(go_on)

    words = load(me, Layout.DATA, obj)
    resolve = load(words, 8 * W_RESOLVE, obj)
    array_type = load(words, 8 * W_ARRAY)
    require(b.icmp_signed("==", count, ir.Constant(word, len(kinds))), other)
    values = []
    for k, kind in enumerate(kinds):
        item = b.load(b.gep(arguments, [ir.Constant(word, k)]))
        if kind in ("i", "f"):
            value = b.call(number if kind == "i" else real, [item])
            minus_one = ir.Constant(value.type, -1 if kind == "i" else -1.0)
            same = b.icmp_signed if kind == "i" else b.fcmp_ordered
            with b.if_then(same("==", value, minus_one), likely=False):
                require(b.icmp_unsigned("==", b.call(occurred, []), ir.Constant(obj, None)), failed)
            values.append(value)
            continue
        numba_type = type_of(kind)
        require(b.icmp_signed("==", load(item, Layout.TYPE), array_type), other)
        dtype = load(words, 8 * (W_DTYPES + k))
        require(b.icmp_signed("==", load(item, Layout.DTYPE), dtype), other)
        ndim = load(item, Layout.NDIM, half)
        require(b.icmp_signed("==", ndim, ir.Constant(half, numba_type.ndim)), other)
        flags = b.and_(load(item, Layout.FLAGS, half), ir.Constant(half, Layout.C_CONTIGUOUS))
        require(b.icmp_signed("!=", flags, ir.Constant(half, 0)), other)
        shape, strides = load(item, Layout.SHAPE, obj), load(item, Layout.STRIDES, obj)
        a = context.make_array(numba_type)(context, b)
        populate_array(
            a,
            b.bitcast(load(item, Layout.DATA, obj), a.data.type),
            [load(shape, 8 * d) for d in range(numba_type.ndim)],
            [load(strides, 8 * d) for d in range(numba_type.ndim)],
            context.get_constant(types.intp, np.dtype(kind.split(":")[0]).itemsize),
            None,
        )
        values.append(a._getvalue())
    state = b.call(save, [])
    restype = descriptor.restype
    _, out = context.call_conv.call_function(b, callee, restype, descriptor.argtypes, values)
    b.call(restore, [state])
    if isinstance(restype, types.Float):
        b.ret(b.call(from_real, [context.cast(b, out, restype, types.float64)]))
    elif isinstance(restype, (types.Integer, types.Boolean)):
        b.ret(b.call(from_number, [context.cast(b, out, restype, types.int64)]))
    elif restype == types.none:
        b.ret(b.call(from_number, [ir.Constant(word, 0)]))
    else:
        raise TypeError(f"{name} returns {restype}: engine functions return numbers")
    b.position_at_end(failed)
    b.ret(ir.Constant(obj, None))
    b.position_at_end(other)
    b.ret(b.call(vectorcall, [resolve, arguments, count, ir.Constant(obj, None)]))


# --- helpers, bound to dtypes ---------------------------------------------------------------------

_jitted: dict[Any, Any] = {}

INTRINSIC = set(memory.INTRINSIC)
if not (llvm.get_host_cpu_features().get("fma") or platform.machine() in ("aarch64", "arm64")):
    INTRINSIC.remove("product_error")  # it would be a call of the C library; its twin is quicker


def inner(function: Callable) -> Any:
    """Compile a function that only jitted code calls, and that no cache may keep."""
    return numba.njit(**FLAGS)(function)


def device(function: Callable, names: dict[str, Any], fastmath: bool = False) -> Any:
    """Jit a plain helper function, with the globals a kernel sees (memoised per dtype).

    ``names["OPERANDS"]``: the dtype that functions of scalars are called with (`kernels.twins`).
    """
    operands = names.get("OPERANDS")
    key = (function, names.get("T"), names.get("TO"), operands, fastmath)
    if key not in _jitted:
        chosen = function
        if operands is not None:
            kind = "single" if operands is np.float32 else operands().dtype.kind
            part = {"single": "single", "i": "integer", "u": "integer", "c": "complex"}.get(kind, "")
            chosen = getattr(function, part, function) if part else function
        bound = _rebind(chosen, names, fastmath)
        # scalar functions and rules: a call left in a tile loop would keep it from being vectorised
        scalar_function = "T" not in names and function not in _jit.engine.values()
        scalar_function = scalar_function and not hasattr(function, "apart")
        jitted = helper(bound, forceinline=scalar_function, fastmath=_FAST[fastmath])
        integer = getattr(function, "integer", None)
        if integer is not None and operands is None:
            jitted = _by_kind(jitted, device(integer, names), function.__code__.co_argcount)
        _jitted[key] = jitted
    return _jitted[key]


def _by_kind(floating: Any, integer: Any, n_args: int) -> Any:
    """One function that is ``integer`` for integer operands and ``floating`` for the others."""
    if n_args == 1:

        def choose(x):
            raise NotImplementedError

        def resolve(x):
            return (lambda x: integer(x)) if isinstance(x, types.Integer) else (lambda x: floating(x))

        def call(x):
            return choose(x)

    else:

        def choose(x, y):  # type: ignore[misc]
            raise NotImplementedError

        def resolve(x, y):  # type: ignore[misc]
            if isinstance(x, types.Integer) and isinstance(y, types.Integer):
                return lambda x, y: integer(x, y)
            return lambda x, y: floating(x, y)

        def call(x, y):  # type: ignore[misc]
            return choose(x, y)  # type: ignore[call-arg]

    overload(choose)(resolve)
    return helper(call)


@functools.cache
def intrinsics() -> dict[str, Any]:
    """What the plain functions of `kernels.memory` are in jitted code, by name."""
    from tapegrad.engine import butterflies, vectors

    return {**vars(_intrinsics), **vectors.INTRINSICS, **butterflies.INTRINSICS}


def _rebind(function: Callable, names: dict[str, Any], fastmath: bool = False) -> Any:
    """Copy ``function`` with ``names`` as globals and the plain functions it calls jitted."""
    scope = dict(function.__globals__)
    own = scope.get("OPERANDS")
    if own is not None and "OPERANDS" in names:
        names = {**names, "OPERANDS": own}
    scope.update(names)
    narrow = names.get("OPERANDS") is np.float32
    for name in global_names(function.__code__):
        value = scope.get(name)
        if isinstance(value, pytypes.BuiltinFunctionType) and value in _jit.engine:
            scope[name] = device(_jit.engine[value], {})
        elif isinstance(value, pytypes.FunctionType) and value.__module__.startswith("tapegrad."):
            if value.__module__ == memory.__name__ and value.__name__ in INTRINSIC:
                scope[name] = intrinsics()[value.__name__]
            else:
                scope[name] = device(value, names, fastmath)
        elif value is scalar:
            scope[name] = scalars(names.get("OPERANDS", names.get("T")))
        elif narrow and type(value) is float:
            scope[name] = np.float32(value)
    code = function.__code__
    if narrow:
        code = code.replace(co_consts=tuple(np.float32(c) if type(c) is float else c for c in code.co_consts))
    copy = pytypes.FunctionType(code, scope, function.__name__, function.__defaults__, function.__closure__)
    copy.__module__ = function.__module__
    return copy


def global_names(code: pytypes.CodeType) -> set[str]:
    """The global names that a code object reads, nested ones included."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    for constant in code.co_consts:
        if isinstance(constant, pytypes.CodeType):
            names |= global_names(constant)
    return names


Range = tuple[float, float]


def device_rule(rule: Callable, operands: Any, inside: Range | None = None, part: bool = False) -> Any:
    """Jit a derivative rule (its ``f`` becomes the namespace of jitted scalar functions).

    With ``part`` its value is the real part of what the rule gives: the operand is real, the rule may be
    complex.
    """
    with global_compiler_lock:
        scope = {**rule.__globals__, "f": scalars(operands, inside)}
        rule = pytypes.FunctionType(rule.__code__, scope, rule.__name__, None, rule.__closure__)
        jitted = device(rule, {"OPERANDS": operands})
        if not part:
            return jitted
        arguments = ", ".join(rule.__code__.co_varnames[: rule.__code__.co_argcount])
        scope = {"rule": jitted, "real": _intrinsics.real}
        exec(f"def real_part({arguments}):\n    return real(rule({arguments}))", scope)
        return helper(scope["real_part"], forceinline=True)


_scalars: dict[Any, pytypes.ModuleType] = {}


def scalars(operands: Any = None, inside: Range | None = None) -> pytypes.ModuleType:
    """The functions of ``kernels.scalar``, jitted, as a namespace that kernels may use.

    ``operands`` is the dtype of their operands; without it they tell integers from others themselves.
    Those that have a quicker form for operands in the range ``inside`` are that form.
    """
    with global_compiler_lock:
        key = (operands, inside)
        if key not in _scalars:
            names = {} if operands is None else {"OPERANDS": operands}

            def look_up(name: str) -> Any:
                value = vars(scalar).get(name)
                if not isinstance(value, pytypes.FunctionType):
                    raise AttributeError(name)
                if inside is not None:
                    value = form(value, inside, operands is not None and operands().dtype.kind == "c")
                return device(value, names)

            _scalars[key] = pytypes.ModuleType("tapegrad_scalars")
            _scalars[key].__getattr__ = look_up  # type: ignore[method-assign]
    return _scalars[key]
