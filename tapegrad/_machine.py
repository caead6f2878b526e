"""Machine code without its compiler: cached objects are loaded by LLVM alone, and called as builtins.

Numba takes a fifth of a second to import and as long again to load its first function; a process whose code
is in the cache needs neither.  An object on disk is linked into the process here, and an engine function is a
``builtin_function_or_method`` whose C code reads integers and the fields of arrays out of the argument
objects: 60 ns a call, where a Numba dispatcher takes 200 to 700.

Where CPython and NumPy keep those fields is part of their binary interfaces, and is checked when this
module is imported.
"""

from __future__ import annotations

import contextlib
import ctypes
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np

__all__ = ["Layout", "builtin", "fast_function", "host", "link", "lock", "methods", "symbols_missing"]

lock = threading.RLock()  # linking, compiling, and the tables of both

with contextlib.suppress(RuntimeError):  # newer versions do it by themselves
    llvm.initialize()
llvm.initialize_native_target()
llvm.initialize_native_asmprinter()


class Layout:
    """Byte offsets in a Python object, and in an array's."""

    TYPE = 8
    DATA, NDIM, SHAPE, STRIDES, DTYPE, FLAGS = 16, 24, 32, 40, 56, 64
    C_CONTIGUOUS = 1


def _check_layout() -> None:
    probe = np.arange(6.0).reshape(2, 3)

    def word(address: int) -> int:
        return struct.unpack("<q", ctypes.string_at(address, 8))[0]

    start = id(probe)
    flags = struct.unpack("<i", ctypes.string_at(start + Layout.FLAGS, 4))[0]
    fits = (
        word(start + Layout.TYPE) == id(np.ndarray)
        and word(start + Layout.DATA) == probe.ctypes.data
        and word(start + Layout.NDIM) & 0xFFFFFFFF == 2
        and word(start + Layout.DTYPE) == id(probe.dtype)
        and flags & Layout.C_CONTIGUOUS
        and (word(word(start + Layout.SHAPE)), word(word(start + Layout.STRIDES))) == (2, 24)
    )
    if not fits:
        raise ImportError("tapegrad: arrays are laid out in an unknown way on this Python and NumPy")


_check_layout()


# --- linking --------------------------------------------------------------------------------------

_engine: Any = None
_declared: set[str] = set()


def _linker() -> Any:
    global _engine
    if _engine is None:
        _engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target())
    return _engine


def _target(opt: int = 2) -> Any:
    """LLVM's code generator for this machine."""
    triple = llvm.Target.from_default_triple()
    return triple.create_target_machine(opt=opt, codemodel="jitdefault", jit=True)


def host() -> tuple[str, str]:
    """The processor and its features, as LLVM names them."""
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


# Numba's names for functions of the C library.
ALIASES = {"numba_nextafter": "nextafter", "numba_nextafterf": "nextafterf"}


def symbols_missing(names: Sequence[str]) -> list[str]:
    """Those symbols that this process does not have: LLVM would end the process for them."""
    missing = []
    for name in names:
        if name in _declared:
            continue
        if name in ALIASES or not llvm.address_of_symbol(name):
            try:
                function = getattr(ctypes.pythonapi, ALIASES.get(name, name))
            except AttributeError:
                missing.append(name)
                continue
            llvm.add_symbol(name, ctypes.cast(function, ctypes.c_void_p).value)
        _declared.add(name)
    return missing


def link(data: bytes, *symbols: str) -> list[int]:
    """Load an object file into the process; return the addresses of functions in it."""
    with lock:
        engine = _linker()
        engine.add_object_file(llvm.ObjectFileRef.from_data(data))
        engine.finalize_object()
        return [int(engine.get_function_address(symbol)) for symbol in symbols]


# --- calling --------------------------------------------------------------------------------------

# The words behind a builtin: its C code, what Python runs while there is none, the type of arrays, and the
# dtype of each argument that is one.
W_CODE, W_RESOLVE, W_ARRAY, W_DTYPES = range(4)
MOST_ARGUMENTS = 28


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("code", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


METH_FASTCALL = 0x80
_new = ctypes.pythonapi.PyCFunction_NewEx
_new.restype, _new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p]
_immortal: list[Any] = []

# Calls the code that the first word names; while it is zero, the Python function.
ENTER = f"""
declare i8* @PyObject_VectorcallDict(i8*, i8**, i64, i8*)
define i8* @tapegrad_enter(i8* %self, i8** %args, i64 %n) {{
  %place = getelementptr i8, i8* %self, i64 {Layout.DATA}
  %pointer = bitcast i8* %place to i64**
  %words = load i64*, i64** %pointer
  %code = load i64, i64* %words
  %none = icmp eq i64 %code, 0
  br i1 %none, label %resolve, label %run
run:
  %f = inttoptr i64 %code to i8* (i8*, i8**, i64)*
  %out = tail call i8* %f(i8* %self, i8** %args, i64 %n)
  ret i8* %out
resolve:
  %at = getelementptr i64, i64* %words, i64 {W_RESOLVE}
  %word = load i64, i64* %at
  %python = inttoptr i64 %word to i8*
  %other = tail call i8* @PyObject_VectorcallDict(i8* %python, i8** %args, i64 %n, i8* null)
  ret i8* %other
}}
"""
_enter = 0


def _entry() -> int:
    global _enter
    if not _enter:
        if symbols_missing(["PyObject_VectorcallDict"]):
            raise ImportError("tapegrad: this Python does not export PyObject_VectorcallDict")
        (_enter,) = link(_target().emit_object(llvm.parse_assembly(ENTER)), "tapegrad_enter")
    return _enter


def builtin(name: str, resolve: Callable) -> tuple[Any, np.ndarray]:
    """A function for Python, and the words behind it.

    It calls ``resolve`` with its arguments until ``words[W_CODE]`` is the address of C code with the
    signature of ``METH_FASTCALL``.
    """
    words = np.zeros(W_DTYPES + MOST_ARGUMENTS, np.int64)
    words[W_RESOLVE], words[W_ARRAY] = id(resolve), id(np.ndarray)
    _immortal.append(resolve)
    with lock:
        return fast_function(name, _entry(), words), words


def fast_function(name: str, code: int, words: np.ndarray) -> Any:
    """A builtin with C code of its own, which finds ``words`` as the data of its first argument."""
    definition = _MethodDef(name.encode(), code, METH_FASTCALL, None)
    function = _new(ctypes.addressof(definition), words, None)
    _immortal.append((definition, function))
    return function


# --- methods --------------------------------------------------------------------------------------

_new_method = ctypes.pythonapi.PyDescr_NewMethod
_new_method.restype, _new_method.argtypes = ctypes.py_object, [ctypes.py_object, ctypes.c_void_p]

# A method descriptor has no words of its own: its C code is a stub that knows theirs, and puts the object
# that the method is called on in front of the arguments (the first three: more are an error anyway).
STUB = """
define i8* @tapegrad_method_{name}(i8* %self, i8** %args, i64 %n) {{
  %all = alloca i8*, i64 4
  store i8* %self, i8** %all
  %few = icmp slt i64 %n, 3
  %count = select i1 %few, i64 %n, i64 3
  br label %next
next:
  %k = phi i64 [0, %0], [%k1, %copy]
  %k1 = add i64 %k, 1
  %more = icmp slt i64 %k, %count
  br i1 %more, label %copy, label %call
copy:
  %from = getelementptr i8*, i8** %args, i64 %k
  %item = load i8*, i8** %from
  %to = getelementptr i8*, i8** %all, i64 %k1
  store i8* %item, i8** %to
  br label %next
call:
  %out = call i8* inttoptr (i64 {code} to i8* (i8*, i8**, i64)*)(
    i8* inttoptr (i64 {words} to i8*), i8** %all, i64 %k1)
  ret i8* %out
}}
"""


def methods(owner: type, names: Sequence[str], code: int, words: Sequence[np.ndarray]) -> list[Any]:
    """Method descriptors of a class around the C code of ``fast_function``, called with ``self`` in front."""
    text = "".join(STUB.format(name=n, code=code, words=id(w)) for n, w in zip(names, words))
    data = _target(opt=1).emit_object(llvm.parse_assembly(text))
    made = []
    for name, w, stub in zip(names, words, link(data, *[f"tapegrad_method_{n}" for n in names])):
        definition = _MethodDef(name.encode(), stub, METH_FASTCALL, None)
        made.append(_new_method(owner, ctypes.addressof(definition)))
        _immortal.append((definition, w))
    return made
