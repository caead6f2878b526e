"""Raw memory as arrays: the plain-Python twin of the view that jitted kernels use."""

from __future__ import annotations

import collections
import ctypes
from typing import Any

import numpy as np

__all__ = [
    "TO", "T", "array", "bits_to_f64", "call_n", "f64_to_bits", "int32", "int64", "like", "muladd", "spill",
]  # fmt: skip

int32 = np.int32
int64 = np.int64
# Placeholders: the compiler substitutes the dtype a kernel is built for.
T = np.float64
TO = np.float64


def array(address: int, n: int, dtype: type) -> np.ndarray:
    """View ``n`` elements of ``dtype`` at ``address`` as a flat, writable array.

    The caller vouches for the address; in plain Python this is only used by tests.
    """
    itemsize = np.dtype(dtype).itemsize
    if n == 0:
        return np.empty(0, dtype)
    raw = (ctypes.c_char * (int(n) * itemsize)).from_address(int(address))
    return np.frombuffer(raw, dtype=dtype, count=n)


def like(value: object, x: Any) -> Any:
    """``value`` in the dtype of ``x`` (so that a literal neither widens float32 nor breaks uint64)."""
    return np.asarray(x).dtype.type(value)


def f64_to_bits(x: Any) -> Any:
    """The 64 bits of a float64, as an int64."""
    return np.float64(x).view(np.int64)


def bits_to_f64(bits: Any) -> Any:
    """The float64 that 64 bits stand for."""
    return np.int64(bits).view(np.float64)


def call_n(target: int, words: tuple) -> None:
    """Call the C function at ``target`` with integers or addresses."""
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(words))(int(target))(*[int(w) for w in words])


def muladd(x: Any, y: Any, z: Any) -> Any:
    """``x * y + z``; compiled, it is rounded once where the machine has such an instruction."""
    return x * y + z


_spilled: collections.deque = collections.deque(maxlen=1024)


def spill(value: Any) -> int:
    """The address of a copy of an integer; compiled, it lies on the stack of the calling kernel."""
    copy = ctypes.c_int64(int(value))
    _spilled.append(copy)
    return ctypes.addressof(copy)
