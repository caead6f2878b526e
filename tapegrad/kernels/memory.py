"""Raw memory as arrays, calls by address, bits: the plain-Python twins of what jitted code uses.

Compiled, each name of ``INTRINSIC`` is the function of that name in `tapegrad._intrinsics`.
"""

from __future__ import annotations

import cmath
import collections
import ctypes
from types import FunctionType
from typing import Any

import numpy as np

INTRINSIC = (
    "allocate", "array", "at", "bits_to_f32", "bits_to_f64", "butterfly_2", "butterfly_3", "butterfly_4",
    "butterfly_5", "butterfly_odd", "call_n", "conjugate", "copy_bytes", "f32_to_bits", "f64_to_bits",
    "fetch_add",
    "fill_bytes", "give_back", "imag", "invoke", "join", "lanes", "like", "many", "merge_8", "merge_lanes",
    "muladd", "product_error", "reach", "real", "relax", "release", "room", "spill", "stack", "take",
    "tile_1_1", "tile_1_2", "tile_4_1", "tile_4_2", "tile_many_1", "tile_many_2", "word", "words",
)  # fmt: skip
__all__ = [*INTRINSIC, "INTRINSIC", "NO_MEMORY", "R", "TO", "T", "int32", "int64"]

int32 = np.int32
int64 = np.int64
# Placeholders: the compiler substitutes the dtype a kernel is built for.
T = np.float64
TO = np.float64
R = np.float64  # of the parts, if T is complex

NO_MEMORY = -2  # status of a kernel that needs room to work in and does not get it


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


def real(z: Any) -> Any:
    """The real part of a number."""
    return np.real(z)


def imag(z: Any) -> Any:
    """The imaginary part of a number, 0 for a real one."""
    return np.imag(z)


def conjugate(z: Any) -> Any:
    """The conjugate of a number; a real one as it is."""
    return np.conj(z)


def join(x: Any, y: Any) -> Any:
    """The complex number of two parts of one precision."""
    z = np.empty((), np.result_type(np.asarray(x).dtype, np.complex64))
    z.real, z.imag = x, y
    return z[()]


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


def fetch_add(address: int, n: int) -> int:
    """Add ``n`` to the word at ``address``; what it was before.  Atomic when compiled."""
    word = at(address)
    before = word[0]
    word[0] = before + n
    return before


def relax() -> None:
    """Tell the processor that this is a loop that waits."""


def f32_to_bits(x: Any) -> Any:
    """The 32 bits of a float32, as an integer."""
    return np.int64(np.float32(x).view(np.int32))


def bits_to_f32(bits: Any) -> Any:
    """The float32 that the last 32 bits of an integer stand for."""
    return np.uint32(int(bits) & 0xFFFFFFFF).view(np.float32)


def call_n(target: int, words: tuple) -> None:
    """Call the C function at ``target`` with integers or addresses."""
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * len(words))(int(target))(*[int(w) for w in words])


def muladd(x: Any, y: Any, z: Any) -> Any:
    """``x * y + z``; compiled, it is rounded once where the machine has such an instruction."""
    return x * y + z


def product_error(x: Any, y: Any, p: Any) -> Any:
    """``x * y - p`` of float64 numbers, ``p`` being their rounded product: what was lost.

    Compiled, one instruction where the machine multiplies and adds without rounding in between.
    """
    a, b = bits_to_f64(f64_to_bits(x) & -(1 << 27)), bits_to_f64(f64_to_bits(y) & -(1 << 27))
    c, d = x - a, y - b  # halves, whose products are exact (Dekker 1971)
    return (((a * b - p) + a * d) + c * b) + c * d


_spilled: collections.deque = collections.deque(maxlen=1024)


def spill(value: Any) -> int:
    """The address of a copy of an integer; compiled, it lies on the stack of the calling kernel."""
    copy = ctypes.c_int64(int(value))
    _spilled.append(copy)
    return ctypes.addressof(copy)


# --- vectors: what the compiled twins do in registers (``engine.vectors``) --------------------------


def lanes(a: Any) -> int:
    """How many elements of ``a``'s kind a vector holds."""
    return 8


def many() -> int:
    """The number of rows of a full tile."""
    return 6


def reach() -> int:
    """Multiplications up to which tiles are faster than a library."""
    return 1 << 62


def room(n: int, a: Any) -> Any:
    """Memory for ``n`` elements of ``a``'s kind on the stack of the calling kernel."""
    return np.empty(n, a.dtype if isinstance(a, np.ndarray) else a.data.dtype)


def _tile(
    a: Any, at: int, row: int, step: int, b: Any, bt: int, following: int, k: int, o: Any, ot: int, ld: int,
    keep: bool, rows: int = 1, vectors: int = 1,
) -> None:  # fmt: skip
    """Add the product of some rows and some vectors to a tile of the result, or set it."""
    for r in range(rows):
        for v in range(vectors * lanes(o)):
            place = ot + r * ld + v
            total = o[place] if keep else type(o[place])(0)
            for p in range(k):
                total += a[at + r * row + p * step] * b[bt + p * following + v]
            o[place] = total


def _named(name: str, rows: int, vectors: int) -> Any:
    return FunctionType(_tile.__code__, globals(), name, (rows, vectors))


tile_many_2, tile_many_1 = _named("tile_many_2", many(), 2), _named("tile_many_1", many(), 1)
tile_4_2, tile_4_1 = _named("tile_4_2", 4, 2), _named("tile_4_1", 4, 1)
tile_1_2, tile_1_1 = _named("tile_1_2", 1, 2), _named("tile_1_1", 1, 1)


# --- small Fourier transforms of vectors (``engine.butterflies``) -----------------------------------


def _kind(a: Any) -> Any:
    return a.dtype if isinstance(a, np.ndarray) else a.data.dtype


def _pair(a: Any, at: int, far: int) -> complex:
    """A complex number in two planes, or among complex numbers, which ``far`` turns over."""
    if _kind(a).kind == "c":
        z = complex(a[at])
        return complex(z.imag, z.real) if far else z
    return complex(a[at], a[at + far])


def _put(a: Any, at: int, far: int, z: complex) -> None:
    if _kind(a).kind == "c":
        a[at] = complex(z.imag, z.real) if far else z
    else:
        a[at], a[at + far] = z.real, z.imag


def _transformed(x: list) -> list:
    r = len(x)
    roots = [cmath.exp(-2j * cmath.pi * k / r) for k in range(r)]
    return [sum(v * roots[j * k % r] for j, v in enumerate(x)) for k in range(r)]


def _butterfly(
    a: Any, at: int, far: int, step: int, b: Any, to: int, away: int, by: int, w: Any, wt: int, apart: int,
    n: int, radix: int = 2, before: int = 0,
) -> None:  # fmt: skip
    """Transform ``radix`` rows of ``n`` numbers, turned by roots ``before`` or after that."""
    turns = [1.0, *(w[wt + k * apart] for k in range(radix - 1))]
    for q in range(n):
        x = [_pair(a, at + q + k * step, far) for k in range(radix)]
        if before:
            y = _transformed([v * t for v, t in zip(x, turns)])
        else:
            y = [v * t for v, t in zip(_transformed(x), turns)]
        for k in range(radix):
            _put(b, to + q + k * by, away, y[k])


def _butterflies(name: str, radix: int, before: int = 0) -> Any:
    return FunctionType(_butterfly.__code__, globals(), name, (radix, before))


butterfly_2, butterfly_3 = _butterflies("butterfly_2", 2), _butterflies("butterfly_3", 3)
butterfly_4, butterfly_5 = _butterflies("butterfly_4", 4), _butterflies("butterfly_5", 5)
merge_8 = _butterflies("merge_8", 8, 1)


def butterfly_odd(
    a: Any, at: int, far: int, step: int, b: Any, to: int, away: int, by: int, w: Any, wt: int, apart: int,
    n: int, r: int, roots: int,
) -> None:  # fmt: skip
    """The same for any odd radix, whose roots of unity are from ``w[roots]`` on."""
    _butterfly(a, at, far, step, b, to, away, by, w, wt, apart, n, r)


def merge_lanes(a: Any, at: int, far: int, b: Any, to: int, away: int, w: Any, wt: int, m: int) -> None:
    """Transform ``m`` times eight neighbours, turned by roots; the results are eight rows of ``m``."""
    for i in range(m):
        x = [_pair(a, at + 8 * i + k, far) * (w[wt + (k - 1) * m + i] if k else 1.0) for k in range(8)]
        for k, v in enumerate(_transformed(x)):
            _put(b, to + k * m + i, away, v)
