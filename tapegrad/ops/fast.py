"""Recording at the speed of machine code: operators and functions of elementwise rows, once the engine runs.

`ops.record` is how operations are recorded; `kernels.record` is the same for the common case, compiled.
``install`` puts it in front: operators of ``Tensor`` become method descriptors around it, the functions of
the namespace stay what they are and call it.  It is called when the engine is imported, so that ``import
tapegrad`` loads no machine code.

On Pythons without what it needs (3.10 has no way to ask a frame for its instruction) nothing is installed.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from tapegrad.kernels.record import COMMON, OPERATION, append_row, record_elementwise
from tapegrad.ops import record
from tapegrad.ops.table import Kind, Row
from tapegrad.spec import Spec
from tapegrad.tape import GRAD, Tape, current
from tapegrad.tensor import Tensor

__all__ = ["front", "install", "supported"]

_functions: list[tuple[Row, FunctionType]] = []  # row, what calls its Python form
_operators: list[tuple[Row, str, str, Callable]] = []  # row, name of the Python form, attribute, that form
_kept: list[Any] = []
installed = False


def supported() -> bool:
    """Whether this Python has all that the compiled form needs."""
    return (
        sys.implementation.name == "cpython"
        and sys.version_info >= (3, 11)
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
    )


def eligible(row: Row) -> bool:
    """Whether the row has a fast path: elementwise, one or two operands, floating results."""
    floating = row.kind is Kind.ELEMENTWISE and row.dtype_rule in ("same", "float")
    return floating and bool(row.rules) and row.arity <= 2


def front(row: Row, python: Callable) -> Callable:
    """A function of the namespace that calls ``python`` now, and the compiled form once that is installed."""
    call = python
    if row.arity == 1:

        def unary(x: Any, /) -> Tensor:
            return call(x)

        function: Any = unary
    else:

        def binary(x: Any, y: Any, /) -> Tensor:
            return call(x, y)

        function = binary
    _functions.append((row, function))
    return function


def operator(row: Row, form: str, name: str, python: Callable) -> None:
    """Note an operator of ``Tensor``, which is ``python`` until the compiled form is installed."""
    _operators.append((row, form, name, python))


# --- the words ------------------------------------------------------------------------------------


def _offset(kind: type, name: str) -> int:
    """Where objects of a class keep one of their slots, in words: found by looking for a marker."""
    marker = object()
    thing: Any = object.__new__(kind)
    getattr(kind, name).__set__(thing, marker)
    size = kind.__basicsize__ // 8
    words = (ctypes.c_int64 * size).from_address(id(thing))
    found = [k for k in range(2, size) if words[k] == id(marker)]
    if len(found) != 1:
        raise RuntimeError(f"internal error: {kind.__name__}.{name} is not where slots are")
    return found[0]


_ATTRIBUTES = {
    "t_tape": (Tensor, "_tape"), "t_slot": (Tensor, "_slot"), "t_spec": (Tensor, "_spec"),
    "t_rg": (Tensor, "_rg"), "t_value": (Tensor, "_value"), "t_extra": (Tensor, "_extra"),
    "s_id": (Spec, "id"), "s_floating": (Spec, "floating"), "s_big": (Spec, "big"),
    "s_joined": (Spec, "joined"),
    "p_tensors": (Tape, "tensors"), "p_places": (Tape, "places"),
    "p_consts": (Tape, "consts"), "p_code": (Tape, "code"), "p_offsets": (Tape, "offsets"),
    "p_limit": (Tape, "limit"), "p_grad_enabled": (Tape, "grad_enabled"),
}  # fmt: skip
_API = {
    "GetAttr": "PyObject_GetAttr", "IncRef": "Py_IncRef", "DecRef": "Py_DecRef",
    "GenericAlloc": "PyType_GenericAlloc", "AsLong": "PyLong_AsSsize_t",
    "AsLongOverflow": "PyLong_AsLongLongAndOverflow", "FromLong": "PyLong_FromSsize_t",
    "Append": "PyList_Append",
    "GetFrame": "PyEval_GetFrame", "GetCode": "PyFrame_GetCode", "GetLasti": "PyFrame_GetLasti",
    "Vectorcall": "PyObject_Vectorcall", "GetItem": "PyDict_GetItem",
}  # fmt: skip


def _common() -> np.ndarray:
    """The words that all operations share."""
    name, one = sys.intern("tape"), np.array([id(1)], np.int64)
    objects = {
        "tensor_type": Tensor, "float_type": float, "int_type": int, "none": None, "true": True,
        "false": False,
        "zero": 0, "two": 2, "current": current, "tape_name": name, "getframe": sys._getframe,
    }  # fmt: skip
    words = np.zeros(len(COMMON), np.int64)
    for k, entry in enumerate(COMMON):
        if entry in objects:
            words[k] = id(objects[entry])
        elif entry in _ATTRIBUTES:
            words[k] = _offset(*_ATTRIBUTES[entry])
        elif entry in _API:
            function = getattr(ctypes.pythonapi, _API[entry])
            words[k] = ctypes.cast(function, ctypes.c_void_p).value
    words[COMMON.index("one")] = one.ctypes.data
    _kept.append((name, one, words, objects))
    return words


def _operation(row: Row | None, form: str, named: bool, python: Callable, common: np.ndarray) -> np.ndarray:
    op, arity = (row.op, row.arity) if row is not None else (0, 0)
    values = {
        "op": op, "op_grad": op | GRAD, "arity": arity, "reflected": form == "reflected",
        "named": named, "python": id(python), "common": common.ctypes.data,
    }  # fmt: skip
    _kept.append(python)
    return np.array([values[k] for k in OPERATION], np.int64)


def install(compiling: bool = False) -> None:
    """Load the compiled form and put it in front of the Python one.

    It is only compiled when ``compiling``: half a second that a program's first gradient need not wait for.
    """
    global installed
    if installed or not supported():
        return
    from tapegrad import _jit, _machine

    if not compiling and not (_jit.cached("record_elementwise") and _jit.cached("append_row")):
        return
    installed = True
    address = _jit.kernel("record_elementwise", record_elementwise, 3, {})
    common = _common()
    for row, function in _functions:
        cell = function.__closure__[0]  # type: ignore[index]
        python = cell.cell_contents
        words = _operation(row, "function", True, python, common)
        cell.cell_contents = _machine.fast_function(row.name, address, words)
    words = _operation(None, "append_row", False, record.append_row, common)
    address_of_append = _jit.kernel("append_row", append_row, 3, {})
    record.append_row = _machine.fast_function("append_row", address_of_append, words)  # type: ignore[assignment]
    words_of = [_operation(row, form, False, python, common) for row, form, _, python in _operators]
    names = [name for _, _, name, _ in _operators]
    for name, method in zip(names, _machine.methods(Tensor, names, address, words_of)):
        setattr(Tensor, name, method)
