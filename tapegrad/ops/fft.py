"""The discrete Fourier transform along one axis: three rows, and their roots of unity.

The matrix ``exp(-2 pi i j k / n)`` is symmetric, so the row ``fft`` is its own transpose, and its derivative
rule is the row itself (cotangents are not conjugated, see ``docs/decisions/0019-complex.md``).  Of real
numbers, ``fft_real`` gives the first half of the transform; its transpose ``fft_half`` is the real part of
the transform of half a spectrum with zeros behind.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np

from tapegrad.kernels import fft as kernels
from tapegrad.kernels import fft_real as real_kernels
from tapegrad.ops.axes import contiguous, split_at
from tapegrad.ops.movement import narrow, scatter_movement
from tapegrad.ops.record import record
from tapegrad.ops.table import ROWS, Out, Row, ns, structured
from tapegrad.spec import Spec, complex_dtype, real_dtype
from tapegrad.tensor import Tensor, tensor_from_array

__all__ = ["doubled", "factor_of", "from_half", "resized", "table_size", "to_half", "transform"]

PRECISE = 1 << 15  # lengths up to which what is made once is made in NumPy's longest precision

# --- roots of unity -------------------------------------------------------------------------------


def _plan(n: int) -> tuple[int, int, int, list[int]]:
    """`kernels.fft.plan`: length, parts, their length and its radices."""
    f = [0] * 64
    size, fold, m = map(int, kernels.plan(n, f))
    return size, fold, m, f[: f[0] + 1]


def table_size(n: int, real: bool = False) -> int:
    """How many numbers `_table` has."""
    if real and n % 2 == 0:
        return table_size(n // 2) + n // 4 + 1
    size, fold, m, f = _plan(n)
    count = int(kernels.roots_of(f, m)) + (fold - 1) * m
    return count if size == n else count + n + size


def _roots(n: int) -> np.ndarray:
    """``exp(-2 pi i k / n)`` for ``k < n``, rounded once (where NumPy has a longer type than float64)."""
    turns = 4 * np.arange(n)
    quadrant, rest = turns // n, turns % n  # the angle is (quadrant + rest / n) quarter turns
    beyond = 2 * rest > n
    rest = np.where(beyond, n - rest, rest)
    step = math.gcd(4, n)  # of all that are left: angles of an eighth of a turn at most
    angle = np.arange(0, n // 2 + 1, step) * (np.arctan(np.longdouble(1)) * 2) / n
    cosine, sine = [f(angle).astype(np.float64)[rest // step] for f in (np.cos, np.sin)]
    z = np.empty(n, np.complex128)
    z.real, z.imag = np.where(beyond, sine, cosine), -np.where(beyond, cosine, sine)
    return z * np.array([1, -1j, -1, 1j])[quadrant]


def _table(n: int, real: bool) -> np.ndarray:
    """What the kernels read as their second operand (`kernels.fft`, `kernels.fft_real`)."""
    if real and n % 2 == 0:
        return np.concatenate([_table(n // 2, False), _roots(n)[: n // 4 + 1]])
    size, fold, m, f = _plan(n)
    roots, parts, step = _roots(size), [np.zeros(0)], fold
    for r in f[1:]:
        m //= r
        parts.append(roots[step * np.outer(np.arange(m), np.arange(1, r))].ravel())
        if r > 5:
            parts.append(_roots(r))
        step *= r
    if fold > 1:
        parts.append(roots[np.outer(np.arange(1, fold), np.arange(size // fold))].ravel())
    if size != n:
        j = np.arange(n)
        chirp = _roots(2 * n)[j * j % (2 * n)]
        response = np.zeros(size, chirp.dtype)
        response[:n] = np.conj(chirp)
        response[size - n + 1 :] = np.conj(chirp[:0:-1])
        precise = np.clongdouble if size <= PRECISE else np.complex128
        parts += [chirp, np.fft.fft(response.astype(precise)) / size]
    return np.concatenate(parts)


class _Tables:
    """Tables that were used last, up to a number of bytes in all, or two."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used = limit, 0
        self.known: OrderedDict[tuple[int, bool, str], np.ndarray] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, n: int, real: bool, dtype: np.dtype) -> np.ndarray:
        """The table for length ``n``, of dtype ``dtype``."""
        key = n, real, dtype.char
        with self.lock:
            found = self.known.get(key)
            if found is not None:
                self.known.move_to_end(key)
                return found
        made = _table(n, real).astype(dtype)
        made.flags.writeable = False
        with self.lock:
            if key not in self.known:
                self.known[key] = made
                self.used += made.nbytes
                while self.used > self.limit and len(self.known) > 2:
                    self.used -= self.known.popitem(last=False)[1].nbytes
        return made


_tables = _Tables(1 << 26)

# --- the rows -------------------------------------------------------------------------------------


def _line(x: Spec, table: Spec, axis: int, n: int, length: int, inverse: bool) -> tuple:
    """The result's shape, with lines of ``length``, and the kernels' parameters."""
    outer, own, inner = split_at(x.shape, (axis,))
    params = outer, own, inner, length, n, int(inverse), table.size
    return (*x.shape[:axis], length, *x.shape[axis + 1 :]), params


def _shape(x: Spec, table: Spec, axis: int, inverse: bool) -> Out:
    if x.kind != "c":
        raise TypeError(f"fft: the operand must be complex, not {x.dtype}")
    n = x.shape[axis]
    shape, params = _line(x, table, axis, n, n, inverse)
    return Out(shape, x.dtype, params)


def _real_shape(x: Spec, table: Spec, axis: int, inverse: bool) -> Out:
    if not x.floating:
        raise TypeError(f"fft_real: the operand must be real, not {x.dtype}")
    n = x.shape[axis]
    shape, params = _line(x, table, axis, n, n // 2 + 1, inverse)
    return Out(shape, complex_dtype(x.dtype), params)


def _half_shape(x: Spec, table: Spec, axis: int, n: int, inverse: bool) -> Out:
    if x.kind != "c":
        raise TypeError(f"fft_half: the operand must be complex, not {x.dtype}")
    if x.shape[axis] != n // 2 + 1:
        raise ValueError(f"fft_half: shape {x.shape} is not that of half a spectrum of {n} along axis {axis}")
    shape, params = _line(x, table, axis, n, n, inverse)
    return Out(shape, real_dtype(x.dtype), params)


def _half_rule(g: Tensor, out: Tensor, x: Tensor, y: Tensor, axis: int, n: int, inverse: bool) -> Tensor:
    return record(FFT_REAL, (g, y), {"axis": axis, "inverse": inverse})


def _real_rule(g: Tensor, out: Tensor, x: Tensor, y: Tensor, axis: int, inverse: bool) -> Tensor:
    return record(FFT_HALF, (g, y), {"axis": axis, "n": x._spec.shape[axis], "inverse": inverse})


def _batch(name: str) -> Any:
    def batch(
        lanes: int, batched: Sequence[bool], x: Tensor, table: Tensor, /, axis: int, **static: Any
    ) -> Tensor | None:
        if batched[1]:
            return None
        return record(ROWS[name], (x, table), {"axis": axis + 1, **static})

    return batch


FFT: Row = structured(
    "fft",
    kernels.fft,
    2,
    _shape,
    rules=(
        lambda g, out, x, y, axis, inverse: record(FFT, (g, y), {"axis": axis, "inverse": inverse}),
        None,
    ),
    linear=(0,),
    batch=_batch("fft"),
    split="lines",
    complex="only",
    doc="The transform along an axis, or the inverse one times its length, with a table of roots of unity.",
)
FFT_REAL: Row = structured(
    "fft_real",
    real_kernels.fft_real,
    2,
    _real_shape,
    rules=(_real_rule, None),
    linear=(0,),
    batch=_batch("fft_real"),
    split="lines",
    result="complex",
    complex=True,
    doc="The first half of the transform of real numbers.",
)
FFT_HALF: Row = structured(
    "fft_half",
    real_kernels.fft_half,
    2,
    _half_shape,
    rules=(_half_rule, None),
    linear=(0,),
    batch=_batch("fft_half"),
    split="lines",
    result="real",
    complex="only",
    doc="The real part of the transform of half a spectrum with zeros behind.",
)


def _with_table(x: Tensor, n: int, real: bool) -> tuple[Tensor, Tensor]:
    return x, tensor_from_array(_tables.get(n, real, complex_dtype(x._spec.dtype)))


def transform(x: Tensor, axis: int, inverse: bool) -> Tensor:
    """Record the transform of a complex tensor along one axis, without a factor."""
    operands = _with_table(x, x._spec.shape[axis], False)
    return record(FFT, operands, {"axis": axis, "inverse": inverse})


def to_half(x: Tensor, axis: int, inverse: bool) -> Tensor:
    """The first half, ``n // 2 + 1`` numbers, of the transform of a real tensor."""
    operands = _with_table(x, x._spec.shape[axis], True)
    return record(FFT_REAL, operands, {"axis": axis, "inverse": inverse})


def from_half(z: Tensor, axis: int, n: int, inverse: bool) -> Tensor:
    """The real part of the transform of ``n // 2 + 1`` numbers and zeros: `to_half`'s transpose."""
    return record(FFT_HALF, _with_table(z, n, True), {"axis": axis, "n": n, "inverse": inverse})


# --- lengths and factors ----------------------------------------------------------------------------


def resized(x: Tensor, axis: int, n: int) -> Tensor:
    """The first ``n`` elements along an axis, zeros behind the last."""
    shape = x._spec.shape
    if shape[axis] == n:
        return x
    if shape[axis] > n:
        return narrow(x, axis, 0, n)
    full = (*shape[:axis], n, *shape[axis + 1 :])
    return scatter_movement(x, full, shape, contiguous(full), 0)


def doubled(z: Tensor, axis: int, n: int, factor: float) -> Tensor:
    """``n // 2 + 1`` numbers times a factor; twice those that stand for two of a whole spectrum of ``n``."""
    weights = np.full(n // 2 + 1, 2.0 * factor)
    weights[0] = factor
    if n % 2 == 0:
        weights[-1] = factor
    shape = [-1 if k == axis else 1 for k in range(z._spec.ndim)]
    return ns.multiply(z, tensor_from_array(weights.astype(real_dtype(z._spec.dtype)).reshape(shape)))


def factor_of(name: str, norm: Any, n: int, inverse: bool) -> float:
    """What NumPy multiplies a transform of length ``n`` by.

    Raises
    ------
    ValueError
        If ``norm`` is unknown.
    """
    if norm not in (None, "backward", "ortho", "forward"):
        raise ValueError(f'{name}: invalid norm {norm!r}; should be "backward", "ortho" or "forward"')
    if norm == "ortho":
        return 1.0 / math.sqrt(n)
    return 1.0 / n if (norm == "forward") != inverse else 1.0
