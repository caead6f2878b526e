"""Raw memory as arrays, calls by address, bits: the plain-Python twins of what jitted code uses.

Compiled, each name of ``INTRINSIC`` is the function of that name in `tapegrad._intrinsics`.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

INTRINSIC = (
    "allocate", "array", "at", "bits_to_f64", "call_n", "copy_bytes", "f64_to_bits", "fill_bytes",
    "give_back", "invoke", "like", "muladd", "release", "stack", "take", "word", "words",
)  # fmt: skip
__all__ = [*INTRINSIC, "INTRINSIC", "TO", "T", "int64"]

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


def at(address: int) -> Any:
    """View ``int64`` words at an address."""
    return ctypes.cast(int(address), ctypes.POINTER(ctypes.c_int64))


def words(a: np.ndarray) -> Any:
    """View an ``int64`` array as a bare pointer: no wrap-around of negative indices, no strides."""
    return at(a.ctypes.data)


def allocate(n: int) -> Any:
    """``n`` words, uninitialised, until ``release``."""
    return (ctypes.c_int64 * max(int(n), 1))()


def release(pointer: Any) -> None:
    """Give back what ``allocate`` returned."""


def stack(n: int) -> Any:
    """Room for ``n`` (a literal) words until the calling function returns."""
    return (ctypes.c_int64 * n)()


def word(pointer: Any) -> int:
    """A pointer as an integer."""
    return ctypes.cast(pointer, ctypes.c_void_p).value or 0


def invoke(target: int, words: tuple) -> int:
    """Call the C function at ``target`` with a tuple of integers; its integer result is a status."""
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * len(words))
    return int(kind(int(target))(*[int(w) for w in words]))


def fill_bytes(address: int, value: int, n: int) -> None:
    """``memset(address, value, n)``."""
    ctypes.memset(int(address), int(value), int(n))


def copy_bytes(target: int, source: int, n: int) -> None:
    """``memcpy(target, source, n)``."""
    ctypes.memmove(int(target), int(source), int(n))


def take(address: int) -> bool:
    """Take the lock in the word at ``address``; whether it was free.  Atomic when compiled."""
    word = at(address)
    free = word[0] == 0
    word[0] = 1
    return free


def give_back(address: int) -> None:
    """Release the lock in the word at ``address``."""
    at(address)[0] = 0


def call_n(target: int, words: tuple) -> None:
    """Call the C function at ``target`` with integers or addresses."""
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(words))(int(target))(*[int(w) for w in words])


def muladd(x: Any, y: Any, z: Any) -> Any:
    """``x * y + z``; compiled, it is rounded once where the machine has such an instruction."""
    return x * y + z
