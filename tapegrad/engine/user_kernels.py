"""A user's own functions as kernels.

They are compiled in this process and never written to the cache on disk: another program may use the same
name for something else.  An exception inside compiled code becomes a status that carries the row's
number; the operands that caused it are noted, so that `user_error` can call the function again in plain
Python and say what went wrong.
"""

from __future__ import annotations

import ctypes
import re
import threading
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.errors import NumbaError
from numba.core.registry import cpu_target
from numba.extending import intrinsic, is_jitted
from numba.np.arrayobj import populate_array
from numba.np.numpy_support import from_dtype

from tapegrad import _intrinsics, _jit
from tapegrad._compile import FLAGS
from tapegrad.engine.layout import OP_MASK, USER_STATUS
from tapegrad.kernels.memory import TO, T, array
from tapegrad.ops.table import rows

if TYPE_CHECKING:
    from tapegrad.ops.table import Row

__all__ = ["ArrayCode", "ScalarCode", "compile_scalar", "is_jitted", "jitted", "result_type", "user_error"]

# Statuses, plus the row's number.  Engine statuses are small or negative.
RAISED, WRONG_SHAPE = USER_STATUS, 2 * USER_STATUS

OP: Callable = abs  # placeholders: the compiler substitutes what a kernel is built for
REPORT = STATUS = 0


def unary(n, out, x, y, z):
    o, a = array(out, n, TO), array(x, n, T)
    i = 0
    try:
        for i in range(n):
            o[i] = OP(a[i])
    except Exception:
        array(REPORT, 3, np.float64)[0] = a[i]
        return STATUS
    return 0


def binary(n, out, x, y, z):
    o, a, b = array(out, n, TO), array(x, n, T), array(y, n, T)
    i = 0
    try:
        for i in range(n):
            o[i] = OP(a[i], b[i])
    except Exception:
        w = array(REPORT, 3, np.float64)
        w[0], w[1] = a[i], b[i]
        return STATUS
    return 0


def ternary(n, out, x, y, z):
    o, a, b, c = array(out, n, TO), array(x, n, T), array(y, n, T), array(z, n, T)
    i = 0
    try:
        for i in range(n):
            o[i] = OP(a[i], b[i], c[i])
    except Exception:
        w = array(REPORT, 3, np.float64)
        w[0], w[1], w[2] = a[i], b[i], c[i]
        return STATUS
    return 0


# A cotangent of exactly zero contributes zero, as everywhere.
def unary_rule(n, gx, g, out, x, y, z):
    o, a = array(out, n, TO), array(x, n, T)
    go, ga = array(g, n, TO), array(gx, n, T)
    try:
        for i in range(n):
            gi = go[i]
            d = OP(gi, o[i], a[i])
            ga[i] += d if gi != 0 else gi * 0
    except Exception:
        return STATUS
    return 0


def binary_rule(n, gx, g, out, x, y, z):
    o, a, b = array(out, n, TO), array(x, n, T), array(y, n, T)
    go, ga = array(g, n, TO), array(gx, n, T)
    try:
        for i in range(n):
            gi = go[i]
            d = OP(gi, o[i], a[i], b[i])
            ga[i] += d if gi != 0 else gi * 0
    except Exception:
        return STATUS
    return 0


def ternary_rule(n, gx, g, out, x, y, z):
    o, a, b, c = array(out, n, TO), array(x, n, T), array(y, n, T), array(z, n, T)
    go, ga = array(g, n, TO), array(gx, n, T)
    try:
        for i in range(n):
            gi = go[i]
            d = OP(gi, o[i], a[i], b[i], c[i])
            ga[i] += d if gi != 0 else gi * 0
    except Exception:
        return STATUS
    return 0


_FORWARD = {1: unary, 2: binary, 3: ternary}
_RULE = {1: unary_rule, 2: binary_rule, 3: ternary_rule}


# --- asking the compiler --------------------------------------------------------------------------


def jitted(function: Callable, checked: bool = False) -> Any:
    """A jitted function as it is; another one jitted as kernels are, with NumPy's errors in arithmetic.

    With ``checked`` an index out of bounds is an error.
    """
    return function if is_jitted(function) else numba.njit(**{**FLAGS, "boundscheck": checked})(function)


def result_type(name: str, function: Any, operands: Sequence[Any], what: str) -> Any:
    """The type that a jitted function returns for operand types.

    Raises
    ------
    TypeError
        With the compiler's reason, if the function does not compile.
    """
    try:
        signature = cpu_target.typing_context.resolve_function_type(
            numba.typeof(function), tuple(operands), {}
        )
    except NumbaError as error:
        shown = ", ".join(map(str, operands))
        raise TypeError(f"{name}: {what} does not compile for ({shown}): {_reason(error)}") from None
    if signature is None:
        raise TypeError(f"{name}: {what} takes no arguments of types ({', '.join(map(str, operands))})")
    return signature.return_type


def _reason(error: Exception) -> str:
    """The first line of a compiler error that says something."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    lines = [line.strip() for line in text.splitlines()]
    noise = ("Failed in", "-", "During", "Invalid use of", "Known signatures", "There are", "Overload")
    useful = [line for line in lines if line and not line.startswith(noise)]
    return (useful or lines or ["no reason given"])[0]


def compile_scalar(source: str, scope: dict[str, Any]) -> Any:
    """Jit a function of scalars from generated source, to be inlined into tile loops."""
    space = {"__name__": __name__, **scope}
    exec(source, space)
    return numba.njit(**FLAGS, forceinline=True)(space["rule"])


def _build(row: Row, part: str, function: Callable, n_args: int, names: dict[str, Any]) -> int:
    name = f"{row.name}_{row.op}_{part}"
    try:
        return _jit.foreign(name, function, n_args, names)
    except NumbaError as error:
        raise TypeError(f"{row.name}: {part} does not compile: {_reason(error)}") from None


# --- elementwise rows -----------------------------------------------------------------------------


class ScalarCode:
    """The functions of scalars behind one elementwise row."""

    def __init__(self, forward: Any, rules: Sequence[Any], missing: str) -> None:
        self.forward = forward
        self.rules = tuple(rules)  # jitted ``rule(g, out, x, ...)``; ``None``: see ``missing``
        self.missing = missing  # what to say when a rule is wanted that does not exist
        self.report = np.zeros(3)

    def build(self, row: Row, dtype: np.dtype, which: int, result: np.dtype) -> int:
        """Compile the forward kernel (``which == 0``) or that of a rule; return its address."""
        out = np.uint8 if result.kind == "b" else result.type
        t = np.uint8 if dtype.kind == "b" else dtype.type
        names: dict[str, Any] = {"T": t, "TO": out, "STATUS": RAISED | row.op}
        names["REPORT"] = self.report.ctypes.data
        if which == 0:
            names["OP"] = self.forward
            return _build(row, f"forward_{dtype.name}", _FORWARD[row.arity], 5, names)
        names["OP"], names["TO"] = self.rules[which - 1], t
        if names["OP"] is None:
            raise RuntimeError(self.missing)
        return _build(row, f"derivative_{which - 1}_{dtype.name}", _RULE[row.arity], 7, names)

    def repeat(self, row: Row) -> None:
        """Call the function on the operands that it failed for, for the sake of its exception."""
        _python(self.forward)(*self.report[: row.arity].tolist())


# --- rows of arrays -------------------------------------------------------------------------------


def array_type(dtype: np.dtype, ndim: int, mutable: bool) -> Any:
    """What a kernel's operand looks like to the user's function."""
    return types.Array(from_dtype(dtype), ndim, "C", readonly=not mutable)


def _viewer(kind: Any) -> Any:
    """An intrinsic: the array of type ``kind`` at an address, its shape read from another."""

    @intrinsic
    def view(typingctx, address, shape):
        def codegen(context, builder, signature, args):
            word = ir.IntType(64)
            result = context.make_array(kind)(context, builder)
            lengths = builder.inttoptr(args[1], word.as_pointer())
            dims = [builder.load(builder.gep(lengths, [ir.Constant(word, k)])) for k in range(kind.ndim)]
            itemsize = context.get_constant(
                types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype))
            )
            strides: list[Any] = []
            step = itemsize
            for n in reversed(dims):
                strides.insert(0, step)
                step = builder.mul(step, n)
            data = builder.inttoptr(args[0], result.data.type)
            populate_array(result, data, dims, strides, itemsize, None)
            return result._getvalue()

        return kind(types.int64, types.int64), codegen

    return view


@numba.njit(**FLAGS)
def _store(out, value, wrong):
    """Copy what the user's function returned; refuse another shape."""
    for k in range(out.ndim):
        if value.shape[k] != out.shape[k]:
            return wrong
    for index, v in np.ndenumerate(value):
        out[index] = v
    return 0


@numba.njit(**FLAGS)
def _store_element(out, value, wrong):
    out[()] = value[()]
    return 0


@numba.njit(**FLAGS)
def _store_number(out, value, wrong):
    out[()] = value
    return 0


class ArrayCode:
    """The function of arrays behind one structured row.

    Parameters
    ----------
    name : str
        For errors.
    forward : jitted function
        ``forward(*arguments) -> array``.
    ndims : sequence of int
        Number of dimensions of each argument.
    out_ndim : int
        Number of dimensions of the result.
    sources : sequence of int
        Per argument, which operand of the row (0 to 2) holds it; -1 for one that is not read.
    pick : int
        Which element, if the function returns a tuple; -1 for one that does not.

    The row's parameters are, per argument, its offset in elements into its operand; then the
    result's shape; then the arguments' shapes.
    """

    def __init__(
        self,
        name: str,
        forward: Any,
        ndims: Sequence[int],
        out_ndim: int,
        sources: Sequence[int],
        pick: int = -1,
    ) -> None:
        self.name, self.forward = name, forward
        self.ndims, self.out_ndim = tuple(ndims), out_ndim
        self.sources, self.pick = tuple(sources), pick
        self.report = np.zeros(4, np.int64)
        self.types: dict[np.dtype, tuple[bool, Any]] = {}
        self.lock = threading.Lock()
        self.dtype = np.dtype(np.float64)  # of the run that failed

    def returned(self, dtype: np.dtype, what: str) -> tuple[bool, Any]:
        """Whether operands must be copied for the function, and the type it returns.

        Raises
        ------
        TypeError
            If it does not compile, or returns something else than arrays of ``out_ndim`` dimensions.
        """
        with self.lock:
            if dtype not in self.types:
                self.types[dtype] = self._resolve(dtype, what)
            return self.types[dtype]

    def _resolve(self, dtype: np.dtype, what: str) -> tuple[bool, Any]:
        mutable = False
        try:
            found = result_type(self.name, self.forward, self._operands(dtype, False), what)
        except TypeError:  # a function that writes into its operands gets copies
            mutable = True
            found = result_type(self.name, self.forward, self._operands(dtype, True), what)
        if self.pick >= 0:
            if not isinstance(found, types.BaseTuple) or self.pick >= len(found):
                raise TypeError(
                    f"{self.name}: {what} must return a tuple with one array per operand, not {found}"
                )
            found = found[self.pick]
        ndim = found.ndim if isinstance(found, types.Array) else 0 if isinstance(found, NUMBERS) else -1
        element = found.dtype if isinstance(found, types.Array) else found
        if ndim < 0 or not isinstance(element, NUMBERS):
            raise TypeError(f"{self.name}: {what} must return an array of real numbers, not {found}")
        if ndim != self.out_ndim:
            raise TypeError(
                f"{self.name}: {what} returns an array of {ndim} dimensions for operands of {self.ndims} "
                f"dimensions, but {self.out_ndim} are expected; say with shape= what shape the result has"
            )
        return mutable, found

    def _operands(self, dtype: np.dtype, mutable: bool) -> list[Any]:
        return [array_type(dtype, n, mutable) for n in self.ndims]

    def build(self, row: Row, dtype: np.dtype, which: int, result: np.dtype) -> int:
        """Compile the kernel; return its address."""
        mutable, found = self.returned(dtype, "the function")
        names: dict[str, Any] = {
            "USER": self.forward,
            "FAILED": RAISED | row.op,
            "WRONG": WRONG_SHAPE | row.op,
        }
        names["REPORT"] = self.report.ctypes.data
        names["array"], names["i8"] = _intrinsics.array, np.int64
        store = (
            _store if self.out_ndim else _store_element if isinstance(found, types.Array) else _store_number
        )
        names["STORE"], names["VOUT"] = store, _viewer(array_type(result, self.out_ndim, True))
        n = len(self.ndims)
        at = n + self.out_ndim
        arguments = []
        for j, (ndim, source) in enumerate(zip(self.ndims, self.sources)):
            names[f"V{j}"] = _viewer(array_type(dtype, ndim, mutable))
            base = f"{'xyz'[max(source, 0)]} + {dtype.itemsize} * d[{j}]"
            copied = ".copy()" if mutable and source >= 0 else ""
            arguments.append(f"V{j}({base}, p + {8 * at}){copied}")
            at += ndim
        pick = f"[{self.pick}]" if self.pick >= 0 else ""
        source_text = (
            "def kernel(out, x, y, z, p, q):\n"
            f"    d = array(p, {at}, i8)\n"
            "    try:\n"
            f"        return STORE(VOUT(out, p + {8 * n}), USER({', '.join(arguments)}){pick}, WRONG)\n"
            "    except Exception:\n"
            "        w = array(REPORT, 4, i8)\n"
            "        w[0], w[1], w[2], w[3] = x, y, z, p\n"
            "        return FAILED\n"
        )
        space: dict[str, Any] = {"__name__": __name__}
        exec(source_text, space)
        self.dtype = dtype
        return _build(row, f"{dtype.name}_{result.name}", space["kernel"], 6, names)

    def repeat(self, row: Row) -> None:
        """Call the function on the operands that it failed for, for the sake of its exception."""
        *addresses, p = self.report.tolist()
        n = len(self.ndims)
        words = (ctypes.c_int64 * (n + self.out_ndim + sum(self.ndims))).from_address(p)
        at = n + self.out_ndim
        arguments = []
        for j, (ndim, source) in enumerate(zip(self.ndims, self.sources)):
            shape = tuple(words[at : at + ndim])
            at += ndim
            size = int(np.prod(shape, dtype=np.int64))
            if source < 0 or size == 0:
                arguments.append(np.zeros(shape, self.dtype))
                continue
            start = addresses[source] + self.dtype.itemsize * words[j]
            raw = ctypes.string_at(start, size * self.dtype.itemsize)
            arguments.append(np.frombuffer(bytearray(raw), self.dtype).reshape(shape))
        _python(self.forward)(*arguments)


NUMBERS = (types.Float, types.Integer, types.Boolean)


def _python(function: Any) -> FunctionType:
    return getattr(function, "py_func", function)


def user_error(status: int, place: str) -> Exception:
    """The exception for a status that a user's kernel returned.

    Must be called while the operands are still in memory.
    """
    row = rows[status & OP_MASK]
    if status & WRONG_SHAPE:
        return ValueError(
            f"{row.name}: the function returned an array of another shape than its shape= said "
            f"(recorded at {place}); correct the one or the other"
        )
    what = f"{row.name}: the function raised an exception in compiled code, recorded at {place}"
    try:
        row.user.repeat(row)
    except Exception as cause:
        error = RuntimeError(f"{row.name}: {type(cause).__name__}: {cause} (recorded at {place})")
        error.__cause__ = cause
        return error
    return RuntimeError(f"{what}; call it on the same values in plain Python to see which")
