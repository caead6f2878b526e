"""The one module that talks to Numba: flags, the kernel compiler, and the cache on disk.

Two kinds of compiled code exist:

* *engine functions* (the planner, the interpreter loops): ``@jit`` dispatchers that Python calls;
* *kernels*: C functions known to the engine only by address, so that a table of plain ``int64``
  selects them.  They are compiled one by one, on first use.

Both are cached in one folder whose name hashes everything the machine code depends on: every source
file of the package, the versions of Python, NumPy, Numba and llvmlite, and the CPU with its features.
Numba's own invalidation only looks at the file of the outermost function, and would serve stale
code when an imported kernel changes.  Files appear by ``os.replace``, so processes may race.
"""

from __future__ import annotations

import dis
import hashlib
import os
import pickle
import platform
import sys
import tempfile
import time
import types as pytypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic, overload

from tapegrad.kernels import memory, scalar

FLAGS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}


# --- the cache folder -----------------------------------------------------------------------------


# What machine code is made from; the command line and the printing are not.
_COMPILED = (
    "_jit.py", "spec.py", "tape.py", "trace.py", "engine/*.py", "kernels/*.py", "ops/*.py", "program/**/*.py"
)  # fmt: skip


def _fingerprint() -> str:
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for path in sorted(p for part in _COMPILED for p in root.glob(part)):
        digest.update(str(path.relative_to(root)).encode())
        digest.update(path.read_bytes())
    features = llvm.get_host_cpu_features()
    for part in (
        sys.version,
        platform.machine(),
        np.__version__,
        numba.__version__,
        llvmlite.__version__,
        llvm.get_host_cpu_name(),
        features.flatten(),
        str(numba.config.OPT),
        str(numba.config.CPU_NAME),
        str(numba.config.CPU_FEATURES),
    ):
        digest.update(str(part).encode())
    return digest.hexdigest()[:20]


def _cache_root() -> Path:
    chosen = os.environ.get("TAPEGRAD_CACHE_DIR")
    if chosen:
        return Path(chosen)
    base = os.environ.get("NUMBA_CACHE_DIR")
    if base:
        return Path(base) / "tapegrad"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tapegrad"


def _open_cache() -> tuple[Path | None, str]:
    """Return the cache folder and where it came from, or ``None`` where nothing is writable."""
    name = _fingerprint()
    candidates = [(_cache_root(), "configured")]
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    candidates.append((Path(tempfile.gettempdir()) / f"tapegrad-{owner}", "temporary"))
    for root, origin in candidates:
        folder = root / name
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
                continue  # cached code is executed: never load what another user wrote
            if os.access(folder, os.R_OK | os.X_OK):
                return folder, origin
        except OSError:
            continue
    return None, "none"


CACHE_DIR, CACHE_ORIGIN = _open_cache()
compiled: dict[str, float] = {}  # kernel name -> seconds, for those this process compiled


def _read(name: str) -> bytes | None:
    if CACHE_DIR is None:
        return None
    try:
        return (CACHE_DIR / name).read_bytes()
    except OSError:
        return None


def _write(name: str, data: bytes) -> None:
    if CACHE_DIR is None:
        return
    try:
        fd, temporary = tempfile.mkstemp(dir=CACHE_DIR)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
        os.replace(temporary, CACHE_DIR / name)
    except OSError:
        pass  # read-only or full: the kernel works, it is only not remembered


# --- engine functions -----------------------------------------------------------------------------


class _Locator(_CacheLocator):
    def __init__(self, py_func: Callable, py_file: str) -> None:
        self._name = py_func.__qualname__

    def get_cache_path(self) -> str:
        return str(CACHE_DIR)

    def get_source_stamp(self) -> str:
        return "current"  # the folder's name already pins every source

    def get_disambiguator(self) -> str:
        return self._name

    @classmethod
    def from_function(cls, py_func: Callable, py_file: str) -> _Locator | None:
        return cls(py_func, py_file) if CACHE_DIR is not None else None


class _CacheImpl(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 - Numba's own name and type


class _Cache(FunctionCache):
    _impl_class = _CacheImpl


def jit(function: Callable) -> Any:
    """Compile an engine function (called from Python or from other engine functions)."""
    dispatcher = numba.njit(**FLAGS)(function)
    if CACHE_DIR is not None and not numba.config.DISABLE_JIT:
        dispatcher._cache = _Cache(function)
    return dispatcher


# --- raw memory inside jitted code ----------------------------------------------------------------


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


@numba.njit(**FLAGS)
def words(a):
    """View an ``int64`` array as a bare pointer: no wrap-around of negative indices, no strides."""
    return array(a.ctypes.data, 0, np.int64)


@numba.njit(**FLAGS)
def at(address):
    """View ``int64`` words at an address."""
    return array(address, 0, np.int64)


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


def inner(function: Callable) -> Any:
    """Compile a function that only jitted code calls, and that no cache may keep."""
    return numba.njit(**FLAGS)(function)


@intrinsic
def like(typingctx, value, x):
    """``value`` in the dtype of ``x``."""
    target = types.unliteral(x)

    def codegen(context, builder, signature, args):
        return context.cast(builder, args[0], signature.args[0], signature.return_type)

    return target(value, x), codegen


@intrinsic
def muladd(typingctx, x, y, z):
    """``x * y + z``, fused where the machine does that at no cost."""
    double = ir.DoubleType()

    def codegen(context, builder, signature, args):
        signature = ir.FunctionType(double, [double] * 3)
        function = builder.module.declare_intrinsic("llvm.fmuladd", [double], signature)
        return builder.call(function, args)

    return types.float64(types.float64, types.float64, types.float64), codegen


@intrinsic
def f64_to_bits(typingctx, x):
    """The 64 bits of a float64, as an int64."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.IntType(64))

    return types.int64(types.float64), codegen


@intrinsic
def bits_to_f64(typingctx, bits):
    """The float64 that 64 bits stand for."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(args[0], ir.DoubleType())

    return types.float64(types.int64), codegen


# --- kernels --------------------------------------------------------------------------------------

if hasattr(os, "register_at_fork"):
    # A child forked while another thread compiles would wait for that thread, which it does not have.
    os.register_at_fork(
        before=global_compiler_lock.acquire,
        after_in_parent=global_compiler_lock.release,
        after_in_child=global_compiler_lock.release,
    )

_libraries: dict[str, Any] = {}  # machine code stays mapped for as long as the process lives
_jitted: dict[Any, Any] = {}
_BITS = {
    "like": like,
    "f64_to_bits": f64_to_bits,
    "bits_to_f64": bits_to_f64,
    "call_n": call_n,
    "muladd": muladd,
}
_FAST: dict[bool, Any] = {False: False, True: {"reassoc", "contract"}}


def _device(function: Callable, names: dict[str, Any], fastmath: bool = False) -> Any:
    """Jit a plain helper function, with the globals a kernel sees (memoised per dtype)."""
    key = (function, names.get("T"), names.get("TO"), fastmath)
    if key not in _jitted:
        bound = _rebind(function, names, fastmath)
        # scalar functions and rules: a call left in a tile loop would keep it from being vectorised
        jitted = numba.njit(**FLAGS, forceinline=not names, fastmath=_FAST[fastmath])(bound)
        integer = getattr(function, "integer", None)
        if integer is not None:
            jitted = _by_kind(jitted, _device(integer, names), function.__code__.co_argcount)
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
    return numba.njit(**FLAGS)(call)


def _rebind(function: Callable, names: dict[str, Any], fastmath: bool = False) -> Any:
    """Copy ``function`` with ``names`` as globals and the plain functions it calls jitted."""
    scope = dict(function.__globals__)
    scope.update(names)
    for name in _global_names(function.__code__):
        value = scope.get(name)
        if isinstance(value, pytypes.FunctionType) and value.__module__.startswith("tapegrad."):
            if value is memory.array:
                scope[name] = array
            elif value.__module__ == memory.__name__ and value.__name__ in _BITS:
                scope[name] = _BITS[value.__name__]
            else:
                scope[name] = _device(value, names, fastmath)
        elif value is scalar:
            scope[name] = scalar_namespace()
    copy = pytypes.FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, function.__closure__
    )
    copy.__module__ = function.__module__
    return copy


def _global_names(code: pytypes.CodeType) -> set[str]:
    names = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    for constant in code.co_consts:
        if isinstance(constant, pytypes.CodeType):
            names |= _global_names(constant)
    return names


def device_rule(rule: Callable, near: bool = False) -> Any:
    """Jit a derivative rule (its ``f`` becomes the namespace of jitted scalar functions)."""
    with global_compiler_lock:
        if near:
            scope = {**rule.__globals__, "f": scalar_namespace(True)}
            rule = pytypes.FunctionType(rule.__code__, scope, rule.__name__)
        return _device(rule, {})


_scalars: dict[bool, pytypes.ModuleType] = {}


def scalar_namespace(near: bool = False) -> pytypes.ModuleType:
    """The functions of ``kernels.scalar``, jitted, as a namespace that kernels may use.

    With ``near``, those that have a branch-free form for arguments up to ``NEAR`` are that form.
    """
    with global_compiler_lock:
        if near not in _scalars:
            space = pytypes.ModuleType("tapegrad_scalars")
            for name, value in vars(scalar).items():
                if isinstance(value, pytypes.FunctionType):
                    chosen = getattr(value, "near", value) if near else value
                    setattr(space, name, _device(chosen, {}))
            _scalars[near] = space
    return _scalars[near]


def kernel(
    name: str,
    function: Callable,
    n_args: int,
    names: dict[str, Any],
    fastmath: bool = False,
    keep: bool = True,
) -> int:
    """Compile (or load) ``function`` as a C function of ``n_args`` integers; return its address.

    Parameters
    ----------
    name : str
        Unique name, also the file in the cache.
    function : callable
        Plain Python kernel.  Its globals are overridden by ``names`` (dtypes, inner functions).
    n_args : int
        Number of ``int64`` arguments; the result is an ``int64`` status, 0 for success.
    names : dict
        Globals to substitute, e.g. ``{"T": np.float32}``.
    fastmath : bool
        Allow reassociation, for sums that must vectorise.
    keep : bool
        Whether the cache may keep it: not if ``name`` could mean something else to another program.
    """
    with global_compiler_lock:
        if name in _libraries:
            return _libraries[name][1]
        cpu_target.target_context.refresh()  # loads the runtime that machine code links against
        codegen = cpu_target.target_context.codegen()
        data = _read(name + ".kernel") if keep else None
        if data is not None:
            symbol, state = pickle.loads(data)
            library = codegen.unserialize_library(state)
        else:
            start = time.perf_counter()
            bound = _rebind(function, names, fastmath)
            bound.__name__ = bound.__qualname__ = name
            signature = ((types.int64,) * n_args, types.int64)
            options = {**FLAGS, "fastmath": _FAST[fastmath]}
            options.pop("nogil")
            function_object = CFunc(bound, signature, {}, options)
            result = function_object._compile_uncached()
            library, symbol = result.library, result.fndesc.llvm_cfunc_wrapper_name
            if keep:
                library.enable_object_caching()
                library.get_pointer_to_function(symbol)
                _write(name + ".kernel", pickle.dumps((symbol, library.serialize_using_object_code())))
            compiled[name] = time.perf_counter() - start
        address = library.get_pointer_to_function(symbol)
        _libraries[name] = (library, address)
        return address
