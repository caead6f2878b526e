"""What all of linear algebra shares: checks of operands, the kernels' table, batches, test inputs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tapegrad.kernels.lapack import table
from tapegrad.ops.axes import contiguous
from tapegrad.ops.blas import bits_of, capsule_address
from tapegrad.ops.movement import STRIDED, all_batched, broadcasted, reshaped
from tapegrad.ops.record import as_inexact, as_operand, cast, conjugated, record, record_layout
from tapegrad.ops.table import ROWS, ns
from tapegrad.spec import (
    COMPLEX64,
    COMPLEX128,
    FLOAT32,
    FLOAT64,
    Spec,
    broadcast_shapes,
    real_dtype,
    result_dtype,
)
from tapegrad.tape import current
from tapegrad.tensor import Tensor, tensor_from_array

__all__ = [
    "SINGULAR", "adjusted", "alone", "definite", "differentiated", "each", "identity", "matrices", "matrix",
    "part", "real_part", "rectangular", "shared_table", "square", "symmetric", "system", "turned",
]  # fmt: skip

SINGULAR = "singular matrix"

# --- what kernels find in front of their parameters ------------------------------------------------


@functools.cache
def shared_table(dtype: np.dtype) -> tuple[int, ...]:
    """The words that ``kernels.lapack.table`` describes."""
    letter = {FLOAT64: "d", FLOAT32: "s", COMPLEX128: "z", COMPLEX64: "c"}[dtype]
    own = table.COMPLEX if dtype.kind == "c" else {}
    blas = [capsule_address("cython_blas", letter + name) for name in table.BLAS]
    lapack = [capsule_address("cython_lapack", letter + own.get(name, name)) for name in table.LAPACK]
    part = real_dtype(dtype)
    bits = [bits_of(value, part) & (1 << 8 * part.itemsize) - 1 for value in table.NUMBERS]
    words = [w - (1 << 64) if w >= 1 << 63 else w for w in bits]
    return (*blas, *lapack, *map(ord, table.LETTERS), *[v for w in words for v in (w, 0)])


# --- operands --------------------------------------------------------------------------------------


def square(name: str, a: Spec) -> int:
    """The number of rows of square matrices."""
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(f"{name}: the last two axes must be square, not of shape {a.shape}")
    return rectangular(name, a)[0]


def rectangular(name: str, a: Spec) -> tuple[int, int]:
    """The numbers of rows and columns of floating-point or complex matrices."""
    if a.ndim < 2:
        raise ValueError(f"{name}: at least two axes are needed, not shape {a.shape}")
    if not a.differentiable:
        raise TypeError(f"{name}: operands must be floating point or complex, not {a.dtype}")
    if max(a.shape[-2:]) >= 2**31:
        raise ValueError(f"{name}: shape {a.shape} is too large for LAPACK")
    return a.shape[-2], a.shape[-1]


def matrix(name: str, x: Any) -> Tensor:
    """A floating or complex operand whose last two axes are square."""
    x = as_inexact(x, name)
    square(name, x._spec)
    return x


def matrices(name: str, x: Any) -> Tensor:
    """A floating or complex operand of at least two axes."""
    x = as_inexact(x, name)
    rectangular(name, x._spec)
    return x


def system(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """A matrix, right-hand sides as matrices with the same leading axes, and the result's shape."""
    a, b = matrix(name, a), as_operand(b, name)
    dtype = result_dtype(a._spec.dtype, b._spec.dtype)
    a, b = cast(a, dtype), cast(b, dtype)
    n, shape = a._spec.shape[-1], b._spec.shape
    vector = len(shape) == 1
    if not shape or shape[-1 if vector else -2] != n:
        raise ValueError(f"{name}: a matrix of shape {a._spec.shape} and right-hand sides of shape {shape}")
    if vector:
        b = reshaped(b, (n, 1))
    batch = broadcast_shapes(name, a._spec.shape[:-2], b._spec.shape[:-2])
    out = (*batch, n) if vector else (*batch, n, shape[-1])
    if a._spec.ndim > 2:
        a = broadcasted(a, (*batch, n, n))
    return a, broadcasted(b, (*batch, n, b._spec.shape[-1])), out


def real_part(x: Tensor) -> Tensor:
    """The real part of complex numbers; real ones as they are."""
    return ns.real(x) if x._spec.kind == "c" else x


def turned(x: Tensor) -> Tensor:
    """The conjugate transpose of matrices."""
    return conjugated(x).mT


def identity(a: Tensor) -> Tensor:
    eye = tensor_from_array(np.eye(a._spec.shape[-1], dtype=a._spec.dtype))
    return broadcasted(eye, a._spec.shape)


def differentiated(x: Tensor) -> bool:
    """Whether what is computed from ``x`` now may be asked for a derivative."""
    return bool(x._rg) and current.tape.grad_enabled


# --- several results in one ------------------------------------------------------------------------

# A row has one result.  A decomposition's parts lie one behind the other, along the last axis.


def part(packed: Tensor, start: int, shape: tuple[int, ...]) -> Tensor:
    """The part of ``shape`` (per matrix) that begins at element ``start`` of the last axis."""
    whole = packed._spec.shape
    strides = (*contiguous(whole)[:-1], *contiguous(shape))
    return record_layout(STRIDED, packed, (*whole[:-1], *shape), strides, start if packed._spec.size else 0)


# --- batches ---------------------------------------------------------------------------------------


def alone(name: str) -> Callable[..., Tensor]:
    """The batch rule of a row that treats each matrix by itself."""

    def batch(n: int, batched: Sequence[bool], *operands: Tensor, **static: Any) -> Tensor:
        return record(ROWS[name], all_batched(n, batched, *operands), static)

    return batch


# --- test inputs and references --------------------------------------------------------------------


def adjusted(factor: float) -> Callable[..., tuple]:
    """Samples' matrices with a dominant diagonal."""

    def prepare(a: Any, *others: Any) -> tuple:
        return (a + np.eye(a.shape[-1], dtype=a.dtype) * a.dtype.type(factor), *others)

    return prepare


def symmetric(a: Any, *others: Any) -> tuple:
    return (a + a.conj().swapaxes(-1, -2), *others)


def definite(a: Any, *others: Any) -> tuple:
    return (a @ a.conj().swapaxes(-1, -2) + np.eye(a.shape[-1], dtype=a.dtype), *others)


def each(function: Callable) -> Callable:
    """A reference for one system, over leading axes."""

    def reference(a: Any, b: Any, **kwargs: Any) -> Any:
        a, b = np.asarray(a), np.asarray(b)
        if b.ndim == 1:
            return np.stack([function(m, b, **kwargs) for m in a]) if a.ndim > 2 else function(a, b, **kwargs)
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        a, b = np.broadcast_to(a, batch + a.shape[-2:]), np.broadcast_to(b, batch + b.shape[-2:])
        out = np.empty(b.shape, np.result_type(a, b, np.float32 if a.dtype.kind in "fc" else np.float64))
        for i in np.ndindex(batch):
            out[i] = function(a[i], b[i], **kwargs)
        return out

    return reference
